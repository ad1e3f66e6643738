"""Shipped for the tests of applications that embed this package: a clock that is told the time."""

from __future__ import annotations

from sentinelzer0.testing.clock import FakeClock

__all__ = ["FakeClock"]
