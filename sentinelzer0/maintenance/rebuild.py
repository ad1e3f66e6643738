"""Rebuild: a workspace whose database is lost or damaged comes back from its files.

The newest sound audit export below ``registry/exports`` brings back everything that is on record: its records are
replayed, so the same log goes on, under the same root. What the metadata files describe and the export does not know
comes back without a stage. A/B measurements are in neither and do not come back. The damaged database is moved
aside, never deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.identity import Actor, check_identifier, check_label, check_text, subject_of_version
from sentinelzer0.domain.manifests import ContentKind, StoredContent
from sentinelzer0.domain.merkle import Frontier, leaf_hash
from sentinelzer0.domain.signed_note import Checkpoint
from sentinelzer0.domain.versions import Version, check_document, check_metrics
from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError, SentinelError
from sentinelzer0.kernel import SYSTEM, Clock, Kernel, Layout, SystemClock, replay_log, signed_text, workspace_root
from sentinelzer0.maintenance.doctor import examine, repair
from sentinelzer0.maintenance.measurement_checks import imported_totals
from sentinelzer0.maintenance.report import Report, Status
from sentinelzer0.maintenance.state_checks import check_audit, check_database, check_state, counted

RECOVER = "workspace:version:recover"
REBUILD = "workspace:catalogue:rebuild"
FORMAT = "sentinelzer0-version-1"
EXPORT = "audit.ndjson"


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild brought back.

    Attributes:
        directory: The workspace.
        export: The audit export it was replayed from; empty when there was none.
        records: Audit records replayed.
        root: Root of the replayed log (hex).
        versions: Versions that are there again.
        recovered: Those among them that only the metadata files knew; they have no stage.
        aside: Where the damaged files were moved.
        problems: What did not come back, in sentences.
        report: The doctor's examination afterwards.
    """

    directory: str
    export: str = ""
    records: int = 0
    root: str = ""
    versions: int = 0
    recovered: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    report: Report | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return row | {"report": None if self.report is None else self.report.to_dict()}


@dataclass(frozen=True, slots=True)
class Export:
    """A verified audit export."""

    directory: Path
    bodies: list[str]
    root: bytes


def rebuild(directory: str | os.PathLike[str], *, actor: str | Actor = SYSTEM, clock: Clock | None = None) -> Rebuilt:
    """Bring a workspace back whose database is lost or damaged.

    Args:
        directory: The workspace; for PostgreSQL ``postgresql://…?blobs=DIRECTORY`` with an empty database.
        actor: Who rebuilds.
        clock: Where the time comes from.

    Raises:
        InvalidInputError: The database is sound, or there is nothing to rebuild from.
        AlreadyExistsError: The PostgreSQL database holds a workspace.
    """
    clock = clock or SystemClock()
    layout = Layout(workspace_root(directory))
    on_disk = "://" not in os.fspath(directory)
    if on_disk and _is_sound(layout, clock):
        raise InvalidInputError(
            f"The database of {str(layout.root)!r} is sound: there is nothing to rebuild.",
            hint="Mend readable files with: sentinelzer0 doctor --fix",
        )
    result = Rebuilt(str(layout.root))
    export = _newest_export(layout, result)
    if export is None and not _described(layout):
        raise InvalidInputError(
            f"{str(layout.root)!r} has neither an audit export nor metadata files to rebuild from; an export is looked "
            f"for in registry/exports/*/{EXPORT}.",
            hint="Restore a backup: sentinelzer0 restore",
        )
    tag = f"{clock.now():%Y%m%dT%H%M%S%f}"
    if on_disk:
        _move(result, [path for path in _database_files(layout) if path.exists()], layout.root / f"damaged-{tag}")
    if export is None:
        _begin_new_log(layout, result, layout.root / f"damaged-{tag}")
    else:
        _continue_log(directory, layout, result, export, layout.root / f"damaged-{tag}")
    with closing(Kernel(directory, clock=clock, allow_legacy=True)) as kernel:
        _recover_versions(kernel, result, actor)
        _restore_totals(kernel, result, actor)
        with kernel.read() as view:
            result.versions = sum(version.deleted_at is None for version in view.versions.all())
        with kernel.begin(actor, REBUILD, "workspace:this") as tx:
            facts = {name: getattr(result, name) for name in ("records", "root", "versions", "recovered", "problems")}
            tx.record(reason="the database was lost or damaged", detail=facts)
        repair(kernel, actor=actor)
        result.report = examine(kernel)
    return result


