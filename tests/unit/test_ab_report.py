"""The report of an A/B test says and draws what the results and the looks hold, and nothing in it is ever markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinelzer0.domain.ab_design import new_test
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.mlops.ab_earlier_looks import readings_of
from sentinelzer0.mlops.ab_report import format_of
from sentinelzer0.mlops.ab_report_text import json_report, markdown, markdown_report
from sentinelzer0.reports import (
    IntervalChart,
    LaneChart,
    LineChart,
    Panels,
    Paragraph,
    Table,
    TrafficChart,
    VerdictKind,
    render,
    render_fragment,
)
from sentinelzer0.reports.ab_page import ab_document, data_digest, settings_digest
from sentinelzer0.reports.ab_summary import html_summary
from sentinelzer0.reports.ab_values import ABReport
from sentinelzer0.reports.formats import NBSP
from sentinelzer0.reports.interval_chart import interval_extent
from sentinelzer0.reports.page_values import Aligned, Document
from tests.unit.ab_report_sample import LOOKS, RAMP, START, after, report
from tests.unit.test_reports_html import HOSTILE, TEXT, Parsed

DECIDED = START + timedelta(hours=118)


def section(document: Document, title: str) -> tuple[Any, ...]:
    [found] = [part.blocks for part in document.sections if part.title == title]
    return found


def evidence(made: ABReport) -> tuple[Any, ...]:
    [aligned] = section(ab_document(made), "Evidence")
    assert isinstance(aligned, Aligned)
    return aligned.charts


def titles(made: ABReport) -> list[str]:
    return [part.title for part in ab_document(made).sections]


def panels(made: ABReport, title: str) -> list[IntervalChart]:
    return [chart for block in section(ab_document(made), title) if isinstance(block, Panels) for chart in block.charts]


def table(made: ABReport, title: str, caption: str) -> Table:
    [found] = [b for b in section(ab_document(made), title) if isinstance(b, Table) and caption in b.caption]
    return found


def changed(made: ABReport, **results: Any) -> ABReport:
    return replace(made, results={**made.results, **results})


def test_the_primary_metric_of_every_challenger_stands_first_then_the_strip_then_the_lanes() -> None:
    charts = evidence(report())
    assert [type(chart) for chart in charts] == [IntervalChart, IntervalChart, LineChart, LaneChart]
    assert [chart.title for chart in charts[:2]] == ["F1 score, v2 against v1", "F1 score, v3 against v1"]


def test_the_mark_is_at_the_look_that_decided_and_not_where_the_band_leaves_zero() -> None:
    winner, other, *_ = evidence(report())
    assert (winner.finding.x, winner.finding.words) == (DECIDED, "v2 is better")
    assert other.finding.words == "decided for v2"
    assert (
        next(point.x for point in winner.points if point.band and point.band[0] > 0 and point.samples >= 400) < DECIDED
    )
    undecided = evidence(report(decided=False))[0]
    assert (undecided.finding, undecided.read_band) == (None, False)
    assert "which alone decides nothing here" in render(ab_document(report(decided=False)))


def test_the_mark_of_the_verdict_stands_on_the_look_that_is_kept_as_deciding() -> None:
    made = report(arms=2)
    looks = [{**look, "decision": "promote" if at == 70 else None} for at, look in enumerate(made.looks)]
    chart = evidence(replace(made, looks=looks))[0]
    assert chart.finding.x == datetime.fromisoformat(looks[70]["recorded_at"]) != DECIDED


def test_a_mark_before_the_first_look_lies_on_the_axis() -> None:
    chart = evidence(report(arms=2))[0]
    late = replace(chart, points=chart.points[20:])
    assert interval_extent(late) == (chart.marks[0].x.timestamp(), chart.points[-1].x.timestamp())
    drawn = render_fragment(late)
    edge = max(float(x) for x in re.findall(r'd="M([\d.]+) [^"]*" class="zero"', drawn))  # the other is of the legend
    badges = [float(x) for x in re.findall(r'<circle cx="([\d.]+)" cy="[\d.]+" r="8.5"', drawn)]
    assert len(badges) == len(chart.marks)
    assert min(badges) >= edge


def without_data(made: ABReport, *metrics: str) -> ABReport:
    bare = {"model_a": None, "model_b": None, "difference": None, "interval": None, "winner": None}
    of_arm = {m: {**found, **(bare if m in metrics else {})} for m, found in made.comparisons["v2"].items()}
    return changed(made, comparison=of_arm, comparisons={"v2": of_arm})


def test_metrics_without_data_take_one_line_but_the_one_that_decides() -> None:
    made = without_data(report(arms=2), "f1_score", "precision", "recall")
    names = [row[0] for row in table(made, "Other metrics", "every metric").rows]
    assert names[0] == "F1 score (decides)"
    assert not {"precision", "recall"} & set(names)
    said = [block.text for block in section(ab_document(made), "Other metrics") if isinstance(block, Paragraph)]
    assert said == ["No data: precision, recall."]
    assert "\n\nNo data: precision, recall.\n\n" in markdown_report(made)
    html = html_summary(made.results)
    assert html.count("<svg") == 5
    assert "No data: precision, recall." in html
    assert "No data" not in html_summary(report(arms=2).results)


def test_intervals_of_rates_are_shown_as_far_as_they_are_possible() -> None:
    made = report(arms=2)
    wide = {m: {**found, "interval": [-41.2, 37.5]} for m, found in made.comparisons["v2"].items()}
    made = changed(made, comparison=wide, comparisons={"v2": wide})
    shown = {row[0]: row[5].replace(NBSP, " ") for row in table(made, "Other metrics", "every metric").rows}
    assert shown["accuracy"] == "\N{MINUS SIGN}100.00 to +100.00 pp"
    assert shown["mean latency"] == "\N{MINUS SIGN}41.2 to +37.5 ms"
    assert markdown_report(made).count("100.00 to +100.00 pp") == 6
    assert html_summary(made.results).replace(NBSP, " ").count("<div>\N{MINUS SIGN}100.00 to +100.00 pp") == 6
    look = made.looks[0]["comparisons"]["v2"]["accuracy"]
    looks = [{**made.looks[0], "comparisons": {"v2": {"accuracy": {**look, "interval": [-3.0, 2.0]}}}}, *made.looks[1:]]
    first = panels(replace(made, looks=looks), "Other metrics")[0].points[0]
    assert (first.low, first.high) == (-1.0, 1.0)


def test_a_notebook_names_the_challenger_where_there_is_one() -> None:
    assert '<th scope="col" class="num">v2</th>' in html_summary(report(arms=2).results)
    assert '<th scope="col" class="num">challenger</th>' in html_summary(report().results)


def test_the_band_is_the_running_intersection_of_the_looks() -> None:
    made = report()
    chart = evidence(made)[0]
    last = made.looks[-1]["comparisons"]["v2"]["f1_score"]
    assert chart.points[-1].band == (last["low"], last["high"])
    assert chart.min_samples == 400
    assert chart.points[0].samples < 400


def test_ramp_steps_are_marked_on_every_chart_but_not_the_start() -> None:
    for chart in evidence(report()):
        assert [mark.x for mark in chart.marks] == [datetime.fromisoformat(after(hour)) for hour, _ in RAMP[1:]]
    assert evidence(report())[0].marks[0].label.replace(NBSP, " ") == "share of v2 5 %, share of v3 5 %"


def test_a_pause_is_said_as_such() -> None:
    made = report(arms=2)
    phases = [*made.results["phases"], {"phase": 5, "at": after(200), "shares": {"v1": 0.95, "v2": 0.0}}]
    assert evidence(changed(made, phases=phases))[0].marks[-1].label == "paused: all traffic to the control"


def test_panels_come_in_the_order_guardrails_then_others() -> None:
    made = report(arms=2)
    assert [chart.title for chart in panels(made, "Guardrails")] == ["Error rate", "Mean latency"]
    others = ["Accuracy", "Precision", "Recall", "Mean confidence", "Revenue"]
    assert [chart.title for chart in panels(made, "Other metrics")] == others


def test_thresholds_are_the_minimum_effect_and_the_margins_with_their_signs() -> None:
    made = report(arms=2)
    assert evidence(made)[0].threshold.value == 0.01
    errors, latency = panels(made, "Guardrails")
    assert errors.threshold.value == 0.005
    assert latency.threshold.value == pytest.approx(0.2 * 41.0), "relative to the control's value"


def test_guardrails_are_marked_where_they_were_first_settled_and_harm_goes_first() -> None:
    *_, of_v3 = panels(report(), "Guardrails")
    assert (of_v3.finding.words, of_v3.finding.x) == ("violated", START + timedelta(hours=140))
    lanes = evidence(report())[-1]
    assert [lane.name for lane in lanes.lanes][-1] == "Mean latency of v3"
    assert {word for _, word, _ in lanes.lanes[-1].states} == {"no data", "not settled", "violated"}


def test_the_mismatch_strip_shows_the_sequential_p_value_with_its_alarm_level() -> None:
    strip = evidence(report(mismatch=True))[2]
    assert (strip.log_y, strip.threshold.value, strip.threshold.bad_above) == (True, 0.001, False)
    assert len(strip.series[0].points) == LOOKS
    document = ab_document(report(mismatch=True))
    assert document.verdict is not None
    assert document.verdict.kind is VerdictKind.CAUTION
    assert table(report(mismatch=True), "Traffic", "Where the loss is").rows[0][:2] == ("phase 3, v", "v3")


def test_a_vanishing_p_value_is_drawn_at_the_edge() -> None:
    made = report(arms=2)
    looks = [*made.looks[:-1], {**made.looks[-1], "srm": {"p_value": 0.0}}]
    assert evidence(replace(made, looks=looks))[1].series[0].points[-1][1] > 0
    assert render(ab_document(replace(made, looks=looks)))


def test_a_shadow_test_has_no_strip() -> None:
    assert not [c for c in evidence(changed(report(), shadow=True)) if isinstance(c, LineChart)]


def test_fixed_horizon_answers_appear_only_when_asked_for_and_labelled() -> None:
    assert "Fixed horizon" not in titles(report())
    answer = {"method": "Fisher", "statistic": None, "p_value": 0.03, "interval": None, "note": ""}
    made = changed(report(arms=2), fixed_horizon={"note": "", "answers": {"v2": {"error_rate": [answer]}}})
    [part] = [part for part in ab_document(made).sections if part.title == "Fixed horizon"]
    assert "for one look that was planned beforehand" in part.intro
    assert part.blocks[0].rows[0][:3] == ("error rate", "v2", "Fisher")


def test_segments_come_with_their_correction() -> None:
    [part] = [part for part in ab_document(report()).sections if part.title == "Segments"]
    assert "Bonferroni" in part.intro
    assert "Holm" in part.intro
    assert [row[:2] for row in part.blocks[0].rows[:2]] == [("v mobile", "v2"), ("v mobile", "v3")]
    assert "Segments" not in titles(changed(report(), segments={}))


def test_the_holdout_stands_apart_and_the_traffic_chart_sums_to_one() -> None:
    counts = table(report(), "Arms", "Outcomes")
    assert [column.label for column in counts.columns][-1] == "holdout (outside the test)"
    [traffic] = [b for b in section(ab_document(report()), "Traffic") if isinstance(b, TrafficChart)]
    assert traffic.steps[0].shares[-1] == ("holdout", pytest.approx(0.05))


def test_a_test_recorded_in_one_go_is_drawn_over_its_outcomes() -> None:
    made = report()
    looks = [{**look, "recorded_at": START.isoformat()} for look in made.looks]
    charts = evidence(replace(made, looks=looks))
    assert charts[0].x_label == "outcomes and labels"
    assert charts[0].points[-1].x == looks[-1]["events"]
    assert charts[0].finding.x == 118 * 900
    assert [mark.x for mark in charts[0].marks] == [900 * hour for hour, _ in RAMP[1:]]
    assert render(ab_document(replace(made, looks=looks)))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_looks_give_a_sentence_instead_of_a_chart(count: int) -> None:
    made = report(decided=False)
    page = render(ab_document(replace(made, looks=made.looks[:count])))
    assert "Too few outcomes for a chart." in page


def test_seven_arms_are_too_many_for_some_charts_but_not_for_the_report() -> None:
    page = render(ab_document(report(arms=7)))
    assert "v7 against v1, every metric" in page
    assert "Every metric, relative to the control" not in page


@pytest.mark.parametrize(
    ("action", "winner", "kind", "words"),
    [
        ("promote", "v2", VerdictKind.GOOD, "v2 is better"),
        ("keep", "v1", VerdictKind.BAD, "v2 is worse"),
        ("keep", None, VerdictKind.INFO, "not better by what was asked for"),
        ("stop_guardrail", "v1", VerdictKind.BAD, "stopped by a guardrail"),
        ("invalid", None, VerdictKind.CAUTION, "invalid"),
    ],
)
def test_every_decision_has_its_banner_and_its_flag(
    action: str, winner: str | None, kind: VerdictKind, words: str
) -> None:
    made = report(arms=2)
    made = changed(made, decision={**made.results["decision"], "action": action, "winner": winner})
    document = ab_document(made)
    assert document.verdict is not None
    assert document.verdict.kind is kind
    assert evidence(made)[0].finding.words == words


def test_drift_is_said_in_the_banner() -> None:
    banner = ab_document(changed(report(), drift="The effect has drifted.")).verdict
    assert banner is not None
    assert banner.kind is VerdictKind.CAUTION
    assert banner.label == "Decided, drifted since"
    assert "The effect has drifted." in banner.detail


def test_equal_input_gives_equal_bytes_and_the_digests_follow_the_data() -> None:
    assert render(ab_document(report())) == render(ab_document(report()))
    page = render(ab_document(report()))
    assert settings_digest(dict(report().settings)) in page
    assert data_digest(report()) in page
    assert report().audit.last_digest in page
    assert data_digest(report()) != data_digest(changed(report(), drift="x"))
    assert settings_digest(dict(report().settings)) == settings_digest(dict(changed(report(), drift="x").settings))


def test_every_chart_has_a_sentence_and_a_table() -> None:
    page = render(ab_document(report()))
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) == 4 + 4 + 10 + 1 + 1 + 1, "evidence, guardrails, others, metrics, traffic, audit"
    assert all('class="says"' in figure and "<details>" in figure for figure in figures)
    assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", page)


def test_json_holds_everything_and_survives_a_round_trip() -> None:
    made = report()
    raw = json.loads(json_report(made))
    assert raw["schema_version"] == 1
    assert raw["results"] == made.results
    assert len(raw["looks"]) == LOOKS
    assert raw["settings_sha256"] == settings_digest(dict(made.settings))
    again = ABReport(raw["results"], raw["looks"], raw["settings"], made.audit, made.generated_at)
    assert render(ab_document(again)) == render(ab_document(made))


def test_markdown_has_the_verdict_first_and_tables_of_equal_width() -> None:
    text = markdown_report(report())
    assert text.splitlines()[2].startswith("\N{WHITE HEAVY CHECK MARK} **Promote v2: its F1 score")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "violated" in text
    assert data_digest(report()) in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", "a\\|b"),
        ("<img src=x>", "\\<img src=x\\>"),
        ("[x](http://y)", "\\[x\\](http\\://y)"),
        ("@team see www.x.org", "@<!-- -->team see www\\.x.org"),
        ("1. one", "1\\. one"),
        ("- item\n# head", "\\- item \\# head"),
        ("a\u202eb\x00", "ab"),
        ("v2_final", "v2\\_final"),
    ],
)
def test_markdown_escapes_what_could_act(text: str, written: str) -> None:
    assert markdown(text) == written


@settings(max_examples=300)
@given(TEXT)
def test_no_text_is_active_in_markdown(text: str) -> None:
    written = markdown(text)
    plain = re.sub(r"\\.|<!-- -->", "", written)
    assert not set("`*_[]<>#|~$&{}") & set(plain)
    assert "\n" not in written


@pytest.fixture(scope="module")
def harmless() -> set[tuple[str, str]]:
    return Parsed(render(ab_document(report("harmless", mismatch=True, arms=2)))).shapes()


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_of_the_page_is_only_text(text: str, harmless: set[tuple[str, str]]) -> None:
    html = render(ab_document(report(text, mismatch=True, arms=2)))
    assert Parsed(html).shapes() <= harmless
    assert html.encode("utf-8")


@settings(max_examples=25, deadline=None)
@given(TEXT.filter(bool))
def test_no_name_becomes_markup_in_a_notebook(text: str) -> None:
    made = report(text, arms=2)
    assert Parsed(html_summary(made.results)).shapes() <= SUMMARY_SHAPES


SUMMARY_SHAPES = Parsed(html_summary(report("harmless", arms=2).results)).shapes()


def test_a_notebook_shows_sentence_bars_and_guardrails() -> None:
    html = html_summary(report().results)
    assert html.count("<svg") == 2 * 8
    assert "Promote v2: its F1 score is higher" in html
    assert "\N{MULTIPLICATION X}\N{NO-BREAK SPACE}violated" in html
    bare = report(arms=2).results
    older = {key: value for key, value in bare.items() if key not in ("decision", "comparisons", "guardrails", "srm")}
    assert html_summary(older).count("<svg") == 8


@given(st.sampled_from(["report.html", "REPORT.HTM", "report"]))
def test_the_form_follows_the_name(name: str) -> None:
    assert format_of(name) == "html"


def test_other_forms_follow_the_name_too() -> None:
    assert [format_of(f"a/{name}") for name in ("r.md", "r.markdown", "r.json")] == ["md", "md", "json"]
    with pytest.raises(InvalidInputError, match=r"'r\.pdf' says otherwise"):
        format_of("a/r.pdf")


def test_looks_of_an_earlier_release_still_draw_a_chart() -> None:
    test = new_test(
        test_id="test_1",
        salt="00000000000000ff",
        now=START,
        created_by="ada",
        test_name="f1",
        model_a="v1",
        model_b="v2",
        min_samples=100,
    )
    row = [2000, 20, 40_000.0, 900_000.0, 2.3e7, 0, 0.0, 0.0, 0.0]
    found = readings_of(test, {"arms": [[*row, 600, 200, 900, 300], [*row, 800, 100, 1000, 100]]})
    point = found["comparisons"]["v2"]["f1_score"]
    assert point["difference"] == pytest.approx(1600 / 1800 - 1200 / 1700)
    assert point["interval"][0] > 0
    assert (point["samples_a"], point["samples_b"]) == (2000, 2000)
    made = report(arms=2)
    looks = [{"events": n, "recorded_at": after(n), "decision": None, **found} for n in (1, 2)]
    assert len(evidence(replace(made, looks=looks))[0].points) == 2
