"""Draw a `TrafficChart`: stacked steps of the shares by version, each change numbered and explained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from sentinelzer0.reports.canvas import (
    Canvas,
    Plot,
    axis_titles,
    badge_height,
    badge_rows,
    badges,
    grid,
    path,
    swatch,
    text,
    width_of,
)
from sentinelzer0.reports.chart_values import Mark, TrafficChart, TrafficStep, Unit
from sentinelzer0.reports.figure import Context, Data, Picture, actor_text, figure
from sentinelzer0.reports.formats import distance, number, position
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.scales import Scale, Tick, axis_ticks, plain
from sentinelzer0.reports.theme import AREA_OPACITY
from sentinelzer0.reports.x_axis import x_title

_Polyline: TypeAlias = list[tuple[float, float]]

_HEIGHT = 170.0
_KEY = "M1 1L25 1L25 13L1 13Z"
_HATCHES = ("", "M-2 10L10 -2M6 10L10 6M-2 2L2 -2", "M4 0L4 8", "M0 4L8 4", "M0 4L8 4M4 0L4 8")


def traffic_figure(chart: TrafficChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    names = versions_in_order(chart.steps)
    marks = [_mark(step) for step in chart.steps]
    return figure(
        context,
        chart.title,
        traffic_sentence(chart),
        lambda canvas, prefix: _picture(chart, names, marks, canvas, prefix),
        _data(chart, names),
        legend=[(_swatch(index, context.prefix), name) for index, name in enumerate(names)],
        marks=marks,
        counted=chart.x_label or "requests",
    )


def versions_in_order(steps: Sequence[TrafficStep]) -> list[str]:
    """Return the versions in the order in which they first appear."""
    return list(dict.fromkeys(name for step in steps for name, _ in step.shares))


def traffic_sentence(chart: TrafficChart) -> str:
    """Say how traffic was split at the beginning and at the end, and how often it changed."""
    if not chart.steps:
        return "No traffic was assigned."
    first, last = chart.steps[0], chart.steps[-1]
    changes = len(chart.steps) - 1
    counted = "no change" if changes == 0 else "1 change" if changes == 1 else f"{changes} changes"
    automatic = sum(step.automatic for step in chart.steps[1:])
    by_machine = f", {automatic} of them automatic" if automatic else ""
    return (
        f"{_split(first)} at first, {_split(last)} at the end; {counted} in {distance(first.x, chart.end)}{by_machine}."
    )


def _split(step: TrafficStep) -> str:
    serving = [f"{name} {_percent(share)}" for name, share in step.shares if share > 0]
    return " and ".join(serving) if serving else "nothing served"


def _percent(share: float) -> str:
    return number(share, Unit.PERCENT, decimals=0 if abs(share * 100 - round(share * 100)) < 1e-6 else 1)


def _mark(step: TrafficStep) -> Mark:
    return Mark(step.x, step.label or _split(step), step.actor, step.automatic, step.reason, step.tone)


def _picture(chart: TrafficChart, names: list[str], marks: list[Mark], canvas: Canvas, prefix: str) -> Picture:
    if not chart.steps:
        return Picture(60, text(0, 30, "No traffic was assigned."))
    low, high = plain(chart.steps[0].x), plain(chart.end)
    high = high if high > low else low + 1
    y_ticks = [Tick(share, number(share, Unit.PERCENT, decimals=0)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    left = width_of(y_ticks[-1].label) + 12
    right = canvas.width - 12
    x = Scale(low, high, left, right)
    places = [x(plain(mark.x)) for mark in marks]
    top = 26 + badge_height(badge_rows(places)) + 6
    plot = Plot(x, Scale(0, 1, top + _HEIGHT, top), left, right, top, top + _HEIGHT)
    times = isinstance(chart.end, datetime)
    return Picture(
        plot.bottom + 44,
        join(
            el("defs", [_hatch(index, prefix) for index in range(1, len(names))]),
            axis_titles(canvas, plot, "share of traffic", x_title(chart.x_label, chart.steps[0].x, "requests"), top=12),
            grid(plot, axis_ticks(low, high, canvas.x_ticks, times=times), y_ticks),
            [_area(chart, names, index, plot, prefix) for index in range(len(names))],
            badges(plot, marks, places),
            [_label(chart, names, index, plot) for index in range(len(names))],
        ),
    )


def _stack(step: TrafficStep, names: list[str], index: int) -> tuple[float, float]:
    """Return the lower and upper edge of a version in the stack."""
    shares = dict(step.shares)
    below = sum(shares.get(name, 0.0) for name in names[:index])
    return below, below + shares.get(names[index], 0.0)


def _spans(chart: TrafficChart, plot: Plot) -> list[tuple[TrafficStep, float, float]]:
    ends = [plain(step.x) for step in chart.steps[1:]] + [plain(chart.end)]
    return [(step, plot.x(plain(step.x)), plot.x(end)) for step, end in zip(chart.steps, ends, strict=True)]


def _area(chart: TrafficChart, names: list[str], index: int, plot: Plot, prefix: str) -> Markup:
    runs = _runs(chart, names, index, plot)
    outlines = path_of([[*upper, *reversed(lower)] for upper, lower in runs], close=True)
    edges = path_of([upper for upper, _ in runs], close=False)
    return el(
        "g",
        el("path", d=outlines, fill="currentColor", fill_opacity=f"{AREA_OPACITY:g}"),
        el("path", d=outlines, fill=f"url(#{prefix}-h{index})") if index else None,
        el("path", d=edges, fill="none", stroke="currentColor", stroke_width=2.0),
        class_=f"s{index + 1}",
    )


def path_of(polylines: Sequence[_Polyline], *, close: bool) -> str:
    """Write several lines as one path."""
    return "".join(path(points, close=close) for points in polylines)


def _runs(chart: TrafficChart, names: list[str], index: int, plot: Plot) -> list[tuple[_Polyline, _Polyline]]:
    """Return upper and lower edge of each stretch of time in which the version served anything."""
    runs: list[tuple[_Polyline, _Polyline]] = []
    serving = False
    for step, start, end in _spans(chart, plot):
        bottom, top = _stack(step, names, index)
        if top > bottom:
            if not serving:
                runs.append(([], []))
            runs[-1][0].extend([(start, plot.y(top)), (end, plot.y(top))])
            runs[-1][1].extend([(start, plot.y(bottom)), (end, plot.y(bottom))])
        serving = top > bottom
    return runs


def _label(chart: TrafficChart, names: list[str], index: int, plot: Plot) -> Markup | None:
    """Write the version's name where its area is largest, if it fits."""
    best: tuple[float, float, float] | None = None
    for step, start, end in _spans(chart, plot):
        bottom, top = (plot.y(edge) for edge in _stack(step, names, index))
        fits = bottom - top >= 20 and end - start >= width_of(names[index]) + 12
        size = (bottom - top) * (end - start)
        if fits and (best is None or size > best[0]):
            best = (size, (start + end) / 2, (bottom + top) / 2)
    if best is None:
        return None
    return text(best[1], best[2] + 4, names[index], class_="halo strong", anchor="middle")


