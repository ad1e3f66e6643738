"""Rollbacks: what may be left for what, and what happens to both.

This module decides whether a rollback is allowed and what it changes. It performs no I/O. The laws:

- A rollback leaves a version that has production traffic; whoever comes second is told who was first.
- The way back is a living version that served production with an approval or a waiver on record and is not
  quarantined. Automation goes nowhere else; a named person may, with a reason, and it is called break-glass.
- A deprecated version is never chosen; it is gone to only when somebody names it.
- The version left is quarantined until a person releases it; from production it goes to staging.
- Automation never overrides a person; a person's rollback is never blocked by automation.
- Unknown health triggers nothing, and the strategy ``manual`` only ever asks a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.domain.deployments import Deployment
from sentinelzer0.domain.health import HealthCheck, HealthStatus
from sentinelzer0.domain.identity import DEFAULT_MODEL, PRODUCTION, Actor, check_person, is_person
from sentinelzer0.domain.versions import ModelStage, Version
from sentinelzer0.errors import (
    ConflictError,
    IllegalTransitionError,
    InvalidInputError,
    NotKnownGoodError,
    QuarantinedError,
    RequestClosedError,
)

DEFAULT_REASON = "Automated rollback"
RECHECK_RUNNING = "running"
"""``details["recheck"]`` of an event until the promised full hash is done; then ``passed``, ``failed: …``."""


class RollbackStrategy(StrEnum):
    """How a rollback proceeds."""

    IMMEDIATE = "immediate"
    MANUAL = "manual"


class RollbackRequestStatus(StrEnum):
    """What became of a request that a person must confirm."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class RollbackEvent:
    """A rollback, a rollback that failed, or a request for one.

    Attributes:
        event_id: Unique id, ``rb_…``; of a request, also its request id.
        timestamp: When it was committed, aware.
        from_version: The version left.
        to_version: The version gone back to, or proposed; None when it failed before one was found.
        reason: Why.
        strategy: ``immediate`` or ``manual``.
        triggered_by: Who.
        success: Whether traffic moved.
        details: Of a rollback: ``target_model_path``, ``rollback_method``, ``verified_digest`` (SHA-256),
            ``verification`` (``full`` or ``cached(age)``), ``durations_ms`` {decide, verify, write}, ``revision`` of
            the deployment, ``skipped`` versions, ``cancelled_tests``. Of a failure: ``error``. Of a request:
            ``request_id``, ``status``.
        model: The model.
        environment: The environment whose traffic it is about.
    """

    event_id: str
    timestamp: datetime
    from_version: str
    to_version: str | None
    reason: str
    strategy: RollbackStrategy
    triggered_by: str
    success: bool
    details: dict[str, Any] = field(default_factory=dict)
    model: str = DEFAULT_MODEL
    environment: str = PRODUCTION

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the time is ISO-8601."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return row | {
            "timestamp": self.timestamp.isoformat(),
            "strategy": self.strategy.value,
            "details": {**self.details},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RollbackEvent:
        """Build an event from :meth:`to_dict`."""
        row = dict(raw) | {"timestamp": datetime.fromisoformat(raw["timestamp"])}
        return cls(**row | {"strategy": RollbackStrategy(raw["strategy"])})


def checked_strategy(value: RollbackStrategy | str) -> RollbackStrategy:
    """Return a strategy.

    Raises:
        InvalidInputError: There is no such strategy.
    """
    try:
        return RollbackStrategy(value)
    except ValueError as error:
        raise InvalidInputError(
            f"{value!r} is not a rollback strategy.", hint=f"Use one of: {', '.join(RollbackStrategy)}."
        ) from error


def is_due(current_version: str, health: HealthCheck, strategy: RollbackStrategy) -> bool:
    """Return whether automation should roll back now.

    Raises:
        InvalidInputError: The health check is about another version.
    """
    if health.version != current_version:
        raise InvalidInputError(
            f"The health check is about {health.version!r}, not about {current_version!r}.",
            hint="Check the health of the version that serves.",
        )
    return strategy is RollbackStrategy.IMMEDIATE and health.status is HealthStatus.UNHEALTHY


