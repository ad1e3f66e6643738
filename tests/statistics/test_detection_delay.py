"""How fast the regression evidence is, and how rarely it errs.

Mean delays are not simulated but computed: given a failure, the arm is a coin, so the number of failures until the
alarm is the absorption time of a walk on (failures, failures in B), and requests are failures over the failure rate
(Wald). One simulation of single requests checks the computation. Delays are told as multiples of
``log(1/alpha) / I``, which no test can beat.

``SENTINELZER0_SIMULATED_TESTS=10000`` runs as many streams per simulation instead of the small default, and the delays
on the whole declared grid for all levels.
"""

from __future__ import annotations

import os
from itertools import product
from math import log, log1p

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinelzer0.stats.regression import (
    RISKS,
    WEIGHTS,
    PhaseCounts,
    RegressionDetector,
    log_e,
    lower_bound_requests,
)

STREAMS = int(os.environ.get("SENTINELZER0_SIMULATED_TESTS", "1000"))
EVERYTHING = STREAMS >= 10_000
ALPHAS = (0.05, 0.01, 0.001)
STATED = [(0.01, 0.02), (0.01, 0.05), (0.01, 0.1), (0.05, 0.1)]
GRID = [
    (p0, p0 * risk, share)
    for p0, risk, share in product((0.005, 0.01, 0.02, 0.05, 0.1), (1.5, 2, 3, 5, 10, 20), (0.05, 0.1, 0.25, 0.5))
    if p0 * risk <= 0.5
]
HARDEST = [(0.02, 0.4, 0.05), (0.1, 0.15, 0.05), (0.1, 0.5, 0.25), (0.05, 0.5, 0.1), (0.005, 0.1, 0.1)]

pytestmark = pytest.mark.timeout(900)


