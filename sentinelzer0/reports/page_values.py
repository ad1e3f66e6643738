"""What a report is made of: a document of sections, a section of blocks, a block being text, facts, a table or a chart.

>>> from datetime import UTC, datetime
>>> page = Document(
...     title="v2 against v1",
...     sections=(Section("Evidence", (Paragraph("Nothing yet."),)),),
...     verdict=Verdict(VerdictKind.UNDECIDED, "Too early to say.", "120 of 500 samples per arm."),
...     generated_at=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
... )
>>> page.sections[0].title
'Evidence'
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.reports.chart_values import (
    ComparisonChart,
    EventTimeline,
    IntervalChart,
    LaneChart,
    LineageRail,
    LineChart,
    Tone,
    TrafficChart,
    Unit,
    require_one_kind,
)


@dataclass(frozen=True, slots=True)
class State:
    """A cell that judges: shape, word and colour."""

    word: str
    tone: Tone


Cell: TypeAlias = str | int | float | datetime | State | None


class VerdictKind(StrEnum):
    """The kind picks icon, word and colour of the banner; the sentence says what was found."""

    GOOD = "good"  # proven better, passed, recovered
    BAD = "bad"  # proven worse, failed, refused
    CAUTION = "caution"  # decided but look twice: drifted, mismatch, break-glass
    UNDECIDED = "undecided"  # the evidence does not carry a verdict yet
    INFO = "info"  # a statement, no judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one sentence to read, with an optional second one."""

    kind: VerdictKind
    sentence: str  # bold
    detail: str = ""  # beneath it, in normal weight
    label: str = ""  # the small word above, e.g. "Decided"; "" takes the word of the kind


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A command or a snippet, shown verbatim."""

    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One key and its value; ``tone`` adds a shape and a colour to the value."""

    label: str
    value: Cell
    unit: Unit = Unit.NUMBER  # how a number is written
    note: str = ""
    tone: Tone = Tone.NEUTRAL
    code: bool = False  # a digest, an id or a path: monospace


@dataclass(frozen=True, slots=True)
class Facts:
    """Key figures side by side."""

    items: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers are right-aligned and written in ``unit``; ``code`` is monospaced; ``wordy`` columns hold sentences."""

    label: str
    unit: Unit | None = None  # None: text, left-aligned
    code: bool = False
    wordy: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A captioned table; the first column heads its row. None is shown as a dash."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InvalidInputError(
                    f"A row of {self.caption!r} has {len(row)} cells for {len(self.columns)} columns: {row!r}."
                )


Chart: TypeAlias = IntervalChart | LineChart | LaneChart | TrafficChart | ComparisonChart | EventTimeline | LineageRail
Alignable: TypeAlias = IntervalChart | LineChart | LaneChart


@dataclass(frozen=True, slots=True)
class Aligned:
    """Charts one beneath the other over one x axis: a place in one lies above the same place in the next."""

    charts: tuple[Alignable, ...]


@dataclass(frozen=True, slots=True)
class Panels:
    """Small multiples: charts over one x domain, two abreast where there is room, explained once beneath."""

    charts: tuple[IntervalChart, ...]


Block: TypeAlias = Paragraph | CodeBlock | Verdict | Facts | Table | Chart | Aligned | Panels


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page."""

    title: str
    blocks: tuple[Block, ...]
    intro: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. Nothing is read from the clock: ``generated_at`` is given, so equal input renders equal bytes."""

    title: str
    sections: tuple[Section, ...]
    generated_at: datetime
    subtitle: str = ""
    verdict: Verdict | None = None
    settings_digest: str = ""  # digest of the data and settings the report was made from
    generator: str = "SentinelZer0"  # name and version of the program

    def __post_init__(self) -> None:
        require_one_kind([self.generated_at], self.title)
