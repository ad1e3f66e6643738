"""Every figure of the benchmarks can be measured; whether it is met is `make bench`'s business, not a timed test's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = (
    "create_version, one file",
    "verify_integrity, one file",
    "verify_integrity, directory of 8",
    "growth of peak memory",
    "create_version, small, against raw sqlite3",
    "create_version, small, p50",
    "promote_version, small, against raw sqlite3",
    "promote_version, small, p50",
    "approve_promotion, small, against raw sqlite3",
    "approve_promotion, small, p50",
    "execute_rollback, small, against raw sqlite3",
    "execute_rollback, small, p50",
    "execute_rollback, small, p99",
    "execute_rollback to a target of",
    "versions, newest first, by a tag",
    "opening a workspace with",
    "route_request with a key",
    "record_result against raw sqlite3",
    "record_result, p50",
    "record_results in batches",
    "import sentinelzer0.mlops",
    "from sentinelzer0.mlops import ModelVersionManager",
    "sz0 --help",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    top = tmp_path_factory.mktemp("bench")
    output = top / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--disk", str(top), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_text(encoding="utf-8")


@pytest.mark.parametrize("figure", FIGURES)
def test_a_quick_run_measures_every_figure(results: str, figure: str) -> None:
    rows = [line for line in results.splitlines() if line.startswith("| ") and figure in line]
    assert rows
    for row in rows:
        _, _, target, measured, met, how, _ = (cell.strip() for cell in row.split("|"))
        assert target
        assert any(character.isdigit() for character in measured)
        assert met in {"yes", "**no**"}
        assert how


def test_the_results_name_no_machine_and_no_path(results: str) -> None:
    assert "Written by `make bench`" in results
    assert "cores" in results
    assert str(ROOT) not in results
