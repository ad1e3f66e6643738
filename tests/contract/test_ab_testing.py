"""A/B tests on every backend: life cycle, recording, joining, verdicts, real traffic, exactness under concurrency."""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from sentinelzer0.errors import (
    ABTestNotFoundError,
    ApprovalRequiredError,
    ConflictError,
    GateFailedError,
    IllegalTransitionError,
    IntegrityError,
    InvalidInputError,
    QuarantinedError,
    SentinelError,
    VersionNotFoundError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.measurement_checks import check_measurements
from sentinelzer0.maintenance.report import Status
from sentinelzer0.mlops.ab_testing import ABTest, ABTestManager, TestMetrics, TestStatus
from sentinelzer0.mlops.deployments import Deployments
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager, VersionStatus
from sentinelzer0.testing import FakeClock


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


@pytest.fixture
def running(manager: ABTestManager) -> str:
    test = manager.create_test("v1 against v2", "v1", "v2")
    manager.start_test(test.test_id)
    return test.test_id


def actions(kernel: Kernel, test_id: str) -> list[tuple[str, str]]:
    with kernel.read() as view:
        return [(record.action, record.outcome.value) for record in view.audit.of_subject(f"ab_test:{test_id}")]


def outcome(version: str, *, right: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "model_version": version,
        "success": True,
        "latency_ms": 10.0,
        "predicted_label": True,
        "true_label": right,
    } | more


def a_better_b(count: int = 600) -> list[dict[str, Any]]:
    draw = random.Random(5)
    return [
        outcome(version, right=draw.random() < share)
        for _ in range(count)
        for version, share in (("v1", 0.7), ("v2", 0.95))
    ]


def counts(metrics: TestMetrics | None) -> tuple[int, int, int, int, int]:
    assert metrics is not None
    return (
        metrics.total_requests,
        metrics.true_positives,
        metrics.false_positives,
        metrics.true_negatives,
        metrics.false_negatives,
    )


def arms(manager: ABTestManager, test_id: str) -> tuple[TestMetrics, TestMetrics]:
    test = manager.get_test(test_id)
    assert test is not None
    assert test.metrics_a is not None
    assert test.metrics_b is not None
    return test.metrics_a, test.metrics_b


# Life cycle ---------------------------------------------------------------------------------------------------------


def test_a_life(kernel: Kernel, manager: ABTestManager, clock: FakeClock) -> None:
    created = manager.create_test(
        "v1 against v2", "v1", "v2", 0.3, "why", "ayse", min_samples=2, primary_metric="error_rate"
    )
    assert (created.status, created.started_at, created.winner, created.winner_confidence) == ("setup", None, None, 0.0)
    assert created.test_id.startswith("test_")
    assert manager.start_test(created.test_id, started_by="ayse").status is TestStatus.RUNNING
    clock.advance(seconds=60)
    assert manager.pause_test(created.test_id, paused_by="mehmet", reason="lunch").status is TestStatus.PAUSED
    resumed = manager.resume_test(created.test_id)
    assert resumed.status is TestStatus.RUNNING
    manager.record_results(created.test_id, [outcome(v) for v in ("v1", "v2") for _ in range(2)])
    results = manager.complete_test(created.test_id, completed_by="ayse")
    assert results["status"] == "completed"
    assert results["winner"] is None
    done = manager.get_test(created.test_id)
    assert done is not None
    assert done.started_at == resumed.started_at
    assert done.ended_at is not None
    assert ABTest.from_dict(json.loads(json.dumps(done.to_dict()))) == done
    assert actions(kernel, created.test_id) == [
        ("ab_test:design:create", "ok"),
        ("ab_test:state:start", "ok"),
        ("ab_test:state:pause", "ok"),
        ("ab_test:state:resume", "ok"),
        ("ab_test:state:complete", "ok"),
    ]


def test_every_other_move_is_refused_and_on_record(kernel: Kernel, manager: ABTestManager) -> None:
    def in_status(status: str) -> str:
        test_id = manager.create_test("t", "v1", "v2", min_samples=1).test_id
        if status != "setup":
            manager.start_test(test_id)
            manager.record_results(test_id, [outcome("v1"), outcome("v2")])
        if status == "paused":
            manager.pause_test(test_id)
        if status == "completed":
            manager.complete_test(test_id)
        if status == "cancelled":
            manager.cancel_test(test_id)
        return test_id

    allowed = {
        "setup": {"start", "cancel"},
        "running": {"pause", "cancel", "complete"},
        "paused": {"resume", "cancel", "complete"},
        "completed": set(),
        "cancelled": set(),
    }
    for status, verbs in allowed.items():
        test_id = in_status(status)
        for verb in {"start", "pause", "resume", "cancel", "complete"} - verbs:
            with pytest.raises(IllegalTransitionError, match=status):
                getattr(manager, f"{verb}_test")(test_id)
            assert actions(kernel, test_id)[-1] == (f"ab_test:state:{verb}", "refused")
            assert manager.tests[test_id].status == status


def test_a_test_that_does_not_exist(manager: ABTestManager) -> None:
    for name in ("start", "pause", "resume", "cancel", "complete"):
        with pytest.raises(ABTestNotFoundError):
            getattr(manager, f"{name}_test")("test_none")
    for call in (
        lambda: manager.route_request("test_none"),
        lambda: manager.record_result("test_none", "v1", True, 1.0),
        lambda: manager.record_results("test_none", [outcome("v1")]),
        lambda: manager.record_label("test_none", "r", True),
        lambda: manager.get_test_results("test_none"),
        lambda: manager.report("test_none", "/nowhere.html"),
    ):
        with pytest.raises(ABTestNotFoundError):
            call()
    assert manager.get_test("test_none") is None
    for odd in ("a\0b", "\ud800", [], None, 10**5000):
        assert manager.get_test(odd) is None  # type: ignore[arg-type]
        for call in (
            lambda name: manager.route_request(name, "key"),
            lambda name: manager.record_result(name, "v1", True, 1.0),
            lambda name: manager.record_results(name, [outcome("v1")]),
            lambda name: manager.record_label(name, "r", True),
            manager.start_test,
            manager.get_test_results,
        ):
            with pytest.raises(ABTestNotFoundError):
                call(odd)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_b": "v1"},
        {"model_a": ""},
        {"model_b": 3},
        {"test_name": "a\nb"},
        {"traffic_split": -0.01},
        {"traffic_split": 1.01},
        {"traffic_split": float("nan")},
        {"traffic_split": True},
        {"traffic_split": "half"},
        {"traffic_split": 10**400},
        {"significance_threshold": 10**400},
        {"min_samples": 10**400},
        {"min_samples": 0},
        {"min_samples": 1.5},
        {"significance_threshold": 0.0},
        {"significance_threshold": 1},
        {"primary_metric": "beauty"},
        {"description": None},
        {"created_by": ""},
        {"deployment": "../x"},
        {"deployment": "staging"},
        {"model": "a b"},
    ],
    ids=str,
)
def test_a_wrong_design_is_refused_and_leaves_nothing(manager: ABTestManager, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        manager.create_test(**{"test_name": "t", "model_a": "v1", "model_b": "v2"} | wrong)
    assert manager.list_tests() == []


def test_names_and_numbers_of_numeric_libraries_become_plain(manager: ABTestManager) -> None:
    test = manager.create_test(
        np.str_("t"), np.str_("v1"), "v2", traffic_split=np.float32(0.5), min_samples=np.int64(3)
    )
    assert [type(value) for value in (test.test_name, test.model_a, test.min_samples)] == [str, str, int]
    manager.start_test(np.str_(test.test_id))
    assert manager.route_request(np.str_(test.test_id), np.str_("a")) in {"v1", "v2"}
    recorded = manager.record_result(
        np.str_(test.test_id), np.str_("v1"), np.True_, np.float32(2), request_id=np.str_("r"), key=np.int64(7)
    )
    assert (recorded.counted, type(recorded.request_id)) == (1, str)
    assert manager.record_label(test.test_id, np.str_("r"), True).late == 0


def test_tests_are_listed_newest_first_and_seen_live(manager: ABTestManager, clock: FakeClock) -> None:
    names = []
    for number in range(3):
        names.append(manager.create_test(f"t{number}", "v1", "v2").test_id)
        clock.advance(seconds=1)
    manager.start_test(names[1])
    assert [test.test_id for test in manager.list_tests()] == names[::-1]
    assert [test.test_id for test in manager.list_tests(status="running")] == [names[1]]
    assert list(manager.tests) == names
    for change in (
        lambda tests: tests.__setitem__("x", 1),
        lambda tests: tests.__delitem__(names[0]),
        lambda tests: tests.pop(names[0]),
        lambda tests: tests.update({"x": 1}),
        lambda tests: tests.setdefault("x", 1),
        lambda tests: tests.popitem(),
        lambda tests: tests.clear(),
        lambda tests: tests.__ior__({}),
    ):
        with pytest.raises(TypeError, match=r"view.*create_test"):
            change(manager.tests)
    with pytest.raises(InvalidInputError):
        manager.list_tests("sleeping")


# Routing ------------------------------------------------------------------------------------------------------------


def test_a_key_stays_in_its_arm_everywhere(kernel: Kernel, manager: ABTestManager, running: str) -> None:
    keys = [f"host-{number}" for number in range(2000)]
    first = [manager.route_request(running, key) for key in keys]
    assert [ABTestManager(kernel=kernel).route_request(running, key) for key in keys] == first
    assert 0.45 < first.count("v2") / len(first) < 0.55
    assert (
        manager.route_request(running, 7) == manager.route_request(running, "7") == manager.route_request(running, b"7")
    )
    with pytest.raises(InvalidInputError):
        manager.route_request(running, 1.5)  # type: ignore[arg-type]
    drawn = [manager.route_request(running) for _ in range(2000)]
    assert 0.4 < drawn.count("v2") / len(drawn) < 0.6


def test_only_a_running_test_routes_to_the_challenger(kernel: Kernel, manager: ABTestManager, clock: FakeClock) -> None:
    test_id = manager.create_test("all", "v1", "v2", 1.0).test_id
    elsewhere = ABTestManager(kernel=kernel)
    assert (manager.route_request(test_id, "k"), elsewhere.route_request(test_id, "k")) == ("v1", "v1")
    manager.start_test(test_id)
    assert manager.route_request(test_id, "k") == "v2"
    assert elsewhere.route_request(test_id, "k") == "v1", "read less than 50 ms ago"
    clock.advance(seconds=0.051)
    assert elsewhere.route_request(test_id, "k") == "v2"
    manager.pause_test(test_id)
    assert manager.route_request(test_id) == "v1"


# Recording ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_version": "v3"},
        {"model_version": ["v1"]},
        {"success": "yes"},
        {"success": None},
        {"latency_ms": -1.0},
        {"latency_ms": float("nan")},
        {"latency_ms": float("inf")},
        {"latency_ms": "3"},
        {"latency_ms": True},
        {"confidence": 1.01},
        {"confidence": float("nan")},
        {"true_label": "maybe"},
        {"true_label": 2},
        {"predicted_label": [1]},
        {"custom_metrics": {"x": float("nan")}},
        {"custom_metrics": {"x": "1"}},
        {"custom_metrics": {3: 1.0}},
        {"custom_metrics": [1.0]},
        {"request_id": ""},
        {"request_id": "x" * 201},
        {"request_id": 7},
        {"request_id": "a\0b"},
        {"request_id": "\ud800"},
        {"key": 1.5},
        {"latency_ms": 10**400},
        {"confidence": 10**400},
        {"custom_metrics": {"size": 10**400}},
        {"model_version": []},
        {"model_version": 10**400},
    ],
    ids=ascii,
)
def test_an_impossible_outcome_is_refused_and_a_batch_with_it(
    manager: ABTestManager, running: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError):
        manager.record_result(running, **outcome("v1") | wrong)
    with pytest.raises(InvalidInputError, match="Row 2"):
        manager.record_results(running, [outcome("v1"), outcome("v2"), outcome("v1") | wrong])
    assert arms(manager, running)[0].total_requests == 0


