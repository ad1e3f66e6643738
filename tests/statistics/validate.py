"""The figures of the statistics, measured: ``python -m tests.statistics.validate [--tests N] [--json FILE]``.

Every figure has a measured value, an upper bound of what was measured where it is an error rate (Clopper and Pearson,
one-sided, 95 %), and a limit. Seeds are fixed, so that the same numbers come out on every machine. Exit status 1 when a
figure misses its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy import stats

from sentinelzer0.stats import regression, sample_ratio
from tests.statistics import error_rates, on_nsl_kdd
from tests.statistics import test_detection_delay as detection
from tests.statistics.streams import METRICS

_CHUNK = 250
"""Tests judged by one process at a time; a seed belongs to a chunk, so the result does not depend on the processes."""

SLACK = 1.2
"""The upper bound of a simulated error rate may be this much above alpha: 10,000 tests cannot bound 1 % by 1 %."""

_SEEDS = {"equal": 10_000, "few": 20_000, "worse": 30_000, "better": 40_000, "verdicts": 50_000, "splits": 70_000}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: What came out.
        limit: What the value may be at most; None for what is only shown.
        bound: Upper 95 % bound of an error rate, which may be at most ``SLACK`` times the limit; None for other figures.
        note: How to read it.
    """

    what: str
    value: float
    limit: float | None = None
    bound: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its limit."""
        if self.limit is None:
            return True
        return self.value <= self.limit and (self.bound is None or self.bound <= SLACK * self.limit)


@dataclass(frozen=True)
class Section:
    """Figures that belong together."""

    title: str
    figures: list[Figure]


T = TypeVar("T")


def upper_bound(hits: int, tests: int) -> float:
    """The one-sided 95 % upper bound of Clopper and Pearson for a share."""
    return 1.0 if hits >= tests else float(stats.beta.ppf(0.95, hits + 1, tests - hits))


def rate(what: str, hits: int, tests: int, alpha: float, note: str = "") -> Figure:
    """A simulated error rate that may be at most alpha."""
    return Figure(what, hits / tests, alpha, upper_bound(hits, tests), note)


class Simulations:
    """Spreads simulated tests over processes.

    Args:
        pool: Of processes.
        tests: How many tests a figure rests on.
    """

    def __init__(self, pool: ProcessPoolExecutor, tests: int) -> None:
        self._pool = pool
        self.tests = tests

    def with_tests(self, tests: int) -> Simulations:
        """The same processes, another number of tests."""
        return Simulations(self._pool, tests)

    def counted(self, job: Callable[..., error_rates.Counts], *arguments: object, seed: int) -> error_rates.Counts:
        """Add up the counts of a job called with its arguments, a number of tests and a seed."""
        sizes = [min(_CHUNK, self.tests - start) for start in range(0, self.tests, _CHUNK)]
        waiting = [self._pool.submit(job, *arguments, size, seed + number) for number, size in enumerate(sizes)]
        total: error_rates.Counts = error_rates.Counter()
        for part in waiting:
            total.update(part.result())
        return total

    def mapped(self, function: Callable[..., float], cases: Sequence[tuple[float, ...]], *last: float) -> list[float]:
        """Call a function for each case, the last arguments being the same for all."""
        waiting = [self._pool.submit(function, *case, *last) for case in cases]
        return [part.result() for part in waiting]

    def apart(self, function: Callable[[int], T], argument: int) -> T:
        """Call a function in another process."""
        return self._pool.submit(function, argument).result()


def false_verdicts(run: Simulations) -> Iterator[Section]:
    """Two equal arms, looked at after every 20 events."""
    counts = run.counted(error_rates.of_equal_arms, seed=_SEEDS["equal"])
    for alpha in error_rates.ALPHAS:
        verdicts = [
            rate(
                metric,
                counts["verdict", metric, str(alpha)],
                run.tests,
                alpha,
                _peeked(counts, metric, alpha, run.tests),
            )
            for metric in METRICS
        ]
        yield Section(f"Equal arms: verdicts at any look, alpha {alpha:g}", verdicts)
    many = run.with_tests(10 * run.tests)
    splits, note = many.counted(error_rates.of_splits, seed=_SEEDS["splits"]), f"{many.tests:,} tests"
    yield Section(
        "Equal arms: alarms at any look",
        [
            *(
                rate(f"regression of failures, alpha {alpha:g}", counts["regression", str(alpha)], run.tests, alpha)
                for alpha in error_rates.ALPHAS
            ),
            rate("sample-ratio mismatch, alpha 0.001", splits["mismatch",], many.tests, sample_ratio.ALPHA, note),
        ],
    )


def _peeked(counts: error_rates.Counts, metric: str, alpha: float, tests: int) -> str:
    return f"peeking at p < {alpha:g}: {counts['peek', metric, str(alpha)] / tests:.1%}"


def whole_verdicts(run: Simulations) -> Iterator[Section]:
    """Two equal arms: any final decision at any look, whatever it says."""
    from tests.statistics import verdicts

    for index, question in enumerate(verdicts.QUESTIONS):
        counts = run.counted(verdicts.of_equal_arms, index, seed=_SEEDS["verdicts"] + 1000 * index)
        figures = []
        for alpha in error_rates.ALPHAS:
            said = {action: hits for (_, action, level), hits in sorted(counts.items()) if level == str(alpha)}
            note = ", ".join(f"{action} {hits}" for action, hits in said.items())
            figures.append(rate(f"any final decision, alpha {alpha:g}", sum(said.values()), run.tests, alpha, note))
        yield Section(f"Equal arms: whole verdicts; {question.name}", figures)


def coverage(run: Simulations) -> Iterator[Section]:
    """Challengers that do differ: intervals that miss the true difference at any look."""
    for difference in error_rates.DIFFERENCES:
        counts = run.counted(error_rates.of_intervals, difference, seed=_SEEDS[difference])
        figures = [
            rate(f"{metric}, {100 * (1 - alpha):g} % intervals", counts["miss", metric, str(alpha)], run.tests, alpha)
            for alpha in error_rates.ALPHAS
            for metric in METRICS
        ]
        yield Section(f"Challenger {difference} in everything: true difference missed at any look", figures)


def simpson(_: Simulations) -> Iterator[Section]:
    """A ramp while the base rate falls; the challenger is worse all the time."""
    found = error_rates.simpson()
    says = f"by phase: {found.stratified} is better; thrown together: {found.pooled} is better"
    yield Section(
        "Ramp 1 % to 50 % while failures fall from 10 % to 2 %; B is worse in both phases",
        [Figure("wrong verdict of the stratified comparison", float(found.stratified != "A"), limit=0.0, note=says)],
    )


def delays(run: Simulations) -> Iterator[Section]:
    """How long the regression evidence takes, as a multiple of what no test can beat; computed, not simulated."""
    for alpha in detection.ALPHAS:
        cases = [(p0, p1, share) for share in (0.5, 0.1) for p0, p1 in detection.STATED]
        figures = []
        for (p0, p1, share), found in zip(
            cases, run.mapped(detection.multiple_of_the_bound, cases, alpha), strict=True
        ):
            least = regression.lower_bound_requests(p0, p1, share, alpha)
            note = f"{found * least:,.0f} requests on average, lower bound {least:,.0f}"
            figures.append(Figure(f"{p0:.0%} -> {p1:.0%}, share {share:.0%}", found, 1.5, note=note))
        worst, case = max(
            zip(run.mapped(detection.multiple_of_the_bound, detection.GRID, alpha), detection.GRID, strict=True)
        )
        note = f"at {case[0]:.1%} -> {case[1]:.1%}, share {case[2]:.0%}"
        figures.append(Figure(f"worst of the whole grid, {len(detection.GRID)} cases", worst, 2.0, note=note))
        yield Section(f"Regression: mean delay as a multiple of log(1/alpha)/I, alpha {alpha:g}", figures)


def nsl_kdd(run: Simulations) -> Iterator[Section]:
    """The demo's test with many salts, beside the fixed plan for the effect that it turned out to have."""
    found = run.apart(on_nsl_kdd.replays, 100)
    figures = []
    for minimum, replays in found.replays.items():
        low, middle, high = np.quantile([one.labelled for one in replays], [0.1, 0.5, 0.9], method="nearest").tolist()
        won = sum(one.winner == "B" for one in replays)
        note = f"80 % of the replays between {low:,} and {high:,}; v2 won {won} of {len(replays)}"
        figures.append(Figure(f"labelled requests to the verdict, at least {minimum} per arm", middle, note=note))
        expected, most = found.plans[minimum].sequential_expected, found.plans[minimum].sequential_max
        note = f"nine of ten tests by {most:,}"
        figures.append(Figure("  the same as the planner expects it", expected, note=note))
    note = (
        f"if F1 {found.f1_a:.3f} -> {found.f1_b:.3f} is known before; one look, power 80 %, alpha {on_nsl_kdd.ALPHA:g}"
    )
    figures.append(Figure("labelled requests of a fixed-horizon plan", found.plans[minimum].fixed_total, note=note))
    lost = sum(one.winner == "A" for replays in found.replays.values() for one in replays)
    figures.append(Figure("replays that the worse detector won", lost, 0.0))
    yield Section(f"NSL-KDD: the demo's test, {len(replays)} salts, v2 at {on_nsl_kdd.SHARE:.0%} of the hosts", figures)


