"""Results, looks, settings and audit facts of an A/B test of three arms: a ramp, a holdout, segments, a mismatch.

The numbers come from a fixed seed. Intervals have the shape of confidence sequences; nothing here tests statistics.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sentinelzer0.reports import Event
from sentinelzer0.reports.ab_values import ABReport, AuditFacts

START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
MIN_SAMPLES = 400
ALPHA = 0.05
# metric -> (value of the control, effect of the first challenger, of the second, standard deviation of one unit)
METRICS = {
    "f1_score": (0.902, 0.031, -0.012, 0.42),
    "error_rate": (0.011, -0.002, 0.001, 0.11),
    "avg_latency_ms": (41.0, 1.8, 14.0, 24.0),
    "accuracy": (0.941, 0.011, -0.004, 0.24),
    "precision": (0.93, 0.006, 0.001, 0.30),
    "recall": (0.876, 0.052, -0.02, 0.41),
    "avg_confidence": (0.83, 0.004, 0.002, 0.12),
    "custom:revenue": (3.1, 0.02, 0.2, 4.0),
}
RAMP = ((0, (0.01, 0.01)), (30, (0.05, 0.05)), (90, (0.25, 0.10)), (170, (0.4, 0.1)))
LOOKS = 110
HOURS = 2  # from look to look
HOURLY = 900  # requests


def after(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


@lru_cache(maxsize=64)
def report(text: str = "v", *, mismatch: bool = False, decided: bool = True, arms: int = 3) -> ABReport:
    """A test whose every free text contains ``text``."""
    versions = tuple(f"{text}{index}" for index in range(1, arms + 1))
    looks = _looks(versions, mismatch=mismatch)
    return ABReport(
        results=_results(text, versions, looks, mismatch=mismatch, decided=decided),
        looks=looks,
        settings=_settings(text, versions),
        audit=AuditFacts(
            (
                Event(START, f"ab.start {text}", text, reason=text, digest="9f3c" * 16),
                Event(START + timedelta(hours=30), "ab.set_share (done)", "system", automatic=True, digest="77be" * 16),
            ),
            812,
            "77be" * 16,
        ),
        generated_at=START + timedelta(days=12),
    )


def _phase(index: int) -> int:
    return max(number for number, (start, _) in enumerate(RAMP, start=1) if start <= index)


def _looks(versions: tuple[str, ...], *, mismatch: bool) -> list[dict[str, Any]]:
    noise = random.Random(7)
    totals = {(v, m): 0.0 for v in versions[1:] for m in METRICS}
    bands: dict[tuple[str, str], tuple[float, float]] = {}
    looks: list[dict[str, Any]] = []
    samples = dict.fromkeys(versions, 0.0)
    log_e, events = 0.0, 0
    for index in range(HOURS, HOURS * LOOKS + 1, HOURS):
        shares = _shares(versions, _phase(index))
        for version in versions:
            samples[version] += HOURLY * HOURS * shares[version]
        events += HOURLY * HOURS
        log_e += noise.gauss(0.02 if mismatch and index > 120 else -0.01, 0.12) * (4 if mismatch else 1)
        comparisons: dict[str, dict[str, Any]] = {}
        for order, version in enumerate(versions[1:]):
            of_arm = comparisons[version] = {}
            for metric, (_, *effects, deviation) in METRICS.items():
                n = max(samples[version], 20)
                totals[version, metric] += noise.gauss(0, deviation * 0.5 * math.sqrt(HOURLY * HOURS * shares[version]))
                difference = effects[order % 2] + totals[version, metric] / n
                half = deviation * math.sqrt(1 / n) * math.sqrt(math.log(60 * (1 + n / 900)))
                low, high = difference - half, difference + half
                if n >= MIN_SAMPLES:
                    before = bands.get((version, metric), (low, high))
                    bands[version, metric] = max(before[0], low), min(before[1], high)
                band = bands.get((version, metric), (low, high))
                of_arm[metric] = {
                    "difference": difference,
                    "interval": [low, high],
                    "low": band[0],
                    "high": band[1],
                    "samples_a": round(samples[versions[0]]),
                    "samples_b": round(samples[version]),
                }
        looks.append(
            {
                "events": events,
                "recorded_at": after(index),
                "decision": None,
                "comparisons": comparisons,
                "guardrails": {version: _states(index, order) for order, version in enumerate(versions[1:])},
                "srm": {"p_value": min(1.0, math.exp(-max(log_e, 0.0)))},
                "phase": _phase(index),
                "shares": shares,
                "requests": {version: round(count) for version, count in samples.items()},
            }
        )
    return looks


def _states(index: int, order: int) -> dict[str, str]:
    if index < 8:
        return {"error_rate": "no_data", "avg_latency_ms": "no_data"}
    errors = "pending" if index < 96 else "passed"
    slow = ("pending" if index < 110 else "passed") if order % 2 == 0 else ("pending" if index < 140 else "violated")
    return {"error_rate": errors, "avg_latency_ms": slow}


def _shares(versions: tuple[str, ...], phase: int) -> dict[str, float]:
    first, second = RAMP[phase - 1][1]
    of_arm = {version: (first, second)[order % 2] for order, version in enumerate(versions[1:])}
    return {versions[0]: 0.95 - sum(of_arm.values()), **of_arm}


def _compared(metric: str, look: Mapping[str, Any], version: str) -> dict[str, Any]:
    found = look["comparisons"][version][metric]
    base = METRICS[metric][0]
    low, high = found["low"], found["high"]
    lower_is_better = metric in ("error_rate", "avg_latency_ms")
    winner = None if low <= 0 <= high else "B" if (low > 0) is not lower_is_better else "A"
    return {
        "model_a": base,
        "model_b": base + found["difference"],
        "difference": found["difference"],
        "percent_change": 100 * found["difference"] / base,
        "winner": winner,
        "interval": [low, high],
        "alpha": ALPHA / 4 if metric == "f1_score" else ALPHA / 12,
        "p_value": 0.0004 if winner else 0.4,
        "p_adjusted": 0.0024 if winner else 1.0,
        "lower": low,
        "upper": high,
        "p_better": 0.0002,
        "p_worse": 1.0,
        "lift": found["difference"] / base,
        "lift_interval": [low / base, high / base],
        "samples_a": found["samples_a"],
        "samples_b": found["samples_b"],
        "reason": f"The difference B - A lies between {low:+.4g} and {high:+.4g}.",
    }


def _arm(version: str, order: int, requests: int) -> dict[str, Any]:
    return {
        "model_version": version,
        "total_requests": requests,
        "failed_requests": round(requests * 0.011),
        "true_positives": round(requests * 0.3),
        "false_negatives": round(requests * 0.04),
        "false_positives": round(requests * 0.02),
        "true_negatives": round(requests * 0.5),
        "late_requests": 3,
        "latency_p50_ms": 33.0 + order,
        "latency_p95_ms": 81.0 + 4 * order,
        "latency_p99_ms": 140.0 + 40 * order,
        "custom_metrics": {"revenue": 3.1 + order / 50},
    }


def _results(
    text: str, versions: tuple[str, ...], looks: list[dict[str, Any]], *, mismatch: bool, decided: bool
) -> dict[str, Any]:
    last = looks[-1]
    comparisons = {v: {m: _compared(m, last, v) for m in METRICS} for v in versions[1:]}
    arms = {v: _arm(v, order, last["requests"][v]) for order, v in enumerate(versions)}
    first = comparisons[versions[1]]
    decision = _decision(text, versions, mismatch=mismatch, decided=decided)
    expected = {v: count * (1.0 + 0.08 * order * mismatch) for order, (v, count) in enumerate(last["requests"].items())}
    return {
        "test_id": "test_01jd",
        "test_name": f"{text} flows",
        "status": "running",
        "model_a": versions[0],
        "model_b": versions[1],
        "metrics_a": arms[versions[0]],
        "metrics_b": arms[versions[1]],
        "metrics": arms,
        "comparison": first,
        "comparisons": comparisons,
        "statistical_significance": {
            "is_significant": decided,
            "reason": f"B has the higher f1_score. {text}",
            "metric": "f1_score",
            "difference": first["f1_score"]["difference"],
            "interval": first["f1_score"]["interval"],
            "p_value": 0.0004,
            "alpha": ALPHA,
            "winner": "B" if decided else None,
            "total_samples": sum(last["requests"].values()),
            "samples_a": 1,
            "samples_b": 1,
            "min_samples": MIN_SAMPLES,
        },
        "recommendation": decision["sentence"],
        "decision": decision,
        "srm": {
            "p_value": last["srm"]["p_value"],
            "ok": not mismatch,
            "alpha": 0.001,
            "expected": expected,
            "observed": last["requests"],
            "reason": f"The traffic did not reach the arms as it was meant to. {text}"
            if mismatch
            else "The traffic reached the arms as it was meant to.",
            "where": [
                {
                    "where": f"phase 3, {text}",
                    "arm": versions[-1],
                    "expected": 9000.0,
                    "observed": 8100,
                    "p_value": 1e-9,
                }
            ]
            if mismatch
            else [],
        },
        "guardrails": [
            _guardrail(text, v, metric, looks[-1]) for v in versions[1:] for metric in ("error_rate", "avg_latency_ms")
        ],
        "segments": {
            f"{text} {name}": {v: comparisons[v]["f1_score"] for v in versions[1:]} for name in ("mobile", "desktop")
        },
        "phases": [
            {
                "phase": number,
                "at": after(start),
                "shares": _shares(versions, number),
                "requests": dict.fromkeys(versions, 1000 * number),
            }
            for number, (start, _) in enumerate(RAMP, start=1)
        ],
        "holdout": _arm("holdout", 0, 11_700),
        "drift": None,
        "maturity": {"window_s": 86400.0, "labels_waiting": 1204},
        "plan": None,
        "shadow": False,
        "warnings": [f"{text} gets a large share"],
    }


def _decision(text: str, versions: tuple[str, ...], *, mismatch: bool, decided: bool) -> dict[str, Any]:
    decision: dict[str, Any] = {
        "action": "inconclusive",
        "winner": None,
        "sentence": f"Keep the test running: the F1 score of {versions[1]} is not told apart yet.",
        "reasons": [f"too early {text}"],
        "latched": False,
        "reached_at": None,
        "events": None,
        "requests": None,
    }
    if mismatch:
        sentence = f"Do not trust this test: the traffic did not reach {versions[-1]} as it was meant to."
        return decision | {"action": "invalid", "sentence": sentence, "latched": True, **_reached(178)}
    if decided:
        sentence = f"Promote {versions[1]}: its F1 score is higher by 1.42 to 4.61 points."
        return decision | {
            "action": "promote",
            "winner": versions[1],
            "sentence": sentence,
            "latched": True,
            **_reached(118),
        }
    return decision


def _reached(index: int) -> dict[str, Any]:
    return {"reached_at": after(index), "events": HOURLY * index, "requests": 850 * index}


def _guardrail(text: str, version: str, metric: str, look: Mapping[str, Any]) -> dict[str, Any]:
    relative = metric == "avg_latency_ms"
    state = look["guardrails"][version][metric]
    return {
        "metric": metric,
        "version": version,
        "state": state,
        "margin": 0.2 if relative else 0.005,
        "relative": relative,
        "ratio": 1.0,
        "worse_by": 0.31 if state == "violated" else -0.002,
        "limit_low": 0.24 if state == "violated" else -0.004,
        "limit_high": 0.39 if state == "violated" else 0.001,
        "p_harm": 0.0001 if state == "violated" else 1.0,
        "reason": f"{metric} of {version}: {state}. {text}",
    }


def _settings(text: str, versions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "test_id": "test_01jd",
        "status": "running",
        "description": text,
        "created_by": text,
        "mode": "split",
        "primary_metric": "f1_score",
        "significance_threshold": ALPHA,
        "min_samples": MIN_SAMPLES,
        "minimum_effect": 0.01,
        "guardrails": [
            {"metric": "error_rate", "margin": 0.005, "relative": False, "ratio": 1.0},
            {"metric": "avg_latency_ms", "margin": 0.2, "relative": True, "ratio": 1.0},
        ],
        "latency_slo_ms": 250.0,
        "label_window_s": 86400.0,
        "segments": [f"{text} mobile", f"{text} desktop"],
        "holdout": 0.05,
        "environment": "production",
        "salt": "00000000000000ff",
        "arms": dict(zip("ABCDEFG", versions, strict=False)),
    }
