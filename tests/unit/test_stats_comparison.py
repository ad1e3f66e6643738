from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.comparison import Comparison, HarmState, Stratum, compare, harm, minimum_of, tightest_at
from sentinelzer0.stats.confidence_sequences import critical_z, tuned_rho
from sentinelzer0.stats.estimators import ArmStatistics, CustomMetric, Direction, Metric
from sentinelzer0.stats.moments import Confusion, Moments
from sentinelzer0.stats.stratified import difference, log_ratio, standardise

COUNTS = st.integers(0, 3000)


def compared(
    a: ArmStatistics, b: ArmStatistics, metric: Metric | str, alpha: float = 0.05, min_samples: int = 100
) -> Comparison:
    """Compare two arms of a test with one phase."""
    return compare([Stratum(a, b)], metric, alpha, min_samples)


def failing(failures: int, requests: int) -> ArmStatistics:
    return ArmStatistics(requests=requests, failures=failures)


def timed(latencies: list[float]) -> ArmStatistics:
    return ArmStatistics(requests=len(latencies), latency=Moments.of(latencies))


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.05, 0.01]))
def test_interval_p_value_winner_and_direction_agree(fa: int, oka: int, fb: int, okb: int, alpha: float) -> None:
    found = compared(failing(fa, fa + oka), failing(fb, fb + okb), "error_rate", alpha, 50)
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
    ab = compared(ArmStatistics(confusion=a), ArmStatistics(confusion=b), Metric.F1_SCORE)
    ba = compared(ArmStatistics(confusion=b), ArmStatistics(confusion=a), Metric.F1_SCORE)
    assert ab.p_value == ba.p_value
    assert ab.winner == {"A": "B", "B": "A", None: None}[ba.winner]
    if ab.interval is not None:
        assert ba.interval is not None
        assert ab.interval == (-ba.interval[1], -ba.interval[0])


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(1, 2000), st.integers(0, 2000))
def test_the_p_value_is_the_alpha_whose_interval_touches_zero(fa: int, oka: int, fb: int, okb: int) -> None:
    rho = tuned_rho(tightest_at(100), 0.05)
    found = difference(standardise([Stratum(failing(fa, fa + oka), failing(fb, fb + okb))], Metric.ERROR_RATE))
    assert found is not None
    alpha = found.p_value(rho)
    if 1e-12 < alpha < 1.0:
        low, high = found.interval(alpha, rho)
        assert (low if found.value > 0 else high) == pytest.approx(0.0, abs=1e-9)


def test_a_clear_difference_names_the_better_arm_by_the_direction_of_the_metric() -> None:
    errors = compared(failing(150, 1000), failing(50, 1000), Metric.ERROR_RATE)
    assert (errors.winner, errors.is_significant) == ("B", True)
    assert errors.difference == pytest.approx(-0.10)
    assert errors.percent_change == pytest.approx(-66.6667, rel=1e-5)
    assert errors.reason.startswith("B has the lower error rate: the difference B - A lies between -0.1")
    recall = compared(
        ArmStatistics(confusion=Confusion(tp=480, fn=20, tn=500)),
        ArmStatistics(confusion=Confusion(tp=380, fn=120, tn=500)),
        "recall",
    )
    assert recall.winner == "A"
    assert (recall.samples_a, recall.samples_b) == (1000, 1000)
    assert recall.reason.startswith("A has the higher recall")


def test_the_same_numbers_are_no_verdict() -> None:
    found = compared(failing(50, 1000), failing(50, 1000), "error_rate")
    assert (found.winner, found.p_value, found.confidence, found.difference) == (None, 1.0, 0.0, 0.0)
    assert found.interval is not None
    assert found.interval[0] == -found.interval[1]
    assert found.reason.startswith("No difference in error rate is shown yet")


def test_no_failure_in_one_arm_and_few_in_the_other_is_no_verdict() -> None:
    assert compared(failing(0, 5000), failing(6, 5000), "error_rate").winner is None
    assert compared(failing(0, 5000), failing(60, 5000), "error_rate").winner == "A"


