"""The thread of a recorder: batches, rows that are not possible, and a database that is away.

A batch is written by one call, which stores all of it or nothing. Where that is refused, the batch is split around the
row the refusal names, or in halves, until the impossible rows stand alone; so they lose nothing but themselves. Where
the database does not answer, the batch is kept and tried again, with longer and longer pauses.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, NamedTuple

from sentinelzer0.domain.scalars import shown
from sentinelzer0.errors import (
    ABTestNotFoundError,
    ConflictError,
    IllegalTransitionError,
    SentinelError,
    WorkspaceError,
)
from sentinelzer0.mlops.recorder_buffer import Buffer, RecorderOptions
from sentinelzer0.mlops.recorder_rows import RecorderRows

_log = logging.getLogger("sentinelzer0.mlops.recorder")

Rows = Sequence[Mapping[str, Any]]
Write = Callable[[Rows], object]
"""Stores rows durably, all or none; returns counts as ``Recorded``."""

KEPT = 10
"""How many refused rows are kept with their reasons."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
TELL_EVERY_S = 60.0
LABEL = 2
"""A label has this many parts, an outcome more."""

_NAMED_ROW = re.compile(r"Row (\d+)\b")


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that could not be stored.

    Attributes:
        request_id: As it was given, at most 60 characters of it; the recorder's own when none was given.
        reason: Why.
    """

    request_id: str
    reason: str


class _Part(NamedTuple):
    rows: Rows
    are_labels: bool = False


class RecorderThread(Buffer):
    """A buffer and the thread that empties it.

    Args:
        record_rows: Stores outcomes: mappings with the argument names of ``record_result``.
        record_labels: Stores labels: mappings with ``request_id`` and ``true_label``.
        options: How it behaves.
        registry: Where it is listed as long as it may hold rows.
        joins_process: Called when a thread was started.
    """

    __slots__ = (
        "_joins_process",
        "_last_told",
        "_record_labels",
        "_record_rows",
        "_registry",
        "_todo",
        "_untold",
        "give_up_at",
        "refusals",
        "trouble",
    )

    def __init__(
        self,
        record_rows: Write,
        record_labels: Write,
        options: RecorderOptions,
        registry: set[RecorderThread],
        joins_process: Callable[[], None],
    ) -> None:
        self._record_rows = record_rows
        self._record_labels = record_labels
        self._registry = registry
        self._joins_process = joins_process
        super().__init__(options)
        registry.add(self)

    def reset(self) -> None:
        """Start empty; see :meth:`Buffer.reset`."""
        super().reset()
        self.refusals: tuple[RefusedRow, ...] = ()
        self.trouble: str | None = None
        self.give_up_at = 0.0
        self._todo: list[_Part] = []  # the batch that is being written, its next part at the end
        self._untold = 0
        self._last_told = {"refused": float("-inf"), "away": float("-inf"), "dropped": float("-inf")}

    def end(self, give_up_at: float = 0.0) -> None:
        """Take nothing more; write what was taken, until a failure after this time (``time.monotonic``)."""
        self.give_up_at = max(give_up_at, self.give_up_at)
        super().end()
        if not self.queue and not self._todo and not self._running.locked():
            self._registry.discard(self)

    def joins_process(self) -> None:
        """Be told that a thread was started in this process."""
        self._registry.add(self)
        self._joins_process()

    def run(self) -> None:
        """Write until everything is written after :meth:`end`, or given up."""
        self._owner = get_ident()
        try:
            while self._write_batch() and self._gather():
                self._todo = list(reversed(self._parts(self._take())))
        finally:
            if self.ended and not self.queue and not self._todo:
                self._registry.discard(self)
            self.limit = -1 if self.ended else 0
            self._owner = 0
            self._running.release()
            self._serve(leaving=True)

    def _parts(self, items: list[tuple[Any, ...]]) -> list[_Part]:
        """Return a batch as calls to make, in order: outcomes, then labels.

        An outcome that itself brings a label starts anew when a label for its request stands before it, because the
        later one counts.
        """
        rows = RecorderRows.of([item for item in items if len(item) != LABEL], self._name)
        ids, truths = rows.columns["request_id"], rows.columns["true_label"]
        parts: list[_Part] = []
        labels: list[dict[str, Any]] = []
        labelled: set[str] = set()
        start = at = 0  # of the outcomes that are in no part yet, and of the next one
        for item in items if len(rows) < len(items) else ():
            if len(item) == LABEL:
                request_id, true_label = item
                labels.append({"request_id": request_id, "true_label": true_label})
                if type(request_id) is str:
                    labelled.add(request_id)
                continue
            if labelled and truths[at] is not None and type(ids[at]) is str and ids[at] in labelled:
                parts += [_Part(rows[start:at]), _Part(labels, are_labels=True)]
                labels, labelled, start = [], set(), at
            at += 1
        parts += [_Part(rows[start:]), _Part(labels, are_labels=True)]
        return [part for part in parts if part.rows]

    def _write_batch(self) -> bool:
        """Write what is to be written; returns False when that was given up."""
        pause = FIRST_PAUSE_S
        while self._todo:
            part = self._todo[-1]
            try:
                with self.transaction:
                    recorded = (self._record_labels if part.are_labels else self._record_rows)(part.rows)
            except Exception as error:  # noqa: BLE001 - the thread's edge: a row may hold anything
                if _is_passing(error):
                    self.trouble = _sentence(error)
                    self._tell("away", "Outcomes cannot be written: %s They are kept and tried again.", self.trouble)
                    if self._once or (self.ended and time.monotonic() >= self.give_up_at):
                        return False
                    self._nap(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                self._todo.pop()
                self._split(part, error)
            else:
                self._todo.pop()
                self._count(part, recorded)
                self.trouble, pause = None, FIRST_PAUSE_S
        self._in_flight = 0
        if self.dropped:
            self._tell("dropped", "%d outcomes were not taken: the buffer was full, or closed.", self.dropped)
        self._serve()
        return True

    def _split(self, part: _Part, error: Exception) -> None:
        """Put the pieces of a refused part back, or refuse it when there is nothing to split."""
        rows = part.rows
        if len(rows) == 1 or isinstance(error, ABTestNotFoundError | IllegalTransitionError):  # true of every row
            self._refuse(rows, error)
            return
        # The number only says where to cut: what is cut off is tried again, so a wrong one refuses nothing.
        named = _NAMED_ROW.match(error.message) if isinstance(error, SentinelError) else None
        at = min(int(named[1]), len(rows) - 1) if named else len(rows) // 2
        pieces = (rows[:at], rows[at : at + 1], rows[at + 1 :]) if named else (rows[:at], rows[at:])
        self._todo += [_Part(piece, part.are_labels) for piece in reversed(pieces) if piece]

    def _refuse(self, rows: Rows, error: Exception) -> None:
        reason = _sentence(error).removeprefix("Row 0: ").replace(" Nothing was recorded.", "")
        missing = KEPT - len(self.refusals)
        self.refusals += tuple(RefusedRow(_quoted(row["request_id"]), reason) for row in rows[: max(missing, 0)])
        self.counts = self.counts._replace(refused=self.counts.refused + len(rows))
        self._untold += len(rows)
        if self._tell("refused", "%d outcomes or labels were refused; the newest: %s", self._untold, reason):
            self._untold = 0

    def _count(self, part: _Part, recorded: object) -> None:
        counts, rows = self.counts, len(part.rows)
        late = int(getattr(recorded, "late", 0))
        duplicates = 0 if part.are_labels else int(getattr(recorded, "duplicates", 0))
        self.counts = counts._replace(
            written=counts.written + rows - late - duplicates,
            duplicates=counts.duplicates + duplicates,
            late=counts.late + late,
        )

    def _tell(self, what: str, message: str, *values: object) -> bool:
        """Log, at most once a minute for each kind of trouble; returns whether it did."""
        now = time.monotonic()
        if now - self._last_told[what] < TELL_EVERY_S:
            return False
        self._last_told[what] = now
        _log.warning(message, *values)
        return True


def _is_passing(error: Exception) -> bool:
    """Return whether the same rows may be stored later: nothing is wrong with them."""
    if isinstance(error, ConflictError):
        return error.__cause__ is not None  # the database's own; a rule that says no has no cause
    return isinstance(error, WorkspaceError | OSError | MemoryError)


def _sentence(error: Exception) -> str:
    try:
        return error.message if isinstance(error, SentinelError) else f"{type(error).__name__}: {error}"[:300]
    except Exception:  # noqa: BLE001 - an exception of a caller's own type, which cannot even be written out
        return type(error).__name__


def _quoted(value: object) -> str:
    try:
        return value[:60] if type(value) is str else shown(value)
    except Exception:  # noqa: BLE001 - a value of a caller's own type
        return f"<{type(value).__name__}>"
