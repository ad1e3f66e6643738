"""The statistics of pairs of answers to the same requests (shadow mode) in SQL; they grow by ``column + x``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, case, func, select

from sentinelzer0.domain.outcomes import PairCell
from sentinelzer0.domain.tallies import PairIncrement, PairKey
from sentinelzer0.stats.moments import Moments
from sentinelzer0.stats.paired import PairedStatistics
from sentinelzer0.storage.adding_insert import AddingInsert
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import outcome_pairs as table

NUMBERS = tuple(column.name for column in table.columns if not column.primary_key)
_COLUMNS = tuple(table.columns.keys())
_PLAIN = tuple(name for name in NUMBERS if not name.startswith("joint_"))
_numbers_of = attrgetter(*_PLAIN)

_add = AddingInsert(table, adds=True)
_is_mature = table.c.cohort <= bindparam("mature")
_group = (table.c.phase, table.c.segment, table.c.arm)
_read = Statement(
    select(
        *_group,
        *(
            func.sum(table.c[name] if name in _PLAIN else case((_is_mature, table.c[name]), else_=0))
            for name in NUMBERS
        ),
    )
    .where(table.c.stream == bindparam("of_stream"))
    .group_by(*_group)
)


class PairRows:
    """Statistics of pairs as one transaction sees them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, stream: str, pairs: Mapping[PairKey, PairIncrement]) -> None:
        """Add to the statistics."""
        for key in sorted(pairs):
            more = pairs[key]
            self._connection.run_tuple(_add, _COLUMNS, (stream, *key, *_numbers_of(more), *more.labelled))

    def read(self, stream: str, mature: int) -> tuple[PairCell, ...]:
        """Return the statistics by phase, segment and challenger; labels of cohorts up to ``mature`` only."""
        rows = self._connection.rows(_read, {"of_stream": stream, "mature": mature})
        cells = [PairCell(phase, segment, arm, _statistics(numbers)) for phase, segment, arm, *numbers in rows]
        return tuple(sorted(cells, key=lambda cell: (cell.phase, cell.arm, cell.segment)))


def _statistics(row: Sequence[Any]) -> PairedStatistics:
    """Read statistics off the columns named in ``NUMBERS``; PostgreSQL sums whole numbers to decimals."""
    pairs = int(row[0])
    return PairedStatistics(
        pairs=pairs,
        both_failed=int(row[1]),
        only_a_failed=int(row[2]),
        only_b_failed=int(row[3]),
        latency=Moments(pairs, row[7], row[8], row[9]),
        confidence=Moments(int(row[10]), row[11], row[12], row[13]),
        joint=tuple(map(int, row[14:])),
        only_a_slow=int(row[5]),
        only_b_slow=int(row[6]),
        both_slow=int(row[4]),
    )
