"""The rules of A/B tests and outcomes: assignment, labels, sums, looks, snapshots, workspaces."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.ab_tests import FIRST_LOOK, TestStatus, next_look
from sentinelzer0.domain.outcomes import Increment, Outcome, check_label, numbers_of, tally
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.mlops.ab_testing import ABTest, ABTestManager, TestMetrics
from sentinelzer0.stats.histogram import bucket_of
from sentinelzer0.storage.ab_outcomes import NUMBERS

# Outcomes -----------------------------------------------------------------------------------------------------------


def test_labels_in_every_spelling() -> None:
    numpy = pytest.importorskip("numpy")
    attack = (True, 1, 1.0, "1", "true", "TRUE", " Attack ", "malicious", numpy.bool_(1), numpy.int64(1))
    benign = (False, 0, 0.0, "0", "false", "Benign", "normal", numpy.bool_(0), numpy.float32(0))
    assert {check_label(word, "label") for word in attack} == {1}
    assert {check_label(word, "label") for word in benign} == {0}
    assert check_label(None, "label") is None
    for word in (2, -1, 0.5, float("nan"), "yes", "", b"attack", ["attack"], {}, numpy.array([1])):
        with pytest.raises(InvalidInputError, match="neither an attack nor benign"):
            check_label(word, "label")


outcomes = st.builds(
    Outcome,
    request_id=st.just("r"),
    arm=st.sampled_from("AB"),
    success=st.integers(0, 1),
    latency_ms=st.floats(0, 1e6),
    confidence=st.none() | st.floats(0, 1),
    predicted=st.none() | st.integers(0, 1),
    true=st.none() | st.integers(0, 1),
    custom=st.dictionaries(st.sampled_from(["x", "y"]), st.floats(-1e6, 1e6)),
)


def plain(increment: Increment) -> list[Any]:
    numbers = [getattr(increment, name) for name in NUMBERS]
    return [*numbers, *sorted(increment.buckets.items()), *sorted((n, *sums) for n, sums in increment.custom.items())]


def merged(first: Increment, second: Increment) -> Increment:
    custom = dict(first.custom)
    for name, sums in second.custom.items():
        mine = custom.get(name, (0, 0.0, 0.0))
        custom[name] = (mine[0] + sums[0], mine[1] + sums[1], mine[2] + sums[2])
    return Increment(
        **{name: getattr(first, name) + getattr(second, name) for name in NUMBERS},
        buckets=dict(Counter(first.buckets) + Counter(second.buckets)),
        custom=custom,
    )


def close(first: list[Any], second: list[Any]) -> bool:
    def flat(values: list[Any]) -> list[Any]:
        return [item for value in values for item in (value if isinstance(value, tuple) else (value,))]

    return [v for v in flat(first) if isinstance(v, str)] == [v for v in flat(second) if isinstance(v, str)] and flat(
        [v for v in flat(first) if not isinstance(v, str)]
    ) == pytest.approx([v for v in flat(second) if not isinstance(v, str)], rel=1e-9, abs=1e-6)


@given(st.lists(outcomes, max_size=8), st.lists(outcomes, max_size=8))
def test_tallies_add_up(first: list[Outcome], second: list[Outcome]) -> None:
    together = tally(first + second)
    one, other = tally(first), tally(second)
    for arm in together:
        whole = merged(one.get(arm, Increment()), other.get(arm, Increment()))
        assert close(plain(together[arm]), plain(whole))


@given(outcomes)
def test_the_numbers_of_one_are_its_tally(outcome: Outcome) -> None:
    of_one = tally([outcome])[outcome.arm]
    assert tuple(getattr(of_one, name) for name in NUMBERS) == pytest.approx(numbers_of(outcome))
    assert of_one.buckets == {bucket_of(outcome.latency_ms): 1}


@given(st.integers(0, 1), st.none() | st.integers(0, 1), st.integers(0, 1))
def test_moving_a_label_is_taking_out_and_putting_in(predicted: int, before: int | None, after: int) -> None:
    moved = Increment()
    moved.add_label(predicted, before)
    moved.move_label(predicted, before, after)
    straight = Increment()
    straight.add_label(predicted, after)
    assert moved == straight


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