def test_a_key_too_long_to_write_out_is_refused(manager: ABTestManager, running: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be a key"):
        manager.route_request(running, 10**5000)
    with pytest.raises(InvalidInputError, match="cannot be a key"):
        manager.record_result(running, "v1", True, 1.0, key=10**5000)


def test_rows_that_are_no_rows(manager: ABTestManager, running: str) -> None:
    for rows in ("text", {"model_version": "v1"}, None, 5):
        with pytest.raises(InvalidInputError):
            manager.record_results(running, rows)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"Row 0.*latency_ms"):
        manager.record_results(running, [{"model_version": "v1", "success": True}])
    with pytest.raises(InvalidInputError, match=r"Row 1.*colour"):
        manager.record_results(running, [outcome("v1"), outcome("v1", colour="red")])
    with pytest.raises(InvalidInputError, match="Row 0"):
        manager.record_results(running, [5])  # type: ignore[list-item]
    assert manager.record_results(running, []).counted == 0


def test_what_is_measured(manager: ABTestManager, running: str) -> None:
    rows: list[dict[str, Any]] = [
        {
            "model_version": "v1",
            "success": True,
            "latency_ms": 10,
            "confidence": 0.5,
            "true_label": 1,
            "predicted_label": 1,
        },
        {
            "model_version": "v1",
            "success": False,
            "latency_ms": 30.0,
            "true_label": "attack",
            "predicted_label": "benign",
        },
        {
            "model_version": "v1",
            "success": True,
            "latency_ms": 20.0,
            "confidence": 1,
            "true_label": False,
            "predicted_label": True,
        },
        {"model_version": "v1", "success": True, "latency_ms": 0.0, "true_label": "NORMAL", "predicted_label": 0},
        {"model_version": "v2", "success": True, "latency_ms": 5.0, "custom_metrics": {"cost": 2.0, "tokens": 7}},
        {"model_version": "v2", "success": True, "latency_ms": 5.0, "custom_metrics": {"cost": 4.0}, "key": "host-1"},
    ]
    for row in rows[:3]:
        manager.record_result(running, **row)
    manager.record_results(running, rows[3:])
    a, b = arms(manager, running)
    assert (a.total_requests, a.successful_requests, a.failed_requests, a.error_rate) == (4, 3, 1, 0.25)
    assert (a.avg_latency_ms, a.avg_confidence) == (15.0, 0.75)
    assert counts(a)[1:] == (1, 1, 1, 1)
    assert (a.precision, a.recall, a.f1_score) == (0.5, 0.5, 0.5)
    assert a.latency_p95_ms == pytest.approx(30.0, rel=0.01)
    assert (b.custom_metrics, b.f1_score, b.latency_p50_ms) == (
        {"cost": 3.0, "tokens": 7.0},
        0.0,
        pytest.approx(5, rel=0.01),
    )
    results = manager.get_test_results(running)
    f1_score = results["comparison"]["f1_score"]
    assert {name: f1_score[name] for name in ("model_a", "model_b", "difference", "percent_change", "winner")} == {
        "model_a": 0.5,
        "model_b": None,
        "difference": None,
        "percent_change": None,
        "winner": None,
    }
    assert results["comparison"]["avg_latency_ms"]["difference"] == -10.0
    assert set(results["comparison"]) == {
        "error_rate", "avg_latency_ms", "accuracy", "precision", "recall", "f1_score", "avg_confidence",
        "custom:cost", "custom:tokens",
    }  # fmt: skip
    json.dumps(results)


