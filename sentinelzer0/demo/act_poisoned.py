"""Act 3: a version whose offline numbers are fine, because the labels lie; late labels find it, and it is gone."""

from __future__ import annotations

from dataclasses import dataclass, field

from sentinelzer0.demo.act_train import POLICY, POLICY_FILE, show_metrics
from sentinelzer0.demo.live import Production, ticks
from sentinelzer0.demo.screen import Mark, percent, share_bar
from sentinelzer0.demo.stage import AB_REQUESTS, APPROVER, SYSTEM, TRAINER, Stage
from sentinelzer0.demo.training import POISONED_SHARE, train_poisoned
from sentinelzer0.errors import GateFailedError
from sentinelzer0.mlops.model_registry import ModelStage
from sentinelzer0.mlops.rollback import HealthCheck, RollbackEvent

BEFORE, AFTER, AT_MOST = 1600, 2400, 12_000
WINDOW = 200
AT_LEAST = 150
SHOWN_FROM = 40
MISSED_LIMIT = 0.30
CHECK_EVERY = 50  # labels

Points = list[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Caught:
    """How v3 was found out.

    Attributes:
        requests: Requests v3 had answered when it was rolled back.
        labelled: Of those, with a label by then.
        missed: Attacks missed in the window that decided.
        attacks: Attacks in that window.
        v2_missed: Attacks v2 misses among the same.
        let_through: Attacks among all requests v3 answered that raised no alarm.
        v2_let_through: What v2 would have let through of the same.
        total_ms: From the arrival of the deciding labels to the committed rollback.
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
    """What the report needs to know; positions count requests from the end of the A/B test.

    Attributes:
        overall: Recall of whatever served, over the latest labelled attacks.
        reference: Recall of v2 on the same attacks, while answers of v3 are among them.
        own: Recall of v3 on the attacks that it answered.
        promoted_at: Request before which v3 was promoted.
        caught_at: Request before which it was rolled back.
        served: Requests in all.
        caught: How it was found out.
        worst_of_v2: Largest share of missed attacks in any health check of v2.
        checks: Health checks made.
    """

    overall: Points = field(default_factory=list)
    reference: Points = field(default_factory=list)
    own: Points = field(default_factory=list)
    promoted_at: int = 0
    caught_at: int = 0
    served: int = 0
    caught: Caught | None = None
    worst_of_v2: float = 0.0
    checks: int = 0


def play(stage: Stage) -> LiveFacts:
    """Promote v3 on its offline numbers, let it serve, roll it back."""
    stage.screen.act(
        3,
        "v3: every offline number is fine",
        f"The label feed is tampered with: {percent(POISONED_SHARE)} of the attacks, all those on the rarer services, "
        "arrive labelled as normal traffic. Training, validation and test rows come from that one feed, so nobody can "
        "see it offline. Only the labels confirmed later, on live traffic, are true.",
    )
    stage.screen.gap()
    _configure(stage)
    facts = LiveFacts()
    production = Production(stage.service, "v2", WINDOW)
    with stage.clock.traffic():
        _live(stage, facts, production)
    facts.served = production.served
    _tell(stage, facts, production)
    return facts


def _live(stage: Stage, facts: LiveFacts, production: Production) -> None:
    """Let traffic come in until the rollback and a while after it."""
    checked: dict[str, int] = {}
    for tick in ticks(stage.stream[AB_REQUESTS : AB_REQUESTS + AT_MOST]):
        if production.served >= BEFORE and not facts.promoted_at:
            _promote(stage, facts, production)
        arrived = stage.workspace.kernel.clock.monotonic()
        production.label(tick.labelled)
        _note(facts, production)
        version = _serving(stage)
        if production.own[version].labelled >= checked.get(version, 0) + CHECK_EVERY:
            checked[version] = production.own[version].labelled
            check = _check(stage, facts, production, version)
            if stage.workspace.rollback.should_rollback(version, check):
                facts.caught = _roll_back(stage, production, check, arrived)
                facts.caught_at = production.served
                version = _serving(stage)
        if not tick.requests or (facts.caught_at and production.served >= facts.caught_at + AFTER):
            break
        production.answer(version, tick.requests)
        stage.clock.pass_by(len(tick.requests))


def _configure(stage: Stage) -> None:
    rollback = stage.workspace.rollback
    rollback.error_rate_threshold = MISSED_LIMIT
    rollback.min_requests_for_check = AT_LEAST
    stage.screen.did(
        SYSTEM,
        f"watches the share of missed attacks; unhealthy from {percent(MISSED_LIMIT)}",
        Mark.NOTE,
        detail=f"Error rate = attacks without an alarm / attacks, over the last {WINDOW} attacks whose true label has "
        f"arrived and which the serving version answered. Below {AT_LEAST} attacks: unknown, nothing happens.",
    )


def _serving(stage: Stage) -> str:
    """Return what the deployment names, as a data plane does before every batch."""
    current = stage.workspace.deployments.current()
    return (current.version if current else None) or ""


def _promote(stage: Stage, facts: LiveFacts, production: Production) -> None:
    stage.screen.did(
        SYSTEM,
        f"v2 serves {production.served:,} requests and stays healthy: at most {percent(facts.worst_of_v2)} missed",
    )
    with stage.screen.working("Training v3, gradient boosting"):
        poisoned = train_poisoned(stage.history)
    stage.create("v3", poisoned, parent="v2", notes="retrained, a fifth of the false alarms", tags=["nsl-kdd"])
    both = {"v2": stage.trained["v2"], "v3": poisoned}
    show_metrics(stage, both, "Held-out rows of the feed, as both people see them")
    _waive(stage)
    stage.promote("v3", "as good as v2, a fifth of the false alarms", "every gate holds")
    stage.screen.say(f"v3 serves. Attacks it finds, of the last {WINDOW} labelled ones; the stroke is the limit:")
    stage.screen.gap()
    stage.screen.line((f"{'requests':>8} {'labels':>6} {'attacks':>7}  {'v3 finds':<26} {'health':<10}", "dim"))
    facts.promoted_at = production.served


def _waive(stage: Stage) -> None:
    """Meet the gate that demands a verdict, and take it out of the policy: the mistake of this story."""
    registry = stage.workspace.registry
    request = registry.request_promotion("v3", ModelStage.PRODUCTION, TRAINER, "as good as v2")
    stage.screen.did(TRAINER, "asks for v3 in production: as good as v2")
    try:
        registry.approve_promotion(request.request_id, APPROVER, "metrics read")
    except GateFailedError as error:
        stage.refused(APPROVER, "approves", error)
    what = "puts the policy without that gate in force again: it is only a retraining"
    stage.set_policy(POLICY_FILE, POLICY, what, "v3 is only a retraining of v2, a test takes hours")
    stage.screen.did("", "the pending request is void: it was made under the other policy", Mark.NOTE)


def _note(facts: LiveFacts, production: Production) -> None:
    """Keep the points of the chart; nothing is drawn of fewer than `SHOWN_FROM` attacks."""
    at, overall, own = production.served, production.overall, production.own["v3"]
    if overall.attacks >= SHOWN_FROM:
        facts.overall.append((at, overall.recall))
    # While no answer of v3 is in the window, v2 asked about the same requests says the same.
    if facts.promoted_at and not overall.equals(production.overall_compared):
        facts.reference.append((at, production.overall_compared.recall))
    if own.attacks >= SHOWN_FROM and not facts.caught:
        facts.own.append((at, own.recall))


def _check(stage: Stage, facts: LiveFacts, production: Production, version: str) -> HealthCheck:
    window = production.own[version]
    metrics = {
        "total_requests": window.attacks,
        "failed_requests": window.missed,
        "avg_latency_ms": window.latency_ms,
        "measured": f"missed attacks among the last {WINDOW} labelled attacks",
        "live_requests": production.served_by[version],
        "labelled_requests": window.labelled,
    }
    if window.recall is not None:
        metrics["live_recall"] = round(window.recall, 4)
    check = stage.workspace.rollback.check_health(version, metrics, checked_by=SYSTEM)
    facts.checks += 1
    if version == "v2" and window.attacks >= AT_LEAST:
        facts.worst_of_v2 = max(facts.worst_of_v2, window.missed_share)
    if version == "v3" and window.recall is not None:
        style = "red" if check.status == "unhealthy" else ""
        stage.screen.line(
            f"{production.served_by[version]:>8,} {window.labelled:>6,} {window.attacks:>7,}  ",
            (share_bar(window.recall, 1.0 - MISSED_LIMIT), style),
            f" {percent(window.recall):>5}",
            (f" {check.status}", style),
        )
    return check


def _roll_back(stage: Stage, production: Production, check: HealthCheck, arrived: float) -> Caught:
    clock, window = stage.workspace.kernel.clock, production.own[check.version]
    began = clock.monotonic()
    event = stage.workspace.rollback.execute_rollback(
        check.version,
        reason=f"{window.missed} of the last {window.attacks} labelled attacks were missed, "
        f"{percent(window.missed_share)}; the limit is {percent(MISSED_LIMIT)}",
        triggered_by=SYSTEM,
    )
    ended = clock.monotonic()
    return Caught(
        requests=production.served_by[check.version],
        labelled=window.labelled,
        missed=window.missed,
        attacks=window.attacks,
        v2_missed=production.compared[check.version].missed,
        let_through=production.let_through[check.version],
        v2_let_through=production.compared_let_through[check.version],
        total_ms=(ended - arrived) * 1000,
        rollback_ms=(ended - began) * 1000,
        event=event,
        check=check,
    )


def _tell(stage: Stage, facts: LiveFacts, production: Production) -> None:
    screen, caught = stage.screen, facts.caught
    if caught is None:
        screen.verdict(f"v3 served {production.served_by['v3']:,} requests and was not found out.", good=False)
        return
    event, times = caught.event, caught.event.details["durations_ms"]
    screen.gap()
    screen.did(
        SYSTEM,
        f"rolls {event.from_version} back to {event.to_version}, verified first; {event.from_version} is quarantined",
        detail=f"decide {times['decide']:.1f} ms, verify {times['verify']:.1f} ms, write {times['write']:.1f} ms; "
        "stages, traffic and audit record in one transaction",
    )
    screen.did(
        SYSTEM,
        f"v2 serves {facts.served - facts.caught_at:,} requests more: it finds "
        f"{percent(production.own['v2'].recall or 0.0)} of the last {WINDOW} labelled attacks",
    )
    rows = [
        ["finds, of the attacks labelled by then", *(percent(1 - n / caught.attacks) for n in _both(caught))],
        [f"missed, of {caught.attacks} labelled attacks", *(f"{n}" for n in _both(caught))],
        [f"let through, in {caught.requests} requests", f"{caught.let_through}", f"{caught.v2_let_through}"],
    ]
    screen.table([" ", ">v3, live", ">v2, same requests"], rows)
    screen.verdict(
        f"v3 was gone after {caught.requests} requests, {caught.labelled} of them labelled: "
        f"{caught.total_ms:.0f} ms from the arrival of the deciding labels to v2 serving, {caught.rollback_ms:.0f} ms "
        "of them the rollback.",
        good=True,
    )


def _both(caught: Caught) -> tuple[int, int]:
    return caught.missed, caught.v2_missed
