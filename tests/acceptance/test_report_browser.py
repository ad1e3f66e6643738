"""A report in a real browser: it asks the network for nothing, fits a telephone, and passes the accessibility checks.

Needs Chromium on the machine; it is started here and ended here.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.reports import render, render_fragment
from sentinelzer0.reports.ab_page import ab_document
from sentinelzer0.reports.ab_summary import html_summary
from tests.unit import ab_report_sample
from tests.unit import reports_sample as sample

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
AXE = Path(__file__).parents[1] / "vendored" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, so no report was looked at"),
]

BOTH_SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
WIDTHS = pytest.mark.parametrize("width", [360, 640, 1000])

OUTSIDE = """() => [...document.querySelectorAll('figure, table, svg text, .verdict, h1, p')]
  .filter(e => !e.closest('.scroll') && e.getClientRects().length)
  .map(e => [e.getBoundingClientRect(), e.textContent])
  .filter(([r]) => r.left < -0.5 || r.right > innerWidth + 0.5).map(([, text]) => text)"""
TEXT_SIZES = """() => [...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length)
  .map(s => 12 * s.getBoundingClientRect().width / s.viewBox.baseVal.width)"""
SHOWN = """() => [...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length)
  .map(s => s.classList.contains('wide') ? 'wide' : 'narrow')"""
COLOUR = "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
NAMES = """() => [...document.querySelectorAll('svg.chart')]
  .map(s => document.getElementById(s.getAttribute('aria-labelledby')).textContent)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(sample.document()), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Open a file in a fresh context and remember what it requested and complained about."""
    contexts = []

    def opened(path: Path, width: int = 1000, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.requested, page.refused, page.complaints = [], [], []
        page.on("requestfailed", lambda request: page.refused.append((request.url, request.failure)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message) or dialog.dismiss())
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@WIDTHS
@BOTH_SCHEMES
def test_it_fits_is_legible_and_requests_nothing(open_page: Any, report: Path, width: int, scheme: str) -> None:
    page = open_page(report, width, color_scheme=scheme)
    assert page.requested == [report.as_uri()]
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    assert set(page.evaluate(SHOWN)) == {"narrow" if width == 360 else "wide"}
    assert 9 <= min(page.evaluate(TEXT_SIZES)) <= max(page.evaluate(TEXT_SIZES)) <= 16


@pytest.mark.parametrize("width", [360, 1000])
@BOTH_SCHEMES
def test_axe_finds_no_violation(open_page: Any, report: Path, width: int, scheme: str) -> None:
    page = open_page(report, width, color_scheme=scheme, bypass_csp=True)
    if width == 360:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document)")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}


def test_axe_would_see_a_fault(open_page: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(render(sample.document()).replace('lang="en"', "").replace("aria-labelledby", "data-x"), "utf-8")
    page = open_page(broken, bypass_csp=True)
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document)")
    assert {"html-has-lang", "svg-img-alt"} <= {rule["id"] for rule in found["violations"]}


def test_the_scheme_of_the_reader_is_followed_and_print_is_light(open_page: Any, report: Path) -> None:
    light = open_page(report, color_scheme="light").eval_on_selector("body", COLOUR)
    dark_page = open_page(report, color_scheme="dark")
    dark = dark_page.eval_on_selector("body", COLOUR)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    dark_page.emulate_media(media="print", color_scheme="dark")
    assert dark_page.eval_on_selector("body", COLOUR) == [light[0], "rgb(255, 255, 255)"]
    assert not dark_page.is_visible("details")


def test_everything_is_there_without_javascript(open_page: Any, report: Path) -> None:
    page = open_page(report, java_script_enabled=False)
    assert page.locator("svg.wide:visible").count() == 5
    assert page.get_by_text("v2 is better", exact=True).first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("details table").first.is_visible()


def test_every_picture_has_its_sentence_as_name(open_page: Any, report: Path) -> None:
    page = open_page(report)
    names = page.evaluate(NAMES)
    assert len(names) == 10
    assert all(name.endswith(".") and len(name) > 30 for name in names)
    assert page.get_by_role("img", name="the first look with enough samples that excludes zero").count() == 1


def test_the_keyboard_reaches_table_and_csv_with_visible_focus(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Download CSV"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "group"


def test_the_csv_downloads(open_page: Any, report: Path, tmp_path: Path) -> None:
    page = open_page(report, accept_downloads=True)
    page.locator("summary").first.click()
    with page.expect_download() as started:
        page.get_by_text("Download CSV").first.click()
    saved = tmp_path / "saved.csv"
    started.value.save_as(saved)
    assert started.value.suggested_filename == "f1-score-of-v2.csv"
    with saved.open(encoding="utf-8", newline="") as lines:
        assert len(list(csv.reader(lines))) == len(sample.interval_chart().points) + 1


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><svg onload=alert(1)>"]
)
def test_hostile_names_do_nothing(open_page: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(render(sample.document(text)), encoding="utf-8")
    page = open_page(path, 360)
    assert page.complaints == []
    assert page.requested == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert text in page.inner_text("h1")


def test_the_policy_stops_a_script_that_got_in(open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "injected.html"
    page_text = render(sample.document()).replace("<main>", "<main><script>alert(1)</script><img src='http://x.test/'>")
    path.write_text(page_text, encoding="utf-8")
    page = open_page(path)
    assert page.refused == [("http://x.test/", "csp")]
    assert len(page.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in page.complaints)


def test_fragments_live_in_a_strange_page_without_changing_it(open_page: Any, tmp_path: Path) -> None:
    cells = "".join(render_fragment(block) for block in (sample.interval_chart(), sample.comparison_chart()))
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><p id=own>own</p><table id=t><td>own</table>{cells}", "utf-8")
    page = open_page(path, color_scheme="dark")
    bare = tmp_path / "bare.html"
    bare.write_text("<!doctype html><meta charset=utf-8><p id=own>own</p><table id=t><td>own</table>", encoding="utf-8")
    other = open_page(bare, color_scheme="dark")
    for selector in ("#own", "#t td", "body"):
        style = (
            "e => { const s = getComputedStyle(e); return [s.color, s.font, s.padding, s.margin, s.backgroundColor]; }"
        )
        assert page.eval_on_selector(selector, style) == other.eval_on_selector(selector, style)
    assert page.locator("svg.wide:visible").count() == 2
    assert (
        page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")
        == page.locator("[id]").count()
    )


@pytest.fixture(scope="module")
def ab_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a test of three arms with a ramp, a mismatch, guardrails and segments."""
    path = tmp_path_factory.mktemp("ab") / "ab.html"
    path.write_text(render(ab_document(ab_report_sample.report("detector ", mismatch=True))), encoding="utf-8")
    return path


