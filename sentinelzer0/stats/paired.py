"""Both models score the same request (shadow mode): statistics of the pairs, and verdicts from them.

Two answers to one request share what makes the request hard, so their difference varies less than the difference
of two independent samples: pairs on which both models agree say nothing against either and cancel. The variance of
the difference is that of the pair's own contribution, ``(X_b - R_b Y_b) / mean(Y_b) - (X_a - R_a Y_a) / mean(Y_a)``
for a ratio ``R = sum X / sum Y`` (delta method on the joint confusion), which holds the covariance of the two.

Everything else is as for two arms (:mod:`sentinelzer0.stats.comparison`): an asymptotic confidence sequence that
holds at every look, longer towards the longer tail. ``n`` pairs count as ``2 n`` units, as many as both arms have.
Guards while counts are small:

* One imagined pair is added to each kind of pair on which the answers differ, in the variance only. With all pairs
  alike the difference would otherwise be known exactly; Agresti and Min, "Simple improved confidence intervals for
  comparing matched proportions", Statistics in Medicine 24 (2005), do the same with halves for a single look.
* The variance of measured differences is at least their mean square, the variance if the true difference were 0.
  They need 30 pairs.

Sources:
    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12 (1947).
    Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences" (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import copysign, inf, log, sqrt
from operator import add
from typing import NamedTuple

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.comparison import Comparison, Harm, HarmState, conclude, minimum_of, tightest_at
from sentinelzer0.stats.confidence_sequences import tuned_rho
from sentinelzer0.stats.estimators import AnyMetric, CustomMetric, Direction, Metric, metric_named
from sentinelzer0.stats.moments import NO_VALUES, Moments
from sentinelzer0.stats.stratified import Difference
from sentinelzer0.stats.wording import harm_reason

IMAGINED_PAIRS = 1
"""Imagined pairs of each kind on which the two answers differ."""


@dataclass(frozen=True, slots=True)
class PairedStatistics:
    """Pairs of answers, A's and B's, to the same requests; two of them add up to the statistics of both together.

    Attributes:
        pairs: Requests that both arms answered.
        both_failed: Those on which both failed.
        only_a_failed: Those on which A failed and B did not.
        only_b_failed: Those on which B failed and A did not.
        latency: Moments of ``b - a`` in milliseconds.
        confidence: Moments of ``b - a`` where both gave a confidence.
        joint: Labelled pairs with both predictions, at index ``4 * true + 2 * pred_a + pred_b`` (1 = attack).
        only_a_slow: Pairs in which A took longer than the SLO and B did not.
        only_b_slow: Pairs in which B took longer than the SLO and A did not.
        both_slow: Pairs in which both did.

    Raises:
        InvalidInputError: A negative count, a ``joint`` that has not eight, or more failures than pairs.
    """

    pairs: int = 0
    both_failed: int = 0
    only_a_failed: int = 0
    only_b_failed: int = 0
    latency: Moments = NO_VALUES
    confidence: Moments = NO_VALUES
    joint: tuple[int, ...] = (0,) * 8
    only_a_slow: int = 0
    only_b_slow: int = 0
    both_slow: int = 0

    def __post_init__(self) -> None:
        failed = (self.both_failed, self.only_a_failed, self.only_b_failed)
        slow = (self.both_slow, self.only_a_slow, self.only_b_slow)
        if len(self.joint) != 8 or min(self.joint) < 0 or min(*failed, *slow) < 0:
            raise InvalidInputError(f"No pairs have the counts {self.joint}, {failed}, {slow}.")
        if max(sum(failed), sum(slow), sum(self.joint)) > self.pairs:
            raise InvalidInputError(f"{self.pairs} pairs cannot have the counts {self.joint}, {failed}, {slow}.")

    def __add__(self, other: PairedStatistics) -> PairedStatistics:
        return PairedStatistics(
            self.pairs + other.pairs,
            self.both_failed + other.both_failed,
            self.only_a_failed + other.only_a_failed,
            self.only_b_failed + other.only_b_failed,
            self.latency + other.latency,
            self.confidence + other.confidence,
            tuple(map(add, self.joint, other.joint)),
            self.only_a_slow + other.only_a_slow,
            self.only_b_slow + other.only_b_slow,
            self.both_slow + other.both_slow,
        )


def compare_paired(
    paired: PairedStatistics,
    metric: AnyMetric | str,
    alpha: float = 0.05,
    min_samples: int = 100,
    *,
    control: Moments | None = None,
) -> Comparison:
    """Judge one metric between two models that scored the same requests; may be called after every pair.

    Args:
        paired: The pairs so far.
        metric: Which metric, by value or name; not a custom one.
        alpha: Probability of a wrong verdict at any look, in (0, 1); fixed before the first look.
        min_samples: Pairs needed before a verdict, >= 1; fixed before the first look.
        control: The measured values of A, for the values of both arms and the lift of a measured metric. The pairs
            hold only its differences; without it they are None.

    Raises:
        InvalidInputError: A metric pairs do not have, or ``alpha`` or ``min_samples`` out of range.
    """
    metric = _paired_metric(metric)
    if metric.is_measured:
        moments = _differences(paired, metric)
        gap, base = moments.mean, control.mean if control is not None else None
        # The pairs alone know the difference, not where it starts from.
        values = (None, None) if gap is None else (base or 0.0, (base or 0.0) + gap)
        found = conclude(
            metric, values, (moments.count,) * 2, _of_moments(moments), None, alpha=alpha, min_samples=min_samples
        )
        if base is None:
            return replace(found, value_a=None, value_b=None, lift=None, percent_change=None)
        return found if gap is None else replace(found, difference=gap)
    table = _table(paired, metric)
    both, units = (table.value_a, table.value_b), (table.units,) * 2
    estimated, ratio = table.difference(), table.log_ratio()
    return conclude(metric, both, units, estimated, ratio, alpha=alpha, min_samples=min_samples)


def harm_paired(
    paired: PairedStatistics,
    metric: AnyMetric | str,
    margin: float,
    alpha: float = 0.05,
    min_samples: int = 100,
    *,
    relative: bool = False,
    control: Moments | None = None,
) -> Harm:
    """Judge whether B is worse than A by more than a margin, from answers to the same requests.

    Args:
        paired: The pairs so far.
        metric: Which metric, by value or name; not a custom one.
        margin: How much worse is acceptable, >= 0, in the unit of the metric.
        alpha: Probability of a wrong "violated" at any look, and of a wrong "passed", in (0, 1).
        min_samples: Pairs needed before a verdict, >= 1.
        relative: The margin is a share of the control's value instead.
        control: The measured values of A, which a relative margin of a measured metric needs.

    Raises:
        InvalidInputError: A metric pairs do not have, or an argument out of range.
    """
    return harms_paired(paired, metric, margin, (alpha,), min_samples, relative=relative, control=control)[0]


def harms_paired(
    paired: PairedStatistics,
    metric: AnyMetric | str,
    margin: float,
    alphas: Sequence[float],
    min_samples: int = 100,
    *,
    relative: bool = False,
    control: Moments | None = None,
) -> tuple[Harm, ...]:
    """Judge as :func:`harm_paired` does, at every level of ``alphas``."""
    metric = _paired_metric(metric)
    if not 0.0 <= margin < inf:
        raise InvalidInputError(f"A margin is 0 or more, not {margin}.", hint="Use 0.01 for one percentage point.")
    found = compare_paired(paired, metric, alphas[0], min_samples, control=control)
    sign, unit = 1.0 if metric.direction is Direction.LOWER else -1.0, abs(found.value_a or 0.0) if relative else 1.0
    if found.difference is None or (relative and found.value_a is None):
        state = HarmState.PENDING if found.samples_a else HarmState.NO_DATA
        return (Harm(state, None, None, None, 1.0, found.reason),) * len(alphas)
    worse_by = sign * found.difference / unit if unit else None
    excess = _excess(paired, metric, sign, margin, found.value_a if relative else None, control)
    early = found.samples_a < found.min_samples
    if excess is None:
        state = HarmState.PENDING if early or (worse_by or 0.0) > margin else HarmState.PASSED  # every pair is alike
        return (Harm(state, worse_by, None, None, 1.0, found.reason),) * len(alphas)
    said = []
    for alpha in alphas:
        rho = tuned_rho(tightest_at(min_samples), min(2.0 * alpha, 0.5 + 0.5 * alpha))
        low, high = excess.one_sided(alpha, rho)
        limits = (low / unit + margin, high / unit + margin) if unit else (None, None)
        state = HarmState.PENDING
        if not early and (low > 0.0 or high < 0.0):
            state = HarmState.VIOLATED if low > 0.0 else HarmState.PASSED
        reason = found.reason if early else harm_reason(metric, state, worse_by, margin, alpha=alpha, relative=relative)
        said.append(Harm(state, worse_by, limits[0], limits[1], excess.p_values_one_sided(rho)[0], reason))
    return tuple(said)


def discordant(paired: PairedStatistics, metric: AnyMetric | str) -> tuple[int, int]:
    """In how many pairs only A, and only B, did badly: the counts of McNemar's test.

    Where both arms do equally badly each of these pairs is B's with probability one half, whatever else drifts; so
    they are what :func:`sentinelzer0.stats.regression.log_e` takes, at a share of 0.5.

    Args:
        paired: The pairs so far.
        metric: error_rate (failures), slow_rate (slow ones), accuracy and f1_score (wrong labels), recall (missed
            attacks) or precision (false alarms).

    Raises:
        InvalidInputError: A metric that counts nothing.
    """
    metric = _paired_metric(metric)
    joint = paired.joint
    match metric:
        case Metric.ERROR_RATE:
            return paired.only_a_failed, paired.only_b_failed
        case Metric.SLOW_RATE:
            return paired.only_a_slow, paired.only_b_slow
        case Metric.RECALL:
            return joint[5], joint[6]
        case Metric.PRECISION:
            return joint[2], joint[1]
        case Metric.ACCURACY | Metric.F1_SCORE:
            return joint[2] + joint[5], joint[1] + joint[6]
    raise InvalidInputError(f"{metric.value} counts no events.", hint="Compare its mean with compare_paired.")


class _Kind(NamedTuple):
    """A kind of pair: what it adds above and below the line of the ratio in each arm."""

    above_a: int
    below_a: int
    above_b: int
    below_b: int
    imagined: int


def _kind(above_a: int, below_a: int, above_b: int, below_b: int) -> _Kind:
    differs = (above_a, below_a) != (above_b, below_b)
    return _Kind(above_a, below_a, above_b, below_b, IMAGINED_PAIRS if differs else 0)


def _labelled_kinds(metric: Metric) -> tuple[_Kind, ...]:
    """In the order of ``PairedStatistics.joint``."""
    kinds = []
    for index in range(8):
        true, a, b = index >> 2, index >> 1 & 1, index & 1
        match metric:
            case Metric.ACCURACY:
                kinds.append(_kind(int(a == true), 1, int(b == true), 1))
            case Metric.PRECISION:
                kinds.append(_kind(a & true, a, b & true, b))
            case Metric.RECALL:
                kinds.append(_kind(a & true, true, b & true, true))
            case _:
                kinds.append(_kind(2 * (a & true), a + true, 2 * (b & true), b + true))
    return tuple(kinds)


_TWO_BY_TWO = (_kind(0, 1, 0, 1), _kind(1, 1, 1, 1), _kind(1, 1, 0, 1), _kind(0, 1, 1, 1))
_LABELLED = {
    metric: _labelled_kinds(metric) for metric in (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE)
}


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of one metric, with the values of both arms and the influence of one pair of each cell on them.

    ``shares`` holds for each cell its pairs, imagined ones included, and by how much one of them moves B and A.
    """

    units: int
    value_a: float | None
    value_b: float | None
    shares: tuple[tuple[float, float, float], ...]

    def difference(self, of_a: float = 1.0, of_b: float = 1.0, shift: float = 0.0) -> Difference | None:
        """``of_b * b - of_a * a + shift``, with the covariance of the pair; None while a value is undefined."""
        a, b = self.value_a, self.value_b
        if a is None or b is None:
            return None
        variance = third = 0.0
        for pairs, to_b, to_a in self.shares:
            move = of_b * to_b - of_a * to_a
            variance += pairs * move * move
            third += pairs * move**3
        return Difference(of_b * b - of_a * a + shift, sqrt(variance), 0.5 * third / variance, 2.0 * self.units)

    def log_ratio(self) -> Difference | None:
        """``log b - log a``; None unless both are positive."""
        a, b = self.value_a, self.value_b
        if a is None or b is None or a <= 0.0 or b <= 0.0:
            return None
        variance = third = with_b = with_a = 0.0
        for pairs, to_b, to_a in self.shares:
            up, down = to_b / b, to_a / a
            move = up - down
            variance += pairs * move * move
            third += pairs * move**3
            with_b += pairs * move * up
            with_a += pairs * move * down
        # The logarithm is bent: what its second-order term adds to the third cumulant of the difference.
        third += 3.0 * (with_a * with_a - with_b * with_b)
        return Difference(log(b / a), sqrt(variance), 0.5 * third / variance, 2.0 * self.units)


