from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import ArmStatistics, CustomMetric, Direction, Metric
from sentinelzer0.stats.first_passage import passage
from sentinelzer0.stats.moments import Confusion, Moments
from sentinelzer0.stats.plan_words import apart, duration
from sentinelzer0.stats.planning import (
    Baseline,
    Setting,
    _expected,
    baseline_by_hand,
    baseline_of,
    kept,
    plan,
    remaining,
    signed_effect,
)
from sentinelzer0.stats.stratified import Stratum, standardise

RATE = baseline_by_hand("error_rate", 0.02)


def test_fixed_horizons_are_those_of_the_textbooks() -> None:
    """(1.95996 + 0.84162)^2 = 7.8489 times both variances over the squared difference."""
    assert plan(RATE, -0.01, Setting()).per_arm_fixed == 2316  # 7.8489 (.0196 + .0099) / .0001
    half = baseline_by_hand("avg_latency_ms", 20.0, standard_deviation=10.0)
    assert plan(half, 5.0, Setting()).per_arm_fixed == 63  # half a standard deviation
    assert plan(half, 5.0, Setting(power=0.9)).per_arm_fixed == 85
    lopsided = plan(half, 5.0, Setting(share=0.2))
    assert (lopsided.per_arm_fixed, lopsided.fixed_total) == (40, 197)  # 7.8489 / .25 / (.2 * .8) = 196.2


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_fixed_horizon_has_the_power_asked_for(share: float) -> None:
    for value, gap, power in ((0.1, 0.03, 0.8), (0.5, -0.05, 0.9)):
        found = plan(baseline_by_hand("accuracy", value), gap, Setting(share=share, power=power))
        n_b = share * found.fixed_total
        error = math.sqrt(value * (1 - value) / (found.fixed_total - n_b) + (value + gap) * (1 - value - gap) / n_b)
        assert stats.norm.sf(1.959964 - abs(gap) / error) == pytest.approx(power, abs=0.002)


COUNTS = st.integers(1, 400)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, "f1_score"]))
def test_the_expected_spread_is_what_the_runtime_would_find(tp: int, fp: int, tn: int, fn: int, metric: Metric) -> None:
    arm = ArmStatistics(confusion=Confusion(100 * tp, 100 * fp, 100 * tn, 100 * fn))
    found = baseline_of(arm, metric)
    assert found is not None
    here = standardise([Stratum(arm, arm)], found.metric).a
    assert found.value == pytest.approx(here.value)
    variance, third = _expected(found, found.value, arm.confusion.labelled)
    assert here.variance is not None
    assert variance == pytest.approx(here.variance, rel=0.02)
    assert third == pytest.approx(here.third, rel=0.05, abs=0.05 * variance**1.5)


def test_baselines_of_what_was_seen() -> None:
    arm = ArmStatistics(
        1000, 20, Moments.of([10.0, 30.0] * 500), confusion=Confusion(80, 10, 90, 20), custom={"x": Moments.of([1, 2])}
    )
    assert baseline_of(arm, "error_rate") == Baseline(Metric.ERROR_RATE, 0.02)
    assert baseline_of(arm, "recall") == Baseline(Metric.RECALL, 0.8, 0.5)
    assert baseline_of(arm, "precision") == Baseline(Metric.PRECISION, 80 / 90, 0.45)
    assert baseline_of(arm, "f1_score") == Baseline(Metric.F1_SCORE, 160 / 190, 0.95)
    latency = baseline_of(arm, "avg_latency_ms")
    assert latency is not None
    assert (latency.value, latency.variance) == (20.0, pytest.approx(100.1, rel=1e-4))
    assert baseline_of(arm, CustomMetric("x", Direction.LOWER)) is not None
    for unknown in ("avg_confidence", "slow_rate"):
        assert baseline_of(ArmStatistics(), unknown) is None
    assert baseline_of(ArmStatistics(3, latency=Moments.of([5.0] * 3)), "avg_latency_ms") is None


