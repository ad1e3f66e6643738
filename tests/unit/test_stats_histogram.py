from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.histogram import ZERO_BUCKET, LatencyHistogram, bucket_of, value_of

MILLISECONDS = st.floats(1e-6, 1e9)
SAMPLES = st.lists(MILLISECONDS, max_size=30)


@given(MILLISECONDS)
def test_a_bucket_answers_within_one_percent_of_every_value_in_it(value: float) -> None:
    assert abs(value_of(bucket_of(value)) - value) <= 0.01 * value


@given(MILLISECONDS, MILLISECONDS)
def test_buckets_keep_the_order_of_latencies(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert bucket_of(low) <= bucket_of(high)


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_latencies_below_a_nanosecond_answer_zero(value: float) -> None:
    assert bucket_of(value) == ZERO_BUCKET < bucket_of(1e-6)
    assert value_of(ZERO_BUCKET) == 0.0


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_impossible_latencies_are_refused(value: float) -> None:
    with pytest.raises(InvalidInputError, match="is not possible"):
        bucket_of(value)


@given(SAMPLES, SAMPLES, SAMPLES)
def test_histograms_merge_exactly(x: list[float], y: list[float], z: list[float]) -> None:
    a, b, c = LatencyHistogram.of(x), LatencyHistogram.of(y), LatencyHistogram.of(z)
    assert (a + b) + c == a + (b + c) == LatencyHistogram.of(x + y + z)
    assert a + b == b + a
    assert a + LatencyHistogram() == a


@given(st.lists(MILLISECONDS, min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_within_one_percent_of_the_value_of_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert LatencyHistogram.of(values).quantile(q) == pytest.approx(exact, rel=0.01)


def test_quantiles_of_a_known_sample() -> None:
    histogram = LatencyHistogram.of(float(ms) for ms in range(1, 1001))
    assert histogram.count == 1000
    assert histogram.quantile(0.5) == pytest.approx(500, rel=0.01)
    assert histogram.quantile(0.99) == pytest.approx(990, rel=0.01)
    assert LatencyHistogram().quantile(0.5) is None


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_and_1_is_refused(q: float) -> None:
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        LatencyHistogram.of([1.0]).quantile(q)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(InvalidInputError):
        LatencyHistogram({3: -1})
