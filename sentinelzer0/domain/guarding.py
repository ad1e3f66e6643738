"""Guardrails against the evidence: proven to be kept, proven to be violated, or still open.

This module reads. It performs no I/O. The laws:

- Harm of a counted event (a failure, a wrong label, a missed attack, a slow answer) is also tested by who had the
  events, given that they happened. That is exact under ramps and whatever the base rate does; only outcomes that
  carry their assignment enter it. Two tests of harm share their level.
- All guardrails have to be kept for a promotion, so the proofs of that share nothing.
- In a shadow test the answers to the same request are compared; events only one of two had are fair coins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.stats import regression
from sentinelzer0.stats.comparison import harm
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics, CustomMetric, Direction, Metric
from sentinelzer0.stats.paired import PairedStatistics, compare_paired
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
_COUNTED = (Metric.ERROR_RATE, Metric.ACCURACY, Metric.RECALL, Metric.SLOW_RATE)
_EVENTS = {
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


def guard(
    test: StoredTest,
    guardrail: Guardrail,
    letter: str,
    evidence: Evidence,
    pairs: PairedStatistics | None,
    levels: Budget,
) -> GuardrailReading:
    """Return what the evidence says about one guardrail of one challenger.

    Args:
        test: The test.
        guardrail: The guardrail.
        letter: The challenger.
        evidence: What was measured.
        pairs: Both answers to the same requests in a shadow test, otherwise None.
        levels: The error probabilities to use.
    """
    metric = guardrail.measured
    counted = metric in _COUNTED
    # Two tests of harm share the level where both are possible.
    stop = levels.stop / 2 if counted else levels.stop
    if pairs is not None and not isinstance(metric, CustomMetric):
        return _guarded_pairs(test, guardrail, letter, pairs, stop, levels)
    strata = evidence.strata(letter)
    harmed = harm(strata, metric, guardrail.margin, stop, test.min_samples, relative=guardrail.relative)
    passing = harm(strata, metric, guardrail.margin, levels.passing, test.min_samples, relative=guardrail.relative)
    state = HarmState.PASSED if passing.state is HarmState.PASSED else harmed.state
    if state is not HarmState.PASSED and harmed.state is HarmState.PASSED:
        state = HarmState.PASSED
    p, reason = harmed.p_harm, passing.reason if state is HarmState.PASSED else harmed.reason
    if counted:
        by_events = p_value(regression.log_e(_events(test, metric, letter, evidence), guardrail.ratio))
        if by_events <= stop:
            state, reason = HarmState.VIOLATED, _harm_by_events(test, guardrail, letter, evidence, by_events)
        p = min(1.0, 2.0 * min(p, by_events))
    high = passing.limit_high
    return GuardrailReading(guardrail, letter, state, harmed.worse_by, harmed.limit_low, high, p, reason)


def _guarded_pairs(
    test: StoredTest, guardrail: Guardrail, letter: str, pairs: PairedStatistics, stop: float, levels: Budget
) -> GuardrailReading:
    metric = guardrail.measured
    strict = compare_paired(pairs, metric, stop, test.min_samples)
    loose = compare_paired(pairs, metric, levels.passing, test.min_samples)
    if strict.difference is None or strict.value_a is None or min(strict.samples_a, strict.samples_b) == 0:
        return GuardrailReading(guardrail, letter, HarmState.NO_DATA, None, None, None, 1.0, strict.reason)
    unit = abs(strict.value_a) if guardrail.relative and strict.value_a else 1.0
    sign = 1.0 if metric.direction is Direction.LOWER else -1.0
    low = strict.lower if sign > 0 else strict.upper
    high = loose.upper if sign > 0 else loose.lower
    worse_low = None if low is None else sign * low / unit
    worse_high = None if high is None else sign * high / unit
    worse_by, state, p = sign * strict.difference / unit, HarmState.PENDING, strict.p_worse
    early = min(strict.samples_a, strict.samples_b) < test.min_samples
    if worse_high is None and worse_by <= guardrail.margin and not early:
        state = HarmState.PASSED  # every pair identical
    elif worse_low is not None and worse_high is not None and not early:
        if worse_low > guardrail.margin:
            state = HarmState.VIOLATED
        elif worse_high < guardrail.margin:
            state = HarmState.PASSED
    if metric in _COUNTED:
        only_a, only_b = _discordant(metric, pairs)
        by_events = p_value(regression.log_e([PhaseCounts(0.5, only_a, only_b)], guardrail.ratio))
        if by_events <= stop:
            state = HarmState.VIOLATED
        p = min(1.0, 2.0 * min(p, by_events))
    reason = f"{metric.value} of {test.arms[letter]}: {state.value}, in {pairs.pairs:,} answers to the same requests."
    return GuardrailReading(guardrail, letter, state, worse_by, worse_low, worse_high, p, reason)


def _discordant(metric: AnyMetric, pairs: PairedStatistics) -> tuple[int, int]:
    """Return in how many pairs only A, and only the challenger, had the event."""
    joint = pairs.joint  # indexed 4 true + 2 predicted by A + predicted by the challenger
    match metric:
        case Metric.ERROR_RATE:
            return pairs.only_a_failed, pairs.only_b_failed
        case Metric.SLOW_RATE:
            return pairs.only_a_slow, pairs.only_b_slow
        case Metric.RECALL:
            return joint[5], joint[6]
        case _:
            return joint[5] + joint[2], joint[6] + joint[1]


def _events(test: StoredTest, metric: AnyMetric, letter: str, evidence: Evidence) -> list[PhaseCounts]:
    """Return by phase how many events A and the challenger had, and the challenger's share of both."""
    found = []
    for phase in test.phases:
        shares: Mapping[str, float] = phase["shares"]
        of_a, of_b = shares.get(CONTROL, 0.0), shares.get(letter, 0.0)
        if of_a <= 0.0 or of_b <= 0.0:
            continue
        a, b = (
            sum(
                _event_count(metric, cell.statistics)
                for cell in evidence.cells
                if cell.phase == phase["phase"] and cell.assigned and cell.arm == arm
            )
            for arm in (CONTROL, letter)
        )
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


def _harm_by_events(test: StoredTest, guardrail: Guardrail, letter: str, evidence: Evidence, p: float) -> str:
    phases = _events(test, guardrail.measured, letter, evidence)
    a, b = sum(one.a for one in phases), sum(one.b for one in phases)
    expected = sum(one.share * (one.a + one.b) for one in phases)
    more = "" if guardrail.ratio == 1.0 else f" even at {guardrail.ratio:g} times the control's rate"
    return (
        f"{test.arms[letter]} causes too many {_EVENTS[Metric(guardrail.metric)]}: {b:,} of {a + b:,} are its own, "
        f"{expected:,.1f} would be its share{more} (p = {p:.2g}, at every look)."
    )
