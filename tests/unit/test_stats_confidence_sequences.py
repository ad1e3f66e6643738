from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import (
    boundary_one_sided,
    boundary_two_sided,
    critical_z,
    log_e_one_sided,
    log_e_two_sided,
    p_value,
    p_value_of_z,
    tuned_rho,
)

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "confseq_boundaries.json").read_text("utf-8"))
POINTS = [(0.0, 10.0, 5.0), (7.5, 30.0, 12.0), (-4.0, 30.0, 12.0), (25.0, 100.0, 12.6), (60.0, 400.0, 1.5)]
TIMES = st.floats(0.0, 1e6)
LEVELS = st.floats(1e-6, 0.5)
RHOS = st.floats(0.1, 1e5)


def mixture(total: float, variance: float, rho: float, *, one_sided: bool) -> float:
    """The e-value by integrating over lambda, which the runtime's closed forms must equal."""
    prior = stats.norm(scale=rho**-0.5)

    def weighed(lam: float) -> float:
        return math.exp(lam * total - lam * lam * variance / 2.0) * prior.pdf(lam) * (2.0 if one_sided else 1.0)

    peak, width = total / (variance + rho), (variance + rho) ** -0.5
    low = max(0.0, peak - 40 * width) if one_sided else peak - 40 * width
    high = max(peak, 0.0) + 40 * width
    inside = [point for point in (peak - 3 * width, peak, peak + 3 * width) if low < point < high]
    value, _ = integrate.quad(weighed, low, high, points=inside, epsabs=0.0, epsrel=1e-13, limit=400)
    return float(value)


@pytest.mark.parametrize(("total", "variance", "rho"), POINTS)
def test_e_values_equal_the_integral_over_the_mixture(total: float, variance: float, rho: float) -> None:
    two, one = log_e_two_sided(total, variance, rho), log_e_one_sided(total, variance, rho)
    assert math.exp(two) == pytest.approx(mixture(total, variance, rho, one_sided=False), rel=1e-9)
    assert math.exp(one) == pytest.approx(mixture(total, variance, rho, one_sided=True), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-6])
@pytest.mark.parametrize(("variance", "rho"), [(1.0, 12.0), (100.0, 12.6), (1e5, 250.0)])
def test_boundaries_are_where_the_integral_reaches_one_over_alpha(variance: float, rho: float, alpha: float) -> None:
    for boundary, one_sided in ((boundary_two_sided, False), (boundary_one_sided, True)):
        at = boundary(variance, alpha, rho)
        root = optimize.brentq(
            lambda s, one_sided=one_sided: math.log(alpha * mixture(s, variance, rho, one_sided=one_sided)),
            0.9 * at,
            1.1 * at,
            xtol=1e-13 * at,
            rtol=1e-14,
        )
        assert at == pytest.approx(root, rel=1e-9)


def test_published_values_of_the_normal_mixture() -> None:
    """Values of the reference implementation of Howard et al. (confseq), to the tolerance its own tests state."""
    near, alpha, v, s = PUBLISHED["tolerance"], PUBLISHED["alpha"], PUBLISHED["v"], PUBLISHED["s"]
    two, one = PUBLISHED["normal"]["two_sided"], PUBLISHED["normal"]["one_sided"]
    rho = tuned_rho(PUBLISHED["v_opt"], alpha)
    assert rho == pytest.approx(PUBLISHED["best_rho_two_sided"], abs=near)
    assert log_e_two_sided(s, v, rho) == pytest.approx(two["log_e"], abs=near)
    assert boundary_two_sided(v, alpha, rho) == pytest.approx(two["bound"], abs=near)
    one_sided = tuned_rho(PUBLISHED["v_opt"], 2 * alpha)
    assert log_e_one_sided(s, v, one_sided) == pytest.approx(one["log_e"], abs=near)
    assert boundary_one_sided(v, alpha, one_sided) == pytest.approx(one["bound"], abs=near)


@given(TIMES, LEVELS, RHOS)
def test_the_e_value_on_the_boundary_is_one_over_alpha(variance: float, alpha: float, rho: float) -> None:
    two = log_e_two_sided(boundary_two_sided(variance, alpha, rho), variance, rho)
    one = log_e_one_sided(boundary_one_sided(variance, alpha, rho), variance, rho)
    assert two == pytest.approx(-math.log(alpha), abs=1e-9)
    assert one == pytest.approx(-math.log(alpha), abs=1e-9)
    assert p_value(two) == pytest.approx(alpha, rel=1e-9)


@given(TIMES, st.floats(1e-6, 0.4), RHOS)
def test_a_one_sided_boundary_is_tighter_than_a_two_sided_one(variance: float, alpha: float, rho: float) -> None:
    one, two = boundary_one_sided(variance, alpha, rho), boundary_two_sided(variance, alpha, rho)
    assert boundary_two_sided(variance, min(2 * alpha, 1.0), rho) * (1 - 1e-12) <= one < two


@given(st.floats(-1e4, 1e4), TIMES, RHOS)
def test_one_sided_e_values_stay_finite_and_below_one_on_the_wrong_side(
    total: float, variance: float, rho: float
) -> None:
    value = log_e_one_sided(total, variance, rho)
    assert math.isfinite(value)
    assert total > 0.0 or value <= 1e-12


def test_the_wrong_side_is_continuous_where_the_formula_changes() -> None:
    left, right = log_e_one_sided(-37.0 - 1e-9, 0.0, 1.0), log_e_one_sided(-37.0 + 1e-9, 0.0, 1.0)
    assert left == pytest.approx(right, rel=1e-9)


def test_tuning_is_within_a_thousandth_of_the_best_boundary() -> None:
    for alpha in (0.05, 0.01, 0.001):
        tuned = boundary_two_sided(500.0, alpha, tuned_rho(500.0, alpha))
        best = optimize.minimize_scalar(lambda rho, a=alpha: boundary_two_sided(500.0, a, rho), bounds=(1.0, 500.0))
        assert tuned <= 1.001 * best.fun


@given(st.floats(0.0, 8.0), st.integers(1, 10**8), st.floats(0.001, 0.3))
def test_p_value_and_critical_z_are_inverse(z: float, units: int, alpha: float) -> None:
    rho = tuned_rho(2000, 0.05)
    critical = critical_z(units, alpha, rho)
    assert p_value_of_z(critical, units, rho) == pytest.approx(alpha, rel=1e-9)
    if abs(z - critical) > 1e-9:
        assert (p_value_of_z(z, units, rho) < alpha) == (z > critical)


def test_looking_always_costs_about_one_standard_error_over_looking_once() -> None:
    rho = tuned_rho(2000, 0.05)
    assert 3.0 < critical_z(2000, 0.05, rho) < 3.1
    assert critical_z(200, 0.05, rho) < 3.9
    assert critical_z(2_000_000, 0.05, rho) < 3.9


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_level_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        tuned_rho(100.0, alpha)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan])
def test_tuning_for_no_sample_is_refused(variance: float) -> None:
    with pytest.raises(InvalidInputError, match="cannot be tuned"):
        tuned_rho(variance, 0.05)
