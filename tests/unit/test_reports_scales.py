"""Ticks and numbers read as a person would write them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.reports import Unit
from sentinelzer0.reports.canvas import badge_rows, spread
from sentinelzer0.reports.formats import MINUS, NBSP, brief, cell, moment, number, short_digest, span
from sentinelzer0.reports.scales import Scale, log_ticks, number_ticks, padded, thinned, time_ticks

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


def labels(start: datetime, seconds: float, count: int = 6) -> list[str]:
    return [tick.label for tick in time_ticks(start.timestamp(), start.timestamp() + seconds, count)]


@given(NUMBERS, st.floats(1e-6, 1e9), st.integers(2, 10), st.sampled_from(list(Unit)))
def test_number_ticks_are_inside_even_and_few(low: float, length: float, count: int, unit: Unit) -> None:
    ticks = number_ticks(low, low + length, count, unit)
    slack = 1e-6 * max(length, abs(low) * 1e-6)
    assert all(low - slack <= tick.value <= low + length + slack for tick in ticks)
    assert len(ticks) <= count + 1
    steps = [b.value - a.value for a, b in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6, abs=1e-9 * abs(low)) if steps else True


@pytest.mark.parametrize(
    ("low", "high", "unit", "expected"),
    [
        (0.2, 0.9, Unit.NUMBER, ["0.2", "0.4", "0.6", "0.8"]),
        (-0.013, 0.052, Unit.POINTS, ["0 pp", "2 pp", "4 pp"]),
        (0, 1, Unit.PERCENT, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (0, 3, Unit.COUNT, ["0", "1", "2", "3"]),
        (0, 2_000_000, Unit.NUMBER, ["0", "500k", "1M", "1.5M", "2M"]),
    ],
)
def test_number_tick_labels(low: float, high: float, unit: Unit, expected: list[str]) -> None:
    assert [tick.label.replace(NBSP, " ") for tick in number_ticks(low, high, 5, unit)] == expected


def test_time_tick_labels_choose_the_unit_people_would() -> None:
    start = datetime(2026, 11, 20, 13, 7, tzinfo=UTC)
    assert labels(start, 45) == ["13:07:00", "13:07:10", "13:07:20", "13:07:30", "13:07:40"]
    assert labels(start, 5000) == ["13:15", "13:30", "13:45", "14:00", "14:15", "14:30"]
    assert labels(start, 86400) == ["18:00", "21 Nov", "06:00", "12:00"]
    assert labels(start, 20 * 86400) == ["23 Nov", "30 Nov", "7 Dec"]
    assert labels(start, 200 * 86400) == ["2027", "Mar", "May"]
    assert labels(start, 2000 * 86400) == ["2027", "2028", "2029", "2030", "2031", "2032"]


@given(st.integers(0, 4_000_000_000), st.floats(1, 3e9), st.integers(2, 10))
def test_time_ticks_are_inside_and_few(low: int, length: float, count: int) -> None:
    ticks = time_ticks(low, low + length, count)
    assert all(low <= tick.value <= low + length for tick in ticks)
    assert len(ticks) <= count + 2
    assert [tick.value for tick in ticks] == sorted({tick.value for tick in ticks})


def test_log_ticks_are_powers_of_ten() -> None:
    assert [tick.label for tick in log_ticks(0.0005, 1, 5)] == ["0.001", "0.01", "0.1", "1"]


@given(NUMBERS, NUMBERS)
def test_padding_widens(one: float, other: float) -> None:
    low, high = padded(min(one, other), max(one, other))
    assert low < high
    assert low <= min(one, other) <= max(one, other) <= high


def test_a_scale_maps_its_ends_and_its_logarithm() -> None:
    assert [Scale(10, 20, 100, 0)(value) for value in (10, 15, 20)] == [100, 50, 0]
    assert [Scale(0.01, 1, 0, 100, log=True)(value) for value in (0.01, 0.1, 1)] == pytest.approx([0, 50, 100])
    assert Scale(3, 3, 0, 100)(3) == 50


@given(st.lists(st.one_of(st.none(), NUMBERS), max_size=300), st.integers(6, 60))
def test_thinning_keeps_ends_extremes_and_gaps(values: list[float | None], limit: int) -> None:
    kept = thinned(values, limit)
    assert kept == sorted(set(kept))
    known = [value for value in values if value is not None]
    shown = [values[index] for index in kept if values[index] is not None]
    if known:
        assert (min(shown), max(shown)) == (min(known), max(known))  # type: ignore[type-var]
        assert {0, len(values) - 1} <= set(kept)
    assert sum(values[index] is None for index in kept) == values.count(None)
    assert len(kept) <= max(limit, len(values) if len(values) <= limit else limit + values.count(None) + 5)


@given(st.lists(st.floats(0, 800), max_size=12).map(sorted))
def test_badges_never_overlap(xs: list[float]) -> None:
    rows = badge_rows(xs)
    placed = list(zip(xs, rows, strict=True))
    for index, (x, row) in enumerate(placed):
        assert all(x - other >= 20 for other, other_row in placed[:index] if other_row == row)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
def test_labels_are_spread_apart_and_stay_inside(places: list[float]) -> None:
    moved = sorted(spread(places, 15, 0, 200))
    assert moved[0] >= -1e-9
    assert moved[-1] <= 200 + 1e-9
    assert all(b - a >= 15 - 1e-9 for a, b in pairwise(moved))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(0.12456, Unit.PERCENT), "12.46 %"),
        (number(-0.00001, Unit.POINTS, signed=True), f"{MINUS}0.001 pp"),
        (number(0.0, Unit.POINTS, signed=True), "0.00 pp"),
        (number(1500, Unit.MILLISECONDS), "1.5 s"),
        (number(181_923_123, Unit.BYTES), "181.9 MB"),
        (number(0.51344, Unit.MILLISECONDS, signed=True), "+0.513 ms"),
        (number(12345, Unit.COUNT), "12,345"),
        (brief(0.8, Unit.PERCENT), "80 %"),
        (brief(0.015, Unit.PERCENT), "1.5 %"),
        (cell(None), "\N{EN DASH}"),
        (cell(True), "yes"),
        (cell(13440), "13,440"),
        (moment(datetime(2026, 11, 2, 4, 5, tzinfo=UTC)), "2 Nov 2026, 04:05 UTC"),
        (moment(datetime(2026, 11, 2, 4, 5, 6, tzinfo=UTC)), "2 Nov 2026, 04:05:06 UTC"),
        (span(0.0034), "3.4 ms"),
        (span(7261), "2 h 1 min"),
        (span(3600), "1 h"),
        (short_digest("sha256:" + "ab" * 32), "sha256:abababab…abab"),
        (short_digest("rb_123"), "rb_123"),
    ],
)
def test_writing(written: str, expected: str) -> None:
    assert written.replace(NBSP, " ") == expected
