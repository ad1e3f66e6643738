from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.comparison import compare, difference, tightest_at
from sentinelzer0.stats.confidence_sequences import tuned_rho
from sentinelzer0.stats.estimators import ArmStatistics, Direction, Metric, estimate
from sentinelzer0.stats.moments import Confusion, Moments

COUNTS = st.integers(0, 3000)


def failing(failures: int, requests: int) -> ArmStatistics:
    return ArmStatistics(requests=requests, failures=failures)


def timed(latencies: list[float]) -> ArmStatistics:
    return ArmStatistics(requests=len(latencies), latency=Moments.of(latencies))


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.05, 0.01]))
def test_interval_p_value_winner_and_direction_agree(fa: int, oka: int, fb: int, okb: int, alpha: float) -> None:
    found = compare(failing(fa, fa + oka), failing(fb, fb + okb), "error_rate", alpha, 50)
    assert (found.winner is None) == (not found.is_significant)
    assert found.confidence == 1.0 - found.p_value
    if found.interval is None:
        assert found.p_value == 1.0
        return
    low, high = found.interval
    assert found.difference is not None
    assert low < found.difference < high
    excludes = low > 0.0 or high < 0.0
    assert found.is_significant == (excludes and min(fa + oka, fb + okb) >= 50)
    if abs(found.p_value - alpha) > 1e-9:
        assert excludes == (found.p_value < alpha)
    if found.winner is not None:
        assert found.winner == ("A" if found.difference > 0 else "B")


@given(st.builds(Confusion, COUNTS, COUNTS, COUNTS, COUNTS), st.builds(Confusion, COUNTS, COUNTS, COUNTS, COUNTS))
def test_swapping_the_arms_mirrors_everything(a: Confusion, b: Confusion) -> None:
    ab = compare(ArmStatistics(confusion=a), ArmStatistics(confusion=b), Metric.F1_SCORE)
    ba = compare(ArmStatistics(confusion=b), ArmStatistics(confusion=a), Metric.F1_SCORE)
    assert ab.p_value == ba.p_value
    assert ab.winner == {"A": "B", "B": "A", None: None}[ba.winner]
    if ab.interval is not None:
        assert ba.interval is not None
        assert ab.interval == (-ba.interval[1], -ba.interval[0])


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(1, 2000), st.integers(0, 2000))
def test_the_p_value_is_the_alpha_whose_interval_touches_zero(fa: int, oka: int, fb: int, okb: int) -> None:
    rho = tuned_rho(tightest_at(100), 0.05)
    a, b = (estimate(failing(f, f + ok), Metric.ERROR_RATE) for f, ok in ((fa, oka), (fb, okb)))
    found = difference(a, b)
    assert found is not None
    alpha = found.p_value(rho)
    if 1e-12 < alpha < 1.0:
        low, high = found.interval(alpha, rho)
        assert (low if found.value > 0 else high) == pytest.approx(0.0, abs=1e-9)


def test_a_clear_difference_names_the_better_arm_by_the_direction_of_the_metric() -> None:
    errors = compare(failing(150, 1000), failing(50, 1000), Metric.ERROR_RATE)
    assert (errors.winner, errors.is_significant) == ("B", True)
    assert errors.difference == pytest.approx(-0.10)
    assert errors.percent_change == pytest.approx(-66.6667, rel=1e-5)
    assert errors.reason.startswith("B has the lower error rate: the difference B - A lies between -0.1")
    recall = compare(
        ArmStatistics(confusion=Confusion(tp=480, fn=20, tn=500)),
        ArmStatistics(confusion=Confusion(tp=380, fn=120, tn=500)),
        "recall",
    )
    assert recall.winner == "A"
    assert (recall.samples_a, recall.samples_b) == (1000, 1000)
    assert recall.reason.startswith("A has the higher recall")


def test_the_same_numbers_are_no_verdict() -> None:
    found = compare(failing(50, 1000), failing(50, 1000), "error_rate")
    assert (found.winner, found.p_value, found.confidence, found.difference) == (None, 1.0, 0.0, 0.0)
    assert found.interval is not None
    assert found.interval[0] == -found.interval[1]
    assert found.reason.startswith("No difference in error rate is shown yet")


def test_no_failure_in_one_arm_and_few_in_the_other_is_no_verdict() -> None:
    assert compare(failing(0, 5000), failing(6, 5000), "error_rate").winner is None
    assert compare(failing(0, 5000), failing(60, 5000), "error_rate").winner == "A"


