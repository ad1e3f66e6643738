"""``ab watch`` and ``ab report``: live on a terminal, plain elsewhere, ended by the verdict, the end or Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinelzer0.workspace import Workspace

COMMAND = [sys.executable, "-m", "sentinelzer0"]
PATIENCE_S = 60.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENTINELZER0_ACTOR", "ayse")
    return tmp_path


@pytest.fixture
def running(home: Path) -> Iterator[tuple[Workspace, str]]:
    """A workspace with a running test named f1, without outcomes."""
    with Workspace.open(home / "models") as workspace:
        for version in ("v1", "v2"):
            model = home / version
            model.write_bytes(version.encode())
            workspace.versions.create_version(model, version=version)
        test = workspace.ab_tests.create_test("f1", "v1", "v2", min_samples=50)
        workspace.ab_tests.start_test(test.test_id)
        yield workspace, test.test_id


def record(workspace: Workspace, test_id: str, count: int, *, start: int = 0) -> None:
    """Record outcomes that leave no doubt for long: v2 is right far more often."""
    rng = random.Random(5 + start)
    rows = []
    for index in range(start, start + count):
        version, attack = ("v1", "v2")[index % 2], rng.random() < 0.5
        right = rng.random() < (0.95 if version == "v2" else 0.6)
        rows.append(
            {
                "model_version": version,
                "success": True,
                "latency_ms": 5.0,
                "request_id": f"r{index}",
                "predicted_label": "attack" if attack is right else "benign",
                "true_label": "attack" if attack else "benign",
            }
        )
    for first in range(0, count, 500):
        workspace.ab_tests.record_results(test_id, rows[first : first + 500])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_once_prints_one_plain_page(running: tuple[Workspace, str]) -> None:
    workspace, test_id = running
    record(workspace, test_id, 60)
    done = run("ab", "watch", "f1", "--once")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    page = done.stdout.splitlines()
    assert page[0].startswith("f1  ● running")
    assert page[1].startswith("… ")
    bars = [line for line in page if "[" in line and "F1 score" in line]
    assert len(bars) <= 1
    assert sum(line.startswith(("v1 ", "v2 ")) for line in page) == 2


def test_a_decided_test_ends_the_watch_at_once_and_names_the_winner(running: tuple[Workspace, str]) -> None:
    workspace, test_id = running
    record(workspace, test_id, 2000)
    started = time.monotonic()
    done = run("ab", "watch", test_id, "--interval", "30", "-q")
    assert (done.returncode, done.stdout) == (0, "v2\n")
    assert time.monotonic() - started < 25
    as_json = run("ab", "watch", test_id, "-o", "json")
    assert json.loads(as_json.stdout)["data"]["test_name"] == "f1"
    assert len(as_json.stdout.splitlines()) == 1


def test_every_change_is_a_line_of_json_until_the_test_ends(running: tuple[Workspace, str]) -> None:
    workspace, test_id = running
    command = [*COMMAND, "ab", "watch", "f1", "-o", "jsonl", "--interval", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert first["metrics_a"]["total_requests"] == 0
        record(workspace, test_id, 20)
        second = json.loads(watching.stdout.readline())
        assert second["metrics_a"]["total_requests"] == 10
        workspace.ab_tests.cancel_test(test_id)
        last = json.loads(watching.stdout.readlines()[-1])
        assert last["status"] == "cancelled"
        assert watching.wait(PATIENCE_S) == 0


def test_ctrl_c_ends_it_with_130(running: tuple[Workspace, str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "ab", "watch", "f1", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("f1  ●")
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=PATIENCE_S)
        assert watching.returncode == 130
        assert "Traceback" not in said


def test_on_a_terminal_the_page_is_drawn_again_in_place(running: tuple[Workspace, str]) -> None:
    workspace, test_id = running
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50"}
    command = [*COMMAND, "ab", "watch", "f1", "--interval", "0.05"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as watching:
        os.close(slave)
        seen = _until(master, b"no labelled requests")
        assert seen.count(b"\x1b[2K") == 0, "drawn once so far"
        record(workspace, test_id, 2000)
        seen = _until(master, b"Promote v2")
        assert b"\x1b[2K" in seen, "lines are cleared and drawn again"
        assert watching.wait(PATIENCE_S) == 0
    os.close(master)


def _until(terminal: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + PATIENCE_S
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come: {seen[-2000:]!r}"
        seen += os.read(terminal, 65536)
    return seen


def test_an_interval_of_zero_is_a_usage_error(running: tuple[Workspace, str]) -> None:
    assert run("ab", "watch", "f1", "--interval", "0").returncode == 2


def test_a_report_goes_where_it_is_told_in_three_forms(running: tuple[Workspace, str], home: Path) -> None:
    workspace, test_id = running
    record(workspace, test_id, 2000)
    done = run("ab", "report", "f1", "page.html", "--md", "page.txt", "--json", "-")
    assert done.returncode == 0, done.stderr
    document, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert document["results"]["test_id"] == test_id
    assert len(document["looks"]) == 4, "one for each batch"
    assert (home / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (home / "page.txt").read_text(encoding="utf-8").startswith("## f1\n")
    assert run("ab", "report", "f1", "--md", "-", "--html", "-").returncode == 2
    assert run("ab", "report", "f1").returncode == 2
    text = run("ab", "report", "f1", "--md", "-").stdout
    assert "Promote v2" in text
    assert "report written" not in text
    assert "p-value, for one look only" not in text
    asked = run("ab", "report", "f1", "--md", "-", "--fixed-horizon").stdout
    assert "p-value, for one look only" in asked


def test_python_writes_the_form_the_name_asks_for(running: tuple[Workspace, str], home: Path) -> None:
    workspace, test_id = running
    assert workspace.ab_tests.report(test_id, home / "r.md").read_text(encoding="utf-8").startswith("## f1\n")
    assert json.loads(workspace.ab_tests.report(test_id, home / "r.json").read_text(encoding="utf-8"))["settings"]
    assert "<html" in workspace.ab_tests.report(test_id, home / "r.out", "html").read_text(encoding="utf-8")
