"""The x axis of the charts over time or counts: its extent and its title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sentinelzer0.reports.chart_values import X
from sentinelzer0.reports.formats import day
from sentinelzer0.reports.scales import plain

_NEAR_ZERO = 0.05


def x_domain(xs: Sequence[X], others: Iterable[X] = ()) -> tuple[float, float]:
    """Return the extent of the axis; counts that begin near zero begin at zero.

    Args:
        xs: Where the points are.
        others: What else must lie on the axis: marks, a finding.
    """
    places = [plain(x) for x in (*xs, *others)]
    low, high = min(places), max(places)
    if not isinstance(xs[0], datetime) and 0 <= low <= _NEAR_ZERO * high:
        low = 0.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def x_title(given: str, first: X, counted: str) -> str:
    """Return the title of the axis: what is counted, or that times are UTC and from which day."""
    if given:
        return given
    if isinstance(first, datetime):
        at = first.astimezone(UTC)
        return f"time (UTC), from {day(at)} {at.year}"
    return counted
