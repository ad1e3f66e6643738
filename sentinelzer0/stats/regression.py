"""Is the challenger worse? Evidence from failures alone, exact whatever the base rate and the ramp do.

Given that a request failed, it was the challenger's with probability ``share`` when both arms fail alike, however
often requests fail at that time. An alternative "B fails ``r`` times as often" makes that ``share r / (share r + 1 -
share)``. The likelihood ratio of the two is a martingale under equality and a supermartingale when B is better, for
any order of the failures, any history of shares and any drift of the base rate; so is the average over a fixed set of
``r``. By Ville's inequality it ever reaches ``1/alpha`` with probability at most ``alpha``. With ``b`` of the ``n``
failures of a phase in B, its logarithm for one ``r`` is the sum over phases of ``b log r - n log(1 + share (r - 1))``:
counts suffice, and labels may come late and in any order.

A non-inferiority margin ``m`` ("up to m times as often is fine") takes the place of equality: the share becomes
``share m / (share m + 1 - share)``.

Sources:
    Wald, "Sequential Analysis" (1947): the likelihood ratio as a test; Robbins, "Statistical methods related to the
    law of the iterated logarithm" (1970): averages over alternatives.
    Lindon, Malek, "Anytime-valid inference for multinomial count data" (2022): conditioning on the total.
    Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023): e-processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite, log, log1p, nan
from operator import add

from sentinelzer0.errors import InvalidInputError

RISKS = (1.25, 1.9, 2.8, 4.2, 6.3, 9.5, 14.0, 22.0, 33.0, 50.0)
"""The relative risks that are looked for, beyond the margin."""

WEIGHTS = (0.06, 0.16, 0.23, 0.13, 0.15, 0.11, 0.08, 0.04, 0.02, 0.02)
"""What each of them is given of the first unit of evidence; they add up to 1.

