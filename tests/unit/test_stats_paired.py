from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats import regression
from sentinelzer0.stats.comparison import HarmState, Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, CustomMetric, Direction, Metric
from sentinelzer0.stats.moments import NO_VALUES, Confusion, Moments
from sentinelzer0.stats.paired import PairedStatistics, compare_paired, discordant, harm_paired

COUNTS = st.integers(0, 3000)
JOINT = st.tuples(*[COUNTS] * 8)
LABELLED = (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE)
COUNTED = (*LABELLED, Metric.ERROR_RATE, Metric.SLOW_RATE)


def labelled(joint: tuple[int, ...]) -> PairedStatistics:
    return PairedStatistics(pairs=sum(joint), joint=joint)


def failing(pairs: int, both: int, only_a: int, only_b: int) -> PairedStatistics:
    return PairedStatistics(pairs, both, only_a, only_b)


def timed(*differences: float) -> PairedStatistics:
    return PairedStatistics(pairs=len(differences), latency=Moments.of(differences))


def swapped(joint: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(joint[index] for index in (0, 2, 1, 3, 4, 6, 5, 7))


def arms(joint: tuple[int, ...]) -> tuple[ArmStatistics, ArmStatistics]:
    """Each arm of the pairs on its own."""
    return tuple(  # type: ignore[return-value]
        ArmStatistics(
            confusion=Confusion(
                tp=sum(n for i, n in enumerate(joint) if i >> 2 and i >> bit & 1),
                fp=sum(n for i, n in enumerate(joint) if not i >> 2 and i >> bit & 1),
                tn=sum(n for i, n in enumerate(joint) if not i >> 2 and not i >> bit & 1),
                fn=sum(n for i, n in enumerate(joint) if i >> 2 and not i >> bit & 1),
            )
        )
        for bit in (1, 0)
    )


@given(JOINT, JOINT)
def test_pairs_add_up(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    a = PairedStatistics(sum(one), 0, 0, 0, Moments.of([1.0]), NO_VALUES, one, 0, 0, 0)
    b = PairedStatistics(sum(two), 0, 0, 0, Moments.of([2.0, 3.0]), Moments.of([0.5]), two, 0, 0, 0)
    both = a + b
    assert both == b + a
    assert both + PairedStatistics() == both
    assert both.joint == tuple(x + y for x, y in zip(one, two, strict=True))
    assert (both.pairs, both.latency.count, both.confidence.mean) == (sum(one) + sum(two), 3, 0.5)
    whole = PairedStatistics(9, 1, 2, 3, only_a_slow=1, only_b_slow=2, both_slow=3)
    assert whole + whole == PairedStatistics(18, 2, 4, 6, only_a_slow=2, only_b_slow=4, both_slow=6)


@given(JOINT, st.sampled_from(LABELLED))
def test_the_values_are_those_of_each_arm(joint: tuple[int, ...], metric: Metric) -> None:
    a, b = arms(joint)
    found, apart = compare_paired(labelled(joint), metric), compare([Stratum(a, b)], metric)
    assert found.value_a == (None if apart.value_a is None else pytest.approx(apart.value_a))
    assert found.value_b == (None if apart.value_b is None else pytest.approx(apart.value_b))
    assert found.samples_a == found.samples_b == sum(joint)
    if found.difference is not None:
        assert found.value_a is not None
        assert found.value_b is not None
        assert found.difference == found.value_b - found.value_a


@given(JOINT, st.sampled_from(LABELLED))
def test_swapping_the_arms_mirrors_everything(joint: tuple[int, ...], metric: Metric) -> None:
    ab, ba = compare_paired(labelled(joint), metric), compare_paired(labelled(swapped(joint)), metric)
    assert ab.winner == {"A": "B", "B": "A", None: None}[ba.winner]
    assert ab.p_value == pytest.approx(ba.p_value, rel=1e-9)
    assert (ab.p_better, ab.p_worse) == (pytest.approx(ba.p_worse, rel=1e-9), pytest.approx(ba.p_better, rel=1e-9))
    if ab.interval is not None:
        assert ba.interval is not None
        assert ab.interval == pytest.approx((-ba.interval[1], -ba.interval[0]), rel=1e-9, abs=1e-12)


@given(st.tuples(*[st.integers(1, 3000)] * 4), st.sampled_from([0.05, 0.01]))
def test_interval_p_value_and_winner_agree(cells: tuple[int, int, int, int], alpha: float) -> None:
    _, both, only_a, only_b = cells
    found = compare_paired(failing(sum(cells), both, only_a, only_b), "error_rate", alpha, 50)
    assert found.interval is not None
    low, high = found.interval
    assert found.difference is not None
    assert low < found.difference < high
    excludes = low > 0.0 or high < 0.0
    assert found.is_significant == (excludes and sum(cells) >= 50)
    if abs(found.p_value - alpha) > 1e-9:
        assert excludes == (found.p_value < alpha)
    assert found.lift is not None
    assert found.lift_interval is not None
    assert found.lift_interval[0] < found.lift < found.lift_interval[1]
    json.dumps(asdict(found))


def test_answers_that_agree_make_the_interval_narrow_and_independent_ones_do_not() -> None:
    alike, independent = failing(1000, 90, 10, 10), failing(1000, 10, 90, 90)
    split = compare([Stratum(ArmStatistics(1000, 100), ArmStatistics(1000, 100))], "error_rate")
    widths = []
    for found in (compare_paired(alike, "error_rate"), compare_paired(independent, "error_rate"), split):
        assert found.interval is not None
        widths.append(found.interval[1] - found.interval[0])
    assert widths[0] < 0.4 * widths[2]
    assert widths[1] == pytest.approx(widths[2], rel=0.02)
    assert compare_paired(alike, "error_rate").information == 2000.0


def test_a_clear_difference_names_the_better_arm_by_the_direction_of_the_metric() -> None:
    errors = compare_paired(failing(1000, 20, 60, 10), "error_rate")
    assert (errors.winner, errors.difference) == ("B", pytest.approx(-0.05))
    assert errors.lift == pytest.approx(-0.625)
    assert errors.reason.startswith("B has the lower error rate: the difference B - A lies between -0.0")
    worse = labelled((600, 5, 5, 30, 10, 5, 60, 285))
    assert compare_paired(worse, "recall").winner == "A"
    assert discordant(worse, "recall") == (5, 60)
    slow = PairedStatistics(1000, only_a_slow=5, only_b_slow=80, both_slow=10)
    assert compare_paired(slow, "slow_rate").winner == "A"


def test_measured_values_need_thirty_pairs_and_say_the_difference_without_the_control() -> None:
    late = timed(*[2.0 + 0.1 * (i % 5) for i in range(200)])
    found = compare_paired(late, Metric.AVG_LATENCY_MS)
    assert (found.winner, found.difference) == ("A", pytest.approx(2.2))
    assert (found.value_a, found.value_b, found.lift) == (None, None, None)
    control = Moments.of([20.0, 22.0] * 100)
    with_control = compare_paired(late, Metric.AVG_LATENCY_MS, control=control)
    assert (with_control.value_a, with_control.value_b) == (21.0, pytest.approx(23.2))
    assert with_control.lift == pytest.approx(2.2 / 21.0)
    assert with_control.interval == found.interval
    assert compare_paired(timed(*[2.0, 2.1] * 14), "avg_latency_ms").interval is None
    same = compare_paired(timed(*[0.0] * 200), "avg_latency_ms")
    assert (same.interval, same.p_value, same.winner) == (None, 1.0, None)
    assert same.reason == "The mean latency cannot be compared: every value in both arms is identical."
    surer = PairedStatistics(pairs=200, confidence=Moments.of([0.1, 0.15] * 100))
    assert compare_paired(surer, "avg_confidence").winner == "B"


@pytest.mark.parametrize("metric", list(Metric))
def test_no_pairs_are_no_data(metric: Metric) -> None:
    found = compare_paired(PairedStatistics(), metric)
    assert (found.interval, found.difference, found.winner, found.p_value) == (None, None, None, 1.0)
    assert found.reason.startswith("No data: A and B have no ")
    harm = harm_paired(PairedStatistics(), metric, 0.01)
    assert (harm.state, harm.worse_by) == (HarmState.NO_DATA, None)


@pytest.mark.parametrize("joint", [(500, 0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 500), (0, 500, 0, 0, 0, 0, 0, 0)])
@pytest.mark.parametrize("metric", LABELLED)
def test_one_sided_data_divide_by_nothing(joint: tuple[int, ...], metric: Metric) -> None:
    found = compare_paired(labelled(joint), metric)
    for value in (found.value_a, found.value_b, *(found.interval or ())):
        assert value is None or math.isfinite(value)
    assert harm_paired(labelled(joint), metric, 0.01, relative=True).p_harm <= 1.0


def test_few_discordant_pairs_are_no_verdict() -> None:
    for pairs in (100, 1000, 100_000):
        assert compare_paired(failing(pairs, 0, 0, 5), "error_rate").winner is None
        assert compare_paired(failing(pairs, 0, 0, 25), "error_rate").winner == ("A" if pairs >= 100 else None)
    assert compare_paired(failing(99, 0, 0, 40), "error_rate").reason.startswith("Too early to say")


def test_harm_is_violated_passed_or_pending() -> None:
    assert harm_paired(failing(2000, 10, 10, 200), "error_rate", 0.02).state is HarmState.VIOLATED
    assert harm_paired(failing(2000, 10, 10, 12), "error_rate", 0.02).state is HarmState.PASSED
    assert harm_paired(failing(2000, 10, 10, 50), "error_rate", 0.02).state is HarmState.PENDING
    assert harm_paired(failing(50, 0, 0, 40), "error_rate", 0.02).state is HarmState.PENDING
    worse_recall = labelled((600, 5, 5, 30, 10, 5, 150, 195))
    found = harm_paired(worse_recall, "recall", 0.1, relative=True)
    assert (found.state, found.worse_by) == (HarmState.VIOLATED, pytest.approx(145 / 345))
    assert found.limit_low is not None
    assert found.limit_high is not None
    assert 0.1 < found.limit_low < 145 / 345 < found.limit_high
    slower = timed(*[2.0, 3.0] * 100)
    control = Moments.of([20.0, 22.0] * 100)
    assert harm_paired(slower, "avg_latency_ms", 1.0).state is HarmState.VIOLATED
    assert harm_paired(slower, "avg_latency_ms", 0.2, relative=True, control=control).state is HarmState.PASSED
    assert harm_paired(slower, "avg_latency_ms", 0.05, relative=True, control=control).state is HarmState.VIOLATED
    assert harm_paired(slower, "avg_latency_ms", 0.05, relative=True).state is HarmState.PENDING
    assert harm_paired(timed(*[0.0] * 200), "avg_latency_ms", 0.0).state is HarmState.PASSED
    less_sure = PairedStatistics(pairs=200, confidence=Moments.of([-0.1, -0.15] * 100))
    assert harm_paired(less_sure, "avg_confidence", 0.05).state is HarmState.VIOLATED


@given(st.tuples(*[st.integers(1, 2000)] * 4))
def test_a_margin_of_nothing_is_the_one_sided_test(cells: tuple[int, int, int, int]) -> None:
    pairs = failing(sum(cells), *cells[1:])
    compared = compare_paired(pairs, "error_rate")
    for relative in (False, True):
        found = harm_paired(pairs, "error_rate", 0.0, relative=relative)
        assert found.p_harm == pytest.approx(compared.p_worse, rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("error_rate", (2, 3)),
        ("slow_rate", (4, 5)),
        ("accuracy", (50, 59)),
        ("recall", (40, 50)),
        ("precision", (10, 9)),
        ("f1_score", (50, 59)),
    ],
)
def test_discordant_pairs_feed_the_regression_test(metric: str, expected: tuple[int, int]) -> None:
    pairs = PairedStatistics(
        1000, 1, 2, 3, joint=(100, 9, 10, 20, 30, 40, 50, 60), only_a_slow=4, only_b_slow=5, both_slow=6
    )
    assert discordant(pairs, metric) == expected
    assert math.isfinite(regression.log_e([regression.PhaseCounts(0.5, *expected)]))


def test_what_cannot_be_is_refused() -> None:
    for wrong in (
        {"pairs": 1, "joint": (1, 1, 0, 0, 0, 0, 0, 0)},
        {"pairs": 5, "joint": (1,)},
        {"pairs": 5, "only_a_failed": -1},
        {"pairs": 5, "both_failed": 3, "only_b_failed": 3},
        {"pairs": 5, "only_b_slow": 6},
    ):
        with pytest.raises(InvalidInputError):
            PairedStatistics(**wrong)
    for custom in ("custom:x", CustomMetric("x", Direction.LOWER)):
        with pytest.raises(InvalidInputError, match="do not hold custom:x"):
            compare_paired(PairedStatistics(), custom)
    with pytest.raises(InvalidInputError, match="no metric 'x'"):
        compare_paired(PairedStatistics(), "x")
    with pytest.raises(InvalidInputError, match="min_samples is 0"):
        compare_paired(PairedStatistics(), "recall", min_samples=0)
    with pytest.raises(InvalidInputError, match="margin is 0 or more"):
        harm_paired(PairedStatistics(), "recall", -0.1)
    with pytest.raises(InvalidInputError, match="counts no events"):
        discordant(PairedStatistics(), "avg_latency_ms")