def _is_sound(layout: Layout, clock: Clock) -> bool:
    """Return whether the database is intact and knows every version that the metadata files describe."""
    if not layout.database.exists() or layout.database.stat().st_size == 0:
        return False
    try:
        with closing(Kernel(layout.root, clock=clock, allow_legacy=True)) as kernel:
            lines = (check_database(kernel), check_audit(kernel), check_state(kernel))
            with kernel.read() as view:
                known = {(version.model, version.version) for version in view.versions.all()}
    except SentinelError:
        return False
    described = {(facts["model"], facts["version"]) for facts in _described(layout)}
    return all(line.status is Status.PASS for line in lines) and described <= known


def _newest_export(layout: Layout, result: Rebuilt) -> Export | None:
    """Return the sound export with the most records; unsound ones are named."""
    found: list[Export] = []
    for path in sorted(layout.registry.glob(f"exports/*/{EXPORT}")):
        try:
            found.append(_verified(layout, path, result))
        except (SentinelError, OSError, ValueError, KeyError, TypeError) as error:
            result.problems.append(f"The export {path.parent.name} was not used: {error}")
    return max(found, key=lambda export: len(export.bodies), default=None)


def _verified(layout: Layout, path: Path, result: Rebuilt) -> Export:
    """Return an export whose records are complete, canonical and, where there is a checkpoint, signed.

    Raises:
        CorruptWorkspaceError: They are not.
    """
    bodies = path.read_text(encoding="utf-8").splitlines()
    frontier = Frontier()
    workspace_id = ""
    for seq, body in enumerate(bodies):
        record = AuditRecord.from_bytes(body)
        if record.seq != seq or record.to_bytes() != body.encode():
            raise CorruptWorkspaceError(f"Record {seq} is missing, out of order or was changed.")
        if seq == 0:
            workspace_id = str(record.detail["workspace_id"])
        frontier, _ = frontier.append(leaf_hash(body.encode()))
    note = path.with_name("checkpoint.note")
    vkey = next((v for v in (layout.registry / "audit.vkey", path.with_name("audit.vkey")) if v.exists()), None)
    if vkey is None or not note.exists():
        result.problems.append(f"The export {path.parent.name} is under no signed checkpoint.")
    else:
        signed = Checkpoint.from_body(signed_text(workspace_id, vkey, note.read_text(encoding="utf-8")))
        if (signed.size, signed.root) != (frontier.size, frontier.root()):
            raise CorruptWorkspaceError(f"Its checkpoint signs other records than the {frontier.size} that are here.")
    return Export(path.parent, bodies, frontier.root())


def _begin_new_log(layout: Layout, result: Rebuilt, aside: Path) -> None:
    """Move the checkpoints of the lost log aside: the new one has another identity and another key."""
    result.problems.append(
        f"No audit export was found in {str(layout.registry / 'exports' / '*' / EXPORT)!r}: stages, tags, notes, registry, approvals, "
        "deployments and history are lost, and every version has stage none. A new audit log begins."
    )
    notes = [*sorted(layout.checkpoints.glob("*.note")), layout.registry / "audit.vkey"]
    _move(result, [path for path in notes if path.exists()], aside)


def _continue_log(
    location: str | os.PathLike[str], layout: Layout, result: Rebuilt, export: Export, aside: Path
) -> None:
    """Replay the export; checkpoints over records that are lost are moved aside, as the proof of the loss."""
    replay_log(location, export.bodies)
    result.export, result.records, result.root = str(export.directory), len(export.bodies), export.root.hex()
    ahead = {path: int(path.stem) for path in layout.checkpoints.glob("*.note") if path.stem.isdigit()}
    lost = {path: size for path, size in ahead.items() if size > result.records}
    if lost:
        result.problems.append(
            f"A signed checkpoint covers {max(lost.values())} records, the export {result.records}: the changes "
            "between them are lost, and the checkpoint proves it."
        )
        _move(result, sorted(lost), aside)