Chosen once, by exact computation, so that the mean delay stays below 1.5 times the lower bound for doubled to tenfold
failure rates and below 2 times it from 1.5 to 20 times the rate (tests/statistics/test_detection_delay.py): most
weight on doubling, which takes longest to see. Any weights would be valid.
"""

_LOG_RISKS = tuple(log(risk) for risk in RISKS)
_LOG_WEIGHTS = tuple(log(weight) for weight in WEIGHTS)


@dataclass(frozen=True, slots=True)
class PhaseCounts:
    """Failures of the two arms while the traffic was split the same way.

    Args:
        share: Share of B among the requests of A and B, in [0, 1].
        a: Failures in A.
        b: Failures in B.

    Raises:
        InvalidInputError: The share is no probability, or a count is negative.
    """

    share: float
    a: int
    b: int

    def __post_init__(self) -> None:
        _require_share(self.share)
        if self.a < 0 or self.b < 0:
            raise InvalidInputError(f"Failures are counted from 0; these are {self.a} and {self.b}.")


def log_e(phases: Iterable[PhaseCounts], margin: float = 1.0) -> float:
    """Logarithm of the e-value against "B fails at most ``margin`` times as often as A".

    A phase in which only one arm got traffic (share 0 or 1) says nothing and is left out.

    Args:
        phases: Failures by phase, in any order; phases with the same share may be merged or not.
        margin: Relative risk that is acceptable, > 0; 1 asks for any worsening.

    Returns:
        0 without failures; at least ``log(1/alpha)`` is a regression at level ``alpha``, at whatever time it is seen.

    Raises:
        InvalidInputError: The margin is not a positive number.
    """
    exponents = list(_LOG_WEIGHTS)
    for phase in phases:
        in_a, in_b = _steps(phase.share, margin)
        exponents = [x + phase.a * a + phase.b * b for x, a, b in zip(exponents, in_a, in_b, strict=True)]
    return _log_sum(exponents)


class RegressionDetector:
    """The same evidence, one failure at a time; a success changes nothing and need not be told.

    Args:
        margin: Relative risk that is acceptable, > 0; 1 asks for any worsening.

    Raises:
        InvalidInputError: The margin is not a positive number.
    """

    __slots__ = ("_exponents", "_last_share", "_last_steps", "_margin")

    def __init__(self, margin: float = 1.0) -> None:
        _require_margin(margin)
        self._margin = margin
        self._exponents = list(_LOG_WEIGHTS)
        self._last_share = nan  # shares change rarely, failures come in between
        self._last_steps = _steps(0.0, margin)

    def update(self, in_b: bool, share: float) -> None:
        """Count one failure.

        Args:
            in_b: Whether it was B's.
            share: Share of B among the requests of A and B when the request was assigned, in [0, 1].

        Raises:
            InvalidInputError: The share is no probability.
        """
        if share != self._last_share:
            self._last_steps, self._last_share = _steps(share, self._margin), share
        self._exponents = list(map(add, self._exponents, self._last_steps[in_b]))

    @property
    def log_e(self) -> float:
        """Logarithm of the e-value so far: what :func:`log_e` gives for the counts."""
        return _log_sum(self._exponents)


def lower_bound_requests(p0: float, p1: float, share: float, alpha: float) -> float:
    """Mean number of requests that no test of level ``alpha`` can beat, were both rates known: ``log(1/alpha) / I``.

    ``I`` is the information of one request about which arm it came from, successes included: ``share KL(p1 || pm) +
    (1 - share) KL(p0 || pm)`` with the mixed rate ``pm`` (Wald 1945, Lai 1998).

    Args:
        p0: Failure rate of A, in [0, 1].
        p1: Failure rate of B, in [0, 1].
        share: Share of B among the requests of A and B, in [0, 1].
        alpha: Error probability, in (0, 1).

    Returns:
        Infinity when the arms do not differ or one of them gets no traffic.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    for rate in (p0, p1):
        if not 0.0 <= rate <= 1.0:
            raise InvalidInputError(f"A failure rate lies between 0 and 1, not {rate}.", hint="Use 0.05 for 5 %.")
    _require_share(share)
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(f"An error probability lies between 0 and 1, not {alpha}.", hint="Use 0.05 for 5 %.")
    mixed = share * p1 + (1.0 - share) * p0
    information = share * _divergence(p1, mixed) + (1.0 - share) * _divergence(p0, mixed)
    return -log(alpha) / information if information > 0.0 else float("inf")


@lru_cache(maxsize=1024)
def _steps(share: float, margin: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What one failure in A, and one in B, adds to the logarithm for each relative risk."""
    _require_share(share)
    _require_margin(margin)
    if share in (0.0, 1.0):
        nothing = (0.0,) * len(RISKS)
        return nothing, nothing
    null = share * margin / (share * margin + 1.0 - share)
    in_a = tuple(-log1p(null * (risk - 1.0)) for risk in RISKS)
    return in_a, tuple(map(add, in_a, _LOG_RISKS))


def _log_sum(exponents: list[float]) -> float:
    peak = max(exponents)
    if -600.0 < peak < 600.0:  # nearly always: no shift is needed to stay within the range of floats
        return log(sum(map(exp, exponents)))
    return peak + log(sum([exp(x - peak) for x in exponents]))


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two coins; ``q`` is 0 or 1 only where ``p`` is."""
    head = p * log(p / q) if p > 0.0 else 0.0
    return head + ((1.0 - p) * log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0)


def _require_share(share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise InvalidInputError(f"A traffic share lies between 0 and 1, not {share}.", hint="Use 0.05 for 5 %.")


def _require_margin(margin: float) -> None:
    if not (margin > 0.0 and isfinite(margin)):
        raise InvalidInputError(
            f"The acceptable relative risk is a positive number, not {margin}.",
            hint="Use 1 for any worsening, 1.2 for up to 20 % more failures.",
        )
