from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.moments import NO_VALUES, Confusion, Moments

COUNTS = st.integers(0, 10**9)
CONFUSIONS = st.builds(Confusion, COUNTS, COUNTS, COUNTS, COUNTS)
LATENCIES = st.lists(st.floats(0.01, 1e5), max_size=30)


@given(CONFUSIONS, CONFUSIONS, CONFUSIONS)
def test_confusions_form_a_commutative_monoid(a: Confusion, b: Confusion, c: Confusion) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Confusion() == a


@given(LATENCIES, LATENCIES, LATENCIES)
def test_moments_merge_to_those_of_the_whole_sample(x: list[float], y: list[float], z: list[float]) -> None:
    a, b, c = Moments.of(x), Moments.of(y), Moments.of(z)
    left, right, whole = (a + b) + c, a + (b + c), Moments.of(x + y + z)
    assert left.count == right.count == whole.count
    for merged in (left, right):
        for name in ("total", "total_sq", "total_cu"):
            assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-12)
    assert a + b == b + a
    assert a + NO_VALUES == a


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.sampled_from([0.0, 500.0]))
def test_mean_and_variance_are_those_of_the_values(values: list[float], offset: float) -> None:
    moments = Moments.of(values, offset=offset)
    assert moments.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert moments.variance == pytest.approx(statistics.variance(values), rel=1e-6, abs=1e-5)
    assert moments.variance is not None
    assert moments.variance >= 0.0


def test_the_third_moment_is_the_central_one_and_carries_the_sign_of_the_longer_tail() -> None:
    values = [1.0, 1.0, 2.0, 8.0]
    expected = sum((v - 3.0) ** 3 for v in values) / 4
    assert Moments.of(values).third_moment == pytest.approx(expected)
    assert Moments.of(values, offset=7.0).third_moment == pytest.approx(expected)
    assert Moments.of([-v for v in values]).third_moment == pytest.approx(-expected)


def test_an_offset_near_the_values_keeps_the_variance_of_a_far_away_metric() -> None:
    values = [1e9 + i / 10 for i in range(100)]
    exact = statistics.variance([i / 10 for i in range(100)])
    assert Moments.of(values, offset=1e9).variance == pytest.approx(exact, rel=1e-6)
    assert Moments.of(values).variance == 0.0  # lost in rounding, and said so instead of returning noise


@pytest.mark.parametrize("value", [0.1, 1 / 3, 12.7])
def test_identical_values_have_no_variance_in_spite_of_rounding(value: float) -> None:
    assert Moments.of([value] * 12345).variance == 0.0


def test_too_few_values_have_no_mean_or_variance() -> None:
    assert (NO_VALUES.mean, NO_VALUES.variance, NO_VALUES.third_moment) == (None, None, None)
    assert Moments.of([3.0]).mean == 3.0
    assert Moments.of([3.0]).variance is None


@pytest.mark.parametrize(
    "sums", [(-1, 0.0, 0.0, 0.0), (1, math.nan, 1.0, 1.0), (1, 1.0, math.inf, 1.0), (0, 1.0, 1.0, 1.0), (1, 1, -1, 1)]
)
def test_sums_that_no_sample_has_are_refused(sums: tuple[int, float, float, float]) -> None:
    with pytest.raises(InvalidInputError):
        Moments(*sums)


def test_moments_about_different_offsets_do_not_add() -> None:
    with pytest.raises(InvalidInputError, match=r"about 0\.0 and 5\.0"):
        Moments.of([1.0]) + Moments.of([1.0], offset=5.0)


def test_rates_of_a_confusion() -> None:
    confusion = Confusion(tp=30, fp=10, tn=50, fn=20)
    assert confusion.labelled == 110
    assert confusion.accuracy == pytest.approx(80 / 110)
    assert confusion.precision == pytest.approx(0.75)
    assert confusion.recall == pytest.approx(0.6)
    assert confusion.f1_score == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_a_rate_without_denominator_is_none_and_a_rate_of_zero_is_zero() -> None:
    nothing, benign = Confusion(), Confusion(tn=5)
    assert nothing.accuracy is None
    assert (benign.precision, benign.recall, benign.f1_score) == (None, None, None)
    assert benign.accuracy == 1.0
    missed = Confusion(fn=3, fp=1)
    assert (missed.precision, missed.recall, missed.f1_score) == (0.0, 0.0, 0.0)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="fn=-1"):
        Confusion(fn=-1)
