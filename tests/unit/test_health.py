"""Health: thresholds, missing data, impossible and contradictory measurements."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.health import HealthCheck, HealthStatus, Thresholds, assess
from sentinelzer0.errors import InvalidInputError, InvalidMetricError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"error_rate": 0.02, "avg_latency_ms": 20.0, "total_requests": 100, "failed_requests": 2}


def check(**changes: Any) -> HealthCheck:
    """Judge good measurements with some replaced, or left out where the value is None."""
    return assess("v1", GOOD | changes, Thresholds(), NOW)


def test_below_every_threshold_is_healthy() -> None:
    found = check()
    assert (found.status, found.is_healthy) == (HealthStatus.HEALTHY, True)
    assert (found.error_rate, found.success_rate, found.avg_latency_ms) == (0.02, 0.98, 20.0)
    assert found.timestamp == NOW
    assert found.details == {
        "total_requests": 100,
        "failed_requests": 2,
        "thresholds": {"error_rate": 0.10, "latency_ms": 100.0, "min_requests": 50},
        "reasons": ["Every metric is below its threshold."],
        "metrics": {},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"error_rate": 0.10, "failed_requests": 10},
        {"error_rate": 0.5, "failed_requests": 50},
        {"avg_latency_ms": 100.0},
        {"avg_latency_ms": 1e9},
    ],
)
def test_at_or_above_a_threshold_is_unhealthy(changes: dict[str, Any]) -> None:
    found = check(**changes)
    assert (found.status, found.is_healthy) == (HealthStatus.UNHEALTHY, False)
    assert "at or above its threshold" in found.details["reasons"][0]


def test_just_below_both_thresholds_is_healthy() -> None:
    found = check(error_rate=None, failed_requests=9, avg_latency_ms=99.999)
    assert (found.is_healthy, found.error_rate) == (True, 0.09)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"total_requests": 49, "failed_requests": 0, "error_rate": 0}, "fewer than the 50"),
        ({"total_requests": 49, "failed_requests": 49, "error_rate": 1}, "fewer than the 50"),
        ({"total_requests": 0, "failed_requests": 0, "error_rate": 0}, "fewer than the 50"),
        ({"total_requests": None}, "total_requests was not reported"),
        ({"avg_latency_ms": None}, "avg_latency_ms was not reported"),
        ({"error_rate": None, "failed_requests": None}, "error_rate was not reported"),
    ],
)
def test_too_little_data_is_unknown_and_says_why(changes: dict[str, Any], reason: str) -> None:
    found = check(**changes)
    assert (found.status, found.is_healthy) == (HealthStatus.UNKNOWN, False)
    assert any(reason in sentence for sentence in found.details["reasons"])


def test_missing_is_never_zero() -> None:
    found = assess("v1", {}, Thresholds(), NOW)
    assert (found.error_rate, found.avg_latency_ms, found.success_rate) == (None, None, None)
    assert (found.details["total_requests"], found.details["failed_requests"]) == (None, None)


def test_the_mean_of_no_requests_is_not_known() -> None:
    found = assess("v1", {"error_rate": 0, "avg_latency_ms": 0, "total_requests": 0}, Thresholds(), NOW)
    assert (found.error_rate, found.avg_latency_ms, found.success_rate) == (None, None, None)


def test_a_crossed_threshold_counts_although_another_metric_is_missing() -> None:
    assert check(error_rate=0.5, failed_requests=50, avg_latency_ms=None).status is HealthStatus.UNHEALTHY
    assert check(error_rate=None, failed_requests=None, avg_latency_ms=500.0).status is HealthStatus.UNHEALTHY


@pytest.mark.parametrize(
    "changes",
    [
        {"error_rate": -0.01},
        {"error_rate": 1.01},
        {"error_rate": math.nan},
        {"error_rate": math.inf},
        {"error_rate": "0.1"},
        {"error_rate": True},
        {"avg_latency_ms": -1},
        {"avg_latency_ms": math.nan},
        {"total_requests": -1},
        {"total_requests": 99.5},
        {"total_requests": True},
        {"failed_requests": 101, "error_rate": None},
        {"failed_requests": -1, "error_rate": None},
        {"error_rate": 0.03},
        {"total_requests": 0, "failed_requests": None, "error_rate": 0.5},
        {"success_rate": 0.5},
        {"success_rate": 1.5},
        {"custom": math.nan},
        {"custom": object()},
    ],
)
def test_impossible_and_contradictory_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((InvalidMetricError, InvalidInputError)):
        check(**changes)


def test_metrics_must_be_a_mapping() -> None:
    with pytest.raises(InvalidMetricError, match="list"):
        assess("v1", [("error_rate", 0.1)], Thresholds(), NOW)


def test_a_rounded_rate_is_accepted_and_the_counts_decide() -> None:
    found = check(error_rate=0.10, total_requests=101, failed_requests=10)
    assert found.error_rate == 10 / 101
    assert found.is_healthy


def test_other_metrics_are_kept() -> None:
    found = check(success_rate=0.98, recall=0.41, segments={"dns": 3})
    assert found.details["metrics"] == {"success_rate": 0.98, "recall": 0.41, "segments": {"dns": 3}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_rate": 0},
        {"error_rate": 1.5},
        {"error_rate": math.nan},
        {"error_rate": "0.1"},
        {"latency_ms": 0},
        {"latency_ms": -5},
        {"latency_ms": math.inf},
        {"min_requests": 0},
        {"min_requests": 2.5},
        {"min_requests": True},
    ],
)
def test_senseless_thresholds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Thresholds(**wrong)


def test_a_check_made_by_hand_follows_is_healthy() -> None:
    assert HealthCheck(NOW, "v1", True, 0.0, 1.0, 1.0).status is HealthStatus.HEALTHY
    assert HealthCheck(NOW, "v1", False, 0.5, 1.0, 0.5, {}).status is HealthStatus.UNHEALTHY
    with pytest.raises(InvalidInputError, match="the status is unknown"):
        HealthCheck(NOW, "v1", True, None, None, None, {}, HealthStatus.UNKNOWN)


rates = st.one_of(st.none(), st.floats(0, 1))
latencies = st.one_of(st.none(), st.floats(0, 1e6))
counts = st.one_of(st.none(), st.integers(0, 10**9))


@given(error_rate=rates, latency=latencies, total=counts, failed=counts)
def test_every_accepted_measurement_is_judged_by_the_law(
    error_rate: float | None, latency: float | None, total: int | None, failed: int | None
) -> None:
    metrics = {
        "error_rate": error_rate,
        "avg_latency_ms": latency,
        "total_requests": total,
        "failed_requests": failed,
    }
    try:
        found = assess("v1", metrics, Thresholds(), NOW)
    except InvalidMetricError:
        return
    known = [found.error_rate, found.avg_latency_ms, total]
    bad = (found.error_rate or 0) >= 0.10 or (found.avg_latency_ms or 0) >= 100
    if total is None or total < 50:
        expected = HealthStatus.UNKNOWN
    elif bad:
        expected = HealthStatus.UNHEALTHY
    else:
        expected = HealthStatus.UNKNOWN if None in known else HealthStatus.HEALTHY
    assert found.status is expected
    assert HealthCheck.from_dict(json.loads(json.dumps(found.to_dict()))) == found
