"""Recording outcomes and labels: joined by request id, added to the statistics, looked at on a grid.

Everything one call says is committed together or not at all; a commit survives ``kill -9``. What comes after the end
of a test is kept and counted as late, and changes neither statistics nor verdict.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sentinelzer0.domain.ab_tests import TestStatus
from sentinelzer0.domain.outcomes import CellKey, Outcome, Progress, StoredOutcome
from sentinelzer0.domain.tallies import Increment, PairIncrement, PairKey, cohort_at, pair_key, tally
from sentinelzer0.errors import ConflictError, IllegalTransitionError, SentinelError
from sentinelzer0.kernel import SYSTEM, Kernel, Reader

_OVER = frozenset(status.value for status in TestStatus if status.is_over)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of outcomes or of labels.

    Attributes:
        counted: Outcomes that now count.
        duplicates: Outcomes whose request had been recorded before; ignored.
        labelled: Requests whose label now counts, also in place of another.
        late: Outcomes or labels that came after the end of the test; kept beside the others, not counted.
        request_id: Of a single outcome or label: what a later label is joined by.
        kept: Labels that are stored and change no count yet: their outcome did not come, or has no prediction.
        relabelled: Labels that replaced another one.
    """

    counted: int = 0
    duplicates: int = 0
    labelled: int = 0
    late: int = 0
    request_id: str | None = None
    kept: int = 0
    relabelled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Stream:
    """What recording has to know of the outcomes of one test, or of production.

    The phase is refreshed by recording itself; the rest never changes once outcomes are taken.

    Attributes:
        name: The name under which the outcomes are stored.
        arms: The arm of every version.
        subject: Whom a refusal concerns.
        record_action: What recording is called in the audit log.
        label_action: What labelling is called there.
        missing: Makes the error for a stream that does not exist.
        phase: The phase in force when this was read.
        shares: The shares by arm of every phase known so far, the first one first, to check assignments by.
        read_shares: Reads them again; None when there are no phases.
        cohort_s: Length of a cohort in seconds, 0 for a single one.
        slo_ms: From how many milliseconds on an answer is slow, or None.
        segments: The names told apart, everything else is ``""``; None takes any name.
        slots: The slot of every arm where shadow arms answer too, otherwise None.
        held_out: Whether a unit is kept out of the test; None when no unit is.
        look: Called in the transaction when a look is due, with the stream and the events so far; it returns whether
            the evidence carries a verdict that is not latched yet. None when nobody judges.
    """

    name: str
    arms: Mapping[str, str]
    subject: str
    record_action: str
    label_action: str
    missing: Callable[[], SentinelError]
    phase: int = 0
    shares: Sequence[Mapping[str, float]] = ()
    read_shares: Callable[[Reader], Sequence[Mapping[str, float]]] | None = None
    cohort_s: float = 0.0
    slo_ms: float | None = None
    segments: frozenset[str] | None = None
    slots: Mapping[str, int] | None = None
    held_out: Callable[[Any], bool] | None = None
    look: Callable[[Reader, str, int], bool] | None = None
    _ids: list[str] = field(default_factory=list, repr=False)
    _ids_of: int = 0

    def fresh_id(self, kernel: Kernel) -> str:
        """Return an id for a request that has none.

        A hundred are made at once, because a single one costs as much as a statement. A fork makes its own.
        """
        try:
            if self._ids_of == os.getpid():
                return self._ids.pop()
        except IndexError:
            pass
        base = kernel.ids.new("out")
        self._ids = [f"{base}_{number:02d}" for number in range(99, 0, -1)]
        self._ids_of = os.getpid()  # last: until then the ids may be the parent's
        return f"{base}_00"


def record(kernel: Kernel, stream: Stream, outcomes: Sequence[Outcome]) -> tuple[Recorded, bool]:
    """Count outcomes in one transaction.

    Returns:
        What became of them, and whether the statistics now carry a verdict that is not latched yet.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: The test was not started; on record.
        ConflictError: A request was recorded for another arm before; on record.
    """
    if not outcomes:
        return Recorded(), False
    try:
        with kernel.record_outcomes() as view:
            recorded, carries = _record(view, stream, outcomes)
    except (IllegalTransitionError, ConflictError) as refusal:
        raise kernel.refuse(SYSTEM, stream.record_action, (stream.subject,), refusal) from None
    return recorded, carries


