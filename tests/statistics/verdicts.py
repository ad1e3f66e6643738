"""Whole verdicts on simulated tests: primary metric, guardrails and sample ratio together, as the product judges them.

Each look is given to ``domain.decisions.judge`` with what the looks before it have proven, until a decision is final.
Tests in which no look can carry one are skipped: a decision follows from the primary metric, a guardrail or the sample
ratio, and for each of them a condition that the exact rule implies is computed for all looks at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.domain.decisions import Action, Decision, Proofs, judge
from sentinelzer0.domain.guarding import budget
from sentinelzer0.domain.guardrails import parsed
from sentinelzer0.domain.outcomes import Cell, Evidence
from sentinelzer0.stats import sample_ratio
from tests.statistics import screens
from tests.statistics.error_rates import ALPHAS, MIN_SAMPLES, Counts, first_where
from tests.statistics.streams import Design, Streams, simulate

_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Question:
    """What a test decides by.

    Attributes:
        name: For the table.
        primary: The primary metric.
        guardrails: As they are given to ``create_test``; None for the defaults.
    """

    name: str
    primary: str
    guardrails: tuple[dict[str, object], ...] | None = None


QUESTIONS = (
    Question("f1_score, default guardrails", "f1_score"),
    Question("f1_score, no guardrails", "f1_score", ()),
    Question(
        "recall, four guardrails that allow nothing",
        "recall",
        tuple(
            {"metric": metric, "margin": 0.0}
            for metric in ("error_rate", "avg_latency_ms", "avg_confidence", "f1_score")
        ),
    ),
)


def running_test(question: Question, design: Design, alpha: float) -> StoredTest:
    """A running test of two arms with the ramp of a design, all phases begun."""
    phases = [
        {"phase": number, "at": _START.isoformat(), "shares": {"A": 1.0 - share, "B": share}}
        for number, (share, _) in enumerate(design.ramp, start=1)
    ]
    share = design.ramp[-1][0]
    return StoredTest(
        test_id="test_simulated",
        test_name="simulated",
        model_a="v1",
        model_b="v2",
        traffic_split=share,
        status=TestStatus.RUNNING,
        created_at=_START,
        created_by="system",
        description="",
        min_samples=MIN_SAMPLES,
        significance_threshold=alpha,
        primary_metric=question.primary,
        salt="0" * 16,
        model="default",
        arms={"A": "v1", "B": "v2"},
        shares={"B": share},
        ranges=[],
        phases=phases,
        guardrails=[guardrail.to_dict() for guardrail in parsed(question.guardrails, question.primary)],
    )


def evidence_at(streams: Streams, number: int, look: int) -> Evidence:
    """What the product would read at one look at one test."""
    cells = [
        Cell(phase, True, "", letter, statistics, statistics.requests)
        for phase, stratum in enumerate(streams.strata(number, look), start=1)
        for letter, statistics in (("A", stratum.a), ("B", stratum.b))
    ]
    return Evidence(tuple(cells))


def decided(test: StoredTest, streams: Streams, number: int) -> Decision | None:
    """The first decision of all looks at one test, each of them judged."""
    proofs = Proofs()
    for look in range(streams.size[1]):
        judgement = judge(test, evidence_at(streams, number, look), proofs)
        if judgement.decision.action is not Action.INCONCLUSIVE:
            return judgement.decision
        proofs = judgement.proofs
    return None


def candidates(test: StoredTest, streams: Streams) -> screens.Flags:
    """At which looks a final decision may be reached, whatever the looks before it have proven."""
    levels, least = budget(test), test.min_samples
    primary = screens.standardise(streams, test.primary_metric)
    found = screens.outside(primary, test.primary_metric, levels.primary, least)
    for guardrail in test.guardrail_list:
        found |= screens.harmful(screens.standardise(streams, guardrail.metric), guardrail.metric, levels.stop, least)
        events = screens.EVENTS.get(guardrail.metric)
        ratio = guardrail.ratio or (1.0 if guardrail.margin == 0.0 else None)
        if events is not None and ratio is not None:
            found |= screens.regressed(streams, levels.stop / 2, ratio, events)
    found |= screens.mismatched(streams) >= log(1.0 / sample_ratio.ALPHA) - 1e-6
    return found


def decidable(test: StoredTest, streams: Streams) -> list[int]:
    """The tests with a look that decides if all guardrails count as kept and no earlier look contradicts it.

    Every final decision needs such a look: limits of the primary metric are cut with those of looks that had a limit
    of their own beyond 0, and an open guardrail only ever delays a promotion.
    """
    kept = Proofs(kept={"B": [guardrail.metric for guardrail in test.guardrail_list]})

    def decides(number: int, look: int) -> bool:
        return judge(test, evidence_at(streams, number, look), kept).decision.action is not Action.INCONCLUSIVE

    return [number for number, _ in first_where(candidates(test, streams), decides)]


def of_equal_arms(index: int, tests: int, seed: int) -> Counts:
    """Count final decisions on two equal arms, by ("decision", action, alpha)."""
    counts: Counts = Counter()
    for streams in simulate(Design(), tests, seed):
        for alpha in ALPHAS:
            test = running_test(QUESTIONS[index], streams.design, alpha)
            for number in decidable(test, streams):
                decision = decided(test, streams, number)
                if decision is not None:
                    counts["decision", decision.action.value, str(alpha)] += 1
    return counts
