"""What a fresh interpreter pays: processor time of whole programs, so that a busy machine does not count."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.measuring import Row, percentile

ROOT = Path(__file__).parents[1]
PROGRAMS = (
    ("import sentinelzer0.mlops", ["-c", "import sentinelzer0.mlops"], 100, True),
    (
        "from sentinelzer0.mlops import ModelVersionManager",
        ["-c", "from sentinelzer0.mlops import ModelVersionManager"],
        250,
        True,
    ),
    ("sz0 --help", ["-m", "sentinelzer0", "--help"], 400, False),
)


def rows(directory: Path, rounds: int) -> list[Row]:
    """Measure every program ``rounds`` times, in turn with an interpreter that does nothing."""
    # As in any installation, the first import leaves byte code behind, whatever this process was told about that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory)
    bare: list[float] = []
    times: dict[str, list[float]] = {name: [] for name, *_ in PROGRAMS}
    for _ in range(rounds + 1):
        bare.append(_processor_ms(["-c", "pass"], environment))
        for name, arguments, _, _ in PROGRAMS:
            times[name].append(_processor_ms(arguments, environment))
    start = median(bare[1:])
    found = []
    for name, _, bound, is_import in PROGRAMS:
        spent = [took - start * is_import for took in times[name][1:]]  # the first round fills the caches
        whole = "beyond the start of Python" if is_import else "the whole program"
        measured = median(spent)
        against = f"{rounds} programs, p95 {percentile(spent, 95):.0f} ms; Python itself starts in {start:.0f} ms"
        found.append(Row(f"{name}, {whole}", f"< {bound} ms", f"{measured:.0f} ms", measured < bound, against))
    return found


def _processor_ms(arguments: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, cwd=ROOT, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3
