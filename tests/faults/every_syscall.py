"""``kill -9`` at every system call that changes something, in a fresh process each: ``make faults``. Takes minutes.

strace counts the calls of each name separately and kills the process at the N-th, for N = 1, 2, … until the use case
comes to its end. Afterwards the workspace must open, verify, and show the state before or after.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from sentinelzer0.workspace import Workspace
from tests.faults.crash import CASES
from tests.workspace_state import require_sound

CALLS = [
    "write",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "copy_file_range",
    "sendfile",
    "openat",
    "utimensat",
    "fchmodat",
    "fchmod",
]
ROOT = Path(__file__).resolve().parents[2]


def killed(call: str, number: int, arguments: list[str]) -> bool:
    """Run a use case that dies at a system call; returns whether it did."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"]
    program = [sys.executable, "-B", "-m", "tests.faults.crash", *arguments]
    done = subprocess.run([*command, *program], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return True
    if done.returncode:
        raise SystemExit(f"{call} {number}: {done.stderr}")
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=["create", "approve", "rollback", "record"], choices=list(CASES))
    parser.add_argument("--step", type=int, default=1, help="kill at every STEP-th call of a name only")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for case in options.cases:
        with tempfile.TemporaryDirectory() as name:
            place, top = str(Path(name) / "workspace"), Path(name)
            deaths, subjects = 0, count(1)
            for call in CALLS:
                for number in count(1, options.step):
                    with Workspace.open(place) as workspace:
                        subject = CASES[case].prepare(workspace, top, next(subjects))
                    died = killed(call, number, [place, name, case, subject])
                    with Workspace.open(place) as workspace:
                        happened = CASES[case].happened(workspace, subject)
                        require_sound(workspace.kernel)
                    if not died:
                        if not happened:
                            raise SystemExit(f"{case}: acknowledged, but lost")
                        break
                    deaths += 1
            print(f"{case}: died {deaths} times at a system call; before or after each time, never between", flush=True)


if __name__ == "__main__":
    main()
