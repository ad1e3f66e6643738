"""A full disk: a typed error, nothing half-done, and everything works again once there is space."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import StorageFullError
from sentinelzer0.workspace import Workspace
from tests.workspace_state import AUDIT, require_sound, tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "disk"
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", at], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting a small tmpfs needs root: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@contextmanager
def full(disk: Path, leave: int = 0) -> Iterator[None]:
    """Fill the disk but for so many bytes, for a while."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
    with ballast.open("r+b") as stream:
        stream.truncate(max(0, ballast.stat().st_size - leave))
    try:
        yield
    finally:
        ballast.unlink()


def kept(workspace: Workspace) -> dict[str, object]:
    return tables(workspace.kernel)


def test_creating_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(b"w" * 200_000)
    workspace = Workspace.open(disk / "workspace")
    before = kept(workspace)
    failed = 0
    for step in range(40):  # from no space at all to enough for everything: every place where it can end
        try:
            with full(disk, leave=step * 16_384):
                workspace.versions.create_version(source, f"v{step}")
        except StorageFullError:
            failed += 1
            assert kept(workspace) == before
            require_sound(workspace.kernel)
        else:
            assert workspace.versions.get_version(f"v{step}") is not None
            break
    assert failed > 2
    workspace.versions.create_version(source, "after")
    assert workspace.versions.verify_integrity("after")
    require_sound(workspace.kernel)
    workspace.close()


def test_deciding_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(b"w" * 1000)
    workspace = Workspace.open(disk / "workspace")
    workspace.versions.create_version(source, "v1")
    workspace.versions.promote_version("v1", "staging")
    workspace.registry.register_model("v1")
    request = workspace.registry.request_promotion("v1", "production", "ana").request_id
    # Each round writes with less and less room in the write-ahead log; in the end there is none.
    failures = 0
    with full(disk):
        for number in range(60):
            before = kept(workspace)
            try:
                workspace.versions.edit_version("v1", notes="n" * 3000 * number)
            except StorageFullError:
                failures += 1
                assert kept(workspace) == before
                with pytest.raises(StorageFullError):
                    workspace.registry.approve_promotion(request, "ben", "y" * 90_000)
                assert {k: v for k, v in kept(workspace).items() if k not in AUDIT} == {
                    k: v for k, v in before.items() if k not in AUDIT
                }
                assert workspace.versions.get_version("v1").status == "staging", "reading goes on"
                if failures > 2:
                    break
        require_sound(workspace.kernel)
    assert failures > 2
    assert workspace.registry.approve_promotion(request, "ben").stage == "production"
    require_sound(workspace.kernel)
    workspace.close()


def test_opening_on_a_full_disk(disk: Path) -> None:
    with full(disk), pytest.raises(StorageFullError):
        Workspace.open(disk / "workspace")
    with Workspace.open(disk / "workspace") as workspace:
        require_sound(workspace.kernel)
