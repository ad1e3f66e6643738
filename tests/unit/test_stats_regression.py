from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.regression import (
    RISKS,
    WEIGHTS,
    PhaseCounts,
    RegressionDetector,
    log_e,
    lower_bound_requests,
)

SHARES = st.floats(0.001, 0.999)
MARGINS = st.floats(0.2, 5.0)
PHASES = st.lists(st.builds(PhaseCounts, SHARES, st.integers(0, 300), st.integers(0, 300)), max_size=5)


def null_share(share: float, margin: float) -> float:
    return share * margin / (share * margin + 1 - share)


def test_the_alternatives_go_from_a_quarter_more_to_fifty_times_and_their_weights_are_a_distribution() -> None:
    assert RISKS[0] == 1.25
    assert RISKS[-1] == 50.0
    assert sorted(RISKS) == list(RISKS)
    assert math.fsum(WEIGHTS) == pytest.approx(1.0, abs=1e-12)
    assert min(WEIGHTS) > 0.0


def test_the_evidence_is_the_weighed_likelihood_ratio_of_two_coins() -> None:
    share, a, b = 0.1, 12, 9
    by_hand = 0.0
    for risk, weight in zip(RISKS, WEIGHTS, strict=True):
        other = share * risk / (share * risk + 1 - share)
        by_hand += weight * (other / share) ** b * ((1 - other) / (1 - share)) ** a
    assert log_e([PhaseCounts(share, a, b)]) == pytest.approx(math.log(by_hand), abs=1e-12)


@given(PHASES, SHARES, MARGINS)
def test_one_more_failure_is_expected_to_change_nothing_at_the_margin(
    phases: list[PhaseCounts], share: float, margin: float
) -> None:
    now, coin = log_e(phases, margin), null_share(share, margin)
    in_a = math.exp(log_e([*phases, PhaseCounts(share, 1, 0)], margin) - now)
    in_b = math.exp(log_e([*phases, PhaseCounts(share, 0, 1)], margin) - now)
    assert coin * in_b + (1 - coin) * in_a == pytest.approx(1.0, rel=1e-9)


@given(PHASES, SHARES, MARGINS, st.floats(0.0, 1.0))
def test_one_more_failure_is_expected_to_lower_it_when_b_is_better(
    phases: list[PhaseCounts], share: float, margin: float, part: float
) -> None:
    now, coin = log_e(phases, margin), null_share(share, margin * part)
    in_a = math.exp(log_e([*phases, PhaseCounts(share, 1, 0)], margin) - now)
    in_b = math.exp(log_e([*phases, PhaseCounts(share, 0, 1)], margin) - now)
    assert in_a < 1.0 < in_b
    assert coin * in_b + (1 - coin) * in_a <= 1.0 + 1e-9


@given(PHASES, st.randoms(use_true_random=False), MARGINS)
def test_the_order_of_phases_and_their_merging_do_not_matter(
    phases: list[PhaseCounts], random: Random, margin: float
) -> None:
    shuffled = [half for p in phases for half in (PhaseCounts(p.share, p.a, 0), PhaseCounts(p.share, 0, p.b))]
    random.shuffle(shuffled)
    assert log_e(shuffled, margin) == pytest.approx(log_e(phases, margin), abs=1e-8)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.01, 0.1, 0.5, 0.9])), max_size=300), MARGINS)
def test_failure_by_failure_is_the_same_as_by_counts(failures: list[tuple[bool, float]], margin: float) -> None:
    detector = RegressionDetector(margin)
    counts = {share: [0, 0] for _, share in failures}
    for in_b, share in failures:
        detector.update(in_b, share)
        counts[share][in_b] += 1
    by_counts = log_e([PhaseCounts(share, *each) for share, each in counts.items()], margin)
    assert detector.log_e == pytest.approx(by_counts, abs=1e-9)


def test_a_long_quiet_time_does_not_blind_the_detector() -> None:
    """A million failures that speak for B, then a regression: exponents are kept, so nothing underflows."""
    calm = PhaseCounts(0.5, 600_000, 400_000)
    assert log_e([calm]) < -20_000
    assert math.isfinite(log_e([calm, PhaseCounts(0.5, 0, 200_000)]))
    assert log_e([calm, PhaseCounts(0.5, 0, 400_000)]) > 1000


def test_no_failures_and_one_armed_phases_say_nothing() -> None:
    assert log_e([]) == pytest.approx(0.0, abs=1e-12)
    assert log_e([PhaseCounts(0.0, 500, 0), PhaseCounts(1.0, 0, 80)]) == pytest.approx(0.0, abs=1e-12)
    assert log_e([PhaseCounts(0.0, 5, 3)]) == pytest.approx(0.0, abs=1e-12)
    assert p_value(log_e([])) == 1.0
    detector = RegressionDetector()
    detector.update(True, 1.0)
    assert detector.log_e == pytest.approx(0.0, abs=1e-12)


def test_a_margin_forgives_what_it_allows() -> None:
    worse = [PhaseCounts(0.5, 300, 400)]
    assert log_e(worse) > math.log(20)
    assert log_e(worse, margin=1.5) < 0.0
    assert log_e(worse, margin=0.7) > log_e(worse)


def test_the_lower_bound_is_the_information_about_the_arm() -> None:
    """By hand for 1 % against 5 % at half of the traffic: the mutual information of arm and failure."""
    joint = {(1, 1): 0.5 * 0.05, (1, 0): 0.5 * 0.95, (0, 1): 0.5 * 0.01, (0, 0): 0.5 * 0.99}
    failed = {1: 0.03, 0: 0.97}
    information = sum(p * math.log(p / (0.5 * failed[outcome])) for (_, outcome), p in joint.items())
    assert lower_bound_requests(0.01, 0.05, 0.5, 0.05) == pytest.approx(math.log(20) / information, rel=1e-12)


def test_no_difference_or_no_traffic_has_no_bound() -> None:
    assert lower_bound_requests(0.05, 0.05, 0.5, 0.05) == math.inf
    assert lower_bound_requests(0.01, 0.05, 0.0, 0.05) == math.inf
    assert lower_bound_requests(0.0, 0.0, 0.5, 0.05) == math.inf
    assert lower_bound_requests(0.0, 1.0, 0.5, 0.05) == pytest.approx(math.log(20) / math.log(2))


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InvalidInputError, match="share lies between 0 and 1"):
        PhaseCounts(share, 0, 0)
    with pytest.raises(InvalidInputError, match="share lies between 0 and 1"):
        RegressionDetector().update(True, share)
    with pytest.raises(InvalidInputError, match="share lies between 0 and 1"):
        lower_bound_requests(0.1, 0.2, share, 0.05)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInputError, match="positive number"):
        RegressionDetector(margin)
    with pytest.raises(InvalidInputError, match="positive number"):
        log_e([PhaseCounts(0.5, 1, 1)], margin)


def test_other_impossible_numbers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="counted from 0"):
        PhaseCounts(0.5, -1, 0)
    with pytest.raises(InvalidInputError, match="failure rate"):
        lower_bound_requests(1.2, 0.1, 0.5, 0.05)
    with pytest.raises(InvalidInputError, match="error probability"):
        lower_bound_requests(0.1, 0.2, 0.5, 1.0)
