"""Two arms, one metric: the difference, an interval that holds at every look, and a verdict in words.

The interval is an asymptotic confidence sequence (:mod:`sentinelzer0.stats.confidence_sequences`) for the
difference of two linearised means, with all units of both arms as its time. One request has to be one randomised
unit, under a share of traffic that stays the same. Guards keep the asymptotics honest while counts are small; the
simulations in ``tests/statistics`` show that with them the error rate holds, and that without them it does not:

* Counted metrics carry imagined units in their variance (:mod:`sentinelzer0.stats.estimators`): an arm that has not
  failed yet does not know its error rate exactly.
* The interval is longer towards the longer tail. Where a skewed arm looks good by luck, its variance looks small by
  the same luck. The limit on that side moves by ``z^2 k3 / (2 k2)`` with the second and third cumulant of the
  difference, which for a rare event is the term that Wilson's interval has, and the idea of Johnson, "Modified
  t tests and confidence intervals for asymmetrical populations", JASA 73 (1978). Equal arms need none.
* For measured values the variance is at least the pooled one, which is the right one if the arms do not differ: a
  small arm that has not met its first slow request has a variance that means nothing. They need 30 units per arm
  whatever ``min_samples`` says. Very heavy tails (log-normal latencies with sigma 1.5 and more) still need a larger
  ``min_samples`` for full coverage of the size of a real difference; false verdicts stay rare even then.
* No verdict before each arm holds ``min_samples`` units, and the boundary is tuned to a much later time, which
  makes it wide at the start.

Each call controls the error of one metric. Declaring on the best of several metrics needs a correction for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import critical_z, p_value_of_z, tuned_rho
from sentinelzer0.stats.estimators import (
    ArmStatistics,
    Direction,
    Estimate,
    Metric,
    estimate,
    metric_named,
)

_TIGHTEST_AT = 10
_TIGHTEST_AT_LEAST = 1000
_MEASURED_START = 30

_NAMES = {
    Metric.ERROR_RATE: "error rate",
    Metric.ACCURACY: "accuracy",
    Metric.PRECISION: "precision",
    Metric.RECALL: "recall",
    Metric.F1_SCORE: "F1 score",
    Metric.AVG_LATENCY_MS: "mean latency",
    Metric.AVG_CONFIDENCE: "mean confidence",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """An estimated difference B - A and how far it may be off.

    Attributes:
        value: In the unit of the metric.
        standard_error: Standard deviation of the estimate, > 0, guarded as the module describes.
        lean: What skewness adds to the interval per squared z: to the upper limit when positive, below the lower
            limit when negative. In the unit of the metric.
        units: Units of both arms together.
    """

    value: float
    standard_error: float
    lean: float
    units: int

    def interval(self, alpha: float, rho: float) -> tuple[float, float]:
        """Limits for the true difference that hold at every look together with probability ``1 - alpha``.

        Args:
            alpha: Error probability, in (0, 1).
            rho: Mixture parameter in units, fixed before the first look.
        """
        z = critical_z(self.units, alpha, rho)
        radius, lean = z * self.standard_error, z * z * self.lean
        return self.value - radius + min(0.0, lean), self.value + radius + max(0.0, lean)

    def p_value(self, rho: float) -> float:
        """The smallest alpha whose interval excludes 0, valid at every stopping time.

        Args:
            rho: Mixture parameter in units, the one of the interval.
        """
        # The limit next to 0 is |value| - z se - z^2 lean; the z that makes it 0, without cancellation.
        gap = abs(self.value)
        lean = max(0.0, -self.lean if self.value > 0.0 else self.lean)
        se = self.standard_error
        return p_value_of_z(2.0 * gap / (se + sqrt(se * se + 4.0 * lean * gap)), self.units, rho)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the data say about one metric of two arms.

    Attributes:
        metric: The metric compared.
        value_a: Its value in the control; None when undefined there.
        value_b: Its value in the challenger; None when undefined there.
        difference: ``value_b - value_a``; None unless both are defined.
        percent_change: The difference in percent of ``value_a``; None when that is 0 or undefined.
        interval: Low and high end for the true difference, valid at all looks together with probability
            ``1 - alpha``; None while no standard error can be estimated.
        p_value: Always-valid p-value against "no difference"; 1.0 while there is nothing to judge.
        confidence: ``1 - p_value``.
        is_significant: Both arms have their minimum and the interval excludes 0.
        winner: ``"A"`` or ``"B"`` when significant, by the direction of the metric, otherwise None.
        reason: One sentence a person understands.
        samples_a: Units seen in A (labelled requests for metrics that need labels).
        samples_b: Units seen in B.
        alpha: The error probability asked for.
        min_samples: Units each arm has to have before a verdict; at least 30 for measured values.
    """

    metric: Metric
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


