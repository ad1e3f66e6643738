"""Temporary files beside the blobs: written, hashed and synced together, then published or removed together."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from sentinelzer0.storage.clock import random_salt
from sentinelzer0.storage.copying import write_all
from sentinelzer0.storage.growing_copy import GrowingCopy
from sentinelzer0.storage.hashing import sha256_of, sha256_of_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from sentinelzer0.storage.sources import SourceFile

PREFIX = ".sz0-tmp-"
_NAME = re.compile(r"\.sz0-tmp-(\d{1,11})-.+")
_SYNC_THREADS = 4  # several fsyncs share one commit of the journal
_MOST_OPEN = 64  # descriptors held while their fsync runs


def temp_prefix(moment: datetime) -> str:
    """Start of the name of a temporary file made now; a random rest has to follow."""
    return f"{PREFIX}{int(moment.timestamp())}-{os.getpid()}-"


def temp_name(moment: datetime) -> str:
    """A fresh name for a temporary file or directory."""
    return temp_prefix(moment) + random_salt()


def temp_moment(name: str) -> datetime | None:
    """When a temporary file was made, from its name; None for names that are not ours."""
    match = _NAME.fullmatch(name)
    return datetime.fromtimestamp(int(match[1]), UTC) if match else None


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes in a temporary file.

    Attributes:
        path: The temporary file, read-only.
        digest: SHA-256 of its bytes.
        size: Bytes.
    """

    path: Path
    digest: str
    size: int

    def sound_twin(self, blob: Path) -> int | None:
        """The inode of a blob that already holds these bytes, hashed in full; None when there is none.

        A damaged blob is thus healed by storing the original again.
        """
        try:
            status = os.lstat(blob)
            if not stat.S_ISREG(status.st_mode) or status.st_size != self.size:
                return None
            if sha256_of_path(blob)[0] != self.digest:
                return None
        except OSError:
            return None  # missing or unreadable: the copy in hand is better
        return status.st_ino


def byte_counter(size: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
    """A function that adds up bytes and reports the sum, at once with zero."""
    total = 0

    def count(more: int) -> None:
        nonlocal total
        total += more
        if progress is not None:
            progress(total, size)

    count(0)
    return count


class Staging:
    """A set of temporary files in one directory; whatever is not moved away is removed on leaving.

    Args:
        directory: Where they are made; exists.
        moment: Given to the files as their time of change and written into their names.
        parallel: Sync what is written in background threads, while the next bytes are written.
    """

    def __init__(self, directory: Path, moment: datetime, *, parallel: bool) -> None:
        self._directory = directory
        self._moment = moment
        self._parallel = parallel
        self._pool = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="sz0-sync")
        self._syncing: deque[tuple[int, Future[None]]] = deque()
        self._temps: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()  # waits; errors it still holds came after the one that is on its way out
        for descriptor, _ in self._syncing:
            os.close(descriptor)
        for temp in self._temps:
            with suppress(OSError):
                temp.unlink()

    def write(self, data: bytes) -> Staged:
        """Put bytes into a temporary file.

        Raises:
            OSError: The disk refused.
        """
        temp, descriptor = self._create()
        try:
            write_all(descriptor, data)
            self._protect(temp)
        except BaseException:
            os.close(descriptor)
            raise
        self._sync(descriptor)
        return Staged(temp, sha256(data).hexdigest(), len(data))

    def copy(self, source: SourceFile, descriptor: int, on_bytes: Callable[[int], None]) -> Staged:
        """Copy a file into a temporary one in a background thread, and hash the copy while it grows and syncs.

        Args:
            source: What is copied; looked at again as soon as its last byte was copied.
            descriptor: It, open for reading at position zero.
            on_bytes: Called in this thread with every number of bytes hashed.

        Raises:
            SourceChangedError: The source changed meanwhile.
            OSError: The disk refused.
        """
        temp, target = self._create()
        growing = GrowingCopy(source, descriptor, target, before_sync=lambda: self._protect(temp))
        self._syncing.append((target, self._pool.submit(growing.run)))
        with growing, temp.open("rb", buffering=0) as copied:
            digest, size = sha256_of(growing.follow(copied), on_bytes)
        if len(self._syncing) > _MOST_OPEN:
            self._wait_for_oldest()
        return Staged(temp, digest, size)

    def settle(self) -> None:
        """Wait until everything staged is on the disk.

        Raises:
            OSError: An fsync failed. It is not tried again: the kernel may have dropped the bytes.
        """
        while self._syncing:
            self._wait_for_oldest()

    def _create(self) -> tuple[Path, int]:
        temp = self._directory / temp_name(self._moment)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temp, flags, 0o600)
        self._temps.append(temp)
        return temp, descriptor

    def _protect(self, temp: Path) -> None:
        moment = int(self._moment.timestamp() * 1e9)
        os.utime(temp, ns=(moment, moment))
        temp.chmod(0o444)

    def _sync(self, descriptor: int) -> None:
        if self._parallel:
            self._syncing.append((descriptor, self._pool.submit(os.fsync, descriptor)))
            if len(self._syncing) > _MOST_OPEN:
                self._wait_for_oldest()
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _wait_for_oldest(self) -> None:
        descriptor, future = self._syncing.popleft()
        try:
            future.result()
        finally:
            os.close(descriptor)
