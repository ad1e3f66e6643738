from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.binomial_sequences import log_e_two_sided
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.sample_ratio import (
    ALPHA,
    CONCENTRATIONS,
    PhaseSplit,
    check,
    expected,
    log_e,
    loss,
    observed,
)

HALVES = {"A": 0.5, "B": 0.5}
THREE = {"A": 0.6, "B": 0.3, "holdout": 0.1}
COUNTS = st.fixed_dictionaries({arm: st.integers(0, 500) for arm in THREE})


def test_two_arms_are_the_beta_binomial_mixture_averaged_over_concentrations() -> None:
    found = log_e([PhaseSplit({"A": 0.9, "B": 0.1}, {"A": 930, "B": 70})])
    parts = [math.exp(log_e_two_sided(70, 1000, 0.1, c)) for c in CONCENTRATIONS]
    assert found == pytest.approx(math.log(sum(parts) / len(parts)), abs=1e-9)


def test_three_arms_are_the_dirichlet_multinomial_of_scipy() -> None:
    counts = [640, 250, 110]
    likelihood = stats.multinomial.logpmf(counts, 1000, list(THREE.values()))
    parts = [
        math.exp(stats.dirichlet_multinomial.logpmf(counts, [c * share for share in THREE.values()], 1000) - likelihood)
        for c in CONCENTRATIONS
    ]
    found = log_e([PhaseSplit(THREE, dict(zip(THREE, counts, strict=True)))])
    assert found == pytest.approx(math.log(sum(parts) / len(parts)), abs=1e-8)


@given(COUNTS, COUNTS)
def test_one_more_unit_is_expected_to_change_nothing_when_it_falls_as_stated(
    first: dict[str, int], second: dict[str, int]
) -> None:
    done = PhaseSplit({"A": 0.8, "B": 0.1, "holdout": 0.1}, first)
    now = log_e([done, PhaseSplit(THREE, second)])
    after = 0.0
    for arm, share in THREE.items():
        more = PhaseSplit(THREE, {**second, arm: second[arm] + 1})
        after += share * math.exp(log_e([done, more]) - now)
    assert after == pytest.approx(1.0, rel=1e-7)


@given(COUNTS, COUNTS)
def test_phases_that_split_alike_are_one_and_their_order_does_not_matter(
    first: dict[str, int], second: dict[str, int]
) -> None:
    one, two = PhaseSplit(THREE, first), PhaseSplit(THREE, second)
    both = PhaseSplit(THREE, {arm: first[arm] + second[arm] for arm in THREE})
    other = PhaseSplit(HALVES, {"A": 20, "B": 31})
    assert log_e([one, other, two]) == pytest.approx(log_e([both, other]), abs=1e-9)
    assert log_e([other, two, one]) == pytest.approx(log_e([one, other, two]), abs=1e-9)


def test_a_split_as_stated_is_fine() -> None:
    found = check([PhaseSplit(THREE, {"A": 6012, "B": 2990, "holdout": 998})])
    assert found.ok
    assert found.p_value == 1.0
    assert found.alpha == ALPHA == 0.001
    assert found.expected == pytest.approx({"A": 6000, "B": 3000, "holdout": 1000})
    assert found.observed == {"A": 6012, "B": 2990, "holdout": 998}
    assert found.reason == "The units came as the traffic was split."


def test_a_loss_is_found_and_named() -> None:
    found = check([PhaseSplit(HALVES, {"A": 10_000, "B": 9_000})])
    assert not found.ok
    assert found.p_value < 1e-8
    assert found.reason.startswith("B got 9,000 units where its share promises 9,500 (-5.3 %)")


def test_the_arm_furthest_off_is_named_even_when_it_has_too_many() -> None:
    found = check([PhaseSplit(THREE, {"A": 6000, "B": 3000, "holdout": 2000})])
    assert found.reason.startswith("holdout got 2,000 units where its share promises 1,100 (+81.8 %)")


