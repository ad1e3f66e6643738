"""``sz0 ab plan`` as its users meet it."""

from __future__ import annotations

import io
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.cli.main import main
from sentinelzer0.domain.outcomes import CellKey
from sentinelzer0.domain.tallies import Increment
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_planning import plan_for
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.workspace import Workspace


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)["data"]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]


Run = Callable[..., Done]


@dataclass
class Watch:
    """A clock that stands where it is put."""

    at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    with Workspace.open("models") as workspace:
        Path("v1").write_bytes(b"one" * 100)
        workspace.versions.create_version("v1", "v1", "ayse", test_metrics={"recall": 0.9})
    return tmp_path


@pytest.fixture
def sz0(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code = main(arguments)
        out.flush()
        err.flush()
        return Done(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())

    return run


def test_a_plan_by_hand_shows_both_answers_side_by_side(sz0: Run) -> None:
    words = ("ab", "plan", "--metric", "error_rate", "--baseline", "0.02", "--effect", "0.01", "--rate", "5")
    done = sz0(*words, "--no-color")
    assert (done.code, done.err) == (0, "")
    said = done.out
    assert said.startswith("error_rate  0.02 in the control, 0.01 in the challenger (-0.01)")
    for wanted in ("fixed horizon", "sequential, on average", "nine of ten by", "one, at the end", "at 5 a second"):
        assert wanted in said
    assert "sz0 ab create NAME A B --metric error_rate" in said
    found = sz0(*words, "--output", "json").data
    # (2.24140 + 0.84162)^2 (.02 * .98 + .01 * .99) / .01^2, rounded up: the guardrail of a new test takes half of .05
    assert (found["alpha"], found["significance_threshold"]) == (0.025, 0.05)
    assert found["per_arm_fixed"] == 2804
    assert found["fixed_total"] == found["requests_fixed"] == 5608
    assert 5608 < found["requests_expected"] < found["requests_total"]
    assert found["duration_s"] == pytest.approx(found["requests_expected"] / 5)
    assert (found["remaining"], found["test_id"], found["source"]) == (None, None, "given")
    unknown = "The mean latency of the control and its spread are not known: "
    assert found["assumptions"][-1] == unknown + "what the guardrail avg_latency_ms takes is left out."
    assert unknown in " ".join(said.split())
    assert (found["guardrails"], found["needs_longest"]) == ([], None)
    assert f"{found['requests_expected']:,}" in found["sentence"]
    assert f"{found['requests_expected']:,}" in said
    assert sz0(*words, "--output", "quiet").out == f"{found['requests_expected']}\n"


def test_relative_effects_labels_shares_and_levels_count(sz0: Run) -> None:
    base = ("ab", "plan", "-m", "recall", "--baseline", "0.8", "--attack-share", "0.25", "--output", "json")
    plain = sz0(*base, "--effect", "0.04").data
    relative = sz0(*base, "--relative-effect", "0.05").data
    assert relative.pop("effect") == pytest.approx(plain["effect"])
    assert relative.items() <= plain.items()
    few_labels = sz0(*base, "--effect", "0.04", "--labelled-share", "0.1").data
    assert few_labels["sequential_expected"] == plain["sequential_expected"]
    assert few_labels["requests_expected"] == pytest.approx(10 * plain["requests_expected"], rel=1e-3)
    assert sz0(*base, "--effect", "0.04", "--share", "0.1").data["requests_expected"] > plain["requests_expected"]
    assert sz0(*base, "--effect", "0.04", "--alpha", "0.01").data["requests_expected"] > plain["requests_expected"]
    assert sz0(*base, "--effect", "0.04", "--power", "0.95").data["requests_fixed"] > plain["requests_fixed"]


def test_a_custom_metric_improves_as_one_says(sz0: Run) -> None:
    words = ("ab", "plan", "-m", "custom:cost", "--baseline", "5", "--deviation", "2", "--effect", "0.5", "-o", "json")
    assert sz0(*words, "--direction", "lower").data["effect"] == -0.5
    assert sz0(*words, "--direction", "higher").data["effect"] == 0.5
    assert sz0(*words).code == 2


def test_what_is_registered_about_a_version_is_its_baseline(sz0: Run) -> None:
    found = sz0("ab", "plan", "-m", "recall", "--version", "v1", "--effect", "0.03", "--output", "json").data
    assert (found["baseline"], found["source"]) == (0.9, "the registered test metrics of v1")


def test_what_the_incumbent_has_shown_in_production_is_its_baseline(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "p") as workspace:
        with workspace.kernel.record_outcomes() as view:
            view.streams.create("production/default", "running")
            key = CellKey(phase=0, assigned=0, cohort=0, segment="", arm="v1")
            seen = Increment(requests=1000, units=1000, latency_sum=5.0, latency_sq=5.0, tp=80, fn=20, tn=100)
            view.cells.add("production/default", {key: seen})
        found = plan_for(workspace.kernel, metric="recall", minimum_effect=0.03, version="v1")
    assert (found["baseline"], found["labelled_share"]) == (0.8, 0.2)
    assert found["source"] == "what v1 has shown in production"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--effect", "0.1"), "Nothing is known of the F1 score of the incumbent yet."),
        (("--baseline", "0.9"), "How large the effect has to be is not said."),
        (("--baseline", "0.9", "--effect", "0.2"), "The F1 score is 0.9 and would become 1.1."),
        (("--baseline", "0.9", "--effect", "0"), "An effect of 0.0 cannot be planned for."),
        (("--baseline", "0.9", "--effect", "0.01", "--share", "1"), "share is 1.0."),
        (("--baseline", "0.9", "--effect", "nan"), "minimum_effect is nan."),
        (("--baseline", "0.9", "--effect", "0.01", "--relative-effect", "0.1"), "The effect is given twice"),
        (("--baseline", "20", "--effect", "1", "-m", "avg_latency_ms"), "How much the mean latency varies"),
        (("--baseline", "0.9", "--effect", "0.01", "-m", "x"), "There is no metric 'x'."),
    ],
)
def test_what_is_missing_or_impossible_is_said(sz0: Run, words: tuple[str, ...], message: str) -> None:
    done = sz0("ab", "plan", *words, "--output", "json")
    assert done.code == 2
    assert str(done.error["message"]).startswith(message)


