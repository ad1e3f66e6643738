"""A directory that version 3.3 really wrote is taken over: everything in it, once, with damage named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.domain.versions import ModelStage, VersionStatus
from sentinelzer0.errors import InvalidInputError, LegacyWorkspaceError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.doctor import Status, examine
from sentinelzer0.maintenance.legacy import LegacyReport, import_legacy
from sentinelzer0.maintenance.legacy_files import Findings, LegacyDirectory
from sentinelzer0.maintenance.legacy_versions import find_versions
from sentinelzer0.testing import FakeClock
from sentinelzer0.workspace import Workspace
from tests.postgres import PostgresServer

ORIGINAL = Path(__file__).parents[1] / "data" / "legacy_3_3" / "models"
KINDS = {"versions": 5, "entries": 4, "requests": 6, "ab_tests": 2, "rollbacks": 1, "deployments": 1}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a copy of the directory that may be changed."""
    return Path(shutil.copytree(ORIGINAL, tmp_path / "models"))


def snapshot(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change what a JSON file holds."""
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(change(raw) or raw))


def count(report: LegacyReport) -> dict[str, int]:
    return {kind: len(names) for kind, names in report.imported.items()}


def test_an_unimported_directory_is_refused_whatever_kind_of_file_it_holds(models: Path, tmp_path: Path) -> None:
    with pytest.raises(LegacyWorkspaceError, match=r"version 3\.3") as refused:
        Workspace.open(models)
    assert f"import-legacy {models}" in refused.value.hint
    assert snapshot(models) == snapshot(ORIGINAL)
    for number, kind in enumerate(sorted(snapshot(ORIGINAL))):
        alone = tmp_path / str(number) / kind
        alone.parent.mkdir(parents=True)
        shutil.copy(ORIGINAL / kind, alone)
        with pytest.raises(LegacyWorkspaceError):
            Kernel(tmp_path / str(number))


def test_everything_is_taken_over_in_place_and_originals_stay(models: Path) -> None:
    report = import_legacy(models, timezone="UTC", imported_by="ayse")
    assert (count(report), report.problems, report.complete) == (KINDS, (), True)
    assert snapshot(ORIGINAL).items() <= snapshot(models).items()
    assert str(report).startswith("Imported 5 versions, 4 entries, 6 requests, 2 A/B tests, 1 rollbacks")
    assert json.loads(json.dumps(report.to_dict()))["imported"]["versions"] == report.imported["versions"]
    with Workspace.open(models) as ws:
        failures = examine(ws.kernel).failures
        assert failures == ()
        assert ws.audit.verify().intact


def test_versions_keep_their_facts(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws:
        names = [version.version for version in ws.versions.list_versions()]
        assert names == ["v2.0.0", "v_20261122_200950", "v1.2.0-rc1", "v1.1.0", "v1.0.0"]
        for name in names:
            told = json.loads((ORIGINAL / "metadata" / f"metadata_{name}.json").read_text())
            version = ws.versions.get_version(name)
            assert version is not None
            metadata = version.metadata.to_dict()
            expected_time = datetime.fromisoformat(told.pop("created_at")).replace(tzinfo=UTC)
            assert version.metadata.created_at == expected_time
            status = told.pop("status")
            assert {key: metadata[key] for key in told} == told
            assert metadata["status"] == ("staging" if name == "v1.1.0" else status)
            assert version.model_path.read_bytes() == (ORIGINAL / "versions" / f"model_{name}.pt").read_bytes()
            assert ws.versions.verify_integrity(name)
        assert ws.versions.get_version("v2.0.0").status is VersionStatus.DEPRECATED  # type: ignore[union-attr]
        assert [row["version"] for row in ws.versions.lineage("v2.0.0")["ancestors"]] == names[1:]
        assert [v.version for v in ws.versions.list_versions(tags=["baseline"])] == ["v1.0.0"]


def test_the_registry_counts_where_the_metadata_disagrees(models: Path) -> None:
    report = import_legacy(models, timezone="UTC")
    assert any("metadata_v1.1.0.json" in note and "the registry counts" in note for note in report.notes)
    with Workspace.open(models) as ws:
        entry = ws.registry.get_entry("v1.1.0")
        assert entry is not None
        assert entry.stage is ModelStage.STAGING
        assert (entry.health_status, entry.performance_metrics["avg_latency_ms"]) == ("unhealthy", 150.0)
        assert entry.last_health_check == datetime(2026, 11, 22, 20, 10, 1, 646691, tzinfo=UTC)
        assert (entry.promoted_by, entry.registered_by, entry.tags) == ("ayse", "ayse", ["ids"])
        assert ws.registry.get_entry("v2.0.0") is None, "it was never registered"
        assert ws.registry.get_entry("v1.0.0").health_status == "unknown", "nobody had looked"  # type: ignore[union-attr]


def test_production_serves_and_is_a_way_back(models: Path, tmp_path: Path) -> None:
    import_legacy(models, timezone="UTC", imported_by="ayse")
    with Workspace.open(models) as ws:
        assert ws.versions.get_production_version().version == "v1.0.0"  # type: ignore[union-attr]
        current = ws.deployments.current()
        assert current is not None
        assert (current.revision, current.weights, current.created_by) == (1, {"v1.0.0": 1.0}, "ayse")
        assert current.evidence["approval"] == "imported"
        assert current.evidence["requests"] == ["req_20261122_200953_v1.0.0"]
        model = tmp_path / "new.pt"
        model.write_bytes(b"new weights")
        ws.versions.create_version(model, "v3", parent_version="v1.0.0")
        ws.versions.promote_version("v3", "staging")
        ws.versions.promote_version("v3", "production")
        event = ws.rollback.execute_rollback("v3", reason="alerts stopped", triggered_by="ayse")
        assert (event.success, event.to_version) == (True, "v1.0.0")


def test_what_version_3_3_rolled_back_from_is_quarantined(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws, ws.kernel.read() as view:
        held = view.versions.get("default", "v1.1.0")
        assert held is not None
        assert held.quarantined_at == datetime(2026, 11, 22, 20, 10, 1, 648479, tzinfo=UTC)
        assert "Health check failed" in held.quarantine_reason
        assert held.known_good_at is None
        others = [v for v in view.versions.all() if v.version != "v1.1.0"]
        assert all(version.quarantined_at is None for version in others)
        assert [v.version for v in others if v.known_good_at is not None] == ["v1.0.0"]


def test_approvals_keep_their_ids_and_the_pending_one_can_be_decided(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws:
        told = json.loads((ORIGINAL / "registry" / "approval_requests.json").read_text())
        assert set(ws.registry.approval_requests) == set(told)
        for request_id, raw in told.items():
            request = ws.registry.approval_requests[request_id]
            for name in ("version", "requested_by", "status", "approved_by", "rejection_reason", "notes"):
                assert getattr(request, name) == raw[name], (request_id, name)
            assert request.requested_at == datetime.fromisoformat(raw["requested_at"]).replace(tzinfo=UTC)
            assert bool(request.digest) == (raw["status"] == "pending"), "3.3 bound nothing to bytes"
        (pending,) = ws.registry.get_pending_approvals()
        assert pending.request_id == "req_20261122_200958_v_20261122_200950"
        assert pending.digest == ws.versions.get_version(pending.version).metadata.file_hash  # type: ignore[union-attr]
        entry = ws.registry.approve_promotion(pending.request_id, "ayse")
        assert entry.stage is ModelStage.STAGING


def test_ab_tests_keep_their_totals_and_can_go_on(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws:
        for path in sorted((ORIGINAL / "ab_tests").glob("*.json")):
            told = json.loads(path.read_text())
            test = ws.ab_tests.get_test(told["test_id"])
            assert test is not None
            for name in ("test_name", "model_a", "model_b", "traffic_split", "status", "min_samples", "created_by"):
                assert getattr(test, name) == told[name]
            assert test.started_at == datetime.fromisoformat(told["started_at"]).replace(tzinfo=UTC)
            results = ws.ab_tests.get_test_results(told["test_id"])
            for arm in ("metrics_a", "metrics_b"):
                for name, value in told[arm].items():
                    if name not in {"computed_metrics", "custom_metrics"}:
                        assert results[arm][name] == pytest.approx(value), (arm, name)
                assert results[arm]["computed_metrics"]["f1_score"] == pytest.approx(
                    told[arm]["computed_metrics"]["f1_score"]
                )
            assert test.winner is None, "two arms with nearly the same F1 carry no verdict"
        completed = ws.ab_tests.get_test_results("test_20261122_200959")
        assert any("v1.0.0 the winner" in remark for remark in completed["warnings"]), "what 3.3 said stays readable"
        ws.ab_tests.resume_test("test_20261122_201000")
        ws.ab_tests.record_result(
            "test_20261122_201000", "v1.2.0-rc1", True, 12.0, confidence=0.9, true_label=1, predicted_label=1
        )
        after = ws.ab_tests.get_test_results("test_20261122_201000")
        assert (after["metrics_b"]["total_requests"], after["metrics_b"]["true_positives"]) == (33, 6)
        assert examine(ws.kernel).check("A/B statistics").status is Status.PASS


def test_rollback_history_is_kept(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws:
        (event,) = ws.rollback.get_rollback_history()
        assert (event.event_id, event.from_version, event.to_version) == (
            "rollback_20261122_201001",
            "v1.1.0",
            "v1.0.0",
        )
        assert (event.reason, event.triggered_by, event.success) == ("Health check failed", "system", True)
        assert event.details["rollback_method"] == "automated"


def test_every_entity_is_on_record_as_imported(models: Path) -> None:
    import_legacy(models, timezone="UTC", imported_by="ayse")
    with Workspace.open(models) as ws:
        actions = [record.action for record in ws.audit.records(limit=1000)]
        made = {name: actions.count(f"legacy:{name}:import") for name in ("version", "entry", "approval", "ab_test")}
        assert made == {"version": 5, "entry": 4, "approval": 6, "ab_test": 2}
        assert actions.count("legacy:rollback:import") == actions.count("legacy:deployment:import") == 1
        assert {record.actor.name for record in ws.audit.records(limit=1000)[:-1]} == {"ayse"}
        trail = ws.registry.get_audit_trail("v1.0.0")
        assert trail["events"][0]["action"] == "legacy:version:import"
        assert trail["events"][0]["digest"] == trail["version_metadata"]["file_hash"]


def test_a_second_import_finds_nothing_new(models: Path) -> None:
    import_legacy(models, timezone="UTC")
    with Workspace.open(models) as ws:
        before = ws.audit.verify()
    files = snapshot(models)
    again = import_legacy(models, timezone="UTC")
    assert (sum(count(again).values()), {kind: len(names) for kind, names in again.unchanged.items()}) == (0, KINDS)
    assert str(again).startswith("Nothing new to import; 19 imported before")
    with Workspace.open(models) as ws:
        assert ws.audit.verify().root == before.root
    assert {name: digest for name, digest in snapshot(models).items() if "db" not in name} == {
        name: digest for name, digest in files.items() if "db" not in name
    }


def test_naive_times_are_local_and_the_zone_can_be_named(models: Path, tmp_path: Path) -> None:
    import_legacy(models, tmp_path / "istanbul", timezone="Europe/Istanbul")
    program = (
        "import sys; from sentinelzer0.maintenance.legacy import import_legacy; import_legacy(sys.argv[1], sys.argv[2])"
    )
    local = {**os.environ, "TZ": "EST5", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program, str(models), str(tmp_path / "local")], check=True, env=local)
    written = datetime(2026, 11, 22, 20, 9, 47, 677763, tzinfo=UTC)
    for name, hours in (("istanbul", -3), ("local", 5)):
        with Workspace.open(tmp_path / name) as ws:
            assert ws.versions.get_version("v1.0.0").metadata.created_at == written + timedelta(hours=hours)  # type: ignore[union-attr]
    with pytest.raises(InvalidInputError, match="no time zone"):
        import_legacy(models, tmp_path / "x", timezone="Mars/Olympus")
    assert not (tmp_path / "x").exists()


def test_another_directory_may_take_it_and_the_source_is_only_read(models: Path, tmp_path: Path) -> None:
    before = snapshot(models)
    report = import_legacy(models, tmp_path / "ws", timezone="UTC")
    assert (count(report), snapshot(models)) == (KINDS, before)
    with Workspace.open(tmp_path / "ws") as ws:
        assert examine(ws.kernel).failures == ()
    with pytest.raises(LegacyWorkspaceError):
        Workspace.open(models)


@pytest.mark.postgres
def test_postgresql_takes_it_too(models: Path, tmp_path: Path, postgres: PostgresServer) -> None:
    with postgres.database() as url:
        location = f"{url}&blobs={tmp_path / 'ws'}"
        assert count(import_legacy(models, location, timezone="UTC")) == KINDS
        assert sum(count(import_legacy(models, location, timezone="UTC")).values()) == 0
        with Workspace.open(location) as ws:
            assert examine(ws.kernel).failures == ()
            assert ws.deployments.current().weights == {"v1.0.0": 1.0}  # type: ignore[union-attr]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str, dict[str, int]]] = {
    "cut metadata": (
        lambda d: cut(d / "metadata/metadata_v2.0.0.json"),
        "metadata/metadata_v2.0.0.json",
        "not JSON",
        {"versions": 4},
    ),
    "changed bytes": (
        lambda d: flip(d / "versions/model_v2.0.0.pt"),
        "metadata/metadata_v2.0.0.json",
        "bytes were changed",
        {"versions": 4},
    ),
    "missing bytes": (
        lambda d: (d / "versions/model_v2.0.0.pt").unlink(),
        "metadata/metadata_v2.0.0.json",
        "bytes are missing",
        {"versions": 4},
    ),
    "unknown parent": (
        lambda d: edit(d / "metadata/metadata_v2.0.0.json", lambda raw: raw | {"parent_version": "v0"}),
        "metadata/metadata_v2.0.0.json",
        "parent 'v0' is unknown",
        {},
    ),
    "duplicate": (
        lambda d: shutil.copy(d / "metadata/metadata_v2.0.0.json", d / "metadata/metadata_v2.0.0 (1).json"),
        "metadata/metadata_v2.0.0 (1).json",
        "describes v2.0.0",
        {},
    ),
    "metadata of another type": (
        lambda d: (d / "metadata/metadata_v2.0.0.json").write_text("[1, 2]"),
        "metadata/metadata_v2.0.0.json",
        "not hold an object",
        {"versions": 4},
    ),
    "a name that leaves the directory": (
        lambda d: edit(d / "metadata/metadata_v2.0.0.json", lambda raw: raw | {"version": "../v2"}),
        "metadata/metadata_v2.0.0.json",
        "cannot be a version name",
        {"versions": 4},
    ),
    "status of another type": (
        lambda d: edit(d / "metadata/metadata_v2.0.0.json", lambda raw: raw | {"status": ["x"]}),
        "metadata/metadata_v2.0.0.json",
        "status is",
        {"versions": 4},
    ),
    "no time": (
        lambda d: edit(d / "metadata/metadata_v2.0.0.json", lambda raw: raw | {"created_at": "yesterday"}),
        "metadata/metadata_v2.0.0.json",
        "not a time",
        {"versions": 4},
    ),
    "bytes without metadata": (
        lambda d: (d / "versions/model_v9.pt").write_bytes(b"stray"),
        "versions/model_v9.pt",
        "no metadata file",
        {},
    ),
    "cut registry": (
        lambda d: cut(d / "registry/registry.json"),
        "registry/registry.json",
        "not JSON",
        {"entries": 0},
    ),
    "entry with an unknown stage": (
        lambda d: edit(d / "registry/registry.json", lambda raw: raw["v1.2.0-rc1"].update(stage="live")),
        "registry/registry.json",
        "stage is 'live'",
        {"entries": 3},
    ),
    "entry of an unknown version": (
        lambda d: edit(d / "registry/registry.json", lambda raw: raw | {"v7": raw["v1.0.0"] | {"version": "v7"}}),
        "registry/registry.json",
        "'v7', which is not in the workspace",
        {},
    ),
    "cut requests": (
        lambda d: cut(d / "registry/approval_requests.json"),
        "registry/approval_requests.json",
        "not JSON",
        {"requests": 0},
    ),
    "request of an unknown version": (
        lambda d: edit(
            d / "registry/approval_requests.json",
            lambda raw: raw["req_20261122_200957_v1.2.0-rc1"].update(version="v7"),
        ),
        "registry/approval_requests.json",
        "'v7', which is not in the workspace",
        {"requests": 5},
    ),
    "cut A/B test": (
        lambda d: cut(d / "ab_tests/test_20261122_201000.json"),
        "ab_tests/test_20261122_201000.json",
        "not JSON",
        {"ab_tests": 1},
    ),
    "contradicting A/B totals": (
        lambda d: edit(
            d / "ab_tests/test_20261122_201000.json", lambda raw: raw["metrics_a"].update(failed_requests=50)
        ),
        "ab_tests/test_20261122_201000.json",
        "contradict",
        {"ab_tests": 1},
    ),
    "NaN in A/B totals": (
        lambda d: edit(
            d / "ab_tests/test_20261122_201000.json", lambda raw: raw["metrics_a"].update(avg_latency_ms=float("nan"))
        ),
        "ab_tests/test_20261122_201000.json",
        "not a mean",
        {"ab_tests": 1},
    ),
    "cut history": (
        lambda d: cut(d / "rollback/rollback_history.json"),
        "rollback/rollback_history.json",
        "not JSON",
        {"rollbacks": 0},
    ),
    "event without a result": (
        lambda d: edit(d / "rollback/rollback_history.json", lambda raw: raw[0].pop("success") and None),
        "rollback/rollback_history.json",
        "success is None",
        {"rollbacks": 0},
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_stops_nothing_else(name: str, models: Path) -> None:
    harm, file, words, less = DAMAGE[name]
    harm(models)
    before = snapshot(models)
    report = import_legacy(models, timezone="UTC")
    assert [problem.file for problem in report.problems if words in problem.problem] == [file], report.problems
    assert not report.complete
    assert file in str(report.problems[0])
    got = {kind: number for kind, number in count(report).items() if kind != "deployments"}
    assert got == {kind: number for kind, number in (KINDS | less).items() if kind != "deployments"}
    assert before.items() <= snapshot(models).items()
    with Workspace.open(models) as ws:
        assert examine(ws.kernel).failures == ()


def test_a_time_in_the_future_does_not_outrank_what_comes_later(models: Path, tmp_path: Path) -> None:
    def later(raw: Any) -> None:
        raw["v1.0.0"]["promoted_at"] = "2199-01-01T00:00:00"

    edit(models / "registry/registry.json", later)
    import_legacy(models, timezone="UTC")
    model = tmp_path / "new.pt"
    model.write_bytes(b"new weights")
    with Workspace.open(models) as ws:
        ws.versions.create_version(model, "v3")
        ws.versions.promote_version("v3", "staging")
        ws.versions.promote_version("v3", "production")
        assert ws.versions.get_production_version().version == "v3"  # type: ignore[union-attr]


def test_damaged_production_bytes_serve_nothing(models: Path) -> None:
    flip(models / "versions/model_v1.0.0.pt")
    report = import_legacy(models, timezone="UTC")
    assert report.imported["deployments"] == []
    assert any("nothing serves now" in problem.problem for problem in report.problems)
    assert "v1.0.0" not in report.imported["versions"]
    assert any("parent 'v1.0.0' is unknown" in problem.problem for problem in report.problems)
    with Workspace.open(models) as ws:
        assert ws.deployments.current() is None
        left = examine(ws.kernel).check("files of version 3.3")
        assert (left.status, "metadata_v1.0.0.json was not imported" in left.detail) == (Status.WARN, True)


def test_a_repaired_file_is_taken_on_the_second_run(models: Path) -> None:
    flip(models / "versions/model_v2.0.0.pt")
    assert not import_legacy(models, timezone="UTC").complete
    flip(models / "versions/model_v2.0.0.pt")
    report = import_legacy(models, timezone="UTC")
    assert (report.complete, report.imported["versions"]) == (True, ["v2.0.0"])
    with Workspace.open(models) as ws:
        assert examine(ws.kernel).check("files of version 3.3").status is Status.PASS


def test_an_interrupted_import_is_never_shown_as_complete(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PowerCut(BaseException):
        """Nothing catches it."""

    def cut_off(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr("sentinelzer0.maintenance.legacy.import_requests", cut_off)
        with pytest.raises(PowerCut):
            import_legacy(models, timezone="UTC")
    with pytest.raises(LegacyWorkspaceError, match="did not finish"):
        Workspace.open(models)
    report = import_legacy(models, timezone="UTC")
    assert (len(report.unchanged["versions"]), len(report.imported["requests"])) == (5, 6)
    with Workspace.open(models) as ws:
        assert examine(ws.kernel).failures == ()


def test_a_strict_policy_takes_nothing_straight_into_production(models: Path, tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "ws") as ws:
        ws.registry.set_policy("strict", set_by="ayse", reason="we mean it")
    report = import_legacy(models, tmp_path / "ws", timezone="UTC")
    assert report.imported["deployments"] == []
    assert any("comes in as staging" in note for note in report.notes)
    with Workspace.open(tmp_path / "ws") as ws:
        assert ws.deployments.current() is None
        assert ws.registry.get_entry("v1.0.0").stage is ModelStage.STAGING  # type: ignore[union-attr]


def test_a_version_here_under_the_same_name_stays(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(b"something else")
    with Workspace.open(tmp_path / "ws") as ws:
        ws.versions.create_version(other, "v2.0.0")
    report = import_legacy(models, tmp_path / "ws", timezone="UTC")
    assert any("another version called v2.0.0" in problem.problem for problem in report.problems)
    with Workspace.open(tmp_path / "ws") as ws:
        assert ws.versions.get_version("v2.0.0").model_path.read_bytes() == b"something else"  # type: ignore[union-attr]


def test_odd_names_tags_and_metrics_are_noted_not_guessed(models: Path) -> None:
    path = models / "metadata/metadata_v2.0.0.json"
    odd = {"created_by": "team/red", "tags": ["good", "a/b"], "training_metrics": {"f1": float("nan"), "auc": 0.9}}
    edit(path, lambda raw: raw | odd)
    report = import_legacy(models, timezone="UTC")
    assert report.complete
    noted = [note for note in report.notes if "metadata_v2.0.0.json" in note]
    assert len(noted) == 3
    with Workspace.open(models) as ws:
        metadata = ws.versions.get_version("v2.0.0").metadata  # type: ignore[union-attr]
        assert (metadata.created_by, metadata.tags, metadata.training_metrics) == ("unknown", ["good"], {"auc": 0.9})


def test_a_directory_without_such_files_is_refused_with_a_hint(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        import_legacy(tmp_path)
    assert str(models) in refused.value.hint
    assert not (tmp_path / "sentinelzer0.db").exists()


def test_events_of_one_second_both_stay(models: Path, tmp_path: Path) -> None:
    edit(models / "rollback/rollback_history.json", lambda raw: [raw[0], raw[0] | {"strategy": "gradual"}])
    report = import_legacy(models, timezone="UTC", clock=FakeClock())
    assert report.imported["rollbacks"] == ["rollback_20261122_201001", "rollback_20261122_201001-2"]
    assert any("gradual" in note for note in report.notes)


def test_a_long_line_of_parents_comes_in_order(tmp_path: Path) -> None:
    """Each version has the next number as its parent, so the order of creation is the wrong one."""
    names = [f"v{number}" for number in range(1500)]
    (tmp_path / "metadata").mkdir()
    for number, name in enumerate(names):
        described = json.loads((ORIGINAL / "metadata" / "metadata_v1.0.0.json").read_text())
        described |= {"version": name, "created_at": f"2026-01-01T00:{number // 60:02}:{number % 60:02}"}
        described["parent_version"] = f"v{number + 1}" if number < 1499 else None
        (tmp_path / "metadata" / f"metadata_{name}.json").write_text(json.dumps(described))
    found = find_versions(LegacyDirectory(tmp_path, UTC, Findings()))
    assert [version.name for version in found] == names[::-1]
