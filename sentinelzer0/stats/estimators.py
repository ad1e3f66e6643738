"""One metric of one arm: its value, and the variance that one more unit brings.

Every metric here is a mean of units or a ratio of two such means. A ratio ``R = sum X / sum Y`` is linearised
(delta method): it behaves like a mean of ``(X - R Y) / mean(Y)``, so the variance of one unit is
``mean((X - R Y)^2) / mean(Y)^2``. For F1 = 2TP / (2TP + FP + FN) the sum of squares is
``4 TP (1 - F)^2 + (FP + FN) F^2``.

Variances of counted metrics are those of the sample with four imagined units added, two of each kind (Agresti and
Coull, "Approximate is better than exact for interval estimation of binomial proportions", American Statistician 52,
1998). Without them an arm with no failure so far would claim to know its error rate exactly. The values themselves
are the plain ones. Third moments are carried along because intervals have to allow for skewness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.moments import NO_VALUES, Confusion, Moments

IMAGINED = 2
"""Imagined units of each kind, hits and misses, in the variance of a counted metric of one arm."""

_CUSTOM = "custom:"


class Direction(StrEnum):
    """Which way a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"


class Metric(StrEnum):
    """The metrics that can be compared between two arms."""

    ERROR_RATE = "error_rate"
    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    F1_SCORE = "f1_score"
    AVG_LATENCY_MS = "avg_latency_ms"
    AVG_CONFIDENCE = "avg_confidence"
    SLOW_RATE = "slow_rate"

    @property
    def direction(self) -> Direction:
        """Which way this metric improves."""
        return Direction.LOWER if self in _LOWER_IS_BETTER else Direction.HIGHER

    @property
    def is_measured(self) -> bool:
        """Whether it is a mean of measured values; the others are shares of counted events."""
        return self in _MEASURED

    @property
    def unit(self) -> str:
        """What is counted as one observation, in words, plural."""
        return _UNITS[self]

    @property
    def words(self) -> str:
        """The metric in words, as in "the error rate"."""
        return _WORDS[self]


_LOWER_IS_BETTER = frozenset((Metric.ERROR_RATE, Metric.AVG_LATENCY_MS, Metric.SLOW_RATE))
_MEASURED = frozenset((Metric.AVG_LATENCY_MS, Metric.AVG_CONFIDENCE))

_UNITS = {
    Metric.ERROR_RATE: "requests",
    Metric.ACCURACY: "labelled requests",
    Metric.PRECISION: "labelled requests",
    Metric.RECALL: "labelled requests",
    Metric.F1_SCORE: "labelled requests",
    Metric.AVG_LATENCY_MS: "requests with a latency",
    Metric.AVG_CONFIDENCE: "requests with a confidence",
    Metric.SLOW_RATE: "requests",
}

_WORDS = {
    Metric.ERROR_RATE: "error rate",
    Metric.ACCURACY: "accuracy",
    Metric.PRECISION: "precision",
    Metric.RECALL: "recall",
    Metric.F1_SCORE: "F1 score",
    Metric.AVG_LATENCY_MS: "mean latency",
    Metric.AVG_CONFIDENCE: "mean confidence",
    Metric.SLOW_RATE: "share of slow requests",
}


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """The mean of a value that the application measures itself.

    Attributes:
        name: Its name in ``custom_metrics``.
        direction: Which way it improves.
    """

    name: str
    direction: Direction

    @property
    def value(self) -> str:
        """The name among all metrics, ``custom:`` and the own name."""
        return _CUSTOM + self.name

    @property
    def is_measured(self) -> bool:
        """Whether it is a mean of measured values: always."""
        return True

    @property
    def unit(self) -> str:
        """What is counted as one observation, in words, plural."""
        return "requests with this metric"

    @property
    def words(self) -> str:
        """The metric in words."""
        return f"mean {self.name}"


AnyMetric: TypeAlias = Metric | CustomMetric


