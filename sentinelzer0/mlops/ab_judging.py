"""Judging a test: looks at its evidence, and the verdict that is latched at the first decisive one."""

from __future__ import annotations

from sentinelzer0.domain.ab_tests import ArmReading, StoredTest, comparison_of, decided, next_look
from sentinelzer0.domain.identity import subject_of_test
from sentinelzer0.domain.outcomes import Evidence, Look
from sentinelzer0.kernel import SYSTEM, Kernel, Reader
from sentinelzer0.mlops.ab_lookup import evidence_of, require_test
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.moments import Confusion, Moments

REACH = "ab_test:verdict:reach"

_DECISIONS = {"A": "keep", "B": "promote"}


def look(view: Reader, test_id: str, events: int) -> bool:
    """Keep a look and return whether it carries a verdict that is not latched yet."""
    test = require_test(view, test_id)
    a, b = arms_of(evidence_of(view, test_id, histograms=False))
    winner = comparison_of(test, a, b).winner
    decision = None if winner is None else _DECISIONS[winner]
    readings = {"arms": [_numbers(a), _numbers(b)]}
    view.ab_tests.looks.add(test_id, Look(events, view.now, decision, readings), next_look(events))
    return winner is not None and test.winner is None


def latch(kernel: Kernel, test_id: str) -> StoredTest | None:
    """Store the verdict that the first decisive look, or the statistics as they are now, carry; it never flips.

    Returns:
        The test if this call reached its verdict, otherwise None.
    """
    with kernel.begin(SYSTEM, REACH, subject_of_test(test_id)) as tx:
        test = tx.ab_tests.get(test_id)
        if test is None or test.winner is not None or not test.status.is_open:
            return None
        after = with_verdict(tx, test)
        if after.winner is None:
            return None
        tx.ab_tests.put(after)
        tx.record(reason=after.verdict["reason"], detail={"verdict": after.verdict})
    return after


def carries_new_verdict(kernel: Kernel, test_id: object) -> bool:
    """Return whether an open test's evidence carries a verdict that is not latched yet.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
        return test.status.is_open and test.winner is None and with_verdict(view, test).winner is not None


def with_verdict(view: Reader, test: StoredTest) -> StoredTest:
    """Return the test with the verdict its evidence carries, if any, as of the first look that carried it."""
    if test.winner is not None:
        return test
    found = view.ab_tests.looks.first_decided(test.test_id)
    evidence = Evidence() if found else evidence_of(view, test.test_id, histograms=False)
    a, b = arms_at(found) if found else arms_of(evidence)
    events, at = (found.events, found.at) if found else (evidence.events, view.now)
    return decided(test, comparison_of(test, a, b), at, events=events, requests=a.requests + b.requests)


def arms_of(evidence: Evidence) -> tuple[ArmStatistics, ArmStatistics]:
    """Return the statistics of the control and of the first challenger."""
    return evidence.arm("A"), evidence.arm("B")


def readings_of(view: Reader, test_id: str) -> tuple[ArmReading, ArmReading]:
    """Return what the control and the first challenger measured."""
    evidence = evidence_of(view, test_id)
    a, b = (
        ArmReading(
            arm, evidence.late.get(letter, 0), {n: (m.count, m.total, m.total_sq) for n, m in arm.custom.items()}
        )
        for letter, arm in zip("AB", arms_of(evidence), strict=True)
    )
    return a, b


def arms_at(found: Look) -> tuple[ArmStatistics, ArmStatistics]:
    """Return the statistics of both arms at a look."""
    a, b = found.readings["arms"]
    return _statistics(a), _statistics(b)


def _numbers(arm: ArmStatistics) -> list[float]:
    of, sure, cells = arm.latency, arm.confidence, arm.confusion
    latency = [of.total, of.total_sq, of.total_cu]
    confidence = [sure.count, sure.total, sure.total_sq, sure.total_cu]
    return [arm.requests, arm.failures, *latency, *confidence, cells.tp, cells.fp, cells.tn, cells.fn]


def _statistics(row: list[float]) -> ArmStatistics:
    requests, failures = int(row[0]), int(row[1])
    latency = Moments(requests, row[2], row[3], row[4])
    confidence = Moments(int(row[5]), row[6], row[7], row[8])
    return ArmStatistics(requests, failures, latency, confidence, Confusion(*map(int, row[9:13])))
