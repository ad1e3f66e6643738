"""Rollbacks in SQL: events and requests in one table, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, select

from sentinelzer0.domain.rollbacks import RECHECK_RUNNING, RollbackEvent, RollbackStrategy
from sentinelzer0.storage.codec import Codec
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import rollbacks

CODEC = Codec(RollbackEvent, rollbacks)
_columns = [rollbacks.c[name] for name in CODEC.fields]
_newest = (rollbacks.c.timestamp.desc(), rollbacks.c.event_id.desc())
_left = (rollbacks.c.model == bindparam("model"), rollbacks.c.from_version == bindparam("from_version"))

_get = Statement(select(*_columns).where(rollbacks.c.event_id == bindparam("event_id")))
_history = Statement(
    select(*_columns).where(rollbacks.c.model == bindparam("model")).order_by(*_newest).limit(bindparam("limit"))
)
_latest_from = Statement(select(*_columns).where(*_left, rollbacks.c.success == 1).order_by(*_newest).limit(1))
_requests_from = Statement(
    select(*_columns)
    .where(*_left, rollbacks.c.success == 0, rollbacks.c.strategy == RollbackStrategy.MANUAL.value)
    .order_by(*_newest)
    .limit(bindparam("limit"))
)
_unfinished = Statement(
    select(*_columns)
    .where(rollbacks.c.success == 1, rollbacks.c.details.like(bindparam("pattern")))
    .order_by(rollbacks.c.timestamp)
)
_all = Statement(select(*_columns).order_by(rollbacks.c.event_id))


class RollbackRows:
    """Rollbacks as one transaction sees them."""

    def __init__(self, connection: Connection, put: Callable[[Codec[Any], Any], None]) -> None:
        self._connection = connection
        self._put = put

    def get(self, event_id: str) -> RollbackEvent | None:
        """Return an event or a request, or None."""
        row = self._connection.first(_get, {"event_id": event_id})
        return None if row is None else CODEC.decode(row)

    def history(self, model: str, limit: int = 2**31) -> list[RollbackEvent]:
        """Return a model's events and requests, newest first."""
        return [CODEC.decode(row) for row in self._connection.rows(_history, {"model": model, "limit": limit})]

    def latest_from(self, model: str, from_version: str) -> RollbackEvent | None:
        """Return the latest rollback that left a version, or None."""
        row = self._connection.first(_latest_from, {"model": model, "from_version": from_version})
        return None if row is None else CODEC.decode(row)

    def requests_from(self, model: str, from_version: str, limit: int) -> list[RollbackEvent]:
        """Return what strategy ``manual`` left undone for a version (requests and failures), newest first."""
        parameters = {"model": model, "from_version": from_version, "limit": limit}
        return [CODEC.decode(row) for row in self._connection.rows(_requests_from, parameters)]

    def unfinished_rechecks(self) -> list[RollbackEvent]:
        """Return the rollbacks of every model whose promised full hash is not done, oldest first."""
        rows = self._connection.rows(_unfinished, {"pattern": f'%"recheck":"{RECHECK_RUNNING}"%'})
        return [CODEC.decode(row) for row in rows]

    def all(self) -> Sequence[RollbackEvent]:
        """Return every event of every model, oldest first."""
        return [CODEC.decode(row) for row in self._connection.rows(_all)]

    def put(self, event: RollbackEvent) -> None:
        """Store an event."""
        self._put(CODEC, event)
