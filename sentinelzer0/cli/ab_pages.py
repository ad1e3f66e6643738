"""What the commands of ``ab`` show: lists, states, results with the interval as a bar about zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sentinelzer0.cli import values
from sentinelzer0.cli.blocks import (
    Block,
    Cell,
    Facts,
    Line,
    Marked,
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
from sentinelzer0.reports.ab_tables import interval_text
from sentinelzer0.reports.ab_values import MetricWords, margin_of, metric_words, metrics_without_data, no_data
from sentinelzer0.reports.formats import MINUS, NBSP, number

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.mlops.ab_testing import ABTest

_CELLS = 27
SHAPES = {
    "setup": dim("○ setup"),
    "running": good("● running"),
    "paused": warn("◐ paused"),
    "completed": strong("✓ completed"),
    "cancelled": dim("✗ cancelled"),
}


_VERDICTS: dict[str, Marked] = {
    "promote": good("✓ "),
    "keep": strong("✓ "),
    "stop_guardrail": bad("✗ "),
    "invalid": warn("! "),
    "inconclusive": dim("… "),
}
_GUARDRAILS: dict[str, Marked] = {
    "passed": good("✓ passed"),
    "violated": bad("✗ violated"),
    "pending": dim("… not settled"),
    "no_data": warn("! no data"),
}


def created_page(test: ABTest) -> list[Block]:
    """Return what is shown after a test was designed."""
    challengers = [f"{version} ({letter})" for letter, version in zip("BCDEFG", list(test.arms)[1:], strict=False)]
    against = " and ".join(", ".join(challengers).rsplit(", ", 1))
    return [
        line(good("✓ "), name(test.test_name), f" designed: {test.model_a} (A) against {against}"),
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
            SHAPES[test.status.value],
            " / ".join(test.arms),
            "shadow" if test.mode == "shadow" else " / ".join(map(values.percent, test.arms.values())),
            _counts(test),
            [strong(test.winner)] if test.winner else dim(values.NONE),
            values.relative(test.created_at, now),
            dim(test.test_id),
        ]
        for test in tests
    ]
    heads = ("name", "status", "arms", ">shares", ">requests", "winner", "created", "test")
    return [Table(heads, rows, wide=(0,), optional=(6, 3, 4))]


def state_page(test: ABTest) -> Iterator[Block]:
    """Return how a test is set up and where it stands."""
    yield line(name(test.test_name), "  ", SHAPES[test.status.value])
    rows: list[tuple[str, Cell]] = [
        ("test", test.test_id),
        *_arms(test),
        (
            "decides",
            f"{test.primary_metric}, {test.min_samples} requests an arm, threshold {test.significance_threshold:g}",
        ),
        ("guarded", _guarded(test)),
        ("traffic", f"splits {test.deployment}" if test.deployment else "of the caller"),
        ("started", values.absolute(test.started_at)),
        ("ended", values.absolute(test.ended_at)),
        ("requests", _counts_by_version(test)),
        ("winner", f"{test.winner} (confidence {test.winner_confidence:.4f})" if test.winner else "not decided"),
    ]
    rows += [(label, text) for label, text in _rules(test) if text]
    yield Facts(rows)
    for warning in test.warnings:
        yield line(warn("! "), warning)
    following = {"setup": "start", "running": "results", "paused": "resume"}.get(test.status.value, "results")
    yield next_command(f"sz0 ab {following} {test.test_id}")


def _arms(test: ABTest) -> Iterator[tuple[str, Cell]]:
    yield "A, control", test.model_a
    for letter, (version, share) in zip("BCDEFG", list(test.arms.items())[1:], strict=False):
        serves = "in the shadow" if test.mode == "shadow" else f"{values.percent(share)} of the traffic"
        yield f"{letter}, challenger", f"{version}, {serves}"
    if test.holdout:
        yield "holdout", f"{values.percent(test.holdout)} of the units get {test.model_a} and are counted apart"


def _guarded(test: ABTest) -> str:
    margins = [
        f"{one['metric']} (by {values.percent(one['margin']) if one['relative'] else values.number(one['margin'])})"
        for one in test.guardrails
    ]
    return ", ".join(margins) or "nothing"


def _rules(test: ABTest) -> Iterator[tuple[str, str]]:
    """Yield what else was designed; an empty text is left out."""
    if test.mode != "shadow":
        yield "phases", " → ".join(_shares(one["shares"]) for one in test.phases)
    yield "segments", ", ".join(test.segments)
    yield "slow", f"above {values.number(test.latency_slo_ms)} ms" if test.latency_slo_ms else ""
    yield "labels wait", f"{test.label_window_s / 3600:g} h" if test.label_window_s else ""
    yield "smallest effect", values.number(test.minimum_effect) if test.minimum_effect else ""
    budget = f"{test.max_samples:,} outcomes" if test.max_samples else ""
    ends = [budget, "at the verdict" if test.end_at_verdict else "", values.absolute(test.deadline)]
    yield "ends by itself", ", ".join(text for text in ends if text not in ("", values.NONE))
    yield "about", test.description


def recorded_page(done: dict[str, Any]) -> list[Block]:
    """Return what became of outcomes or labels."""
    words = {
        "counted": "counted",
        "labelled": "labelled",
        "duplicates": "repeated and ignored",
        "late": "late, not counted",
    }
    counts = [f"{done[key]} {word}" for key, word in words.items() if done[key]]
    said = ", ".join([*counts, *_labels(done)]) or "nothing new to record"
    request = done.get("request_id")
    return [line(good("✓ "), said, dim(f"  request {request}") if request else "")]


def _labels(done: Mapping[str, Any]) -> Iterator[str]:
    kept, replaced = done["kept"], done["relabelled"]
    if kept:
        labels, come = ("label", "its outcome comes") if kept == 1 else (f"{kept} labels", "their outcomes come")
        yield f"{labels} kept until {come} with a prediction"
    if replaced:
        yield "label replaced" if replaced == 1 else f"{replaced} labels replaced"


def results_page(results: dict[str, Any]) -> Iterator[Block]:
    """Return what a test says: the verdict first, then the figures."""
    yield line(name(results["test_name"]), "  ", SHAPES[results["status"]])
    yield verdict_line(results)
    yield from comparison_tables(results)
    arms = arms_of(results)
    counts: list[list[Cell]] = [
        [label, *(f"{metrics[key]:,}" for metrics in arms.values())]
        for label, key in (("requests", "total_requests"), ("failed", "failed_requests"))
    ]
    yield Table(("", *(f">{version}" for version in arms)), counts)
    if results.get("guardrails"):
        yield guardrail_line(results)
    srm = results.get("srm")
    if srm is not None and not srm["ok"]:
        yield line(bad("✗ "), srm["reason"])
    yield from remarks(results)
    following = "complete" if results["status"] in ("running", "paused") else "report"
    yield next_command(f"sz0 ab {following} {results['test_id']}" + (" report.html" if following == "report" else ""))


def is_decided(results: Mapping[str, Any]) -> bool:
    """Return whether the verdict is reached; a verdict is latched."""
    decision = results.get("decision")
    if decision is not None:
        return bool(decision["latched"])
    return bool(results["statistical_significance"]["is_significant"])


def winner_of(results: Mapping[str, Any]) -> str | None:
    """Return the version that won, None while nothing is decided."""
    decision = results.get("decision")
    if decision is not None:
        return None if decision["winner"] is None else str(decision["winner"])
    letter = results["statistical_significance"]["winner"]
    return None if letter is None else str(results["model_a" if letter == "A" else "model_b"])


def verdict_line(results: Mapping[str, Any]) -> Line:
    """Return the recommendation with the shape of its verdict."""
    action = (results.get("decision") or {}).get("action", "promote" if is_decided(results) else "inconclusive")
    return line(_VERDICTS[action], strong(results["recommendation"]))


def arms_of(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what each arm measured, by version, the control first."""
    found: Mapping[str, Mapping[str, Any]] | None = results.get("metrics")
    if found:
        return dict(found)
    return {results["model_a"]: results["metrics_a"], results["model_b"]: results["metrics_b"]}


