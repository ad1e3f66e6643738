"""Act 2: the challenger meets live traffic; labels come late, the interval narrows, the verdict holds."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from sentinelzer0.demo.live import Tick, ticks
from sentinelzer0.demo.nsl_kdd import LiveRequest
from sentinelzer0.demo.screen import Mark, interval_bar, percent
from sentinelzer0.demo.stage import AB_REQUESTS, APPROVER, TRAINER, Stage

SHARE = 0.2
MIN_SAMPLES = 400
SHOW_AT = (500, 800, 1200, 1600, 2000, 2500, 3200, 4000, 5000)
REACH = 0.4


@dataclass(frozen=True, slots=True)
class Look:
    """What the test said after so many requests.

    Attributes:
        requests: Live requests so far.
        labelled: Those with a label, of the challenger.
        value_a: F1 score of the control.
        value_b: F1 score of the challenger.
        low: Low end of the interval for the difference B - A.
        high: High end.
        winner: The winning version, None until decided.
    """

    requests: int
    labelled: int
    value_a: float
    value_b: float
    low: float
    high: float
    winner: str | None


@dataclass(frozen=True, slots=True)
class TestFacts:
    """What the report needs to know.

    Attributes:
        test_id: The test.
        decided_after: Requests when the verdict was reached.
        results: Of the completed test.
    """

    __test__ = False  # pytest: not a test

    test_id: str
    decided_after: int
    results: dict[str, Any]


def play(stage: Stage) -> TestFacts:
    """Run the test on live traffic and promote its winner."""
    stage.screen.act(
        2,
        "v2 against v1 on live traffic",
        f"KDDTest+ is the traffic: {AB_REQUESTS:,} of its connections come in, among them types of attack that no model "
        f"has seen. {percent(SHARE)} of the hosts are sent to v2. Nobody knows the truth yet: half the labels come "
        "more than 200 requests later.",
    )
    stage.screen.gap()
    test_id = _start(stage)
    decided_after = _run(stage, test_id)
    done = stage.workspace.ab_tests.complete_test(test_id, completed_by=TRAINER)
    stage.workspace.ab_tests.report(test_id, stage.root / "ab-test.html")
    significance = done["statistical_significance"]
    a, b = done["metrics_a"], done["metrics_b"]
    stage.screen.verdict(sentence(done, decided_after), good=done["winner"] == "v2")
    stage.screen.gap()
    stage.screen.did(
        TRAINER,
        "ends the test; v1 has all the traffic back until somebody decides",
        detail=f"{a['total_requests']:,} requests to v1, {b['total_requests']:,} to v2; recall "
        f"{percent(a['computed_metrics']['recall'])} against {percent(b['computed_metrics']['recall'])}; "
        f"p={significance['p_value']:.1g}, valid at every look",
    )
    stage.promote("v2", "won the A/B test", f"verdict after {decided_after:,} requests read")
    return TestFacts(test_id, decided_after, done)


def sentence(results: dict[str, Any], decided_after: int) -> str:
    """Say what the test proved."""
    winner, found = results["winner"], results["statistical_significance"]
    if winner is None:
        return f"No verdict: {found['reason']}"
    low, high = sorted(abs(end) for end in found["interval"])
    return (
        f"{winner} is better: its F1 score is {low:.2f} to {high:.2f} higher. The verdict was reached after "
        f"{decided_after:,} requests and stays, whatever comes after it."
    )


def _start(stage: Stage) -> str:
    registry, tests = stage.workspace.registry, stage.workspace.ab_tests
    request = registry.request_canary("v2", SHARE, TRAINER, "A/B test against v1")
    stage.screen.did(TRAINER, f"asks for {percent(SHARE)} of the traffic for v2")
    registry.approve_promotion(request.request_id, APPROVER, "small share, v1 stays the control")
    stage.screen.did(APPROVER, "approves: small share, v1 stays the control")
    test = tests.create_test(
        "v2 against v1",
        "v1",
        "v2",
        SHARE,
        "Does boosting find more attacks without more false alarms?",
        TRAINER,
        MIN_SAMPLES,
        deployment="production",
    )
    started = tests.start_test(test.test_id, started_by=TRAINER)
    stage.screen.did(TRAINER, f"starts the test; F1 score decides, {MIN_SAMPLES} labels per version at least")
    for warning in started.warnings:
        stage.screen.did("", warning, Mark.WARNING)
    return test.test_id


def _run(stage: Stage, test_id: str) -> int:
    """Let the traffic come in and return after how many requests the verdict was reached."""
    screen, tests = stage.screen, stage.workspace.ab_tests
    screen.say("The difference in F1 score, v2 - v1, and the interval it lies in with 95 % at all looks together:")
    screen.gap()
    screen.line((f"{'':>8} {'labels':>6} {'F1':>6} {'F1':>6}", "dim"))
    screen.line((f"{'requests':>8} {'of v2':>6} {'v1':>6} {'v2':>6}  {-REACH:<17}{0:<12}{REACH:>+6}", "dim"))
    decided_after, served = 0, 0
    due = list(SHOW_AT)
    with screen.working("Replaying live traffic"):
        for tick in ticks(stage.stream[:AB_REQUESTS]):
            _labels(stage, test_id, tick)
            _serve(stage, test_id, tick)
            served += len(tick.requests)
            look = _look(tests.get_test_results(test_id), served)
            if look is None:
                continue
            reached = look.winner is not None and not decided_after
            if reached:
                decided_after = _decided_after(stage, test_id)
            if reached or served >= due[0] or not tick.requests:
                due = [step for step in due if step > served] or [2 * AB_REQUESTS]
                note = "verdict" if reached else "all labels" if not tick.requests else ""
                _show(stage, look, note)
    return decided_after


def _decided_after(stage: Stage, test_id: str) -> int:
    """Return how many requests the evidence of the verdict holds."""
    test = stage.workspace.ab_tests.get_test(test_id)
    return 0 if test is None else int(test.verdict["requests"])


def _serve(stage: Stage, test_id: str, tick: Tick) -> None:
    """Send each host to its version, answer, and record what each answer was."""
    tests = stage.workspace.ab_tests
    by_version: dict[str, list[LiveRequest]] = {}
    for request in tick.requests:
        by_version.setdefault(tests.route_request(test_id, request.key), []).append(request)
    rows: list[dict[str, Any]] = []
    for version, requests in sorted(by_version.items(), key=operator.itemgetter(0)):
        answer = stage.service.answer(version, tuple(requests))
        rows += [
            {
                "model_version": version,
                "success": True,
                "latency_ms": answer.latency_ms,
                "confidence": max(score, 1.0 - score),
                "predicted_label": alarm,
                "request_id": f"live-{request.position}",
                "key": request.key,
            }
            for request, score, alarm in zip(requests, answer.scores.tolist(), answer.predicted.tolist(), strict=True)
        ]
    tests.record_results(test_id, rows)


def _labels(stage: Stage, test_id: str, tick: Tick) -> None:
    for request in tick.labelled:
        stage.workspace.ab_tests.record_label(test_id, f"live-{request.position}", request.label)


def _look(results: dict[str, Any], served: int) -> Look | None:
    found, f1 = results["statistical_significance"], results["comparison"]["f1_score"]
    if found["interval"] is None or f1["model_a"] is None or f1["model_b"] is None:
        return None
    winner = None if found["winner"] is None else results[f"model_{found['winner'].lower()}"]
    low, high = found["interval"]
    return Look(served, found["samples_b"], f1["model_a"], f1["model_b"], low, high, winner)


def _show(stage: Stage, look: Look, note: str) -> None:
    bar = interval_bar(look.low, look.high, look.value_b - look.value_a, reach=REACH)
    style = "green" if look.winner else ""
    stage.screen.line(
        f"{look.requests:>8,} {look.labelled:>6,} {look.value_a:>6.3f} {look.value_b:>6.3f}  ",
        (bar, style),
        (f"  {note}", "bold green"),
    )
