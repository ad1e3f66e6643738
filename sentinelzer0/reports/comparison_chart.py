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

_LANE = 9.0
_DIFFERENCE = {Unit.PERCENT: Unit.POINTS}
_ARROW = {
    1: "\N{BLACK UP-POINTING TRIANGLE}",
    -1: "\N{BLACK DOWN-POINTING TRIANGLE}",
}


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
        return "equal"
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
    runner_up = gains[-2] if len(gains) > 1 and gains[-2] > 0 else gains[-1]
    return (gains[-1] if gains[-1] <= 4 * runner_up else runner_up) * 1.15


def _picture(chart: ComparisonChart, canvas: Canvas) -> Picture:
    if not chart.rows:
        return Picture(60, text(0, 30, "No metrics to compare."))
    extent = _extent(chart)
    layout = _layout(chart, canvas)
    x = Scale(-extent, extent, layout.left, layout.right)
    top = 30.0
    bottom = top + layout.row * len(chart.rows)
    ticks = number_ticks(-extent, extent, 4 if canvas.narrow else 6, Unit.PERCENT, signed=True)
    base = chart.versions[0] if len(chart.versions[0]) < 12 else "baseline"
    frame = [
        join(
            line(x(tick.value), top, x(tick.value), bottom, "grid"),
            text(x(tick.value), bottom + 18, tick.label if abs(tick.value) > 1e-12 else base, anchor="middle"),
        )
        for tick in ticks
    ]
    heads = join(
        text(x(0) - 10, 14, "\N{LEFTWARDS ARROW} worse", anchor="end"),
        text(x(0) + 10, 14, "better \N{RIGHTWARDS ARROW}"),
        text(layout.right, bottom + 36, "relative change, turned so that better is right", anchor="end"),
    )
    tops = [top + index * layout.row for index in range(len(chart.rows))]
    frame += [line(0, y, canvas.width, y, "grid") for y in tops]
    baseline = line(x(0), top, x(0), bottom, "zero", width=1.4)
    rows = [_row(chart, row, y, layout, x, canvas) for row, y in zip(chart.rows, tops, strict=True)]
    return Picture(bottom + 44, join(frame, baseline, heads, rows))


def _layout(chart: ComparisonChart, canvas: Canvas) -> _Layout:
    lanes = (len(chart.versions) - 1) * _LANE
    if canvas.narrow:
        return _Layout(canvas.width * 0.5, 14, canvas.width - 14, 46 + lanes, 31 + lanes / 2, 15)
    names = min(max(width_of(row.name) for row in chart.rows), 190)
    right_text = max((width_of(_summary(chart, row), strong=True) for row in chart.rows), default=0) + 16
    return _Layout(names, names + 24, canvas.width - min(right_text, 330), 28 + lanes, 14 + lanes / 2, 18 + lanes / 2)


def _summary(chart: ComparisonChart, row: MetricRow) -> str:
    if len(chart.versions) == 2:
        return f"{_values(row)}   {delta_text(row, 1)}"
    gains = [
        (gain, index) for index in range(1, len(chart.versions)) if (gain := relative_gain(row, index)) is not None
    ]
    if row.higher_is_better is None or not gains:
        return "no direction" if row.higher_is_better is None else "unknown"
    gain, index = max(gains)
    best = index if gain > 0 else 0
    return f"best: {chart.versions[best]}, {cell(row.values[best], row.unit)}"


def _values(row: MetricRow) -> str:
    return f"{cell(row.values[0], row.unit)} \N{RIGHTWARDS ARROW} {cell(row.values[1], row.unit)}"


def _row(chart: ComparisonChart, row: MetricRow, top: float, layout: _Layout, x: Scale, canvas: Canvas) -> Markup:
    y = top + layout.dot
    pair = len(chart.versions) == 2
    drawn = [
        _dot(index, gain, y + _lane(index, chart), x, _tone(row, index, pair=pair), stem=2.5 if pair else 1.5)
        for index in range(1, len(chart.versions))
        if (gain := relative_gain(row, index)) is not None
    ]
    return join(
        text(0, top + layout.label, shorten(row.name, int(layout.name / CHARACTER)), class_="strong"),
        _conclusion(chart, row, top + layout.label, canvas),
        el("g", marker(0, x(0), y, size=4.5), class_="neutral"),
        drawn,
    )


def _lane(index: int, chart: ComparisonChart) -> float:
    """Keep equal values of several versions apart."""
    return (index - len(chart.versions) / 2) * _LANE


def _tone(row: MetricRow, index: int, *, pair: bool) -> str:
    if not pair:
        return f"s{index + 1}"
    return {"better": "good", "worse": "bad"}.get(judgement(row, index), "neutral")


def _conclusion(chart: ComparisonChart, row: MetricRow, y: float, canvas: Canvas) -> Markup:
    if len(chart.versions) > 2:
        return text(canvas.width, y, _summary(chart, row), class_="ink", anchor="end")
    change = el("tspan", delta_text(row, 1), class_=f"strong {_tone(row, 1, pair=True)}")
    values = "" if canvas.narrow else f"{_values(row)}   "
    return text(canvas.width, y, join(values, change), anchor="end")


def _dot(index: int, gain: float, y: float, x: Scale, class_: str, *, stem: float) -> Markup:
    at = x(min(max(gain, x.low), x.high))
    stick = line(x(0), y, at, y, class_, width=stem)
    if x.low <= gain <= x.high:
        return el("g", stick, marker(index, at, y, size=7, class_="gap"), marker(index, at, y, size=4.5), class_=class_)
    tip = 9 if gain > 0 else -9
    arrow = path([(at, y - 6), (at + tip, y), (at, y + 6)], close=True)
    return el("g", stick, el("path", d=arrow, fill="currentColor"), class_=class_)


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
        Column("Unit"),
        *(Column(v, Unit.NUMBER) for v in chart.versions),
        *(Column(change) for change in changes),
    )
    rows = tuple(
        (row.name, str(row.unit), *row.values, *(delta_text(row, index) for index in range(1, len(chart.versions))))
        for row in chart.rows
    )
    return Data(columns, rows)
