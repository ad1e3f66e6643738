"""The looks at A/B tests in SQL: what was read off the statistics at points of a geometric grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from sentinelzer0.domain.outcomes import Look
from sentinelzer0.storage.codec import decode_time, encode_time
from sentinelzer0.storage.database import Connection, Statement, Upsert
from sentinelzer0.storage.outcome_streams import StreamRows
from sentinelzer0.storage.schema import ab_looks as table

_COMPACT = (",", ":")
_add = Upsert(table)
_columns = (table.c.events, table.c.recorded_at, table.c.decision, table.c.readings)
_of_test = table.c.test_id == bindparam("of_test")
_all = Statement(select(*_columns).where(_of_test).order_by(table.c.events))
_newest_time = Statement(select(func.max(table.c.recorded_at)).where(_of_test))
_first_decided = Statement(
    select(*_columns).where(_of_test, table.c.decision.is_not(None)).order_by(table.c.events).limit(1)
)


class ABLookRows:
    """The looks at A/B tests as one transaction sees them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, test_id: str, look: Look, next_look: int) -> None:
        """Keep a look, and say after how many outcomes and labels the next one is due."""
        row = {"test_id": test_id, "events": look.events, "recorded_at": encode_time(look.at)}
        row |= {"decision": look.decision, "readings": json.dumps(dict(look.readings), separators=_COMPACT)}
        self._connection.run(_add, row)
        StreamRows(self._connection).set_next_look(test_id, next_look)

    def all(self, test_id: str) -> list[Look]:
        """Return every look, oldest first."""
        return [_decoded(row) for row in self._connection.rows(_all, {"of_test": test_id})]

    def newest_time(self, test_id: str) -> datetime | None:
        """Return when the latest look was taken, or None."""
        row = self._connection.first(_newest_time, {"of_test": test_id})
        return None if row is None or row[0] is None else decode_time(row[0])

    def first_decided(self, test_id: str) -> Look | None:
        """Return the first look whose evidence carried a decision, or None."""
        row = self._connection.first(_first_decided, {"of_test": test_id})
        return None if row is None else _decoded(row)


def _decoded(row: Sequence[Any]) -> Look:
    return Look(int(row[0]), decode_time(row[1]), row[2], json.loads(row[3]))
