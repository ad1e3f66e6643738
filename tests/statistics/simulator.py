"""Streams of simulated A/B tests, summarised at every look, and the runtime's formulas on whole arrays of them.

Arrays have the shape ``(streams, looks)``; a look sees everything up to it. Counts between two looks are drawn as
binomials, which is the distribution that drawing each event would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sentinelzer0.stats.comparison import tightest_at
from sentinelzer0.stats.confidence_sequences import tuned_rho
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.moments import Confusion, Moments

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Design:
    """How many tests are simulated, how long they run and how they are looked at."""

    streams: int
    looks: int
    every: int = 20
    share: float = 0.5


@dataclass(frozen=True)
class Estimates:
    """One metric of one arm at every look: value, second and third moment of one unit, units."""

    value: Floats
    variance: Floats
    third: Floats
    units: Floats


@dataclass(frozen=True)
class Proportions:
    """Running counts of failures among requests: one arm, at every look."""

    units: Floats
    hits: Floats

    def __add__(self, other: Proportions) -> Proportions:
        return Proportions(self.units + other.units, self.hits + other.hits)

    def estimates(self) -> Estimates:
        share = (self.hits + 2) / (self.units + 4)
        variance = share * (1 - share)
        return Estimates(self.hits / self.units, variance, variance * (1 - 2 * share), self.units)

    def plain_variance(self) -> Floats:
        share = self.hits / self.units
        return share * (1 - share)

    def at(self, index: tuple[int, int]) -> ArmStatistics:
        return ArmStatistics(requests=int(self.units[index]), failures=int(self.hits[index]))


@dataclass(frozen=True)
class Confusions:
    """Running confusion counts, wrong ones together as F1 sees them: one arm, at every look."""

    units: Floats
    tp: Floats
    wrong: Floats

    def __add__(self, other: Confusions) -> Confusions:
        return Confusions(self.units + other.units, self.tp + other.tp, self.wrong + other.wrong)

    def estimates(self) -> Estimates:
        weight, more_weight = 2 * self.tp + self.wrong, 2 * self.tp + self.wrong + 6
        f1 = 2 * (self.tp + 2) / more_weight
        squares = 4 * (self.tp + 2) * (1 - f1) ** 2 + (self.wrong + 2) * f1**2
        cubes = 8 * (self.tp + 2) * (1 - f1) ** 3 - (self.wrong + 2) * f1**3
        variance = squares * self.units / (weight * more_weight)
        return Estimates(2 * self.tp / weight, variance, cubes * self.units**2 / (weight**2 * more_weight), self.units)

    def plain_variance(self) -> Floats:
        weight = 2 * self.tp + self.wrong
        f1 = 2 * self.tp / weight
        return (4 * self.tp * (1 - f1) ** 2 + self.wrong * f1**2) * self.units / weight**2

    def at(self, index: tuple[int, int]) -> ArmStatistics:
        tp, wrong = int(self.tp[index]), int(self.wrong[index])
        rest = int(self.units[index]) - tp - wrong
        return ArmStatistics(confusion=Confusion(tp, wrong // 2, rest, wrong - wrong // 2))


@dataclass(frozen=True)
class Means:
    """Running moments of a measured value: one arm, at every look."""

    units: Floats
    total: Floats
    total_sq: Floats
    total_cu: Floats

    def __add__(self, other: Means) -> Means:
        return Means(
            self.units + other.units,
            self.total + other.total,
            self.total_sq + other.total_sq,
            self.total_cu + other.total_cu,
        )

    def estimates(self) -> Estimates:
        mean = self.total / self.units
        third = (self.total_cu - 3 * mean * self.total_sq) / self.units + 2 * mean**3
        return Estimates(mean, self.plain_variance(), third, self.units)

    def plain_variance(self) -> Floats:
        return (self.total_sq - self.total**2 / self.units) / (self.units - 1)

    def at(self, index: tuple[int, int]) -> ArmStatistics:
        sums = (float(of[index]) for of in (self.total, self.total_sq, self.total_cu))
        return ArmStatistics(latency=Moments(int(self.units[index]), *sums))


Arm: TypeAlias = Proportions | Confusions | Means


def error_rates(seed: int, design: Design, rate_a: float, rate_b: float) -> tuple[Proportions, Proportions]:
    rng = np.random.default_rng(seed)
    arms = _split(rng, design)
    a, b = (Proportions(_run(n), _run(rng.binomial(n, rate))) for n, rate in zip(arms, (rate_a, rate_b), strict=True))
    return a, b


def f1_scores(seed: int, design: Design, recalls: tuple[float, float]) -> tuple[Confusions, Confusions]:
    """A third of the traffic is attacks; 5 % of the benign requests are flagged."""
    rng = np.random.default_rng(seed)
    a, b = (_confusions(rng, n, recall) for n, recall in zip(_split(rng, design), recalls, strict=True))
    return a, b


def latencies(seed: int, design: Design, ratio: float = 1.0, sigma: float = 1.0) -> tuple[Means, Means]:
    """Log-normal with median 20 ms in A; B is slower by ``ratio``."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, design.streams, 250):
        size = (min(250, design.streams - start), design.looks, design.every)
        values = 20.0 * rng.lognormal(0.0, sigma, size)
        in_b = rng.random(size) < design.share
        blocks.append((_powers(values, ~in_b), _powers(values * ratio, in_b)))
    a, b = (Means(*(np.concatenate(parts) for parts in zip(*arm, strict=True))) for arm in zip(*blocks, strict=True))
    return a, b


