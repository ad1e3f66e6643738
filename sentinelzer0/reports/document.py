"""From a `Document` to one HTML file, and from blocks to a fragment for a notebook."""

from __future__ import annotations

import base64
import hashlib

from sentinelzer0.reports.blocks import draw, verdict
from sentinelzer0.reports.canvas import WIDE
from sentinelzer0.reports.figure import Context
from sentinelzer0.reports.formats import moment
from sentinelzer0.reports.html import Markup, el, join, page, stylesheet
from sentinelzer0.reports.page_values import Block, Document, Section
from sentinelzer0.reports.theme import css

_NAVIGATION_FROM = 3  # sections


def render(document: Document) -> str:
    """Render a whole report: one file, no network, no script; the page's own policy forbids both.

    Args:
        document: What to show.

    Returns:
        The HTML text, to be written as UTF-8. Equal documents give equal text.
    """
    style = css()
    # The digest of the style sheet is the only thing the page may use; a smuggled script or image would not load.
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    head = join(
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content=document.generator),
        el("title", document.title),
        stylesheet(style),
    )
    sections = [_section(section, number) for number, section in enumerate(document.sections, start=1)]
    body = el("div", _header(document), el("main", _verdict(document), sections), _footer(document), class_="sheet")
    return str(page("en", head, body, class_="sz0 page"))


def render_fragment(*blocks: Block) -> str:
    """Render blocks for ``_repr_html_``: a scoped style and static SVG, safe beside other cells.

    Ids derive from the content, so that several fragments may share a page.

    Args:
        blocks: What to show, in order.
    """
    mark = hashlib.sha256(repr(blocks).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    drawn = [draw(block, Context(f"f{mark}-{number}", (WIDE,), "p")) for number, block in enumerate(blocks, start=1)]
    return str(el("div", stylesheet(css()), drawn, class_="sz0 fragment"))


def _header(document: Document) -> Markup:
    links = [
        el("li", el("a", section.title, href=f"#s{number}"))
        for number, section in enumerate(document.sections, start=1)
    ]
    return el(
        "header",
        el("h1", document.title),
        el("p", document.subtitle, class_="subtitle") if document.subtitle else None,
        el("nav", el("ul", links), aria_label="Sections") if len(links) >= _NAVIGATION_FROM else None,
    )


def _verdict(document: Document) -> Markup | None:
    return verdict(document.verdict) if document.verdict is not None else None


def _section(section: Section, number: int) -> Markup:
    blocks = [draw(block, Context(f"s{number}b{index}")) for index, block in enumerate(section.blocks, start=1)]
    return el(
        "section",
        el("h2", section.title, id=f"s{number}-title"),
        el("p", section.intro, class_="intro") if section.intro else None,
        blocks,
        id=f"s{number}",
        aria_labelledby=f"s{number}-title",
    )


def _footer(document: Document) -> Markup:
    at = document.generated_at
    digest = document.settings_digest
    return el(
        "footer",
        el("p", f"{document.generator} \N{MIDDLE DOT} generated ", el("time", moment(at), datetime=at.isoformat())),
        el("p", "Made from data and settings with digest ", el("code", digest)) if digest else None,
    )