@pytest.mark.parametrize("metric", [metric for metric in Metric if not metric.is_measured])
def test_all_outcomes_identical_is_no_verdict_and_no_division_by_zero(metric: Metric) -> None:
    arm = ArmStatistics(requests=10**6, confusion=Confusion(tp=10**6))
    found = compared(arm, arm, metric)
    assert (found.winner, found.p_value) == (None, 1.0)
    assert found.interval is not None
    assert found.interval[0] < 0.0 < found.interval[1]


def test_identical_latencies_are_no_verdict_and_have_no_interval() -> None:
    found = compared(timed([0.1] * 500), timed([0.1] * 777), "avg_latency_ms")
    assert (found.winner, found.interval, found.p_value) == (None, None, 1.0)
    assert found.reason == "The mean latency cannot be compared: every value in both arms is identical."


def test_constant_but_different_latencies_are_told_apart() -> None:
    found = compared(timed([10.0] * 300), timed([11.0] * 300), "avg_latency_ms")
    assert found.winner == "A"
    assert found.reason.endswith(" ms (95 % at every look).")


def test_before_the_minimum_there_is_no_verdict_however_clear_the_data() -> None:
    found = compared(failing(0, 99), failing(99, 99), "error_rate", min_samples=100)
    assert not found.is_significant
    assert found.reason == "Too early to say: A has 99 and B 99 of the 100 requests each needs."
    assert compared(failing(0, 100), failing(100, 100), "error_rate", min_samples=100).winner == "A"


def test_the_minimum_is_per_arm() -> None:
    assert compared(failing(0, 100_000), failing(99, 99), "error_rate", min_samples=100).winner is None


def test_no_data_decides_anything_in_the_first_few_requests() -> None:
    for requests in range(1, 15):
        assert compared(failing(0, requests), failing(requests, requests), "error_rate", 0.05, 1).winner is None


def test_measured_values_need_thirty_per_arm_whatever_the_minimum() -> None:
    fast, slow = [10.0 + i % 3 for i in range(30)], [500.0 + i % 3 for i in range(30)]
    early = compared(timed(fast[:29]), timed(slow), "avg_latency_ms", min_samples=1)
    assert (early.interval, early.winner, early.min_samples) == (None, None, 30)
    assert "of the 30 requests with a latency" in early.reason
    assert compared(timed(fast), timed(slow), "avg_latency_ms", min_samples=1).interval is not None


def test_no_traffic_in_an_arm_is_no_data() -> None:
    assert compared(failing(1, 500), ArmStatistics(), "error_rate").reason == "No data: B has no requests yet."
    both = compared(ArmStatistics(), ArmStatistics(), "f1_score")
    assert both.reason == "No data: A and B have no labelled requests yet."
    assert (both.difference, both.percent_change, both.interval, both.p_value) == (None, None, None, 1.0)


def test_an_undefined_rate_says_so() -> None:
    benign = ArmStatistics(confusion=Confusion(tn=500))
    found = compared(ArmStatistics(confusion=Confusion(tp=200, tn=300)), benign, "recall")
    assert (found.value_b, found.interval, found.winner) == (None, None, None)
    assert found.reason == "The recall of B is not defined yet: nothing that it is a share of has occurred."


def test_percent_change_of_a_zero_base_is_none() -> None:
    assert compared(failing(0, 500), failing(5, 500), "error_rate").percent_change is None


def test_the_interval_is_longer_towards_the_longer_tail() -> None:
    # B holds few, rare events: its rate may be far higher than seen, but hardly lower.
    found = compared(failing(900, 90_000), failing(10, 1000), "error_rate")
    assert found.interval is not None
    low, high = found.interval
    assert high > 1.2 * -low


@pytest.mark.parametrize("metric", list(Metric))
def test_a_comparison_holds_only_finite_json_values(metric: Metric) -> None:
    arm = ArmStatistics(500, 5, Moments.of([float(i % 9) for i in range(500)]), confusion=Confusion(100, 5, 300, 9))
    json.dumps(dataclasses.asdict(compared(arm, failing(3, 40), metric)), allow_nan=False)


