"""A workspace whose database is gone comes back from its files; what cannot come back is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sentinelzer0.errors import AlreadyExistsError, CorruptWorkspaceError, InvalidInputError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.legacy import import_legacy
from sentinelzer0.maintenance.rebuild import Rebuilt, rebuild
from sentinelzer0.workspace import Workspace
from tests.postgres import PostgresServer

LEGACY = Path(__file__).parents[1] / "data" / "legacy_3_3" / "models"


@pytest.fixture
def root(tmp_path: Path, model_file: Path) -> Path:
    """Return a closed workspace: v1 in production with approval, a directory v2, an A/B test, an export, a checkpoint."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights").write_bytes(b"w" * 100)
    with Workspace.open(tmp_path / "ws") as ws:
        ws.versions.create_version(model_file, "v1", created_by="ayse", tags=["baseline"], notes="first")
        ws.versions.create_version(bundle, "v2", parent_version="v1", training_metrics={"f1": 0.9})
        ws.registry.register_model("v1", "staging", registered_by="ayse")
        request = ws.registry.request_promotion("v1", "production", "ayse")
        ws.registry.approve_promotion(request.request_id, "mehmet")
        test = ws.ab_tests.create_test("old or new", "v1", "v2")
        ws.ab_tests.start_test(test.test_id)
        ws.ab_tests.record_result(test.test_id, "v1", True, 5.0)
        ws.audit.export(ws.kernel.layout.registry / "exports" / "000009")
        ws.audit.checkpoint()
    return tmp_path / "ws"


def state_of(kernel: Kernel) -> dict[str, list[str]]:
    with kernel.read() as view:
        rows = {table: view.state.rows(table) for table in view.state.keys}
        return {table: sorted(json.dumps(row, sort_keys=True) for _, row in found) for table, found in rows.items()}


def log_of(kernel: Kernel) -> list[str]:
    with kernel.read() as view:
        return [body for _, body in view.audit.bodies()]


def lose_database(root: Path) -> None:
    (root / "sentinelzer0.db").unlink()


def damage_database(root: Path) -> None:
    path = root / "sentinelzer0.db"
    data = bytearray(path.read_bytes())
    data[:100] = b"\0" * 100
    path.write_bytes(data)


def no_failures(result: Rebuilt) -> bool:
    assert result.report is not None
    return result.report.failures == ()


@pytest.mark.parametrize("harm", [lose_database, damage_database])
def test_everything_on_record_comes_back_and_the_same_log_goes_on(harm: object, root: Path, model_file: Path) -> None:
    with Workspace.open(root) as ws:
        state, log, identity = state_of(ws.kernel), log_of(ws.kernel), ws.kernel.workspace_id
        note = next(ws.kernel.layout.checkpoints.glob("*.note")).read_text()
    damaged = (root / "sentinelzer0.db").read_bytes()
    harm(root)  # type: ignore[operator]
    with pytest.raises(CorruptWorkspaceError):
        Workspace.open(root)
    result = rebuild(root, actor="ayse")
    assert (result.records, result.versions, result.recovered) == (len(log), 2, [])
    assert no_failures(result)
    assert any("What 1 A/B test measured is lost" in problem for problem in result.problems)
    with Workspace.open(root) as ws:
        assert log_of(ws.kernel)[: len(log)] == log
        assert (state_of(ws.kernel), ws.kernel.workspace_id) == (state, identity)
        assert ws.audit.verify().checkpoints == 1, "the old checkpoint still vouches for the log"
        assert ws.kernel.signer().verify(note)
        assert ws.audit.consistency_proof(len(log))["size"] == len(log) + 1
        (record,) = ws.audit.records(limit=1)
        assert (record.action, record.actor.name) == ("workspace:catalogue:rebuild", "ayse")
        assert [v.version for v in ws.versions.list_versions(tags=["baseline"])] == ["v1"]
        ws.versions.create_version(model_file, "v3")
        (test,) = ws.ab_tests.list_tests()
        ws.ab_tests.record_result(test.test_id, "v1", True, 5.0)
        assert ws.ab_tests.get_test_results(test.test_id)["metrics_a"]["total_requests"] == 1
    kept = [Path(path) for path in result.aside if path.endswith("sentinelzer0.db")]
    if harm is damage_database:
        assert kept[0].read_bytes()[100:] == damaged[100:], "damaged, but never deleted"
    else:
        assert kept == []
    assert json.loads(json.dumps(result.to_dict()))["root"] == result.root


def test_what_came_after_the_export_is_recovered_as_far_as_files_tell(root: Path, model_file: Path) -> None:
    with Workspace.open(root) as ws:
        ws.versions.create_version(model_file, "v3", parent_version="v2", training_metrics={"f1": 0.95}, tags=["late"])
        ws.versions.promote_version("v2", "staging")
        ws.audit.checkpoint()
        before = ws.versions.get_version("v3")
        assert before is not None
    lose_database(root)
    result = rebuild(root)
    assert result.recovered == ["v3"]
    assert any("the changes between them are lost" in problem for problem in result.problems)
    assert any(path.endswith(".note") for path in result.aside)
    assert no_failures(result)
    with Workspace.open(root) as ws:
        after = ws.versions.get_version("v3")
        assert after is not None
        lost = {"status": "development", "tags": [], "notes": ""}
        assert after.metadata.to_dict() == before.metadata.to_dict() | lost
        assert ws.versions.verify_integrity("v3")
        assert ws.versions.get_version("v2").stage == "none", "its promotion was not exported"  # type: ignore[union-attr]


