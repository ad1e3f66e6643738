"""Two arms, one metric: the difference, an interval that holds at every look, and a verdict in words.

The interval is an asymptotic confidence sequence (:mod:`sentinelzer0.stats.confidence_sequences`; Waudby-Smith et al.,
"Time-uniform central limit theory and asymptotic confidence sequences", 2024) for the difference of two means or
linearised ratios, stratified by the phases of the ramp, with information as its time
(:mod:`sentinelzer0.stats.stratified`). One request has to be one randomised unit. Guards keep the asymptotics honest
while counts are small; the simulations in ``tests/statistics`` show that with them the error rate holds, and that
without them it does not:

* Counted metrics carry imagined units in their variance (:mod:`sentinelzer0.stats.estimators`): an arm that has not
  failed yet does not know its error rate exactly.
* The interval is longer towards the longer tail. Where a skewed arm looks good by luck, its variance looks small by
  the same luck. The limit on that side moves by ``z^2 k3 / (2 k2)`` with the second and third cumulant of the
  difference, which for a rare event is the term that Wilson's interval has, and the idea of Johnson, "Modified
  t tests and confidence intervals for asymmetrical populations", JASA 73 (1978). Equal arms need none.
* For measured values the variance is at least the pooled one, which is the right one if the arms do not differ: a
  small arm that has not met its first slow request has a variance that means nothing. For the same reason the less
  skewed arm is taken to be as skewed as the other. They need 30 units per arm whatever ``min_samples`` says. Very heavy tails (log-normal latencies with sigma 1.5 and more) still need a larger
  ``min_samples`` for full coverage of the size of a real difference; false verdicts stay rare even then.
* No verdict before each arm holds ``min_samples`` units, and the boundary is tuned to a much later time, which
  makes it wide at the start.

Each call controls the error of one metric. Declaring on the best of several metrics needs a correction for that
(:mod:`sentinelzer0.stats.multiplicity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import copysign, expm1, inf
from typing import NamedTuple

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import critical_z, tuned_rho
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics, Direction, Metric, estimate, metric_named
from sentinelzer0.stats.stratified import Difference, Standardised, Stratum, difference, log_ratio, standardise
from sentinelzer0.stats.wording import HarmState, harm_reason, missing_for, reason_of, winner_of

__all__ = [
    "Comparison",
    "Difference",
    "Harm",
    "HarmState",
    "Measured",
    "Stratum",
    "compare",
    "compare_measured",
    "conclude",
    "harm",
    "harms_measured",
    "measure",
    "minimum_of",
    "tightest_at",
]

_TIGHTEST_AT = 10
_TIGHTEST_AT_LEAST = 1000
_MEASURED_START = 30
_LARGEST_LOGARITHM = 700.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the data say about one metric of two arms.

    Attributes:
        metric: The metric compared.
        value_a: Its value in the control, standardised over the phases; None when undefined there.
        value_b: Its value in the challenger, likewise.
        difference: ``value_b - value_a``; None unless both are defined.
        percent_change: The difference in percent of ``value_a``; None when that is 0 or undefined.
        interval: Low and high end for the true difference, valid at all looks together with probability
            ``1 - alpha``; None while no standard error can be estimated.
        p_value: Always-valid p-value against "no difference"; 1.0 while there is nothing to judge.
        confidence: ``1 - p_value``.
        is_significant: Both arms have their minimum and the interval excludes 0.
        winner: ``"A"`` or ``"B"`` when significant, by the direction of the metric, otherwise None.
        reason: One sentence a person understands.
        samples_a: Units of A (labelled requests for metrics that need labels) in the phases in which both arms have
            any; all of them while there is no such phase.
        samples_b: Units of B, likewise.
        alpha: The error probability asked for.
        min_samples: Units each arm has to have before a verdict; at least 30 for measured values.
        lower: The true difference is above it at every look with probability ``1 - alpha``; None without interval.
        upper: The true difference is below it at every look with probability ``1 - alpha``; None without interval.
        p_better: Always-valid one-sided p-value; small shows that B is better, by the direction of the metric.
        p_worse: The same, small shows that B is worse.
        lift: Relative difference ``(b - a) / a``; None when ``value_a`` is 0 or undefined.
        lift_interval: Two-sided limits for the lift at every look, by the logarithm of the ratio; None unless both
            values are positive.
        information: Effective units: as precise as this many units of both arms together in an even split.
        strata: Phases that count.
    """

    metric: AnyMetric
    value_a: float | None
    value_b: float | None
    difference: float | None
    percent_change: float | None
    interval: tuple[float, float] | None
    p_value: float
    confidence: float
    is_significant: bool
    winner: str | None
    reason: str
    samples_a: int
    samples_b: int
    alpha: float
    min_samples: int
    lower: float | None = None
    upper: float | None = None
    p_better: float = 1.0
    p_worse: float = 1.0
    lift: float | None = None
    lift_interval: tuple[float, float] | None = None
    information: float = 0.0
    strata: int = 0


