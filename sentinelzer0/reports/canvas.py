"""The drawing surface shared by the charts: plot area, gridlines, axis text, badges for marks, line markers.

Each chart is drawn once per canvas, wide and narrow, and the style sheet shows the one that fits; both are plain SVG
with a view box, so text stays legible at 360 pixels and nothing needs a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sentinelzer0.reports.chart_values import Mark
from sentinelzer0.reports.formats import shorten
from sentinelzer0.reports.html import Child, Markup, coordinate, el, join
from sentinelzer0.reports.scales import Scale, Tick

CHARACTER = 6.7  # mean width of a character at 12 units, on the wide side
LINE = 15.0
_BADGE = 18.0
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")


@dataclass(frozen=True, slots=True)
class Canvas:
    """A width to draw for, and how many ticks and points fit."""

    name: str
    width: float
    x_ticks: int
    y_ticks: int
    points: int

    @property
    def narrow(self) -> bool:
        """Whether to drop what does not fit on a telephone."""
        return self.name == "narrow"


WIDE = Canvas("wide", 720.0, 8, 6, 420)
NARROW = Canvas("narrow", 320.0, 4, 5, 160)


@dataclass(frozen=True, slots=True)
class Plot:
    """The inner rectangle in SVG units with its scales."""

    x: Scale
    y: Scale
    left: float
    right: float
    top: float
    bottom: float


def text(x: float, y: float, content: Child, *, class_: str = "", anchor: str = "start") -> Markup:
    """Write one line of text."""
    return el("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor, font_size=12, fill="currentColor")


def width_of(content: str, *, strong: bool = False) -> float:
    """Estimate the width of a line of text."""
    return len(content) * CHARACTER * (1.12 if strong else 1.0)


def line(x1: float, y1: float, x2: float, y2: float, class_: str, *, dash: str = "", width: float = 1.0) -> Markup:
    """Draw a straight line."""
    return el(
        "path",
        d=path([(x1, y1), (x2, y2)]),
        class_=class_,
        fill="none",
        stroke="currentColor",
        stroke_width=width,
        stroke_dasharray=dash or None,
    )


def path(points: Iterable[tuple[float, float]], *, close: bool = False) -> str:
    """Write the commands of a path through the points."""
    body = "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
    return f"M{body}{'Z' if close else ''}"


def grid(plot: Plot, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> Markup:
    """Draw thin gridlines and the labels of both axes; labels that would collide are left out."""
    rows = [
        join(
            line(plot.left, plot.y(tick.value), plot.right, plot.y(tick.value), "grid", width=1.0),
            text(plot.left - 8, plot.y(tick.value) + 4, tick.label, anchor="end"),
        )
        for tick in y_ticks
    ]
    columns: list[Markup] = []
    free = float("-inf")
    for tick in x_ticks:
        at, half = plot.x(tick.value), width_of(tick.label) / 2
        columns.append(line(at, plot.bottom, at, plot.bottom + 5, "axis"))
        if at - half >= free:
            columns.append(text(at, plot.bottom + 19, tick.label, anchor="middle"))
            free = at + half + 10
    return join(rows, line(plot.left, plot.bottom, plot.right, plot.bottom, "axis"), columns)


def axis_titles(canvas: Canvas, plot: Plot, y_title: str, x_title: str, *, top: float) -> Markup:
    """Write the y title above the plot, horizontally, and the x title beneath it on the right."""
    room = int(canvas.width / CHARACTER)
    return join(
        text(0, top, shorten(y_title, room), class_="ink"),
        text(plot.right, plot.bottom + 36, shorten(x_title, room), anchor="end"),
    )


def badge_rows(xs: Sequence[float]) -> list[int]:
    """Place badges side by side in as few rows as need be: the row of each, from the bottom."""
    ends: list[float] = []
    rows: list[int] = []
    for x in xs:
        row = next((index for index, end in enumerate(ends) if x - end >= _BADGE + 2), len(ends))
        if row == len(ends):
            ends.append(x)
        else:
            ends[row] = x
        rows.append(row)
    return rows


def badges(plot: Plot, marks: Sequence[Mark], xs: Sequence[float]) -> Markup:
    """Draw a numbered badge above the plot with a thin line: round for people, square for machines."""
    return join(
        _badge(plot, mark, number, x, plot.top - 11 - row * (_BADGE + 2))
        for number, (mark, x, row) in enumerate(zip(marks, xs, badge_rows(xs), strict=True), start=1)
    )


def _badge(plot: Plot, mark: Mark, number: int, x: float, y: float) -> Markup:
    if mark.automatic:
        outline = el(
            "rect", x=x - 8, y=y - 8, width=16, height=16, rx=3, class_="plate", stroke="currentColor", fill="none"
        )
    else:
        outline = el("circle", cx=x, cy=y, r=8.5, class_="plate", stroke="currentColor", fill="none")
    return el(
        "g",
        line(x, y + 9, x, plot.bottom, str(mark.tone), dash="2 3"),
        outline,
        text(x, y + 4, str(number), class_="strong", anchor="middle"),
        class_=str(mark.tone),
    )


def badge_height(rows: Sequence[int]) -> float:
    """Return the room the badges need above the plot."""
    return (max(rows) + 1) * (_BADGE + 2) + 4 if rows else 0.0


def marker(
    shape: int, x: float, y: float, *, size: float = 4.5, hollow: bool = False, class_: str | None = None
) -> Markup:
    """Draw the marker of a series: circle, square, triangle, diamond, cross; the same order everywhere."""
    fill = "none" if hollow else "currentColor"
    s = size
    if shape % 5 == 0:
        return el("circle", cx=x, cy=y, r=s, fill=fill, stroke="currentColor", stroke_width=1.5, class_=class_)
    corners = {
        1: [(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)],
        2: [(x, y - s * 1.2), (x + s * 1.15, y + s * 0.85), (x - s * 1.15, y + s * 0.85)],
        3: [(x, y - s * 1.35), (x + s * 1.35, y), (x, y + s * 1.35), (x - s * 1.35, y)],
    }
    if shape % 5 in corners:
        outline = path(corners[shape % 5], close=True)
        return el("path", d=outline, fill=fill, stroke="currentColor", stroke_width=1.5, class_=class_)
    cross = path([(x - s, y - s), (x + s, y + s)]) + path([(x - s, y + s), (x + s, y - s)])
    return el("path", d=cross, stroke="currentColor", stroke_width=2.5, fill="none", class_=class_)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart so that neighbours keep ``gap`` and all stay within ``low..high``, order kept."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    floor = low
    for index in order:
        moved[index] = max(moved[index], floor)
        floor = moved[index] + gap
    ceiling = high
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def swatch(*children: Child) -> Markup:
    """A little picture for a legend entry."""
    return el("svg", *children, width=26, height=14, viewBox="0 0 26 14", aria_hidden="true")
