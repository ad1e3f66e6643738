"""Charts that are read together share edges and domain; lanes say states by word, shape and colour."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sentinelzer0.reports import (
    Aligned,
    Finding,
    IntervalPoint,
    Lane,
    LaneChart,
    LineChart,
    LineSeries,
    Panels,
    Table,
    Tone,
    Unit,
    render_fragment,
)
from sentinelzer0.reports.canvas import WIDE
from sentinelzer0.reports.formats import NBSP
from sentinelzer0.reports.frame import Frame
from sentinelzer0.reports.interval_words import interval_sentence
from sentinelzer0.reports.lane_chart import lane_sentence
from sentinelzer0.reports.page_values import Column, State
from sentinelzer0.reports.running_band import running_band
from tests.unit.reports_sample import after, interval_chart

LANES = LaneChart(
    "Guardrails",
    (
        Lane(
            "error rate",
            (
                (after(1), "no data", Tone.CAUTION),
                (after(2), "passed", Tone.GOOD),
                (after(3), "passed", Tone.GOOD),
                (after(90), "violated", Tone.BAD),
            ),
        ),
        Lane("latency", ()),
    ),
    after(160),
)
STRIP = LineChart("p", (LineSeries("p", tuple((after(hour), 0.5) for hour in range(30, 160))),), Unit.NUMBER)


def spoken(text: str) -> str:
    return text.replace(NBSP, " ")


def axes(html: str) -> list[tuple[float, float]]:
    """Where the x axis of each picture begins and ends: the longest horizontal line of class axis."""
    found = []
    for picture in re.findall(r"<svg class=.*?</svg>", html, re.DOTALL):
        lines = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)" class="axis"', picture)
        level = [(float(x1), float(x2)) for x1, y1, x2, y2 in lines if y1 == y2]
        found += [max(level, key=lambda edges: edges[1] - edges[0])] if level else []
    return found


def test_aligned_charts_share_edges_and_charts_alone_do_not() -> None:
    charts = (interval_chart(), STRIP, LANES)
    assert len(set(axes(render_fragment(Aligned(charts))))) == 1
    assert len(set(axes("".join(render_fragment(chart) for chart in charts)))) == 3


def test_aligned_charts_share_the_domain_and_the_first_explains_the_marks() -> None:
    strip = replace(STRIP, marks=interval_chart().marks)
    html = render_fragment(Aligned((interval_chart(), strip)))
    assert html.count('<ol class="marks">') == 1
    ticks = [re.findall(r'text-anchor="middle"[^>]*>(\d+ Nov)<', figure) for figure in html.split("<figure")[1:]]
    assert ticks[0] == ticks[1] != []


def test_panels_explain_encodings_and_marks_once_beneath() -> None:
    chart = interval_chart()
    html = render_fragment(Panels((chart, replace(chart, title="second", threshold=None))))
    assert html.count('<ol class="marks">') == 1
    assert html.count(">estimate<") == 1
    assert html.count("margin v2") == 1, "a threshold belongs to its own panel"
    assert 'class="chart wide"' not in html


def test_a_frame_widens_but_an_empty_one_leaves_all_to_the_chart() -> None:
    assert Frame().x_extent((1, 2)) == (1, 2)
    assert Frame((0, 9)).x_extent((1, 2)) == (0, 9)
    assert Frame(rooms={"wide": (50, 80)}).edges(WIDE, (10, 20)) == (50, WIDE.width - 80)


def test_lanes_say_their_last_state_and_since_when() -> None:
    said = spoken(lane_sentence(LANES))
    assert said == "error rate: violated since 17 Nov 2026, 03:00 UTC. latency: no state yet."
    html = render_fragment(LANES)
    assert html.count("<rect") == 3, "equal neighbours are one segment"
    assert "\N{MULTIPLICATION X} violated" in html
    assert 'class="bad"' in html


def test_lanes_without_states_are_still_a_figure() -> None:
    assert "No states yet." in render_fragment(LaneChart("x", (), after(1)))


def test_a_given_band_is_drawn_as_it_is_and_a_contradiction_is_a_drift() -> None:
    def point(x: int, low: float, high: float, band: tuple[float, float] | None) -> IntervalPoint:
        return IntervalPoint(x, (low + high) / 2, low, high, x, band)

    points = (
        point(1, -9, 9, None),
        point(2, -2, 4, (-2, 4)),
        point(3, -1, 5, (0.5, 3.5)),  # a look in between, not kept, had cut it further
        point(4, 4, 6, (0.5, 3.5)),
    )
    band = running_band(points, 2, 0.0)
    assert (band.low, band.high) == ((-9, -2, 0.5, 4), (9, 4, 3.5, 6))
    assert (band.first_valid, band.decided, band.above, band.drifted) == (1, 2, True, 3)


def test_a_given_finding_replaces_what_the_band_says() -> None:
    chart = interval_chart()
    band = running_band(chart.points, chart.min_samples, 0.0)
    assert band.decided is not None
    told = replace(chart, finding=Finding(after(150), "stopped", Tone.BAD))
    assert "stopped, found at 19 Nov 2026, 15:00 UTC." in spoken(interval_sentence(told, band))
    blocked = replace(chart, read_band=False)
    assert "The band excludes zero, which alone decides nothing here." in interval_sentence(blocked, band)
    assert 'class="halo strong"' not in render_fragment(blocked)
    assert "stopped" in render_fragment(told)


def test_a_metric_without_direction_is_higher_and_neither_good_nor_bad() -> None:
    html = render_fragment(replace(interval_chart(), higher_is_better=None))
    assert "v2 is higher" in html
    assert not re.search(r'<g class="(good|bad)">', html)


@pytest.mark.parametrize("tone", list(Tone))
def test_a_state_in_a_table_has_its_word_and_its_tone(tone: Tone) -> None:
    html = render_fragment(Table("t", (Column("a"),), ((State("passed <b>", tone),),)))
    assert f'<span class="{tone}">' in html
    assert f"passed{NBSP}&lt;b&gt;</span>" in html
