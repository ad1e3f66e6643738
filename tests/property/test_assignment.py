"""Any sequence of shares: every position keeps exactly one arm, shares hold, and nobody moves without need."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.assignment import (
    HOLDOUT,
    LETTERS,
    POSITIONS,
    Range,
    allocate,
    arm_at,
    first_ranges,
    positions,
    unit_hash,
)

STEPS = 1000
"""Shares are thousandths, so that sums are exact enough to compare."""


@st.composite
def ramps(draw: st.DrawFn) -> tuple[float, list[dict[str, float]]]:
    arms = LETTERS[1 : draw(st.integers(2, 7))]
    holdout = draw(st.integers(0, STEPS // 2))
    ramp = []
    for _ in range(draw(st.integers(1, 6))):
        left, shares = STEPS - holdout, {}
        for arm in draw(st.permutations(arms)):
            shares[arm] = draw(st.integers(0, left))
            left -= shares[arm]
        ramp.append({arm: share / STEPS for arm, share in shares.items()})
    return holdout / STEPS, ramp


def size(ranges: list[Range], arm: str) -> int:
    return sum(found.end - found.start for found in ranges if found.arm == arm)


def moved(before: list[Range], after: list[Range]) -> dict[tuple[str, str], int]:
    borders = sorted({edge for found in before + after for edge in (found.start, found.end)})
    found: dict[tuple[str, str], int] = {}
    for start, end in itertools.pairwise(borders):
        pair = arm_at(start, before), arm_at(start, after)
        if pair[0] != pair[1]:
            found[pair] = found.get(pair, 0) + end - start
    return found


@given(ramps())
def test_ranges_cover_everything_once_and_move_no_more_than_the_shares(
    ramp: tuple[float, list[dict[str, float]]],
) -> None:
    holdout, steps = ramp
    ranges = first_ranges(holdout)
    for shares in steps:
        before, ranges = ranges, allocate(ranges, shares)
        assert (ranges[0].start, ranges[-1].end) == (0, POSITIONS)
        assert all(one.end == other.start for one, other in itertools.pairwise(ranges))
        assert all(found.start < found.end for found in ranges)
        for arm, share in shares.items():
            assert abs(size(ranges, arm) - positions(share)) <= len(LETTERS)
        assert size(ranges, HOLDOUT) == positions(holdout)
        moves = moved(before, ranges)
        shrinking = {arm for arm in shares if size(ranges, arm) < size(before, arm)}
        assert {source for source, _ in moves} <= shrinking | {"A"}
        assert not any(HOLDOUT in pair for pair in moves)
        for arm in shares:
            gone = sum(count for (source, _), count in moves.items() if source == arm)
            come = sum(count for (_, target), count in moves.items() if target == arm)
            assert min(gone, come) == 0
            assert abs(come - gone) == abs(size(ranges, arm) - size(before, arm))


@given(st.integers())
def test_a_number_is_its_digits(number: int) -> None:
    assert unit_hash(number, 1) == unit_hash(str(number), 1) == unit_hash(str(number).encode(), 1)
