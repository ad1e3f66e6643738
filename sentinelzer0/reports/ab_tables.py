"""The tables of the report of an A/B test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sentinelzer0.reports.ab_values import STATES, ABReport, MetricWords, metric_order, metrics_without_data, no_data
from sentinelzer0.reports.chart_values import Tone, Unit
from sentinelzer0.reports.formats import DASH, NBSP, brief, number, span
from sentinelzer0.reports.page_values import Cell, Column, State, Table

_COUNTS = {
    "total_requests": "Requests",
    "failed_requests": "Failed",
    "true_positives": "Attacks flagged",
    "false_negatives": "Attacks missed",
    "false_positives": "Benign flagged",
    "true_negatives": "Benign passed",
    "late_requests": "After the end (not counted)",
}
_QUANTILES = {"latency_p50_ms": "Median", "latency_p95_ms": "95th percentile", "latency_p99_ms": "99th percentile"}
_OUTSIDE = "holdout (outside the test)"
_RELATIVE = MetricWords("relative", Unit.PERCENT, Unit.PERCENT, None)
_RIGHT = Unit.NUMBER  # numbers that are written already are aligned to the right as well

_SETTINGS = {
    "test_id": "Test",
    "status": "Status",
    "description": "Description",
    "created_by": "Designed by",
    "mode": "Mode",
    "primary_metric": "Decides",
    "direction": "Better when",
    "significance_threshold": "Probability of a wrong verdict, over all looks together",
    "min_samples": "Samples each arm needs",
    "minimum_effect": "Minimum effect asked for",
    "guardrails": "Guardrails",
    "latency_slo_ms": "Slow is more than",
    "label_window_s": "Labels count after",
    "segments": "Segments",
    "holdout": "Holdout",
    "max_samples": "Ends at samples",
    "deadline": "Ends at the latest",
    "end_at_verdict": "Ends at the verdict",
    "environment": "Splits the traffic of",
    "salt": "Salt of the assignment",
}


def comparison_table(report: ABReport, version: str) -> Table:
    """Return every metric of a challenger and the control that has data, with always-valid intervals."""
    compared = report.comparisons[version]
    empty = metrics_without_data(compared, report.primary)
    rows = [
        _compared_row(report, metric, compared[metric])
        for metric in metric_order(report)
        if metric in compared and metric not in empty
    ]
    columns = (
        Column("Metric"),
        Column("So far"),
        Column(report.control, _RIGHT),
        Column(version, _RIGHT),
        Column("Difference", _RIGHT),
        Column("At every look between", _RIGHT),
        Column("p-value, adjusted", _RIGHT),
        Column("Relative", _RIGHT),
        Column("At every look between", _RIGHT),
    )
    return Table(f"{version} against {report.control}, every metric", columns, tuple(rows))


def missing_text(report: ABReport, version: str) -> str:
    """Say which metrics the table of a challenger leaves out for want of data; empty for none."""
    empty = metrics_without_data(report.comparisons[version], report.primary)
    return no_data([metric for metric in metric_order(report) if metric in empty], report.settings) if empty else ""


def interval_text(words: MetricWords, interval: Sequence[float | None] | None) -> str:
    """Write an interval of differences, as far as they are possible; a dash where there is none."""
    first, last = words.possible(interval)
    if first is None or last is None:
        return DASH
    low, high = words.signed(first), words.signed(last)
    bare, space, unit = low.partition(NBSP)
    return f"{bare if space and high.endswith(space + unit) else low} to {high}"


def p_text(p: float | None) -> str:
    """Write a p-value, never smaller than what means anything."""
    if p is None:
        return DASH
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def compared_state(words: MetricWords, found: Mapping[str, Any]) -> State:
    """Return what a comparison shows so far."""
    if found.get("winner") is None or found.get("difference") is None:
        return State("not shown yet", Tone.NEUTRAL)
    judged = words.judged(found["difference"])
    return State(judged, {"better": Tone.GOOD, "worse": Tone.BAD}.get(judged, Tone.NEUTRAL))


def guardrail_table(report: ABReport) -> Table:
    """Return the guardrails with their states."""
    rows = tuple(_guardrail_row(report, found) for found in report.guardrails)
    columns = (
        Column("Guardrail"),
        Column("Challenger"),
        Column("State"),
        Column("Margin", _RIGHT),
        Column("Worse by", _RIGHT),
        Column("At every look between", _RIGHT),
        Column("Why", wordy=True),
    )
    return Table("No worse than the margin; where it is relative, in % of the control's value", columns, rows)


def arm_tables(report: ABReport) -> list[Table]:
    """Return counts, latency quantiles and custom metrics by arm; the holdout stands apart."""
    arms = arm_metrics(report)
    names = list(arms)
    counts = tuple((label, *(arms[name].get(key) for name in names)) for key, label in _COUNTS.items())
    times = tuple((label, *(arms[name].get(key) for name in names)) for key, label in _QUANTILES.items())
    tables = [
        Table("Outcomes by arm", (Column("Count"), *(Column(name, Unit.COUNT) for name in names)), counts),
        Table(
            "Latency by arm, quantiles within 1 %",
            (Column("Quantile"), *(Column(name, Unit.MILLISECONDS) for name in names)),
            times,
        ),
    ]
    custom = sorted({metric for arm in arms.values() for metric in arm.get("custom_metrics") or {}})
    if custom:
        means = tuple(
            (metric, *(arms[name].get("custom_metrics", {}).get(metric) for name in names)) for metric in custom
        )
        columns = (Column("Metric"), *(Column(name, Unit.NUMBER) for name in names))
        tables.append(Table("Custom metrics by arm, means", columns, means))
    return tables


def arm_metrics(report: ABReport) -> dict[str, Mapping[str, Any]]:
    """Return what each arm measured, the control first and the holdout last."""
    results = report.results
    arms: dict[str, Mapping[str, Any]] = dict(results.get("metrics") or {})
    if not arms:
        arms = {report.control: results["metrics_a"], str(results["model_b"]): results["metrics_b"]}
    if results.get("holdout"):
        arms[_OUTSIDE] = results["holdout"]
    return arms


def split_table(report: ABReport) -> Table:
    """Return how many units each arm should have seen and has."""
    srm = report.results["srm"]
    rows = []
    for version, observed in srm["observed"].items():
        expected = srm["expected"].get(version)
        short = None if not expected else observed / expected - 1.0
        rows.append((version, expected, observed, DASH if short is None else number(short, Unit.PERCENT, signed=True)))
    columns = (
        Column("Arm"),
        Column("Expected", Unit.COUNT),
        Column("Observed", Unit.COUNT),
        Column("Difference", _RIGHT),
    )
    rounded = tuple((v, None if e is None else round(e), o, d) for v, e, o, d in rows)
    return Table("Units by arm", columns, rounded)


def loss_table(report: ABReport) -> Table | None:
    """Return where units are missing; None while the split is fine."""
    where = report.results["srm"].get("where") or []
    rows = tuple(
        (str(loss["where"]), str(loss["arm"]), round(loss["expected"]), loss["observed"], p_text(loss["p_value"]))
        for loss in where
    )
    columns = (
        Column("Where"),
        Column("Arm"),
        Column("Expected", Unit.COUNT),
        Column("Observed", Unit.COUNT),
        Column("p-value", _RIGHT),
    )
    return Table("Where the loss is, strongest first", columns, rows) if rows else None


def segment_table(report: ABReport) -> Table | None:
    """Return the primary metric by segment; None without segments."""
    words = report.words(report.primary)
    rows: list[tuple[Cell, ...]] = []
    for segment, found in (report.results.get("segments") or {}).items():
        for version, compared in found.items():
            rows.append(
                (
                    segment,
                    version,
                    words.signed(compared.get("difference")),
                    interval_text(words, compared.get("interval")),
                    p_text(compared.get("p_adjusted")),
                    compared_state(words, compared),
                )
            )
    columns = (
        Column("Segment"),
        Column("Challenger"),
        Column("Difference", _RIGHT),
        Column("At every look between", _RIGHT),
        Column("p-value, adjusted", _RIGHT),
        Column("So far"),
    )
    return Table(f"{words.name} by segment", columns, tuple(rows)) if rows else None


def phase_table(report: ABReport) -> Table | None:
    """Return the phases with their shares and requests; None before the start."""
    phases = report.results.get("phases") or []
    versions = list(dict.fromkeys(version for phase in phases for version in phase["shares"]))
    rows: list[tuple[Cell, ...]] = []
    for phase in phases:
        requests = phase.get("requests") or {}
        shares = [number(phase["shares"].get(version, 0.0), Unit.PERCENT) for version in versions]
        counts = [requests.get(version) for version in versions]
        rows.append((str(phase["phase"]), datetime.fromisoformat(phase["at"]), *shares, *counts))
    columns = (
        Column("Phase"),
        Column("From"),
        *(Column(f"Share of {version}", _RIGHT) for version in versions),
        *(Column(f"Requests of {version}", Unit.COUNT) for version in versions),
    )
    return Table("Phases: periods with constant shares", columns, tuple(rows)) if rows else None


def fixed_table(report: ABReport) -> Table | None:
    """Return the fixed-horizon answers; None unless they were asked for."""
    rows: list[tuple[Cell, ...]] = []
    for version, metric, found in _textbook(report):
        words = report.words(metric)
        rows.append(
            (
                words.name,
                version,
                str(found["method"]),
                f"{found['statistic']:.4g}" if found.get("statistic") is not None else DASH,
                p_text(found["p_value"]),
                interval_text(words, found.get("interval")),
                str(found.get("note") or ""),
            )
        )
    columns = (
        Column("Metric"),
        Column("Challenger"),
        Column("Method"),
        Column("Statistic", _RIGHT),
        Column("p-value, for one look only", _RIGHT),
        Column("Interval, for one look only", _RIGHT),
        Column("Note", wordy=True),
    )
    return Table("Fixed-horizon answers", columns, tuple(rows)) if rows else None


def settings_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings in words; those that are not set are left out."""
    known = [(label, _said(name, settings[name])) for name, label in _SETTINGS.items() if _is_set(settings.get(name))]
    others = [
        (name, _said(name, value)) for name, value in settings.items() if name not in _SETTINGS and _is_set(value)
    ]
    return known + others


