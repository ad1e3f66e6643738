"""The page of an A/B test: from plain values to a document. A pure function, so that equal input gives equal bytes."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from sentinelzer0.reports import ab_tables as tables
from sentinelzer0.reports.ab_charts import (
    guardrail_lanes,
    interval_chart,
    mismatch_strip,
    ramp_marks,
    traffic_chart,
)
from sentinelzer0.reports.ab_values import ABReport, metric_order, metrics_without_data
from sentinelzer0.reports.chart_values import MAX_SERIES, ComparisonChart, EventTimeline, Mark, MetricRow, Unit
from sentinelzer0.reports.formats import moment
from sentinelzer0.reports.page_values import (
    Aligned,
    Block,
    Column,
    Document,
    Fact,
    Facts,
    Panels,
    Paragraph,
    Section,
    Table,
    Verdict,
    VerdictKind,
)

_KINDS = {
    "promote": VerdictKind.GOOD,
    "keep": VerdictKind.INFO,
    "stop_guardrail": VerdictKind.BAD,
    "invalid": VerdictKind.CAUTION,
    "inconclusive": VerdictKind.UNDECIDED,
}
_SEGMENTS = (
    "Every interval holds at the test's error probability divided by the number of segments and challengers "
    "(Bonferroni); the p-values are adjusted for all of them together (Holm). Segments never decide a test."
)
_OTHERS = (
    "These metrics decide nothing. Their intervals share one error probability (Bonferroni), and their p-values are "
    "adjusted together (Holm)."
)
_FIXED = (
    "These answers were asked for. They hold for one look that was planned beforehand and for no other: whoever looks "
    "again, or looked before, must use the intervals above."
)


def ab_document(report: ABReport) -> Document:
    """Return the report of a test as a document.

    Args:
        report: What it is made from.
    """
    results = report.results
    names = " and ".join(report.challengers)
    sections = (
        Section("Evidence", tuple(_evidence(report)), intro=_how_to_read(report)),
        Section("Guardrails", tuple(_guardrails(report))),
        Section("Other metrics", tuple(_others(report)), intro=_OTHERS),
        Section("Segments", tuple(_kept(tables.segment_table(report))), intro=_SEGMENTS),
        Section("Arms", (*tables.arm_tables(report), *_kept(_metric_chart(report)))),
        Section("Traffic", tuple(_traffic(report))),
        Section("Fixed horizon", tuple(_kept(tables.fixed_table(report))), intro=_FIXED),
        Section("Settings", tuple(_settings(report))),
        Section("Audit", tuple(_audit(report))),
    )
    return Document(
        title=str(results["test_name"]),
        subtitle=f"A/B test {results['test_id']}: {report.control} (control) against {names}",
        sections=tuple(section for section in sections if section.blocks),
        generated_at=report.generated_at,
        verdict=verdict_of(report),
        settings_digest=data_digest(report),
    )


def verdict_of(report: ABReport) -> Verdict:
    """Return the banner: the decision in one sentence, and why."""
    decision = report.decision
    kind = _KINDS[decision["action"]]
    sentence = str(report.results["recommendation"])
    if decision["action"] == "keep" and decision.get("winner") == report.control:
        kind = VerdictKind.BAD
    latched = bool(decision.get("latched"))
    label = "Decided" if latched else ""
    # The sentence often is the first reason with another subject.
    details = [str(reason) for reason in decision.get("reasons") or () if str(reason).partition(" ")[2] not in sentence]
    if latched and decision.get("reached_at"):
        at = datetime.fromisoformat(decision["reached_at"])
        requests = decision.get("requests")
        after = f" after {requests:,} requests" if requests is not None else ""
        if decision.get("labelled") is not None:
            after += f", {decision['labelled']:,} of them labelled"
        details.append(f"Decided at {moment(at)}{after}; a verdict is latched and never flips.")
    if report.results.get("drift"):
        label, kind = f"{label or 'Undecided'}, drifted since", VerdictKind.CAUTION
        details.append(str(report.results["drift"]))
    return Verdict(kind, sentence, " ".join(details), label)


def settings_digest(settings: Any) -> str:
    """Return the SHA-256 of settings, hexadecimal, over their JSON with sorted names."""
    return _digest(settings)


def data_digest(report: ABReport) -> str:
    """Return the SHA-256 of everything the report shows but the audit log and the time it was made."""
    return _digest([dict(report.settings), dict(report.results), list(report.looks)])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _how_to_read(report: ABReport) -> str:
    if not report.looks:
        return ""
    axis = "over time" if report.over_time else "over the outcomes as they came"
    return (
        f"The difference to the control {axis}. Every interval holds at all looks at once, so looking early costs "
        "nothing; what all looks together leave can only narrow."
    )


def _evidence(report: ABReport) -> list[Block]:
    marks = ramp_marks(report)
    charts = [interval_chart(report, version, report.primary, marks) for version in report.challengers]
    strips = (mismatch_strip(report, marks), guardrail_lanes(report, marks))
    drawn = tuple(chart for chart in (*charts, *strips) if chart is not None)
    blocks: list[Block] = []
    if not any(charts):
        reason = report.results["statistical_significance"]["reason"]
        blocks.append(Paragraph(f"Too few outcomes for a chart. {reason}"))
    if drawn:
        blocks.append(Aligned(drawn))
    return blocks


def _guardrails(report: ABReport) -> list[Block]:
    if not report.guardrails:
        return []
    watched = list(dict.fromkeys(str(guardrail["metric"]) for guardrail in report.guardrails))
    panels = _panels(report, [metric for metric in watched if metric != report.primary])
    return [tables.guardrail_table(report), *panels]


def _others(report: ABReport) -> list[Block]:
    watched = {str(guardrail["metric"]) for guardrail in report.guardrails}
    metrics = [metric for metric in metric_order(report) if metric != report.primary and metric not in watched]
    blocks = _panels(report, metrics)
    for version in report.challengers:
        blocks.append(tables.comparison_table(report, version))
        missing = tables.missing_text(report, version)
        blocks += [Paragraph(missing)] if missing else []
    return blocks


def _panels(report: ABReport, metrics: list[str]) -> list[Block]:
    """Return small multiples, and a sentence about metrics that have data but too few looks for one."""
    marks: tuple[Mark, ...] = ramp_marks(report)
    charts = []
    missing = []
    for metric in metrics:
        found = [interval_chart(report, version, metric, marks) for version in report.challengers]
        drawn = [chart for chart in found if chart is not None]
        charts += drawn
        if not drawn and any(metric not in metrics_without_data(of_arm) for of_arm in report.comparisons.values()):
            missing.append(report.words(metric).name)
    blocks: list[Block] = [Panels(tuple(charts))] if charts else []
    if missing:
        blocks.append(Paragraph(f"Too few outcomes for a chart of: {', '.join(missing)}."))
    return blocks


def _metric_chart(report: ABReport) -> ComparisonChart | None:
    versions = (report.control, *report.challengers)
    if len(versions) > MAX_SERIES:
        return None
    rows = []
    for metric in metric_order(report):
        words = report.words(metric)
        found = [report.comparisons[version].get(metric, {}) for version in report.challengers]
        base = next((one["model_a"] for one in found if one.get("model_a") is not None), None)
        values = (base, *(one.get("model_b") for one in found))
        if any(value is not None for value in values):
            rows.append(MetricRow(words.name, values, words.unit, words.higher_is_better))
    return ComparisonChart("Every metric, relative to the control", versions, tuple(rows)) if rows else None


def _traffic(report: ABReport) -> list[Block]:
    blocks: list[Block] = []
    srm = report.results.get("srm")
    if srm is not None:
        blocks.append(Paragraph(str(srm["reason"])))
        if srm.get("observed"):
            blocks += [tables.split_table(report), *_kept(tables.loss_table(report))]
    blocks += _kept(traffic_chart(report))
    blocks += _kept(tables.phase_table(report))
    return blocks


def _settings(report: ABReport) -> list[Block]:
    rows = tuple(tables.settings_rows(report.settings))
    blocks: list[Block] = [
        Table("Settings", (Column("Setting"), Column("Value")), rows),
        Facts((Fact("SHA-256 of the settings", settings_digest(dict(report.settings)), code=True),)),
    ]
    maturity = report.results.get("maturity") or {}
    if maturity.get("labels_waiting"):
        blocks.append(
            Paragraph(f"{maturity['labels_waiting']:,} labels wait until their time is full; they count then.")
        )
    return blocks + [Paragraph(f"Warning: {warning}") for warning in report.results.get("warnings") or ()]


def _audit(report: ABReport) -> list[Block]:
    audit = report.audit
    if not audit.events:
        return []
    facts = Facts(
        (
            Fact("Audit records of this test", len(audit.events), Unit.COUNT),
            Fact("Last sequence number", audit.last_seq, Unit.COUNT),
            Fact("SHA-256 of that record", audit.last_digest, code=True),
        )
    )
    return [EventTimeline("Audit records, oldest first", audit.events), facts]


def _kept(block: Block | None) -> list[Block]:
    return [] if block is None else [block]
