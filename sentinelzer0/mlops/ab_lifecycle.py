"""The life of an A/B test: start, pause, resume, cancel, complete, other shares, an end by its own rules.

Every change is decided and recorded in one transaction; the production traffic that goes with it is moved in the same
one: :mod:`sentinelzer0.mlops.ab_deployment`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sentinelzer0.domain.ab_design import edited
from sentinelzer0.domain.ab_shares import with_share
from sentinelzer0.domain.ab_tests import StoredTest, due_to_end, moved, shares_of_all
from sentinelzer0.domain.identity import Actor, check_text, subject_of_test, subject_of_version
from sentinelzer0.errors import GateFailedError, RefusedError
from sentinelzer0.kernel import SYSTEM, Kernel, Reader, Transaction
from sentinelzer0.mlops import ab_deployment as traffic
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.ab_judging import attach_verdict, with_verdict
from sentinelzer0.mlops.ab_lookup import evidence_of, require_test

CREATE = "ab_test:design:create"
EDIT = "ab_test:design:edit"
SHARE = "ab_test:share:set"
ACTIONS = {verb: f"ab_test:state:{verb}" for verb in ("start", "pause", "resume", "cancel", "complete")}

_log = logging.getLogger("sentinelzer0.mlops.ab_testing")


def subjects_of(test: StoredTest) -> tuple[str, ...]:
    """Return what a record about a test concerns: the test and, when it concerns real traffic, its versions."""
    if test.environment is None:
        return (subject_of_test(test.test_id),)
    versions = (subject_of_version(test.model, name) for name in test.arms.values())
    return (subject_of_test(test.test_id), *versions)


def create(kernel: Kernel, person: Actor, test: StoredTest) -> None:
    """Store a new test.

    Raises:
        VersionNotFoundError: A version of a test bound to a deployment does not exist.
    """
    with kernel.begin(person, CREATE, *subjects_of(test)) as tx:
        _check_versions(tx, test)
        tx.ab_tests.add(test)
        tx.record()


def edit(kernel: Kernel, test_id: str, person: str, settings: Mapping[str, object]) -> StoredTest:
    """Change the design of a test in setup.

    Raises:
        ABTestNotFoundError: There is no such test.
        InvalidInputError: A setting is unknown, impossible, or contradicts another.
        VersionNotFoundError: A version of a test bound to a deployment does not exist.
        ConflictError: The test was started; on record.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
    with kernel.begin(person, EDIT, *subjects_of(test)) as tx:
        before = require_test(tx, test_id)
        after = edited(before, settings, tx.now)
        _check_versions(tx, after)
        tx.ab_tests.put(after)
        changed = [name for name in before.__slots__ if getattr(before, name) != getattr(after, name)]
        tx.record(None, *subjects_of(after), detail={"changed": changed})
    return after


def _check_versions(tx: Transaction, test: StoredTest) -> None:
    if test.environment is not None:
        for name in test.arms.values():
            integrity.require_version(tx, test.model, name)


def begin_serving(kernel: Kernel, test_id: str, verb: str, person: str) -> StoredTest:
    """Start or resume a test.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: Its status does not allow it.
        VersionNotFoundError: A bound test's version does not exist any more.
        IntegrityError: The bytes of a version are not those that were registered.
        QuarantinedError: The challenger was rolled back from and not released.
        ApprovalRequiredError: The policy demands a canary approval that does not exist.
        GateFailedError: The share is above the policy's cap, or a gate for canaries fails.
        ConflictError: The control does not serve alone, or the deployment changed meanwhile.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
    action = ACTIONS[verb]
    seen = traffic.verify(kernel, test, person, action) if test.environment is not None else None
    with kernel.begin(person, action, *subjects_of(test)) as tx:
        test = moved(require_test(tx, test_id), verb, tx.now)
        detail: dict[str, Any] = {"traffic_split": test.traffic_split, "shares": _by_version(test), "phase": test.phase}
        if seen is not None:
            test, facts = traffic.split(tx, test, seen)
            detail |= facts
        tx.ab_tests.put(test)
        tx.record(detail=detail)
    for warning in test.warnings:
        _log.warning("A/B test %s (%s): %s", test.test_name, test.test_id, warning)
    return test


def set_share(kernel: Kernel, test_id: str, share: object, version: object, person: str, reason: str) -> StoredTest:
    """Give a challenger another share of the traffic; one that it has already changes and records nothing.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: The test is over.
        InvalidInputError: No share, no challenger of this test, or a shadow test.
        RefusedError: A larger share of real traffic is not allowed, as for :func:`begin_serving`.
    """
    reason = check_text(reason, "reason")
    with kernel.read() as view:
        test = require_test(view, test_id)
    grows = test.revision > 0 and sum(_would_be(kernel, test, share, version, person).values()) > sum(
        test.shares.values()
    )
    seen = traffic.verify(kernel, test, person, SHARE) if grows else None
    with kernel.begin(person, SHARE, *subjects_of(test)) as tx:
        before = require_test(tx, test_id)
        test = with_share(before, share, version, tx.now)
        if test == before:
            return test
        detail: dict[str, Any] = {"before": _by_version(before), "shares": _by_version(test), "phase": test.phase}
        if test.revision:
            test, facts = traffic.reshare(tx, before, test, seen)
            detail |= facts
        tx.ab_tests.put(test)
        tx.record(reason=reason, detail=detail)
    return test


def stop_serving(kernel: Kernel, test_id: str, verb: str, person: str, reason: str = "") -> StoredTest:
    """Pause or cancel a test.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: Its status does not allow it.
    """
    reason = check_text(reason, "reason")
    with kernel.read() as view:
        test = require_test(view, test_id)
    with kernel.begin(person, ACTIONS[verb], *subjects_of(test)) as tx:
        test = moved(require_test(tx, test_id), verb, tx.now)
        test, detail = traffic.give_back(tx, test)
        tx.ab_tests.put(test)
        tx.record(reason=reason, detail=detail)
    return test


def complete(kernel: Kernel, test_id: str, person: str, *, force: bool) -> StoredTest:
    """End a test with the verdict its evidence carries.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: It is not running or paused.
        GateFailedError: An arm has fewer than ``min_samples`` outcomes and ``force`` is not given.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
    with kernel.begin(person, ACTIONS["complete"], *subjects_of(test)) as tx:
        return _complete(kernel, tx, require_test(tx, test_id), force=force)