def _is_set(value: Any) -> bool:
    return value is not None and value not in ("", [], {})


def _said(name: str, value: Any) -> str:
    match name, value:
        case "guardrails", list():
            return "; ".join(_said_guardrail(guardrail) for guardrail in value)
        case (("holdout" | "significance_threshold"), int() | float()):
            return number(float(value), Unit.PERCENT)
        case "latency_slo_ms", int() | float():
            return number(float(value), Unit.MILLISECONDS)
        case "label_window_s", int() | float():
            return span(float(value)) if value else "at once"
        case _, bool():
            return "yes" if value else "no"
        case _, int():
            return f"{value:,}"
        case _, dict():
            return ", ".join(f"{key}: {_said('', inner)}" for key, inner in value.items())
        case _, list() | tuple():
            return ", ".join(_said("", inner) for inner in value)
        case _:
            return str(value)


def _said_guardrail(guardrail: Mapping[str, Any]) -> str:
    relative = " of the control's value" if guardrail.get("relative") else ""
    margin = float(guardrail["margin"])
    written = number(margin, Unit.PERCENT) if guardrail.get("relative") else f"{margin:g}"
    return f"{guardrail['metric']} worse by at most {written}{relative}"


def _compared_row(report: ABReport, metric: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    words = report.words(metric)
    values = [DASH if found.get(arm) is None else number(found[arm], words.unit) for arm in ("model_a", "model_b")]
    lift = found.get("lift")
    return (
        f"{words.name} (decides)" if metric == report.primary else words.name,
        compared_state(words, found),
        *values,
        words.signed(found.get("difference")),
        interval_text(words, found.get("interval")),
        p_text(found.get("p_adjusted", found.get("p_value"))),
        _RELATIVE.signed(lift),
        interval_text(_RELATIVE, found.get("lift_interval")),
    )


def _guardrail_row(report: ABReport, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    words = report.words(str(found["metric"]))
    written = _RELATIVE if found.get("relative") else words
    return (
        words.name,
        str(found["version"]),
        State(*STATES[found["state"]]),
        brief(float(found["margin"]), written.difference),
        written.signed(found.get("worse_by")),
        interval_text(written, (found.get("limit_low"), found.get("limit_high"))),
        str(found.get("reason") or ""),
    )


def _textbook(report: ABReport) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return the fixed-horizon answers as version, metric and answer; none unless they were asked for."""
    asked = (report.results.get("fixed_horizon") or {}).get("answers", {})
    return [
        (version, metric, answer)
        for version, of_arm in asked.items()
        for metric, given in of_arm.items()
        for answer in given
    ]
