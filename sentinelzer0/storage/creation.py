"""Bring a database to the schema of this release: create it whole, or migrate it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sqlalchemy import inspect, select, text
from sqlalchemy.schema import CreateIndex, CreateTable

from sentinelzer0.errors import SchemaVersionError
from sentinelzer0.storage.database import Connection, Database, Statement
from sentinelzer0.storage.schema import SCHEMA_VERSION, alembic_version, metadata, settings

_CREATION_LOCK = 7_301_144_001  # any constant: PostgreSQL's advisory lock for creating this schema

_stamp = Statement(alembic_version.insert())
_version = Statement(select(alembic_version.c.version_num))
_settings = Statement(select(settings.c.key, settings.c.value))
_add_setting = Statement(settings.insert())


def ensure_schema(database: Database, *, may_migrate: bool) -> bool:
    """Create the schema when the database is empty; check its version otherwise.

    Args:
        database: The database.
        may_migrate: Whether an older schema is migrated now (local SQLite) or refused (a shared server).

    Returns:
        Whether the schema was created by this call.

    Raises:
        SchemaVersionError: The schema is newer than this release, or older and may not be migrated here.
    """
    with database.translated_errors():
        found = _found_version(database)
    if found is None:
        return _create(database)
    if found == SCHEMA_VERSION:
        return False
    if found > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"The workspace has schema {found}; this release knows {SCHEMA_VERSION}.",
            hint="Install a newer release: pip install -U sentinelzer0",
        )
    if not may_migrate:
        raise SchemaVersionError(
            f"The workspace has schema {found}; this release needs {SCHEMA_VERSION}.",
            hint="Take a backup, then run: sentinelzer0 db upgrade",
        )
    migrate(database)
    return False


def migrate(database: Database) -> None:
    """Run the migrations up to this release's schema."""
    runner: Any = import_module("sentinelzer0.storage.migrations")
    with database.translated_errors():
        runner.upgrade(database.engine)


def lock(connection: Connection) -> None:
    """Let one process at a time make a workspace, until its transaction ends (SQLite does so anyway)."""
    if connection.backend != "sqlite":
        connection.script(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")


def read_settings(connection: Connection) -> dict[str, str]:
    """Return the facts fixed when the workspace was made: its id and the time."""
    return {row[0]: row[1] for row in connection.rows(_settings)}


def add_settings(connection: Connection, values: dict[str, str]) -> None:
    """Store facts of a new workspace."""
    connection.run_many(_add_setting, [{"key": key, "value": value} for key, value in values.items()])


def _found_version(database: Database) -> str | None:
    if database.is_sqlite:
        with database.reading() as connection:
            table = connection.first(Statement(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")))
            row = None if table is None else connection.first(_version)
    else:
        if not inspect(database.engine).has_table(alembic_version.name):
            return None
        with database.reading() as connection:
            row = connection.first(_version)
    return None if row is None else str(row[0])


def _create(database: Database) -> bool:
    """Create everything in one transaction; of several processes one does, the others find it done."""
    with database.writing() as connection:
        lock(connection)
        for table in metadata.sorted_tables:
            connection.run(Statement(CreateTable(table, if_not_exists=True)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.run(Statement(CreateIndex(index, if_not_exists=True)))
        if connection.first(_version) is not None:
            return False
        connection.run(_stamp, {"version_num": SCHEMA_VERSION})
        return True
