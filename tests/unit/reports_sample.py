"""A report with every kind of block, for the tests of the renderer."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from sentinelzer0.reports import (
    CodeBlock,
    Column,
    ComparisonChart,
    Document,
    Event,
    EventTimeline,
    Fact,
    Facts,
    IntervalChart,
    IntervalPoint,
    LineageNode,
    LineageRail,
    LineChart,
    LineSeries,
    Mark,
    MetricRow,
    Paragraph,
    Section,
    Table,
    Threshold,
    Tone,
    TrafficChart,
    TrafficStep,
    Unit,
    Verdict,
    VerdictKind,
)

START = datetime(2026, 11, 13, 9, 0, tzinfo=UTC)
DIGEST = "sha256:" + "9f3c" * 16


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def looks(count: int, effect: float, *, times: bool, per_look: int = 40) -> tuple[IntervalPoint, ...]:
    """Looks at a noisy mean whose interval shrinks like a confidence sequence, from a fixed seed."""
    noise = random.Random(4)
    total = 0.0
    points = []
    for index in range(1, count + 1):
        samples = index * per_look
        total += noise.gauss(effect, 0.33 * math.sqrt(2 / per_look))
        half = 0.36 * math.sqrt(2 / samples) * math.sqrt(2 * math.log(20 * math.sqrt(1 + samples / 500)))
        mean = total / index
        points.append(IntervalPoint(after(index) if times else samples, mean, mean - half, mean + half, samples))
    return tuple(points)


def interval_chart(text: str = "v2") -> IntervalChart:
    return IntervalChart(
        title=f"F1 score of {text}",
        points=looks(160, 0.0252, times=True),
        control=f"{text} old",
        challenger=text,
        metric="F1 score",
        unit=Unit.POINTS,
        min_samples=500,
        threshold=Threshold(-0.02, f"margin {text}"),
        marks=(
            Mark(after(60), f"share raised {text}", text, reason=text),
            Mark(after(62), text, text, automatic=True, reason=text, tone=Tone.CAUTION),
        ),
    )


def line_chart(text: str = "v2") -> LineChart:
    recall = tuple((count, 0.93 if count < 900 or count > 1450 else 0.31) for count in range(0, 2000, 10))
    return LineChart(
        title=f"Live recall {text}",
        series=(LineSeries(f"recall {text}", recall), LineSeries(text, ((0, 0.9), (500, None), (1990, 0.95)))),
        unit=Unit.PERCENT,
        x_label=f"requests {text}",
        y_label=text,
        threshold=Threshold(0.8, text, bad_above=False),
        marks=(Mark(1450, text, text, automatic=True, reason=text, tone=Tone.BAD),),
    )


def traffic_chart(text: str = "v2") -> TrafficChart:
    old = f"{text} old"
    return TrafficChart(
        title=f"Traffic {text}",
        steps=(
            TrafficStep(after(0), ((old, 1.0),), text, text, reason=text),
            TrafficStep(after(24), ((old, 0.9), (text, 0.1)), text, text, automatic=True, reason=text),
            TrafficStep(after(80), ((text, 1.0),), text, text, reason=text, tone=Tone.GOOD),
        ),
        end=after(120),
    )


def comparison_chart(text: str = "v2", versions: int = 2) -> ComparisonChart:
    names = (f"{text} old", *(f"{text} {index}" for index in range(1, versions)))
    grown = tuple(0.8 + 0.01 * index for index in range(versions))
    return ComparisonChart(
        title=f"Comparison {text}",
        versions=names,
        rows=(
            MetricRow(f"F1 {text}", grown),
            MetricRow("error rate", tuple(0.03 - value / 100 for value in grown), Unit.PERCENT, higher_is_better=False),
            MetricRow("size", tuple(value * 1e8 for value in grown), Unit.BYTES, higher_is_better=None),
            MetricRow("AUC", (None, *grown[1:])),
        ),
    )


def timeline(text: str = "v2") -> EventTimeline:
    return EventTimeline(
        title=f"What happened to {text}",
        events=(
            Event(after(0), f"registered {text}", text, reason=text, digest=DIGEST),
            Event(after(9), text, text, automatic=True, reason=text, digest=text, tone=Tone.BAD),
        ),
    )


def lineage(text: str = "v2") -> LineageRail:
    return LineageRail(
        title=f"Lineage of {text}",
        nodes=(
            LineageNode(f"{text} merged", (f"{text} left", f"{text} right"), text, text, text, after(9)),
            LineageNode(f"{text} right", (f"{text} base",), text, text, text, after(8), Tone.BAD),
            LineageNode(f"{text} left", (f"{text} base",), "", text, text, after(7), href="#s1"),
            LineageNode(f"{text} base", (f"{text} outside",), text, text, text, after(1), Tone.GOOD),
        ),
        current=frozenset({f"{text} base"}),
    )


def document(text: str = "v2") -> Document:
    table = Table(
        f"Arms {text}",
        (Column(text), Column("Requests", Unit.COUNT), Column("Digest", code=True)),
        ((text, 13440, DIGEST), (f"{text} old", None, text)),
    )
    facts = Facts(
        (
            Fact(text, text, note=text),
            Fact("Rolled back in", 11.4, Unit.MILLISECONDS, tone=Tone.GOOD),
            Fact("Digest", text, code=True),
        )
    )
    return Document(
        title=f"Report on {text}",
        subtitle=text,
        verdict=Verdict(VerdictKind.GOOD, f"{text} is better", text, label=text),
        sections=(
            Section(f"Evidence {text}", (facts, interval_chart(text), table), intro=text),
            Section("Rollout", (traffic_chart(text), line_chart(text), Verdict(VerdictKind.UNDECIDED, text))),
            Section("Versions", (comparison_chart(text), comparison_chart(text, versions=5), lineage(text))),
            Section("Audit", (timeline(text), Paragraph(text), CodeBlock(text))),
        ),
        generated_at=datetime(2026, 11, 28, 14, 5, tzinfo=UTC),
        settings_digest=text,
        generator=text,
    )
