"""What a plan starts from: the incumbent's numbers, the difference worth having, and how the test is run."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import (
    AnyMetric,
    ArmStatistics,
    Direction,
    Metric,
    counts_of,
    metric_named,
    moments_of,
)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the incumbent is like in one metric.

    Attributes:
        metric: The metric.
        value: Its value.
        weight: For counted metrics, what one unit adds below the line of the ratio: 1 for rates, the share of attacks
            for recall, of flagged requests for precision, both together for F1.
        variance: For measured metrics, the variance of one unit.
        third: For measured metrics, the third central moment of one unit.
    """

    metric: AnyMetric
    value: float
    weight: float = 1.0
    variance: float = 0.0
    third: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a test is run; everything the two answers share.

    Attributes:
        share: Share of the challenger among both arms, in (0, 1).
        alpha: Probability of a wrong verdict, in (0, 1).
        power: For the fixed horizon, in (0, 1).
        min_samples: Units each arm needs before a verdict, >= 1.
        labelled_share: Share of the requests that count as units of the metric, in (0, 1].
        units_per_request: Units a request of the two arms makes: 1, or 2 where both score it (shadow mode).
        traffic: Share of all requests that go to these two arms, in (0, 1].
        rate_per_s: Requests per second, > 0; None when unknown.

    Raises:
        InvalidInputError: A number out of range.
    """

    share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    min_samples: int = 100
    labelled_share: float = 1.0
    units_per_request: int = 1
    traffic: float = 1.0
    rate_per_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("share", "alpha", "power"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise InvalidInputError(f"{name} is {getattr(self, name)}.", hint="Pass a number between 0 and 1.")
        for name in ("labelled_share", "traffic"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InvalidInputError(f"{name} is {getattr(self, name)}.", hint="Pass a share above 0, at most 1.")
        if self.rate_per_s is not None and not 0.0 < self.rate_per_s < inf:
            raise InvalidInputError(f"The rate is {self.rate_per_s}.", hint="Pass requests per second, above 0.")
        if self.min_samples < 1:
            raise InvalidInputError(f"min_samples is {self.min_samples}, but an arm needs at least 1.")

    def requests(self, units: float) -> int:
        """Requests that make so many units."""
        return ceil(units / (self.labelled_share * self.traffic * self.units_per_request) - 1e-9)

    def seconds(self, requests: int) -> float | None:
        """How long so many requests take; None without a rate."""
        return None if self.rate_per_s is None else requests / self.rate_per_s


def baseline_of(arm: ArmStatistics, metric: AnyMetric | str) -> Baseline | None:
    """Read the incumbent's numbers off its statistics.

    Args:
        arm: What the incumbent has shown so far.
        metric: Which metric.

    Returns:
        None while the metric is undefined there, or has no spread.
    """
    metric = metric_named(metric)
    if metric.is_measured:
        moments = moments_of(arm, metric)
        if moments.mean is None or not moments.variance:
            return None
        return Baseline(metric, moments.mean, 1.0, moments.variance, moments.third_moment or 0.0)
    units, hits, misses, of_hit = counts_of(arm, metric)
    below = of_hit * hits + misses
    return Baseline(metric, of_hit * hits / below, below / units) if below else None


def baseline_by_hand(
    metric: AnyMetric | str, value: float, *, attack_share: float = 0.5, standard_deviation: float | None = None
) -> Baseline:
    """Make a baseline from numbers a person knows.

    Args:
        metric: Which metric.
        value: Its value in the incumbent.
        attack_share: Share of attacks among labelled requests, in (0, 1]; for precision, recall and F1, assuming that
            about as many are flagged.
        standard_deviation: Of one request, > 0; needed for measured metrics.

    Raises:
        InvalidInputError: A number out of range, or a measured metric without its standard deviation.
    """
    metric = metric_named(metric)
    if metric.is_measured:
        if standard_deviation is None or not 0.0 < standard_deviation < inf:
            raise InvalidInputError(
                f"How much the {metric.words} varies from request to request is not known: {standard_deviation}.",
                hint="Pass the standard deviation of one request, above 0.",
            )
        # Latencies have a long tail to the right: that of a gamma distribution with this mean and deviation.
        skewed = metric is Metric.AVG_LATENCY_MS and value > 0.0
        third = 2.0 * standard_deviation**4 / value if skewed else 0.0
        return Baseline(metric, value, 1.0, standard_deviation**2, third)
    if not 0.0 < attack_share <= 1.0:
        raise InvalidInputError(f"attack_share is {attack_share}.", hint="Pass a share above 0, at most 1.")
    weight = {Metric.PRECISION: attack_share, Metric.RECALL: attack_share, Metric.F1_SCORE: 2.0 * attack_share}
    return Baseline(metric, value, weight.get(Metric(metric), 1.0) if isinstance(metric, Metric) else 1.0)


def signed_effect(baseline: Baseline, effect: float, *, relative: bool = False) -> float:
    """The difference B - A that is meant by an improvement.

    Args:
        baseline: The incumbent.
        effect: How much better the challenger is, whichever way the metric improves; negative for a worsening.
        relative: The effect is a share of the incumbent's value.

    Raises:
        InvalidInputError: No effect, or one that leaves the range of the metric.
    """
    size = effect * abs(baseline.value) if relative else effect
    gap = size if baseline.metric.direction is Direction.HIGHER else -size
    if not 0.0 < abs(gap) < inf:
        raise InvalidInputError(
            f"An effect of {effect} cannot be planned for.", hint="Pass the smallest difference worth having."
        )
    if not baseline.metric.is_measured and not (0.0 <= baseline.value <= 1.0 and 0.0 <= baseline.value + gap <= 1.0):
        raise InvalidInputError(
            f"The {baseline.metric.words} is {baseline.value:g} and would become {baseline.value + gap:g}.",
            hint="Both have to lie between 0 and 1; pass a negative effect for a worsening.",
        )
    return gap
