"""``INSERT … ON CONFLICT`` for rows that may be there: left alone, or added to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Table, insert
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