def test_recording_before_the_start_is_refused_and_on_record(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = manager.create_test("t", "v1", "v2").test_id
    with pytest.raises(IllegalTransitionError, match="not started"):
        manager.record_result(test_id, "v1", True, 1.0)
    with pytest.raises(IllegalTransitionError, match="not started"):
        manager.record_label(test_id, "r", True)
    assert actions(kernel, test_id)[1:] == [("ab_test:outcome:record", "refused"), ("ab_test:outcome:label", "refused")]
    assert counts(arms(manager, test_id)[0])[0] == 0


def test_a_repeat_counts_once_and_a_contradiction_is_refused(
    kernel: Kernel, manager: ABTestManager, running: str
) -> None:
    first = manager.record_result(running, **outcome("v1", request_id="r1"))
    again = manager.record_result(running, **outcome("v1", request_id="r1"))
    assert (first.counted, first.duplicates, first.request_id) == (1, 0, "r1")
    assert (again.counted, again.duplicates, again.labelled) == (0, 1, 0)
    with pytest.raises(ConflictError, match="v1 \\(arm A\\) before"):
        manager.record_result(running, **outcome("v2", request_id="r1"))
    with pytest.raises(ConflictError, match="Row 1"):
        manager.record_results(running, [outcome("v2", request_id="r2"), outcome("v2", request_id="r1")])
    batch = manager.record_results(
        running, [outcome("v1", request_id=name) for name in ("r1", "r2", "r2", "r3")] + [outcome("v1")]
    )
    assert (batch.counted, batch.duplicates, batch.request_id) == (3, 2, None)
    a, b = arms(manager, running)
    assert (counts(a)[:2], b.total_requests) == ((4, 4), 0)
    assert actions(kernel, running)[-2:] == [("ab_test:outcome:record", "refused")] * 2


@pytest.mark.parametrize("in_batches", [False, True])
def test_labels_are_joined_in_any_order(manager: ABTestManager, running: str, in_batches: bool) -> None:
    def record(*rows: dict[str, Any]) -> None:
        if in_batches:
            manager.record_results(running, rows)
        else:
            for row in rows:
                manager.record_result(running, **row)

    bare = {"model_version": "v1", "success": True, "latency_ms": 1.0, "predicted_label": 1}
    assert manager.record_label(running, "early", "attack").labelled == 0
    record(bare | {"request_id": "late"}, bare | {"request_id": "early"}, bare | {"request_id": "repeat"})
    assert counts(arms(manager, running)[0]) == (3, 1, 0, 0, 0)
    assert manager.record_label(running, "late", False).labelled == 1
    assert manager.record_label(running, "late", False).labelled == 0, "twice counts once"
    record(bare | {"request_id": "repeat", "true_label": True}, bare | {"request_id": "other", "true_label": True})
    assert counts(arms(manager, running)[0]) == (4, 3, 1, 0, 0)
    assert manager.record_label(running, "late", True).labelled == 1, "a later label replaces an earlier one"
    assert counts(arms(manager, running)[0]) == (4, 4, 0, 0, 0)
    for wrong in (None, "perhaps"):
        with pytest.raises(InvalidInputError):
            manager.record_label(running, "late", wrong)


def test_a_generated_id_can_be_labelled(manager: ABTestManager, running: str) -> None:
    recorded = manager.record_result(running, "v2", True, 1.0, predicted_label=False)
    assert recorded.request_id is not None
    assert recorded.request_id.startswith("out_")
    manager.record_label(running, recorded.request_id, True)
    assert counts(arms(manager, running)[1]) == (1, 0, 0, 0, 1)


def test_after_the_end_everything_is_late(kernel: Kernel, manager: ABTestManager, running: str) -> None:
    manager.record_results(running, a_better_b())
    manager.record_result(running, "v1", True, 1.0, predicted_label=True, request_id="unlabelled")
    done = manager.complete_test(running)
    assert done["winner"] == "v2"
    late = manager.record_results(running, [outcome("v1", right=True, request_id=f"late-{n}") for n in range(5000)])
    assert (late.counted, late.late) == (0, 5000)
    assert manager.record_result(running, **outcome("v1", request_id="late-1")).duplicates == 1
    assert manager.record_label(running, "unlabelled", True).late == 1
    assert manager.record_label(running, "unknown", True).late == 1
    assert manager.record_results(running, [outcome("v1", request_id="unknown")]).late == 1
    assert manager.record_results(running, [outcome("v1", right=False, request_id="late-2")]).duplicates == 1
    with kernel.read() as view:
        found = {name: view.outcomes.find(running, name) for name in ("unlabelled", "unknown", "late-2")}
    kept = {name: [(row.arm, row.predicted, row.true, row.late) for row in rows] for name, rows in found.items()}
    assert kept == {"unlabelled": [("A", 1, 1, 0)], "unknown": [("A", 1, 1, 1)], "late-2": [("A", 1, 0, 1)]}
    after = manager.get_test_results(running)
    assert after["metrics_a"].pop("late_requests") == 5001, "outcomes; a label is none"
    done["metrics_a"].pop("late_requests")
    assert {name: done[name] for name in after} == after
    assert check_measurements(kernel).status is Status.PASS
    assert actions(kernel, running)[-1] == ("ab_test:state:complete", "ok")


# Verdicts -----------------------------------------------------------------------------------------------------------


def test_a_verdict_is_reached_on_the_way_latched_and_never_flips(
    kernel: Kernel, manager: ABTestManager, running: str
) -> None:
    for row in a_better_b(300):
        manager.record_result(running, **row)
    reached = manager.get_test(running)
    assert reached is not None
    assert reached.winner == "v2"
    assert actions(kernel, running).count(("ab_test:verdict:reach", "ok")) == 1
    assert reached.verdict["samples_a"] >= 100
    assert reached.winner_confidence == pytest.approx(1 - reached.verdict["p_value"])
    assert reached.winner_confidence > 0.95
    manager.record_results(running, [outcome("v2", right=False) for _ in range(4000)])
    turned = manager.get_test_results(running)
    assert turned["comparison"]["f1_score"]["winner"] == "A", "the data now say the opposite"
    assert turned["statistical_significance"]["is_significant"]
    assert turned["statistical_significance"]["winner"] == "B"
    counted = reached.verdict["samples_a"] + reached.verdict["samples_b"]
    assert turned["recommendation"].startswith(
        f"Promote v2, which has the higher F1 score: when the verdict was reached, after {counted:,} labelled requests, "
        "the difference v2 - v1 lay between +"
    ), "what was shown then, not what the interval is by now"
    done = manager.complete_test(running)
    assert (done["winner"], done["winner_confidence"]) == ("v2", reached.winner_confidence)
    assert actions(kernel, running).count(("ab_test:verdict:reach", "ok")) == 1


def test_a_look_at_the_results_can_reach_the_verdict(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = manager.create_test("t", "v1", "v2", guardrails=()).test_id
    manager.start_test(test_id)
    rows = a_better_b(110)
    with kernel.record_outcomes() as view:  # no look is due before the end
        view.streams.set_next_look(test_id, 10**9)
    manager.record_results(test_id, rows)
    assert manager.tests[test_id].winner is None
    results = manager.get_test_results(test_id)
    assert results["statistical_significance"]["is_significant"]
    assert manager.tests[test_id].winner == "v2"
    assert actions(kernel, test_id)[-1] == ("ab_test:verdict:reach", "ok")


def test_too_few_samples_end_only_by_force_which_invents_nothing(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = manager.create_test("t", "v1", "v2", min_samples=100).test_id
    manager.start_test(test_id)
    with pytest.raises(GateFailedError, match="0 of v1 and 0 of v2"):
        manager.complete_test(test_id)
    manager.record_results(test_id, a_better_b(99))
    assert manager.get_test_results(test_id)["statistical_significance"]["is_significant"] is False
    with pytest.raises(GateFailedError, match="99 of v1 and 99 of v2"):
        manager.complete_test(test_id)
    assert actions(kernel, test_id)[-1] == ("ab_test:state:complete", "refused")
    assert manager.record_result(test_id, **outcome("v1")).counted == 1, "a refused end leaves it running"
    done = manager.complete_test(test_id, force=True)
    assert (done["winner"], done["winner_confidence"]) == (None, 0.0)
    assert done["recommendation"].startswith("No verdict, so v1 stays: ")


def test_the_looks_are_few_and_narrow(kernel: Kernel, manager: ABTestManager, running: str) -> None:
    for row in a_better_b(400):
        manager.record_result(running, **row)
    with kernel.read() as view:
        looks = view.ab_tests.looks.all(running)
    assert looks[0].events == 20
    assert 60 < len(looks) < 140
    assert sum(looks[-1].readings["requests"].values()) == looks[-1].events
    decisive = [look.events for look in looks if look.decision is not None]
    verdict = manager.tests[running].verdict
    assert decisive[0] == verdict["events"]


# Exactness ----------------------------------------------------------------------------------------------------------


def record_many(location: str, test_id: str, worker: int) -> None:
    """Record 240 outcomes, half of them in batches, every fourth of them twice, labels from another batch."""
    manager = ABTestManager(kernel=Kernel(location))
    version = ("v1", "v2")[worker % 2]
    for number in range(60):
        row = outcome(version, request_id=f"{worker}-{number}", true_label=None)
        for _ in range(1 + (number % 4 == 0)):
            manager.record_result(test_id, **row)
        manager.record_label(test_id, f"{worker}-{number}", number % 3 == 0)
    batch = [outcome(version, request_id=f"{worker}-b{number}", latency_ms=float(number)) for number in range(180)]
    manager.record_results(test_id, batch[:100])
    manager.record_results(test_id, batch[50:])
    manager.kernel.close()


def check_exact(manager: ABTestManager, test_id: str, workers: int) -> None:
    for arm in arms(manager, test_id):
        each = workers // 2
        assert counts(arm) == (240 * each, (180 + 20) * each, 40 * each, 0, 0)
        assert arm.avg_latency_ms == pytest.approx((sum(range(180)) + 600) / 240)


def test_four_processes_lose_and_double_nothing(location: str, manager: ABTestManager, running: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=record_many, args=(location, running, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    assert [worker.exitcode for worker in workers] == [0] * 4
    check_exact(manager, running, 4)


def test_threads_of_one_manager_lose_and_double_nothing(location: str, manager: ABTestManager, running: str) -> None:
    workers = [threading.Thread(target=record_many, args=(location, running, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    check_exact(manager, running, 4)


def test_ends_race_with_recorders_without_losing_an_outcome(manager: ABTestManager, running: str) -> None:
    manager.record_results(running, [outcome(v) for v in ("v1", "v2") for _ in range(100)])
    told: list[tuple[int, int]] = []

    def keep_recording() -> None:
        for _ in range(60):
            recorded = manager.record_result(running, **outcome("v1"))
            told.append((recorded.counted, recorded.late))

    recorder = threading.Thread(target=keep_recording)
    recorder.start()
    done = manager.complete_test(running)
    recorder.join(60)
    after, _ = arms(manager, running)
    assert after.total_requests == 100 + sum(counted for counted, _ in told) == done["metrics_a"]["total_requests"]
    assert after.late_requests == sum(late for _, late in told)


# Files and report ---------------------------------------------------------------------------------------------------


def test_the_readable_file_follows(kernel: Kernel, manager: ABTestManager, running: str) -> None:
    path = kernel.layout.ab_tests / f"{running}.json"
    assert json.loads(path.read_text())["test"]["status"] == "running"
    manager.record_results(running, a_better_b())
    manager.complete_test(running)
    content = json.loads(path.read_text())
    assert (content["test"]["winner"], content["results"]["metrics_a"]["total_requests"]) == ("v2", 600)


@pytest.mark.parametrize("rows", [0, 1, 30, 600])
def test_the_report_is_one_file_at_every_stage(manager: ABTestManager, tmp_path: Path, rows: int) -> None:
    test = manager.create_test("<b>v1</b> & v2", "v1", "v2", min_samples=10)
    manager.start_test(test.test_id)
    manager.record_results(test.test_id, a_better_b(rows))
    path = manager.report(test.test_id, tmp_path / "deep" / "report.html")
    html = path.read_text()
    assert "<script" not in html
    assert "&lt;b&gt;v1&lt;/b&gt; &amp; v2" in html
    assert ("Promote v2, which has the higher F1 score" in html) == (rows == 600)


@pytest.mark.parametrize("rows", [30, 600])
def test_the_report_of_an_ended_test_says_the_same_for_ever(
    manager: ABTestManager, clock: FakeClock, tmp_path: Path, rows: int
) -> None:
    test_id = manager.create_test("ended", "v1", "v2", min_samples=10).test_id
    manager.start_test(test_id)
    manager.record_results(test_id, a_better_b(rows))
    clock.advance(seconds=100)
    manager.complete_test(test_id, force=True)
    ended = manager.get_test(test_id)
    assert ended is not None
    assert ended.ended_at is not None
    reports = []
    for number in range(2):
        clock.advance(seconds=5000)
        reports.append(json.loads(manager.report(test_id, tmp_path / f"{number}.json").read_text()))
    first, second = reports
    assert first["generated_at"] != second["generated_at"]
    assert first["data_sha256"] == second["data_sha256"]
    looks = first["looks"]
    assert looks == second["looks"]
    assert {frozenset(look) for look in looks} == {frozenset(looks[-1])}
    assert "verdict" in looks[-1]
    assert max(datetime.fromisoformat(look["recorded_at"]) for look in looks) <= ended.ended_at
    decided = [look for look in looks if look["decision"] is not None]
    assert [look["recorded_at"] for look in decided[:1]] == [first["results"]["decision"]["reached_at"]] * (rows == 600)


# Real traffic -------------------------------------------------------------------------------------------------------


@pytest.fixture
def serving(kernel: Kernel, model_file: Path) -> ModelVersionManager:
    """v1 serves production; v2 and v3 exist."""
    versions = ModelVersionManager(kernel=kernel)
    for number in (1, 2, 3):
        model_file.write_bytes(b"weights %d" % number)
        versions.create_version(model_file, f"v{number}")
    promote(versions, "v1")
    return versions


def promote(versions: ModelVersionManager, version: str) -> None:
    versions.promote_version(version, VersionStatus.STAGING)
    versions.promote_version(version, VersionStatus.PRODUCTION)


def revisions(kernel: Kernel) -> list[tuple[dict[str, float], str]]:
    return [(one.weights, one.cause.value) for one in reversed(Deployments(kernel).history())]


def test_a_bound_test_splits_the_traffic_and_gives_it_back(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    test_id = manager.create_test("live", "v1", "v2", 0.1, deployment="production").test_id
    started = manager.start_test(test_id, started_by="ayse")
    split, all_of_a = ({"v1": 0.9, "v2": 0.1}, "ab_start"), ({"v1": 1.0}, "ab_end")
    assert revisions(kernel)[1:] == [split]
    current = Deployments(kernel).current()
    assert current is not None
    assert current.evidence["approval"] == "waived by policy default"
    assert current.evidence["test"] == test_id
    assert started.deployment == "production"
    assert [warning for warning in started.warnings if "go back to" in warning], "v1 is the only known-good version"
    serving.promote_version("v3", VersionStatus.STAGING)
    with pytest.raises(ConflictError, match="splits the traffic"):
        serving.promote_version("v3", VersionStatus.PRODUCTION)
    manager.pause_test(test_id)
    manager.resume_test(test_id)
    manager.complete_test(test_id, force=True)
    assert revisions(kernel)[1:] == [split, all_of_a, split, all_of_a]
    serving.promote_version("v3", VersionStatus.PRODUCTION)


def test_cancelling_gives_the_traffic_back_and_the_trail_of_both_versions_tells(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    test_id = manager.create_test("live", "v1", "v2", 0.5, deployment="production").test_id
    assert any("50%" in warning for warning in manager.start_test(test_id).warnings)
    manager.cancel_test(test_id, cancelled_by="ayse", reason="latency")
    assert revisions(kernel)[-1] == ({"v1": 1.0}, "ab_end")
    with kernel.read() as view:
        for version in ("v1", "v2"):
            trail = [record.action for record in view.audit.of_subject(f"version:default/{version}")]
            assert trail[-3:] == ["ab_test:design:create", "ab_test:state:start", "ab_test:state:cancel"]


def test_what_somebody_else_decided_meanwhile_stays(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    from sentinelzer0.domain.deployments import Cause
    from sentinelzer0.mlops.deployments import deploy

    test_id = manager.create_test("live", "v1", "v2", 0.1, deployment="production").test_id
    manager.start_test(test_id)
    with kernel.begin("ayse", "rollback:production:execute") as tx:
        deploy(tx, model="default", environment="production", weights={"v3": 1.0}, cause=Cause.ROLLBACK)
        tx.record()
    manager.pause_test(test_id)
    assert revisions(kernel)[-1] == ({"v3": 1.0}, "rollback")
    with pytest.raises(ConflictError, match="does not serve"):
        manager.resume_test(test_id)


def test_cancel_open_tests_is_there_for_a_rollback(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    test_id = manager.create_test("live", "v1", "v2", 0.1, deployment="production").test_id
    manager.start_test(test_id)
    with kernel.begin("ayse", "rollback:production:execute", f"ab_test:{test_id}") as tx:
        assert [test.test_id for test in tx.ab_tests.cancel_open_tests("default", "production", tx.now)] == [test_id]
        tx.record()
    assert manager.tests[test_id].status is TestStatus.CANCELLED
    assert manager.record_result(test_id, **outcome("v1")).late == 1


def _refused(
    kernel: Kernel, manager: ABTestManager, error: type[SentinelError], match: str, *, split: float = 0.1, b: str = "v2"
) -> None:
    test_id = manager.create_test("live", "v1", b, split, deployment="production").test_id
    before = revisions(kernel)
    with pytest.raises(error, match=match):
        manager.start_test(test_id)
    assert revisions(kernel) == before
    assert manager.tests[test_id].status is TestStatus.SETUP


def test_what_may_not_meet_real_traffic(kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager) -> None:
    with pytest.raises(VersionNotFoundError):
        manager.create_test("live", "v1", "v9", deployment="production")
    _refused(kernel, manager, GateFailedError, "at most 0.5", split=0.6)
    other = manager.create_test("live", "v2", "v3", 0.1, deployment="production")
    with pytest.raises(ConflictError, match="v2 does not serve production alone"):
        manager.start_test(other.test_id)
    with kernel.begin("ayse", "rollback:version:quarantine") as tx:
        before = tx.versions.get("default", "v2")
        assert before is not None
        from dataclasses import replace

        tx.versions.put(replace(before, quarantined_at=tx.now, quarantine_reason="bad"), before)
        tx.record()
    _refused(kernel, manager, QuarantinedError, "quarantined")
    first = manager.create_test("live", "v1", "v3", 0.1, deployment="production")
    second = manager.create_test("live", "v1", "v3", 0.1, deployment="production")
    manager.start_test(first.test_id)
    with pytest.raises(ConflictError):
        manager.start_test(second.test_id)


def test_changed_bytes_do_not_meet_real_traffic(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    found = serving.get_version("v2")
    assert found is not None
    blob = kernel.blobs.path(found.metadata.file_hash) if hasattr(kernel.blobs, "path") else found.model_path
    blob.chmod(0o600)
    blob.write_bytes(b"weights X")
    _refused(kernel, manager, IntegrityError, "v2")
    with kernel.read() as view:
        assert view.audit.of_subject("version:default/v2")[-1].outcome.value == "refused"


def test_a_strict_policy_demands_an_approval_of_the_share(
    kernel: Kernel, manager: ABTestManager, serving: ModelVersionManager
) -> None:
    registry = ModelRegistry(serving)
    registry.register_model("v2")
    registry.set_policy("strict", set_by="ayse", reason="real traffic")
    _refused(kernel, manager, ApprovalRequiredError, "needs an approval")
    request = registry.request_canary("v2", 0.1, "ayse")
    for person in ("mehmet", "can"):
        registry.approve_promotion(request.request_id, person)
    _refused(kernel, manager, ApprovalRequiredError, "needs an approval", split=0.15)
    test_id = manager.create_test("live", "v1", "v2", 0.1, deployment="production").test_id
    manager.start_test(test_id)
    current = Deployments(kernel).current()
    assert current is not None
    assert current.evidence["approval"] == request.request_id


# The tracker --------------------------------------------------------------------------------------------------------


class RecordingTracker:
    """What a tracker does, kept in a list; or a tracker that is down."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.runs: list[dict[str, Any]] = []

    def start_run(self, run_name: str | None = None, tags: Any = None) -> RecordingTracker:
        if self.down:
            raise ConnectionError("no answer")
        self.runs.append({"name": run_name, "tags": dict(tags), "params": {}, "metrics": {}, "artifacts": []})
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runs[-1]["ended"] = True

    def log_params(self, params: Any) -> None:
        self.runs[-1]["params"].update(params)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.runs[-1]["metrics"].update(metrics)

    def log_artifact(self, artifact_path: str, artifact_dir: str | None = None) -> None:
        self.runs[-1]["artifacts"].append(Path(artifact_path).suffix)


def _waited(names: Iterable[str]) -> None:
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join(30)


def test_the_tracker_is_told_of_start_verdict_and_end(kernel: Kernel) -> None:
    tracker = RecordingTracker()
    manager = ABTestManager(kernel=kernel, tracker=tracker)
    test_id = manager.create_test("live", "v1", "v2").test_id
    manager.start_test(test_id)
    manager.record_results(test_id, a_better_b())
    _waited(["sentinelzer0-tracking"])
    manager.complete_test(test_id)
    kinds = [run["tags"]["sentinelzer0.event"] for run in tracker.runs]
    assert kinds == ["ab_test:state:start", "ab_test:verdict:reach", "ab_test:state:complete"]
    assert all(run["ended"] and run["tags"]["sentinelzer0.test_id"] == test_id for run in tracker.runs)
    verdict = tracker.runs[1]
    assert verdict["tags"]["sentinelzer0.winner"] == "v2"
    assert verdict["params"]["primary_metric"] == "f1_score"
    assert verdict["metrics"]["interval.low"] > 0
    assert sorted(verdict["artifacts"]) == [".html", ".json"]


def test_a_tracker_that_is_down_changes_nothing(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    manager = ABTestManager(kernel=kernel, tracker=RecordingTracker(down=True))
    test_id = manager.create_test("live", "v1", "v2").test_id
    assert manager.start_test(test_id).status is TestStatus.RUNNING
    manager.record_results(test_id, a_better_b())
    _waited(["sentinelzer0-tracking"])
    assert manager.complete_test(test_id)["winner"] == "v2"
    assert sum("was not told" in message for message in caplog.messages) == 3
