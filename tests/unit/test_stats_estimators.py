from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import ArmStatistics, CustomMetric, Direction, Metric, estimate, metric_named
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.moments import Confusion, Moments

COUNTS = st.integers(0, 500)
ARMS = st.builds(
    lambda ok, failed, confusion, latencies, custom: ArmStatistics(
        requests=ok + failed,
        failures=failed,
        latency=Moments.of(latencies),
        confusion=confusion,
        histogram=LatencyHistogram.of(latencies),
        slow=min(failed, ok),
        custom={name: Moments.of(latencies) for name in custom},
    ),
    COUNTS,
    COUNTS,
    st.builds(Confusion, COUNTS, COUNTS, COUNTS, COUNTS),
    st.lists(st.integers(0, 1000).map(float), max_size=10),  # whole numbers add without rounding
    st.sets(st.sampled_from(["depth", "cost"])),
)


@given(ARMS, ARMS, ARMS)
def test_arms_form_a_commutative_monoid(a: ArmStatistics, b: ArmStatistics, c: ArmStatistics) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + ArmStatistics() == a


def contributions(metric: Metric, confusion: Confusion) -> list[float]:
    """The linearised contribution (X - R Y) / mean(Y) of every labelled request, written out one by one."""
    x_y = {  # numerator and denominator of the ratio for one tp, fp, tn, fn
        Metric.ACCURACY: [(1, 1), (0, 1), (1, 1), (0, 1)],
        Metric.PRECISION: [(1, 1), (0, 1), (0, 0), (0, 0)],
        Metric.RECALL: [(1, 1), (0, 0), (0, 0), (0, 1)],
        Metric.F1_SCORE: [(2, 2), (0, 1), (0, 0), (0, 1)],
    }[metric]
    counts = (confusion.tp, confusion.fp, confusion.tn, confusion.fn)
    units = [pair for pair, count in zip(x_y, counts, strict=True) for _ in range(count)]
    ratio = sum(x for x, _ in units) / sum(y for _, y in units)
    mean_y = statistics.fmean(y for _, y in units)
    return [(x - ratio * y) / mean_y for x, y in units]


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE])
def test_moments_of_one_unit_are_those_of_the_linearised_contributions(metric: Metric) -> None:
    confusion = Confusion(tp=40_000, fp=5_000, tn=70_000, fn=9_000)  # large: the imagined units vanish
    found = estimate(ArmStatistics(confusion=confusion), metric)
    units = contributions(metric, confusion)
    assert found.value == getattr(confusion, metric)
    assert found.n_units == confusion.labelled
    assert sum(units) == pytest.approx(0.0, abs=1e-6)
    assert found.variance_of_one_unit == pytest.approx(statistics.fmean(u**2 for u in units), rel=1e-3)
    assert found.third_moment_of_one_unit == pytest.approx(statistics.fmean(u**3 for u in units), rel=2e-3)


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE])
def test_the_linearised_variance_is_the_variance_over_repeated_samples(metric: Metric) -> None:
    rng = random.Random(7)
    values = []
    for _ in range(1500):
        cells = [0, 0, 0, 0]
        for cell in rng.choices(range(4), (0.3, 0.05, 0.55, 0.1), k=400):
            cells[cell] += 1
        values.append(getattr(Confusion(*cells), metric))
    expected = estimate(ArmStatistics(confusion=Confusion(12_000, 2_000, 22_000, 4_000)), metric)
    assert expected.variance_of_one_unit is not None
    assert statistics.variance(values) == pytest.approx(expected.variance_of_one_unit / 400, rel=0.15)


def test_an_arm_without_failures_does_not_know_its_error_rate_exactly() -> None:
    found = estimate(ArmStatistics(requests=100), Metric.ERROR_RATE)
    assert found.value == 0.0
    assert found.variance_of_one_unit == pytest.approx(2 / 104 * 102 / 104)


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE])
def test_zero_over_zero_has_no_value_but_counts_its_units(metric: Metric) -> None:
    found = estimate(ArmStatistics(confusion=Confusion(tn=9)), metric)
    assert (found.value, found.variance_of_one_unit, found.third_moment_of_one_unit) == (None, None, None)
    assert found.n_units == 9


@pytest.mark.parametrize("metric", list(Metric))
def test_an_empty_arm_has_no_metric(metric: Metric) -> None:
    found = estimate(ArmStatistics(), metric)
    assert (found.value, found.n_units) == (None, 0)


def test_measured_metrics_read_their_moments() -> None:
    arm = ArmStatistics(latency=Moments.of([10.0, 30.0]), confidence=Moments.of([0.25, 0.5, 0.75]))
    latency, confidence = estimate(arm, Metric.AVG_LATENCY_MS), estimate(arm, Metric.AVG_CONFIDENCE)
    assert (latency.value, latency.variance_of_one_unit, latency.n_units) == (20.0, 200.0, 2)
    assert (confidence.value, confidence.n_units) == (0.5, 3)


def test_directions_and_units() -> None:
    lower = {metric for metric in Metric if metric.direction is Direction.LOWER}
    assert lower == {Metric.ERROR_RATE, Metric.AVG_LATENCY_MS, Metric.SLOW_RATE}
    assert all(metric.unit and metric.words for metric in Metric)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    assert metric_named("recall") is Metric.RECALL
    with pytest.raises(InvalidInputError, match="f1_score"):
        metric_named("f2_score")


def test_more_failures_than_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="5 failures of 4 requests"):
        ArmStatistics(requests=4, failures=5)


def test_more_slow_requests_than_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="5 slow ones of 4 requests"):
        ArmStatistics(requests=4, slow=5)


def test_the_slow_rate_is_the_share_of_slow_requests() -> None:
    found = estimate(ArmStatistics(requests=200, slow=10), Metric.SLOW_RATE)
    assert (found.value, found.n_units) == (0.05, 200)
    assert found.variance_of_one_unit == estimate(ArmStatistics(200, 10), Metric.ERROR_RATE).variance_of_one_unit


def test_a_custom_metric_is_the_mean_of_its_values() -> None:
    depth = CustomMetric("depth", Direction.LOWER)
    found = estimate(ArmStatistics(requests=9, custom={"depth": Moments.of([1.0, 2.0, 6.0])}), depth)
    assert (found.value, found.variance_of_one_unit, found.n_units) == (3.0, 7.0, 3)
    assert found.third_moment_of_one_unit == pytest.approx((-8 - 1 + 27) / 3)
    assert estimate(ArmStatistics(requests=9), depth).n_units == 0
    assert (depth.value, depth.words, depth.is_measured) == ("custom:depth", "mean depth", True)


def test_a_custom_metric_is_named_with_its_direction() -> None:
    assert metric_named("custom:a:b", "lower") == CustomMetric("a:b", Direction.LOWER)
    assert metric_named(CustomMetric("x", Direction.HIGHER)) == CustomMetric("x", Direction.HIGHER)
    assert metric_named("recall", "lower") is Metric.RECALL
    for direction in (None, "", "sideways"):
        with pytest.raises(InvalidInputError, match="Which way 'custom:x' improves"):
            metric_named("custom:x", direction)
    with pytest.raises(InvalidInputError, match="no metric 'custom:'"):
        metric_named("custom:", "lower")
