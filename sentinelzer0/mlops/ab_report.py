"""The report of an A/B test, bound to the workspace: what it is made from is read here, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.identity import subject_of_test
from sentinelzer0.domain.outcomes import Look
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.mlops.ab_earlier_looks import readings_of
from sentinelzer0.mlops.ab_judging import Judged, judged
from sentinelzer0.mlops.ab_report_text import json_report, markdown_report
from sentinelzer0.reports import Event, IntervalChart, render
from sentinelzer0.reports.ab_charts import interval_chart, ramp_marks
from sentinelzer0.reports.ab_page import ab_document
from sentinelzer0.reports.ab_values import ABReport, AuditFacts

_FORMATS = {"": "html", ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}
_SETTINGS = (
    "test_id",
    "description",
    "created_by",
    "model",
    "environment",
    "mode",
    "primary_metric",
    "direction",
    "significance_threshold",
    "min_samples",
    "minimum_effect",
    "guardrails",
    "segments",
    "holdout",
    "latency_slo_ms",
    "label_window_s",
    "max_samples",
    "end_at_verdict",
    "salt",
)


def format_of(path: str | PurePath) -> str:
    """Return what a file is by its name: ``html``, ``md`` or ``json``; without an ending it is HTML.

    Raises:
        InvalidInputError: The name ends otherwise.
    """
    name = PurePath(path)
    form = _FORMATS.get(name.suffix.lower())
    if form is None:
        raise InvalidInputError(
            f"A report is HTML, Markdown or JSON, and {name.name!r} says otherwise.",
            hint=f"Name it {name.stem}.html, {name.stem}.md or {name.stem}.json.",
        )
    return form


def report_text(kernel: Kernel, test_id: str, results: Mapping[str, Any], form: str = "html") -> str:
    """Return the report of a test as text.

    Args:
        kernel: The open workspace.
        test_id: The test.
        results: Its results.
        form: ``html``, ``md`` or ``json``.

    Raises:
        InvalidInputError: There is no such form.
    """
    report = report_of(kernel, test_id, results)
    match form:
        case "html":
            return render(ab_document(report))
        case "md":
            return markdown_report(report)
        case "json":
            return json_report(report)
        case _:
            raise InvalidInputError(f"There is no report in the form {form!r}.", hint="html, md or json.")


def html_report(kernel: Kernel, test_id: str, results: Mapping[str, Any]) -> str:
    """Return the report as HTML text; see :func:`report_text`."""
    return report_text(kernel, test_id, results)


def difference_chart(kernel: Kernel, test_id: str, results: Mapping[str, Any]) -> IntervalChart | None:
    """Return the chart of the primary metric's difference over the looks, None when there are too few for one."""
    report = report_of(kernel, test_id, results)
    return interval_chart(report, report.challengers[0], report.primary, ramp_marks(report))


def report_of(kernel: Kernel, test_id: str, results: Mapping[str, Any]) -> ABReport:
    """Return everything a report is made from.

    Args:
        kernel: The open workspace.
        test_id: The test.
        results: Its results.
    """
    with kernel.read() as view:
        found = judged(view, test_id, histograms=False)
        looks = _looks(view, found)
        records = view.audit.of_subject(subject_of_test(test_id))
        now = view.now
    decision = {**results["decision"], "labelled": _labelled_at_verdict(found.test)}
    return ABReport({**results, "decision": decision}, looks, settings_of(found.test), _audit(records), now)


def _labelled_at_verdict(test: StoredTest) -> int | None:
    """Return how many labelled requests the verdict rests on; None where labels do not matter or nothing is decided."""
    if not test.verdict or test.metric.unit != "labelled requests":
        return None
    return int(test.verdict["samples_a"] + test.verdict["samples_b"])


def settings_of(test: StoredTest) -> dict[str, Any]:
    """Return how a test is set up, JSON values; what changes while it runs is not among them."""
    settings = {name: getattr(test, name) for name in _SETTINGS}
    settings |= {"mode": test.mode.value, "arms": dict(test.arms)}
    settings["deadline"] = None if test.deadline is None else test.deadline.isoformat()
    return settings


def _looks(view: Reader, found: Judged) -> list[dict[str, Any]]:
    """Return the looks at a test as JSON values, then what the statistics say now, or said at its end, if that is new.

    Nothing here depends on when the report of an ended test is made.
    """
    test, measured = found.test, found.measured
    kept = [_kept(test, look) for look in view.ab_tests.looks.all(test.test_id)]
    readings = found.judgement.to_readings(test, measured)
    if kept and _adds_nothing(kept[-1], measured.events, readings):
        return kept
    at = test.ended_at or view.now
    if kept:
        at = max(at, datetime.fromisoformat(kept[-1]["recorded_at"]))
    last = {"events": measured.events, "recorded_at": at.isoformat(), "decision": None, "verdict": None, **readings}
    return [*kept, last]


def _adds_nothing(look: Mapping[str, Any], events: int, readings: Mapping[str, Any]) -> bool:
    said: Mapping[str, Any] = json.loads(json.dumps(readings))  # as a kept look has gone through JSON
    return bool(look["events"] == events and all(look.get(name) == value for name, value in said.items()))


def _kept(test: StoredTest, look: Look) -> dict[str, Any]:
    readings = look.readings if "comparisons" in look.readings else readings_of(test, look.readings)
    told = {"events": look.events, "recorded_at": look.at.isoformat(), "decision": look.decision, "verdict": None}
    return {**told, **readings}


def _audit(records: list[AuditRecord]) -> AuditFacts:
    digests = [hashlib.sha256(record.to_bytes()).hexdigest() for record in records]
    events = tuple(
        Event(
            record.time,
            f"{record.action} ({record.outcome})",
            record.actor.name,
            automatic=record.actor.auth == "internal",
            reason=record.reason,
            digest=digest,
        )
        for record, digest in zip(records, digests, strict=True)
    )
    return AuditFacts(events, records[-1].seq, digests[-1]) if records else AuditFacts()
