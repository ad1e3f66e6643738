"""Backup of a workspace while others use it, and restore to either backend.

A backup is a directory:

- ``workspace/``: ``sentinelzer0.db`` (one consistent state as an SQLite file, also of a PostgreSQL workspace), the
  blobs that this state refers to, signed checkpoints, exports, A/B results and reports, rollback files;
- ``checkpoint.note``: a signed note over the audit log as it is in this backup;
- ``manifest.json``: size and SHA-256 of every file. It is written last: without it, it is no backup.

The private signing key is not in it: it lies outside the workspace and is kept apart on purpose.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinelzer0.domain.identity import Actor
from sentinelzer0.domain.manifests import ContentKind
from sentinelzer0.domain.signed_note import Checkpoint
from sentinelzer0.errors import (
    CorruptWorkspaceError,
    IntegrityError,
    InvalidInputError,
    SentinelError,
    WorkspaceError,
)
from sentinelzer0.kernel import (
    SYSTEM,
    Clock,
    Kernel,
    Layout,
    disk_errors,
    load_snapshot,
    signed_text,
    workspace_root,
    write_json,
    write_text,
)
from sentinelzer0.maintenance.collection import TEMP_PREFIX
from sentinelzer0.maintenance.doctor import examine, repair
from sentinelzer0.maintenance.report import Report
from sentinelzer0.mlops.audit_trail import AuditTrail

BACKUP = "workspace:backup:create"
RESTORE = "workspace:backup:restore"
FORMAT = "sentinelzer0-backup-1"
WORKSPACE, MANIFEST, NOTE = "workspace", "manifest.json", "checkpoint.note"
READABLE = ("registry", "ab_tests", "rollback")
"""Directories that are taken as they are: checkpoints, exports, results, reports, event files."""
WITHOUT_KEY = "The signing key is not in the backup: keep a copy of it elsewhere, apart from the backups."


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Attributes:
        directory: Where it lies.
        workspace_id: Whose it is.
        records: Audit records in it.
        root: Root of the audit log (hex).
        blobs: Number of blobs.
        size: Bytes of all files.
        signed: Whether its checkpoint is signed; it is not when the signing key is elsewhere.
        remarks: What the person who keeps it must know.
    """

    directory: str
    workspace_id: str
    records: int
    root: str
    blobs: int
    size: int
    signed: bool
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"remarks": list(self.remarks)}


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore made.

    Attributes:
        location: The workspace that was made.
        backup: What it was made from.
        report: The doctor's examination of it.
    """

    location: str
    backup: Backup
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"location": self.location, "backup": self.backup.to_dict(), "report": self.report.to_dict()}


def backup(
    kernel: Kernel,
    destination: str | os.PathLike[str],
    *,
    actor: str | Actor = SYSTEM,
    progress: Callable[[int, int], None] | None = None,
) -> Backup:
    """Copy the workspace as it is at one moment, while others go on using it.

    Args:
        kernel: The open workspace.
        destination: A directory that does not exist, or is empty.
        actor: Who makes it.
        progress: Called with (bytes copied, bytes in all).

    Raises:
        InvalidInputError: The destination is not empty, or inside the workspace.
        IntegrityError: Bytes of a version are damaged; what was copied so far has no manifest and is no backup.
        StorageFullError: No space is left.
    """
    target = _empty_directory(destination)
    if target.is_relative_to(kernel.layout.root.resolve()):
        raise InvalidInputError(f"{str(target)!r} is inside the workspace.", hint="Choose a directory elsewhere.")
    try:
        with disk_errors(f"The backup to {str(target)!r}"):
            document = _fill(kernel, target, progress)
            made = _summary(target, document)
            os.sync()
            write_json(target / MANIFEST, document)
            _on_disk(target / MANIFEST)
    except BaseException:
        _empty(target)
        raise
    with kernel.begin(actor, BACKUP, "workspace:this") as tx:
        tx.record(
            detail={name: value for name, value in made.to_dict().items() if name not in {"directory", "remarks"}}
        )
    return made


def _fill(kernel: Kernel, target: Path, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    """Copy everything and return the manifest."""
    inside = Layout(target / WORKSPACE)
    inside.root.mkdir(parents=True)
    kernel.save_snapshot(inside.database)
    for name in READABLE:
        _copy_tree(getattr(kernel.layout, name), inside.root / name)
    with closing(Kernel(inside.root, clock=kernel.clock, allow_legacy=True)) as copy:
        blobs = _copy_blobs(kernel, copy, progress)
        with copy.read() as view:
            frontier = view.audit.head()
        workspace_id = copy.workspace_id
    signed = _sign(kernel, target, Checkpoint(kernel.signer().name, frontier.size, frontier.root()))
    return {
        "format": FORMAT,
        "created_at": kernel.now().isoformat(),
        "workspace_id": workspace_id,
        "records": frontier.size,
        "root": frontier.root().hex(),
        "blobs": blobs,
        "signed": signed,
        "files": dict(_digests(target)),
    }


def verify_backup(source: str | os.PathLike[str]) -> Backup:
    """Check every byte of a backup, and its signed checkpoint; nothing is changed.

    Raises:
        CorruptWorkspaceError: It is incomplete, or a file is missing, changed or foreign.
    """
    directory = Path(source).resolve()
    document = _manifest(directory)
    actual = dict(_digests(directory))
    expected = document["files"]
    problems = [
        *(f"{name} is missing" for name in sorted(expected.keys() - actual.keys())),
        *(f"{name} does not belong to it" for name in sorted(actual.keys() - expected.keys())),
        *(f"{name} was changed" for name in sorted(expected) if name in actual and actual[name] != expected[name]),
    ]
    problems += [] if problems or not document["signed"] else _note_problems(directory, document)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CorruptWorkspaceError(
            f"The backup {str(directory)!r} is damaged: {'; '.join(problems[:3])}{more}.", hint="Use another backup."
        )
    return _summary(directory, document)


def restore(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    actor: str | Actor = SYSTEM,
    clock: Clock | None = None,
) -> Restored:
    """Make a workspace from a backup, on SQLite or PostgreSQL, and let the doctor examine it.

    Everything is verified before the destination is touched, and the files appear under their name only when all
    of them are there.

    Args:
        source: A backup.
        directory: An empty or absent directory, or ``postgresql://…?blobs=DIRECTORY`` with an empty database.
        actor: Who restores.
        clock: Where the time comes from.

    Raises:
        CorruptWorkspaceError: The backup is damaged.
        InvalidInputError: The directory is not empty.
        AlreadyExistsError: The database holds a workspace.
    """
    found = verify_backup(source)
    root = _empty_directory(workspace_root(directory))
    beside = root.with_name(f".{root.name}.restoring-{os.getpid()}")
    try:
        with disk_errors(f"Restoring to {str(root)!r}"):
            shutil.copytree(Path(source) / WORKSPACE, beside)
        _require_log(beside, found, clock)
        database = Layout(beside).database
        if "://" in os.fspath(directory):
            load_snapshot(directory, database)
            database.unlink()
        if root.exists():
            root.rmdir()
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    kernel = Kernel(directory, clock=clock, allow_legacy=True)
    try:
        repair(kernel, actor=actor)
        with kernel.begin(actor, RESTORE, "workspace:this") as tx:
            tx.record(detail={"records": found.records, "root": found.root})
        return Restored(os.fspath(directory), found, examine(kernel))
    finally:
        kernel.close()


def _copy_blobs(kernel: Kernel, copy: Kernel, progress: Callable[[int, int], None] | None) -> int:
    """Copy every blob that the saved state refers to, hashing each; return how many."""
    wanted: dict[str, int] = {}
    with copy.read() as view:
        for version in view.versions.all():
            if version.deleted_at is not None:
                continue
            wanted[version.digest] = version.size
            if version.kind == ContentKind.DIRECTORY.value:
                manifest = kernel.blobs.manifest(version.digest)
                wanted[version.digest] = len(manifest.canonical_bytes())
                wanted |= {entry.sha256: entry.size for entry in manifest.entries}
        for digest in view.registry.evidence_digests():
            wanted.setdefault(digest, 0)
    total, done = sum(wanted.values()), 0
    for digest, size in sorted(wanted.items()):
        _copy_blob(kernel.blobs.path(digest), copy.blobs.path(digest), digest)
        done += size
        if progress is not None:
            progress(done, total)
    return len(wanted)


def _copy_blob(source: Path, target: Path, digest: str) -> None:
    """Copy one blob and hash the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise IntegrityError(f"The stored bytes of {digest} are missing.", hint="Run: sentinelzer0 doctor") from error
    actual = _sha256(target)
    if actual != digest:
        raise IntegrityError(
            f"The stored bytes of {digest} changed: their SHA-256 is now {actual}.", hint="Run: sentinelzer0 doctor"
        )
    target.chmod(0o444)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sign(kernel: Kernel, target: Path, checkpoint: Checkpoint) -> bool:
    """Write the signed checkpoint and the key that verifies it; False when the signing key is not on this machine."""
    signer = kernel.signer()
    try:
        note = signer.sign(checkpoint.to_body())
    except WorkspaceError:
        return False
    write_text(target / NOTE, note)
    write_text(target / WORKSPACE / "registry" / "audit.vkey", signer.vkey + "\n")
    return True


