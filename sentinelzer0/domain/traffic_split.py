"""Whether the traffic reached the arms of a test as it was meant to, and where it was lost.

This module reads. It performs no I/O. The laws:

- What is counted is units, not requests: a key counts when it is first seen, a request without a key always.
- Each phase is held against the shares in force in it; a mismatch anywhere in the test blocks every verdict.
- Outcomes without an assignment count only in a test whose shares never changed: around a change they may have been
  routed before it. Units that name a phase in which their arm had no share are left out.
- Nothing is said before every arm has units, and all of them together as many as one arm needs for a verdict.
- A shadow test splits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinelzer0.domain.ab_tests import Mode, StoredTest
from sentinelzer0.domain.outcomes import Cell, Evidence
from sentinelzer0.stats import sample_ratio
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.sample_ratio import Loss, PhaseSplit


@dataclass(frozen=True, slots=True)
class SplitReading:
    """Whether the traffic reached the arms as it was meant to.

    Attributes:
        p_value: Always-valid p-value against "every unit was assigned with the stated shares".
        ok: It is above the alarm level.
        expected: Units each arm should have seen, by letter.
        observed: Units each arm has seen.
        where: Where units are missing, the strongest first; empty while the split is fine.
        reason: One sentence.
    """

    p_value: float
    ok: bool
    reason: str
    expected: Mapping[str, float] = field(default_factory=dict)
    observed: Mapping[str, int] = field(default_factory=dict)
    where: tuple[Loss, ...] = ()


def split(test: StoredTest, evidence: Evidence) -> SplitReading:
    """Return whether units reached the arms with the shares in force."""
    if test.mode is Mode.SHADOW:
        return SplitReading(1.0, ok=True, reason="All answers are to the same requests: nothing is split.")
    splits = [found for _, found in _splits(test, evidence, by_segment=False)]
    seen = {letter: sum(one.counts.get(letter, 0) for one in splits) for letter in test.arms}
    meant = {letter for phase in test.phases for letter, share in phase["shares"].items() if share > 0.0}
    empty = [letter for letter in test.arms if letter in meant and not seen[letter]]
    if empty or sum(seen.values()) < test.min_samples:
        said = f"No data: {' and '.join(empty)} {'have' if len(empty) > 1 else 'has'} no units yet." if empty else ""
        return SplitReading(
            1.0, ok=True, observed=seen, reason=said or "Too few units to tell how the traffic is split."
        )
    log_e = sample_ratio.log_e(splits)
    expected = sample_ratio.expected(splits)
    observed = seen
    p = p_value(log_e)
    if p > sample_ratio.ALPHA:
        return SplitReading(
            p, ok=True, expected=expected, observed=observed, reason="The traffic reached the arms as it was meant to."
        )
    places = _splits(test, evidence, by_segment=True)
    where = tuple(sample_ratio.loss([found for _, found in places], [name for name, _ in places]))
    short = min(test.arms, key=lambda letter: observed[letter] - expected.get(letter, 0.0))
    reason = (
        f"The traffic did not reach the arms as it was meant to: {short} has {observed[short]:,} units "
        f"where {expected.get(short, 0.0):,.0f} were expected (p = {p:.2g}, at every look)."
    )
    if where:
        reason += f" The loss is strongest in {where[0].where}."
    return SplitReading(p, ok=False, expected=expected, observed=observed, where=where, reason=reason)


def _splits(test: StoredTest, evidence: Evidence, *, by_segment: bool) -> list[tuple[str, PhaseSplit]]:
    """Return the units of every phase, or of every phase and segment, with the shares in force, by name."""
    cells: dict[int, list[Cell]] = {}
    for cell in evidence.cells:
        cells.setdefault(cell.phase, []).append(cell)
    found, first = [], test.phases[0]["shares"] if test.phases else {}
    constant = all(phase["shares"] == first for phase in test.phases)
    for phase in test.phases:
        shares = {letter: share for letter, share in phase["shares"].items() if letter in test.arms}
        total = sum(shares.values())
        if total <= 0.0:
            continue
        shares = {letter: share for letter, share in shares.items() if share > 0.0}
        fair = {letter: share / total for letter, share in shares.items()}
        units: dict[str, dict[str, int]] = {}
        for cell in cells.get(phase["phase"], ()):
            if constant or cell.assigned:
                of_place = units.setdefault(cell.segment if by_segment else "", dict.fromkeys(shares, 0))
                if cell.arm in of_place:
                    of_place[cell.arm] += cell.units
        for segment in sorted(units):
            name = f"phase {phase['phase']}" + (f", segment {segment}" if segment else "")
            if any(units[segment].values()):
                found.append((name, PhaseSplit(fair, units[segment])))
    return found
