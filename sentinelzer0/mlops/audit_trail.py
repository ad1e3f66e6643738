"""The audit log for its readers: browse, prove, sign checkpoints, verify everything, export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinelzer0.domain import merkle
from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.identity import is_name
from sentinelzer0.domain.scalars import shown, whole
from sentinelzer0.domain.signed_note import Checkpoint
from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError, NotFoundError, SentinelError
from sentinelzer0.kernel import Kernel, Reader, disk_errors, write_text
from sentinelzer0.mlops.public_values import checked_limit

MAX_PROBLEMS = 50
_AFTER_ALL = 2**62


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a verification of the whole log found.

    Attributes:
        records: How many records were checked.
        root: Root of the Merkle tree (hex).
        checkpoints: How many signed checkpoints were checked.
        problems: What is wrong, in plain words; empty when all is intact.
    """

    records: int
    root: str
    checkpoints: int
    problems: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "intact": self.intact,
            "records": self.records,
            "root": self.root,
            "checkpoints": self.checkpoints,
            "problems": list(self.problems),
        }


class AuditTrail:
    """The audit log of one workspace.

    Args:
        kernel: The open workspace.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def records(self, subject: str | None = None, *, limit: int = 100, before: int | None = None) -> list[AuditRecord]:
        """Return records, newest first.

        Args:
            subject: Only records that touch this object, for example ``version:default/v1``.
            limit: At most so many.
            before: Only records with a smaller sequence number.

        Raises:
            InvalidInputError: ``limit`` or ``before`` is not a whole number.
        """
        limit = checked_limit(limit)
        if before is not None:
            before = max(0, min(_record_number(before, "before"), _AFTER_ALL))
        with self._kernel.read() as view:
            if subject is None:
                return view.audit.latest(limit, before)
            records = view.audit.of_subject(subject) if is_name(subject) else []
            found = [r for r in records if before is None or r.seq < before]
        return list(reversed(found))[:limit]

    def checkpoint(self) -> str:
        """Sign the present state of the log and keep the note in ``registry/checkpoints``.

        Returns:
            The C2SP signed note.
        """
        with self._kernel.read() as view:
            frontier = view.audit.head()
        signer = self._kernel.signer()
        note: str = signer.sign(Checkpoint(signer.name, frontier.size, frontier.root()).to_body())
        with disk_errors("Keeping the checkpoint"):
            write_text(self._kernel.layout.checkpoints / f"{frontier.size:012d}.note", note)
            write_text(self._kernel.layout.registry / "audit.vkey", signer.vkey + "\n")
        return note

    def inclusion_proof(self, seq: int) -> dict[str, Any]:
        """Prove that a record is part of the log as it is now.

        Returns:
            ``seq``, ``size``, ``leaf``, ``root`` (hex) and ``path`` (hex, from the leaf up).

        Raises:
            NotFoundError: There is no such record.
            InvalidInputError: ``seq`` is not a whole number.
        """
        seq = _record_number(seq, "seq")
        with self._kernel.read() as view:
            frontier = view.audit.head()
            if not 0 <= seq < frontier.size:
                raise NotFoundError(f"The log has no record {seq}; it has {frontier.size} records from 0.")
            path = merkle.inclusion_proof(seq, frontier.size, view.audit.node)
            leaf = view.audit.node(0, seq)
        return {
            "seq": seq,
            "size": frontier.size,
            "leaf": leaf.hex(),
            "root": frontier.root().hex(),
            "path": [node.hex() for node in path],
        }

    def consistency_proof(self, old_size: int) -> dict[str, Any]:
        """Prove that the log as it is now only appended to its first ``old_size`` records.

        Returns:
            ``old_size``, ``size``, ``root`` (hex) and ``path`` (hex).

        Raises:
            NotFoundError: The log never had this size.
            InvalidInputError: ``old_size`` is not a whole number.
        """
        old_size = _record_number(old_size, "old_size")
        with self._kernel.read() as view:
            frontier = view.audit.head()
            if not 0 < old_size <= frontier.size:
                raise NotFoundError(f"The log never had {old_size} records; it has {frontier.size}.")
            path = merkle.consistency_proof(old_size, frontier.size, view.audit.node)
        return {
            "old_size": old_size,
            "size": frontier.size,
            "root": frontier.root().hex(),
            "path": [node.hex() for node in path],
        }

    def verify(self) -> AuditReport:
        """Recompute the whole tree from the stored bytes and compare everything that was derived from them.

        Checks every record's canonical form, its columns and subjects, the gap-free order, every tree node, the
        head, and every signed checkpoint in the workspace.
        """
        problems: list[str] = []
        frontier = merkle.Frontier()
        nodes: dict[tuple[int, int], bytes] = {}
        marks = self._checkpoints(problems)
        roots = {0: frontier.root()}
        with self._kernel.read() as view:
            subjects = dict[int, set[str]]()
            for seq, subject in view.audit.subjects(0, _AFTER_ALL):
                subjects.setdefault(seq, set()).add(subject)
            for row in view.audit.stored_rows():
                problems += _record_problems(row, frontier.size, subjects.pop(row[0], set()))
                frontier, made = frontier.append(merkle.leaf_hash(row[5].encode()))
                nodes.update({(level, position): digest for level, position, digest in made})
                if frontier.size in marks:
                    roots[frontier.size] = frontier.root()
            problems += [f"Record {seq} is indexed but missing." for seq in sorted(subjects)]
            stored = {(level, position): digest for level, position, digest in view.audit.nodes()}
            problems += _node_problems(stored, nodes)
            problems += _head_problems(view, frontier)
        for size, root in marks.items():
            if roots.get(size) != root:
                problems.append(f"The signed checkpoint over {size} records does not match the log.")
        return AuditReport(frontier.size, frontier.root().hex(), len(marks), tuple(problems[:MAX_PROBLEMS]))

    def export(self, directory: Path) -> dict[str, Any]:
        """Write the log so that somebody without this package can check it.

        Writes ``audit.ndjson`` (one canonical record a line), ``checkpoint.note`` over exactly these records and
        ``audit.vkey``.

        Returns:
            ``records``, ``root`` and ``directory``.
        """
        signer = self._kernel.signer()
        with disk_errors(f"Exporting the log to {str(directory)!r}"):
            directory.mkdir(parents=True, exist_ok=True)
            with self._kernel.read() as view:
                frontier = view.audit.head()
                write_text(directory / "audit.ndjson", "".join(f"{body}\n" for _, body in view.audit.bodies()))
            note = signer.sign(Checkpoint(signer.name, frontier.size, frontier.root()).to_body())
            write_text(directory / "checkpoint.note", note)
            write_text(directory / "audit.vkey", signer.vkey + "\n")
        return {"records": frontier.size, "root": frontier.root().hex(), "directory": str(directory)}

    def bodies(self) -> Iterator[str]:
        """Yield the stored bytes of every record as text, oldest first."""
        with self._kernel.read() as view:
            for _, body in view.audit.bodies():
                yield body

    def _checkpoints(self, problems: list[str]) -> dict[int, bytes]:
        """Return root by size of every validly signed checkpoint in the workspace."""
        marks: dict[int, bytes] = {}
        paths = sorted(self._kernel.layout.checkpoints.glob("*.note"))
        if not paths:
            return marks
        signer = self._kernel.signer()
        for path in paths:
            try:
                checkpoint = Checkpoint.from_body(signer.verify(path.read_text(encoding="utf-8")))
            except (SentinelError, UnicodeDecodeError) as error:
                problems.append(f"The checkpoint {path.name} is not validly signed: {error}")
                continue
            marks[checkpoint.size] = checkpoint.root
        return marks


def _record_number(value: object, what: str) -> int:
    number = whole(value)
    if number is None:
        raise InvalidInputError(f"{what} is {shown(value)}.", hint="Pass the sequence number of a record, from 0.")
    return number


def _record_problems(row: tuple[int, str, str, str, str, str], expected: int, subjects: set[str]) -> list[str]:
    seq, time, actor, action, outcome, body = row
    try:
        record = AuditRecord.from_bytes(body)
        canonical = record.to_bytes()
    except (ValueError, KeyError, TypeError) as error:
        return [f"Record {seq} cannot be read: {error}"]
    found = []
    if seq != expected or record.seq != seq:
        found.append(f"Record {expected} is missing or out of order: found {seq}, which says {record.seq}.")
    if canonical != body.encode():
        found.append(f"Record {seq} is not in canonical form: its bytes were changed.")
    if (record.to_dict()["time"], record.actor.name, record.action, record.outcome.value) != (
        time,
        actor,
        action,
        outcome,
    ):
        found.append(f"Record {seq} and its columns differ.")
    if set(record.subjects) != subjects:
        found.append(f"Record {seq} and its index of subjects differ.")
    return found


def _head_problems(view: Reader, computed: merkle.Frontier) -> list[str]:
    try:
        matches = view.audit.head() == computed
    except CorruptWorkspaceError as error:
        return [error.message]
    return [] if matches else [f"The head of the log does not match its {computed.size} records."]


def _node_problems(stored: dict[tuple[int, int], bytes], computed: dict[tuple[int, int], bytes]) -> list[str]:
    wrong = sorted(key for key in stored.keys() | computed.keys() if stored.get(key) != computed.get(key))
    leaves = [position for level, position in wrong if level == 0]
    found = [f"Record {position} was changed: its bytes no longer give the stored leaf hash." for position in leaves]
    if wrong and not leaves:
        found.append(f"{len(wrong)} tree nodes differ from the records, the first at {wrong[0]}.")
    return found


def stage_history(records: list[AuditRecord], model: str, version: str) -> list[dict[str, Any]]:
    """Return every transition of a version's stage, oldest first, read off the after-images."""
    history: list[dict[str, Any]] = []
    stage: str | None = None
    for record in records:
        for change in record.after:
            row = change["row"]
            if change["table"] != "versions" or (row["model"], row["version"]) != (model, version):
                continue
            status = "deprecated" if row["deprecated"] else row["stage"]
            if status != stage:
                history.append(
                    {
                        "event": record.action,
                        "stage": status,
                        "from_stage": stage,
                        "timestamp": record.time.isoformat(),
                        "user": record.actor.name,
                        "reason": record.reason,
                    }
                )
            stage = status
    return history
