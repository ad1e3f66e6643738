"""Which blobs and temporary files nobody needs any more, and their removal."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sentinelzer0.domain.manifests import CANONICAL_START, Manifest
from sentinelzer0.storage.blob_views import remove_tree
from sentinelzer0.storage.copying import exclusive_lock
from sentinelzer0.storage.staging import temp_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

_FANOUT = re.compile(r"[0-9a-f]{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def remove_stale_temps(blobs: Path, older_than: datetime, *, dry_run: bool = False) -> list[str]:
    """Remove what a crash left behind; the age is in the name. With ``dry_run`` nothing is removed, only named.

    Returns:
        The names removed.

    Raises:
        OSError: The disk refused.
    """
    removed = []
    for entry in _scan(blobs):
        made = temp_moment(entry.name)
        if made is not None and made < older_than:
            if not dry_run:
                remove_tree(Path(entry.path))
            removed.append(entry.name)
    return removed


def remove_unreferenced(
    blobs: Path,
    lock: Path,
    referenced: Callable[[str], bool],
    read_manifest: Callable[[str], Manifest],
    older_than: datetime,
    *,
    dry_run: bool = False,
) -> list[str]:
    """Remove old blobs that no row, no manifest in use and no readable view refers to.

    Args:
        blobs: The directory of the two-digit directories.
        lock: Held by every publication of a blob; under it a blob is looked at again before it goes.
        referenced: Whether a row names the digest.
        read_manifest: Reads a manifest and raises when it is damaged.
        older_than: Blobs stored or stored again since then stay.
        dry_run: Remove nothing, only name what would go.

    Returns:
        The digests removed.

    Raises:
        IntegrityError: A manifest in use is damaged; nothing was removed.
        OSError: The disk refused.
    """
    candidates, in_use = [], []
    for path in _blob_paths(blobs):
        if referenced(path.name):
            in_use.append(path)
        elif _is_spare(path, older_than):
            candidates.append(path)
    if not candidates:
        return []
    members = {
        entry.sha256 for path in in_use if _looks_like_manifest(path) for entry in read_manifest(path.name).entries
    }
    removed = []
    for path in candidates:
        if path.name in members:
            continue
        with exclusive_lock(lock):
            if _is_spare(path, older_than) and not referenced(path.name):
                if not dry_run:
                    path.unlink()
                removed.append(path.name)
    return removed


def _is_spare(path: Path, older_than: datetime) -> bool:
    """Whether the blob is a regular file, old, and in no readable view."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_mtime < older_than.timestamp()


def _looks_like_manifest(path: Path) -> bool:
    """Whether the blob starts as a manifest does; a model file that does so merely keeps more blobs."""
    try:
        with path.open("rb", buffering=0) as stream:
            return stream.read(len(CANONICAL_START)) == CANONICAL_START
    except FileNotFoundError:
        return False


def _blob_paths(blobs: Path) -> Iterator[Path]:
    for directory in _scan(blobs):
        if _FANOUT.fullmatch(directory.name) and directory.is_dir(follow_symlinks=False):
            for entry in _scan(Path(directory.path)):
                if _DIGEST.fullmatch(entry.name) and entry.name.startswith(directory.name):
                    yield Path(entry.path)


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