def limits(a: Arm, b: Arm, alpha: float, min_samples: int) -> tuple[Floats, Floats]:
    """Interval for B - A at every look, as the runtime computes it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_a, of_b = a.estimates(), b.estimates()
        k2_a, k2_b = of_a.variance / of_a.units, of_b.variance / of_b.units
        k3_a, k3_b = of_a.third / of_a.units**2, of_b.third / of_b.units**2
        variance = k2_a + k2_b
        if isinstance(a, Means):
            scale = (k2_b / k2_a) ** 1.5 * np.sqrt(of_a.units / of_b.units)
            k3_a, k3_b = _as_skewed(k3_a, k3_b / scale), _as_skewed(k3_b, k3_a * scale)
        lean = (k3_b - k3_a) / (2 * variance)
        if isinstance(a, Means) and isinstance(b, Means):
            variance = np.maximum(variance, (a + b).plain_variance() * (1 / a.units + 1 / b.units))
        z = critical_z(4 * a.units * b.units / (a.units + b.units), alpha, min_samples)
        gap = of_b.value - of_a.value
        radius, lean = z * np.sqrt(variance), z**2 * lean
        return gap - radius + np.minimum(0, lean), gap + radius + np.maximum(0, lean)


def excluded(a: Arm, b: Arm, alpha: float, min_samples: int, truth: float = 0.0) -> Flags:
    """Whether the interval excludes ``truth`` at each look from the minimum on; for A/A, a false verdict."""
    low, high = limits(a, b, alpha, min_samples)
    needed = max(min_samples, 30) if isinstance(a, Means) else min_samples
    return ((low > truth) | (high < truth)) & (np.minimum(a.units, b.units) >= needed)


def critical_z(units: Floats, alpha: float, min_samples: int) -> Floats:
    rho = tuned_rho(tightest_at(min_samples), alpha)
    return np.sqrt((1 + rho / units) * (np.log1p(units / rho) - 2 * log(alpha)))


def textbook_z(a: Arm, b: Arm) -> Floats:
    """The ordinary z of a two-sample test with plain variances; 0 where it is 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = a.plain_variance() / a.units + b.plain_variance() / b.units
        return np.nan_to_num((b.estimates().value - a.estimates().value) / np.sqrt(variance), nan=0.0)


def unguarded(a: Arm, b: Arm, alpha: float, min_samples: int) -> Flags:
    """The confidence sequence on the textbook z: what the guards of the runtime are there to prevent."""
    crossed = np.abs(textbook_z(a, b)) > critical_z(a.units + b.units, alpha, min_samples)
    return crossed & (np.minimum(a.units, b.units) >= min_samples)


def ever(flags: Flags) -> int:
    """Number of streams with a flag at any look."""
    return int(flags.any(axis=1).sum())


def share_upper_bound(hits: int, trials: int) -> float:
    """Wilson's upper 95 % bound for a share (one-sided)."""
    z, share = 1.6448536269514722, hits / trials
    centre = share + z * z / (2 * trials)
    return (centre + z * sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)) / (1 + z * z / trials)


def _as_skewed(own: Floats, borrowed: Floats) -> Floats:
    return np.where((np.abs(borrowed) > np.abs(own)) & (own * borrowed > 0), borrowed, own)


def _split(rng: np.random.Generator, design: Design) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    in_b = rng.binomial(design.every, design.share, (design.streams, design.looks))
    return design.every - in_b, in_b


def _confusions(rng: np.random.Generator, units: NDArray[np.int64], recall: float) -> Confusions:
    attacks = rng.binomial(units, 1 / 3)
    caught = rng.binomial(attacks, recall)
    false_alarms = rng.binomial(units - attacks, 0.05)
    return Confusions(_run(units), _run(caught), _run(attacks - caught + false_alarms))


def _powers(values: Floats, mask: Flags) -> tuple[Floats, Floats, Floats, Floats]:
    mine = np.where(mask, values, 0.0)
    units, *sums = (_run(part.sum(axis=2)) for part in (mask, mine, mine**2, mine**3))
    return units, sums[0], sums[1], sums[2]


def _run(per_look: NDArray[np.generic]) -> Floats:
    return np.cumsum(per_look, axis=1, dtype=np.float64)