def test_an_improvement_follows_the_direction_of_the_metric() -> None:
    assert signed_effect(RATE, 0.01) == -0.01
    assert signed_effect(RATE, -0.01) == 0.01
    assert signed_effect(RATE, 0.5, relative=True) == -0.01
    assert signed_effect(baseline_by_hand("recall", 0.8), 0.05, relative=True) == pytest.approx(0.04)


@given(st.floats(0.01, 0.9), st.floats(0.005, 0.09), st.floats(0.05, 0.95), st.sampled_from([0.2, 0.05, 0.001]))
def test_more_is_needed_for_smaller_effects_and_for_more_certainty(
    value: float, gap: float, share: float, alpha: float
) -> None:
    baseline, setting = baseline_by_hand("accuracy", value), Setting(share=share, alpha=alpha)
    found, finer = plan(baseline, gap, setting), plan(baseline, 0.5 * gap, setting)
    surer = plan(baseline, gap, Setting(share=share, alpha=alpha / 2))
    for one in (finer, surer):
        assert one.sequential_expected >= found.sequential_expected
        assert one.sequential_max >= found.sequential_max
        assert one.fixed_total >= found.fixed_total
    assert found.sequential_expected <= found.sequential_max
    assert min(share, 1 - share) * found.sequential_expected >= 99
    json.dumps(found.to_dict(), allow_nan=False)


def test_requests_and_durations_follow_from_units() -> None:
    plain = plan(RATE, 0.02, Setting())
    found = plan(RATE, 0.02, Setting(labelled_share=0.25, traffic=0.5, rate_per_s=4.0))
    assert found.sequential_expected == plain.sequential_expected
    assert found.requests_expected == pytest.approx(8 * plain.requests_expected, rel=1e-3)
    assert found.duration_max_s == found.requests_total / 4.0
    assert "At 4 requests/s that is" in found.sentence
    assert plain.duration_s is None
    assert plain.sentence.startswith(
        "To find that the error rate is 0.04 rather than 0.02, a fixed horizon takes 2,278 requests and allows one look"
    )
    shadow = plan(RATE, 0.02, Setting(units_per_request=2))
    assert shadow.requests_fixed == plain.requests_fixed / 2


def test_what_remains_shrinks_with_what_was_seen() -> None:
    setting = Setting(rate_per_s=1.0)
    left = [
        remaining(RATE, 0.02, setting, information=seen, difference=0.02 if seen else None)
        for seen in (0.0, 500.0, 2000.0)
    ]
    assert left[0].units_expected == plan(RATE, 0.02, setting).sequential_expected
    assert left[0].units_expected > left[1].units_expected > left[2].units_expected > 0
    wrong_way = remaining(RATE, 0.02, setting, information=2000.0, difference=-0.01)
    assert wrong_way.units_expected > left[0].units_expected
    done = remaining(RATE, 0.02, setting, information=20_000.0, difference=0.03)
    assert (done.units_expected, done.units_max, done.duration_s) == (0, 0, 0.0)
    assert done.sentence == "The evidence on the error rate is enough already."
    assert "at this rate in" in left[1].sentence
    early = remaining(RATE, 0.5, Setting(min_samples=1000), information=500.0, difference=0.5)
    assert early.units_expected == early.units_max == 1500


LATENCY = baseline_by_hand("avg_latency_ms", 20.0, standard_deviation=20.0)


