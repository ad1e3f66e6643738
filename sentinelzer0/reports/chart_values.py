"""What a chart is given: frozen plain values, checked once, with no drawing in them.

Rules that hold for every chart:

- **x** is either an aware ``datetime`` (drawn in UTC) or a number (samples, requests, a version's ordinal); one
  chart never mixes the two, and points come in ascending x.
- **y** is in the metric's own scale: a rate is a fraction (0.1246), not a percentage; `Unit` says how people read it.
- A missing value is ``None``, never 0. NaN and infinities are refused.
- Text is plain text. It is escaped when it is drawn, so a model name may contain anything.

>>> chart = LineChart(title="Live recall", series=(LineSeries("v3", ((0, 0.91), (100, 0.42))),), unit=Unit.PERCENT)
>>> chart.series[0].points[-1]
(100, 0.42)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import TypeAlias

from sentinelzer0.errors import InvalidInputError, InvalidMetricError

X: TypeAlias = datetime | float

MAX_SERIES = 5


class Unit(StrEnum):
    """How a number is written for people."""

    NUMBER = "number"  # 0.8731, four significant digits
    COUNT = "count"  # 12,345
    PERCENT = "percent"  # the fraction 0.1246 is written 12.46 %
    POINTS = "points"  # the difference 0.0252 of two fractions is written 2.52 pp
    MILLISECONDS = "milliseconds"  # 41 ms, 1.2 s from a thousand up
    BYTES = "bytes"  # 181.9 MB, decimal prefixes


class Tone(StrEnum):
    """What a mark, a fact or a verdict means; always shown as a shape and a word besides the colour."""

    NEUTRAL = "neutral"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one x: a ramp step, a settings change, a rollback.

    The picture carries a numbered badge; label, actor and reason are written beneath it.
    """

    x: X
    label: str  # what happened, a few words: "share of v2 raised to 50 %"
    actor: str = ""  # who did it
    automatic: bool = False  # a machine decided, no person
    reason: str = ""  # why
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True)
class Threshold:
    """A horizontal line that means something, e.g. the health limit."""

    value: float
    label: str
    bad_above: bool | None = None  # which side is unhealthy; None: neither

    def __post_init__(self) -> None:
        require_finite(self.value, f"threshold {self.label!r}")


