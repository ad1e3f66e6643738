"""Streams of outcomes in SQL: how far each has come, and where its next outcome counts.

Whoever writes first calls :meth:`StreamRows.pass_by` or :meth:`StreamRows.advance`, which lock the stream's row, so
writers of one stream wait for each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from sentinelzer0.domain.ab_tests import FIRST_LOOK, TestStatus
from sentinelzer0.domain.outcomes import Progress
from sentinelzer0.storage.adding_insert import AddingInsert
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import outcome_streams as table

NEVER = 1 << 62
"""The next look at a stream that nobody judges."""

_COMPACT = (",", ":")
_OF, _ADVANCE = ("of_stream",), ("more", "of_stream")
_PASS_BY = ("more", "of_stream", "of_phase", "open_1", "open_2", "again")
_OPEN = tuple(status.value for status in TestStatus if status.is_open)
_this = table.c.stream == bindparam("of_stream")

_create = AddingInsert(table, adds=False)
_follow = Statement(
    update(table)
    .where(_this)
    .values({name: bindparam(f"to_{name}") for name in ("status", "phase", "cohort_s", "slo_ms")})
)
_set_status = Statement(update(table).where(_this).values(status=bindparam("to")))
_set_next_look = Statement(update(table).where(_this).values(next_look=bindparam("to")))
_set_running = Statement(update(table).where(_this).values(running=bindparam("to")))
_advance = Statement(update(table).where(_this).values(events=table.c.events + bindparam("more")))
# After the update, not by RETURNING: SQLite takes 33 us for that, and 12 us for both statements.
_progress = Statement(
    select(table.c.status, table.c.events, table.c.next_look, table.c.phase, table.c.cohort_s, table.c.slo_ms).where(
        _this
    )
)
_pass_by = Statement(
    update(table)
    .where(
        _this,
        table.c.phase == bindparam("of_phase"),
        or_(table.c.status == bindparam("open_1"), table.c.status == bindparam("open_2")),
        table.c.events + bindparam("again") < table.c.next_look,
    )
    .values(events=table.c.events + bindparam("more"))
)
_relabelled = Statement(update(table).where(_this).values(relabelled=table.c.relabelled + bindparam("more")))
_pruned = Statement(update(table).where(_this).values(pruned=table.c.pruned + bindparam("more")))
_state = Statement(
    select(
        table.c.status,
        table.c.events,
        table.c.next_look,
        table.c.phase,
        table.c.cohort_s,
        table.c.slo_ms,
        table.c.relabelled,
        table.c.pruned,
        table.c.running,
    ).where(_this)
)
_names = Statement(select(table.c.stream).order_by(table.c.stream))


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as stored.

    Attributes:
        progress: How far it has come.
        relabelled: How often a label was replaced by one that contradicts it.
        pruned: Raw outcomes that were deleted.
        running: What judging keeps from look to look.
    """

    progress: Progress
    relabelled: int
    pruned: int
    running: dict[str, Any]


class StreamRows:
    """Streams of outcomes as one transaction sees them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        stream: str,
        status: str,
        *,
        phase: int = 0,
        cohort_s: float = 0.0,
        slo_ms: float | None = None,
        judged: bool = True,
    ) -> None:
        """Begin a stream; one that exists stays as it is."""
        row: dict[str, Any] = {"stream": stream, "status": status, "events": 0}
        row["next_look"] = FIRST_LOOK if judged else NEVER
        row |= {"phase": phase, "cohort_s": cohort_s, "slo_ms": slo_ms, "relabelled": 0, "pruned": 0, "running": "{}"}
        self._connection.run(_create, row)

    def follow(self, stream: str, status: str, *, phase: int, cohort_s: float, slo_ms: float | None) -> None:
        """Let recorders know how a test goes on; locks out those under way until this transaction ends."""
        row = {"to_status": status, "to_phase": phase, "to_cohort_s": cohort_s, "to_slo_ms": slo_ms}
        self._connection.run(_follow, {"of_stream": stream} | row)

    def set_status(self, stream: str, status: str) -> None:
        """Let recorders know the status alone, and lock out those under way."""
        self._connection.run(_set_status, {"of_stream": stream, "to": status})

    def advance(self, stream: str, more: int) -> Progress | None:
        """Count ``more`` outcomes or labels and return where that leads, or None when there is no such stream."""
        run = self._connection.run_tuple
        run(_advance, _ADVANCE, (more, stream))
        row = run(_progress, _OF, (stream,)).fetchone()
        return None if row is None else Progress(*row)

    def pass_by(self, stream: str, more: int, phase: int) -> bool:
        """Count ``more`` outcomes or labels if the stream is open, in this phase, and no look is due: nearly always.

        Returns:
            False when nothing was done: :meth:`advance` has to tell why.
        """
        values = (more, stream, phase, *_OPEN, more)
        return bool(self._connection.run_tuple(_pass_by, _PASS_BY, values).rowcount == 1)

    def progress(self, stream: str) -> Progress | None:
        """Return how far a stream has come, or None."""
        row = self._connection.run_tuple(_progress, _OF, (stream,)).fetchone()
        return None if row is None else Progress(*row)

    def state(self, stream: str) -> StreamState | None:
        """Return everything that is stored of a stream itself, or None."""
        row = self._connection.first(_state, {"of_stream": stream})
        if row is None:
            return None
        return StreamState(Progress(*row[:6]), int(row[6]), int(row[7]), json.loads(row[8]))

    def names(self) -> list[str]:
        """Return the names of all streams."""
        return [row[0] for row in self._connection.rows(_names)]

    def set_next_look(self, stream: str, events: int) -> None:
        """Say after how many outcomes and labels the statistics are looked at next."""
        self._connection.run(_set_next_look, {"of_stream": stream, "to": events})

    def set_running(self, stream: str, running: Mapping[str, Any]) -> None:
        """Store what judging keeps from look to look: JSON values."""
        self._connection.run(_set_running, {"of_stream": stream, "to": json.dumps(dict(running), separators=_COMPACT)})

    def add_relabelled(self, stream: str, more: int) -> None:
        """Count labels that were replaced by contradicting ones."""
        self._connection.run(_relabelled, {"of_stream": stream, "more": more})

    def add_pruned(self, stream: str, more: int) -> None:
        """Count raw outcomes that were deleted."""
        self._connection.run(_pruned, {"of_stream": stream, "more": more})
