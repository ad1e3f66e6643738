"""Two arms over the phases of a ramp: values standardised to the same mix of phases, and their variances.

A phase is a period in which the shares of the arms did not change. Pooled over phases the arms differ whenever the
base rate does: B gets most of its requests late, A many of them early (Simpson's paradox). So each phase is one
stratum, and both arms are weighted alike, with ``w_p = n_ap n_bp / (n_ap + n_bp)`` (the weights of Mantel and
Haenszel, "Statistical aspects of the analysis of data from retrospective studies of disease", JNCI 22, 1959). They
are the precision of the phase, so a phase in which one arm has three units neither counts nor disturbs. With one
phase the values are the plain ones.

Ratios (precision, recall, F1) are standardised above and below the line before they are divided: the combined ratio
estimator (Cochran, "Sampling Techniques", 3rd ed., 1977, section 6.11). A ratio of each phase would be biased by its
few units, and 0/0 in many of them; this one is biased and undefined as little as the ratio of all units together.

The intrinsic time is the information ``4 sum_p w_p`` in effective units: what an even split would need for the same
precision. Under it the standardised difference has the canonical joint distribution of sequential tests (Jennison
and Turnbull, "Group Sequential Methods", 2000, chapter 3), whatever shares the units came at; the number of requests
would run far ahead of it while the share is small.

Guards: the four imagined units of a counted metric (:mod:`sentinelzer0.stats.estimators`) are added to the arm, not to
each of its phases, spread like its units. Every phase but the first costs one degree of freedom per arm. Measured
values are taken to be as skewed as those of the other arm if that is more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import NamedTuple

from sentinelzer0.stats.confidence_sequences import (
    critical_z,
    critical_z_one_sided,
    log_e_one_sided,
    p_value,
    p_value_of_z,
)
from sentinelzer0.stats.estimators import IMAGINED, AnyMetric, ArmStatistics, Counts, counts_of, moments_of
from sentinelzer0.stats.moments import Moments


@dataclass(frozen=True, slots=True)
class Stratum:
    """Both arms during one phase of constant shares.

    Attributes:
        a: The control.
        b: The challenger.
    """

    a: ArmStatistics
    b: ArmStatistics


# Tuples, here and below: a look at a test makes dozens of them, and frozen dataclasses take four times as long to make.
class ArmValue(NamedTuple):
    """The standardised value of one arm, as an estimate.

    Attributes:
        value: In the unit of the metric; None while it is undefined (0/0).
        variance: Of the estimate, guarded for counted metrics; None while it is unknown.
        third: Third cumulant of the estimate.
        floor: For measured values, the variance if the arms do not differ; otherwise 0.
        units: Units of the phases that count.
    """

    value: float | None
    variance: float | None
    third: float
    floor: float
    units: int


class Standardised(NamedTuple):
    """Both arms, standardised to the same mix of phases.

    Attributes:
        a: The control.
        b: The challenger.
        information: Effective units, ``4 sum_p n_ap n_bp / (n_ap + n_bp)``.
        strata: Phases that count: those in which both arms have units.
    """

    a: ArmValue
    b: ArmValue
    information: float
    strata: int


class Difference(NamedTuple):
    """An estimated difference and how far it may be off.

    Attributes:
        value: In the unit of the metric.
        standard_error: Standard deviation of the estimate, > 0.
        lean: What skewness adds to the interval per squared z: to the upper limit when positive, below the lower
            limit when negative. In the unit of the metric.
        information: Intrinsic time in effective units, > 0.
    """

    value: float
    standard_error: float
    lean: float
    information: float

    def interval(self, alpha: float, rho: float) -> tuple[float, float]:
        """Limits for the true difference that hold at every look together with probability ``1 - alpha``.

        Args:
            alpha: Error probability, in (0, 1).
            rho: Mixture parameter in effective units, fixed before the first look.
        """
        return self.limits(critical_z(self.information, alpha, rho))

    def one_sided(self, alpha: float, rho: float) -> tuple[float, float]:
        """A lower and an upper limit, each of which alone holds at every look with probability ``1 - alpha``.

        Args:
            alpha: Error probability of each, in (0, 1).
            rho: Mixture parameter in effective units, fixed before the first look.
        """
        return self.limits(critical_z_one_sided(self.information, alpha, rho))

    def limits(self, z: float) -> tuple[float, float]:
        """The estimate with ``z`` standard errors on either side, further towards the longer tail.

        Args:
            z: From :func:`~sentinelzer0.stats.confidence_sequences.critical_z`, or its one-sided sibling.
        """
        radius, lean = z * self.standard_error, z * z * self.lean
        return self.value - radius + min(0.0, lean), self.value + radius + max(0.0, lean)

    def p_value(self, rho: float) -> float:
        """The smallest alpha whose two-sided interval excludes 0, valid at every stopping time.

        Args:
            rho: Mixture parameter in effective units, the one of the interval.
        """
        return p_value_of_z(self._z_of_zero(), self.information, rho)

    def p_values(self, rho: float, one_sided: float) -> tuple[float, float, float]:
        """All p-values: :meth:`p_value`, and both of :meth:`p_values_one_sided`.

        Args:
            rho: Mixture parameter of the interval.
            one_sided: Mixture parameter of the one-sided limits.
        """
        z = self._z_of_zero()
        shown = p_value(log_e_one_sided(z * sqrt(self.information), self.information, one_sided))
        both = p_value_of_z(z, self.information, rho)
        return (both, shown, 1.0) if self.value > 0.0 else (both, 1.0, shown)

    def p_values_one_sided(self, rho: float) -> tuple[float, float]:
        """The p-values against "not above 0" and against "not below 0", each valid at every stopping time.

        Args:
            rho: Mixture parameter in effective units, the one of the limits.
        """
        total = self._z_of_zero() * sqrt(self.information)
        shown = p_value(log_e_one_sided(total, self.information, rho))
        return (shown, 1.0) if self.value > 0.0 else (1.0, shown)

    def _z_of_zero(self) -> float:
        # The limit next to 0 is |value| - z se - z^2 lean; the z that makes it 0, without cancellation.
        gap = abs(self.value)
        lean = max(0.0, -self.lean if self.value > 0.0 else self.lean)
        se = self.standard_error
        return 2.0 * gap / (se + sqrt(se * se + 4.0 * lean * gap))


def standardise(strata: Sequence[Stratum], metric: AnyMetric) -> Standardised:
    """Standardise both arms to the mix of phases.

    Args:
        strata: One per phase; those in which an arm has no units do not count.
        metric: What to estimate.
    """
    if metric.is_measured:
        measured = [(moments_of(stratum.a, metric), moments_of(stratum.b, metric)) for stratum in strata]
        measured = [(a, b) for a, b in measured if a.count and b.count]
        shares, information = _shares([(a.count, b.count) for a, b in measured])
        pooled = [(a + b).variance or 0.0 for a, b in measured]
        own_a = _measured([a for a, _ in measured], shares, pooled)
        own_b = _measured([b for _, b in measured], shares, pooled)
        return Standardised(_as_skewed(own_a, own_b), _as_skewed(own_b, own_a), information, len(shares))
    counted = [(counts_of(stratum.a, metric), counts_of(stratum.b, metric)) for stratum in strata]
    counted = [(x, y) for x, y in counted if x.units and y.units]
    shares, information = _shares([(x.units, y.units) for x, y in counted])
    of_a, of_b = _counted([x for x, _ in counted], shares), _counted([y for _, y in counted], shares)
    return Standardised(of_a, of_b, information, len(shares))


def _shares(units: Sequence[tuple[int, int]]) -> tuple[list[float], float]:
    """How much each phase counts, adding up to 1, and the effective units of all phases together."""
    weights = [a * b / (a + b) for a, b in units]
    together = sum(weights)
    return [weight / together for weight in weights], 4.0 * together


def difference(found: Standardised, of_a: float = 1.0, of_b: float = 1.0, shift: float = 0.0) -> Difference | None:
    """The difference ``of_b * b - of_a * a + shift`` of two independent arms.

    Args:
        found: Both arms.
        of_a: Factor of the control.
        of_b: Factor of the challenger.
        shift: A constant that is added.

    Returns:
        None while a value or a variance is undefined, or when every unit of both arms is identical.
    """
    a, b = found.a, found.b
    if a.value is None or b.value is None or a.variance is None or b.variance is None:
        return None
    squared_a, squared_b = of_a * of_a, of_b * of_b
    variance = squared_b * b.variance + squared_a * a.variance
    guarded = max(variance, squared_b * b.floor + squared_a * a.floor)
    if guarded <= 0.0:
        return None
    third = squared_b * of_b * b.third - squared_a * of_a * a.third
    lean = 0.5 * third / variance if variance else 0.0
    return Difference(of_b * b.value - of_a * a.value + shift, sqrt(guarded), lean, found.information)


def log_ratio(found: Standardised) -> Difference | None:
    """The difference ``log b - log a`` (delta method), for intervals of the relative lift.

    Args:
        found: Both arms.

    Returns:
        None unless both values are positive and their variances known.
    """
    a, b = found.a, found.b
    if a.value is None or b.value is None or a.variance is None or b.variance is None:
        return None
    if a.value <= 0.0 or b.value <= 0.0:
        return None
    relative_a, third_a, floor_a = _of_logarithm(a.value, a.variance, a.third, a.floor)
    relative_b, third_b, floor_b = _of_logarithm(b.value, b.variance, b.third, b.floor)
    variance = relative_b + relative_a
    guarded = max(variance, floor_b + floor_a)
    if guarded <= 0.0:
        return None
    lean = 0.5 * (third_b - third_a) / variance if variance else 0.0
    return Difference(log(b.value) - log(a.value), sqrt(guarded), lean, found.information)


def _of_logarithm(value: float, variance: float, third: float, floor: float) -> tuple[float, float, float]:
    """Cumulants of the logarithm of an estimate, ``k2 / x^2`` and ``k3 / x^3 - 3 k2^2 / x^4``, and the floor's."""
    squared = value * value
    relative = variance / squared
    return relative, third / (squared * value) - 3.0 * relative * relative, floor / squared


