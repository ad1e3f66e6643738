"""Draw an `IntervalChart`: line and band of a sequential comparison, with its first and only decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sentinelzer0.reports.canvas import (
    LINE,
    Canvas,
    Plot,
    axis_titles,
    badge_height,
    badge_rows,
    badges,
    grid,
    line,
    path,
    spread,
    swatch,
    text,
    width_of,
)
from sentinelzer0.reports.chart_values import IntervalChart, Unit
from sentinelzer0.reports.figure import Context, Data, Picture, figure
from sentinelzer0.reports.formats import brief, number, place, position, sentence_case
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.running_band import RunningBand, running_band
from sentinelzer0.reports.scales import Scale, axis_ticks, number_ticks, padded, plain, thinned
from sentinelzer0.reports.theme import BAND_OPACITY, FADED_OPACITY
from sentinelzer0.reports.x_axis import x_domain, x_title

_HEIGHT = 250.0
_WILD_START = 0.1  # share of the x axis that does not stretch the y axis


def interval_figure(chart: IntervalChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    band = running_band(chart.points, chart.min_samples, chart.decide_against)
    return figure(
        context,
        chart.title,
        interval_sentence(chart, band),
        lambda canvas, prefix: _picture(chart, band, canvas, prefix),
        _data(chart, band),
        legend=_legend(chart, band),
        marks=chart.marks,
        counted=chart.x_label or "samples per arm",
    )


def interval_sentence(chart: IntervalChart, band: RunningBand) -> str:
    """Say what the picture shows."""
    if not chart.points:
        return "No looks yet."
    last = chart.points[-1]
    low, high = band.low[-1], band.high[-1]
    level = number(chart.confidence, Unit.PERCENT, decimals=0 if chart.confidence * 100 % 1 < 1e-9 else 1)
    found = (
        f"{chart.metric}, {chart.challenger} minus {chart.control}: {_signed(last.estimate, chart)}, "
        f"{level} confidence sequence {_signed(low, chart)} to {_signed(high, chart)}, valid however often one looks. "
    )
    return sentence_case(found + _outcome(chart, band))


def _outcome(chart: IntervalChart, band: RunningBand) -> str:
    last = chart.points[-1]
    if band.first_valid is None:
        return f"No verdict yet: {last.samples:,} of at least {chart.min_samples:,} samples per arm."
    reference = "zero" if chart.decide_against == 0 else brief(chart.decide_against, chart.unit, signed=True)
    if band.decided is None:
        outcome = f"Undecided after {last.samples:,} samples per arm: the band still holds {reference}."
    else:
        first = chart.points[band.decided]
        where = "" if not isinstance(first.x, datetime) else f", {position(first.x)}"
        outcome = (
            f"{_finding(chart, band)}: the first look with enough samples that excludes {reference} came at "
            f"{first.samples:,} samples per arm{where}."
        )
    if band.drifted is not None:
        outcome += (
            f" The effect drifted at {place(chart.points[band.drifted].x, chart.x_label or 'samples per arm')}: "
            "later intervals contradict earlier ones, so no single effect fits the whole test."
        )
    return outcome


def _finding(chart: IntervalChart, band: RunningBand) -> str:
    good_side = band.above is chart.higher_is_better
    if chart.decide_against == 0:
        return f"{chart.challenger} is {'better' if good_side else 'worse'}"
    return f"{chart.challenger} is {'within' if good_side else 'beyond'} the margin"


def _picture(chart: IntervalChart, band: RunningBand, canvas: Canvas, prefix: str) -> Picture:
    points = chart.points
    if not points:
        return Picture(60, text(0, 30, "No looks yet."))
    xs = [plain(p.x) for p in points]
    low_x, high_x = x_domain([p.x for p in points])
    low_y, high_y = _y_domain(chart, band, xs)
    y_ticks = number_ticks(low_y, high_y, canvas.y_ticks, chart.unit, signed=True)
    left = max((width_of(tick.label) for tick in y_ticks), default=0) + 12
    ends = _end_labels(chart, band)
    right = canvas.width - max(width_of(label, strong=True) for label, _ in ends) - 12
    x = Scale(low_x, high_x, left, right)
    places = [x(plain(mark.x)) for mark in chart.marks]
    top = 26 + badge_height(badge_rows(places)) + 8
    bottom = top + _HEIGHT
    plot = Plot(x, Scale(low_y, high_y, bottom, top), left, right, top, bottom)
    better = "above" if chart.higher_is_better else "below"
    title = f"{chart.metric}, {chart.challenger} minus {chart.control}"
    hint = f"{title} ({better} zero: {chart.challenger} better)"
    title = hint if width_of(hint) <= canvas.width else title
    clip = el("clipPath", el("rect", x=left, y=top, width=right - left, height=_HEIGHT), id=f"{prefix}-clip")
    return Picture(
        bottom + 44,
        join(
            el("defs", clip),
            axis_titles(canvas, plot, title, x_title(chart.x_label, points[0].x, "samples per arm"), top=12),
            grid(plot, axis_ticks(low_x, high_x, canvas.x_ticks, times=isinstance(points[0].x, datetime)), y_ticks),
            el("g", _curves(chart, band, canvas, plot, xs), clip_path=f"url(#{prefix}-clip)"),
            _references(chart, plot, canvas),
            badges(plot, chart.marks, places),
            None if canvas.narrow else _minimum(band, plot, xs),
            _decision(chart, band, plot, xs),
            _ends(ends, plot),
        ),
    )


def _y_domain(chart: IntervalChart, band: RunningBand, xs: Sequence[float]) -> tuple[float, float]:
    calm = xs[0] + _WILD_START * (xs[-1] - xs[0])
    start = next(index for index, x in enumerate(xs) if x >= calm)
    start = min(max(start, band.first_valid or 0), len(xs) - 1)
    values = [0.0, chart.decide_against, *band.low[start:], *band.high[start:]]
    values += [point.estimate for point in chart.points[start:]]
    if chart.threshold is not None:
        values.append(chart.threshold.value)
    return padded(min(values), max(values))


def _curves(chart: IntervalChart, band: RunningBand, canvas: Canvas, plot: Plot, xs: Sequence[float]) -> Markup:
    count = len(xs)
    valid = count - 1 if band.first_valid is None else band.first_valid
    drifted = count if band.drifted is None else band.drifted
    kept = set(thinned([point.estimate for point in chart.points], canvas.points)) | {valid, count - 1}
    kept |= {index for index in (band.decided, drifted - 1, drifted) if index is not None and index < count}
    shown = sorted(kept)
    solid = [index for index in shown if valid <= index < drifted] if band.first_valid is not None else []
    parts = [
        ([index for index in shown if index <= valid], FADED_OPACITY, "3 3"),
        (solid, BAND_OPACITY, ""),
        ([index for index in shown if index >= drifted], FADED_OPACITY, "3 3"),
    ]
    return el("g", [_part(chart, band, plot, xs, *part) for part in parts], class_="s1")


def _part(
    chart: IntervalChart,
    band: RunningBand,
    plot: Plot,
    xs: Sequence[float],
    indices: list[int],
    opacity: float,
    dash: str,
) -> Markup | None:
    if len(indices) < 2:
        return None
    upper = [(plot.x(xs[i]), _near(plot, band.high[i])) for i in indices]
    lower = [(plot.x(xs[i]), _near(plot, band.low[i])) for i in indices]
    middle = [(plot.x(xs[i]), _near(plot, chart.points[i].estimate)) for i in indices]
    edge = {"fill": "none", "stroke": "currentColor", "stroke_dasharray": dash or None}
    return join(
        el("path", d=path([*upper, *reversed(lower)], close=True), fill="currentColor", fill_opacity=f"{opacity:g}"),
        el("path", d=path(upper), stroke_width=1.0, stroke_opacity="0.55", **edge),
        el("path", d=path(lower), stroke_width=1.0, stroke_opacity="0.55", **edge),
        el("path", d=path(middle), stroke_width=1.2 if dash else 2.2, stroke_linejoin="round", **edge),
    )


def _near(plot: Plot, value: float) -> float:
    """Keep far-away points finite and close: the clip path cuts them anyway."""
    return min(max(plot.y(value), plot.top - 400), plot.bottom + 400)


def _references(chart: IntervalChart, plot: Plot, canvas: Canvas) -> Markup:
    zero = line(plot.left, plot.y(0), plot.right, plot.y(0), "zero", width=1.4)
    if chart.threshold is None:
        return zero
    y = plot.y(chart.threshold.value)
    label = f"{chart.threshold.label} {brief(chart.threshold.value, chart.unit, signed=True)}"
    return join(
        zero,
        line(plot.left, y, plot.right, y, "limit", dash="6 4", width=1.5),
        None if canvas.narrow else text(plot.left + 6, y - 5, label, class_="halo limit"),
    )


def _minimum(band: RunningBand, plot: Plot, xs: Sequence[float]) -> Markup | None:
    if not band.first_valid:
        return None
    x = plot.x(xs[band.first_valid])
    late = x > (plot.left + plot.right) / 2
    y, zero = plot.bottom - 7, plot.y(0)
    if y - LINE < zero < y + 6:
        y = zero - 8  # the words stand above the line, not on it
    return join(
        line(x, plot.top, x, plot.bottom, "neutral", dash="1 3", width=1.5),
        text(x + (-6 if late else 6), y, "minimum sample", class_="halo", anchor="end" if late else "start"),
    )


def _decision(chart: IntervalChart, band: RunningBand, plot: Plot, xs: Sequence[float]) -> Markup | None:
    drawn: list[Markup] = []
    if band.decided is not None:
        x = plot.x(xs[band.decided])
        class_ = "good" if band.above is chart.higher_is_better else "bad"
        late = x > (plot.left + plot.right) / 2
        flag = el(
            "path", d=path([(x - 7, plot.top), (x + 7, plot.top), (x, plot.top + 11)], close=True), fill="currentColor"
        )
        words = text(
            x + (-11 if late else 11),
            plot.top + 10,
            _finding(chart, band),
            class_="halo strong",
            anchor="end" if late else "start",
        )
        drawn.append(el("g", line(x, plot.top, x, plot.bottom, class_, width=1.5), flag, class_=class_))
        drawn.append(words)
    if band.drifted is not None:
        x = plot.x(xs[band.drifted])
        drawn.append(line(x, plot.top, x, plot.bottom, "caution", dash="6 3", width=1.5))
        drawn.append(text(x - 6, plot.top + 10 + LINE, "! effect drifted", class_="halo caution", anchor="end"))
    return join(drawn)


def _end_labels(chart: IntervalChart, band: RunningBand) -> list[tuple[str, float]]:
    values = (chart.points[-1].estimate, band.high[-1], band.low[-1])
    return [(_signed(value, chart), value) for value in values]


def _ends(labels: Sequence[tuple[str, float]], plot: Plot) -> Markup:
    places = spread([plot.y(value) + 4 for _, value in labels], LINE, plot.top + 4, plot.bottom)
    return join(
        text(plot.right + 8, y, label, class_="strong" if index == 0 else "")
        for index, ((label, _), y) in enumerate(zip(labels, places, strict=True))
    )


def _signed(value: float, chart: IntervalChart) -> str:
    return number(value, chart.unit, signed=True)


def _legend(chart: IntervalChart, band: RunningBand) -> list[tuple[Markup, str]]:
    items = [
        (swatch(line(1, 7, 25, 7, "s1", width=2.2)), "estimate"),
        (swatch(_block(BAND_OPACITY)), "running interval, may only narrow"),
    ]
    if band.first_valid != 0 or band.drifted is not None:
        early = f"before {chart.min_samples:,} samples per arm" if band.first_valid != 0 else ""
        late = "after the drift" if band.drifted is not None else ""
        faded_words = f"{' and '.join(part for part in (early, late) if part)}: takes no part in the verdict"
        faded = _block(FADED_OPACITY)
        items.append((swatch(faded, line(1, 7, 25, 7, "s1", dash="3 3", width=1.2)), faded_words))
    items.append((swatch(line(1, 7, 25, 7, "zero", width=1.4)), "no difference"))
    if chart.threshold is not None:
        items.append(
            (
                swatch(line(1, 7, 25, 7, "limit", dash="6 4", width=1.5)),
                f"{chart.threshold.label} {brief(chart.threshold.value, chart.unit, signed=True)}",
            )
        )
    if band.decided is not None:
        tone = "good" if band.above is chart.higher_is_better else "bad"
        flag = el("path", d="M6 2L20 2L13 13Z", fill="currentColor", class_=tone)
        items.append((swatch(flag), "decision, latched: the first look with enough samples that decides"))
    return items


def _block(opacity: float) -> Markup:
    return el("path", d="M1 1L25 1L25 13L1 13Z", fill="currentColor", fill_opacity=f"{opacity:g}", class_="s1")


def _data(chart: IntervalChart, band: RunningBand) -> Data:
    columns = (
        Column(
            "Time" if chart.points and isinstance(chart.points[0].x, datetime) else chart.x_label or "Samples per arm"
        ),
        Column("Samples per arm", Unit.COUNT),
        Column("Estimate", chart.unit),
        Column("Interval low", chart.unit),
        Column("Interval high", chart.unit),
        Column("Band low", chart.unit),
        Column("Band high", chart.unit),
    )
    rows = tuple(
        (
            point.x if isinstance(point.x, datetime) else position(point.x),
            point.samples,
            point.estimate,
            point.low,
            point.high,
            low,
            high,
        )
        for point, low, high in zip(chart.points, band.low, band.high, strict=True)
    )
    return Data(columns, rows)
