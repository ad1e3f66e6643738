"""Coming from version 3.3: its directory of JSON files is taken over into a workspace, originals kept untouched.

Every entity is one transaction with one audit record (``legacy:version:import`` and so on), so an import that was
interrupted goes on where it stopped, and a second one imports nothing new. Until an import has finished, the
workspace refuses to be opened, so nothing is ever silently missing. What is damaged is named and stops nothing else.
"""

from __future__ import annotations

import os
from datetime import tzinfo
from pathlib import Path

from sentinelzer0.domain.identity import Actor, check_actor
from sentinelzer0.domain.versions import ModelStage, VersionStatus
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import SYSTEM, Clock, Kernel, Layout, workspace_root, write_text
from sentinelzer0.maintenance.legacy_files import Findings, LegacyDirectory, LegacyProblem, LegacyReport, zone_of
from sentinelzer0.maintenance.legacy_history import (
    find_rollbacks,
    import_rollback,
    import_test,
    left_by_rollback,
)
from sentinelzer0.maintenance.legacy_registry import (
    find_entries,
    import_deployment,
    import_entry,
    import_requests,
    serving_version,
)
from sentinelzer0.maintenance.legacy_versions import Past, find_versions, import_version

__all__ = ["LegacyProblem", "LegacyReport", "import_legacy"]

IMPORT_FILES = "legacy:files:import"


def import_legacy(
    source_dir: str | os.PathLike[str],
    into: str | os.PathLike[str] | None = None,
    *,
    timezone: str | tzinfo | None = None,
    imported_by: str | Actor = SYSTEM,
    clock: Clock | None = None,
) -> LegacyReport:
    """Take a directory of version 3.3 over.

    Args:
        source_dir: The directory that version 3.3 was given as ``base_dir``. Only read.
        into: The workspace to take it to, a directory or an address; None makes ``source_dir`` itself the workspace.
        timezone: The zone of its times, for example ``Europe/Istanbul``; None is the zone of this machine.
        imported_by: Who imports.
        clock: Where the time comes from.

    Raises:
        InvalidInputError: There are no files of version 3.3, or there is no such time zone.
    """
    source = Path(os.path.abspath(source_dir))  # noqa: PTH100 - symlinks stay as the user wrote them
    files = _require_files(source)
    findings = Findings()
    directory = LegacyDirectory(source, zone_of(timezone), findings)
    actor = check_actor(imported_by)
    location = source if into is None else into
    marker = Layout(workspace_root(location)).unfinished_import
    write_text(marker, f"{source}\n")
    kernel = Kernel(location, clock=clock, allow_legacy=True)
    try:
        _import_all(kernel, directory, actor)
        _record_files(kernel, directory, files, actor)
        marker.unlink(missing_ok=True)
        root = str(kernel.layout.root)
    finally:
        kernel.close()
    problems, notes = tuple(dict.fromkeys(findings.problems)), tuple(dict.fromkeys(findings.notes))
    return LegacyReport(str(source), root, findings.imported, findings.unchanged, problems, notes)


def _require_files(source: Path) -> list[Path]:
    files = Layout(source).legacy_traces()
    if files:
        return files
    below = next((child for child in sorted(source.glob("*/")) if Layout(child).legacy_traces()), None)
    hint = "Name the directory that version 3.3 was given as base_dir."
    raise InvalidInputError(
        f"{str(source)!r} holds no files of version 3.3.", hint=hint if below is None else f"Perhaps you mean {below}?"
    )


def _import_all(kernel: Kernel, directory: LegacyDirectory, actor: Actor) -> None:
    findings = directory.findings
    entries = find_entries(directory)
    history = find_rollbacks(directory)
    past = Past(
        {name: stage for name, (_, stage, _) in entries.items()},
        {name: promoted for name, (_, _, promoted) in entries.items()},
        left_by_rollback(history),
    )
    with kernel.read() as view:
        adoption = view.policies.in_force().policy().adoption
    versions = find_versions(directory)
    for version in versions:
        result = import_version(kernel, version, past, actor, adoption=adoption)
        _count(findings, "versions", version.name, result)
    _name_unclaimed(directory, {version.bytes for version in versions})
    for name, (facts, _, _) in entries.items():
        _count(findings, "entries", name, import_entry(kernel, name, facts, actor))
    import_requests(kernel, directory, actor)
    for path in (path for path in Layout(directory.root).legacy_traces() if _is_test(directory.root, path)):
        if (test := directory.object(path)) is not None:
            result = import_test(kernel, test, actor)
            _count(findings, "ab_tests", test.key, result)
    for event in history:
        _count(findings, "rollbacks", event.event_id, import_rollback(kernel, event, actor))
    in_production = [
        (name, promoted or facts.required_time("registered_at"))
        for name, (facts, stage, promoted) in entries.items()
        if stage is ModelStage.PRODUCTION
    ] or [
        (version.name, version.created_at)
        for version in versions
        if version.status is VersionStatus.PRODUCTION and version.name not in entries
    ]
    import_deployment(kernel, directory, serving_version(in_production), actor)


def _name_unclaimed(directory: LegacyDirectory, claimed: set[Path]) -> None:
    """Name bytes that no metadata describes: without a SHA-256 on record they cannot be verified."""
    for path in sorted(directory.root.glob("versions/model_*.pt")):
        metadata = directory.root / "metadata" / f"metadata_{path.stem.removeprefix('model_')}.json"
        if path.is_file() and path not in claimed and not metadata.is_file():
            directory.findings.damaged(directory.name(path), "", "no metadata file describes it")


def _is_test(root: Path, path: Path) -> bool:
    return path.name.startswith("test_") and path.parent in {root, root / "ab_tests"}


def _count(findings: Findings, kind: str, name: str, result: str | None) -> None:
    if result is not None:
        (findings.imported if result == "imported" else findings.unchanged)[kind].append(name)


def _record_files(kernel: Kernel, directory: LegacyDirectory, files: list[Path], actor: Actor) -> None:
    """Put on record which files were taken over in place, so that ``doctor`` knows what was not."""
    findings = directory.findings
    if not any(findings.imported.values()):
        return
    whole = {
        p.file for p in findings.problems if not p.subject or p.file.partition("/")[0] not in {"registry", "rollback"}
    }
    versions = [*findings.imported["versions"], *findings.unchanged["versions"]]
    taken = {f"metadata/metadata_{name}.json" for name in versions} | {f"versions/model_{name}.pt" for name in versions}
    named = {directory.name(path) for path in files}
    taken |= {name for name in named - whole if not name.startswith(("metadata/", "versions/"))}
    with kernel.begin(actor, IMPORT_FILES, "workspace:this") as tx:
        counts = {kind: len(names) for kind, names in findings.imported.items()}
        in_place = directory.root == kernel.layout.root
        detail = {
            "source": str(directory.root),
            "files": sorted(taken & named) if in_place else [],
            "imported": counts,
            "damaged": [str(problem) for problem in findings.problems],
        }
        tx.record(reason="taken over from version 3.3", detail=detail)
