"""How the demo speaks: calm text on standard output, progress on standard error.

Readable on 80 columns, without colour and where the output is a file; marks fall back to ASCII where the encoding
has no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

WIDTH = 80
_NAME = 7  # columns for who acts
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_ID = re.compile(r"\b([a-z]+_)[0-9a-f]{26}([0-9a-f]{6})\b")
_ASCII = str.maketrans(
    {
        "\N{CHECK MARK}": "+",
        "\N{BALLOT X}": "x",
        "\N{MIDDLE DOT}": "-",
        "\N{BLACK CIRCLE}": "o",
        "\N{BOX DRAWINGS DOUBLE HORIZONTAL}": "=",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{EN DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{FULL BLOCK}": "#",
        "\N{LIGHT SHADE}": ".",
    }
)


class Mark(Enum):
    """The sign before a line: symbol and style; the text says the same in words."""

    DONE = ("\N{CHECK MARK}", "green")
    REFUSED = ("\N{BALLOT X}", "bold red")
    WARNING = ("!", "yellow")
    NOTE = ("\N{MIDDLE DOT}", "dim")


class Screen:
    """Writes the story.

    Args:
        console: For the story.
        progress: For what is under way; shows nothing where it is no terminal.
    """

    def __init__(self, console: Console, progress: Console) -> None:
        self._console = console
        self._progress = progress
        self._plain = not (console.encoding or "").lower().replace("-", "").startswith("utf")
        self._width = min(console.width, 100) if console.is_terminal else WIDTH

    def act(self, number: int, title: str, intro: str) -> None:
        """Begin an act."""
        self._out(Text())
        self._out(Text.assemble((f" {number} ", "bold reverse"), " ", (title, "bold")))
        self.say(intro)

    def say(self, text: str, *, style: str = "") -> None:
        """Write a paragraph; a blank line comes before it."""
        self._out(Text())
        self._out(Padding(Text(self._fit(text), style=style), (0, 0, 0, 2)))

    def gap(self) -> None:
        """Write a blank line."""
        self._out(Text())

    def did(self, actor: str, text: str, mark: Mark = Mark.DONE, detail: str = "") -> None:
        """Write who did what, and beneath it a detail in a quiet colour."""
        symbol, style = mark.value
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right")
        grid.add_column(width=_NAME, no_wrap=True)
        grid.add_column()
        said = Text(self._fit(text), style="bold" if mark is Mark.REFUSED else "")
        grid.add_row(Text(self._fit(symbol), style=style), Text(actor, style="cyan"), said)
        if detail:
            grid.add_row("", "", Text(self._fit(detail), style="dim"))
        self._out(grid)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, wide: int | None = None, title: str = ""
    ) -> None:
        """Write a table; a column whose name starts with ``>`` is aligned to the right.

        Args:
            columns: Names.
            rows: Cells; a `Text` brings its own style.
            wide: The column that wraps when there is too little room.
            title: What the table shows.
        """
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
        for index, name in enumerate(columns):
            right = name.startswith(">")
            table.add_column(
                self._fit(name.removeprefix(">")), justify="right" if right else "left", no_wrap=index != wide
            )
        for row in rows:
            table.add_row(*(self._cell(cell) for cell in row))
        self._out(Text())
        if title:
            self._out(Padding(Text(self._fit(title), style="bold"), (0, 0, 0, 2)))
        self._out(Padding(table, (0, 0, 0, 2)))

    def line(self, *pieces: str | tuple[str, str]) -> None:
        """Write one line of text and (text, style) pieces, as it is."""
        whole = Text("  ")
        for piece in pieces:
            text, style = (piece, "") if isinstance(piece, str) else piece
            whole.append(self._fit(text), style=style)
        self._out(whole)

    def verdict(self, text: str, *, good: bool) -> None:
        """Write the sentence to remember."""
        self._out(Text())
        bar = Text("\N{FULL BLOCK} " if not self._plain else "# ", style="green" if good else "red")
        grid = Table.grid(padding=(0, 0))
        grid.add_column(width=2)
        grid.add_column()
        grid.add_row(bar, Text(self._fit(text), style="bold"))
        self._out(Padding(grid, (0, 0, 0, 2)))

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show on standard error that something takes a while."""
        if not self._progress.is_terminal:
            yield
            return
        with self._progress.status(f"{text}\N{HORIZONTAL ELLIPSIS}" if not self._plain else f"{text}..."):
            yield

    def _cell(self, cell: str | Text) -> Text:
        if isinstance(cell, str):
            return Text(self._fit(cell))
        return Text(self._fit(cell.plain), style=cell.style) if self._plain else cell

    def _fit(self, text: str) -> str:
        return text.translate(_ASCII) if self._plain else text

    def _out(self, what: RenderableType) -> None:
        """Write without spaces at the ends of lines: they only get in the way when the output is kept."""
        lines = self._console.render_lines(what, self._console.options.update(width=self._width), pad=False)
        for line in lines:
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
            self._console.print(Segments([*line, Segment.line()]), end="")


def percent(share: float) -> str:
    """Write a share of 1 for people: ``44 %``."""
    return f"{100 * share:.0f} %"


def short(text: str) -> str:
    """Shorten SHA-256 digests and ids in a sentence; whole they are in the audit log."""
    text = _ID.sub("\\1\N{HORIZONTAL ELLIPSIS}\\2", _DIGEST.sub("\\1\N{HORIZONTAL ELLIPSIS}", text))
    return text.replace("\N{HORIZONTAL ELLIPSIS}.", "\N{HORIZONTAL ELLIPSIS}")


def share_bar(share: float, limit: float, *, cells: int = 20) -> str:
    """Draw a share of 1 as a bar, with a stroke where the limit is."""
    filled = round(share * cells)
    line = ["\N{FULL BLOCK}"] * filled + ["\N{LIGHT SHADE}"] * (cells - filled)
    line[min(cells - 1, round(limit * cells))] = "|"
    return "".join(line)


def interval_bar(low: float, high: float, estimate: float, *, reach: float, cells: int = 33) -> str:
    """Draw an interval about zero: ``[-----|-===●===--]``.

    Args:
        low: Low end.
        high: High end.
        estimate: The middle, or near it.
        reach: What both ends of the bar stand for, above 0; an interval that goes beyond is cut.
        cells: Length of the bar, odd.
    """
    half = cells // 2

    def place(value: float) -> int:
        return half + max(-half, min(half, round(value / reach * half)))

    line = ["-"] * cells
    for at in range(place(low), place(high) + 1):
        line[at] = "\N{BOX DRAWINGS DOUBLE HORIZONTAL}"
    line[half] = "|"
    line[place(estimate)] = "\N{BLACK CIRCLE}"
    return f"[{''.join(line)}]"
