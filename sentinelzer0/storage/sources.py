"""What a person hands over to be stored: found, judged safe, and watched for changes while it is copied."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sentinelzer0.domain.manifests import ContentKind, check_member_path, check_paths_apart
from sentinelzer0.errors import InvalidInputError, ModelFileNotFoundError, SourceChangedError, UnsafeModelError

# Not following links and not waiting for the writer of a pipe, should either replace the file after it was found.
_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _OPEN_FLAGS |= getattr(os, _flag, 0)

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One regular file as it was found; equal to itself as long as nobody changed it.

    Attributes:
        path: Where to read it.
        name: Path inside the model with ``/``; the base name for a single file.
        device: Device number.
        inode: Inode number.
        size: Bytes.
        mtime_ns: Time of the last change of the bytes, in nanoseconds.
        executable: Whether its owner may execute it.
    """

    path: Path
    name: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    executable: bool

    def open(self) -> int:
        """Open for reading and make sure that it is still the file that was found.

        Returns:
            A descriptor the caller closes.

        Raises:
            SourceChangedError: It was replaced, changed or removed meanwhile.
            UnsafeModelError: It cannot be read.
        """
        try:
            descriptor = os.open(self.path, _OPEN_FLAGS)
        except FileNotFoundError as error:
            raise _changed(self.path, "was removed") from error
        except OSError as error:
            raise _unreadable(self.path, error) from error
        try:
            self.require_unchanged(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def require_unchanged(self, descriptor: int) -> None:
        """Compare the open file with what was found.

        Raises:
            SourceChangedError: Size, time of change or identity differ.
        """
        if _describe(self.path, self.name, os.fstat(descriptor)) != self:
            raise _changed(self.path, "changed")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to be stored.

    Attributes:
        path: As given.
        kind: One file or a directory.
        filename: Base name of the absolute path.
        files: The regular files, sorted by name; at least one.
    """

    path: Path
    kind: ContentKind
    filename: str
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def require_unchanged(self) -> None:
        """Look for files added, removed or changed since `find_source`.

        Raises:
            SourceChangedError: Something differs; the message names one path.
        """
        try:
            now = find_source(self.path)
        except InvalidInputError as error:
            raise SourceChangedError(f"The model {str(self.path)!r} changed while it was copied: {error}") from error
        different = sorted(set(self.files) ^ set(now.files), key=lambda file: file.name)
        if different:
            raise _changed(different[0].path, "was added, removed or changed")


def find_source(path: Path) -> Source:
    """Find the files of a model and refuse what cannot be stored safely.

    Args:
        path: A file or a directory. Directories without files in them are not part of a model.

    Raises:
        ModelFileNotFoundError: Nothing is there.
        UnsafeModelError: A symbolic link, device, pipe or socket; nothing to store; unreadable; an unsafe name.
    """
    filename = path.absolute().name
    try:
        status = os.lstat(path)
    except PermissionError as error:
        raise _unreadable(path, error) from error
    except (OSError, ValueError) as error:
        raise ModelFileNotFoundError(
            f"The model file {str(path)[:300]!r} does not exist.", hint="Check the path."
        ) from error
    if not filename:
        raise UnsafeModelError(f"{str(path)!r} has no name of its own.", hint="Name one file or one directory.")
    check_member_path(filename)
    if stat.S_ISDIR(status.st_mode):
        return Source(path, ContentKind.DIRECTORY, filename, _files_below(path))
    _require_regular(path, status)
    if status.st_size == 0:
        raise UnsafeModelError(f"The model file {str(path)!r} is empty.", hint="Store a file with content.")
    return Source(path, ContentKind.FILE, filename, (_describe(path, filename, status),))


def _files_below(top: Path) -> tuple[SourceFile, ...]:
    """Every regular file of a directory tree, sorted by name."""
    found: list[SourceFile] = []
    waiting = [(top, "")]
    while waiting:
        directory, prefix = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    status = os.lstat(entry.path)
                    check_member_path(name)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append((Path(entry.path), name + "/"))
                        continue
                    _require_regular(Path(entry.path), status)
                    found.append(_describe(Path(entry.path), name, status))
        except FileNotFoundError as error:
            raise _changed(directory, "lost a file") from error
        except PermissionError as error:
            raise _unreadable(directory, error) from error
    if not found:
        raise UnsafeModelError(
            f"The model directory {str(top)!r} holds no files.", hint="Put at least one file into it."
        )
    found.sort(key=lambda file: file.name)
    check_paths_apart([file.name for file in found])
    return tuple(found)


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
    raise UnsafeModelError(
        f"{str(path)!r} is {kind}; a model consists of regular files only.",
        hint="Store the file it points to, or a copy of it." if stat.S_ISLNK(status.st_mode) else "Leave it out.",
    )


def _describe(path: Path, name: str, status: os.stat_result) -> SourceFile:
    return SourceFile(
        path=path,
        name=name,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        executable=bool(status.st_mode & stat.S_IXUSR),
    )


def _changed(path: Path, what: str) -> SourceChangedError:
    return SourceChangedError(
        f"{str(path)!r} {what} while the model was copied; nothing was stored.",
        hint="Wait until it is completely written and try again.",
    )


def _unreadable(path: Path, error: OSError) -> UnsafeModelError:
    return UnsafeModelError(
        f"{str(path)[:300]!r} cannot be read: {error.strerror}.", hint="Check its permissions and try again."
    )