PARTS: dict[str, Callable[[Simulations], Iterable[Section]]] = {
    "equal": false_verdicts,
    "verdicts": whole_verdicts,
    "coverage": coverage,
    "simpson": simpson,
    "delay": delays,
    "nsl-kdd": nsl_kdd,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say by the exit status whether every figure holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.validate", description=__doc__)
    parser.add_argument("--tests", type=int, default=10_000, help="simulated tests per figure (default: 10000)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="this part alone; may be repeated")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    sections: list[Section] = []
    with ProcessPoolExecutor(chosen.processes) as pool:
        for name in chosen.only or PARTS:
            for section in PARTS[name](Simulations(pool, chosen.tests)):
                sections.append(section)
                print(written(section), flush=True)
    missed = [figure for section in sections for figure in section.figures if not figure.holds]
    print(f"{len(missed)} figures missed; {chosen.tests:,} tests each, {time.monotonic() - started:.0f} s.")
    if chosen.json:
        of_sections = [
            {
                "title": section.title,
                "figures": [asdict(figure) | {"holds": figure.holds} for figure in section.figures],
            }
            for section in sections
        ]
        chosen.json.write_text(json.dumps({"tests": chosen.tests, "sections": of_sections}, indent=1) + "\n")
    return 1 if missed else 0


def written(section: Section) -> str:
    """The section as lines for a terminal."""
    lines = [section.title, f"  {'':<52}{'measured':>10}{'limit':>10}{'bound':>10}"]
    for figure in section.figures:
        numbers = "".join(f"{_shown(number):>10}" for number in (figure.value, figure.limit, figure.bound))
        mark = "" if figure.limit is None else "ok" if figure.holds else "MISSED"
        lines.append(f"  {figure.what:<52}{numbers}  {mark:<7}{figure.note}".rstrip())
    return "\n".join(lines) + "\n"


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.5f}" if number < 1.0 else f"{number:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
