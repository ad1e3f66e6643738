"""The raw outcomes and the plain totals of streams, to be compared with each other."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import bindparam, func, select

from sentinelzer0.domain.outcomes import CellKey, Outcome
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.outcome_cells import NUMBERS
from sentinelzer0.storage.outcomes import COLUMNS
from sentinelzer0.storage.schema import outcome_cells, outcome_units, outcomes

_RAW = COLUMNS[1 : COLUMNS.index("slot") + 1]
"""In the order of :class:`Outcome`, but for the custom metrics."""

_counted = Statement(
    select(outcomes.c.cohort, *(outcomes.c[name] for name in _RAW)).where(
        outcomes.c.stream == bindparam("of_stream"), outcomes.c.arm.is_not(None), outcomes.c.late == 0
    )
)
_key = [outcome_cells.c[name] for name in CellKey._fields]
_totals = Statement(
    select(*_key, *(outcome_cells.c[name] for name in NUMBERS)).where(outcome_cells.c.stream == bindparam("of_stream"))
)
_units = Statement(select(func.count()).where(outcome_units.c.stream == bindparam("of_stream")))


class MeasurementRows:
    """What was measured, outcome by outcome and in total, as one transaction sees it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def counted(self, stream: str) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcomes that count, without their custom metrics, each after its cohort."""
        for cohort, *row in self._connection.run(_counted, {"of_stream": stream}):
            yield cohort, Outcome._make((*row[:8], {}, *row[8:]))

    def totals(self, stream: str) -> dict[CellKey, dict[str, float]]:
        """Return the stored totals by cell and name."""
        size = len(_key)
        rows = self._connection.rows(_totals, {"of_stream": stream})
        return {CellKey(*row[:size]): dict(zip(NUMBERS, row[size:], strict=True)) for row in rows}

    def units(self, stream: str) -> int:
        """Return how many units with a key were ever counted."""
        row = self._connection.first(_units, {"of_stream": stream})
        return 0 if row is None else int(row[0])