@dataclass(frozen=True, slots=True)
class Harm:
    """Whether B is worse than A by more than a margin.

    Attributes:
        state: Violated or passed when proven at one-sided alpha, otherwise pending, or no data.
        worse_by: By how much B is worse, against the direction of the metric; negative when it is better. In the unit
            of the metric, or as a share of the control's value when the margin is relative. None while undefined.
        limit_low: B is worse by more than this at every look with probability ``1 - alpha``; above the margin exactly
            when the margin is violated. None while it cannot be estimated.
        limit_high: B is worse by less than this, likewise; below the margin exactly when that is proven.
        p_harm: Always-valid p-value against "worse by no more than the margin".
        reason: One sentence a person understands.
    """

    state: HarmState
    worse_by: float | None
    limit_low: float | None
    limit_high: float | None
    p_harm: float
    reason: str


class Measured(NamedTuple):
    """One metric of both arms, read off the strata once for everything that is asked of it.

    Attributes:
        metric: The metric.
        found: Both arms, standardised.
        values: Of A and B; the plain ones while no phase has both arms, None when undefined.
        samples: Units of A and B.
    """

    metric: AnyMetric
    found: Standardised
    values: tuple[float | None, float | None]
    samples: tuple[int, int]

    @property
    def is_early(self) -> bool:
        """Whether there is too little for any limits."""
        return min(self.samples) < _MEASURED_START and self.metric.is_measured


def measure(strata: Sequence[Stratum], metric: AnyMetric | str) -> Measured:
    """Read one metric of both arms off the strata.

    Args:
        strata: Both arms so far, one stratum per phase of the ramp.
        metric: Which metric, by value or name.

    Raises:
        InvalidInputError: Unknown metric.
    """
    metric = metric if isinstance(metric, Metric) else metric_named(metric)
    found = standardise(strata, metric)
    if found.strata:
        return Measured(metric, found, (found.a.value, found.b.value), (found.a.units, found.b.units))
    a, b = (estimate(sum(arms, ArmStatistics()), metric) for arms in ([s.a for s in strata], [s.b for s in strata]))
    return Measured(metric, found, (a.value, b.value), (a.n_units, b.n_units))


def compare(
    strata: Sequence[Stratum], metric: AnyMetric | str, alpha: float = 0.05, min_samples: int = 100
) -> Comparison:
    """Judge one metric between control and challenger; may be called after every request.

    ``alpha`` and ``min_samples`` have to be fixed before the first look. The interval is tightest when an evenly split
    test holds ten times the minimum per arm, or 1000 units per arm if that is more; it stays close to that for a
    factor of ten around.

    Args:
        strata: Both arms so far, one stratum per phase of the ramp.
        metric: Which metric, by value or name.
        alpha: Probability of a wrong verdict at any look, in (0, 1).
        min_samples: Units each arm has to have before a verdict, >= 1.

    Raises:
        InvalidInputError: Unknown metric, or ``alpha`` or ``min_samples`` out of range.
    """
    return compare_measured(measure(strata, metric), alpha, min_samples)


