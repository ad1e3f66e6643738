"""The looks at A/B tests in SQL: what both arms had measured at points of a geometric grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, update

from sentinelzer0.domain.ab_tests import Look
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.storage.ab_outcomes import statistics_of
from sentinelzer0.storage.codec import decode_time, encode_time
from sentinelzer0.storage.database import Connection, Statement, Upsert
from sentinelzer0.storage.schema import ab_progress, ab_trajectory

_of_test = ab_trajectory.c.test_id == bindparam("of_test")
_add_look = Upsert(ab_trajectory)
_set_next_look = Statement(
    update(ab_progress).where(ab_progress.c.test_id == bindparam("of_test")).values(next_look=bindparam("to"))
)
_look_columns = (
    ab_trajectory.c.events,
    ab_trajectory.c.recorded_at,
    ab_trajectory.c.winner,
    ab_trajectory.c.arms,
)
_looks = Statement(select(*_look_columns).where(_of_test).order_by(ab_trajectory.c.events))
_first_decided = Statement(
    select(*_look_columns)
    .where(_of_test, ab_trajectory.c.winner.is_not(None))
    .order_by(ab_trajectory.c.events)
    .limit(1)
)


class ABLookRows:
    """The looks at A/B tests as one transaction sees them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, test_id: str, look: Look, next_look: int) -> None:
        """Keep a look, for the chart and for the verdict."""
        arms = json.dumps([_numbers(look.a), _numbers(look.b)], separators=(",", ":"))
        row = {"test_id": test_id, "events": look.events, "recorded_at": encode_time(look.at), "winner": look.winner}
        self._connection.run(_add_look, row | {"arms": arms})
        self._connection.run(_set_next_look, {"of_test": test_id, "to": next_look})

    def all(self, test_id: str) -> list[Look]:
        """Return every look, oldest first."""
        return [_decode_look(row) for row in self._connection.rows(_looks, {"of_test": test_id})]

    def first_decided(self, test_id: str) -> Look | None:
        """Return the first look whose evidence carried a verdict, or None."""
        row = self._connection.first(_first_decided, {"of_test": test_id})
        return None if row is None else _decode_look(row)


def _numbers(arm: ArmStatistics) -> list[float]:
    of, sure, cells = arm.latency, arm.confidence, arm.confusion
    latency = [of.total, of.total_sq, of.total_cu]
    confidence = [sure.count, sure.total, sure.total_sq, sure.total_cu]
    return [arm.requests, arm.failures, *latency, *confidence, cells.tp, cells.fp, cells.tn, cells.fn]


def _decode_look(row: Sequence[Any]) -> Look:
    a, b = json.loads(row[3])
    return Look(int(row[0]), decode_time(row[1]), row[2], statistics_of(a), statistics_of(b))
