"""The rules of outcomes: labels, sums by cell, units, cohorts, pairs, evidence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.outcome_values import check_label, check_revision, check_segment, check_share
from sentinelzer0.domain.outcomes import Cell, CellKey, Evidence, Outcome, StoredOutcome
from sentinelzer0.domain.tallies import (
    COHORTS_PER_WINDOW,
    Increment,
    PairIncrement,
    cohort_at,
    last_mature_cohort,
    numbers_of,
    tally,
)
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.histogram import LatencyHistogram, bucket_of
from sentinelzer0.stats.moments import Confusion, Moments
from sentinelzer0.storage.outcome_cells import NUMBERS
from sentinelzer0.storage.outcome_pairs import NUMBERS as PAIR_NUMBERS


def test_labels_in_every_spelling() -> None:
    numpy = pytest.importorskip("numpy")
    attack = (True, 1, 1.0, "1", "true", "TRUE", " Attack ", "malicious", numpy.bool_(1), numpy.int64(1))
    benign = (False, 0, 0.0, "0", "false", "Benign", "normal", numpy.bool_(0), numpy.float32(0))
    assert {check_label(word, "label") for word in attack} == {1}
    assert {check_label(word, "label") for word in benign} == {0}
    assert check_label(None, "label") is None
    for word in (2, -1, 0.5, float("nan"), "yes", "", b"attack", ["attack"], {}, numpy.array([1])):
        with pytest.raises(InvalidInputError, match="neither an attack nor benign"):
            check_label(word, "label")


outcomes = st.builds(
    Outcome,
    request_id=st.just("r"),
    arm=st.sampled_from("AB"),
    success=st.integers(0, 1),
    latency_ms=st.floats(0, 1e4),
    confidence=st.none() | st.floats(0, 1),
    predicted=st.none() | st.integers(0, 1),
    true=st.none() | st.integers(0, 1),
    segment=st.sampled_from(["", "eu"]),
    key=st.none(),
    phase=st.integers(1, 2),
    assigned=st.integers(0, 1),
    slot=st.integers(0, 1),
    custom=st.dictionaries(st.sampled_from(["x", "y"]), st.floats(-100, 100)),
)


def plain(increment: Increment) -> list[Any]:
    numbers = [getattr(increment, name) for name in NUMBERS]
    return [*numbers, *sorted(increment.buckets.items()), *sorted((n, *sums) for n, sums in increment.custom.items())]


def merged(first: Increment, second: Increment) -> Increment:
    custom = dict(first.custom)
    for name, sums in second.custom.items():
        mine = custom.get(name, (0, 0.0, 0.0, 0.0))
        custom[name] = (mine[0] + sums[0], mine[1] + sums[1], mine[2] + sums[2], mine[3] + sums[3])
    return Increment(
        **{name: getattr(first, name) + getattr(second, name) for name in NUMBERS},
        buckets=dict(Counter(first.buckets) + Counter(second.buckets)),
        custom=custom,
    )


def close(first: list[Any], second: list[Any]) -> bool:
    def flat(values: list[Any]) -> list[Any]:
        return [item for value in values for item in (value if isinstance(value, tuple) else (value,))]

    return [v for v in flat(first) if isinstance(v, str)] == [v for v in flat(second) if isinstance(v, str)] and flat(
        [v for v in flat(first) if not isinstance(v, str)]
    ) == pytest.approx([v for v in flat(second) if not isinstance(v, str)], rel=1e-9, abs=1e-6)


@given(st.lists(outcomes, max_size=8), st.lists(outcomes, max_size=8))
def test_tallies_add_up(first: list[Outcome], second: list[Outcome]) -> None:
    together = tally(first + second)
    one, other = tally(first), tally(second)
    for arm in together:
        whole = merged(one.get(arm, Increment()), other.get(arm, Increment()))
        assert close(plain(together[arm]), plain(whole))


@given(outcomes)
def test_the_numbers_of_one_are_its_tally(outcome: Outcome) -> None:
    key = CellKey(outcome.phase, outcome.assigned, 7, outcome.segment, outcome.arm)
    of_one = tally([outcome], cohort=7, slo_ms=50.0)[key]
    expected = numbers_of(outcome, 50.0, units=int(outcome.slot == 0))
    assert tuple(getattr(of_one, name) for name in NUMBERS) == pytest.approx(expected)
    assert of_one.buckets == {bucket_of(outcome.latency_ms): 1}


@given(st.integers(0, 1), st.none() | st.integers(0, 1), st.integers(0, 1))
def test_moving_a_label_is_taking_out_and_putting_in(predicted: int, before: int | None, after: int) -> None:
    moved = Increment()
    moved.add_label(predicted, before)
    moved.move_label(predicted, before, after)
    straight = Increment()
    straight.add_label(predicted, after)
    assert moved == straight


# Units, cohorts, values ---------------------------------------------------------------------------------------------


def units(*outcomes: Outcome, new: set[str] | None = None) -> int:
    return sum(more.units for more in tally(outcomes, new_units=new).values())


def test_a_unit_counts_once_at_its_first_exposure() -> None:
    keyless, first, second = (Outcome("r", "A", 1, 1.0, key=key) for key in (None, "h1", "h2"))
    assert units(keyless, keyless) == 2
    assert units(first, first._replace(arm="B", segment="eu"), second) == 2, "once over all cells"
    assert units(first, second, keyless, new={"h2"}) == 2
    assert units(first, first._replace(arm="B", slot=1)) == 1, "a shadow arm exposes nobody"
    assert units(keyless._replace(slot=1)) == 0


@given(st.floats(0, 4e9), st.floats(1e-3, 1e6))
def test_a_cohort_is_mature_once_its_last_request_had_the_whole_window(now: float, cohort_s: float) -> None:
    window, mature = COHORTS_PER_WINDOW * cohort_s, last_mature_cohort(now, cohort_s)
    slack = 1e-6 * (now + cohort_s)
    assert (mature + 1) * cohort_s + window <= now + slack
    assert (mature + 2) * cohort_s + window >= now - slack, "and no cohort waits longer"


def test_without_a_window_there_is_one_cohort_and_it_is_mature() -> None:
    assert (cohort_at(1e9, 0.0), last_mature_cohort(1e9, 0.0)) == (0, 0)


def test_what_cannot_be_a_place() -> None:
    assert (check_segment(None), check_segment("eu"), check_share(None), check_share(1), check_revision(3)) == (
        "",
        "eu",
        None,
        1.0,
        3,
    )
    for check, wrong in (
        (check_segment, [7, b"eu", "x" * 201, "a\0b", "\ud800"]),
        (check_share, [-0.1, 1.1, float("nan"), "0.5", True]),
        (check_revision, [0, -1, 1.5, "1", True, None]),
    ):
        for value in wrong:
            with pytest.raises(InvalidInputError):
                check(value)


# Pairs --------------------------------------------------------------------------------------------------------------


def answer(slot: int = 0, **more: Any) -> StoredOutcome:
    row = {"success": 1, "latency_ms": 10.0, "confidence": None, "predicted": None, "true": None}
    place = {"segment": "", "phase": 1, "assigned": 0, "cohort": 0, "late": 0}
    return StoredOutcome(slot, "AB"[slot], **(row | place | more))


def test_a_pair_says_who_failed_who_was_slow_and_who_was_right() -> None:
    pair = PairIncrement()
    a = answer(success=0, latency_ms=10.0, confidence=0.5, predicted=1)
    b = answer(1, latency_ms=30.0, confidence=0.75, predicted=0)
    pair.add(a, b, 1, 20.0)
    assert (pair.pairs, pair.only_a_failed, pair.only_b_slow, pair.latency_sum, pair.confidence_sum) == (
        1,
        1,
        1,
        20,
        0.25,
    )
    assert pair.labelled == [0, 0, 0, 0, 0, 0, 1, 0], "4 * true + 2 * predicted by A + predicted by B"
    pair.add_label(a, b, 1, -1)
    pair.add_label(a, b, 0)
    assert pair.labelled == [0, 0, 1, 0, 0, 0, 0, 0]
    pair.add(answer(), answer(1), None, None)
    assert (pair.pairs, pair.confidences, sum(pair.labelled)) == (2, 1, 1)
    assert [name for name in PAIR_NUMBERS if not name.startswith("joint_")] == list(PairIncrement.__slots__[:-1])


# Evidence -----------------------------------------------------------------------------------------------------------


def cell(phase: int, arm: str, requests: int, segment: str = "", **more: Any) -> Cell:
    return Cell(phase, True, segment, arm, ArmStatistics(requests, **more), units=requests, immature=1)


def test_evidence_adds_up_by_arm_phase_and_segment() -> None:
    custom = {"cost": Moments.of([1.0, 2.0])}
    evidence = Evidence(
        (
            cell(1, "A", 10, custom=custom),
            cell(1, "A", 5, "eu", confusion=Confusion(tp=3)),
            cell(2, "A", 20),
            cell(2, "B", 7, "eu"),
        ),
        histograms={"A": LatencyHistogram({1: 35})},
    )
    whole = evidence.arm("A")
    assert (whole.requests, whole.confusion.tp, whole.histogram.count) == (35, 3, 35)
    assert whole.custom["cost"].mean == 1.5
    assert (evidence.arm("A", "eu").requests, evidence.arm("A", "").custom) == (5, {}), "kept by arm alone"
    assert [(s.a.requests, s.b.requests) for s in evidence.strata("B")] == [(15, 0), (20, 7)]
    assert [(s.a.requests, s.b.requests) for s in evidence.strata("B", "eu")] == [(5, 0), (0, 7)]
    assert (evidence.units("A"), evidence.units("A", 2), evidence.immature("A")) == (35, 20, 3)
    assert evidence.arm("C") == ArmStatistics()
    assert Evidence().strata("B") == []
