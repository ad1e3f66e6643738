"""The steps of an approval inside its transaction, and what is told about it afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sentinelzer0.domain import registry as rules
from sentinelzer0.domain.deployments import Cause
from sentinelzer0.domain.identity import PRODUCTION, check_person, check_text, subject_of_version
from sentinelzer0.domain.policies import GateResult
from sentinelzer0.domain.registry import ApprovalRequest, ApprovalStatus, Entry, Target
from sentinelzer0.domain.versions import (
    ModelStage,
    Version,
    VersionStatus,
    check_document,
    check_servable,
    check_transition,
    promoted,
)
from sentinelzer0.errors import (
    AlreadyExistsError,
    ApprovalRequiredError,
    EntryNotFoundError,
    InvalidInputError,
    RequestClosedError,
    RequestNotFoundError,
    VersionNotFoundError,
)
from sentinelzer0.kernel import Kernel, Reader, Transaction
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.audit_trail import stage_history
from sentinelzer0.mlops.public_values import ModelMetadata, RegistryEntry, public_entry
from sentinelzer0.mlops.version_rules import cancel_tests, check_gates, check_not_serving, enter_production, quarantined

APPROVE = "registry:promotion:approve"
REQUEST = "registry:promotion:request"
REJECT = "registry:promotion:reject"
WITHDRAW = "registry:promotion:withdraw"
BREAK_GLASS = "registry:production:break-glass"

_log = logging.getLogger("sentinelzer0.mlops.registry")


def checked_stage(value: ModelStage | str) -> ModelStage:
    """Return a stage.

    Raises:
        InvalidInputError: There is no such stage.
    """
    try:
        return ModelStage(value)
    except ValueError as error:
        raise InvalidInputError(f"{value!r} is not a stage.", hint=f"Use one of: {', '.join(ModelStage)}.") from error


def check_share(share: object, cap: float) -> None:
    """Accept a canary's share of the traffic.

    Raises:
        InvalidInputError: Not a number above 0, or above the policy's cap.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= cap:
        raise InvalidInputError(f"A canary share of {share!r:.100} is not allowed.", hint=f"Use up to {cap:g}.")


def require_entry(view: Reader, model: str, version: str) -> Entry:
    """Return a version's entry.

    Raises:
        EntryNotFoundError: It is not registered.
    """
    entry = view.registry.entry(model, version)
    if entry is None:
        raise EntryNotFoundError(
            f"{version} is not registered.", hint=f"Register it: sentinelzer0 registry register {version}"
        )
    return entry


def require_request(view: Reader, request_id: str) -> ApprovalRequest:
    """Return a request as it counts now.

    Raises:
        RequestNotFoundError: There is no such request.
    """
    request = view.registry.request(request_id)
    if request is None:
        raise RequestNotFoundError(
            f"There is no request {request_id!r}.", hint="See the open ones: sentinelzer0 registry pending"
        )
    return as_of_now(view, request)


def as_of_now(view: Reader, request: ApprovalRequest) -> ApprovalRequest:
    """Return a request as it counts now: a pending one may have expired or become void."""
    version = view.versions.get(request.model, request.version)
    digest = "" if version is None or version.deleted_at is not None else version.digest
    return rules.effective(request, view.now, digest, view.policies.in_force_digest() or "")


def serves_unapproved(view: Reader, version: Version, stage: ModelStage) -> bool:
    """Return whether ``stage`` is production, where the version serves already without anybody's approval.

    It came there by break-glass or by a rollback that a person insisted on. An approval then moves nothing: it makes
    the version one to come back to.
    """
    current = view.deployments.current(version.model, PRODUCTION)
    serves = current is not None and version.version in current.weights
    return serves and stage is version.stage is ModelStage.PRODUCTION and version.known_good_at is None


def check_not_registered(tx: Transaction, version: Version) -> None:
    """Refuse to register a version twice.

    Raises:
        AlreadyExistsError: It is registered.
    """
    entry = tx.registry.entry(version.model, version.version)
    if entry is not None:
        raise AlreadyExistsError(
            f"{version.version} is already registered, by {entry.registered_by} at {entry.registered_at:%Y-%m-%d}.",
            hint="Nothing needs to be done, or request its promotion.",
        )


def registered(tx: Transaction, version: Version, stage: ModelStage) -> tuple[Version, dict[str, Any]]:
    """Return the version as it enters the registry, and what the record says about it.

    Raises:
        ApprovalRequiredError: The policy does not let a version enter at this stage.
        GateFailedError: A gate of the policy fails.
        IllegalTransitionError: The stage cannot be reached.
    """
    if stage is ModelStage.NONE or stage is ModelStage.DEVELOPMENT or stage is version.stage:
        if version.stage is ModelStage.NONE and stage is not ModelStage.NONE:
            return replace(version, stage=ModelStage.DEVELOPMENT), {}
        return version, {}
    policy = tx.policies.in_force().policy()
    if stage is ModelStage.PRODUCTION:
        if not policy.adoption:
            raise ApprovalRequiredError(
                f"The policy {policy.name} does not adopt versions straight into production.",
                hint="Register it in development and request its promotion.",
            )
        check_servable(version)
        if version.quarantined_at is not None:
            raise quarantined(version)
        check_gates(tx, stage.value, version)
        reason = "adopted: it served production before it was registered"
        evidence = {"approval": "adopted", "policy": policy.digest}
        return enter_production(tx, version, Cause.ADOPTION, reason, evidence), {"approval": "adopted"}
    if policy.needs_approval(stage.value):
        raise ApprovalRequiredError(
            f"The policy {policy.name} demands an approval for {stage}.",
            hint="Register it in development and request its promotion.",
        )
    check_gates(tx, stage.value, version)
    return promoted(version, VersionStatus(stage.value)), {}


