"""From values to places: linear, logarithmic and time scales with ticks that people would choose.

A scale maps a domain (data) onto a range (SVG units). Times are seconds since the epoch, labelled in UTC.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sentinelzer0.reports.chart_values import Unit, X
from sentinelzer0.reports.formats import day, number

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 3, 7, 14)),
)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what is written there."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps ``low..high`` onto ``start..end``; ``log`` takes the logarithm first."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(value)
        if high == low:
            return (self.start + self.end) / 2
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def plain(x: X) -> float:
    """Return an x value as a float: seconds since the epoch for times."""
    return x.timestamp() if isinstance(x, datetime) else float(x)


def padded(low: float, high: float, share: float = 0.08) -> tuple[float, float]:
    """Widen a domain by a share of its length on each side; an empty one becomes a small one about its value."""
    if low == high:
        margin = abs(low) * 0.1 or 1.0
        return low - margin, high + margin
    margin = (high - low) * share
    return low - margin, high + margin


def number_ticks(low: float, high: float, count: int, unit: Unit = Unit.NUMBER, *, signed: bool = False) -> list[Tick]:
    """Return about ``count`` ticks at multiples of 1, 2 or 5 times a power of ten, all with the same decimals."""
    factor = 100.0 if unit in {Unit.PERCENT, Unit.POINTS} else 1.0
    step = _nice_step((high - low) * factor / max(count, 1))
    if unit is Unit.COUNT:
        step = max(step, 1.0)
    first, last = math.ceil(low * factor / step - 1e-9), math.floor(high * factor / step + 1e-9)
    values = [index * step / factor for index in range(first, last + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [Tick(value, _tick_label(value, unit, decimals, signed=signed)) for value in values]


def log_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Return ticks at whole powers of ten, thinned to about ``count``."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / max(count, 1)))
    return [Tick(10.0**power, _power_label(power)) for power in range(first, last + 1, stride)]


def time_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Return about ``count`` ticks at whole UTC seconds, minutes, hours, days or months.

    A label shows the day where the day changes and the clock elsewhere; years where the year changes.
    """
    wanted = max(high - low, 1e-9) / max(count, 1)
    if wanted > _TIME_STEPS[-1]:
        return _month_ticks(low, high, wanted / (30.4 * _DAY))
    step = _TIME_STEPS[bisect_left(_TIME_STEPS, wanted)]
    # Weeks start on a Monday; the epoch was a Thursday.
    offset = 4 * _DAY if step >= 7 * _DAY else 0
    first = math.ceil((low - offset) / step) * step + offset
    ticks: list[Tick] = []
    before: datetime | None = None
    for index in range(int((high - first) // step) + 1 if first <= high else 0):
        value = first + index * step
        at = datetime.fromtimestamp(value, UTC)
        ticks.append(Tick(value, _time_label(at, before, step)))
        before = at
    return ticks


def axis_ticks(low: float, high: float, count: int, *, times: bool) -> list[Tick]:
    """Return ticks for an x axis."""
    return time_ticks(low, high, count) if times else number_ticks(low, high, count, Unit.NUMBER)


def thinned(values: Iterable[float | None], limit: int) -> list[int]:
    """Choose the indices to draw so that at most about ``limit`` remain and every extreme survives.

    Each bucket keeps its first, lowest and highest value; gaps (None) are always kept.
    """
    items = list(values)
    if len(items) <= limit:
        return list(range(len(items)))
    size = math.ceil(len(items) / max(limit // 3, 1))
    keep = {0, len(items) - 1}
    for start in range(0, len(items), size):
        bucket = range(start, min(start + size, len(items)))
        known = [(value, index) for index in bucket if (value := items[index]) is not None]
        keep.add(start)
        keep.update(index for index in bucket if items[index] is None)
        if known:
            keep.update((min(known)[1], max(known)[1]))
    return sorted(keep)


def _nice_step(rough: float) -> float:
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    for multiple in (1.0, 2.0, 5.0):
        if rough <= multiple * power * (1 + 1e-9):
            return multiple * power
    return 10.0 * power


def _tick_label(value: float, unit: Unit, decimals: int, *, signed: bool) -> str:
    if unit is Unit.BYTES or (unit in {Unit.NUMBER, Unit.COUNT} and abs(value) >= 100_000):
        return _compact(value, unit)
    if unit is Unit.MILLISECONDS and abs(value) >= 1000:
        return number(value, unit, signed=signed)
    return number(value, unit, signed=signed, decimals=decimals)


def _compact(value: float, unit: Unit) -> str:
    if unit is Unit.BYTES:
        return number(value, unit)
    for power, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{number(value / power)}{name}"
    return number(value)


def _power_label(power: int) -> str:
    return f"{10.0**power:g}" if -4 <= power <= 4 else f"1e{power}"


def _time_label(at: datetime, before: datetime | None, step: int) -> str:
    clock = f"{at:%H:%M:%S}" if step < _MINUTE else f"{at:%H:%M}"
    if before is None:
        return day(at) if step >= _DAY or clock in {"00:00", "00:00:00"} else clock
    if at.date() != before.date():
        return f"{day(at)} {at.year}" if at.year != before.year else day(at)
    return clock


def _month_ticks(low: float, high: float, wanted_months: float) -> list[Tick]:
    step = next((size for size in _MONTH_STEPS if size >= wanted_months), _MONTH_STEPS[-1])
    start = datetime.fromtimestamp(low, UTC)
    index = math.ceil((start.year * 12 + start.month - 1) / step) * step
    ticks: list[Tick] = []
    while True:
        at = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
        if at.timestamp() > high:
            return ticks
        if at.timestamp() >= low:
            month = day(at + timedelta(hours=12)).split(" ")[1]
            ticks.append(Tick(at.timestamp(), str(at.year) if at.month == 1 else month))
        index += step
