"""Draw charts that share an x domain: one beneath the other with equal edges, or abreast as small multiples."""

from __future__ import annotations

from dataclasses import replace

from sentinelzer0.reports.canvas import NARROW, Canvas
from sentinelzer0.reports.chart_values import IntervalChart, LineChart
from sentinelzer0.reports.figure import Context, mark_list
from sentinelzer0.reports.frame import Frame, Room, widest
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.interval_chart import interval_extent, interval_figure, interval_legend, interval_room
from sentinelzer0.reports.interval_words import counted
from sentinelzer0.reports.lane_chart import lane_extent, lane_figure, lane_room
from sentinelzer0.reports.line_chart import line_extent, line_figure, line_room
from sentinelzer0.reports.page_values import Alignable, Aligned, Panels


def draw_alignable(chart: Alignable, context: Context) -> Markup:
    """Draw one chart."""
    match chart:
        case IntervalChart():
            return interval_figure(chart, context)
        case LineChart():
            return line_figure(chart, context)
        case _:
            return lane_figure(chart, context)


def aligned_figures(block: Aligned, context: Context) -> Markup:
    """Draw charts over one x axis; all plots begin and end at the same places. The first explains the marks."""
    rooms = {
        canvas.name: widest([(0.0, 0.0), *(_room(chart, canvas) for chart in block.charts)])
        for canvas in context.canvases
    }
    frame = Frame(_domain(block.charts), rooms)
    return join(_draw(block.charts, context, frame))


def panel_figures(block: Panels, context: Context) -> Markup:
    """Draw small multiples in a grid, with one explanation beneath."""
    narrow = replace(context, canvases=(NARROW,), frame=Frame(_domain(block.charts)), legend=False)
    drawn = [
        interval_figure(chart, replace(narrow, prefix=f"{context.prefix}c{number}"))
        for number, chart in enumerate(block.charts, start=1)
    ]
    return join(el("div", drawn, class_="panels"), _explained(block.charts))


def _explained(charts: tuple[IntervalChart, ...]) -> Markup:
    """Write once what all panels have in common: the encodings and the marks."""
    keys = {words: key for chart in charts for key, words in interval_legend(chart)}
    return el(
        "div",
        el("ul", [el("li", key, el("span", words)) for words, key in keys.items()], class_="legend"),
        mark_list(charts[0].marks, counted(charts[0])),
        class_="box",
    )


def _draw(charts: tuple[Alignable, ...], context: Context, frame: Frame) -> list[Markup]:
    drawn = []
    for number, chart in enumerate(charts, start=1):
        explained = number > 1 and chart.marks == charts[0].marks
        inner = replace(context, prefix=f"{context.prefix}c{number}", frame=frame, legend=not explained)
        drawn.append(draw_alignable(chart, inner))
    return drawn


def _domain(charts: tuple[Alignable, ...]) -> tuple[float, float] | None:
    extents = [extent for chart in charts if (extent := _extent(chart)) is not None]
    if not extents:
        return None
    return min(low for low, _ in extents), max(high for _, high in extents)


def _extent(chart: Alignable) -> tuple[float, float] | None:
    match chart:
        case IntervalChart():
            return interval_extent(chart)
        case LineChart():
            return line_extent(chart)
        case _:
            return lane_extent(chart)


def _room(chart: Alignable, canvas: Canvas) -> Room:
    match chart:
        case IntervalChart():
            return interval_room(chart, canvas)
        case LineChart():
            return line_room(chart, canvas)
        case _:
            return lane_room(chart, canvas)
