"""One relational database: an engine, transactions on the driver's own connection, compiled statements.

Statements are SQLAlchemy Core, compiled once per dialect and then run on the DBAPI connection: measured, that is
several times cheaper per statement than a Core connection, and the columns need no converters.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from sqlalchemy import URL, ClauseElement, Engine, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sentinelzer0.errors import SentinelError, StorageUnavailableError, require_extra
from sentinelzer0.storage.driver_errors import BUSY_TIMEOUT_S, translated, unstorable

Row = Sequence[Any]
Compiled = tuple[str, tuple[str, ...] | None, dict[str, Any]]
"""SQL text, order of the parameters (None when they are named), constants among them."""
IDLE_CONNECTIONS = 8
_REPEATABLE_READ = 3
"""psycopg's number for it. PostgreSQL's default shows each statement another state; a reader needs one state."""

_parents: list[list[Any]] = []
"""Connections inherited through ``fork``: kept so that nothing ever closes them here."""

_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: set[str] = set()
"""Local files that this process must not touch: it was forked with a connection to them."""


class Statement:
    """A Core statement that is compiled once for each dialect it meets."""

    __slots__ = ("_clause", "forms")

    def __init__(self, clause: ClauseElement) -> None:
        self._clause = clause
        self.forms: dict[str, Compiled] = {}

    def compiled(self, dialect: Dialect) -> Compiled:
        """Return the SQL text, the order of the parameters for positional drivers, and the constants in it."""
        found = self.forms.get(dialect.name)
        if found is None:
            compiled: Any = self.clause_for(dialect).compile(dialect=dialect)
            order = getattr(compiled, "positiontup", None)
            constants = {name: value for name, value in (compiled.params or {}).items() if value is not None}
            found = self.forms[dialect.name] = str(compiled), None if order is None else tuple(order), constants
        return found

    def clause_for(self, dialect: Dialect) -> ClauseElement:  # noqa: ARG002 - for statements that differ by dialect
        """Return what is compiled for a dialect."""
        return self._clause


class Upsert(Statement):
    """Insert a full row, or replace all other columns of the row with the same key."""

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        super().__init__(table.insert())
        self._table = table

    def clause_for(self, dialect: Dialect) -> ClauseElement:
        """Return the dialect's ``INSERT … ON CONFLICT DO UPDATE``."""
        make: Any = sqlite_insert if dialect.name == "sqlite" else postgresql_insert
        insert = make(self._table)
        keys = [column.name for column in self._table.primary_key.columns]
        rest = {c.name: insert.excluded[c.name] for c in self._table.columns if c.name not in keys}
        clause: ClauseElement = (
            insert.on_conflict_do_update(index_elements=keys, set_=rest)
            if rest
            else insert.on_conflict_do_nothing(index_elements=keys)
        )
        return clause


