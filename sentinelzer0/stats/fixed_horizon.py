"""Textbook tests of two arms: valid for one look, at a sample size fixed before the first request.

They are here because people ask for them and to compare with; no verdict of this package uses them. Looked at
repeatedly they err more often than they say: ten looks at p < .05 turn 5 % of false verdicts into 19 %.

Sources:
    Fisher (1935), two-sided by the probabilities of the tables, as in R and scipy; Pearson (1900) and Yates (1934);
    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947); Satterthwaite (1946).
    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998): method 10, from two of Wilson's intervals (JASA 22, 1927).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import exp, sqrt
from typing import Any

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics, Metric, counts_of, metric_named, moments_of
from sentinelzer0.stats.moments import Moments
from sentinelzer0.stats.special_functions import (
    chi_square_tail,
    log_hypergeometric,
    normal_quantile,
    normal_tail,
    student_quantile,
    student_tail,
)

NOTE = "Fixed horizon: holds for a single look at a sample size chosen beforehand."
_NOTHING_TO_COMPARE = "Nothing to compare: an arm is empty, or all outcomes are identical. "

# Two tables are equally probable when their logarithms differ by rounding only.
_TIE = 1e-10


@dataclass(frozen=True, slots=True)
class FixedHorizon:
    """The answer of a textbook test.

    Attributes:
        method: Its name.
        statistic: The odds ratio (Fisher), chi-square, z or t, of B against A; None when it is infinite or undefined.
        p_value: Two-sided; 1.0 when there is nothing to compare.
        interval: Low and high end for the difference B - A; None where the method has none.
        note: What has to be known to read it.
        degrees_of_freedom: Of Student's t (Welch and Satterthwaite); None for the others.
    """

    method: str
    statistic: float | None
    p_value: float
    interval: tuple[float, float] | None
    note: str
    degrees_of_freedom: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


def answers(
    a: ArmStatistics, b: ArmStatistics, metric: AnyMetric | str, alpha: float = 0.05
) -> tuple[FixedHorizon, ...]:
    """What the textbook tests that fit a metric say about two arms.

    Args:
        a: The control.
        b: The challenger.
        metric: Which metric, by value or name.
        alpha: One minus the coverage of the intervals, in (0, 1).

    Returns:
        Welch's test for measured values; Fisher's, the chi-square and the z-test for shares; nothing for F1, which is
        neither a mean nor a share of independent trials.

    Raises:
        InvalidInputError: Unknown metric, or ``alpha`` out of range.
    """
    metric = metric_named(metric)
    if metric.is_measured:
        return (welch_t(moments_of(a, metric), moments_of(b, metric), alpha),)
    if metric is Metric.F1_SCORE:
        return ()
    _, hits_a, misses_a, _ = counts_of(a, metric)
    _, hits_b, misses_b, _ = counts_of(b, metric)
    table = (hits_a, hits_a + misses_a, hits_b, hits_b + misses_b)
    return fisher_exact(*table), chi_square(*table), two_proportion_z(*table, alpha)


def fisher_exact(hits_a: int, trials_a: int, hits_b: int, trials_b: int) -> FixedHorizon:
    """Fisher's exact test: the probability, given the margins, of a table at most as probable as this one.

    Args:
        hits_a: Events in A, e.g. failures.
        trials_a: Units of A.
        hits_b: Events in B.
        trials_b: Units of B.

    Raises:
        InvalidInputError: Counts that no two arms have.
    """
    _check(hits_a, trials_a, hits_b, trials_b)
    method, hits = "Fisher's exact test", hits_a + hits_b
    if min(trials_a, trials_b, hits, trials_a + trials_b - hits) == 0:
        return _nothing(method)
    down = hits_a * (trials_b - hits_b)
    odds_ratio = hits_b * (trials_a - hits_a) / down if down else None
    return FixedHorizon(method, odds_ratio, _fisher_p(hits_b, trials_b, hits, trials_a + trials_b - hits), None, NOTE)


def chi_square(
    hits_a: int, trials_a: int, hits_b: int, trials_b: int, *, continuity_correction: bool = False
) -> FixedHorizon:
    """Pearson's chi-square test of two proportions.

    Args:
        hits_a: Events in A.
        trials_a: Units of A.
        hits_b: Events in B.
        trials_b: Units of B.
        continuity_correction: Yates' correction, which makes it conservative.

    Raises:
        InvalidInputError: Counts that no two arms have.
    """
    _check(hits_a, trials_a, hits_b, trials_b)
    method = "Pearson's chi-square test" + (" with Yates' correction" if continuity_correction else "")
    total, hits = trials_a + trials_b, hits_a + hits_b
    if min(trials_a, trials_b, hits, total - hits) == 0:
        return _nothing(method)
    # All four cells are off by the same amount; exact in whole numbers until the last division.
    off = abs(hits_b * total - trials_b * hits) / total
    if continuity_correction:
        off -= min(0.5, off)
    statistic = off * off * total / (trials_a * trials_b) * (total / hits) * (total / (total - hits))
    return FixedHorizon(method, statistic, chi_square_tail(statistic), None, NOTE)


def two_proportion_z(hits_a: int, trials_a: int, hits_b: int, trials_b: int, alpha: float = 0.05) -> FixedHorizon:
    """The z-test of two proportions with pooled variance, and Newcombe's interval for their difference.

    Args:
        hits_a: Events in A.
        trials_a: Units of A.
        hits_b: Events in B.
        trials_b: Units of B.
        alpha: One minus the coverage of the interval, in (0, 1).

    Raises:
        InvalidInputError: Counts that no two arms have, or an ``alpha`` out of range.
    """
    _check(hits_a, trials_a, hits_b, trials_b)
    _check_alpha(alpha)
    method, total, hits = "two-proportion z-test", trials_a + trials_b, hits_a + hits_b
    if min(trials_a, trials_b) == 0:
        return _nothing(method)
    interval = _newcombe(hits_a, trials_a, hits_b, trials_b, normal_quantile(0.5 * alpha))
    if min(hits, total - hits) == 0:
        return FixedHorizon(method, None, 1.0, interval, _NOTHING_TO_COMPARE + NOTE)
    z = (hits_b * trials_a - hits_a * trials_b) / sqrt(trials_a * trials_b) / sqrt(hits * (total - hits) / total)
    return FixedHorizon(method, z, 2.0 * normal_tail(abs(z)), interval, NOTE)


def welch_t(a: Moments, b: Moments, alpha: float = 0.05) -> FixedHorizon:
    """Welch's t-test of two means with Satterthwaite's degrees of freedom, and its interval.

    Args:
        a: Moments of A, two values or more.
        b: Moments of B, about the same offset.
        alpha: One minus the coverage of the interval, in (0, 1).

    Raises:
        InvalidInputError: Moments about different offsets, or an ``alpha`` out of range.
    """
    _check_alpha(alpha)
    if a.offset != b.offset:
        raise InvalidInputError(f"Moments about {a.offset} and {b.offset} cannot be compared.")
    method = "Welch's t-test"
    if a.variance is None or b.variance is None or a.variance + b.variance <= 0.0:
        return _nothing(method)
    of_a, of_b = a.variance / a.count, b.variance / b.count
    both = of_a + of_b
    share_a, share_b = of_a / both, of_b / both
    degrees = 1.0 / (share_a * share_a / (a.count - 1) + share_b * share_b / (b.count - 1))
    # About the common offset, so that a distant one does not cancel digits.
    gap = b.total / b.count - a.total / a.count
    t, reach = gap / sqrt(both), student_quantile(alpha, degrees) * sqrt(both)
    return FixedHorizon(method, t, student_tail(t, degrees), (gap - reach, gap + reach), NOTE, degrees)


def _nothing(method: str) -> FixedHorizon:
    return FixedHorizon(method, None, 1.0, None, _NOTHING_TO_COMPARE + NOTE)


def _fisher_p(k: int, drawn: int, marked: int, unmarked: int) -> float:
    low, high = max(0, drawn - unmarked), min(drawn, marked)
    mode = (drawn + 1) * (marked + 1) // (marked + unmarked + 2)
    here = log_hypergeometric(k, drawn, marked, unmarked)
    limit = here + _TIE

    def rare(other: int) -> bool:
        return log_hypergeometric(other, drawn, marked, unmarked) <= limit

    if rare(mode):
        return 1.0
    if k > mode:
        own = _tail(k, drawn, marked, unmarked, up=True)
        far = _last(rare, low, mode)
        return min(1.0, own if far is None else own + _tail(far, drawn, marked, unmarked, up=False))
    own = _tail(k, drawn, marked, unmarked, up=False)
    far = _last(rare, high, mode)
    return min(1.0, own if far is None else own + _tail(far, drawn, marked, unmarked, up=True))


def _last(holds: Callable[[int], bool], end: int, mode: int) -> int | None:
    """The count nearest to the mode for which a condition holds that holds from ``end`` up to some point."""
    if not holds(end):
        return None
    yes, no = end, mode
    while abs(no - yes) > 1:
        middle = (yes + no) // 2
        yes, no = (middle, no) if holds(middle) else (yes, middle)
    return yes


def _tail(k: int, drawn: int, marked: int, unmarked: int, *, up: bool) -> float:
    """Probability of ``k`` and everything beyond; terms shrink geometrically, so only the first ones are summed."""
    total = term = 1.0
    start = log_hypergeometric(k, drawn, marked, unmarked)
    while term > 1e-18 * total:
        if up:
            term *= (drawn - k) * (marked - k) / ((k + 1) * (unmarked - drawn + k + 1))
            k += 1
        else:
            term *= k * (unmarked - drawn + k) / ((drawn - k + 1) * (marked - k + 1))
            k -= 1
        total += term
    return exp(start) * total


def _newcombe(hits_a: int, trials_a: int, hits_b: int, trials_b: int, z: float) -> tuple[float, float]:
    (low_a, high_a), (low_b, high_b) = _wilson(hits_a, trials_a, z), _wilson(hits_b, trials_b, z)
    a, b = hits_a / trials_a, hits_b / trials_b
    below = sqrt((b - low_b) ** 2 + (high_a - a) ** 2)
    above = sqrt((high_b - b) ** 2 + (a - low_a) ** 2)
    return b - a - below, b - a + above


def _wilson(hits: int, trials: int, z: float) -> tuple[float, float]:
    spread = trials + z * z
    centre = (hits + 0.5 * z * z) / spread
    reach = z * sqrt(hits * (trials - hits) / trials + 0.25 * z * z) / spread
    return centre - reach, centre + reach


def _check(hits_a: int, trials_a: int, hits_b: int, trials_b: int) -> None:
    if not (0 <= hits_a <= trials_a and 0 <= hits_b <= trials_b):
        raise InvalidInputError(f"{hits_a} of {trials_a} and {hits_b} of {trials_b} are no counts of two arms.")


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(f"An error probability lies between 0 and 1, not {alpha}.", hint="Use 0.05 for 5 %.")