PLOTS = """() => [...document.querySelectorAll('#s1 figure')].map(f => [...f.querySelectorAll('svg.chart')]
  .find(s => s.getClientRects().length)).map(s => { const edges = [...s.querySelectorAll('path.axis')]
  .map(a => a.getBoundingClientRect()).sort((a, b) => b.width - a.width)[0]; return [edges.left, edges.right]; })"""


@WIDTHS
@BOTH_SCHEMES
def test_the_report_of_a_test_fits_and_requests_nothing(
    open_page: Any, ab_report: Path, width: int, scheme: str
) -> None:
    page = open_page(ab_report, width, color_scheme=scheme)
    assert page.requested == [ab_report.as_uri()]
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    assert 9 <= min(page.evaluate(TEXT_SIZES)) <= max(page.evaluate(TEXT_SIZES)) <= 17


@pytest.mark.parametrize(("width", "scheme"), [(1000, "light"), (360, "dark")])
def test_axe_finds_no_violation_in_the_report_of_a_test(
    open_page: Any, ab_report: Path, width: int, scheme: str
) -> None:
    page = open_page(ab_report, width, color_scheme=scheme, bypass_csp=True)
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document)")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []


@pytest.mark.parametrize("width", [360, 1000])
def test_strip_and_lanes_stand_exactly_beneath_the_chart(open_page: Any, ab_report: Path, width: int) -> None:
    edges = open_page(ab_report, width).evaluate(PLOTS)
    assert len(edges) == 4
    for left, right in edges[1:]:
        assert left == pytest.approx(edges[0][0], abs=1.0)
        assert right == pytest.approx(edges[0][1], abs=1.0)


def test_panels_stand_two_abreast_where_there_is_room_and_print_light(open_page: Any, ab_report: Path) -> None:
    page = open_page(ab_report, 1000, color_scheme="dark")
    tops = "[...document.querySelectorAll('.panels figure')].slice(0, 2).map(f => f.getBoundingClientRect().top)"
    first, second = page.evaluate(tops)
    assert first == second
    page.emulate_media(media="print", color_scheme="dark")
    assert page.eval_on_selector("body", COLOUR)[1] == "rgb(255, 255, 255)"
    assert page.locator(".panels svg.chart:visible").count() == page.locator(".panels figure").count() == 14
    narrow = open_page(ab_report, 360)
    first, second = narrow.evaluate(tops)
    assert first < second


@BOTH_SCHEMES
def test_the_notebook_summary_is_accessible(open_page: Any, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "summary.html"
    cell = html_summary(ab_report_sample.report("<b>v").results)
    head = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>x</title><meta name=color-scheme content='light dark'>"
    )
    path.write_text(f"{head}<main><h1>notebook</h1>{cell}</main></html>", encoding="utf-8")
    page = open_page(path, color_scheme=scheme)
    assert page.locator("svg:visible").count() == 16
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document)")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []


@BOTH_SCHEMES
def test_the_notebook_summary_fits_and_is_legible_in_a_page_without_doctype(
    open_page: Any, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "quirks.html"
    cell = html_summary(ab_report_sample.report(arms=2).results)
    path.write_text(f"<meta charset=utf-8><body>{cell}", encoding="utf-8")
    page = open_page(path, 1200, color_scheme=scheme)
    assert page.evaluate("document.compatMode") == "BackCompat"
    assert page.eval_on_selector(".scroll", "e => e.scrollWidth - e.clientWidth") == 0
    text = page.eval_on_selector(".sz0", COLOUR)[0]
    assert page.eval_on_selector("tbody td.num", COLOUR)[0] == page.eval_on_selector("tbody th", COLOUR)[0] == text


def test_sentences_in_a_table_keep_their_width_on_a_telephone(open_page: Any, ab_report: Path) -> None:
    page = open_page(ab_report, 390)
    widths = page.evaluate("[...document.querySelectorAll('td.wordy')].map(e => e.getBoundingClientRect().width)")
    assert len(widths) == 4
    assert min(widths) >= 280