def check_leaving(version: Version, current: Deployment | None, moved: RollbackEvent | None) -> Deployment:
    """Return the deployment that gives the version traffic.

    Args:
        version: The version to leave.
        current: What serves now, or None.
        moved: The latest rollback that left this version, or None.

    Raises:
        ConflictError: It has no traffic; says which rollback took it away, or what serves.
    """
    if current is not None and version.version in current.weights:
        return current
    if moved is not None and (version.production_at is None or moved.timestamp >= version.production_at):
        raise ConflictError(
            f"{version.version} was already rolled back to {moved.to_version} by {moved.triggered_by} at "
            f"{moved.timestamp:%Y-%m-%d %H:%M:%S} UTC ({moved.event_id}).",
            hint="Nothing needs to be done.",
        )
    serving = "nothing does" if current is None or not current.weights else f"{', '.join(current.weights)} does"
    raise ConflictError(
        f"{version.version} does not serve {PRODUCTION}: {serving}.", hint="Roll back from what serves."
    )


def check_apart(from_version: str, to_version: str | None) -> None:
    """Refuse a rollback of a version to itself.

    Raises:
        IllegalTransitionError: It is one.
    """
    if from_version == to_version:
        raise IllegalTransitionError(
            f"{from_version} cannot be rolled back to itself.", hint="Name another version, or none."
        )


def check_target(target: Version, actor: Actor, reason: str, *, allow_unapproved: bool) -> bool:
    """Return whether going to ``target`` is break-glass; False for the ordinary way back.

    Raises:
        QuarantinedError: It was rolled back from and not released.
        NotKnownGoodError: It never served production with an approval, and no person insists.
        InvalidInputError: A person insists without saying why.
    """
    if target.quarantined_at is not None:
        raise QuarantinedError(
            f"{target.version} is quarantined since {target.quarantined_at:%Y-%m-%d %H:%M} UTC: "
            f"{target.quarantine_reason or 'it was rolled back from'}.",
            hint=f"A person releases it: sentinelzer0 rollback release {target.version} --reason …",
        )
    if target.known_good_at is not None:
        return False
    if not (allow_unapproved and is_person(actor)):
        who = f" {actor.name} is automatic and goes back to known-good versions only." if allow_unapproved else ""
        raise NotKnownGoodError(
            f"{target.version} never served {PRODUCTION} with an approval.{who}",
            hint="Name a version that did, or none; a person may insist with allow_unapproved=True and a reason.",
        )
    if not reason.strip() or reason == DEFAULT_REASON:
        raise InvalidInputError(
            f"No reason is given for going to {target.version}, which was never approved.",
            hint="Say why: the reason stays on record.",
        )
    return True


def no_way_back(from_version: str) -> NotKnownGoodError:
    """Return the error that there is nothing to go back to."""
    return NotKnownGoodError(
        f"There is no known-good version to go back to from {from_version}: no other living version that served "
        f"{PRODUCTION} is free of quarantine and not deprecated.",
        hint="Name a version to go back to, or release a quarantined one.",
    )


def left(version: Version, now: datetime, reason: str) -> Version:
    """Return the version after it was rolled back from: quarantined, and in staging if it was in production."""
    stage = ModelStage.STAGING if version.stage is ModelStage.PRODUCTION else version.stage
    return replace(version, stage=stage, quarantined_at=now, quarantine_reason=reason)


def restored(version: Version, now: datetime) -> Version:
    """Return the version as what production serves; it counts as known-good only if it did before."""
    return replace(version, stage=ModelStage.PRODUCTION, deprecated=False, production_at=now)


def released(version: Version) -> Version:
    """Return the version without its quarantine.

    Raises:
        ConflictError: It is not quarantined.
    """
    if version.quarantined_at is None:
        raise ConflictError(f"{version.version} is not quarantined.", hint="Nothing needs to be done.")
    return replace(version, quarantined_at=None, quarantine_reason="")


def decided(
    request: RollbackEvent, status: RollbackRequestStatus, person: Actor, now: datetime, reason: str
) -> RollbackEvent:
    """Return a request that a person confirmed or dismissed, for good.

    Raises:
        RequestClosedError: It was decided before.
        ApproverNotAllowedError: Automation decides.
    """
    check_person(person, "decide about a rollback")
    details = request.details
    if details["status"] != RollbackRequestStatus.OPEN:
        raise RequestClosedError(
            f"Request {request.event_id} was already {details['status']} by {details['decided_by']}.",
            hint="Nothing needs to be done.",
        )
    decision = {"status": status.value, "decided_by": person.name, "decided_at": now.isoformat(), "decision": reason}
    return replace(request, details=details | decision)