def _paired_metric(metric: AnyMetric | str) -> Metric:
    name = metric.value if isinstance(metric, CustomMetric) else metric
    found = metric_named(name, Direction.HIGHER)
    if isinstance(found, CustomMetric):
        raise InvalidInputError(
            f"Pairs do not hold {name}.", hint="Compare the arms with compare(): each arm keeps its values."
        )
    return found


def _differences(paired: PairedStatistics, metric: Metric) -> Moments:
    return paired.latency if metric is Metric.AVG_LATENCY_MS else paired.confidence


def _of_moments(moments: Moments, shift: float = 0.0, more_error: float = 0.0) -> Difference | None:
    """The mean difference; its variance is at least what it would be if the true difference were 0."""
    n, mean, variance, third = moments.count, moments.mean, moments.variance, moments.third_moment
    if n < minimum_of(Metric.AVG_LATENCY_MS, 1) or mean is None or variance is None or third is None:
        return None
    guarded = max(variance, moments.total_sq / n)
    if guarded <= 0.0:
        return None
    lean = 0.5 * third / (n * variance) if variance else 0.0
    return Difference(mean + shift, sqrt(guarded / n) + more_error, lean, 2.0 * n)


def _excess(
    paired: PairedStatistics,
    metric: Metric,
    sign: float,
    margin: float,
    base: float | None,
    control: Moments | None,
) -> Difference | None:
    """By how much B is worse than the margin allows; ``base`` is the control's value when the margin is relative."""
    if not metric.is_measured:
        table = _table(paired, metric)
        if base is None:
            return table.difference(sign, sign, -margin)
        return table.difference(sign + copysign(margin, base), sign)
    moments = _differences(paired, metric)
    if sign < 0.0:
        moments = Moments(moments.count, -moments.total, moments.total_sq, -moments.total_cu)
    if base is None:
        return _of_moments(moments, -margin)
    # How the control's mean varies with the difference is not recorded, so their errors are added, the worst case.
    spread = (control.variance or 0.0) / control.count if control is not None and control.count else 0.0
    return _of_moments(moments, -margin * abs(base), margin * sqrt(spread))