def test_without_an_export_only_the_catalogue_comes_back(root: Path) -> None:
    with Workspace.open(root) as ws:
        identity = ws.kernel.workspace_id
    shutil.rmtree(root / "registry" / "exports")
    lose_database(root)
    result = rebuild(root)
    assert (result.export, result.records, result.recovered) == ("", 0, ["v1", "v2"])
    (said,) = [problem for problem in result.problems if "No audit export was found" in problem]
    assert str(root / "registry" / "exports") in said, "where it looked"
    assert no_failures(result)
    with Workspace.open(root) as ws:
        assert ws.kernel.workspace_id != identity, "another log must not pass for the lost one"
        assert {version.stage for version in ws.versions.list_versions()} == {"none"}
        assert ws.deployments.current() is None
        assert ws.versions.get_version("v2").metadata.parent_version == "v1"  # type: ignore[union-attr]
    assert {Path(path).name for path in result.aside} >= {"audit.vkey"}


def test_damaged_bytes_do_not_come_back_as_a_version(root: Path) -> None:
    shutil.rmtree(root / "registry" / "exports")
    with Workspace.open(root) as ws:
        path = ws.kernel.blobs.path(ws.versions.get_version("v1").metadata.file_hash)  # type: ignore[union-attr]
    lose_database(root)
    path.chmod(0o644)
    path.write_bytes(b"something else")
    result = rebuild(root)
    assert result.recovered == ["v2"]
    assert any(problem.startswith("v1 did not come back") for problem in result.problems)


EXPORT_HARMS = {
    "a changed record": lambda body: body.replace('"ayse"', '"eve"', 1),
    "a missing record": lambda body: "".join(body.splitlines(keepends=True)[:2] + body.splitlines(keepends=True)[3:]),
    "a cut export": lambda body: body[: len(body) // 2],
    "fewer records than signed": lambda body: "".join(body.splitlines(keepends=True)[:-1]),
    "not canonical": lambda body: body.replace('{"action"', '{ "action"', 1),
}


@pytest.mark.parametrize("name", EXPORT_HARMS)
def test_an_unsound_export_is_named_and_an_older_one_used(name: str, root: Path) -> None:
    with Workspace.open(root) as ws:
        ws.versions.edit_version("v2", notes="after the export")
        ws.audit.export(ws.kernel.layout.registry / "exports" / "000010")
    path = root / "registry" / "exports" / "000010" / "audit.ndjson"
    path.write_text(EXPORT_HARMS[name](path.read_text()))
    lose_database(root)
    result = rebuild(root)
    assert result.export.endswith("000009")
    assert any(problem.startswith("The export 000010 was not used") for problem in result.problems)
    assert no_failures(result)


def test_an_export_signed_by_another_key_is_not_used(root: Path) -> None:
    with Workspace.open(root.parent / "other") as ws:
        foreign = ws.audit.checkpoint()
    (root / "registry" / "exports" / "000009" / "checkpoint.note").write_text(foreign)
    lose_database(root)
    result = rebuild(root)
    assert result.export == ""
    assert any("000009 was not used" in problem for problem in result.problems)


def test_a_sound_database_is_left_alone(root: Path, tmp_path: Path) -> None:
    before = (root / "sentinelzer0.db").read_bytes()
    with pytest.raises(InvalidInputError, match="is sound"):
        rebuild(root)
    assert (root / "sentinelzer0.db").read_bytes() == before
    with pytest.raises(InvalidInputError, match="neither an audit export nor metadata"):
        rebuild(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_database_that_was_replaced_by_an_empty_one_is_rebuilt(root: Path, tmp_path: Path) -> None:
    Kernel(tmp_path / "fresh").close()
    shutil.copy(tmp_path / "fresh" / "sentinelzer0.db", root / "sentinelzer0.db")
    assert rebuild(root).versions == 2


def test_totals_of_imported_tests_come_back(tmp_path: Path) -> None:
    ws_dir = tmp_path / "ws"
    import_legacy(LEGACY, ws_dir, timezone="UTC")
    with Workspace.open(ws_dir) as ws:
        tests = [test.test_id for test in ws.ab_tests.list_tests()]
        before = [ws.ab_tests.get_test_results(test_id)["metrics_a"] for test_id in tests]
        ws.audit.export(ws.kernel.layout.registry / "exports" / "1")
    lose_database(ws_dir)
    result = rebuild(ws_dir)
    assert no_failures(result)
    assert result.problems == []
    with Workspace.open(ws_dir) as ws:
        assert [ws.ab_tests.get_test_results(test_id)["metrics_a"] for test_id in tests] == before


@pytest.mark.postgres
def test_a_lost_postgresql_database_is_rebuilt(root: Path, postgres: PostgresServer) -> None:
    with Workspace.open(root) as ws:
        state = state_of(ws.kernel)
    lose_database(root)
    with postgres.database() as url:
        location = f"{url}&blobs={root}"
        assert no_failures(rebuild(location))
        with Workspace.open(location) as ws:
            assert state_of(ws.kernel) == state
        with pytest.raises(AlreadyExistsError):
            rebuild(location)
