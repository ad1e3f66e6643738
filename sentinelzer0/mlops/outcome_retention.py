"""What becomes of raw outcomes: written into a file, deleted after some time. The statistics stay."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sentinelzer0.domain.identity import Actor, check_actor
from sentinelzer0.domain.scalars import real, shown
from sentinelzer0.errors import InvalidInputError, require_extra
from sentinelzer0.kernel import Kernel, Reader, check_path, disk_errors

PRUNE = "outcome:rows:prune"
MAX_DAYS = 36_500
_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        rows: Raw outcomes in it, labels that wait for their outcome among them.
    """

    path: Path
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"path": str(self.path), "rows": self.rows}


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be.

    Attributes:
        stream: Whose raw outcomes: a test's, or ``production/<model>``.
        before: Those recorded before this time.
        rows: How many outcomes.
        dry_run: Whether nothing was deleted.
    """

    stream: str
    before: datetime
    rows: int
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        row = {"stream": self.stream, "before": self.before.isoformat(), "rows": self.rows}
        return row | {"dry_run": self.dry_run}


def prune(
    kernel: Kernel, stream: str, older_than: datetime | float | None, person: str | Actor, *, dry_run: bool = False
) -> Pruned:
    """Delete raw outcomes recorded before a time; on record.

    Args:
        kernel: The open workspace.
        stream: Whose.
        older_than: A time (aware), or an age in days.
        person: Who deletes.
        dry_run: Whether only to count.

    Raises:
        InvalidInputError: Neither a time nor an age.
    """
    who = check_actor(person)
    if dry_run:
        with kernel.read() as view:
            before = _before(older_than, view.now)
            return Pruned(stream, before, view.outcomes.older(stream, before), dry_run=True)
    subject = f"outcomes:{stream}"
    with kernel.begin(who, PRUNE, subject) as tx:
        before = _before(older_than, tx.now)
        tx.streams.advance(stream, 0)  # nobody records meanwhile
        rows = tx.outcomes.prune(stream, before)
        tx.streams.add_pruned(stream, rows)
        tx.record(reason="retention", detail={"stream": stream, "before": before.isoformat(), "rows": rows})
    return Pruned(stream, before, rows)


def export(kernel: Kernel, stream: str, path: str | os.PathLike[str], since: datetime | None) -> Exported:
    """Write raw outcomes into a file.

    Args:
        kernel: The open workspace.
        stream: Whose.
        path: The file; ``.jsonl`` or ``.parquet``.
        since: Only what was recorded from this time on; aware.

    Raises:
        InvalidInputError: The name ends otherwise, or ``since`` is no aware time.
        MissingExtraError: The extra ``parquet`` is not installed.
        StorageUnavailableError: The file cannot be written there.
    """
    target = check_path(path, "path")
    if since is not None:
        seconds_of(since, "since")
    writers: dict[str, Callable[[Path, Iterator[dict[str, Any]]], int]] = {
        ".jsonl": _write_jsonl,
        ".parquet": _write_parquet,
    }
    writer = writers.get(target.suffix.lower())
    if writer is None:
        raise InvalidInputError(
            f"{target.name!r} is no file of outcomes.", hint=f"Name it {target.stem}.jsonl or {target.stem}.parquet."
        )
    unfinished = target.with_name(f".{target.name}.part")
    with disk_errors(f"Writing {str(target)!r}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with kernel.read() as view:
                rows = writer(unfinished, _rows(view, stream, since))
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    return Exported(target, rows)


def seconds_of(moment: object, what: str) -> float:
    """Return an aware time in seconds since 1970 (UTC).

    Raises:
        InvalidInputError: It is none.
    """
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment.timestamp()
    raise InvalidInputError(f"{what} is {shown(moment)}.", hint="Pass a time with a time zone.")


def _before(older_than: object, now: datetime) -> datetime:
    if older_than is None:
        raise InvalidInputError(
            "How old the raw outcomes may get is not said.",
            hint="Pass older_than in days, or set retention_days: sentinelzer0 outcomes prune --older-than 90",
        )
    days = real(older_than)
    if days is None:
        seconds_of(older_than, "older_than")
        return older_than  # type: ignore[return-value]
    if not 0.0 <= days <= MAX_DAYS:
        raise InvalidInputError(f"older_than is {days:g} days.", hint=f"Pass an age from 0 to {MAX_DAYS} days.")
    return now - timedelta(days=days)


def _rows(view: Reader, stream: str, since: datetime | None) -> Iterator[dict[str, Any]]:
    for row in view.outcomes.all(stream, since):
        yield {"stream": stream} | row


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            row["recorded_at"] = row["recorded_at"].isoformat()
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise require_extra("parquet", "pyarrow") from error
    whole, number, text = pa.int64(), pa.float64(), pa.string()
    kinds = {
        "stream": text,
        "request_id": text,
        "arm": text,
        "success": whole,
        "latency_ms": number,
        "confidence": number,
        "predicted_label": whole,
        "true_label": whole,
        "unit": text,
        "segment": text,
        "phase": whole,
        "assigned": whole,
        "share": number,
        "slot": whole,
        "recorded_at": pa.timestamp("us", tz="UTC"),
        "cohort": whole,
        "late": whole,
        "custom": pa.map_(text, number),
    }
    schema = pa.schema(list(kinds.items()))
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        while page := list(islice(rows, _PAGE)):
            for row in page:
                row["custom"] = list(row["custom"].items())
            writer.write_table(pa.Table.from_pylist(page, schema=schema))
            count += len(page)
    return count