def test_units_of_an_arm_without_a_share_are_infinite_evidence_and_a_sentence() -> None:
    phases = [PhaseSplit({"A": 1.0, "B": 0.0}, {"A": 500, "B": 1}), PhaseSplit(HALVES, {"A": 50, "B": 50})]
    assert log_e(phases) == math.inf
    assert p_value(log_e(phases)) == 0.0
    found = check(phases)
    assert not found.ok
    assert found.p_value == 0.0
    assert found.reason == "B got 1 units in a phase in which its share is 0, so they were not split as stated."
    assert check([PhaseSplit({"A": 1.0}, {"A": 1, "C": 2})]).reason.startswith("C got 2 units")


def test_nothing_counted_says_nothing() -> None:
    assert log_e([]) == pytest.approx(0.0, abs=1e-12)
    assert check([]).ok
    assert check([PhaseSplit(HALVES, {})]).reason == "No units yet."
    assert loss([], []) == []


def test_one_arm_with_all_the_traffic_says_nothing() -> None:
    assert log_e([PhaseSplit({"A": 1.0, "B": 0.0}, {"A": 10_000})]) == pytest.approx(0.0, abs=1e-9)


def test_expected_and_observed_follow_the_shares_of_each_phase() -> None:
    phases = [PhaseSplit({"A": 0.9, "B": 0.1}, {"A": 900, "B": 100}), PhaseSplit(HALVES, {"A": 100, "B": 300})]
    assert expected(phases) == pytest.approx({"A": 1100.0, "B": 300.0})
    assert observed(phases) == {"A": 1000, "B": 400}


def test_the_place_of_a_loss_comes_first() -> None:
    sound, lossy = {"A": 20_000, "B": 20_050}, {"A": 20_000, "B": 18_400}
    found = loss([PhaseSplit(HALVES, sound), PhaseSplit(HALVES, lossy)], ["phase 1", "phase 2"])
    assert (found[0].where, found[0].arm, found[0].observed) == ("phase 2", "B", 18_400)
    assert found[0].expected == pytest.approx(19_200)
    assert found[0].p_value < 1e-6
    assert [(other.where, other.arm, other.p_value) for other in found[1:]] == [("phase 1", "A", 1.0)]


def test_splits_of_one_place_add_up_along_a_ramp() -> None:
    ramp = [{"A": 1 - share, "B": share} for share in (0.1, 0.25, 0.5)]
    lossy = [PhaseSplit(shares, {"A": 10_000, "B": round(9_200 * shares["B"] / shares["A"])}) for shares in ramp]
    together = loss(lossy, ["eu"] * 3)[0]
    apart = loss(lossy, ["1", "2", "3"])
    assert together.p_value < min(found.p_value for found in apart)
    assert together.expected == pytest.approx(expected(lossy)["B"])


def test_the_correction_grows_with_the_places_asked_about() -> None:
    lossy, sound = PhaseSplit(HALVES, {"A": 5000, "B": 4500}), PhaseSplit(HALVES, {"A": 500, "B": 500})
    alone = loss([lossy], ["eu"])[0].p_value
    among = loss([lossy, *[sound] * 4], ["eu", "us", "ap", "af", "sa"])[0].p_value
    assert among == pytest.approx(5 * alone)


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_losses_are_sorted_short_and_corrected(counts: list[dict[str, int]]) -> None:
    found = loss([PhaseSplit(THREE, each) for each in counts], [str(i) for i in range(len(counts))])
    assert all(each.observed < each.expected and 0.0 <= each.p_value <= 1.0 for each in found)
    assert all(one.p_value <= other.p_value for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ({"A": 0.5, "B": 0.4}, {}),
        ({"A": 1.5, "B": -0.5}, {}),
        ({"A": math.nan, "B": 0.5}, {}),
        (HALVES, {"A": -1}),
    ],
)
def test_impossible_splits_are_refused(shares: dict[str, float], counts: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        PhaseSplit(shares, counts)


def test_every_split_needs_a_name_and_a_level_is_a_probability() -> None:
    with pytest.raises(InvalidInputError, match="1 splits, 2 names"):
        loss([PhaseSplit(HALVES, {})], ["a", "b"])
    with pytest.raises(InvalidInputError, match="error probability"):
        check([], alpha=0.0)
