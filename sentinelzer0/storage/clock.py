"""The one place that reads the real clock and makes ids and random numbers."""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
import weakref
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a workspace takes the time from."""

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that only grow, for durations and cache ages."""


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.perf_counter)  # itself, because every routed request asks


class Ids:
    """Unique ids that sort by time: UUIDv7 (RFC 9562) in hex behind a readable prefix, as in ``apr_0199…``.

    Ids made by one process in one millisecond also sort: the 12 bits after the time count up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_ms = 0
        self._count = 0

    def new(self, prefix: str) -> str:
        """Return a fresh id, for example ``test_019a…`` for the prefix ``test``."""
        ms = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            if ms > self._last_ms:
                self._last_ms, self._count = ms, secrets.randbits(10)
            else:
                self._count += 1
                if self._count >= 1 << 12:
                    self._last_ms, self._count = self._last_ms + 1, 0
            ms, count = self._last_ms, self._count
        value = (ms << 80) | (0x7 << 76) | (count << 64) | (0b10 << 62) | secrets.randbits(62)
        return f"{prefix}_{value:032x}"


_generators: weakref.WeakSet[random.Random] = weakref.WeakSet()


def fresh_random() -> random.Random:
    """Return a generator seeded by the operating system, for choices that need no key; a fork seeds it anew."""
    generator = random.Random(secrets.randbits(128))  # noqa: S311 - traffic splitting, not cryptography
    _generators.add(generator)
    return generator


def _seed_anew() -> None:
    for generator in list(_generators):
        generator.seed(secrets.randbits(128))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_seed_anew)


def random_salt() -> str:
    """Return 16 random hex digits that separate one experiment's assignments from another's."""
    return secrets.token_hex(8)
