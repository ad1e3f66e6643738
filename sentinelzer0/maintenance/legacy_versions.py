"""Versions, registry entries, approvals and what serves, taken over from version 3.3.

The registry counts where it and the metadata disagree about a stage. Bytes are hashed before and while they are
stored: a version whose SHA-256 is not the one on record is not taken over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sentinelzer0.domain.identity import DEFAULT_MODEL, Actor, check_identifier, subject_of_version
from sentinelzer0.domain.manifests import StoredContent
from sentinelzer0.domain.versions import ModelStage, Version, VersionStatus
from sentinelzer0.errors import InvalidInputError, SentinelError
from sentinelzer0.kernel import Kernel, write_json
from sentinelzer0.maintenance.legacy_files import Facts, LegacyDirectory
from sentinelzer0.mlops.integrity import view_path
from sentinelzer0.mlops.version_facts import immutable_facts

IMPORT_VERSION = "legacy:version:import"
OURS = "sentinelzer0-version-1"


@dataclass(frozen=True, slots=True)
class Past:
    """What the rest of the directory says about versions.

    Attributes:
        stages: Stage by version, from the registry.
        promoted: When a registered version was last promoted.
        left: The last successful rollback away from a version: when and why.
    """

    stages: Mapping[str, ModelStage]
    promoted: Mapping[str, datetime | None]
    left: Mapping[str, tuple[datetime, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """One version as version 3.3 described it."""

    name: str
    facts: Facts
    created_at: datetime
    status: VersionStatus
    parent: str | None
    digest: str
    bytes: Path


def find_versions(directory: LegacyDirectory) -> list[Found]:
    """Return the described versions, parents before their children; damage is named."""
    found: dict[str, Found] = {}
    paths = sorted(directory.root.glob("metadata/metadata_*.json"))
    for path in paths:
        facts = directory.object(path)
        if facts is None or facts.raw.get("format") == OURS:
            continue
        try:
            version = _described(directory, facts)
        except InvalidInputError as error:
            facts.damaged(error.message)
            continue
        twin = next((name for name in found if name.casefold() == version.name.casefold()), None)
        if twin is not None:
            facts.damaged(f"describes {version.name} again, after {found[twin].facts.file}")
            continue
        found[version.name] = version
    return _parents_first(found)


def import_version(kernel: Kernel, found: Found, past: Past, actor: Actor, *, adoption: bool) -> str | None:
    """Take one version over.

    Args:
        kernel: The workspace it is taken to.
        found: The version.
        past: What the rest of the directory says.
        actor: Who imports.
        adoption: Whether the policy in force accepts that a version was in production before it came here.

    Returns:
        ``imported``, ``unchanged``, or None when it is damaged, which is then named.
    """
    facts = found.facts
    try:
        with kernel.read() as view:
            known = view.versions.same_name(DEFAULT_MODEL, found.name)
            parent = None if found.parent is None else view.versions.get(DEFAULT_MODEL, found.parent)
        if found.parent is not None and (parent is None or parent.version == found.name):
            facts.damaged(f"its parent {found.parent!r:.60} is unknown here; it is taken over without one")
            parent = None
        if known is not None:
            if (known.version, known.digest) == (found.name, found.digest):
                return "unchanged"
            raise InvalidInputError(f"the workspace has another version called {known.version}")
        _check_place(kernel, found.name)
        content = _stored(kernel, found)
        version = _insert(kernel, found, content, None if parent is None else parent.version, past, actor, adoption)
    except SentinelError as error:
        facts.damaged(error.message)
        return None
    view_path(kernel, version)
    write_json(kernel.layout.metadata_file(version.model, version.version), immutable_facts(version))
    return "imported"


def _described(directory: LegacyDirectory, facts: Facts) -> Found:
    name = check_identifier(facts.raw.get("version"), "version")
    if facts.file != f"metadata/metadata_{name}.json":
        raise InvalidInputError(f"describes {name}, which is not what the file is called after")
    facts.key = name
    digest = facts.required("file_hash").lower()
    status = facts.one_of("status", VersionStatus)
    parent = facts.raw.get("parent_version")
    if parent is not None and not isinstance(parent, str):
        raise InvalidInputError(f"parent_version is {parent!r:.60}, not a name.")
    path = directory.root / "versions" / f"model_{name}.pt"
    return Found(name, facts, facts.required_time("created_at"), status, parent, digest, path)


def _parents_first(found: Mapping[str, Found]) -> list[Found]:
    ordered: dict[str, Found] = {}
    for start in sorted(found.values(), key=lambda item: (item.created_at, item.name)):
        line: dict[str, Found] = {}
        version: Found | None = start
        while version is not None and version.name not in ordered and version.name not in line:
            line[version.name] = version
            version = None if version.parent is None else found.get(version.parent)
        ordered.update(reversed(line.items()))
    return list(ordered.values())


def _stored(kernel: Kernel, found: Found) -> StoredContent:
    path = found.bytes
    if not path.is_file():
        raise InvalidInputError(f"its bytes are missing: there is no versions/{path.name}")
    try:
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInputError(f"its bytes cannot be read: {error.strerror}") from error
    if actual == found.digest:
        content = kernel.blobs.put(path)
        actual = content.digest
        if actual == found.digest:
            return content
    raise InvalidInputError(f"its bytes were changed: their SHA-256 is {actual}, on record is {found.digest}")


def _check_place(kernel: Kernel, name: str) -> None:
    """Refuse a name whose readable files would take the place of an original."""
    originals = {path.resolve() for path in kernel.layout.legacy_traces()}
    for path in (
        kernel.layout.metadata_file(DEFAULT_MODEL, name),
        kernel.layout.version_directory(DEFAULT_MODEL, name),
    ):
        if path.resolve() in originals:
            raise InvalidInputError(
                f"its readable files would take the place of {path.name}; import into another directory"
            )


def _insert(
    kernel: Kernel,
    found: Found,
    content: StoredContent,
    parent: str | None,
    past: Past,
    actor: Actor,
    adoption: bool,
) -> Version:
    facts = found.facts
    stage, deprecated = _stage(found, past.stages.get(found.name), adoption=adoption)
    promoted = past.promoted.get(found.name)
    left = _left(found, past, stage)
    with kernel.begin(actor, IMPORT_VERSION, subject_of_version(DEFAULT_MODEL, found.name)) as tx:
        in_production = stage is ModelStage.PRODUCTION
        version = Version(
            seq=tx.next_seq,
            model=DEFAULT_MODEL,
            version=found.name,
            digest=content.digest,
            kind=content.kind.value,
            size=content.size,
            filename=content.filename,
            created_at=found.created_at,
            **_told(facts),
            parent_version=parent,
            stage=stage,
            deprecated=deprecated,
            # Never in the future, or it would outrank what enters production from now on.
            production_at=min(promoted or found.created_at, tx.now) if in_production else None,
            known_good_at=tx.now if in_production else None,
            quarantined_at=None if left is None else left[0],
            quarantine_reason="" if left is None else f"version 3.3 rolled back from it: {left[1]}",
        )
        tx.versions.put(version)
        detail: dict[str, Any] = {"file": facts.file, "status": found.status.value, "verified": content.digest}
        if in_production:
            detail["known_good"] = "imported"
        if found.parent is not None and parent is None:
            detail["unknown_parent"] = found.parent
        tx.record(digest=content.digest, reason="taken over from version 3.3", detail=detail)
    return version


def _told(facts: Facts) -> dict[str, Any]:
    """Return what the metadata tells, as far as it can be kept."""
    names = ("framework", "framework_version", "model_type", "training_dataset", "notes")
    return {
        "created_by": facts.person("created_by"),
        "tags": facts.tags(),
        **{name: facts.text(name) for name in names},
        **{name: facts.document(name) for name in ("architecture", "hyperparameters")},
        **{name: facts.metrics(name) for name in ("training_metrics", "validation_metrics", "test_metrics")},
    }


def _left(found: Found, past: Past, stage: ModelStage) -> tuple[datetime, str] | None:
    """Return when and why version 3.3 rolled back from the version, unless it was promoted again since."""
    left, promoted = past.left.get(found.name), past.promoted.get(found.name)
    if left is None or stage is ModelStage.PRODUCTION or (promoted is not None and promoted > left[0]):
        return None
    found.facts.note("quarantined, because version 3.3 rolled back from it; a person releases it")
    return left


def _stage(found: Found, registered: ModelStage | None, *, adoption: bool) -> tuple[ModelStage, bool]:
    """Return stage and deprecation; the registry counts where it and the metadata disagree."""
    deprecated = found.status is VersionStatus.DEPRECATED
    if registered is not None:
        stage = registered
        reads_as = VersionStatus.DEVELOPMENT.value if stage is ModelStage.NONE else stage.value
        if not deprecated and found.status.value != reads_as:
            found.facts.note(f"the metadata says {found.status}, the registry {stage}: the registry counts")
        if deprecated and stage is ModelStage.PRODUCTION:
            found.facts.note("the metadata says deprecated, the registry production: the registry counts")
            deprecated = False
    elif found.status in {VersionStatus.DEVELOPMENT, VersionStatus.DEPRECATED}:
        stage = ModelStage.NONE
    else:
        stage = ModelStage(found.status.value)
    if stage is ModelStage.PRODUCTION and not adoption:
        found.facts.note("comes in as staging: the policy in force adopts nothing straight into production")
        stage = ModelStage.STAGING
    return stage, deprecated
