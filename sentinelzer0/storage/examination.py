"""Whether the database itself is sound: its pages, and the tables, columns and indexes of this release."""

from __future__ import annotations

from sqlalchemy import Table, inspect, text
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import SQLAlchemyError

from sentinelzer0.storage.database import Database, Statement
from sentinelzer0.storage.schema import metadata

MAX_NAMED = 20

_sqlite_check = Statement(text("PRAGMA integrity_check"))


def database_problems(database: Database) -> list[str]:
    """Return what is wrong with the database, in plain words; empty when it is sound.

    SQLite checks every page and index. PostgreSQL checks its pages when it reads them, so there the tables are
    read by the other checks.
    """
    problems: list[str] = []
    if database.is_sqlite:
        with database.reading() as connection:
            problems += [str(row[0]) for row in connection.rows(_sqlite_check) if row[0] != "ok"]
    try:
        problems += _schema_problems(inspect(database.engine))
    except SQLAlchemyError as error:
        problems.append(f"its tables cannot be listed: {error.__cause__ or error}")
    return problems[:MAX_NAMED]


def _schema_problems(inspector: Inspector) -> list[str]:
    present = set(inspector.get_table_names())
    problems = [f"the table {table.name} is missing" for table in metadata.sorted_tables if table.name not in present]
    for table in metadata.sorted_tables:
        if table.name in present:
            problems += _table_problems(inspector, table)
    return problems


def _table_problems(inspector: Inspector, table: Table) -> list[str]:
    columns = {column["name"] for column in inspector.get_columns(table.name)}
    indexes = {index["name"] for index in inspector.get_indexes(table.name)}
    missing = [column.name for column in table.columns if column.name not in columns]
    unindexed = [str(index.name) for index in table.indexes if index.name not in indexes]
    return [
        *(f"the column {table.name}.{name} is missing" for name in sorted(missing)),
        *(f"the index {name} is missing" for name in sorted(unindexed)),
    ]
