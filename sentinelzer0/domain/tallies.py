"""Tallies: what outcomes and pairs of answers add to the sufficient statistics.

This module only adds. It performs no I/O. The laws:

- :func:`tally` of two batches adds up to the tally of both, in any order (sums of floats up to rounding).
- A label counts once the prediction and the outcome are known, whichever came first; a later label replaces an
  earlier one, and the counts move with it, within the cell of the outcome.
- A unit counts once, at its first exposure. An outcome without a key is a unit of its own.

>>> first, second = Outcome("r1", "A", 1, 12.0), Outcome("r2", "A", 0, 30.0, key="host-7")
>>> tally([first, second])[CellKey(0, 0, 0, "", "A")].failures
1
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from operator import itemgetter, mul
from typing import NamedTuple

from sentinelzer0.domain.outcomes import CellKey, Outcome, StoredOutcome
from sentinelzer0.stats.histogram import buckets_of

COHORTS_PER_WINDOW = 8
"""A label window is divided into so many cohorts: the wait for a label is exact to an eighth of it."""

# How a request with this prediction and this truth counts as tp, fp, tn, fn.
_CELLS: dict[tuple[int | None, int | None], tuple[int, int, int, int]] = {
    (1, 1): (1, 0, 0, 0),
    (1, 0): (0, 1, 0, 0),
    (0, 0): (0, 0, 1, 0),
    (0, 1): (0, 0, 0, 1),
    **dict.fromkeys(((None, None), (None, 0), (None, 1), (0, None), (1, None)), (0, 0, 0, 0)),
}

Sums = tuple[int, float, float, float]
"""How many values, and the sums of their first three powers."""


class PairKey(NamedTuple):
    """Which statistics a pair of answers belongs to: those of the served answer's phase, cohort and segment.

    Attributes:
        phase: The phase.
        cohort: The bucket of time.
        segment: The segment.
        arm: The challenger.
    """

    phase: int
    cohort: int
    segment: str
    arm: str


@dataclass(slots=True)
class PairIncrement:
    """What pairs of answers to the same requests add to their statistics; every field adds up.

    The names of the numbers are those of the columns they are added to; ``labelled`` holds the eight counts of
    :class:`~sentinelzer0.stats.paired.PairedStatistics`'s ``joint``.
    """

    pairs: int = 0
    both_failed: int = 0
    only_a_failed: int = 0
    only_b_failed: int = 0
    both_slow: int = 0
    only_a_slow: int = 0
    only_b_slow: int = 0
    latency_sum: float = 0.0
    latency_sq: float = 0.0
    latency_cu: float = 0.0
    confidences: int = 0
    confidence_sum: float = 0.0
    confidence_sq: float = 0.0
    confidence_cu: float = 0.0
    labelled: list[int] = field(default_factory=lambda: [0] * 8)

    def add(self, a: StoredOutcome, b: StoredOutcome, true: int | None, slo_ms: float | None) -> None:
        """Count a pair: the served answer and a shadow arm's."""
        self.pairs += 1
        failed = (not a.success, not b.success)
        self.both_failed += failed == (True, True)
        self.only_a_failed += failed == (True, False)
        self.only_b_failed += failed == (False, True)
        slow = tuple(slo_ms is not None and (answer.latency_ms or 0.0) > slo_ms for answer in (a, b))
        self.both_slow += slow == (True, True)
        self.only_a_slow += slow == (True, False)
        self.only_b_slow += slow == (False, True)
        longer = (b.latency_ms or 0.0) - (a.latency_ms or 0.0)
        self.latency_sum += longer
        self.latency_sq += longer * longer
        self.latency_cu += longer * longer * longer
        if a.confidence is not None and b.confidence is not None:
            surer = b.confidence - a.confidence
            self.confidences += 1
            self.confidence_sum += surer
            self.confidence_sq += surer * surer
            self.confidence_cu += surer * surer * surer
        self.add_label(a, b, true)

    def add_label(self, a: StoredOutcome, b: StoredOutcome, true: int | None, sign: int = 1) -> None:
        """Count a labelled pair, or take it out again with ``sign=-1``."""
        if true is not None and a.predicted is not None and b.predicted is not None:
            self.labelled[4 * true + 2 * a.predicted + b.predicted] += sign


def pair_key(a: StoredOutcome, b: StoredOutcome) -> PairKey:
    """Return where the pair of the served answer ``a`` and a shadow arm's ``b`` counts."""
    return PairKey(a.phase, a.cohort, a.segment, b.arm or "")


@dataclass(slots=True)
class Increment:
    """What a batch of outcomes adds to the statistics of one cell; every field adds up.

    The names of the numbers are those of the columns they are added to.
    """

    requests: int = 0
    failures: int = 0
    slow: int = 0
    units: int = 0
    latency_sum: float = 0.0
    latency_sq: float = 0.0
    latency_cu: float = 0.0
    confidences: int = 0
    confidence_sum: float = 0.0
    confidence_sq: float = 0.0
    confidence_cu: float = 0.0
    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0
    late: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    custom: dict[str, Sums] = field(default_factory=dict)

    @property
    def labelled(self) -> int:
        """Requests with a prediction and a label."""
        return self.tp + self.fp + self.tn + self.fn

    def add_label(self, predicted: int | None, true: int | None, sign: int = 1) -> None:
        """Count a labelled request in its cell, or take it out again with ``sign=-1``."""
        tp, fp, tn, fn = _CELLS[predicted, true]
        self.tp += sign * tp
        self.fp += sign * fp
        self.tn += sign * tn
        self.fn += sign * fn

    def move_label(self, predicted: int | None, before: int | None, after: int) -> bool:
        """Count a request under another true label and return whether that changed anything."""
        if predicted is None or before == after:
            return False
        self.add_label(predicted, before, -1)
        self.add_label(predicted, after)
        return True


