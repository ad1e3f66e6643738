"""From one block of a section to markup."""

from __future__ import annotations

from sentinelzer0.reports.aligned import aligned_figures, draw_alignable, panel_figures
from sentinelzer0.reports.chart_values import (
    ComparisonChart,
    EventTimeline,
    IntervalChart,
    LaneChart,
    LineageRail,
    LineChart,
    Tone,
    TrafficChart,
)
from sentinelzer0.reports.comparison_chart import comparison_figure
from sentinelzer0.reports.figure import Context, table
from sentinelzer0.reports.formats import cell, symbol
from sentinelzer0.reports.html import Child, Markup, el
from sentinelzer0.reports.lineage import lineage_figure
from sentinelzer0.reports.page_values import (
    Aligned,
    Block,
    CodeBlock,
    Fact,
    Facts,
    Panels,
    Paragraph,
    Table,
    Verdict,
    VerdictKind,
)
from sentinelzer0.reports.timeline import timeline_figure
from sentinelzer0.reports.traffic_chart import traffic_figure

_VERDICTS = {
    VerdictKind.GOOD: ("\N{CHECK MARK}", "In order"),
    VerdictKind.BAD: ("\N{MULTIPLICATION X}", "Problem"),
    VerdictKind.CAUTION: ("!", "Look twice"),
    VerdictKind.UNDECIDED: ("\N{HORIZONTAL ELLIPSIS}", "Undecided"),
    VerdictKind.INFO: ("i", "Note"),
}


def draw(block: Block, context: Context) -> Markup:
    """Draw any block."""
    match block:
        case IntervalChart() | LineChart() | LaneChart():
            return draw_alignable(block, context)
        case Aligned():
            return aligned_figures(block, context)
        case Panels():
            return panel_figures(block, context)
        case TrafficChart():
            return traffic_figure(block, context)
        case ComparisonChart():
            return comparison_figure(block, context)
        case EventTimeline():
            return timeline_figure(block, context)
        case LineageRail():
            return lineage_figure(block, context)
        case Verdict():
            return verdict(block)
        case Facts():
            return el("dl", [_fact(fact) for fact in block.items], class_="facts")
        case Table():
            return el("div", table(block.caption, block.columns, block.rows), class_="box")
        case CodeBlock():
            return el("pre", el("code", block.text), tabindex=0)
        case Paragraph():
            return el("p", block.text)


def verdict(value: Verdict) -> Markup:
    """Draw the banner: shape, word and colour say the same."""
    sign, word = _VERDICTS[value.kind]
    return el(
        "div",
        el("span", sign, class_="sign", aria_hidden="true"),
        el(
            "div",
            el("p", value.label or word, class_="kind"),
            el("p", value.sentence, class_="say"),
            el("p", value.detail) if value.detail else None,
        ),
        class_=f"verdict {value.kind}",
    )


def _fact(fact: Fact) -> Markup:
    written = cell(fact.value, None if isinstance(fact.value, str) else fact.unit)
    content: Child = el("code", written) if fact.code else written
    if fact.tone is not Tone.NEUTRAL:
        content = el("span", f"{symbol(fact.tone)} ", content, class_=str(fact.tone))
    note = el("span", fact.note, class_="note") if fact.note else None
    return el("div", el("dt", fact.label), el("dd", content, note), class_="long" if fact.code else None)
