"""The running intersection of a confidence sequence, and the first look at which it decides.

A confidence sequence holds at all times at once, so the intersection of all intervals so far holds too (Howard,
Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021). It may only
narrow, hence a decision read from it never flips back. Asymptotic sequences hold from a burn-in on, so looks before
the minimum sample take no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentinelzer0.reports.chart_values import IntervalPoint


@dataclass(frozen=True, slots=True)
class RunningBand:
    """What is drawn of a sequence of looks; indices refer to the given points.

    ``low`` and ``high`` hold the look's own interval before ``first_valid`` and from ``drifted`` on.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    first_valid: int | None  # first look with the minimum sample; None: not reached
    decided: int | None  # first valid look whose band lies wholly on one side of the reference
    above: bool | None  # on which side it then lay
    drifted: int | None  # first look with which the intersection became empty


def running_band(points: Sequence[IntervalPoint], min_samples: int, reference: float) -> RunningBand:
    """Intersect the intervals from the minimum sample on; a band that comes with a look is taken as it is.

    Args:
        points: Looks in order.
        min_samples: Samples of the smaller arm from which the intervals hold.
        reference: The value the band must leave for a decision: 0, or a margin.
    """
    low: list[float] = []
    high: list[float] = []
    first_valid = decided = drifted = None
    above: bool | None = None
    for index, point in enumerate(points):
        lower, upper = point.low, point.high
        if point.samples >= min_samples and first_valid is None:
            first_valid = index
        if first_valid is not None and drifted is None and point.band is not None:
            if point.low <= point.band[1] and point.high >= point.band[0]:
                lower, upper = point.band
            else:
                drifted = index
        elif first_valid is not None and first_valid < index and drifted is None:
            lower, upper = max(lower, low[-1]), min(upper, high[-1])
            if lower > upper:
                drifted, lower, upper = index, point.low, point.high
        if first_valid is not None and drifted is None and decided is None and (lower > reference or upper < reference):
            decided, above = index, lower > reference
        low.append(lower)
        high.append(upper)
    return RunningBand(tuple(low), tuple(high), first_valid, decided, above, drifted)