def end_if_due(kernel: Kernel, test_id: str) -> StoredTest | None:
    """Complete a test whose own rules end it now: its verdict, its deadline, or its budget of outcomes.

    Returns:
        The test if this call ended it, otherwise None.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
        if _reason_to_end(view, test, view.now) is None:
            return None
    with kernel.begin(SYSTEM, ACTIONS["complete"], *subjects_of(test)) as tx:
        test = require_test(tx, test_id)
        why = _reason_to_end(tx, test, tx.now)
        return None if why is None else _complete(kernel, tx, test, force=True, why=why)


def samples_of(view: Reader, test: StoredTest) -> int:
    """Return how many outcomes the arms of a test have; the holdout is none of them."""
    cells = evidence_of(view, test.test_id, histograms=False).cells
    return sum(cell.statistics.requests for cell in cells if cell.arm in test.arms)


def _reason_to_end(view: Reader, test: StoredTest, now: datetime) -> str | None:
    return due_to_end(test, now, 0 if test.max_samples is None else samples_of(view, test))


def _complete(kernel: Kernel, tx: Transaction, test: StoredTest, *, force: bool, why: str = "") -> StoredTest:
    test = moved(test, "complete", tx.now)
    tx.streams.set_status(test.test_id, test.status.value)  # from here on nobody can add to what is read next
    evidence = evidence_of(tx, test.test_id, histograms=False)
    counts = [evidence.arm(letter).requests for letter in test.arms]
    if min(counts) < test.min_samples and not force:
        have = " and ".join(f"{count} of {name}" for count, name in zip(counts, test.arms.values(), strict=True))
        raise GateFailedError(
            f"The test {test.test_name!r} has outcomes: {have}; it needs {test.min_samples} of each.",
            hint="Record more, cancel it, or force its completion, which declares no winner by itself.",
        )
    had_verdict = bool(test.verdict)
    test = with_verdict(tx, test, ending=True)
    attached = [] if had_verdict else attach_verdict(kernel, tx, test)
    test, detail = traffic.give_back(tx, test)
    tx.ab_tests.put(test)
    forced = force and not why and min(counts) < test.min_samples
    detail |= {"samples": counts, "forced": forced, "verdict": test.verdict, "evidence": attached}
    said = test.verdict.get("reason", "")
    if why:
        detail |= {"ended_because": why}
        said = f"The test ended by itself: {why}. {said}".rstrip()
    tx.record(reason=said, detail=detail)
    return test


def _would_be(kernel: Kernel, test: StoredTest, share: object, version: object, person: str) -> dict[str, float]:
    """Return the shares after a change, which is refused on record when it is not possible."""
    try:
        return with_share(test, share, version, kernel.now()).shares
    except RefusedError as refusal:
        raise kernel.refuse(person, SHARE, subjects_of(test), refusal) from None


def _by_version(test: StoredTest) -> dict[str, float]:
    """Return the shares as designed, by version; ``holdout`` apart."""
    return {test.arms.get(letter, letter): share for letter, share in shares_of_all(test, test.shares).items()}
