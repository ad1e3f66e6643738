"""The recorder: what handing an outcome over costs its caller, and how many a second become durable."""

from __future__ import annotations

import gc
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench_traffic import _one_core, _started, _traffic
from benchmarks.measuring import Row, alternating, percentile, ratio
from sentinelzer0.mlops.recorder import Recorder
from sentinelzer0.workspace import Workspace

BATCH = 5000
RAW = "SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE c.name = 'latency_ms'"
"""Finds the table that keeps one row for each outcome."""


def rows(directory: Path, outcomes: int, rounds: int) -> list[Row]:
    """Measure single calls of ``record``, and ``rounds`` times ``outcomes`` of them up to the disk."""
    with _one_core():
        return [_caller(directory / "caller", outcomes), *_ingest(directory / "ingest", outcomes, rounds)]


def _recorder(workspace: Workspace, test_id: str, capacity: int) -> Recorder:
    tests = workspace.ab_tests
    return Recorder(
        partial(tests.record_results, test_id),
        partial(tests.record_labels, test_id),
        capacity=capacity,
        batch=BATCH,
        on_sigterm=False,
    )


def _calls(count: int) -> list[tuple[Any, ...]]:
    names = ("model_version", "success", "latency_ms", "confidence", "true_label", "predicted_label")
    return [tuple(row[name] for name in names) for row in _traffic(count)]


def _caller(place: Path, count: int) -> Row:
    calls, times = _calls(count), []
    with Workspace.open(place) as workspace, _recorder(workspace, _started(workspace), 4 * count) as recorder:
        record, now = recorder.record, time.perf_counter
        gc.collect()
        for call in calls:
            start = now()
            record(*call)
            times.append(now() - start)
        stats = recorder.flush()
    assert stats.written == count
    p50, p95 = median(times) * 1e6, percentile(times, 95) * 1e6
    against = f"{count} calls while the thread writes on the same core, the clock's own time included; p95 {p95:.2f} us"
    return Row("Recorder.record, p50 of the caller", "<= 2 us", f"{p50:.2f} us", p50 <= 2, against)


def _ingest(place: Path, count: int, rounds: int) -> list[Row]:
    calls = _calls(count)
    with Workspace.open(place / "ours") as workspace, _recorder(workspace, _started(workspace), 4 * count) as recorder:

        def ours() -> None:
            record = recorder.record
            for call in calls:
                record(*call)
            recorder.flush()

        ours()
        floor = _Floor(workspace.kernel.layout.database, place / "floor.db", count, rounds)
        mine, raw = alternating(ours, floor.insert, rounds)
        assert recorder.stats.written == count * (rounds + 1)
        floor.close()
    rate, share = count / median(mine), 1 / ratio(mine, raw)
    against = (
        f"{rounds} times {count} outcomes in batches of {BATCH}, from the first call to the end of flush; one core"
    )
    floored = f"executemany: {count / median(raw):,.0f}/s, the same rows, columns, indexes and commits"
    return [
        Row("durable outcomes through the recorder", ">= 60,000/s", f"{rate:,.0f}/s", rate >= 60_000, against),
        Row("the recorder against raw executemany", ">= 0.4x", f"{share:.2f}x", share >= 0.4, floored),
    ]


class _Floor:
    """Raw ``sqlite3``: the workspace's own raw rows inserted into a table like the workspace's."""

    def __init__(self, source: Path, target: Path, count: int, rounds: int) -> None:
        with closing(sqlite3.connect(source)) as given:
            ((table,),) = given.execute(RAW)
            about = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql NOTNULL ORDER BY type DESC"
            schema = [sql for (sql,) in given.execute(about, (table,))]
            names = [row[1] for row in given.execute(f"PRAGMA table_info({table})")]
            raw = given.execute(f"SELECT * FROM {table} ORDER BY request_id").fetchall()
        assert len(raw) == count
        at = names.index("request_id")
        # New ids for every round, in the order of the recorder's, made before anything is timed.
        self._rounds = [
            [(*row[:at], f"{number:03d}{row[at][3:]}", *row[at + 1 :]) for row in raw] for number in range(rounds)
        ]
        self._insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})"
        self._connection = sqlite3.connect(target, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8192"):
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in schema:
            self._connection.execute(statement)

    def insert(self) -> None:
        """Insert the rows of a round, a transaction for each batch."""
        rows, execute = self._rounds.pop(), self._connection.execute
        for first in range(0, len(rows), BATCH):
            execute("BEGIN IMMEDIATE")
            self._connection.executemany(self._insert, rows[first : first + BATCH])
            execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