def compare(
    a: ArmStatistics, b: ArmStatistics, metric: Metric | str, alpha: float = 0.05, min_samples: int = 100
) -> Comparison:
    """Judge one metric between control and challenger; may be called after every request.

    ``alpha`` and ``min_samples`` have to be fixed before the first look. The interval is tightest when each arm
    holds ten times its minimum, or 1000 units if that is more; it stays close to that for a factor of ten around.

    Args:
        a: Statistics of the control so far.
        b: Statistics of the challenger so far.
        metric: Which metric, by value or name.
        alpha: Probability of a wrong verdict at any look, in (0, 1).
        min_samples: Units each arm has to have before a verdict, >= 1.

    Raises:
        InvalidInputError: Unknown metric, or ``alpha`` or ``min_samples`` out of range.
    """
    metric = metric_named(metric)
    if min_samples < 1:
        raise InvalidInputError(f"min_samples is {min_samples}, but an arm needs at least 1.")
    needed = max(min_samples, _MEASURED_START) if metric.is_measured else min_samples
    rho = tuned_rho(tightest_at(min_samples), alpha)
    of_a, of_b = estimate(a, metric), estimate(b, metric)
    smaller_arm = min(of_a.n_units, of_b.n_units)
    if not metric.is_measured:
        estimated = difference(of_a, of_b)
    elif smaller_arm >= _MEASURED_START:
        estimated = difference(of_a, of_b, _pooled_variance(a, b, metric))
    else:
        estimated = None
    interval = estimated.interval(alpha, rho) if estimated else None
    p_value = estimated.p_value(rho) if estimated else 1.0
    winner = _winner(metric, interval) if smaller_arm >= needed else None
    gap = None if of_a.value is None or of_b.value is None else of_b.value - of_a.value
    return Comparison(
        metric=metric,
        value_a=of_a.value,
        value_b=of_b.value,
        difference=gap,
        percent_change=100.0 * gap / of_a.value if gap is not None and of_a.value else None,
        interval=interval,
        p_value=p_value,
        confidence=1.0 - p_value,
        is_significant=winner is not None,
        winner=winner,
        reason=_reason(metric, of_a, of_b, interval, alpha, needed),
        samples_a=of_a.n_units,
        samples_b=of_b.n_units,
        alpha=alpha,
        min_samples=needed,
    )


def difference(a: Estimate, b: Estimate, pooled_variance: float = 0.0) -> Difference | None:
    """The difference B - A of two independent estimates of one metric.

    Args:
        a: The control.
        b: The challenger.
        pooled_variance: A floor: the variance of one unit in both arms together, if the arms do not differ.

    Returns:
        None while a value or a variance is undefined, or when every unit of both arms is identical.
    """
    if a.value is None or b.value is None or a.variance_of_one_unit is None or b.variance_of_one_unit is None:
        return None
    variance = a.variance_of_one_unit / a.n_units + b.variance_of_one_unit / b.n_units
    guarded = max(variance, pooled_variance * (1.0 / a.n_units + 1.0 / b.n_units))
    if guarded <= 0.0:
        return None
    third = (b.third_moment_of_one_unit or 0.0) / b.n_units**2 - (a.third_moment_of_one_unit or 0.0) / a.n_units**2
    lean = 0.5 * third / variance if variance else 0.0
    return Difference(b.value - a.value, sqrt(guarded), lean, a.n_units + b.n_units)


def tightest_at(min_samples: int) -> int:
    """Units of both arms together at which the interval is tuned to be tightest."""
    return 2 * max(_TIGHTEST_AT * min_samples, _TIGHTEST_AT_LEAST)


def _pooled_variance(a: ArmStatistics, b: ArmStatistics, metric: Metric) -> float:
    together = a.latency + b.latency if metric is Metric.AVG_LATENCY_MS else a.confidence + b.confidence
    return together.variance or 0.0


def _winner(metric: Metric, interval: tuple[float, float] | None) -> str | None:
    if interval is None or interval[0] <= 0.0 <= interval[1]:
        return None
    b_is_higher = interval[0] > 0.0
    return "B" if b_is_higher == (metric.direction is Direction.HIGHER) else "A"


def _reason(
    metric: Metric,
    a: Estimate,
    b: Estimate,
    interval: tuple[float, float] | None,
    alpha: float,
    min_samples: int,
) -> str:
    name, unit = _NAMES[metric], metric.unit
    empty = [arm for arm, of in (("A", a), ("B", b)) if of.n_units == 0]
    if empty:
        return f"No data: {' and '.join(empty)} {'have' if len(empty) == 2 else 'has'} no {unit} yet."
    if min(a.n_units, b.n_units) < min_samples:
        return f"Too early to say: A has {a.n_units} and B {b.n_units} of the {min_samples} {unit} each needs."
    undefined = " and ".join(arm for arm, of in (("A", a), ("B", b)) if of.value is None)
    if undefined:
        return f"The {name} of {undefined} is not defined yet: nothing that it is a share of has occurred."
    if interval is None:
        return f"The {name} cannot be compared: every value in both arms is identical."
    low, high = (_shown(metric, end) for end in interval)
    band = f"the difference B - A lies between {low} and {high} ({100 * (1 - alpha):g} % at every look)"
    winner = _winner(metric, interval)
    if winner is None:
        return f"No difference in {name} is shown yet: {band}."
    better = "lower" if metric.direction is Direction.LOWER else "higher"
    return f"{winner} has the {better} {name}: {band}."


def _shown(metric: Metric, value: float) -> str:
    return f"{value:+.3g} ms" if metric is Metric.AVG_LATENCY_MS else f"{value:+.4f}"
