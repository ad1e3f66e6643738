"""Act 2: the challenger meets live traffic, a few hosts first; labels come late, the interval narrows, the verdict holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentinelzer0.demo.act_train import POLICY
from sentinelzer0.demo.live import Tick, ticks
from sentinelzer0.demo.nsl_kdd import LiveRequest
from sentinelzer0.demo.screen import Mark, interval_bar, percent
from sentinelzer0.demo.stage import AB_REQUESTS, APPROVER, SYSTEM, TRAINER, Stage
from sentinelzer0.mlops.ab_report import difference_chart
from sentinelzer0.mlops.ab_testing import Assignment, Guardrail
from sentinelzer0.reports import IntervalChart

FIRST_SHARE, SHARE = 0.05, 0.2
RAMP_AT = 640
"""Requests after which v2 gets its whole share."""
MIN_SAMPLES = 400
LABEL_WINDOW_S = 1200.0
LAST_LABELS_S = 7200.0
LATENCY_MARGIN_MS = 25.0
WORTH_HAVING = 0.05
SALT = "5e7112e100000002"
"""Fixed, so that every run sends the same hosts to v2."""
ALPHA = 0.05
SHOW_AT = (2000, 2300, 2600, 2900, 3200, 3500, 4200, 5000)
REACH = 0.4
POLICY_FILE = "policy-with-verdict.toml"
GATE = """
# Numbers from the lab are not enough: a new version has to win a test on live traffic.
[[gates.evidence]]
kind = "ab-verdict"
targets = ["production"]
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What the test said after so many requests.

    Attributes:
        requests: Live requests so far.
        labelled: Those of the challenger whose label counts by now.
        value_a: F1 score of the control.
        value_b: F1 score of the challenger.
        low: Low end of the interval for the difference B - A.
        high: High end.
        latched: Whether a verdict was reached.
    """

    requests: int
    labelled: int
    value_a: float
    value_b: float
    low: float
    high: float
    latched: bool


@dataclass(frozen=True, slots=True)
class Plans:
    """What a test of a size fixed beforehand would have needed: labelled requests, for one look at the end.

    Attributes:
        for_difference: For the difference that it turned out to be, which nobody knows beforehand.
        for_worth_having: For the smallest difference worth having.
    """

    for_difference: int
    for_worth_having: int


@dataclass(frozen=True, slots=True)
class TestFacts:
    """What the report needs to know.

    Attributes:
        test_id: The test.
        decided_after: Requests when the verdict was reached.
        labelled: Labelled requests that the verdict rests on.
        looks: Times the test was looked at by then.
        plans: What a test of a fixed size would have needed.
        results: Of the completed test.
        chart: The difference over the looks.
    """

    __test__ = False  # pytest: not a test

    test_id: str
    decided_after: int
    labelled: int
    looks: int
    plans: Plans
    results: dict[str, Any]
    chart: IntervalChart | None


def play(stage: Stage) -> TestFacts:
    """Run the test on live traffic and promote its winner."""
    stage.screen.act(
        2,
        "v2 against v1 on live traffic",
        f"KDDTest+ is the traffic: {AB_REQUESTS:,} of its connections come in, one a second on the clock of the "
        "workspace, which is set back for that; among them types of attack that no model has seen. Nobody knows the "
        "truth yet: half the labels come more than 200 seconds later.",
    )
    stage.screen.gap()
    what = "puts a policy with one more gate in force: the verdict of a test"
    stage.set_policy(POLICY_FILE, POLICY + GATE, what, "a new version has to win on live traffic")
    test_id = _start(stage)
    looks = _run(stage, test_id)
    done = stage.workspace.ab_tests.complete_test(test_id, completed_by=TRAINER)
    stage.workspace.ab_tests.report(test_id, stage.root / "ab-test.html")
    facts = _facts(stage, test_id, looks, done)
    stage.screen.verdict(sentence(facts), good=done["winner"] == "v2")
    stage.screen.gap()
    _tell(stage, facts)
    stage.promote("v2", "won the A/B test", f"verdict after {facts.decided_after:,} requests read")
    return facts


def sentence(facts: TestFacts) -> str:
    """Say what the test proved."""
    decision, found = facts.results["decision"], facts.results["statistical_significance"]
    if decision["action"] != "promote":
        return str(decision["sentence"])
    low, high = found["interval"]
    return (
        f"Promote {decision['winner']}: its F1 score is {low:.2f} to {high:.2f} higher, and every "
        f"guardrail is proven to be kept. The verdict was reached after {facts.decided_after:,} requests, {facts.labelled:,} labels counted, "
        "and stays, whatever comes after it."
    )


def guardrails(facts: TestFacts) -> list[tuple[str, str, str]]:
    """Return name, state and reason of each guardrail, by version and not by arm."""
    return [
        (
            found["metric"].replace("avg_latency_ms", "mean latency").replace("_", " "),
            found["state"],
            found["reason"].replace(" of B ", " of v2 ").replace(" A's ", " v1's "),
        )
        for found in facts.results["guardrails"]
    ]


def planned(facts: TestFacts) -> str:
    """Say what a test of a fixed size would have needed."""
    plans = facts.plans
    return (
        f"A test of a fixed size, looked at once at its end, needs {plans.for_worth_having:,} labelled requests to find "
        f"a difference of {WORTH_HAVING:g}, the smallest worth having, in four of five cases, and {plans.for_difference:,} "
        f"for somebody who knows beforehand what it turned out to be. This one was looked at {facts.looks:,} times, "
        f"waited for {MIN_SAMPLES} labels of each version, and needed {facts.labelled:,}."
    )


def _start(stage: Stage) -> str:
    registry, tests = stage.workspace.registry, stage.workspace.ab_tests
    request = registry.request_canary("v2", SHARE, TRAINER, "A/B test against v1")
    stage.screen.did(TRAINER, f"asks for up to {percent(SHARE)} of the traffic for v2")
    registry.approve_promotion(request.request_id, APPROVER, "small share, v1 stays the control")
    stage.screen.did(APPROVER, "approves: small share, v1 stays the control")
    test = tests.create_test(
        "v2 against v1",
        "v1",
        "v2",
        FIRST_SHARE,
        "Does boosting find more attacks without more false alarms?",
        TRAINER,
        MIN_SAMPLES,
        ALPHA,
        guardrails=["error_rate", Guardrail("avg_latency_ms", LATENCY_MARGIN_MS)],
        deployment="production",
        label_window=LABEL_WINDOW_S,
        minimum_effect=WORTH_HAVING,
        salt=SALT,
    )
    started = tests.start_test(test.test_id, started_by=TRAINER)
    stage.screen.did(
        TRAINER,
        f"starts the test with {percent(FIRST_SHARE)} of the hosts for v2; the F1 score decides",
        detail=f"{MIN_SAMPLES} labels of each version at least, and a request counts when its label has had "
        f"{LABEL_WINDOW_S / 60:.0f} minutes to come. Guarded: failures, and the mean latency, which is the measured time "
        f"of the batch a request was scored in. Trees take longer than a line, so v2 may be "
        f"{LATENCY_MARGIN_MS:.0f} ms slower, not more.",
    )
    for warning in started.warnings:
        stage.screen.did("", warning, Mark.WARNING)
    return test.test_id


def _run(stage: Stage, test_id: str) -> int:
    """Let the traffic come in and return how often the test was looked at until the verdict."""
    screen, tests = stage.screen, stage.workspace.ab_tests
    served, looks, decided = 0, 0, False
    due = list(SHOW_AT)
    with stage.clock.traffic(), screen.working("Replaying live traffic"):
        for tick in ticks(stage.stream[:AB_REQUESTS]):
            if not tick.requests:
                stage.clock.pass_by(LAST_LABELS_S)
            labels = [(f"live-{request.position}", request.label) for request in tick.labelled]
            tests.record_labels(test_id, labels)
            if served == RAMP_AT:
                _ramp(stage, test_id)
            _serve(stage, test_id, tick)
            served += len(tick.requests)
            look = _look(tests.get_test_results(test_id), served)
            looks += not decided
            stage.clock.pass_by(len(tick.requests))
            if look is None:
                continue
            reached, decided = look.latched and not decided, look.latched
            if reached or served >= due[0] or not tick.requests:
                due = [step for step in due if step > served] or [2 * AB_REQUESTS]
                _show(stage, look, "verdict" if reached else "all labels" if not tick.requests else "")
    return looks


def _ramp(stage: Stage, test_id: str) -> None:
    """Give the challenger its whole share; whoever met it keeps meeting it."""
    tests = stage.workspace.ab_tests
    reason = "no failures, no complaints"
    tests.set_share(test_id, SHARE, changed_by=TRAINER, reason=reason)
    stage.screen.did(
        TRAINER,
        f"gives v2 {percent(SHARE)} of the hosts after {RAMP_AT} requests: {reason}",
        detail="Whoever met v2 keeps meeting it. Each share is compared within itself.",
    )
    stage.screen.say(
        f"The difference in F1 score, v2 - v1, and the interval it lies in with {100 * (1 - ALPHA / 2):g} % at all looks "
        f"together; the guardrails have the other half of the {100 * ALPHA:g} %:"
    )
    stage.screen.gap()
    stage.screen.line((f"{'':>8} {'labels':>6} {'F1':>6} {'F1':>6}", "dim"))
    stage.screen.line((f"{'requests':>8} {'of v2':>6} {'v1':>6} {'v2':>6}  {-REACH:<17}{0:<12}{REACH:>+6}", "dim"))


def _serve(stage: Stage, test_id: str, tick: Tick) -> None:
    """Send each host to its version, answer, and record what each answer was."""
    tests = stage.workspace.ab_tests
    by_version: dict[str, list[tuple[LiveRequest, Assignment]]] = {}
    for request in tick.requests:
        assigned = tests.assign(test_id, request.key, request_id=f"live-{request.position}")
        by_version.setdefault(assigned.version, []).append((request, assigned))
    rows: list[dict[str, Any]] = []
    for version, asked in sorted(by_version.items()):
        answer = stage.service.answer(version, tuple(request for request, _ in asked))
        rows += [
            {
                "model_version": version,
                "success": True,
                "latency_ms": answer.latency_ms,
                "confidence": max(score, 1.0 - score),
                "predicted_label": alarm,
                "key": request.key,
                "assignment": assigned,
            }
            for (request, assigned), score, alarm in zip(
                asked, answer.scores.tolist(), answer.predicted.tolist(), strict=True
            )
        ]
    tests.record_results(test_id, rows)


def _look(results: dict[str, Any], served: int) -> Look | None:
    found, f1 = results["statistical_significance"], results["comparison"]["f1_score"]
    if found["interval"] is None or f1["model_a"] is None or f1["model_b"] is None:
        return None
    low, high = found["interval"]
    latched = results["decision"]["latched"]
    return Look(served, found["samples_b"], f1["model_a"], f1["model_b"], low, high, latched)


def _show(stage: Stage, look: Look, note: str) -> None:
    bar = interval_bar(look.low, look.high, look.value_b - look.value_a, reach=REACH)
    style = "green" if look.latched else ""
    stage.screen.line(
        f"{look.requests:>8,} {look.labelled:>6,} {look.value_a:>6.3f} {look.value_b:>6.3f}  ",
        (bar, style),
        (f"  {note}", "bold green"),
    )


def _facts(stage: Stage, test_id: str, looks: int, done: dict[str, Any]) -> TestFacts:
    """Return what the verdict rests on, beside what a test of a fixed size would have needed."""
    tests = stage.workspace.ab_tests
    test = tests.get_test(test_id)
    verdict = {} if test is None else test.verdict
    effects = (done["comparison"]["f1_score"]["difference"], WORTH_HAVING)
    plans = Plans(*(tests.plan(test_id, minimum_effect=effect)["fixed_total"] for effect in effects))
    labelled = int(verdict.get("samples_a", 0)) + int(verdict.get("samples_b", 0))
    chart = difference_chart(stage.workspace.kernel, test_id, done)
    return TestFacts(test_id, int(verdict.get("requests", 0)), labelled, looks, plans, done, chart)


def _tell(stage: Stage, facts: TestFacts) -> None:
    """Tell what goes with the verdict: guardrails, split, warnings, plan, the end of the test."""
    screen, done = stage.screen, facts.results
    a, b = done["metrics_a"], done["metrics_b"]
    for name, state, reason in guardrails(facts):
        screen.did("guard", f"{name}: {state}", Mark.DONE if state == "passed" else Mark.WARNING, detail=reason)
    split = done["srm"]
    screen.did(
        "split",
        split["reason"],
        Mark.DONE if split["ok"] else Mark.WARNING,
        detail=f"v2 was met by {split['observed']['v2']:,} hosts for the first time, {split['expected']['v2']:,.0f} "
        "were expected.",
    )
    for warning in done["warnings"]:
        if warning.startswith("Each key"):
            calm = "Here they do not: which host sent a connection is drawn at random."
            screen.did("note", f"{warning} {calm}", Mark.NOTE)
    screen.did("plan", planned(facts), Mark.NOTE)
    screen.did(SYSTEM, "attaches the verdict to v2 as evidence ab-verdict: requests carry it, gates demand it")
    screen.did(
        TRAINER,
        "ends the test; v1 has all the traffic back until somebody decides",
        detail=f"{a['total_requests']:,} requests to v1, {b['total_requests']:,} to v2; recall "
        f"{percent(a['computed_metrics']['recall'])} against {percent(b['computed_metrics']['recall'])}; mean latency "
        f"{a['avg_latency_ms']:.1f} ms against {b['avg_latency_ms']:.1f} ms; "
        f"p={done['statistical_significance']['p_value']:.1g}, valid at every look",
    )
