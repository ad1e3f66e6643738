"""Measure every figure and write them to ``benchmarks/RESULTS.md``.

python -m benchmarks                  all of them: about ten minutes, and 10 GiB on the disk for a while
python -m benchmarks --quick          the same rows with small sizes, to see that they work: seconds
python -m benchmarks --only imports   some of them (content, memory, rollback, use-cases, catalogue, traffic, recorder, results, imports)
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    bench_catalogue,
    bench_imports,
    bench_large,
    bench_recorder,
    bench_results,
    bench_traffic,
    bench_use_cases,
)
from benchmarks.measuring import Row, seconds

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    mib: int
    large_mib: int
    rounds: int
    rollbacks: int
    use_cases: int
    versions: int
    listings: int
    outcomes: int
    batches: int
    recorded: int
    results: int
    programs: int


FULL = Sizes(1024, 4096, 9, 100, 300, 100_000, 200, 4000, 60, 50_000, 300, 15)
QUICK = Sizes(16, 32, 2, 3, 8, 400, 10, 100, 3, 2000, 3, 2)


def groups(sizes: Sizes) -> dict[str, Callable[[Path], list[Row]]]:
    """Return what can be measured, by name; each gets an empty directory."""
    return {
        "content": lambda top: [
            bench_large.create_row(top, sizes.mib, sizes.rounds),
            *bench_large.verify_rows(top, sizes.mib, sizes.rounds),
        ],
        "memory": lambda top: [bench_large.memory_row(top, mib) for mib in (sizes.mib, sizes.large_mib)],
        "use-cases": lambda top: bench_use_cases.rows(top, sizes.use_cases),
        "rollback": lambda top: bench_large.rollback_rows(top, max(sizes.mib, 33), sizes.rollbacks),
        "catalogue": lambda top: bench_catalogue.rows(top, sizes.versions, sizes.listings),
        "traffic": lambda top: bench_traffic.rows(top, sizes.outcomes, sizes.batches),
        "recorder": lambda top: bench_recorder.rows(top, sizes.recorded, sizes.rounds),
        "results": lambda top: bench_results.rows(top, sizes.results),
        "imports": lambda top: bench_imports.rows(top, sizes.programs),
    }


def machine() -> str:
    """Describe the machine without naming it."""
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    loop = min(seconds(lambda: [None for _ in range(1_000_000)]) for _ in range(5))
    return (
        f"{len(os.sched_getaffinity(0))} cores ({processor}), {int(memory) / 2**20:.0f} GiB memory, "
        f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; a million turns of an empty Python loop take {loop * 1e3:.0f} ms; load {os.getloadavg()[0]:.1f} before the run"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    head = "| Figure | Target | Measured | Met | Against what, and how |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {row.figure} | {row.target} | {row.measured} | {'yes' if row.met else '**no**'} | {row.against} |\n"
        for row in rows
    )


HOW = """
What is compared runs in turn in the same program, on the same disk; ratios are ratios of medians. Peers and floors:

- **copy + fsync** is a loop of `copy_file_range` and one `fsync`; **file_digest** is `hashlib.file_digest`.
- **raw sqlite3** makes exactly the statements (with the same parameters), commits and fsyncs that the use case was
  seen to make on an identical workspace, on one held connection with the same settings, in a loop over a list
  (`benchmarks/floor.py`). Checks, hashing, canonical JSON, the Merkle tree and the readable files come on top of it.
- Import times are processor time of whole programs.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 1 when a figure misses its target, except with ``--quick``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure every figure of SentinelZer0.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that every figure can be measured")
    parser.add_argument("--only", action="append", choices=list(groups(QUICK)), help="measure these alone")
    parser.add_argument("--disk", type=Path, help="directory on the disk to measure")
    parser.add_argument("--output", type=Path, help=f"file to write (all figures in full: {RESULTS.name})")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    described, started, rows = machine(), time.perf_counter(), []
    for name, measure in groups(QUICK if chosen.quick else FULL).items():
        if chosen.only and name not in chosen.only:
            continue
        with tempfile.TemporaryDirectory(prefix="sz0-bench-", dir=chosen.disk) as top:
            for row in measure(Path(top)):
                print(f"{'met   ' if row.met else 'MISSED'} {row.figure}: {row.measured} ({row.target})", flush=True)
                rows.append(row)
    took = time.perf_counter() - started
    text = f"# Benchmark results\n\nWritten by `make bench`. {described}; {took:.0f} s.\n\n{table(rows)}{HOW}"
    output = chosen.output or (None if chosen.quick or chosen.only else RESULTS)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    return 0 if chosen.quick or all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
