"""A recorder: outcomes handed over in a microsecond, written by a thread in batches.

``record`` and ``label`` neither raise nor wait: they put a row into a bounded buffer and say whether it was taken. What
is in the buffer dies with a killed process; what :meth:`Recorder.flush` acknowledged is in the database and survives
that. Repeats are recognised by request id; a row without one gets one before it is written for the first time, so a
batch that is written twice counts once.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sentinelzer0.errors import InvalidInputError, StorageUnavailableError
from sentinelzer0.mlops import recorder_exit
from sentinelzer0.mlops.recorder_buffer import DROP, RecorderStats, checked_options
from sentinelzer0.mlops.recorder_thread import RecorderThread, RefusedRow, Write

__all__ = ["FlushTimeoutError", "Recorder", "RecorderStats", "RefusedRow"]


class FlushTimeoutError(StorageUnavailableError, TimeoutError):
    """The rows were not written in time; they stay in memory and are tried again unless the recorder was closed."""


_OPTIONS = ("capacity", "batch", "max_delay_s", "on_full", "wait_s", "on_sigterm")


class Recorder:
    """Records outcomes and labels from a busy path; safe for threads, event loops and forks.

    Made by ``ws.ab_tests.recorder(test_id)`` and ``ws.outcomes.recorder()``. Its thread starts with the first row and
    sleeps while there is nothing to do. A recorder that nobody holds any more writes what it has and ends.

    Args:
        record_rows: Stores outcomes in one transaction: mappings with the argument names of :meth:`record`.
        record_labels: Stores labels in one transaction: mappings with ``request_id`` and ``true_label``.
        capacity: Rows in memory at most, those being written among them.
        batch: Rows of one transaction at most.
        max_delay_s: Seconds a row waits for others before it is written.
        on_full: ``drop`` to take no more while the buffer is full, ``wait`` to hold the caller up first.
        wait_s: For how long ``wait`` holds a caller up; one in an event loop is never held up.
        on_sigterm: Whether SIGTERM writes what is in memory before the process dies of it, as always; an earlier
            handler is called afterwards. Only a recorder made in the main thread can arrange that.

    Raises:
        InvalidInputError: An argument is not possible.
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(
        self,
        record_rows: Write,
        record_labels: Write,
        *,
        capacity: int = 100_000,
        batch: int = 5_000,
        max_delay_s: float = 0.2,
        on_full: str = DROP,
        wait_s: float = 1.0,
        on_sigterm: bool = True,
    ) -> None:
        options = checked_options(capacity, batch, max_delay_s, on_full, wait_s)
        recorder_exit.prepare()
        registry = recorder_exit.open_recorders
        self._core = RecorderThread(record_rows, record_labels, options, registry, recorder_exit.join_process)
        if on_sigterm:
            recorder_exit.listen()
        weakref.finalize(self, self._core.end, recorder_exit.FOREVER).atexit = False

    @classmethod
    def with_options(cls, record_rows: Write, record_labels: Write, options: Mapping[str, Any]) -> Self:
        """Return a recorder with options by name.

        Raises:
            InvalidInputError: An option is unknown or not possible.
        """
        if unknown := [name for name in options if name not in _OPTIONS]:
            raise InvalidInputError(
                f"A recorder has no option {unknown[0]!r}.", hint=f"Its options: {', '.join(_OPTIONS)}."
            )
        return cls(record_rows, record_labels, **options)

    def record(
        self,
        version: str,
        success: bool,
        latency_ms: float,
        confidence: float | None = None,
        true_label: Any = None,
        predicted_label: Any = None,
        custom_metrics: Mapping[str, float] | None = None,
        *,
        request_id: str | None = None,
        key: str | bytes | int | None = None,
        assignment: Any = None,
        segment: str | None = None,
    ) -> bool:
        """Hand an outcome over; the arguments are those of ``record_result``.

        They are checked when they are written: what is not possible is counted as refused then.

        Returns:
            Whether it was taken. False when the buffer is full or the recorder closed; that is counted.
        """
        core = self._core
        queue = core.queue
        if custom_metrics is not None and type(custom_metrics) is dict:
            custom_metrics = custom_metrics.copy()  # the caller may go on using it
        row = (
            version,
            success,
            latency_ms,
            confidence,
            true_label,
            predicted_label,
            custom_metrics,
            request_id,
            key,
            assignment,
            segment,
        )
        if len(queue) >= core.limit:
            return core.add(row)
        queue.append(row)
        return not core.ended or core.drop()

    def label(self, request_id: str, true_label: Any) -> bool:
        """Hand the true label of a request over, before or after its outcome; returns as :meth:`record`."""
        core = self._core
        if len(core.queue) >= core.limit:
            return core.add((request_id, true_label))
        core.queue.append((request_id, true_label))
        return not core.ended or core.drop()

    @property
    def stats(self) -> RecorderStats:
        """What became of the rows of this process so far."""
        return self._core.stats()

    @property
    def refusals(self) -> tuple[RefusedRow, ...]:
        """The first ten rows that were refused, with the reasons."""
        return self._core.refusals

    @property
    def trouble(self) -> str | None:
        """Why the newest attempt to write failed; None when it did not."""
        return self._core.trouble

    def flush(self, timeout: float | None = 30.0) -> RecorderStats:
        """Wait until every row taken before this call is settled: written, or refused for good.

        Args:
            timeout: Seconds to wait; None waits for as long as it takes.

        Returns:
            The counts; what they call written survives ``kill -9``.

        Raises:
            FlushTimeoutError: Rows still wait for the database; a ``TimeoutError``.
        """
        core, target = self._core, self._core.stats().taken
        until = recorder_exit.FOREVER if timeout is None else time.monotonic() + timeout
        while core.counts.settled < target and not core.is_mine:
            if not recorder_exit.settle(core, target, until) or time.monotonic() >= until or core.ended:
                break
        return self._acknowledged(target, timeout)

    async def aflush(self, timeout: float | None = 30.0) -> RecorderStats:  # noqa: ASYNC109 - as flush
        """Do as :meth:`flush` without holding up the event loop."""
        core, target = self._core, self._core.stats().taken
        asyncio: Any = sys.modules["asyncio"]  # it runs this
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while core.counts.settled < target:
                    told = asyncio.Event()
                    waiter = core.wait_for(target, lambda told=told: _tell(loop, told))  # type: ignore[misc]
                    if waiter is None:
                        break
                    try:
                        await told.wait()
                    finally:
                        core.forget(waiter)
                    if core.ended:
                        break
        return self._acknowledged(target, timeout)

    def close(self, timeout: float | None = 30.0) -> RecorderStats:
        """Take nothing more and flush; further calls do no harm.

        Raises:
            FlushTimeoutError: Rows were not written in time and are lost, unless an attempt under way succeeds.
        """
        self._core.end(recorder_exit.FOREVER if timeout is None else time.monotonic() + timeout)
        try:
            return self.flush(timeout)
        finally:
            recorder_exit.stop_listening()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _acknowledged(self, target: int, timeout: float | None) -> RecorderStats:
        core = self._core
        waiting = target - core.counts.settled
        if waiting > 0:
            why = core.trouble or "The database did not answer yet."
            raise FlushTimeoutError(
                f"{waiting} of {target} rows were not written within {timeout} s. {why}",
                hint="They are lost." if core.ended else "They are kept and tried again.",
            )
        return core.stats()


def _tell(loop: Any, told: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(told.set)
