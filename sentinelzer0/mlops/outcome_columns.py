"""Outcomes of one shape, checked column by column: a step for a whole column costs less than one for every value.

A column is taken as it is where that is certain to be right, and checked value by value otherwise. Where something is
not possible the batch is left to the way row by row, which knows what to say about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any

from sentinelzer0.domain.assignment import CONTROL, HOLDOUT
from sentinelzer0.domain.outcome_values import (
    MAX_ID,
    MAX_LATENCY_MS,
    check_confidence,
    check_custom,
    check_label,
    check_latency,
    check_request_id,
    check_success,
)
from sentinelzer0.domain.outcomes import Outcome
from sentinelzer0.errors import SentinelError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.outcome_places import Place, assigned_place, check_told, segment_of, unit_of
from sentinelzer0.mlops.outcome_recording import Stream
from sentinelzer0.mlops.recorder_rows import RecorderRows

_NEEDED = frozenset({"model_version", "success", "latency_ms"})
_FIELDS = _NEEDED | {
    "confidence",
    "true_label",
    "predicted_label",
    "custom_metrics",
    "request_id",
    "key",
    "assignment",
    "segment",
}
_NONE = type(None)
_LABELS = {None, 0, 1}
_NO_CUSTOM: Mapping[str, float] = {}
_make: Callable[[tuple[Any, ...]], Outcome] = partial(
    tuple.__new__, Outcome
)  # a named tuple makes itself by a call of its own, which costs twice as much


def checked_columns(kernel: Kernel, stream: Stream, rows: Sequence[Any], base: str) -> list[Outcome] | None:
    """Return checked outcomes.

    Args:
        kernel: The open workspace.
        stream: Where the outcomes go.
        rows: Rows as callers give them.
        base: What request ids that are made up begin with.

    Returns:
        None when the rows are not all dictionaries with the same fields, or one of them is not possible.
    """
    try:
        columns = rows.columns if isinstance(rows, RecorderRows) else _columns(rows)
        return list(map(_make, zip(*_outcomes(kernel, stream, columns, base), strict=False)))
    except (KeyError, TypeError, SentinelError):  # which row it is, and what, is told row by row
        return None


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the values by field.

    Raises:
        KeyError: The rows are not all dictionaries with the same known fields.
    """
    names = tuple(rows[0]) if rows and type(rows[0]) is dict else ()
    shape = set(map(type, rows)), set(map(len, rows))
    if shape != ({dict}, {len(names)}) or not _NEEDED.issubset(names) or not _FIELDS.issuperset(names):
        raise KeyError
    return {name: list(map(itemgetter(name), rows)) for name in names}


def _outcomes(
    kernel: Kernel, stream: Stream, columns: Mapping[str, Sequence[Any]], base: str
) -> tuple[Iterable[Any], ...]:
    """Return the columns of :class:`Outcome`; what is the same in all rows has no end."""
    versions = columns["model_version"]
    arm_of = {version: stream.arms[version] for version in set(versions)}
    arms: list[str] = [arm_of[version] for version in versions]
    place: tuple[Iterable[Any], ...] = (repeat(stream.phase), repeat(0), repeat(None))
    assigned_ids: Iterable[Any] = repeat(None)
    if assignments := _said(columns, "assignment"):
        arms, *place, assigned_ids = zip(*_places(kernel, stream, versions, arms, assignments), strict=True)  # type: ignore[assignment]
    keys, segments, custom = (_said(columns, name) for name in ("key", "segment", "custom_metrics"))
    if stream.held_out is not None:
        unsaid = [None] * len(versions)
        for key, assignment in zip(keys or unsaid, assignments or unsaid, strict=True):
            check_told(stream, key, assignment)
    units = _units(keys) if keys else None
    if units and stream.held_out is not None:
        out = stream.held_out
        arms = [
            HOLDOUT if unit is not None and arm == CONTROL and out(unit) else arm
            for unit, arm in zip(units, arms, strict=True)
        ]
    segment_by_name = {name: "" if name is None else segment_of(stream, name) for name in set(segments or ())}
    return (
        _request_ids(columns.get("request_id") or [None] * len(versions), assigned_ids, base),
        arms,
        _successes(columns["success"]),
        _numbers(columns["latency_ms"], MAX_LATENCY_MS, check_latency),
        _numbers(confidences, 1.0, check_confidence) if (confidences := _said(columns, "confidence")) else repeat(None),
        _labels(columns, "predicted_label"),
        _labels(columns, "true_label"),
        units or repeat(None),
        [_NO_CUSTOM if values is None else check_custom(values) for values in custom] if custom else repeat(_NO_CUSTOM),
        [segment_by_name[name] for name in segments] if segments else repeat(""),
        *place,
        repeat(0) if stream.slots is None else [stream.slots.get(arm, 0) for arm in arms],
    )


def _said(columns: Mapping[str, Sequence[Any]], name: str) -> Sequence[Any] | None:
    """Return a column; None when it says nothing."""
    column = columns.get(name)
    return None if column is None or set(map(type, column)) == {_NONE} else column


def _places(
    kernel: Kernel, stream: Stream, versions: Sequence[Any], arms: Sequence[str], assignments: Sequence[Any]
) -> Iterable[Place]:
    for version, arm, assignment in zip(versions, arms, assignments, strict=True):
        place = Place(arm, stream.phase, 0, None, None)
        if assignment is not None:
            place = assigned_place(kernel, stream, version, place, assignment, None, None)
        yield place


def _request_ids(given: Sequence[Any], assigned: Iterable[Any], base: str) -> Sequence[str]:
    if _NONE in map(type, given):
        given = [
            (by_assignment or f"{base}_{number:06d}") if said is None else said
            for number, (said, by_assignment) in enumerate(zip(given, assigned, strict=False))
        ]
    if set(map(type, given)) == {str} and _is_plain(given):
        lengths = set(map(len, given))
        if min(lengths) > 0 and max(lengths) <= MAX_ID:
            return given
    return list(map(check_request_id, given))


def _units(keys: Sequence[Any]) -> Sequence[str | None]:
    if (
        set(map(type, keys)) <= {str, _NONE}
        and "" not in keys
        and _is_plain(keys if None not in keys else filter(None, keys))
    ):
        return keys
    return [None if key is None else unit_of(key) for key in keys]


def _is_plain(texts: Iterable[str]) -> bool:
    """Return whether every database keeps these texts: ASCII without NUL."""
    everything = "".join(texts)
    return everything.isascii() and "\0" not in everything


def _successes(column: Sequence[Any]) -> list[int]:
    if set(map(type, column)) == {bool}:
        return [1 if success else 0 for success in column]
    return list(map(check_success, column))


def _numbers(column: Sequence[Any], most: float, check: Callable[[Any], float | None]) -> Sequence[float | None]:
    if set(map(type, column)) == {float} and not [x for x in column if not 0.0 <= x <= most]:
        return column
    return list(map(check, column))


def _labels(columns: Mapping[str, Sequence[Any]], name: str) -> Iterable[int | None]:
    column = _said(columns, name)
    if column is None:
        return repeat(None)
    if set(map(type, column)) <= {int, _NONE} and _LABELS.issuperset(column):
        return column
    return [check_label(label, name) for label in column]
