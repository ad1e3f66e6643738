"""Shadow mode in simulation, with fixed seeds: the error rate of paired verdicts, and what pairing saves.

``SENTINELZER0_SIMULATED_TESTS=10000`` runs the same with that many tests per case instead of the small default.

Tolerance: the one-sided 95 % upper bound (Wilson) of the simulated share has to stay at or below alpha.
"""

from __future__ import annotations

import os
from functools import lru_cache
from math import isclose, log
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinelzer0.stats import paired
from sentinelzer0.stats.comparison import tightest_at
from sentinelzer0.stats.confidence_sequences import tuned_rho
from sentinelzer0.stats.estimators import Metric
from sentinelzer0.stats.moments import NO_VALUES, Moments
from sentinelzer0.stats.paired import PairedStatistics, compare_paired
from tests.statistics.simulator import Confusions, Means, Proportions, excluded, share_upper_bound

Floats: TypeAlias = NDArray[np.float64]
Limits: TypeAlias = tuple[Floats, Floats]

STREAMS = int(os.environ.get("SENTINELZER0_SIMULATED_TESTS", "2000"))
LOOKS, EVERY = 300, 20

pytestmark = pytest.mark.timeout(900)


def joint(recalls: tuple[float, float], false_alarms: tuple[float, float], differ: float) -> list[float]:
    """Chances of the eight kinds of labelled pairs; a third are attacks.

    ``differ`` is the share of the requests of either kind on which the arms disagree, beyond what their rates force.
    """

    def kinds(a: float, b: float) -> list[float]:  # neither, only b, only a, both flagged
        only_a, only_b = differ / 2 + max(0.0, a - b), differ / 2 + max(0.0, b - a)
        return [1 - a - only_b, only_b, only_a, a - only_a]

    return [share * chance for share, rates in ((2 / 3, false_alarms), (1 / 3, recalls)) for chance in kinds(*rates)]


def counts(seed: int, chances: list[float], streams: int = STREAMS) -> Floats:
    """Running counts by kind, in the shape (streams, looks, kinds)."""
    return _counts(seed, tuple(chances), streams)


@lru_cache(maxsize=1)
def _counts(seed: int, chances: tuple[float, ...], streams: int) -> Floats:
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(EVERY, chances, (streams, LOOKS))
    return np.cumsum(drawn, axis=1, dtype=np.float64)


def latency_differences(seed: int, slower: float, streams: int) -> Means:
    """Differences of two latencies: the request makes most of them (log-normal), each model adds its own part."""
    rng = np.random.default_rng(seed)
    shared = 20.0 * rng.lognormal(0.0, 1.0, (streams, LOOKS, EVERY))
    own_a, own_b = (rng.lognormal(0.0, 0.3, shared.shape) for _ in "ab")
    values = shared * (own_b * (1 + slower) - own_a)
    units = np.broadcast_to(EVERY * np.arange(1.0, LOOKS + 1), (streams, LOOKS))
    return Means(units, *(np.cumsum((values**power).sum(axis=2), axis=1) for power in (1, 2, 3)))


