"""The wiring between recorded outcomes and the statistics: what a test decides is what ``compare`` says of its data.

That the rule itself keeps its promise under peeking is shown by ``test_false_verdicts.py``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.mlops.ab_judging import arms_at
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.stats.comparison import Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, Metric
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.moments import Confusion, Moments

ARMS = ("v1", "v2")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ABTestManager]:
    opened = ABTestManager(tmp_path)
    yield opened
    opened.kernel.close()


def stream(seed: int, requests: int, *, better: float = 0.0, slower: float = 1.0) -> list[dict[str, Any]]:
    """Return outcomes of two arms in random order; ``better`` lifts v2's accuracy, ``slower`` its latency."""
    draw = random.Random(seed)
    rows = []
    for _ in range(requests):
        version = ARMS[draw.random() < 0.5]
        attack = draw.random() < 0.4
        right = draw.random() < 0.8 + better * (version == "v2")
        latency = draw.expovariate(1 / 20) * (slower if version == "v2" else 1.0)
        rows.append(
            {
                "model_version": version,
                "success": draw.random() > 0.05,
                "latency_ms": latency,
                "confidence": draw.random() if draw.random() < 0.5 else None,
                "true_label": attack,
                "predicted_label": attack if right else not attack,
            }
        )
    return rows


def statistics_of(rows: list[dict[str, Any]]) -> ArmStatistics:
    """Summarise one arm directly, without the database."""
    latencies = [row["latency_ms"] for row in rows]
    cells = [(row["predicted_label"], row["true_label"]) for row in rows]
    return ArmStatistics(
        len(rows),
        sum(not row["success"] for row in rows),
        Moments.of(latencies),
        Moments.of(row["confidence"] for row in rows if row["confidence"] is not None),
        Confusion(*(cells.count(cell) for cell in ((True, True), (True, False), (False, False), (False, True)))),
        LatencyHistogram.of(latencies),
    )


def by_arm(rows: list[dict[str, Any]]) -> tuple[ArmStatistics, ArmStatistics]:
    a, b = (statistics_of([row for row in rows if row["model_version"] == version]) for version in ARMS)
    return a, b


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric is not Metric.SLOW_RATE])
def test_stored_sums_say_what_the_raw_data_say(manager: ABTestManager, metric: Metric) -> None:
    test_id = manager.create_test("t", *ARMS, min_samples=50, primary_metric=metric.value).test_id
    manager.start_test(test_id)
    rows = stream(7, 1500, better=0.02, slower=1.05)
    manager.record_results(test_id, rows[:700])
    for row in rows[700:750]:
        manager.record_result(test_id, **row)
    manager.record_results(test_id, rows[750:])
    expected = compare([Stratum(*by_arm(rows))], metric, 0.05, 50)
    results = manager.get_test_results(test_id)
    found, compared = results["statistical_significance"], results["comparison"][metric.value]
    assert (compared["model_a"], compared["model_b"]) == pytest.approx((expected.value_a, expected.value_b))
    assert found["difference"] == pytest.approx(expected.difference)
    assert expected.interval is not None
    assert found["interval"] == pytest.approx(expected.interval, rel=1e-9)
    assert found["p_value"] == pytest.approx(expected.p_value, rel=1e-6)
    assert (found["samples_a"], found["samples_b"]) == (expected.samples_a, expected.samples_b)
    assert manager.tests[test_id].winner == {"A": "v1", "B": "v2", None: None}[expected.winner]


def test_the_verdict_is_that_of_the_first_decisive_look(manager: ABTestManager) -> None:
    test_id = manager.create_test("t", *ARMS, min_samples=50).test_id
    manager.start_test(test_id)
    rows = stream(11, 900, better=0.15)
    decided_after = None
    for number, row in enumerate(rows, start=1):
        manager.record_result(test_id, **row)
        if decided_after is None and manager.tests[test_id].winner is not None:
            decided_after = number
    assert decided_after is not None
    verdict = manager.tests[test_id].verdict
    assert verdict["events"] == decided_after
    expected = compare([Stratum(*by_arm(rows[:decided_after]))], Metric.F1_SCORE, 0.05, 50)
    assert verdict["winner"] == expected.winner == "B"
    assert verdict["p_value"] == pytest.approx(expected.p_value)
    with manager.kernel.read() as view:
        before = [look for look in view.ab_tests.looks.all(test_id) if look.events < decided_after]
    assert before
    assert all(compare([Stratum(*arms_at(look))], Metric.F1_SCORE, 0.05, 50).winner is None for look in before)


def test_looking_after_every_batch_at_equal_arms_reaches_no_verdict(manager: ABTestManager) -> None:
    """Ten equal pairs, looked at 30 times each; at five percent each, two false verdicts would be bad luck already."""
    false_verdicts = 0
    for seed in range(10):
        test_id = manager.create_test(f"t{seed}", *ARMS, min_samples=50).test_id
        manager.start_test(test_id)
        rows = stream(seed, 3000)
        for start in range(0, 3000, 100):
            manager.record_results(test_id, rows[start : start + 100])
            manager.get_test_results(test_id)
        false_verdicts += manager.tests[test_id].winner is not None
    assert false_verdicts <= 1


def test_secondary_metrics_are_held_to_a_share_of_the_threshold(manager: ABTestManager) -> None:
    test_id = manager.create_test("t", *ARMS, min_samples=50, primary_metric="error_rate").test_id
    manager.start_test(test_id)
    rows = stream(3, 2000, slower=1.3)
    manager.record_results(test_id, rows)
    results = manager.get_test_results(test_id)["comparison"]
    for metric in ("avg_latency_ms", "precision", "recall", "f1_score", "avg_confidence"):
        assert results[metric]["winner"] == compare([Stratum(*by_arm(rows))], metric, 0.05 / 5, 50).winner
    assert results["avg_latency_ms"]["winner"] == "A"