def compare_measured(measured: Measured, alpha: float = 0.05, min_samples: int = 100) -> Comparison:
    """Judge as :func:`compare` does, from what :func:`measure` has read."""
    metric, found, values, samples = measured
    early = measured.is_early
    return conclude(
        metric,
        values,
        samples,
        None if early else difference(found),
        None if early else log_ratio(found),
        alpha=alpha,
        min_samples=min_samples,
        strata=found.strata,
    )


def conclude(
    metric: AnyMetric,
    values: tuple[float | None, float | None],
    samples: tuple[int, int],
    estimated: Difference | None,
    ratio: Difference | None,
    *,
    alpha: float,
    min_samples: int,
    strata: int = 1,
) -> Comparison:
    """Put limits, p-values and words to an estimated difference, however it was estimated.

    Args:
        metric: The metric compared.
        values: Of A and B; None when undefined.
        samples: Units of A and B.
        estimated: The difference B - A; None when it has no standard error.
        ratio: The difference of the logarithms, for the lift; None when there is none.
        alpha: Probability of a wrong verdict at any look, in (0, 1).
        min_samples: Units each arm has to have before a verdict, >= 1.
        strata: Phases that count; 0 when there is none that both arms share.

    Raises:
        InvalidInputError: ``alpha`` or ``min_samples`` out of range.
    """
    needed, direction, (rho, one_sided) = minimum_of(metric, min_samples), metric.direction, _rhos(min_samples, alpha)
    value_a, value_b = values
    gap = None if value_a is None or value_b is None or not strata else value_b - value_a
    lift = gap / value_a if gap is not None and value_a else None
    interval = lower = upper = lift_interval = None
    p_value = above = below = 1.0
    if estimated is not None:
        z = critical_z(estimated.information, alpha, rho)
        interval, (lower, upper) = estimated.limits(z), estimated.one_sided(alpha, one_sided)
        p_value, above, below = estimated.p_values(rho, one_sided)
        lift_interval = None if ratio is None else _from_logarithms(ratio.limits(z))
    missing = missing_for(metric, values, samples, needed=needed, strata=strata)
    winner = winner_of(direction, interval) if missing is None else None
    is_higher_better = direction is Direction.HIGHER
    return Comparison(
        metric=metric,
        value_a=value_a,
        value_b=value_b,
        difference=gap,
        percent_change=None if lift is None else 100.0 * lift,
        interval=interval,
        p_value=p_value,
        confidence=1.0 - p_value,
        is_significant=winner is not None,
        winner=winner,
        reason=missing or reason_of(metric, winner, interval, direction, alpha),
        samples_a=samples[0],
        samples_b=samples[1],
        alpha=alpha,
        min_samples=needed,
        lower=lower,
        upper=upper,
        p_better=above if is_higher_better else below,
        p_worse=below if is_higher_better else above,
        lift=lift,
        lift_interval=lift_interval,
        information=estimated.information if estimated is not None else 0.0,
        strata=strata,
    )


def harm(
    strata: Sequence[Stratum],
    metric: AnyMetric | str,
    margin: float,
    alpha: float = 0.05,
    min_samples: int = 100,
    *,
    relative: bool = False,
) -> Harm:
    """Judge whether B is worse than A by more than a margin; may be called after every request.

    A relative margin ``m`` is judged by the linear combination ``b - (1 + m) a`` (or ``(1 - m) a - b`` where higher is
    better) with its own variance: a margin of ``m * a`` would treat the control's value as known.

    Args:
        strata: Both arms so far, one stratum per phase of the ramp.
        metric: Which metric, by value or name.
        margin: How much worse is acceptable, >= 0, in the unit of the metric.
        alpha: Probability of a wrong "violated" at any look, and of a wrong "passed", in (0, 1).
        min_samples: Units each arm has to have before a verdict, >= 1.
        relative: The margin is a share of the control's value instead.

    Raises:
        InvalidInputError: Unknown metric, or an argument out of range.
    """
    return harms_measured(measure(strata, metric), margin, (alpha,), min_samples, relative=relative)[0]


