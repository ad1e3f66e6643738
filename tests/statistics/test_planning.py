"""What a plan promises is what simulated tests take, with fixed seeds: mean and upper decile within 15 %, 25 % for
guardrails."""

from __future__ import annotations

import os
from math import e, exp, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinelzer0.domain.ab_tests import FIRST_LOOK, next_look
from sentinelzer0.stats.comparison import HarmState, Stratum, harm
from sentinelzer0.stats.estimators import ArmStatistics, Metric
from sentinelzer0.stats.moments import Moments
from sentinelzer0.stats.planning import Baseline, Plan, Setting, baseline_by_hand, kept, plan, remaining
from tests.statistics.simulator import Arm, Confusions, Means, Proportions, critical_z

STREAMS = int(os.environ.get("SENTINELZER0_SIMULATED_TESTS", "1000"))
TOLERANCE = 0.15

pytestmark = pytest.mark.timeout(900)


def looks(until: int) -> NDArray[np.int64]:
    """After how many units the product looks."""
    found = [FIRST_LOOK]
    while found[-1] < until:
        found.append(next_look(found[-1]))
    return np.array(found)


def arms(baseline: Baseline, gap: float, share: float, at: NDArray[np.int64], seed: int) -> tuple[Arm, Arm]:
    """Both arms at every look."""
    rng = np.random.default_rng(seed)
    more = np.broadcast_to(np.diff(at, prepend=0), (STREAMS, len(at)))
    in_b = rng.binomial(more, share)
    drawn = ((more - in_b, baseline.value), (in_b, baseline.value + gap))
    a, b = (arm(rng, baseline, units, value) for units, value in drawn)
    return a, b


def arm(rng: np.random.Generator, baseline: Baseline, units: NDArray[np.int64], value: float) -> Arm:
    if baseline.metric.is_measured:
        return means(rng, units, value, baseline.variance)
    if baseline.metric == "f1_score":
        caught = rng.binomial(units, baseline.weight * value / 2)
        wrong = rng.binomial(units - caught, baseline.weight * (1 - value) / (1 - baseline.weight * value / 2))
        return Confusions(*(np.cumsum(part, axis=1, dtype=float) for part in (units, caught, wrong)))
    return Proportions(*(np.cumsum(part, axis=1, dtype=float) for part in (units, rng.binomial(units, value))))


def means(rng: np.random.Generator, units: NDArray[np.int64], mean: float, variance: float) -> Means:
    sums = np.zeros((3, *units.shape))
    for look in range(units.shape[1]):
        most = int(units[:, look].max())
        values = rng.gamma(mean * mean / variance, variance / mean, (STREAMS, most))
        values[np.arange(most) >= units[:, look, None]] = 0.0
        sums[:, :, look] = [(values**power).sum(axis=1) for power in (1, 2, 3)]
    return Means(np.cumsum(units, axis=1, dtype=float), *np.cumsum(sums, axis=2))