@pytest.mark.parametrize("metric", [metric for metric in Metric if not metric.is_measured])
def test_all_outcomes_identical_is_no_verdict_and_no_division_by_zero(metric: Metric) -> None:
    arm = ArmStatistics(requests=10**6, confusion=Confusion(tp=10**6))
    found = compare(arm, arm, metric)
    assert (found.winner, found.p_value) == (None, 1.0)
    assert found.interval is not None
    assert found.interval[0] < 0.0 < found.interval[1]


def test_identical_latencies_are_no_verdict_and_have_no_interval() -> None:
    found = compare(timed([0.1] * 500), timed([0.1] * 777), "avg_latency_ms")
    assert (found.winner, found.interval, found.p_value) == (None, None, 1.0)
    assert found.reason == "The mean latency cannot be compared: every value in both arms is identical."


def test_constant_but_different_latencies_are_told_apart() -> None:
    found = compare(timed([10.0] * 300), timed([11.0] * 300), "avg_latency_ms")
    assert found.winner == "A"
    assert found.reason.endswith(" ms (95 % at every look).")


def test_before_the_minimum_there_is_no_verdict_however_clear_the_data() -> None:
    found = compare(failing(0, 99), failing(99, 99), "error_rate", min_samples=100)
    assert not found.is_significant
    assert found.reason == "Too early to say: A has 99 and B 99 of the 100 requests each needs."
    assert compare(failing(0, 100), failing(100, 100), "error_rate", min_samples=100).winner == "A"


def test_the_minimum_is_per_arm() -> None:
    assert compare(failing(0, 100_000), failing(99, 99), "error_rate", min_samples=100).winner is None


def test_no_data_decides_anything_in_the_first_few_requests() -> None:
    for requests in range(1, 15):
        assert compare(failing(0, requests), failing(requests, requests), "error_rate", 0.05, 1).winner is None


def test_measured_values_need_thirty_per_arm_whatever_the_minimum() -> None:
    fast, slow = [10.0 + i % 3 for i in range(30)], [500.0 + i % 3 for i in range(30)]
    early = compare(timed(fast[:29]), timed(slow), "avg_latency_ms", min_samples=1)
    assert (early.interval, early.winner, early.min_samples) == (None, None, 30)
    assert "of the 30 requests with a latency" in early.reason
    assert compare(timed(fast), timed(slow), "avg_latency_ms", min_samples=1).interval is not None


def test_no_traffic_in_an_arm_is_no_data() -> None:
    assert compare(failing(1, 500), ArmStatistics(), "error_rate").reason == "No data: B has no requests yet."
    both = compare(ArmStatistics(), ArmStatistics(), "f1_score")
    assert both.reason == "No data: A and B have no labelled requests yet."
    assert (both.difference, both.percent_change, both.interval, both.p_value) == (None, None, None, 1.0)


def test_an_undefined_rate_says_so() -> None:
    benign = ArmStatistics(confusion=Confusion(tn=500))
    found = compare(ArmStatistics(confusion=Confusion(tp=200, tn=300)), benign, "recall")
    assert (found.value_b, found.interval, found.winner) == (None, None, None)
    assert found.reason == "The recall of B is not defined yet: nothing that it is a share of has occurred."


def test_percent_change_of_a_zero_base_is_none() -> None:
    assert compare(failing(0, 500), failing(5, 500), "error_rate").percent_change is None


def test_the_interval_is_longer_towards_the_longer_tail() -> None:
    # B holds few, rare events: its rate may be far higher than seen, but hardly lower.
    found = compare(failing(900, 90_000), failing(10, 1000), "error_rate")
    assert found.interval is not None
    low, high = found.interval
    assert high > 1.2 * -low


@pytest.mark.parametrize("metric", list(Metric))
def test_a_comparison_holds_only_finite_json_values(metric: Metric) -> None:
    arm = ArmStatistics(500, 5, Moments.of([float(i % 9) for i in range(500)]), confusion=Confusion(100, 5, 300, 9))
    json.dumps(dataclasses.asdict(compare(arm, failing(3, 40), metric)), allow_nan=False)


def test_a_hundred_million_outcomes_are_judged_like_a_thousand() -> None:
    found = compare(failing(1_000_000, 10**8), failing(1_010_000, 10**8), "error_rate")
    assert (found.winner, found.metric.direction) == ("A", Direction.LOWER)
    assert found.interval is not None
    assert all(math.isfinite(end) for end in found.interval)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, math.nan])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="error probability"):
        compare(failing(1, 10), failing(1, 10), "error_rate", alpha)


@pytest.mark.parametrize("min_samples", [0, -5])
def test_an_impossible_minimum_is_refused(min_samples: int) -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        compare(failing(1, 10), failing(1, 10), "error_rate", min_samples=min_samples)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no metric 'auc'"):
        compare(failing(1, 10), failing(1, 10), "auc")