def evidence(a: NDArray[np.int64], b: NDArray[np.int64], null: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The runtime's formula on arrays of counts of one phase: the exponent of each relative risk, the last axis."""
    in_b = np.asarray(b)[..., None] * np.log(RISKS)
    return in_b - np.asarray(a + b)[..., None] * np.log1p(np.asarray(null)[..., None] * (np.array(RISKS) - 1))


def mixed(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp.reduce(exponents + np.log(WEIGHTS), axis=-1)


def alarm_at(share: float, alpha: float, failures: int) -> NDArray[np.int64]:
    """For each number of failures the smallest number in B that alarms; more than there are when none does."""
    n = np.arange(failures + 1)
    low, high = np.full(failures + 1, -1), n + 1
    while np.any(high - low > 1):
        middle = (low + high) // 2
        alarms = mixed(evidence(n - middle, middle, share)) >= -log(alpha)
        open_ = high - low > 1
        low, high = np.where(open_ & ~alarms, middle, low), np.where(open_ & alarms, middle, high)
    return high


def mean_failures(share: float, in_b: float, alpha: float) -> float:
    """Mean number of failures until the alarm when a failure is B's with probability ``in_b``."""
    information = in_b * log(in_b / share) + (1 - in_b) * log((1 - in_b) / (1 - share))
    bound = alarm_at(share, alpha, int(6 * (6 - log(alpha)) / information) + 100)
    walk, least, mean = np.ones(1), 0, 0.0  # the probability of each number in B, from ``least`` on
    for n in range(1, len(bound)):
        mean += float(walk.sum())
        walk = np.convolve(walk, [1 - in_b, in_b])[: max(0, bound[n] - least)]
        trimmed = int(np.argmax(walk > 1e-14)) if walk.size else 0
        walk, least = walk[trimmed:], least + trimmed
        if walk.sum() < 1e-7:
            return mean
    raise AssertionError(f"after {len(bound)} failures {walk.sum():.1e} of the walks have not alarmed")


def multiple_of_the_bound(p0: float, p1: float, share: float, alpha: float) -> float:
    rate = share * p1 + (1 - share) * p0
    requests = mean_failures(share, share * p1 / rate, alpha) / rate
    return requests / lower_bound_requests(p0, p1, share, alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize(("p0", "p1"), STATED)
def test_a_regression_is_found_within_one_and_a_half_times_the_lower_bound(
    p0: float, p1: float, share: float, alpha: float
) -> None:
    assert multiple_of_the_bound(p0, p1, share, alpha) <= 1.5


@pytest.mark.parametrize("alpha", ALPHAS if EVERYTHING else ALPHAS[:1])
@pytest.mark.parametrize(("p0", "p1", "share"), GRID if EVERYTHING else HARDEST)
def test_a_regression_is_found_within_twice_the_lower_bound_on_the_whole_grid(
    p0: float, p1: float, share: float, alpha: float
) -> None:
    assert multiple_of_the_bound(p0, p1, share, alpha) <= 2.0


@pytest.mark.parametrize(("p0", "p1", "share"), [(0.01, 0.05, 0.1), (0.05, 0.1, 0.5)])
def test_requests_drawn_one_by_one_take_as_long_as_computed(p0: float, p1: float, share: float) -> None:
    rng, alpha = np.random.default_rng(21), 0.05
    rate = share * p1 + (1 - share) * p0
    a, b, requests = (np.zeros(STREAMS, dtype=np.int64) for _ in range(3))
    alive = np.arange(STREAMS)
    while alive.size:
        requests[alive] += rng.geometric(rate, alive.size)
        hit = rng.random(alive.size) < share * p1 / rate
        b[alive] += hit
        a[alive] += ~hit
        alive = alive[mixed(evidence(a[alive], b[alive], share)) < -log(alpha)]
    computed = multiple_of_the_bound(p0, p1, share, alpha) * lower_bound_requests(p0, p1, share, alpha)
    assert abs(requests.mean() - computed) < 4 * requests.std() / STREAMS**0.5


def test_the_arrays_here_are_the_runtimes_formula() -> None:
    a, b = np.array([3, 50, 0]), np.array([9, 2, 4])
    found = mixed(evidence(a, b, 0.3) + evidence(b, a, 0.5))
    for i in range(3):
        one = log_e([PhaseCounts(0.3, int(a[i]), int(b[i])), PhaseCounts(0.5, int(b[i]), int(a[i]))])
        assert found[i] == pytest.approx(one, abs=1e-9)


@pytest.mark.parametrize("margin", [1.0, 1.25])
def test_equal_or_tolerable_arms_alarm_at_most_alpha_often_along_ramps_and_days(margin: float) -> None:
    """A failure rate that swings by the day and drifts by stream, a ramp from 1 to 50 %, a look every 60 requests."""
    rng = np.random.default_rng(31)
    steps, level = 1600, np.full(STREAMS, 0.03)
    exponents, highest = np.zeros((STREAMS, len(RISKS))), np.zeros(STREAMS)
    for step in range(steps):
        share = (0.01, 0.05, 0.25, 0.5)[min(3, step // 300)]
        level = np.clip(level * np.exp(rng.normal(0.0, 0.02, STREAMS)), 0.002, 0.3)
        rate = level * (1 + 0.8 * np.sin(step / 24))
        in_b = rng.binomial(60, share, STREAMS)
        b, a = rng.binomial(in_b, rate * margin), rng.binomial(60 - in_b, rate)
        exponents += evidence(a, b, share * margin / (share * margin + 1 - share))
        highest = np.maximum(highest, mixed(exponents))
    assert 0.005 * STREAMS <= (highest >= -log(0.05)).sum() <= 0.05 * STREAMS  # it does look, and does not cry wolf
    assert (highest >= -log(0.01)).sum() <= 0.01 * STREAMS


def test_a_ramp_that_reacts_to_the_evidence_alarms_at_most_alpha_often() -> None:
    """The share goes up while B looks well and back when it does not; looked at after every failure."""
    rng = np.random.default_rng(32)
    exponents, share, highest = np.zeros((STREAMS, len(RISKS))), np.full(STREAMS, 0.01), np.zeros(STREAMS)
    for _ in range(1500):
        hit = rng.random(STREAMS) < share
        exponents += evidence(np.where(hit, 0, 1), np.where(hit, 1, 0), share)
        now = mixed(exponents)
        highest = np.maximum(highest, now)
        share = np.where(now > 1.0, 0.01, np.minimum(0.5, share * 1.02))
    assert 0.01 * STREAMS <= (highest >= -log(0.05)).sum() <= 0.05 * STREAMS


def test_a_better_challenger_raises_no_alarm() -> None:
    rng, alpha = np.random.default_rng(33), 0.05
    a = rng.binomial(20, 0.05, (STREAMS, 400)).cumsum(axis=1)
    b = rng.binomial(20, 0.04, (STREAMS, 400)).cumsum(axis=1)
    assert (mixed(evidence(a, b, 0.5)).max(axis=1) >= -log(alpha)).sum() <= 0.5 * alpha * STREAMS


def test_successes_cost_nothing_and_a_failure_is_one_step() -> None:
    """What a caller does per failure: one update and one comparison; the walk ends where the counts say."""
    detector, a, b = RegressionDetector(), 0, 0
    rng = np.random.default_rng(34)
    while detector.log_e < -log(0.001):
        hit = bool(rng.random() < 0.35)
        detector.update(hit, 0.1)
        a, b = a + (not hit), b + hit
    assert detector.log_e == pytest.approx(log_e([PhaseCounts(0.1, a, b)]), abs=1e-9)
    assert mixed(evidence(np.array(a), np.array(b - 1), 0.1)) < -log(0.001) + log1p(1e-9)
