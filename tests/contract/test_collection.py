"""Collection removes what nobody refers to, by age, and puts on record what it removed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.collection import collect
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock


@pytest.fixture
def manager(kernel: Kernel, tmp_path: Path) -> ModelVersionManager:
    """Return a workspace with a file, a directory and evidence whose readable files are gone."""
    manager = ModelVersionManager(kernel=kernel)
    (tmp_path / "one.pt").write_bytes(b"one")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "a").write_bytes(b"member a")
    (bundle / "b").write_bytes(b"member b")
    (tmp_path / "scan.txt").write_text("clean")
    manager.create_version(tmp_path / "one.pt", "v1")
    manager.create_version(bundle, "v2")
    ModelRegistry(manager).attach_evidence("v1", tmp_path / "scan.txt", "scan", "ayse", passed=True)
    for name in ("v1", "v2"):
        kernel.blobs.remove_view(kernel.layout.version_directory("default", name))
    return manager


def blobs(kernel: Kernel) -> set[str]:
    return {path.name for path in (kernel.layout.root / "blobs" / "sha256").glob("??/*")}


def test_only_old_unreferenced_blobs_go_and_it_is_on_record(
    kernel: Kernel, manager: ModelVersionManager, clock: FakeClock
) -> None:
    kept = blobs(kernel)
    assert len(kept) == 5, "a file, a manifest and its two members, evidence"
    old = kernel.blobs.put_bytes(b"old orphan")
    clock.advance(days=8)
    young = kernel.blobs.put_bytes(b"young orphan")
    planned = collect(kernel, dry_run=True)
    assert (planned.blobs, planned.size, planned.dry_run) == ((old,), 10, True)
    assert blobs(kernel) == kept | {old, young}
    assert AuditTrail(kernel).records(limit=1)[0].action != "workspace:orphans:collect"
    done = collect(kernel, actor="ayse")
    assert (done.blobs, done.size) == ((old,), 10)
    assert blobs(kernel) == kept | {young}
    (record,) = AuditTrail(kernel).records(limit=1)
    assert (record.action, record.actor.name) == ("workspace:orphans:collect", "ayse")
    assert (record.detail["blobs"], record.detail["digests"], record.detail["size"]) == (1, [old], 10)
    assert not collect(kernel)
    assert AuditTrail(kernel).records(limit=1)[0].seq == record.seq, "nothing removed, nothing recorded"
    assert manager.verify_integrity("v1")
    assert manager.verify_integrity("v2")


def test_the_bytes_of_a_deleted_version_go_unless_another_needs_them(
    kernel: Kernel, manager: ModelVersionManager, tmp_path: Path, clock: FakeClock
) -> None:
    digest = manager.get_version("v1").metadata.file_hash  # type: ignore[union-attr]
    manager.create_version(tmp_path / "one.pt", "twin")
    kernel.blobs.remove_view(kernel.layout.version_directory("default", "twin"))
    manager.delete_version("v1")
    clock.advance(days=8)
    assert not collect(kernel)
    manager.delete_version("twin")
    assert collect(kernel).blobs == (digest,)
    assert manager.verify_integrity("v2")


def test_foreign_files_and_young_temporary_files_stay(kernel: Kernel, clock: FakeClock) -> None:
    kernel.blobs.put_bytes(b"makes the directory")
    place = kernel.layout.root / "blobs" / "sha256"
    foreign = [
        place / "notes.txt",
        place / "ab" / "readme",
        kernel.layout.root / "mine.bin",
        kernel.layout.root / "metadata" / "mine.json",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    young, old = kernel.layout.metadata / ".sz0-tmp-2-b.json", kernel.layout.metadata / ".sz0-tmp-1-a.json"
    for path in (young, old):
        path.write_text("{")
    os.utime(old, (0, 0))
    moment = clock.now().timestamp()
    os.utime(young, (moment, moment))
    stale = place / f".sz0-tmp-{int(moment) - 30 * 86400}-1-0123456789abcdef"
    stale.write_text("half")
    found = collect(kernel, timedelta(days=1))
    assert set(found.temps) == {old.name, stale.name}
    assert all(path.exists() for path in [*foreign, young])
    assert not old.exists()
    assert not stale.exists()


def test_a_negative_age_is_refused(kernel: Kernel) -> None:
    with pytest.raises(InvalidInputError, match="older_than"):
        collect(kernel, timedelta(seconds=-1))
