"""Registry entries, approval requests and what serves, taken over from version 3.3."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sentinelzer0.domain.deployments import Cause
from sentinelzer0.domain.identity import DEFAULT_MODEL, PRODUCTION, Actor, check_label, subject_of_version
from sentinelzer0.domain.registry import ApprovalRequest, ApprovalStatus, Entry, target_of
from sentinelzer0.domain.versions import ModelStage, Version
from sentinelzer0.errors import IllegalTransitionError, InvalidInputError, SentinelError
from sentinelzer0.kernel import Kernel, Transaction
from sentinelzer0.maintenance.legacy_files import Facts, LegacyDirectory
from sentinelzer0.mlops.approvals import moved
from sentinelzer0.mlops.deployments import deploy

IMPORT_ENTRY = "legacy:entry:import"
IMPORT_REQUEST = "legacy:approval:import"
IMPORT_DEPLOYMENT = "legacy:deployment:import"
HEALTH = ("healthy", "unhealthy", "unknown")
AUTH = "imported"


def find_entries(directory: LegacyDirectory) -> dict[str, tuple[Facts, ModelStage, datetime | None]]:
    """Return the readable registry entries by version: facts, stage, time of the last promotion; damage is named."""
    found: dict[str, tuple[Facts, ModelStage, datetime | None]] = {}
    for facts in directory.objects(directory.root / "registry" / "registry.json"):
        try:
            name, stage, promoted_at = _described(facts, found)
            found[name] = facts, stage, promoted_at
        except InvalidInputError as error:
            facts.damaged(error.message)
    return found


def _described(facts: Facts, known: Container[str]) -> tuple[str, ModelStage, datetime | None]:
    name = facts.required("version")
    if facts.key and name != facts.key:
        raise InvalidInputError(f"describes {name}")
    if name in known:
        raise InvalidInputError("appears twice")
    facts.required_time("registered_at")
    return name, facts.one_of("stage", ModelStage), facts.time("promoted_at")


def import_entry(kernel: Kernel, name: str, facts: Facts, actor: Actor) -> str | None:
    """Take one entry over; returns ``imported``, ``unchanged``, or None when it is damaged, which is then named."""
    try:
        with kernel.begin(actor, IMPORT_ENTRY, subject_of_version(DEFAULT_MODEL, name)) as tx:
            version = _living(tx, name)
            if tx.registry.entry(DEFAULT_MODEL, name) is not None:
                return "unchanged"
            entry = Entry(
                model=DEFAULT_MODEL,
                version=name,
                registered_at=facts.required_time("registered_at"),
                registered_by=facts.person("registered_by"),
                promoted_at=facts.time("promoted_at"),
                promoted_by=facts.optional_person("promoted_by"),
                deployment_info=facts.document("deployment_info"),
                performance_metrics=facts.document("performance_metrics"),
                health_status=_health(facts),
                last_health_check=facts.time("last_health_check"),
                tags=facts.tags(),
            )
            tx.registry.put_entry(entry)
            tx.record(digest=version.digest, reason="taken over from version 3.3", detail={"file": facts.file})
    except SentinelError as error:
        facts.damaged(error.message)
        return None
    return "imported"


def import_requests(kernel: Kernel, directory: LegacyDirectory, actor: Actor) -> None:
    """Take the approval requests over, oldest first; damage is named."""
    findings = directory.findings
    ready: list[tuple[datetime, Facts]] = []
    for facts in directory.objects(directory.root / "registry" / "approval_requests.json"):
        try:
            ready.append((facts.required_time("requested_at"), facts))
        except InvalidInputError as error:
            facts.damaged(error.message)
    for _, facts in sorted(ready, key=lambda pair: pair[0]):
        try:
            result = _import_request(kernel, facts, actor)
        except SentinelError as error:
            facts.damaged(error.message)
        else:
            (findings.imported if result == "imported" else findings.unchanged)["requests"].append(facts.key)


def import_deployment(kernel: Kernel, directory: LegacyDirectory, serving: str | None, actor: Actor) -> None:
    """Give the version that version 3.3 had in production the traffic, as a revision of its own.

    Args:
        kernel: The workspace.
        directory: The directory of version 3.3.
        serving: The version that entered production last, or None.
        actor: Who imports.
    """
    if serving is None:
        return
    findings = directory.findings
    subject = subject_of_version(DEFAULT_MODEL, serving)
    with kernel.begin(actor, IMPORT_DEPLOYMENT, subject) as tx:
        version = tx.versions.get(DEFAULT_MODEL, serving)
        current = tx.deployments.current(DEFAULT_MODEL, PRODUCTION)
        if current is not None:
            imported_before = any(r.action == IMPORT_DEPLOYMENT for r in tx.audit.of_subject(subject))
            if imported_before:
                findings.unchanged["deployments"].append(serving)
            else:
                findings.notes.append(f"{serving} gets no traffic: {current.version} serves this workspace already")
            return
        if version is None or version.deleted_at is not None:
            findings.damaged("registry/registry.json", serving, "was in production and is not here: nothing serves now")
            return
        if version.stage is not ModelStage.PRODUCTION:
            return
        _deploy(tx, version)
    findings.imported["deployments"].append(serving)


def _deploy(tx: Transaction, version: Version) -> None:
    approvals = [
        request.request_id
        for request in tx.registry.requests(DEFAULT_MODEL, version.version)
        if request.status is ApprovalStatus.APPROVED and request.to_stage is ModelStage.PRODUCTION
    ]
    evidence: dict[str, Any] = {"approval": AUTH, "policy": tx.policies.in_force_digest(), "requests": approvals}
    deploy(
        tx,
        model=DEFAULT_MODEL,
        environment=PRODUCTION,
        weights={version.version: 1.0},
        cause=Cause.ADOPTION,
        reason="served production under version 3.3",
        evidence=evidence,
    )
    tx.record(digest=version.digest, reason="served production under version 3.3", detail=evidence)


def _import_request(kernel: Kernel, facts: Facts, actor: Actor) -> str:
    request_id = check_label(facts.required("request_id"), "request id")
    facts.key = facts.key or request_id
    if request_id != facts.key:
        raise InvalidInputError(f"calls itself {request_id}")
    name = facts.required("version")
    subjects = (subject_of_version(DEFAULT_MODEL, name), f"request:{request_id}")
    with kernel.begin(actor, IMPORT_REQUEST, *subjects) as tx:
        if tx.registry.request(request_id) is not None:
            return "unchanged"
        version = _living(tx, name)
        request = _request(facts, request_id, name)
        if request.status is ApprovalStatus.PENDING:
            request = _bound(tx, request, version, facts)
        if request.status is ApprovalStatus.APPROVED and request.approved_by == request.requested_by:
            facts.note(f"{request.approved_by} approved the own request under version 3.3")
        tx.registry.put_request(request)
        detail = {"file": facts.file, "status": str(facts.raw.get("status")), "bound": bool(request.digest)}
        tx.record(digest=request.digest or None, reason="taken over from version 3.3", detail=detail)
    return "imported"


def _request(facts: Facts, request_id: str, name: str) -> ApprovalRequest:
    """Return a request as it was; one that was decided is bound to no content, because version 3.3 bound none."""
    from_stage, to_stage = facts.one_of("from_stage", ModelStage), facts.one_of("to_stage", ModelStage)
    status = facts.one_of("status", ApprovalStatus)
    decided_by, decided_at = facts.optional_person("approved_by"), facts.time("approved_at")
    votes = []
    if status is ApprovalStatus.APPROVED:
        at = None if decided_at is None else decided_at.isoformat()
        votes = [{"by": decided_by, "at": at, "notes": "", "auth": AUTH}]
    return ApprovalRequest(
        request_id,
        name,
        from_stage,
        to_stage,
        facts.person("requested_by"),
        facts.required_time("requested_at"),
        status,
        decided_by,
        decided_at,
        facts.text("rejection_reason") or None,
        facts.text("notes"),
        target=target_of(to_stage),
        votes=votes,
    )


def _bound(tx: Transaction, request: ApprovalRequest, version: Version, facts: Facts) -> ApprovalRequest:
    """Return a pending request bound to the verified content and the policy in force, or void."""
    obstacle = ""
    if version.stage is not request.from_stage or tx.registry.entry(DEFAULT_MODEL, version.version) is None:
        obstacle = f"{version.version} is not registered in {request.from_stage}"
    try:
        moved(version, request.to_stage)
    except IllegalTransitionError as error:
        obstacle = obstacle or error.message
    if obstacle:
        facts.note(f"comes in as void: {obstacle}")
        return replace(request, status=ApprovalStatus.VOID)
    policy = tx.policies.in_force().policy()
    expires_at = policy.expiry(tx.now)
    facts.note(
        f"stays pending: from now on it is about the bytes {version.digest[:16]}… under the policy {policy.name}, "
        f"and expires on {expires_at:%Y-%m-%d}"
    )
    return replace(request, digest=version.digest, policy_digest=policy.digest, expires_at=expires_at)


def _living(tx: Transaction, name: str) -> Version:
    version = tx.versions.get(DEFAULT_MODEL, name)
    if version is None or version.deleted_at is not None:
        raise InvalidInputError(f"is about {name!r:.60}, which is not in the workspace")
    return version


def _health(facts: Facts) -> str:
    """Return the health; version 3.3 called a version healthy that nobody had looked at."""
    status = facts.raw.get("health_status")
    measured = facts.raw.get("last_health_check") is not None
    if status in HEALTH and (measured or status != "healthy"):
        return str(status)
    if status is not None:
        facts.note(f"health {status!r:.40} became 'unknown': no health check is on record")
    return "unknown"


def serving_version(stages: Sequence[tuple[str, datetime]]) -> str | None:
    """Return the version that entered production last."""
    return max(stages, key=lambda pair: pair[1])[0] if stages else None
