"""Registration and approval: who may move what, what a request is bound to, and every way to be refused."""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import FrozenInstanceError, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sentinelzer0.domain.policies import DEFAULT
from sentinelzer0.errors import (
    AlreadyExistsError,
    ApproverNotAllowedError,
    EntryNotFoundError,
    IllegalTransitionError,
    IntegrityError,
    InUseError,
    InvalidInputError,
    InvalidNameError,
    QuarantinedError,
    RequestClosedError,
    RequestNotFoundError,
    SentinelError,
    VersionNotFoundError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.backup import backup
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ApprovalRequest, ApprovalStatus, ModelRegistry, ModelStage, RegistryEntry
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock
from tests.processes import in_children
from tests.workspace_state import records, refusals, require_no_effect, require_sound

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def registry(kernel: Kernel) -> ModelRegistry:
    return ModelRegistry(ModelVersionManager(kernel=kernel))


def enter(registry: ModelRegistry, model_file: Path, version: str, stage: str = "staging") -> None:
    """A registered version at a stage, by the ordinary way."""
    registry.version_manager.create_version(model_file, version)
    registry.register_model(version)
    path = {"development": [], "staging": ["staging"], "archived": ["archived"], "production": ["staging"]}[stage]
    for step in path:
        registry.version_manager.promote_version(version, step)
    if stage == "production":
        registry.approve_promotion(registry.request_promotion(version, "production", "ana").request_id, "ben")


def ask(registry: ModelRegistry, version: str = "v1") -> str:
    return registry.request_promotion(version, "production", "ana", "please").request_id


class HastyClock(FakeClock):
    """A clock that is ahead for its first readings and then set back."""

    def __init__(self, first: list[datetime], then: datetime) -> None:
        super().__init__(then)
        self._first = first

    def now(self) -> datetime:
        return self._first.pop() if self._first else super().now()


# Entries


def test_the_fields_stand_in_the_order_of_the_contract() -> None:
    assert " ".join(f.name for f in fields(RegistryEntry)).startswith(
        "version stage registered_at registered_by promoted_at promoted_by deployment_info performance_metrics"
        " health_status last_health_check tags"
    )


def test_registering(registry: ModelRegistry, model_file: Path) -> None:
    registry.version_manager.create_version(model_file, "v1")
    entry = registry.register_model("v1", registered_by="ana", tags=["x", "x"])
    assert (entry.version, entry.stage, entry.registered_by) == ("v1", "development", "ana")
    assert (entry.health_status, entry.tags) == ("unknown", ["x"])
    assert entry.promoted_at is entry.promoted_by is entry.last_health_check is None
    assert entry.registered_at.tzinfo is not None
    assert RegistryEntry.from_dict(json.loads(json.dumps(entry.to_dict()))) == entry
    with pytest.raises(FrozenInstanceError):
        entry.stage = ModelStage.PRODUCTION  # type: ignore[misc]
    assert registry.get_entry("v1") == entry == registry.registry["v1"]
    require_sound(registry.kernel)


def test_registering_keeps_the_stage_the_version_has(registry: ModelRegistry, model_file: Path) -> None:
    manager = registry.version_manager
    for name, stage in (("none", "none"), ("dev", "development"), ("stag", "staging"), ("arch", "archived")):
        manager.create_version(model_file, name)
        if stage != "none":
            manager.promote_version(name, stage)
    assert registry.register_model("none").stage == "development"
    for name, stage in (("dev", "development"), ("stag", "staging"), ("arch", "archived")):
        assert registry.register_model(name).stage == stage


def test_registering_is_refused(registry: ModelRegistry, model_file: Path) -> None:
    kernel = registry.kernel
    registry.version_manager.create_version(model_file, "v1")
    require_no_effect(kernel, VersionNotFoundError, lambda: registry.register_model("v2"))
    for stage in ("live", "", None, 7):
        require_no_effect(kernel, InvalidInputError, lambda s=stage: registry.register_model("v1", s))
    for person in ("", "a/b", "a\nb", None):
        require_no_effect(kernel, InvalidNameError, lambda p=person: registry.register_model("v1", registered_by=p))
    for tags in ("abc", ["a/b"], [7]):
        require_no_effect(kernel, InvalidNameError, lambda t=tags: registry.register_model("v1", tags=t))
    registry.register_model("v1")
    require_no_effect(kernel, AlreadyExistsError, lambda: registry.register_model("v1"), recorded=True)


def test_adoption_is_an_approval_on_record_and_a_way_back(registry: ModelRegistry, model_file: Path) -> None:
    registry.version_manager.create_version(model_file, "v1")
    entry = registry.register_model("v1", "production", "ana")
    assert (entry.stage, entry.promoted_by) == ("production", "ana")
    record = records(registry.kernel)[-1]
    assert record.detail["approval"] == "adopted"
    with registry.kernel.read() as view:
        assert view.versions.get("default", "v1").known_good_at is not None
        assert view.deployments.current("default", "production").cause == "adoption"
    require_sound(registry.kernel)


def test_damaged_bytes_are_not_adopted(registry: ModelRegistry, model_file: Path) -> None:
    made = registry.version_manager.create_version(model_file, "v1")
    registry.kernel.blobs.path(made.metadata.file_hash).unlink()
    require_no_effect(
        registry.kernel, IntegrityError, lambda: registry.register_model("v1", "production"), recorded=True
    )


def test_views_are_live_read_only_and_forget_the_deleted(registry: ModelRegistry, model_file: Path) -> None:
    entries, requests = registry.registry, registry.approval_requests
    assert len(entries) == len(requests) == 0
    enter(registry, model_file, "v1")
    enter(registry, model_file, "v2")
    request = registry.request_promotion("v1", "production", "ana")
    assert dict(requests) == {request.request_id: request}
    assert list(entries) == ["v1", "v2"]
    for view, hint in ((entries, "register_model"), (requests, "request_promotion")):
        with pytest.raises(TypeError, match=hint):
            view["x"] = None  # type: ignore[index]
        with pytest.raises(KeyError):
            view["x"]
    for name in ("registry", "approval_requests", "registry_dir", "version_manager"):
        with pytest.raises(AttributeError):
            setattr(registry, name, None)
    registry.version_manager.delete_version("v2")
    assert list(dict(entries)) == ["v1"]
    assert len(entries) == 1
    assert registry.get_entry("v2") is None
    assert registry.get_models_by_stage("staging") == [registry.get_entry("v1")]


def test_a_registry_directory_of_its_own_holds_the_checkpoints(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = registry.kernel.layout.root / "registry"
    assert registry.registry_dir == own
    monkeypatch.chdir(tmp_path)
    elsewhere = ModelRegistry(registry.version_manager, "rg")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert elsewhere.registry_dir == tmp_path / "rg", "where it was named, wherever the program goes"
    trail = AuditTrail(registry.kernel)
    trail.checkpoint()
    assert [path.name for path in sorted((tmp_path / "rg").iterdir())] == ["audit.vkey", "checkpoints"]
    assert not own.exists()
    report = trail.verify()
    assert (report.intact, report.checkpoints) == (True, 1)
    backup(registry.kernel, tmp_path / "backup")
    assert list(tmp_path.glob("backup/*/registry/checkpoints/*.note")) != []
    for name in (None, b"rg", "a\0b"):
        require_no_effect(registry.kernel, InvalidInputError, lambda n=name: ModelRegistry(registry.version_manager, n))


def test_health_is_merged(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    registry.update_health_status("v1", "healthy", {"error_rate": 0.01, "n": 5})
    entry = registry.update_health_status("v1", "unhealthy", {"error_rate": 0.2}, updated_by="monitor")
    assert entry.performance_metrics == {"error_rate": 0.2, "n": 5}
    assert entry.health_status == "unhealthy"
    assert entry.last_health_check is not None
    assert registry.get_entry("v1") == entry
    for status in ("sick", "", None, 7):
        require_no_effect(registry.kernel, InvalidInputError, lambda s=status: registry.update_health_status("v1", s))
    for metrics in ({"a": float("nan")}, {"a": object()}, [1]):
        require_no_effect(
            registry.kernel, InvalidInputError, lambda m=metrics: registry.update_health_status("v1", "healthy", m)
        )
    registry.version_manager.create_version(model_file, "v2")
    require_no_effect(registry.kernel, EntryNotFoundError, lambda: registry.update_health_status("v2"))
    require_no_effect(registry.kernel, VersionNotFoundError, lambda: registry.update_health_status("v3"))
    require_sound(registry.kernel)


# The way to production


def test_request_and_approval_move_the_version_in_one_transaction(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = registry.request_promotion("v1", "production", "ana", "better recall")
    assert (request.from_stage, request.to_stage, request.status) == ("staging", "production", "pending")
    assert (request.requested_by, request.notes, request.approved_by) == ("ana", "better recall", None)
    assert registry.get_pending_approvals() == [request]
    entry = registry.approve_promotion(request.request_id, "ben", "looks good")
    assert (entry.stage, entry.promoted_by) == ("production", "ben")
    assert entry.deployment_info == {"environment": "production", "revision": 1, "share": 1.0}
    record = records(registry.kernel)[-1]
    assert {change["table"] for change in record.after} == {
        "versions",
        "registry_entries",
        "approval_requests",
        "deployments",
    }
    decided = registry.approval_requests[request.request_id]
    assert (decided.status, decided.approved_by) == ("approved", "ben")
    assert decided.gates[0]["gate"] == "integrity"
    assert ApprovalRequest.from_dict(json.loads(json.dumps(decided.to_dict()))) == decided
    assert request.status is ApprovalStatus.PENDING, "a snapshot"
    assert registry.get_pending_approvals() == []
    assert registry.get_production_model() == entry
    require_sound(registry.kernel)


def test_the_whole_table_through_requests(registry: ModelRegistry, model_file: Path) -> None:
    legal = {
        "development": {"staging", "archived"},
        "staging": {"production", "development", "archived"},
        "production": {"archived"},
        "archived": {"development"},
    }
    for source, target in itertools.product(legal, ModelStage):
        name = f"{source}-{target}"
        enter(registry, model_file, name, source)
        if source == "production":
            enter(registry, model_file, f"{name}-successor", "production")
        if target.value in legal[source]:
            request = registry.request_promotion(name, target, "ana")
            assert registry.approve_promotion(request.request_id, "ben").stage is target
        else:
            require_no_effect(
                registry.kernel,
                IllegalTransitionError,
                lambda n=name, t=target: registry.request_promotion(n, t, "ana"),
                recorded=True,
            )
    require_sound(registry.kernel)


def test_requests_that_are_refused(registry: ModelRegistry, model_file: Path) -> None:
    kernel, manager = registry.kernel, registry.version_manager
    manager.create_version(model_file, "unregistered")
    require_no_effect(kernel, EntryNotFoundError, lambda: registry.request_promotion("unregistered", "staging", "ana"))
    require_no_effect(kernel, VersionNotFoundError, lambda: registry.request_promotion("none", "staging", "ana"))
    enter(registry, model_file, "v1")
    for stage in ("live", None, 7):
        require_no_effect(kernel, InvalidInputError, lambda s=stage: registry.request_promotion("v1", s, "ana"))
    for person in ("", "a/b", None, "x" * 10_000):
        require_no_effect(kernel, InvalidNameError, lambda p=person: registry.request_promotion("v1", "production", p))
    require_no_effect(kernel, InvalidInputError, lambda: registry.request_promotion("v1", "production", "ana", "a\0"))
    ask(registry)
    require_no_effect(kernel, AlreadyExistsError, lambda: ask(registry), recorded=True)
    other = registry.request_promotion("v1", "archived", "ana")
    assert other.status is ApprovalStatus.PENDING, "another target is another request"


def test_unknown_requests(registry: ModelRegistry, model_file: Path) -> None:
    for request in ("apr_0", "", "a\0b", "\ud800", None, 7):
        for call in (
            lambda r=request: registry.approve_promotion(r, "ben"),
            lambda r=request: registry.reject_promotion(r, "ben", "no"),
            lambda r=request: registry.withdraw_promotion(r, "ana", "no"),
        ):
            require_no_effect(registry.kernel, RequestNotFoundError, call)
        assert request not in registry.approval_requests


def test_nobody_approves_alone(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    for name in ("", "a/b", None, "x" * 10_000):
        require_no_effect(registry.kernel, InvalidNameError, lambda n=name: registry.approve_promotion(request, n))
    error = require_no_effect(
        registry.kernel, ApproverNotAllowedError, lambda: registry.approve_promotion(request, "ana"), recorded=True
    )
    assert "ana" in error.message
    assert refusals(registry.kernel)[-1] == ("registry:promotion:approve", "ana", "approver_not_allowed")
    assert registry.approve_promotion(request, "ben").stage == "production"


@pytest.mark.parametrize("end", ["approved", "rejected", "withdrawn", "expired", "policy", "digest", "stage"])
def test_what_is_closed_stays_closed(
    registry: ModelRegistry, model_file: Path, clock: FakeClock, tmp_path: Path, end: str
) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    match end:
        case "approved":
            registry.approve_promotion(request, "ben")
        case "rejected":
            done = registry.reject_promotion(request, "ben", "recall too low")
            assert (done.status, done.rejection_reason, done.approved_by) == ("rejected", "recall too low", "ben")
        case "withdrawn":
            done = registry.withdraw_promotion(request, "ana", "found a bug")
            assert (done.status, done.rejection_reason) == ("withdrawn", "found a bug")
        case "expired":
            clock.advance(hours=335)
            assert [r.request_id for r in registry.get_pending_approvals()] == [request]
            clock.advance(hours=1)
        case "policy":
            registry.set_policy(replace(DEFAULT, name="other"), set_by="eve", reason="audit")
            registry.set_policy("default", set_by="eve", reason="back")
        case "digest":
            with registry.kernel.begin("eve", "version:content:replace", "version:default/v1") as tx:
                before = tx.versions.get("default", "v1")
                content = registry.kernel.blobs.put_bytes(b"other bytes")
                tx.versions.put(replace(before, digest=content, size=11), before)
                tx.record()
        case "stage":
            registry.version_manager.promote_version("v1", "development")
            registry.version_manager.promote_version("v1", "archived")
    expected = {"policy": "void", "digest": "void", "stage": "pending"}.get(end, end)
    assert registry.approval_requests[request].status == expected
    assert registry.get_pending_approvals() == [] or end == "stage"
    calls = [lambda: registry.approve_promotion(request, "cid")]
    if end != "stage":
        calls += [
            lambda: registry.reject_promotion(request, "cid", "no"),
            lambda: registry.withdraw_promotion(request, "ana", "no"),
        ]
    for call in calls:
        error = require_no_effect(registry.kernel, RequestClosedError, call, recorded=True)
        assert request in error.message
    require_sound(registry.kernel)


def test_closing_needs_a_reason_and_the_right_person(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    for reason in ("", "  ", "\n", None, "a\0"):
        for call in (
            lambda r=reason: registry.reject_promotion(request, "ben", r),
            lambda r=reason: registry.withdraw_promotion(request, "ana", r),
        ):
            require_no_effect(registry.kernel, InvalidInputError, call)
    require_no_effect(
        registry.kernel,
        ApproverNotAllowedError,
        lambda: registry.withdraw_promotion(request, "ben", "no"),
        recorded=True,
    )


def test_an_approval_is_for_bytes_that_verify(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    blob = registry.kernel.blobs.path(registry.version_manager.get_version("v1").metadata.file_hash)
    content = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(b"x" + content[1:])
    require_no_effect(
        registry.kernel, IntegrityError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )
    blob.write_bytes(content)
    assert registry.approve_promotion(request, "ben").stage == "production"


def test_a_request_that_looked_expired_is_hashed_all_the_same(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    registry.kernel.blobs.path(registry.version_manager.get_version("v1").metadata.file_hash).unlink()
    now = registry.kernel.clock.now()
    late = HastyClock([now + timedelta(days=30)], now)
    registry.kernel.clock = late
    require_no_effect(
        registry.kernel, IntegrityError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )


def test_notes_may_be_none(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    assert registry.request_canary("v1", 0.1, "ana", None).notes == ""
    request = registry.request_promotion("v1", "production", "ana", None)
    assert request.notes == ""
    assert registry.approve_promotion(request.request_id, "ben", None).stage == "production"


def test_what_serves_is_not_archived_by_approval(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1", "production")
    request = registry.request_promotion("v1", "archived", "ana")
    require_no_effect(
        registry.kernel, InUseError, lambda: registry.approve_promotion(request.request_id, "ben"), recorded=True
    )


def test_quarantine_stops_requests_and_approvals(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    with registry.kernel.begin("system", "rollback:deployment:execute", "version:default/v1") as tx:
        before = tx.versions.get("default", "v1")
        tx.versions.put(replace(before, quarantined_at=tx.now, quarantine_reason="recall"), before)
        tx.record()
    require_no_effect(
        registry.kernel, QuarantinedError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )
    registry.reject_promotion(request, "ben", "quarantined")
    require_no_effect(registry.kernel, QuarantinedError, lambda: ask(registry), recorded=True)
    require_no_effect(
        registry.kernel, QuarantinedError, lambda: registry.request_canary("v1", 0.1, "ana"), recorded=True
    )


def test_canaries(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    for share in (0, -0.1, 0.51, 1.0, float("nan"), "0.1", None, True):
        require_no_effect(registry.kernel, InvalidInputError, lambda s=share: registry.request_canary("v1", s, "ana"))
    request = registry.request_canary("v1", 0.1, "ana")
    assert (request.target, request.share, request.to_stage) == ("canary", 0.1, "staging")
    assert registry.approve_promotion(request.request_id, "ben").stage == "staging", "a canary moves no stage"


@pytest.mark.parametrize("name", ["system", "System", "automation"])
def test_what_needs_a_person_is_not_done_by_automation(registry: ModelRegistry, model_file: Path, name: str) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)
    for call in (
        lambda: registry.approve_promotion(request, name),
        lambda: registry.break_glass("v1", name, "outage"),
        lambda: registry.set_policy("strict", set_by=name, reason="audit"),
    ):
        require_no_effect(registry.kernel, ApproverNotAllowedError, call, recorded=True)


def test_a_quarantine_lifted_by_break_glass_is_on_record(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    with registry.kernel.begin("system", "rollback:deployment:execute", "version:default/v1") as tx:
        before = tx.versions.get("default", "v1")
        tx.versions.put(replace(before, quarantined_at=tx.now, quarantine_reason="recall fell"), before)
        tx.record()
    registry.break_glass("v1", "ana", "outage")
    assert records(registry.kernel)[-1].detail["quarantine"] == "lifted: recall fell"


def test_break_glass_is_loud(registry: ModelRegistry, model_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    enter(registry, model_file, "v1", "development")
    for reason in ("", " ", None):
        require_no_effect(registry.kernel, InvalidInputError, lambda r=reason: registry.break_glass("v1", "ana", r))
    assert registry.break_glass("v1", "ana", "outage").stage == "production"
    assert "BREAK GLASS" in caplog.text
    assert records(registry.kernel)[-1].detail["approval"] == "break-glass"
    with registry.kernel.read() as view:
        forced = view.versions.get("default", "v1")
        assert forced is not None
        assert forced.known_good_at is None, "what nobody approved is no way back"
    require_sound(registry.kernel)


def test_what_broke_the_glass_becomes_known_good_by_an_approval(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v0", "production")
    enter(registry, model_file, "v1", "development")
    registry.break_glass("v1", "ana", "outage")
    request = ask(registry)
    entry = registry.approve_promotion(request, "ben")
    assert (entry.stage, entry.promoted_by, entry.deployment_info["revision"]) == ("production", "ben", 2)
    with registry.kernel.read() as view:
        assert view.versions.get("default", "v1").known_good_at == entry.promoted_at
        assert [d.revision for d in view.deployments.all()] == [1, 2], "no traffic moved"
    require_no_effect(registry.kernel, IllegalTransitionError, lambda: ask(registry), recorded=True)
    require_no_effect(registry.kernel, IllegalTransitionError, lambda: ask(registry, "v0"), recorded=True)
    require_sound(registry.kernel)


def test_what_no_longer_serves_is_not_made_known_good(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1", "development")
    enter(registry, model_file, "v2")
    registry.break_glass("v1", "ana", "outage")
    request = ask(registry)
    registry.approve_promotion(ask(registry, "v2"), "ben")
    require_no_effect(
        registry.kernel, IllegalTransitionError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )


def test_break_glass_cancels_the_test_that_splits_the_traffic(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1", "production")
    for name in ("v2", "v3"):
        enter(registry, model_file, name)
    tests = ABTestManager(kernel=registry.kernel)
    test = tests.create_test("t", "v1", "v2", 0.1, deployment="production").test_id
    tests.start_test(test)
    assert registry.break_glass("v3", "ana", "outage").deployment_info["share"] == 1.0
    cancelling, breaking = records(registry.kernel)[-2:]
    assert (cancelling.action, cancelling.subjects) == ("ab_test:state:cancel", (f"ab_test:{test}",))
    assert cancelling.detail == {"break_glass": "v3"}
    assert breaking.detail["cancelled_tests"] == [test]
    assert tests.get_test(test).status == "cancelled"
    require_sound(registry.kernel)


@pytest.mark.parametrize("status", ["deprecated", "archived"])
def test_what_was_put_away_gets_no_traffic(registry: ModelRegistry, model_file: Path, status: str) -> None:
    kernel, manager = registry.kernel, registry.version_manager
    enter(registry, model_file, "v1", "production")
    for name in ("free", "entered"):
        manager.create_version(model_file, name)
    registry.register_model("entered")
    tests = ABTestManager(kernel=kernel)
    test = tests.create_test("t", "v1", "entered", 0.1, deployment="production").test_id
    for name in ("free", "entered"):
        manager.promote_version(name, status)
    for call in (
        lambda: registry.register_model("free", "production"),
        lambda: registry.request_canary("entered", 0.1, "ana"),
        lambda: tests.start_test(test),
    ):
        error = require_no_effect(kernel, IllegalTransitionError, call, recorded=True)
        assert status in error.message


def test_a_rollback_voids_what_was_asked_for_the_version_before(registry: ModelRegistry, model_file: Path) -> None:
    manager, kernel = registry.version_manager, registry.kernel
    enter(registry, model_file, "v1", "production")
    enter(registry, model_file, "v2")
    request = ask(registry, "v2")
    tests = ABTestManager(kernel=kernel)
    tests.start_test(tests.create_test("t", "v1", "v2", 0.1, deployment="production").test_id)
    rollback = RollbackManager(manager, registry)
    rollback.execute_rollback("v2", "v1", reason="recall fell", triggered_by="ana")
    rollback.release("v2", "ana", "retrained threshold")
    assert registry.approval_requests[request].status == "void"
    error = require_no_effect(
        kernel, RequestClosedError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )
    assert "rolled back" in error.message
    assert registry.approve_promotion(ask(registry, "v2"), "ben").stage == "production"
    require_sound(kernel)


def test_the_most_recent_one_of_several_in_production(registry: ModelRegistry, model_file: Path) -> None:
    for name in ("v1", "v2"):
        enter(registry, model_file, name, "production")
    assert registry.get_production_model().version == "v2"
    assert [e.version for e in registry.get_models_by_stage(ModelStage.PRODUCTION)] == ["v2", "v1"]
    assert registry.get_models_by_stage("archived") == []
    assert registry.get_production_model(model="dns") is None


def test_the_newest_registered_one_counts_although_an_unregistered_one_is_newer(
    registry: ModelRegistry, model_file: Path, clock: FakeClock
) -> None:
    enter(registry, model_file, "v1", "production")
    clock.advance(seconds=1)
    manager = registry.version_manager
    manager.create_version(model_file, "v2")
    for stage in ("staging", "production"):
        manager.promote_version("v2", stage)
    found = registry.get_production_model()
    assert found is not None
    assert (found.version, found.deployment_info) == ("v1", {}), "of stage production, and said to serve nothing"


def test_the_production_model_is_read_at_one_moment(registry: ModelRegistry, model_file: Path) -> None:
    for name in ("v1", "v2"):
        enter(registry, model_file, name, "production")
    done = threading.Event()

    def churn() -> None:
        for name in ("v1", "v2") * 8:
            registry.break_glass(name, "ana", "drill")
        done.set()

    thread = threading.Thread(target=churn)
    thread.start()
    seen = set()
    while not done.is_set():
        found = registry.get_production_model()
        seen.add(None if found is None else found.version)
    thread.join()
    assert seen <= {"v1", "v2"}


def test_an_entry_says_where_its_version_serves_now(registry: ModelRegistry, model_file: Path) -> None:
    manager, kernel = registry.version_manager, registry.kernel

    def infos() -> list[dict[str, Any]]:
        return [entry.deployment_info for entry in registry.registry.values()]

    def info(revision: int, share: float) -> dict[str, Any]:
        return {"environment": "production", "revision": revision, "share": share}

    manager.create_version(model_file, "v1")
    assert registry.register_model("v1", "production").deployment_info == info(1, 1.0), "adopted"
    enter(registry, model_file, "v2", "production")
    assert infos() == [{}, info(2, 1.0)]
    tests = ABTestManager(kernel=kernel)
    test = tests.create_test("t", "v2", "v1", 0.25, deployment="production").test_id
    tests.start_test(test)
    assert infos() == [info(3, 0.25), info(3, 0.75)]
    tests.pause_test(test)
    assert infos() == [{}, info(4, 1.0)]
    tests.cancel_test(test)
    manager.create_version(model_file, "v3")
    for stage in ("staging", "production"):
        manager.promote_version("v3", stage)
    assert infos() == [{}, {}]
    assert registry.register_model("v3").deployment_info == info(5, 1.0)
    assert registry.get_audit_trail("v3")["registry_entry"]["deployment_info"] == info(5, 1.0)
    assert [e.deployment_info for e in registry.get_models_by_stage("production")] == [info(5, 1.0), {}, {}]
    require_sound(kernel)


def test_requests_of_all_models_wait_together(registry: ModelRegistry, model_file: Path) -> None:
    for model in ("default", "dns"):
        registry.version_manager.create_version(model_file, "v1", model=model)
        registry.register_model("v1", model=model)
        registry.request_promotion("v1", "staging", "ana", model=model)
    assert [r.model for r in registry.get_pending_approvals()] == ["default", "dns"]
    assert [r.model for r in registry.get_pending_approvals(model="dns")] == ["dns"]


# Racing


def require_one_winner(registry: ModelRegistry, request: str, outcomes: list[str]) -> None:
    assert sorted(outcomes) == ["approved"] + ["refused"] * (len(outcomes) - 1)
    assert len(registry.approval_requests[request].votes) == 1
    with registry.kernel.read() as view:
        assert [d.revision for d in view.deployments.all()] == [1]
    require_sound(registry.kernel)


def attempt(registry: ModelRegistry, request: str, person: str) -> str:
    try:
        registry.approve_promotion(request, person)
    except RequestClosedError:
        return "refused"
    return "approved"


def test_of_two_approvers_in_threads_one_wins(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    request, outcomes, barrier = ask(registry), list[str](), threading.Barrier(4)

    def approve(person: str) -> None:
        barrier.wait()
        outcomes.append(attempt(registry, request, person))

    threads = [threading.Thread(target=approve, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require_one_winner(registry, request, outcomes)


def test_of_two_approvers_in_processes_one_wins(
    registry: ModelRegistry, model_file: Path, location: str, tmp_path: Path
) -> None:
    enter(registry, model_file, "v1")
    request = ask(registry)

    def approve(number: int) -> None:
        kernel = Kernel(location, clock=registry.kernel.clock)
        own = ModelRegistry(ModelVersionManager(kernel=kernel))
        (tmp_path / f"outcome{number}").write_text(attempt(own, request, f"p{number}"))
        kernel.close()

    in_children(approve, 4)
    require_one_winner(registry, request, [path.read_text() for path in tmp_path.glob("outcome*")])


def test_approval_and_rejection_race(registry: ModelRegistry, model_file: Path) -> None:
    for round_ in range(5):
        name = f"v{round_}"
        enter(registry, model_file, name)
        request, won, lost, barrier = ask(registry, name), list[str](), list[str](), threading.Barrier(2)

        def decide(
            what: str, request: str = request, won: list[str] = won, lost: list[str] = lost, barrier: Any = barrier
        ) -> None:
            barrier.wait()
            try:
                if what == "approved":
                    registry.approve_promotion(request, "ben")
                else:
                    registry.reject_promotion(request, "cid", "no")
                won.append(what)
            except SentinelError as error:
                lost.append(error.code)

        threads = [threading.Thread(target=decide, args=(what,)) for what in ("approved", "rejected")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [registry.approval_requests[request].status.value] == won
        assert lost == ["request_closed"]
    require_sound(registry.kernel)


# The trail


def test_the_audit_trail_of_a_version(registry: ModelRegistry, model_file: Path) -> None:
    enter(registry, model_file, "v1")
    refused = ask(registry)
    registry.reject_promotion(refused, "ben", "not yet")
    registry.approve_promotion(ask(registry), "ben")
    registry.version_manager.edit_version("v1", notes="n")
    trail = registry.get_audit_trail("v1")
    assert set(trail) == {
        "version",
        "registry_entry",
        "version_metadata",
        "approval_requests",
        "stage_history",
        "events",
    }
    assert json.loads(json.dumps(trail)) == trail
    assert trail["registry_entry"]["stage"] == "production"
    assert trail["version_metadata"]["version"] == "v1"
    assert [request["status"] for request in trail["approval_requests"]] == ["rejected", "approved"]
    assert [(h["from_stage"], h["stage"], h["user"]) for h in trail["stage_history"]] == [
        (None, "none", "system"),
        ("none", "development", "system"),
        ("development", "staging", "system"),
        ("staging", "production", "ben"),
    ]
    assert {tuple(sorted(h)) for h in trail["stage_history"]} == {
        ("event", "from_stage", "reason", "stage", "timestamp", "user")
    }
    sequences = [event["seq"] for event in trail["events"]]
    assert sequences == sorted(sequences)
    assert len(sequences) == 8
    require_no_effect(registry.kernel, VersionNotFoundError, lambda: registry.get_audit_trail("v2"))
    registry.version_manager.create_version(model_file, "v3")
    assert registry.get_audit_trail("v3")["registry_entry"] is None
    registry.version_manager.delete_version("v3")
    assert registry.get_audit_trail("v3")["events"][-1]["action"] == "version:content:delete"
