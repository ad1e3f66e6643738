"""What a test says so far, as a dictionary: both arms, every metric compared, the decision and its reasons.

The numbers come from :mod:`sentinelzer0.domain.readings`, what follows from :mod:`sentinelzer0.domain.decisions`;
here they get their public names.
"""

from __future__ import annotations

from typing import Any

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus
from sentinelzer0.domain.assignment import HOLDOUT
from sentinelzer0.domain.cautions import cautions, named, waiting_labels
from sentinelzer0.domain.decisions import Action, Judgement
from sentinelzer0.domain.guarding import CONTROL, GuardrailReading
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.domain.readings import by_segment, requests_by_arm
from sentinelzer0.domain.traffic_split import SplitReading
from sentinelzer0.mlops.ab_values import public_metrics
from sentinelzer0.reports.ab_summary import html_summary
from sentinelzer0.stats import fixed_horizon as textbook
from sentinelzer0.stats import sample_ratio
from sentinelzer0.stats.comparison import Comparison
from sentinelzer0.stats.estimators import CustomMetric, Metric
from sentinelzer0.stats.multiplicity import holm


class ABResults(dict[str, Any]):
    """The results of a test: a dictionary that a notebook shows as a table with the interval of every metric."""

    def _repr_html_(self) -> str:
        return html_summary(self)


def results_of(
    test: StoredTest, evidence: Evidence, judgement: Judgement, *, fixed_horizon: bool = False
) -> dict[str, Any]:
    """Return the results of a test; see ``ABTestManager.get_test_results``.

    Args:
        test: The test.
        evidence: What was measured, with histograms.
        judgement: What a look at it said.
        fixed_horizon: Whether to add the answers of textbook tests.
    """
    compared = _comparisons(test, judgement)
    metrics = {letter: public_metrics(name, evidence, letter).to_dict() for letter, name in test.arms.items()}
    return {
        "test_id": test.test_id,
        "test_name": test.test_name,
        "status": test.status.value,
        "model_a": test.model_a,
        "model_b": test.model_b,
        "shadow": test.mode is Mode.SHADOW,
        "decision": _decision(test, judgement),
        "recommendation": recommendation(test, judgement),
        "metrics_a": metrics["A"],
        "metrics_b": metrics["B"],
        "metrics": {name: metrics[letter] for letter, name in test.arms.items()},
        "comparison": compared[test.model_b],
        "comparisons": compared,
        "statistical_significance": significance(test, evidence, judgement),
        "srm": _split(test, judgement.readings.split),
        "guardrails": [_guardrail(test, found) for found in judgement.readings.guardrails],
        "segments": _segments(test, evidence),
        "phases": _phases(test, evidence),
        "holdout": public_metrics(test.model_a, evidence, HOLDOUT).to_dict() if test.holdout else None,
        "drift": judgement.drift,
        "maturity": {
            "window_s": test.label_window_s,
            "labels_waiting": waiting_labels(test, evidence),
            "relabelled": evidence.relabelled,
        },
        "warnings": [*test.warnings, *cautions(test, evidence)],
        **({"fixed_horizon": _fixed_horizon(test, evidence, judgement)} if fixed_horizon else {}),
    }


