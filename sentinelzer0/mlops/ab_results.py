"""What a test says so far: both arms, every metric compared, the verdict and a recommendation in one sentence.

The primary metric is judged at the test's own threshold. The other metrics share that threshold evenly (Bonferroni),
so that the chance that any of them is wrongly called better stays below it as well.
"""

from __future__ import annotations

from typing import Any

from sentinelzer0.domain.ab_tests import ArmReading, StoredTest, TestStatus, comparison_of
from sentinelzer0.mlops.ab_values import public_metrics
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import Metric

COMPARED = (
    Metric.ERROR_RATE,
    Metric.AVG_LATENCY_MS,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.F1_SCORE,
    Metric.AVG_CONFIDENCE,
)


def results_of(test: StoredTest, a: ArmReading, b: ArmReading) -> dict[str, Any]:
    """Return the results of a test; see ``ABTestManager.get_test_results``."""
    compared = comparisons(test, a, b)
    return {
        "test_id": test.test_id,
        "test_name": test.test_name,
        "status": test.status.value,
        "model_a": test.model_a,
        "model_b": test.model_b,
        "metrics_a": public_metrics(test.model_a, a).to_dict(),
        "metrics_b": public_metrics(test.model_b, b).to_dict(),
        "comparison": {metric.value: _compared(found) for metric, found in compared.items()},
        "statistical_significance": significance(test, a, b, compared),
        "recommendation": recommendation(test, compared[test.metric]),
        "warnings": list(test.warnings),
    }


def comparisons(test: StoredTest, a: ArmReading, b: ArmReading) -> dict[Metric, Comparison]:
    """Return every compared metric; the primary one is among them."""
    others = [metric for metric in COMPARED if metric.value != test.primary_metric]
    alpha = test.significance_threshold / len(others)
    found = {
        metric: compare([Stratum(a.statistics, b.statistics)], metric, alpha, test.min_samples)
        for metric in COMPARED
        if metric.value != test.primary_metric
    }
    return found | {test.metric: comparison_of(test, a.statistics, b.statistics)}


def significance(test: StoredTest, a: ArmReading, b: ArmReading, compared: dict[Metric, Comparison]) -> dict[str, Any]:
    """Return what the primary metric proves; a latched verdict stays, whatever came after it."""
    now = compared[test.metric]
    interval = running_interval(test, now)
    return {
        "is_significant": test.winner is not None,
        "reason": test.verdict["reason"] if test.winner is not None else now.reason,
        "metric": test.primary_metric,
        "difference": now.difference,
        "f1_difference": compared[Metric.F1_SCORE].difference,
        "interval": None if interval is None else list(interval),
        "p_value": min(now.p_value, test.verdict.get("p_value", 1.0)),
        "confidence": max(now.confidence, test.winner_confidence),
        "alpha": test.significance_threshold,
        "winner": test.verdict.get("winner"),
        "decided_at": test.verdict.get("reached_at"),
        "total_samples": a.statistics.requests + b.statistics.requests,
        "samples_a": now.samples_a,
        "samples_b": now.samples_b,
        "min_samples": now.min_samples,
    }


def running_interval(test: StoredTest, now: Comparison) -> tuple[float, float] | None:
    """Return the interval, cut with the one that decided.

    A confidence sequence holds at all looks at once, so the cut holds too. If nothing is left the effect has drifted
    since the decision, and the present interval is shown as it is.
    """
    decisive = test.verdict.get("interval")
    if now.interval is None or decisive is None:
        return now.interval
    low, high = max(now.interval[0], decisive[0]), min(now.interval[1], decisive[1])
    return (low, high) if low <= high else now.interval


def recommendation(test: StoredTest, now: Comparison) -> str:
    """Return what to do, in one sentence."""
    if test.winner == test.model_b:
        return f"Promote {test.model_b}, which{test.verdict['reason'][1:]}"
    if test.winner == test.model_a:
        return f"Keep {test.model_a}, which{test.verdict['reason'][1:]}"
    match test.status:
        case TestStatus.SETUP:
            return "Start the test: nothing was measured yet."
        case TestStatus.RUNNING:
            return f"Keep the test running: {_lower(now.reason)}"
        case TestStatus.PAUSED:
            return f"Resume the test or end it: {_lower(now.reason)}"
        case _:
            return f"Keep {test.model_a}: the test ended without a winner, because {_lower(now.reason)}"


def _compared(found: Comparison) -> dict[str, Any]:
    return {
        "model_a": found.value_a,
        "model_b": found.value_b,
        "difference": found.difference,
        "percent_change": found.percent_change,
        "winner": found.winner,
    }


def _lower(sentence: str) -> str:
    return sentence if sentence.startswith(("A ", "B ")) else sentence[:1].lower() + sentence[1:]
