"""The rules of rollbacks: what may be left for what, and what happens to both."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sentinelzer0.domain import rollbacks as rules
from sentinelzer0.domain.deployments import Cause, Deployment
from sentinelzer0.domain.health import HealthCheck, HealthStatus
from sentinelzer0.domain.identity import Actor
from sentinelzer0.domain.rollbacks import RollbackEvent, RollbackRequestStatus, RollbackStrategy
from sentinelzer0.domain.versions import ModelStage, Version
from sentinelzer0.errors import (
    ApproverNotAllowedError,
    ConflictError,
    IllegalTransitionError,
    InvalidInputError,
    NotKnownGoodError,
    QuarantinedError,
    RequestClosedError,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALICE, SYSTEM = Actor("alice"), Actor("system")
V1 = Version(
    seq=1,
    model="default",
    version="v1",
    digest="0" * 64,
    kind="file",
    size=1,
    filename="m",
    created_at=NOW,
    created_by="alice",
)
GOOD = replace(V1, stage=ModelStage.ARCHIVED, production_at=NOW, known_good_at=NOW)
SERVING = Deployment(
    model="default",
    environment="production",
    revision=3,
    weights={"v1": 0.9, "v2": 0.1},
    cause=Cause.AB_START,
    created_at=NOW,
    created_by="alice",
)


def health(status: HealthStatus, version: str = "v1") -> HealthCheck:
    """Return a check with a status."""
    return HealthCheck(NOW, version, status is HealthStatus.HEALTHY, None, None, None, {}, status)


def event(**changes: object) -> RollbackEvent:
    """Return a rollback from v1 to v0."""
    base = RollbackEvent("rb_1", NOW, "v1", "v0", "errors", RollbackStrategy.IMMEDIATE, "bob", True, {"revision": 2})
    return replace(base, **changes)


@pytest.mark.parametrize("status", list(HealthStatus))
@pytest.mark.parametrize("strategy", list(RollbackStrategy))
def test_only_unhealthy_and_immediate_is_due(status: HealthStatus, strategy: RollbackStrategy) -> None:
    due = status is HealthStatus.UNHEALTHY and strategy is RollbackStrategy.IMMEDIATE
    assert rules.is_due("v1", health(status), strategy) is due


def test_a_health_check_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'v2', not about 'v1'"):
        rules.is_due("v1", health(HealthStatus.UNHEALTHY, "v2"), RollbackStrategy.IMMEDIATE)


@pytest.mark.parametrize("name", ["gradual", "", "IMMEDIATE", None])
def test_an_unknown_strategy_names_the_known_ones(name: object) -> None:
    with pytest.raises(InvalidInputError, match="immediate, manual"):
        rules.checked_strategy(name)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_any_share_of_the_traffic_can_be_left(version: str) -> None:
    assert rules.check_leaving(replace(V1, version=version), SERVING, None) is SERVING


def test_who_comes_second_is_told_who_was_first() -> None:
    with pytest.raises(ConflictError, match=r"already rolled back to v0 by bob .*rb_1"):
        rules.check_leaving(GOOD, replace(SERVING, weights={"v0": 1.0}), event())


def test_a_rollback_before_the_last_promotion_is_not_blamed() -> None:
    promoted_since = replace(GOOD, production_at=NOW + timedelta(days=1))
    with pytest.raises(ConflictError, match="v1 does not serve production: v3 does"):
        rules.check_leaving(promoted_since, replace(SERVING, weights={"v3": 1.0}), event())


@pytest.mark.parametrize("current", [None, replace(SERVING, weights={})])
def test_what_serves_nothing_cannot_be_left(current: Deployment | None) -> None:
    with pytest.raises(ConflictError, match="nothing does"):
        rules.check_leaving(V1, current, None)


def test_a_rollback_to_itself_is_refused() -> None:
    rules.check_apart("v1", None)
    rules.check_apart("v1", "v2")
    with pytest.raises(IllegalTransitionError):
        rules.check_apart("v1", "v1")


@pytest.mark.parametrize("actor", [ALICE, SYSTEM])
@pytest.mark.parametrize("allow", [True, False])
def test_a_known_good_version_is_the_ordinary_way_back(actor: Actor, allow: bool) -> None:
    assert rules.check_target(GOOD, actor, rules.DEFAULT_REASON, allow_unapproved=allow) is False


@pytest.mark.parametrize("allow", [True, False])
def test_quarantine_holds_for_everyone(allow: bool) -> None:
    quarantined = replace(GOOD, quarantined_at=NOW, quarantine_reason="recall fell")
    with pytest.raises(QuarantinedError, match="recall fell"):
        rules.check_target(quarantined, ALICE, "because", allow_unapproved=allow)


@pytest.mark.parametrize("actor", [ALICE, SYSTEM])
def test_a_version_never_approved_is_no_way_back(actor: Actor) -> None:
    with pytest.raises(NotKnownGoodError):
        rules.check_target(V1, actor, "because", allow_unapproved=False)


@pytest.mark.parametrize("actor", [SYSTEM, Actor("System"), Actor("automation"), Actor("alice", "internal")])
def test_automation_cannot_insist(actor: Actor) -> None:
    with pytest.raises(NotKnownGoodError, match="is automatic"):
        rules.check_target(V1, actor, "because", allow_unapproved=True)


@pytest.mark.parametrize("reason", [rules.DEFAULT_REASON, " "])
def test_a_person_insists_only_with_a_reason(reason: str) -> None:
    assert rules.check_target(V1, ALICE, "the only one that starts", allow_unapproved=True) is True
    with pytest.raises(InvalidInputError, match="No reason"):
        rules.check_target(V1, ALICE, reason, allow_unapproved=True)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (ModelStage.PRODUCTION, ModelStage.STAGING),
        (ModelStage.STAGING, ModelStage.STAGING),
        (ModelStage.DEVELOPMENT, ModelStage.DEVELOPMENT),
    ],
)
def test_the_version_left_is_quarantined_with_the_reason(stage: ModelStage, expected: ModelStage) -> None:
    found = rules.left(replace(GOOD, stage=stage), NOW, "errors")
    assert (found.stage, found.quarantined_at, found.quarantine_reason) == (expected, NOW, "errors")
    assert rules.released(found) == replace(found, quarantined_at=None, quarantine_reason="")


def test_only_a_quarantined_version_is_released() -> None:
    with pytest.raises(ConflictError, match="not quarantined"):
        rules.released(GOOD)


def test_the_target_serves_production_and_becomes_known_good_by_approval_only() -> None:
    later = NOW + timedelta(hours=1)
    found = rules.restored(replace(GOOD, deprecated=True), later)
    assert (found.stage, found.deprecated, found.production_at) == (ModelStage.PRODUCTION, False, later)
    assert found.known_good_at == NOW
    assert rules.restored(V1, later).known_good_at is None


def test_a_request_is_decided_once_and_by_a_person() -> None:
    request = event(success=False, details={"status": "open", "request_id": "rb_1"})
    dismissed = rules.decided(request, RollbackRequestStatus.DISMISSED, ALICE, NOW, "a false alarm")
    assert dismissed.details["status"] == "dismissed"
    assert dismissed.details["decided_by"] == "alice"
    with pytest.raises(RequestClosedError, match="already dismissed by alice"):
        rules.decided(dismissed, RollbackRequestStatus.CONFIRMED, Actor("bob"), NOW, "now")
    with pytest.raises(ApproverNotAllowedError):
        rules.decided(request, RollbackRequestStatus.CONFIRMED, SYSTEM, NOW, "now")


def test_an_event_survives_json() -> None:
    found = event(details={"durations_ms": {"verify": 1.5}}, to_version=None)
    assert RollbackEvent.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_an_event_of_version_3_3_can_be_read() -> None:
    raw = {
        "event_id": "rollback_1",
        "timestamp": "2026-11-22T20:10:01.648479+01:00",
        "from_version": "v2",
        "to_version": "v1",
        "reason": "Health check failed",
        "strategy": "immediate",
        "triggered_by": "system",
        "success": True,
        "details": {"rollback_method": "automated"},
    }
    assert RollbackEvent.from_dict(raw).model == "default"