def label(kernel: Kernel, stream: Stream, labels: Sequence[tuple[str, int]]) -> tuple[Recorded, bool]:
    """Count true labels of requests in one transaction; a label is kept until its outcome comes.

    Args:
        kernel: The open workspace.
        stream: Where the requests were recorded.
        labels: Checked request ids and labels, 1 for an attack.

    Returns:
        As :func:`record`.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: The test was not started; on record.
    """
    carries = False
    try:
        with kernel.record_outcomes() as view:
            late = _advance(view, stream, 0).status in _OVER
            joined = _Joined(view, stream, late=late)
            for request_id, true in labels:
                joined.label(request_id, true)
            joined.store()
            if joined.moved:
                progress = _advance(view, stream, joined.moved)
                carries = _looked(view, stream, progress)
    except IllegalTransitionError as refusal:
        raise kernel.refuse(SYSTEM, stream.label_action, (stream.subject,), refusal) from None
    only = labels[0][0] if len(labels) == 1 else None
    said = Recorded(0, 0, joined.moved, len(labels) if late else 0, only, joined.kept, joined.relabelled)
    return said, carries


def _record(view: Reader, stream: Stream, outcomes: Sequence[Outcome]) -> tuple[Recorded, bool]:
    count = len(outcomes)
    phases = [outcome[10] for outcome in outcomes if not outcome[11]]  # of those that do not know their own
    phase = phases[0] if phases else stream.phase
    progress = None
    if not view.streams.pass_by(stream.name, count, phase):
        progress = _advance(view, stream, count)
        if progress.phase != phase:
            outcomes = [o if o.assigned else o._replace(phase=progress.phase) for o in outcomes]
    late = progress is not None and progress.status in _OVER
    cohort = cohort_at(view.now.timestamp(), stream.cohort_s) if stream.cohort_s else 0
    only = outcomes[0][0] if count == 1 else None
    new = stream.slots is None and view.outcomes.insert(stream.name, outcomes, view.now, cohort, late=late)
    if new and progress is None:  # nearly always
        return Recorded(count, 0, _count(view, stream, outcomes, cohort), 0, only), False
    joined = _Joined(view, stream, late=late)
    fresh = outcomes if new else joined.take(outcomes, cohort)
    labelled = joined.moved
    if late:
        view.cells.add(stream.name, _late_by_cell(fresh, cohort))
    else:
        labelled += _count(view, stream, fresh, cohort)
    joined.store()
    if idle := count if late else joined.duplicates - joined.moved:
        progress = _advance(view, stream, -idle)
    carries = progress is not None and not late and _looked(view, stream, progress)
    counted, too_late = (0, len(fresh)) if late else (len(fresh), 0)
    said = Recorded(counted, joined.duplicates, labelled, too_late, only, joined.kept, joined.relabelled)
    return said, carries


def _count(view: Reader, stream: Stream, outcomes: Sequence[Outcome], cohort: int) -> int:
    """Add outcomes to the statistics and return how many of them have a label that counts."""
    rows, name = view.outcomes, stream.name
    if len(outcomes) == 1:
        (only,) = outcomes
        units = 0 if only.slot else 1 if only.key is None else len(rows.new_units(name, (only.key,)))
        view.cells.add_one(name, only, cohort, stream.slo_ms, units)
        return int(only.predicted is not None and only.true is not None)
    keys = {outcome[7] for outcome in outcomes if not outcome[13]}
    keys.discard(None)
    new_units = rows.new_units(name, [key for key in keys if key is not None]) if keys else None
    cells = tally(outcomes, cohort=cohort, slo_ms=stream.slo_ms, new_units=new_units)
    view.cells.add(name, cells)
    return sum(more.labelled for more in cells.values())


def _late_by_cell(outcomes: Sequence[Outcome], cohort: int) -> dict[CellKey, Increment]:
    cells: dict[CellKey, Increment] = {}
    for o in outcomes:
        cells.setdefault(CellKey(o.phase, o.assigned, cohort, o.segment, o.arm), Increment()).late += 1
    return cells


def _advance(view: Reader, stream: Stream, more: int) -> Progress:
    progress = view.streams.advance(stream.name, more)
    if progress is None:
        raise stream.missing()
    if progress.status == TestStatus.SETUP.value:
        raise IllegalTransitionError(
            f"The test {stream.name} was not started, so nothing can be recorded.",
            hint=f"Start it: sentinelzer0 ab start {stream.name}",
        )
    stream.phase, stream.cohort_s, stream.slo_ms = progress.phase, progress.cohort_s, progress.slo_ms
    return progress


def _looked(view: Reader, stream: Stream, progress: Progress) -> bool:
    due = stream.look is not None and progress.events >= progress.next_look
    return due and stream.look is not None and stream.look(view, stream.name, progress.events)


