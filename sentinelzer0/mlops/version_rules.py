"""What a change to a version must respect, checked inside its transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sentinelzer0.domain.deployments import Cause, main_version
from sentinelzer0.domain.identity import PRODUCTION, subject_of_test
from sentinelzer0.domain.policies import GateResult, evaluate_gates
from sentinelzer0.domain.registry import ApprovalStatus, effective, passed_kinds
from sentinelzer0.domain.versions import ModelStage, Version, VersionStatus
from sentinelzer0.errors import (
    AlreadyExistsError,
    ApprovalRequiredError,
    GateFailedError,
    InUseError,
    QuarantinedError,
    VersionNotFoundError,
)
from sentinelzer0.mlops.deployments import deploy

if TYPE_CHECKING:
    from sentinelzer0.kernel import Reader, Transaction

CANCEL_TEST = "ab_test:state:cancel"


def enter_production(tx: Transaction, version: Version, cause: Cause, reason: str, evidence: dict[str, Any]) -> Version:
    """Give a version all production traffic in this transaction and return it as known-good.

    What came there by break-glass was never approved, so it does not become a way back. The caller has checked
    approval and bytes, and stores the returned state.

    Raises:
        ConflictError: An A/B test shares the production traffic.
    """
    tx.ab_tests.check_no_running_test(version.model, PRODUCTION)
    deploy(
        tx,
        model=version.model,
        environment=PRODUCTION,
        weights={version.version: 1.0},
        cause=cause,
        reason=reason,
        evidence=evidence,
    )
    return replace(
        version,
        stage=ModelStage.PRODUCTION,
        production_at=tx.now,
        known_good_at=version.known_good_at or (None if cause is Cause.BREAK_GLASS else tx.now),
        quarantined_at=None,
        quarantine_reason="",
    )


def cancel_tests(tx: Transaction, model: str, reason: str, detail: dict[str, Any]) -> list[str]:
    """Cancel the tests that split production traffic, on record, for what cannot wait; return their ids."""
    cancelled = [test.test_id for test in tx.ab_tests.cancel_open_tests(model, PRODUCTION, tx.now)]
    if cancelled:
        tx.record(CANCEL_TEST, *map(subject_of_test, cancelled), reason=reason, detail=detail)
    return cancelled


def void_requests(tx: Transaction, version: Version) -> None:
    """Void what was asked for a version before it was rolled back from: its release is a new beginning."""
    for request in tx.registry.requests(version.model, version.version):
        if request.status is ApprovalStatus.PENDING:
            tx.registry.put_request(replace(request, status=ApprovalStatus.VOID))


def check_direct_promotion(tx: Transaction, version: Version, target: VersionStatus) -> str:
    """Return how the policy in force lets this move pass without an approval.

    Raises:
        ApprovalRequiredError: It does not.
        GateFailedError: A gate of the policy fails.
        QuarantinedError: The version was rolled back from; nobody released it.
    """
    if target is VersionStatus.PRODUCTION and version.quarantined_at is not None:
        raise quarantined(version)
    policy = tx.policies.in_force().policy()
    registered = tx.registry.entry(version.model, version.version) is not None
    if registered and policy.needs_approval(target.value):
        raise ApprovalRequiredError(
            f"{version.version} needs an approval to go to {target}.",
            hint=f"Ask for it: sentinelzer0 registry request {version.version} {target}",
        )
    if not policy.lets_unregistered(target.value):
        raise ApprovalRequiredError(
            f"The policy {policy.name} lets only registered, approved versions into {target}.",
            hint=f"Register {version.version}, then request its promotion.",
        )
    check_gates(tx, target.value, version)
    return "not needed for this stage" if registered else f"not registered: waived by policy {policy.name}"


def check_gates(tx: Transaction, target: str, version: Version) -> list[GateResult]:
    """Return what every gate found that guards a way towards traffic; there is no way but break-glass past them.

    A version is compared with what serves most of the production traffic besides itself.

    Raises:
        GateFailedError: A gate fails.
    """
    policy = tx.policies.in_force().policy()
    current = tx.deployments.current(version.model, PRODUCTION)
    shares = {} if current is None else {k: share for k, share in current.weights.items() if k != version.version}
    serving = main_version(shares)
    incumbent = None if serving is None else tx.versions.get(version.model, serving)
    evidence = passed_kinds(tx.registry.evidence(version.model, version.version), version.digest)
    gates = evaluate_gates(policy, target, version, incumbent, evidence)
    failed = [f"{gate.gate}: {gate.detail}" for gate in gates if not gate.passed]
    if failed:
        raise GateFailedError(
            f"{version.version} fails {len(failed)} of {len(gates)} gates for {target}: {'; '.join(failed)}.",
            hint="Mend the version or attach the evidence.",
        )
    return gates


def check_free_name(view: Reader, model: str, name: str) -> None:
    """Refuse a name that is taken.

    Raises:
        AlreadyExistsError: It is, also by a deleted version or in another case.
    """
    if (taken := view.versions.same_name(model, name)) is not None:
        how = "was used by a deleted version" if taken.deleted_at is not None else "exists already"
        other = "" if taken.version == name else f" as {taken.version!r}, which differs only in case"
        raise AlreadyExistsError(
            f"Version {name!r} {how}{other}.", hint="Versions are never overwritten: choose another name."
        )


def check_parent(view: Reader, model: str, parent_version: str | None) -> None:
    """Refuse a parent that does not exist.

    Raises:
        VersionNotFoundError: It never did, or was deleted.
    """
    if parent_version is None:
        return
    parent = view.versions.get(model, parent_version)
    if parent is None or parent.deleted_at is not None:
        raise VersionNotFoundError(
            f"The parent version {parent_version!r:.200} does not exist.",
            hint="Create the parent first, or leave parent_version out.",
        )


def quarantined(version: Version) -> QuarantinedError:
    """Return the error that a version was rolled back from and not released."""
    return QuarantinedError(
        f"{version.version} is quarantined since {version.quarantined_at:%Y-%m-%d %H:%M} UTC: "
        f"{version.quarantine_reason or 'it was rolled back from'}.",
        hint=f"A person releases it: sentinelzer0 rollback release {version.version} --reason …",
    )


def check_not_serving(tx: Transaction, version: Version) -> None:
    """Refuse to take away a version that serves traffic.

    Raises:
        InUseError: It does, in some environment.
    """
    serving = tx.deployments.serving(version.model, version.version)
    if serving:
        raise InUseError(
            f"{version.version} serves {', '.join(serving)}.", hint="Promote another version or roll back first."
        )


def check_unreferenced(tx: Transaction, version: Version, *, force: bool) -> None:
    """Refuse to delete a version that something refers to.

    Raises:
        InUseError: It serves, has children, a pending request, an open A/B test, or is of stage production.
    """
    check_not_serving(tx, version)
    children = tx.versions.children(version.model, version.version)
    if children:
        raise InUseError(f"{version.version} is the parent of {children[0].version}.", hint="Delete that one first.")
    policy = tx.policies.in_force_digest() or ""
    requests = tx.registry.requests(version.model, version.version)
    pending = [r for r in requests if effective(r, tx.now, version.digest, policy).status is ApprovalStatus.PENDING]
    if pending:
        raise InUseError(
            f"{version.version} has the pending request {pending[0].request_id}.", hint="Withdraw or reject it first."
        )
    tx.ab_tests.check_in_no_open_test(version.model, version.version)
    if version.stage is ModelStage.PRODUCTION and not force:
        raise InUseError(
            f"{version.version} is of stage production.", hint="It serves nothing: forcing the deletion is possible."
        )


def generated_name(tx: Transaction, model: str) -> str:
    """Return a name made of the time, unique by stepping on microsecond by microsecond."""
    moment = tx.now
    while tx.versions.same_name(model, name := f"v_{moment:%Y%m%d_%H%M%S_%f}") is not None:
        moment += timedelta(microseconds=1)
    return name
