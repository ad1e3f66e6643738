"""Every contract test runs on every real backend: SQLite in a directory, PostgreSQL on a server of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinelzer0.kernel import Kernel
from sentinelzer0.testing import FakeClock
from tests.postgres import PostgresServer

BACKENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only moves when told to."""
    return FakeClock()


@pytest.fixture(params=BACKENDS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return where to open an empty workspace, on each backend in turn."""
    directory = tmp_path / "workspace"
    if request.param == "sqlite":
        yield str(directory)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield f"{url}&blobs={directory}"


@pytest.fixture
def kernel(location: str, clock: FakeClock) -> Iterator[Kernel]:
    """Return an open, empty workspace with a clock of its own."""
    opened = Kernel(location, clock=clock)
    yield opened
    assert opened.database.engine.pool.checkedout() == 0, "a transaction kept its connection"
    opened.close()


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """Return a small model file."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights " * 100)
    return path
