"""The doctor finds every kind of damage, names it, and mends what is derived."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import psycopg
import pytest

from sentinelzer0.errors import IntegrityError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.doctor import Status, examine, examine_at, repair
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock


def statuses(kernel: Kernel) -> dict[str, str]:
    return {check.name: check.status.value for check in examine(kernel).checks}


def tamper(kernel: Kernel, sql: str) -> None:
    """Change the database behind the back of the package; a condition may use %s-free SQL of both dialects."""
    if kernel.database.is_sqlite:
        with sqlite3.connect(kernel.layout.database) as connection:
            connection.execute(sql)
        connection.close()
        return
    with psycopg.connect(kernel.database.url.replace("+psycopg", "")) as connection:
        connection.execute(sql)  # type: ignore[call-overload]


@pytest.fixture
def busy(kernel: Kernel, model_file: Path, tmp_path: Path) -> Kernel:
    """Return a workspace with something of every noun."""
    manager = ModelVersionManager(kernel=kernel)
    registry = ModelRegistry(manager)
    manager.create_version(model_file, "v1", created_by="ayse", tags=["baseline"], training_metrics={"f1": 0.9})
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights").write_bytes(b"w" * 50)
    (bundle / "threshold.json").write_text("0.5")
    manager.create_version(bundle, "v2", created_by="ayse", tags=["bundle", "gru"], parent_version="v1")
    for name in ("v1", "v2"):
        registry.register_model(name, registered_by="ayse")
        for stage in ("staging", "production"):
            request = registry.request_promotion(name, stage, "ayse")
            registry.approve_promotion(request.request_id, "mehmet")
    scan = tmp_path / "scan.txt"
    scan.write_text("clean")
    registry.attach_evidence("v2", scan, "scan", "ayse", passed=True)
    registry.update_health_status("v2", "healthy", updated_by="ayse")
    tests = ABTestManager(kernel=kernel)
    test = tests.create_test("old or new", "v1", "v2", min_samples=1)
    tests.start_test(test.test_id)
    for i in range(30):
        arm = "v1" if i % 2 else "v2"
        tests.record_result(
            test.test_id, arm, i % 7 > 0, 10.0 + i, confidence=0.5, true_label=1, predicted_label=i % 3 > 0
        )
    RollbackManager(manager, registry).execute_rollback("v2", reason="drill", triggered_by="ayse")
    RollbackManager(manager, registry).release("v2", "ayse", "it was a drill")
    registry.update_health_status("v1", "healthy", updated_by="ayse")
    AuditTrail(kernel).checkpoint()
    return kernel


def test_a_sound_workspace_passes_every_check(busy: Kernel) -> None:
    report = examine(busy)
    assert {check.name: check.detail for check in report.checks if check.status is not Status.PASS} == {}
    assert report.healthy
    assert json.loads(json.dumps(report.to_dict()))["passed"] == len(report.checks)
    assert len({check.name for check in report.checks}) == len(report.checks)
    assert repair(busy) == []


def test_an_empty_workspace_passes_and_only_lacks_a_checkpoint(kernel: Kernel) -> None:
    report = examine(kernel)
    assert [check.name for check in report.warnings] == ["checkpoint"]
    assert report.failures == ()


def test_the_quick_examination_reads_no_log_and_no_bytes(busy: Kernel) -> None:
    names = {check.name for check in examine(busy, deep=False).checks}
    assert {"audit log", "state equals audit log"}.isdisjoint(names)
    digest = ModelVersionManager(kernel=busy).get_version("v1").metadata.file_hash  # type: ignore[union-attr]
    path = busy.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    assert examine(busy, deep=False).check("bytes").status is Status.PASS
    assert examine(busy).check("bytes").status is Status.FAIL


STATE_CHANGES = {
    "versions": ("UPDATE versions SET stage = 'staging' WHERE version = 'v1'", "versions default/v1", "stage"),
    "version notes": ("UPDATE versions SET notes = 'fine' WHERE version = 'v2'", "versions default/v2", "notes"),
    "fold of a name": ("UPDATE versions SET folded = 'v7' WHERE version = 'v2'", "versions default/v2", "folded"),
    "entries": (
        "UPDATE registry_entries SET registered_by = 'x' WHERE version = 'v2'",
        "registry_entries",
        "registered_by",
    ),
    "entries lost": ("DELETE FROM registry_entries WHERE version = 'v2'", "registry_entries default/v2", "missing"),
    "requests": ("UPDATE approval_requests SET approved_by = 'eve'", "approval_requests apr_", "approved_by"),
    "evidence": ("UPDATE evidence SET passed = 0", "evidence ev_", "passed"),
    "policies": ("UPDATE policies SET body = 'name = 1'", "policies 1", "body"),
    "deployments": (
        "UPDATE deployments SET created_by = 'eve' WHERE revision = 1",
        "deployments default/production/1",
        "by",
    ),
    "deployments lost": ("DELETE FROM deployments WHERE revision = 2", "deployments default/production/2", "missing"),
    "tests": ("UPDATE ab_tests SET winner = 'v2'", "ab_tests test_", "winner"),
    "rollbacks": ("UPDATE rollbacks SET success = 0", "rollbacks rb_", "success"),
    "json": (
        "UPDATE versions SET training_metrics = '{' WHERE version = 'v1'",
        "versions default/v1",
        "cannot be read",
    ),
    "enum": ("UPDATE versions SET stage = 'live' WHERE version = 'v1'", "versions default/v1", "cannot be read"),
}


@pytest.mark.parametrize("name", STATE_CHANGES)
def test_a_state_row_that_differs_from_the_log_is_named(name: str, busy: Kernel) -> None:
    sql, row, column = STATE_CHANGES[name]
    tamper(busy, sql)
    check = examine(busy).check("state equals audit log")
    assert check.status is Status.FAIL
    assert row in check.detail
    assert column in check.detail
    assert "doctor --rebuild" in check.fix


def test_a_row_that_is_in_no_record_is_named(busy: Kernel) -> None:
    columns = "model, version, registered_at, registered_by, promoted_at, promoted_by, deployment_info"
    rest = "performance_metrics, health_status, last_health_check, tags"
    copied = f"SELECT 'other', version, registered_at, registered_by, promoted_at, promoted_by, deployment_info, {rest}"
    tamper(
        busy, f"INSERT INTO registry_entries ({columns}, {rest}) {copied} FROM registry_entries WHERE version = 'v1'"
    )
    assert "registry_entries other/v1 is in no audit record" in examine(busy).check("state equals audit log").detail


def test_a_changed_audit_record_is_found(busy: Kernel) -> None:
    tamper(busy, "UPDATE audit_records SET body = replace(body, 'ayse', 'eve') WHERE seq = 3")
    report = examine(busy)
    assert report.check("audit log").status is Status.FAIL
    assert "Record 3" in report.check("audit log").detail


def test_statistics_that_differ_from_the_outcomes_are_found(busy: Kernel) -> None:
    tamper(busy, "UPDATE outcome_cells SET failures = failures + 1 WHERE arm = 'B'")
    check = examine(busy).check("A/B statistics")
    assert check.status is Status.FAIL
    assert "arm B: failures is" in check.detail


def test_lost_outcomes_are_found(busy: Kernel) -> None:
    tamper(busy, "DELETE FROM outcomes WHERE arm = 'A' AND latency_ms < 20")
    assert "arm A: requests is 15, the outcomes give 10" in examine(busy).check("A/B statistics").detail


def test_the_tag_index_is_checked_and_rebuilt(busy: Kernel) -> None:
    tamper(busy, "DELETE FROM version_tags WHERE tag = 'gru'")
    check = examine(busy).check("tag index")
    assert (check.status, "'gru'" in check.detail) == (Status.FAIL, True)
    assert repair(busy, actor="ayse") == ["The tag index was built again: 3 tags."]
    assert repair(busy) == []
    assert statuses(busy)["tag index"] == "pass"
    (record,) = AuditTrail(busy).records(limit=1)
    assert (record.action, record.actor.name) == ("workspace:files:repair", "ayse")


def test_a_lost_index_is_found(busy: Kernel) -> None:
    tamper(busy, "DROP INDEX versions_parent")
    assert "the index versions_parent is missing" in examine(busy).check("database").detail


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_missing_and_changed_bytes_are_found_and_not_mended(busy: Kernel, version: str) -> None:
    digest = ModelVersionManager(kernel=busy).get_version(version).metadata.file_hash  # type: ignore[union-attr]
    path = busy.blobs.path(digest)
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    data[3] ^= 1
    path.write_bytes(data)
    check = examine(busy).check("bytes")
    assert (check.status, version in check.detail) == (Status.FAIL, True)
    path.unlink()
    assert examine(busy).check("bytes").status is Status.FAIL
    assert examine(busy, deep=False).check("bytes").status is Status.FAIL
    assert repair(busy) == [], "truth is never made up"


def test_readable_files_are_made_again_and_changed_ones_kept_aside(busy: Kernel) -> None:
    layout = busy.layout
    view = layout.version_directory("default", "v2")
    (view / "threshold.json").unlink()
    (view / "threshold.json").write_text("0.9")
    metadata = layout.metadata_file("default", "v1")
    metadata.write_text("{")
    layout.metadata_file("default", "v2").unlink()
    report = examine(busy)
    assert (report.check("readable files").status, report.check("metadata files").status) == (Status.WARN, Status.WARN)
    assert "threshold.json" in report.check("readable files").detail
    done = repair(busy)
    assert len(done) == 4, done
    assert (view / "threshold.json").read_text() == "0.5"
    (kept,) = (layout.root / "damaged").glob("*/threshold.json")
    assert kept.read_text() == "0.9"
    assert repair(busy) == []
    assert examine(busy).check("metadata files").status is Status.PASS


def test_orphans_and_temporary_files_are_found_by_age(busy: Kernel, clock: FakeClock) -> None:
    busy.blobs.put_bytes(b"nobody names me")
    (busy.layout.metadata / ".sz0-tmp-1-v1.json").write_text("{")
    os.utime(busy.layout.metadata / ".sz0-tmp-1-v1.json", (0, 0))
    clock.advance(days=8)
    report = examine(busy)
    assert "1 blob (15 bytes)" in report.check("unused bytes").detail
    assert report.check("temporary files").status is Status.WARN
    assert repair(busy) == ["Removed, of crashed programs: 1 temporary file."]
    assert examine(busy).check("temporary files").status is Status.PASS
    assert examine(busy).check("unused bytes").status is Status.WARN, "collecting is a decision of its own"


def test_a_waiver_a_break_glass_and_a_quarantine_are_told(busy: Kernel, model_file: Path, clock: FakeClock) -> None:
    manager = ModelVersionManager(kernel=busy)
    registry = ModelRegistry(manager)
    manager.create_version(model_file, "v3")
    manager.promote_version("v3", "staging")
    manager.promote_version("v3", "production", promoted_by="ayse")
    assert "v3 is in production under a waiver" in examine(busy).check("approvals").detail
    assert "register v3 --stage production" in examine(busy).check("approvals").fix
    registry.break_glass("v2", "mehmet", "the others miss the new attack")
    check = examine(busy).check("break-glass")
    assert (check.status, "mehmet" in check.detail, "version:default/v2" in check.detail) == (Status.WARN, True, True)
    RollbackManager(manager, registry).execute_rollback("v2", "v1", reason="slow", triggered_by="ayse")
    assert "v2 since" in examine(busy).check("quarantine").detail
    assert "rollback release v2 --reason" in examine(busy).check("quarantine").fix
    clock.advance(days=31)
    assert examine(busy).check("break-glass").status is Status.PASS


def test_requests_that_ran_out_and_stale_health_are_told(busy: Kernel, clock: FakeClock) -> None:
    registry = ModelRegistry(ModelVersionManager(kernel=busy))
    registry.request_promotion("v2", "archived", "ayse")
    assert examine(busy).check("open requests").status is Status.PASS
    clock.advance(hours=25)
    assert "without a health check" in examine(busy).check("health").detail
    registry.update_health_status("v1", "unhealthy")
    assert "is unhealthy" in examine(busy).check("health").detail
    assert examine(busy).check("health").fix.endswith("check-health v1"), "what can be typed"
    clock.advance(days=20)
    assert "is expired without a decision" in examine(busy).check("open requests").detail
    assert examine(busy).check("open requests").fix.endswith("registry request v2 archived")
    assert "Under no signed checkpoint: 2 records" in examine(busy).check("checkpoint").detail


def test_a_deployment_of_something_gone_is_told(busy: Kernel) -> None:
    tamper(busy, "UPDATE versions SET deleted_at = created_at WHERE version = 'v1'")
    assert "v1, which serves production, does not exist" in examine(busy).check("deployments").detail


def test_the_signing_key_is_examined_but_never_made(kernel: Kernel) -> None:
    path = kernel.signing_key_file()
    assert examine(kernel).check("signing key").status is Status.PASS
    assert not path.exists()
    AuditTrail(kernel).checkpoint()
    path.chmod(0o644)
    check = examine(kernel).check("signing key")
    assert (check.status, check.fix) == (Status.FAIL, f"Run: chmod 600 {path}")
    path.chmod(0o600)
    path.rename(path.with_suffix(".away"))
    assert examine(kernel).check("signing key").status is Status.WARN
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    assert "is not the key of audit.vkey" in examine(kernel).check("signing key").detail
    path.write_bytes(b"short")
    assert "cannot be used" in examine(kernel).check("signing key").detail


def test_files_of_version_3_3_that_were_dropped_in_later_are_told(busy: Kernel) -> None:
    (busy.layout.metadata / "metadata_v9.json").write_text("{}")
    check = examine(busy).check("files of version 3.3")
    assert (check.status, "metadata/metadata_v9.json was not imported" in check.detail) == (Status.WARN, True)
    assert "import-legacy" in check.fix


def test_a_database_that_cannot_be_opened_gives_a_report(tmp_path: Path) -> None:
    Kernel(tmp_path / "ws").close()
    (tmp_path / "ws" / "sentinelzer0.db").write_bytes(b"not a database" * 100)
    report = examine_at(tmp_path / "ws")
    assert [check.name for check in report.failures] == ["database"]
    assert "doctor --rebuild" in report.failures[0].fix
    (tmp_path / "fresh").mkdir()
    assert examine_at(tmp_path / "fresh").healthy


def test_damaged_pages_are_found(tmp_path: Path, model_file: Path) -> None:
    kernel = Kernel(tmp_path / "ws")
    manager = ModelVersionManager(kernel=kernel)
    for number in range(40):
        manager.create_version(model_file, f"v{number}", notes="n" * 500)
    kernel.close()
    path = tmp_path / "ws" / "sentinelzer0.db"
    data = bytearray(path.read_bytes())
    for page in range(12, 40):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    report = examine_at(tmp_path / "ws")
    assert not report.healthy
    assert "database" in {check.name for check in report.failures}


def test_a_reader_on_either_backend_sees_one_state(busy: Kernel, model_file: Path) -> None:
    with busy.read() as view:
        before = view.audit.head().size
        ModelVersionManager(kernel=busy).create_version(model_file, "v9")
        assert view.audit.head().size == before
        assert view.versions.get("default", "v9") is None


def test_a_damaged_manifest_does_not_end_the_examination(busy: Kernel) -> None:
    digest = ModelVersionManager(kernel=busy).get_version("v2").metadata.file_hash  # type: ignore[union-attr]
    busy.blobs.path(digest).unlink()
    with pytest.raises(IntegrityError):
        busy.blobs.manifest(digest)
    report = examine(busy)
    assert report.check("bytes").status is Status.FAIL
    assert report.check("disk").status is Status.PASS
    assert examine(busy, deep=False).checks


def test_an_empty_workspace_is_not_said_to_have_what_it_has_not(kernel: Kernel) -> None:
    said = {check.name: check.detail for check in examine(kernel).checks}
    assert said["health"] == said["deployments"] == "Nothing serves."
    assert said["A/B statistics"] == "There is no A/B test."
    assert said["tag index"] == "No version has a tag."
    assert said["open requests"] == "No request is open."
    assert said["audit log"].endswith("; no checkpoint was signed yet.")
