"""The demo's clock: behind the machine's, standing while traffic is replayed, never going back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sentinelzer0.demo.replay_clock import ReplayClock
from sentinelzer0.testing import FakeClock

START = datetime(2026, 3, 1, 12, 20, 5, tzinfo=UTC)


@pytest.fixture
def machine() -> FakeClock:
    return FakeClock(START)


def seconds_to(end: datetime, start: datetime) -> float:
    return (end - start).total_seconds()


def test_it_runs_behind_the_machine_s_pace(machine: FakeClock) -> None:
    clock = ReplayClock(machine, timedelta(hours=9))
    before, started = clock.now(), clock.monotonic()
    assert seconds_to(before, START) == pytest.approx(-9 * 3600, abs=0.001)
    machine.advance(seconds=40)
    assert seconds_to(clock.now(), before) == pytest.approx(40, abs=0.001)
    assert clock.monotonic() - started == pytest.approx(40, abs=0.001)


def test_traffic_begins_at_a_full_hour_and_alone_moves_the_time(machine: FakeClock) -> None:
    clock = ReplayClock(machine, timedelta(hours=9))
    with clock.traffic():
        hour = datetime(2026, 3, 1, 4, tzinfo=UTC)
        assert clock.now() == hour
        machine.advance(seconds=77)
        assert clock.now() == hour
        clock.pass_by(32)
        assert clock.now() == hour + timedelta(seconds=32)
    machine.advance(seconds=5)
    assert seconds_to(clock.now(), hour) == pytest.approx(37, abs=0.001)
    clock.pass_by(1000)
    assert seconds_to(clock.now(), hour) == pytest.approx(37, abs=0.001), "without traffic it is the machine that moves"


def test_it_goes_on_after_a_failure(machine: FakeClock) -> None:
    clock = ReplayClock(machine)
    with pytest.raises(RuntimeError), clock.traffic():
        raise RuntimeError
    before = clock.now()
    machine.advance(seconds=1)
    assert clock.now() > before
