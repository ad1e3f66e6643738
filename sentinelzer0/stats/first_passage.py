"""When the estimate of a test is expected to meet the boundary, and how widely that time varies.

The estimate is a Brownian motion with the assumed difference as its drift; time is information (effective units, see
:mod:`sentinelzer0.stats.stratified`). Near the point where the expected estimate meets the boundary, the boundary is
replaced by its tangent. The time to reach a line is inverse Gaussian: its mean is that very point, and its variance
follows from the noise there and the angle of the two.

Sources:
    Siegmund, "Sequential Analysis" (1985): first passage through curved boundaries by their tangents.
    Folks and Chhikara, "The inverse Gaussian distribution and its statistical application", JRSS B 40 (1978).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt

from sentinelzer0.stats.special_functions import normal_tail

MOST = 0.9
"""Of ten tests, how many have their verdict by :attr:`Passage.most`."""

_LARGEST = 1e15
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Passage:
    """When the boundary is met, in information from now on.

    Attributes:
        mean: On average; 0 when it is met already.
        most: By then in nine of ten cases.
    """

    mean: float
    most: float


def passage(
    boundary: Callable[[float], float],
    noise: Callable[[float], float],
    drift: float,
    *,
    earliest: float,
    information: float = 0.0,
    estimate: float = 0.0,
) -> Passage | None:
    """The time at which an estimate exceeds a boundary for the first time.

    Args:
        boundary: How far from 0 the estimate has to be, by information.
        noise: Its standard error, by information.
        drift: The true value from now on, > 0.
        earliest: No verdict before this information.
        information: What has been seen so far.
        estimate: The estimate so far.

    Returns:
        None when the boundary is never met.
    """

    def lead(time: float) -> float:
        return (information * estimate + (time - information) * drift) / time - boundary(time)

    start = max(information, 1.0)
    if information > 0.0 and lead(start) >= 0.0:
        waiting = max(0.0, earliest - information)
        return Passage(waiting, waiting)
    high = 2.0 * start
    while lead(high) < 0.0:
        high *= 2.0
        if high > _LARGEST:
            return None
    low = max(start, 0.5 * high)
    while high - low > 1e-9 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if lead(middle) < 0.0 else (low, middle)
    meet = high
    slope = (lead(meet * (1.0 + _STEP)) - lead(meet * (1.0 - _STEP))) / (2.0 * _STEP * meet)
    mean = meet - information
    deviation = noise(meet) * sqrt(mean / meet) / slope
    return _not_before(max(0.0, earliest - information), mean, (mean / deviation) ** 2)


def _not_before(earliest: float, mean: float, sharpness: float) -> Passage:
    """Mean and upper decile of an inverse Gaussian time of shape ``sharpness * mean``, cut off from below."""
    low, high = 0.0, mean
    while _by(high, mean, sharpness) < MOST:
        low, high = high, 2.0 * high
    while high - low > 1e-9 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _by(middle, mean, sharpness) < MOST else (low, middle)
    if earliest <= 0.0:
        return Passage(mean, high)
    early, of_early = _by(earliest, mean, sharpness), _mean_by(earliest, mean, sharpness)
    return Passage(earliest * early + mean - of_early, max(earliest, high))


def _by(time: float, mean: float, sharpness: float) -> float:
    """Probability that it happens by ``time``."""
    straight, mirrored = _parts(time, mean, sharpness)
    return straight + mirrored


def _mean_by(time: float, mean: float, sharpness: float) -> float:
    """The part of the mean that falls on times up to ``time``."""
    straight, mirrored = _parts(time, mean, sharpness)
    return mean * (straight - mirrored)


def _parts(time: float, mean: float, sharpness: float) -> tuple[float, float]:
    root, ratio = sqrt(sharpness * mean / time), time / mean
    return normal_tail(-root * (ratio - 1.0)), exp(min(700.0, 2.0 * sharpness)) * normal_tail(root * (ratio + 1.0))