def test_a_hundred_million_outcomes_are_judged_like_a_thousand() -> None:
    found = compared(failing(1_000_000, 10**8), failing(1_010_000, 10**8), "error_rate")
    assert (found.winner, found.metric.direction) == ("A", Direction.LOWER)
    assert found.interval is not None
    assert all(math.isfinite(end) for end in found.interval)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, math.nan])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="error probability"):
        compared(failing(1, 10), failing(1, 10), "error_rate", alpha)


@pytest.mark.parametrize("min_samples", [0, -5])
def test_an_impossible_minimum_is_refused(min_samples: int) -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        compared(failing(1, 10), failing(1, 10), "error_rate", min_samples=min_samples)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no metric 'auc'"):
        compared(failing(1, 10), failing(1, 10), "auc")


# One-sided limits, lift


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.05, 0.01]))
def test_one_sided_limits_and_p_values_agree(fa: int, oka: int, fb: int, okb: int, alpha: float) -> None:
    found = compared(failing(fa, fa + oka), failing(fb, fb + okb), "error_rate", alpha, 50)
    assert 1.0 in (found.p_better, found.p_worse)
    if found.interval is None:
        assert (found.lower, found.upper, found.p_better, found.p_worse) == (None, None, 1.0, 1.0)
        return
    assert found.lower is not None
    assert found.upper is not None
    assert found.interval[0] < found.lower < found.upper < found.interval[1]
    for excludes, p_value in ((found.lower > 0.0, found.p_worse), (found.upper < 0.0, found.p_better)):
        if abs(p_value - alpha) > 1e-9:
            assert excludes == (p_value < alpha)


def test_better_follows_the_direction_of_the_metric() -> None:
    fewer = compared(failing(150, 1000), failing(50, 1000), "error_rate")
    lower = compared(
        ArmStatistics(confusion=Confusion(tp=400, fn=100)), ArmStatistics(confusion=Confusion(tp=300, fn=200)), "recall"
    )
    assert fewer.p_better < 1e-6
    assert fewer.p_worse == 1.0
    assert (lower.p_better, lower.p_worse < 1e-6) == (1.0, True)


def test_the_lift_is_relative_to_the_control() -> None:
    found = compared(failing(1000, 10_000), failing(1500, 10_000), "error_rate")
    assert found.lift == pytest.approx(0.5)
    assert found.lift_interval is not None
    low, high = found.lift_interval
    # The variance of the logarithm of a share p of n is (1 - p) / (n p).
    radius = critical_z(20_000, 0.05, tuned_rho(tightest_at(100), 0.05)) * math.sqrt(0.9 / 1000 + 0.85 / 1500)
    assert math.log1p(low) == pytest.approx(math.log(1.5) - radius, abs=0.006)
    assert math.log1p(high) == pytest.approx(math.log(1.5) + radius, abs=0.006)
    assert compared(failing(0, 5000), failing(60, 5000), "error_rate").lift is None
    assert compared(failing(60, 5000), failing(0, 5000), "error_rate").lift_interval is None
    negative = compared(timed([-5.0, -4.0] * 50), timed([5.0, 4.0] * 50), "avg_latency_ms")
    assert (negative.lift, negative.lift_interval) == (-2.0, None)


def test_a_ratio_that_may_be_anything_has_finite_limits() -> None:
    found = compared(failing(1, 10), failing(9, 10), "error_rate", 1e-12, 1)
    assert found.lift_interval is not None
    assert -1.0 <= found.lift_interval[0] < found.lift_interval[1] < math.inf


# Phases

RAMP = [
    Stratum(failing(990, 9900), failing(10, 100)),
    Stratum(failing(190, 1900), failing(10, 100)),
    Stratum(failing(75, 1500), failing(25, 500)),
    Stratum(failing(50, 1000), failing(50, 1000)),
]
"""1 -> 5 -> 25 -> 50 % while the base rate halves; the arms never differ."""