def comparison_tables(results: Mapping[str, Any]) -> Iterator[Block]:
    """Return a table for every challenger: one metric a line, its interval as a bar about zero; then what has no data."""
    several = results.get("comparisons") or {results["model_b"]: results["comparison"]}
    primary = results["statistical_significance"]["metric"]
    guardrails = {(g["version"], g["metric"]): g for g in results.get("guardrails") or ()}
    for version, compared in several.items():
        empty = metrics_without_data(compared, primary)
        shown = [metric for metric in compared if metric not in empty]
        ordered = sorted(shown, key=lambda metric: (metric != primary, (version, metric) not in guardrails))
        rows = [
            _metric_row(metric, compared[metric], guardrails.get((version, metric)), decides=metric == primary)
            for metric in ordered
        ]
        control = results["model_a"]
        heads = ("metric", f">{control}", f">{version}", f"{version} - {control}", "", "at every look", "so far")
        yield Table(heads, rows, optional=(1, 2, 5))
        if empty:
            yield line(dim(no_data(empty)))


def guardrail_line(results: Mapping[str, Any]) -> Line:
    """Return all guardrails with their states."""
    many = len(results.get("comparisons") or ()) > 1
    pieces: list[Piece] = ["guardrails  "]
    for guardrail in results["guardrails"]:
        of = f" of {guardrail['version']}" if many else ""
        pieces += [_GUARDRAILS[guardrail["state"]], f" {metric_words(guardrail['metric']).name}{of}   "]
    return line(*pieces)


