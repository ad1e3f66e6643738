"""The bytes of the models on the local disk, named by their SHA-256: the one truth about content.

Layout below the root: ``blobs/sha256/ab/<digest>`` and, beside the two-digit directories, temporary files that
start with ``.sz0-tmp-``. Decides how bytes arrive, stay checkable and leave; knows no version and no database.

- A blob appears complete, synced and read-only, or not at all. Identical bytes are stored once.
- The caller writes its row after `LocalBlobStore.put` returned, so a row never names bytes that are not there.
- What no row names is removed by `LocalBlobStore.collect`, by age only. The age is the time of change of the
  blob, which every `put` of the same bytes renews under the same lock.
- Safe among threads, processes and forked children.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO

from sentinelzer0.domain.manifests import ContentKind, Manifest, ManifestEntry, StoredContent, check_digest
from sentinelzer0.errors import AlreadyExistsError, IntegrityError, InvalidInputError
from sentinelzer0.storage.blob_collection import remove_stale_temps, remove_unreferenced
from sentinelzer0.storage.blob_views import differences, link_or_copy, remove_tree, rename_new
from sentinelzer0.storage.copying import (
    disk_errors,
    exclusive_lock,
    make_directories,
    nameless_copy,
    read_up_to,
    sync_directory,
)
from sentinelzer0.storage.hashing import in_parallel, sha256_of, sha256_of_path
from sentinelzer0.storage.sources import SourceFile, find_source
from sentinelzer0.storage.staging import Staged, Staging, byte_counter, temp_name, temp_prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

MEDIUM = 32 * 1024 * 1024
"""Up to this size private bytes are held in memory; beyond it they are copied on the disk."""
SMALL = 1024 * 1024
"""Up to this size a file is read into memory and written, which is cheaper than the kernel copy."""


class LocalBlobStore:
    """Content-addressed files below one directory.

    Args:
        root: The workspace directory; made when the first bytes arrive.
        now: The clock; it gives blobs and temporary files their age.
    """

    def __init__(self, root: Path, *, now: Callable[[], datetime]) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._lock = root / "blobs" / ".lock"
        self._now = now

    def put(self, source: Path, *, progress: Callable[[int, int], None] | None = None) -> StoredContent:
        """Store a file or a directory.

        Args:
            source: Regular files only, see `sentinelzer0.storage.sources.find_source`.
            progress: Called in this thread with (bytes stored and hashed, bytes in all), first with zero.

        Raises:
            ModelFileNotFoundError: Nothing is there.
            UnsafeModelError: It cannot be stored safely, or not be read.
            SourceChangedError: It changed meanwhile; nothing was stored.
            StorageFullError: No space is left; nothing was kept.
            StorageUnavailableError: The disk failed; nothing was kept.
        """
        found = find_source(source)
        done = byte_counter(found.size, progress)
        with disk_errors(f"Storing {str(source)!r}"):
            make_directories([self._blobs])
            with Staging(self._blobs, self._now(), parallel=len(found.files) > 1) as staging:
                staged = [self._stage(staging, file, done) for file in found.files]
                if found.kind is ContentKind.FILE:
                    staging.settle()
                    self._publish(staged)
                    return StoredContent(ContentKind.FILE, staged[0].digest, staged[0].size, None, found.filename)
                found.require_unchanged()
                manifest = _manifest(found.files, staged)
                listing = staging.write(manifest.canonical_bytes())
                staging.settle()
                self._publish([*staged, listing])
        return StoredContent(ContentKind.DIRECTORY, listing.digest, manifest.size, manifest, found.filename)

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256.

        Raises:
            StorageFullError: No space is left; nothing was kept.
            StorageUnavailableError: The disk failed; nothing was kept.
        """
        with disk_errors(f"Storing {len(data)} bytes"):
            make_directories([self._blobs])
            with Staging(self._blobs, self._now(), parallel=False) as staging:
                staged = staging.write(data)
                self._publish([staged])
        return staged.digest

    def path(self, digest: str) -> Path:
        """Where a blob lies, or would lie.

        Raises:
            InvalidInputError: Not a SHA-256.
        """
        check_digest(digest)
        return self._blobs / digest[:2] / digest

    def exists(self, digest: str) -> bool:
        """Whether a blob is there; says nothing about its bytes."""
        return _inode(self.path(digest)) is not None

    def open(self, digest: str) -> BinaryIO:
        """Open a blob without checking its bytes.

        Raises:
            IntegrityError: It is missing.
            StorageUnavailableError: It cannot be opened.
        """
        with disk_errors(f"Opening blob {digest}"):
            try:
                return self.path(digest).open("rb")
            except FileNotFoundError as error:
                raise _missing(digest) from error

    def open_private(self, digest: str) -> BinaryIO:
        """Open bytes that were just checked and that nobody else can change any more.

        Up to `MEDIUM` bytes are held in memory; a larger blob is copied into a nameless file on the same disk.

        Raises:
            IntegrityError: The blob is missing or its bytes differ from its name.
            StorageFullError: No space is left for the copy.
            StorageUnavailableError: The blob cannot be read.
        """
        with self.open(digest) as blob, disk_errors(f"Reading blob {digest}"):
            size = os.fstat(blob.fileno()).st_size
            private: io.BytesIO | io.BufferedReader
            if size <= MEDIUM:
                private = io.BytesIO(blob.read(MEDIUM + 1))
            else:
                private = nameless_copy(blob.fileno(), size, self._blobs, temp_prefix(self._now()))
            try:
                _require_digest(private, digest)
            except BaseException:
                private.close()
                raise
            return private

    def manifest(self, digest: str) -> Manifest:
        """Read the stored manifest of a directory.

        Raises:
            IntegrityError: It is missing, was changed, or the blob is no manifest.
        """
        with self.open_private(digest) as stream:
            try:
                return Manifest.parse(stream.read())
            except InvalidInputError as error:
                raise IntegrityError(f"The blob {digest} does not list the files of a directory: {error}") from error

    def check(self, content: StoredContent) -> list[str]:
        """Hash every byte of the content, several files at once.

        Returns:
            Problems in plain words; empty when everything is intact.
        """
        try:
            members = self._members(content)
        except IntegrityError as error:
            return [f"The list of files is damaged: {error.message}"]
        blobs = {digest: (name or content.filename, size) for name, digest, size, _ in reversed(members)}
        if content.manifest is not None:
            listing = content.manifest.canonical_bytes()
            if sha256(listing).hexdigest() != content.digest:
                return [f"The list of files given is not the one named {content.digest}."]
            blobs[content.digest] = ("The list of files", len(listing))
        longest_first = sorted(blobs, key=lambda digest: -blobs[digest][1])  # keeps all cores busy to the end
        found = in_parallel(lambda digest: self._problem(digest, *blobs[digest]), longest_first)
        return sorted(filter(None, found))

    def stat_key(self, content: StoredContent) -> tuple[tuple[int, ...], ...]:
        """What the file system says about every blob of the content, without reading a byte of a model.

        Take it before `check` and record it when the check found nothing: as long as it stays the same, nobody
        wrote to the blobs through the file system. It cannot see a change below it (a bad disk, a write to the
        device). Linking and storing the same bytes again change it too.

        Returns:
            Per blob (device, inode, size, mtime_ns, ctime_ns), first the manifest; an empty tuple for a missing one.

        Raises:
            IntegrityError: The manifest had to be read and is damaged.
        """
        digests = [digest for _, digest, _, _ in self._members(content)]
        if content.kind is ContentKind.DIRECTORY:
            digests.insert(0, content.digest)
        return tuple(_stat_key(self.path(digest)) for digest in digests)

    def link(self, content: StoredContent, destination: Path) -> None:
        """Make the content readable under a name: a read-only hard link per file, complete or not at all.

        Copies where hard links are impossible. Does nothing when the same view is already there.

        Args:
            content: Stored here.
            destination: The file, or the directory, to appear; parents are made.

        Raises:
            AlreadyExistsError: Something else is there; it is left alone.
            IntegrityError: A blob is missing, or the manifest is damaged.
            StorageFullError: No space is left.
            StorageUnavailableError: The disk failed.
        """
        members = self._members(content)
        with disk_errors(f"Creating {str(destination)!r}"):
            if not os.path.lexists(destination) and self._build_view(members, destination):
                return
            problems = self.view_problems(content, destination)
        if problems:
            raise AlreadyExistsError(
                f"{str(destination)!r} exists and differs: {problems[0]}.",
                hint="Remove it, then build the readable files again.",
            )

    def view_problems(self, content: StoredContent, destination: Path) -> list[str]:
        """Compare a readable view with the content; says nothing about the blobs themselves, see `check`.

        Returns:
            Changed, missing and foreign files in plain words; empty when the view is right.

        Raises:
            IntegrityError: The manifest had to be read and is damaged.
        """
        members = self._members(content)
        with disk_errors(f"Reading {str(destination)!r}"):
            expected = {name: (self.path(digest), digest, size) for name, digest, size, _ in members}
            return differences(destination, expected)

    def remove_view(self, destination: Path) -> None:
        """Remove a readable view, at once for whoever looks at its name; the blobs stay.

        Raises:
            StorageUnavailableError: The disk failed.
        """
        with disk_errors(f"Removing {str(destination)!r}"):
            if not os.path.lexists(destination):
                return
            aside = self._staging_for(destination)
            destination.rename(aside)
            remove_tree(aside)

    def collect(self, referenced: Callable[[str], bool], older_than: datetime, *, dry_run: bool = False) -> list[str]:
        """Remove blobs that nothing refers to and temporary files left by a crash.

        Kept are: whatever is younger, blobs in a readable view, files of a directory that is referenced, and
        every file that is not ours.

        Args:
            referenced: Whether a digest is named by a row; asked for old blobs only.
            older_than: Aware; at least as long ago as the longest `put` and its transaction may take.
            dry_run: Remove nothing, only name what would go.

        Returns:
            Digests and names of temporary files removed, sorted.

        Raises:
            IntegrityError: A manifest in use is damaged, so the files it needs are unknown; no blob was removed.
            StorageUnavailableError: The disk failed.
        """
        with disk_errors("Collecting unreferenced blobs"):
            temps = remove_stale_temps(self._blobs, older_than, dry_run=dry_run)
            blobs = remove_unreferenced(self._blobs, self._lock, referenced, self.manifest, older_than, dry_run=dry_run)
        return sorted(temps + blobs)

    def _stage(self, staging: Staging, file: SourceFile, done: Callable[[int], None]) -> Staged:
        """Copy one source file into a temporary file."""
        descriptor = file.open()
        try:
            if file.size > SMALL:
                return staging.copy(file, descriptor, done)
            data = read_up_to(descriptor, file.size)
            file.require_unchanged(descriptor)
            staged = staging.write(data)
            done(file.size)
            return staged
        finally:
            os.close(descriptor)

    def _publish(self, staged: list[Staged]) -> None:
        """Give synced temporary files their names, unless the same bytes are already there and sound."""
        distinct = {item.digest: item for item in staged}
        sound = {digest: item.sound_twin(self.path(digest)) for digest, item in distinct.items()}
        moment = int(self._now().timestamp() * 1e9)
        directories = sorted({self.path(digest).parent for digest in distinct})
        with exclusive_lock(self._lock):
            make_directories(directories)
            for digest, item in distinct.items():
                final = self.path(digest)
                current = _inode(final)
                if current is not None and (current == sound[digest] or current == item.sound_twin(final)):
                    with suppress(PermissionError):  # another user's blob cannot be renewed, only replaced
                        os.utime(final, ns=(moment, moment))
                        continue
                item.path.replace(final)
        # Also where the blob was already there: whoever put it may not have come to this line yet.
        for directory in directories:
            sync_directory(directory)

    def _members(self, content: StoredContent) -> list[tuple[str, str, int, bool]]:
        """Path (empty for a single file), digest, size and executable bit of every file."""
        if content.kind is ContentKind.FILE:
            return [("", content.digest, content.size, False)]
        manifest = content.manifest or self.manifest(content.digest)
        return [(entry.path, entry.sha256, entry.size, entry.executable) for entry in manifest.entries]

    def _problem(self, digest: str, name: str, size: int) -> str:
        """What is wrong with one blob, or an empty string; every byte is read."""
        try:
            actual, count = sha256_of_path(self.path(digest))
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if count != size:
            return f"{name} was changed: it has {count} bytes, not {size}"
        return "" if actual == digest else f"{name} was changed: its SHA-256 is {actual}, not {digest}"

    def _build_view(self, members: list[tuple[str, str, int, bool]], destination: Path) -> bool:
        """Build beside and rename; False when somebody else was faster."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        beside = self._staging_for(destination)
        try:
            for name, digest, _, executable in members:
                target = beside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    link_or_copy(self.path(digest), target, executable=executable)
                except FileNotFoundError as error:
                    raise _missing(digest) from error
            return rename_new(beside, destination)
        finally:
            remove_tree(beside)

    def _staging_for(self, destination: Path) -> Path:
        """A temporary name from which a rename reaches the destination, where `collect` looks if possible."""
        make_directories([self._blobs])
        same_disk = os.lstat(self._blobs).st_dev == os.lstat(destination.parent).st_dev
        return (self._blobs if same_disk else destination.parent) / temp_name(self._now())


def _manifest(files: tuple[SourceFile, ...], staged: list[Staged]) -> Manifest:
    return Manifest(
        tuple(
            ManifestEntry(file.name, item.digest, item.size, file.executable)
            for file, item in zip(files, staged, strict=True)
        )
    )


def _require_digest(stream: io.BytesIO | io.BufferedReader, digest: str) -> None:
    """Hash a stream and go back to its start."""
    actual, _ = sha256_of(stream)
    if actual != digest:
        raise IntegrityError(
            f"The stored bytes of {digest} changed: their SHA-256 is now {actual}.",
            hint="Restore the blob from a backup, or store the original file again.",
        )
    stream.seek(0)


def _missing(digest: str) -> IntegrityError:
    return IntegrityError(
        f"The stored bytes of {digest} are missing.",
        hint="Restore the blob from a backup, or store the original file again.",
    )


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def _stat_key(path: Path) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