def test_an_unknown_test_is_not_found(sz0: Run) -> None:
    assert sz0("ab", "plan", "nothing", "--effect", "0.1").code == 3


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Kernel, ABTestManager, str, Watch]]:
    """A test on recall that has run for ten minutes: 400 requests, half of them labelled."""
    clock = Watch()
    kernel = Kernel(tmp_path / "clocked", clock=clock)
    manager = ABTestManager(kernel=kernel)
    test = manager.create_test("t", "v1", "v2", 0.5, min_samples=50, primary_metric="recall", guardrails=())
    manager.start_test(test.test_id)
    clock.at += timedelta(minutes=10)
    rows = []
    for index in range(400):
        arm, true = ("v1", "v2")[index % 2], "attack" if index % 8 < 4 else "benign"
        caught = true == "attack" and index % 20 > (5 if arm == "v1" else 3)
        row = {"model_version": arm, "success": True, "latency_ms": 20.0 + index % 7, "request_id": f"r{index}"}
        if index < 200:
            row |= {"true_label": true, "predicted_label": "attack" if caught else "benign"}
        rows.append(row)
    manager.record_results(test.test_id, rows)
    yield kernel, manager, test.test_id, clock
    kernel.close()


def test_a_running_test_is_planned_from_what_it_has_seen(
    running: tuple[Kernel, ABTestManager, str, Watch],
) -> None:
    kernel, _, test_id, _ = running
    found = plan_for(kernel, test_id, minimum_effect=0.05)
    assert found["source"] == "what v1, the control, has shown in this test"
    assert (found["labelled_share"], found["seen"], found["alpha"]) == (0.5, 200, 0.05)
    assert found["rate_per_s"] == pytest.approx(400 / 600)
    left = found["remaining"]
    assert 0 < left["units_expected"] < left["units_max"]
    assert left["requests_expected"] == pytest.approx(2 * left["units_expected"], abs=2)
    assert left["duration_s"] == pytest.approx(left["requests_expected"] / (400 / 600))
    assert "at this rate in" in left["sentence"]
    observed = plan_for(kernel, test_id)
    assert observed["effect"] == pytest.approx(observed["effect"])
    assert observed["effect"] > 0
    latency = plan_for(kernel, test_id, metric="avg_latency_ms", minimum_effect=0.1, relative=True)
    assert latency["labelled_share"] == 1.0
    assert latency["effect"] < 0
    json.dumps([found, observed, latency], allow_nan=False)


def outcomes(requests: int, *, confident: float = 0.0, seed: int = 5) -> list[dict[str, Any]]:
    """A tenth fails, latencies are log-normal, and the challenger may be more confident."""
    chance = random.Random(seed)
    return [
        {
            "model_version": ("v1", "v2")[index % 2],
            "success": chance.random() >= 0.1,
            "latency_ms": 20.0 * math.exp(chance.gauss(0.0, 1.0)),
            "confidence": min(1.0, max(0.0, chance.gauss(0.6 + confident * (index % 2), 0.12))),
            "request_id": f"r{index}",
        }
        for index in range(requests)
    ]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Workspace, str]]:
    """A test on the confidence with the usual guardrails, which has seen 1,000 requests."""
    with Workspace.open(tmp_path / "guarded") as workspace:
        test = workspace.ab_tests.create_test("t", "v1", "v2", 0.5, primary_metric="avg_confidence")
        workspace.ab_tests.start_test(test.test_id)
        workspace.ab_tests.record_results(test.test_id, outcomes(1000, confident=0.05))
        yield workspace, test.test_id