def test_a_simpson_data_set_flips_the_pooled_comparison_but_not_the_stratified_one() -> None:
    # The base rate falls from 30 to 5 % during the ramp; in every phase B fails 1.5 times as often.
    strata = [
        Stratum(failing(2970, 9900), failing(45, 100)),
        Stratum(failing(380, 1900), failing(30, 100)),
        Stratum(failing(150, 1500), failing(75, 500)),
        Stratum(failing(250, 5000), failing(375, 5000)),
    ]
    a, b = sum((s.a for s in strata), ArmStatistics()), sum((s.b for s in strata), ArmStatistics())
    assert compared(a, b, "error_rate").winner == "B"
    found = compare(strata, "error_rate")
    assert (found.winner, found.strata) == ("A", 4)
    assert found.difference == pytest.approx(105.6 / 3069)


def test_equal_arms_stay_equal_however_the_base_rate_moves_with_the_share() -> None:
    a, b = sum((s.a for s in RAMP), ArmStatistics()), sum((s.b for s in RAMP), ArmStatistics())
    assert compared(a, b, "error_rate").winner == "B"
    found = compare(RAMP, "error_rate")
    assert found.difference == pytest.approx(0.0, abs=1e-12)
    assert found.p_value > 0.99
    assert (found.samples_a, found.samples_b, found.strata) == (14_300, 1700, 4)
    assert found.information == pytest.approx(4 * (99 + 95 + 375 + 500))


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), min_size=1, max_size=5), st.sampled_from(["recall", "f1"]))
def test_values_are_standardised_so_that_their_gap_is_the_difference(
    rows: list[tuple[int, int, int, int]], name: str
) -> None:
    metric = Metric.RECALL if name == "recall" else Metric.F1_SCORE
    strata = [
        Stratum(ArmStatistics(confusion=Confusion(tp, fp, 5, fn)), ArmStatistics(confusion=Confusion(fn, 3, tp, fp)))
        for tp, fp, fn, _ in rows
    ]
    found = compare(strata, metric)
    if found.difference is not None:
        assert found.value_a is not None
        assert found.value_b is not None
        assert found.difference == found.value_b - found.value_a
        assert 0.0 <= min(found.value_a, found.value_b) <= max(found.value_a, found.value_b) <= 1.0


def test_ratios_are_standardised_above_and_below_the_line() -> None:
    tiny = Stratum(ArmStatistics(confusion=Confusion(tn=50)), ArmStatistics(confusion=Confusion(tn=1)))
    large = Stratum(
        ArmStatistics(confusion=Confusion(tp=300, fn=100, tn=600)),
        ArmStatistics(confusion=Confusion(tp=200, fn=200, tn=600)),
    )
    found = compare([tiny, large], "recall")
    assert found.value_a == pytest.approx(0.75)
    assert found.value_b == pytest.approx(0.5)
    assert found.strata == 2  # no attack was seen in the first, which takes nothing away from the second


def test_the_order_of_the_phases_does_not_matter_and_empty_ones_do_not_count() -> None:
    found = compare(RAMP, "error_rate")
    shuffled = compare([*RAMP[::-1], Stratum(failing(500, 1000), ArmStatistics())], "error_rate")
    assert shuffled.interval == pytest.approx(found.interval, rel=1e-12)
    assert (shuffled.samples_a, shuffled.strata) == (found.samples_a, 4)


def test_a_phase_split_at_any_point_says_nearly_the_same() -> None:
    whole = compared(failing(500, 10_000), failing(600, 10_000), "error_rate")
    split = compare([Stratum(failing(250, 5000), failing(300, 5000))] * 2, "error_rate")
    assert split.interval == pytest.approx(whole.interval, abs=1e-6)
    assert split.information == whole.information


def test_a_phase_of_three_requests_hardly_moves_the_interval() -> None:
    before = compared(failing(500, 10_000), failing(500, 10_000), "error_rate")
    after = compare(
        [Stratum(failing(500, 10_000), failing(500, 10_000)), Stratum(failing(0, 300), failing(3, 3))], "error_rate"
    )
    assert before.interval is not None
    assert after.interval is not None
    assert after.interval[1] - after.interval[0] < 1.01 * (before.interval[1] - before.interval[0])
    assert abs(after.difference or 0.0) < 0.001


