from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.binomial_sequences import (
    boundary_one_sided,
    boundary_two_sided,
    interval,
    log_e_one_sided,
    log_e_two_sided,
    log_incomplete_beta,
    lower_limit,
    tuned_concentration,
)

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "confseq_boundaries.json").read_text("utf-8"))
NEAR, ALPHA = PUBLISHED["tolerance"], PUBLISHED["alpha"]
RATES = st.floats(0.001, 0.999)
CONCENTRATIONS = st.floats(0.01, 1e4)


def test_published_values_of_the_beta_binomial_mixture() -> None:
    """Values of the reference implementation of Howard et al. (confseq), to the tolerance its own tests state.

    It counts in intrinsic time ``v = g h n`` and centred sums ``s = hits - g n``.
    """
    known = PUBLISHED["beta_binomial"]
    g, gh = known["g"], known["g"] * known["h"]
    n, tuned_for = PUBLISHED["v"] / gh, PUBLISHED["v_opt"] / gh
    hits = PUBLISHED["s"] + g * n
    two, one = tuned_concentration(tuned_for, ALPHA), tuned_concentration(tuned_for, 2 * ALPHA)
    assert log_e_two_sided(hits, n, g, two) == pytest.approx(known["two_sided"]["log_e"], abs=NEAR)
    assert log_e_one_sided(hits, n, g, one) == pytest.approx(known["one_sided"]["log_e"], abs=NEAR)
    assert boundary_two_sided(n, g, ALPHA, two) - g * n == pytest.approx(known["two_sided"]["bound"], abs=NEAR)
    assert boundary_one_sided(n, g, ALPHA, one) - g * n == pytest.approx(known["one_sided"]["bound"], abs=NEAR)


@pytest.mark.parametrize(
    "known", PUBLISHED["bernoulli_intervals"], ids=lambda known: f"{known['hits']}/{known['trials']}"
)
def test_published_intervals_for_a_proportion(known: dict[str, float]) -> None:
    concentration = tuned_concentration(known["t_opt"], ALPHA)
    assert interval(known["hits"], known["trials"], ALPHA, concentration) == pytest.approx(known["interval"], abs=NEAR)


@pytest.mark.parametrize(("hits", "trials", "rate", "c"), [(3, 10, 0.2, 5.0), (60, 200, 0.25, 40.0), (0, 30, 0.5, 1.0)])
def test_e_values_equal_the_integral_over_the_alternatives(hits: int, trials: int, rate: float, c: float) -> None:
    prior = stats.beta(c * rate, c * (1 - rate))

    def weighed(other: float) -> float:
        ratio = (other / rate) ** hits * ((1 - other) / (1 - rate)) ** (trials - hits)
        return float(prior.pdf(other) * ratio)

    peak = (hits + c * rate) / (trials + c)
    below, _ = integrate.quad(weighed, 0.0, rate, points=[min(peak, rate / 2)], epsabs=1e-13, epsrel=1e-11, limit=500)
    above, _ = integrate.quad(weighed, rate, 1.0, points=[max(peak, 0.9)], epsabs=1e-13, epsrel=1e-11, limit=500)
    assert math.exp(log_e_two_sided(hits, trials, rate, c)) == pytest.approx(below + above, rel=1e-6)
    one_sided = above / prior.sf(rate)
    assert math.exp(log_e_one_sided(hits, trials, rate, c)) == pytest.approx(one_sided, rel=1e-6)


@given(st.integers(0, 60), st.integers(0, 60), RATES, CONCENTRATIONS)
def test_one_more_unit_is_expected_to_change_nothing_at_the_rate_in_question(
    hits: int, misses: int, rate: float, c: float
) -> None:
    n = hits + misses
    for log_e in (log_e_two_sided, log_e_one_sided):
        now = log_e(hits, n, rate, c)
        after = rate * math.exp(log_e(hits + 1, n + 1, rate, c) - now)
        after += (1 - rate) * math.exp(log_e(hits, n + 1, rate, c) - now)
        assert after == pytest.approx(1.0, rel=1e-7)


@given(st.integers(0, 40), st.integers(0, 40), RATES, CONCENTRATIONS)
def test_one_sided_evidence_grows_with_every_hit(hits: int, misses: int, rate: float, c: float) -> None:
    n = hits + misses
    assert log_e_one_sided(hits + 1, n + 1, rate, c) > log_e_one_sided(hits, n + 1, rate, c)


@given(st.floats(0.001, 1e5), st.floats(0.001, 1e5), st.floats(0.001, 0.999))
def test_the_incomplete_beta_function_equals_scipys(a: float, b: float, x: float) -> None:
    expected = float(special.betainc(a, b, x))
    found = math.exp(log_incomplete_beta(a, b, x))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-300)


