"""The raw outcomes and the plain totals of A/B tests, to be compared with each other."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import bindparam, select

from sentinelzer0.domain.outcomes import Outcome
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import ab_arms, ab_outcomes

NUMBERS = tuple(column.name for column in ab_arms.columns if not column.primary_key)

_counted = Statement(
    select(
        ab_outcomes.c.request_id,
        ab_outcomes.c.arm,
        ab_outcomes.c.success,
        ab_outcomes.c.latency_ms,
        ab_outcomes.c.confidence,
        ab_outcomes.c.predicted_label,
        ab_outcomes.c.true_label,
    ).where(ab_outcomes.c.test_id == bindparam("test_id"), ab_outcomes.c.arm.is_not(None), ab_outcomes.c.late == 0)
)
_totals = Statement(
    select(ab_arms.c.arm, *(ab_arms.c[name] for name in NUMBERS)).where(ab_arms.c.test_id == bindparam("test_id"))
)


class MeasurementRows:
    """What A/B tests measured, outcome by outcome and in total, as one transaction sees it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def counted(self, test_id: str) -> Iterator[Outcome]:
        """Yield the outcomes that count, as far as the totals depend on them."""
        for row in self._connection.run(_counted, {"test_id": test_id}):
            yield Outcome(*row)

    def totals(self, test_id: str) -> dict[str, dict[str, float]]:
        """Return the stored totals by arm and name."""
        rows = self._connection.rows(_totals, {"test_id": test_id})
        return {row[0]: dict(zip(NUMBERS, row[1:], strict=True)) for row in rows}
