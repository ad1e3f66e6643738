"""The schema: a fresh database is complete at once, a migrated one equals it, foreign ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from sentinelzer0.errors import SchemaVersionError
from sentinelzer0.kernel import Kernel
from sentinelzer0.storage import creation, migrations
from sentinelzer0.storage.database import Database


def _shape(engine: Engine) -> dict[str, Any]:
    """Return every table, column, key and index as comparable values."""
    look = inspect(engine)
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in look.get_columns(table)],
            "key": look.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in look.get_indexes(table)
            ),
        }
        for table in sorted(look.get_table_names())
    }


def test_a_migrated_database_equals_a_fresh_one(location: str, kernel: Kernel) -> None:
    fresh = _shape(kernel.database.engine)
    assert fresh["versions"]["indexes"], "the comparison must see indexes"
    url = kernel.database.url
    with kernel.database.engine.begin() as connection:
        for table in fresh:
            connection.execute(text(f'DROP TABLE "{table}"'))
    migrated = Database(url)
    migrations.upgrade(migrated.engine)
    assert _shape(migrated.engine) == fresh
    migrated.close()


def test_a_newer_schema_is_refused(location: str, kernel: Kernel) -> None:
    with kernel.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match="newer release"):
        Kernel(location)


def test_an_older_schema_on_a_shared_server_is_never_migrated_silently(location: str, kernel: Kernel) -> None:
    with kernel.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(SchemaVersionError, match="db upgrade"):
        creation.ensure_schema(kernel.database, may_migrate=False)


def test_reopening_changes_nothing(location: str, kernel: Kernel) -> None:
    with kernel.read() as view:
        before = view.audit.counts()
    again = Kernel(location)
    with again.read() as view:
        assert view.audit.counts() == before == (1, 0)
    assert again.workspace_id == kernel.workspace_id
    again.close()
