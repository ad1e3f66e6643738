from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import product

import pytest

from sentinelzer0.domain.policies import DEFAULT, STRICT, Policy
from sentinelzer0.domain.registry import (
    ApprovalRequest,
    ApprovalStatus,
    Evidence,
    Target,
    approved,
    check_open,
    closed,
    effective,
    target_of,
)
from sentinelzer0.domain.versions import ModelStage
from sentinelzer0.errors import ApproverNotAllowedError, RequestClosedError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = ApprovalRequest(
    "apr_1",
    "v1",
    ModelStage.STAGING,
    ModelStage.PRODUCTION,
    "ana",
    NOW,
    notes="please",
    target=Target.PRODUCTION,
    digest="d",
    policy_digest="p",
    expires_at=NOW + timedelta(hours=1),
)


def test_the_statuses_are_those_of_the_contract() -> None:
    assert [s.value for s in ApprovalStatus] == ["pending", "approved", "rejected", "withdrawn", "expired", "void"]
    assert issubclass(ApprovalStatus, StrEnum)


def test_a_request_takes_its_fields_by_position_in_the_order_of_the_contract() -> None:
    names = [f.name for f in fields(ApprovalRequest)][:11]
    assert names == [
        "request_id",
        "version",
        "from_stage",
        "to_stage",
        "requested_by",
        "requested_at",
        "status",
        "approved_by",
        "approved_at",
        "rejection_reason",
        "notes",
    ]


def test_a_request_survives_json() -> None:
    decided = approved(REQUEST, "ben", "asserted", DEFAULT, NOW, "fine")
    for request in (REQUEST, decided, closed(REQUEST, ApprovalStatus.REJECTED, "ben", NOW, "no")):
        assert ApprovalRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    bare = {k: v for k, v in REQUEST.to_dict().items() if k not in {"status", "target", "approved_at", "expires_at"}}
    assert ApprovalRequest.from_dict(bare).status is ApprovalStatus.PENDING


def test_evidence_survives_json() -> None:
    item = Evidence(
        evidence_id="ev_1",
        model="default",
        version="v1",
        kind="scan",
        passed=True,
        summary="",
        digest="e",
        version_digest="d",
        filename="scan.json",
        attached_by="ana",
        attached_at=NOW,
    )
    assert Evidence.from_dict(json.loads(json.dumps(item.to_dict()))) == item


def test_a_request_is_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        REQUEST.status = ApprovalStatus.APPROVED  # type: ignore[misc]
    approved(REQUEST, "ben", "asserted", DEFAULT, NOW, "fine")
    assert REQUEST.votes == []


def test_what_a_stage_needs_approval_for() -> None:
    assert target_of(ModelStage.STAGING) is Target.STAGING
    assert target_of(ModelStage.PRODUCTION) is Target.PRODUCTION
    assert {target_of(stage) for stage in (ModelStage.DEVELOPMENT, ModelStage.ARCHIVED)} == {Target.STAGE}


@pytest.mark.parametrize(
    ("seconds", "digest", "policy", "expected"),
    [
        (3599, "d", "p", ApprovalStatus.PENDING),
        (3600, "d", "p", ApprovalStatus.EXPIRED),
        (0, "other", "p", ApprovalStatus.VOID),
        (0, "d", "other", ApprovalStatus.VOID),
        (3600, "other", "p", ApprovalStatus.VOID),
    ],
)
def test_how_a_pending_request_counts_now(seconds: int, digest: str, policy: str, expected: ApprovalStatus) -> None:
    assert effective(REQUEST, NOW + timedelta(seconds=seconds), digest, policy).status is expected


@pytest.mark.parametrize("status", [s for s in ApprovalStatus if s is not ApprovalStatus.PENDING])
def test_what_was_decided_stays_decided(status: ApprovalStatus) -> None:
    request = replace(REQUEST, status=status, approved_by="ben", rejection_reason="because")
    assert effective(request, NOW + timedelta(days=9), "other", "other") is request
    with pytest.raises(RequestClosedError) as caught:
        check_open(request)
    assert "apr_1" in caught.value.message
    for decide in (
        lambda: approved(request, "eve", "asserted", DEFAULT, NOW, ""),
        lambda: closed(request, ApprovalStatus.REJECTED, "eve", NOW, "no"),
        lambda: closed(request, ApprovalStatus.WITHDRAWN, "ana", NOW, "no"),
    ):
        with pytest.raises(RequestClosedError):
            decide()


def test_one_other_person_approves_under_the_default_policy() -> None:
    decided = approved(REQUEST, "ben", "asserted", DEFAULT, NOW, "fine")
    assert (decided.status, decided.approved_by, decided.approved_at) == (ApprovalStatus.APPROVED, "ben", NOW)
    assert decided.votes == [{"by": "ben", "at": NOW.isoformat(), "notes": "fine", "auth": "asserted"}]
    assert decided.notes == "please\nApproval notes: fine"


@pytest.mark.parametrize("policy", [DEFAULT, STRICT], ids=["default", "strict"])
def test_nobody_approves_their_own_request(policy: Policy) -> None:
    for name in ("ana", "Ana"):
        with pytest.raises(ApproverNotAllowedError, match=name):
            approved(REQUEST, name, "asserted", policy, NOW, "")


def test_two_different_people_make_a_quorum_of_two() -> None:
    first = approved(REQUEST, "ben", "asserted", STRICT, NOW, "")
    assert (first.status, first.approved_by) == (ApprovalStatus.PENDING, None)
    with pytest.raises(ApproverNotAllowedError, match="already approved"):
        approved(first, "BEN", "asserted", STRICT, NOW, "")
    second = approved(first, "cid", "asserted", STRICT, NOW, "")
    assert (second.status, second.approved_by) == (ApprovalStatus.APPROVED, "ben, cid")


def test_only_holders_of_a_role_approve() -> None:
    policy = replace(
        DEFAULT, approver_roles=("lead", "risk"), roles={"lead": ("ben",), "risk": ("cid",), "x": ("dee",)}
    )
    assert approved(REQUEST, "cid", "asserted", policy, NOW, "").status is ApprovalStatus.APPROVED
    for person in ("dee", "eve"):
        with pytest.raises(ApproverNotAllowedError, match="roles lead, risk"):
            approved(REQUEST, person, "asserted", policy, NOW, "")


def test_only_the_requester_withdraws_and_anyone_rejects() -> None:
    with pytest.raises(ApproverNotAllowedError):
        closed(REQUEST, ApprovalStatus.WITHDRAWN, "ben", NOW, "no")
    for status, person in product([ApprovalStatus.WITHDRAWN, ApprovalStatus.REJECTED], ["ana"]):
        gone = closed(REQUEST, status, person, NOW, "changed my mind")
        assert (gone.status, gone.approved_by, gone.rejection_reason) == (status, person, "changed my mind")
