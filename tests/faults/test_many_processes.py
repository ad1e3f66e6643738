"""Sixteen processes at once: nothing lost, nothing doubled, one gap-free log."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import ConflictError, RefusedError
from sentinelzer0.workspace import Workspace
from tests.processes import in_children
from tests.workspace_state import records, require_sound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer

SCALE = int(os.environ.get("SENTINELZER0_TEST_SCALE", "1"))
OUTCOMES = 25 * SCALE


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "workspace")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield f"{url}&blobs={tmp_path / 'workspace'}"


@pytest.mark.timeout(300)
def test_processes_create_promote_approve_and_record_at_once(place: str, tmp_path: Path) -> None:
    with Workspace.open(place) as workspace:
        processes = 16 if workspace.kernel.database.is_sqlite else 8
        test = workspace.ab_tests.create_test("t", "a", "b")
        workspace.ab_tests.start_test(test.test_id)

    def work(number: int) -> None:
        with Workspace.open(place) as own:
            for step in range(2 * SCALE):
                name = f"v{number}-{step}"
                source = tmp_path / name
                source.write_bytes(f"{number % 4} shared by some".encode())
                own.versions.create_version(source, name, f"p{number}", tags=["all", f"p{number}"])
                own.versions.promote_version(name, "staging", promoted_by=f"p{number}")
                own.registry.register_model(name)
                request = own.registry.request_promotion(name, "production", f"p{number}")
                own.registry.approve_promotion(request.request_id, f"q{number}")
            try:
                own.versions.create_version(source, "contended", f"p{number}")
            except RefusedError as error:
                print(error.code)
            rows = [
                {"model_version": "ab"[n % 2], "success": n % 5 > 0, "latency_ms": 1.0, "request_id": f"{number}:{n}"}
                for n in range(OUTCOMES)
            ]
            for row in rows[:10]:
                own.ab_tests.record_result(test.test_id, **row)
            own.ab_tests.record_results(test.test_id, rows[10:])
            own.ab_tests.record_results(test.test_id, rows[:5])  # again: counted once

    in_children(work, processes)
    with Workspace.open(place) as workspace:
        versions = workspace.versions.list_versions()
        expected = {f"v{n}-{s}" for n in range(processes) for s in range(2 * SCALE)} | {"contended"}
        assert Counter(version.version for version in versions) == Counter(expected)
        assert len(workspace.versions.list_versions(tags=["all"])) == len(expected) - 1
        actions = Counter((record.action, record.outcome.value) for record in records(workspace.kernel))
        each = processes * 2 * SCALE
        assert actions["version:content:create", "ok"] == each + 1
        assert actions["version:content:create", "refused"] == processes - 1
        assert actions["registry:promotion:approve", "ok"] == each
        history = workspace.deployments.history()
        assert [d.revision for d in history] == list(range(each, 0, -1))
        assert len({d.version for d in history}) == each
        assert workspace.versions.get_production_version().version == history[0].version
        assert all(workspace.versions.verify_integrity(version.version) for version in versions)
        results = workspace.ab_tests.get_test_results(test.test_id)
        totals = [results[arm]["total_requests"] for arm in ("metrics_a", "metrics_b")]
        failures = [results[arm]["failed_requests"] for arm in ("metrics_a", "metrics_b")]
        assert totals == [processes * len(range(first, OUTCOMES, 2)) for first in (0, 1)]
        assert sum(failures) == processes * len(range(0, OUTCOMES, 5))
        blobs = [path for path in (workspace.versions.base_dir / "blobs" / "sha256").rglob("*") if path.is_file()]
        assert len(blobs) == 4, "the same bytes are kept once"
        require_sound(workspace.kernel)


def test_two_controllers_cannot_both_move_the_traffic(place: str, tmp_path: Path) -> None:
    from sentinelzer0.domain.deployments import Cause
    from sentinelzer0.mlops.deployments import deploy

    (tmp_path / "model").write_bytes(b"x")
    with Workspace.open(place) as workspace:
        workspace.versions.create_version(tmp_path / "model", "v1")
        workspace.versions.promote_version("v1", "staging")
        workspace.versions.promote_version("v1", "production")

    def work(number: int) -> None:
        with Workspace.open(place) as own:
            try:
                with own.kernel.begin(f"p{number}", "deployment:weights:set", "deployment:default/production") as tx:
                    deploy(
                        tx,
                        model="default",
                        environment="production",
                        weights={"v1": 1.0},
                        cause=Cause.PROMOTION,
                        expected=1,
                    )
                    tx.record()
            except ConflictError:
                (tmp_path / f"lost{number}").touch()

    in_children(work, 6)
    assert len(list(tmp_path.glob("lost*"))) == 5
    with Workspace.open(place) as workspace:
        assert workspace.deployments.current().revision == 2
        require_sound(workspace.kernel)
