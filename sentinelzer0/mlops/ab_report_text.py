"""The report of an A/B test as Markdown, for a pull request or a ticket, and as JSON, for a program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from sentinelzer0.reports import Table
from sentinelzer0.reports import ab_tables as tables
from sentinelzer0.reports.ab_page import data_digest, settings_digest, verdict_of
from sentinelzer0.reports.ab_values import ABReport
from sentinelzer0.reports.formats import cell, iso, moment
from sentinelzer0.reports.page_values import Cell, VerdictKind

SCHEMA_VERSION = 1
"""Version of the JSON report: raised when a field changes its meaning or goes away, not when one is added."""

_SIGNS = {
    VerdictKind.GOOD: "\N{WHITE HEAVY CHECK MARK}",
    VerdictKind.BAD: "\N{CROSS MARK}",
    VerdictKind.CAUTION: "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
    VerdictKind.UNDECIDED: "\N{HOURGLASS WITH FLOWING SAND}",
    VerdictKind.INFO: "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}",
}
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_AT_START = re.compile(r"^(?:[-+=]|\d+[.)])(?=\s|$|[-+=])")
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def json_report(report: ABReport) -> str:
    """Return the report as one JSON document: data, settings and digests.

    Args:
        report: What it is made from.
    """
    audit = report.audit
    document = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": iso(report.generated_at),
        "settings": dict(report.settings),
        "settings_sha256": settings_digest(dict(report.settings)),
        "data_sha256": data_digest(report),
        "results": dict(report.results),
        "looks": [dict(look) for look in report.looks],
        "audit": {
            "records": len(audit.events),
            "last_seq": audit.last_seq,
            "last_sha256": audit.last_digest,
            "events": [
                {"at": iso(e.at), "what": e.what, "actor": e.actor, "reason": e.reason, "sha256": e.digest}
                for e in audit.events
            ],
        },
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def markdown_report(report: ABReport) -> str:
    """Return the report as Markdown that GitHub, GitLab and others show alike; no name can become markup.

    Args:
        report: What it is made from.
    """
    verdict = verdict_of(report)
    results = report.results
    parts = [
        f"## {markdown(str(results['test_name']))}",
        f"{_SIGNS[verdict.kind]} **{markdown(verdict.sentence)}**",
        markdown(verdict.detail),
    ]
    for version in report.challengers:
        parts += [_table(tables.comparison_table(report, version)), markdown(tables.missing_text(report, version))]
    if report.guardrails:
        parts.append(_table(tables.guardrail_table(report)))
    parts += _traffic(report)
    parts += [
        _table(found) for found in (tables.segment_table(report), tables.fixed_table(report)) if found is not None
    ]
    parts += [f"\N{WARNING SIGN}\N{VARIATION SELECTOR-16} {markdown(str(w))}" for w in results.get("warnings") or ()]
    parts.append(_details("Arms", [_table(found) for found in tables.arm_tables(report)]))
    parts.append(_details("Settings", [_rows(("Setting", "Value"), tables.settings_rows(report.settings))]))
    parts.append(_footer(report))
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown(text: str) -> str:
    r"""Escape text for Markdown: nothing in it is a heading, a link, a mention, a table cell or HTML.

    >>> print(markdown("*v2* | <b> @team"))
    \*v2\* \| \<b\> @<!-- -->team
    """
    flat = " ".join(_INVISIBLE.sub(lambda found: "" if ord(found.group()) > 32 else " ", text).split())
    escaped = _ACTIVE.sub(r"\\\1", flat)
    escaped = _AT_START.sub(lambda found: f"{found.group()[:-1]}\\{found.group()[-1]}", escaped)
    return escaped.replace("@", "@<!-- -->").replace("://", "\\://").replace("www.", "www\\.")


def _table(found: Table) -> str:
    rows = [
        [_written(value, column.unit) for value, column in zip(row, found.columns, strict=True)] for row in found.rows
    ]
    heads = [column.label for column in found.columns]
    right = [column.unit is not None for column in found.columns]
    return f"**{markdown(found.caption)}**\n\n{_rows(heads, rows, right)}"


def _written(value: Cell, unit: Any) -> str:
    return cell(value, unit).replace("\N{NO-BREAK SPACE}", " ")


def _rows(heads: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[bool] = ()) -> str:
    names = list(heads)
    sides = [*right, *[False] * len(names)][: len(names)]
    lines = [names, *rows]
    written = ["| " + " | ".join(markdown(str(value)) for value in row) + " |" for row in lines]
    written.insert(1, "|" + "|".join(" ---: " if side else " --- " for side in sides) + "|")
    return "\n".join(written)


def _traffic(report: ABReport) -> list[str]:
    srm = report.results.get("srm")
    if srm is None:
        return []
    reason = markdown(str(srm["reason"]))
    lost = tables.loss_table(report)
    return [f"Traffic: {reason}", *([] if lost is None else [_table(lost)])]


def _details(title: str, parts: list[str]) -> str:
    return "\n\n".join([f"<details><summary>{title}</summary>", *parts, "</details>"])


def _footer(report: ABReport) -> str:
    audit = report.audit
    said = [
        f"Made {moment(report.generated_at)}".replace("\N{NO-BREAK SPACE}", " "),
        f"settings SHA-256 `{settings_digest(dict(report.settings))}`",
        f"data SHA-256 `{data_digest(report)}`",
    ]
    if audit.events:
        said.append(f"last of {len(audit.events)} audit records: {audit.last_seq}, SHA-256 `{audit.last_digest}`")
    return "; ".join(said) + "."
