"""Draw an `IntervalChart`: line and band of a sequential comparison, with its first and only decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sentinelzer0.reports.canvas import (
    CHARACTER,
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
from sentinelzer0.reports.chart_values import Finding, IntervalChart, Unit
from sentinelzer0.reports.figure import Context, Data, Picture, figure
from sentinelzer0.reports.formats import brief, position, shorten
from sentinelzer0.reports.frame import Frame, Room
from sentinelzer0.reports.html import Markup, el, join
from sentinelzer0.reports.interval_words import counted, finding, interval_sentence, signed
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.running_band import RunningBand, running_band
from sentinelzer0.reports.scales import Scale, Tick, axis_ticks, number_ticks, padded, plain, thinned
from sentinelzer0.reports.theme import BAND_OPACITY, FADED_OPACITY
from sentinelzer0.reports.x_axis import x_domain, x_title

_HEIGHT = 250.0
_DECIDES = "decision, latched: the first look with enough samples that decides"
_SHOWS = "the first look that shows it; decides nothing by itself"
_WILD_START = 0.1  # share of the x axis that does not stretch the y axis


def interval_figure(chart: IntervalChart, context: Context) -> Markup:
    """Draw the chart with its surroundings."""
    band = running_band(chart.points, chart.min_samples, chart.decide_against)
    return figure(
        context,
        chart.title,
        interval_sentence(chart, band),
        lambda canvas, prefix: _picture(chart, band, canvas, prefix, context.frame),
        _data(chart, band),
        legend=[*interval_legend(chart), *_threshold_key(chart)] if context.legend else _threshold_key(chart),
        marks=chart.marks if context.legend else (),
        counted=counted(chart),
    )


def interval_extent(chart: IntervalChart) -> tuple[float, float] | None:
    """Return the x domain the chart needs; None without points."""
    found = () if chart.finding is None else (chart.finding.x,)
    return x_domain([p.x for p in chart.points], (*found, *(mark.x for mark in chart.marks))) if chart.points else None


def interval_room(chart: IntervalChart, canvas: Canvas) -> Room:
    """Return the room the labels left and right of the plot need."""
    if not chart.points:
        return 0.0, 0.0
    band = running_band(chart.points, chart.min_samples, chart.decide_against)
    ticks = _y_ticks(chart, band, canvas)[1]
    left = max((width_of(tick.label) for tick in ticks), default=0) + 12
    return left, max(width_of(label, strong=True) for label, _ in _end_labels(chart, band)) + 12


def _picture(chart: IntervalChart, band: RunningBand, canvas: Canvas, prefix: str, frame: Frame) -> Picture:
    points, extent = chart.points, interval_extent(chart)
    if extent is None:
        return Picture(60, text(0, 30, "No looks yet."))
    xs = [plain(p.x) for p in points]
    low_x, high_x = frame.x_extent(extent)
    (low_y, high_y), y_ticks = _y_ticks(chart, band, canvas)
    left, right = frame.edges(canvas, interval_room(chart, canvas))
    x = Scale(low_x, high_x, left, right)
    places = [x(plain(mark.x)) for mark in chart.marks]
    top = 26 + badge_height(badge_rows(places)) + 8
    bottom = top + _HEIGHT
    plot = Plot(x, Scale(low_y, high_y, bottom, top), left, right, top, bottom)
    better = "below" if chart.higher_is_better is False else "above"
    word = "higher" if chart.higher_is_better is None else "better"
    title = f"{chart.metric}, {chart.challenger} minus {chart.control}"
    hint = f"{title} ({better} zero: {chart.challenger} {word})"
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
            _ends(_end_labels(chart, band), plot),
        ),
    )


def _y_ticks(chart: IntervalChart, band: RunningBand, canvas: Canvas) -> tuple[tuple[float, float], list[Tick]]:
    low, high = _y_domain(chart, band, [plain(p.x) for p in chart.points])
    return (low, high), number_ticks(low, high, canvas.y_ticks, chart.unit, signed=True)


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
        line(plot.left, y, plot.right, y, "limit", dash="2 4", width=1.8),
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
    found = finding(chart, band)
    if found is not None:
        drawn.append(_flag(found, plot))
    if band.drifted is not None:
        x = plot.x(xs[band.drifted])
        drawn.append(line(x, plot.top, x, plot.bottom, "caution", dash="6 3", width=1.5))
        drawn.append(text(x - 6, plot.top + 10 + LINE, "! effect drifted", class_="halo caution", anchor="end"))
    return join(drawn)


def _flag(found: Finding, plot: Plot) -> Markup:
    x, tone = plot.x(plain(found.x)), str(found.tone)
    late = x > (plot.left + plot.right) / 2
    room = (x - plot.left if late else plot.right - x) - 11
    shape = path([(x - 7, plot.top), (x + 7, plot.top), (x, plot.top + 11)], close=True)
    words = shorten(found.words, int(room / (CHARACTER * 1.12)))
    flag = el("path", d=shape, fill="currentColor")
    label = text(
        x + (-11 if late else 11), plot.top + 10, words, class_="halo strong", anchor="end" if late else "start"
    )
    return join(el("g", line(x, plot.top, x, plot.bottom, tone, width=1.5), flag, class_=tone), label)


def _end_labels(chart: IntervalChart, band: RunningBand) -> list[tuple[str, float]]:
    values = (chart.points[-1].estimate, band.high[-1], band.low[-1])
    return [(signed(value, chart), value) for value in values]


def _ends(labels: Sequence[tuple[str, float]], plot: Plot) -> Markup:
    places = spread([plot.y(value) + 4 for _, value in labels], LINE, plot.top + 4, plot.bottom)
    return join(
        text(plot.right + 8, y, label, class_="strong" if index == 0 else "")
        for index, ((label, _), y) in enumerate(zip(labels, places, strict=True))
    )


def interval_legend(chart: IntervalChart) -> list[tuple[Markup, str]]:
    """Return swatch and meaning of every encoding but the threshold, which differs from chart to chart."""
    band = running_band(chart.points, chart.min_samples, chart.decide_against)
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
    found = finding(chart, band)
    if found is not None:
        flag = el("path", d="M6 2L20 2L13 13Z", fill="currentColor", class_=str(found.tone))
        items.append((swatch(flag), _DECIDES if chart.decides else _SHOWS))
    return items


def _threshold_key(chart: IntervalChart) -> list[tuple[Markup, str]]:
    if chart.threshold is None:
        return []
    words = f"{chart.threshold.label} {brief(chart.threshold.value, chart.unit, signed=True)}"
    return [(swatch(line(1, 7, 25, 7, "limit", dash="2 4", width=1.8)), words)]


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
