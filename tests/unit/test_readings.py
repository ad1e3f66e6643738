"""Reading a test quickly says what reading it piece by piece says."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.outcomes import Cell, Evidence, PairCell
from sentinelzer0.domain.readings import by_segment, read, requests_by_arm
from sentinelzer0.domain.traffic_split import split
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.comparison import compare, compare_measured, harm, harms_measured, measure
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics, CustomMetric, Direction, Metric
from sentinelzer0.stats.moments import Confusion, Moments
from sentinelzer0.stats.paired import PairedStatistics, harm_paired, harms_paired
from sentinelzer0.stats.sample_ratio import ALPHA, PhaseSplit, log_e
from sentinelzer0.stats.stratified import Stratum
from tests.unit.test_decisions import a_test

LEVELS = (0.0125, 0.05)
METRICS: tuple[AnyMetric, ...] = (*Metric, CustomMetric("score", Direction.HIGHER))
SEGMENTS = ("", "dns", "web")


def an_arm(chance: random.Random) -> ArmStatistics:
    """A small arm of any kind: also empty, without failures, without labels, with one value over and over."""
    values = [chance.choice([5.0, chance.lognormvariate(2.0, 0.7)]) for _ in range(chance.choice([0, 1, 29, 150]))]
    count = len(values)
    counts = [chance.choice([0, chance.randint(0, count // 4)]) for _ in range(4)]
    return ArmStatistics(
        count,
        chance.choice([0, chance.randint(0, count)]),
        Moments.of(values),
        Moments.of([chance.random() for _ in range(chance.choice([0, count]))]),
        Confusion(*counts),
        slow=chance.randint(0, count),
        custom={"score": Moments.of(values)} if chance.random() < 0.5 else {},
    )


def strata_of(seed: int) -> list[Stratum]:
    chance = random.Random(seed)
    return [Stratum(an_arm(chance), an_arm(chance)) for _ in range(seed % 4)]


def evidence(seed: int, phases: int = 3, arms: str = "ABC") -> Evidence:
    chance = random.Random(seed)
    places = [
        (phase, known, segment) for phase in range(1, phases + 1) for known in (True, False) for segment in SEGMENTS
    ]
    cells = []
    for phase, known, segment in places:
        for arm in (*arms, "holdout"):
            statistics = an_arm(chance)
            cells.append(Cell(phase, known, segment, arm, statistics, chance.randint(0, statistics.requests)))
    return Evidence(tuple(cells))


def ramped(**design: Any) -> StoredTest:
    """A test of three arms, one of which had no share at first."""
    phases = [{"A": 0.9, "B": 0.1, "C": 0.0}, {"A": 0.6, "B": 0.2, "C": 0.2}, {"A": 0.4, "B": 0.3, "C": 0.3}]
    return a_test(arms={"v1": 0.4, "v2": 0.3, "v3": 0.3}, phases=phases, **design)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.value)
def test_one_reading_answers_every_question(metric: AnyMetric) -> None:
    for seed in range(60):
        strata = strata_of(seed)
        measured = measure(strata, metric)
        assert compare_measured(measured, 0.01, 20) == compare(strata, metric, 0.01, 20)
        for relative in (False, True):
            together = harms_measured(measured, 0.05, LEVELS, 20, relative=relative)
            assert together == tuple(harm(strata, metric, 0.05, level, 20, relative=relative) for level in LEVELS)


@pytest.mark.parametrize("metric", Metric)
def test_pairs_are_guarded_at_several_levels_as_at_each(metric: Metric) -> None:
    chance = random.Random(7)
    control = Moments.of([chance.lognormvariate(2.0, 0.5) for _ in range(100)])
    for _ in range(40):
        joint = tuple(chance.randint(0, 20) for _ in range(8))
        differences = [chance.gauss(0.1, 1.0) for _ in range(chance.choice([0, 20, 200]))]
        moments = Moments.of(differences)
        pairs = PairedStatistics(300, 1, 3, chance.randint(0, 9), moments, moments, joint, 2, chance.randint(0, 9), 1)
        for relative in (False, True):
            together = harms_paired(pairs, metric, 0.05, LEVELS, 20, relative=relative, control=control)
            each = [harm_paired(pairs, metric, 0.05, level, 20, relative=relative, control=control) for level in LEVELS]
            assert together == tuple(each)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5])
def test_no_level_is_taken_unchecked(level: float) -> None:
    with pytest.raises(InvalidInputError, match="error probability"):
        harms_measured(measure([], Metric.RECALL), 0.01, (0.05, level))


def test_readings_are_those_of_every_metric_alone() -> None:
    test = ramped(primary_metric="recall", latency_slo_ms=20.0, min_samples=20)
    for seed in range(10):
        seen = evidence(seed)
        found = read(test, seen)
        for letter in "BC":
            alone = compare(seen.strata(letter), Metric.PRECISION, found.budget.other, 20)
            got = found.comparisons[letter]["precision"]
            assert replace(got, reason="") == replace(alone, reason="")
            assert found.comparisons[letter]["recall"].alpha == found.budget.primary
        limits = {(rail.arm, rail.guardrail.metric): (rail.limit_low, rail.limit_high) for rail in found.guardrails}
        slower = [
            harm(seen.strata("C"), Metric.AVG_LATENCY_MS, 0.2, level, 20, relative=True)
            for level in (found.budget.stop, found.budget.passing)
        ]
        assert limits["C", "avg_latency_ms"] == (slower[0].limit_low, slower[1].limit_high)


def test_the_split_is_that_of_the_cells_of_every_phase() -> None:
    """Where shares changed only what carries its assignment counts; the holdout is no arm."""
    test = ramped()
    for seed in range(10):
        seen = evidence(seed)
        phases = []
        for phase in test.phases:
            counts = {
                arm: sum(
                    cell.units
                    for cell in seen.cells
                    if cell.arm == arm and cell.phase == phase["phase"] and cell.assigned and phase["shares"][arm]
                )
                for arm in "ABC"
            }
            phases.append(PhaseSplit(phase["shares"], counts))
        found = split(test, seen)
        assert dict(found.observed) == {arm: sum(phase.counts[arm] for phase in phases) for arm in "ABC"}
        assert found.ok == (p_value(log_e(phases)) > ALPHA)


def test_segments_are_those_of_the_evidence_and_name_their_challenger() -> None:
    test = ramped(segments=("dns", "web"), primary_metric="error_rate", min_samples=20)
    seen = evidence(3)
    for segment, of_arms in by_segment(test, seen).items():
        for letter, got in of_arms.items():
            alone = compare(seen.strata(letter, segment), Metric.ERROR_RATE, 0.05 / 4, 20)
            assert replace(got, reason="") == replace(alone, reason="")
    assert "C - A" in by_segment(test, seen)["dns"]["C"].reason


def test_a_shadow_test_of_a_custom_metric_has_no_data_by_segment() -> None:
    """Neither pairs nor segments know custom metrics, so there is nothing to say, and nothing fails."""
    shadow = ramped(shadow=True, segments=("dns",), primary_metric="custom:score", direction="higher")
    pairs = PairCell(1, "dns", "B", PairedStatistics(pairs=10))
    found = by_segment(shadow, replace(evidence(1), pairs=(pairs,)))
    assert found["dns"]["B"].reason.startswith("No data: ")


def test_requests_by_arm_are_those_of_the_arms() -> None:
    seen = evidence(5)
    counted = requests_by_arm(seen)
    assert counted == {arm: seen.arm(arm).requests for arm in ("A", "B", "C", "holdout")}
    assert requests_by_arm(Evidence()) == {}