def test_one_unit_per_phase_has_no_measured_spread_and_no_interval() -> None:
    lone = Stratum(timed([10.0]), timed([12.0]))
    found = compare([lone] * 40, "avg_latency_ms")
    assert (found.interval, found.winner, found.samples_a) == (None, None, 40)


def test_arms_that_never_share_a_phase_have_nothing_to_compare() -> None:
    found = compare(
        [Stratum(failing(5, 500), ArmStatistics()), Stratum(ArmStatistics(), failing(50, 500))], "error_rate"
    )
    assert (found.difference, found.interval, found.winner, found.strata) == (None, None, None, 0)
    assert (found.value_a, found.value_b, found.samples_a, found.samples_b) == (0.01, 0.1, 500, 500)
    assert found.reason == "Nothing to compare: A and B have no requests at the same share of traffic yet."
    assert compare([], "recall").reason == "No data: A and B have no labelled requests yet."


def test_custom_metrics_are_compared_like_measured_values() -> None:
    slow = ArmStatistics(500, custom={"depth": Moments.of([5.0 + i % 3 for i in range(500)])})
    fast = ArmStatistics(500, custom={"depth": Moments.of([4.0 + i % 3 for i in range(500)])})
    assert compare([Stratum(slow, fast)], CustomMetric("depth", Direction.LOWER)).winner == "B"
    assert compare([Stratum(slow, fast)], CustomMetric("depth", Direction.HIGHER)).winner == "A"
    missing = compare([Stratum(slow, ArmStatistics(500))], CustomMetric("depth", Direction.LOWER))
    assert missing.reason == "No data: B has no requests with this metric yet."


# Guardrails


@pytest.mark.parametrize("relative", [False, True])
@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.0, 0.01, 0.2, 1.5]))
def test_limits_p_value_and_state_of_a_guardrail_agree(
    relative: bool, fa: int, oka: int, fb: int, okb: int, margin: float
) -> None:
    found = harm(
        [Stratum(failing(fa, fa + oka), failing(fb, fb + okb))], "error_rate", margin, 0.05, 1, relative=relative
    )
    if found.limit_low is None:
        return
    assert found.limit_high is not None
    assert found.worse_by is not None
    assert found.limit_low < found.worse_by < found.limit_high
    if min(abs(found.limit_low - margin), abs(found.limit_high - margin)) > 1e-9:
        expected = (
            HarmState.VIOLATED
            if found.limit_low > margin
            else HarmState.PASSED
            if found.limit_high < margin
            else HarmState.PENDING
        )
        assert found.state is expected
        assert (found.p_harm < 0.05) == (found.state is HarmState.VIOLATED)


def test_worse_is_against_the_direction_of_the_metric() -> None:
    worse = [
        Stratum(ArmStatistics(confusion=Confusion(tp=900, fn=100)), ArmStatistics(confusion=Confusion(tp=600, fn=400)))
    ]
    found = harm(worse, "recall", 0.1)
    assert found.state is HarmState.VIOLATED
    assert found.worse_by == pytest.approx(0.3)
    assert found.reason.startswith("The recall of B is worse than A's by more than -0.1000 (now -0.3000)")
    assert harm([Stratum(worse[0].b, worse[0].a)], "recall", 0.0).state is HarmState.PASSED
    assert harm(worse, "recall", 0.3, relative=True).state is HarmState.PENDING
    assert harm(worse, "recall", 0.2, relative=True).state is HarmState.VIOLATED
    assert harm(worse, "recall", 0.5, relative=True).state is HarmState.PASSED


def test_a_relative_margin_knows_that_the_control_is_an_estimate_too() -> None:
    strata = [Stratum(failing(40, 400), failing(1000, 20_000))]
    relative, as_if_known = harm(strata, "error_rate", 0.2, relative=True), harm(strata, "error_rate", 0.2 * 0.1)
    assert relative.limit_high is not None
    assert as_if_known.limit_high is not None
    assert relative.limit_high - (relative.worse_by or 0.0) > 10 * (as_if_known.limit_high + 0.05)


