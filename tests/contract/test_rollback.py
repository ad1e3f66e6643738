"""Rollback end to end on every backend: one transaction, the way back, every refusal, requests, quarantine."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.domain.audit import AuditRecord, Outcome
from sentinelzer0.domain.deployments import Cause
from sentinelzer0.domain.rollbacks import RollbackEvent
from sentinelzer0.errors import (
    ApproverNotAllowedError,
    ConflictError,
    IllegalTransitionError,
    IntegrityError,
    InvalidInputError,
    InvalidMetricError,
    NotKnownGoodError,
    QuarantinedError,
    RequestClosedError,
    RequestNotFoundError,
    SentinelError,
    StorageUnavailableError,
    VersionNotFoundError,
)
from sentinelzer0.kernel import Reader
from sentinelzer0.mlops import rollback_steps
from sentinelzer0.mlops.deployments import deploy
from sentinelzer0.mlops.model_registry import ModelRegistry, ModelStage
from sentinelzer0.mlops.rollback import HealthStatus, RollbackManager, RollbackStrategy
from sentinelzer0.mlops.version_manager import ModelVersionManager, VersionStatus
from sentinelzer0.storage.deployments import DeploymentRows
from tests.contract.rollback_team import Team, team

__all__ = ["team"]  # a fixture

ENOUGH = {"error_rate": 0.2, "avg_latency_ms": 10.0, "total_requests": 100, "failed_requests": 20}


def refused(team: Team, error: type[SentinelError], **arguments: Any) -> AuditRecord:
    """Show that a rollback is refused, changes nothing, and is on record as refused; returns the record."""
    before, seen = team.serving(), len(team.records())
    with pytest.raises(error) as caught:
        team.rollback.execute_rollback(**arguments)
    added = team.records(seen)
    assert [record.outcome for record in added] == [Outcome.REFUSED]
    assert added[0].reason == caught.value.message
    assert added[0].detail == {"code": caught.value.code}
    assert added[0].after == ()
    assert team.serving() == before
    assert team.rollback.rollback_history == ()
    return added[0]


def test_everything_changes_in_one_record(team: Team) -> None:
    team.serve("v1", "v2")
    team.registry.register_model("v1")
    team.registry.register_model("v2")
    seen = len(team.records())
    event = team.rollback.execute_rollback("v2", "v1", "recall fell", triggered_by="alice")
    assert event.success
    (record,) = team.records(seen)
    assert record.action == "rollback:production:execute"
    assert (record.actor.name, record.reason) == ("alice", "recall fell")
    assert set(record.subjects) == {"version:default/v1", "version:default/v2", f"rollback:{event.event_id}"}
    tables = sorted(change["table"] for change in record.after)
    assert tables == [
        "deployments",
        "registry_entries",
        "rollbacks",
        "versions",
        "versions",
    ]
    target = team.versions.get_version("v1")
    assert target is not None
    assert record.digest == target.metadata.file_hash


def test_traffic_stages_quarantine_and_entries_after_a_rollback(team: Team) -> None:
    team.serve("v1", "v2")
    team.registry.register_model("v1")
    team.registry.register_model("v2")
    team.rollback.execute_rollback("v2", "v1", "recall fell", triggered_by="alice")
    assert team.serving() == {"v1": 1.0}
    assert (team.status("v1"), team.status("v2")) == (VersionStatus.PRODUCTION, VersionStatus.STAGING)
    with team.kernel.read() as view:
        left = view.versions.get("default", "v2")
        current = view.deployments.current("default", "production")
    assert left is not None
    assert left.quarantined_at is not None
    assert left.quarantine_reason == "recall fell"
    assert current is not None
    assert (current.revision, current.cause, current.created_by) == (3, Cause.ROLLBACK, "alice")
    assert current.evidence["approval"] == "known-good"
    entry, other = team.registry.get_entry("v1"), team.registry.get_entry("v2")
    assert entry is not None
    assert entry.promoted_by == "alice"
    assert entry.deployment_info == {"environment": "production", "revision": 3, "share": 1.0}
    assert other is not None
    assert other.deployment_info == {}
    production = team.versions.get_production_version()
    assert production is not None
    assert production.version == "v1"


def test_the_event_says_how(team: Team) -> None:
    team.serve("v1", "v2")
    event = team.rollback.execute_rollback("v2", "v1", "errors")
    target = team.versions.get_version("v1")
    assert target is not None
    assert event.details["target_model_path"] == str(target.model_path)
    assert target.model_path.read_bytes() == b"weights of default v1"
    assert event.details["verified_digest"] == target.metadata.file_hash
    assert event.details["verification"] == "full"
    assert event.details["rollback_method"] == "automated"
    assert set(event.details["durations_ms"]) == {"decide", "verify", "write"}
    assert all(value >= 0 for value in event.details["durations_ms"].values())
    assert (event.details["previous_revision"], event.details["revision"]) == (2, 3)
    assert team.rollback.rollback_history == (event,)
    written = json.loads((team.rollback.rollback_dir / f"{event.event_id}.json").read_text())
    assert RollbackEvent.from_dict(written) == event


def test_without_a_target_the_last_known_good_is_taken_again_and_again(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    taken = [team.rollback.execute_rollback(name).to_version for name in ("v3", "v2")]
    assert taken == ["v2", "v1"]
    refused_now = NotKnownGoodError
    with pytest.raises(refused_now, match="no known-good version to go back to from v1"):
        team.rollback.execute_rollback("v1")
    assert team.serving() == {"v1": 1.0}


def test_the_order_is_that_of_serving_not_that_of_creation(team: Team) -> None:
    team.create("v1", "v2", "v3")
    for name in ("v2", "v1", "v3"):
        team.versions.promote_version(name, "staging")
        team.versions.promote_version(name, "production")
    assert team.rollback.execute_rollback("v3").to_version == "v1"


def test_a_corrupt_candidate_is_skipped_and_said(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    team.damage("v2")
    event = team.rollback.execute_rollback("v3")
    assert event.to_version == "v1"
    (skipped,) = event.details["skipped"]
    assert skipped["version"] == "v2"
    assert "SHA-256" in skipped["problem"]
    assert team.status("v2") is VersionStatus.PRODUCTION


def test_when_every_candidate_is_corrupt_nothing_moves(team: Team) -> None:
    team.serve("v1", "v2")
    team.damage("v1")
    refused(team, IntegrityError, from_version="v2")


@pytest.mark.parametrize("last", [["archived"], ["deprecated"], ["archived", "development"]])
def test_a_known_good_version_comes_back_from_any_stage(team: Team, last: list[str]) -> None:
    team.serve("v1", "v2")
    if last == ["deprecated"]:
        last = ["archived", "development", "deprecated"]
    for status in last:
        team.versions.promote_version("v1", status)
    team.rollback.execute_rollback("v2", "v1" if "deprecated" in last else None)  # deprecated: by name only
    assert team.status("v1") is VersionStatus.PRODUCTION


def test_a_deleted_version_is_no_way_back(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    team.versions.delete_version("v2", force=True)
    refused(team, VersionNotFoundError, from_version="v3", to_version="v2")
    assert team.rollback.execute_rollback("v3").to_version == "v1"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"from_version": "v2", "to_version": "v2"}, IllegalTransitionError),
        ({"from_version": "v2", "to_version": "nobody"}, VersionNotFoundError),
        ({"from_version": "nobody", "to_version": "v1"}, VersionNotFoundError),
        ({"from_version": "v1", "to_version": "v2"}, ConflictError),
        ({"from_version": "fresh", "to_version": "v1"}, ConflictError),
        ({"from_version": "v2", "to_version": "fresh"}, NotKnownGoodError),
        ({"from_version": "v2", "to_version": "fresh", "allow_unapproved": True}, NotKnownGoodError),
    ],
)
def test_refusals_are_typed_and_on_record(team: Team, arguments: dict[str, Any], error: type[SentinelError]) -> None:
    team.serve("v1", "v2")
    team.create("fresh")
    record = refused(team, error, **arguments)
    assert f"version:default/{arguments['from_version']}" in record.subjects


def test_a_corrupt_target_is_refused(team: Team) -> None:
    team.serve("v1", "v2")
    team.damage("v1")
    record = refused(team, IntegrityError, from_version="v2", to_version="v1", triggered_by="alice")
    assert "version:default/v1" in record.subjects


def test_a_quarantined_target_is_refused_until_a_person_releases_it(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    team.rollback.execute_rollback("v3", "v2")
    with pytest.raises(QuarantinedError, match="Automated rollback"):
        team.rollback.execute_rollback("v2", "v3", triggered_by="alice", reason="it was not that bad")
    with pytest.raises(ApproverNotAllowedError):
        team.rollback.release("v3", "system", "retry")
    with pytest.raises(InvalidInputError, match="reason is empty"):
        team.rollback.release("v3", "alice", " ")
    released = team.rollback.release("v3", "alice", "the labels were wrong")
    assert released.version == "v3"
    assert not team.quarantined("v3")
    record = team.records()[-1]
    assert (record.action, record.reason) == ("rollback:quarantine:release", "the labels were wrong")
    with pytest.raises(ConflictError, match="not quarantined"):
        team.rollback.release("v3", "alice", "again")
    assert team.rollback.execute_rollback("v2", "v3", triggered_by="alice").success


@pytest.mark.parametrize(
    "arguments",
    [
        {"from_version": "../v2"},
        {"from_version": "v2", "to_version": "a\0b"},
        {"from_version": "v2", "strategy": "gradual"},
        {"from_version": "v2", "reason": ""},
        {"from_version": "v2", "triggered_by": "alice\n"},
        {"from_version": "v2", "model": ""},
        {"from_version": "v2", "to_version": "fresh", "triggered_by": "alice", "allow_unapproved": True},
    ],
)
def test_bad_input_changes_nothing(team: Team, arguments: dict[str, Any]) -> None:
    team.serve("v1", "v2")
    team.create("fresh")
    with pytest.raises(InvalidInputError):
        team.rollback.execute_rollback(**arguments)
    assert team.serving() == {"v2": 1.0}


def test_break_glass_is_loud_and_on_record(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    team.serve("v1")
    team.create("fresh")
    event = team.rollback.execute_rollback(
        "v1", "fresh", "the only one that knows the new protocol", triggered_by="alice", allow_unapproved=True
    )
    assert event.details["rollback_method"] == "break-glass"
    assert team.records()[-1].action == "rollback:production:break-glass"
    assert "BREAK GLASS" in caplog.text
    assert team.serving() == {"fresh": 1.0}
    team.rollback.release("v1", "alice", "mended")
    assert team.rollback.execute_rollback("fresh").to_version == "v1"
    team.rollback.release("fresh", "alice", "mended")
    with pytest.raises(NotKnownGoodError):
        team.rollback.execute_rollback("v1")


def test_of_many_triggers_one_wins_and_the_others_are_told(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    start = threading.Barrier(6)

    def trigger(number: int) -> RollbackEvent | ConflictError:
        start.wait()
        try:
            return team.rollback.execute_rollback("v3", reason="errors", triggered_by=f"controller {number}")
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(trigger, range(6)))
    (winner,) = [item for item in found if isinstance(item, RollbackEvent)]
    losers = [item for item in found if isinstance(item, ConflictError)]
    assert len(losers) == 5
    assert all(winner.event_id in error.message for error in losers)
    assert team.rollback.rollback_history == (winner,)
    assert team.serving() == {"v2": 1.0}


@pytest.fixture
def meanwhile(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another controller change the shares while the target is being verified."""
    verify = rollback_steps.first_intact

    def with_a_change(*arguments: Any) -> Any:
        with team.kernel.begin("rollout", "deployment:shares:change", "deployment:default/production") as tx:
            weights = {"v2": 0.9, "v1": 0.1}
            deploy(tx, model="default", environment="production", weights=weights, cause=Cause.AB_START)
            tx.record()
        return verify(*arguments)

    monkeypatch.setattr(rollback_steps, "first_intact", with_a_change)