def _hatch(index: int, prefix: str) -> Markup:
    strokes = el("path", d=_HATCHES[index], stroke="currentColor", stroke_width=1.0, stroke_opacity="0.45", fill="none")
    return el(
        "pattern",
        strokes,
        id=f"{prefix}-h{index}",
        class_=f"s{index + 1}",
        width=8,
        height=8,
        patternUnits="userSpaceOnUse",
    )


def _swatch(index: int, prefix: str) -> Markup:
    return swatch(
        el("defs", _hatch(index, f"{prefix}-key")) if index else None,
        el(
            "g",
            el("path", d=_KEY, fill="currentColor", fill_opacity=f"{AREA_OPACITY:g}", stroke="currentColor"),
            el("path", d=_KEY, fill=f"url(#{prefix}-key-h{index})") if index else None,
            class_=f"s{index + 1}",
        ),
    )


def _data(chart: TrafficChart, names: list[str]) -> Data:
    columns = (
        Column("From"),
        *(Column(name, Unit.PERCENT) for name in names),
        Column("What"),
        Column("Who"),
        Column("Why"),
    )
    rows = []
    for step in chart.steps:
        shares = dict(step.shares)
        start = step.x if isinstance(step.x, datetime) else position(step.x)
        who = actor_text(step.actor, automatic=step.automatic)
        rows.append((start, *(shares.get(name, 0.0) for name in names), step.label, who, step.reason))
    return Data(columns, tuple(rows))