@dataclass(frozen=True, slots=True)
class ArmStatistics:
    """Everything inference needs to know about one arm; two of them add up to the statistics of both together.

    Attributes:
        requests: Requests with a recorded outcome, failures included.
        failures: Those that failed.
        latency: Moments of the latencies in milliseconds; failures and timeouts count.
        confidence: Moments of the model's confidences.
        confusion: Counts of the labelled requests.
        histogram: Latencies by logarithmic bucket, for quantiles.
        slow: Requests slower than the service level objective; 0 where there is none.
        custom: Moments of the values the application measures itself, by name.

    Raises:
        InvalidInputError: Fewer than no failures or slow requests, or more of them than requests.
    """

    requests: int = 0
    failures: int = 0
    latency: Moments = NO_VALUES
    confidence: Moments = NO_VALUES
    confusion: Confusion = field(default_factory=Confusion)
    histogram: LatencyHistogram = field(default_factory=LatencyHistogram)
    slow: int = 0
    custom: Mapping[str, Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.failures <= self.requests:
            raise InvalidInputError(f"{self.failures} failures of {self.requests} requests are not possible.")
        if not 0 <= self.slow <= self.requests:
            raise InvalidInputError(f"{self.slow} slow ones of {self.requests} requests are not possible.")

    def __add__(self, other: ArmStatistics) -> ArmStatistics:
        return ArmStatistics(
            self.requests + other.requests,
            self.failures + other.failures,
            self.latency + other.latency,
            self.confidence + other.confidence,
            self.confusion + other.confusion,
            self.histogram + other.histogram,
            self.slow + other.slow,
            _added(self.custom, other.custom),
        )

    @property
    def error_rate(self) -> float | None:
        """Share of requests that failed; None without requests."""
        return self.failures / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of one arm.

    Attributes:
        value: The metric in its own unit; None when it is undefined (no data, or 0/0).
        variance_of_one_unit: Variance of the linearised contribution of one unit, in the squared unit of the
            metric, so that the estimate has variance ``variance_of_one_unit / n_units``; None when it is unknown.
        third_moment_of_one_unit: Third central moment of the same contribution; None when it is unknown.
        n_units: Units observed: requests, or labelled requests for metrics that need the true label.
    """

    value: float | None
    variance_of_one_unit: float | None
    third_moment_of_one_unit: float | None
    n_units: int


class Counts(NamedTuple):
    """What a counted metric of one arm is made of: ``weight * hits / (weight * hits + misses)``.

    Attributes:
        units: Requests, or labelled requests.
        hits: Those that count for the metric.
        misses: Those that count against it; the rest of the units are no part of the ratio.
        weight: How much a hit weighs: 2 in the F1 score, otherwise 1.
    """

    units: int
    hits: int
    misses: int
    weight: int


def estimate(arm: ArmStatistics, metric: AnyMetric) -> Estimate:
    """Read one metric off the statistics of one arm.

    Args:
        arm: The arm, or the sum of several.
        metric: What to estimate.
    """
    if metric.is_measured:
        moments = moments_of(arm, metric)
        return Estimate(moments.mean, moments.variance, moments.third_moment, moments.count)
    units, hits, misses, weight = counts_of(arm, metric)
    total = weight * hits + misses
    if total == 0:
        return Estimate(None, None, None, units)
    more_hits, more_misses = hits + IMAGINED, misses + IMAGINED
    more_total = weight * more_hits + more_misses
    ratio = weight * more_hits / more_total
    up, down = weight * (1.0 - ratio), -ratio
    squares = up * up * more_hits + down * down * more_misses
    cubes = up**3 * more_hits + down**3 * more_misses
    variance = squares * units / (total * more_total)
    return Estimate(weight * hits / total, variance, cubes * units**2 / (total**2 * more_total), units)


def counts_of(arm: ArmStatistics, metric: AnyMetric) -> Counts:
    """What a counted metric is made of.

    Args:
        arm: The arm, or the sum of several.
        metric: One that is not measured.
    """
    match metric:
        case Metric.ERROR_RATE:
            return Counts(arm.requests, arm.failures, arm.requests - arm.failures, 1)
        case Metric.SLOW_RATE:
            return Counts(arm.requests, arm.slow, arm.requests - arm.slow, 1)
    seen = arm.confusion
    match metric:
        case Metric.ACCURACY:
            return Counts(seen.labelled, seen.tp + seen.tn, seen.fp + seen.fn, 1)
        case Metric.PRECISION:
            return Counts(seen.labelled, seen.tp, seen.fp, 1)
        case Metric.RECALL:
            return Counts(seen.labelled, seen.tp, seen.fn, 1)
        case _:
            return Counts(seen.labelled, seen.tp, seen.fp + seen.fn, 2)


def moments_of(arm: ArmStatistics, metric: AnyMetric) -> Moments:
    """The values a measured metric is the mean of.

    Args:
        arm: The arm, or the sum of several.
        metric: One that is measured.
    """
    if isinstance(metric, CustomMetric):
        return arm.custom.get(metric.name, NO_VALUES)
    return arm.latency if metric is Metric.AVG_LATENCY_MS else arm.confidence


def metric_named(name: AnyMetric | str, direction: Direction | str | None = None) -> AnyMetric:
    """The metric of that name.

    Args:
        name: One of :class:`Metric`, or ``custom:`` and the name of a custom metric.
        direction: Which way a custom metric improves, "higher" or "lower".

    Raises:
        InvalidInputError: There is no such metric, or the direction of a custom one is not said.
    """
    if isinstance(name, CustomMetric):
        return name
    if name.startswith(_CUSTOM) and len(name) > len(_CUSTOM):
        if direction not in set(Direction):
            raise InvalidInputError(
                f"Which way {name!r} improves is not known: {direction!r}.", hint='Say "higher" or "lower".'
            )
        return CustomMetric(name.removeprefix(_CUSTOM), Direction(direction))
    try:
        return Metric(name)
    except ValueError:
        hint = f"Use one of: {', '.join(Metric)}, or custom:NAME."
        raise InvalidInputError(f"There is no metric {name!r}.", hint=hint) from None


def _added(mine: Mapping[str, Moments], theirs: Mapping[str, Moments]) -> Mapping[str, Moments]:
    if not mine or not theirs:
        return mine or theirs
    return {name: mine.get(name, NO_VALUES) + theirs.get(name, NO_VALUES) for name in {**mine, **theirs}}
