"""The shares of a test's challengers, which alone may change while it runs.

This module decides which shares are possible and what a change of one does. It performs no I/O. The laws:

- Shares are of all traffic; the challengers' and the holdout sum to 1 at most, and the control has the rest.
- A change moves no more units than it needs: :mod:`sentinelzer0.domain.assignment`.
- In setup a change edits the design. A paused test uses the new share when it resumes. A running one begins a phase.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus, with_new_phase
from sentinelzer0.domain.assignment import CONTROL, allocate, first_ranges
from sentinelzer0.domain.scalars import real, shown
from sentinelzer0.errors import IllegalTransitionError, InvalidInputError

TOLERANCE = 1e-9
"""How far sums of shares may be off by rounding."""


def with_share(test: StoredTest, share: object, version: object, now: datetime) -> StoredTest:
    """Return the test with another share of a challenger; a running one thereby begins a phase.

    Args:
        test: The test.
        share: The share of all traffic, 0..1.
        version: The challenger; None means the only one.
        now: The present.

    Raises:
        IllegalTransitionError: The test is over.
        InvalidInputError: No share, or no challenger of this test, or a shadow test.
        ConflictError: The shares changed too often.
    """
    if test.status.is_over:
        raise IllegalTransitionError(
            f"The test {test.test_name!r} is {test.status}, so no share of it can change.", hint="Create another test."
        )
    if test.mode is Mode.SHADOW:
        raise InvalidInputError(
            f"The test {test.test_name!r} runs in the shadow: its challengers serve nothing.",
            hint="Create a split test.",
        )
    letter = _challenger(test, version)
    number = check_share(share, "share")
    if test.shares[letter] == number:
        return test
    shares = test.shares | {letter: number}
    check_sum(shares.values(), test.holdout)
    start = first_ranges(test.holdout) if test.status is TestStatus.SETUP else test.ranges
    ranges = [list(found) for found in allocate(start, shares)]
    after = replace(test, shares=shares, traffic_split=shares["B"], ranges=ranges)
    return with_new_phase(after, now) if test.status is TestStatus.RUNNING else after


def _challenger(test: StoredTest, version: object) -> str:
    if version is None:
        if len(test.shares) > 1:
            raise InvalidInputError(
                f"The test {test.test_name!r} has {len(test.shares)} challengers.",
                hint=f"Say which one's share: version={test.model_b!r}.",
            )
        return "B"
    letter = test.letter_of(version)
    if letter == CONTROL:
        raise InvalidInputError(
            f"{test.model_a} is the control, which gets what the challengers leave.", hint="Set their shares."
        )
    return letter


def check_share(value: object, what: str) -> float:
    """Return a share.

    Raises:
        InvalidInputError: No number from 0 to 1.
    """
    number = real(value)
    if number is None or not 0.0 <= number <= 1.0:
        raise InvalidInputError(f"{what} is {shown(value)}.", hint="Pass a share of all traffic, from 0 to 1.")
    return number


def check_sum(challengers: Iterable[float], holdout: float) -> None:
    """Refuse shares that are more than all traffic.

    Raises:
        InvalidInputError: Together with the holdout they are.
    """
    total = math.fsum((*challengers, holdout))
    if total > 1.0 + TOLERANCE:
        held = f" and the holdout of {holdout:g}" if holdout else ""
        raise InvalidInputError(
            f"The shares of the challengers{held} sum to {total:.4g}.", hint="They may sum to 1 at most."
        )
