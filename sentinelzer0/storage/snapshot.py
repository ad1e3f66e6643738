"""The whole database in one portable SQLite file, taken while others write, and put back into either backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Table, select

from sentinelzer0.errors import AlreadyExistsError
from sentinelzer0.storage import creation
from sentinelzer0.storage.copying import disk_errors
from sentinelzer0.storage.database import Connection, Database, Statement
from sentinelzer0.storage.schema import alembic_version, metadata

PAGE = 2000


def save(database: Database, path: Path) -> None:
    """Write one consistent state of the database into a new SQLite file; writers go on meanwhile.

    Args:
        database: SQLite or PostgreSQL.
        path: The file to make; it must not exist.
    """
    if database.is_sqlite:
        with database.translated_errors():
            raw: Any = database.engine.raw_connection()
            try:
                raw.driver_connection.execute("VACUUM INTO ?", [str(path)])
            finally:
                raw.close()
        return
    copy = Database(f"sqlite:///{path}")
    try:
        creation.ensure_schema(copy, may_migrate=False)
        with database.reading() as source, copy.writing() as target:
            _copy_rows(source, target)
    finally:
        copy.close()


def load(path: Path, database: Database) -> None:
    """Put a saved state into an empty database; one of an older release is migrated on the way.

    Raises:
        AlreadyExistsError: The database holds a workspace.
        SchemaVersionError: The state was saved by a newer release.
    """
    with TemporaryDirectory(prefix="sentinelzer0-restore-") as scratch, disk_errors(f"Reading {str(path)!r}"):
        copy = Path(scratch) / path.name  # migrated, while what was saved stays as it is
        shutil.copyfile(path, copy)
        saved = Database(f"sqlite:///{copy}")
        try:
            creation.ensure_schema(saved, may_migrate=True)
            creation.ensure_schema(database, may_migrate=False)
            with saved.reading() as source, database.writing() as target:
                if creation.read_settings(target):
                    raise AlreadyExistsError("The database holds a workspace already.", hint="Name an empty one.")
                _copy_rows(source, target)
        finally:
            saved.close()


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in metadata.sorted_tables:
        if table is alembic_version:
            continue  # the schema was created at this release's version
        insert = Statement(table.insert())
        for page in _pages(source, table):
            target.run_many(insert, page)


def _pages(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    names = [column.name for column in table.columns]
    cursor = source.run(Statement(select(*table.columns)))
    while rows := cursor.fetchmany(PAGE):
        yield [dict(zip(names, row, strict=True)) for row in rows]
