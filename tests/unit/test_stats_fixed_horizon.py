"""The textbook tests agree with scipy on a thousand random data sets, and with exact arithmetic where scipy rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats import special_functions
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.fixed_horizon import answers, chi_square, fisher_exact, two_proportion_z, welch_t
from sentinelzer0.stats.moments import Confusion, Moments

AGREEMENT = 1e-9
SETS = 1000


def tables(seed: int, largest: float) -> Iterator[tuple[int, int, int, int]]:
    """Two arms of 2 to ``largest`` units with rates from 1 in 10,000 to nearly all; many tables have zeros."""
    rng = np.random.default_rng(seed)
    for _ in range(SETS):
        n, m = (int(10 ** rng.uniform(0.3, math.log10(largest))) for _ in range(2))
        p = 10 ** rng.uniform(-4, -0.02)
        q = min(0.99, p * math.exp(0.5 * rng.normal()))
        yield int(rng.binomial(n, p)), n, int(rng.binomial(m, q)), m


def square(hits_a: int, n_a: int, hits_b: int, n_b: int) -> list[list[int]]:
    return [[hits_a, n_a - hits_a], [hits_b, n_b - hits_b]]


def test_fisher_agrees_with_scipy() -> None:
    for table in tables(1, 1e6):
        found, theirs = fisher_exact(*table), stats.fisher_exact(square(*table))
        assert found.p_value == pytest.approx(float(theirs.pvalue), rel=AGREEMENT, abs=1e-290), table
        if found.statistic is not None:
            (a, b), (c, d) = square(*table)
            assert found.statistic == pytest.approx(c * b / (a * d), rel=AGREEMENT)


@given(*[st.integers(0, 40)] * 4)
def test_fisher_is_the_sum_of_the_probabilities_of_rarer_tables(a: int, b: int, c: int, d: int) -> None:
    n, marked, drawn = a + b + c + d, a + c, c + d
    probable = Fraction(math.comb(marked, c) * math.comb(n - marked, d), math.comb(n, drawn))
    exact = sum(
        one
        for k in range(max(0, drawn - n + marked), min(drawn, marked) + 1)
        if (one := Fraction(math.comb(marked, k) * math.comb(n - marked, drawn - k), math.comb(n, drawn))) <= probable
    )
    assert fisher_exact(a, a + b, c, c + d).p_value == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(
    "table",
    [
        (250_000, 500_000, 250_100, 500_000),
        (1, 1_000_000, 3, 1_000_000),
        (0, 1_000_000, 1_000_000, 1_000_000),
        (0, 1_000_000, 12, 10),
        (5000, 1_000_000, 5300, 1_000_000),
        (999_999, 1_000_000, 999_000, 1_000_000),
    ],
)
def test_fisher_is_quick_and_finite_for_large_and_lopsided_tables(table: tuple[int, int, int, int]) -> None:
    hits_a, n_a, hits_b, n_b = table
    table = (hits_a, n_a, min(hits_b, n_b), n_b)
    took = []
    for _ in range(3):
        start = time.process_time()
        found = fisher_exact(*table)
        took.append(time.process_time() - start)
    assert min(took) < 0.05
    assert 0.0 <= found.p_value <= 1.0
    assert found.p_value == pytest.approx(float(stats.fisher_exact(square(*table)).pvalue), rel=1e-8, abs=1e-290)


@pytest.mark.parametrize("corrected", [False, True])
def test_chi_square_agrees_with_scipy_and_is_the_square_of_z(corrected: bool) -> None:
    compared = 0
    for table in tables(2, 1e6):
        if 0 in np.sum(square(*table), axis=0):
            assert chi_square(*table, continuity_correction=corrected).p_value == 1.0
            continue
        compared += 1
        found = chi_square(*table, continuity_correction=corrected)
        theirs = stats.chi2_contingency(square(*table), correction=corrected)
        assert found.statistic == pytest.approx(float(theirs.statistic), rel=AGREEMENT, abs=1e-12)
        assert found.p_value == pytest.approx(float(theirs.pvalue), rel=AGREEMENT, abs=1e-290)
        if not corrected:
            z = two_proportion_z(*table)
            assert z.statistic is not None
            assert z.statistic**2 == pytest.approx(found.statistic, rel=AGREEMENT, abs=1e-20)
            assert z.p_value == pytest.approx(found.p_value, rel=AGREEMENT, abs=1e-290)
    assert compared > 0.85 * SETS


def test_the_interval_of_two_proportions_is_newcombes_from_two_of_wilsons() -> None:
    for hits_a, n_a, hits_b, n_b in tables(3, 1e5):
        a, b = (stats.binomtest(h, n).proportion_ci(0.9, "wilson") for h, n in ((hits_a, n_a), (hits_b, n_b)))
        p, q = hits_a / n_a, hits_b / n_b
        found = two_proportion_z(hits_a, n_a, hits_b, n_b, 0.1).interval
        assert found is not None
        assert found[0] == pytest.approx(q - p - math.hypot(q - b.low, a.high - p), rel=AGREEMENT, abs=1e-12)
        assert found[1] == pytest.approx(q - p + math.hypot(b.high - q, p - a.low), rel=AGREEMENT, abs=1e-12)


def test_newcombes_published_example() -> None:
    """56/70 against 48/80: 0.2000 (0.0524 to 0.3339), Newcombe (1998), table II, method 10."""
    found = two_proportion_z(48, 80, 56, 70).interval
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_welch_agrees_with_scipy() -> None:
    rng = np.random.default_rng(4)
    for _ in range(SETS):
        a = rng.normal(0.0, rng.uniform(0.1, 10.0), int(10 ** rng.uniform(0.31, 3.3)))
        b = rng.normal(0.3 * rng.normal(), rng.uniform(0.1, 10.0), int(10 ** rng.uniform(0.31, 3.3)))
        alpha = 10 ** rng.uniform(-6, -0.3)
        found, theirs = (
            welch_t(Moments.of(a.tolist()), Moments.of(b.tolist()), alpha),
            stats.ttest_ind(b, a, equal_var=False),
        )
        limits = theirs.confidence_interval(1.0 - alpha)
        assert found.statistic == pytest.approx(float(theirs.statistic), rel=AGREEMENT)
        assert found.degrees_of_freedom == pytest.approx(float(theirs.df), rel=AGREEMENT)
        assert found.p_value == pytest.approx(float(theirs.pvalue), rel=AGREEMENT)
        assert found.interval == pytest.approx((float(limits.low), float(limits.high)), rel=AGREEMENT, abs=1e-9)


def test_students_tail_and_quantile_for_extreme_degrees() -> None:
    for t in (0.1, 1.0, 5.0, 40.0, 300.0):
        for degrees in (0.5, 1.0, 2.3, 30.0, 1e3, 1e6, 1e7):
            theirs = 2.0 * float(stats.t.sf(t, degrees))
            assert special_functions.student_tail(t, degrees) == pytest.approx(theirs, rel=AGREEMENT, abs=1e-290)
    assert special_functions.student_tail(1e200, 3.0) == 0.0
    for tail in (0.5, 0.05, 1e-3, 1e-8):
        assert special_functions.normal_quantile(tail) == pytest.approx(float(stats.norm.isf(tail)), rel=1e-13)
        assert special_functions.normal_quantile(1.0 - tail) == pytest.approx(float(stats.norm.ppf(tail)), abs=1e-7)
        for degrees in (1.0, 1.5, 5.0, 100.0, 1e6):
            theirs = float(stats.t.isf(0.5 * tail, degrees))
            assert special_functions.student_quantile(tail, degrees) == pytest.approx(theirs, rel=AGREEMENT)


def test_nothing_to_compare_is_said_and_never_divides_by_zero() -> None:
    for empty in ((0, 0, 0, 0), (0, 0, 3, 9), (0, 5, 0, 9), (5, 5, 9, 9)):
        for found in (fisher_exact(*empty), chi_square(*empty), two_proportion_z(*empty)):
            assert (found.statistic, found.p_value) == (None, 1.0)
            assert found.note.startswith("Nothing to compare")
            assert "single look" in found.note
    same = Moments.of([2.0, 2.0, 2.0])
    for a, b in ((same, same), (Moments.of([]), same), (Moments.of([1.0]), Moments.of([2.0]))):
        assert welch_t(a, b).p_value == 1.0
    assert fisher_exact(0, 5, 2, 5).statistic is None  # infinite odds ratio
    assert fisher_exact(1, 5, 2, 5).to_dict()["interval"] is None


def test_each_metric_gets_the_tests_that_fit_it() -> None:
    a = ArmStatistics(100, 10, Moments.of([1.0, 2.0] * 50), confusion=Confusion(30, 5, 50, 15))
    b = ArmStatistics(100, 20, Moments.of([2.0, 4.0] * 50), confusion=Confusion(40, 5, 50, 5))
    assert answers(a, b, "error_rate")[0] == fisher_exact(10, 100, 20, 100)
    assert answers(a, b, "recall")[1] == chi_square(30, 45, 40, 45)
    assert answers(a, b, "precision", 0.1)[2] == two_proportion_z(30, 35, 40, 45, 0.1)
    assert answers(a, b, "avg_latency_ms") == (welch_t(a.latency, b.latency),)
    assert answers(a, b, "f1_score") == ()
    assert all("single look" in found.note for found in answers(a, b, "accuracy"))


def test_what_no_two_arms_have_is_refused() -> None:
    for wrong in ((-1, 5, 2, 5), (6, 5, 2, 5), (1, 5, 2, 1)):
        for test in (fisher_exact, chi_square, two_proportion_z):
            with pytest.raises(InvalidInputError, match="no counts of two arms"):
                test(*wrong)
    with pytest.raises(InvalidInputError, match=r"not 1\.5"):
        two_proportion_z(1, 5, 2, 5, alpha=1.5)
    with pytest.raises(InvalidInputError, match="not 0"):
        welch_t(Moments.of([1.0, 2.0]), Moments.of([1.0, 3.0]), alpha=0)
    with pytest.raises(InvalidInputError, match="cannot be compared"):
        welch_t(Moments.of([1.0, 2.0]), Moments.of([1.0, 3.0], offset=1.0))
