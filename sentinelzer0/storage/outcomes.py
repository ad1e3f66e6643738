"""Raw outcomes in SQL: read only to join a label, to recognise a repeat, to check the statistics and to export.

An outcome is a row of (stream, request, slot): slot 0 is the answer that was served, the others are those of shadow
arms to the same request. A row without an arm is a label that waits for its outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import bindparam, delete, func, select, text, update

from sentinelzer0.domain.outcomes import Outcome, StoredOutcome
from sentinelzer0.storage.adding_insert import AddingInsert, insert_alike
from sentinelzer0.storage.codec import decode_time, encode_time
from sentinelzer0.storage.database import Connection, Row, Statement
from sentinelzer0.storage.schema import outcome_units
from sentinelzer0.storage.schema import outcomes as table

COLUMNS = tuple(table.columns.keys())
EXPORTED = tuple(name for name in COLUMNS if name != "stream")
_UNIT = ("stream", "unit")
_OF_REQUEST = ("of_stream", "of_request")
_COMPACT = (",", ":")
_KEY = frozenset(column.name for column in table.primary_key.columns)
_PAGE = 5000
_TOGETHER = 100
"""Rows of one statement: more make SQLite no faster."""
_OWN = frozenset(map(COLUMNS.index, COLUMNS[1:8]))
"""Where the columns stand in which rows differ, from request_id to true_label; in the others they may."""

_add = AddingInsert(table, adds=False)
_add_unit = AddingInsert(outcome_units, adds=False)
_of_stream = table.c.stream == bindparam("of_stream")
_this_request = (_of_stream, table.c.request_id == bindparam("of_request"))
_this_answer = (*_this_request, table.c.slot == bindparam("of_slot"))
_find = Statement(
    select(
        table.c.slot,
        table.c.arm,
        table.c.success,
        table.c.latency_ms,
        table.c.confidence,
        table.c.predicted_label,
        table.c.true_label,
        table.c.segment,
        table.c.phase,
        table.c.assigned,
        table.c.cohort,
        table.c.late,
    )
    .where(*_this_request)
    .order_by(table.c.slot)
)
_set_label = Statement(update(table).where(*_this_request).values(true_label=bindparam("to")))
_fill_in = Statement(
    update(table)
    .where(*_this_answer)
    .values({c: bindparam(f"to_{c.name}") for c in table.columns if not c.primary_key})
)
# One statement for all units of a batch, whose names arrive as one JSON array.
_new_units = {
    "sqlite": Statement(
        text(
            "INSERT INTO outcome_units (stream, unit) SELECT :of_stream, value FROM json_each(:units) WHERE true "
            "ON CONFLICT DO NOTHING RETURNING unit"
        )
    ),
    "postgresql": Statement(
        text(
            "INSERT INTO outcome_units (stream, unit) SELECT CAST(:of_stream AS TEXT), value "
            "FROM json_array_elements_text(CAST(:units AS JSON)) AS given(value) "
            "ON CONFLICT DO NOTHING RETURNING unit"
        )
    ),
}
_since = table.c.recorded_at >= bindparam("since")
_all = Statement(select(*(table.c[name] for name in EXPORTED)).where(_of_stream, _since))
_old = (_of_stream, table.c.recorded_at < bindparam("before"))
_count_old = Statement(select(func.count()).where(*_old, table.c.arm.is_not(None)))
_delete_old = Statement(delete(table).where(*_old))


class OutcomeRows:
    """Raw outcomes as one transaction sees them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, stream: str, outcomes: Sequence[Outcome], at: datetime, cohort: int, *, late: bool) -> bool:
        """Store raw outcomes if none of their requests is known.

        Returns:
            False when one is known, or named twice; nothing has been stored then.
        """
        connection, last = self._connection, (encode_time(at), cohort, 1 if late else 0)
        if len(outcomes) == 1:
            row = _row(stream, outcomes[0], last)
            return connection.run_tuple(_add, COLUMNS, row).rowcount == 1  # type: ignore[no-any-return]
        connection.script("SAVEPOINT outcomes")
        whole = len(outcomes) - len(outcomes) % _TOGETHER if connection.backend == "sqlite" else 0
        stored = self._insert_alike(stream, outcomes[:whole], last) if whole else 0
        if stored == whole:
            stored += connection.run_tuples(_add, COLUMNS, [_row(stream, o, last) for o in outcomes[whole:]])
        if stored == len(outcomes):
            return True
        connection.script("ROLLBACK TO SAVEPOINT outcomes")
        return False

    def _insert_alike(self, stream: str, outcomes: Sequence[Outcome], last: tuple[str, int, int]) -> int:
        """Insert hundreds of rows and return how many were new.

        Handing a value over costs more than storing it, so what is the same in all rows is handed over once for a
        hundred of them: measured, 4 us a row instead of 10.
        """
        given = list(zip(*outcomes, strict=True))
        custom = [_custom(values) if values else None for values in given.pop(8)]
        columns = [(stream,), *given, *((value,) for value in last), custom]
        own = tuple(i for i, column in enumerate(columns) if i in _OWN or column.count(column[0]) < len(column))
        shared = [column[0] for i, column in enumerate(columns) if i not in own]
        statement = insert_alike(table, own, _TOGETHER)
        values = list(chain.from_iterable(zip(*(columns[i] for i in own), strict=True)))
        size, stored = len(own) * _TOGETHER, 0
        for start in range(0, len(values), size):
            stored += self._connection.run_tuple(statement, (), (*shared, *values[start : start + size])).rowcount
        return stored

    def find(self, stream: str, request_id: str) -> list[StoredOutcome]:
        """Return every answer that is known of a request, the served one first."""
        rows = self._connection.run_tuple(_find, _OF_REQUEST, (stream, request_id)).fetchall()
        return [StoredOutcome(*row) for row in rows]

    def fill_in(self, stream: str, outcomes: Sequence[Outcome], at: datetime, cohort: int, *, late: bool) -> None:
        """Store the outcomes of requests of which only the label was known."""
        for o in outcomes:
            row = _row(stream, o, (encode_time(at), cohort, int(late)))
            values = {f"to_{name}": value for name, value in zip(COLUMNS, row, strict=True) if name not in _KEY}
            self._connection.run(
                _fill_in, values | {"of_stream": stream, "of_request": o.request_id, "of_slot": o.slot}
            )

    def add_label(self, stream: str, request_id: str, label: int, at: datetime, *, late: bool) -> None:
        """Keep a label whose outcome has not come yet."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {"stream": stream, "request_id": request_id, "slot": 0, "segment": "", "phase": 0, "assigned": 0}
        row |= {"true_label": label, "recorded_at": encode_time(at), "cohort": 0, "late": int(late)}
        self._connection.run(_add, row)

    def set_label(self, stream: str, request_id: str, label: int) -> None:
        """Replace the true label of a request, in all answers to it."""
        self._connection.run(_set_label, {"of_stream": stream, "of_request": request_id, "to": label})

    def new_units(self, stream: str, keys: Sequence[str]) -> set[str]:
        """Store the units that were not known yet, and return those.

        Args:
            stream: The stream.
            keys: Units, each once.
        """
        connection = self._connection
        if len(keys) == 1:
            added = connection.run_tuple(_add_unit, _UNIT, (stream, keys[0])).rowcount == 1
            return {keys[0]} if added else set()
        parameters = {"of_stream": stream, "units": json.dumps(list(keys), ensure_ascii=False)}
        return {row[0] for row in connection.rows(_new_units[connection.backend], parameters)}

    def all(self, stream: str, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Yield raw outcomes and waiting labels, by column name; custom metrics by name."""
        found = self._connection.run(_all, {"of_stream": stream, "since": encode_time(since) if since else ""})
        while rows := found.fetchmany(_PAGE):
            yield from map(_decoded, rows)

    def prune(self, stream: str, before: datetime) -> int:
        """Delete the rows recorded before a time, and return how many outcomes were among them."""
        count = self.older(stream, before)
        self._connection.run(_delete_old, {"of_stream": stream, "before": encode_time(before)})
        return count

    def older(self, stream: str, before: datetime) -> int:
        """Return how many outcomes were recorded before a time."""
        row = self._connection.first(_count_old, {"of_stream": stream, "before": encode_time(before)})
        return 0 if row is None else int(row[0])


def _row(stream: str, o: Outcome, last: tuple[str, int, int]) -> tuple[Any, ...]:
    return (stream, *o[:8], *o[9:], *last, _custom(o[8]) if o[8] else None)


def _custom(values: Mapping[str, float]) -> str | None:
    return json.dumps(dict(values), ensure_ascii=False, separators=_COMPACT) if values else None


def _decoded(row: Row) -> dict[str, Any]:
    found = dict(zip(EXPORTED, row, strict=True))
    found["recorded_at"] = decode_time(found["recorded_at"])
    found["custom"] = json.loads(found["custom"]) if found["custom"] else {}
    return found