def decided_at(a: Arm, b: Arm, setting: Setting, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Units of both arms at the first look with a verdict."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_a, of_b = a.estimates(), b.estimates()
        variance = of_a.variance / of_a.units + of_b.variance / of_b.units
        lean = (of_b.third / of_b.units**2 - of_a.third / of_a.units**2) / (2 * variance)
        if isinstance(a, Means):
            variance = np.maximum(variance, (a + b).plain_variance() * (1 / a.units + 1 / b.units))
        information = 4 * a.units * b.units / (a.units + b.units)
        z = critical_z(information, setting.alpha, setting.min_samples)
        gap, radius, bend = of_b.value - of_a.value, z * np.sqrt(variance), z**2 * lean
        excluded = (gap - radius + np.minimum(0, bend) > 0) | (gap + radius + np.maximum(0, bend) < 0)
    excluded &= np.minimum(a.units, b.units) >= setting.min_samples
    assert excluded.any(axis=1).mean() > 0.99
    return at[np.argmax(excluded, axis=1)]


def within(found: Plan, took: NDArray[np.int64]) -> None:
    assert found.sequential_expected == pytest.approx(float(took.mean()), rel=TOLERANCE)
    assert found.sequential_max == pytest.approx(float(np.quantile(took, 0.9)), rel=TOLERANCE)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize(
    ("metric", "value", "gap"),
    [
        ("error_rate", 0.02, -0.01),
        ("error_rate", 0.02, 0.01),
        ("error_rate", 0.01, 0.04),
        ("error_rate", 0.3, 0.3),
        ("accuracy", 0.9, 0.03),
        ("f1_score", 0.85, 0.05),
        ("f1_score", 0.85, -0.1),
    ],
)
def test_counted_metrics(metric: str, value: float, gap: float, share: float, alpha: float) -> None:
    baseline = baseline_by_hand(metric, value, attack_share=1 / 3)
    setting = Setting(share=share, alpha=alpha)
    found = plan(baseline, gap, setting)
    at = looks(5 * found.sequential_max)
    within(found, decided_at(*arms(baseline, gap, share, at, seed=41), setting, at))


@pytest.mark.parametrize(("share", "gap"), [(0.5, -2.0), (0.1, -4.0), (0.1, 4.0)])
def test_latency(share: float, gap: float) -> None:
    baseline, setting = baseline_by_hand("avg_latency_ms", 20.0, standard_deviation=10.0), Setting(share=share)
    found = plan(baseline, gap, setting)
    at = looks(4 * found.sequential_max)
    within(found, decided_at(*arms(baseline, gap, share, at, seed=42), setting, at))


def test_what_a_running_test_still_needs_is_what_it_takes_from_there() -> None:
    baseline, gap, setting = baseline_by_hand("error_rate", 0.05), 0.02, Setting()
    at = looks(5 * plan(baseline, gap, setting).sequential_max)
    a, b = arms(baseline, gap, 0.5, at, seed=43)
    took = decided_at(a, b, setting, at)
    look = int(np.searchsorted(at, 3000))
    seen = np.array([b.estimates().value[:, look] - a.estimates().value[:, look], took - at[look]])
    for low, high in ((0.005, 0.015), (0.015, 0.025)):
        chosen = (seen[0] > low) & (seen[0] < high) & (seen[1] > 0)
        assert chosen.sum() > STREAMS // 10
        now = float(seen[0, chosen].mean())
        found = remaining(baseline, gap, setting, information=float(at[look]), difference=now)
        assert found.units_expected == pytest.approx(float(seen[1, chosen].mean()), rel=TOLERANCE)
        assert found.units_max == pytest.approx(float(np.quantile(seen[1, chosen], 0.9)), rel=2 * TOLERANCE)


@pytest.mark.parametrize(("metric", "share"), [("error_rate", 0.5), ("avg_latency_ms", 0.1)])
def test_the_proof_that_a_guardrail_is_kept(metric: str, share: float) -> None:
    """A tenth of the requests fails, latencies are log-normal, and both arms are alike; judged by the runtime."""
    relative, setting = metric == "avg_latency_ms", Setting(share=share)
    margin = 0.2 if relative else 0.02
    rate = baseline_by_hand("error_rate", 0.1)
    spread = sqrt(e * (e - 1))  # of exp(N(0, 1)); its skewness is (e + 2) sqrt(e - 1)
    latency = Baseline(Metric.AVG_LATENCY_MS, exp(0.5), 1.0, spread**2, (e + 2) * sqrt(e - 1) * spread**3)
    found = kept(latency if relative else rate, margin, setting, relative=relative)
    assert found is not None
    rng = np.random.default_rng(44)
    took = [proven_at(rng, metric, margin, setting, relative=relative) for _ in range(min(STREAMS, 150))]
    assert found.units_expected == pytest.approx(float(np.mean(took)), rel=0.25)
    assert found.units_max == pytest.approx(float(np.quantile(took, 0.9)), rel=0.25)


def proven_at(rng: np.random.Generator, metric: str, margin: float, setting: Setting, *, relative: bool) -> int:
    """Units of both arms at the first look at which the guardrail is proven to be kept."""
    arms, at = [ArmStatistics(), ArmStatistics()], 0
    for look in looks(10**7):
        in_b = int(rng.binomial(int(look) - at, setting.share))
        for arm, units in enumerate((int(look) - at - in_b, in_b)):
            values = rng.lognormal(0.0, 1.0, units) if relative else np.zeros(0)
            moments = Moments(len(values), *(float((values**power).sum()) for power in (1, 2, 3)))
            arms[arm] = arms[arm] + ArmStatistics(units, int(rng.binomial(units, 0.1)), moments)
        at = int(look)
        judged = harm([Stratum(*arms)], metric, margin, setting.alpha, setting.min_samples, relative=relative)
        if judged.state is HarmState.PASSED:
            return at
    raise AssertionError("never proven")
