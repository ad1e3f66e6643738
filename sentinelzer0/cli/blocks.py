"""What a command shows, before anybody decides about colours and widths: lines, facts and tables of marked text.

Marks name a meaning, never a colour, and every meaning is also said in words or shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Mark(StrEnum):
    """What a piece of text means."""

    PLAIN = "plain"
    STRONG = "strong"
    DIM = "dim"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    NAME = "name"
    CHART = "chart"


@dataclass(frozen=True, slots=True)
class Marked:
    """A piece of text and what it means."""

    text: str
    mark: Mark = Mark.PLAIN


Piece = str | Marked
Cell = Piece | Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Line:
    """A paragraph made of pieces, wrapped at words where the terminal ends.

    Attributes:
        pieces: Joined without blanks.
        indent: How many blanks its lines begin with.
        whole: Whether no line end is put into it, so that it can be copied as one.
    """

    pieces: tuple[Piece, ...]
    indent: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and their values, one pair a line."""

    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head.

    Attributes:
        columns: The heads; one that starts with ``>`` is of a column aligned to the right.
        rows: Cells, as many as columns.
        title: Above the table, or empty.
        wide: Indices of the columns that are wrapped first when the terminal is too narrow.
        optional: Indices of columns that are left out, in this order, until the terminal is wide enough.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]] = field(default_factory=list)
    title: str = ""
    wide: tuple[int, ...] = ()
    optional: tuple[int, ...] = ()


Block = Line | Facts | Table


def line(*pieces: Piece, indent: int = 0, whole: bool = False) -> Line:
    """Return a paragraph."""
    return Line(pieces, indent, whole)


def plain(text: object) -> Marked:
    """Return ordinary text."""
    return Marked(str(text))


def strong(text: object) -> Marked:
    """Return text that matters most."""
    return Marked(str(text), Mark.STRONG)


def dim(text: object) -> Marked:
    """Return text that matters least."""
    return Marked(str(text), Mark.DIM)


def good(text: object) -> Marked:
    """Return good news."""
    return Marked(str(text), Mark.GOOD)


def bad(text: object) -> Marked:
    """Return bad news."""
    return Marked(str(text), Mark.BAD)


def warn(text: object) -> Marked:
    """Return what wants attention."""
    return Marked(str(text), Mark.WARN)


def name(text: object) -> Marked:
    """Return the name of a thing."""
    return Marked(str(text), Mark.NAME)


def chart(text: str) -> Marked:
    """Return a small drawing."""
    return Marked(text, Mark.CHART)


def next_command(*commands: str) -> Line:
    """Return the line that says what to do next."""
    pieces: list[Piece] = [dim("next: ")]
    for index, command in enumerate(commands):
        pieces += [dim("  or  ")] if index else []
        pieces.append(strong(command))
    return Line(tuple(pieces), whole=True)
