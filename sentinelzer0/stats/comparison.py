"""Two arms, one metric: the difference, an interval that holds at every look, and a verdict in words.

The interval is an asymptotic confidence sequence (:mod:`sentinelzer0.stats.confidence_sequences`) for the
difference of two linearised means, with all units of both arms as its time. One request has to be one randomised
unit. Three guards keep the asymptotics honest while counts are small; the simulations in ``tests/statistics`` show
that with them the error rate holds from the first look on, and that without them it does not:

* The variance of the difference is the larger of two estimates: with each arm's own variance, and with the pooled
  variance, which is the right one if the arms do not differ. An arm that has not failed yet, or a small arm that has not
  met its first slow request, has a variance near 0 that means nothing. Under an uneven split the separate variances
  alone can also claim more evidence against "no difference" than the likelihood ratio carries.
* Counted metrics carry imagined units in their variance (:mod:`sentinelzer0.stats.estimators`).
* No verdict before each arm holds ``min_samples`` units, and the boundary is tuned to a much later time, which
  makes it wide at the start: with fewer than about 40 units in all, no data whatever can cross it.

Each call controls the error of one metric. Declaring on the best of several metrics needs a correction for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import asymptotic_p_value, asymptotic_radius, tuned_rho
from sentinelzer0.stats.estimators import (
    ArmStatistics,
    Direction,
    Estimate,
    Metric,
    estimate,
    estimate_together,
    metric_named,
)

_TIGHTEST_AT = 10
_TIGHTEST_AT_LEAST = 1000

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
    """An estimated difference B - A.

    Attributes:
        value: In the unit of the metric.
        standard_error: Standard deviation of the estimate, > 0, guarded as the module describes.
        units: Units of both arms together.
    """

    value: float
    standard_error: float
    units: int


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
        min_samples: Units each arm has to have before a verdict.
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
    rho = tuned_rho(rho_units(min_samples), alpha)
    of_a, of_b = estimate(a, metric), estimate(b, metric)
    estimated = difference(of_a, of_b, estimate_together(a, b, metric))
    interval, p_value = None, 1.0
    if estimated is not None:
        radius = asymptotic_radius(estimated.standard_error, estimated.units, alpha, rho)
        interval = (estimated.value - radius, estimated.value + radius)
        p_value = asymptotic_p_value(estimated.value, estimated.standard_error, estimated.units, rho)
    enough = min(of_a.n_units, of_b.n_units) >= min_samples
    winner = _winner(metric, interval) if enough else None
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
        reason=_reason(metric, of_a, of_b, interval, alpha, min_samples),
        samples_a=of_a.n_units,
        samples_b=of_b.n_units,
        alpha=alpha,
        min_samples=min_samples,
    )


def difference(a: Estimate, b: Estimate, pooled: Estimate) -> Difference | None:
    """Difference of two independent estimates with a guarded standard error.

    Args:
        a: The control.
        b: The challenger.
        pooled: The same metric on both arms together.

    Returns:
        None while a value or a variance is undefined, or when all units are identical.
    """
    if a.value is None or b.value is None or pooled.variance_of_one_unit is None:
        return None
    variance = pooled.variance_of_one_unit * (1.0 / a.n_units + 1.0 / b.n_units)
    if a.variance_of_one_unit is not None and b.variance_of_one_unit is not None:
        variance = max(variance, a.variance_of_one_unit / a.n_units + b.variance_of_one_unit / b.n_units)
    if variance <= 0.0:
        return None
    return Difference(b.value - a.value, sqrt(variance), a.n_units + b.n_units)


def rho_units(min_samples: int) -> int:
    """Units of both arms together at which the interval is tuned to be tightest."""
    return 2 * max(_TIGHTEST_AT * min_samples, _TIGHTEST_AT_LEAST)


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
