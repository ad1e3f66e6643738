"""Versions: immutable content with a stage, and the one table of stage transitions.

This module decides what a version is and how its stage may change. It performs no I/O. The laws:

- A version's content, digest, metrics and parent never change; only stage, deprecation, tags and notes do.
- Stage and status are two readings of one state: a deprecated version has status ``deprecated`` whatever its
  stage; a version without a stage reads as ``development``.
- Any stage but production may become deprecated; deprecated goes only to archived.
- Production is left for ``staging`` only by a rollback.

>>> check_transition(ModelStage.STAGING, ModelStage.PRODUCTION)
>>> check_transition(ModelStage.DEVELOPMENT, ModelStage.PRODUCTION)
Traceback (most recent call last):
...
sentinelzer0.errors.IllegalTransitionError: A version cannot go from development to production. Possible from \
development: staging, archived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from numbers import Real
from typing import Any

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.identity import check_text
from sentinelzer0.domain.scalars import plain, real, shown, truth, whole
from sentinelzer0.errors import IllegalTransitionError, InvalidInputError, InvalidMetricError


class ModelStage(StrEnum):
    """How far a registered version has come. Ignores deprecation."""

    NONE = "none"
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


class VersionStatus(StrEnum):
    """A version's stage as its users see it, with deprecation taken into account."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"
    DEPRECATED = "deprecated"


