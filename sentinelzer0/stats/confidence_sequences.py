"""Boundaries that hold at every sample size at once, so that looking often costs nothing.

For a sum ``S_v`` of independent centred terms with accumulated variance ``v`` and any ``lambda``, the process
``exp(lambda S_v - lambda^2 v / 2)`` is a supermartingale that starts at 1: exactly for sub-Gaussian terms,
asymptotically for the linearised sums of means and ratios. Averaging over ``lambda ~ Normal(0, 1/rho)`` (two-sided)
or its positive half (one-sided) gives an e-value in closed form, and by Ville's inequality it exceeds ``1/alpha``
at any time with probability at most ``alpha``. The boundary is where it equals ``1/alpha``; the smallest alpha whose
boundary was crossed, ``1 / e-value``, is a p-value that is valid at every stopping time.

``rho`` decides where the boundary is tightest, not whether it is valid. It has to be fixed before the first look.

Sources:
    Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49 (2021): the boundaries; exact for sub-Gaussian sums.
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52 (2024): the same boundary with an estimated variance, for means, started
    once the sample is large enough. Their ``rho`` is ``rho ** -0.5`` here.
"""

from __future__ import annotations

from functools import lru_cache
from math import erfc, exp, log, pi, sqrt

from sentinelzer0.errors import InvalidInputError


@lru_cache(maxsize=256)
def tuned_rho(variance: float, alpha: float) -> float:
    """The mixture parameter that makes the two-sided boundary (almost) tightest at one intrinsic time.

    The exact optimum solves ``x = log(1 + x) - 2 log(alpha)`` with ``x = variance / rho``; one step of it from
    ``-2 log(alpha)``, as Howard et al. propose, is less than 0.1 % wider. For a one-sided boundary pass ``2 * alpha``.

    Args:
        variance: Intrinsic time of interest: the number of units when their variance is scaled to 1.
        alpha: Error probability, in (0, 1).

    Raises:
        InvalidInputError: An argument is out of range.
    """
    _require_level(alpha)
    if not variance > 0.0:
        raise InvalidInputError(f"A boundary cannot be tuned for a sample of {variance}.")
    spent = -2.0 * log(alpha)
    return variance / (spent + log(1.0 + spent))


def log_e_two_sided(total: float, variance: float, rho: float) -> float:
    """Logarithm of the two-sided normal-mixture e-value against mean 0.

    Args:
        total: The centred sum.
        variance: Its accumulated variance, >= 0.
        rho: Mixture parameter, > 0, in the unit of the variance.
    """
    spread = variance + rho
    return 0.5 * (log(rho / spread) + total * total / spread)


def log_e_one_sided(total: float, variance: float, rho: float) -> float:
    """Logarithm of the one-sided e-value against mean <= 0: large only when the sum is large and positive.

    The mixture is over the positive half of the normal distribution: ``2 sqrt(rho / (v + rho)) exp(x^2 / 2) Phi(x)``
    with ``x = total / sqrt(v + rho)``.

    Args:
        total: The centred sum.
        variance: Its accumulated variance, >= 0.
        rho: Mixture parameter, > 0, in the unit of the variance.
    """
    spread = variance + rho
    return 0.5 * log(rho / spread) + _log_half_normal(total / sqrt(spread))


def boundary_two_sided(variance: float, alpha: float, rho: float) -> float:
    """Where ``|sum|`` has to be for its two-sided e-value to reach ``1/alpha``; closed form.

    Args:
        variance: Accumulated variance, >= 0.
        alpha: Error probability over all times together, in (0, 1).
        rho: Mixture parameter, > 0.
    """
    spread = variance + rho
    return sqrt(spread * (log(spread / rho) - 2.0 * log(alpha)))


def boundary_one_sided(variance: float, alpha: float, rho: float) -> float:
    """Where the sum has to be for its one-sided e-value to reach ``1/alpha``; solved to machine precision.

    Newton's method on a convex increasing function, from the upper bound that Howard et al. give in closed form,
    approaches from above without overshooting; so stopping early could only widen.

    Args:
        variance: Accumulated variance, >= 0.
        alpha: Error probability over all times together, in (0, 1).
        rho: Mixture parameter, > 0.
    """
    spread = variance + rho
    target = 0.5 * log(spread / rho) - log(alpha)
    x = sqrt(2.0 * log(1.0 + sqrt(spread / rho) / (2.0 * alpha)))
    for _ in range(50):
        twice_phi, half_square = _twice_phi(x), 0.5 * x * x
        slope = x + sqrt(2.0 / pi) * exp(-half_square) / twice_phi
        step = (half_square + log(twice_phi) - target) / slope
        x -= step
        if step <= 1e-8 * x:  # the error is about the square of the step
            break
    return x * sqrt(spread)


# The metrics of one look share their units, hence the memory.
@lru_cache(maxsize=256)
def critical_z(units: float, alpha: float, rho: float) -> float:
    """How many standard errors an estimate may be off, at every sample size at once: the asymptotic sequence.

    ``estimate +- critical_z * standard_error`` is the interval. The fixed-sample value for alpha .05 is 1.96; this
    one is about 3 where it is tightest.

    Args:
        units: Number of independent units behind the estimate, >= 1.
        alpha: Error probability over all times together, in (0, 1).
        rho: Mixture parameter in units, from :func:`tuned_rho`.
    """
    return boundary_two_sided(units, alpha, rho) / sqrt(units)


@lru_cache(maxsize=256)
def critical_z_one_sided(units: float, alpha: float, rho: float) -> float:
    """How many standard errors an estimate may be off on one side, at every sample size at once.

    Args:
        units: Number of independent units behind the estimate, > 0.
        alpha: Error probability over all times together, in (0, 1).
        rho: Mixture parameter in units, from :func:`tuned_rho` at ``2 * alpha``.
    """
    return boundary_one_sided(units, alpha, rho) / sqrt(units)


def p_value_of_z(z: float, units: float, rho: float) -> float:
    """The always-valid two-sided p-value: the smallest alpha whose :func:`critical_z` is exceeded.

    Args:
        z: Deviation from the hypothesis in standard errors.
        units: Number of independent units behind the estimate, >= 1.
        rho: Mixture parameter in units, the one used for the interval.
    """
    return p_value(log_e_two_sided(z * sqrt(units), units, rho))


def p_value(log_e: float) -> float:
    """The p-value ``min(1, 1/e)`` of an e-value given by its logarithm; valid at every stopping time."""
    return 1.0 if log_e <= 0.0 else exp(-log_e)


def _log_half_normal(x: float) -> float:
    """``log(2 exp(x^2/2) Phi(x))``, without underflow on the negative side."""
    if x > -37.0:
        return 0.5 * x * x + log(_twice_phi(x))
    inverse = 1.0 / (x * x)  # Mills' ratio; the first omitted term is 105 / x^8 < 1e-10
    return log(sqrt(2.0 / pi) / -x * (1.0 - inverse * (1.0 - inverse * (3.0 - inverse * 15.0))))


def _twice_phi(x: float) -> float:
    return erfc(-x / sqrt(2.0))


def _require_level(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(f"An error probability lies between 0 and 1, not {alpha}.", hint="Use 0.05 for 5 %.")
