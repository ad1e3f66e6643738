"""Draw a `LaneChart`: one lane per watched thing, its states as segments with shape, word and colour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sentinelzer0.reports.canvas import (
    CHARACTER,
    Canvas,
    Plot,
    badge_height,
    badge_rows,
    badges,
    grid,
    text,
    width_of,
)
from sentinelzer0.reports.chart_values import Lane, LaneChart, Tone, X
from sentinelzer0.reports.figure import Context, Data, Picture, figure, tone_sign
from sentinelzer0.reports.formats import place, position, shorten
from sentinelzer0.reports.frame import Frame, Room
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.scales import Scale, axis_ticks, plain
from sentinelzer0.reports.theme import AREA_OPACITY
from sentinelzer0.reports.x_axis import x_domain, x_title

_NAME = 17.0
_BAR = 22.0
_GAP = 9.0


def lane_figure(chart: LaneChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    return figure(
        context,
        chart.title,
        lane_sentence(chart),
        lambda canvas, _: _picture(chart, canvas, context.frame),
        _data(chart),
        marks=chart.marks if context.legend else (),
        counted=chart.x_label or "requests",
    )


def lane_extent(chart: LaneChart) -> tuple[float, float] | None:
    """Return the x domain the chart needs; None without states."""
    starts = sorted((x for lane in chart.lanes for x, _, _ in lane.states), key=plain)
    return x_domain([starts[0], chart.end], [mark.x for mark in chart.marks]) if starts else None


def _first(chart: LaneChart) -> X:
    return min((lane.states[0][0] for lane in chart.lanes if lane.states), key=plain, default=chart.end)


def lane_room(chart: LaneChart, canvas: Canvas) -> Room:  # noqa: ARG001 - the same call for every chart
    """Return the room left and right of the lanes: their words stand inside."""
    return 12.0, 12.0


def lane_sentence(chart: LaneChart) -> str:
    """Say the state of each lane at the end, and since when."""
    if not chart.lanes:
        return "Nothing is watched."
    return " ".join(f"{lane.name}: {_last(lane, chart)}." for lane in chart.lanes)


def _last(lane: Lane, chart: LaneChart) -> str:
    runs = _runs(lane)
    if not runs:
        return "no state yet"
    since = f" since {place(runs[-1][0], chart.x_label or 'requests')}" if len(runs) > 1 else ""
    return f"{runs[-1][1]}{since}"


def _runs(lane: Lane) -> list[tuple[X, str, Tone]]:
    runs: list[tuple[X, str, Tone]] = []
    for state in lane.states:
        if not runs or runs[-1][1:] != state[1:]:
            runs.append(state)
    return runs


def _picture(chart: LaneChart, canvas: Canvas, frame: Frame) -> Picture:
    extent = lane_extent(chart)
    if extent is None:
        return Picture(60, text(0, 30, "No states yet."))
    low, high = frame.x_extent(extent)
    left, right = frame.edges(canvas, lane_room(chart, canvas))
    x = Scale(low, high, left, right)
    places = [x(plain(mark.x)) for mark in chart.marks]
    top = badge_height(badge_rows(places)) + 4
    bottom = top + len(chart.lanes) * (_NAME + _BAR + _GAP)
    plot = Plot(x, Scale(0, 1, bottom, top), left, right, top, bottom)
    times = isinstance(chart.end, datetime)
    return Picture(
        bottom + 44,
        join(
            grid(plot, axis_ticks(low, high, canvas.x_ticks, times=times), ()),
            text(right, bottom + 36, x_title(chart.x_label, _first(chart), "requests"), anchor="end"),
            badges(plot, chart.marks, places),
            [_lane(lane, chart, plot, top + index * (_NAME + _BAR + _GAP)) for index, lane in enumerate(chart.lanes)],
        ),
    )


def _lane(lane: Lane, chart: LaneChart, plot: Plot, top: float) -> Markup:
    runs = _runs(lane)
    ends = [*(plain(x) for x, _, _ in runs), plain(chart.end)][1:]  # a lane without states has none
    name = shorten(lane.name, int((plot.right - plot.left) / CHARACTER))
    bars = [
        _segment(plot.x(plain(x)), plot.x(end), top + _NAME, word, tone)
        for (x, word, tone), end in zip(runs, ends, strict=True)
    ]
    return join(text(plot.left, top + 12, name, class_="halo ink"), bars)


def _segment(start: float, end: float, top: float, word: str, tone: Tone) -> Markup:
    shape = {"x": start, "y": top, "width": max(end - start, 1.5), "height": _BAR}
    said = next(
        (
            said
            for said in (f"{tone_sign(tone)} {word}", tone_sign(tone))
            if width_of(said, strong=True) + 10 <= end - start
        ),
        "",
    )
    return el(
        "g",
        el("rect", fill="currentColor", fill_opacity=f"{AREA_OPACITY:g}", stroke="currentColor", **shape),
        text(start + 6, top + 15, said, class_="strong") if said else None,
        class_=str(tone),
    )


def _data(chart: LaneChart) -> Data:
    times = isinstance(chart.end, datetime)
    rows: Sequence[tuple[str | X, ...]] = [
        (lane.name, x if isinstance(x, datetime) else position(x), word)
        for lane in chart.lanes
        for x, word, _ in _runs(lane)
    ]
    return Data(
        (Column("Watched"), Column("From" if times else f"From ({chart.x_label or 'requests'})"), Column("State")),
        tuple(rows),
    )
