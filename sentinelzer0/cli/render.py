"""Blocks on a terminal through rich: colours for marks, widths, and the progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table as Grid
from rich.text import Text

from sentinelzer0.cli.blocks import Block, Cell, Facts, Line, Mark, Marked, Table

UNLIMITED = 4096
"""Columns of an output that is no terminal: a line is a line."""
GAP = 2
"""Blanks between two columns of a table."""
READABLE = 12
"""Columns become narrower than this only where nothing else helps."""

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


class _Console(Console):
    """A console whose closed pipe is for the command to deal with; rich would end the process with code 1."""

    def on_broken_pipe(self) -> None:
        """Hand on what happened.

        Raises:
            BrokenPipeError: Always.
        """
        self.quiet = True
        raise BrokenPipeError


def console_for(stream: TextIO, *, colour: bool, terminal: bool, width: int | None) -> Console:
    """Return a console that writes to a stream exactly as decided here."""
    return _Console(
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


@contextmanager
def screen(console: Console) -> Iterator[Callable[[Iterable[Block]], None]]:
    """Draw blocks in place, again and again, until the block ends; yields what draws. The last drawing stays."""
    with Live(console=console, auto_refresh=False) as live:
        yield lambda blocks: live.update(Group(*(_renderable(block, console) for block in blocks)), refresh=True)


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
    """Return the table with as many of its optional columns as there is room for, and none that vanishes."""
    cells = [[_text(row[index]) for row in block.rows] for index in range(len(block.columns))]
    widths = [
        max((text.cell_len for text in (Text(head.removeprefix(">")), *column)), default=0)
        for head, column in zip(block.columns, cells, strict=True)
    ]
    kept = list(range(len(widths)))
    for column in block.optional:
        if _total([widths[index] for index in kept]) <= console.width:
            break
        kept.remove(column)
    limits = _narrowed({index: widths[index] for index in kept}, block.wide, console.width)
    grid = Grid(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
    for index in kept:
        head = block.columns[index]
        grid.add_column(
            Text(head.removeprefix(">")),
            justify="right" if head.startswith(">") else "left",
            width=limits[index],
            no_wrap=limits[index] == widths[index],
            overflow="fold",
        )
    for row in zip(*(cells[index] for index in kept), strict=True):
        grid.add_row(*row)
    return grid


def _narrowed(widths: dict[int, int], wide: tuple[int, ...], room: int) -> dict[int, int]:
    """Return widths that fit: the widest give way first, those meant to be wrapped before all others."""
    limits = dict(widths)
    for candidates, least in ((wide, READABLE), (tuple(widths), READABLE), (tuple(widths), 1)):
        while _total(list(limits.values())) > room:
            widest = max(
                (index for index in candidates if index in limits), key=lambda index: limits[index], default=-1
            )
            if widest < 0 or limits[widest] <= least:
                break
            limits[widest] -= 1
    return limits


def _total(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


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