@pytest.mark.parametrize(("baseline", "margin", "relative"), [(RATE, 0.02, False), (LATENCY, 0.2, True)])
def test_a_guardrail_takes_longer_the_less_it_leaves(baseline: Baseline, margin: float, relative: bool) -> None:
    found = kept(baseline, margin, Setting(rate_per_s=2.0), relative=relative)
    assert found is not None
    assert found.units_expected <= found.units_max
    assert found.duration_max_s == found.requests_max / 2.0
    for harder in ((margin / 2, Setting()), (margin, Setting(alpha=0.01)), (margin, Setting(share=0.1))):
        other = kept(baseline, *harder, relative=relative)
        assert other is not None
        assert other.units_expected > found.units_expected
    half = kept(baseline, margin, Setting(), relative=relative, information=0.5 * found.units_expected, worse_by=0.0)
    assert half is not None
    assert 0 < half.units_expected < found.units_expected
    better = kept(baseline, margin, Setting(), relative=relative, information=1e5, worse_by=0.0)
    assert better is not None
    assert (better.units_expected, better.units_max) == (0, 0)


def test_a_guardrail_without_a_margin_is_never_proven_to_be_kept() -> None:
    assert kept(RATE, 0.0, Setting()) is None
    assert kept(baseline_by_hand("error_rate", 0.0), 0.1, Setting(), relative=True) is None
    assert kept(baseline_by_hand("error_rate", 0.0), 0.1, Setting()) is not None


@given(st.floats(1e-3, 1e3), st.floats(1e-7, 1.0))
def test_a_difference_is_told_apart(value: float, share: float) -> None:
    old, new = apart(value, share * value)
    assert float(new) - float(old) == pytest.approx(share * value, rel=0.03)


def test_a_tiny_effect_is_not_said_to_be_none() -> None:
    baseline = baseline_by_hand("error_rate", 0.05)
    assert "is 0.049999 rather than 0.05," in plan(baseline, -1e-6, Setting()).sentence
    left = remaining(baseline, -1e-6, Setting(), information=0.0, difference=None)
    assert "differs by -1e-06," in left.sentence


def test_a_level_boundary_is_reached_at_an_inverse_gaussian_time() -> None:
    """A Brownian motion with drift .05 reaches 10 after 200 on average, by scipy's quantile in nine of ten cases."""
    drift, height = 0.05, 10.0
    found = passage(lambda time: height / time, lambda time: time**-0.5, drift, earliest=0.0)
    assert found is not None
    assert found.mean == pytest.approx(height / drift, rel=1e-6)
    shape = height**2
    theirs = stats.invgauss(found.mean / shape, scale=shape)
    assert found.most == pytest.approx(float(theirs.ppf(0.9)), rel=1e-5)
    late = passage(lambda time: height / time, lambda time: time**-0.5, drift, earliest=150.0)
    assert late is not None
    assert late.mean == pytest.approx(float(theirs.expect(lambda time: max(time, 150.0))), rel=1e-4)
    assert passage(lambda _: 1.0, lambda time: time**-0.5, 0.5, earliest=0.0) is None


def test_durations_are_said_in_two_units() -> None:
    said = {0.0: "1 s", 59.4: "59 s", 3500.0: "58 min", 3599.0: "1 h", 7200.0: "2 h", 86_400.0: "1 d"}
    assert {seconds: duration(seconds) for seconds in said} == said


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0.0},
        {"share": 1.0},
        {"share": math.nan},
        {"alpha": 0.0},
        {"power": 1.0},
        {"labelled_share": 0.0},
        {"traffic": 1.1},
        {"rate_per_s": 0.0},
        {"rate_per_s": math.inf},
        {"min_samples": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        Setting(**wrong)  # type: ignore[arg-type]


def test_impossible_questions_are_refused() -> None:
    for effect in (0.0, 0.03, math.nan, math.inf):
        with pytest.raises(InvalidInputError):
            signed_effect(RATE, effect)
    with pytest.raises(InvalidInputError, match="standard deviation"):
        baseline_by_hand("avg_confidence", 0.9)
    with pytest.raises(InvalidInputError, match="attack_share"):
        baseline_by_hand("recall", 0.9, attack_share=0.0)
    with pytest.raises(InvalidInputError, match="No number of requests"):
        plan(baseline_by_hand("avg_latency_ms", 20.0, standard_deviation=1e12), 1e-3, Setting())
