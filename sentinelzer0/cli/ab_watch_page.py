"""What ``ab watch`` draws: the verdict, a bar per metric, the arms, the split of the traffic, the guardrails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sentinelzer0.cli import values
from sentinelzer0.cli.ab_pages import SHAPES, arms_of, comparison_tables, guardrail_line, remarks, verdict_line
from sentinelzer0.cli.blocks import Block, Cell, Piece, Table, bad, chart, dim, good, line, name

_STRIP = 30
_SMALLEST_P = 1e-6


def watch_page(results: Mapping[str, Any], now: datetime) -> Iterator[Block]:
    """Return the page of a test.

    Args:
        results: As ``get_test_results`` returns them.
        now: The present time.
    """
    yield line(name(results["test_name"]), "  ", SHAPES[results["status"]], dim(_phase(results, now)))
    yield verdict_line(results)
    yield line("")
    yield from comparison_tables(results)
    yield line("")
    yield _arms(results)
    yield line("")
    srm = results.get("srm")
    if srm is not None:
        yield line("traffic     ", *mismatch_strip(srm["p_value"], srm["alpha"], ok=srm["ok"]))
        if not srm["ok"]:
            yield line(bad("✗ "), srm["reason"], indent=2)
    if results.get("guardrails"):
        yield guardrail_line(results)
    yield from remarks(results)


def mismatch_strip(p: float, alpha: float, *, ok: bool) -> list[Piece]:
    """Return the sequential p-value of the split as a strip on a logarithmic scale, 1 on the left, its alarm marked.

    >>> [piece if isinstance(piece, str) else piece.text for piece in mismatch_strip(0.05, 0.001, ok=True)]
    ['[======●-------:---------------]', '  split as meant', '  p 0.05 at every look, alarm below 0.001']
    """

    def cell(value: float) -> int:
        share = math.log10(max(value, _SMALLEST_P)) / math.log10(_SMALLEST_P)
        return round(share * (_STRIP - 1))

    cells = ["=" if index < cell(p) else "-" for index in range(_STRIP)]
    cells[cell(alpha)] = ":"
    cells[cell(p)] = "●"
    said = good("  split as meant") if ok else bad("  not split as meant")
    return [chart(f"[{''.join(cells)}]"), said, dim(f"  p {p:.2g} at every look, alarm below {alpha:g}")]


def _phase(results: Mapping[str, Any], now: datetime) -> str:
    phases = results.get("phases") or []
    if not phases:
        return ""
    last = phases[-1]
    shares = ", ".join(f"{version} {values.percent(share)}" for version, share in last["shares"].items())
    begun = values.relative(datetime.fromisoformat(last["at"]), now)
    return f"  phase {last['phase']}, {begun}: {shares}"


def _arms(results: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for version, metrics in arms_of(results).items():
        labelled = sum(metrics[f"{kind}_{side}"] for kind in ("true", "false") for side in ("positives", "negatives"))
        rows.append(
            [
                version,
                f"{metrics['total_requests']:,}",
                f"{metrics['failed_requests']:,}",
                f"{labelled:,}",
                values.number(metrics["latency_p50_ms"]),
                values.number(metrics["latency_p95_ms"]),
            ]
        )
    return Table(("arm", ">requests", ">failed", ">labelled", ">p50 ms", ">p95 ms"), rows, optional=(4,))
