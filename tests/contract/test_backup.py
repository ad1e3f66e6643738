"""A backup made while others write is complete, checked to the byte, and comes back on either backend."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinelzer0.domain.signed_note import Checkpoint
from sentinelzer0.errors import (
    AlreadyExistsError,
    CorruptWorkspaceError,
    IntegrityError,
    InvalidInputError,
    StorageFullError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.backup import Backup, backup, restore, verify_backup
from sentinelzer0.maintenance.doctor import examine
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager
from tests.postgres import PostgresServer


@pytest.fixture
def busy(kernel: Kernel, model_file: Path, tmp_path: Path) -> Kernel:
    """Return a workspace with versions, registry, a deployment, a measured A/B test and a checkpoint."""
    manager = ModelVersionManager(kernel=kernel)
    registry = ModelRegistry(manager)
    bundle = tmp_path / "bundle"
    (bundle / "deep").mkdir(parents=True)
    (bundle / "deep" / "weights").write_bytes(b"w" * 5000)
    (bundle / "empty").write_bytes(b"")
    manager.create_version(model_file, "v1", created_by="ayse", tags=["baseline"])
    manager.create_version(bundle, "v2", created_by="ayse", parent_version="v1")
    registry.register_model("v1", "staging", registered_by="ayse")
    request = registry.request_promotion("v1", "production", "ayse")
    registry.approve_promotion(request.request_id, "mehmet")
    registry.attach_evidence("v1", model_file, "scan", "ayse", passed=True)
    tests = ABTestManager(kernel=kernel)
    test = tests.create_test("old or new", "v1", "v2")
    tests.start_test(test.test_id)
    rows = [
        {"model_version": f"v{1 + i % 2}", "success": True, "latency_ms": 5.0 + i, "custom_metrics": {"x": i}}
        for i in range(50)
    ]
    tests.record_results(test.test_id, rows)
    AuditTrail(kernel).checkpoint()
    return kernel


def state_of(kernel: Kernel) -> dict[str, list[str]]:
    with kernel.read() as view:
        return {
            table: sorted(json.dumps(row, sort_keys=True) for _, row in view.state.rows(table))
            for table in view.state.keys
        }


def check_restored(original: Kernel, location: str | Path, state: dict[str, list[str]], made: Backup) -> None:
    with_log = Kernel(location)
    try:
        assert state_of(with_log) == state
        assert with_log.workspace_id == original.workspace_id
        with with_log.read() as view, original.read() as source:
            copied = [body for _, body in view.audit.bodies(0, made.records)]
            assert copied == [body for _, body in source.audit.bodies(0, made.records)], "the same log goes on"
        assert AuditTrail(with_log).verify().intact
        tests = ABTestManager(kernel=with_log)
        (test,) = tests.list_tests()
        mine = ABTestManager(kernel=original).get_test_results(test.test_id)
        assert tests.get_test_results(test.test_id) == mine
        manager = ModelVersionManager(kernel=with_log)
        assert manager.verify_integrity("v1")
        assert manager.verify_integrity("v2")
        assert (manager.get_version("v2").model_path / "empty").read_bytes() == b""  # type: ignore[union-attr]
        assert manager.create_version(next((Path(manager.base_dir) / "versions" / "v1").iterdir()), "v3")
        assert examine(with_log).failures == ()
    finally:
        with_log.close()


def test_a_backup_comes_back_into_a_directory(busy: Kernel, tmp_path: Path) -> None:
    state = state_of(busy)
    made = backup(busy, tmp_path / "backup", actor="ayse")
    assert (made.blobs, made.signed) == (4, True)
    assert any("signing key is not in the backup" in remark for remark in made.remarks)
    assert verify_backup(tmp_path / "backup") == made
    (record,) = AuditTrail(busy).records(limit=1)
    assert (record.action, record.actor.name, record.detail["root"]) == ("workspace:backup:create", "ayse", made.root)
    restored = restore(tmp_path / "backup", tmp_path / "again", actor="mehmet")
    assert restored.report.failures == ()
    assert json.loads(json.dumps(restored.to_dict()))["backup"]["root"] == made.root
    check_restored(busy, tmp_path / "again", state, made)


@pytest.mark.postgres
def test_a_backup_comes_back_into_postgresql(busy: Kernel, tmp_path: Path, postgres: PostgresServer) -> None:
    state = state_of(busy)
    made = backup(busy, tmp_path / "backup")
    with postgres.database() as url:
        location = f"{url}&blobs={tmp_path / 'again'}"
        assert restore(tmp_path / "backup", location).report.failures == ()
        assert not (tmp_path / "again" / "sentinelzer0.db").exists()
        check_restored(busy, location, state, made)
        with pytest.raises(AlreadyExistsError):
            restore(tmp_path / "backup", f"{url}&blobs={tmp_path / 'third'}")
        assert not (tmp_path / "third").exists()


def test_the_signed_checkpoint_is_over_the_log_in_the_backup(busy: Kernel, tmp_path: Path) -> None:
    made = backup(busy, tmp_path / "backup")
    note = (tmp_path / "backup" / "checkpoint.note").read_text()
    checkpoint = Checkpoint.from_body(busy.signer().verify(note))
    assert (checkpoint.size, checkpoint.root.hex()) == (made.records, made.root)
    assert not list((tmp_path / "backup").rglob("*.key"))


def test_a_backup_without_the_signing_key_says_so(busy: Kernel, tmp_path: Path) -> None:
    busy.signing_key_file().unlink()
    made = backup(busy, tmp_path / "backup")
    assert not made.signed
    assert any("not signed" in remark for remark in made.remarks)
    assert restore(tmp_path / "backup", tmp_path / "again").report.failures == ()


def test_others_go_on_writing_meanwhile(busy: Kernel, tmp_path: Path, model_file: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        manager = ModelVersionManager(kernel=busy)
        tests = ABTestManager(kernel=busy)
        (test,) = tests.list_tests()
        number = 0
        try:
            while not stop.is_set():
                manager.create_version(model_file, f"w{number}")
                tests.record_result(test.test_id, "v1", True, 1.0)
                number += 1
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(busy, tmp_path / f"backup{i}") for i in range(3)]
    finally:
        stop.set()
        writer.join()
    assert failures == []
    assert made[0].records < made[1].records < made[2].records
    for number in range(3):
        report = restore(tmp_path / f"backup{number}", tmp_path / f"again{number}").report
        assert report.failures == ()


def harm_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def harm_manifest_root(directory: Path) -> None:
    path = directory / "manifest.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"root": "0" * 64}))


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed blob": (lambda d: harm_bytes(next((d / "workspace/blobs/sha256").glob("??/*"))), "was changed"),
    "a changed database": (lambda d: harm_bytes(d / "workspace/sentinelzer0.db"), "was changed"),
    "a changed note": (lambda d: harm_bytes(d / "checkpoint.note"), "was changed"),
    "a missing blob": (lambda d: next((d / "workspace/blobs/sha256").glob("??/*")).unlink(), "is missing"),
    "a foreign file": (lambda d: (d / "workspace/extra").write_text("x"), "does not belong to it"),
    "a link": (lambda d: (d / "workspace/link").symlink_to("/etc/passwd"), "does not belong to it"),
    "no manifest": (lambda d: (d / "manifest.json").unlink(), "interrupted"),
    "a cut manifest": (lambda d: (d / "manifest.json").write_text('{"format'), "cannot be read"),
    "another manifest": (lambda d: (d / "manifest.json").write_text('{"format": "tar"}'), "not a manifest"),
    "another log in the manifest": (harm_manifest_root, "signs another audit log"),
}


@pytest.mark.parametrize("name", HARMS)
def test_a_damaged_backup_touches_nothing(name: str, busy: Kernel, tmp_path: Path) -> None:
    harm, words = HARMS[name]
    backup(busy, tmp_path / "backup")
    harm(tmp_path / "backup")
    before = set(tmp_path.iterdir())
    with pytest.raises(CorruptWorkspaceError, match=words):
        restore(tmp_path / "backup", tmp_path / "again")
    assert set(tmp_path.iterdir()) == before


def test_a_database_swapped_together_with_its_digest_is_refused(busy: Kernel, tmp_path: Path) -> None:
    backup(busy, tmp_path / "backup")
    ModelVersionManager(kernel=busy).promote_version("v2", "staging", promoted_by="eve")
    backup(busy, tmp_path / "later")
    old, new = tmp_path / "backup", tmp_path / "later"
    (old / "workspace/sentinelzer0.db").write_bytes((new / "workspace/sentinelzer0.db").read_bytes())
    manifest = json.loads((old / "manifest.json").read_text())
    other = json.loads((new / "manifest.json").read_text())
    manifest["files"]["workspace/sentinelzer0.db"] = other["files"]["workspace/sentinelzer0.db"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    before = set(tmp_path.iterdir())
    with pytest.raises(CorruptWorkspaceError, match="audit log in the backup is not sound"):
        restore(old, tmp_path / "again")
    assert set(tmp_path.iterdir()) == before


def test_neither_side_overwrites_anything(busy: Kernel, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    with pytest.raises(InvalidInputError, match="not an empty directory"):
        backup(busy, full)
    with pytest.raises(InvalidInputError, match="inside the workspace"):
        backup(busy, busy.layout.root / "backup")
    made = tmp_path / "backup"
    made.mkdir()
    backup(busy, made)
    with pytest.raises(InvalidInputError, match="not an empty directory"):
        restore(made, full)
    with pytest.raises(InvalidInputError, match="not an empty directory"):
        restore(made, busy.layout.root)
    assert [path.name for path in full.iterdir()] == ["mine"]
    os.mkdir(tmp_path / "empty")  # noqa: PTH102
    assert restore(made, tmp_path / "empty").report.failures == ()


def test_an_interrupted_backup_leaves_nothing_behind(busy: Kernel, tmp_path: Path) -> None:
    class Interrupted(BaseException):
        """Nothing catches it."""

    def cut_off(done: int, _total: int) -> None:
        if done:
            assert (tmp_path / "backup" / "workspace" / "sentinelzer0.db").exists()
            raise Interrupted

    with pytest.raises(Interrupted):
        backup(busy, tmp_path / "backup", progress=cut_off)
    assert list((tmp_path / "backup").iterdir()) == []


def test_a_killed_backup_does_not_look_complete(busy: Kernel, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        backup(busy, tmp_path / "backup", progress=lambda done, _: done and os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert (tmp_path / "backup" / "workspace" / "sentinelzer0.db").exists()
    with pytest.raises(CorruptWorkspaceError, match="interrupted"):
        restore(tmp_path / "backup", tmp_path / "again")


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    busy: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sentinelzer0.maintenance.backup.shutil.copyfile", full)
    with pytest.raises(StorageFullError):
        backup(busy, tmp_path / "backup")
    assert list((tmp_path / "backup").iterdir()) == []


def test_damaged_bytes_stop_a_backup(busy: Kernel, tmp_path: Path) -> None:
    digest = ModelVersionManager(kernel=busy).get_version("v1").metadata.file_hash  # type: ignore[union-attr]
    harm_bytes(busy.blobs.path(digest))
    with pytest.raises(IntegrityError, match="changed"):
        backup(busy, tmp_path / "backup")
    busy.blobs.path(digest).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        backup(busy, tmp_path / "backup2")
    assert not (tmp_path / "backup" / "manifest.json").exists()


def test_progress_ends_at_the_total(busy: Kernel, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    backup(busy, tmp_path / "backup", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] > 5000