def test_a_guardrail_without_margin_is_a_one_sided_test_of_any_harm() -> None:
    strata = [Stratum(failing(100, 1000), failing(160, 1000))]
    found, now = harm(strata, "error_rate", 0.0), compare(strata, "error_rate")
    assert (found.state, found.p_harm) == (HarmState.VIOLATED, now.p_worse)
    assert (found.limit_low, found.limit_high) == (now.lower, now.upper)
    assert harm(strata, "error_rate", 0.0, relative=True).p_harm == now.p_worse


def test_a_guardrail_waits_for_data_and_for_the_minimum() -> None:
    assert harm([], "error_rate", 0.02).state is HarmState.NO_DATA
    nothing = harm([Stratum(failing(1, 10), ArmStatistics())], "error_rate", 0.02)
    assert (nothing.state, nothing.worse_by, nothing.p_harm) == (HarmState.NO_DATA, None, 1.0)
    assert nothing.reason == "No data: B has no requests yet."
    early = harm([Stratum(failing(0, 99), failing(99, 99))], "error_rate", 0.02)
    assert (early.state, early.reason[:16]) == (HarmState.PENDING, "Too early to say")
    undefined = harm([Stratum(failing(0, 99), failing(99, 99))], "recall", 0.02)
    assert undefined.state is HarmState.NO_DATA
    apart = harm(
        [Stratum(failing(0, 99), ArmStatistics()), Stratum(ArmStatistics(), failing(0, 99))], "error_rate", 0.02
    )
    assert (apart.state, apart.reason[:18]) == (HarmState.PENDING, "Nothing to compare")


def test_a_guardrail_on_identical_values_has_passed() -> None:
    same = [Stratum(timed([10.0] * 500), timed([10.0] * 200))]
    for margin, relative in ((0.0, False), (0.2, True)):
        found = harm(same, "avg_latency_ms", margin, relative=relative)
        assert (found.state, found.worse_by, found.p_harm) == (HarmState.PASSED, 0.0, 1.0)
    assert harm([Stratum(timed([10.0] * 50), timed([10.0] * 50))], "avg_latency_ms", 0.0).state is HarmState.PENDING


def test_relative_harm_to_a_control_at_zero_has_no_size_but_a_state() -> None:
    found = harm([Stratum(failing(0, 10_000), failing(500, 10_000))], "error_rate", 0.1, relative=True)
    assert (found.state, found.worse_by, found.limit_low) == (HarmState.VIOLATED, None, None)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInputError, match="margin is 0 or more"):
        harm(RAMP, "error_rate", margin)


def test_measured_metrics_have_a_minimum_of_their_own() -> None:
    assert [minimum_of(metric, 5) for metric in (Metric.ERROR_RATE, Metric.AVG_LATENCY_MS)] == [5, 30]
    assert minimum_of(Metric.AVG_CONFIDENCE, 100) == 100


def test_the_ratio_of_an_unknown_or_negative_value_is_none() -> None:
    assert log_ratio(standardise([], Metric.RECALL)) is None
    assert log_ratio(standardise([Stratum(timed([-1.0, -2.0]), timed([1.0, 2.0]))], Metric.AVG_LATENCY_MS)) is None


def test_an_arm_that_has_not_met_its_tail_borrows_the_skewness_of_the_other() -> None:
    skewed = timed([10.0] * 950 + [400.0] * 50)
    plain, tailed = timed([10.0, 12.0, 14.0] * 14 + [13.0, 19.0]), timed([10.0, 12.0, 14.0] * 14 + [8.0, 5.0])
    borrowed = standardise([Stratum(skewed, plain)], Metric.AVG_LATENCY_MS)
    assert borrowed.b.variance is not None
    assert borrowed.a.variance is not None
    skewness = [of.third * of.units**0.5 / (of.variance or 1.0) ** 1.5 for of in (borrowed.a, borrowed.b)]
    assert skewness[0] == pytest.approx(skewness[1])
    own = standardise([Stratum(skewed, tailed)], Metric.AVG_LATENCY_MS)
    assert own.b.third < 0.0  # leaning the other way, it is not the same shape
