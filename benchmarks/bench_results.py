"""Results of a test with a hundred million outcomes: what asking for them costs, and a look while recording."""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from pathlib import Path
from statistics import median

from benchmarks.measuring import Row, seconds, spread
from sentinelzer0.domain.outcomes import CellKey
from sentinelzer0.domain.tallies import Increment
from sentinelzer0.mlops.ab_judging import look
from sentinelzer0.stats.confidence_sequences import critical_z, critical_z_one_sided
from sentinelzer0.workspace import Workspace

OUTCOMES = 100_000_000
WARM = 5
LATENCY = (2.0, 0.9)
"""Mean and standard deviation of the logarithm of the milliseconds."""

_PER_BUCKET = log(1.02)


@dataclass(frozen=True, slots=True)
class Design:
    """A test: its arms, the share of each challenger in the phases of its ramp, its segments."""

    arms: int
    ramp: tuple[float, ...]
    segments: int

    def __str__(self) -> str:
        return f"{self.arms} arms, {len(self.ramp)} phases, {self.segments} segments"


USUAL = Design(2, (0.1, 0.25, 0.5), 2)
LARGE = Design(3, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3), 4)


def rows(directory: Path, rounds: int) -> list[Row]:
    """Ask ``rounds`` times for the results of two tests, and take as many looks at them."""
    return [
        *_measured(directory / "usual", USUAL, rounds, results_ms=5.0, look_ms=2.0),
        *_measured(directory / "large", LARGE, rounds, results_ms=15.0, look_ms=6.0),
    ]


def _measured(directory: Path, design: Design, rounds: int, *, results_ms: float, look_ms: float) -> list[Row]:
    with Workspace.open(directory) as workspace:
        tests = workspace.ab_tests
        test_id = _written(workspace, design)
        results = tests.get_test_results(test_id)
        counted = sum(metrics["total_requests"] for metrics in results["metrics"].values())
        assert counted == OUTCOMES, counted
        assert results["decision"]["action"] == "inconclusive", results["decision"]
        asked = _times(lambda: tests.get_test_results(test_id), rounds)
        with workspace.kernel.record_outcomes() as view:
            looked = _times(lambda: look(view, test_id, OUTCOMES), rounds)
    against = (
        f"{len(results['comparison'])} metrics, {len(results['guardrails'])} guardrails, latencies of "
        f"{len(_latencies(OUTCOMES))} buckets an arm; {len(json.dumps(results)) / 1024:.0f} KiB of JSON"
    )
    return [
        _row(f"get_test_results on 100 million outcomes ({design}), p50", results_ms, asked, against),
        _row(f"a look while recording ({design}), p50", look_ms, looked, "judging, and keeping what it says"),
    ]


def _row(what: str, most_ms: float, times: Sequence[tuple[float, float]], against: str) -> Row:
    wall, busy = ([time[i] for time in times] for i in (0, 1))
    p50 = median(wall) * 1e3
    how = f"{against}; {len(wall)} times, {spread(wall, 1e3, 'ms')}; processor time {spread(busy, 1e3, 'ms')}"
    return Row(what, f"<= {most_ms:g} ms", f"{p50:.2f} ms", p50 <= most_ms, how)


def _times(work: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Return by the clock and by the processor how long each call took."""
    times = []
    gc.collect()
    for _ in range(rounds + WARM):
        critical_z.cache_clear()  # every real look meets another number of units
        critical_z_one_sided.cache_clear()
        busy = time.process_time()
        took = seconds(work)
        times.append((took, time.process_time() - busy))
    return times[WARM:]


def _written(workspace: Workspace, design: Design) -> str:
    """Begin a test, ramp it up, and write the statistics so many outcomes leave behind."""
    tests, names = workspace.ab_tests, [f"v{number + 1}" for number in range(design.arms)]
    segments = [f"segment-{number}" for number in range(design.segments)]
    first, *ramp = design.ramp
    shares = {names[0]: 1.0 - first * (design.arms - 1)} | dict.fromkeys(names[1:], first)
    test_id = tests.create_test("results", arms=shares, segments=segments, latency_slo_ms=50.0).test_id
    started = tests.start_test(test_id)
    phases = {len(started.phases): first}
    for share in ramp:
        for name in names[1:]:
            started = tests.set_share(test_id, share, version=name)
        phases[len(started.phases)] = share
    with workspace.kernel.record_outcomes() as view:
        view.cells.add(test_id, _cells(phases, design, segments))
        view.streams.advance(test_id, OUTCOMES)
    return test_id


def _cells(phases: dict[int, float], design: Design, segments: Sequence[str]) -> dict[CellKey, Increment]:
    """Return the outcomes by phase, segment and arm, as the shares say, give or take chance."""
    chance = random.Random(20260101)
    letters = "ABCDEFG"[: design.arms]
    places = [(phase, share, segment) for phase, share in phases.items() for segment in segments]
    found: dict[CellKey, Increment] = {}
    left = OUTCOMES
    for number, (phase, share, segment) in enumerate(places):
        here = left // (len(places) - number)
        left -= here
        counts = {letter: _part(chance, here, share) for letter in letters[1:]}
        for letter, count in {letters[0]: here - sum(counts.values()), **counts}.items():
            found[CellKey(phase, 1, 0, segment, letter)] = _increment(chance, count)
    return found


def _part(chance: random.Random, count: int, share: float) -> int:
    """Return how many of ``count`` with a share of ``share`` chance may give."""
    return round(chance.gauss(count * share, sqrt(count * share * (1.0 - share))))


def _increment(chance: random.Random, count: int) -> Increment:
    labelled = _part(chance, count, 0.3)
    attacks = _part(chance, labelled, 0.3)
    tp, fp = _part(chance, attacks, 0.9), _part(chance, labelled - attacks, 0.05)
    mean, deviation = LATENCY
    powers = [exp(k * mean + 0.5 * k * k * deviation * deviation) for k in (1, 2, 3)]
    return Increment(
        requests=count,
        failures=_part(chance, count, 0.01),
        slow=_part(chance, count, 0.02),
        units=count,
        latency_sum=count * powers[0],
        latency_sq=count * powers[1],
        latency_cu=count * powers[2],
        confidences=count,
        confidence_sum=count * 0.8,
        confidence_sq=count * 0.65,
        confidence_cu=count * 0.536,
        tp=tp,
        fp=fp,
        tn=labelled - attacks - fp,
        fn=attacks - tp,
        buckets=_latencies(count),
    )


def _latencies(count: int) -> dict[int, int]:
    """Return how many of ``count`` log-normal latencies fall into each bucket of two percent."""
    mean, deviation = LATENCY

    def below(bucket: int) -> float:
        return 0.5 * (1.0 + erf((bucket * _PER_BUCKET - mean) / (deviation * sqrt(2.0))))

    found = {bucket: round(count * (below(bucket) - below(bucket - 1))) for bucket in range(-400, 800)}
    return {bucket: requests for bucket, requests in found.items() if requests}
