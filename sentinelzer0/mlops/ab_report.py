"""The report of an A/B test as one HTML file: verdict, interval over the looks, arms, settings, traffic, audit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sentinelzer0.domain.ab_tests import Look, StoredTest, comparison_of
from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.identity import subject_of_test
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.mlops.ab_recording import require_test
from sentinelzer0.reports import (
    Column,
    ComparisonChart,
    Document,
    Event,
    EventTimeline,
    Fact,
    Facts,
    IntervalChart,
    IntervalPoint,
    MetricRow,
    Paragraph,
    Section,
    Table,
    Unit,
    Verdict,
    VerdictKind,
    render,
)
from sentinelzer0.reports.page_values import Block
from sentinelzer0.stats.estimators import Direction, Metric

_NAMES = {
    Metric.ERROR_RATE: "error rate",
    Metric.ACCURACY: "accuracy",
    Metric.PRECISION: "precision",
    Metric.RECALL: "recall",
    Metric.F1_SCORE: "F1 score",
    Metric.AVG_LATENCY_MS: "mean latency",
    Metric.AVG_CONFIDENCE: "mean confidence",
}
_COUNTS = {
    "total_requests": "Requests",
    "failed_requests": "Failed",
    "true_positives": "Attacks flagged",
    "false_negatives": "Attacks missed",
    "false_positives": "Benign flagged",
    "true_negatives": "Benign passed",
    "late_requests": "After the end (not counted)",
}
_QUANTILES = {"latency_p50_ms": "Median latency", "latency_p95_ms": "Latency p95", "latency_p99_ms": "Latency p99"}


def html_report(kernel: Kernel, test_id: str, results: dict[str, Any]) -> str:
    """Return the report as HTML text.

    Args:
        kernel: The open workspace.
        test_id: The test.
        results: Its results.
    """
    with kernel.read() as view:
        test, looks = _looks(view, test_id)
        records = view.audit.of_subject(subject_of_test(test_id))
        now = view.now
    settings = _settings(test)
    digest = hashlib.sha256(json.dumps([settings, results], sort_keys=True).encode()).hexdigest()
    document = Document(
        title=test.test_name,
        subtitle=f"A/B test {test.test_id}: {test.model_a} (control) against {test.model_b} (challenger)",
        sections=(
            Section("Evidence", (_evidence(test, looks, results),)),
            Section("Arms", tuple(_arms(test, results))),
            Section("Settings", (_settings_table(settings), *(Paragraph(f"Warning: {w}") for w in test.warnings))),
            Section("What happened", tuple(_history(records))),
        ),
        generated_at=now,
        verdict=_verdict(test, results),
        settings_digest=digest,
    )
    return render(document)


def difference_chart(kernel: Kernel, test_id: str) -> IntervalChart | None:
    """Return the chart of the primary metric's difference over the looks, None when there are too few for one."""
    with kernel.read() as view:
        return _chart(*_looks(view, test_id))


def _looks(view: Reader, test_id: str) -> tuple[StoredTest, list[Look]]:
    """Return a test and its looks, the last one as of now."""
    rows = view.ab_tests.outcomes
    last = Look(rows.events(test_id), view.now, None, *rows.look(test_id))
    kept = [look for look in view.ab_tests.looks.all(test_id) if look.events < last.events]
    return require_test(view, test_id), [*kept, last]


def _verdict(test: StoredTest, results: dict[str, Any]) -> Verdict:
    kind = VerdictKind.UNDECIDED
    if test.winner is not None:
        kind = VerdictKind.GOOD if test.winner == test.model_b else VerdictKind.BAD
    decided = test.verdict.get("reached_at")
    detail = results["statistical_significance"]["reason"]
    if decided is not None:
        detail = f"Decided at {decided[:16].replace('T', ' ')} UTC{_requests_then(test)}."
    return Verdict(kind, results["recommendation"], detail, label="Decided" if decided is not None else "")


def _requests_then(test: StoredTest) -> str:
    """Say after how many requests the verdict was reached, and how many of them counted for its metric."""
    counted = test.verdict["samples_a"] + test.verdict["samples_b"]
    labelled = f", {counted:,} of them labelled" if test.metric.unit != "requests" else ""
    return f" after {test.verdict['requests']:,} requests{labelled}"


