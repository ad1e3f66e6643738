"""From a `Document` to one HTML file, and from blocks to a fragment for a notebook."""

from __future__ import annotations

from sentinelzer0.reports.page_values import Block, Document


def render(document: Document) -> str:
    """Render a whole report: one file, no network, no script.

    Args:
        document: What to show.

    Returns:
        The HTML text, to be written as UTF-8. Equal documents give equal text.
    """
    raise NotImplementedError(document.title)


def render_fragment(*blocks: Block) -> str:
    """Render blocks for ``_repr_html_``: a scoped style and static SVG, safe beside other cells.

    Args:
        blocks: What to show, in order.
    """
    raise NotImplementedError(len(blocks))