@dataclass(frozen=True, slots=True)
class IntervalPoint:
    """One look at a sequential comparison: estimate and interval as the statistics gave them, not yet intersected."""

    x: X
    estimate: float
    low: float
    high: float
    samples: int  # samples of the smaller arm at this look
    band: tuple[float, float] | None = None  # the running intersection at this look, where the statistics kept it

    def __post_init__(self) -> None:
        for name in ("estimate", "low", "high"):
            require_finite(getattr(self, name), name)
        if self.low > self.high:
            raise InvalidMetricError(f"The interval [{self.low}, {self.high}] at {self.x} is upside down.")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at which look, where the caller knows better than the band, e.g. by a one-sided limit."""

    x: X
    words: str  # a few words for the flag: "v2 is better"
    tone: Tone
    sentence: str = ""  # with circumstances; "" takes words and x


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """The effect of a challenger over a control with its always-valid interval.

    The band drawn is the *running intersection* of the intervals from the first look that has ``min_samples``: a
    confidence sequence covers the truth at all times at once, so the band may only narrow and the decision, at the
    FIRST look whose band leaves ``decide_against``, is latched. Looks before ``min_samples`` are drawn faded and
    never decide. If the intersection becomes empty the chart says that the effect drifted.
    """

    title: str
    points: tuple[IntervalPoint, ...]
    control: str
    challenger: str
    metric: str  # "F1 score"
    unit: Unit = Unit.NUMBER  # of the difference: POINTS for rates
    higher_is_better: bool | None = True  # None: a difference is neither good nor bad
    confidence: float = 0.95  # joint coverage of the sequence, a fraction
    min_samples: int = 0  # per arm
    decide_against: float = 0.0  # 0 for superiority; the margin's value for non-inferiority
    threshold: Threshold | None = None  # e.g. the non-inferiority margin
    marks: tuple[Mark, ...] = ()  # ramp steps, settings changes
    x_label: str = ""  # "" means "samples per arm" or "time (UTC)"
    finding: Finding | None = None  # where the caller knows it
    read_band: bool = True  # whether a decision is read off the band when no finding is given
    decides: bool = True  # whether what is found here decides something

    def __post_init__(self) -> None:
        require_finite(self.decide_against, "decide_against")
        if not 0.0 < self.confidence < 1.0:
            raise InvalidInputError(f"A confidence of {self.confidence} is not between 0 and 1.")
        require_axis([p.x for p in self.points], [m.x for m in self.marks], self.title)


@dataclass(frozen=True, slots=True)
class LineSeries:
    """A named line; a y of None leaves a gap."""

    name: str
    points: tuple[tuple[X, float | None], ...]

    def __post_init__(self) -> None:
        for _, y in self.points:
            if y is not None:
                require_finite(y, f"a value of {self.name!r}")


@dataclass(frozen=True, slots=True)
class LineChart:
    """One metric over time, requests or version number; one to five series, a threshold, marks."""

    title: str
    series: tuple[LineSeries, ...]
    unit: Unit = Unit.NUMBER
    y_label: str = ""  # the metric's name, "" takes the title
    x_label: str = ""  # "" means "requests" or "time (UTC)"
    threshold: Threshold | None = None
    marks: tuple[Mark, ...] = ()
    y_range: tuple[float, float] | None = None  # None fits the data, the threshold and a little air
    log_y: bool = False  # for p- and e-values; every value must then be positive
    compact: bool = False  # a low strip beneath another chart

    def __post_init__(self) -> None:
        if not 1 <= len(self.series) <= MAX_SERIES:
            raise InvalidInputError(
                f"{self.title!r} has {len(self.series)} series; a line chart takes 1 to {MAX_SERIES}.",
                hint="Use a table for more.",
            )
        for line in self.series:
            require_axis([x for x, _ in line.points], [m.x for m in self.marks], self.title)
        require_one_kind([x for line in self.series for x, _ in line.points], self.title)
        if self.log_y and any(y is not None and y <= 0 for line in self.series for _, y in line.points):
            raise InvalidMetricError(f"{self.title!r} has a logarithmic axis and a value of 0 or less.")


@dataclass(frozen=True, slots=True)
class Lane:
    """One thing whose state is watched: from each x on, until the next, it was in that state."""

    name: str
    states: tuple[tuple[X, str, Tone], ...]  # (from, word, tone); equal neighbours may be repeated


@dataclass(frozen=True, slots=True)
class LaneChart:
    """States over time, a lane each: shape, word and colour say the same."""

    title: str
    lanes: tuple[Lane, ...]
    end: X  # right edge
    marks: tuple[Mark, ...] = ()
    x_label: str = ""

    def __post_init__(self) -> None:
        for lane in self.lanes:
            require_axis([x for x, _, _ in lane.states], [self.end, *(m.x for m in self.marks)], self.title)


@dataclass(frozen=True, slots=True)
class TrafficStep:
    """From ``x`` until the next step, traffic was split like this."""

    x: X
    shares: tuple[tuple[str, float], ...]  # (version, fraction); fractions sum to 1 or all are 0
    label: str = ""  # what happened, e.g. "ramp to 50 %"
    actor: str = ""
    automatic: bool = False
    reason: str = ""
    tone: Tone = Tone.NEUTRAL

    def __post_init__(self) -> None:
        total = math.fsum(share for _, share in self.shares)
        if any(not 0.0 <= share <= 1.0 for _, share in self.shares) or not (
            math.isclose(total, 1.0, abs_tol=1e-6) or total == 0.0
        ):
            raise InvalidMetricError(f"Shares at {self.x} sum to {total:g}; they are fractions that sum to 1 (or 0).")


@dataclass(frozen=True, slots=True)
class TrafficChart:
    """Who served how much, when, and why it changed: a stacked step chart, at most five versions."""

    title: str
    steps: tuple[TrafficStep, ...]
    end: X  # right edge, not before the last step
    x_label: str = ""

    def __post_init__(self) -> None:
        require_axis([s.x for s in self.steps], [self.end], self.title)
        names = {name for step in self.steps for name, _ in step.shares}
        if len(names) > MAX_SERIES:
            raise InvalidInputError(f"{self.title!r} has {len(names)} versions; a traffic chart takes {MAX_SERIES}.")


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of every compared version, in the order of `ComparisonChart.versions`."""

    name: str
    values: tuple[float | None, ...]
    unit: Unit = Unit.NUMBER
    higher_is_better: bool | None = True  # None: a change is neither good nor bad

    def __post_init__(self) -> None:
        for value in self.values:
            if value is not None:
                require_finite(value, f"metric {self.name!r}")