TRANSITIONS: dict[ModelStage, tuple[ModelStage, ...]] = {
    ModelStage.NONE: (ModelStage.DEVELOPMENT,),
    ModelStage.DEVELOPMENT: (ModelStage.STAGING, ModelStage.ARCHIVED),
    ModelStage.STAGING: (ModelStage.PRODUCTION, ModelStage.DEVELOPMENT, ModelStage.ARCHIVED),
    ModelStage.PRODUCTION: (ModelStage.ARCHIVED,),
    ModelStage.ARCHIVED: (ModelStage.DEVELOPMENT,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The state of one version, as stored.

    Attributes:
        seq: Position in the order of creation; the sequence number of the audit record that created it.
        digest: SHA-256 (hex) of the file, or of the canonical manifest of a directory.
        kind: ``file`` or ``directory``.
        size: Bytes, summed over the members of a directory.
        filename: Original base name, which is also its name in the readable view.
        production_at: When it last became what production serves.
        known_good_at: When it first served production with an approval or a waiver on record; a way back.
        quarantined_at: When it was rolled back from, until a person releases it.
        deleted_at: When it was deleted; the row stays as a tombstone.
    """

    seq: int
    model: str
    version: str
    digest: str
    kind: str
    size: int
    filename: str
    created_at: datetime
    created_by: str
    framework: str = ""
    framework_version: str = ""
    model_type: str = ""
    architecture: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training_dataset: str = ""
    training_metrics: dict[str, float] = field(default_factory=dict)
    validation_metrics: dict[str, float] = field(default_factory=dict)
    test_metrics: dict[str, float] = field(default_factory=dict)
    parent_version: str | None = None
    stage: ModelStage = ModelStage.NONE
    deprecated: bool = False
    tags: tuple[str, ...] = ()
    notes: str = ""
    production_at: datetime | None = None
    known_good_at: datetime | None = None
    quarantined_at: datetime | None = None
    quarantine_reason: str = ""
    deleted_at: datetime | None = None

    @property
    def status(self) -> VersionStatus:
        """Return the stage as users see it."""
        if self.deprecated:
            return VersionStatus.DEPRECATED
        return VersionStatus.DEVELOPMENT if self.stage is ModelStage.NONE else VersionStatus(self.stage.value)


def last_in_production(version: Version) -> tuple[datetime, int]:
    """Return what versions that were in production are ordered by: the one that entered it last is the greatest."""
    return version.production_at or version.created_at, version.seq


def check_transition(source: ModelStage, target: ModelStage) -> None:
    """Accept a move from one stage to another, or explain why not.

    Raises:
        IllegalTransitionError: The table has no such move.
    """
    allowed = TRANSITIONS[source]
    if target in allowed:
        return
    names = ", ".join(allowed)
    raise IllegalTransitionError(
        f"A version cannot go from {source} to {target}.", hint=f"Possible from {source}: {names}."
    )


def promoted(version: Version, target: VersionStatus) -> Version:
    """Return ``version`` moved to ``target``, following the one transition table.

    A version without a stage reads as development and moves as such.

    Raises:
        IllegalTransitionError: The move is not in the table.
    """
    if target is VersionStatus.DEPRECATED:
        if version.deprecated or version.stage is ModelStage.PRODUCTION:
            was = version.status
            raise IllegalTransitionError(
                f"{version.version} is {was}: it cannot become deprecated.",
                hint="Archive a production version first." if was is VersionStatus.PRODUCTION else "It already is.",
            )
        return replace(version, deprecated=True)
    stage = ModelStage(target.value)
    if version.deprecated:
        if stage is not ModelStage.ARCHIVED:
            raise IllegalTransitionError(
                f"{version.version} is deprecated: it cannot go to {target}.", hint="It can only be archived."
            )
        return replace(version, stage=stage, deprecated=False)
    if version.stage is ModelStage.NONE and stage is ModelStage.DEVELOPMENT:
        return replace(version, stage=stage)
    source = ModelStage.DEVELOPMENT if version.stage is ModelStage.NONE else version.stage
    check_transition(source, stage)
    return replace(version, stage=stage)


def check_servable(version: Version) -> None:
    """Accept only a version that may be given new traffic.

    Raises:
        IllegalTransitionError: It is deprecated or archived.
    """
    if version.deprecated or version.stage is ModelStage.ARCHIVED:
        raise IllegalTransitionError(
            f"{version.version} is {version.status}: it gets no traffic.",
            hint="Take another version, or move an archived one to development first.",
        )


def percent_change(base: float | None, value: float | None) -> float | None:
    """Return the change from ``base`` to ``value`` in percent, or None when it is undefined."""
    if base is None or value is None or base == 0:
        return None
    return (value - base) / abs(base) * 100.0


def compare_metrics(first: dict[str, float], second: dict[str, float]) -> dict[str, dict[str, float | None]]:
    """Return every metric of either side with both values, difference and percent change (absent is None)."""
    compared: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        compared[name] = {
            "version1": a,
            "version2": b,
            "diff": None if a is None or b is None else b - a,
            "percent_change": percent_change(a, b),
        }
    return compared


def differing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the keys whose values differ, with both values (absent is None)."""
    return {
        key: {"version1": first.get(key), "version2": second.get(key)}
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key) or (key in first) != (key in second)
    }


def check_metrics(metrics: object, what: str) -> dict[str, float]:
    """Return metrics as finite numbers by name.

    Args:
        metrics: A mapping of names to numbers, or None.
        what: Which metrics, for the message.

    Raises:
        InvalidMetricError: Not a mapping, a name that is not text, or a value that is not a finite number.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise InvalidMetricError(f"{what} must map names to numbers, not be {type(metrics).__name__}.")
    checked: dict[str, float] = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or not name or not check_text(name, f"name of a metric in {what}"):
            raise InvalidMetricError(f"{what} has a metric named {name!r}.", hint="A metric's name is text.")
        number = real(value)
        if number is None:
            raise InvalidMetricError(f"{what}[{name!r}] is {shown(value)}, which is not a number.")
        if not math.isfinite(number):
            raise InvalidMetricError(
                f"{what}[{name!r}] is {number}.", hint="Leave a metric out when it could not be computed."
            )
        checked[plain(name)] = number
    return checked


def check_document(document: object, what: str) -> dict[str, Any]:
    """Return a mapping of JSON values, such as hyperparameters, as it will be read back.

    Numbers of numeric libraries become plain numbers, tuples become lists.

    Raises:
        InvalidInputError: Something in it has no JSON form.
    """
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise InvalidInputError(f"{what} must be a mapping, not {type(document).__name__}.")
    try:
        checked: dict[str, Any] = _plain(document)
        canonical_json.dumps(checked)
    except InvalidInputError as error:
        raise InvalidInputError(f"{what} cannot be stored: {error.message}", hint=error.hint) from error
    except RecursionError as error:
        raise InvalidInputError(
            f"{what} cannot be stored: it is circular or nested too deeply.", hint="Store a flat form of it."
        ) from error
    return checked


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        mapped = {plain(key) if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
        if len(mapped) < len(value):
            raise InvalidInputError("Two of its keys are the same as text.", hint="Use text as keys.")
        return mapped
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return plain(value)
    if (answer := truth(value)) is not None:
        return answer
    # Whole numbers stay exact, so that one too large for JSON is refused and not rounded.
    number = whole(value)
    return (real(value) if number is None else number) if isinstance(value, Real) else value
