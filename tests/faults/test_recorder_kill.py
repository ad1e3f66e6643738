"""Processes that record and are killed again and again: what a flush acknowledged is there, and nothing is twice.

The full size is 8 processes with 50,000 outcomes each: ``SENTINELZER0_TEST_OUTCOMES=50000``.
"""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sentinelzer0.mlops.recorder import Recorder
from sentinelzer0.workspace import Workspace
from tests.processes import fork, wait
from tests.workspace_state import require_sound, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

OUTCOMES = int(os.environ.get("SENTINELZER0_TEST_OUTCOMES", "2000"))
"""Of each process; PostgreSQL is given a fifth."""
FLUSHES = 25  # of each process, so that it may die between any two
YOUNG_S = 0.5  # how long a process lives at most that is killed after its start
OLD_S = 0.5 if OUTCOMES > 10_000 else 0.1  # … that is killed after the first flush that was acknowledged


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "workspace")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield f"{url}&blobs={tmp_path / 'workspace'}"


@dataclass
class Life:
    """A running process: its number, what was acknowledged when it started, and when it is killed, if that is known."""

    number: int
    before: int
    dies: float | None


def outcome(number: int, row: int) -> dict[str, Any]:
    """The row of that number of a process: always the same one."""
    return {
        "version": "ab"[row % 2],
        "success": row % 7 != 0,
        "latency_ms": float((number * 31 + row * 17) % 400),
        "confidence": row % 8 / 8,
        "true_label": None if row % 3 == 0 else row % 5 == 0,
        "predicted_label": row % 4 == 0,
        "request_id": f"{number}:{row}",
    }


def acknowledged(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


def work(place: str, test_id: str, number: int, outcomes: int, file: Path) -> None:
    """Record from the last acknowledged row on, and write down what a flush acknowledges."""
    with Workspace.open(place) as workspace:
        tests = workspace.ab_tests

        def labels(rows: Any) -> None:
            for row in rows:
                tests.record_label(test_id, row["request_id"], row["true_label"])

        recorder = Recorder(partial(tests.record_results, test_id), labels, batch=500, max_delay_s=0.01)
        start, step = acknowledged(file), max(outcomes // FLUSHES, 1)
        while start < outcomes:
            upto = min(start + step, outcomes)
            for row in range(start, upto):
                assert recorder.record(**outcome(number, row))
            stats = recorder.flush(60)
            assert (stats.refused, stats.pending) == (0, 0)
            new = file.with_suffix(".new")
            new.write_text(str(upto))
            new.replace(file)
            start = upto
        recorder.close()


@pytest.mark.timeout(3600 if OUTCOMES > 10_000 else 300)
def test_killed_recorders_lose_nothing_acknowledged_and_count_nothing_twice(place: str, tmp_path: Path) -> None:
    with Workspace.open(place) as workspace:
        on_sqlite = workspace.kernel.database.is_sqlite
        test_id = workspace.ab_tests.create_test("t", "a", "b", min_samples=10**9).test_id
        workspace.ab_tests.start_test(test_id)
    processes, outcomes = (8, OUTCOMES) if on_sqlite else (4, max(OUTCOMES // 5, FLUSHES))
    chance = random.Random(20260101)
    files = [tmp_path / f"acknowledged{number}" for number in range(processes)]
    kills = promised = 0
    running: dict[int, Life] = {}
    todo = list(range(processes))
    try:
        while todo or running:
            for number in todo:
                child = fork(partial(work, place, test_id, number, outcomes, files[number]))
                # Each is killed a few times, half of them before they can have written anything; then it is let finish.
                mortal, early = kills < 4 * processes, chance.random() < 0.5
                running[child] = Life(number, acknowledged(files[number]), math.inf if early or not mortal else None)
                if mortal and early:
                    running[child].dies = time.monotonic() + chance.uniform(0, YOUNG_S)
            todo = []
            time.sleep(0.01)
            for child, life in list(running.items()):
                if life.dies is None and acknowledged(files[life.number]) > life.before:
                    life.dies = time.monotonic() + chance.uniform(0, OLD_S)
                if life.dies is not None and time.monotonic() >= life.dies:
                    os.kill(child, signal.SIGKILL)
                elif os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    continue
                del running[child]
                status = wait(child)
                assert status in {0, -signal.SIGKILL}
                if status:
                    kills += 1
                    promised += acknowledged(files[life.number]) - life.before
                    todo.append(life.number)
    finally:
        for child in running:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                wait(child)
    assert kills >= processes, "they were killed in the middle"
    assert promised > 0, "something had been acknowledged before a kill"
    assert [acknowledged(file) for file in files] == [outcomes] * processes
    expected = [outcome(number, row) for number in range(processes) for row in range(outcomes)]
    with Workspace.open(place) as workspace:
        assert_stored_once(workspace, expected)
        assert_statistics(workspace, test_id, expected)
        require_sound(workspace.kernel)


def assert_stored_once(workspace: Workspace, expected: list[dict[str, Any]]) -> None:
    """Every acknowledged row is there, with its own values, and no other."""
    (raw,) = [rows for name, rows in tables(workspace.kernel).items() if name == "outcomes"]
    names = ("request_id", "success", "latency_ms", "confidence", "true_label", "predicted_label")
    assert len(raw) == len(expected)
    assert Counter(tuple(row[name] for name in names) for row in raw) == Counter(
        tuple(int(row[name]) if isinstance(row[name], bool) else row[name] for name in names) for row in expected
    )


def assert_statistics(workspace: Workspace, test_id: str, expected: list[dict[str, Any]]) -> None:
    """The totals are those of the rows, to the last one."""
    test = workspace.ab_tests.get_test(test_id)
    for version, metrics in (("a", test.metrics_a), ("b", test.metrics_b)):
        rows = [row for row in expected if row["version"] == version]
        assert metrics.total_requests == len(rows)
        assert metrics.failed_requests == sum(not row["success"] for row in rows)
        assert metrics.avg_latency_ms == sum(row["latency_ms"] for row in rows) / len(rows)
        assert metrics.avg_confidence == sum(row["confidence"] for row in rows) / len(rows)
        cells = Counter((row["predicted_label"], row["true_label"]) for row in rows)
        found = (metrics.true_positives, metrics.false_positives, metrics.true_negatives, metrics.false_negatives)
        assert found == (cells[True, True], cells[True, False], cells[False, False], cells[False, True])