def remarks(results: Mapping[str, Any]) -> Iterator[Block]:
    """Return what wants attention besides: drift, and what was warned about."""
    if results.get("drift"):
        yield line(warn("! "), results["drift"])
    for warning in results.get("warnings", []):
        yield line(warn("! "), warning)


def interval_bar(low: float, value: float, high: float, limit: float | None = None) -> str:
    """Return an interval as a bar about zero; ``:`` marks the margin.

    >>> interval_bar(0.01, 0.03, 0.05)
    '[-------------|--=====●=====]'
    >>> interval_bar(-0.01, 0.0, 0.01, 0.02)
    '[-------======●======------:]'
    """
    half = _CELLS // 2
    reach = max(abs(low), abs(high), abs(value), abs(limit or 0.0)) or 1.0

    def cell(x: float) -> int:
        return half + round(max(-1.0, min(1.0, x / reach)) * half)

    cells = ["-"] * _CELLS
    for position in range(cell(low), cell(high) + 1):
        cells[position] = "="
    cells[half] = "|"
    if limit is not None:
        cells[cell(limit)] = ":"
    cells[cell(value)] = "●"
    return f"[{''.join(cells)}]"


def _metric_row(
    metric: str, found: Mapping[str, Any], guardrail: Mapping[str, Any] | None, *, decides: bool
) -> list[Cell]:
    words = metric_words(metric)
    (low, high), difference = words.possible(found.get("interval")), found["difference"]
    limit = None
    if guardrail is not None:
        limit = margin_of(guardrail, found["model_a"], higher_is_better=words.higher_is_better)
    drawn: Cell = ""
    if low is not None and high is not None and difference is not None:
        drawn = chart(interval_bar(low, difference, high, limit))
    sides = [
        values.NONE if found[arm] is None else _typed(number(found[arm], words.unit)) for arm in ("model_a", "model_b")
    ]
    state = _so_far(words, found) if guardrail is None else _GUARDRAILS[guardrail["state"]]
    label: Cell = [strong(words.name)] if decides else words.name
    return [
        label,
        *sides,
        drawn,
        _typed(words.signed(difference)),
        dim(_typed(interval_text(words, (low, high)))),
        state,
    ]


def _typed(text: str) -> str:
    """Return a number with characters that every terminal has."""
    return text.replace(NBSP, " ").replace(MINUS, "-")


def _so_far(words: MetricWords, found: Mapping[str, Any]) -> Piece:
    if found["winner"] is None or found["difference"] is None:
        return dim("· not shown yet")
    judged = words.judged(found["difference"])
    mark = {"better": good, "worse": bad}.get(judged, strong)
    return mark(f"{'▲' if found['difference'] > 0 else '▼'} {judged}")


def _shares(shares: Mapping[str, float]) -> str:
    """Return whose share is what; with one challenger the control's is what is left."""
    return ", ".join(f"{version} {values.percent(share)}" for version, share in list(shares.items())[1:])


def _counts(test: ABTest) -> str:
    return " / ".join(str(metrics.total_requests) for metrics in test.metrics.values()) or "0 / 0"


def _counts_by_version(test: ABTest) -> str:
    return ", ".join(f"{version} {metrics.total_requests}" for version, metrics in test.metrics.items()) or "none"
