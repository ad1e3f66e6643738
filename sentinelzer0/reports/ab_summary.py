"""What a notebook shows of the results of an A/B test: a small table with one bar per metric, static and escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sentinelzer0.reports.ab_tables import compared_state, interval_text
from sentinelzer0.reports.ab_values import STATES, MetricWords, margin_of, metric_words, metrics_without_data, no_data
from sentinelzer0.reports.canvas import line
from sentinelzer0.reports.chart_values import Tone
from sentinelzer0.reports.formats import cell, number, symbol
from sentinelzer0.reports.html import Child, Markup, el, stylesheet
from sentinelzer0.reports.page_values import State
from sentinelzer0.reports.theme import BAND_OPACITY, css

_WIDTH, _HEIGHT = 190.0, 20.0
_SIGNS = {"promote": Tone.GOOD, "stop_guardrail": Tone.BAD, "invalid": Tone.CAUTION}


def html_summary(results: Mapping[str, Any]) -> str:
    """Return the results of a test as a fragment of HTML: scoped style, static SVG, no script.

    Args:
        results: As ``get_test_results`` returns them.
    """
    decision = results.get("decision") or {}
    sentence = str(results["recommendation"])
    tone = _SIGNS.get(str(decision.get("action")), Tone.NEUTRAL)
    several = results.get("comparisons") or {results["model_b"]: results["comparison"]}
    primary = results["statistical_significance"]["metric"]
    many = len(several) > 1
    rows = [
        _row(results, str(version), metric, found, many=many)
        for version, compared in several.items()
        for metric, found in sorted(compared.items(), key=lambda item: item[0] != primary)
        if metric not in metrics_without_data(compared, primary)
    ]
    # The control's column is called by its version, and so is the challenger's where there is but one.
    numbers = (str(results["model_a"]), "challenger" if many else next(iter(several)), "difference")
    table = el(
        "table",
        el("caption", f"{results['test_name']} ({results['status']})"),
        el("thead", el("tr", _heads(numbers))),
        el("tbody", rows),
    )
    content = (
        el("p", el("span", f"{symbol(tone)} " if symbol(tone) else "", class_=str(tone)), el("strong", sentence)),
        el("div", table, class_="scroll", tabindex=0, role="group", aria_label=str(results["test_name"])),
        _missing(several, primary),
        _remarks(results),
    )
    return str(el("div", stylesheet(css()), content, class_="sz0 fragment"))


def interval_bar(words: MetricWords, found: Mapping[str, Any], margin: float | None) -> Markup | None:
    """Draw an interval as a bar about zero, with its margin; None where there is no interval."""
    interval, value = found.get("interval"), found.get("difference")
    low, high = words.possible(interval)
    if value is None or low is None or high is None:
        return None
    reach = 1.08 * max(abs(x) for x in (low, high, value, margin or 0.0)) or 1.0
    middle, half = _HEIGHT / 2, _WIDTH / 2

    def at(x: float) -> float:
        return half + x / reach * half

    limit = None if margin is None else line(at(margin), 2, at(margin), _HEIGHT - 2, "limit", dash="2 2", width=1.5)
    width = max(at(high) - at(low), 1.0)
    band = el(
        "rect",
        x=at(low),
        y=middle - 5,
        width=width,
        height=10,
        fill="currentColor",
        fill_opacity=f"{2 * BAND_OPACITY:g}",
    )
    return el(
        "svg",
        line(0, middle, _WIDTH, middle, "grid"),
        el("g", band, line(at(low), middle, at(high), middle, "", width=2.0), class_="s1"),
        line(half, 0, half, _HEIGHT, "zero", width=1.4),
        limit,
        el("g", el("circle", cx=at(value), cy=middle, r=4, fill="currentColor"), class_="s1"),
        role="img",
        aria_label=f"{words.name}: {words.signed(value)}, {interval_text(words, interval)}",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        width=_WIDTH,
        height=_HEIGHT,
    )


def _heads(numbers: Sequence[str]) -> list[Markup]:
    right = [el("th", head, scope="col", class_="num") for head in numbers]
    others = [el("th", head, scope="col") for head in ("metric", "at every look between", "so far")]
    return [others[0], *right, *others[1:]]


def _row(results: Mapping[str, Any], version: str, metric: str, found: Mapping[str, Any], *, many: bool) -> Markup:
    words = metric_words(metric)
    guardrail = next(
        (g for g in results.get("guardrails") or () if g["metric"] == metric and g["version"] == version), None
    )
    margin = None
    if guardrail is not None:
        margin = margin_of(guardrail, found.get("model_a"), higher_is_better=words.higher_is_better)
        word, tone = STATES[guardrail["state"]]
        said: Child = ["guardrail ", el("span", cell(State(word, tone)), class_=str(tone))]
    else:
        state = compared_state(words, found)
        said = el("span", cell(state), class_=str(state.tone))
    values = [_written(found.get(arm), words) for arm in ("model_a", "model_b")]
    numbers = [*values, words.signed(found.get("difference"))]
    return el(
        "tr",
        el("th", f"{words.name}, {version}" if many else words.name, scope="row"),
        [el("td", text, class_="num") for text in numbers],
        el("td", interval_bar(words, found, margin), el("div", interval_text(words, found.get("interval")))),
        el("td", said),
    )


def _written(value: float | None, words: MetricWords) -> str:
    return "\N{EN DASH}" if value is None else number(value, words.unit)


def _missing(several: Mapping[str, Mapping[str, Any]], primary: str) -> list[Markup]:
    """Return a line for every challenger whose row of a metric is left out for want of data."""
    empty = {version: metrics_without_data(compared, primary) for version, compared in several.items()}
    said = {version: no_data(metrics) for version, metrics in empty.items() if metrics}
    many = len(several) > 1
    return [el("p", f"{version}: {words}" if many else words, class_="muted") for version, words in said.items()]


def _remarks(results: Mapping[str, Any]) -> list[Markup]:
    remarks: list[str] = []
    srm = results.get("srm")
    if srm and not srm.get("ok", True):
        remarks.append(str(srm["reason"]))
    if results.get("drift"):
        remarks.append(str(results["drift"]))
    remarks += [str(warning) for warning in results.get("warnings") or ()]
    return [el("p", el("span", "! ", class_="caution"), remark) for remark in remarks]
