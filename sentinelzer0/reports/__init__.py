"""The one report renderer: plain values in, one self-contained HTML file out.

No network, no script, no clock. Charts are inline SVG in light and dark, each with a sentence, a data table and a CSV.

    html = render(Document(title=..., sections=(Section("Evidence", (chart,)),), generated_at=now, verdict=...))
    cell = render_fragment(Table(...), chart)          # for `_repr_html_`: scoped style, static SVG
"""

from __future__ import annotations

from sentinelzer0.reports.chart_values import (
    ComparisonChart,
    Event,
    EventTimeline,
    Finding,
    IntervalChart,
    IntervalPoint,
    Lane,
    LaneChart,
    LineageNode,
    LineageRail,
    LineChart,
    LineSeries,
    Mark,
    MetricRow,
    Threshold,
    Tone,
    TrafficChart,
    TrafficStep,
    Unit,
)
from sentinelzer0.reports.document import render, render_fragment
from sentinelzer0.reports.page_values import (
    Aligned,
    CodeBlock,
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

# fmt: off
__all__ = [
    "Aligned", "CodeBlock", "Column", "ComparisonChart", "Document", "Event", "EventTimeline", "Fact", "Facts",
    "Finding", "IntervalChart", "IntervalPoint", "Lane", "LaneChart", "LineChart", "LineSeries", "LineageNode",
    "LineageRail", "Mark", "MetricRow", "Panels", "Paragraph", "Section", "Table", "Threshold", "Tone",
    "TrafficChart", "TrafficStep", "Unit", "Verdict", "VerdictKind", "render", "render_fragment",
]
# fmt: on
