"""The production traffic of an A/B test that is bound to a deployment.

A test splits its traffic while it runs. Every change of the split is a deployment revision made by compare-and-set in
the transaction that changes the test. When the test stops, the control gets all traffic back, unless somebody moved
the traffic elsewhere meanwhile (a rollback): what they decided stays. Challengers in the shadow get no traffic, so
nothing is deployed and nothing needs an approval; but nobody's bytes are trusted unseen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sentinelzer0.domain.ab_tests import LARGE_SHARE, Mode, StoredTest
from sentinelzer0.domain.assignment import CONTROL, HOLDOUT
from sentinelzer0.domain.deployments import Cause, Deployment
from sentinelzer0.domain.policies import Policy
from sentinelzer0.domain.registry import ApprovalStatus, Target
from sentinelzer0.domain.versions import Version, check_servable
from sentinelzer0.errors import ApprovalRequiredError, ConflictError, GateFailedError
from sentinelzer0.kernel import Kernel, Transaction
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.deployments import deploy
from sentinelzer0.mlops.version_rules import check_gates, quarantined


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read and hashed before the transaction.

    Attributes:
        revision: The deployment revision then, 0 for none.
        way_back: A verified known-good version that is not in the test, or None.
    """

    revision: int
    way_back: str | None


def verify(kernel: Kernel, test: StoredTest, person: str, action: str) -> Seen:
    """Hash every version of the test, and look for another one to go back to.

    Raises:
        VersionNotFoundError: A version does not exist any more.
        IntegrityError: The bytes of a version are not those that were registered; on record.
    """
    names = tuple(test.arms.values())
    with kernel.read() as view:
        versions = [integrity.require_version(view, test.model, name) for name in names]
        current = view.deployments.current(test.model, test.environment or "")
        others = [
            version
            for version in view.versions.known_good(test.model)
            if version.version not in names and version.quarantined_at is None
        ]
    for version in versions:
        integrity.require_intact(kernel, version, person, action)
    way_back = next((other.version for other in others if not integrity.problems(kernel, other)), None)
    return Seen(0 if current is None else current.revision, way_back)


def split(tx: Transaction, test: StoredTest, seen: Seen) -> tuple[StoredTest, dict[str, Any]]:
    """Give the challengers of a test that starts or resumes their shares.

    Returns:
        The test with its deployment revision and warnings, and what the record says about it.

    Raises:
        ConflictError: The control does not serve alone, or the deployment changed since it was verified.
        QuarantinedError: A challenger was rolled back from and not released.
        ApprovalRequiredError: The policy demands a canary approval that does not exist.
        GateFailedError: The shares are above the policy's cap, or a gate for canaries fails.
    """
    _check_control_alone(tx, test)
    evidence = _permission(tx, test, dict.fromkeys(test.shares, 0.0))
    warnings = _warnings(test, seen)
    if test.mode is Mode.SHADOW:
        return replace(test, warnings=warnings), {"warnings": warnings} | evidence
    deployment = _deploy(tx, test, Cause.AB_START, seen.revision, f"A/B test {test.test_name}", evidence)
    facts = {"revision": deployment.revision, "warnings": warnings} | deployment.evidence
    return replace(test, revision=deployment.revision, warnings=warnings), facts


def reshare(
    tx: Transaction, before: StoredTest, after: StoredTest, seen: Seen | None
) -> tuple[StoredTest, dict[str, Any]]:
    """Deploy the changed shares of a running test; a share that grows needs what it would need at the start.

    Args:
        tx: The transaction.
        before: The test as it was.
        after: The test with its new shares.
        seen: What was verified; None when no share grows, because less exposure needs no permission.

    Raises:
        ConflictError: Somebody moved the traffic since this test split it.
        RefusedError: As for :func:`split`.
    """
    current = tx.deployments.current(after.model, after.environment or "")
    if current is None or current.revision != after.revision:
        now = "gone" if current is None else f"at revision {current.revision} ({current.cause})"
        raise ConflictError(
            f"The traffic of {after.environment} is no longer as the test {after.test_name!r} left it: the deployment "
            f"is {now}.",
            hint="Look at what serves, then cancel or complete the test.",
        )
    if seen is None and sum(after.shares.values()) > sum(before.shares.values()):
        raise ConflictError(
            f"The test {after.test_name!r} changed while this was decided.", hint="Look at it again, then decide."
        )
    evidence: dict[str, Any] = {}
    warnings = after.warnings
    if seen is not None:
        evidence, warnings = _permission(tx, after, before.shares), _warnings(after, seen)
    reason = f"A/B test {after.test_name} has other shares"
    deployment = _deploy(tx, after, Cause.AB_SHARE, current.revision, reason, evidence)
    facts = {"revision": deployment.revision} | deployment.evidence
    return replace(after, revision=deployment.revision, warnings=warnings), facts


