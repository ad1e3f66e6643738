"""The registry: entries, and approval as a statement about exact content under an exact policy.

This module decides who may approve what and when. It performs no I/O. The laws:

- A request is bound to the content digest and the policy digest it was made under; a change of either voids it,
  and so does a rollback from the version.
- Requester and approver differ unless the policy says otherwise; nobody votes twice. Case does not tell people
  apart.
- Approved, rejected and withdrawn are final, and carry who and when; rejecting and withdrawing carry why.
- An expired request cannot be decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.domain.identity import check_label
from sentinelzer0.domain.policies import Policy
from sentinelzer0.domain.versions import ModelStage
from sentinelzer0.errors import ApproverNotAllowedError, InvalidInputError, RequestClosedError


class ApprovalStatus(StrEnum):
    """What became of a request for approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    VOID = "void"


class Target(StrEnum):
    """What an approval allows."""

    STAGING = "staging"
    PRODUCTION = "production"
    CANARY = "canary"
    STAGE = "stage"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A request to approve a promotion, and what became of it.

    Attributes:
        request_id: Unique id, ``apr_…``.
        version: The version to promote.
        from_stage: Its stage when the request was made.
        to_stage: The stage asked for.
        requested_by: Who asks.
        requested_at: When.
        status: pending, approved, rejected, withdrawn, expired or void.
        approved_by: Who decided (approved or rejected), None while pending.
        approved_at: When it was decided.
        rejection_reason: Why it was rejected or withdrawn.
        notes: Notes of the requester and the approvers.
        model: The model the version belongs to.
        target: What it allows: ``production``, ``canary``, ``staging`` or another stage.
        share: Largest share of traffic it allows, 0..1.
        digest: SHA-256 of the content it is about.
        policy_digest: Digest of the policy it was made under.
        expires_at: When it can no longer be decided or, for a canary, used.
        votes: Approvals so far: ``{"by", "at", "notes", "auth"}``.
        gates: The evidence it carries when it is made; after the decision, the results of the automatic gates.
    """

    request_id: str
    version: str
    from_stage: ModelStage
    to_stage: ModelStage
    requested_by: str
    requested_at: datetime
    status: ApprovalStatus = ApprovalStatus.PENDING
    approved_by: str | None = None
    approved_at: datetime | None = None
    rejection_reason: str | None = None
    notes: str = ""
    model: str = "default"
    target: Target = Target.STAGE
    share: float = 1.0
    digest: str = ""
    policy_digest: str = ""
    expires_at: datetime | None = None
    votes: list[dict[str, Any]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; times are ISO-8601."""
        row = {name: getattr(self, name) for name in self.__slots__}
        for name in ("requested_at", "approved_at", "expires_at"):
            row[name] = None if row[name] is None else row[name].isoformat()
        for name in ("from_stage", "to_stage", "status", "target"):
            row[name] = row[name].value
        return row | {"votes": [dict(vote) for vote in self.votes], "gates": [dict(gate) for gate in self.gates]}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ApprovalRequest:
        """Build a request from :meth:`to_dict`."""
        row = dict(raw)
        for name in ("requested_at", "approved_at", "expires_at"):
            row[name] = None if row.get(name) is None else datetime.fromisoformat(row[name])
        row |= {"from_stage": ModelStage(row["from_stage"]), "to_stage": ModelStage(row["to_stage"])}
        row["status"] = ApprovalStatus(row.get("status", "pending"))
        row["target"] = Target(row.get("target", "stage"))
        return cls(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A version's entry in the registry, as stored; its stage is the version's.

    Attributes:
        deployment_info: What version 3.3 said about it; where it serves now is read off the deployment.
    """

    model: str
    version: str
    registered_at: datetime
    registered_by: str
    promoted_at: datetime | None = None
    promoted_by: str | None = None
    deployment_info: dict[str, Any] = field(default_factory=dict)
    performance_metrics: dict[str, Any] = field(default_factory=dict)
    health_status: str = "unknown"
    last_health_check: datetime | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A file that speaks for or against a version, for example the result of an external scanner."""

    evidence_id: str
    model: str
    version: str
    kind: str
    passed: bool
    summary: str
    digest: str
    version_digest: str
    filename: str
    attached_by: str
    attached_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"attached_at": self.attached_at.isoformat()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Evidence:
        """Build evidence from :meth:`to_dict`."""
        return cls(**dict(raw) | {"attached_at": datetime.fromisoformat(raw["attached_at"])})


AB_VERDICT = "ab-verdict"
"""The kind of evidence an A/B test attaches to its challengers when it is decided; nobody else can attach it."""


def check_evidence(kind: object, *, passed: object) -> str:
    """Return the kind of evidence that somebody attaches, with its result.

    Raises:
        InvalidInputError: No usable name, the kind that only A/B tests attach, or a result that is no truth value.
    """
    if not isinstance(passed, bool):
        raise InvalidInputError(f"passed is {passed!r:.100}.", hint="Say True or False.")
    if kind == AB_VERDICT:
        raise InvalidInputError(
            f"Evidence of the kind {AB_VERDICT} comes from A/B tests alone.",
            hint="Run one; it attaches its verdict by itself.",
        )
    return check_label(kind, "kind of evidence")


def carried_evidence(evidence: Iterable[Evidence], digest: str) -> list[dict[str, Any]]:
    """Return what speaks for or against some content in the form of gates, of each kind the newest piece.

    Args:
        evidence: Oldest first.
        digest: Digest of the content; what was attached to other bytes does not count.
    """
    newest = {item.kind: item for item in evidence if item.version_digest == digest}
    return [
        {
            "gate": f"evidence {item.kind}",
            "passed": item.passed,
            "detail": f"{item.summary or item.filename} ({item.evidence_id})",
        }
        for item in newest.values()
    ]


def passed_kinds(evidence: Iterable[Evidence], digest: str) -> list[str]:
    """Return the kinds of evidence that speak for some content: of each kind the newest piece decides.

    Args:
        evidence: Oldest first.
        digest: Digest of the content; what was attached to other bytes does not count.
    """
    newest = {item.kind: item.passed for item in evidence if item.version_digest == digest}
    return [kind for kind, passed in newest.items() if passed]


def target_of(stage: ModelStage) -> Target:
    """Return what a move to ``stage`` needs approval for."""
    return Target(stage.value) if stage in (ModelStage.STAGING, ModelStage.PRODUCTION) else Target.STAGE


def effective(request: ApprovalRequest, now: datetime, digest: str, policy_digest: str) -> ApprovalRequest:
    """Return the request as it counts now: a pending one may have expired or become void.

    Args:
        request: As stored.
        now: The present.
        digest: The version's content digest now.
        policy_digest: Digest of the policy in force now.
    """
    if request.status is not ApprovalStatus.PENDING:
        return request
    if request.digest != digest or request.policy_digest != policy_digest:
        return replace(request, status=ApprovalStatus.VOID)
    if request.expires_at is not None and now >= request.expires_at:
        return replace(request, status=ApprovalStatus.EXPIRED)
    return request


def check_open(request: ApprovalRequest) -> None:
    """Accept only a request that can still be decided.

    Raises:
        RequestClosedError: It was decided, or has expired, or is void; says which and by whom.
    """
    if request.status is ApprovalStatus.PENDING:
        return
    why = {
        ApprovalStatus.APPROVED: f"was already approved by {request.approved_by}",
        ApprovalStatus.REJECTED: f"was rejected by {request.approved_by}: {request.rejection_reason}",
        ApprovalStatus.WITHDRAWN: f"was withdrawn: {request.rejection_reason}",
        ApprovalStatus.EXPIRED: f"expired at {request.expires_at:%Y-%m-%d %H:%M} UTC",
        ApprovalStatus.VOID: "is void: the policy or the content changed, or the version was rolled back from, after it was made",
    }[request.status]
    raise RequestClosedError(f"Request {request.request_id} {why}.", hint="Make a new request if it is still wanted.")


def approved(
    request: ApprovalRequest, person: str, auth: str, policy: Policy, now: datetime, notes: str
) -> ApprovalRequest:
    """Return the request with one more approval; its status is approved once the quorum is reached.

    Raises:
        RequestClosedError: It can no longer be decided.
        ApproverNotAllowedError: The person made the request, already approved it, or holds no approver role.
    """
    check_open(request)
    if policy.four_eyes and person.casefold() == request.requested_by.casefold():
        raise ApproverNotAllowedError(
            f"{person} made request {request.request_id} and cannot approve it.", hint="Ask a second person to approve."
        )
    if any(str(vote["by"]).casefold() == person.casefold() for vote in request.votes):
        raise ApproverNotAllowedError(
            f"{person} already approved {request.request_id}.",
            hint=f"{policy.quorum} different people must approve; {len(request.votes)} did.",
        )
    if not policy.may_approve(person):
        raise ApproverNotAllowedError(
            f"{person} holds none of the roles {', '.join(policy.approver_roles)} of the policy {policy.name}.",
            hint="Ask someone who does.",
        )
    vote = {"by": person, "at": now.isoformat(), "notes": notes, "auth": auth}
    votes = [*request.votes, vote]
    text = "\n".join(part for part in (request.notes, notes and f"Approval notes: {notes}") if part)
    request = replace(request, votes=votes, notes=text)
    if len(votes) < policy.quorum:
        return request
    names = ", ".join(str(vote["by"]) for vote in votes)
    return replace(request, status=ApprovalStatus.APPROVED, approved_by=names, approved_at=now)


def closed(
    request: ApprovalRequest, status: ApprovalStatus, person: str, now: datetime, reason: str
) -> ApprovalRequest:
    """Return the request rejected or withdrawn.

    Raises:
        RequestClosedError: It can no longer be decided.
        ApproverNotAllowedError: Somebody but the requester withdraws it.
    """
    check_open(request)
    if status is ApprovalStatus.WITHDRAWN and person != request.requested_by:
        raise ApproverNotAllowedError(
            f"Only {request.requested_by} can withdraw {request.request_id}.", hint="Reject it instead."
        )
    return replace(request, status=status, approved_by=person, approved_at=now, rejection_reason=reason)