def _note_problems(directory: Path, document: Mapping[str, Any]) -> list[str]:
    """Compare the signed checkpoint with the manifest, by this machine's key or the one that the backup carries."""
    vkey = directory / WORKSPACE / "registry" / "audit.vkey"
    try:
        note = (directory / NOTE).read_text(encoding="utf-8")
        checkpoint = Checkpoint.from_body(signed_text(document["workspace_id"], vkey, note))
    except (SentinelError, UnicodeDecodeError) as error:
        return [f"{NOTE} is not validly signed: {error}"]
    if (checkpoint.size, checkpoint.root.hex()) != (document["records"], document["root"]):
        return [f"{NOTE} signs another audit log than the manifest names"]
    return []


def _require_log(root: Path, document: Backup, clock: Clock | None) -> None:
    """Refuse a copied database whose audit log is not the one that the manifest names.

    Raises:
        CorruptWorkspaceError: It is not.
    """
    with closing(Kernel(root, clock=clock, allow_legacy=True)) as copy:
        found = AuditTrail(copy).verify()
    if not found.intact or (found.records, found.root) != (document.records, document.root):
        why = found.problems[0] if found.problems else f"its root is {found.root}, not {document.root}."
        raise CorruptWorkspaceError(f"The audit log in the backup is not sound: {why}", hint="Use another backup.")


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CorruptWorkspaceError(
            f"{str(directory)!r} is no backup, or one that was interrupted: it has no {MANIFEST}.",
            hint="Make it again, into an empty directory.",
        ) from error
    except (OSError, ValueError) as error:
        raise CorruptWorkspaceError(f"{str(path)!r} cannot be read: {error}.", hint="Use another backup.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT or not _complete(document):
        raise CorruptWorkspaceError(
            f"{str(path)!r} is not a manifest of the format {FORMAT}.", hint="Use another backup."
        )
    return document


def _complete(document: Mapping[str, Any]) -> bool:
    types = {"workspace_id": str, "records": int, "root": str, "blobs": int, "signed": bool, "files": dict}
    return all(isinstance(document.get(name), kind) for name, kind in types.items())


def _summary(directory: Path, document: Mapping[str, Any]) -> Backup:
    size = sum(int(entry["size"]) for entry in document["files"].values())
    unsigned = () if document["signed"] else ("The checkpoint is not signed: the signing key is not on this machine.",)
    facts = {name: document[name] for name in ("workspace_id", "records", "root", "blobs", "signed")}
    return Backup(str(directory), size=size, remarks=(*unsigned, WITHOUT_KEY), **facts)


def _digests(directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name, size and SHA-256 of every file but the manifest."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_dir() or name == MANIFEST:
            continue
        regular = path.is_file() and not path.is_symlink()
        yield name, {"size": path.stat().st_size, "sha256": _sha256(path)} if regular else {"size": -1, "sha256": ""}


def _copy_tree(source: Path, target: Path) -> None:
    """Copy regular files; links, devices and our temporary files stay behind."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(TEMP_PREFIX):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _empty_directory(location: str | os.PathLike[str]) -> Path:
    path = Path(location).resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInputError(
            f"{str(path)!r} is not an empty directory.", hint="Name one that is empty or does not exist."
        )
    return path


def _empty(directory: Path) -> None:
    """Remove what was copied; the directory was empty before."""
    for path in directory.iterdir() if directory.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _on_disk(path: Path) -> None:
    """Wait until the file, and everything written before it, survives a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
