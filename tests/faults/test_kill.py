"""``kill -9`` at every statement and every change of a file: a use case happened or did not, never in between."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import AlreadyExistsError, SentinelError
from sentinelzer0.workspace import Workspace
from tests.faults.crash import CASES, die_at, run
from tests.processes import fork, wait
from tests.workspace_state import AUDIT, require_sound, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

SCALE = int(os.environ.get("SENTINELZER0_TEST_SCALE", "1"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "workspace")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield f"{url}&blobs={tmp_path / 'workspace'}"


def without_log(workspace: Workspace) -> dict[str, object]:
    return {name: rows for name, rows in tables(workspace.kernel).items() if name not in AUDIT | {"verifications"}}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_point_it_happened_or_did_not(place: str, tmp_path: Path, case: str) -> None:
    workspace = Workspace.open(place)
    steps = 1 if SCALE > 1 else 4 if workspace.kernel.database.is_sqlite else 16
    seen = {True: 0, False: 0}
    for number in count(1):
        subject = CASES[case].prepare(workspace, tmp_path, number)
        before, records = without_log(workspace), tables(workspace.kernel)["audit_records"]

        def work(number: int = number, subject: str = subject) -> None:
            die_at(1 + (number - 1) * steps)
            run(place, tmp_path, case, subject)

        status = wait(fork(work))
        assert status in {0, -signal.SIGKILL}
        happened = CASES[case].happened(workspace, subject)
        if happened:
            assert case == "record" or len(tables(workspace.kernel)["audit_records"]) == len(records) + 1
        else:
            assert status != 0, "what was acknowledged is there"
            assert without_log(workspace) == before
            assert tables(workspace.kernel)["audit_records"] == records
        require_sound(workspace.kernel)
        seen[happened] += 1
        if status == 0:
            break
        if not happened:
            run(place, tmp_path, case, subject)
            assert CASES[case].happened(workspace, subject), "what did not happen can be done"
    assert seen[False] > 1, "it died before the commit"
    assert seen[True] >= 1
    workspace.close()


def test_killed_while_a_workspace_is_made(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"x")
    for number in count(1, 1 if SCALE > 1 else 5):
        place = tmp_path / f"workspace{number}"

        def work(number: int = number, place: Path = place) -> None:
            die_at(number)
            Workspace.open(place)

        status = wait(fork(work))
        with Workspace.open(place) as workspace:
            workspace.versions.create_version(model, "v1")
            require_sound(workspace.kernel)
            assert len(tables(workspace.kernel)["audit_records"]) == 2
        if status == 0:
            break


def test_a_child_killed_inside_a_transaction_blocks_nobody(place: str, tmp_path: Path) -> None:
    workspace = Workspace.open(place)
    before = tables(workspace.kernel)

    def work() -> None:
        with Workspace.open(place).kernel.begin("ana", "a:b:c") as tx:
            tx.record()
            os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(work)) == -signal.SIGKILL
    assert tables(workspace.kernel) == before
    workspace.versions.create_version(_model(tmp_path), "v1")
    with pytest.raises(AlreadyExistsError) as caught:
        workspace.versions.create_version(_model(tmp_path), "v1")
    assert isinstance(caught.value, SentinelError)
    require_sound(workspace.kernel)
    workspace.close()


def _model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path
