"""Verdicts of A/B tests on every backend, from recorded outcomes to what is said, stored and kept on record."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from scipy import stats
from sqlalchemy import inspect, text

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.measurement_checks import check_measurements
from sentinelzer0.maintenance.report import Status
from sentinelzer0.mlops.ab_testing import ABTestManager, TestStatus
from sentinelzer0.storage import migrations
from sentinelzer0.testing import FakeClock

HALF = {"v1": 0.5, "v2": 0.5}


@dataclass(frozen=True)
class Model:
    """How one version answers: share of right labels, of failures, and its mean latency in milliseconds."""

    right: float = 0.8
    fails: float = 0.01
    latency: float = 10.0


PLAIN, BETTER, WORSE = Model(), Model(right=0.93), Model(right=0.65)
FAILING = Model(right=0.93, fails=0.15)


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


@pytest.fixture(autouse=True)
def _sound(kernel: Kernel) -> Iterator[None]:
    """Whatever a test does, the statistics are those of the raw outcomes in the end."""
    yield
    check = check_measurements(kernel)
    assert check.status is Status.PASS, check.detail


def started(manager: ABTestManager, **design: Any) -> str:
    versions = {} if "arms" in design else {"model_a": "v1", "model_b": "v2"}
    test_id = manager.create_test("new against old", **versions | {"min_samples": 50} | design).test_id
    manager.start_test(test_id)
    return test_id


def traffic(
    count: int,
    models: Mapping[str, Model],
    *,
    seed: int = 1,
    shares: Mapping[str, float] = HALF,
    revision: int | None = 1,
    **more: Any,
) -> list[dict[str, Any]]:
    """Return outcomes of requests that were split at random by their shares."""
    draw = random.Random(seed)
    versions, weights = list(shares), list(shares.values())
    rows = []
    for version in draw.choices(versions, weights, k=count):
        model, attack = models[version], draw.random() < 0.5
        rows.append(
            {
                "model_version": version,
                "success": draw.random() >= model.fails,
                "latency_ms": model.latency * draw.uniform(0.7, 1.3),
                "confidence": draw.random(),
                "true_label": attack,
                "predicted_label": attack == (draw.random() < model.right),
                "revision": revision,
                "share": shares[version],
            }
            | more
        )
    return rows


def record(manager: ABTestManager, test_id: str, rows: list[dict[str, Any]], batch: int = 250) -> None:
    for start in range(0, len(rows), batch):
        manager.record_results(test_id, rows[start : start + batch])


def trail(kernel: Kernel, test_id: str, action: str) -> list[AuditRecord]:
    with kernel.read() as view:
        return [found for found in view.audit.of_subject(f"ab_test:{test_id}") if found.action == action]


def decided(kernel: Kernel, test_id: str) -> list[AuditRecord]:
    return trail(kernel, test_id, "ab_test:verdict:reach")


def sound_json(results: dict[str, Any]) -> bool:
    """JSON that every reader takes: no NaN, no values of our own classes."""
    return bool(json.loads(json.dumps(results, allow_nan=False)) == dict(results))


# The five actions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "winner", "model", "shares", "afterwards"),
    [
        ("promote", "v2", BETTER, HALF, WORSE),
        ("keep", "v1", WORSE, HALF, BETTER),
        ("stop_guardrail", "v1", FAILING, HALF, BETTER),
    ],
)
def test_a_verdict_is_reached_while_recording_and_never_flips(
    kernel: Kernel,
    manager: ABTestManager,
    action: str,
    winner: str | None,
    model: Model,
    shares: dict[str, float],
    afterwards: Model,
) -> None:
    test_id = started(manager)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": model}, shares=shares))
    reached = manager.tests[test_id]
    assert (reached.decision, reached.winner, reached.status) == (action, winner, TestStatus.RUNNING)
    (on_record,) = decided(kernel, test_id)
    assert on_record.actor.auth == "internal"
    assert on_record.detail["verdict"] == reached.verdict
    assert on_record.detail["evidence"] == [], "these arms are labels, no versions that evidence could be about"
    assert on_record.reason == reached.verdict["reason"] == reached.verdict["reasons"][0]
    assert on_record.outcome.value == "ok"
    with kernel.read() as view:
        looks = view.ab_tests.looks.all(test_id)
    assert next(look.events for look in looks if look.decision) == reached.verdict["events"] <= 3000
    # Then the world turns around, and for long.
    record(manager, test_id, traffic(12_000, {"v1": PLAIN, "v2": afterwards}, seed=2), batch=3000)
    results = manager.get_test_results(test_id)
    decision = results["decision"]
    assert (decision["action"], decision["winner"], decision["latched"]) == (action, winner, True)
    assert decision["events"] == reached.verdict["events"]
    assert manager.tests[test_id].verdict == reached.verdict
    if action in {"promote", "keep"}:
        assert "drifted" in results["drift"]
    assert sound_json(results)
    done = manager.complete_test(test_id)
    assert (done["winner"], done["decision"]["action"], done["status"]) == (winner, action, "completed")
    assert (done["winner_confidence"] > 0.95) == (winner is not None)
    assert len(decided(kernel, test_id)) == 1
    assert manager.tests[test_id].verdict == reached.verdict


def test_a_broken_split_blocks_while_it_is_broken_and_is_the_verdict_of_a_test_that_ends_so(
    kernel: Kernel, manager: ABTestManager
) -> None:
    broken, mended = started(manager), started(manager)
    for test_id in (broken, mended):
        record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": BETTER}, shares={"v1": 0.6, "v2": 0.4}))
        results = manager.get_test_results(test_id)
        assert (results["decision"]["action"], results["decision"]["latched"]) == ("invalid", False)
        assert results["srm"]["ok"] is False
        assert results["srm"]["where"][0]["arm"] == "v2"
        assert results["recommendation"].startswith("Do not trust this test: the traffic did not reach the arms")
        assert decided(kernel, test_id) == []
    # The service of v2 writes the outcomes that it still held back.
    record(manager, mended, traffic(600, {"v2": BETTER}, shares={"v2": 1.0}, seed=5))
    assert manager.get_test_results(mended)["decision"]["action"] == "promote"
    done = manager.complete_test(broken)
    assert (done["winner"], done["decision"]["action"], done["decision"]["latched"]) == (None, "invalid", True)
    assert manager.tests[broken].decision == "invalid"


def test_equal_versions_are_inconclusive_to_the_end(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager)
    record(manager, test_id, traffic(4000, {"v1": PLAIN, "v2": PLAIN}), batch=500)
    results = manager.get_test_results(test_id)
    assert (results["decision"]["action"], results["decision"]["winner"]) == ("inconclusive", None)
    assert results["decision"]["latched"] is False
    assert results["decision"]["reached_at"] is None
    assert results["recommendation"].startswith("Keep the test running: ")
    assert (manager.tests[test_id].decision, decided(kernel, test_id)) == (None, [])
    done = manager.complete_test(test_id)
    assert (done["winner"], done["winner_confidence"]) == (None, 0.0)
    assert done["decision"]["action"] == "inconclusive"
    assert done["recommendation"].startswith("No verdict, so v1 stays: ")
    assert done["statistical_significance"]["is_significant"] is False


def test_harm_without_a_difference_in_the_primary_metric_is_not_called_significant(manager: ABTestManager) -> None:
    test_id = started(manager)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": Model(fails=0.15)}))
    results = manager.get_test_results(test_id)
    assert results["decision"]["action"] == "stop_guardrail"
    assert results["comparison"]["f1_score"]["p_value"] > 0.05
    found = results["statistical_significance"]
    assert (found["metric"], found["is_significant"]) == ("f1_score", False)


@pytest.mark.parametrize("model", [FAILING, BETTER], ids=["stop_guardrail", "invalid"])
def test_an_end_between_two_looks_invents_no_winner(kernel: Kernel, manager: ABTestManager, model: Model) -> None:
    """The evidence is only looked at when the test is completed, and forced; still it is no promotion."""
    shares = HALF if model is FAILING else {"v1": 0.6, "v2": 0.4}
    test_id = started(manager)
    with kernel.record_outcomes() as view:
        view.streams.set_next_look(test_id, 10**9)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": model}, shares=shares))
    assert manager.tests[test_id].decision is None
    done = manager.complete_test(test_id, force=True)
    assert done["decision"]["action"] == ("stop_guardrail" if model is FAILING else "invalid")
    assert done["winner"] != "v2"
    if model is BETTER:
        assert (done["winner"], done["winner_confidence"]) == (None, 0.0)
    (ended,) = trail(kernel, test_id, "ab_test:state:complete")
    assert ended.detail["verdict"]["action"] == done["decision"]["action"]
    assert ended.detail["forced"] is False, "both arms had their minimum"


# The split ----------------------------------------------------------------------------------------------------------


def test_a_mismatch_says_phase_and_segment_and_blocks_a_better_version(manager: ABTestManager) -> None:
    test_id = started(manager, arms={"v1": 0.8, "v2": 0.2}, segments=["lan", "vpn"])
    models = {"v1": PLAIN, "v2": BETTER}
    for seed, segment in enumerate(("lan", "vpn")):
        rows = traffic(150, models, seed=seed, shares={"v1": 0.8, "v2": 0.2}, segment=segment)
        record(manager, test_id, rows, batch=50)
    assert manager.get_test_results(test_id)["srm"]["ok"]
    manager.set_share(test_id, 0.5)
    record(manager, test_id, traffic(400, models, seed=3, revision=2, segment="lan"), batch=100)
    half_lost = {"v1": 2 / 3, "v2": 1 / 3}
    record(manager, test_id, traffic(700, models, seed=4, shares=half_lost, revision=2, segment="vpn"), batch=50)
    results = manager.get_test_results(test_id)
    assert results["decision"]["action"] == "invalid"
    srm = results["srm"]
    assert (srm["ok"], srm["p_value"] <= srm["alpha"] == 0.001) == (False, True)
    worst = srm["where"][0]
    assert (worst["where"], worst["arm"]) == ("phase 2, segment vpn", "v2")
    assert worst["observed"] < worst["expected"]
    assert "phase 2, segment vpn" in results["recommendation"]
    assert srm["observed"]["v2"] < srm["expected"]["v2"]
    assert manager.complete_test(test_id)["winner"] is None


def test_one_busy_host_is_no_mismatch(manager: ABTestManager) -> None:
    """Units are counted, not their requests; that a key has many requests is said."""
    test_id = started(manager)
    rows = [row | {"key": f"host-{n}"} for n, row in enumerate(traffic(200, {"v1": PLAIN, "v2": PLAIN}))]
    busy = next(row for row in rows if row["model_version"] == "v2")
    record(manager, test_id, rows + [busy] * 1500, batch=100)
    results = manager.get_test_results(test_id)
    assert results["srm"]["ok"]
    assert sum(results["srm"]["observed"].values()) == 200
    assert any("Each key has 8.5 requests" in warning for warning in results["warnings"])


# Ends by rules of the test ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "shares"), [(BETTER, HALF), (FAILING, HALF)], ids=str)
def test_every_verdict_ends_a_test_that_says_so(
    kernel: Kernel, manager: ABTestManager, model: Model, shares: dict[str, float]
) -> None:
    test_id = started(manager, end_at_verdict=True)
    rows = traffic(3000, {"v1": PLAIN, "v2": model}, shares=shares)
    late = 0
    for start in range(0, 3000, 250):
        late += manager.record_results(test_id, rows[start : start + 250]).late
    test = manager.tests[test_id]
    assert test.status is TestStatus.COMPLETED
    assert late > 0
    assert test.verdict["requests"] + late == 3000, "what came after the verdict is late, nothing is lost"
    assert sum(metrics.late_requests for metrics in test.metrics.values()) == late
    (ended,) = trail(kernel, test_id, "ab_test:state:complete")
    assert "verdict" in ended.detail["ended_because"]
    assert manager.get_test_results(test_id)["decision"]["action"] == test.decision


def test_the_deadline_carries_the_verdict_that_is_there_and_no_other(
    kernel: Kernel, manager: ABTestManager, clock: FakeClock
) -> None:
    better, equal = (started(manager, deadline=timedelta(hours=1)) for _ in range(2))
    for test_id, model in ((better, BETTER), (equal, PLAIN)):
        with kernel.record_outcomes() as view:
            view.streams.set_next_look(test_id, 10**9)
        record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": model}), batch=1000)
    clock.advance(hours=1, seconds=1)
    results = {test_id: manager.get_test_results(test_id) for test_id in (better, equal)}
    assert [found["status"] for found in results.values()] == ["completed", "completed"]
    assert (results[better]["decision"]["action"], manager.tests[better].winner) == ("promote", "v2")
    assert (results[equal]["decision"]["action"], manager.tests[equal].winner) == ("inconclusive", None)


def test_labels_after_the_deadline_are_late(manager: ABTestManager, clock: FakeClock) -> None:
    """They came when nobody had looked since: the test ends before they could count."""
    test_id = started(manager, deadline=timedelta(hours=1))
    rows = traffic(1200, {"v1": PLAIN, "v2": BETTER})
    labels = {f"r{number}": row.pop("true_label") for number, row in enumerate(rows)}
    record(manager, test_id, [row | {"request_id": f"r{number}"} for number, row in enumerate(rows)], batch=600)
    clock.advance(hours=4)
    done = manager.record_labels(test_id, list(labels.items()))
    assert (done.labelled, done.late) == (0, 1200)
    test = manager.tests[test_id]
    assert (test.status, test.winner) == (TestStatus.COMPLETED, None)
    assert manager.record_label(test_id, "r0", not labels["r0"]).late == 1


def test_the_budget_counts_every_arm_and_invents_nothing(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager, arms={"v1": 0.4, "v2": 0.3, "v3": 0.3}, max_samples=600)
    shares = {"v1": 0.4, "v2": 0.3, "v3": 0.3}
    for row in traffic(590, dict.fromkeys(shares, PLAIN), shares=shares):
        manager.record_results(test_id, [row])
    assert manager.tests[test_id].status is TestStatus.RUNNING
    record(manager, test_id, traffic(10, dict.fromkeys(shares, PLAIN), shares=shares, seed=2), batch=5)
    test = manager.tests[test_id]
    assert (test.status, test.winner, test.decision) == (TestStatus.COMPLETED, None, None)
    assert sum(metrics.total_requests for metrics in test.metrics.values()) == 600
    (ended,) = trail(kernel, test_id, "ab_test:state:complete")
    assert "600 outcomes" in ended.detail["ended_because"]


def test_the_budget_is_not_spent_by_the_holdout(manager: ABTestManager) -> None:
    test_id = started(manager, arms={"v1": 0.3, "v2": 0.3}, holdout=0.4, max_samples=200)
    counted = {"A": 0, "B": 0, "holdout": 0}
    for n in range(1000):
        given = manager.assign(test_id, f"host-{n}")
        if not manager.record_result(test_id, given.version, True, 10.0, assignment=given).counted:
            break
        counted[given.arm] += 1
    assert counted["A"] + counted["B"] == 200
    assert counted["holdout"] > 80
    assert manager.tests[test_id].status is TestStatus.COMPLETED


# Several challengers ------------------------------------------------------------------------------------------------


def test_the_best_proven_challenger_wins_and_a_harmful_one_is_out(manager: ABTestManager) -> None:
    shares = {"v1": 0.4, "v2": 0.2, "v3": 0.2, "v4": 0.2}
    models = {"v1": PLAIN, "v2": Model(0.97, fails=0.2), "v3": Model(0.88), "v4": Model(0.95)}
    test_id = started(manager, arms=shares)
    record(manager, test_id, traffic(9000, models, shares=shares), batch=9000)
    results = manager.get_test_results(test_id)
    assert (results["decision"]["action"], results["decision"]["winner"]) == ("promote", "v4")
    assert manager.tests[test_id].winner == "v4"
    assert "Promote v4" in results["recommendation"]
    compared = results["comparisons"]
    assert list(compared) == ["v2", "v3", "v4"]
    assert results["comparison"] == compared["v2"]
    # Half of the error is for the guardrails; three challengers share what is left.
    assert [found["f1_score"]["alpha"] for found in compared.values()] == pytest.approx([0.05 / 2 / 3] * 3)
    assert compared["v2"]["f1_score"]["winner"] == "B", "better, but it fails"
    states = {(found["version"], found["metric"]): found["state"] for found in results["guardrails"]}
    assert states["v2", "error_rate"] == "violated"
    assert states["v4", "error_rate"] == states["v4", "avg_latency_ms"] == "passed"
    adjusted = [found for of_arm in compared.values() for found in of_arm.values()]
    assert all(found["p_adjusted"] >= found["p_value"] for found in adjusted)
    assert sound_json(results)


def test_a_challenger_proven_harmful_does_not_come_back(manager: ABTestManager) -> None:
    """What is proven stays proven: an early harm is not outweighed by a long time without any."""
    shares = {"v1": 0.4, "v2": 0.3, "v3": 0.3}
    test_id = started(manager, arms=shares)
    record(manager, test_id, traffic(1500, {"v1": PLAIN, "v2": FAILING, "v3": PLAIN}, shares=shares))
    out = {
        found["version"] for found in manager.get_test_results(test_id)["guardrails"] if found["state"] == "violated"
    }
    assert (out, manager.tests[test_id].decision) == ({"v2"}, None)
    later = {"v1": Model(fails=0.05), "v2": Model(0.93, fails=0.0), "v3": Model(fails=0.05)}
    record(manager, test_id, traffic(16_000, later, shares=shares), batch=4000)
    results = manager.get_test_results(test_id)
    assert results["comparisons"]["v2"]["error_rate"]["winner"] == "B", "by now it fails less, and is better"
    assert results["comparisons"]["v2"]["f1_score"]["winner"] == "B"
    states = {found["version"]: found for found in results["guardrails"] if found["metric"] == "error_rate"}
    assert (states["v2"]["state"], states["v3"]["state"]) == ("violated", "passed")
    assert "at an earlier look" in states["v2"]["reason"]
    assert results["decision"]["winner"] != "v2"


def test_all_challengers_harmful_stops_the_test(manager: ABTestManager) -> None:
    shares = {"v1": 0.4, "v2": 0.3, "v3": 0.3}
    test_id = started(manager, arms=shares)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": FAILING, "v3": FAILING}, shares=shares))
    results = manager.get_test_results(test_id)
    assert results["decision"]["action"] == "stop_guardrail"
    assert "Stop the challengers and keep v1" in results["recommendation"]
    assert len(results["decision"]["reasons"]) == 2


def test_seven_arms(manager: ABTestManager) -> None:
    shares = {"v1": 0.28} | {f"v{n}": 0.12 for n in range(2, 8)}
    test_id = started(manager, arms=shares)
    models = dict.fromkeys(shares, PLAIN) | {"v7": Model(0.97)}
    record(manager, test_id, traffic(12_000, models, shares=shares), batch=4000)
    results = manager.get_test_results(test_id)
    assert (results["decision"]["action"], results["decision"]["winner"]) == ("promote", "v7")
    alphas = [found["f1_score"]["alpha"] for found in results["comparisons"].values()]
    assert alphas == pytest.approx([0.05 / 2 / 6] * 6)
    assert len(results["guardrails"]) == 12
    assert results["comparisons"]["v7"]["f1_score"]["reason"].startswith("v7 has the higher F1")
    assert [found["f1_score"]["winner"] for found in results["comparisons"].values()] == [*[None] * 5, "B"]
    assert sound_json(results)
    assert "v7" in results._repr_html_()  # type: ignore[attr-defined]


# Holdout, segments, ramps -------------------------------------------------------------------------------------------


def test_a_holdout_is_counted_apart_and_decides_nothing(manager: ABTestManager) -> None:
    test_id = started(manager, arms={"v1": 0.4, "v2": 0.4}, holdout=0.2)
    rows, held = [], 0
    draw = random.Random(3)
    for n in range(3000):
        assignment = manager.assign(test_id, f"host-{n}")
        held += assignment.arm == "holdout"
        right = {"A": 0.8, "B": 0.93, "holdout": 0.3}[assignment.arm]
        attack = draw.random() < 0.5
        found = {"model_version": assignment.version, "success": True, "latency_ms": 10.0, "assignment": assignment}
        rows.append(found | {"true_label": attack, "predicted_label": attack == (draw.random() < right)})
    record(manager, test_id, rows, batch=500)
    results = manager.get_test_results(test_id)
    assert 450 < held < 750
    assert results["holdout"]["total_requests"] == held
    assert results["srm"]["ok"], "units held out are not missing"
    assert sum(results["srm"]["observed"].values()) == 3000 - held
    counted = [metrics["total_requests"] for metrics in results["metrics"].values()]
    assert sum(counted) == 3000 - held == sum(results["phases"][0]["requests"].values())
    assert results["decision"]["winner"] == "v2"
    assert results["comparison"]["f1_score"]["model_a"] > 0.7, "the control without the holdout's wrong labels"
    assert results["holdout"]["computed_metrics"]["f1_score"] < 0.4


def test_segments_share_the_error_between_them(manager: ABTestManager) -> None:
    test_id = started(manager, segments=["lan", "vpn", "empty"], guardrails=())
    for seed, (segment, model) in enumerate((("lan", BETTER), ("vpn", PLAIN), ("mars", WORSE))):
        record(manager, test_id, traffic(1500, {"v1": PLAIN, "v2": model}, seed=seed, segment=segment), batch=500)
    results = manager.get_test_results(test_id)
    segments = {name: found["v2"] for name, found in results["segments"].items()}
    assert list(segments) == ["lan", "vpn", "empty"], "a name nobody declared is no segment"
    assert [found["alpha"] for found in segments.values()] == pytest.approx([0.05 / 3] * 3)
    assert segments["lan"]["winner"] == "B"
    assert (segments["vpn"]["winner"], segments["empty"]["winner"]) == (None, None)
    assert segments["lan"]["p_adjusted"] == pytest.approx(min(1.0, 3 * segments["lan"]["p_value"]))
    assert (segments["empty"]["samples_a"], segments["empty"]["samples_b"]) == (0, 0)
    assert "o data" in segments["empty"]["reason"]
    assert sum(found["samples_a"] + found["samples_b"] for found in segments.values()) == 3000


def test_a_ramp_over_a_changing_base_rate_is_no_effect(manager: ABTestManager) -> None:
    """Simpson: B is a little worse in both phases; in the pooled numbers it is far better, for it came when it was easy."""
    test_id = started(manager, arms={"v1": 0.95, "v2": 0.05}, primary_metric="accuracy")
    hard = {"v1": Model(0.60, fails=0.06), "v2": Model(0.59, fails=0.06)}
    easy = {"v1": Model(0.95, fails=0.001), "v2": Model(0.94, fails=0.001)}
    record(manager, test_id, traffic(4000, hard, shares={"v1": 0.95, "v2": 0.05}), batch=500)
    manager.set_share(test_id, 0.5)
    record(manager, test_id, traffic(4000, easy, seed=2, revision=2), batch=500)
    results = manager.get_test_results(test_id)
    pooled = {
        name: (m["true_positives"] + m["true_negatives"])
        / sum(m[cell] for cell in ("true_positives", "true_negatives", "false_positives", "false_negatives"))
        for name, m in results["metrics"].items()
    }
    assert pooled["v2"] - pooled["v1"] > 0.15
    assert results["comparison"]["accuracy"]["difference"] < 0.01
    assert results["comparison"]["error_rate"]["winner"] is None
    assert results["decision"]["winner"] != "v2"
    assert results["decision"]["action"] in {"inconclusive", "keep"}
    assert results["srm"]["ok"]
    assert [phase["shares"] for phase in results["phases"]] == [{"v1": 0.95, "v2": 0.05}, HALF]
    assert [sum(phase["requests"].values()) for phase in results["phases"]] == [4000, 4000]
    naive = stats.fisher_exact([[int(pooled[v] * 4000), 4000 - int(pooled[v] * 4000)] for v in ("v1", "v2")])
    assert naive.pvalue < 1e-9, "whoever pools is sure of the opposite"


# Labels -------------------------------------------------------------------------------------------------------------


def test_early_labels_do_not_reach_the_verdict_until_they_are_mature(manager: ABTestManager, clock: FakeClock) -> None:
    """Attacks that are caught are labelled at once, the missed ones a day later; B flags more and catches no more."""
    test_id = started(manager, label_window=timedelta(hours=24), primary_metric="accuracy", guardrails=())
    draw = random.Random(5)
    later = []
    rows = []
    for n, version in enumerate(draw.choices(("v1", "v2"), k=1200)):
        right = draw.random() < 0.8
        at_once = right if version == "v2" else draw.random() < 0.5
        rows.append(
            {
                "model_version": version,
                "success": True,
                "latency_ms": 10.0,
                "predicted_label": True,
                "true_label": right if at_once else None,
                "request_id": f"r{n}",
            }
        )
        if not at_once:
            later.append((f"r{n}", right))
    record(manager, test_id, rows, batch=100)
    early = manager.get_test_results(test_id)
    assert early["maturity"]["window_s"] == 86_400.0
    assert early["maturity"]["labels_waiting"] == 1200 - len(later) > 500
    assert (early["decision"]["action"], early["comparison"]["accuracy"]["samples_a"]) == ("inconclusive", 0)
    clock.advance(hours=20)
    manager.record_labels(test_id, later)
    clock.advance(hours=8)
    mature = manager.get_test_results(test_id)
    assert mature["maturity"]["labels_waiting"] == 0
    compared = mature["comparison"]["accuracy"]
    assert compared["samples_a"] + compared["samples_b"] == 1200
    assert abs(compared["difference"]) < 0.06, "the early labels alone said that B is always right"
    assert mature["decision"]["action"] == "inconclusive"
    # The same labels without a window: the verdict is wrong.
    naive = started(manager, primary_metric="accuracy", guardrails=())
    record(manager, naive, rows, batch=100)
    assert manager.tests[naive].winner == "v2"


def test_mature_labels_reach_the_verdict(manager: ABTestManager, clock: FakeClock) -> None:
    test_id = started(manager, label_window=3600, primary_metric="accuracy", guardrails=())
    record(manager, test_id, traffic(1000, {"v1": PLAIN, "v2": Model(0.97)}), batch=250)
    assert manager.get_test_results(test_id)["decision"]["action"] == "inconclusive"
    clock.advance(hours=2)
    assert manager.get_test_results(test_id)["decision"]["action"] == "promote"
    assert manager.tests[test_id].winner == "v2"


def test_a_clock_that_goes_back_loses_nothing(kernel: Kernel, manager: ABTestManager, clock: FakeClock) -> None:
    test_id = started(manager, label_window=3600, primary_metric="accuracy", deadline=timedelta(days=30))
    rows = traffic(3000, {"v1": PLAIN, "v2": Model(0.97)})
    for number, start in enumerate(range(0, 3000, 500)):
        record(manager, test_id, rows[start : start + 500])
        clock.advance(minutes=-200 if number % 2 else 150)
    clock.advance(days=2)
    results = manager.get_test_results(test_id)
    assert sum(found["total_requests"] for found in results["metrics"].values()) == 3000
    assert results["comparison"]["accuracy"]["samples_a"] + results["comparison"]["accuracy"]["samples_b"] == 3000
    assert results["decision"]["winner"] == "v2"
    manager.set_share(test_id, 0.6)
    clock.advance(days=-20)
    manager.pause_test(test_id)
    manager.resume_test(test_id)
    with kernel.read() as view:
        times = [found.time for found in view.audit.of_subject(f"ab_test:{test_id}")]
    assert times == sorted(times)
    assert manager.tests[test_id].status is TestStatus.RUNNING
    assert [phase["phase"] for phase in manager.tests[test_id].phases] == [1, 2, 3, 4]


def test_contradicting_labels_are_counted_and_the_last_one_wins(manager: ABTestManager) -> None:
    test_id = started(manager, guardrails=())
    rows = [row | {"request_id": f"r{n}"} for n, row in enumerate(traffic(400, {"v1": PLAIN, "v2": PLAIN}))]
    record(manager, test_id, rows)
    turned = [(f"r{n}", not row["true_label"]) for n, row in enumerate(rows[:30])]
    assert manager.record_labels(test_id, turned).labelled == 30
    assert manager.record_labels(test_id, turned).labelled == 0, "the same again contradicts nothing"
    results = manager.get_test_results(test_id)
    assert results["maturity"]["relabelled"] == 30
    assert any("30 labels contradicted" in warning for warning in results["warnings"])
    truth = {row["request_id"]: row["true_label"] for row in rows} | dict(turned)
    for version, metrics in results["metrics"].items():
        mine = [row for row in rows if row["model_version"] == version]
        caught = sum(truth[row["request_id"]] and row["predicted_label"] for row in mine)
        missed = sum(truth[row["request_id"]] and not row["predicted_label"] for row in mine)
        assert (metrics["true_positives"], metrics["false_negatives"]) == (caught, missed)


def test_labels_that_come_before_their_outcomes_count_once(manager: ABTestManager) -> None:
    test_id = started(manager, primary_metric="accuracy")
    rows = [row | {"request_id": f"r{n}"} for n, row in enumerate(traffic(3000, {"v1": PLAIN, "v2": BETTER}))]
    labels = [(row["request_id"], row["true_label"]) for row in rows]
    for start in range(0, 3000, 1000):
        manager.record_labels(test_id, labels[start : start + 1000])
    nothing = manager.get_test_results(test_id)
    assert (nothing["metrics_a"]["total_requests"], nothing["metrics_a"]["true_positives"]) == (0, 0)
    assert "o data" in nothing["recommendation"]
    record(manager, test_id, [row | {"true_label": None} for row in rows], batch=500)
    manager.record_labels(test_id, labels[:500])
    results = manager.get_test_results(test_id)
    compared = results["comparison"]["accuracy"]
    assert (compared["samples_a"] + compared["samples_b"], results["maturity"]["relabelled"]) == (3000, 0)
    assert results["decision"]["winner"] == "v2"


# Shadow -------------------------------------------------------------------------------------------------------------


def answered_twice(count: int, *, shadow_right: float) -> list[dict[str, Any]]:
    """Return what both versions said to the same requests: hard ones are hard for both."""
    draw = random.Random(9)
    rows = []
    for n in range(count):
        attack, hard, latency = draw.random() < 0.5, draw.random() < 0.25, draw.uniform(5, 200)
        for version, right, slower in (("v1", 0.9, 0.0), ("v2", shadow_right, 1.0)):
            correct = draw.random() < (0.05 if hard else right)
            rows.append(
                {
                    "model_version": version,
                    "success": True,
                    "latency_ms": latency + slower + draw.uniform(0, 1),
                    "predicted_label": attack == correct,
                    "true_label": attack,
                    "request_id": f"r{n}",
                }
            )
    return rows


def test_shadow_answers_are_compared_pair_by_pair(manager: ABTestManager) -> None:
    rows = answered_twice(1200, shadow_right=0.96)
    shadow = started(manager, shadow=True, primary_metric="accuracy")
    record(manager, shadow, rows, batch=300)
    results = manager.get_test_results(shadow)
    assert results["shadow"] is True
    assert (results["decision"]["action"], results["decision"]["winner"]) == ("promote", "v2")
    assert results["comparison"]["accuracy"]["samples_a"] == 1200
    assert results["srm"]["ok"]
    assert results["warnings"] == []
    # The same numbers as if the requests had been different ones: what both share is noise then.
    split = started(manager, primary_metric="accuracy")
    apart = [row | {"request_id": f"{row['model_version']}-{row['request_id']}"} for row in rows]
    record(manager, split, apart, batch=600)
    unpaired = manager.get_test_results(split)["comparison"]
    paired = results["comparison"]

    def width(interval: list[float]) -> float:
        return interval[1] - interval[0]

    for metric in ("accuracy", "avg_latency_ms"):
        assert paired[metric]["difference"] == pytest.approx(unpaired[metric]["difference"])
    assert width(paired["accuracy"]["interval"]) < 0.85 * width(unpaired["accuracy"]["interval"])
    assert width(paired["avg_latency_ms"]["interval"]) < 0.05 * width(unpaired["avg_latency_ms"]["interval"])
    textbook = manager.get_test_results(shadow, fixed_horizon=True)["fixed_horizon"]
    assert textbook["answers"] == {}, "they are for independent arms"
    assert "independent arms" in textbook["note"]


def test_missing_shadow_answers_are_said(manager: ABTestManager) -> None:
    test_id = started(manager, shadow=True)
    rows = answered_twice(400, shadow_right=0.9)
    record(manager, test_id, [row for n, row in enumerate(rows) if n % 10 != 1])
    results = manager.get_test_results(test_id)
    (warning,) = results["warnings"]
    assert warning.startswith("v2 has answered 320 of the 400 requests")
    assert results["decision"]["action"] == "inconclusive"


# Nothing to see -----------------------------------------------------------------------------------------------------


def test_no_traffic_is_no_data(manager: ABTestManager) -> None:
    test_id = started(manager, min_samples=1, segments=["lan"], latency_slo_ms=100)
    results: dict[str, Any] = {}
    for rows in ([], traffic(300, {"v1": PLAIN}, shares={"v1": 1.0}, revision=None, share=None)):
        record(manager, test_id, rows)
        results = manager.get_test_results(test_id, fixed_horizon=True)
        assert results["metrics_b"]["total_requests"] == 0
        assert sound_json(results)
        assert results["comparison"]["f1_score"]["winner"] is None
        assert results["comparison"]["f1_score"]["interval"] is None
        assert "o data" in results["comparison"]["f1_score"]["reason"]
        assert {found["state"] for found in results["guardrails"]} == {"no_data"}
        assert results["decision"]["winner"] is None
    assert results["decision"]["action"] == "inconclusive"
    assert results["srm"]["reason"] == "No data: v2 has no units yet."
    alone = started(manager, arms={"v1": 1.0, "v2": 0.0}, min_samples=1)
    record(manager, alone, traffic(300, {"v1": PLAIN}, shares={"v1": 1.0}))
    results = manager.get_test_results(alone)
    assert results["decision"]["action"] == "inconclusive"
    assert "o data" in results["recommendation"]
    assert manager.complete_test(alone, force=True)["winner"] is None


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("shadow", [True, False])
def test_identical_outcomes_decide_nothing(manager: ABTestManager, success: bool, shadow: bool) -> None:
    test_id = started(manager, shadow=shadow, min_samples=5, latency_slo_ms=10.0, guardrails=None)
    one = {"success": success, "latency_ms": 0.0, "confidence": 1.0, "true_label": True, "predicted_label": True}
    rows = [
        one | {"model_version": version, "request_id": f"r{n}" if shadow else None}
        for n in range(400)
        for version in ("v1", "v2")
    ]
    record(manager, test_id, rows)
    results = manager.get_test_results(test_id, fixed_horizon=True)
    assert results["decision"]["action"] == "inconclusive"
    assert {found["winner"] for found in results["comparison"].values()} == {None}
    assert sound_json(results)
    assert manager.complete_test(test_id)["winner"] is None


# Textbook answers, JSON, notebooks, older tests ---------------------------------------------------------------------


def test_textbook_answers_are_those_of_scipy(manager: ABTestManager) -> None:
    test_id = started(manager, guardrails=(), significance_threshold=0.01)
    rows = traffic(800, {"v1": Model(0.8, fails=0.7), "v2": Model(0.85, fails=0.62, latency=10.2)})
    record(manager, test_id, rows)
    plain = manager.get_test_results(test_id)
    assert "fixed_horizon" not in plain
    results = manager.get_test_results(test_id, fixed_horizon=True)
    assert results["decision"] == plain["decision"]
    assert "the verdict does not use it" in results["fixed_horizon"]["note"]
    answers = results["fixed_horizon"]["answers"]["v2"]
    assert "f1_score" not in answers, "it is no share of independent trials"
    a, b = ([row for row in rows if row["model_version"] == version] for version in ("v1", "v2"))

    def table(event: str) -> list[list[int]]:
        counts = []
        for arm in (b, a):
            if event == "error_rate":
                hits, trials = sum(not row["success"] for row in arm), len(arm)
            else:
                hits, trials = sum(row["true_label"] == row["predicted_label"] for row in arm), len(arm)
            counts.append([hits, trials - hits])
        return counts

    for metric in ("error_rate", "accuracy"):
        fisher, chi, z = answers[metric]
        expected = stats.fisher_exact(table(metric))
        assert fisher["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert fisher["statistic"] == pytest.approx(expected.statistic, rel=1e-9)
        squared = stats.chi2_contingency(table(metric), correction=False)
        assert (chi["statistic"], chi["p_value"]) == pytest.approx((squared.statistic, squared.pvalue), rel=1e-9)
        assert z["p_value"] == pytest.approx(squared.pvalue, rel=1e-9)
    for metric, name in (("avg_latency_ms", "latency_ms"), ("avg_confidence", "confidence")):
        (welch,) = answers[metric]
        given = [[row[name] for row in arm] for arm in (b, a)]
        expected = stats.ttest_ind(*given, equal_var=False)
        assert (welch["statistic"], welch["p_value"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-7)
        limits = expected.confidence_interval(0.99)
        assert welch["interval"] == pytest.approx([limits.low, limits.high], rel=1e-7)
    assert sound_json(results)


def test_results_are_json_and_escaped_in_a_notebook(manager: ABTestManager) -> None:
    test = manager.create_test(
        "<script>alert(1)</script>", "<b>a", "v&2", min_samples=20, segments=["<i>lan"], holdout=0.1, latency_slo_ms=20
    )
    manager.start_test(test.test_id)
    rows = traffic(
        1500,
        {"<b>a": PLAIN, "v&2": BETTER},
        shares={"<b>a": 0.5, "v&2": 0.5},
        segment="<i>lan",
        custom_metrics={"<img src=x>": 1.5},
        share=None,
        revision=None,
    )
    rows = [row | {"key": f"host-{number}"} for number, row in enumerate(rows)]
    assert sound_json(manager.get_test_results(test.test_id))
    record(manager, test.test_id, rows)
    results = manager.get_test_results(test.test_id, fixed_horizon=True)
    assert sound_json(results)
    assert results["comparison"]["custom:<img src=x>"]["winner"] is None, "nobody said which way it improves"
    shown = results._repr_html_()  # type: ignore[attr-defined]
    for raw in ("<script>alert", "<b>a", "v&2", "<img", "<i>lan"):
        assert raw not in shown
    assert "&lt;b&gt;a" in shown


def test_tests_of_the_first_schema_are_read_and_go_on(kernel: Kernel) -> None:
    """Two tests that an earlier release left: one decided, one just started."""
    _back_to_the_first_schema(kernel)
    with kernel.database.engine.begin() as connection:
        for name, winner, verdict in (("t", "v2", _OLD_VERDICT), ("u", None, "{}")):
            connection.execute(text(_OLD_TEST), {"id": name, "winner": winner, "verdict": verdict})
            connection.execute(text("INSERT INTO ab_progress VALUES (:id, 'running', 2, 20)"), {"id": name})
            for arm in "AB":
                connection.execute(text(_OLD_ARM), {"id": name, "arm": arm})
                connection.execute(text(_OLD_OUTCOME), {"id": name, "arm": arm})
    migrations.upgrade(kernel.database.engine)
    kernel.database.close()
    manager = ABTestManager(kernel=kernel)
    old, running = (manager.get_test_results(name) for name in ("t", "u"))
    assert (old["decision"]["action"], old["decision"]["winner"], old["decision"]["latched"]) == ("promote", "v2", True)
    assert old["recommendation"] == "B has the higher F1 score."
    assert (old["metrics_a"]["total_requests"], old["metrics_b"]["total_requests"]) == (1, 1)
    assert [phase["shares"] for phase in old["phases"]] == [{"v1": 0.75, "v2": 0.25}]
    assert (running["decision"]["action"], running["guardrails"]) == ("inconclusive", [])
    assert all(sound_json(results) for results in (old, running))
    record(manager, "u", traffic(1000, {"v1": PLAIN, "v2": Model(0.97)}, shares={"v1": 0.75, "v2": 0.25}))
    assert manager.get_test_results("u")["decision"]["winner"] == "v2"
    assert manager.complete_test("t", force=True)["winner"] == "v2"


_OLD_VERDICT = '{"winner":"B","reason":"B has the higher F1 score.","p_value":0.001,"samples_a":3,"samples_b":2}'
_OLD_TEST = (
    "INSERT INTO ab_tests (test_id, test_name, model_a, model_b, traffic_split, status, created_at, started_at, "
    "created_by, description, min_samples, significance_threshold, winner, winner_confidence, primary_metric, salt, "
    "model, revision, verdict, warnings) VALUES (:id, 'old', 'v1', 'v2', 0.25, 'running', "
    "'2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', 'ada', '', 50, 0.05, :winner, 0.999, 'f1_score', "
    "'00000000000000ff', 'default', 0, :verdict, '[]')"
)
_OLD_ARM = "INSERT INTO ab_arms VALUES (:id, :arm, 1, 0, 10.0, 100.0, 1000.0, 1, 0.5, 0.25, 0.125, 1, 0, 0, 0, 0)"
_OLD_OUTCOME = (
    "INSERT INTO ab_outcomes VALUES (:id, :arm, :arm, '2026-01-01T00:00:00.000000Z', 1, 10.0, 0.5, 1, 1, NULL, 0)"
)


def _back_to_the_first_schema(kernel: Kernel) -> None:
    """Make the tables as the first release did; what they hold besides A/B tests stays."""
    engine = kernel.database.engine
    with engine.begin() as connection:
        names = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
        kept = {name: connection.execute(text(f"SELECT * FROM {name}")).mappings().all() for name in names}
        for name in (*names, "alembic_version"):
            connection.execute(text(f"DROP TABLE {name}"))
    migrations.upgrade(engine, "0001")
    with engine.begin() as connection:
        for name, rows in kept.items():
            for row in rows:
                columns = ", ".join(f":{column}" for column in row)
                connection.execute(text(f"INSERT INTO {name} VALUES ({columns})"), dict(row))
    kernel.database.close()
