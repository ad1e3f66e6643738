"""Every chart says in words and numbers what it shows, and draws it where it belongs."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from sentinelzer0.errors import InvalidInputError, InvalidMetricError
from sentinelzer0.reports import (
    ComparisonChart,
    Document,
    Event,
    EventTimeline,
    IntervalChart,
    IntervalPoint,
    LineageNode,
    LineageRail,
    LineChart,
    LineSeries,
    MetricRow,
    Section,
    Table,
    Threshold,
    TrafficChart,
    TrafficStep,
    Unit,
    render,
    render_fragment,
)
from sentinelzer0.reports.comparison_chart import comparison_sentence, delta_text, relative_gain
from sentinelzer0.reports.formats import NBSP
from sentinelzer0.reports.interval_words import interval_sentence
from sentinelzer0.reports.line_chart import line_sentence
from sentinelzer0.reports.lineage import rail_rows
from sentinelzer0.reports.page_values import Column
from sentinelzer0.reports.running_band import running_band
from sentinelzer0.reports.traffic_chart import traffic_sentence
from tests.unit import reports_sample as sample


def spoken(text: str) -> str:
    return text.replace(NBSP, " ")


def csv_rows(html: str) -> list[list[str]]:
    [link] = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)"', html)
    return list(csv.reader(io.StringIO(unquote(link))))


def test_a_document_is_complete_and_its_ids_are_unique() -> None:
    page = render(sample.document())
    ids = Counter(re.findall(r'\bid="([^"]+)"', page))
    assert [name for name, count in ids.items() if count > 1] == []
    for target in re.findall(r'aria-labelledby="([^"]+)"|href="#([^"]+)"|url\(#([^)]+)\)', page):
        assert "".join(target) in ids
    assert page.count("<h1>") == 1
    assert page.count('role="img"') == 2 * 5  # wide and narrow of every drawn chart
    assert page.count("<figure") == page.count("<details>") == page.count("Download CSV") == 7
    assert 'lang="en"' in page
    assert "default-src &#39;none&#39;" in page


def test_equal_documents_render_equal_bytes() -> None:
    assert render(sample.document()) == render(sample.document())


@pytest.mark.parametrize(
    ("chart", "rows"),
    [
        (sample.interval_chart(), 160),
        (sample.line_chart(), 203),
        (sample.traffic_chart(), 3),
        (sample.comparison_chart(), 4),
        (sample.timeline(), 2),
        (sample.lineage(), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_csv_holds_every_row_and_the_table_says_when_it_does_not(chart: IntervalChart, rows: int) -> None:
    html = render_fragment(chart)
    table = csv_rows(html)
    assert len(table) == rows + 1
    assert len({len(row) for row in table}) == 1
    assert html.count("<tr>") == min(rows, 60) + 1
    assert ("the CSV holds all" in html) is (rows > 60)


def test_the_csv_is_exact() -> None:
    first = sample.interval_chart().points[0]
    row = csv_rows(render_fragment(sample.interval_chart()))[1]
    assert row[0] == "2026-11-13T10:00:00Z"
    assert [float(value) for value in row[1:5]] == pytest.approx([40, first.estimate, first.low, first.high], rel=1e-11)


def interval(points: list[tuple[float, float, float]], **settings: object) -> IntervalChart:
    looks = tuple(IntervalPoint(100 * n, e, low, high, 100 * n) for n, (e, low, high) in enumerate(points, start=1))
    chart = IntervalChart("Effect", looks, "v1", "v2", "error rate", Unit.POINTS, min_samples=200)
    return replace(chart, **settings)  # type: ignore[arg-type]


CROSSING = [(0.9, 0.5, 1.3), (0.1, -0.1, 0.3), (0.1, 0.02, 0.18), (0.09, 0.01, 0.17), (0.05, -0.02, 0.12)]


def sentence(chart: IntervalChart) -> str:
    return spoken(interval_sentence(chart, running_band(chart.points, chart.min_samples, chart.decide_against)))


def test_the_sentence_names_the_first_crossing_and_the_latched_verdict() -> None:
    said = sentence(interval(CROSSING))
    assert "Error rate, v2 minus v1: +5.00 pp, 95 % confidence sequence +2.00 pp to +12.00 pp" in said
    assert "v2 is better: the first look with enough samples that excludes zero came at 300 samples per arm." in said
    assert "first left" not in said, "it may have left earlier, with too few samples"
    assert "v2 is worse" in sentence(interval(CROSSING, higher_is_better=False))


def test_the_sentence_for_no_verdict() -> None:
    assert "No verdict yet: 100 of at least 200 samples per arm" in sentence(interval(CROSSING[:1]))
    assert "Undecided after 200 samples per arm: the band still holds zero" in sentence(interval(CROSSING[:2]))
    assert sentence(interval([])) == "No looks yet."


def test_the_sentence_for_a_margin_and_for_a_drift() -> None:
    margin = interval(CROSSING, decide_against=-0.05, threshold=Threshold(-0.05, "margin"))
    assert "v2 is within the margin: the first look" in sentence(margin)
    assert "that excludes \N{MINUS SIGN}5 pp came at 300 samples" in sentence(margin)
    drifted = interval([*CROSSING, (-0.3, -0.4, -0.2)])
    assert "v2 is better" in sentence(drifted)
    assert "The effect drifted at 600 samples per arm" in sentence(drifted)
    assert "! effect drifted" in render_fragment(drifted)


def test_a_wild_start_does_not_flatten_the_band() -> None:
    points = [(50.0, -500.0, 600.0)] * 3 + [(0.03, 0.03 - 1 / n, 0.03 + 1 / n) for n in range(4, 60)]
    html = render_fragment(interval(points, min_samples=0))
    labels = [
        spoken(label) for label in re.findall(r'text-anchor="end"[^>]*>([^<]* ?pp)</text>'.replace(" ?", "."), html)
    ]
    assert labels
    assert max(abs(float(label.split()[0].replace("\N{MINUS SIGN}", "-").replace(",", ""))) for label in labels) <= 50


def test_the_decision_mark_stands_at_the_first_crossing() -> None:
    html = render_fragment(interval(CROSSING))
    ticks = {
        label: float(x) for x, label in re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="middle"[^>]*>(\d+)<', html)
    }
    [flag] = re.findall(r'class="good"><path d="M([\d.]+) ', html)
    assert float(flag) == pytest.approx(ticks["300"], abs=0.11)
    assert "decision, latched" in html
    assert "decision, latched" not in render_fragment(interval(CROSSING[:2]))


def test_a_line_sentence_names_the_first_crossing() -> None:
    chart = LineChart(
        "Live recall",
        (LineSeries("recall", ((0, 0.93), (100, 0.7), (200, 0.9), (300, 0.5))),),
        Unit.PERCENT,
        threshold=Threshold(0.8, "health threshold", bad_above=False),
    )
    said = spoken(line_sentence(chart))
    assert said == (
        "Recall: 93.00 % at first, 50.00 % at the end; below health threshold (80 %) for the first time at 100 requests."
    )
    healthy = replace(chart, series=(LineSeries("recall", ((0, 0.93),)),))
    assert spoken(line_sentence(healthy)).endswith("never below health threshold (80 %).")
    assert line_sentence(replace(chart, series=(LineSeries("recall", ((0, None),)),))) == "Recall: no data."


def test_a_gap_is_a_gap_and_not_a_zero() -> None:
    gap = LineChart("Recall", (LineSeries("recall", ((0, 0.5), (1, 0.6), (2, None), (3, 0.7), (4, 0.8))),))
    html = render_fragment(gap)
    curves = re.findall(r'<path d="([^"]+)"[^>]*stroke-linejoin', html)
    assert [len(re.findall(r"[ML]", curve)) for curve in curves] == [2, 2]
    assert "no data" in line_sentence(LineChart("Recall", (LineSeries("recall", ((0, None),)),)))


def test_traffic_is_drawn_only_where_it_was_served() -> None:
    html = render_fragment(sample.traffic_chart())
    edges = re.findall(r'class="s(\d)">(?:(?!</g>).)*<path d="([^"]+)" fill="none"[^>]*stroke-width="2"', html)
    first, second = (dict(edges)[number] for number in "12")
    old_end = max(float(x) for x in re.findall(r"[ML]([\d.]+) ", first))
    new_start = min(float(x) for x in re.findall(r"[ML]([\d.]+) ", second))
    assert new_start < old_end < 700
    assert spoken(traffic_sentence(sample.traffic_chart())) == (
        "v2 old 100 % at first, v2 100 % at the end; 2 changes in 5 d, 1 of them automatic."
    )


def test_marks_show_who_and_why_and_their_shape_tells_person_from_machine() -> None:
    html = render_fragment(sample.traffic_chart("v9"))
    assert html.count('class="badge neutral"') == 1
    assert html.count('class="badge neutral auto"') == 1
    assert "v9 (automatic)" in html
    drawing = html[html.index("<svg") : html.index("</svg>")]
    assert drawing.count('class="plate"') == 3
    assert len(re.findall(r"<rect[^>]*plate", drawing)) == 1


@pytest.mark.parametrize(
    ("row", "said", "gain"),
    [
        (MetricRow("F1", (0.8, 0.9)), "▲ +0.1 better", 0.125),
        (MetricRow("F1", (0.8, 0.6)), "▼ \N{MINUS SIGN}0.2 worse", -0.25),
        (
            MetricRow("error", (0.04, 0.03), Unit.PERCENT, higher_is_better=False),
            "▼ \N{MINUS SIGN}1.00 pp better",
            0.25,
        ),
        (MetricRow("latency", (40, 50), Unit.MILLISECONDS, higher_is_better=False), "▲ +10 ms worse", -0.25),
        (MetricRow("size", (100, 50), Unit.BYTES, higher_is_better=None), "▼ \N{MINUS SIGN}50 B changed", -0.5),
        (MetricRow("F1", (0.8, 0.8)), "equal", 0.0),
        (MetricRow("F1", (None, 0.8)), "\N{EN DASH} unknown", None),
        (MetricRow("errors", (0, 3), Unit.COUNT, higher_is_better=False), "▲ +3 worse", None),
    ],
)
def test_deltas_know_which_way_is_better(row: MetricRow, said: str, gain: float | None) -> None:
    assert spoken(delta_text(row, 1)) == said
    assert relative_gain(row, 1) == (None if gain is None else pytest.approx(gain))


def test_the_comparison_sentence_groups_metrics() -> None:
    chart = ComparisonChart("C", ("v1", "v2"), (MetricRow("F1", (0.8, 0.9)), MetricRow("recall", (0.8, 0.7))))
    assert comparison_sentence(chart) == "v2 against v1: better on F1; worse on recall."


def test_a_lone_giant_is_cut_with_an_arrow() -> None:
    rows = (MetricRow("F1", (0.80, 0.81)), MetricRow("AUC", (0.9, 0.91)), MetricRow("speed", (1, 50)))
    assert render_fragment(ComparisonChart("C", ("v1", "v2"), rows)).count('d="M') > 0
    ticks = re.findall(
        r">[+\u2212](\d+\.?\d*)\u00a0%</text>", render_fragment(ComparisonChart("C", ("v1", "v2"), rows))
    )
    assert max(float(tick) for tick in ticks) < 10


def test_the_rail_keeps_lanes_through_a_merge() -> None:
    rows = rail_rows(sample.lineage().nodes)
    assert [row.lane for row in rows] == [0, 1, 0, 1]
    assert [row.outgoing for row in rows[:-1]] == [row.incoming for row in rows[1:]]
    assert rows[0].outgoing == ("v2 left", "v2 right")
    assert rows[-1].incoming.count("v2 base") == 1
    assert rows[-1].outgoing == ()
    assert "from v2 outside" in render_fragment(sample.lineage())


def test_empty_charts_say_so() -> None:
    html = render_fragment(
        interval([]),
        LineChart("L", (LineSeries("l", ()),)),
        TrafficChart("T", (), 0),
        ComparisonChart("C", ("v1", "v2"), ()),
        EventTimeline("E", ()),
        LineageRail("R", ()),
    )
    for words in ("No looks yet", "No data yet", "No traffic was assigned", "No metrics", "No events", "No versions"):
        assert words in html


def test_a_single_point_of_each_kind_can_be_drawn() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    html = render_fragment(
        interval(CROSSING[:1]),
        LineChart("L", (LineSeries("l", ((at, 0.5),)),)),
        LineChart("P", (LineSeries("p", ((at, 0.02),)),), log_y=True, compact=True, threshold=Threshold(0.01, "limit")),
        TrafficChart("T", (TrafficStep(at, (("v1", 1.0),)),), at),
        EventTimeline("E", (Event(at, "born"),)),
    )
    assert "nan" not in re.sub(r"<style>.*?</style>", "", html).lower()
    assert html.count("<figure") == 5


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused
AWARE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "build",
    [
        lambda: IntervalPoint(1, float("nan"), 0, 1, 1),
        lambda: IntervalPoint(1, 0.5, 1.0, 0.0, 1),
        lambda: interval(CROSSING, confidence=95.0),
        lambda: LineSeries("l", ((0, float("inf")),)),
        lambda: LineChart("L", ()),
        lambda: LineChart("L", tuple(LineSeries(str(n), ()) for n in range(6))),
        lambda: LineChart("L", (LineSeries("l", ((2, 0.1), (1, 0.2))),)),
        lambda: LineChart("L", (LineSeries("l", ((1, 0.1), (AWARE, 0.2))),)),
        lambda: LineChart("L", (LineSeries("a", ((1, 0.1),)), LineSeries("b", ((AWARE, 0.2),)))),
        lambda: LineChart("L", (LineSeries("l", ((NAIVE, 0.1),)),)),
        lambda: LineChart("L", (LineSeries("l", ((1, 0.0),)),), log_y=True),
        lambda: TrafficStep(0, (("v1", 0.5), ("v2", 0.4))),
        lambda: TrafficStep(0, (("v1", 1.5), ("v2", -0.5))),
        lambda: TrafficChart("T", (TrafficStep(0, tuple((str(n), 1 / 6) for n in range(6))),), 1),
        lambda: ComparisonChart("C", ("v1",), ()),
        lambda: ComparisonChart("C", ("v1", "v2"), (MetricRow("F1", (0.5,)),)),
        lambda: Table("T", (Column("a"),), (("x", "y"),)),
        lambda: Event(NAIVE, "x"),
        lambda: Document("D", (Section("S", ()),), NAIVE),
        lambda: LineageRail("R", (LineageNode("v1"), LineageNode("v2", ("v1",)))),
        lambda: LineageRail("R", (LineageNode("v1"), LineageNode("v1"))),
    ],
)
def test_impossible_values_are_refused_by_name(build: object) -> None:
    with pytest.raises((InvalidInputError, InvalidMetricError)) as refusal:
        build()  # type: ignore[operator]
    assert refusal.value.message.endswith((".", ")."))


@pytest.mark.parametrize("low", [0.0, 0.002, 0.005, 0.01, 0.05, -0.02, -0.1])
def test_the_minimum_sample_keeps_clear_of_the_zero_line(low: float) -> None:
    html = render_fragment(interval([(0.1, low, 0.3)] * 6))
    [label] = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>minimum sample<', html)]
    zero = float(re.findall(r'<path d="M[\d.]+ ([\d.]+)L[^"]*" class="zero"', html)[0])
    assert not label - 10 < zero < label + 4
