"""What an `IntervalChart` says in words, and what was found at which of its looks."""

from __future__ import annotations

from datetime import datetime

from sentinelzer0.reports.chart_values import Finding, IntervalChart, Tone, Unit
from sentinelzer0.reports.formats import brief, number, place, position, sentence_case
from sentinelzer0.reports.running_band import RunningBand


def interval_sentence(chart: IntervalChart, band: RunningBand) -> str:
    """Say what the picture shows."""
    if not chart.points:
        return "No looks yet."
    last = chart.points[-1]
    low, high = band.low[-1], band.high[-1]
    level = number(chart.confidence, Unit.PERCENT, decimals=_decimals(chart.confidence))
    found = (
        f"{chart.metric}, {chart.challenger} minus {chart.control}: {signed(last.estimate, chart)}, "
        f"{level} confidence sequence {signed(low, chart)} to {signed(high, chart)}, valid however often one looks. "
    )
    return sentence_case(found + _outcome(chart, band))


def finding(chart: IntervalChart, band: RunningBand) -> Finding | None:
    """Return what was found: as given, or the first valid look whose band leaves the reference; None for nothing."""
    if chart.finding is not None or not chart.read_band:
        return chart.finding
    if band.decided is None:
        return None
    first = chart.points[band.decided]
    words = _found(chart, band)
    where = "" if not isinstance(first.x, datetime) else f", {position(first.x)}"
    sentence = (
        f"{words}: the first look with enough samples that excludes {_reference(chart)} came at "
        f"{first.samples:,} samples per arm{where}."
    )
    tone = Tone.GOOD if band.above is chart.higher_is_better else Tone.BAD
    return Finding(first.x, words, Tone.NEUTRAL if chart.higher_is_better is None else tone, sentence)


def signed(value: float, chart: IntervalChart) -> str:
    """Write a difference."""
    return number(value, chart.unit, signed=True)


def counted(chart: IntervalChart) -> str:
    """Return what a numeric x counts."""
    return chart.x_label or "samples per arm"


def _outcome(chart: IntervalChart, band: RunningBand) -> str:
    last = chart.points[-1]
    found = finding(chart, band)
    if found is not None:
        outcome = found.sentence or f"{found.words}, found at {place(found.x, counted(chart))}."
    elif band.first_valid is None:
        outcome = f"No verdict yet: {last.samples:,} of at least {chart.min_samples:,} samples per arm."
    elif band.decided is None:
        outcome = f"Undecided after {last.samples:,} samples per arm: the band still holds {_reference(chart)}."
    else:
        outcome = f"The band excludes {_reference(chart)}, which alone decides nothing here."
    if band.drifted is not None:
        outcome += (
            f" The effect drifted at {place(chart.points[band.drifted].x, counted(chart))}: "
            "later intervals contradict earlier ones, so no single effect fits the whole test."
        )
    return outcome


def _reference(chart: IntervalChart) -> str:
    return "zero" if chart.decide_against == 0 else brief(chart.decide_against, chart.unit, signed=True)


def _found(chart: IntervalChart, band: RunningBand) -> str:
    if chart.higher_is_better is None:
        return f"{chart.challenger} is {'higher' if band.above else 'lower'}"
    good_side = band.above is chart.higher_is_better
    if chart.decide_against == 0:
        return f"{chart.challenger} is {'better' if good_side else 'worse'}"
    return f"{chart.challenger} is {'within' if good_side else 'beyond'} the margin"


def _decimals(confidence: float) -> int:
    return next((count for count in (0, 1, 2) if abs(round(confidence * 100, count) - confidence * 100) < 1e-9), 2)
