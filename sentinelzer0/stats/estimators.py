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

from dataclasses import dataclass, field
from enum import StrEnum

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.moments import NO_VALUES, Confusion, Moments

_IMAGINED = 2


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

    @property
    def direction(self) -> Direction:
        """Which way this metric improves."""
        lower = self in (Metric.ERROR_RATE, Metric.AVG_LATENCY_MS)
        return Direction.LOWER if lower else Direction.HIGHER

    @property
    def is_measured(self) -> bool:
        """Whether it is a mean of measured values; the others are shares of counted events."""
        return self in (Metric.AVG_LATENCY_MS, Metric.AVG_CONFIDENCE)

    @property
    def unit(self) -> str:
        """What is counted as one observation, in words, plural."""
        return _UNITS[self]


_UNITS = {
    Metric.ERROR_RATE: "requests",
    Metric.ACCURACY: "labelled requests",
    Metric.PRECISION: "labelled requests",
    Metric.RECALL: "labelled requests",
    Metric.F1_SCORE: "labelled requests",
    Metric.AVG_LATENCY_MS: "requests with a latency",
    Metric.AVG_CONFIDENCE: "requests with a confidence",
}


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

    Raises:
        InvalidInputError: Fewer than no failures, or more failures than requests.
    """

    requests: int = 0
    failures: int = 0
    latency: Moments = NO_VALUES
    confidence: Moments = NO_VALUES
    confusion: Confusion = field(default_factory=Confusion)
    histogram: LatencyHistogram = field(default_factory=LatencyHistogram)

    def __post_init__(self) -> None:
        if not 0 <= self.failures <= self.requests:
            raise InvalidInputError(f"{self.failures} failures of {self.requests} requests are not possible.")

    def __add__(self, other: ArmStatistics) -> ArmStatistics:
        return ArmStatistics(
            self.requests + other.requests,
            self.failures + other.failures,
            self.latency + other.latency,
            self.confidence + other.confidence,
            self.confusion + other.confusion,
            self.histogram + other.histogram,
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


def estimate(arm: ArmStatistics, metric: Metric) -> Estimate:
    """Read one metric off the statistics of one arm.

    Args:
        arm: The arm, or the sum of several.
        metric: What to estimate.
    """
    match metric:
        case Metric.ERROR_RATE:
            return _proportion(arm.failures, arm.requests, arm.requests)
        case Metric.AVG_LATENCY_MS:
            return _mean(arm.latency)
        case Metric.AVG_CONFIDENCE:
            return _mean(arm.confidence)
        case _:
            return _labelled(arm.confusion, metric)


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InvalidInputError: There is no such metric.
    """
    try:
        return Metric(name)
    except ValueError:
        raise InvalidInputError(f"There is no metric {name!r}.", hint=f"Use one of: {', '.join(Metric)}.") from None


def _mean(moments: Moments) -> Estimate:
    return Estimate(moments.mean, moments.variance, moments.third_moment, moments.count)


def _labelled(confusion: Confusion, metric: Metric) -> Estimate:
    match metric:
        case Metric.ACCURACY:
            return _proportion(confusion.tp + confusion.tn, confusion.labelled, confusion.labelled)
        case Metric.PRECISION:
            return _proportion(confusion.tp, confusion.tp + confusion.fp, confusion.labelled)
        case Metric.RECALL:
            return _proportion(confusion.tp, confusion.tp + confusion.fn, confusion.labelled)
        case _:
            return _f1_score(confusion)


def _proportion(hits: int, trials: int, units: int) -> Estimate:
    """A share of trials; only some of the units may be trials (precision: the flagged ones)."""
    if trials == 0:
        return Estimate(None, None, None, units)
    share = (hits + _IMAGINED) / (trials + 2 * _IMAGINED)
    per_trial = units / trials
    variance = share * (1.0 - share) * per_trial
    return Estimate(hits / trials, variance, variance * (1.0 - 2.0 * share) * per_trial, units)


def _f1_score(confusion: Confusion) -> Estimate:
    hits, wrong, units = confusion.tp, confusion.fp + confusion.fn, confusion.labelled
    weight = 2 * hits + wrong
    if weight == 0:
        return Estimate(None, None, None, units)
    more_hits, more_wrong = hits + _IMAGINED, wrong + _IMAGINED
    more_weight = 2 * more_hits + more_wrong
    f1 = 2 * more_hits / more_weight
    squares = 4 * more_hits * (1.0 - f1) ** 2 + more_wrong * f1 * f1
    cubes = 8 * more_hits * (1.0 - f1) ** 3 - more_wrong * f1**3
    variance = squares * units / (weight * more_weight)
    return Estimate(2 * hits / weight, variance, cubes * units**2 / (weight**2 * more_weight), units)
