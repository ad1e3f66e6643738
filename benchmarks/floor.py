"""The floor under a use case: its own statements and fsyncs, through raw ``sqlite3`` on one held connection.

A use case is run once on a workspace whose connections write down every statement with its parameters, every commit
and every fsync. The floor is a copy of that workspace's database as it was before, on which exactly these calls are
made again by the shortest Python there is: a loop over a list. So nobody can forget a statement, and the floor
grows with the use case.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

EXECUTE, EXECUTE_MANY, COMMIT, ROLLBACK, SYNC_FILE, SYNC_DIRECTORY = range(6)
DURABLE, FAST = 0, 1
Call = tuple[int, int, str, Any]
"""Kind, which of the two databases (durable or fast commits), SQL, and the parameters or the number of bytes."""


@dataclass(slots=True)
class Recorder:
    """Writes down what a workspace asks of SQLite and of the disk.

    Attributes:
        calls: What was asked since the list was last taken.
        pragmas: How the connections of both databases were set up.
    """

    calls: list[Call] = field(default_factory=list)
    pragmas: list[str] = field(default_factory=list)

    def take(self) -> list[Call]:
        """Return the calls so far and start anew."""
        calls, self.calls = self.calls, []
        return calls


def _recording_factory(recorder: Recorder) -> type[sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # type: ignore[override]
            owner: Any = self.connection
            if sql.startswith("PRAGMA"):
                owner.set_up_by(sql)
            else:
                recorder.calls.append((EXECUTE, owner.database, sql, parameters))
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:  # type: ignore[override]
            owner: Any = self.connection
            recorder.calls.append((EXECUTE_MANY, owner.database, sql, parameters))
            return super().executemany(sql, parameters)

    class Connection(sqlite3.Connection):
        database = DURABLE

        def set_up_by(self, pragma: str) -> None:
            if pragma == "PRAGMA synchronous=NORMAL":
                self.database = FAST
            if pragma not in recorder.pragmas:
                recorder.pragmas.append(pragma)

        def cursor(self, factory: Any = Cursor) -> Any:  # type: ignore[override]
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # type: ignore[override]
            return self.cursor().execute(sql, parameters)

        def commit(self) -> None:
            if self.in_transaction:
                recorder.calls.append((COMMIT, self.database, "", None))
            super().commit()

        def rollback(self) -> None:
            if self.in_transaction:
                recorder.calls.append((ROLLBACK, self.database, "", None))
            super().rollback()

    return Connection


@contextmanager
def recording() -> Iterator[Recorder]:
    """Write down what a workspace that is opened inside the block does."""
    recorder = Recorder()
    real_connect, real_fsync = sqlite3.connect, os.fsync
    here = threading.get_ident()

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        kind = SYNC_DIRECTORY if stat.S_ISDIR(status.st_mode) else SYNC_FILE
        if threading.get_ident() == here:  # only what the caller waits for
            recorder.calls.append((kind, DURABLE, "", status.st_size))
        real_fsync(descriptor)

    sqlite3.connect = partial(real_connect, factory=_recording_factory(recorder))
    os.fsync = fsync
    try:
        yield recorder
    finally:
        sqlite3.connect, os.fsync = real_connect, real_fsync


class Replay:
    """Raw ``sqlite3`` on a copy of a workspace's database, and files in a directory beside it.

    Args:
        source: The database to copy, in the state before the recording.
        directory: Where the copy and the files go; exists.
    """

    def __init__(self, source: Path, directory: Path) -> None:
        self._directory = directory
        path = directory / "floor.db"
        with closing(sqlite3.connect(source)) as given, closing(sqlite3.connect(path)) as copy:
            given.backup(copy)
        self._connections = [sqlite3.connect(path, isolation_level=None) for _ in (DURABLE, FAST)]
        self._cursors = [connection.cursor() for connection in self._connections]
        self._payload = b""
        self._files = 0

    def set_up(self, recorder: Recorder) -> None:
        """Set the connections up as the workspace does."""
        for connection, synchronous in zip(self._connections, ("FULL", "NORMAL"), strict=True):
            for pragma in recorder.pragmas:
                connection.execute(pragma)
            connection.execute(f"PRAGMA synchronous={synchronous}")

    def prepare(self, calls: list[Call]) -> None:
        """Have the bytes ready that the calls write."""
        self._payload = bytes(max((call[3] for call in calls if call[0] == SYNC_FILE), default=0))

    def run(self, calls: list[Call]) -> None:
        """Make the calls: rows are fetched, a file is written, synced and renamed, a directory is synced."""
        cursors, connections = self._cursors, self._connections
        for kind, database, sql, given in calls:
            if kind == EXECUTE:
                cursors[database].execute(sql, given).fetchall()
            elif kind == EXECUTE_MANY:
                cursors[database].executemany(sql, given)
            elif kind == COMMIT:
                connections[database].commit()
            elif kind == ROLLBACK:
                connections[database].rollback()
            elif kind == SYNC_FILE:
                self._write_file(given)
            else:
                self._sync_directory()

    def close(self) -> None:
        """Close both connections."""
        for connection in self._connections:
            connection.close()

    def _write_file(self, size: int) -> None:
        self._files += 1
        temp = f"{self._directory}/temp"
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        os.write(descriptor, self._payload[:size])
        os.fsync(descriptor)
        os.close(descriptor)
        os.rename(temp, f"{self._directory}/{self._files}")  # noqa: PTH104 - the shortest way is the point

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def described(calls: list[Call]) -> str:
    """Say how much a use case asks for."""
    statements = sum(call[0] in {EXECUTE, EXECUTE_MANY} and not call[2].startswith("BEGIN") for call in calls)
    synced = sum(call[0] in {SYNC_FILE, SYNC_DIRECTORY} for call in calls)
    writing = sum(call[2] == "BEGIN IMMEDIATE" for call in calls)
    reading = sum(call[2] == "BEGIN" for call in calls)
    files = f", {synced} fsyncs of files and directories" if synced else ""
    return f"{statements} statements, {writing} write and {reading} read transactions{files}"
