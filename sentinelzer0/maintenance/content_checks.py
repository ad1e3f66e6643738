"""Checks of the bytes and of the readable files that are made from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta

from sentinelzer0.domain.manifests import ContentKind
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import IntegrityError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.collection import DEFAULT_AGE, collect
from sentinelzer0.maintenance.report import Check, Status, verdict
from sentinelzer0.maintenance.state_checks import REPAIR, counted
from sentinelzer0.mlops.integrity import content_of
from sentinelzer0.mlops.version_facts import immutable_facts

LOST_BYTES = "Restore the blob from a backup, or create a new version from the original file"
CRASHED = timedelta(days=1)


def living_versions(kernel: Kernel) -> list[Version]:
    """Return every version of every model that was not deleted."""
    with kernel.read() as view:
        return [version for version in view.versions.all() if version.deleted_at is None]


def check_bytes(kernel: Kernel, versions: Sequence[Version], *, deep: bool) -> Check:
    """Whether the bytes of every living version and piece of evidence are there and, when ``deep``, as on record."""
    problems = [problem for version in versions for problem in _byte_problems(kernel, version, deep=deep)]
    with kernel.read() as view:
        evidence = sorted(view.registry.evidence_digests())
    problems += [problem for digest in evidence if (problem := _evidence_problem(kernel, digest, deep=deep))]
    size = sum(version.size for version in versions)
    how = "hashed" if deep else "present, not hashed"
    files = f", {counted(len(evidence), 'file')} of evidence" if evidence else ""
    fine = f"{counted(len(versions), 'version')}, {counted(size, 'byte')}{files}, {how}."
    return verdict("bytes", problems, fine, LOST_BYTES)


def check_views(kernel: Kernel, versions: Sequence[Version]) -> Check:
    """Whether ``versions/`` shows every living version, and nothing else under its name."""
    problems = [problem for version in versions for problem in view_problems(kernel, version)]
    fine = f"Readable by name: {counted(len(versions), 'version')}."
    return verdict("readable files", problems, fine, REPAIR, Status.WARN)


def check_metadata(kernel: Kernel, versions: Sequence[Version]) -> Check:
    """Whether ``metadata/`` tells the facts of every living version."""
    problems = [problem for version in versions if (problem := metadata_problem(kernel, version))]
    return verdict(
        "metadata files", problems, f"The facts are told by {counted(len(versions), 'file')}.", REPAIR, Status.WARN
    )


def check_orphans(kernel: Kernel) -> Check:
    """Whether bytes lie around that nothing refers to."""
    found = collect(kernel, DEFAULT_AGE, dry_run=True)
    problems = []
    if found.blobs:
        blobs = f"{counted(len(found.blobs), 'blob')} ({counted(found.size, 'byte')})"
        problems.append(f"older than {DEFAULT_AGE.days} days and unused: {blobs}")
    fix = "Run: sentinelzer0 collect"
    return verdict("unused bytes", problems, f"None older than {DEFAULT_AGE.days} days.", fix, Status.WARN)


def check_temps(kernel: Kernel) -> Check:
    """Whether a crash left temporary files."""
    found = collect(kernel, CRASHED, dry_run=True).temps
    problems = (
        [f"older than {CRASHED.days} day: {counted(len(found), 'temporary file')}, for example {found[0]}"]
        if found
        else []
    )
    return verdict("temporary files", problems, "No stale ones.", REPAIR, Status.WARN)


def view_problems(kernel: Kernel, version: Version) -> list[str]:
    """Return what is wrong with a version's readable view."""
    directory = kernel.layout.version_directory(version.model, version.version)
    path = directory if version.kind == ContentKind.DIRECTORY.value else directory / version.filename
    try:
        found = kernel.blobs.view_problems(content_of(version), path)
    except IntegrityError:
        return []  # the manifest is damaged: the check of the bytes says so
    return [f"{version.version}: {problem}" for problem in found]


def metadata_problem(kernel: Kernel, version: Version) -> str:
    """Return what is wrong with a version's metadata file, or an empty string."""
    path = kernel.layout.metadata_file(version.model, version.version)
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read: {error}"
    return "" if told == json.loads(json.dumps(immutable_facts(version))) else f"{path.name} was changed"


def _evidence_problem(kernel: Kernel, digest: str, *, deep: bool) -> str:
    path = kernel.blobs.path(digest)
    if not path.is_file():
        return f"evidence {digest[:12]}: bytes are missing"
    if not deep:
        return ""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if found == digest else f"evidence {digest[:12]}: bytes have another SHA-256, {found[:12]}"


def _byte_problems(kernel: Kernel, version: Version, *, deep: bool) -> list[str]:
    content = content_of(version)
    if deep:
        return [f"{version.version}: {problem}" for problem in kernel.blobs.check(content)]
    try:
        missing = () in kernel.blobs.stat_key(content)
    except IntegrityError as error:
        return [f"{version.version}: {error.message}"]
    return [f"{version.version}: bytes are missing"] if missing else []
