"""The charts of an A/B test, from its looks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from sentinelzer0.reports.ab_values import STATES, ABReport, margin_of
from sentinelzer0.reports.chart_values import (
    MAX_SERIES,
    Finding,
    IntervalChart,
    IntervalPoint,
    Lane,
    LaneChart,
    LineChart,
    LineSeries,
    Mark,
    Threshold,
    Tone,
    TrafficChart,
    TrafficStep,
    Unit,
    X,
)
from sentinelzer0.reports.formats import number, place, sentence_case
from sentinelzer0.reports.scales import plain

_LEAST_P = 1e-12  # smaller p-values are drawn here
_PASSED, _VIOLATED = "passed", "violated"


def interval_chart(report: ABReport, version: str, metric: str, marks: tuple[Mark, ...]) -> IntervalChart | None:
    """Return the difference of a challenger and the control over the looks; None with fewer than two of them.

    Args:
        report: The test.
        version: The challenger.
        metric: The metric.
        marks: What happened on the way.
    """
    points = _points(report, version, metric)
    if len(points) < 2:
        return None
    words = report.words(metric)
    compared = report.comparisons[version].get(metric, {})
    decides = metric == report.primary
    guardrail = _guardrail(report, version, metric)
    finding = None
    if decides:
        finding = _verdict(report, version)
    elif guardrail is not None:
        finding = _settled(report, version, metric)
    many = len(report.challengers) > 1
    return IntervalChart(
        title=sentence_case(f"{words.name}, {version} against {report.control}" if many else words.name),
        points=points,
        control=report.control,
        challenger=version,
        metric=words.name,
        unit=words.difference,
        higher_is_better=words.higher_is_better,
        confidence=1.0 - float(compared.get("alpha") or report.results["statistical_significance"]["alpha"]),
        min_samples=report.min_samples,
        threshold=_threshold(report, guardrail, compared, metric),
        marks=marks,
        x_label=report.x_label,
        finding=finding,
        read_band=not decides and guardrail is None,
        decides=decides,
    )


def ramp_marks(report: ABReport) -> tuple[Mark, ...]:
    """Return the changes of shares after the start."""
    phases = report.results.get("phases") or []
    marks = []
    for before, phase in pairwise(phases):
        first = next((look["events"] for look in report.looks if look.get("phase", 0) >= phase["phase"]), None)
        x = report.x_of(phase["at"], first)
        if x is not None:
            marks.append(Mark(x, _change(report, before["shares"], phase["shares"])))
    return tuple(marks)


def mismatch_strip(report: ABReport, marks: tuple[Mark, ...]) -> LineChart | None:
    """Return the sequential p-value of the split of the traffic; None where nothing is split or nothing was looked at."""
    srm = report.results.get("srm")
    if srm is None or report.results.get("shadow"):
        return None
    points = [
        (x, max(float(look["srm"]["p_value"]), _LEAST_P))
        for look in report.looks
        if "srm" in look and (x := _x(report, look)) is not None
    ]
    if len(points) < 2:
        return None
    alpha = float(srm["alpha"])
    return LineChart(
        title="Sample ratio: is the traffic split as it was meant to be?",
        series=(LineSeries("Sequential p-value", tuple(points)),),
        y_label="sequential p-value, valid at every look",
        x_label=report.x_label,
        threshold=Threshold(alpha, "alarm level", bad_above=False),
        marks=marks,
        y_range=(min(alpha / 10, min(p for _, p in points) / 2), 1.0),
        log_y=True,
        compact=True,
    )


def guardrail_lanes(report: ABReport, marks: tuple[Mark, ...]) -> LaneChart | None:
    """Return the states of the guardrails over the looks; None without guardrails or looks."""
    looks = [look for look in report.looks if look.get("guardrails") and _x(report, look) is not None]
    if not looks or not report.guardrails:
        return None
    many = len(report.challengers) > 1
    lanes = []
    for guardrail in report.guardrails:
        version, metric = str(guardrail["version"]), str(guardrail["metric"])
        states = [
            (x, *STATES[state])
            for look in looks
            if (x := _x(report, look)) is not None and (state := _state(look, version, metric)) is not None
        ]
        name = sentence_case(report.words(metric).name)
        lanes.append(Lane(f"{name} of {version}" if many else name, tuple(states)))
    end = _x(report, looks[-1])
    return None if end is None else LaneChart("Guardrails over the looks", tuple(lanes), end, marks, report.x_label)


def traffic_chart(report: ABReport) -> TrafficChart | None:
    """Return the shares by phase; None for one phase, for too many arms, and where x is no time."""
    phases = report.results.get("phases") or []
    if len(phases) < 2 or not report.over_time or len(phases[0]["shares"]) >= MAX_SERIES or not report.looks:
        return None
    steps = []
    for phase in phases:
        shares = [(str(version), float(share)) for version, share in phase["shares"].items()]
        rest = 1.0 - sum(share for _, share in shares)
        if rest > 1e-9:
            shares.append(("holdout", rest))
        at = report.x_of(phase["at"], None)
        if at is not None:
            steps.append(TrafficStep(at, tuple(shares)))
    end = max([_x(report, report.looks[-1]), steps[-1].x], key=lambda x: plain(x) if x is not None else 0.0)
    return None if end is None else TrafficChart("Shares of the traffic", tuple(steps), end)


def _points(report: ABReport, version: str, metric: str) -> tuple[IntervalPoint, ...]:
    points = []
    for look in report.looks:
        found = look.get("comparisons", {}).get(version, {}).get(metric)
        x = _x(report, look)
        if found is None or x is None or found["difference"] is None or found["interval"] is None:
            continue
        words = report.words(metric)
        low, high = words.possible(found["interval"])
        if low is None or high is None:
            continue
        lower, upper = words.possible((found.get("low"), found.get("high")))
        band = None if lower is None or upper is None else (lower, upper)
        samples = min(found["samples_a"], found["samples_b"])
        points.append(IntervalPoint(x, found["difference"], low, high, samples, band))
    return tuple(points)


def _x(report: ABReport, look: Mapping[str, Any]) -> X | None:
    return report.x_of(look["recorded_at"], look["events"])


def _state(look: Mapping[str, Any], version: str, metric: str) -> str | None:
    state = look["guardrails"].get(version, {}).get(metric)
    return None if state is None else str(state)


def _guardrail(report: ABReport, version: str, metric: str) -> Mapping[str, Any] | None:
    return next((g for g in report.guardrails if g["metric"] == metric and g["version"] == version), None)


def _threshold(
    report: ABReport, guardrail: Mapping[str, Any] | None, compared: Mapping[str, Any], metric: str
) -> Threshold | None:
    higher = report.words(metric).higher_is_better
    effect = report.settings.get("minimum_effect")
    if metric == report.primary and effect is not None:
        return Threshold(float(effect) if higher is not False else -float(effect), "minimum effect")
    if guardrail is None:
        return None
    value = margin_of(guardrail, compared.get("model_a"), higher_is_better=higher)
    return None if value is None else Threshold(value, "margin")


def _verdict(report: ABReport, version: str) -> Finding | None:
    """Return the mark of the verdict, at the look that decided."""
    decision = report.decision
    if not decision.get("latched"):
        return None
    look = next((look for look in report.looks if look["decision"] == decision["action"]), None)
    reached = report.x_of(decision.get("reached_at"), decision.get("events"))
    x = reached if look is None else _x(report, look)
    if x is None:
        return None
    words, tone = verdict_words(decision, report.control, version)
    return Finding(x, words, tone, f"The verdict: {words}, at {place(x, report.x_label)}, the first look that decides.")


def verdict_words(decision: Mapping[str, Any], control: str, version: str) -> tuple[str, Tone]:
    """Return a verdict in a few words, as seen from one challenger, and what it means."""
    match decision["action"], decision.get("winner"):
        case "promote", winner if winner == version:
            return f"{version} is better", Tone.GOOD
        case "promote", winner:
            return f"decided for {winner}", Tone.NEUTRAL
        case "keep", winner if winner == control:
            return f"{version} is worse", Tone.BAD
        case "keep", _:
            return "not better by what was asked for", Tone.CAUTION
        case "stop_guardrail", _:
            return "stopped by a guardrail", Tone.BAD
        case "invalid", _:
            return "invalid", Tone.CAUTION
        case _:
            return "undecided", Tone.NEUTRAL


def _settled(report: ABReport, version: str, metric: str) -> Finding | None:
    """Return where a guardrail was settled first; harm goes before all."""
    for wanted, words, tone in (
        (_VIOLATED, "proven worse than the margin", Tone.BAD),
        (_PASSED, "proven not worse than the margin", Tone.GOOD),
    ):
        for look in report.looks:
            x = _x(report, look)
            if x is not None and look.get("guardrails") and _state(look, version, metric) == wanted:
                where = place(x, report.x_label)
                return Finding(x, wanted, tone, f"Guardrail {wanted}: {words}, first at {where}.")
    return None


def _change(report: ABReport, before: Mapping[str, float], after: Mapping[str, float]) -> str:
    challenged = [version for version in after if version != report.control]
    if all(after[version] == 0 for version in challenged):
        return "paused: all traffic to the control"
    moved = [version for version in challenged if after[version] != before.get(version, 0.0)] or challenged
    return ", ".join(
        f"share of {version} {number(after[version], Unit.PERCENT, decimals=_places(after[version]))}"
        for version in moved
    )


def _places(share: float) -> int:
    return next((count for count in (0, 1) if abs(round(share * 100, count) - share * 100) < 1e-9), 2)
