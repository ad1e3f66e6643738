"""The hot path of an A/B test: routing a request, recording what became of it."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.floor import Call, Replay, described, recording
from benchmarks.measuring import Row, percentile, ratio, seconds, spread
from sentinelzer0.domain.assignment import HOLDOUT, LETTERS, allocate, assigner, first_ranges
from sentinelzer0.workspace import Workspace

BATCH = 1000
CALLS = 200  # of routing between two looks at the clock
WARM = 20


def rows(directory: Path, outcomes: int, batches: int) -> list[Row]:
    """Measure routing, ``outcomes`` single outcomes and ``batches`` of a thousand."""
    return [*_routing(directory, outcomes), *_single(directory, outcomes), _batched(directory, batches)]


def _started(workspace: Workspace) -> str:
    test = workspace.ab_tests.create_test("bench", "v1", "v2", min_samples=10**9)
    return workspace.ab_tests.start_test(test.test_id).test_id


def _traffic(count: int) -> list[dict[str, Any]]:
    """Requests of a detector: success, latency, confidence and both labels."""
    chance = random.Random(20260101)
    found = []
    for number in range(count):
        attack = chance.random() < 0.3
        found.append(
            {
                "model_version": "v1" if number % 2 else "v2",
                "success": chance.random() < 0.99,
                "latency_ms": chance.lognormvariate(2, 0.5),
                "confidence": chance.random(),
                "true_label": int(attack),
                "predicted_label": int(attack ^ (chance.random() < 0.1)),
            }
        )
    return found


def _routing(directory: Path, count: int) -> list[Row]:
    keys = [f"host-{number}" for number in range(CALLS)]
    with Workspace.open(directory / "routing") as workspace:
        test_id = _started(workspace)
        pure = assigner(
            allocate(first_ranges(0.1), {"B": 0.3, "C": 0.2}), 255, {arm: arm for arm in (*LETTERS, HOLDOUT)}
        )
        return [
            _per_call("assignment alone, p50", 0.5, pure, keys, count),
            _per_call(
                "route_request with a key, p50", 2, partial(workspace.ab_tests.route_request, test_id), keys, count
            ),
            _per_call("assign with a key, p50", 2, partial(workspace.ab_tests.assign, test_id), keys, count),
        ]


def _per_call(what: str, most_us: float, call: Callable[[str], object], keys: list[str], count: int) -> Row:
    def many() -> None:
        for key in keys:
            call(key)

    many()
    gc.collect()
    times = [seconds(many) / CALLS for _ in range(max(count // 4, 20))]
    p50 = median(times) * 1e6
    against = f"{len(times)} times {CALLS} calls with {CALLS} keys, per call {spread(times, 1e6, 'us')}"
    return Row(what, f"< {most_us:g} us", f"{p50:.2f} us", p50 < most_us, against)


def _single(directory: Path, count: int) -> list[Row]:
    traffic = _traffic(count)
    (directory / "floor").mkdir()
    script: list[list[Call]] = []
    with recording() as recorder, Workspace.open(directory / "recorded") as workspace:
        test_id = _started(workspace)
        replay = Replay(workspace.kernel.layout.database, directory / "floor")
        recorder.take()
        for row in traffic:
            workspace.ab_tests.record_result(test_id, **row)
            script.append(recorder.take())
    replay.set_up(recorder)
    ours, floor = [], []
    with Workspace.open(directory / "single") as workspace:
        test_id = _started(workspace)
        record = workspace.ab_tests.record_result
        gc.collect()
        for row, calls in zip(traffic, script, strict=True):
            ours.append(seconds(lambda row=row: record(test_id, **row)))  # type: ignore[misc]
            floor.append(seconds(lambda calls=calls: replay.run(calls)))  # type: ignore[misc]
    replay.close()
    ours, floor = ours[WARM:], floor[WARM:]
    times, p50 = ratio(ours, floor), median(ours) * 1e6
    worst = percentile([mine / raw for mine, raw in zip(ours, floor, strict=True)], 95)
    against = f"{described(script[-1])}; floor: {spread(floor, 1e6, 'us')}; p95 of the pairs {worst:.2f}x"
    measured = f"{len(ours)} outcomes, {spread(ours, 1e6, 'us')}"
    return [
        Row("record_result against raw sqlite3", "<= 2x", f"{times:.2f}x", times <= 2, against),
        Row("record_result, p50", "<= 150 us", f"{p50:.0f} us", p50 <= 150, measured),
    ]


def _batched(directory: Path, batches: int) -> Row:
    traffic = _traffic(BATCH)
    with _one_core(), Workspace.open(directory / "batched") as workspace:
        test_id = _started(workspace)
        workspace.ab_tests.record_results(test_id, traffic)
        gc.collect()
        times = [seconds(lambda: workspace.ab_tests.record_results(test_id, traffic)) for _ in range(batches)]
        counted = workspace.ab_tests.get_test(test_id)
    assert counted is not None
    assert counted.metrics_a.total_requests + counted.metrics_b.total_requests == BATCH * (batches + 1)
    rate = BATCH / median(times)
    against = f"{batches} batches, {spread(times, 1e3, 'ms')} each; the process may use one core"
    return Row("record_results in batches of 1000", ">= 60,000/s", f"{rate:,.0f}/s", rate >= 60_000, against)


@contextmanager
def _one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
