"""How rarely the sample-ratio check blames a sound split, and how soon it finds a loss.

``SENTINELZER0_SIMULATED_TESTS=10000`` runs as many streams per case instead of the small default.
"""

from __future__ import annotations

import os
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln

from sentinelzer0.stats.sample_ratio import ALPHA, CONCENTRATIONS, PhaseSplit, log_e

STREAMS = int(os.environ.get("SENTINELZER0_SIMULATED_TESTS", "1000"))
RAMP = [(0.89, 0.01, 0.1), (0.85, 0.05, 0.1), (0.65, 0.25, 0.1), (0.4, 0.5, 0.1)]

# (share of B, part of its units that B keeps) -> the least mean number of units any test needs, and what this one needs
# at most: one and a half times as many, except where a loss is so gross that a few dozen units show it.
FOUND_WITHIN = {
    (0.5, 0.5): (121, 300),
    (0.5, 0.8): (1_116, 1_700),
    (0.5, 0.9): (4_985, 7_500),
    (0.5, 0.95): (21_011, 31_500),
    (0.5, 0.98): (135_403, 203_000),
    (0.5, 0.99): (547_105, 820_000),
    (0.1, 0.8): (3_476, 5_200),
    (0.1, 0.9): (14_631, 22_000),
    (0.1, 0.98): (380_180, 570_000),
}

pytestmark = pytest.mark.timeout(900)


def factors(counts: NDArray[np.int64], shares: tuple[float, ...]) -> NDArray[np.float64]:
    """The runtime's formula on arrays of counts of one split (arms last), one value for each concentration (last)."""
    n, found = counts.sum(axis=-1), []
    for concentration in CONCENTRATIONS:
        prior = concentration * np.array(shares)
        value = (gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
        found.append(value + gammaln(concentration) - gammaln(concentration + n))
    return np.stack(found, axis=-1)


def averaged(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp.reduce(exponents, axis=-1) - log(len(CONCENTRATIONS))


def test_the_arrays_here_are_the_runtimes_formula() -> None:
    first, second = np.array([[80, 12, 9], [900, 4, 88]]), np.array([[400, 520, 110], [3, 0, 1]])
    found = averaged(factors(first, RAMP[0]) + factors(second, RAMP[3]))
    for i in range(2):
        phases = [
            PhaseSplit(dict(zip("ABH", shares, strict=True)), dict(zip("ABH", map(int, counts[i]), strict=True)))
            for shares, counts in ((RAMP[0], first), (RAMP[3], second))
        ]
        assert found[i] == pytest.approx(log_e(phases), abs=1e-8)


def test_a_sound_ramp_with_a_holdout_is_blamed_at_most_alpha_often() -> None:
    """Three arms, 1 to 50 %, blocks of random size, looked at after every block."""
    rng = np.random.default_rng(41)
    closed, highest = np.zeros((STREAMS, len(CONCENTRATIONS))), np.zeros(STREAMS)
    for shares in RAMP:
        counts = np.zeros((STREAMS, len(shares)), dtype=np.int64)
        for _ in range(200):
            counts += rng.multinomial(rng.integers(1, 90, STREAMS), shares)
            now = closed + factors(counts, shares)
            highest = np.maximum(highest, averaged(now))
        closed = now
    assert 0.005 * STREAMS <= (highest >= -log(0.05)).sum() <= 0.05 * STREAMS  # it does look, and does not blame
    assert (highest >= -log(ALPHA)).sum() <= ALPHA * STREAMS


def test_a_split_that_reacts_to_the_counts_is_blamed_at_most_alpha_often() -> None:
    """Whoever pauses and resumes when the arms look uneven cannot raise a false alarm: two splits, in turns."""
    rng, alpha = np.random.default_rng(42), 0.05
    splits = np.array([(0.5, 0.5), (0.9, 0.1)])
    counts = np.zeros((2, STREAMS, 2), dtype=np.int64)
    blamed = np.zeros(STREAMS, dtype=bool)
    for _ in range(400):
        excess = np.abs(counts[0, :, 1] - counts[0, :, 0]) > np.sqrt(counts[0].sum(axis=1) + 1)
        for turn in (0, 1):
            chosen = excess == bool(turn)
            in_b = rng.binomial(10, splits[turn, 1], STREAMS) * chosen
            counts[turn] += np.stack([10 * chosen - in_b, in_b], axis=-1)
        blamed |= averaged(factors(counts[0], (0.5, 0.5)) + factors(counts[1], (0.9, 0.1))) >= -log(alpha)
    assert 0.1 * alpha * STREAMS <= blamed.sum() <= alpha * STREAMS


def mean_units(share: float, kept: float, streams: int, seed: int) -> float:
    """Mean units until the loss is found at ALPHA, looked at a hundred times within the least any test needs."""
    rng = np.random.default_rng(seed)
    truth = share * kept / (share * kept + 1 - share)
    every = max(1, FOUND_WITHIN[share, kept][0] // 100)
    counts, found, alive = np.zeros((streams, 2), dtype=np.int64), np.zeros(streams), np.arange(streams)
    while alive.size:
        in_b = rng.binomial(every, truth, alive.size)
        counts[alive] += np.stack([every - in_b, in_b], axis=-1)
        found[alive] += every
        alive = alive[averaged(factors(counts[alive], (1 - share, share))) < -log(ALPHA)]
    return float(found.mean())


@pytest.mark.parametrize(("share", "kept"), FOUND_WITHIN)
def test_a_loss_is_found_within_the_stated_number_of_units(share: float, kept: float) -> None:
    least, most = FOUND_WITHIN[share, kept]
    truth = share * kept / (share * kept + 1 - share)
    information = truth * log(truth / share) + (1 - truth) * log((1 - truth) / (1 - share))
    assert int(-log(ALPHA) / information) == least
    assert least < mean_units(share, kept, min(STREAMS, 1000), seed=43) <= most


def test_a_loss_is_found_along_a_ramp_with_pauses() -> None:
    """B loses 5 % of its units, found after 29,000 on average; ten phases of 5,000, cut by pauses, count as one."""
    rng = np.random.default_rng(44)
    found = []
    for _ in range(100):
        phases = []
        for _ in range(10):
            in_b = int(rng.binomial(5000, 0.475 / 0.975))
            phases.append(PhaseSplit({"A": 0.5, "B": 0.5}, {"A": 5000 - in_b, "B": in_b}))
        found.append(log_e(phases) >= -log(ALPHA))
    assert sum(found) >= 80
