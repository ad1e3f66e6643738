"""The life of an A/B test: start, pause, resume, cancel, complete, and the production traffic that goes with it.

A test bound to a deployment splits its traffic while it runs. Every change of the split is a deployment revision
made by compare-and-set in the transaction that changes the test. When the test stops, the control gets all traffic
back, unless somebody moved the traffic elsewhere meanwhile (a rollback): what they decided stays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from sentinelzer0.domain.ab_tests import LARGE_SHARE, StoredTest, moved
from sentinelzer0.domain.deployments import Cause, Deployment
from sentinelzer0.domain.identity import Actor, check_text, subject_of_test, subject_of_version
from sentinelzer0.domain.policies import Policy
from sentinelzer0.domain.registry import ApprovalStatus, Target
from sentinelzer0.domain.versions import Version, check_servable
from sentinelzer0.errors import ApprovalRequiredError, ConflictError, GateFailedError
from sentinelzer0.kernel import Kernel, Transaction
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.ab_recording import require_test, with_verdict
from sentinelzer0.mlops.deployments import deploy
from sentinelzer0.mlops.version_rules import check_gates, quarantined

CREATE = "ab_test:design:create"
ACTIONS = {verb: f"ab_test:state:{verb}" for verb in ("start", "pause", "resume", "cancel", "complete")}

_log = logging.getLogger("sentinelzer0.mlops.ab_testing")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read and hashed before the transaction."""

    revision: int
    way_back: str | None


def subjects_of(test: StoredTest) -> tuple[str, ...]:
    """Return what a record about a test concerns: the test and, when it splits real traffic, both versions."""
    if test.environment is None:
        return (subject_of_test(test.test_id),)
    versions = (subject_of_version(test.model, name) for name in (test.model_a, test.model_b))
    return (subject_of_test(test.test_id), *versions)


def create(kernel: Kernel, person: Actor, test: StoredTest) -> None:
    """Store a new test.

    Raises:
        VersionNotFoundError: A version of a test bound to a deployment does not exist.
    """
    with kernel.begin(person, CREATE, *subjects_of(test)) as tx:
        if test.environment is not None:
            for name in (test.model_a, test.model_b):
                integrity.require_version(tx, test.model, name)
        tx.ab_tests.add(test)
        tx.record()


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
    seen = _verify(kernel, test, person, action) if test.environment is not None else None
    with kernel.begin(person, action, *subjects_of(test)) as tx:
        test = moved(require_test(tx, test_id), verb, tx.now)
        detail: dict[str, Any] = {"traffic_split": test.traffic_split}
        if seen is not None and test.environment is not None:
            deployment = _split(tx, test, test.environment, seen)
            warnings = _warnings(test, seen)
            test = replace(test, revision=deployment.revision, warnings=warnings)
            detail |= {"revision": deployment.revision, "warnings": warnings} | deployment.evidence
        tx.ab_tests.put(test)
        tx.record(detail=detail)
    for warning in test.warnings:
        _log.warning("A/B test %s (%s): %s", test.test_name, test.test_id, warning)
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
        test, detail = _give_back(tx, test)
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
        test = moved(require_test(tx, test_id), "complete", tx.now)
        rows = tx.ab_tests.outcomes
        rows.set_status(test_id, test.status.value)  # from here on nobody can add to what is read next
        counts = [arm.requests for arm in rows.look(test_id)]
        if min(counts) < test.min_samples and not force:
            raise GateFailedError(
                f"The test {test.test_name!r} has {counts[0]} outcomes of {test.model_a} and {counts[1]} of "
                f"{test.model_b}; it needs {test.min_samples} of each.",
                hint="Record more, cancel it, or force its completion, which declares no winner by itself.",
            )
        test = with_verdict(tx, test)
        test, detail = _give_back(tx, test)
        tx.ab_tests.put(test)
        detail |= {"samples": counts, "forced": force and min(counts) < test.min_samples, "verdict": test.verdict}
        tx.record(reason=test.verdict.get("reason", ""), detail=detail)
    return test


def _verify(kernel: Kernel, test: StoredTest, person: str, action: str) -> _Seen:
    """Hash what would serve, and look for another version to go back to."""
    with kernel.read() as view:
        versions = [integrity.require_version(view, test.model, name) for name in (test.model_a, test.model_b)]
        current = view.deployments.current(test.model, test.environment or "")
        others = [
            version
            for version in view.versions.known_good(test.model)
            if version.version not in (test.model_a, test.model_b) and version.quarantined_at is None
        ]
    for version in versions:
        integrity.require_intact(kernel, version, person, action)
    way_back = next((other.version for other in others if not integrity.problems(kernel, other)), None)
    return _Seen(0 if current is None else current.revision, way_back)


def _split(tx: Transaction, test: StoredTest, environment: str, seen: _Seen) -> Deployment:
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
    integrity.require_version(tx, test.model, test.model_a)
    challenger = integrity.require_version(tx, test.model, test.model_b)
    evidence = _permission(tx, test, challenger)
    return deploy(
        tx,
        model=test.model,
        environment=environment,
        weights={test.model_a: 1.0 - test.traffic_split, test.model_b: test.traffic_split},
        cause=Cause.AB_START,
        reason=f"A/B test {test.test_name}",
        evidence={"test": test.test_id, "verification": "full"} | evidence,
        expected=seen.revision,
    )


def _permission(tx: Transaction, test: StoredTest, challenger: Version) -> dict[str, Any]:
    """Return what allows the challenger its share under the policy in force."""
    check_servable(challenger)
    if challenger.quarantined_at is not None:
        raise quarantined(challenger)
    policy = tx.policies.in_force().policy()
    if test.traffic_split > policy.canary_cap:
        raise GateFailedError(
            f"The policy {policy.name} gives a challenger at most {policy.canary_cap:g} of the traffic, "
            f"not {test.traffic_split:g}.",
            hint="Create the test with a smaller traffic_split.",
        )
    check_gates(tx, Target.CANARY.value, challenger)
    return {"policy": policy.digest} | _approval(tx, test, challenger, policy)


def _approval(tx: Transaction, test: StoredTest, challenger: Version, policy: Policy) -> dict[str, Any]:
    for request in reversed(tx.registry.requests(test.model, challenger.version)):
        fits = request.target is Target.CANARY and request.status is ApprovalStatus.APPROVED
        same = request.digest == challenger.digest and request.policy_digest == policy.digest
        alive = request.expires_at is None or tx.now < request.expires_at
        if fits and same and alive and request.share >= test.traffic_split:
            return {"approval": request.request_id, "approved_by": request.approved_by}
    if policy.needs_approval(Target.CANARY.value):
        raise ApprovalRequiredError(
            f"{challenger.version} needs an approval for {test.traffic_split:g} of the traffic.",
            hint=f"Ask for it: sentinelzer0 registry request-canary {challenger.version} {test.traffic_split:g}",
        )
    return {"approval": f"waived by policy {policy.name}"}


def _give_back(tx: Transaction, test: StoredTest) -> tuple[StoredTest, dict[str, Any]]:
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


def _warnings(test: StoredTest, seen: _Seen) -> list[str]:
    warnings = []
    if test.traffic_split > LARGE_SHARE:
        warnings.append(
            f"{test.model_b} starts with {test.traffic_split:.0%} of the traffic: if it is bad, many requests meet it."
        )
    if seen.way_back is None:
        warnings.append(f"There is no verified known-good version besides {test.model_a} to go back to.")
    return warnings
