"""The rules of A/B tests and outcomes: assignment, labels, sums, looks, snapshots, workspaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinelzer0.domain.ab_tests import FIRST_LOOK, TestStatus, next_look
from sentinelzer0.mlops.ab_testing import ABTest, ABTestManager, TestMetrics

# Looks --------------------------------------------------------------------------------------------------------------


def test_looks_grow_with_the_logarithm_of_the_traffic() -> None:
    at, looks = FIRST_LOOK, 0
    while at < 10**8:
        later = next_look(at)
        assert at < later <= at * 1.03 + 1
        at, looks = later, looks + 1
    assert looks < 550


# Values -------------------------------------------------------------------------------------------------------------


def test_metrics_of_an_arm() -> None:
    metrics = TestMetrics("v1", 10, 8, 2, 12.5, 0.9, 3, 1, 4, 2, {"cost": 1.5})
    assert (metrics.error_rate, metrics.precision, metrics.recall) == (0.2, 0.75, 0.6)
    assert metrics.f1_score == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert metrics.to_dict()["computed_metrics"]["recall"] == 0.6
    assert TestMetrics.from_dict(json.loads(json.dumps(metrics.to_dict()))) == metrics
    assert TestMetrics("v1").f1_score == TestMetrics("v1").error_rate == 0.0


def test_a_test_of_version_3_3_can_be_read() -> None:
    metrics = {"model_version": "v1", "total_requests": 2, "computed_metrics": {"error_rate": 0.5}}
    old = {
        "test_id": "test_20261122_200959",
        "test_name": "v1 vs v2",
        "model_a": "v1",
        "model_b": "v2",
        "traffic_split": 0.3,
        "status": "paused",
        "created_at": "2026-11-22T20:09:59+00:00",
        "metrics_a": metrics,
        "metrics_b": None,
        "winner": None,
        "winner_confidence": None,
    }
    test = ABTest.from_dict(old)
    assert (test.status, test.winner_confidence) == (TestStatus.PAUSED, 0.0)
    assert test.metrics_a == TestMetrics("v1", 2)


# Workspaces ---------------------------------------------------------------------------------------------------------


def test_a_directory_named_ab_tests_belongs_to_its_parent(tmp_path: Path) -> None:
    first = ABTestManager(tmp_path / "models" / "ab_tests")
    test = first.create_test("A/B of v2", "v1", "v2")
    assert first.tests_dir == tmp_path / "models" / "ab_tests"
    assert first.tests_dir.is_dir()
    assert (tmp_path / "models" / "sentinelzer0.db").is_file()
    second = ABTestManager(str(tmp_path / "models" / "ab_tests"))
    assert list(second.tests) == [test.test_id]
    own = ABTestManager(tmp_path / "experiments")
    assert (tmp_path / "experiments" / "sentinelzer0.db").is_file()
    assert list(own.tests) == []
    elsewhere = own.create_test("A/B of v2", "v1", "v2")
    own.cancel_test(elsewhere.test_id)
    assert own.tests_dir == tmp_path / "experiments"
    assert (own.tests_dir / f"{elsewhere.test_id}.json").is_file(), "it says where the files lie"
    again = ABTestManager(own.tests_dir)
    assert list(again.tests) == [elsewhere.test_id], "and opens the same workspace"
    with pytest.raises(AttributeError):
        own.tests_dir = tmp_path  # type: ignore[misc]
    for manager in (first, second, own, again):
        manager.kernel.close()