def _measured(phases: Sequence[Moments], shares: Sequence[float], pooled: Sequence[float]) -> ArmValue:
    value = variance = third = floor = homogeneous = lost = 0.0
    units = 0
    for moments, share, together in zip(phases, shares, pooled, strict=True):
        n = moments.count
        of_one = share * share / n
        value += share * (moments.mean or 0.0)
        variance += of_one * (moments.variance or 0.0) * (n - 1) / n
        third += of_one * share / n * (moments.third_moment or 0.0)
        floor += of_one * together
        homogeneous += of_one
        lost += of_one / n
        units += n
    if not units:
        return ArmValue(None, None, 0.0, 0.0, 0)
    free = homogeneous - lost
    return ArmValue(value, variance * homogeneous / free if free > 0.0 else None, third, floor, units)


def _as_skewed(arm: ArmValue, other: ArmValue) -> ArmValue:
    """The arm, at least as skewed as the other one if both lean to the same side.

    The skewness of thirty values with a long tail is anything: it is small exactly when their mean is small by luck.
    """
    if not arm.variance or not other.variance:
        return arm
    third = other.third * (arm.variance / other.variance) ** 1.5 * sqrt(other.units / arm.units)
    return arm._replace(third=third) if abs(third) > abs(arm.third) and third * arm.third > 0.0 else arm