@given(st.integers(1, 5000), RATES, st.floats(1e-4, 0.3), CONCENTRATIONS)
def test_the_evidence_on_the_boundary_is_one_over_alpha(trials: int, rate: float, alpha: float, c: float) -> None:
    for boundary, log_e in ((boundary_two_sided, log_e_two_sided), (boundary_one_sided, log_e_one_sided)):
        at = boundary(trials, rate, alpha, c)
        if at == math.inf:
            assert log_e(trials, trials, rate, c) < -math.log(alpha)
        else:
            assert rate * trials <= at <= trials
            assert log_e(at, trials, rate, c) == pytest.approx(-math.log(alpha), abs=1e-6)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(1e-3, 0.2))
def test_intervals_hold_what_is_not_rejected(hits: int, misses: int, alpha: float) -> None:
    n, c = hits + misses, tuned_concentration(500, alpha)
    low, high = interval(hits, n, alpha, c)
    assert 0.0 <= low <= (hits / n if n else 0.0) <= high <= 1.0
    for rate in (0.01, 0.2, 0.5, 0.8, 0.99):
        if abs(rate - low) > 1e-9 and abs(rate - high) > 1e-9:
            assert (low < rate < high) == (log_e_two_sided(hits, n, rate, c) < -math.log(alpha))
    assert interval(misses, n, alpha, c) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert 0.0 <= lower_limit(hits, n, alpha, tuned_concentration(500, 2 * alpha)) <= (hits / n if n else 0.0)


def test_looked_at_after_every_unit_the_truth_is_left_out_at_most_alpha_often() -> None:
    """4000 streams of 2000 units, fixed seed; the share that ever errs stays below alpha, as the proof says."""
    streams, units, rate, alpha = 4000, 2000, 0.05, 0.05
    rng = np.random.default_rng(5)
    hits = (rng.random((streams, units)) < rate).cumsum(axis=1)
    n = np.arange(1, units + 1)
    c = tuned_concentration(500, alpha)
    a, b = c * rate, c * (1 - rate)
    log_e = special.betaln(a + hits, b + n - hits) - special.betaln(a, b) - stats.binom.logpmf(0, n, rate)
    log_e -= hits * (math.log(rate) - math.log1p(-rate))
    assert log_e[7, 99] == pytest.approx(log_e_two_sided(int(hits[7, 99]), 100, rate, c), abs=1e-9)
    erring = np.count_nonzero(log_e.max(axis=1) >= -math.log(alpha))
    assert 0.2 * alpha * streams < erring <= alpha * streams


def test_certain_rates_are_refuted_by_one_exception() -> None:
    assert log_e_two_sided(0, 10, 0.0, 5.0) == 0.0
    assert log_e_two_sided(1, 10, 0.0, 5.0) == math.inf
    assert log_e_two_sided(9, 10, 1.0, 5.0) == math.inf
    assert log_e_one_sided(10, 10, 1.0, 5.0) == log_e_one_sided(9, 10, 1.0, 5.0) == 0.0


def test_nothing_counted_says_nothing() -> None:
    assert log_e_two_sided(0, 0, 0.3, 5.0) == pytest.approx(0.0, abs=1e-12)
    assert interval(0, 0, 0.05, 5.0) == (0.0, 1.0)
    assert lower_limit(0, 0, 0.05, 5.0) == 0.0


@pytest.mark.parametrize(
    ("hits", "trials", "rate", "c"),
    [
        (-1, 5, 0.5, 1.0),
        (6, 5, 0.5, 1.0),
        (1, 5, 1.5, 1.0),
        (1, 5, math.nan, 1.0),
        (1, 5, 0.5, 0.0),
        (1, math.inf, 0.5, 1.0),
    ],
)
def test_impossible_numbers_are_refused(hits: float, trials: float, rate: float, c: float) -> None:
    with pytest.raises(InvalidInputError):
        log_e_one_sided(hits, trials, rate, c)


def test_impossible_levels_and_rates_are_refused_for_boundaries() -> None:
    with pytest.raises(InvalidInputError, match="error probability"):
        interval(1, 2, 0.0, 1.0)
    with pytest.raises(InvalidInputError, match="error probability"):
        lower_limit(1, 2, 1.0, 1.0)
    with pytest.raises(InvalidInputError, match="error probability"):
        boundary_two_sided(10, 0.5, 2.0, 1.0)
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        boundary_one_sided(10, 1.0, 0.05, 1.0)
