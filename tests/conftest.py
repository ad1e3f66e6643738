"""What holds for the whole suite: no test sees the user's home or settings, and CI accepts no skipped test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.postgres import PostgresServer, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

UNDER_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# Deadlines would measure the machine. CI repeats the same examples, so that a red build can be reproduced.
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("ci" if UNDER_CI else "local")


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys and settings outside the workspace belong under the home directory: give the suite an empty one."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in os.environ:
            if name.startswith(("SENTINELZER0_", "MLFLOW_", "XDG_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return the suite's PostgreSQL server; every test makes databases of its own on it."""
    with running_server() as server:
        yield server


def _missing(reason: object) -> str:
    return f"skipped, and CI must be able to run everything: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn a skipped test into a failed one under CI: what cannot run there was not tested."""
    report = yield
    if UNDER_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", _missing(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """The same for a module that skips as a whole."""
    report = yield
    if UNDER_CI and report.skipped:
        report.outcome, report.longrepr = "failed", _missing(report.longrepr)
    return report
