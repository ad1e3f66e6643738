"""The audit log in SQL: append in the caller's transaction, read back, serve Merkle nodes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import bindparam, func, select, update

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.merkle import Frontier, leaf_hash
from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import audit_head, audit_nodes, audit_records, audit_subjects

PAGE = 2000

_head = Statement(select(audit_head.c.size, audit_head.c.frontier).where(audit_head.c.id == 1))
_head_locked = Statement(select(audit_head.c.size, audit_head.c.frontier).where(audit_head.c.id == 1).with_for_update())
_set_head = Statement(
    update(audit_head)
    .where(audit_head.c.id == 1)
    .values(size=bindparam("new_size"), frontier=bindparam("new_frontier"))
)
_insert_head = Statement(audit_head.insert())
_insert = Statement(audit_records.insert())
_insert_subjects = Statement(audit_subjects.insert())
_insert_nodes = Statement(audit_nodes.insert())
_node = Statement(
    select(audit_nodes.c.hash).where(
        audit_nodes.c.level == bindparam("level"), audit_nodes.c.position == bindparam("position")
    )
)
_time = Statement(select(audit_records.c.time).where(audit_records.c.seq == bindparam("of_seq")))
_page = Statement(
    select(audit_records.c.seq, audit_records.c.body)
    .where(audit_records.c.seq >= bindparam("first"), audit_records.c.seq < bindparam("end"))
    .order_by(audit_records.c.seq)
    .limit(bindparam("page"))
)
_columns = Statement(
    select(
        audit_records.c.seq,
        audit_records.c.time,
        audit_records.c.actor,
        audit_records.c.action,
        audit_records.c.outcome,
        audit_records.c.body,
    )
    .where(audit_records.c.seq >= bindparam("first"))
    .order_by(audit_records.c.seq)
    .limit(bindparam("page"))
)
_latest = Statement(
    select(audit_records.c.body)
    .where(audit_records.c.seq < bindparam("before"))
    .order_by(audit_records.c.seq.desc())
    .limit(bindparam("page"))
)
_of_subject = Statement(
    select(audit_records.c.body)
    .join_from(audit_subjects, audit_records, audit_subjects.c.seq == audit_records.c.seq)
    .where(audit_subjects.c.subject == bindparam("subject"))
    .order_by(audit_records.c.seq)
)
_subjects_of = Statement(
    select(audit_subjects.c.seq, audit_subjects.c.subject)
    .where(audit_subjects.c.seq >= bindparam("first"), audit_subjects.c.seq < bindparam("end"))
    .order_by(audit_subjects.c.seq, audit_subjects.c.subject)
)
_all_nodes = Statement(
    select(audit_nodes.c.level, audit_nodes.c.position, audit_nodes.c.hash).order_by(
        audit_nodes.c.level, audit_nodes.c.position
    )
)
_counts = Statement(
    select(
        select(func.count()).select_from(audit_records).scalar_subquery(),
        select(func.max(audit_records.c.seq)).scalar_subquery(),
    )
)


class AuditRows:
    """The audit log as one transaction sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self, *, lock: bool = False) -> Frontier:
        """Return the frontier of the tree; with ``lock``, hold it until the transaction ends.

        The lock makes control-plane transactions on PostgreSQL as serial as ``BEGIN IMMEDIATE`` makes them on
        SQLite.
        """
        row = self._connection.first(_head_locked if lock and self._connection.backend != "sqlite" else _head)
        if row is None:
            raise CorruptWorkspaceError("The audit log has no head.", hint="Restore the workspace from a backup.")
        try:
            frontier = Frontier.from_bytes(bytes(row[1]))
        except InvalidInputError as error:
            raise CorruptWorkspaceError(
                f"The head of the audit log is damaged: {error.message}", hint="Restore the workspace from a backup."
            ) from error
        if frontier.size != row[0]:
            raise CorruptWorkspaceError(
                f"The head of the audit log counts {row[0]} records in one place and {frontier.size} in another.",
                hint="Restore the workspace from a backup.",
            )
        return frontier

    def create_head(self) -> None:
        """Start an empty log."""
        self._connection.run(_insert_head, {"id": 1, "size": 0, "frontier": Frontier().to_bytes()})

    def append(self, record: AuditRecord, frontier: Frontier) -> Frontier:
        """Store a record behind ``frontier`` and return the new frontier (not yet stored as the head)."""
        body = record.to_bytes()
        self._connection.run(
            _insert,
            {
                "seq": record.seq,
                "time": record.to_dict()["time"],
                "actor": record.actor.name,
                "action": record.action,
                "outcome": record.outcome.value,
                "body": body.decode(),
            },
        )
        self._connection.run_many(
            _insert_subjects, [{"subject": s, "seq": record.seq} for s in dict.fromkeys(record.subjects)]
        )
        frontier, nodes = frontier.append(leaf_hash(body))
        self._connection.run_many(
            _insert_nodes, [{"level": level, "position": position, "hash": digest} for level, position, digest in nodes]
        )
        return frontier

    def store_head(self, frontier: Frontier) -> None:
        """Make ``frontier`` the head."""
        self._connection.run(_set_head, {"new_size": frontier.size, "new_frontier": frontier.to_bytes()})

    def node(self, level: int, position: int) -> bytes:
        """Return the hash of a perfect subtree.

        Raises:
            CorruptWorkspaceError: The node is missing.
        """
        row = self._connection.first(_node, {"level": level, "position": position})
        if row is None:
            raise CorruptWorkspaceError(
                f"The audit log lacks the tree node ({level}, {position}).", hint="Run: sentinelzer0 audit verify"
            )
        return bytes(row[0])

    def time_of(self, seq: int) -> datetime | None:
        """Return when a record was made, or None when there is no such record.

        Raises:
            CorruptWorkspaceError: The stored time is none.
        """
        row = self._connection.first(_time, {"of_seq": seq})
        if row is None:
            return None
        try:
            return datetime.fromisoformat(row[0])
        except ValueError as error:
            raise CorruptWorkspaceError(
                f"The time of audit record {seq} is damaged: {row[0]!r:.60}.", hint="Run: sentinelzer0 audit verify"
            ) from error

    def bodies(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, str]]:
        """Yield (seq, stored bytes as text) in order, in pages."""
        stop = 2**62 if end is None else end
        while rows := self._connection.rows(_page, {"first": first, "end": stop, "page": PAGE}):
            yield from ((row[0], row[1]) for row in rows)
            first = rows[-1][0] + 1

    def stored_rows(self) -> Iterator[tuple[int, str, str, str, str, str]]:
        """Yield (seq, time, actor, action, outcome, body) in order, to compare the columns with the body."""
        first = -1
        while rows := self._connection.rows(_columns, {"first": first, "page": PAGE}):
            for row in rows:
                yield row[0], row[1], row[2], row[3], row[4], row[5]
            first = rows[-1][0] + 1

    def latest(self, limit: int, before: int | None = None) -> list[AuditRecord]:
        """Return the newest records first, at most ``limit``, older than ``before``."""
        rows = self._connection.rows(_latest, {"before": 2**62 if before is None else before, "page": limit})
        return [AuditRecord.from_bytes(row[0]) for row in rows]

    def of_subject(self, subject: str) -> list[AuditRecord]:
        """Return every record that touches an object, oldest first."""
        return [AuditRecord.from_bytes(row[0]) for row in self._connection.rows(_of_subject, {"subject": subject})]

    def subjects(self, first: int, end: int) -> list[tuple[int, str]]:
        """Return the stored (seq, subject) pairs of a range of records."""
        return [(row[0], row[1]) for row in self._connection.rows(_subjects_of, {"first": first, "end": end})]

    def nodes(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield every stored tree node, by level and position."""
        for level, position, digest in self._connection.run(_all_nodes):
            yield level, position, bytes(digest)

    def counts(self) -> tuple[int, int]:
        """Return how many records there are and the highest sequence number (-1 for none)."""
        row = self._connection.first(_counts)
        return (0, -1) if row is None else (row[0], -1 if row[1] is None else row[1])
