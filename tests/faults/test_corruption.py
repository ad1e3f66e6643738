"""One flipped bit, wherever it is: it is seen, and nothing built on it reaches traffic."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import CorruptWorkspaceError, IntegrityError, SentinelError, WorkspaceError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.doctor import examine
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.workspace import Workspace
from tests.workspace_state import folded, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights").write_bytes(b"w" * 500)
    (bundle / "threshold").write_bytes(b"0.5")
    with Workspace.open(tmp_path / "workspace") as opened:
        opened.versions.create_version(bundle, "v1")
        opened.versions.promote_version("v1", "staging")
        opened.registry.register_model("v1")
        yield opened


def flip(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.chmod(0o644)
    path.write_bytes(data)


def blobs(workspace: Workspace) -> list[Path]:
    return sorted(p for p in (workspace.versions.base_dir / "blobs" / "sha256").rglob("*") if p.is_file())


@pytest.mark.parametrize("seed", range(9))
def test_a_bit_of_a_blob_or_of_the_manifest(workspace: Workspace, seed: int) -> None:
    request = workspace.registry.request_promotion("v1", "production", "ana").request_id
    found = blobs(workspace)
    assert len(found) == 3
    flip(found[seed % 3], seed)
    assert workspace.versions.verify_integrity("v1") is False
    with pytest.raises(IntegrityError), workspace.versions.open_verified("v1") as model:
        for name in model.names():
            model.read(name)
    for call in (
        lambda: workspace.registry.approve_promotion(request, "ben"),
        lambda: workspace.registry.break_glass("v1", "ana", "outage"),
    ):
        with pytest.raises(IntegrityError):
            call()
    assert workspace.deployments.current() is None
    assert AuditTrail(workspace.kernel).verify().intact, "the refusals are on record"


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_of_an_audit_record(workspace: Workspace, seed: int) -> None:
    """Also one that leaves no valid text behind."""
    chance = random.Random(seed)
    path = workspace.versions.base_dir / "sentinelzer0.db"
    with sqlite3.connect(path) as connection:
        seq = chance.randrange(connection.execute("SELECT COUNT(*) FROM audit_records").fetchone()[0])
        (body,) = connection.execute("SELECT CAST(body AS BLOB) FROM audit_records WHERE seq = ?", (seq,)).fetchone()
        data = bytearray(body)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        connection.execute("UPDATE audit_records SET body = CAST(? AS TEXT) WHERE seq = ?", (bytes(data), seq))
    connection.close()
    try:
        problems = AuditTrail(workspace.kernel).verify().problems
    except CorruptWorkspaceError as error:
        problems = (error.message,)
    assert problems


def test_a_row_that_no_record_explains(workspace: Workspace) -> None:
    path = workspace.versions.base_dir / "sentinelzer0.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE versions SET stage = 'production' WHERE version = 'v1'")
    connection.close()
    assert folded(workspace.kernel) != stored(workspace.kernel)
    assert AuditTrail(workspace.kernel).verify().intact, "the log itself was not touched"
    assert not examine(workspace.kernel).healthy


def test_a_bit_of_a_metadata_file(workspace: Workspace) -> None:
    path = workspace.versions.metadata_dir / "v1.json"
    before = examine(workspace.kernel).warnings
    flip(path, 5)
    assert len(examine(workspace.kernel).warnings) == len(before) + 1
    assert workspace.versions.get_version("v1").metadata.file_size == 503, "the file is derived, not believed"


@pytest.mark.parametrize("seed", range(10))
def test_a_page_of_the_database(workspace: Workspace, seed: int) -> None:
    """A page of rubbish: every answer is right or a typed error, never another exception."""
    place = workspace.versions.base_dir
    workspace.close()
    database = place / "sentinelzer0.db"
    data = bytearray(database.read_bytes())
    chance = random.Random(seed)
    page = chance.randrange(len(data) // 4096)
    data[page * 4096 : (page + 1) * 4096] = chance.randbytes(4096)
    database.write_bytes(data)
    try:
        kernel = Kernel(place)
    except WorkspaceError:
        return
    with Workspace(kernel) as opened:
        for call in (opened.versions.list_versions, opened.registry.get_pending_approvals, opened.audit.verify):
            with suppress(SentinelError):
                call()