def new_request(
    tx: Transaction, model: str, version: str, stage: ModelStage, target: Target, share: float, notes: str
) -> ApprovalRequest:
    """Return a request for the version as it is now, under the policy in force now.

    Raises:
        EntryNotFoundError: The version is not registered.
        IllegalTransitionError: It cannot go there.
        AlreadyExistsError: The same request is already pending.
        QuarantinedError: It was rolled back from and not released.
    """
    found = integrity.require_version(tx, model, version)
    require_entry(tx, model, version)
    if target is Target.CANARY:
        check_servable(found)
    elif not serves_unapproved(tx, found, stage):
        moved(found, stage)
    if target in (Target.CANARY, Target.PRODUCTION) and found.quarantined_at is not None:
        raise quarantined(found)
    for other in tx.registry.requests(model, version):
        same = (other.target, other.to_stage) == (target, stage)
        if same and as_of_now(tx, other).status is ApprovalStatus.PENDING:
            raise AlreadyExistsError(
                f"{other.request_id} already asks for {version} to go to {target if stage is found.stage else stage}.",
                hint="Approve, reject or withdraw that one.",
            )
    policy = tx.policies.in_force().policy()
    return ApprovalRequest(
        tx.new_id("apr"),
        version,
        found.stage,
        stage,
        tx.actor.name,
        tx.now,
        notes=notes,
        model=model,
        target=target,
        share=share,
        digest=found.digest,
        policy_digest=policy.digest,
        expires_at=policy.expiry(tx.now),
        gates=rules.carried_evidence(tx.registry.evidence(model, version), found.digest),
    )


def approve(tx: Transaction, request_id: str, notes: str, verified: str) -> tuple[ApprovalRequest, Version]:
    """Return the request with one more approval, and its version; gates decide before the last one counts.

    Args:
        tx: The transaction.
        request_id: The request.
        notes: What the approver says about it.
        verified: Digest of the content that was hashed in full and found intact.

    Raises:
        RequestClosedError: It can no longer be decided.
        ApproverNotAllowedError: This person may not approve it.
        GateFailedError: A gate failed.
    """
    check_person(tx.actor, "approve a promotion")
    request = require_request(tx, request_id)
    version = integrity.require_version(tx, request.model, request.version)
    policy = tx.policies.in_force().policy()
    decided = rules.approved(request, tx.actor.name, tx.actor.auth, policy, tx.now, notes)
    if request.target is not Target.CANARY and version.stage is not request.from_stage:
        raise RequestClosedError(
            f"{version.version} went from {request.from_stage} to {version.stage} after request {request_id} was made.",
            hint="Make a new request if it is still wanted.",
        )
    if request.target in (Target.CANARY, Target.PRODUCTION) and version.quarantined_at is not None:
        raise quarantined(version)
    if verified != version.digest:
        raise integrity.not_intact(version, [f"{verified} was verified, {version.digest} is on record"])
    bytes_gate = GateResult(gate="integrity", passed=True, detail=f"sha256 {verified} verified in full")
    gates = [bytes_gate, *check_gates(tx, request.target.value, version)]
    return replace(decided, gates=[gate.to_dict() for gate in gates]), version


def carried_out(tx: Transaction, request: ApprovalRequest, before: Version, entry: Entry) -> tuple[Version, Entry]:
    """Move an approved version, with its entry and, into production, the traffic.

    What serves production without an approval stays where it is and becomes known-good.

    Raises:
        IllegalTransitionError: The table has no such move.
        InUseError: It would archive what serves.
    """
    if serves_unapproved(tx, before, request.to_stage):
        after = replace(before, known_good_at=tx.now)
    else:
        after = _moved_with_traffic(tx, request, before)
    entry = replace(entry, promoted_at=tx.now, promoted_by=request.approved_by)
    tx.versions.put(after, before)
    tx.registry.put_entry(entry)
    return after, entry


def _moved_with_traffic(tx: Transaction, request: ApprovalRequest, before: Version) -> Version:
    after = moved(before, request.to_stage)
    if after.stage is ModelStage.ARCHIVED:
        check_not_serving(tx, before)
    if after.stage is ModelStage.PRODUCTION:
        evidence = {"approval": request.request_id, "policy": request.policy_digest}
        after = enter_production(tx, after, Cause.PROMOTION, request.notes, evidence)
    return after


