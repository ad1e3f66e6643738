"""Which arm a unit belongs to: a hash, and ranges of it that only move as far as a changed share needs.

This module decides which requests go where. It performs no I/O and knows no chance. The laws:

- The position of a unit is the upper half of XXH3-64 of its key, seeded with the test's salt: one of ``POSITIONS``.
  The same key has the same position in every process, on every platform and in every release. Salts differ from test
  to test, hence the assignments of two tests are independent. Text, bytes and whole numbers with the same digits are
  the same key.
- Every position belongs to one arm, so a unit stays in its arm as long as the ranges stay.
- Ranges change by the difference only. An arm that grows takes the lowest positions of the control; one that shrinks
  gives its highest back. Nobody moves between two challengers, and nobody leaves an arm whose share did not shrink.
- The holdout lies at the top and never changes. With one challenger and no holdout, B is ``[0, share)``.

>>> ranges = allocate(first_ranges(), {"B": 0.25})
>>> ranges
[Range(start=0, end=1073741824, arm='B'), Range(start=1073741824, end=4294967296, arm='A')]
>>> [arm_at(position_of("host-%d" % i, 0xFF), ranges) for i in range(6)]
['A', 'A', 'B', 'B', 'B', 'A']
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from xxhash import xxh3_64_intdigest

from sentinelzer0.domain.scalars import shown, whole
from sentinelzer0.errors import InvalidInputError

T = TypeVar("T")

CONTROL = "A"
HOLDOUT = "holdout"
LETTERS = ("A", "B", "C", "D", "E", "F", "G")
"""The arms of a test, the control first."""

POSITIONS = 1 << 32
_SHIFT = 32
_MAX_KEY_BITS = 8192
"""Python refuses to write out integers of more than 4300 digits."""


class Range(NamedTuple):
    """Neighbouring positions of one arm, ``start`` included and ``end`` not."""

    start: int
    end: int
    arm: str


class Assignment(NamedTuple):
    """Where one request goes, and on what terms; kept with its outcome.

    Attributes:
        version: The model version that answers.
        share: The share of all traffic that its arm had when this was decided, 0..1.
        revision: The phase of the test that share belongs to, counted from 1; 0 before the start.
        request_id: A fresh id to record the outcome under, or the caller's own.
        arm: ``A`` for the control, ``B`` to ``G``, or ``holdout`` for a unit kept out of the test.
    """

    version: str
    share: float
    revision: int
    request_id: str
    arm: str


def assigner(
    ranges: Iterable[Sequence[int | str]], seed: int, terms: Mapping[str, T]
) -> Callable[[str | bytes | int], T]:
    """Return a function from a unit's key to what its arm means, prepared for many calls.

    Args:
        ranges: The ranges, also as lists that come back from JSON.
        seed: The salt of the test as a number.
        terms: What the function answers for each arm.

    Returns:
        The function; it raises InvalidInputError for a key that is neither text nor bytes nor a whole number, or
        empty.
    """
    ordered = sorted((int(start), str(arm)) for start, _, arm in ranges)
    starts, answers = tuple(start << _SHIFT for start, _ in ordered), tuple(terms[arm] for _, arm in ordered)

    def terms_of(key: str | bytes | int) -> T:
        # As in unit_hash, without its call.
        kind = type(key)
        if kind is not bytes:
            try:
                key = key.encode() if kind is str else _key_bytes(key)  # type: ignore[union-attr]
            except UnicodeEncodeError:
                raise _no_key(key) from None
        if not key:
            raise _no_key(key)
        return answers[bisect_right(starts, xxh3_64_intdigest(key, seed)) - 1]  # type: ignore[arg-type]

    return terms_of


def first_ranges(holdout: float = 0.0) -> list[Range]:
    """Return the ranges before any challenger has a share: the control, and the holdout at the top."""
    border = POSITIONS - positions(holdout)
    return [Range(*found) for found in ((0, border, CONTROL), (border, POSITIONS, HOLDOUT)) if found[0] < found[1]]


def allocate(ranges: Iterable[Sequence[int | str]], shares: Mapping[str, float]) -> list[Range]:
    """Return the ranges under other shares of the challengers, changed by the difference only.

    First the arms that shrink give back their highest positions, then those that grow take the control's lowest, each
    in the order of their letters.

    Args:
        ranges: The ranges so far, which cover every position once.
        shares: The share of all positions of every challenger; the control keeps the rest.

    Raises:
        InvalidInputError: The control does not have as many positions as the arms are to grow.
    """
    now = sorted(Range(int(start), int(end), str(arm)) for start, end, arm in ranges)
    wanted = {arm: positions(share) for arm, share in sorted(shares.items())}
    sizes = {arm: sum(found.end - found.start for found in now if found.arm == arm) for arm in wanted}
    for arm, size in wanted.items():
        if size < sizes[arm]:
            now = _given(now[::-1], sizes[arm] - size, arm, CONTROL, at_end=True)
    for arm, size in wanted.items():
        if size > sizes[arm]:
            now = _given(now, size - sizes[arm], CONTROL, arm, at_end=False)
    return now


def _given(ranges: Iterable[Range], count: int, giver: str, taker: str, *, at_end: bool) -> list[Range]:
    """Hand ``count`` positions of one arm to another, in the order of the ranges, and join neighbours."""
    after: list[Range] = []
    for found in ranges:
        take = min(count, found.end - found.start) if found.arm == giver else 0
        count -= take
        border = found.end - take if at_end else found.start + take
        taken = Range(border, found.end, taker) if at_end else Range(found.start, border, taker)
        kept = Range(found.start, border, found.arm) if at_end else Range(border, found.end, found.arm)
        after += [piece for piece in (taken, kept) if piece.start < piece.end]
    if count > len(LETTERS):  # a few come from rounding each share to a position
        raise InvalidInputError(
            f"The shares leave the control {-count / POSITIONS:.4g} of the traffic.",
            hint="The shares of the challengers and the holdout may sum to 1 at most.",
        )
    return _joined(sorted(after))


def _joined(ranges: list[Range]) -> list[Range]:
    joined = ranges[:1]
    for found in ranges[1:]:
        if found.arm == joined[-1].arm:
            joined[-1] = Range(joined[-1].start, found.end, found.arm)
        else:
            joined.append(found)
    return joined


def positions(share: float) -> int:
    """Return how many positions a share is, to the nearest."""
    return round(share * POSITIONS)


def position_of(key: str | bytes | int, seed: int) -> int:
    """Return the position of a unit, 0 to ``POSITIONS - 1``.

    Raises:
        InvalidInputError: A key that is neither text nor bytes nor a whole number.
    """
    return unit_hash(key, seed) >> _SHIFT


def arm_at(position: int, ranges: Iterable[Sequence[int | str]]) -> str:
    """Return the arm that has a position; for many keys take an :func:`assigner`."""
    return next(str(arm) for start, end, arm in ranges if int(start) <= position < int(end))


def unit_hash(key: str | bytes | int, seed: int) -> int:
    """Return XXH3-64 of a key, 0 to 2**64 - 1.

    Raises:
        InvalidInputError: A key that is neither text nor bytes nor a whole number.
    """
    kind = type(key)
    if kind is not bytes:
        try:
            key = key.encode() if kind is str else _key_bytes(key)  # type: ignore[union-attr]
        except UnicodeEncodeError:
            raise _no_key(key) from None
    return xxh3_64_intdigest(key, seed)  # type: ignore[arg-type]


def _key_bytes(key: object) -> bytes:
    number = key if type(key) is int else None if isinstance(key, str | bytes) else whole(key)
    if number is not None and number.bit_length() <= _MAX_KEY_BITS:
        return b"%d" % number
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return bytes(key)
    raise _no_key(key)


def check_key(key: object) -> None:
    """Refuse what is no key of a unit.

    Raises:
        InvalidInputError: A key that is neither text nor bytes nor a whole number, or empty.
    """
    unit_hash(key, 0)  # type: ignore[arg-type]
    if isinstance(key, str | bytes) and not key:
        raise _no_key(key)


def _no_key(key: object) -> InvalidInputError:
    if isinstance(key, str | bytes) and not key:
        return InvalidInputError(
            "The key is empty.",
            hint="An empty key would put all such requests into one arm; leave the key out where there is none.",
        )
    return InvalidInputError(
        f"{shown(key)} cannot be a key.", hint="Route by text, bytes or a whole number, for example the host."
    )
