"""One thread copies a file while another hashes the copy close behind it.

Hashing and copying are about equally fast, so one after the other would take their sum. What is hashed is the
copy, not the source: the digest describes the bytes that stay.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from sentinelzer0.storage.copying import copy_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sentinelzer0.storage.hashing import Readable
    from sentinelzer0.storage.sources import SourceFile


class GrowingCopy:
    """A copy on its way.

    One thread calls `run`. Another one enters the context and reads `follow` to its end; leaving the context
    waits until the source is no longer needed, stops the copy if the reader failed, and raises what went wrong.

    Args:
        source: What is copied.
        descriptor: The source, open for reading at position zero.
        target: An empty file, open for writing; stays open.
        before_sync: Called when all is copied and the source was found unchanged.
    """

    def __init__(self, source: SourceFile, descriptor: int, target: int, *, before_sync: Callable[[], None]) -> None:
        self._source = source
        self._descriptor = descriptor
        self._target = target
        self._before_sync = before_sync
        self._progress = threading.Condition()
        self._copied = 0
        self._over = False
        self._unwanted = False
        self._error: BaseException | None = None

    def run(self) -> None:
        """Copy everything, look at the source again, then sync the copy to the disk.

        Raises:
            SourceChangedError: The source changed meanwhile.
            OSError: The disk refused.
        """
        try:
            copy_bytes(self._descriptor, self._target, self._source.size, self._advance)
            self._source.require_unchanged(self._descriptor)
            self._before_sync()
        except BaseException as error:
            self._error = error  # raised again in the thread that waits, the one a person sees
            raise
        finally:
            with self._progress:
                self._over = True
                self._progress.notify_all()
        os.fsync(self._target)

    def follow(self, copied: Readable) -> Readable:
        """Read the copy as it grows.

        Args:
            copied: The target, opened a second time for reading.
        """
        return _Follower(self, copied)

    def wait_beyond(self, position: int) -> int:
        """Wait until more is copied than this many bytes, or nothing more will come; returns how much is copied."""
        with self._progress:
            self._progress.wait_for(lambda: self._over or self._copied > position)
            return self._copied

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._progress:
            self._unwanted = error is not None
            self._progress.wait_for(lambda: self._over)
        if error is None and self._error is not None:
            raise self._error

    def _advance(self, count: int) -> None:
        with self._progress:
            if self._unwanted:
                raise InterruptedError
            self._copied += count
            self._progress.notify_all()


class _Follower:
    """Reads no further than the copy has come."""

    def __init__(self, copy: GrowingCopy, copied: Readable) -> None:
        self._copy = copy
        self._copied = copied
        self._position = 0

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer as far as possible; return the number of bytes, zero at the end of the copy."""
        ready = self._copy.wait_beyond(self._position) - self._position
        if not ready:
            return 0
        count = self._copied.readinto(buffer[:ready]) or 0
        self._position += count
        return count