def close(kernel: Kernel, request_id: str, status: ApprovalStatus, person: str, reason: str) -> ApprovalRequest:
    """Reject or withdraw a request, for good."""
    reason = check_text(reason, "reason", required=True)
    with kernel.read() as view:
        request = require_request(view, request_id)
    action = REJECT if status is ApprovalStatus.REJECTED else WITHDRAW
    subjects = (subject_of_version(request.model, request.version), f"request:{request_id}")
    with kernel.begin(person, action, *subjects) as tx:
        closed = rules.closed(require_request(tx, request_id), status, tx.actor.name, tx.now, reason)
        tx.registry.put_request(closed)
        tx.record(digest=closed.digest, reason=reason)
    return closed


def moved(version: Version, stage: ModelStage) -> Version:
    """Return the version at another stage, by the transition table; a stage of none reads as development.

    Raises:
        IllegalTransitionError: The table has no such move.
    """
    if stage is ModelStage.NONE:
        check_transition(version.stage, stage)
    return promoted(version, VersionStatus(stage.value))


def with_health(entry: Entry, status: str, metrics: dict[str, Any] | None, now: datetime) -> Entry:
    """Return an entry with new health; metrics are merged into those already there."""
    merged = entry.performance_metrics | check_document(metrics, "metrics")
    return replace(entry, health_status=str(status), performance_metrics=merged, last_health_check=now)


def snapshot(view: Reader, entry: Entry, version: Version) -> RegistryEntry:
    """Return an entry as users see it."""
    return public_entry(entry, version, view.deployments.current(version.model, PRODUCTION))


def entries_of_stage(view: Reader, model: str, stage: ModelStage) -> list[tuple[Entry, Version]]:
    """Return the entries of a stage with their versions, newest version first."""
    entries = view.registry.entries(model, stage.value)
    pairs = [(entry, view.versions.get(model, entry.version)) for entry in entries]
    return [(entry, version) for entry, version in pairs if version is not None]


def entry_names(view: Reader, model: str) -> list[str]:
    """Return the names of the registered versions that were not deleted, in the order of their registration."""
    versions = [view.versions.get(model, entry.version) for entry in view.registry.entries(model)]
    return [found.version for found in versions if found is not None and found.deleted_at is None]


def decision_detail(request: ApprovalRequest) -> dict[str, Any]:
    """Return what the record of an approval says beside its after-image."""
    return {
        "status": request.status.value,
        "target": request.target.value,
        "from": request.from_stage.value,
        "to": request.to_stage.value,
        "approvals": len(request.votes),
    }


def break_glass(kernel: Kernel, model: str, version: str, person: str, reason: str) -> RegistryEntry:
    """Put a registered version into production without approval; see ``ModelRegistry.break_glass``."""
    reason = check_text(reason, "reason", required=True)
    with kernel.read() as view:
        found = integrity.require_version(view, model, version)
    integrity.require_intact(kernel, found, person, BREAK_GLASS)
    with kernel.begin(person, BREAK_GLASS, subject_of_version(model, version)) as tx:
        check_person(tx.actor, "put a version into production without approval")
        before = integrity.require_version(tx, model, version)
        entry = require_entry(tx, model, version)
        cancelled = cancel_tests(tx, model, reason, {"break_glass": version})
        evidence = {"approval": "break-glass", "policy": tx.policies.in_force_digest()}
        after = enter_production(tx, replace(before, deprecated=False), Cause.BREAK_GLASS, reason, evidence)
        entry = replace(entry, promoted_at=tx.now, promoted_by=tx.actor.name)
        tx.versions.put(after, before)
        tx.registry.put_entry(entry)
        detail: dict[str, Any] = {"from": before.stage.value, "to": after.stage.value, "approval": "break-glass"}
        detail["cancelled_tests"] = cancelled
        if before.quarantined_at is not None:
            detail["quarantine"] = f"lifted: {before.quarantine_reason}"
        tx.record(digest=after.digest, reason=reason, detail=detail)
        promoted_entry = snapshot(tx, entry, after)
    _log.warning("BREAK GLASS: %s put %s into production without approval: %s", person, version, reason)
    return promoted_entry


def audit_trail(
    kernel: Kernel, model: str, version: str, metadata_of: Callable[[Version], ModelMetadata]
) -> dict[str, Any]:
    """Return everything on record about a version; see ``ModelRegistry.get_audit_trail``."""
    with kernel.read() as view:
        found = view.versions.get(model, version)
        if found is None:
            raise VersionNotFoundError(f"There never was a version {version!r}.")
        entry = view.registry.entry(model, version)
        requests = [as_of_now(view, request) for request in view.registry.requests(model, version)]
        records = view.audit.of_subject(subject_of_version(model, version))
        shown = None if entry is None else snapshot(view, entry, found).to_dict()
    return {
        "version": version,
        "registry_entry": shown,
        "version_metadata": metadata_of(found).to_dict(),
        "approval_requests": [request.to_dict() for request in requests],
        "stage_history": stage_history(records, model, version),
        "events": [record.to_dict() for record in records],
    }
