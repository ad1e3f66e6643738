"""The story of ``sentinelzer0 demo``: real detectors on real traffic, from training to rollback, with proof.

Five acts on one embedded workspace, which stays: train and approve, A/B test, a poisoned version caught by late
labels, a flipped bit, the audit. Nothing is staged beyond what `nsl_kdd` and `training` say they make up; every
number that is printed was measured in this run.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from sentinelzer0.demo import act_ab_test, act_poisoned, act_proof, act_tamper, act_train, report
from sentinelzer0.demo.live import Service
from sentinelzer0.demo.nsl_kdd import find_data, load, replay, split
from sentinelzer0.demo.replay_clock import ReplayClock
from sentinelzer0.demo.screen import Screen
from sentinelzer0.demo.stage import Stage
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel, SystemClock
from sentinelzer0.workspace import Workspace

DIRECTORY = Path("demo-workspace")
MARKER = "demo.json"
MAX_NUMBER = 1000
PROGRAMS = ("sz0", "sentinelzer0")


def run(
    directory: Path = DIRECTORY, *, data: Path | None = None, force: bool = False, console: Console | None = None
) -> Path:
    """Live through the story and return the path of its HTML report.

    Args:
        directory: The workspace to make. If an earlier demo lies there, the next free number is appended.
        data: Directory of the NSL-KDD files; left out, ``examples/nsl_kdd`` of the checkout.
        force: Replace an earlier demo in ``directory``; never anything else.
        console: Where the story is told; left out, standard output.

    Raises:
        InvalidInputError: The directory holds something that is not a demo, or the data are missing.
        MissingExtraError: The extra ``demo`` is not installed.
    """
    find_data(data)
    root = choose(directory, force=force)
    progress = Console(stderr=True)
    screen = Screen(console or Console(highlight=False), progress)
    with _quiet_log(), tempfile.TemporaryDirectory() as scratch:
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).write_text(json.dumps({"made_by": "sentinelzer0 demo"}) + "\n", encoding="utf-8")
        clock = ReplayClock(SystemClock())
        with Workspace(Kernel(root, clock=clock)) as workspace:
            started = clock.monotonic()
            stage = _set(workspace, clock, root, Path(scratch), screen, data)
            path = _play(stage)
            seconds = clock.monotonic() - started
    _end(screen, root, path, seconds)
    return path


def choose(directory: Path, *, force: bool) -> Path:
    """Return the directory to use: the one named, emptied if ``force``, or the next free number after it.

    Raises:
        InvalidInputError: It holds something that is not a demo.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return directory
    if not (directory / MARKER).is_file():
        raise InvalidInputError(
            f"{str(directory)!r} is not empty and not an earlier demo, so it is left alone.",
            hint="Name a new directory: sentinelzer0 demo --directory NAME",
        )
    if force:
        shutil.rmtree(directory)
        return directory
    numbered = (directory.with_name(f"{directory.name}-{number}") for number in range(2, MAX_NUMBER))
    return next(path for path in numbered if not path.exists())


def _set(
    workspace: Workspace, clock: ReplayClock, root: Path, scratch: Path, screen: Screen, data: Path | None
) -> Stage:
    with screen.working("Reading NSL-KDD"):
        world = load(data)
        stage = Stage(
            workspace=workspace,
            clock=clock,
            root=root,
            scratch=scratch,
            screen=screen,
            data=world,
            history=split(world),
            stream=replay(world.test),
            service=Service(workspace, world.test),
        )
    screen.line(("SentinelZer0 demo", "bold"), (f"  workspace {root}", "dim"))
    return stage


def _play(stage: Stage) -> Path:
    act_train.play(stage)
    tested = act_ab_test.play(stage)
    lived = act_poisoned.play(stage)
    tampered = act_tamper.play(stage)
    proven = act_proof.play(stage)
    return report.write(stage, tested, lived, tampered, proven)


def _end(screen: Screen, root: Path, path: Path, seconds: float) -> None:
    screen.say(f"The whole story took {seconds:.0f} s. The report, with the charts:")
    screen.line((f"  {path}", "bold"))
    screen.say("The workspace stays. Try on it:")
    screen.gap()
    for command, what in COMMANDS:
        screen.line((f"  {_program()} -w {shlex.quote(str(root))} {command}", "cyan"))
        screen.line((f"      {what}", "dim"))
    screen.gap()


def _program() -> str:
    """Return how the person can start the command line, as it was started now."""
    started = Path(sys.argv[0])
    if started.name not in PROGRAMS:
        return "python -m sentinelzer0"
    return started.name if shutil.which(started.name) else shlex.quote(str(started))


COMMANDS = (
    ("history", "what served when, who put it there, and why"),
    ("diff v2 v3", "two versions side by side"),
    ("ab watch 'v2 against v1'", "the verdict, a bar for each metric, the guardrails"),
    ("ab plan 'v2 against v1'", "what a test takes, looked at once or at any time"),
    ("registry trail v3", "everything on record about one version"),
    ("rollback history", "every rollback, with its reason"),
    ("verify v1", "hash every byte of a version"),
    ("audit verify", "recompute the whole log"),
    ("doctor", "examine the workspace"),
)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep log lines off the terminal while the story runs: it tells of each of them itself."""
    log, silent = logging.getLogger("sentinelzer0"), logging.NullHandler()
    propagate, log.propagate = log.propagate, False
    log.addHandler(silent)
    try:
        yield
    finally:
        log.removeHandler(silent)
        log.propagate = propagate