def significance(test: StoredTest, evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    """Return what the primary metric proves about the challenger the decision is about."""
    arm, verdict, requests = judgement.decision.arm, test.verdict, requests_by_arm(evidence)
    now = judgement.readings.comparisons[arm][test.primary_metric]
    f1 = judgement.readings.comparisons[arm][Metric.F1_SCORE.value]
    decides = test.winner is not None and judgement.decision.action is not Action.STOP_GUARDRAIL
    return {
        "is_significant": decides,
        "reason": verdict.get("reason") or named(test, now.reason),
        "metric": test.primary_metric,
        "difference": now.difference,
        "f1_difference": f1.difference,
        "interval": None if now.interval is None else list(now.interval),
        "p_value": now.p_value,
        "confidence": 1.0 - now.p_value,
        "alpha": now.alpha,
        "winner": verdict.get("winner") if decides else None,
        "decided_at": verdict.get("reached_at"),
        "total_samples": sum(requests.get(letter, 0) for letter in test.arms),
        "samples_a": now.samples_a,
        "samples_b": now.samples_b,
        "min_samples": now.min_samples,
    }


def recommendation(test: StoredTest, judgement: Judgement) -> str:
    """Return what to do, in one sentence."""
    decision = judgement.decision
    if decision.action is not Action.INCONCLUSIVE:
        return decision.sentence
    match test.status:
        case TestStatus.SETUP:
            return "Start the test: nothing was measured yet."
        case TestStatus.RUNNING:
            return f"Keep the test running: {decision.sentence}"
        case TestStatus.PAUSED:
            return f"Resume the test or end it: {decision.sentence}"
        case _:
            return f"No verdict, so {test.model_a} stays: {decision.sentence}"


def _fixed_horizon(test: StoredTest, evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    """Return what tests for one look at a size fixed beforehand say; looking repeatedly makes them wrong.

    The textbook tests that fit each metric, of every challenger against the control, without any correction.
    """
    if test.mode is Mode.SHADOW:
        return {
            "note": "These tests are for independent arms; a shadow test has two answers to each request.",
            "answers": {},
        }
    a, found = evidence.arm(CONTROL), {}
    for letter, compared in judgement.readings.comparisons.items():
        b = evidence.arm(letter)
        answers = {
            name: textbook.answers(a, b, one.metric, test.significance_threshold) for name, one in compared.items()
        }
        found[test.arms[letter]] = {name: [one.to_dict() for one in given] for name, given in answers.items() if given}
    note = (
        "Valid for one look at a sample size fixed beforehand, and the phases of a ramp are pooled; the verdict does "
        "not use it."
    )
    return {"note": note, "answers": found}


def _decision(test: StoredTest, judgement: Judgement) -> dict[str, Any]:
    decision, verdict = judgement.decision, test.verdict
    return {
        "action": decision.action.value,
        "winner": None if decision.winner is None else test.arms[decision.winner],
        "version": test.arms[decision.arm],
        "sentence": recommendation(test, judgement),
        "reasons": list(decision.reasons),
        "confidence": decision.confidence,
        "latched": bool(verdict),
        "reached_at": verdict.get("reached_at"),
        "events": verdict.get("events"),
        "requests": verdict.get("requests"),
    }


def _comparisons(test: StoredTest, judgement: Judgement) -> dict[str, dict[str, Any]]:
    """Return every metric of every challenger; p-values of the metrics that decide nothing are adjusted together."""
    others = {
        (letter, name): found.p_value
        for letter, of_arm in judgement.readings.comparisons.items()
        for name, found in of_arm.items()
        if name != test.primary_metric
    }
    adjusted = holm(others)
    return {
        test.arms[letter]: {
            name: _compared(test, found, adjusted.get((letter, name))) for name, found in of_arm.items()
        }
        for letter, of_arm in judgement.readings.comparisons.items()
    }


def _compared(test: StoredTest, found: Comparison, p_adjusted: float | None) -> dict[str, Any]:
    """Return one comparison; a metric that decides nothing has a winner when its adjusted p-value says so too."""
    winner = found.winner
    if p_adjusted is not None and p_adjusted > test.significance_threshold:
        winner = None
    if isinstance(found.metric, CustomMetric) and found.metric.value != test.primary_metric:
        winner = None  # nobody said which way it improves
    return {
        "model_a": found.value_a,
        "model_b": found.value_b,
        "difference": found.difference,
        "percent_change": found.percent_change,
        "winner": winner,
        "interval": None if found.interval is None else list(found.interval),
        "alpha": found.alpha,
        "p_value": found.p_value,
        "p_adjusted": found.p_value if p_adjusted is None else p_adjusted,
        "lower": found.lower,
        "upper": found.upper,
        "p_better": found.p_better,
        "p_worse": found.p_worse,
        "lift": found.lift,
        "lift_interval": None if found.lift_interval is None else list(found.lift_interval),
        "samples_a": found.samples_a,
        "samples_b": found.samples_b,
        "reason": named(test, found.reason),
    }


def _split(test: StoredTest, found: SplitReading) -> dict[str, Any]:
    return {
        "p_value": found.p_value,
        "ok": found.ok,
        "alpha": sample_ratio.ALPHA,
        "expected": {test.arms[letter]: count for letter, count in found.expected.items()},
        "observed": {test.arms[letter]: count for letter, count in found.observed.items()},
        "reason": named(test, found.reason),
        "where": [
            {
                "where": loss.where,
                "arm": test.arms[loss.arm],
                "expected": loss.expected,
                "observed": loss.observed,
                "p_value": loss.p_value,
            }
            for loss in found.where
        ],
    }


def _guardrail(test: StoredTest, found: GuardrailReading) -> dict[str, Any]:
    return {
        "metric": found.guardrail.metric,
        "version": test.arms[found.arm],
        "state": found.state.value,
        "margin": found.guardrail.margin,
        "relative": found.guardrail.relative,
        "ratio": found.guardrail.ratio,
        "worse_by": found.worse_by,
        "limit_low": found.limit_low,
        "limit_high": found.limit_high,
        "p_harm": found.p_harm,
        "reason": named(test, found.reason),
    }


def _segments(test: StoredTest, evidence: Evidence) -> dict[str, Any]:
    segments = by_segment(test, evidence)
    adjusted = holm(
        {(segment, letter): found.p_value for segment, arms in segments.items() for letter, found in arms.items()}
    )
    return {
        segment: {
            test.arms[letter]: _compared(test, found, adjusted[segment, letter]) for letter, found in arms.items()
        }
        for segment, arms in segments.items()
    }


def _phases(test: StoredTest, evidence: Evidence) -> list[dict[str, Any]]:
    requests: dict[int, dict[str, int]] = {}
    for cell in evidence.cells:
        of_phase = requests.setdefault(cell.phase, {})
        of_phase[cell.arm] = of_phase.get(cell.arm, 0) + cell.statistics.requests
    return [
        {
            "phase": phase["phase"],
            "at": phase["at"],
            "shares": {test.arms[letter]: share for letter, share in phase["shares"].items()},
            "requests": {name: requests.get(phase["phase"], {}).get(letter, 0) for letter, name in test.arms.items()},
        }
        for phase in test.phases
    ]
