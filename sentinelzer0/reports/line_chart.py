"""Draw a `LineChart`: a metric over time, requests or version number, with its limit and what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from sentinelzer0.reports.canvas import (
    DASHES,
    LINE,
    Canvas,
    Plot,
    axis_titles,
    badge_height,
    badge_rows,
    badges,
    grid,
    line,
    marker,
    path,
    spread,
    swatch,
    text,
    width_of,
)
from sentinelzer0.reports.chart_values import LineChart, LineSeries, Threshold, X
from sentinelzer0.reports.figure import Context, Data, Picture, figure
from sentinelzer0.reports.formats import brief, number, place, position, sentence_case
from sentinelzer0.reports.frame import Frame, Room
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.scales import Scale, Tick, axis_ticks, log_ticks, number_ticks, padded, plain, thinned
from sentinelzer0.reports.x_axis import x_domain, x_title

_HEIGHT = 220.0
_COMPACT = 84.0
_DOTS = 40  # a line of at most this many points shows each of them


def line_figure(chart: LineChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    return figure(
        context,
        chart.title,
        line_sentence(chart),
        lambda canvas, prefix: _picture(chart, canvas, prefix, context.frame),
        _data(chart),
        legend=_legend(chart),
        marks=chart.marks if context.legend else (),
        counted=chart.x_label or "requests",
    )


def line_extent(chart: LineChart) -> tuple[float, float] | None:
    """Return the x domain the chart needs; None without points."""
    xs: list[X] = sorted((x for s in chart.series for x, _ in s.points), key=plain)
    return x_domain(xs, [mark.x for mark in chart.marks]) if xs else None


def line_room(chart: LineChart, canvas: Canvas) -> Room:
    """Return the room the labels left and right of the plot need."""
    values = [y for s in chart.series for _, y in s.points if y is not None]
    if not values:
        return 0.0, 0.0
    ticks = _y_ticks(chart, canvas, *_y_domain(chart, values))
    left = max((width_of(tick.label) for tick in ticks), default=0) + 12
    return left, max(width_of(number(y, chart.unit), strong=True) for _, y in _last_values(chart)) + 14


def line_sentence(chart: LineChart) -> str:
    """Say what the picture shows: start, end and first crossing of each series."""
    told = [_series_sentence(chart, line_) for line_ in chart.series]
    return " ".join(sentence_case(text_) for text_ in told)


def _series_sentence(chart: LineChart, series: LineSeries) -> str:
    known = [(x, y) for x, y in series.points if y is not None]
    if not known:
        return f"{series.name}: no data."
    first, last = (number(y, chart.unit) for y in (known[0][1], known[-1][1]))
    said = f"{series.name}: {first} at first, {last} at the end"
    limit = chart.threshold
    if limit is None or limit.bad_above is None:
        low, high = (number(pick(y for _, y in known), chart.unit) for pick in (min, max))
        return f"{said}, between {low} and {high}."
    crossed = next((x for x, y in known if _is_bad(y, limit)), None)
    side = "above" if limit.bad_above else "below"
    bound = f"{side} {limit.label} ({brief(limit.value, chart.unit)})"
    if crossed is None:
        return f"{said}; never {bound}."
    return f"{said}; {bound} for the first time at {place(crossed, chart.x_label or 'requests')}."


def _is_bad(y: float, limit: Threshold) -> bool:
    return y > limit.value if limit.bad_above else y < limit.value


def _last_values(chart: LineChart) -> list[tuple[int, float]]:
    return [
        (index, known[-1])
        for index, s in enumerate(chart.series)
        if (known := [y for _, y in s.points if y is not None])
    ]


def _picture(chart: LineChart, canvas: Canvas, prefix: str, frame: Frame) -> Picture:
    xs: list[X] = sorted((x for s in chart.series for x, _ in s.points), key=plain)
    values = [y for s in chart.series for _, y in s.points if y is not None]
    if not values:
        return Picture(60, text(0, 30, "No data yet."))
    low_x, high_x = frame.x_extent(x_domain(xs, [mark.x for mark in chart.marks]))
    low_y, high_y = _y_domain(chart, values)
    y_ticks = _y_ticks(chart, canvas, low_y, high_y)
    ends = _last_values(chart)
    left, right = frame.edges(canvas, line_room(chart, canvas))
    x = Scale(low_x, high_x, left, right)
    places = [x(plain(mark.x)) for mark in chart.marks]
    top = 26 + badge_height(badge_rows(places)) + 8
    height = _COMPACT if chart.compact else _HEIGHT
    plot = Plot(x, Scale(low_y, high_y, top + height, top, log=chart.log_y), left, right, top, top + height)
    clip = el(
        "clipPath", el("rect", x=left - 6, y=top - 6, width=right - left + 12, height=height + 12), id=f"{prefix}-clip"
    )
    times = isinstance(xs[0], datetime)
    curves = [_curve(s, index, canvas, plot) for index, s in enumerate(chart.series)]
    return Picture(
        plot.bottom + 44,
        join(
            el("defs", clip),
            axis_titles(canvas, plot, chart.y_label or chart.title, x_title(chart.x_label, xs[0], "requests"), top=12),
            _bad_side(chart, plot),
            grid(plot, axis_ticks(low_x, high_x, canvas.x_ticks, times=times), y_ticks),
            el("g", curves, clip_path=f"url(#{prefix}-clip)"),
            _limit(chart, plot, canvas),
            badges(plot, chart.marks, places),
            _ends(chart, ends, plot),
        ),
    )


def _y_domain(chart: LineChart, values: Sequence[float]) -> tuple[float, float]:
    if chart.y_range is not None:
        return chart.y_range
    shown = [*values] if chart.threshold is None else [*values, chart.threshold.value]
    if chart.log_y:
        return 10.0 ** math.floor(math.log10(min(shown)) - 0.3), 10.0 ** math.ceil(math.log10(max(shown)) + 1e-9)
    low, high = padded(min(shown), max(shown))
    return (max(low, 0.0) if min(shown) >= 0 else low), high


def _y_ticks(chart: LineChart, canvas: Canvas, low: float, high: float) -> list[Tick]:
    count = 3 if chart.compact else canvas.y_ticks
    return log_ticks(low, high, count + 1) if chart.log_y else number_ticks(low, high, count, chart.unit)


def _curve(series: LineSeries, index: int, canvas: Canvas, plot: Plot) -> Markup:
    kept = thinned([y for _, y in series.points], canvas.points)
    runs = [
        [(plot.x(plain(x)), plot.y(y)) for x, y in run if y is not None]
        for known, run in groupby((series.points[i] for i in kept), key=lambda point: point[1] is not None)
        if known
    ]
    lines = [
        el(
            "path",
            d=path(run),
            fill="none",
            stroke="currentColor",
            stroke_width=2.2,
            stroke_linejoin="round",
            stroke_dasharray=DASHES[index] or None,
        )
        for run in runs
        if len(run) > 1
    ]
    places = [place for run in runs for place in run]
    dotted = (len(places) <= _DOTS and not canvas.narrow) or len(places) <= _DOTS // 2
    dots = places if dotted else [run[0] for run in runs if len(run) == 1] + places[-1:]
    return el("g", lines, [marker(index, x, y, size=3.6) for x, y in dots], class_=f"s{index + 1}")


def _bad_side(chart: LineChart, plot: Plot) -> Markup | None:
    limit = chart.threshold
    if limit is None or limit.bad_above is None:
        return None
    y = min(max(plot.y(limit.value), plot.top), plot.bottom)
    top, bottom = (plot.top, y) if limit.bad_above else (y, plot.bottom)
    shape = {"x": plot.left, "y": top, "width": plot.right - plot.left, "height": bottom - top}
    return el("rect", class_="bad", fill="currentColor", fill_opacity="0.06", **shape)


def _limit(chart: LineChart, plot: Plot, canvas: Canvas) -> Markup | None:
    limit = chart.threshold
    if limit is None:
        return None
    y = plot.y(limit.value)
    label = f"{limit.label} {brief(limit.value, chart.unit)}"
    above = y - 6 if y - plot.top > LINE else y + 16
    return join(
        line(plot.left, y, plot.right, y, "limit", dash="6 4", width=1.5),
        None if canvas.narrow else text(plot.left + 6, above, label, class_="halo limit"),
    )


def _ends(chart: LineChart, ends: Sequence[tuple[int, float]], plot: Plot) -> Markup:
    places = spread([plot.y(y) + 4 for _, y in ends], LINE, plot.top + 4, plot.bottom)
    return join(
        text(plot.right + 10, place, number(y, chart.unit), class_="strong")
        for (_, y), place in zip(ends, places, strict=True)
    )


def _legend(chart: LineChart) -> list[tuple[Markup, str]]:
    items = [
        (
            swatch(
                line(1, 7, 25, 7, f"s{index + 1}", dash=DASHES[index], width=2.2),
                el("g", marker(index, 13, 7, size=3.6), class_=f"s{index + 1}"),
            ),
            series.name,
        )
        for index, series in enumerate(chart.series)
    ]
    if chart.threshold is not None:
        limit = f"{chart.threshold.label} {brief(chart.threshold.value, chart.unit)}"
        side = {None: "", True: "; above it is unhealthy", False: "; below it is unhealthy"}[chart.threshold.bad_above]
        items.append((swatch(line(1, 7, 25, 7, "limit", dash="6 4", width=1.5)), limit + side))
    return items


def _data(chart: LineChart) -> Data:
    times = any(isinstance(x, datetime) for s in chart.series for x, _ in s.points)
    columns = (
        Column("Series"),
        Column("Time" if times else chart.x_label or "Requests"),
        Column(chart.y_label or "Value", chart.unit),
    )
    rows = tuple(
        (series.name, x if isinstance(x, datetime) else position(x), y)
        for series in chart.series
        for x, y in series.points
    )
    return Data(columns, rows)