def test_a_promotion_takes_as_long_as_its_slowest_guardrail(guarded: tuple[Workspace, str]) -> None:
    workspace, test_id = guarded
    found = plan_for(workspace.kernel, test_id, minimum_effect=0.05, rate_per_s=10.0)
    rails = {rail["metric"]: rail for rail in found["guardrails"]}
    assert set(rails) == {"error_rate", "avg_latency_ms"}
    assert {rail["alpha"] for rail in rails.values()} == {0.05}
    assert found["needs_longest"] == "error_rate"
    assert found["requests_expected"] == rails["error_rate"]["requests_expected"]
    assert found["requests_expected"] > 10 * found["primary"]["requests_expected"]
    assert found["requests_total"] == rails["error_rate"]["requests_max"]
    assert found["duration_s"] == pytest.approx(found["requests_expected"] / 10.0)
    assert found["sentence"].endswith("The guardrail error_rate needs the longest.")
    left = found["remaining"]
    assert left["primary"]["requests_expected"] == 0
    assert left["needs_longest"] == "error_rate"
    assert 0 < left["requests_expected"] < found["requests_expected"]
    assert f"{left['requests_expected']:,} more requests" in left["sentence"]
    json.dumps(found, allow_nan=False)
    alone = plan_for(workspace.kernel, test_id, minimum_effect=0.05, rate_per_s=10.0, guardrails=())
    assert (alone["guardrails"], alone["needs_longest"], alone["alpha"]) == ([], None, 0.05)
    assert alone["requests_expected"] < found["primary"]["requests_expected"]
    worse = plan_for(workspace.kernel, test_id, minimum_effect=-0.05)
    assert worse["guardrails"] == []
    other = plan_for(workspace.kernel, test_id, minimum_effect=0.05, guardrails=[{"metric": "error_rate", "margin": 0}])
    assert other["guardrails"] == []
    assert "leaves a challenger that is exactly as good no margin" in other["assumptions"][-1]
    easy = plan_for(workspace.kernel, test_id, minimum_effect=0.005, guardrails=["avg_latency_ms"])
    assert easy["needs_longest"] == "avg_confidence"
    assert easy["requests_expected"] == easy["primary"]["requests_expected"]


def test_what_is_said_to_be_proven_is_proven(guarded: tuple[Workspace, str]) -> None:
    """The plan and the results agree on what is still open, whatever the challenger's latencies are like."""
    workspace, _ = guarded
    for seed in range(6):
        test = workspace.ab_tests.create_test(f"t{seed}", "v1", "v2", 0.5, primary_metric="avg_confidence")
        workspace.ab_tests.start_test(test.test_id)
        rows = outcomes(2000, confident=0.02, seed=seed)
        workspace.ab_tests.record_results(test.test_id, rows)
        found = plan_for(workspace.kernel, test.test_id, minimum_effect=0.02)["remaining"]
        results = workspace.ab_tests.get_test_results(test.test_id)
        states = {rail["metric"]: rail["state"] for rail in results["guardrails"]}
        for rail in found["guardrails"]:
            assert (rail["units_expected"] == 0) == (states[rail["metric"]] == "passed")
        low, high = results["comparison"]["avg_confidence"]["interval"]
        assert (found["primary"]["requests_expected"] == 0) == (low > 0.0 or high < 0.0)


def test_the_page_says_what_needs_the_longest(sz0: Run, home: Path) -> None:
    with Workspace.open("models") as workspace:
        test = workspace.ab_tests.create_test("t", "v1", "v2", 0.5, primary_metric="avg_confidence")
        workspace.ab_tests.start_test(test.test_id)
        workspace.ab_tests.record_results(test.test_id, outcomes(400))
    words = ("ab", "plan", "t", "--effect", "0.05")
    alone = sz0(*words, "--no-guardrails", "-o", "json").data
    assert (alone["guardrails"], alone["alpha"]) == ([], 0.05)
    found, said = sz0(*words, "-o", "json").data, " ".join(sz0(*words, "--no-color").out.split())
    assert "alpha 0.025 of 0.05" in said
    assert "error_rate needs the longest on average." in said
    assert f"a promotion {found['requests_expected']:,} {found['requests_total']:,}" in said
    for rail in found["guardrails"]:
        assert f"guardrail {rail['metric']} {rail['requests_expected']:,} {rail['requests_max']:,}" in said


def test_the_page_of_a_running_test_says_what_is_left(sz0: Run, home: Path) -> None:
    with Workspace.open("models") as workspace:
        test = workspace.ab_tests.create_test("t", "v1", "v2", 0.5, min_samples=50, primary_metric="error_rate")
        workspace.ab_tests.start_test(test.test_id)
        rows = [
            {"model_version": ("v1", "v2")[i % 2], "success": i % 11 > 0, "latency_ms": 5.0, "request_id": f"r{i}"}
            for i in range(200)
        ]
        workspace.ab_tests.record_results(test.test_id, rows)
    done = sz0("ab", "plan", "t", "--effect", "0.05", "--rate", "0.5", "--no-color")
    assert (done.code, done.err) == (0, "")
    said = " ".join(done.out.split())
    assert "a verdict takes about" in said
    assert "more requests" in said
    assert "Seen so far: 200." in said
    assert f"sz0 ab show {test.test_id}" in said