class Connection:
    """A DBAPI connection inside a transaction."""

    __slots__ = ("_dialect", "_raw", "backend")

    def __init__(self, raw: Any, dialect: Dialect) -> None:
        self._raw = raw
        self._dialect = dialect
        self.backend = dialect.name

    def run(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Any:
        """Execute and return the cursor, whose ``rowcount`` and rows the caller may read."""
        sql, order, constants = statement.compiled(self._dialect)
        values = {**constants, **parameters} if constants and parameters else parameters or constants
        return _call(self._raw.execute, sql, values if order is None else [values[name] for name in order])

    def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute once for every row and return how many rows that changed."""
        if not rows:
            return 0
        sql, order, constants = statement.compiled(self._dialect)
        if constants:
            rows = [{**constants, **row} for row in rows]
        return self._execute_many(sql, rows if order is None else [[row[name] for name in order] for row in rows])

    def run_tuple(self, statement: Statement, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
        """Execute with values in the order of ``names``: the cheapest way where that is the order in the SQL text."""
        form = statement.forms.get(self.backend) or statement.compiled(self._dialect)
        if form[1] == names:
            return _call(self._raw.execute, form[0], values)
        return self.run(statement, dict(zip(names, values, strict=True)))

    def run_tuples(self, statement: Statement, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> int:
        """Execute once for every row of values in the order of ``names``; return how many rows that changed."""
        sql, order, _ = statement.compiled(self._dialect)
        if order == names:
            return self._execute_many(sql, rows)
        return self.run_many(statement, [dict(zip(names, row, strict=True)) for row in rows])

    def rows(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute and return every row."""
        return list(self.run(statement, parameters).fetchall())

    def first(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Execute and return the first row or None."""
        return self.run(statement, parameters).fetchone()  # type: ignore[no-any-return]

    def script(self, sql: str) -> None:
        """Execute literal SQL that has no parameters (transaction control only)."""
        self._raw.cursor().execute(sql)

    def _execute_many(self, sql: str, rows: Sequence[Any]) -> int:
        cursor = self._raw.cursor()
        _call(cursor.executemany, sql, rows)
        return int(cursor.rowcount)


class Database:
    """Opens transactions on SQLite or PostgreSQL.

    Safe for threads (each transaction has its own pooled connection) and for ``fork``: a child never uses its
    parent's connections, and inherits none to a local file, because SQLite in the child would believe to hold the
    parent's locks. A child forked while another thread was in a transaction is refused for that reason.

    Args:
        url: An SQLAlchemy URL.
        durable: Whether a commit survives a power loss. Every commit survives ``kill -9`` of this process.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.url = url
        self.engine = _create_engine(url, durable=durable)
        self.dialect = self.engine.dialect
        self.is_sqlite = self.dialect.name == "sqlite"
        self._durable = durable
        self._idle: list[Any] = []  # appending and popping are atomic
        self._leased: set[int] = set()
        _open_databases.add(self)

    def writing(self) -> AbstractContextManager[Connection]:
        """Run a read-write transaction: commit on a clean exit, roll back on any exception.

        Raises:
            StorageUnavailableError: The database does not answer or stays locked.
            StorageFullError: No space is left.
        """
        return _Transaction(self, "BEGIN IMMEDIATE")

    def reading(self) -> AbstractContextManager[Connection]:
        """Run a read-only transaction that sees one consistent state."""
        return _Transaction(self, "BEGIN")

    def lease(self) -> tuple[Any, Any]:
        """Return a connection nobody else uses, and the pool's handle of it (None for SQLite)."""
        if self.url in _inherited:
            raise StorageUnavailableError(
                "This process was forked while another thread used the workspace, so its locks are not real.",
                hint="Fork before the threads start, or start a fresh process instead.",
            )
        if self.is_sqlite:
            try:
                raw = self._idle.pop()
            except IndexError:
                raw = _connect_sqlite(self.engine.url.database or "", durable=self._durable)
            self._leased.add(id(raw))
            return raw, None
        handle = self.engine.raw_connection()
        return handle.driver_connection, handle

    def give_back(self, raw: Any, handle: Any, *, sound: bool) -> None:
        """Take a connection back; one that is not sound, or one too many, is closed."""
        self._leased.discard(id(raw))
        if handle is not None:
            if sound:
                handle.close()
            else:
                handle.invalidate()
        elif sound and len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(raw)
        else:
            raw.close()

    def translated(self, error: BaseException | None) -> SentinelError | None:
        """Return the driver's error as one of this package's, or None when it is not the driver's."""
        dbapi = self.dialect.loaded_dbapi
        if isinstance(error, PoolTimeoutError):
            return StorageUnavailableError("Every connection to the database is taken.", hint="Retry.")
        if isinstance(error, DBAPIError):
            error = error.orig
        return translated(error, dbapi) if isinstance(error, dbapi.Error) else None

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn the driver's errors into this package's, keeping the cause."""
        try:
            yield
        except Exception as error:
            if (ours := self.translated(error)) is not None:
                raise ours from error
            raise

    def close(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()
        idle, self._idle = self._idle, []
        for raw in idle:
            raw.close()

    def __del__(self) -> None:
        """Close what a workspace that nobody closed has left."""
        if hasattr(self, "_idle"):
            self.close()

    def before_fork(self) -> None:
        """Leave no connection to a local file to the child."""
        if self.is_sqlite:
            self.close()

    def after_fork(self) -> None:
        """Forget the parent's connections; called in the child."""
        if self._leased or self._idle:
            _parents.append(self._idle)  # never closed here: that could end a lock
            _inherited.add(self.url)
        self._idle, self._leased = [], set()
        self.engine.dispose(close=False)


class _Transaction(AbstractContextManager[Connection]):
    """One transaction on a connection of its own. A class, because nested generators cost thirty microseconds more."""

    __slots__ = ("_begin", "_database", "_handle", "_raw")

    def __init__(self, database: Database, begin: str) -> None:
        self._database = database
        self._begin = begin
        self._raw: Any = None
        self._handle: Any = None

    def __enter__(self) -> Connection:
        database = self._database
        try:
            self._raw, self._handle = database.lease()
            if database.is_sqlite:
                self._raw.execute(self._begin)
            else:
                self._raw.isolation_level = _REPEATABLE_READ if self._begin == "BEGIN" else None
        except BaseException as error:
            if self._raw is not None:
                database.give_back(self._raw, self._handle, sound=False)
            if (ours := database.translated(error)) is not None:
                raise ours from error
            raise
        return Connection(self._raw, database.dialect)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = self._commit() if error is None else error
        sound = failure is None or self._roll_back()
        self._database.give_back(self._raw, self._handle, sound=sound)
        if failure is not None:
            if (ours := self._database.translated(failure)) is not None:
                raise ours from failure
            if failure is not error:
                raise failure

    def _commit(self) -> BaseException | None:
        try:
            self._raw.commit()
        except BaseException as failure:  # noqa: BLE001 - raised by the caller, after the rollback
            return failure
        return None

    def _roll_back(self) -> bool:
        """Return whether the connection can be used again."""
        try:
            self._raw.rollback()
        except self._database.dialect.loaded_dbapi.Error:
            return False
        return True


def _call(method: Any, sql: str, values: Any) -> Any:
    try:
        return method(sql, values)
    except (OverflowError, UnicodeEncodeError) as error:
        raise unstorable(error) from error


def _create_engine(url: str, *, durable: bool) -> Engine:
    if not url.startswith("sqlite"):
        try:
            return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=24)
        except ModuleNotFoundError as error:
            raise require_extra("postgres", error.name or "psycopg") from error
    engine = create_engine(
        URL.create("sqlite", database=url.removeprefix("sqlite:///")),  # a path may contain any character
        pool_size=8,
        max_overflow=-1,
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        _prepare_sqlite(connection, durable=durable)

    return engine


def _connect_sqlite(path: str, *, durable: bool) -> sqlite3.Connection:
    """Open a connection that is held outside the engine's pool, whose checkout costs twenty microseconds."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    _prepare_sqlite(connection, durable=durable)
    return connection


def _prepare_sqlite(connection: sqlite3.Connection, *, durable: bool) -> None:
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'NORMAL'}",
        "foreign_keys=ON",
        "cache_size=-8192",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _before_fork() -> None:
    for database in list(_open_databases):
        database.before_fork()


def _after_fork() -> None:
    for database in list(_open_databases):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
