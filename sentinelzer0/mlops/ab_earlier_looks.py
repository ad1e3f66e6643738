"""Looks that an earlier release kept: the statistics of both arms, from which the readings follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, Metric
from sentinelzer0.stats.moments import Confusion, Moments

_METRICS = tuple(metric for metric in Metric if metric is not Metric.SLOW_RATE)


def readings_of(test: StoredTest, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the readings of a look that holds the statistics of its arms.

    Args:
        test: The test; it had two arms.
        kept: What was stored of the look.
    """
    return compared_arms(test, *(_statistics(row) for row in kept["arms"]))


def compared_arms(test: StoredTest, a: ArmStatistics, b: ArmStatistics) -> dict[str, Any]:
    """Return the readings of two arms, every metric at the level its test gave it: the others share one evenly."""
    alpha = test.significance_threshold
    found = {}
    for metric in _METRICS:
        level = alpha if metric.value == test.primary_metric else alpha / (len(_METRICS) - 1)
        found[metric.value] = _point(compare([Stratum(a, b)], metric, level, test.min_samples))
    return {"comparisons": {test.model_b: found}}


def _point(found: Comparison) -> dict[str, Any]:
    return {
        "difference": found.difference,
        "interval": None if found.interval is None else list(found.interval),
        "low": None,
        "high": None,
        "samples_a": found.samples_a,
        "samples_b": found.samples_b,
    }


def _statistics(row: Sequence[float]) -> ArmStatistics:
    requests, failures = int(row[0]), int(row[1])
    latency = Moments(requests, row[2], row[3], row[4])
    confidence = Moments(int(row[5]), row[6], row[7], row[8])
    tp, fp, tn, fn = (int(count) for count in row[9:13])
    return ArmStatistics(requests, failures, latency, confidence, Confusion(tp, fp, tn, fn))