def give_back(tx: Transaction, test: StoredTest) -> tuple[StoredTest, dict[str, Any]]:
    """Return all traffic to the control if it is still as this test left it."""
    if test.environment is None or test.revision == 0:
        return test, {}
    current = tx.deployments.current(test.model, test.environment)
    after = replace(test, revision=0)
    if current is None or current.revision != test.revision:
        now = "gone" if current is None else f"at revision {current.revision} ({current.cause})"
        return after, {"traffic": f"left as it is: the deployment is {now}, no longer this test's"}
    deployment = deploy(
        tx,
        model=test.model,
        environment=test.environment,
        weights={test.model_a: 1.0},
        cause=Cause.AB_END,
        reason=f"A/B test {test.test_name} is {test.status}",
        evidence={"test": test.test_id},
        expected=current.revision,
    )
    return after, {"revision": deployment.revision}


def _check_control_alone(tx: Transaction, test: StoredTest) -> None:
    environment = test.environment or ""
    current = tx.deployments.current(test.model, environment)
    if current is None or current.weights != {test.model_a: 1.0}:
        serving = "nothing" if current is None or not current.weights else " and ".join(current.weights)
        raise ConflictError(
            f"{test.model_a} does not serve {environment} alone: {serving} does.",
            hint=f"Promote {test.model_a} first, or make the version that serves the control.",
        )
    for other in tx.ab_tests.splitting(test.model, environment):
        if other.test_id != test.test_id:
            raise ConflictError(
                f"The A/B test {other.test_name!r} ({other.test_id}) already splits the traffic of {environment}.",
                hint="Complete or cancel it first.",
            )


def _deploy(
    tx: Transaction, test: StoredTest, cause: Cause, expected: int, reason: str, evidence: dict[str, Any]
) -> Deployment:
    """Make the revision with the shares in force; the holdout is served by the control."""
    shares = test.shares_in_force
    weights = {test.arms[letter]: share for letter, share in shares.items() if letter in test.shares}
    control = {test.model_a: min(1.0, shares[CONTROL] + shares.get(HOLDOUT, 0.0))}
    return deploy(
        tx,
        model=test.model,
        environment=test.environment or "",
        weights=control | weights,
        cause=cause,
        reason=reason,
        evidence={"test": test.test_id, "verification": "full"} | evidence,
        expected=expected,
    )


def _permission(tx: Transaction, test: StoredTest, before: dict[str, float]) -> dict[str, Any]:
    """Return what allows the challengers whose shares grow those shares, under the policy in force."""
    integrity.require_version(tx, test.model, test.model_a)
    policy = tx.policies.in_force().policy()
    largest = max(test.shares.values())
    if largest > policy.canary_cap:
        raise GateFailedError(
            f"The policy {policy.name} gives a challenger at most {policy.canary_cap:g} of the traffic, not {largest:g}.",
            hint="Create the test with a smaller traffic_split, or set a smaller share.",
        )
    found: dict[str, Any] = {"policy": policy.digest}
    approvals: dict[str, dict[str, Any]] = {}
    for letter, share in test.shares.items():
        challenger = integrity.require_version(tx, test.model, test.arms[letter])
        check_servable(challenger)
        if challenger.quarantined_at is not None:
            raise quarantined(challenger)
        if share > before[letter]:
            check_gates(tx, Target.CANARY.value, challenger)
            approvals[challenger.version] = _approval(tx, share, challenger, policy)
    if len(test.shares) == 1:
        return found | next(iter(approvals.values()), {})
    return found | {"approvals": approvals}


def _approval(tx: Transaction, share: float, challenger: Version, policy: Policy) -> dict[str, Any]:
    for request in reversed(tx.registry.requests(challenger.model, challenger.version)):
        fits = request.target is Target.CANARY and request.status is ApprovalStatus.APPROVED
        same = request.digest == challenger.digest and request.policy_digest == policy.digest
        alive = request.expires_at is None or tx.now < request.expires_at
        if fits and same and alive and request.share >= share:
            return {"approval": request.request_id, "approved_by": request.approved_by}
    if policy.needs_approval(Target.CANARY.value):
        raise ApprovalRequiredError(
            f"{challenger.version} needs an approval for {share:g} of the traffic.",
            hint=f"Ask for it: sentinelzer0 registry request-canary {challenger.version} {share:g}",
        )
    return {"approval": f"waived by policy {policy.name}"}


def _warnings(test: StoredTest, seen: Seen) -> list[str]:
    warnings = [
        f"{test.arms[letter]} gets {share:.0%} of the traffic: if it is bad, many requests meet it."
        for letter, share in test.shares.items()
        if share > LARGE_SHARE
    ]
    if seen.way_back is None:
        warnings.append(f"There is no verified known-good version besides {test.model_a} to go back to.")
    return warnings
