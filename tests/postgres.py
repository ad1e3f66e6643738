"""A PostgreSQL server for the suite: started once per test process, on a free port, as a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


class PostgresServer:
    """A running server; each :meth:`database` is a fresh, empty one."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries = binaries
        self._data = directory / "data"
        self._sockets = directory
        self._log = directory / "log"
        self._user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            directory.chmod(0o711)
            owner = pwd.getpwnam(self._user)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "sentinel", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start it on a Unix socket only; durability of the test cluster itself is off, for speed."""
        settings = f"-k {self._sockets} -c listen_addresses='' -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), "-w", "-o", settings, "start")

    def stop(self) -> None:
        """Stop it at once."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a fresh database and drop it afterwards."""
        name = f"t{uuid.uuid4().hex}"
        admin = f"host={self._sockets} user=sentinel dbname=postgres"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql://sentinel@/{name}?host={self._sockets}"
        finally:
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self._user)
            command = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", *command]
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
            output.seek(0)
            if done.returncode != 0:
                raise RuntimeError(f"{program} failed: {output.read().decode(errors='replace')}")


def find_binaries() -> Path | None:
    """Return the directory with the newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    path = shutil.which("postgres")
    return Path(path).resolve().parent if path else None


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server for the duration of the block; skip, which CI counts as a failure, where there is none."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
    # The paths of sockets must be short.
    directory = Path(tempfile.mkdtemp(prefix="sz0-postgres-", dir="/tmp"))
    try:
        server = PostgresServer(binaries, directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