def _table(paired: PairedStatistics, metric: Metric) -> _Table:
    kinds = _LABELLED.get(metric, _TWO_BY_TWO)
    if metric is Metric.ERROR_RATE:
        counts = _two_by_two(paired.pairs, paired.both_failed, paired.only_a_failed, paired.only_b_failed)
    elif metric is Metric.SLOW_RATE:
        counts = _two_by_two(paired.pairs, paired.both_slow, paired.only_a_slow, paired.only_b_slow)
    else:
        counts = paired.joint
    units = above_a = below_a = above_b = below_b = 0
    imagined_above_a = imagined_below_a = imagined_above_b = imagined_below_b = 0
    for pairs, kind in zip(counts, kinds, strict=True):
        units += pairs
        above_a += pairs * kind.above_a
        below_a += pairs * kind.below_a
        above_b += pairs * kind.above_b
        below_b += pairs * kind.below_b
        imagined_above_a += kind.imagined * kind.above_a
        imagined_below_a += kind.imagined * kind.below_a
        imagined_above_b += kind.imagined * kind.above_b
        imagined_below_b += kind.imagined * kind.below_b
    value_a = above_a / below_a if below_a else None
    value_b = above_b / below_b if below_b else None
    if value_a is None or value_b is None:
        return _Table(units, value_a, value_b, ())
    more_a, more_b = below_a + imagined_below_a, below_b + imagined_below_b
    ratio_a, ratio_b = (above_a + imagined_above_a) / more_a, (above_b + imagined_above_b) / more_b
    unit_a, unit_b = sqrt(below_a * more_a), sqrt(below_b * more_b)
    shares = tuple(
        (
            pairs + kind.imagined,
            (kind.above_b - ratio_b * kind.below_b) / unit_b,
            (kind.above_a - ratio_a * kind.below_a) / unit_a,
        )
        for pairs, kind in zip(counts, kinds, strict=True)
    )
    return _Table(units, value_a, value_b, shares)


def _two_by_two(pairs: int, both: int, only_a: int, only_b: int) -> tuple[int, ...]:
    return pairs - both - only_a - only_b, both, only_a, only_b
