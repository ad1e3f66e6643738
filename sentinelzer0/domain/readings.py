"""What the evidence of a test says at one look: every metric of every challenger, the guardrails, the split.

This module turns sufficient statistics into statements that hold at every look; what follows from them is decided in
:mod:`sentinelzer0.domain.decisions`. It performs no I/O. The laws:

- The probability of a wrong verdict is one budget for the whole test, see :class:`~sentinelzer0.domain.guarding.Budget`.
- Metrics that decide nothing share a budget of the same size for their intervals; their p-values are adjusted
  together (Holm) where they are shown.
- Phases with different shares are never pooled: a ramp must not look like an effect (Simpson's paradox).
- A shadow test compares pairs: both answers to the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from sentinelzer0.domain.ab_tests import Mode, StoredTest
from sentinelzer0.domain.guarding import (
    COMPARED,
    Budget,
    GuardrailReading,
    Seen,
    budget,
    challengers,
    control_values,
    guard,
)
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.outcomes import Cell, Evidence
from sentinelzer0.domain.traffic_split import SplitReading, split
from sentinelzer0.stats.comparison import Comparison, compare, compare_measured, measure
from sentinelzer0.stats.estimators import AnyMetric, CustomMetric, Direction, Metric
from sentinelzer0.stats.paired import PairedStatistics, compare_paired

T = TypeVar("T", Comparison, GuardrailReading)


@dataclass(frozen=True, slots=True)
class Readings:
    """All statements about a test at one look.

    Attributes:
        comparisons: By the challenger's letter and the metric's name.
        guardrails: One for every guardrail and challenger.
        split: The split of the traffic.
        budget: The error probabilities they were made with.
    """

    comparisons: Mapping[str, Mapping[str, Comparison]]
    guardrails: tuple[GuardrailReading, ...]
    split: SplitReading
    budget: Budget


def read(test: StoredTest, evidence: Evidence) -> Readings:
    """Return what the evidence says."""
    levels, rails = budget(test), test.guardrail_list
    compared: dict[str, dict[str, Comparison]] = {}
    guarded: list[GuardrailReading] = []
    metrics = compared_metrics(test, evidence, rails)
    for letter in challengers(test):
        strata = evidence.strata(letter)
        pairs = _pairs(evidence, letter) if test.mode is Mode.SHADOW else None
        measured = {
            name: measure(strata, metric)
            for name, metric in metrics.items()
            if pairs is None or isinstance(metric, CustomMetric)
        }
        seen = Seen(letter, evidence, measured, pairs)
        compared[letter] = {
            name: _named(
                _compared(test, metric, seen, levels.primary if name == test.primary_metric else levels.other), letter
            )
            for name, metric in metrics.items()
        }
        guarded += [_named(guard(test, rail, seen, levels), letter) for rail in rails]
    return Readings(compared, tuple(guarded), split(test, evidence), levels)


def compared_metrics(test: StoredTest, evidence: Evidence, rails: Iterable[Guardrail]) -> dict[str, AnyMetric]:
    """Return by name the usual metrics, the primary one, those of guardrails, and custom ones that came.

    Args:
        test: The test.
        evidence: What was measured.
        rails: The guardrails of the test.
    """
    found: dict[str, AnyMetric] = {metric.value: metric for metric in COMPARED}
    if test.latency_slo_ms is not None:
        found[Metric.SLOW_RATE.value] = Metric.SLOW_RATE
    for guardrail in rails:
        found.setdefault(guardrail.metric, guardrail.measured)
    for name in sorted({name for cell in evidence.cells for name in cell.statistics.custom}):
        found.setdefault(f"custom:{name}", CustomMetric(name, Direction.HIGHER))
    return found | {test.primary_metric: test.metric}


def requests_by_arm(evidence: Evidence) -> dict[str, int]:
    """Return how many requests each arm, and the holdout, answered; without adding up all their statistics."""
    found: dict[str, int] = {}
    for cell in evidence.cells:
        found[cell.arm] = found.get(cell.arm, 0) + cell.statistics.requests
    return found


def by_segment(test: StoredTest, evidence: Evidence) -> dict[str, dict[str, Comparison]]:
    """Return the primary metric of every challenger in every declared segment, at a level that all of them share."""
    if not test.segments:
        return {}
    arms, metric, least = challengers(test), test.metric, test.min_samples
    alpha = test.significance_threshold / (len(arms) * len(test.segments))
    found: dict[str, dict[str, Comparison]] = {}
    for segment in test.segments:
        here = replace(evidence, cells=tuple([_uncustomed(cell) for cell in evidence.cells if cell.segment == segment]))
        found[segment] = {
            letter: _named(
                compare_paired(_pairs(evidence, letter, segment), metric, alpha, least)
                if test.mode is Mode.SHADOW and not isinstance(metric, CustomMetric)
                else compare(here.strata(letter), metric, alpha, least),
                letter,
            )
            for letter in arms
        }
    return found


def _uncustomed(cell: Cell) -> Cell:
    """Return a cell without custom metrics, which are those of a whole phase and not of a segment."""
    return replace(cell, statistics=replace(cell.statistics, custom={})) if cell.statistics.custom else cell


def _compared(test: StoredTest, metric: AnyMetric, seen: Seen, alpha: float) -> Comparison:
    if seen.pairs is not None and not isinstance(metric, CustomMetric):
        control = control_values(seen.evidence, metric)
        return compare_paired(seen.pairs, metric, alpha, test.min_samples, control=control)
    return compare_measured(seen.measured[metric.value], alpha, test.min_samples)


def about(sentence: str, letter: str) -> str:
    """Return a sentence about the challenger B as one about another challenger."""
    return sentence if letter == "B" else re.sub(r"\bB\b", letter, sentence)


def _named(found: T, letter: str) -> T:
    return found if letter == "B" else replace(found, reason=about(found.reason, letter))


def _pairs(evidence: Evidence, letter: str, segment: str | None = None) -> PairedStatistics:
    total = PairedStatistics()
    for pair in evidence.pairs:
        if pair.arm == letter and segment in (None, pair.segment):
            total += pair.statistics
    return total
