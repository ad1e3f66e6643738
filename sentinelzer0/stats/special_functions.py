"""Tails of the textbook distributions, accurate to about twelve digits also far out and for millions of units.

Densities are evaluated by Loader's saddle-point form: the logarithm of a factorial is never differenced, only the
small error of Stirling's formula and a deviance are, so nothing cancels and nothing overflows.

Sources:
    Loader, "Fast and accurate computation of binomial probabilities" (2000).
    Lentz, "Generating Bessel functions in Mie scattering calculations using continued fractions", Applied Optics 15
    (1976), and Thompson and Barnett (1986): the evaluation of the continued fraction.
    DiDonato and Morris, "Significant digit computation of the incomplete beta function ratios", ACM TOMS 18 (1992).
"""

from __future__ import annotations

from math import erfc, exp, inf, lgamma, log, pi, sqrt

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_TINY = 1e-300
_PRECISION = 1e-16


def normal_tail(z: float) -> float:
    """Probability that a standard normal variable exceeds ``z``."""
    return 0.5 * erfc(z / sqrt(2.0))


def normal_quantile(tail: float) -> float:
    """The ``z`` that a standard normal variable exceeds with probability ``tail``.

    Args:
        tail: In (0, 1).
    """
    if tail > 0.5:
        return -normal_quantile(1.0 - tail)
    z = 0.0
    # The logarithm of the tail is concave, so Newton's method from the left overshoots once and then descends.
    for _ in range(100):
        density = exp(-0.5 * z * z) / sqrt(2.0 * pi)
        here = normal_tail(z)
        step = log(here / tail) * here / density
        z += step
        if abs(step) <= 1e-15 * max(1.0, z):
            break
    return z


def student_tail(t: float, degrees: float) -> float:
    """Probability that Student's t exceeds ``|t|`` in absolute value (both tails).

    Args:
        t: The statistic.
        degrees: Degrees of freedom, > 0; need not be whole.
    """
    # Both shares are computed without subtraction; t * t may overflow to infinity, which is right.
    square = t * t / degrees
    if square == inf:
        return 0.0
    return incomplete_beta(0.5 * degrees, 0.5, 1.0 / (1.0 + square), square / (1.0 + square))


def student_quantile(both_tails: float, degrees: float) -> float:
    """The ``t`` that Student's t exceeds in absolute value with probability ``both_tails``.

    Args:
        both_tails: In (0, 1).
        degrees: Degrees of freedom, > 0.
    """
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > both_tails:
        low, high = high, 2.0 * high
    while high - low > 4e-16 * high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if student_tail(middle, degrees) > both_tails else (low, middle)
    return 0.5 * (low + high)


def chi_square_tail(statistic: float) -> float:
    """Probability that a chi-square variable with one degree of freedom exceeds ``statistic`` >= 0."""
    return erfc(sqrt(0.5 * statistic))


def incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    Args:
        a: First parameter, > 0.
        b: Second parameter, > 0.
        x: In [0, 1].
        y: ``1 - x``, given apart because subtraction would lose the digits of a small one.
    """
    if x <= 0.0:
        return 0.0
    if y <= 0.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, y, x)
    whole = a + b
    log_front = stirling_error(whole) - stirling_error(a) - stirling_error(b)
    log_front -= deviance(a, whole * x) + deviance(b, whole * y)
    return exp(log_front) * sqrt(b / (2.0 * pi * a * whole)) * _beta_fraction(a, b, x)


def log_hypergeometric(k: int, drawn: int, marked: int, unmarked: int) -> float:
    """Logarithm of the probability of ``k`` marked ones among ``drawn`` of ``marked + unmarked``.

    Args:
        k: Possible: at most ``drawn`` and ``marked``, at least ``drawn - unmarked``.
        drawn: Size of the sample.
        marked: Marked ones in the population.
        unmarked: The others.
    """
    total = marked + unmarked
    if drawn in (0, total):
        return 0.0
    p, q = drawn / total, (total - drawn) / total
    return _log_binomial(k, marked, p, q) + _log_binomial(drawn - k, unmarked, p, q) - _log_binomial(drawn, total, p, q)


def stirling_error(n: float) -> float:
    """By how much Stirling's formula errs: ``log Gamma(n + 1) - log(sqrt(2 pi n) (n / e)^n)``, for ``n`` > 0."""
    if n < 16.0:
        return lgamma(n + 1.0) - (n + 0.5) * log(n) + n - 0.5 * log(2.0 * pi)
    inverse, total = 1.0 / (n * n), 0.0
    for coefficient in reversed(_STIRLING):
        total = total * inverse + coefficient
    return total / n


def deviance(x: float, expected: float) -> float:
    """``x log(x / expected) + expected - x``, without cancellation where both are close; 0 for two zeros."""
    if x == 0.0:
        return expected
    gap = x - expected
    if abs(gap) >= 0.1 * (x + expected):
        return x * log(x / expected) - gap
    ratio = gap / (x + expected)
    total, power, odd = gap * ratio, 2.0 * x * ratio, 1.0
    square = ratio * ratio
    while True:
        power *= square
        odd += 2.0
        more = total + power / odd
        if more == total:
            return total
        total = more


def _log_binomial(k: int, n: int, p: float, q: float) -> float:
    if k == 0:
        return 0.0 if n == 0 else -deviance(n, n * q) - n * p
    if k == n:
        return -deviance(n, n * p) - n * q
    correction = stirling_error(n) - stirling_error(k) - stirling_error(n - k)
    return correction - deviance(k, n * p) - deviance(n - k, n * q) + 0.5 * log(n / (2.0 * pi * k * (n - k)))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method; converges for x below the mean."""
    c, d = 1.0, 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    m = 0
    while True:
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 / _not_zero(1.0 + even * d)
        c = _not_zero(1.0 + even / c)
        value *= d * c
        d = 1.0 / _not_zero(1.0 + odd * d)
        c = _not_zero(1.0 + odd / c)
        step = d * c
        value *= step
        if abs(step - 1.0) <= _PRECISION or m > 100_000:
            return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
