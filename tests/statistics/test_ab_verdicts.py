"""The wiring between recorded outcomes and the statistics: what a test decides is what ``compare`` says of its data.

That the rule itself keeps its promise under peeking is shown by ``test_false_verdicts.py``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, Metric, metric_named
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


def started(manager: ABTestManager, *, looks: bool = True, **design: Any) -> str:
    """Return a running test without guardrails; without looks nothing is judged before its results are asked for."""
    settings: dict[str, Any] = {"min_samples": 50, "guardrails": ()} | design
    test_id = manager.create_test("t", *ARMS, **settings).test_id
    manager.start_test(test_id)
    if not looks:
        with manager.kernel.record_outcomes() as view:
            view.streams.set_next_look(test_id, 10**9)
    return test_id


def require_same(found: dict[str, Any], expected: Comparison) -> None:
    assert (found["model_a"], found["model_b"]) == pytest.approx((expected.value_a, expected.value_b))
    assert found["difference"] == pytest.approx(expected.difference)
    assert expected.interval is not None
    assert found["interval"] == pytest.approx(expected.interval, rel=1e-9)
    assert (found["lower"], found["upper"]) == pytest.approx((expected.lower, expected.upper), rel=1e-9)
    for name in ("p_value", "p_better", "p_worse"):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-6)
    assert found["lift"] == pytest.approx(expected.lift)
    assert expected.lift_interval is not None
    assert found["lift_interval"] == pytest.approx(expected.lift_interval, rel=1e-9)
    assert (found["samples_a"], found["samples_b"]) == (expected.samples_a, expected.samples_b)
    assert (found["winner"], found["alpha"]) == (expected.winner, pytest.approx(expected.alpha))


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric is not Metric.SLOW_RATE])
def test_stored_sums_say_what_the_raw_data_say(manager: ABTestManager, metric: Metric) -> None:
    test_id = started(manager, looks=False, primary_metric=metric.value)
    rows = stream(7, 1500, better=0.02, slower=1.05)
    manager.record_results(test_id, rows[:700])
    for row in rows[700:750]:
        manager.record_result(test_id, **row)
    manager.record_results(test_id, rows[750:])
    expected = compare([Stratum(*by_arm(rows))], metric, 0.05, 50)
    results = manager.get_test_results(test_id)
    require_same(results["comparison"][metric.value], expected)
    said = results["statistical_significance"]
    assert (said["metric"], said["p_value"]) == (metric.value, pytest.approx(expected.p_value, rel=1e-6))
    assert said["interval"] == pytest.approx(expected.interval, rel=1e-9)
    assert manager.tests[test_id].winner == {"A": "v1", "B": "v2", None: None}[expected.winner]


def test_the_phases_of_a_ramp_are_the_strata(manager: ABTestManager) -> None:
    """Outcomes of the first phase that are recorded in the second, with their assignment, belong to the first."""
    test_id = started(manager, looks=False, traffic_split=0.1)
    first, second, late = stream(21, 600, better=0.05), stream(22, 900, better=0.05), stream(23, 100, better=0.05)
    manager.record_results(test_id, first)
    manager.set_share(test_id, 0.5)
    manager.record_results(test_id, second)
    manager.record_results(test_id, [row | {"revision": 1, "share": 0.1} for row in late])
    results = manager.get_test_results(test_id)["comparison"]
    strata = [Stratum(*by_arm([*first, *late])), Stratum(*by_arm(second))]
    require_same(results["f1_score"], compare(strata, Metric.F1_SCORE, 0.05, 50))
    require_same(results["avg_latency_ms"], compare(strata, Metric.AVG_LATENCY_MS, 0.05 / 6, 50))


def test_the_verdict_is_that_of_the_first_decisive_look(manager: ABTestManager) -> None:
    test_id = started(manager)
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
    assert verdict["difference"] == pytest.approx(expected.difference)
    assert verdict["p_value"] <= expected.p_value * (1 + 1e-9) < 0.05
    with manager.kernel.read() as view:
        before = [look for look in view.ab_tests.looks.all(test_id) if look.events < decided_after]
    assert len(before) > 10
    low = high = None
    for look in before:
        now = compare([Stratum(*by_arm(rows[: look.events]))], Metric.F1_SCORE, 0.05, 50)
        assert (now.winner, look.decision) == (None, None)
        if now.interval is not None:
            found = look.readings["comparisons"]["v2"]["f1_score"]
            if min(now.samples_a, now.samples_b) < 50:
                assert found["interval"] == pytest.approx(now.interval, rel=1e-9)
                continue
            low = now.interval[0] if low is None else max(low, now.interval[0])
            high = now.interval[1] if high is None else min(high, now.interval[1])
            assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-9), (
                "cut with every look that counts"
            )
    assert low is not None
    assert expected.interval is not None
    assert verdict["interval"][0] == pytest.approx(max(low, expected.interval[0]), rel=1e-9)


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
        false_verdicts += bool(manager.tests[test_id].verdict)
    assert false_verdicts <= 1


def test_secondary_metrics_are_held_to_a_share_of_the_threshold(manager: ABTestManager) -> None:
    test_id = started(manager, primary_metric="error_rate")
    rows = stream(3, 2000, slower=1.3)
    manager.record_results(test_id, rows)
    results = manager.get_test_results(test_id)["comparison"]
    for metric in ("avg_latency_ms", "accuracy", "precision", "recall", "f1_score", "avg_confidence"):
        expected = compare([Stratum(*by_arm(rows))], metric_named(metric), 0.05 / 6, 50)
        assert (results[metric]["winner"], results[metric]["alpha"]) == (expected.winner, pytest.approx(0.05 / 6))
        assert results[metric]["p_adjusted"] >= results[metric]["p_value"]
    assert results["avg_latency_ms"]["winner"] == "A"
