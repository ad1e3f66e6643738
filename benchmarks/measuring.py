"""Times, percentiles and the rows of the table: what every figure is made of."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the table.

    Attributes:
        figure: What is measured.
        target: What it must be, in words.
        measured: What it is, in words.
        met: Whether that is enough.
        against: What it was compared with, and the numbers behind it.
    """

    figure: str
    target: str
    measured: str
    met: bool
    against: str


def seconds(work: Work) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def alternating(first: Work, second: Work, rounds: int) -> tuple[list[float], list[float]]:
    """Time two programs in turn, so that whatever else the machine does meets both; who starts alternates too."""
    gc.collect()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(seconds((first, second)[which]))
    return times


def ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    """Return the ratio of the medians."""
    return median(ours) / median(floor)


def spread(values: Sequence[float], scale: float, unit: str) -> str:
    """Describe times by median and 95th percentile."""
    return f"median {median(values) * scale:.3g} {unit}, p95 {percentile(values, 95) * scale:.3g} {unit}"
