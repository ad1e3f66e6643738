"""The calls to the operating system behind the blob store: kernel copy, fsync, lock, and their errors.

Linux has every call. Where one is missing (macOS, Windows) the function does the same with a slower one.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sentinelzer0.errors import SentinelError, StorageFullError, StorageUnavailableError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_KERNEL_CHUNK = 4 * 1024 * 1024  # whoever follows the copy is never far behind; larger measured no faster
_LOOP_CHUNK = 1024 * 1024
_FICLONE = 0x40049409  # linux/fs.h; an architecture with another number answers ENOTTY and is copied
_NO_KERNEL_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def copy_bytes(source: int, target: int, size: int, on_bytes: Callable[[int], None]) -> int:
    """Copy a file between two descriptors at position zero: shared extents, else in the kernel, else by hand.

    Args:
        source: Descriptor open for reading.
        target: Descriptor of an empty file, open for writing.
        size: Bytes expected; copying stops there or at the end of the source.
        on_bytes: Called with the size of every chunk.

    Returns:
        Bytes copied; fewer than ``size`` when the source became shorter.

    Raises:
        OSError: Reading or writing failed.
    """
    if _clone(source, target):
        on_bytes(size)
        return size
    done = _kernel_copy(source, target, size, on_bytes)
    while done < size:
        block = os.read(source, min(_LOOP_CHUNK, size - done))
        if not block:
            break
        write_all(target, block)
        done += len(block)
        on_bytes(len(block))
    return done


def _clone(source: int, target: int) -> bool:
    """Let both files share their extents (btrfs, XFS, bcachefs); False where that is impossible."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False  # any real fault shows again in the copy that follows
    return True


def _kernel_copy(source: int, target: int, size: int, on_bytes: Callable[[int], None]) -> int:
    """Copy inside the kernel as far as it can; both positions stand behind the bytes returned."""
    if sys.platform != "linux":
        return 0
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(_KERNEL_CHUNK, size - done))
        except OSError as error:
            if error.errno in _NO_KERNEL_COPY:
                return done
            raise
        if count == 0:
            return done
        done += count
        on_bytes(count)
    return done


def nameless_copy(source: int, size: int, directory: Path, prefix: str) -> io.BufferedReader:
    """Copy an open file into one without a name, which nobody else can open.

    Args:
        source: Descriptor at position zero.
        size: Bytes to copy.
        directory: Where the bytes lie; the same disk as the source allows the cheapest copy.
        prefix: Start of the name it has for a moment where the system cannot make files without one.

    Returns:
        The copy, open for reading at its start.

    Raises:
        OSError: Reading or writing failed.
    """
    with tempfile.TemporaryFile(buffering=0, dir=directory, prefix=prefix) as copy:
        copy_bytes(source, copy.fileno(), size, lambda _: None)
        copy.seek(0)
        return os.fdopen(os.dup(copy.fileno()), "rb")


def read_up_to(source: int, size: int) -> bytes:
    """Read this many bytes, or fewer at the end of the file.

    Raises:
        OSError: Reading failed.
    """
    blocks = []
    while size and (block := os.read(source, size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def write_all(target: int, data: bytes) -> None:
    """Write all bytes, however many calls it takes.

    Raises:
        OSError: Writing failed.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power loss.

    Raises:
        OSError: The disk refused.
    """
    if sys.platform == "win32":
        return  # NTFS journals names itself and directories cannot be opened
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(directories: list[Path]) -> None:
    """Create directories and their missing parents so that they survive a power loss; one fsync per parent.

    Raises:
        OSError: One cannot be created.
    """
    missing = [directory for directory in directories if not directory.is_dir()]
    if not missing:
        return
    parents = sorted({directory.parent for directory in missing})
    make_directories(parents)
    for directory in missing:
        directory.mkdir(exist_ok=True)
    for parent in parents:
        sync_directory(parent)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock among all threads and processes that name the same file; released even by kill -9.

    Raises:
        OSError: The lock file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said aloud, because a child forked meanwhile holds a copy of the descriptor.
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn errors of the operating system into ours, keeping the cause.

    Args:
        doing: What was attempted, as in "Storing 'model.bin'".

    Raises:
        StorageFullError: No space or no quota is left.
        StorageUnavailableError: Any other error of the disk.
    """
    try:
        yield
    except SentinelError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(
                f"{doing} failed: no space is left on the disk. Nothing was kept.",
                hint="Free some space, for example by collecting unreferenced blobs, and try again.",
            ) from error
        raise StorageUnavailableError(
            f"{doing} failed: {error.strerror or error}. Nothing was kept.",
            hint="Check the disk, its permissions and the system log, then try again.",
        ) from error