@pytest.mark.usefixtures("meanwhile")
def test_automation_is_bound_to_the_revision_it_decided_on(team: Team) -> None:
    team.serve("v1", "v2")
    with pytest.raises(ConflictError, match="at revision 3"):
        team.rollback.execute_rollback("v2", "v1")
    assert team.serving() == {"v2": 0.9, "v1": 0.1}


@pytest.mark.usefixtures("meanwhile")
def test_a_person_is_never_blocked_by_automation(team: Team) -> None:
    team.serve("v1", "v2")
    event = team.rollback.execute_rollback("v2", "v1", "now", triggered_by="alice")
    assert (event.details["previous_revision"], event.details["revision"]) == (3, 4)
    assert team.serving() == {"v1": 1.0}


def test_a_version_quarantined_during_verification_is_not_taken(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.serve("v1", "v2")
    verify = rollback_steps.first_intact

    def with_a_quarantine(*arguments: Any) -> Any:
        with team.kernel.begin("bob", "version:stage:quarantine", "version:default/v1") as tx:
            before = tx.versions.get("default", "v1")
            assert before is not None
            tx.versions.put(replace(before, quarantined_at=tx.now), before)
            tx.record()
        return verify(*arguments)

    monkeypatch.setattr(rollback_steps, "first_intact", with_a_quarantine)
    with pytest.raises(QuarantinedError):
        team.rollback.execute_rollback("v2", "v1", triggered_by="alice")
    assert team.serving() == {"v2": 1.0}
    assert team.records()[-1].outcome is Outcome.REFUSED


def test_a_storage_failure_after_acceptance_is_an_event(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.serve("v1", "v2")

    def fail(*_: object) -> None:
        raise StorageUnavailableError("The disk went away.")

    with monkeypatch.context() as broken:
        broken.setattr(DeploymentRows, "insert", fail)
        event = team.rollback.execute_rollback("v2", "v1", "errors")
    assert (event.success, event.details["error"]) == (False, "The disk went away.")
    assert (event.details["error_code"], event.details["recorded"]) == ("storage_unavailable", True)
    assert team.serving() == {"v2": 1.0}
    assert team.status("v1") is VersionStatus.PRODUCTION
    assert not team.quarantined("v2")
    assert team.rollback.rollback_history == (event,)
    assert team.records()[-1].action == "rollback:production:fail"
    assert team.rollback.execute_rollback("v2", "v1", "errors").success


def test_a_failure_that_cannot_be_recorded_is_returned_all_the_same(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.serve("v1", "v2")

    def fail(*_: object) -> None:
        raise StorageUnavailableError("The disk went away.")

    with monkeypatch.context() as broken:
        broken.setattr(Reader, "_put", fail)
        broken.setattr("sentinelzer0.storage.transaction.Transaction._put", fail)
        event = team.rollback.execute_rollback("v2", "v1", "errors")
    assert (event.success, event.details["recorded"]) == (False, False)
    assert team.rollback.rollback_history == ()


def test_a_manual_rollback_waits_for_a_person(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    team.serve("v1", "v2")
    request = team.rollback.execute_rollback("v2", reason="latency", strategy=RollbackStrategy.MANUAL)
    assert (request.success, request.to_version) == (False, "v1")
    assert request.details["request_id"] == request.event_id
    assert "ROLLBACK REQUESTED" in caplog.text
    assert team.serving() == {"v2": 1.0}
    again = team.rollback.execute_rollback("v2", reason="latency", strategy="manual")
    assert again == request
    with pytest.raises(ApproverNotAllowedError):
        team.rollback.confirm(request.event_id, "system", "go")
    event = team.rollback.confirm(request.event_id, "alice", "seen on the dashboard")
    assert (event.success, event.triggered_by, event.to_version) == (True, "alice", "v1")
    assert (event.strategy, event.details["request_id"]) == (RollbackStrategy.MANUAL, request.event_id)
    assert team.serving() == {"v1": 1.0}
    closed = team.rollback.rollback_history[-2]
    assert closed.details["status"] == "confirmed"
    assert closed.details["executed_as"] == event.event_id
    written = json.loads((team.rollback.rollback_dir / f"{request.event_id}.json").read_text())
    assert written["details"]["status"] == "confirmed"
    with pytest.raises(RequestClosedError, match="already confirmed by alice"):
        team.rollback.confirm(request.event_id, "bob", "me too")


def test_a_dismissed_request_moves_nothing(team: Team) -> None:
    team.serve("v1", "v2")
    request = team.rollback.execute_rollback("v2", "v1", "latency", "manual")
    with pytest.raises(InvalidInputError):
        team.rollback.dismiss(request.event_id, "alice", "")
    dismissed = team.rollback.dismiss(request.event_id, "alice", "a deploy of the proxy")
    assert dismissed.details["status"] == "dismissed"
    assert team.serving() == {"v2": 1.0}
    with pytest.raises(RequestClosedError):
        team.rollback.confirm(request.event_id, "bob", "really")
    another = team.rollback.execute_rollback("v2", "v1", "latency", "manual")
    assert another.event_id != request.event_id


def test_a_request_that_cannot_be_executed_stays_open(team: Team) -> None:
    team.serve("v1", "v2")
    request = team.rollback.execute_rollback("v2", "v1", "latency", "manual")
    team.damage("v1")
    with pytest.raises(IntegrityError):
        team.rollback.confirm(request.event_id, "alice", "go")
    assert team.rollback.rollback_history[-1].details["status"] == "open"


def test_an_unknown_request(team: Team) -> None:
    team.serve("v1", "v2")
    executed = team.rollback.execute_rollback("v2", "v1", "errors")
    for request_id in ("rb_0", executed.event_id):
        with pytest.raises(RequestNotFoundError):
            team.rollback.confirm(request_id, "alice", "go")
        with pytest.raises(RequestNotFoundError):
            team.rollback.dismiss(request_id, "alice", "no")


def test_models_are_apart(team: Team) -> None:
    team.serve("v1", "v2")
    team.serve("v1", "v2", model="dns")
    team.rollback.execute_rollback("v2", model="dns")
    assert (team.serving(), team.serving("dns")) == ({"v2": 1.0}, {"v1": 1.0})
    assert team.rollback.rollback_history == ()
    assert len(team.rollback.get_rollback_history(model="dns")) == 1
    assert team.rollback.release("v2", "alice", "mended", model="dns").model == "dns"


def test_history_is_newest_first_and_read_only(team: Team) -> None:
    team.serve("v1", "v2", "v3", "v4")
    events = [team.rollback.execute_rollback(name) for name in ("v4", "v3", "v2")]
    assert team.rollback.get_rollback_history(2) == [events[2], events[1]]
    assert team.rollback.get_rollback_history(0) == []
    assert team.rollback.rollback_history == tuple(events)
    with pytest.raises(AttributeError):
        team.rollback.rollback_history = ()
    with pytest.raises(InvalidInputError):
        team.rollback.get_rollback_history(-1)


def test_health_is_written_to_the_entry_and_audited(team: Team) -> None:
    team.create("v1")
    seen = len(team.records())
    assert team.rollback.check_health("v1", ENOUGH).status is HealthStatus.UNHEALTHY
    assert len(team.records()) == seen
    team.registry.register_model("v1")
    check = team.rollback.check_health("v1", ENOUGH | {"recall": 0.4}, checked_by="watcher")
    entry = team.registry.get_entry("v1")
    assert entry is not None
    assert (entry.health_status, entry.last_health_check) == ("unhealthy", check.timestamp)
    assert entry.performance_metrics == ENOUGH | {"recall": 0.4}
    record = team.records()[-1]
    assert (record.action, record.actor.name) == ("registry:health:update", "watcher")
    assert "error_rate 0.2 is at or above" in record.reason
    with pytest.raises(InvalidMetricError):
        team.rollback.check_health("v1", {"error_rate": 2})
    with pytest.raises(VersionNotFoundError):
        team.rollback.check_health("nobody", ENOUGH)


def test_thresholds_are_assignable_and_checked(team: Team) -> None:
    team.create("v1")
    manager = team.rollback
    assert (manager.error_rate_threshold, manager.latency_threshold_ms, manager.min_requests_for_check) == (
        0.1,
        100,
        50,
    )
    manager.error_rate_threshold = 0.25
    assert manager.check_health("v1", ENOUGH).is_healthy
    manager.latency_threshold_ms = 10
    assert manager.check_health("v1", ENOUGH).status is HealthStatus.UNHEALTHY
    manager.min_requests_for_check = 101
    assert manager.check_health("v1", ENOUGH).status is HealthStatus.UNKNOWN
    for name, value in (("error_rate_threshold", 0), ("latency_threshold_ms", -1), ("min_requests_for_check", 0)):
        before = getattr(manager, name)
        with pytest.raises(InvalidInputError, match=name):
            setattr(manager, name, value)
        assert getattr(manager, name) == before


def test_a_check_leads_to_a_rollback_when_it_should(team: Team) -> None:
    team.serve("v1", "v2")
    check = team.rollback.check_health("v2", ENOUGH)
    assert team.rollback.should_rollback("v2", check)
    assert not team.rollback.should_rollback("v2", check, RollbackStrategy.MANUAL)
    assert not team.rollback.should_rollback("v2", team.rollback.check_health("v2", {}))
    with pytest.raises(InvalidInputError):
        team.rollback.should_rollback("v1", check)


def test_an_adopted_fleet_has_a_way_back(team: Team) -> None:
    team.create("v1", "v2")
    for name in ("v1", "v2"):
        team.registry.register_model(name, ModelStage.PRODUCTION)
    assert team.rollback.execute_rollback("v2").to_version == "v1"


def test_managers_of_different_workspaces_are_refused(team: Team, tmp_path: Path) -> None:
    other = ModelRegistry(ModelVersionManager(tmp_path / "other"))
    with pytest.raises(InvalidInputError, match="belongs to"):
        RollbackManager(team.versions, other)
    other.kernel.close()


def test_an_event_file_that_cannot_be_written_stops_nothing(
    team: Team, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    team.serve("v1", "v2")
    (tmp_path / "a_file").write_text("")
    manager = RollbackManager(team.versions, team.registry, tmp_path / "a_file" / "below")
    assert manager.rollback_dir == tmp_path / "a_file" / "below"
    assert manager.execute_rollback("v2").success
    assert "could not be written" in caplog.text
