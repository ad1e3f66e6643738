"""The stream of outcomes of a test: its arms, its segments, who is kept out of it, and who judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus
from sentinelzer0.domain.assignment import HOLDOUT, arm_at, position_of
from sentinelzer0.domain.identity import subject_of_test
from sentinelzer0.domain.tallies import COHORTS_PER_WINDOW
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_judging import look
from sentinelzer0.mlops.ab_lookup import not_found, require_test
from sentinelzer0.mlops.outcome_recording import Stream

RECORD = "ab_test:outcome:record"
LABEL = "ab_test:outcome:label"


class Streams:
    """The streams of the tests of a workspace, read once each.

    Args:
        kernel: The open workspace.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known: dict[str, Stream] = {}

    def of(self, test_id: Any) -> Stream:
        """Return the stream of a test.

        Raises:
            ABTestNotFoundError: There is no such test.
        """
        try:
            return self._known[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            with self._kernel.read() as view:
                test = require_test(view, test_id)
        stream = stream_of(test)
        if test.status is not TestStatus.SETUP:  # until then its design may change
            self._known[test.test_id] = stream
        return stream


def stream_of(test: StoredTest) -> Stream:
    """Return the stream of a test."""
    shadow = test.mode is Mode.SHADOW
    return Stream(
        name=test.test_id,
        arms={version: letter for letter, version in test.arms.items()},
        subject=subject_of_test(test.test_id),
        record_action=RECORD,
        label_action=LABEL,
        missing=partial(not_found, test.test_id),
        phase=test.phase,
        shares=_shares(test),
        read_shares=lambda view: _shares(require_test(view, test.test_id)),
        cohort_s=test.label_window_s / COHORTS_PER_WINDOW,
        slo_ms=test.latency_slo_ms,
        segments=frozenset(test.segments),
        slots={letter: slot for slot, letter in enumerate(test.arms)} if shadow else None,
        held_out=_held_out(test) if test.holdout else None,
        look=look,
    )


def _shares(test: StoredTest) -> list[Mapping[str, float]]:
    return [phase["shares"] for phase in test.phases]


def _held_out(test: StoredTest) -> Callable[[Any], bool]:
    """Return whether a unit is kept out; the holdout's range never changes."""
    seed = int(test.salt, 16)
    return lambda key: arm_at(position_of(key, seed), test.ranges) == HOLDOUT
