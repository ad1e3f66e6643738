"""``INSERT … ON CONFLICT`` for rows that may be there: left alone, or added to; and for many rows that are alike."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ClauseElement, Table, insert, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Dialect

from sentinelzer0.storage.database import Statement


class AddingInsert(Statement):
    """Insert a row; where its key exists, leave that row alone or add to its columns that are no key.

    Args:
        table: Where to.
        adds: Whether to add to an existing row.
    """

    __slots__ = ("_adds", "_table")

    def __init__(self, table: Table, *, adds: bool) -> None:
        super().__init__(insert(table))
        self._table = table
        self._adds = adds

    def clause_for(self, dialect: Dialect) -> ClauseElement:
        """Return the dialect's statement."""
        make: Any = sqlite_insert if dialect.name == "sqlite" else postgresql_insert
        start = make(self._table)
        keys = [column.name for column in self._table.primary_key.columns]
        added = {c.name: c + start.excluded[c.name] for c in self._table.columns if c.name not in keys}
        clause: ClauseElement = (
            start.on_conflict_do_update(index_elements=keys, set_=added)
            if self._adds
            else start.on_conflict_do_nothing(index_elements=keys)
        )
        return clause


@cache
def insert_alike(table: Table, own: tuple[int, ...], rows: int) -> Statement:
    """Return an insert of many rows for SQLite that leaves a row alone whose key exists.

    Its values are those that all rows share, then for each row its own. They have no names, because numbered ones
    (``?1``) are taken for names by some releases of Python.

    Args:
        table: Where to.
        own: Where the columns stand that differ from row to row; the others are shared.
        rows: How many.
    """
    shared = [i for i in range(len(table.columns)) if i not in own]
    picked = [  # as SQLite names the columns of VALUES
        f"own.column{own.index(i) + 1}" if i in own else f"shared.column{shared.index(i) + 1}"
        for i in range(len(table.columns))
    ]
    one, each = (f"({', '.join('?' * len(of))})" for of in (shared, own))
    values = f"(VALUES {one}) AS shared CROSS JOIN (VALUES {', '.join([each] * rows)}) AS own"
    sql = f"INSERT INTO {table.name} SELECT {', '.join(picked)} FROM {values} WHERE true ON CONFLICT DO NOTHING"  # noqa: S608 - no text of a caller
    return Statement(text(sql))
