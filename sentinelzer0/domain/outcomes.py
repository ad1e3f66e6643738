"""Outcomes: what one answered request says, and what many of them are evidence of.

This module holds the values that recording, storing and judging share. It performs no I/O. The laws:

- Statistics lie in cells: one for each phase of a test, cohort of time, segment and arm. The statistics of any union
  of cells are their sum.
- What compares two arms compares them phase by phase: :meth:`Evidence.strata`.
- Labels count as evidence once everything recorded with them had the time to be labelled too.

>>> evidence = Evidence((Cell(1, True, "", "A", ArmStatistics(3, 1)), Cell(2, True, "", "A", ArmStatistics(4, 0))))
>>> evidence.arm("A").error_rate
0.14285714285714285
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sentinelzer0.stats.comparison import Stratum
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.paired import PairedStatistics


class Outcome(NamedTuple):
    """One checked outcome.

    Attributes:
        request_id: What a later label or a repeat is joined by.
        arm: A letter of a test, ``holdout``, or the name of a version outside any test.
        success: 1 when the request was answered, 0 when it failed or timed out.
        latency_ms: Milliseconds, failures included.
        confidence: The model's confidence, 0..1, or None.
        predicted: Predicted label, 1 for an attack, or None.
        true: True label, or None while it is unknown.
        key: The unit the request was routed by, or None.
        custom: Other numbers by name.
        segment: One of the segments of the test, ``""`` for everything else.
        phase: The phase of the test whose shares the request was assigned by.
        assigned: 1 when the outcome carried its assignment, so that the phase is known for certain.
        share: The share its arm had then, when it was said.
        slot: 0 for the answer that was served, 1, 2, … for those of shadow arms to the same request.
    """

    request_id: str
    arm: str
    success: int
    latency_ms: float
    confidence: float | None = None
    predicted: int | None = None
    true: int | None = None
    key: str | None = None
    custom: Mapping[str, float] = {}
    segment: str = ""
    phase: int = 0
    assigned: int = 0
    share: float | None = None
    slot: int = 0


class CellKey(NamedTuple):
    """Which statistics an outcome belongs to.

    Attributes:
        phase: A period with constant shares, 1, 2, …; 0 outside any test.
        assigned: Whether the phase is known from the outcome's assignment (1) or from the time of recording (0).
        cohort: The bucket of time in which the outcome was recorded.
        segment: A segment of the traffic, ``""`` for everything else.
        arm: The arm.
    """

    phase: int
    assigned: int
    cohort: int
    segment: str
    arm: str


class StoredOutcome(NamedTuple):
    """What joining needs to know of an answer; no arm: a label that waits for its outcome."""

    slot: int
    arm: str | None
    success: int | None
    latency_ms: float | None
    confidence: float | None
    predicted: int | None
    true: int | None
    segment: str
    phase: int
    assigned: int
    cohort: int
    late: int

    @property
    def cell(self) -> CellKey:
        """Where it counts."""
        return CellKey(self.phase, self.assigned, self.cohort, self.segment, self.arm or "")


class Progress(NamedTuple):
    """How far a stream of outcomes has come, and where its next outcome counts.

    Attributes:
        status: The status of its test.
        events: Outcomes and labels so far.
        next_look: At how many of them the statistics are looked at next.
        phase: The phase in force.
        cohort_s: Length of a cohort in seconds, 0 for a single one.
        slo_ms: From how many milliseconds on an answer is slow, None when nothing was agreed.
    """

    status: str
    events: int
    next_look: int
    phase: int
    cohort_s: float
    slo_ms: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What one arm measured in one phase and segment; labels of mature cohorts only.

    Attributes:
        phase: A period with constant shares, 1, 2, …; 0 outside any test.
        assigned: Whether the outcomes carried their assignment, so that the phase is known for certain.
        segment: A segment of the traffic, ``""`` for everything else.
        arm: The arm.
        statistics: The statistics; those of custom metrics are of the whole arm and phase and lie in one cell of it.
        units: First exposures.
        immature: Labelled requests that wait until their cohort is mature.
    """

    phase: int
    assigned: bool
    segment: str
    arm: str
    statistics: ArmStatistics
    units: int = 0
    immature: int = 0


@dataclass(frozen=True, slots=True)
class PairCell:
    """The requests of one phase and segment that both the control and one challenger answered (shadow mode).

    Attributes:
        phase: The phase.
        segment: The segment.
        arm: The challenger.
        statistics: What the pairs say; labels of mature cohorts only.
    """

    phase: int
    segment: str
    arm: str
    statistics: PairedStatistics


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was measured in one stream of outcomes.

    Attributes:
        cells: What the arms measured.
        pairs: What arms measured on the same requests.
        histograms: Latencies by arm; empty when only inference was asked for.
        late: By arm, outcomes that came after the end and count nowhere else.
        relabelled: How often a label was replaced by one that contradicts it; the last one counts.
        pruned: Raw outcomes that were deleted; the statistics still contain them.
        events: Outcomes and labels so far.
    """

    cells: tuple[Cell, ...] = ()
    pairs: tuple[PairCell, ...] = ()
    histograms: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    relabelled: int = 0
    pruned: int = 0
    events: int = 0

    def arm(self, letter: str, segment: str | None = None) -> ArmStatistics:
        """Return the statistics of an arm over all phases, with its latencies if they were read.

        Args:
            letter: The arm.
            segment: One segment, without custom metrics and latencies, which are kept by arm; None for all.
        """
        total = self._sum(letter, None, segment)
        if segment is None and letter in self.histograms:
            return replace(total, histogram=self.histograms[letter])
        return total

    def strata(self, challenger: str, segment: str | None = None, control: str = "A") -> list[Stratum]:
        """Return the control and a challenger phase by phase, oldest phase first.

        Args:
            challenger: The arm that is compared with the control.
            segment: One segment; None for all.
            control: The arm it is compared with.
        """
        arms = (control, challenger)
        phases = sorted({cell.phase for cell in self.cells if cell.arm in arms})
        return [Stratum(self._sum(control, p, segment), self._sum(challenger, p, segment)) for p in phases]

    def units(self, letter: str, phase: int | None = None) -> int:
        """Return how many units an arm was shown to first, in all phases or in one."""
        return sum(cell.units for cell in self.cells if cell.arm == letter and phase in {None, cell.phase})

    def immature(self, letter: str) -> int:
        """Return how many labelled requests of an arm wait until their cohort is mature."""
        return sum(cell.immature for cell in self.cells if cell.arm == letter)

    def _sum(self, letter: str, phase: int | None, segment: str | None) -> ArmStatistics:
        found = [
            cell.statistics
            for cell in self.cells
            if cell.arm == letter and phase in {None, cell.phase} and segment in {None, cell.segment}
        ]
        if segment is not None:
            found = [replace(statistics, custom={}) for statistics in found]
        return sum(found[1:], found[0]) if found else ArmStatistics()


@dataclass(frozen=True, slots=True)
class Look:
    """What was read off the evidence at one point of a test.

    Attributes:
        events: Outcomes and labels up to it.
        at: When.
        decision: What the evidence carried then, or None.
        readings: The readings, JSON values.
    """

    events: int
    at: datetime
    decision: str | None
    readings: Mapping[str, Any]
