"""The buffer between the callers of a recorder and its one thread, without a lock on the callers' side.

Callers append to a ``deque`` and compare its length with ``limit``; only where that is reached do they wake the thread
or find the buffer full. Everything a caller does is safe in a signal handler, in a destructor and between ``fork`` and
the child's first line, because it waits for nobody: appending, ``SimpleQueue.put`` and a lock that is only tried. What
the thread has done is published as one tuple at a time.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, RLock, Thread, get_ident
from typing import Any, NamedTuple

from sentinelzer0.domain.scalars import real, shown, whole
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import random_salt

DROP, WAIT = "drop", "wait"
MAX_CAPACITY = 10_000_000
_LOOKS = 200  # for a moment at which the thread is not moving rows


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """How a recorder behaves; the arguments of ``Recorder``, checked."""

    capacity: int
    batch: int
    max_delay_s: float
    on_full: str
    wait_s: float


def checked_options(capacity: Any, batch: Any, max_delay_s: Any, on_full: Any, wait_s: Any) -> RecorderOptions:
    """Return usable options.

    Raises:
        InvalidInputError: One of them is not possible.
    """
    room, rows = whole(capacity), whole(batch)
    if room is None or not 2 <= room <= MAX_CAPACITY:
        raise InvalidInputError(f"capacity is {shown(capacity)}.", hint=f"Keep 2 to {MAX_CAPACITY:,} rows in memory.")
    if rows is None or rows < 1:
        raise InvalidInputError(f"batch is {shown(batch)}.", hint="Write at least 1 row at once.")
    spans = []
    for name, value in (("max_delay_s", max_delay_s), ("wait_s", wait_s)):
        span = real(value)
        if span is None or not 0.0 <= span <= 3600.0:
            raise InvalidInputError(f"{name} is {shown(value)}.", hint="Use seconds from 0 to 3600.")
        spans.append(span)
    if not isinstance(on_full, str) or on_full not in {DROP, WAIT}:
        raise InvalidInputError(f"on_full is {shown(on_full)}.", hint='Use "drop" or "wait".')
    # Half of the capacity at most, so that there is always room for more than is being written.
    return RecorderOptions(room, min(rows, room // 2), spans[0], str(on_full), spans[1])


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """What became of the rows a recorder was given in this process; outcomes and labels alike.

    ``taken == written + duplicates + late + refused + pending`` at every moment.

    Attributes:
        taken: Rows it accepted: ``record`` or ``label`` returned True.
        written: Rows that are stored and count.
        duplicates: Outcomes whose request was stored before, which includes a batch that was stored although its
            acknowledgement was lost.
        refused: Rows that are not possible; ``refusals`` keeps the first of them with the reasons.
        dropped: Rows it did not accept, because the buffer was full or the recorder closed; not in ``taken``.
        late: Rows stored after the end of their test, which do not count.
        pending: Rows in memory. After ``close``: rows that are lost.
    """

    taken: int = 0
    written: int = 0
    duplicates: int = 0
    refused: int = 0
    dropped: int = 0
    late: int = 0
    pending: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Counts(NamedTuple):
    """What the thread has done; replaced as a whole."""

    drained: int = 0
    written: int = 0
    duplicates: int = 0
    refused: int = 0
    late: int = 0

    @property
    def settled(self) -> int:
        """Rows whose fate is known."""
        return self.written + self.duplicates + self.refused + self.late


class Waiter(NamedTuple):
    """Somebody who waits until so many rows are settled."""

    target: int
    done: Callable[[], object]


class Buffer:
    """Rows on their way; the base of the thread's side.

    Attributes:
        queue: What callers appended and the thread did not take yet.
        limit: Length of ``queue`` from which a caller must call :meth:`add`; 0 while the thread sleeps.
        ended: Nothing is taken any more.
        transaction: Held while rows are written; a fork waits for it.
    """

    __slots__ = (
        "__weakref__",
        "_drops",
        "_hurry",
        "_in_flight",
        "_moving",
        "_name",
        "_once",
        "_owner",
        "_running",
        "_waiters",
        "_wake",
        "counts",
        "dropped",
        "ended",
        "limit",
        "options",
        "pid",
        "queue",
        "transaction",
    )

    def __init__(self, options: RecorderOptions) -> None:
        self.options = options
        self.ended = False
        self.reset()

    def reset(self) -> None:
        """Start empty, without a thread: at first, and in a forked child, whose parent writes what was here."""
        self.queue: deque[tuple[Any, ...]] = deque()
        self._admit(0)
        self.counts = Counts()
        self.dropped = 0
        self.transaction = Lock()
        self.pid = os.getpid()
        self._moving = 0  # odd while rows move from the queue to the thread
        self._in_flight = 0
        self._hurry = False
        self._once = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._waiters: deque[Waiter] = deque()
        self._running = Lock()  # held by whoever writes
        self._owner = 0
        self._drops = RLock()
        # 64 bits of chance and a counter: unique among all processes, and neighbours in the index.
        self._name = map(f"out_{random_salt()}_%010x".__mod__, count()).__next__

    def add(self, row: tuple[Any, ...]) -> bool:
        """Take a row where :attr:`limit` is reached, and wake the thread; returns whether it was taken."""
        queue, batch = self.queue, self.options.batch
        if self.limit < 0 or (len(queue) >= self.room and not self._wait_for_room()):
            return self.drop()
        queue.append(row)
        self._admit(self.room if len(queue) >= batch else batch)
        self.nudge()
        return not self.ended or self.drop()

    def drop(self) -> bool:
        """Count a row that was not taken; returns False."""
        with self._drops:  # reentrant, and held for one addition
            self.dropped += 1
        return False

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the one that writes, which must not wait for itself."""
        return self._owner == get_ident()

    @property
    def room(self) -> int:
        """How long the queue may be, given what is being written."""
        return self.options.capacity - self._in_flight

    def nudge(self) -> bool:
        """Wake the thread, or start it; returns whether there is one."""
        self._wake.put(None)
        if not self._running.acquire(blocking=False):
            return True
        try:
            Thread(target=self.run, name="sentinelzer0-recorder", daemon=True).start()
        except (RuntimeError, MemoryError):  # the interpreter is going down, or there are too many threads
            self._running.release()
            return False
        self.joins_process()
        return True

    def run(self) -> None:
        """Write until :meth:`end`; the thread's side."""
        raise AssertionError

    def joins_process(self) -> None:
        """Be told that a thread was started in this process."""

    def end(self) -> None:
        """Take nothing more; what was taken is still written. Never waits."""
        self.ended = True
        self.limit = -1
        self._wake.put(None)

    def wait_for(self, target: int, done: Callable[[], object]) -> Waiter | None:
        """Have ``done`` called once so many rows are settled, or nobody writes any more.

        Returns:
            What to :meth:`forget` when it is no longer wanted; None when there is nothing to wait for.
        """
        if self.counts.settled >= target or self.is_mine:
            return None
        waiter = Waiter(target, done)
        self._waiters.append(waiter)
        self._hurry = True
        if self.nudge():
            return waiter
        self.write_here()
        return None

    def forget(self, waiter: Waiter) -> None:
        """Call it no more."""
        with suppress(ValueError, IndexError):  # it was called just now, or the thread is going through them
            self._waiters.remove(waiter)

    def write_here(self) -> None:
        """Try once to write what waits in this thread, because no other can be started."""
        if self.pid == os.getpid() and self._running.acquire(blocking=False):
            self._once = True
            try:
                self.run()
            finally:
                self._once = False

    def stats(self) -> RecorderStats:
        """Return what became of the rows."""
        taken, counts = self._reading()
        return RecorderStats(
            taken, counts.written, counts.duplicates, counts.refused, self.dropped, counts.late, taken - counts.settled
        )

    def _reading(self) -> tuple[int, Counts]:
        """Return how many rows were taken and the counts, of one moment."""
        taken, counts = 0, self.counts
        for _ in range(_LOOKS):
            moving = self._moving
            counts = self.counts
            taken = counts.drained + len(self.queue)
            if moving % 2 == 0 and self._moving == moving and self.counts is counts:
                break
            if self.is_mine:  # a destructor in the middle of the thread's own move
                break
            time.sleep(0.0005)
        return taken, counts

    def _gather(self) -> bool:
        """Sleep until there is something to write; returns False when nothing will ever be. The thread's side."""
        queue, options = self.queue, self.options
        while not queue:
            self._serve()
            if (self.ended or self._once) and not queue:
                return False
            self._admit(0)
            if not queue:  # looked at again, because a caller may just have seen the old limit
                self._wake.get()
        until = time.monotonic() + options.max_delay_s
        self._admit(options.batch)
        while len(queue) < options.batch and not self._hurry and not self.ended:
            left = until - time.monotonic()
            if left <= 0 or not self._nap(left):
                break
        return True

    def _admit(self, limit: int) -> None:
        """Set from which length of the queue callers call :meth:`add`: always, once this has ended."""
        self.limit = -1 if self.ended else limit

    def _nap(self, seconds: float) -> bool:
        """Sleep; returns whether somebody woke the thread."""
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _take(self) -> list[tuple[Any, ...]]:
        """Take the oldest rows out of the queue; the thread's side."""
        self._moving += 1
        waiting, popleft = len(self.queue), self.queue.popleft
        if waiting <= self.options.batch:
            self._hurry = False  # before the rows move: who hurries after this is not among them
        rows = [popleft() for _ in range(min(waiting, self.options.batch))]
        self._in_flight = len(rows)
        self.counts = self.counts._replace(drained=self.counts.drained + len(rows))
        self._moving += 1
        self._admit(self.room)
        return rows

    def _serve(self, *, leaving: bool = False) -> None:
        """Tell those who wait for what is settled now."""
        settled = self.counts.settled
        for _ in range(len(self._waiters)):
            waiter = self._waiters.popleft()
            if leaving or settled >= waiter.target:
                waiter.done()
            else:
                self._waiters.append(waiter)

    def _wait_for_room(self) -> bool:
        """Return whether there is room within the time a caller may be held up; never holds up an event loop."""
        if self.options.on_full != WAIT or in_event_loop() or self.is_mine or not self.nudge():
            return False
        until, pause = time.monotonic() + self.options.wait_s, 0.0005
        while len(self.queue) >= self.room:
            if self.ended or time.monotonic() >= until:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return True


def in_event_loop() -> bool:
    """Return whether this thread runs an event loop right now; asyncio is not loaded for that."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None  # noqa: SLF001 - documented in asyncio
