"""The demo's A/B test on NSL-KDD, many times: how many labelled requests until the verdict, beside a fixed plan's.

Both detectors are trained as the demo trains them, and meet the same 6,000 connections of KDDTest+ with the demo's
hosts and late labels. Only the salt of the test varies: each one splits the hosts another way. The F1 score is
compared after every batch, at the level that a test with the default guardrails gives its primary metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinelzer0.demo.act_ab_test import MIN_SAMPLES, SHARE
from sentinelzer0.demo.live import ticks
from sentinelzer0.demo.nsl_kdd import load, replay, split
from sentinelzer0.demo.stage import AB_REQUESTS
from sentinelzer0.demo.training import train_boosting, train_logistic
from sentinelzer0.domain.assignment import HOLDOUT, LETTERS, allocate, assigner, first_ranges
from sentinelzer0.stats.comparison import Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, Metric, estimate
from sentinelzer0.stats.moments import Confusion
from sentinelzer0.stats.planning import Plan, Setting, baseline_of, plan

ALPHA = 0.025
"""Half of the demo's 5 %: the other half belongs to the guardrails."""

MINIMA = (MIN_SAMPLES, 100)
"""Labelled requests that each arm has to have before a verdict: the demo's number, and the default of a test."""


@dataclass(frozen=True)
class Replay:
    """One replay with one salt.

    Attributes:
        winner: "A", "B" or None.
        labelled: Labelled requests of both arms at the verdict, or at the end.
        requests: Requests of both arms served by then.
    """

    winner: str | None
    labelled: int
    requests: int


@dataclass(frozen=True)
class Found:
    """All replays beside the plan.

    Attributes:
        replays: One for each salt, by the minimum of labelled requests in each arm.
        f1_a: F1 score of v1 on all of the traffic.
        f1_b: F1 score of v2 on the same.
        plans: What a planner who knew v1's numbers and the true effect would have said, by the same minimum.
    """

    replays: dict[int, list[Replay]]
    f1_a: float
    f1_b: float
    plans: dict[int, Plan]


def replays(salts: int, seed: int = 60_000) -> Found:
    """Train both detectors, then replay the test with so many salts."""
    world = load()
    history = split(world)
    stream = replay(world.test)[:AB_REQUESTS]
    rows = world.test.take(np.array([request.row for request in stream]))
    flagged = [trained.detector.predict(rows) for trained in (train_logistic(history), train_boosting(history))]
    cells = [_cells(np.array([request.label for request in stream]), predicted) for predicted in flagged]
    batches = [
        (len(tick.requests), np.array([request.position for request in tick.labelled], dtype=np.int64))
        for tick in ticks(stream)
    ]
    keys = [request.key for request in stream]
    rng = np.random.default_rng(seed)
    draws = [int(rng.integers(1 << 63)) for _ in range(salts)]
    found = {minimum: [_replayed(keys, cells, batches, salt, minimum) for salt in draws] for minimum in MINIMA}
    whole = [_arm(of_arm.sum(axis=0)) for of_arm in cells]
    f1_a, f1_b = (estimate(arm, Metric.F1_SCORE).value or 0.0 for arm in whole)
    return Found(found, f1_a, f1_b, _plans(whole[0], f1_b - f1_a))


def _replayed(
    keys: list[str],
    cells: list[NDArray[np.int64]],
    batches: list[tuple[int, NDArray[np.int64]]],
    salt: int,
    min_samples: int,
) -> Replay:
    arm_of = assigner(allocate(first_ranges(), {"B": SHARE}), salt, {arm: arm for arm in (*LETTERS, HOLDOUT)})
    in_b = np.array([arm_of(key) == "B" for key in keys])
    sums = [np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)]
    served = 0
    for requests, labelled in batches:
        for arm, mine in enumerate((~in_b, in_b)):
            sums[arm] = sums[arm] + cells[arm][labelled[mine[labelled]]].sum(axis=0)
        found = compare([Stratum(_arm(sums[0]), _arm(sums[1]))], Metric.F1_SCORE, ALPHA, min_samples)
        if found.is_significant:
            return Replay(found.winner, found.samples_a + found.samples_b, served)
        served += requests
    return Replay(None, int(sums[0].sum() + sums[1].sum()), served)


def _plans(a: ArmStatistics, gap: float) -> dict[int, Plan]:
    """What ``stats.planning`` says from v1's numbers on this traffic, for the effect that v2 has."""
    baseline = baseline_of(a, Metric.F1_SCORE)
    assert baseline is not None
    return {least: plan(baseline, gap, Setting(share=SHARE, alpha=ALPHA, min_samples=least)) for least in MINIMA}


def _cells(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each request a one in the cell of the confusion matrix that it falls into: TP, FP, TN, FN."""
    of = ((truth == 1) & (predicted == 1), (truth == 0) & (predicted == 1), (truth == 0) & (predicted == 0))
    return np.stack([*of, (truth == 1) & (predicted == 0)], axis=1).astype(np.int64)


def _arm(cells: NDArray[np.int64]) -> ArmStatistics:
    return ArmStatistics(confusion=Confusion(*(int(count) for count in cells)))
