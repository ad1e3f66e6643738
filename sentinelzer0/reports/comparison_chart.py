"""Draw a `ComparisonChart`: every metric on one axis of relative change, better to the right."""

from __future__ import annotations

from dataclasses import dataclass

from sentinelzer0.reports.canvas import CHARACTER, Canvas, line, marker, path, swatch, text, width_of
from sentinelzer0.reports.chart_values import ComparisonChart, MetricRow, Unit
from sentinelzer0.reports.figure import Context, Data, Picture, figure
from sentinelzer0.reports.formats import DASH, cell, number, shorten
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.scales import Scale, number_ticks

_DIFFERENCE = {Unit.PERCENT: Unit.POINTS}
_ARROW = {1: "\N{BLACK UP-POINTING TRIANGLE}", -1: "\N{BLACK DOWN-POINTING TRIANGLE}", 0: "="}


@dataclass(frozen=True, slots=True)
class _Layout:
    name: float  # right edge of the metric names
    left: float  # plot
    right: float
    row: float  # height of a row
    dot: float  # y of the dots within the row
    label: float  # y of the text within the row


def comparison_figure(chart: ComparisonChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    return figure(
        context,
        chart.title,
        comparison_sentence(chart),
        lambda canvas, _: _picture(chart, canvas),
        _data(chart),
        legend=_legend(chart),
    )


def relative_gain(row: MetricRow, index: int) -> float | None:
    """Return the change of version ``index`` relative to the baseline, positive when better; None when undefined."""
    base, value = row.values[0], row.values[index]
    if base is None or value is None or base == 0:
        return None
    change = (value - base) / abs(base)
    return -change if row.higher_is_better is False else change


def comparison_sentence(chart: ComparisonChart) -> str:
    """Count what got better and worse, and name the metrics."""
    told = []
    for index, version in enumerate(chart.versions[1:], start=1):
        groups: dict[str, list[str]] = {"better": [], "worse": [], "equal": []}
        for row in chart.rows:
            if (word := judgement(row, index)) in groups:
                groups[word].append(row.name)
        parts = [f"{word} on {', '.join(names)}" for word, names in groups.items() if names]
        told.append(f"{version} against {chart.versions[0]}: {'; '.join(parts) if parts else 'nothing to judge'}.")
    return " ".join(told)


def judgement(row: MetricRow, index: int) -> str:
    """Return "better", "worse", "equal", "changed" (no direction) or "unknown"."""
    base, value = row.values[0], row.values[index]
    if base is None or value is None:
        return "unknown"
    if value == base:
        return "equal"
    if row.higher_is_better is None:
        return "changed"
    return "better" if (value > base) is row.higher_is_better else "worse"


def delta_text(row: MetricRow, index: int) -> str:
    """Write the difference to the baseline as arrow, number and word."""
    base, value = row.values[0], row.values[index]
    if base is None or value is None:
        return f"{DASH} unknown"
    change = value - base
    word = judgement(row, index)
    if word == "equal":
        return "= equal"
    unit = _DIFFERENCE.get(row.unit, row.unit)
    return f"{_ARROW[1 if change > 0 else -1]} {number(change, unit, signed=True)} {word}"


def _extent(chart: ComparisonChart) -> float:
    """Return the largest change the axis shows; a lone giant is cut off rather than flattening the rest."""
    gains = sorted(
        abs(gain)
        for row in chart.rows
        for index in range(1, len(chart.versions))
        if (gain := relative_gain(row, index)) is not None
    )
    if not gains or gains[-1] == 0:
        return 0.01
    middle = gains[len(gains) * 3 // 4 if len(gains) > 3 else -1] or gains[-1]
    return (gains[-1] if gains[-1] <= 4 * middle else 2 * middle) * 1.15


def _picture(chart: ComparisonChart, canvas: Canvas) -> Picture:
    if not chart.rows:
        return Picture(60, text(0, 30, "No metrics to compare."))
    extent = _extent(chart)
    layout = _layout(chart, canvas)
    x = Scale(-extent, extent, layout.left, layout.right)
    top = 30.0
    bottom = top + layout.row * len(chart.rows)
    ticks = number_ticks(-extent, extent, 3 if canvas.narrow else 6, Unit.PERCENT, signed=True)
    frame = [
        join(
            line(x(tick.value), top, x(tick.value), bottom, "grid"),
            text(
                x(tick.value),
                bottom + 18,
                tick.label if tick.value else chart.versions[0] if len(chart.versions[0]) < 12 else "baseline",
                anchor="middle",
            ),
        )
        for tick in ticks
    ]
    heads = join(
        text(x(0) - 10, 14, "\N{LEFTWARDS ARROW} worse", anchor="end"),
        text(x(0) + 10, 14, "better \N{RIGHTWARDS ARROW}"),
        text(layout.right, bottom + 36, "relative change, turned so that better is right", anchor="end"),
    )
    rows = [_row(chart, row, top + number_ * layout.row, layout, x, canvas) for number_, row in enumerate(chart.rows)]
    return Picture(bottom + 44, join(frame, line(x(0), top, x(0), bottom, "zero", width=1.4), heads, rows))


def _layout(chart: ComparisonChart, canvas: Canvas) -> _Layout:
    if canvas.narrow:
        return _Layout(canvas.width * 0.5, 14, canvas.width - 14, 54, 36, 15)
    names = min(max(width_of(row.name) for row in chart.rows), 190)
    right_text = max((width_of(_summary(chart, row)) for row in chart.rows), default=0) + 16
    return _Layout(names, names + 24, canvas.width - min(right_text, 330), 36, 18, 22)


def _summary(chart: ComparisonChart, row: MetricRow) -> str:
    if len(chart.versions) == 2:
        return f"{cell(row.values[0], row.unit)} \N{RIGHTWARDS ARROW} {cell(row.values[1], row.unit)}  {delta_text(row, 1)}"
    gains = [
        (gain, index) for index in range(1, len(chart.versions)) if (gain := relative_gain(row, index)) is not None
    ]
    if row.higher_is_better is None or not gains:
        return "no direction" if row.higher_is_better is None else "unknown"
    gain, index = max(gains)
    best = index if gain > 0 else 0
    return f"best: {chart.versions[best]}, {cell(row.values[best], row.unit)}"


def _row(chart: ComparisonChart, row: MetricRow, top: float, layout: _Layout, x: Scale, canvas: Canvas) -> Markup:
    y = top + layout.dot
    word = judgement(row, 1) if len(chart.versions) == 2 else ""
    class_ = {"better": "good", "worse": "bad"}.get(word, "ink")
    said = delta_text(row, 1) if canvas.narrow and len(chart.versions) == 2 else _summary(chart, row)
    name = shorten(row.name, int(layout.name / CHARACTER))
    dots = [
        _dot(row, index, y, x, class_ if len(chart.versions) == 2 else f"s{index + 1}")
        for index in range(1, len(chart.versions))
    ]
    return join(
        line(0, top, canvas.width, top, "grid"),
        text(0, top + layout.label, name, class_="strong"),
        text(canvas.width, top + layout.label, said, class_=class_, anchor="end"),
        el("g", marker(0, x(0), y, size=4.5), class_="neutral"),
        dots,
    )


def _dot(row: MetricRow, index: int, y: float, x: Scale, class_: str) -> Markup | None:
    gain = relative_gain(row, index)
    if gain is None:
        return None
    inside = min(max(gain, x.low), x.high)
    at = x(inside)
    tone = "neutral" if row.higher_is_better is None else class_
    stem = line(x(0), y, at, y, tone, width=2.5)
    if inside == gain:
        return el("g", stem, marker(index, at, y, size=5), class_=tone)
    tip = 9 if gain > 0 else -9
    return el(
        "g",
        stem,
        el("path", d=path([(at, y - 7), (at + tip, y), (at, y + 7)], close=True), fill="currentColor"),
        class_=tone,
    )


def _legend(chart: ComparisonChart) -> list[tuple[Markup, str]]:
    items = [(swatch(el("g", marker(0, 13, 7, size=4.5), class_="neutral")), f"{chart.versions[0]} (baseline)")]
    many = len(chart.versions) > 2
    for index, version in enumerate(chart.versions[1:], start=1):
        tone = f"s{index + 1}" if many else "ink"
        items.append((swatch(el("g", marker(index, 13, 7, size=5), class_=tone)), version))
    return items


def _data(chart: ComparisonChart) -> Data:
    changes = [f"Change of {version}" for version in chart.versions[1:]]
    columns = (
        Column("Metric"),
        *(Column(v, Unit.NUMBER) for v in chart.versions),
        *(Column(change) for change in changes),
    )
    rows = tuple(
        (row.name, *row.values, *(delta_text(row, index) for index in range(1, len(chart.versions))))
        for row in chart.rows
    )
    return Data(columns, rows)
