"""Collection: bytes that no version, no evidence and no manifest names any more, and what crashes left behind.

Only what is old goes, because the bytes of a version arrive before the row that names them. Files that are not ours
are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sentinelzer0.domain.identity import Actor
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import SYSTEM, Kernel

COLLECT = "workspace:orphans:collect"
DEFAULT_AGE = timedelta(days=7)
TEMP_PREFIX = ".sz0-tmp-"
_DIGEST_LENGTH = 64
_MAX_RECORDED = 1000


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection removed, or would remove.

    Attributes:
        blobs: SHA-256 of the blobs.
        temps: Names of temporary files.
        size: Bytes of the blobs together.
        older_than: What is younger stayed.
        dry_run: Whether nothing was removed.
    """

    blobs: tuple[str, ...]
    temps: tuple[str, ...]
    size: int
    older_than: datetime
    dry_run: bool

    def __bool__(self) -> bool:
        return bool(self.blobs or self.temps)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the time is ISO-8601."""
        return {
            "blobs": list(self.blobs),
            "temps": list(self.temps),
            "size": self.size,
            "older_than": self.older_than.isoformat(),
            "dry_run": self.dry_run,
        }


def collect(
    kernel: Kernel,
    older_than: timedelta = DEFAULT_AGE,
    *,
    dry_run: bool = False,
    temps_only: bool = False,
    actor: str | Actor = SYSTEM,
) -> Collection:
    """Remove unreferenced blobs and stale temporary files by age; what was removed is on record.

    Referenced are the contents of living versions, the files of their directories, attached evidence, and whatever
    a readable view shows.

    Args:
        kernel: The open workspace.
        older_than: Age from which something goes; longer than the longest upload takes.
        dry_run: Only say what would go.
        temps_only: Leave all blobs alone.
        actor: Who collects.

    Raises:
        InvalidInputError: A negative age.
        IntegrityError: The list of files of a directory is damaged, so what it needs is unknown; no blob was removed.
        StorageUnavailableError: The disk failed.
    """
    if older_than < timedelta(0):
        raise InvalidInputError(f"older_than is {older_than}.", hint="Use an age of 0 or more.")
    limit = kernel.now() - older_than
    sizes: dict[str, int] = {}
    with kernel.read() as view:
        in_use = view.registry.evidence_digests()
        in_use |= {version.digest for version in view.versions.all() if version.deleted_at is None}

    def referenced(digest: str) -> bool:
        if temps_only or digest in in_use:
            return True
        with kernel.read() as view:
            if view.versions.with_digest(digest) or digest in view.registry.evidence_digests():
                return True
        sizes[digest] = _size(kernel.blobs.path(digest))
        return False

    found = kernel.blobs.collect(referenced, limit, dry_run=dry_run)
    blobs = tuple(name for name in found if len(name) == _DIGEST_LENGTH)
    temps = (*(name for name in found if len(name) != _DIGEST_LENGTH), *_readable_temps(kernel, limit, dry_run=dry_run))
    result = Collection(blobs, temps, sum(sizes.get(digest, 0) for digest in blobs), limit, dry_run)
    if result and not dry_run:
        with kernel.begin(actor, COLLECT, "workspace:this") as tx:
            detail = {
                "blobs": len(blobs),
                "digests": list(blobs[:_MAX_RECORDED]),
                "temps": len(temps),
                "size": result.size,
                "older_than": limit.isoformat(),
            }
            tx.record(detail=detail)
    return result


def _readable_temps(kernel: Kernel, limit: datetime, *, dry_run: bool) -> list[str]:
    """Remove what a crash left while a readable file was written."""
    layout = kernel.layout
    removed = []
    places = (layout.metadata, layout.registry, layout.checkpoints, layout.ab_tests, layout.rollback)
    for path in (path for place in places for path in sorted(place.glob(f"{TEMP_PREFIX}*"))):
        status = path.lstat()
        if path.is_file() and not path.is_symlink() and status.st_mtime < limit.timestamp():
            if not dry_run:
                path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
