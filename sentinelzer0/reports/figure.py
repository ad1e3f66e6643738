"""What surrounds every chart: title, sentence, picture, legend, list of marks, data table and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from sentinelzer0.reports.canvas import NARROW, WIDE, Canvas
from sentinelzer0.reports.chart_values import Mark, Tone, X
from sentinelzer0.reports.formats import cell, iso, place, position, symbol
from sentinelzer0.reports.frame import Frame
from sentinelzer0.reports.html import Child, Markup, el, join
from sentinelzer0.reports.page_values import Cell, Column, State

_TABLE_ROWS = 60


@dataclass(frozen=True, slots=True)
class Context:
    """Where a block is drawn: the prefix of its element ids and the canvases to draw."""

    prefix: str
    canvases: tuple[Canvas, ...] = (WIDE, NARROW)
    heading: str = "h3"  # "p" where the host page owns the outline
    frame: Frame = field(default_factory=Frame)
    legend: bool = True  # False where a neighbour explains the same encodings and marks


@dataclass(frozen=True, slots=True)
class Data:
    """The numbers behind a chart, for the table and the CSV."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[X | str | float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing for one canvas."""

    height: float
    body: Markup


def figure(
    context: Context,
    title: str,
    sentence: str,
    draw: Callable[[Canvas, str], Picture],
    data: Data,
    *,
    legend: Sequence[tuple[Markup, str]] = (),
    marks: Sequence[Mark] = (),
    counted: str = "",
) -> Markup:
    """Assemble a figure.

    Args:
        context: Ids and canvases.
        title: What the chart shows.
        sentence: What it says, in words; it is also the picture's accessible name.
        draw: Called with a canvas and an id prefix that is unique to the drawing.
        data: The numbers drawn.
        legend: Swatch and meaning of each encoding.
        marks: Written beneath the picture, numbered as in it.
        counted: What a numeric x counts, e.g. "requests".
    """
    pictures = []
    for canvas in context.canvases:
        picture = draw(canvas, f"{context.prefix}-{canvas.name}")
        pictures.append(
            el(
                "svg",
                picture.body,
                class_=f"chart {canvas.name}",
                role="img",
                aria_labelledby=f"{context.prefix}-says",
                viewBox=f"0 0 {canvas.width:g} {picture.height:g}",
                width=canvas.width,
                height=picture.height,
            )
        )
    keys = [el("li", picture, el("span", meaning)) for picture, meaning in legend]
    return el(
        "figure",
        caption(context, title, sentence),
        pictures,
        el("ul", keys, class_="legend") if keys else None,
        mark_list(marks, counted),
        data_details(title, data),
        id=context.prefix,
    )


def caption(context: Context, title: str, sentence: str) -> Markup:
    """Write the title and the sentence."""
    return el(
        "figcaption",
        el(context.heading, title, class_="title"),
        el("p", sentence, class_="says", id=f"{context.prefix}-says"),
    )


def mark_list(marks: Sequence[Mark], counted: str = "") -> Markup | None:
    """Write what each badge stands for."""
    if not marks:
        return None
    items = [
        el(
            "li",
            badge(str(number), mark.tone, automatic=mark.automatic),
            el(
                "span",
                el("strong", mark.label),
                " ",
                el("span", _circumstances(mark, counted), class_="muted"),
                _because(mark),
            ),
        )
        for number, mark in enumerate(marks, start=1)
    ]
    return el("ol", items, class_="marks")


def badge(content: str, tone: Tone, *, automatic: bool) -> Markup:
    """A small round (person) or square (machine) sign."""
    class_ = f"badge {tone}{' auto' if automatic else ''}"
    return el("span", el("b", content) if content.isdigit() else content, class_=class_, aria_hidden="true")


def tone_sign(tone: Tone) -> str:
    """Return the shape of a tone, a dot where it has none."""
    return symbol(tone) or "\N{BULLET}"


def actor_text(actor: str, *, automatic: bool) -> str:
    """Say who acted and whether a machine did."""
    if automatic:
        return f"{actor} (automatic)" if actor else "automatic"
    return actor


def data_details(title: str, data: Data) -> Markup:
    """Fold the numbers into a table and link the CSV; a long table shows evenly spread rows and says so."""
    count = len(data.rows)
    shown = _spread_rows(data.rows)
    note = "" if len(shown) == count else f" The table shows {len(shown)} of {count:,} rows; the CSV holds all."
    link = el("a", "Download CSV", href=csv_link(data), download=f"{_slug(title)}.csv")
    rows = "row" if count == 1 else "rows"
    return el(
        "details",
        el("summary", f"Data table and CSV ({count:,} {rows})"),
        el("p", link, note),
        table(f"Data of {title}", data.columns, shown, tall=True, visible_caption=False),
    )


def table(
    caption_text: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    tall: bool = False,
    visible_caption: bool = True,
) -> Markup:
    """Write a table in a group that scrolls by itself and can be reached by keyboard; a page has too many for landmarks."""
    head = [el("th", column.label, scope="col", class_=_align(column)) for column in columns]
    body = [
        el(
            "tr",
            [
                _cell(value, column, first=index == 0)
                for index, (value, column) in enumerate(zip(row, columns, strict=True))
            ],
        )
        for row in rows
    ]
    grid = el(
        "table",
        el("caption", caption_text) if visible_caption else None,
        el("thead", el("tr", head)),
        el("tbody", body),
    )
    return el(
        "div", grid, class_="scroll tall" if tall else "scroll", tabindex=0, role="group", aria_label=caption_text
    )


def csv_link(data: Data) -> str:
    """Return the CSV (RFC 4180) as a data link; text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    lines = [",".join(_csv_cell(column.label) for column in data.columns)]
    lines += [",".join(_csv_cell(value) for value in row) for row in data.rows]
    return "data:text/csv;charset=utf-8," + quote("\r\n".join(lines) + "\r\n", safe=",.-:+_", errors="replace")


def _csv_cell(value: X | str | float | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return iso(value)
    guarded = f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
    return '"' + guarded.replace('"', '""') + '"' if any(c in guarded for c in ',"\r\n') else guarded


def _cell(value: Cell, column: Column, *, first: bool) -> Markup:
    content: Child = cell(value, column.unit) if not isinstance(value, datetime) else position(value)
    if isinstance(value, State):
        content = el("span", content, class_=str(value.tone))
    elif column.code and value is not None:
        content = el("code", content)
    if first:
        return el("th", content, scope="row", class_=_align(column))
    return el("td", content, class_=_align(column))


def _align(column: Column) -> str | None:
    if column.unit is not None:
        return "num"
    return "wordy" if column.wordy else None


def _spread_rows(rows: tuple[tuple[X | str | float | None, ...], ...]) -> list[tuple[X | str | float | None, ...]]:
    if len(rows) <= _TABLE_ROWS:
        return list(rows)
    last = len(rows) - 1
    return [rows[round(index * last / (_TABLE_ROWS - 1))] for index in range(_TABLE_ROWS)]


def _circumstances(mark: Mark, counted: str) -> str:
    parts = [place(mark.x, counted), actor_text(mark.actor, automatic=mark.automatic)]
    return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def _because(mark: Mark) -> Markup | None:
    return join(el("br"), mark.reason) if mark.reason else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "data"
