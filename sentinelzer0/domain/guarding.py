"""Guardrails against the evidence: proven to be kept, proven to be violated, or still open.

This module reads. It performs no I/O. The laws:

- Harm of a counted event (a failure, a wrong label, a missed attack, a slow answer) is also tested by who had the
  events, given that they happened. That is exact under ramps and whatever the base rate does; only outcomes that
  carry their assignment enter it. Two tests of harm share their level.
- All guardrails have to be kept for a promotion, so the proofs of that share nothing.
- In a shadow test the answers to the same request are compared; events only one of two had are fair coins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.stats import regression
from sentinelzer0.stats.comparison import Harm, Measured, harms_measured
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics, CustomMetric, Metric, moments_of
from sentinelzer0.stats.moments import Moments
from sentinelzer0.stats.paired import PairedStatistics, discordant, harms_paired
from sentinelzer0.stats.regression import PhaseCounts
from sentinelzer0.stats.wording import HarmState

CONTROL = "A"
COMPARED = (
    Metric.ERROR_RATE,
    Metric.AVG_LATENCY_MS,
    Metric.ACCURACY,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.F1_SCORE,
    Metric.AVG_CONFIDENCE,
)
_EVENTS: dict[AnyMetric, str] = {
    Metric.ERROR_RATE: "failures",
    Metric.ACCURACY: "wrong labels",
    Metric.RECALL: "missed attacks",
    Metric.SLOW_RATE: "slow answers",
}


@dataclass(frozen=True, slots=True)
class Budget:
    """Who may use how much of the probability of a wrong verdict; all in (0, 1).

    With guardrails the primary metric has one half of the test's budget and the guardrails share the other; both are
    divided by the number of challengers (Bonferroni). Without guardrails the primary metric has all of it.

    Attributes:
        primary: The primary metric of one challenger.
        stop: One guardrail of one challenger, for proof of harm.
        passing: One guardrail of one challenger, for proof that it is not worse than its margin. All have to pass,
            so they need not share anything.
        other: One other metric of one challenger.
    """

    primary: float
    stop: float
    passing: float
    other: float


@dataclass(frozen=True, slots=True)
class GuardrailReading:
    """What the evidence says about one guardrail of one challenger.

    Attributes:
        guardrail: Which one.
        arm: The challenger's letter.
        state: Passed, violated, still open, or without data.
        worse_by: How much worse the challenger is, in the metric's unit (for a relative margin: as a share of the
            control's value); negative when it is better. None without data.
        limit_low: It is worse by at least this, at every look together.
        limit_high: It is worse by at most this, at every look together.
        p_harm: Always-valid p-value against "not worse than the margin".
        reason: One sentence.
    """

    guardrail: Guardrail
    arm: str
    state: HarmState
    worse_by: float | None
    limit_low: float | None
    limit_high: float | None
    p_harm: float
    reason: str


class Seen(NamedTuple):
    """What was measured, as far as it concerns one challenger.

    Attributes:
        arm: The challenger's letter.
        evidence: What was measured.
        measured: By name, the metrics of the challenger and the control; in a shadow test only custom ones.
        pairs: Both answers to the same requests in a shadow test, otherwise None.
    """

    arm: str
    evidence: Evidence
    measured: Mapping[str, Measured]
    pairs: PairedStatistics | None


def challengers(test: StoredTest) -> tuple[str, ...]:
    """Return the letters of all arms but the control."""
    return tuple(letter for letter in test.arms if letter != CONTROL)


def budget(test: StoredTest) -> Budget:
    """Return the error probabilities of a test's statements."""
    alpha, many = test.significance_threshold, max(1, len(challengers(test)))
    guardrails = len(test.guardrails)
    primary = alpha / many if not guardrails else 0.5 * alpha / many
    stop = 0.5 * alpha / (many * guardrails) if guardrails else alpha
    return Budget(primary, stop, alpha, alpha / (many * max(1, len(COMPARED) - 1)))


