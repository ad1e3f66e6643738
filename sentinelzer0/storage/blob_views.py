"""The readable side of stored content: a file or directory of hard links under a name a person can find.

A view can always be made again from the blobs, so it is not synced to the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sentinelzer0.storage.copying import copy_bytes
from sentinelzer0.storage.hashing import in_parallel, sha256_of_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS}
_READ_ONLY = 0o444
_READ_ONLY_EXECUTABLE = 0o555


def link_or_copy(blob: Path, target: Path, *, executable: bool) -> None:
    """Make a blob appear under another name, read-only; as a copy where hard links are impossible.

    An executable member makes the shared blob executable: the bit is no part of its bytes.

    Raises:
        OSError: Neither worked.
    """
    if executable and not os.lstat(blob).st_mode & stat.S_IXUSR:
        blob.chmod(_READ_ONLY_EXECUTABLE)
    try:
        os.link(blob, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        return
    with blob.open("rb") as reader, target.open("xb") as writer:
        copy_bytes(reader.fileno(), writer.fileno(), os.fstat(reader.fileno()).st_size, lambda _: None)
    target.chmod(_READ_ONLY_EXECUTABLE if executable else _READ_ONLY)


def differences(destination: Path, expected: dict[str, tuple[Path, str, int]]) -> list[str]:
    """Compare a view with what it should hold.

    Args:
        destination: The file, or the directory, of the view.
        expected: Per path below the destination (empty for the destination itself): blob, digest and size.

    Returns:
        Problems in plain words, sorted by path. A hard link to the blob is not read; anything else is hashed.
    """
    found = dict(_walk(destination))
    problems = {name: f"{name or destination.name} does not belong here" for name in found.keys() - expected.keys()}
    to_hash: list[str] = []
    for name, (blob, _, size) in expected.items():
        shown = name or destination.name
        status = found.get(name)
        if status is None:
            problems[name] = f"{shown} is missing"
        elif not stat.S_ISREG(status.st_mode):
            problems[name] = f"{shown} is not a regular file"
        elif _same_file(blob, status):
            continue
        elif status.st_size != size:
            problems[name] = f"{shown} was changed: it has {status.st_size} bytes, not {size}"
        else:
            to_hash.append(name)

    def compare(name: str) -> str:
        digest = expected[name][1]
        try:
            actual, _ = sha256_of_path(destination / name if name else destination)
        except OSError as error:
            return f"{name or destination.name} cannot be read: {error.strerror}"
        return (
            "" if actual == digest else f"{name or destination.name} was changed: its SHA-256 is {actual}, not {digest}"
        )

    problems.update(zip(to_hash, in_parallel(compare, to_hash), strict=True))
    return [problems[name] for name in sorted(problems) if problems[name]]


def _same_file(blob: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(blob), status)
    except FileNotFoundError:
        return False


def _walk(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything that is not a directory, with its path below the top."""
    try:
        status = os.lstat(top)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(status.st_mode):
        yield "", status
        return
    waiting = [(top, "")]
    while waiting:
        directory, prefix = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
                else:
                    yield prefix + entry.name, status


def rename_new(path: Path, destination: Path) -> bool:
    """Rename a file or directory; False when a directory with files has the name already.

    Raises:
        OSError: The disk refused.
    """
    try:
        path.rename(destination)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}:
            return False
        raise
    return True


def remove_tree(path: Path) -> None:
    """Remove a file, or a directory with everything in it; links are removed, never followed.

    Raises:
        OSError: Something could not be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
