"""Blocks on a terminal through rich: colours for marks, widths, and the progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table as Grid
from rich.text import Text

from sentinelzer0.cli.blocks import Block, Cell, Facts, Line, Mark, Marked, Table

UNLIMITED = 4096
"""Columns of an output that is no terminal: a line is a line."""

STYLES = {
    Mark.PLAIN: "",
    Mark.STRONG: "bold",
    Mark.DIM: "dim",
    Mark.GOOD: "green",
    Mark.BAD: "bold red",
    Mark.WARN: "yellow",
    Mark.NAME: "bold cyan",
    Mark.CHART: "cyan",
}


def console_for(stream: TextIO, *, colour: bool, terminal: bool, width: int | None) -> Console:
    """Return a console that writes to a stream exactly as decided here."""
    return Console(
        file=stream,
        force_terminal=terminal or colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        width=width or (None if terminal else UNLIMITED),
        legacy_windows=False,
    )


def show(blocks: Iterable[Block], console: Console) -> None:
    """Write blocks one below the other."""
    for block in blocks:
        if isinstance(block, Line) and block.whole:
            console.print(_text([" " * block.indent, *block.pieces]), soft_wrap=True)
        else:
            console.print(_renderable(block, console), overflow="fold")


@contextmanager
def progress_bar(console: Console, label: str) -> Iterator[Callable[[int, int], None]]:
    """Show bytes, rate and time left on ``console`` until the block ends; yields what takes (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _renderable(block: Block, console: Console) -> RenderableType:
    match block:
        case Line():
            text = _text(block.pieces)
            return Padding(text, (0, 0, 0, block.indent), expand=False) if block.indent else text
        case Facts():
            return _facts(block)
        case Table():
            grid = _fitting(block, console)
            return Group(Text(block.title, style="bold"), grid) if block.title else grid


def _facts(block: Facts) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in block.rows:
        grid.add_row(Text(label), _text(value))
    return grid


def _fitting(block: Table, console: Console) -> Grid:
    """Return the table with as many of its optional columns as there is room for."""
    without: set[int] = set()
    grid = _table(block, without)
    unlimited = console.options.update(max_width=UNLIMITED)
    for column in block.optional:
        if Measurement.get(console, unlimited, grid).maximum <= console.width:
            break
        without.add(column)
        grid = _table(block, without)
    return grid


def _table(block: Table, without: set[int]) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    kept = [index for index in range(len(block.columns)) if index not in without]
    for index in kept:
        head = block.columns[index]
        right = head.startswith(">")
        flexible = index == block.wide
        grid.add_column(
            Text(head.removeprefix(">")),
            justify="right" if right else "left",
            no_wrap=not flexible,
            overflow="fold" if flexible else "ellipsis",
        )
    for row in block.rows:
        grid.add_row(*(_text(row[index]) for index in kept))
    return grid


def _text(cell: Cell) -> Text:
    pieces = [cell] if isinstance(cell, str | Marked) else list(cell)
    text = Text()
    for piece in pieces:
        if isinstance(piece, Marked):
            text.append(_printable(piece.text), style=STYLES[piece.mark])
        else:
            text.append(_printable(piece))
    return text


def _printable(text: str) -> str:
    """Return text that cannot steer the terminal: names and notes come from anywhere."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