def _evidence(test: StoredTest, looks: list[Look], results: dict[str, Any]) -> Block:
    chart = _chart(test, looks)
    reason = results["statistical_significance"]["reason"]
    return Paragraph(f"Too few outcomes for a chart. {reason}") if chart is None else chart


def _chart(test: StoredTest, looks: list[Look]) -> IntervalChart | None:
    name = _NAMES[test.metric]
    points = []
    for look in looks:
        found = comparison_of(test, look.a, look.b)
        if found.interval is not None and found.difference is not None:
            samples = min(found.samples_a, found.samples_b)
            points.append(IntervalPoint(samples, found.difference, *found.interval, samples))
    points.sort(key=lambda point: float(point.samples))
    if len(points) < 2:
        return None
    measured_in = Unit.MILLISECONDS if test.metric is Metric.AVG_LATENCY_MS else Unit.POINTS
    return IntervalChart(
        title=f"Difference in {name}",
        points=tuple(points),
        control=test.model_a,
        challenger=test.model_b,
        metric=name,
        unit=measured_in,
        higher_is_better=test.metric.direction is Direction.HIGHER,
        confidence=1.0 - test.significance_threshold,
        min_samples=comparison_of(test, looks[-1].a, looks[-1].b).min_samples,
        x_label=f"{test.metric.unit} of the smaller arm",
    )


def _arms(test: StoredTest, results: dict[str, Any]) -> list[Block]:
    a, b = results["metrics_a"], results["metrics_b"]
    compared = results["comparison"]
    rows = tuple(
        MetricRow(
            _NAMES[Metric(metric)],
            (values["model_a"], values["model_b"]),
            Unit.MILLISECONDS if metric == Metric.AVG_LATENCY_MS.value else Unit.PERCENT,
            higher_is_better=Metric(metric).direction is Direction.HIGHER,
        )
        for metric, values in compared.items()
    )
    versions = (Column(test.model_a, Unit.COUNT), Column(test.model_b, Unit.COUNT))
    counts = Table(
        "Outcomes by arm", (Column("Count"), *versions), tuple((label, a[n], b[n]) for n, label in _COUNTS.items())
    )
    times = (Column(test.model_a, Unit.MILLISECONDS), Column(test.model_b, Unit.MILLISECONDS))
    latency = Table(
        "Latency, within 1 %",
        (Column("Quantile"), *times),
        tuple((label, a[n], b[n]) for n, label in _QUANTILES.items()),
    )
    chart = ComparisonChart("Every metric, relative to the control", (test.model_a, test.model_b), rows)
    custom = sorted({*a["custom_metrics"], *b["custom_metrics"]})
    if not custom:
        return [chart, counts, latency]
    own = (Column(test.model_a, Unit.NUMBER), Column(test.model_b, Unit.NUMBER))
    values = tuple((name, a["custom_metrics"].get(name), b["custom_metrics"].get(name)) for name in custom)
    return [chart, counts, latency, Table("Custom metrics, means", (Column("Metric"), *own), values)]


def _settings(test: StoredTest) -> dict[str, str]:
    return {
        "Test": test.test_id,
        "Status": test.status.value,
        "Share of the challenger": f"{test.traffic_split:.1%}",
        "Primary metric": _NAMES[test.metric],
        "Probability of a wrong verdict, over all looks": f"{test.significance_threshold:g}",
        "Requests each arm needs": f"{test.min_samples:,}",
        "Splits the traffic of": test.environment or "nothing: the caller routes",
        "Salt of the assignment": test.salt,
        "Designed by": test.created_by,
        "Description": test.description or "none",
    }


def _settings_table(settings: dict[str, str]) -> Table:
    return Table("Settings", (Column("Setting"), Column("Value")), tuple(settings.items()))


def _history(records: list[AuditRecord]) -> list[Block]:
    events = tuple(
        Event(
            record.time,
            f"{record.action} ({record.outcome})",
            record.actor.name,
            automatic=record.actor.auth == "internal",
            reason=record.reason,
            digest=hashlib.sha256(record.to_bytes()).hexdigest(),
        )
        for record in records
    )
    last = records[-1]
    facts = Facts(
        (
            Fact("Audit records of this test", len(records), Unit.COUNT),
            Fact("Last sequence number", last.seq, Unit.COUNT),
            Fact("SHA-256 of that record", hashlib.sha256(last.to_bytes()).hexdigest(), code=True),
        )
    )
    return [EventTimeline("Audit records, oldest first", events), facts]
