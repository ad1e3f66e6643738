"""Which looks are worth the exact rule: conditions it implies, on whole arrays of tests at once.

Ten thousand tests with three hundred looks and five metrics are fifteen million comparisons. A comparison declares
something only if the difference is more standard errors away from 0 than the boundary; skewness only asks for more.
That much is computed here for all looks together, with 5 % to spare. The product's own code then judges the looks that
remain. ``test_validate_small.py`` shows that no look is dropped that the exact rule would have declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sentinelzer0.stats import regression, sample_ratio
from sentinelzer0.stats.comparison import minimum_of, tightest_at
from sentinelzer0.stats.confidence_sequences import tuned_rho
from sentinelzer0.stats.estimators import IMAGINED, Metric
from tests.statistics.naive import UNITS, expected_sums
from tests.statistics.streams import Arm, Floats, Streams

Flags = NDArray[np.bool_]

SPARE = 0.95

EVENTS = {"error_rate": ("failures",), "accuracy": ("fp", "fn"), "recall": ("fn",)}
"""What counts as a bad event for the exact evidence of harm."""


@dataclass(frozen=True)
class Standardised:
    """One metric of both arms at every look, standardised over the phases.

    Attributes:
        difference: B - A.
        standard_error: Of it, without what skewness adds.
        information: Effective units.
        smaller_arm: Units of the smaller arm in the phases in which both arms have any.
        truth: What the difference estimates: the same mix of the true values.
    """

    difference: Floats
    standard_error: Floats
    information: Floats
    smaller_arm: Floats
    truth: Floats


def standardise(streams: Streams, metric: str) -> Standardised:
    """One metric of all tests at every look."""
    phases = list(streams.by_phase())
    units = [(UNITS[metric](a), UNITS[metric](b)) for a, b in phases]
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = [np.where((a > 0) & (b > 0), a * b / (a + b), 0.0) for a, b in units]
        total = sum(weights)
        shares = [weight / total for weight in weights]
        pooled = [_pooled_variance(a, b, metric) for a, b in phases]
        arms = []
        for arm in (0, 1):
            sums, n = [phase[arm] for phase in phases], [of[arm] for of in units]
            measured = Metric(metric).is_measured
            arms.append(_measured(sums, n, shares, pooled, metric) if measured else _counted(sums, n, shares, metric))
        (value_a, variance_a, floor_a), (value_b, variance_b, floor_b) = arms
        error = np.sqrt(np.fmax(variance_a + variance_b, floor_a + floor_b))
        seen = list(zip(weights, units, strict=True))
        smaller = np.minimum(*(sum(np.where(w > 0, of[arm], 0.0) for w, of in seen) for arm in (0, 1)))
        truth = _true_difference(streams, shares, metric)
    return Standardised(value_b - value_a, error, 4.0 * total, smaller, truth)


def outside(found: Standardised, metric: str, alpha: float, min_samples: int, *, of_truth: bool = False) -> Flags:
    """At which looks a two-sided interval may exclude 0, or the truth, once both arms have their minimum."""
    rho = tuned_rho(tightest_at(min_samples), alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.sqrt((1.0 + rho / found.information) * (np.log1p(found.information / rho) - 2.0 * log(alpha)))
        gap = np.abs(found.difference - (found.truth if of_truth else 0.0))
        far = gap > SPARE * z * found.standard_error
    return far & (found.smaller_arm >= minimum_of(Metric(metric), min_samples))


def harmful(found: Standardised, metric: str, alpha: float, min_samples: int) -> Flags:
    """At which looks a guardrail of any margin may be violated at one-sided ``alpha``.

    The one-sided e-value is at most twice the two-sided one of the same ``rho``, so what it declares at ``alpha`` the
    other declares at ``2 alpha``; and a margin only asks for more.
    """
    return outside(found, metric, 2.0 * alpha, min_samples)


def regressed(
    streams: Streams, alpha: float, margin: float = 1.0, events: tuple[str, ...] = EVENTS["error_rate"]
) -> Flags:
    """At which looks the e-process over bad events has reached ``1/alpha``, as ``stats.regression`` adds it up."""
    exponents = np.log(np.asarray(regression.WEIGHTS))[:, None, None]
    risks = np.asarray(regression.RISKS)[:, None, None]
    for (share, _), (a, b) in zip(streams.design.ramp, streams.by_phase(), strict=True):
        null = share * margin / (share * margin + 1.0 - share)
        in_a, in_b = (sum(arm[name] for name in events) for arm in (a, b))
        exponents = exponents + in_b * np.log(risks) - (in_a + in_b) * np.log1p(null * (risks - 1.0))
    return np.asarray(special.logsumexp(exponents, axis=0) >= log(1.0 / alpha) - 1e-6)


def mismatched(streams: Streams) -> Floats:
    """Logarithm of the e-value of the sample-ratio check at every look, as ``stats.sample_ratio`` adds it up."""
    per_mixture = []
    for concentration in sample_ratio.CONCENTRATIONS:
        total: Floats | float = -log(len(sample_ratio.CONCENTRATIONS))
        for (share, _), (a, b) in zip(streams.design.ramp, streams.by_phase(), strict=True):
            n_a, n_b = a["requests"], b["requests"]
            total = total + special.gammaln(concentration) - special.gammaln(concentration + n_a + n_b)
            for n, part in ((n_a, 1.0 - share), (n_b, share)):
                prior = concentration * part
                total = total + special.gammaln(prior + n) - special.gammaln(prior) - n * log(part)
        per_mixture.append(total)
    return np.asarray(np.logaddexp.reduce(per_mixture, axis=0))


def _parts(arm: Arm, metric: str) -> tuple[Floats, Floats, int]:
    """Hits, misses, and the weight of a hit."""
    match metric:
        case "error_rate":
            return arm["failures"], arm["requests"] - arm["failures"], 1
        case "recall":
            return arm["tp"], arm["fn"], 1
        case _:
            return arm["tp"], arm["fp"] + arm["fn"], 2


def _counted(phases: list[Arm], units: list[Floats], shares: list[Floats], metric: str) -> tuple[Floats, ...]:
    parts = [_parts(arm, metric) for arm in phases]
    weight = parts[0][2]
    seen = [(share > 0.0, share, n) for share, n in zip(shares, units, strict=True)]
    rates = [
        tuple(np.where(of, part / n, 0.0) for part in of_phase[:2])
        for of_phase, (of, _, n) in zip(parts, seen, strict=True)
    ]
    of_arm = list(zip(rates, shares, strict=True))
    hits, misses = (sum(np.where(share > 0.0, share * rate[i], 0.0) for rate, share in of_arm) for i in (0, 1))
    below = weight * hits + misses
    total = sum(np.where(of, n, 0.0) for of, _, n in seen)
    imagined = IMAGINED / total
    more_below = below + (weight + 1) * imagined
    ratio = weight * (hits + imagined) / more_below
    up, down = weight * (1.0 - ratio), -ratio
    variance, homogeneous, lost = (np.zeros_like(below) for _ in range(3))
    for (hit, miss), (of, share, n) in zip(rates, seen, strict=True):
        more_hit, more_miss = hit + imagined, miss + imagined
        first, second = up * more_hit + down * more_miss, up * up * more_hit + down * down * more_miss
        of_one = share * share / n
        variance += np.where(of, of_one * (second - first * first / (1.0 + 2.0 * imagined)), 0.0)
        homogeneous += np.where(of, of_one, 0.0)
        lost += np.where(of, of_one / n, 0.0)
    inflated = variance * homogeneous / (homogeneous - lost + homogeneous / total)
    return weight * hits / below, inflated / (below * more_below), np.zeros_like(below)


def _measured(
    phases: list[Arm], units: list[Floats], shares: list[Floats], pooled: list[Floats], metric: str
) -> tuple[Floats, ...]:
    name = "latency" if metric == "avg_latency_ms" else "confidence"
    value, variance, floor, homogeneous, lost = (np.zeros_like(units[0]) for _ in range(5))
    for arm, n, share, together in zip(phases, units, shares, pooled, strict=True):
        of, of_one, mean = share > 0.0, share * share / n, arm[name] / n
        value += np.where(of, share * mean, 0.0)
        variance += np.where(of, of_one * (arm[f"{name}_sq"] / n - mean**2), 0.0)
        floor += np.where(of, of_one * together, 0.0)
        homogeneous += np.where(of, of_one, 0.0)
        lost += np.where(of, of_one / n, 0.0)
    return value, variance * homogeneous / (homogeneous - lost), floor


def _pooled_variance(a: Arm, b: Arm, metric: str) -> Floats:
    name = "latency" if metric == "avg_latency_ms" else "confidence"
    n, total = a["requests"] + b["requests"], a[name] + b[name]
    return (a[f"{name}_sq"] + b[f"{name}_sq"] - total**2 / n) / (n - 1)


def _true_difference(streams: Streams, shares: list[Floats], metric: str) -> Floats:
    values = []
    expected = expected_sums(streams.design)
    for arm in (0, 1):
        sums = [phase[arm] for phase in expected]
        if Metric(metric).is_measured:
            name = "latency" if metric == "avg_latency_ms" else "confidence"
            means = [share * of[name] for share, of in zip(shares, sums, strict=True)]
            values.append(sum(np.where(share > 0.0, mean, 0.0) for share, mean in zip(shares, means, strict=True)))
            continue
        hits, misses = np.zeros_like(shares[0]), np.zeros_like(shares[0])
        for share, of in zip(shares, sums, strict=True):
            hit, miss, weight = _parts(of, metric)
            hits += np.where(share > 0.0, share * hit / UNITS[metric](of), 0.0)
            misses += np.where(share > 0.0, share * miss / UNITS[metric](of), 0.0)
        values.append(weight * hits / (weight * hits + misses))
    return np.asarray(values[1] - values[0])
