"""Outcomes and labels as callers give them, checked before anything is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from sentinelzer0.domain.scalars import shown
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.outcome_columns import checked_columns
from sentinelzer0.mlops.outcome_places import Place, assigned_place, check_told, segment_of, unit_of, unknown_arm
from sentinelzer0.mlops.outcome_recording import Stream
from sentinelzer0.mlops.recorder_rows import RecorderRows

_FIELDS = frozenset(
    {
        "model_version",
        "success",
        "latency_ms",
        "confidence",
        "true_label",
        "predicted_label",
        "custom_metrics",
        "request_id",
        "key",
        "assignment",
        "segment",
        "revision",
        "share",
    }
)
_USUAL = frozenset(
    {
        "model_version",
        "success",
        "latency_ms",
        "confidence",
        "true_label",
        "predicted_label",
        "request_id",
    }
)
"""The fields of nearly every row."""

_BITS = (0, 1)
_NO_CUSTOM: Mapping[str, float] = {}
_new: Callable[[type[Outcome], tuple[Any, ...]], Outcome] = (
    tuple.__new__
)  # a named tuple makes itself by a call of its own, which costs twice as much


def checked(
    kernel: Kernel,
    stream: Stream,
    version: Any,
    success: Any,
    latency_ms: Any,
    confidence: Any = None,
    true_label: Any = None,
    predicted_label: Any = None,
    custom_metrics: Any = None,
    request_id: Any = None,
    key: Any = None,
    assignment: Any = None,
    segment: Any = None,
    revision: Any = None,
    share: Any = None,
) -> Outcome:
    """Return a checked outcome; the arguments are those of ``record_result``.

    Raises:
        InvalidInputError: Something in it is not possible; the message says what.
    """
    try:
        arm = stream.arms[version]
    except (KeyError, TypeError):
        raise unknown_arm(stream, version) from None
    phase, assigned, assigned_id = stream.phase, 0, None
    if assignment is not None or revision is not None or share is not None:
        place = Place(arm, phase, 0, None, None)
        arm, phase, assigned, share, assigned_id = assigned_place(
            kernel, stream, version, place, assignment, revision, share
        )
    if request_id is None:
        request_id = assigned_id or stream.fresh_id(kernel)
    request_id = _checked_id(request_id)
    key = None if key is None else unit_of(key)
    if stream.held_out is not None:
        check_told(stream, key, assignment)
        if key is not None and arm == CONTROL and stream.held_out(key):
            arm = HOLDOUT
    # The usual values are let through here, because a call for each costs as much as a statement.
    if type(latency_ms) is not float or not 0.0 <= latency_ms <= MAX_LATENCY_MS:
        latency_ms = check_latency(latency_ms)
    if confidence is not None and (type(confidence) is not float or not 0.0 <= confidence <= 1.0):
        confidence = check_confidence(confidence)
    if predicted_label is not None and (type(predicted_label) is not int or predicted_label not in _BITS):
        predicted_label = check_label(predicted_label, "predicted_label")
    if true_label is not None and (type(true_label) is not int or true_label not in _BITS):
        true_label = check_label(true_label, "true_label")
    answered = 1 if success is True else 0 if success is False else check_success(success)
    said = (request_id, arm, answered, latency_ms, confidence, predicted_label, true_label, key)
    custom = _NO_CUSTOM if custom_metrics is None else check_custom(custom_metrics)
    segment = "" if segment is None else segment_of(stream, segment)
    slot = 0 if stream.slots is None else stream.slots.get(arm, 0)
    return _new(Outcome, (*said, custom, segment, phase, assigned, share, slot))


def checked_rows(kernel: Kernel, stream: Stream, rows: Any) -> list[Outcome]:
    """Return checked outcomes.

    Raises:
        InvalidInputError: A row is not possible; the message names it, counted from 0.
    """
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise InvalidInputError(
            f"rows is a {type(rows).__name__}.", hint="Pass a list of mappings, one for each request."
        )
    base = kernel.ids.new("out")
    if not isinstance(rows, list | tuple | RecorderRows):
        rows = list(rows)
    usual = checked_columns(kernel, stream, rows, base)
    if usual is not None:
        return usual
    outcomes: list[Outcome] = []
    for number, row in enumerate(rows):
        try:
            # Numbers of one width keep the rows of a batch in the order of their key, which inserts faster.
            outcomes.append(_checked_row(kernel, stream, row, f"{base}_{number:06d}"))
        except InvalidInputError as error:
            raise type(error)(f"Row {number}: {error.message} Nothing was recorded.", hint=error.hint) from error
    return outcomes


def checked_labels(rows: Any) -> list[tuple[str, int]]:
    """Return checked request ids and labels.

    Args:
        rows: Mappings with ``request_id`` and ``true_label``, or pairs of both.

    Raises:
        InvalidInputError: A row is not possible; the message names it, counted from 0.
    """
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise InvalidInputError(f"rows is a {type(rows).__name__}.", hint="Pass a list of (request_id, true_label).")
    labels: list[tuple[str, int]] = []
    for number, row in enumerate(rows):
        try:
            labels.append(_label_row(row))
        except InvalidInputError as error:
            raise type(error)(f"Row {number}: {error.message} Nothing was recorded.", hint=error.hint) from error
    return labels


def required_label(value: Any) -> int:
    """Return a true label.

    Raises:
        InvalidInputError: It is None, or neither an attack nor benign.
    """
    label = check_label(value, "true_label")
    if label is None:
        raise InvalidInputError("true_label is None.", hint="Record a label once it is known.")
    return label


def _checked_id(given: Any) -> str:
    if type(given) is str and 0 < len(given) <= MAX_ID and given.isascii() and "\0" not in given:
        return given
    return check_request_id(given)


def _label_row(row: Any) -> tuple[str, int]:
    if isinstance(row, Mapping):
        if row.keys() != {"request_id", "true_label"}:
            raise InvalidInputError(
                f"Its fields are {', '.join(sorted(map(str, row))) or 'none'}.", hint="Use: request_id, true_label."
            )
        return check_request_id(row["request_id"]), required_label(row["true_label"])
    if isinstance(row, tuple | list) and len(row) == 2:
        return check_request_id(row[0]), required_label(row[1])
    raise InvalidInputError(f"It is {shown(row)}.", hint="Pass (request_id, true_label).")


def _checked_row(kernel: Kernel, stream: Stream, row: Any, own_id: str) -> Outcome:
    if type(row) is not dict and not isinstance(row, Mapping):
        raise InvalidInputError(f"It is a {type(row).__name__}, not a mapping.")
    usual = _USUAL.issuperset(row)
    if not usual and not _FIELDS.issuperset(row):
        unknown = sorted(str(name) for name in row if name not in _FIELDS)
        raise InvalidInputError(f"There is no field {unknown[0]!r}.", hint=f"Use: {', '.join(sorted(_FIELDS))}.")
    try:
        version, success, latency = row["model_version"], row["success"], row["latency_ms"]
    except KeyError as missing:
        raise InvalidInputError(
            f"{missing.args[0]} is missing.", hint="Every row needs model_version, success and latency_ms."
        ) from missing
    get = row.get
    request_id = get("request_id")
    if usual:
        return checked(
            kernel,
            stream,
            version,
            success,
            latency,
            get("confidence"),
            get("true_label"),
            get("predicted_label"),
            None,
            own_id if request_id is None else request_id,
        )
    assignment = get("assignment")
    return checked(
        kernel,
        stream,
        version,
        success,
        latency,
        get("confidence"),
        get("true_label"),
        get("predicted_label"),
        get("custom_metrics"),
        own_id if request_id is None and assignment is None else request_id,
        get("key"),
        assignment,
        get("segment"),
        get("revision"),
        get("share"),
    )
