"""Small-model use cases against their own statements and fsyncs through raw ``sqlite3``."""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.floor import Call, Replay, described, recording
from benchmarks.measuring import Row, Work, percentile, ratio, seconds, spread
from sentinelzer0.workspace import Workspace

BYTES = 10_000
WARM = 3
Step = tuple[str, Work]
"""What is measured (empty: only needed for the next step) and how to do it."""


def steps(workspace: Workspace, models: Path, count: int) -> Iterator[Step]:
    """Yield every step in the life of ``count`` small models, always the same."""
    for number in range(256):  # the two-digit directories of a store in use
        (workspace.kernel.layout.root / "blobs" / "sha256" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    files = [models / f"model-{number}" for number in range(count)]
    names = [f"v{number:05}" for number in range(count)]
    for file, name in zip(files, names, strict=True):
        yield "create_version", lambda file=file, name=name: _create(workspace, file, name)
    for name in names:
        yield "promote_version", lambda name=name: workspace.versions.promote_version(name, "staging")
    for name in names:
        yield "", lambda name=name: workspace.registry.register_model(name, tags=["nightly"])
        yield "", lambda name=name: workspace.registry.request_promotion(name, "production", "ann", "looks good")
    for request in workspace.registry.get_pending_approvals():
        known = request.request_id
        yield "approve_promotion", lambda known=known: workspace.registry.approve_promotion(known, "bob", "agreed")
    bad, good = names[-1], names[-2]
    for _ in names:
        yield "execute_rollback", lambda bad=bad, good=good: _roll_back(workspace, bad, good)
        yield "", lambda bad=bad: workspace.rollback.release(bad, "dave", "the cause was found")
        bad, good = good, bad


def _create(workspace: Workspace, file: Path, name: str) -> object:
    metrics = {"auc": 0.97, "recall": 0.91, "fpr": 0.02}
    return workspace.versions.create_version(
        file, name, "ann", metrics, {"learning_rate": 0.1, "trees": 300}, "nightly training", ["nightly", "nsl-kdd"]
    )


def _roll_back(workspace: Workspace, bad: str, good: str) -> object:
    event = workspace.rollback.execute_rollback(bad, good, "recall collapsed", triggered_by="carol")
    assert event.success
    return event


def rows(directory: Path, count: int) -> list[Row]:
    """Measure create, promote, approve and rollback ``count`` times each."""
    models = directory / "models"
    models.mkdir()
    for number in range(count):
        (models / f"model-{number}").write_bytes(os.urandom(BYTES))
    script, replay = _recorded(directory, models, count)
    ours: dict[str, list[float]] = defaultdict(list)
    floor: dict[str, list[float]] = defaultdict(list)
    gc.collect()
    with Workspace.open(directory / "measured") as workspace:
        for (name, work), (_, calls) in zip(steps(workspace, models, count), script, strict=True):
            replay.prepare(calls)
            ours[name].append(seconds(work))
            floor[name].append(seconds(lambda calls=calls: replay.run(calls)))  # type: ignore[misc]
    replay.close()
    asked = dict(reversed(script))
    found = []
    for name in ("create_version", "promote_version", "approve_promotion", "execute_rollback"):
        found += _two_rows(name, ours[name][WARM:], floor[name][WARM:], described(asked[name]))
    back = ours["execute_rollback"][WARM:]
    p99 = percentile(back, 99) * 1e3
    found.append(Row("execute_rollback, small, p99", "< 50 ms", f"{p99:.1f} ms", p99 < 50, f"{len(back)} rollbacks"))
    return found


def _recorded(directory: Path, models: Path, count: int) -> tuple[list[tuple[str, list[Call]]], Replay]:
    """Run the steps once, writing down what they ask for."""
    (directory / "floor").mkdir()
    with recording() as recorder, Workspace.open(directory / "recorded") as workspace:
        replay = Replay(workspace.kernel.layout.database, directory / "floor")
        script = []
        for name, work in steps(workspace, models, count):
            recorder.take()
            work()
            script.append((name, recorder.take()))
    replay.set_up(recorder)
    return script, replay


def _two_rows(name: str, ours: list[float], floor: list[float], asked: str) -> list[Row]:
    times = ratio(ours, floor)
    worst = percentile([mine / raw for mine, raw in zip(ours, floor, strict=True)], 95)
    p50 = median(ours) * 1e3
    against = f"{asked}; floor: {spread(floor, 1e3, 'ms')}; p95 of the pairs {worst:.2f}x"
    return [
        Row(f"{name}, small, against raw sqlite3", "<= 3x", f"{times:.2f}x", times <= 3, against),
        Row(
            f"{name}, small, p50", "<= 5 ms", f"{p50:.2f} ms", p50 <= 5, f"{len(ours)} times, {spread(ours, 1e3, 'ms')}"
        ),
    ]
