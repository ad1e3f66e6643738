"""A/B tests and the rollback history, taken over from version 3.3.

Of an A/B test version 3.3 kept totals and means, which is all that counted metrics need. The spread of a mean is not
among them: latencies are taken over with a standard deviation as large as their mean, confidences with the largest
spread their mean allows, so that nothing is claimed to be better than was measured. The winner that version 3.3
named is kept as a remark: a verdict is only what the evidence carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sentinelzer0.domain.ab_design import new_test
from sentinelzer0.domain.ab_tests import StoredTest, TestStatus, with_new_phase
from sentinelzer0.domain.decisions import judge, latched, verdict_of
from sentinelzer0.domain.identity import DEFAULT_MODEL, PRODUCTION, Actor, check_label, subject_of_version
from sentinelzer0.domain.proofs import Proofs
from sentinelzer0.domain.rollbacks import RollbackEvent, RollbackStrategy
from sentinelzer0.domain.scalars import real, shown
from sentinelzer0.domain.tallies import Increment
from sentinelzer0.errors import InvalidInputError, SentinelError
from sentinelzer0.kernel import Kernel, Transaction, random_salt
from sentinelzer0.maintenance.legacy_files import Facts, LegacyDirectory
from sentinelzer0.maintenance.measurement_checks import IMPORTED, imported_cells, totals_of

IMPORT_ROLLBACK = "legacy:rollback:import"
MAX_COUNT = 10**15
ARMS = {"A": "metrics_a", "B": "metrics_b"}


@dataclass(frozen=True, slots=True)
class PastRollback:
    """One event of the history."""

    event_id: str
    facts: Facts
    timestamp: datetime
    from_version: str
    to_version: str | None
    success: bool


def import_test(kernel: Kernel, facts: Facts, actor: Actor) -> str | None:
    """Take one A/B test over; returns ``imported``, ``unchanged``, or None when it is damaged, which is then named."""
    try:
        test = _test(facts)
        facts.key = test.test_id
        totals = {arm: _totals(facts, name) for arm, name in ARMS.items()}
        with kernel.begin(actor, IMPORTED, f"ab_test:{test.test_id}") as tx:
            if tx.ab_tests.get(test.test_id) is not None:
                return "unchanged"
            _add_test(tx, test, totals, facts)
    except SentinelError as error:
        facts.damaged(error.message)
        return None
    return "imported"


def find_rollbacks(directory: LegacyDirectory) -> list[PastRollback]:
    """Return the readable events of the rollback history, oldest first; damage is named."""
    found: dict[str, PastRollback] = {}
    for facts in directory.objects(directory.root / "rollback" / "rollback_history.json"):
        try:
            event_id = check_label(facts.required("event_id"), "event id")
            to_version = facts.text("to_version") or None
            timestamp, from_version = facts.required_time("timestamp"), facts.required("from_version")
            success = facts.flag("success")
        except InvalidInputError as error:
            facts.damaged(error.message)
            continue
        facts.key, original, number = event_id, event_id, 2
        while event_id in found:  # version 3.3 named events by the second
            event_id, number = f"{original}-{number}", number + 1
        found[event_id] = PastRollback(event_id, facts, timestamp, from_version, to_version, success)
    return sorted(found.values(), key=lambda event: (event.timestamp, event.event_id))


def import_rollback(kernel: Kernel, past: PastRollback, actor: Actor) -> str | None:
    """Take one event over; returns ``imported``, ``unchanged``, or None when it is damaged, which is then named."""
    facts = past.facts
    names = [past.from_version] if past.to_version is None else [past.from_version, past.to_version]
    subjects = (f"rollback:{past.event_id}", *(subject_of_version(DEFAULT_MODEL, name) for name in names))
    try:
        with kernel.begin(actor, IMPORT_ROLLBACK, *subjects) as tx:
            if tx.rollbacks.get(past.event_id) is not None:
                return "unchanged"
            event = _event(past)
            tx.rollbacks.put(event)
            tx.record(reason="taken over from version 3.3", detail={"file": facts.file})
    except SentinelError as error:
        facts.damaged(error.message)
        return None
    return "imported"


def left_by_rollback(history: list[PastRollback]) -> dict[str, tuple[datetime, str]]:
    """Return when and why each version was last rolled back from."""
    return {past.from_version: (past.timestamp, past.facts.text("reason")) for past in history if past.success}


def _event(past: PastRollback) -> RollbackEvent:
    facts = past.facts
    details = facts.document("details") | {"imported": "3.3"}
    details.pop("status", None)  # an open request of version 3.3 cannot be confirmed here
    strategy = facts.raw.get("strategy")
    if strategy not in list(RollbackStrategy):
        details["strategy"] = str(strategy)
        facts.note(f"the strategy {strategy!r:.40} became immediate; the event keeps its name in the details")
        strategy = RollbackStrategy.IMMEDIATE.value
    return RollbackEvent(
        past.event_id,
        past.timestamp,
        past.from_version,
        past.to_version,
        facts.text("reason"),
        RollbackStrategy(strategy),
        facts.person("triggered_by"),
        past.success,
        details,
        DEFAULT_MODEL,
        PRODUCTION,
    )


def _test(facts: Facts) -> StoredTest:
    raw = facts.raw
    status = facts.one_of("status", TestStatus)
    created_at = facts.required_time("created_at")
    test = new_test(
        test_id=check_label(facts.required("test_id"), "test id"),
        salt=random_salt(),
        now=created_at,
        created_by=facts.person("created_by"),
        test_name=raw.get("test_name"),
        model_a=raw.get("model_a"),
        model_b=raw.get("model_b"),
        traffic_split=raw.get("traffic_split"),
        description=facts.text("description"),
        min_samples=raw.get("min_samples"),
        significance_threshold=raw.get("significance_threshold"),
        guardrails=(),
    )
    started_at, ended_at = facts.time("started_at"), facts.time("ended_at")
    past = replace(test, status=status, started_at=started_at, ended_at=ended_at)
    return past if started_at is None else with_new_phase(past, started_at)


def _add_test(tx: Transaction, test: StoredTest, totals: dict[str, Increment], facts: Facts) -> None:
    remarks = ["Measured by version 3.3: totals and means only, no quantiles."]
    if (winner := facts.raw.get("winner")) is not None:
        sure = facts.raw.get("winner_confidence")
        remarks.append(f"Version 3.3 named {winner!s:.200} the winner with confidence {sure!s:.20}.")
    if test.status is TestStatus.RUNNING:
        remarks.append("Requests are assigned anew: version 3.3 did not assign by key.")
    tx.ab_tests.add(test)
    events = sum(arm.requests for arm in totals.values())
    tx.cells.add(test.test_id, imported_cells(totals))
    tx.streams.advance(test.test_id, events)
    # The verdict is what the evidence carries; what version 3.3 concluded is a remark.
    evidence = tx.cells.evidence(test.test_id, None)
    judged = replace(test, warnings=remarks)
    if test.status.is_over:
        at = test.ended_at or tx.now
        ended = judge(replace(judged, status=TestStatus.RUNNING), evidence, Proofs())
        verdict = verdict_of(judged, ended, at, events=events, requests=events, ending=True)
        judged = judged if verdict is None else latched(judged, verdict)
    tx.ab_tests.put(judged)
    detail: dict[str, Any] = {
        "file": facts.file,
        "totals": {arm: totals_of(increment) for arm, increment in totals.items()},
        "winner_3_3": str(winner) if winner is not None else None,
    }
    tx.record(reason="taken over from version 3.3", detail=detail)


def _totals(facts: Facts, name: str) -> Increment:
    """Return the totals of one arm.

    Raises:
        InvalidInputError: They are missing, impossible, or contradict each other.
    """
    raw = facts.raw.get(name)
    if not isinstance(raw, Mapping):
        raise InvalidInputError(f"{name} is missing.")
    total, failed, succeeded = (
        _count(raw, name, key) for key in ("total_requests", "failed_requests", "successful_requests")
    )
    cells = [
        _count(raw, name, key) for key in ("true_positives", "false_positives", "true_negatives", "false_negatives")
    ]
    if failed + succeeded != total or sum(cells) > total:
        raise InvalidInputError(f"the counts of {name} contradict each other: {total} requests")
    latency, confidence = _mean(raw, name, "avg_latency_ms"), _mean(raw, name, "avg_confidence")
    if confidence > 1:
        raise InvalidInputError(f"{name}.avg_confidence is {confidence:g}, above 1.")
    if raw.get("custom_metrics"):
        facts.note(f"the custom metrics of {name} stay in the original file only")
    sure = total if confidence > 0 else 0
    return Increment(
        requests=total,
        failures=failed,
        units=total,
        latency_sum=latency * total,
        latency_sq=2 * latency**2 * total,  # of an exponential distribution: as wide as its mean
        latency_cu=6 * latency**3 * total,
        confidences=sure,
        confidence_sum=confidence * sure,
        confidence_sq=confidence * sure,  # the largest that values between 0 and 1 can have
        confidence_cu=confidence * sure,
        tp=cells[0],
        fp=cells[1],
        tn=cells[2],
        fn=cells[3],
    )


def _count(raw: Mapping[str, Any], arm: str, name: str) -> int:
    value = raw.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise InvalidInputError(f"{arm}.{name} is {shown(value)}, not a count.")
    return value


def _mean(raw: Mapping[str, Any], arm: str, name: str) -> float:
    value = raw.get(name, 0.0)
    number = real(value)
    if number is None or not 0.0 <= number <= 1e9:
        raise InvalidInputError(f"{arm}.{name} is {shown(value)}, not a mean.")
    return number
