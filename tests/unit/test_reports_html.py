"""No text of a user ever becomes markup, whatever field of a report it stands in."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.reports import LineageNode, LineageRail, render, render_fragment
from sentinelzer0.reports.figure import Data, csv_link
from sentinelzer0.reports.html import Markup, el, escape, join, stylesheet
from sentinelzer0.reports.page_values import Column
from tests.unit.reports_sample import document, lineage, timeline

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title></textarea><svg onload=alert(1)>",
    "' onmouseover=alert(1) x='",
    "--><!-- & &amp; &lt;b&gt;",
    "javascript:alert(1)",
    "]]></details><details open ontoggle=alert(1)>",
    "\x00\u202egnp.exe\ufeff\ud800",
]
PARTS = st.one_of(st.text(max_size=20), st.sampled_from(["<", ">", '"', "'", "&", "/", "script", "=", *HOSTILE]))
TEXT = st.lists(PARTS, max_size=4).map("".join)


class Parsed(HTMLParser):
    """What a browser would see: elements with the names of their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def shapes(self) -> set[tuple[str, str]]:
        return {(tag, name) for tag, attributes in self.elements for name in (*attributes, "")}


@given(TEXT, TEXT)
def test_text_and_attributes_survive_as_text(content: str, value: str) -> None:
    parsed = Parsed(str(el("td", content, title=value)))
    [(tag, attributes)] = parsed.elements
    assert (tag, set(attributes)) == ("td", {"title"})
    visible = Parsed(escape(content)).text
    assert parsed.text == visible
    if content.isprintable():
        assert "".join(parsed.text) == content


@pytest.mark.parametrize("text", HOSTILE)
def test_every_field_of_a_report_is_only_text(text: str) -> None:
    allowed = Parsed(render(document("harmless"))).shapes()
    html = render(document(text))
    assert Parsed(html).shapes() <= allowed
    assert html.encode("utf-8")
    assert not {tag for tag, _ in Parsed(html).elements} & {"script", "img", "iframe", "link", "object"}


@settings(max_examples=25)
@given(TEXT.filter(bool))
def test_arbitrary_text_adds_no_markup_to_a_fragment(text: str) -> None:
    allowed = Parsed(render_fragment(timeline("harmless"), lineage("harmless"))).shapes()
    assert Parsed(render_fragment(timeline(text), lineage(text))).shapes() <= allowed


def test_invisible_characters_are_spelled_out() -> None:
    assert escape("v\u202e2\x00") == "v\\u202e2\\u0000"
    assert escape("a\tb\nc") == "a\tb\nc"


@pytest.mark.parametrize("tag", ["script", "SCRIPT", "style", "iframe", "img", "a b", "svg><script", "", "base"])
def test_elements_that_load_or_run_are_refused(tag: str) -> None:
    with pytest.raises(InvalidInputError):
        el(tag)


@pytest.mark.parametrize("name", ["onclick", "ONLOAD", "style", "src", "srcdoc", "x y", "a=b", ""])
def test_attributes_that_load_or_run_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        el("a", **{name: "x"})


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>",
        "//elsewhere.example",
        "vbscript:x",
        "java\nscript:alert(1)",
        "https://a b",
        "/\\elsewhere.example",
    ],
)
def test_links_that_run_code_or_hide_their_host_are_refused(href: str) -> None:
    with pytest.raises(InvalidInputError):
        el("a", "x", href=href)
    with pytest.raises(InvalidInputError):
        render_fragment(LineageRail("Lineage", (LineageNode("v1", href=href),)))


@pytest.mark.parametrize("href", ["https://example.org/x?a=1", "#s1", "./v2.html", "/versions/v2", "data:text/csv,a"])
def test_ordinary_links_are_accepted(href: str) -> None:
    assert Parsed(str(el("a", "x", href=href))).elements == [("a", {"href": href})]


@pytest.mark.parametrize("css", ["</style>", "a{b:url(x)}", "@import 'x'"])
def test_a_style_sheet_cannot_leave_its_element_or_load(css: str) -> None:
    with pytest.raises(InvalidInputError):
        stylesheet(css)


def test_children_are_flattened_and_none_is_nothing() -> None:
    assert join("a", None, 1, 2.5, ["<", Markup("<b></b>")]) == Markup("a12.5&lt;<b></b>")
    assert str(el("td", hidden=True, open=False, title=None)) == "<td hidden></td>"


def test_a_spreadsheet_runs_nothing_from_the_csv() -> None:
    link = csv_link(Data((Column("a"), Column("b")), (("=1+1", -2.5), ('@x,"y"', None), ("-x", 3))))
    assert link == (
        "data:text/csv;charset=utf-8,a,b%0D%0A%27%3D1+1,-2.5%0D%0A%22%27%40x,%22%22y%22%22%22,%0D%0A%27-x,3%0D%0A"
    )