def _recover_versions(kernel: Kernel, result: Rebuilt, actor: str | Actor) -> None:
    """Bring back the versions that only the metadata files know, in the order of their creation."""
    for facts in _described(kernel.layout):
        with kernel.read() as view:
            if view.versions.same_name(facts["model"], facts["version"]) is not None:
                continue
        try:
            content = StoredContent(
                ContentKind(facts["kind"]), facts["file_hash"], facts["file_size"], None, facts["filename"]
            )
            damage = kernel.blobs.check(content)
            if damage:
                result.problems.append(f"{facts['version']} did not come back: {damage[0]}.")
                continue
            _insert(kernel, facts, content, actor)
        except (SentinelError, ValueError, KeyError, TypeError) as error:
            result.problems.append(f"{facts['version']} did not come back: its metadata file is damaged ({error}).")
            continue
        result.recovered.append(facts["version"])
    if result.recovered:
        result.problems.append(
            f"In no export, and back without stage, tags and notes: {counted(len(result.recovered), 'version')}."
        )


def _insert(kernel: Kernel, facts: Mapping[str, Any], content: StoredContent, actor: str | Actor) -> None:
    model, name = check_identifier(facts["model"], "model"), check_identifier(facts["version"], "version")
    with kernel.begin(actor, RECOVER, subject_of_version(model, name)) as tx:
        parent = facts["parent_version"]
        if parent is not None and tx.versions.get(model, parent) is None:
            parent = None
        version = Version(
            seq=tx.next_seq,
            model=model,
            version=name,
            digest=content.digest,
            kind=content.kind.value,
            size=content.size,
            filename=content.filename,
            created_at=datetime.fromisoformat(facts["created_at"]).astimezone(UTC),
            created_by=check_label(facts["created_by"], "person's name"),
            framework=check_text(facts["framework"], "framework"),
            framework_version=check_text(facts["framework_version"], "framework version"),
            model_type=check_text(facts["model_type"], "model type"),
            architecture=check_document(facts["architecture"], "architecture"),
            hyperparameters=check_document(facts["hyperparameters"], "hyperparameters"),
            training_dataset=check_text(facts["training_dataset"], "training dataset"),
            training_metrics=check_metrics(facts["training_metrics"], "training_metrics"),
            validation_metrics=check_metrics(facts["validation_metrics"], "validation_metrics"),
            test_metrics=check_metrics(facts["test_metrics"], "test_metrics"),
            parent_version=parent,
        )
        tx.versions.put(version)
        tx.record(digest=version.digest, reason="found in its metadata file", detail={"seq": facts["seq"]})


def _restore_totals(kernel: Kernel, result: Rebuilt, actor: str | Actor) -> None:
    """Give imported A/B tests the totals that are in the record of their import; name the loss of the others."""
    lost = []
    with kernel.begin(actor, REBUILD, "workspace:this") as tx:
        for test_id in tx.ab_tests.ids():
            totals = imported_totals(tx, test_id)
            if totals:
                tx.cells.add(test_id, totals)
                tx.streams.advance(test_id, sum(arm.requests for arm in totals.values()))
            else:
                lost.append(test_id)
    if lost:
        result.problems.append(f"What {counted(len(lost), 'A/B test')} measured is lost: {', '.join(lost[:3])}.")


def _described(layout: Layout) -> list[dict[str, Any]]:
    """Return the facts in our metadata files, in the order of creation."""
    found = []
    for path in layout.metadata.glob("*.json"):
        try:
            facts = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(facts, dict) and facts.get("format") == FORMAT and {"model", "version", "seq"} <= facts.keys():
            found.append(facts)
    return sorted(found, key=lambda facts: (int(facts["seq"]), str(facts["version"])))


def _database_files(layout: Layout) -> list[Path]:
    return [layout.database.with_name(layout.database.name + suffix) for suffix in ("", "-wal", "-shm")]


def _move(result: Rebuilt, paths: list[Path], aside: Path) -> None:
    """Move files aside, where nothing of ours looks for them."""
    for path in paths:
        aside.mkdir(exist_ok=True)
        target = aside / path.name
        path.rename(target)
        result.aside.append(str(target))
