"""Decisions: what follows from the readings of a test, and when it is final.

This module decides. It performs no I/O. The laws:

- ``promote``: the primary metric proves a challenger better and every guardrail is proven to be kept.
- ``keep``: the primary metric proves every challenger worse than the control, or not better by the effect that was
  asked for, which goes before being better at all. Only proof of worse names the control as winner.
- ``stop_guardrail``: a guardrail is proven to be violated by every challenger that is left; harm goes before gain.
- ``invalid``: the traffic did not reach the arms as it was meant to; no verdict can be trusted. It blocks for as long
  as that is so, and is final when the test ends so: services that write their arm's outcomes in batches of their own
  make it look broken for a while.
- ``inconclusive``: everything else. Ending a test does not change that.
- What was once proven stays proven: limits are cut with those of earlier looks, which a confidence sequence allows.
- The first decision that is neither ``inconclusive`` nor ``invalid`` is latched. If the effect leaves its interval later, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.cautions import cautions, named, waiting_labels
from sentinelzer0.domain.guarding import CONTROL, GuardrailReading, challengers
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.domain.proofs import Proofs, after, as_proven
from sentinelzer0.domain.readings import Readings, read, requests_by_arm
from sentinelzer0.stats.comparison import Comparison
from sentinelzer0.stats.estimators import Direction
from sentinelzer0.stats.running import Running
from sentinelzer0.stats.wording import HarmState, shown


class Action(StrEnum):
    """What to do with the challenger."""

    PROMOTE = "promote"
    KEEP = "keep"
    INCONCLUSIVE = "inconclusive"
    STOP_GUARDRAIL = "stop_guardrail"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the evidence of a test calls for.

    Attributes:
        action: What to do.
        winner: The letter of the arm that is proven best, or None.
        arm: The challenger it is about.
        sentence: The recommendation, one sentence.
        reasons: Why, each a sentence.
        confidence: One minus the always-valid p-value of what decided; 0.0 while undecided.
    """

    action: Action
    winner: str | None
    arm: str
    sentence: str
    reasons: tuple[str, ...] = ()
    confidence: float = 0.0

    @property
    def is_final(self) -> bool:
        """Whether it is latched at once: all but what more traffic may still change."""
        return self.action not in (Action.INCONCLUSIVE, Action.INVALID)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A look at a test: what the evidence says, what was proven before, and what follows.

    Attributes:
        readings: What the evidence says now, guardrails and split as of the strongest look so far.
        proofs: What is proven after this look.
        decision: What follows; the latched one if there is one.
        drift: A sentence when the effect left the band of earlier looks, otherwise None.
    """

    readings: Readings
    proofs: Proofs
    decision: Decision
    drift: str | None

    def to_readings(self, test: StoredTest, evidence: Evidence) -> dict[str, Any]:
        """Return what a chart over the looks needs, as JSON values with version names."""
        requests = requests_by_arm(evidence)
        return {
            "comparisons": {
                test.arms[letter]: {
                    name: _point(found, self.proofs.band(letter, name))
                    for name, found in of_arm.items()
                    if found.interval is not None
                }
                for letter, of_arm in self.readings.comparisons.items()
            },
            "guardrails": {
                test.arms[letter]: {
                    g.guardrail.metric: g.state.value for g in self.readings.guardrails if g.arm == letter
                }
                for letter in challengers(test)
            },
            "srm": {"p_value": self.readings.split.p_value},
            "phase": test.phase,
            "shares": dict(test.phases[-1]["shares"]) if test.phases else {},
            "requests": {version: requests.get(letter, 0) for letter, version in test.arms.items()},
        }


def judge(test: StoredTest, evidence: Evidence, proofs: Proofs) -> Judgement:
    """Look at a test.

    Args:
        test: The test; a latched decision of it stays.
        evidence: What was measured so far.
        proofs: What earlier looks have proven.
    """
    now = read(test, evidence)
    proven = after(now, proofs)
    readings = as_proven(now, proven)
    decision = decision_of(test.verdict) or _in_words(test, evidence, _decide(test, readings, proven))
    return Judgement(readings, proven, decision, _drift(test, now, proven, decision))


def _in_words(test: StoredTest, evidence: Evidence, found: Decision) -> Decision:
    """Return a decision that speaks of versions, waits for labels aloud, and carries the cautions along."""
    sentence, doubts = found.sentence, cautions(test, evidence)
    if test.status.is_over and found.action is not Action.INCONCLUSIVE:
        # It ended without a verdict, and nothing that comes later makes one.
        why = "the evidence carried no verdict when the test ended"
        return Decision(Action.INCONCLUSIVE, None, found.arm, why, (f"{why[0].upper()}{why[1:]}.", *doubts))
    waiting = waiting_labels(test, evidence)
    if found.action is Action.INCONCLUSIVE and waiting and sentence.startswith(("no data", "too early")):
        sentence = f"{waiting:,} labels wait until their window of {test.label_window_s:g} s has passed"
    reasons = tuple(named(test, reason) for reason in found.reasons)
    return replace(found, sentence=named(test, sentence), reasons=(*reasons, *doubts))


def decision_of(verdict: Mapping[str, Any]) -> Decision | None:
    """Return the decision that a verdict records, or None when it records none."""
    if not verdict:
        return None
    won_by_b = verdict.get("winner") == "B"
    action = Action(verdict.get("action") or (Action.PROMOTE if won_by_b else Action.KEEP))
    return Decision(
        action,
        verdict.get("winner"),
        verdict.get("arm") or "B",
        verdict.get("sentence") or verdict.get("reason", ""),
        tuple(verdict.get("reasons") or [verdict.get("reason", "")]),
        verdict.get("confidence", 1.0 - verdict.get("p_value", 1.0)),
    )


def verdict_of(
    test: StoredTest, judgement: Judgement, at: datetime, *, events: int, requests: int, ending: bool = False
) -> dict[str, Any] | None:
    """Return the verdict to be latched as JSON values, or None when there is nothing to latch.

    Args:
        test: The test.
        judgement: What a look at it said.
        at: When it said so.
        events: Outcomes and labels it was based on.
        requests: Outcomes among them.
        ending: The test ends now, so that what blocks a verdict is one.
    """
    decision = judgement.decision
    blocked = ending and decision.action is Action.INVALID
    if test.verdict or not (decision.is_final or blocked):
        return None
    primary = judgement.readings.comparisons[decision.arm][test.primary_metric]
    band = judgement.proofs.band(decision.arm, test.primary_metric)
    interval = band.interval or primary.interval
    return {
        "action": decision.action.value,
        "winner": decision.winner,
        "arm": decision.arm,
        "sentence": decision.sentence,
        "reasons": list(decision.reasons),
        "confidence": decision.confidence,
        "metric": test.primary_metric,
        "model_a": primary.value_a,
        "model_b": primary.value_b,
        "difference": primary.difference,
        "interval": None if interval is None else list(interval),
        "p_value": min(primary.p_value, band.p_value),
        "samples_a": primary.samples_a,
        "samples_b": primary.samples_b,
        "reason": decision.reasons[0],
        "srm_p_value": judgement.readings.split.p_value,
        "events": events,
        "requests": requests,
        "reached_at": at.isoformat(),
    }


def latched(test: StoredTest, verdict: Mapping[str, Any]) -> StoredTest:
    """Return the test with a verdict; a test that has one keeps it."""
    if test.verdict:
        return test
    winner = verdict["winner"]
    confidence = verdict["confidence"] if winner is not None else 0.0
    name = None if winner is None else test.arms[winner]
    return replace(test, verdict=dict(verdict), winner=name, winner_confidence=confidence)


def _decide(test: StoredTest, readings: Readings, proofs: Proofs) -> Decision:
    arms = challengers(test)
    if not readings.split.ok:
        what = f"Do not trust this test: {_lower(readings.split.reason)}"
        return Decision(Action.INVALID, None, arms[0], what, (readings.split.reason,), 1.0 - readings.split.p_value)
    harmful = {g.arm: g for g in reversed(readings.guardrails) if g.state is HarmState.VIOLATED}
    left = [letter for letter in arms if letter not in harmful]
    if not left:
        worst = harmful[arms[0]]
        reasons = tuple(harmful[letter].reason for letter in arms)
        what = f"Stop {arms[0] if len(arms) == 1 else 'the challengers'} and keep {CONTROL}: {worst.reason}"
        return Decision(Action.STOP_GUARDRAIL, CONTROL, arms[0], what, reasons, 1.0 - worst.p_harm)
    sides = {letter: _side(test, readings.comparisons[letter][test.primary_metric], proofs, letter) for letter in left}
    better = [letter for letter in left if sides[letter] == "better"]
    open_guardrails = {
        letter: [g for g in readings.guardrails if g.arm == letter and g.state is not HarmState.PASSED]
        for letter in better
    }
    ready = [letter for letter in better if not open_guardrails[letter]]
    if ready:
        return _promotion(test, readings, proofs, ready)
    if all(side == "worse" for side in sides.values()):
        return _keeping(test, readings, proofs, left)
    if all(side in ("worse", "futile") for side in sides.values()):
        return _futile(test, readings, left)
    return _undecided(test, readings, left, open_guardrails, [harmful[letter] for letter in arms if letter in harmful])


def _side(test: StoredTest, primary: Comparison, proofs: Proofs, letter: str) -> str:
    """Return what all looks together prove about a challenger: better, worse, futile or nothing."""
    band = proofs.band(letter, test.primary_metric)
    if band.drifted or band.interval is None or primary.difference is None:
        return ""
    if min(primary.samples_a, primary.samples_b) < primary.min_samples:
        return ""
    (low, high), gap = band.interval, primary.difference
    if primary.metric.direction is Direction.LOWER:
        low, high, gap = -high, -low, -gap
    if high < 0.0:
        return "worse" if gap < 0.0 else ""
    if test.minimum_effect is not None and high < test.minimum_effect:
        return "futile"
    return "better" if low > 0.0 < gap else ""


def _promotion(test: StoredTest, readings: Readings, proofs: Proofs, ready: list[str]) -> Decision:
    def proven(letter: str) -> float:
        low, high = proofs.band(letter, test.primary_metric).interval or (0.0, 0.0)
        return low if test.metric.direction is Direction.HIGHER else -high

    best = max(ready, key=proven)
    primary = readings.comparisons[best][test.primary_metric]
    reason = _said(test, best, primary, proofs)
    kept = [g.reason for g in readings.guardrails if g.arm == best]
    what = f"Promote {best}, which{_without_subject(reason)}"
    p = proofs.band(best, test.primary_metric).p_value
    return Decision(Action.PROMOTE, best, best, what, (reason, *kept), 1.0 - p)


def _keeping(test: StoredTest, readings: Readings, proofs: Proofs, left: list[str]) -> Decision:
    reasons = [_said(test, letter, readings.comparisons[letter][test.primary_metric], proofs) for letter in left]
    what = f"Keep {CONTROL}, which{_without_subject(reasons[0])}"
    p = max(proofs.band(letter, test.primary_metric).p_value for letter in left)
    return Decision(Action.KEEP, CONTROL, left[0], what, tuple(reasons), 1.0 - p)


def _futile(test: StoredTest, readings: Readings, left: list[str]) -> Decision:
    reasons = tuple(
        f"{letter} is not better by the {test.minimum_effect:g} that was asked for: "
        f"{_lower(readings.comparisons[letter][test.primary_metric].reason)}"
        for letter in left
    )
    return Decision(Action.KEEP, None, left[0], f"Keep {CONTROL}: {reasons[0]}", reasons)


def _undecided(
    test: StoredTest,
    readings: Readings,
    left: list[str],
    open_guardrails: Mapping[str, list[GuardrailReading]],
    harmful: list[GuardrailReading],
) -> Decision:
    reasons = [readings.comparisons[letter][test.primary_metric].reason for letter in left]
    first = left[0]
    for letter, waiting in open_guardrails.items():
        if waiting:
            first = letter
            names = " and ".join(g.guardrail.metric for g in waiting)
            proof = f"{letter} is better, but {names} is not yet proven to be kept: {waiting[0].reason}"
            reasons.insert(0, proof)
    reasons += [g.reason for g in harmful]
    return Decision(Action.INCONCLUSIVE, None, first, _lower(reasons[0]), tuple(reasons))


def _said(test: StoredTest, letter: str, primary: Comparison, proofs: Proofs) -> str:
    """Return the reason as of the verdict, with the band all looks together leave."""
    counted, unit = primary.samples_a + primary.samples_b, primary.metric.unit
    low, high = proofs.band(letter, test.primary_metric).interval or primary.interval or (0.0, 0.0)
    best = letter if (low > 0.0) == (primary.metric.direction is Direction.HIGHER) else CONTROL
    word = "higher" if primary.metric.direction is Direction.HIGHER else "lower"
    return (
        f"{best} has the {word} {primary.metric.words}: when the verdict was reached, after {counted:,} {unit}, the "
        f"difference {letter} - A lay between {shown(primary.metric, low)} and {shown(primary.metric, high)} "
        f"({100 * (1 - primary.alpha):g} % at every look)."
    )


def _drift(test: StoredTest, now: Readings, proven: Proofs, decision: Decision) -> str | None:
    """Say when the effect has left what earlier looks proved, or the split broke after the verdict."""
    primary = now.comparisons[decision.arm][test.primary_metric]
    band = proven.band(decision.arm, test.primary_metric)
    if band.drifted and band.interval is not None and primary.interval is not None:
        (low, high), (now_low, now_high) = band.interval, primary.interval
        metric = primary.metric
        return (
            f"The effect has drifted: looks before agreed on a difference between {shown(metric, low)} and "
            f"{shown(metric, high)}, by now it lies between {shown(metric, now_low)} and {shown(metric, now_high)}."
        )
    if test.verdict and test.status.is_open and not now.split.ok and decision.action is not Action.INVALID:
        return named(test, f"Since the verdict: {now.split.reason}")
    return None


def _point(found: Comparison, band: Running) -> dict[str, Any]:
    low, high = band.interval or found.interval or (None, None)
    return {
        "difference": found.difference,
        "interval": None if found.interval is None else list(found.interval),
        "low": low,
        "high": high,
        "samples_a": found.samples_a,
        "samples_b": found.samples_b,
    }


def _without_subject(reason: str) -> str:
    return reason[1:]


def _lower(sentence: str) -> str:
    """Return a sentence to go on with after a colon; names of arms and versions keep their case."""
    first = sentence.split(" ", 1)[0]
    return sentence if len(first) == 1 or not first.isalpha() else sentence[:1].lower() + sentence[1:]
