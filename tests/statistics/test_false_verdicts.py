"""Simulated error rates of the verdicts, with fixed seeds.

``SENTINELZER0_SIMULATED_TESTS=10000`` runs the same with that many tests per case instead of the small default.

Tolerance: the one-sided 95 % upper bound (Wilson) of the simulated share has to stay at or below alpha.
"""

from __future__ import annotations

import json
import os
from math import exp
from pathlib import Path

import numpy as np
import pytest

from sentinelzer0.stats.comparison import Stratum, compare
from tests.statistics.simulator import (
    Arm,
    Design,
    error_rates,
    ever,
    excluded,
    f1_scores,
    latencies,
    limits,
    share_upper_bound,
    textbook_z,
    unguarded,
)

STREAMS = int(os.environ.get("SENTINELZER0_SIMULATED_TESTS", "2000"))
PEEKING = json.loads((Path(__file__).parents[1] / "vectors" / "peeking_type1.json").read_text())
NORMAL_975 = 1.959963984540054

pytestmark = pytest.mark.timeout(900)


def stream(kind: str, share: float, looks: int = 400) -> tuple[Arm, Arm]:
    """Streams without any difference between the arms, looked at after every 20 events."""
    design = Design(STREAMS, looks, share=share)
    match kind:
        case "rare failures":
            return error_rates(11, design, 0.01, 0.01)
        case "frequent failures":
            return error_rates(12, design, 0.3, 0.3)
        case "f1_score":
            return f1_scores(13, design, (0.8, 0.8))
        case _:
            return latencies(14, Design(STREAMS // 2, looks // 2, share=share))


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("kind", ["rare failures", "frequent failures", "f1_score", "avg_latency_ms"])
def test_equal_arms_are_told_apart_at_any_look_in_at_most_alpha_of_the_tests(kind: str, share: float) -> None:
    a, b = stream(kind, share)
    tests = len(a.units)
    for min_samples in (1, 100):
        assert share_upper_bound(ever(excluded(a, b, 0.05, min_samples)), tests) <= 0.05
    # For alpha .01 a small simulation cannot bound the share by .01 itself; DESIGN allows 1.2 alpha.
    false = ever(excluded(a, b, 0.01, 100))
    assert false <= 0.01 * tests
    assert STREAMS < 10_000 or share_upper_bound(false, tests) <= 0.012


def test_peeking_at_p_below_5_percent_inflates_as_published() -> None:
    a, b = error_rates(15, Design(10_000, 100, every=1000), 0.5, 0.5)
    significant = np.abs(textbook_z(a, b)) > NORMAL_975
    for looks in (1, 2, 5, 10, 20, 50, 100):
        simulated = significant[:, :looks].any(axis=1).mean()
        assert simulated == pytest.approx(PEEKING["looks_to_type1"][str(looks)], abs=0.01)


def test_on_the_same_streams_peeking_errs_many_times_as_often() -> None:
    a, b = stream("frequent failures", 0.5)
    peeked = ever(np.abs(textbook_z(a, b)) > NORMAL_975)
    assert peeked > 0.35 * STREAMS
    assert ever(excluded(a, b, 0.05, 100)) < peeked / 7


@pytest.mark.parametrize("kind", ["rare failures", "avg_latency_ms"])
def test_without_the_guards_an_uneven_split_errs_too_often(kind: str) -> None:
    a, b = stream(kind, 0.1)
    assert ever(unguarded(a, b, 0.05, 30)) > 0.06 * len(a.units)


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize(("rate_a", "rate_b"), [(0.0005, 0.01), (0.01, 0.05), (0.05, 0.01), (0.3, 0.5)])
def test_intervals_cover_the_true_difference_of_error_rates_at_all_looks(
    rate_a: float, rate_b: float, share: float
) -> None:
    a, b = error_rates(21, Design(STREAMS, 400, share=share), rate_a, rate_b)
    misses = ever(excluded(a, b, 0.05, 100, truth=rate_b - rate_a))
    assert share_upper_bound(misses, STREAMS) <= 0.05
    assert ever(excluded(a, b, 0.01, 100, truth=rate_b - rate_a)) <= 0.01 * STREAMS


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("recalls", [(0.6, 0.9), (0.9, 0.6)])
def test_intervals_cover_the_true_difference_of_f1_scores_at_all_looks(
    recalls: tuple[float, float], share: float
) -> None:
    a, b = f1_scores(22, Design(STREAMS, 400, share=share), recalls)
    f1_a, f1_b = (2 * recall / (recall + 1.1) for recall in recalls)  # prevalence 1/3, 5 % false alarms
    assert share_upper_bound(ever(excluded(a, b, 0.05, 100, truth=f1_b - f1_a)), STREAMS) <= 0.05
    assert ever(excluded(a, b, 0.01, 100, truth=f1_b - f1_a)) <= 0.01 * STREAMS


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("ratio", [2.0, 0.5])
def test_intervals_cover_the_true_difference_of_latencies_at_all_looks(ratio: float, share: float) -> None:
    a, b = latencies(23, Design(STREAMS // 2, 200, share=share), ratio)
    truth = 20.0 * exp(0.5) * (ratio - 1.0)
    assert share_upper_bound(ever(excluded(a, b, 0.05, 100, truth=truth)), STREAMS // 2) <= 0.05


def test_a_real_difference_is_found_within_twice_the_fixed_horizon_plan() -> None:
    # 5 % against 10 % failures: Fleiss' plan with 80 % power at alpha .05 needs 435 requests per arm, looked at once.
    a, b = error_rates(31, Design(STREAMS, 150), 0.05, 0.10)
    low, high = limits(a, b, 0.05, 100)
    worse, better = low > 0.0, high < 0.0
    found_at = (worse.argmax(axis=1) + 1) * 20
    assert worse.any(axis=1).mean() > 0.98
    assert np.quantile(found_at[worse.any(axis=1)], 0.8) <= 2 * 2 * 435
    assert ever(better) <= 0.025 * STREAMS


@pytest.mark.parametrize("kind", ["error_rate", "f1_score", "avg_latency_ms"])
def test_the_simulated_formulas_are_those_of_the_runtime(kind: str) -> None:
    design = Design(20, 60, share=0.2)
    a, b = {
        "error_rate": lambda: error_rates(41, design, 0.02, 0.1),
        "f1_score": lambda: f1_scores(42, design, (0.9, 0.6)),
        "avg_latency_ms": lambda: latencies(43, design, 1.5),
    }[kind]()
    for alpha, min_samples in ((0.05, 100), (0.01, 10)):
        low, high = limits(a, b, alpha, min_samples)
        verdicts = excluded(a, b, alpha, min_samples)
        for index in [(i, j) for i in range(20) for j in range(0, 60, 7)]:
            found = compare([Stratum(a.at(index), b.at(index))], kind, alpha, min_samples)
            assert found.is_significant == verdicts[index]
            if found.interval is not None:
                assert found.interval == pytest.approx((low[index], high[index]), rel=1e-9)
        assert verdicts.any()