@dataclass(slots=True)
class _Joined:
    """What a batch says about requests that are known already, or that several arms answered."""

    view: Reader
    stream: Stream
    late: bool = field(kw_only=True)
    moved: int = 0
    duplicates: int = 0
    relabelled: int = 0
    kept: int = 0
    moves: dict[CellKey, Increment] = field(default_factory=dict)
    pairs: dict[PairKey, PairIncrement] = field(default_factory=dict)

    def take(self, outcomes: Sequence[Outcome], cohort: int) -> list[Outcome]:
        """Store outcomes one by one and return those that are new.

        Raises:
            ConflictError: A request was recorded for another arm.
        """
        rows, name, now = self.view.outcomes, self.stream.name, self.view.now
        fresh: list[Outcome] = []
        for number, given in enumerate(outcomes):
            found = rows.find(name, given.request_id)
            mine = next((answer for answer in found if answer.slot == given.slot), None)
            known = next((answer.true for answer in found if answer.true is not None), None)
            new = None
            if mine is not None and mine.arm is not None:
                if mine.arm != given.arm:
                    raise _other_arm(self.stream, given, mine.arm, number if len(outcomes) > 1 else None)
                self.duplicates += 1
            else:
                new = given if given.true is not None else given._replace(true=known)
                store = rows.insert if mine is None else rows.fill_in
                store(name, (new,), now, cohort, late=self.late)
                fresh.append(new)
            if given.true is not None and given.true != known and found:
                self._relabel(given.request_id, found, known, given.true)
            if new is not None and self.stream.slots is not None:
                self._pair(new, found, cohort)
        return fresh

    def label(self, request_id: str, true: int) -> None:
        """Take the label of a request."""
        found = self.view.outcomes.find(self.stream.name, request_id)
        if not found:
            self.view.outcomes.add_label(self.stream.name, request_id, true, self.view.now, late=self.late)
            self.kept += not self.late
            return
        known = next((answer.true for answer in found if answer.true is not None), None)
        if known != true:
            self._relabel(request_id, found, known, true)

    def store(self) -> None:
        """Add what was found to the statistics."""
        name = self.stream.name
        if self.moves:
            self.view.cells.add(name, self.moves)
        if self.pairs:
            self.view.pairs.add(name, self.pairs)
        if self.relabelled:
            self.view.streams.add_relabelled(name, self.relabelled)

    def _relabel(self, request_id: str, found: Sequence[StoredOutcome], before: int | None, true: int) -> None:
        """Give the answers that are stored another label; the counts move within their cells."""
        self.view.outcomes.set_label(self.stream.name, request_id, true)
        if self.late:
            return
        self.relabelled += before is not None
        counted = [answer for answer in found if answer.arm is not None and not answer.late]
        moved = False
        for answer in counted:
            move = Increment()
            if move.move_label(answer.predicted, before, true):
                moved = True
                _merge_label(self.moves.setdefault(answer.cell, Increment()), move)
        self.moved += moved
        self.kept += not moved and before is None
        served = next((answer for answer in counted if answer.slot == 0), None)
        if served is None:
            return
        for answer in counted:
            if answer.slot:
                pair = self.pairs.setdefault(pair_key(served, answer), PairIncrement())
                pair.add_label(served, answer, before, -1)
                pair.add_label(served, answer, true)

    def _pair(self, new: Outcome, found: Sequence[StoredOutcome], cohort: int) -> None:
        """Pair a new answer with those that other arms gave to the same request."""
        if self.late:
            return
        mine = StoredOutcome(
            new.slot,
            new.arm,
            new.success,
            new.latency_ms,
            new.confidence,
            new.predicted,
            new.true,
            new.segment,
            new.phase,
            new.assigned,
            cohort,
            0,
        )
        for other in found:
            if other.arm is None or other.late or (new.slot and other.slot):
                continue
            served, shadow = (other, mine) if new.slot else (mine, other)
            pair = self.pairs.setdefault(pair_key(served, shadow), PairIncrement())
            pair.add(served, shadow, new.true, self.stream.slo_ms)


def _merge_label(into: Increment, move: Increment) -> None:
    into.tp += move.tp
    into.fp += move.fp
    into.tn += move.tn
    into.fn += move.fn


def _other_arm(stream: Stream, given: Outcome, arm: str, number: int | None) -> ConflictError:
    row = "Request" if number is None else f"Row {number}: request"
    before, now = _arm_words(stream, arm), _arm_words(stream, given.arm)
    return ConflictError(
        f"{row} {given.request_id!r} was recorded for {before} before and cannot be one of {now}; "
        "nothing was recorded.",
        hint="Use another request_id for another request.",
    )


def _arm_words(stream: Stream, arm: str) -> str:
    version = next((name for name, letter in stream.arms.items() if letter == arm), None)
    return "the holdout" if version is None else arm if version == arm else f"{version} (arm {arm})"