def guard(test: StoredTest, guardrail: Guardrail, seen: Seen, levels: Budget) -> GuardrailReading:
    """Return what the evidence says about one guardrail of one challenger.

    Args:
        test: The test.
        guardrail: The guardrail.
        seen: What was measured of the challenger.
        levels: The error probabilities to use.
    """
    metric = guardrail.measured
    ratio = guardrail.ratio or (1.0 if guardrail.margin == 0.0 else None)
    counted = metric in _EVENTS and ratio is not None
    # Two tests of harm share the level where both are possible.
    stop = levels.stop / 2 if counted else levels.stop
    stopping, passing = _harms(test, guardrail, metric, seen, (stop, levels.passing))
    state, reason, p = stopping.state, stopping.reason, stopping.p_harm
    if passing.state is HarmState.PASSED:
        state, reason = HarmState.PASSED, passing.reason
    if counted and ratio is not None:
        events = _events(test, metric, seen) if seen.pairs is None else [_of_pairs(seen.pairs, metric)]
        by_events = p_value(regression.log_e(events, ratio))
        if by_events <= stop:
            reason = _harm_by_events(metric, seen.arm, events, ratio=ratio, p=by_events)
            state = HarmState.VIOLATED
        p = min(1.0, 2.0 * min(p, by_events))
    return GuardrailReading(
        guardrail, seen.arm, state, stopping.worse_by, stopping.limit_low, passing.limit_high, p, reason
    )


def _harms(
    test: StoredTest, guardrail: Guardrail, metric: AnyMetric, seen: Seen, alphas: Sequence[float]
) -> tuple[Harm, ...]:
    margin, relative, least = guardrail.margin, guardrail.relative, test.min_samples
    if seen.pairs is None or isinstance(metric, CustomMetric):
        measured = seen.measured[guardrail.metric]._replace(metric=metric)
        return harms_measured(measured, margin, alphas, least, relative=relative)
    control = control_values(seen.evidence, metric)
    return harms_paired(seen.pairs, metric, margin, alphas, least, relative=relative, control=control)


def control_values(evidence: Evidence, metric: AnyMetric) -> Moments | None:
    """Return what the control measured, which pairs of measured values do not tell; None for counted metrics."""
    return moments_of(evidence.arm(CONTROL), metric) if metric.is_measured else None


def _of_pairs(pairs: PairedStatistics, metric: AnyMetric) -> PhaseCounts:
    """Return in how many pairs only one of both had the event: with equal risks a fair coin decides which."""
    return PhaseCounts(0.5, *discordant(pairs, metric))


def _events(test: StoredTest, metric: AnyMetric, seen: Seen) -> list[PhaseCounts]:
    """Return by phase how many events A and the challenger had, and the challenger's share of both."""
    both = (CONTROL, seen.arm)
    counts: dict[tuple[int, str], int] = {}
    for cell in seen.evidence.cells:
        if cell.assigned and cell.arm in both:
            place = cell.phase, cell.arm
            counts[place] = counts.get(place, 0) + _event_count(metric, cell.statistics)
    found = []
    for phase in test.phases:
        shares: Mapping[str, float] = phase["shares"]
        of_a, of_b = shares.get(CONTROL, 0.0), shares.get(seen.arm, 0.0)
        if of_a > 0.0 and of_b > 0.0:
            a, b = (counts.get((phase["phase"], arm), 0) for arm in both)
            found.append(PhaseCounts(of_b / (of_a + of_b), a, b))
    return found


def _event_count(metric: AnyMetric, arm: ArmStatistics) -> int:
    match metric:
        case Metric.ERROR_RATE:
            return arm.failures
        case Metric.SLOW_RATE:
            return arm.slow
        case Metric.RECALL:
            return arm.confusion.fn
        case _:
            return arm.confusion.fp + arm.confusion.fn


def _harm_by_events(metric: AnyMetric, letter: str, phases: Sequence[PhaseCounts], *, ratio: float, p: float) -> str:
    a, b = sum(one.a for one in phases), sum(one.b for one in phases)
    expected = sum((one.a + one.b) * one.share * ratio / (one.share * ratio + 1.0 - one.share) for one in phases)
    tolerated = "would be its share" if ratio == 1.0 else f"would be so at {ratio:g} times the control's rate"
    return (
        f"{letter} causes too many {_EVENTS[metric]}: {b:,} of {a + b:,} are its own, "
        f"{expected:,.1f} {tolerated} (p = {p:.2g}, at every look)."
    )
