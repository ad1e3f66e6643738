"""Boundaries for one proportion that hold at every sample size at once: against a fixed threshold.

``hits`` of ``trials`` independent units hit. Against "the rate is ``rate``" the likelihood ratio is averaged over
alternatives drawn from ``Beta(c rate, c (1 - rate))``; one-sided, from the part of it above ``rate``. Both are exact
martingales under the hypothesis (the one-sided one a supermartingale for every smaller rate), so they ever reach
``1/alpha`` with probability at most ``alpha``. The rates that were not rejected yet are a confidence sequence.

The concentration ``c`` decides where the boundary is tightest, not whether it is valid; fix it before the first look.

Source:
    Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49 (2021), propositions 6 and 7 (beta-binomial mixture). In their terms ``g = rate``,
    ``h = 1 - rate``, ``v = g h trials``, ``s = hits - rate trials`` and ``r = g h c``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, lgamma, log, log1p

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import tuned_rho

_TINY = 1e-300


def tuned_concentration(trials: float, alpha: float) -> float:
    """The concentration that makes the two-sided boundary (almost) tightest at one sample size.

    For a one-sided boundary pass ``2 * alpha``.

    Args:
        trials: Sample size of interest, > 0.
        alpha: Error probability, in (0, 1).

    Raises:
        InvalidInputError: An argument is out of range.
    """
    return max(tuned_rho(trials, alpha) - 1.0, 1e-3)


def log_e_two_sided(hits: float, trials: float, rate: float, concentration: float) -> float:
    """Logarithm of the e-value against "the rate is exactly ``rate``".

    Args:
        hits: Units that hit, 0 to ``trials``; need not be whole.
        trials: Units, >= 0.
        rate: The rate in question, in [0, 1]; at 0 and 1 a single exception is infinite evidence.
        concentration: Of the alternatives about ``rate``, > 0, from :func:`tuned_concentration`.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    _require(hits, trials, rate, concentration)
    if rate in (0.0, 1.0):
        return 0.0 if hits == rate * trials else inf
    a, b = concentration * rate, concentration * (1.0 - rate)
    ratio = _log_beta(a + hits, b + trials - hits) - _log_beta(a, b)
    return ratio - hits * log(rate) - (trials - hits) * log1p(-rate)


def log_e_one_sided(hits: float, trials: float, rate: float, concentration: float) -> float:
    """Logarithm of the e-value against "the rate is at most ``rate``".

    For "at least" swap the sides: ``log_e_one_sided(trials - hits, trials, 1 - rate, ...)``.

    Args:
        hits: Units that hit, 0 to ``trials``; need not be whole.
        trials: Units, >= 0.
        rate: The rate in question, in [0, 1].
        concentration: Of the alternatives about ``rate``, > 0; tune it for ``2 * alpha``.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    both = log_e_two_sided(hits, trials, rate, concentration)
    if rate in (0.0, 1.0):
        return 0.0 if rate == 1.0 else both
    a, b = concentration * rate, concentration * (1.0 - rate)
    above = log_incomplete_beta(b + trials - hits, a + hits, 1.0 - rate)
    return both + above - log_incomplete_beta(b, a, 1.0 - rate)


def boundary_two_sided(trials: float, rate: float, alpha: float, concentration: float) -> float:
    """How many hits (a real number) make the rate proven larger than ``rate`` by the two-sided e-value.

    Args:
        trials: Units, >= 0.
        rate: The rate in question, in (0, 1).
        alpha: Error probability over all times together, in (0, 1).
        concentration: Of the alternatives about ``rate``, > 0.

    Returns:
        At most ``trials``; when even ``trials`` hits do not suffice, infinity.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    return _boundary(lambda hits: log_e_two_sided(hits, trials, rate, concentration), trials, rate, alpha)