def cohort_at(seconds: float, cohort_s: float) -> int:
    """Return the cohort of a moment.

    Args:
        seconds: The moment, in seconds since 1970 (UTC).
        cohort_s: Length of a cohort in seconds, 0 for a single one.
    """
    return floor(seconds / cohort_s) if cohort_s > 0 else 0


def last_mature_cohort(seconds: float, cohort_s: float) -> int:
    """Return the newest cohort whose last request has had the whole label window by now.

    Args:
        seconds: Now, in seconds since 1970 (UTC).
        cohort_s: Length of a cohort in seconds, 0 for a single one that needs no waiting.
    """
    return floor(seconds / cohort_s) - COHORTS_PER_WINDOW - 1 if cohort_s > 0 else 0


def numbers_of(outcome: Outcome, slo_ms: float | None = None, units: int = 1) -> tuple[float, ...]:
    """Return what one outcome adds to the numbers of an :class:`Increment`, in their order."""
    _, _, success, latency, confidence, predicted, true = outcome[:7]
    square = latency * latency
    counts = (1, 1 - success, int(slo_ms is not None and latency > slo_ms), units)
    cell = _CELLS[predicted, true]
    if confidence is None:
        return (*counts, latency, square, square * latency, 0, 0.0, 0.0, 0.0, *cell, 0)
    sure = confidence * confidence
    return (*counts, latency, square, square * latency, 1, confidence, sure, sure * confidence, *cell, 0)


def tally(
    outcomes: Iterable[Outcome],
    *,
    cohort: int = 0,
    slo_ms: float | None = None,
    new_units: Container[str] | None = None,
) -> dict[CellKey, Increment]:
    """Return what outcomes add to the statistics, by cell: the sums of :func:`numbers_of`.

    Args:
        outcomes: Outcomes of one stream.
        cohort: When they were recorded.
        slo_ms: From how many milliseconds on an answer is slow.
        new_units: The keys that no earlier outcome had; None when all are new.
    """
    by_cell: defaultdict[tuple[str, int, int, str], list[Outcome]] = defaultdict(list)
    place = itemgetter(9, 10, 11, 1)  # segment, phase, assigned, arm
    for outcome in outcomes:
        by_cell[place(outcome)].append(outcome)
    seen: set[str] = set()
    return {
        CellKey(phase, assigned, cohort, segment, arm): _tally(of_cell, slo_ms, new_units, seen)
        for (segment, phase, assigned, arm), of_cell in by_cell.items()
    }


def _units(keys: Sequence[str | None], slots: Sequence[int], new_units: Container[str] | None, seen: set[str]) -> int:
    """Count first exposures; the answers of shadow arms expose nobody."""
    if not any(slots) and keys.count(None) == len(keys):
        return len(keys)
    units = 0
    for key, slot in zip(keys, slots, strict=True):
        if slot:
            continue
        if key is None:
            units += 1
        elif key not in seen and (new_units is None or key in new_units):
            seen.add(key)
            units += 1
    return units


def _tally(
    outcomes: Sequence[Outcome], slo_ms: float | None, new_units: Container[str] | None, seen: set[str]
) -> Increment:
    # By column: a step for a whole column costs less than one for every value.
    _, _, successes, latencies, confidences, predicted, true, keys, custom, _, _, _, _, slots = zip(
        *outcomes, strict=True
    )
    squares = [latency * latency for latency in latencies]
    sure = [confidence for confidence in confidences if confidence is not None]
    squared = [confidence * confidence for confidence in sure]
    cells = Counter(zip(predicted, true, strict=True))
    return Increment(
        requests=len(outcomes),
        failures=len(outcomes) - sum(successes),
        slow=0 if slo_ms is None else sum([latency > slo_ms for latency in latencies]),
        units=_units(keys, slots, new_units, seen),
        latency_sum=sum(latencies),
        latency_sq=sum(squares),
        latency_cu=sum(map(mul, squares, latencies)),
        confidences=len(sure),
        confidence_sum=sum(sure),
        confidence_sq=sum(squared),
        confidence_cu=sum(map(mul, squared, sure)),
        tp=cells[1, 1],
        fp=cells[1, 0],
        tn=cells[0, 0],
        fn=cells[0, 1],
        buckets=buckets_of(latencies),
        custom=_custom(custom),
    )


def _custom(given: Iterable[Mapping[str, float]]) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for values in filter(None, given):
        for name, value in values.items():
            count, total, total_sq, total_cu = found.get(name, (0, 0.0, 0.0, 0.0))
            square = value * value
            found[name] = (count + 1, total + value, total_sq + square, total_cu + square * value)
    return found
