"""The steps of a rollback: decide, verify outside the transaction, decide again and switch inside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sentinelzer0.domain import rollbacks as rules
from sentinelzer0.domain.deployments import Cause
from sentinelzer0.domain.identity import PRODUCTION, Actor, is_person, subject_of_version
from sentinelzer0.domain.rollbacks import RollbackEvent, RollbackRequestStatus, RollbackStrategy
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import (
    CorruptWorkspaceError,
    IntegrityError,
    StorageFullError,
    StorageUnavailableError,
    VersionNotFoundError,
    WorkspaceError,
)
from sentinelzer0.kernel import Kernel, Transaction
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.deployments import deploy
from sentinelzer0.mlops.rollback_plan import (
    BREAK_GLASS,
    EXECUTE,
    MAX_CANDIDATES,
    Order,
    Plan,
    confirmed,
    decided,
    planned,
    record_refusal,
)
from sentinelzer0.mlops.verification import Verification, first_intact
from sentinelzer0.mlops.version_rules import cancel_tests, void_requests

FAIL = "rollback:production:fail"
REQUEST = "rollback:request:open"
DISMISS = "rollback:request:dismiss"
RECHECK = "rollback:verification:recheck"

_STORAGE_FAILED = (StorageUnavailableError, StorageFullError, CorruptWorkspaceError)

_log = logging.getLogger("sentinelzer0.mlops.rollback")


def execute(kernel: Kernel, order: Order) -> RollbackEvent:
    """Roll back at once; a failure of the storage after acceptance becomes an event without success.

    Raises:
        RefusedError: A rule says no; on record.
        VersionNotFoundError: A version is unknown or deleted; on record.
    """
    tick = kernel.clock.monotonic
    marks = [tick()]
    plan = decided(kernel, order)
    marks.append(tick())
    try:
        target, verification, skipped = _verified(kernel, order, plan)
        marks.append(tick())
        found = replace(order, to_version=target.version)
        with kernel.begin(order.actor, BREAK_GLASS if plan.break_glass else EXECUTE, *found.subjects) as tx:
            again = replace(plan, candidates=(target,))
            if tx.next_seq != plan.log_size:
                again = planned(tx, found, tx.next_seq)
            event = _switched(tx, found, again, plan.current.revision, verification)
            details = event.details | {
                "target_model_path": str(integrity.view_location(kernel, target)),
                "rollback_method": _method(order, again),
                "skipped": skipped,
                "durations_ms": _durations([*marks, tick()]),
            }
            event = replace(event, details=details)
            _recorded(tx, found, event)
    except VersionNotFoundError as error:
        record_refusal(kernel, order, EXECUTE, error)
        raise
    except _STORAGE_FAILED as error:
        return _failed(kernel, order, error)
    integrity.readable_path(kernel, target)  # a convenience: traffic has moved, whether or not it can be built
    _announce(event)
    return event


def open_request(kernel: Kernel, order: Order) -> tuple[RollbackEvent, bool]:
    """Ask a person for a rollback.

    Returns:
        The request, and whether it is new: while the same one is open, it is returned again.

    Raises:
        RefusedError: It could not be executed now either.
        VersionNotFoundError: A version is unknown or deleted.
    """
    decided(kernel, order)
    with kernel.begin(order.actor, REQUEST, *order.subjects) as tx:
        plan = planned(tx, order, tx.next_seq)
        for earlier in tx.rollbacks.requests_from(order.model, order.from_version, MAX_CANDIDATES):
            details = earlier.details
            if details.get("status") == RollbackRequestStatus.OPEN and details["target_asked"] == order.to_version:
                return earlier, False
        event_id = tx.new_id("rb")
        details = {
            "request_id": event_id,
            "status": RollbackRequestStatus.OPEN.value,
            "target_asked": order.to_version,
            "allow_unapproved": order.allow_unapproved,
        }
        event = _event(order, event_id, tx.now, plan.candidates[0].version, details, success=False)
        tx.rollbacks.put(event)
        tx.record(None, *order.subjects, f"rollback:{event_id}", reason=order.reason)
    _log.warning(
        "ROLLBACK REQUESTED by %s: %s to %s: %s. Confirm or dismiss %s.",
        *(order.actor.name, event.from_version, event.to_version, event.reason, event_id),
    )
    return event, True


def recheck(kernel: Kernel, event: RollbackEvent, actor: Actor) -> RollbackEvent | None:
    """Hash in full what a rollback relied on an earlier verification for; if it fails, go back further.

    Returns:
        The second rollback, or None when the bytes are intact or another process was first.

    Raises:
        RefusedError: They are not intact, and there is no other way back.
    """
    with kernel.read() as view:
        target = view.versions.get(event.model, event.to_version or "")
        stored = view.rollbacks.get(event.event_id) or event
    if stored.details["recheck"] != rules.RECHECK_RUNNING:
        return None
    if target is None or target.deleted_at is not None:  # only what serves nothing can be deleted
        found, outcome = [], "not needed: the version was deleted"
    else:
        found = integrity.hash_in_full(kernel, target)
        outcome = "passed" if not found else f"failed: {integrity.not_intact(target, found).message}"
    subjects = (subject_of_version(event.model, event.to_version or ""), f"rollback:{event.event_id}")
    with kernel.begin(actor, RECHECK, *subjects) as tx:
        stored = tx.rollbacks.get(event.event_id) or event
        if stored.details["recheck"] != rules.RECHECK_RUNNING:
            return None  # another process was first, and acts on what it found
        tx.rollbacks.put(replace(stored, details=stored.details | {"recheck": outcome}))
        tx.record(digest=event.details.get("verified_digest"), reason=outcome)
    if target is None or not found:
        return None
    _log.error("%s failed its re-hash after rollback %s: %s", target.version, event.event_id, outcome)
    order = Order(
        model=event.model,
        from_version=target.version,
        to_version=None,
        reason=f"re-verification after {event.event_id} {outcome}",
        strategy=RollbackStrategy.IMMEDIATE,
        actor=actor,
        follows=event.event_id,
    )
    return execute(kernel, order)


def _verified(kernel: Kernel, order: Order, plan: Plan) -> tuple[Version, Verification, list[dict[str, Any]]]:
    try:
        target, verification, skipped = first_intact(kernel, plan.candidates)
    except IntegrityError as error:
        record_refusal(kernel, order, BREAK_GLASS if plan.break_glass else EXECUTE, error)
        raise
    for item in skipped:
        _log.error("%s is no way back: %s", item["version"], item["problem"])
    return target, verification, skipped


def _switched(
    tx: Transaction, order: Order, plan: Plan, seen_revision: int, verification: Verification
) -> RollbackEvent:
    """Move traffic, stages and entries; return the event, not yet stored.

    Automation is bound to the revision it decided on. A person's rollback is decided again on what serves now, so
    that a controller which keeps changing shares cannot block it.
    """
    target = plan.candidates[0]
    event_id = tx.new_id("rb")
    cancelled = cancel_tests(tx, order.model, order.reason, {"rollback": event_id})
    expected = plan.current.revision if is_person(order.actor) else seen_revision
    evidence = {
        "rollback": event_id,
        "approval": "break-glass" if plan.break_glass else "known-good",
        "verification": str(verification),
    }
    deployment = deploy(
        tx,
        model=order.model,
        environment=PRODUCTION,
        weights={target.version: 1.0},
        cause=Cause.ROLLBACK,
        reason=order.reason,
        evidence=evidence,
        expected=expected,
    )
    tx.versions.put(rules.left(plan.leaving, tx.now, order.reason), plan.leaving)
    void_requests(tx, plan.leaving)
    restored = rules.restored(target, tx.now)
    tx.versions.put(restored, target)
    _update_entry(tx, restored)
    details: dict[str, Any] = {
        "verified_digest": target.digest,
        "verification": str(verification),
        "revision": deployment.revision,
        "previous_revision": plan.current.revision,
        "cancelled_tests": cancelled,
    }
    if verification.age is not None:
        details["recheck"] = rules.RECHECK_RUNNING
    optional = {"request_id": order.request_id, "follows": order.follows}
    details |= {name: value for name, value in optional.items() if value is not None}
    return _event(order, event_id, tx.now, target.version, details, success=True)


def _update_entry(tx: Transaction, target: Version) -> None:
    entry = tx.registry.entry(target.model, target.version)
    if entry is not None:
        tx.registry.put_entry(replace(entry, promoted_at=tx.now, promoted_by=tx.actor.name))


def _recorded(tx: Transaction, order: Order, event: RollbackEvent) -> None:
    if order.request_id is not None:
        request = confirmed(tx, order)
        tx.rollbacks.put(replace(request, details=request.details | {"executed_as": event.event_id}))
    tx.rollbacks.put(event)
    subjects = (*order.subjects, f"rollback:{event.event_id}")
    tx.record(None, *subjects, digest=event.details["verified_digest"], reason=order.reason)


def _failed(kernel: Kernel, order: Order, error: WorkspaceError) -> RollbackEvent:
    """Return the event of a rollback that was accepted but could not be done, on record when that is possible."""
    details = {"error": error.message, "error_code": error.code, "recorded": True}
    if order.request_id is not None:
        details["request_id"] = order.request_id
    event_id = kernel.ids.new("rb")
    event = _event(order, event_id, kernel.now(), order.to_version, details, success=False)
    _log.error("Rollback %s of %s failed: %s", event_id, order.from_version, error.message)
    try:
        with kernel.begin(order.actor, FAIL, *order.subjects, f"rollback:{event_id}") as tx:
            event = replace(event, timestamp=tx.now)
            tx.rollbacks.put(event)
            tx.record(reason=error.message, detail={"code": error.code})
    except _STORAGE_FAILED as second:
        _log.error("The failed rollback %s could not be put on record: %s", event_id, second.message)
        return replace(event, details=details | {"recorded": False})
    return event


def _event(
    order: Order, event_id: str, now: Any, to_version: str | None, details: Mapping[str, Any], *, success: bool
) -> RollbackEvent:
    return RollbackEvent(
        event_id,
        now,
        order.from_version,
        to_version,
        order.reason,
        order.strategy,
        order.actor.name,
        success,
        dict(details),
        order.model,
    )


def _method(order: Order, plan: Plan) -> str:
    if plan.break_glass:
        return "break-glass"
    if order.request_id is not None:
        return "confirmed"
    return "manual" if is_person(order.actor) else "automated"


def _durations(marks: list[float]) -> dict[str, float]:
    """Return milliseconds between the marks; ``write`` ends where the event is stored, before the commit."""
    steps = zip(("decide", "verify", "write"), marks, marks[1:], strict=False)
    return {name: round(timedelta(seconds=end - start) / timedelta(milliseconds=1), 3) for name, start, end in steps}


def _announce(event: RollbackEvent) -> None:
    loud = "BREAK GLASS: " if event.details["rollback_method"] == "break-glass" else ""
    _log.warning(
        "%s%s rolled %s back to %s: %s (%s)",
        *(loud, event.triggered_by, event.from_version, event.to_version, event.reason, event.event_id),
    )