def _counted(phases: Sequence[Counts], shares: Sequence[float]) -> ArmValue:
    units = hits = misses = 0.0
    of_hit = phases[0].weight if phases else 1
    for (n, x, y, _), share in zip(phases, shares, strict=True):
        units += n
        hits += share * x / n
        misses += share * y / n
    below = of_hit * hits + misses
    if below == 0.0:
        return ArmValue(None, None, 0.0, 0.0, int(units))
    imagined = IMAGINED / units
    more_below = below + (of_hit + 1) * imagined
    down = -of_hit * (hits + imagined) / more_below
    up = of_hit * (1.0 + down)
    up_up, down_down, together = up * up, down * down, 1.0 + 2.0 * imagined
    variance = third = homogeneous = lost = 0.0
    for (n, x, y, _), share in zip(phases, shares, strict=True):
        hit, miss = up * (x / n + imagined), down * (y / n + imagined)
        first, second = hit + miss, up * hit + down * miss
        mean = first / together
        of_one = share * share / n
        variance += of_one * (second - first * mean)
        third += of_one * share / n * (up_up * hit + down_down * miss - 3.0 * mean * second + 2.0 * mean * mean * first)
        homogeneous += of_one
        lost += of_one / n
    variance *= homogeneous / (homogeneous - lost + homogeneous / units) / (below * more_below)
    return ArmValue(of_hit * hits / below, variance, third / (below * below * more_below), 0.0, int(units))