def limits(seen: Floats | Means, metric: Metric, alpha: float, min_samples: int) -> Limits:
    """Interval for B - A at every look, as the runtime computes it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gap, variance, guarded, third, units = moments(seen) if isinstance(seen, Means) else influence(seen, metric)
        rho = tuned_rho(tightest_at(min_samples), alpha)
        z = np.sqrt((1 + rho / (2 * units)) * (np.log1p(2 * units / rho) - 2 * log(alpha)))
        radius, lean = z * np.sqrt(guarded), z**2 * third / (2 * variance)
    return gap - radius + np.minimum(0, lean), gap + radius + np.maximum(0, lean)


def moments(seen: Means) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    n = seen.units
    mean, square, cube = seen.total / n, seen.total_sq / n, seen.total_cu / n
    variance = (square - mean**2) * n / (n - 1)
    third = cube - 3 * mean * square + 2 * mean**3
    return mean, variance / n, np.maximum(variance, square) / n, third / n**2, n


def influence(seen: Floats, metric: Metric) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    kinds = np.array(paired._LABELLED.get(metric, paired._TWO_BY_TWO), dtype=float)
    more = seen + kinds[:, 4]
    above_a, below_a, above_b, below_b = (seen @ kinds[:, column] for column in range(4))
    more_above_a, more_a, more_above_b, more_b = (more @ kinds[:, column] for column in range(4))
    to_a = (kinds[:, 0] - (more_above_a / more_a)[..., None] * kinds[:, 1]) / np.sqrt(below_a * more_a)[..., None]
    to_b = (kinds[:, 2] - (more_above_b / more_b)[..., None] * kinds[:, 3]) / np.sqrt(below_b * more_b)[..., None]
    move = to_b - to_a
    variance = (more * move**2).sum(axis=2)
    return above_b / below_b - above_a / below_a, variance, variance, (more * move**3).sum(axis=2), seen.sum(axis=2)


def ever_outside(found: Limits, min_samples: int, truth: float = 0.0) -> float:
    """Upper bound for the share of tests whose interval excludes ``truth`` at any look from the minimum on."""
    outside = (found[0] > truth) | (found[1] < truth)
    outside &= EVERY * np.arange(1, LOOKS + 1) >= max(min_samples, 30)
    return share_upper_bound(int(outside.any(axis=1).sum()), len(outside))


FAILURES = {"rare": [0.988, 0.008, 0.002, 0.002], "very rare": [0.9985, 0.0005, 0.0005, 0.0005]} | {
    "independent": [0.64, 0.04, 0.16, 0.16]
}
EQUAL = joint((0.85, 0.85), (0.05, 0.05), 0.02)
MODELS = {
    "alike": joint((0.95, 0.95), (0.02, 0.02), 0.004),
    "usual": EQUAL,
    "unlike": joint((0.6, 0.6), (0.2, 0.2), 0.2),
}
LABELLED = (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE)


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_equally_failing_models_are_told_apart_at_any_look_in_at_most_alpha_of_the_tests(
    kind: str, alpha: float
) -> None:
    seen = counts(21, FAILURES[kind])
    assert ever_outside(limits(seen, Metric.ERROR_RATE, alpha, 1), 1) <= alpha


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_equal_models_are_told_apart_at_any_look_in_at_most_alpha_of_the_tests(kind: str, alpha: float) -> None:
    seen = counts(22, MODELS[kind])
    for metric in LABELLED:
        assert ever_outside(limits(seen, metric, alpha, 1), 1) <= alpha, metric


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_equally_fast_models_are_told_apart_at_any_look_in_at_most_alpha_of_the_tests(alpha: float) -> None:
    seen = latency_differences(23, 0.0, STREAMS // 2)
    assert ever_outside(limits(seen, Metric.AVG_LATENCY_MS, alpha, 30), 30) <= alpha


def test_the_interval_covers_a_real_difference_at_all_looks() -> None:
    seen = counts(24, joint((0.80, 0.86), (0.05, 0.03), 0.02))
    f1 = [2 * r / 3 / (2 * r / 3 + (1 - r) / 3 + f * 2 / 3) for r, f in ((0.80, 0.05), (0.86, 0.03))]
    truths = {
        Metric.RECALL: 0.06,
        Metric.ACCURACY: 0.06 / 3 + 0.02 * 2 / 3,
        Metric.F1_SCORE: f1[1] - f1[0],
        Metric.PRECISION: 0.86 / (0.86 + 0.06) - 0.80 / (0.80 + 0.10),
    }
    for metric, truth in truths.items():
        assert ever_outside(limits(seen, metric, 0.05, 100), 100, truth) <= 0.05, metric
    failing = counts(25, [0.95, 0.02, 0.005, 0.025])
    assert ever_outside(limits(failing, Metric.ERROR_RATE, 0.05, 100), 100, 0.02) <= 0.05
    slower = latency_differences(26, 0.05, STREAMS // 2)
    truth = 20.0 * np.exp(0.5) * np.exp(0.045) * 0.05
    assert ever_outside(limits(slower, Metric.AVG_LATENCY_MS, 0.05, 100), 100, truth) <= 0.05


def test_pairing_finds_the_same_difference_with_a_fraction_of_the_requests() -> None:
    """Recall .80 against .86 where the models disagree on few requests; and failures of which most are shared."""
    chances = joint((0.80, 0.86), (0.05, 0.05), 0.02)
    assert saved(chances, Metric.F1_SCORE, apart_f1) > 5.0
    assert saved([0.94, 0.03, 0.005, 0.025], Metric.ERROR_RATE, apart_failures) > 3.5


def saved(chances: list[float], metric: Metric, apart: object) -> float:
    """How many times the requests of the paired verdict a split of the traffic needs, by the medians."""
    seen = counts(27, chances, 400)
    low, high = limits(seen, metric, 0.05, 100)
    needed = EVERY * (1 + np.argmax((low > 0) | (high < 0), axis=1))
    assert ((low > 0) | (high < 0)).any(axis=1).mean() > 0.9
    split = apart(chances)  # type: ignore[operator]
    return float(np.median(split) / np.median(needed))


def apart_f1(chances: list[float]) -> Floats:
    """Requests until the verdict of a test that splits the same traffic evenly."""
    attacks = sum(chances[4:])
    recalls = (chances[6] + chances[7]) / attacks, (chances[5] + chances[7]) / attacks
    rng, arms = np.random.default_rng(28), []
    for recall in recalls:
        units = np.full((400, 2000), EVERY // 2)
        hits = rng.binomial(rng.binomial(units, attacks), recall)
        caught, missed = np.cumsum(hits, axis=1), np.cumsum(rng.binomial(units, attacks * (1 - recall)), axis=1)
        alarms = np.cumsum(rng.binomial(units, chances[2] + chances[3]), axis=1)
        arms.append(Confusions(*(part.astype(float) for part in (np.cumsum(units, axis=1), caught, missed + alarms))))
    return first(excluded(arms[0], arms[1], 0.05, 100))


def apart_failures(chances: list[float]) -> Floats:
    rng, arms = np.random.default_rng(29), []
    for rate in (chances[1] + chances[2], chances[1] + chances[3]):
        units = np.full((400, 2000), EVERY // 2)
        drawn = (np.cumsum(units, axis=1), np.cumsum(rng.binomial(units, rate), axis=1))
        arms.append(Proportions(*(part.astype(float) for part in drawn)))
    return first(excluded(arms[0], arms[1], 0.05, 100))


def first(flags: NDArray[np.bool_]) -> Floats:
    assert flags.any(axis=1).mean() > 0.9
    return EVERY * (1.0 + np.argmax(flags, axis=1))


def test_the_simulator_computes_what_the_runtime_computes() -> None:
    labelled, failing = counts(30, EQUAL, 20), counts(31, FAILURES["rare"], 20)
    timed = latency_differences(32, 0.05, 20)
    for stream, look in ((3, 12), (7, 80), (19, 299)):
        kinds = [int(count) for count in labelled[stream, look]]
        failed = [int(count) for count in failing[stream, look]]
        found = PairedStatistics(
            sum(kinds),
            failed[1],
            failed[2],
            failed[3],
            Moments(sum(kinds), *(float(of[stream, look]) for of in (timed.total, timed.total_sq, timed.total_cu))),
            NO_VALUES,
            tuple(kinds),
        )
        for metric in (*LABELLED, Metric.ERROR_RATE, Metric.AVG_LATENCY_MS):
            source = {Metric.ERROR_RATE: failing, Metric.AVG_LATENCY_MS: timed}.get(metric, labelled)
            low, high = limits(source, metric, 0.05, 100)
            interval = compare_paired(found, metric, 0.05, 100).interval
            assert interval is not None
            assert isclose(interval[0], low[stream, look], rel_tol=1e-9, abs_tol=1e-12), metric
            assert isclose(interval[1], high[stream, look], rel_tol=1e-9, abs_tol=1e-12), metric
