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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sentinelzer0.domain.ab_tests import Mode, StoredTest
from sentinelzer0.domain.guarding import COMPARED, Budget, GuardrailReading, budget, challengers, control_values, guard
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.domain.traffic_split import SplitReading, split
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
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
    levels = budget(test)
    compared: dict[str, dict[str, Comparison]] = {}
    guarded: list[GuardrailReading] = []
    metrics = compared_metrics(test, evidence)
    for letter in challengers(test):
        pairs = _pairs(evidence, letter) if test.mode is Mode.SHADOW else None
        strata = evidence.strata(letter)
        compared[letter] = {
            metric.value: _named(
                _compared(
                    test, metric, strata, evidence, pairs, levels, of_primary=metric.value == test.primary_metric
                ),
                letter,
            )
            for metric in metrics
        }
        guarded += [_named(guard(test, rail, letter, evidence, pairs, levels), letter) for rail in test.guardrail_list]
    return Readings(compared, tuple(guarded), split(test, evidence), levels)


def compared_metrics(test: StoredTest, evidence: Evidence) -> list[AnyMetric]:
    """Return the metrics of a test: the usual ones, the primary one, those of guardrails, and custom ones that came."""
    found: dict[str, AnyMetric] = {metric.value: metric for metric in COMPARED}
    if test.latency_slo_ms is not None:
        found[Metric.SLOW_RATE.value] = Metric.SLOW_RATE
    for guardrail in test.guardrail_list:
        found.setdefault(guardrail.metric, guardrail.measured)
    for name in sorted({name for cell in evidence.cells for name in cell.statistics.custom}):
        found.setdefault(f"custom:{name}", CustomMetric(name, Direction.HIGHER))
    return list((found | {test.primary_metric: test.metric}).values())


def by_segment(test: StoredTest, evidence: Evidence) -> dict[str, dict[str, Comparison]]:
    """Return the primary metric of every challenger in every declared segment, at a level that all of them share."""
    if not test.segments:
        return {}
    arms = challengers(test)
    alpha = test.significance_threshold / (len(arms) * len(test.segments))
    found: dict[str, dict[str, Comparison]] = {}
    for segment in test.segments:
        found[segment] = {
            letter: compare_paired(_pairs(evidence, letter, segment), test.metric, alpha, test.min_samples)
            if test.mode is Mode.SHADOW
            else compare(evidence.strata(letter, segment), test.metric, alpha, test.min_samples)
            for letter in arms
        }
    return found


def _compared(
    test: StoredTest,
    metric: AnyMetric,
    strata: Sequence[Stratum],
    evidence: Evidence,
    pairs: PairedStatistics | None,
    levels: Budget,
    *,
    of_primary: bool,
) -> Comparison:
    alpha = levels.primary if of_primary else levels.other
    if pairs is not None and not isinstance(metric, CustomMetric):
        return compare_paired(pairs, metric, alpha, test.min_samples, control=control_values(evidence, metric))
    return compare(strata, metric, alpha, test.min_samples)


def _named(found: T, letter: str) -> T:
    """Return a reading whose sentence speaks of the challenger it is about, not of "B"."""
    return found if letter == "B" else replace(found, reason=re.sub(r"\bB\b", letter, found.reason))


def _pairs(evidence: Evidence, letter: str, segment: str | None = None) -> PairedStatistics:
    total = PairedStatistics()
    for pair in evidence.pairs:
        if pair.arm == letter and segment in (None, pair.segment):
            total += pair.statistics
    return total