def harms_measured(
    measured: Measured, margin: float, alphas: Sequence[float], min_samples: int = 100, *, relative: bool = False
) -> tuple[Harm, ...]:
    """Judge as :func:`harm` does, at every level of ``alphas``, from what :func:`measure` has read."""
    if not 0.0 <= margin < inf:
        raise InvalidInputError(f"A margin is 0 or more, not {margin}.", hint="Use 0.01 for one percentage point.")
    metric, found, values, samples = measured
    needed, levels = minimum_of(metric, min_samples), [(alpha, _rhos(min_samples, alpha)[1]) for alpha in alphas]
    missing = missing_for(metric, values, samples, needed=needed, strata=found.strata)
    a, b = found.a.value, found.b.value
    if a is None or b is None:
        state = HarmState.NO_DATA if min(samples) == 0 else HarmState.PENDING
        return (Harm(state, None, None, None, 1.0, missing or ""),) * len(levels)
    sign, unit = 1.0 if metric.direction is Direction.LOWER else -1.0, abs(a) if relative else 1.0
    worse_by = sign * (b - a) / unit if unit else None
    if relative:
        excess = difference(found, sign + copysign(margin, a), sign)
    else:
        excess = difference(found, sign, sign, shift=-margin)
    if excess is None or measured.is_early:
        identical = missing is None and found.a.variance == found.b.variance == 0.0
        state = HarmState.PASSED if identical and (worse_by or 0.0) <= margin else HarmState.PENDING
        reason = missing or f"The {metric.words} shows no spread within the arms that a comparison could go by."
        return (Harm(state, worse_by, None, None, 1.0, reason),) * len(levels)
    said = []
    for alpha, rho in levels:
        low, high = excess.one_sided(alpha, rho)
        limits = (low / unit + margin, high / unit + margin) if unit else (None, None)
        state = HarmState.PENDING
        if missing is None and (low > 0.0 or high < 0.0):
            state = HarmState.VIOLATED if low > 0.0 else HarmState.PASSED
        reason = missing or harm_reason(metric, state, worse_by, margin, alpha=alpha, relative=relative)
        said.append(Harm(state, worse_by, limits[0], limits[1], excess.p_values_one_sided(rho)[0], reason))
    return tuple(said)


def minimum_of(metric: AnyMetric, min_samples: int) -> int:
    """Units each arm has to have before a verdict: the minimum asked for, at least 30 for measured values.

    Raises:
        InvalidInputError: A minimum below 1.
    """
    if min_samples < 1:
        raise InvalidInputError(f"min_samples is {min_samples}, but an arm needs at least 1.")
    return max(min_samples, _MEASURED_START) if metric.is_measured else min_samples


def tightest_at(min_samples: int) -> int:
    """Effective units at which the interval is tuned to be tightest."""
    return 2 * max(_TIGHTEST_AT * min_samples, _TIGHTEST_AT_LEAST)


@lru_cache(maxsize=256)
def _rhos(min_samples: int, alpha: float) -> tuple[float, float]:
    """Mixture parameters of the two-sided and the one-sided limits."""
    units = tightest_at(min_samples)
    return tuned_rho(units, alpha), tuned_rho(units, min(2.0 * alpha, 0.5 + 0.5 * alpha))


def _from_logarithms(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    return expm1(min(low, _LARGEST_LOGARITHM)), expm1(min(high, _LARGEST_LOGARITHM))