def boundary_one_sided(trials: float, rate: float, alpha: float, concentration: float) -> float:
    """How many hits (a real number) make the rate proven larger than ``rate`` by the one-sided e-value.

    Args:
        trials: Units, >= 0.
        rate: The rate in question, in (0, 1).
        alpha: Error probability over all times together, in (0, 1).
        concentration: Of the alternatives about ``rate``, > 0.

    Returns:
        At most ``trials``; when even ``trials`` hits do not suffice, infinity.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    return _boundary(lambda hits: log_e_one_sided(hits, trials, rate, concentration), trials, rate, alpha)


def interval(hits: float, trials: float, alpha: float, concentration: float) -> tuple[float, float]:
    """The rates the two-sided e-value does not reject: covers the true rate at all times together.

    Args:
        hits: Units that hit, 0 to ``trials``.
        trials: Units; 0 gives the whole range.
        alpha: Error probability over all times together, in (0, 1).
        concentration: > 0, from :func:`tuned_concentration`.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    _require_level(alpha)

    def low(share: float, of: float) -> float:
        return _limit(lambda rate: log_e_two_sided(share, of, rate, concentration), share / of, alpha)

    if trials == 0:
        return 0.0, 1.0
    return low(hits, trials), 1.0 - low(trials - hits, trials)


def lower_limit(hits: float, trials: float, alpha: float, concentration: float) -> float:
    """The smallest rate the one-sided e-value does not reject; exceeds the true rate ever with probability <= alpha.

    For an upper limit: ``1 - lower_limit(trials - hits, ...)``.

    Args:
        hits: Units that hit, 0 to ``trials``.
        trials: Units; 0 gives 0.
        alpha: Error probability over all times together, in (0, 1).
        concentration: > 0; tune it for ``2 * alpha``.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    _require_level(alpha)
    if trials == 0:
        return 0.0
    return _limit(lambda rate: log_e_one_sided(hits, trials, rate, concentration), hits / trials, alpha)


def log_incomplete_beta(a: float, b: float, x: float) -> float:
    """Logarithm of the regularised incomplete beta function: ``P(Beta(a, b) <= x)``.

    The continued fraction of DLMF 8.17.22, evaluated by Lentz's method on the side where it converges fast.

    Args:
        a: First parameter, > 0.
        b: Second parameter, > 0.
        x: In (0, 1).
    """
    front = a * log(x) + b * log1p(-x) - _log_beta(a, b)
    if x <= (a + 1.0) / (a + b + 2.0):
        return front + log(_fraction(a, b, x) / a)
    rest = exp(front + log(_fraction(b, a, 1.0 - x) / b))
    return log1p(-rest) if rest < 1.0 else -inf


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction; it needs about ``sqrt(a + b)`` steps at worst."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _boundary(log_e: Callable[[float], float], trials: float, rate: float, alpha: float) -> float:
    _require_level(alpha)
    if not 0.0 < rate < 1.0:
        raise InvalidInputError(f"A boundary needs a rate between 0 and 1, not {rate}.")
    if log_e(trials) < -log(alpha):
        return inf
    return _crossing(lambda hits: log_e(hits) + log(alpha), rate * trials, trials)


def _limit(log_e: Callable[[float], float], observed: float, alpha: float) -> float:
    """The rate between 0 and the observed one where the evidence falls below ``1/alpha``."""
    if observed == 0.0:
        return 0.0
    return _crossing(lambda rate: -log(alpha) - log_e(rate), 0.0, observed)


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a function changes sign from below, by bisection to the last bit or so."""
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (low, middle) if rising(middle) > 0.0 else (middle, high)
    return low


def _require(hits: float, trials: float, rate: float, concentration: float) -> None:
    if not 0.0 <= hits <= trials < inf:
        raise InvalidInputError(f"{hits} of {trials} units cannot have hit.")
    if not 0.0 <= rate <= 1.0:
        raise InvalidInputError(f"A rate lies between 0 and 1, not {rate}.", hint="Use 0.05 for 5 %.")
    if not 0.0 < concentration < inf:
        raise InvalidInputError(f"The concentration of the alternatives is a positive number, not {concentration}.")


def _require_level(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(f"An error probability lies between 0 and 1, not {alpha}.", hint="Use 0.05 for 5 %.")
