"""The five modules as a user meets them: only `from sentinelzer0.mlops import ...`, no optional package needed.

Runs under pytest, and as a script: ``python tests/acceptance/test_phase_2_2_mlops.py`` ends with ``5/5 tests passed``
and exit status 0. With MLflow installed the last block really logs, otherwise it shows that every call is a no-op.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path

if find_spec("sentinelzer0") is None:  # not installed: take the checkout this file lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sentinelzer0.mlops import (
    ABTestManager,
    ApprovalStatus,
    MLflowTracker,
    ModelRegistry,
    ModelStage,
    ModelVersionManager,
    RollbackManager,
    RollbackStrategy,
    TestStatus,
    VersionStatus,
)

TRAINER, APPROVER = "ayse", "mehmet"


def a_model(directory: Path, name: str, weight: float) -> Path:
    """Write a model file; any bytes will do."""
    path = directory / f"{name}.json"
    path.write_text(json.dumps({"name": name, "weight": weight}), encoding="utf-8")
    return path


def refused(call: object, *arguments: object, **named: object) -> str:
    """Call something that must be refused with a ValueError, and return its message."""
    try:
        call(*arguments, **named)  # type: ignore[operator]
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{call} was not refused")


def in_production(manager: ModelVersionManager, registry: ModelRegistry, version: str) -> None:
    """Take a version from development to production by request and approval."""
    registry.register_model(version, registered_by=TRAINER)
    manager.promote_version(version, VersionStatus.STAGING)
    request = registry.request_promotion(version, ModelStage.PRODUCTION, requested_by=TRAINER, notes="tested")
    registry.approve_promotion(request.request_id, approved_by=APPROVER)


def test_version_manager(tmp_path: Path) -> None:
    """Versions: create, find, promote, compare, verify, delete."""
    manager = ModelVersionManager(base_dir=tmp_path / "models")
    first = manager.create_version(
        a_model(tmp_path, "first", 0.1),
        version="v1",
        created_by=TRAINER,
        training_metrics={"accuracy": 0.90},
        hyperparameters={"depth": 4},
        notes="the first one",
        tags=["nightly"],
    )
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    a_model(bundle, "weights", 0.2)
    (bundle / "threshold.txt").write_text("0.5\n", encoding="utf-8")
    second = manager.create_version(
        bundle,
        version="v2",
        training_metrics={"accuracy": 0.95},
        hyperparameters={"depth": 8},
        parent_version="v1",
        framework="none",
        validation_metrics={"accuracy": 0.93},
    )
    unnamed = manager.create_version(a_model(tmp_path, "third", 0.3))

    assert (first.version, first.status, first.metadata.created_by) == ("v1", VersionStatus.DEVELOPMENT, TRAINER)
    assert first.model_path.read_bytes() == (tmp_path / "first.json").read_bytes()
    assert second.metadata.parent_version == "v1"
    assert [found.version for found in manager.list_versions()] == [unnamed.version, "v2", "v1"]
    assert [found.version for found in manager.list_versions(tags=["nightly", "other"])] == ["v1"]
    assert manager.get_version("nobody") is None
    assert manager.get_latest_version().version == unnamed.version
    assert "v1" in refused(manager.create_version, tmp_path / "first.json", version="v1")
    assert "nobody" in refused(manager.create_version, tmp_path / "first.json", parent_version="nobody")

    compared = manager.compare_versions("v1", "v2")
    assert round(compared["metrics_comparison"]["accuracy"]["diff"], 9) == 0.05
    assert compared["hyperparameters_diff"]["depth"] == {"version1": 4, "version2": 8}
    json.dumps([compared, manager.lineage("v2"), first.to_dict()])

    manager.promote_version("v1", VersionStatus.STAGING)
    promoted = manager.promote_version("v1", VersionStatus.PRODUCTION)
    assert promoted.status is VersionStatus.PRODUCTION
    assert manager.get_production_version().version == "v1"
    assert first.status is VersionStatus.DEVELOPMENT, "a value is a snapshot"

    weights = second.model_path / "weights.json"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes().replace(b"0.2", b"0.3"))
    assert manager.verify_integrity("v1")
    assert not manager.verify_integrity("v2")

    assert manager.delete_version("v2")
    assert "v1" in refused(manager.delete_version, "v1", force=True), "it serves production"
    assert manager.get_version("v2") is None


def test_model_registry(tmp_path: Path) -> None:
    """The registry: request, approve, reject, withdraw; who did what stays on record."""
    manager = ModelVersionManager(base_dir=tmp_path / "models")
    registry = ModelRegistry(manager)
    for name in ("v1", "v2"):
        manager.create_version(a_model(tmp_path, name, 0.5), version=name, created_by=TRAINER)
    entry = registry.register_model("v1", registered_by=TRAINER, tags=["baseline"])
    assert (entry.stage, entry.health_status) == (ModelStage.DEVELOPMENT, "unknown")
    assert "v1" in refused(registry.register_model, "v1")

    staging = registry.request_promotion("v1", ModelStage.STAGING, requested_by=TRAINER)
    assert registry.approve_promotion(staging.request_id, approved_by=APPROVER).stage is ModelStage.STAGING
    request = registry.request_promotion("v1", ModelStage.PRODUCTION, requested_by=TRAINER, notes="please")
    assert [pending.request_id for pending in registry.get_pending_approvals()] == [request.request_id]
    assert "approval" in refused(manager.promote_version, "v1", VersionStatus.PRODUCTION).lower()
    assert TRAINER in refused(registry.approve_promotion, request.request_id, approved_by=TRAINER)
    approved = registry.approve_promotion(request.request_id, approved_by=APPROVER, notes="looks good")
    assert (approved.stage, approved.promoted_by) == (ModelStage.PRODUCTION, APPROVER)
    assert refused(registry.approve_promotion, request.request_id, approved_by="zeynep"), "approved twice"

    registry.register_model("v2", registered_by=TRAINER)
    rejected = registry.request_promotion("v2", ModelStage.STAGING, requested_by=TRAINER)
    assert refused(registry.reject_promotion, rejected.request_id, APPROVER, reason="")
    assert registry.reject_promotion(rejected.request_id, APPROVER, "too slow").status is ApprovalStatus.REJECTED
    withdrawn = registry.request_promotion("v2", ModelStage.STAGING, requested_by=TRAINER)
    assert registry.withdraw_promotion(withdrawn.request_id, TRAINER, "later").status is ApprovalStatus.WITHDRAWN
    assert registry.get_pending_approvals() == []

    assert [found.version for found in registry.get_models_by_stage(ModelStage.PRODUCTION)] == ["v1"]
    assert registry.get_production_model().version == "v1"
    assert registry.update_health_status("v1", "healthy", {"error_rate": 0.01}).health_status == "healthy"
    assert set(registry.registry) == {"v1", "v2"}
    assert registry.approval_requests[request.request_id].status is ApprovalStatus.APPROVED

    trail = json.loads(json.dumps(registry.get_audit_trail("v1")))
    assert [step["stage"] for step in trail["stage_history"]][-2:] == ["staging", "production"]
    assert trail["stage_history"][-1]["user"] == APPROVER
    assert any(event["outcome"] == "refused" for event in trail["events"]), "self-approval is on record"


def test_ab_testing(tmp_path: Path) -> None:
    """A/B tests: split traffic, record outcomes and late labels, reach a verdict that the evidence carries."""
    tests = ABTestManager(tests_dir=tmp_path / "models" / "ab_tests")
    test = tests.create_test("v1 or v2", "v1", "v2", traffic_split=0.5, created_by=TRAINER, min_samples=100)
    assert test.status is TestStatus.SETUP
    assert tests.route_request(test.test_id, key="host-1") == "v1", "before the start everything goes to A"
    assert refused(tests.record_result, test.test_id, "v1", True, 1.0)
    assert refused(tests.create_test, "the same twice", "v1", "v1")
    assert refused(tests.create_test, "more than all", "v1", "v2", traffic_split=1.5)
    assert tests.start_test(test.test_id).status is TestStatus.RUNNING

    chance = random.Random(7)
    attacks = []
    rows = []
    for number in range(1200):
        arm = tests.route_request(test.test_id, key=f"host-{number}")
        assert arm == tests.route_request(test.test_id, key=f"host-{number}"), "sticky"
        attack = chance.random() < 0.5
        caught = chance.random() < (0.95 if arm == "v2" else 0.70)
        attacks.append(attack)
        rows.append(
            {
                "model_version": arm,
                "success": True,
                "latency_ms": chance.uniform(5, 15),
                "confidence": 0.9,
                "predicted_label": attack and caught,
                "request_id": f"request-{number}",
            }
        )
    tests.record_results(test.test_id, rows)
    single = tests.route_request(test.test_id, key="host-x")
    tests.record_result(test.test_id, single, True, 9.0, 0.8, true_label=True, predicted_label=True)
    for number, attack in enumerate(attacks):
        tests.record_label(test.test_id, f"request-{number}", attack)
    assert refused(tests.record_result, test.test_id, "v9", True, 1.0)
    assert refused(tests.record_result, test.test_id, "v1", True, -1.0)

    tests.pause_test(test.test_id)
    tests.resume_test(test.test_id)
    results = json.loads(json.dumps(tests.get_test_results(test.test_id)))
    assert results["metrics_a"]["total_requests"] + results["metrics_b"]["total_requests"] == 1201
    assert results["comparison"]["f1_score"]["winner"] == "B"
    assert results["statistical_significance"]["is_significant"]
    assert results["statistical_significance"]["interval"][0] > 0
    done = tests.complete_test(test.test_id)
    assert done["winner"] == "v2"
    assert done["winner_confidence"] >= 0.95
    ended = tests.get_test(test.test_id)
    assert (ended.status, ended.winner) == (TestStatus.COMPLETED, "v2")
    assert [found.test_id for found in tests.list_tests()] == [test.test_id]

    page = tmp_path / "report.html"
    tests.report(test.test_id, page)
    text = page.read_text(encoding="utf-8")
    assert "v2" in text
    assert "<script" not in text

    empty = tests.create_test("nothing yet", "v1", "v2")
    tests.start_test(empty.test_id)
    assert refused(tests.complete_test, empty.test_id)
    assert tests.complete_test(empty.test_id, force=True)["winner"] is None, "force ends, it does not invent"


def test_rollback(tmp_path: Path) -> None:
    """Rollback: health from measurements, and back to the last known-good version in one step."""
    manager = ModelVersionManager(base_dir=tmp_path / "models")
    registry = ModelRegistry(manager)
    for name, weight in (("v1", 0.1), ("v2", 0.2), ("v3", 0.3)):
        manager.create_version(a_model(tmp_path, name, weight), version=name, created_by=TRAINER)
    in_production(manager, registry, "v1")
    in_production(manager, registry, "v2")
    registry.register_model("v3", registered_by=TRAINER)

    rollback = RollbackManager(manager, registry)
    assert (rollback.error_rate_threshold, rollback.latency_threshold_ms) == (0.10, 100.0)
    rollback.min_requests_for_check = 200
    good = {"error_rate": 0.01, "avg_latency_ms": 12.0, "total_requests": 500, "failed_requests": 5}
    assert rollback.check_health("v2", good).is_healthy
    few = rollback.check_health("v2", {**good, "error_rate": 1.0, "total_requests": 3, "failed_requests": 3})
    assert few.status == "unknown"
    assert not rollback.should_rollback("v2", few), "too little data triggers nothing"
    bad = rollback.check_health("v2", {**good, "error_rate": 0.3, "failed_requests": 150})
    assert rollback.should_rollback("v2", bad)
    assert not rollback.should_rollback("v2", bad, RollbackStrategy.MANUAL)

    assert "v3" in refused(rollback.execute_rollback, "v2", "v3"), "never in production"
    event = rollback.execute_rollback("v2", reason="30 % of requests failed")
    assert (event.success, event.from_version, event.to_version) == (True, "v2", "v1")
    assert registry.get_production_model().version == "v1"
    assert manager.get_version("v2").status is VersionStatus.STAGING
    assert refused(registry.request_promotion, "v2", ModelStage.PRODUCTION, TRAINER), "quarantined"
    assert refused(rollback.execute_rollback, "v2"), "it serves nothing any more"
    asked = rollback.execute_rollback(
        "v1", "v3", "try it", RollbackStrategy.MANUAL, triggered_by=APPROVER, allow_unapproved=True
    )
    assert (asked.success, asked.details["status"]) == (False, "open")
    assert [found.event_id for found in rollback.get_rollback_history(limit=2)] == [asked.event_id, event.event_id]
    json.dumps([found.to_dict() for found in rollback.rollback_history])


def test_mlflow_integration(tmp_path: Path) -> None:
    """Tracking: real runs where MLflow is installed, no-ops where it is not."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # making a database takes longer than all the rest together
    model = a_model(tmp_path, "tracked", 0.4)
    tracker = MLflowTracker(tracking_uri=(tmp_path / "runs").as_uri(), experiment_name="acceptance")
    assert tracker.is_available() is tracker.mlflow_available
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own parts
        with tracker.start_run("training", tags={"team": "soc"}):
            tracker.log_params({"depth": 4})
            tracker.log_metrics({"loss": 0.5}, step=1)
            with tracker.start_run("fold 1"):
                tracker.log_metrics({"loss": 0.4})
            tracker.log_artifact(model)
            where = tracker.log_model(model)
            tracker.set_tag("reviewed", "yes")
            run_id = tracker.get_run_id()
        assert tracker.get_run_id() is None
        tracker.end_run()
    del os.environ["MLFLOW_ALLOW_FILE_STORE"]
    if tracker.mlflow_available:
        assert where == f"runs:/{run_id}/model"
        assert list((tmp_path / "runs").rglob("tracked.json")), "the model was stored"
    else:
        assert (where, run_id) == (None, None)
        assert not (tmp_path / "runs").exists()


BLOCKS = (test_version_manager, test_model_registry, test_ab_testing, test_rollback, test_mlflow_integration)


def main() -> int:
    """Run every block in a directory of its own; return the exit status."""
    passed = 0
    for block in BLOCKS:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            try:
                block(Path(directory))
            except Exception:  # noqa: BLE001 - the edge of a script: whatever failed is shown, and counted
                traceback.print_exc()
                word = "FAILED"
            else:
                passed += 1
                word = "ok"
        print(f"{block.__name__.removeprefix('test_'):<20} {word:<7} {time.perf_counter() - started:5.2f} s")
    print(f"{passed}/{len(BLOCKS)} tests passed")
    return 0 if passed == len(BLOCKS) else 1


if __name__ == "__main__":
    sys.exit(main())
