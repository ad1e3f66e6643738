"""Act 3: a version whose every offline number is fine, because the labels lie; late labels find it, and it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinelzer0.demo.act_train import show_metrics
from sentinelzer0.demo.live import AttackWindow, Tick, ticks
from sentinelzer0.demo.nsl_kdd import LiveRequest
from sentinelzer0.demo.screen import Mark
from sentinelzer0.demo.stage import AB_REQUESTS, SYSTEM, Stage
from sentinelzer0.demo.training import train_poisoned
from sentinelzer0.mlops.rollback import HealthCheck, RollbackEvent

BEFORE, AT_MOST, AFTER = 1500, 6000, 2000
WINDOW = 200
AT_LEAST = 100
MISSED_LIMIT = 0.30
CHECK_EVERY = 100  # labels


@dataclass(slots=True)
class Caught:
    """How v3 was found out.

    Attributes:
        requests: Requests v3 had answered when it was rolled back.
        labelled: Of those, with a label by then.
        missed: Attacks missed in the window that decided.
        attacks: Attacks in that window.
        v2_missed: Attacks v2 misses among the same requests.
        let_through: Attacks among all requests v3 answered that raised no alarm.
        v2_let_through: The same for v2, asked about the same requests.
        total_ms: From the arrival of the deciding label to the committed rollback.
        rollback_ms: Of that, the rollback.
        event: The rollback.
        check: The health check that caused it.
    """

    requests: int
    labelled: int
    missed: int
    attacks: int
    v2_missed: int
    let_through: int
    v2_let_through: int
    total_ms: float
    rollback_ms: float
    event: RollbackEvent
    check: HealthCheck


@dataclass(slots=True)
class LiveFacts:
    """What the report needs to know; positions count live requests from the end of the A/B test.

    Attributes:
        lines: For each phase (v2, v3, v2 again) the points (request, recall of the window).
        shadow: The same for v2 on the requests v3 answered.
        promoted_at: Request before which v3 was promoted.
        caught_at: Request before which it was rolled back.
        caught: How.
        worst_of_v2: Largest share of missed attacks in any window of v2 that was checked.
    """

    lines: list[tuple[str, list[tuple[int, float | None]]]] = field(default_factory=list)
    shadow: list[tuple[int, float | None]] = field(default_factory=list)
    promoted_at: int = 0
    caught_at: int = 0
    caught: Caught | None = None
    worst_of_v2: float = 0.0


@dataclass(slots=True)
class _Phase:
    """One version serving, and v2 asked about the same requests without serving."""

    version: str
    window: AttackWindow = field(default_factory=lambda: AttackWindow(WINDOW))
    shadow: AttackWindow = field(default_factory=lambda: AttackWindow(WINDOW))
    answers: dict[int, tuple[int, int, float]] = field(default_factory=dict)
    let_through: int = 0
    shadow_let_through: int = 0
    checked: int = 0


def play(stage: Stage) -> LiveFacts:
    """Promote v3 on its offline numbers, let it serve, roll it back."""
    stage.screen.act(
        3,
        "v3: every offline number is fine",
        "The label feed is tampered with: all attacks on the rarer services, 40 % of them, arrive labelled as normal "
        "traffic. Training, validation and test rows come from that one feed, so nobody can see it offline.",
    )
    stage.screen.gap()
    _configure(stage)
    facts, start = LiveFacts(), AB_REQUESTS
    start = _serve_until(stage, facts, start, BEFORE)
    stage.screen.did(
        SYSTEM, f"v2 serves {BEFORE:,} requests, healthy: at most {facts.worst_of_v2:.0%} of the attacks are missed"
    )
    with stage.screen.working("Training v3, gradient boosting"):
        poisoned = train_poisoned(stage.history)
    stage.create("v3", poisoned, parent="v2", notes="retrained, a fifth of the false alarms", tags=["nsl-kdd"])
    both = {"v2": stage.trained["v2"], "v3": poisoned}
    show_metrics(stage, both, "Held-out rows of the feed, as its trainer sees them")
    stage.promote("v3", "better in every number", "all gates hold, a fifth of the false alarms")
    facts.promoted_at = start - AB_REQUESTS
    facts.caught_at = _serve_until(stage, facts, start, AT_MOST) - AB_REQUESTS
    _serve_until(stage, facts, AB_REQUESTS + facts.caught_at, AFTER)
    _tell(stage, facts)
    return facts


def _configure(stage: Stage) -> None:
    rollback = stage.workspace.rollback
    rollback.error_rate_threshold = MISSED_LIMIT
    rollback.min_requests_for_check = AT_LEAST
    stage.screen.did(
        SYSTEM,
        f"watches the share of missed attacks; unhealthy from {MISSED_LIMIT:.0%}",
        Mark.NOTE,
        detail=f"Error rate = attacks without an alarm / attacks, over the last {WINDOW} attacks whose label has "
        f"arrived and which the serving version answered; below {AT_LEAST} attacks: unknown, nothing happens.",
    )


def _serve_until(stage: Stage, facts: LiveFacts, start: int, most: int) -> int:
    """Serve until so many requests are answered or the version is rolled back; return the next position."""
    deployment = stage.workspace.deployments.current()
    phase = _Phase(deployment.version or "" if deployment else "")
    points: list[tuple[int, float | None]] = []
    facts.lines.append((phase.version, points))
    served = 0
    with stage.screen.working(f"{phase.version} serves live traffic"):
        for tick in ticks(stage.stream[start : start + most]):
            if not tick.requests:
                break
            arrived = stage.workspace.kernel.clock.monotonic()
            for request in tick.labelled:
                _label(phase, request)
            if phase.window.labelled >= phase.checked + CHECK_EVERY:
                phase.checked = phase.window.labelled
                check = _check(stage, phase, served)
                at = start + served - AB_REQUESTS
                points.append((at, phase.window.recall if phase.window.attacks >= AT_LEAST else None))
                if phase.version == "v2" and check.error_rate is not None and phase.window.attacks >= AT_LEAST:
                    facts.worst_of_v2 = max(facts.worst_of_v2, check.error_rate)
                if phase.version == "v3":
                    shadow = phase.shadow
                    facts.shadow.append((at, shadow.recall if shadow.attacks >= AT_LEAST else None))
                if stage.workspace.rollback.should_rollback(phase.version, check):
                    facts.caught = _roll_back(stage, phase, check, served, arrived)
                    break
            _answer(stage, phase, tick)
            served += len(tick.requests)
    return start + served


def _answer(stage: Stage, phase: _Phase, tick: Tick) -> None:
    answer = stage.service.answer(phase.version, tick.requests)
    shadow = stage.service.answer("v2", tick.requests) if phase.version != "v2" else answer
    said = zip(tick.requests, answer.predicted.tolist(), shadow.predicted.tolist(), strict=True)
    for request, alarm, other in said:
        phase.answers[request.position] = (alarm, other, answer.latency_ms)
        phase.let_through += request.label == 1 and not alarm
        phase.shadow_let_through += request.label == 1 and not other


def _label(phase: _Phase, request: LiveRequest) -> None:
    alarm, other, latency_ms = phase.answers[request.position]
    phase.window.add(request, alarm, latency_ms)
    phase.shadow.add(request, other, latency_ms)


def _check(stage: Stage, phase: _Phase, served: int) -> HealthCheck:
    window = phase.window
    metrics = {
        "total_requests": window.attacks,
        "failed_requests": window.missed,
        "avg_latency_ms": window.latency_ms,
        "measured": f"missed attacks among the last {WINDOW} labelled attacks",
        "live_requests": served,
        "labelled_requests": window.labelled,
    }
    if window.recall is not None:
        metrics["live_recall"] = round(window.recall, 4)
    return stage.workspace.rollback.check_health(phase.version, metrics, checked_by=SYSTEM)


def _roll_back(stage: Stage, phase: _Phase, check: HealthCheck, served: int, arrived: float) -> Caught:
    clock, window = stage.workspace.kernel.clock, phase.window
    began = clock.monotonic()
    event = stage.workspace.rollback.execute_rollback(
        phase.version,
        reason=f"{window.missed} of the last {window.attacks} labelled attacks were missed, "
        f"{check.error_rate or 0:.0%}; the limit is {MISSED_LIMIT:.0%}",
        triggered_by=SYSTEM,
    )
    ended = clock.monotonic()
    return Caught(
        requests=served,
        labelled=window.labelled,
        missed=window.missed,
        attacks=window.attacks,
        v2_missed=phase.shadow.missed,
        let_through=phase.let_through,
        v2_let_through=phase.shadow_let_through,
        total_ms=(ended - arrived) * 1000,
        rollback_ms=(ended - began) * 1000,
        event=event,
        check=check,
    )


def _tell(stage: Stage, facts: LiveFacts) -> None:
    screen, caught = stage.screen, facts.caught
    if caught is None:
        screen.verdict("v3 was not caught.", good=False)
        return
    rows = [
        [
            f"labelled attacks missed, last {caught.attacks}",
            f"{caught.missed} ({caught.missed / caught.attacks:.0%})",
            f"{caught.v2_missed} ({caught.v2_missed / caught.attacks:.0%})",
        ],
        ["live recall", f"{1 - caught.missed / caught.attacks:.1%}", f"{1 - caught.v2_missed / caught.attacks:.1%}"],
        [f"attacks let through in {caught.requests} requests", f"{caught.let_through}", f"{caught.v2_let_through}"],
    ]
    screen.table([" ", ">v3, serving", ">v2, same requests"], rows, title="On live traffic, by the labels that arrived")
    event = caught.event
    screen.gap()
    screen.did(SYSTEM, f"v3 is unhealthy: {caught.check.details['reasons'][0]}", Mark.REFUSED)
    screen.did(
        SYSTEM,
        f"rolls {event.from_version} back to {event.to_version}, verified first; {event.from_version} is quarantined",
        detail=f"decide {event.details['durations_ms']['decide']:.1f} ms, verify "
        f"{event.details['durations_ms']['verify']:.1f} ms, write {event.details['durations_ms']['write']:.1f} ms, "
        "one transaction",
    )
    last = next(recall for _, recall in reversed(facts.lines[-1][1]) if recall is not None)
    screen.did(SYSTEM, f"v2 serves again: {last:.0%} of the last {WINDOW} labelled attacks raise an alarm")
    screen.verdict(
        f"v3 was gone after {caught.requests} requests, {caught.labelled} of them labelled: "
        f"{caught.total_ms:.0f} ms from the deciding labels to v2 serving ({caught.rollback_ms:.0f} ms the rollback).",
        good=True,
    )


def recalls(points: Sequence[tuple[int, float | None]]) -> list[float]:
    """Return the recalls that are known."""
    return [recall for _, recall in points if recall is not None]
