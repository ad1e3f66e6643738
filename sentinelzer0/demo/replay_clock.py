"""The clock of the replay: a connection a second while traffic comes in, the machine's pace in between.

Late labels need hours, which nobody watches. So the story begins hours ago, and its traffic moves the time: always the
same number of seconds, hence every run finds the same labels in time. Durations are measured on the machine's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sentinelzer0.kernel import Clock

BEHIND = timedelta(hours=9)
"""More than the whole story takes, so that it ends in the past."""
_HOUR_S = 3600


class ReplayClock:
    """A machine's clock, set back, that stands still while traffic is replayed and moves with it.

    Args:
        machine: The clock of the machine.
        behind: How far back the story begins.
    """

    def __init__(self, machine: Clock, behind: timedelta = BEHIND) -> None:
        self._machine = machine
        self._behind = behind
        self._standing: datetime | None = None

    def now(self) -> datetime:
        """Return the time of the story, aware, in UTC."""
        return self._standing or self._machine.now() - self._behind

    def monotonic(self) -> float:
        """Return the machine's seconds: what is measured is never replayed."""
        return self._machine.monotonic()

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Stand still from the next full hour on; afterwards go on from where the traffic has moved the time."""
        hour = int(self.now().timestamp()) // _HOUR_S + 1
        self._standing = datetime.fromtimestamp(hour * _HOUR_S, UTC)
        try:
            yield
        finally:
            self._behind = self._machine.now() - self._standing
            self._standing = None

    def pass_by(self, seconds: float) -> None:
        """Let time pass while traffic is replayed.

        Args:
            seconds: How much, from 0.
        """
        if self._standing is not None:
            self._standing += timedelta(seconds=seconds)
