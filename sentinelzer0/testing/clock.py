"""A clock for tests: time is an argument."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock that moves only when told to, except for one microsecond at every reading.

    The microsecond keeps the order of events visible in their times, as on a real machine.

    Args:
        start: The first time it shows; aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._start = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        with self._lock:
            self._now += timedelta(microseconds=1)
            return self._now

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self._now - self._start).total_seconds()

    def advance(self, **duration: float) -> None:
        """Move on, for example ``clock.advance(hours=1)``; a negative duration sets it back."""
        with self._lock:
            self._now += timedelta(**duration)