@dataclass(frozen=True, slots=True)
class ComparisonChart:
    """Metrics of two to five versions; the first is the baseline.

    All rows share one axis: the change relative to the baseline, turned so that better is to the right.
    """

    title: str
    versions: tuple[str, ...]
    rows: tuple[MetricRow, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.versions) <= MAX_SERIES:
            raise InvalidInputError(f"{self.title!r} compares {len(self.versions)} versions; it takes 2 to 5.")
        for row in self.rows:
            if len(row.values) != len(self.versions):
                raise InvalidInputError(
                    f"{row.name!r} has {len(row.values)} values for {len(self.versions)} versions.",
                    hint="Give None where a version lacks the metric.",
                )


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a timeline: when, who, what, why, on which bytes."""

    at: datetime
    what: str
    actor: str = ""
    automatic: bool = False
    reason: str = ""
    digest: str = ""  # content digest the event speaks of; shortened when shown, whole in the CSV
    tone: Tone = Tone.NEUTRAL

    def __post_init__(self) -> None:
        require_one_kind([self.at], self.what)


@dataclass(frozen=True, slots=True)
class EventTimeline:
    """Events in the order they are to be read."""

    title: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version on the rail. Parents that are not among the nodes are shown as lying outside."""

    version: str
    parents: tuple[str, ...] = ()
    state: str = ""  # "production", "rolled back"
    note: str = ""  # a line of text: dataset, key metric
    actor: str = ""
    at: datetime | None = None
    tone: Tone = Tone.NEUTRAL
    href: str = ""  # "" or a relative link, an http(s) link or "#fragment"


@dataclass(frozen=True, slots=True)
class LineageRail:
    """Descent of versions, newest first: every node stands above its parents."""

    title: str
    nodes: tuple[LineageNode, ...]
    current: frozenset[str] = field(default_factory=frozenset)  # versions to emphasise

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            late = [parent for parent in node.parents if parent in seen]
            if node.version in seen or late:
                raise InvalidInputError(
                    f"{node.version!r} is listed twice or beneath its parent {', '.join(late)!r} in {self.title!r}.",
                    hint="List each version once, newest first.",
                )
            seen.add(node.version)


def require_finite(value: float, what: str) -> None:
    """Refuse NaN and infinities: they would draw nothing and say nothing."""
    if not math.isfinite(value):
        raise InvalidMetricError(f"{what} is {value}, not a finite number.", hint="Give None where nothing is known.")


def require_one_kind(xs: Iterable[X], title: str) -> None:
    """Refuse a mixture of times and numbers, and times without a zone."""
    kinds = set()
    for x in xs:
        kinds.add(isinstance(x, datetime))
        if isinstance(x, datetime):
            if x.tzinfo is None:
                raise InvalidInputError(f"{title!r} has the time {x} without a zone.", hint="Use an aware UTC time.")
        else:
            require_finite(x, f"an x of {title!r}")
    if len(kinds) > 1:
        raise InvalidInputError(f"{title!r} mixes times and numbers on one axis.")


def require_axis(xs: Sequence[X], extra: Sequence[X], title: str) -> None:
    """Check one chart's x values: one kind, ascending; ``extra`` lie on the same axis in any order."""
    require_one_kind([*xs, *extra], title)
    positions = [x.timestamp() if isinstance(x, datetime) else float(x) for x in xs]
    if any(later < earlier for earlier, later in pairwise(positions)):
        raise InvalidInputError(f"The points of {title!r} are not in ascending order.", hint="Sort them by x.")
