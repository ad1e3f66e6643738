"""What the commands of ``ab`` show: lists, states, results with the interval as a bar about zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sentinelzer0.cli import values
from sentinelzer0.cli.blocks import (
    Block,
    Cell,
    Facts,
    Piece,
    Table,
    bad,
    chart,
    dim,
    good,
    line,
    name,
    next_command,
    strong,
    warn,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.mlops.ab_testing import ABTest

_CELLS = 33
_SHAPES = {
    "setup": dim("○ setup"),
    "running": good("● running"),
    "paused": warn("◐ paused"),
    "completed": strong("✓ completed"),
    "cancelled": dim("✗ cancelled"),
}


def created_page(test: ABTest) -> list[Block]:
    """Return what is shown after a test was designed."""
    return [
        line(good("✓ "), name(test.test_name), f" designed: {test.model_a} (A) against {test.model_b} (B)"),
        line(dim("test "), test.test_id, indent=2),
        next_command(f"sz0 ab start {test.test_id}"),
    ]


def list_page(tests: list[ABTest], now: datetime) -> list[Block]:
    """Return a list of tests."""
    if not tests:
        return [line("No A/B tests."), next_command("sz0 ab create NAME A B")]
    rows: list[list[Cell]] = [
        [
            name(test.test_name),
            _SHAPES[test.status.value],
            f"{test.model_a} / {test.model_b}",
            values.percent(test.traffic_split),
            _counts(test),
            [strong(test.winner)] if test.winner else dim(values.NONE),
            values.relative(test.created_at, now),
            dim(test.test_id),
        ]
        for test in tests
    ]
    heads = ("name", "status", "A / B", ">share of B", ">requests A / B", "winner", "created", "test")
    return [Table(heads, rows, wide=(0,), optional=(6, 3, 4))]


def state_page(test: ABTest) -> Iterator[Block]:
    """Return how a test is set up and where it stands."""
    yield line(name(test.test_name), "  ", _SHAPES[test.status.value])
    rows: list[tuple[str, Cell]] = [
        ("test", test.test_id),
        ("A, control", test.model_a),
        ("B, challenger", f"{test.model_b}, {values.percent(test.traffic_split)} of the traffic"),
        (
            "decides",
            f"{test.primary_metric}, {test.min_samples} requests an arm, threshold {test.significance_threshold:g}",
        ),
        ("traffic", f"splits {test.deployment}" if test.deployment else "of the caller"),
        ("started", values.absolute(test.started_at)),
        ("ended", values.absolute(test.ended_at)),
        ("requests", _counts(test)),
        ("winner", f"{test.winner} (confidence {test.winner_confidence:.4f})" if test.winner else "not decided"),
    ]
    if test.description:
        rows.append(("about", test.description))
    yield Facts(rows)
    for warning in test.warnings:
        yield line(warn("! "), warning)
    following = {"setup": "start", "running": "results", "paused": "resume"}.get(test.status.value, "results")
    yield next_command(f"sz0 ab {following} {test.test_id}")


def recorded_page(done: dict[str, Any]) -> list[Block]:
    """Return what became of outcomes or labels."""
    words = {
        "counted": "counted",
        "labelled": "labelled",
        "duplicates": "repeated and ignored",
        "late": "late, not counted",
    }
    said = ", ".join(f"{done[key]} {word}" for key, word in words.items() if done[key]) or "nothing to record"
    request = done.get("request_id")
    return [line(good("✓ "), said, dim(f"  request {request}") if request else "")]


def results_page(results: dict[str, Any]) -> Iterator[Block]:
    """Return what a test says: the verdict first, then the figures."""
    significance = results["statistical_significance"]
    yield line(name(results["test_name"]), "  ", _SHAPES[results["status"]])
    sentence = results["recommendation"]
    yield line(good("✓ ") if significance["is_significant"] else dim("… "), strong(sentence))
    yield from _interval(significance)
    heads = ("", f">{results['model_a']} (A)", f">{results['model_b']} (B)", ">B - A", "better")
    a, b = results["metrics_a"], results["metrics_b"]
    rows: list[list[Cell]] = [
        ["requests", str(a["total_requests"]), str(b["total_requests"]), "", ""],
        ["failed", str(a["failed_requests"]), str(b["failed_requests"]), "", ""],
    ]
    primary = significance["metric"]
    ordered = sorted(results["comparison"].items(), key=lambda item: item[0] != primary)
    for metric, compared in ordered:
        rows.append(
            [
                [strong(metric)] if metric == primary else metric,
                values.number(compared["model_a"]),
                values.number(compared["model_b"]),
                values.signed(compared["difference"]),
                _better(compared["winner"], results),
            ]
        )
    yield Table(heads, rows)
    for warning in results.get("warnings", []):
        yield line(warn("! "), warning)
    following = "complete" if results["status"] in ("running", "paused") else "report"
    yield next_command(f"sz0 ab {following} {results['test_id']}" + (" report.html" if following == "report" else ""))


def interval_bar(low: float, value: float, high: float) -> str:
    """Return an interval as a bar about zero.

    >>> interval_bar(0.01, 0.03, 0.05)
    '[----------------|--=======●======]'
    """
    half = _CELLS // 2
    reach = max(abs(low), abs(high), abs(value)) or 1.0

    def cell(x: float) -> int:
        return half + round(max(-1.0, min(1.0, x / reach)) * half)

    cells = ["-"] * _CELLS
    for position in range(cell(low), cell(high) + 1):
        cells[position] = "="
    cells[half] = "|"
    cells[cell(value)] = "●"
    return f"[{''.join(cells)}]"


def _interval(significance: dict[str, Any]) -> Iterator[Block]:
    interval = significance["interval"]
    if interval is None or significance["difference"] is None:
        return
    low, high = interval
    percent = 100 * (1 - significance["alpha"])
    yield line(
        f"{significance['metric']}, B - A  ",
        chart(interval_bar(low, significance["difference"], high)),
        f"  {values.signed(significance['difference'])}",
    )
    yield line(
        dim(f"by now {values.signed(low)} to {values.signed(high)}, {percent:g} % at every look, "),
        dim(f"p {significance['p_value']:.2g}, after {significance['total_samples']} outcomes"),
    )


def _better(winner: str | None, results: dict[str, Any]) -> Piece:
    if winner is None:
        return dim("· not shown yet")
    version = results["model_a"] if winner == "A" else results["model_b"]
    return good(f"▲ {version} (B)") if winner == "B" else bad(f"▼ {version} (A)")


def _counts(test: ABTest) -> str:
    if test.metrics_a is None or test.metrics_b is None:
        return "0 / 0"
    return f"{test.metrics_a.total_requests} / {test.metrics_b.total_requests}"
