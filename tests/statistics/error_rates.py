"""How often verdicts and intervals err in simulated tests; each function judges some tests and returns counts.

The verdicts are those of ``stats.comparison.compare``; the screens only spare it looks at which it could not declare
anything. What is counted is the number of tests in which something happens at any look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np

from sentinelzer0.stats import regression, sample_ratio
from sentinelzer0.stats.comparison import Stratum, compare
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.estimators import ArmStatistics
from tests.statistics import naive, screens
from tests.statistics.streams import METRICS, Behaviour, Design, Streams, simulate, simulate_splits

ALPHAS = (0.05, 0.01)
MIN_SAMPLES = 100

Counts = Counter[tuple[str, ...]]

EQUAL = Design()
DIFFERENCES = {
    "worse": Design(b=Behaviour(failures=0.08, recall=0.70, false_alarms=0.08, latency_ms=30.0, doubt=0.12)),
    "better": Design(b=Behaviour(failures=0.01, recall=0.95, false_alarms=0.02, latency_ms=12.0, doubt=0.05)),
}
"""Challengers that differ in every metric; the differences move with the time of day, as the base rates do."""


def first_where(flags: screens.Flags, holds: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """Yield for each test the first flagged look at which the exact rule holds, as (test, look)."""
    for test in np.flatnonzero(flags.any(axis=1)).tolist():
        for look in np.flatnonzero(flags[test]).tolist():
            if holds(test, look):
                yield test, look
                break


def of_equal_arms(tests: int, seed: int, min_samples: int = MIN_SAMPLES) -> Counts:
    """Count the tests of two equal arms in which something is wrongly said at any look.

    Returns:
        By ("verdict", metric, alpha), by ("peek", metric, alpha) and by ("regression", alpha).
    """
    counts: Counts = Counter()
    for streams in simulate(EQUAL, tests, seed):
        for metric in METRICS:
            found = screens.standardise(streams, metric)
            for alpha in ALPHAS:
                flags = screens.outside(found, metric, alpha, min_samples)
                declared = first_where(flags, _declares(streams, metric, alpha, min_samples))
                counts["verdict", metric, str(alpha)] += sum(1 for _ in declared)
                counts["peek", metric, str(alpha)] += naive.peeked(streams, metric, alpha, min_samples)
        for alpha in ALPHAS:
            alarms = first_where(screens.regressed(streams, alpha), _regressed(streams, alpha))
            counts["regression", str(alpha)] += sum(1 for _ in alarms)
    return counts


def of_splits(tests: int, seed: int) -> Counts:
    """Count the tests in which a sound split of the traffic is called a mismatch at any look, by ("mismatch",)."""
    counts: Counts = Counter()
    for streams in simulate_splits(EQUAL, tests, seed):
        suspects = screens.mismatched(streams) >= log(1.0 / sample_ratio.ALPHA) - 1e-6
        counts["mismatch",] += sum(1 for _ in first_where(suspects, _mismatched(streams)))
    return counts


def of_intervals(difference: str, tests: int, seed: int, min_samples: int = MIN_SAMPLES) -> Counts:
    """Count the tests in which an interval misses the true difference at any look, by ("miss", metric, alpha)."""
    counts: Counts = Counter()
    for streams in simulate(DIFFERENCES[difference], tests, seed):
        for metric in METRICS:
            found = screens.standardise(streams, metric)
            for alpha in ALPHAS:
                flags = screens.outside(found, metric, alpha, min_samples, of_truth=True)
                missed = first_where(flags, _misses(streams, found, metric, alpha, min_samples))
                counts["miss", metric, str(alpha)] += sum(1 for _ in missed)
    return counts


@dataclass(frozen=True)
class Simpson:
    """What two ways of comparing say about a challenger that is worse in every phase."""

    stratified: str | None
    pooled: str | None


def simpson() -> Simpson:
    """A ramp from 1 % to 50 % while failures fall from 10 % to 2 % for everybody, and B always fails a bit more."""
    start = Stratum(_failing(99_000, 9_900), _failing(1_000, 110))
    end = Stratum(_failing(50_000, 1_000), _failing(50_000, 1_200))
    together = Stratum(start.a + end.a, start.b + end.b)
    return Simpson(compare([start, end], "error_rate").winner, compare([together], "error_rate").winner)


def _declares(streams: Streams, metric: str, alpha: float, min_samples: int) -> Callable[[int, int], bool]:
    return lambda test, look: compare(streams.strata(test, look), metric, alpha, min_samples).is_significant


def _misses(
    streams: Streams, found: screens.Standardised, metric: str, alpha: float, min_samples: int
) -> Callable[[int, int], bool]:
    def holds(test: int, look: int) -> bool:
        interval = compare(streams.strata(test, look), metric, alpha, min_samples).interval
        return interval is not None and not interval[0] <= found.truth[test, look] <= interval[1]

    return holds


def _regressed(streams: Streams, alpha: float) -> Callable[[int, int], bool]:
    def holds(test: int, look: int) -> bool:
        phases = [
            regression.PhaseCounts(share, stratum.a.failures, stratum.b.failures)
            for (share, _), stratum in zip(streams.design.ramp, streams.strata(test, look), strict=False)
        ]
        return p_value(regression.log_e(phases)) <= alpha

    return holds


def _mismatched(streams: Streams) -> Callable[[int, int], bool]:
    def holds(test: int, look: int) -> bool:
        phases = []
        for (share, _), end in zip(streams.design.ramp, streams.closed_at(look), strict=False):
            counts = {letter: int(arm["requests"][test, end]) for letter, arm in (("A", streams.a), ("B", streams.b))}
            phases.append(sample_ratio.PhaseSplit({"A": 1.0 - share, "B": share}, counts))
        return not sample_ratio.check(phases).ok

    return holds


def _failing(requests: int, failures: int) -> ArmStatistics:
    return ArmStatistics(requests=requests, failures=failures)
