from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.running import Running, intersect


def look(failed_a: int, failed_b: int, requests: int) -> Comparison:
    strata = [Stratum(ArmStatistics(requests, failed_a), ArmStatistics(requests, failed_b))]
    return compare(strata, "error_rate", 0.05, 100)


def test_before_the_first_look_that_counts_there_is_no_band() -> None:
    assert Running().interval is None
    assert intersect(Running(), look(10, 10, 99)) == Running()
    assert intersect(Running(), compare([], "error_rate")) == Running()


def test_looks_cut_the_band_and_keep_the_smallest_p_value() -> None:
    first, second = look(10, 40, 500), look(60, 140, 2000)
    running = intersect(intersect(Running(), first), second)
    assert first.interval is not None
    assert second.interval is not None
    low, high = max(first.interval[0], second.interval[0]), min(first.interval[1], second.interval[1])
    assert running == Running(low, high, min(first.p_value, second.p_value))
    assert running.interval == (low, high)
    assert running.p_value < 0.05


def test_a_look_that_contradicts_the_earlier_ones_is_drift_and_the_last_band_stays() -> None:
    before = intersect(Running(), look(100, 400, 2000))
    drifted = intersect(before, look(40_000, 40_000, 400_000))
    assert drifted == Running(before.low, before.high, before.p_value, drifted=True)
    assert intersect(drifted, look(100, 400, 2000)) == drifted


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=8))
def test_the_band_only_narrows_and_lies_within_every_look(rates: list[tuple[int, int]]) -> None:
    running = Running()
    for failed_a, failed_b in rates:
        now = look(failed_a, failed_b, 300)
        following = intersect(running, now)
        if not following.drifted:
            assert following.low is not None
            assert following.high is not None
            assert now.interval is not None
            assert now.interval[0] <= following.low <= following.high <= now.interval[1]
            assert following.p_value <= min(running.p_value, now.p_value)
        if running.interval is not None:
            assert following.interval is not None
            assert running.interval[0] <= following.interval[0] <= following.interval[1] <= running.interval[1]
        running = following


def test_a_band_is_plain_values() -> None:
    with pytest.raises(AttributeError):
        Running().low = 1.0  # type: ignore[misc]
