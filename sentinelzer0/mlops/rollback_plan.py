"""What a rollback order means in the present state: where it leads, and every reason to refuse it."""

from __future__ import annotations

from dataclasses import dataclass

from sentinelzer0.domain import rollbacks as rules
from sentinelzer0.domain.audit import Outcome
from sentinelzer0.domain.deployments import Deployment
from sentinelzer0.domain.identity import PRODUCTION, Actor, is_name, subject_of_version
from sentinelzer0.domain.rollbacks import RollbackEvent, RollbackRequestStatus, RollbackStrategy
from sentinelzer0.domain.scalars import shown
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import RefusedError, RequestNotFoundError, SentinelError, VersionNotFoundError
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.mlops import integrity

EXECUTE = "rollback:production:execute"
BREAK_GLASS = "rollback:production:break-glass"

MAX_CANDIDATES = 32
"""How many known-good versions are tried, newest first, when no target is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A rollback as it was asked for.

    Attributes:
        to_version: The target, or None for the last known-good version.
        allow_unapproved: Whether a person insists on a target that is not known-good.
        request_id: The request that this order confirms, or None.
        follows: The rollback whose target failed its re-hash, or None.
    """

    model: str
    from_version: str
    to_version: str | None
    reason: str
    strategy: RollbackStrategy
    actor: Actor
    allow_unapproved: bool = False
    request_id: str | None = None
    follows: str | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Return the objects concerned, as far as they are known."""
        names = [self.from_version] if self.to_version is None else [self.from_version, self.to_version]
        request = () if self.request_id is None else (f"rollback:{self.request_id}",)
        return (*(subject_of_version(self.model, name) for name in names), *request)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an order means in one state of the workspace.

    Attributes:
        leaving: The version left.
        current: The deployment that gives it traffic.
        candidates: Where to go, the most wanted first; at least one.
        break_glass: Whether the target was never approved.
        log_size: Size of the audit log in that state. No state changes without a record, so while the size is the
            same the plan holds.
    """

    leaving: Version
    current: Deployment
    candidates: tuple[Version, ...]
    break_glass: bool
    log_size: int


def planned(view: Reader, order: Order, log_size: int) -> Plan:
    """Decide in the state that ``view`` shows.

    Args:
        view: The state.
        order: What is asked.
        log_size: Size of the audit log in this state.

    Raises:
        RefusedError: A rule of :mod:`sentinelzer0.domain.rollbacks` says no.
        VersionNotFoundError: A version is unknown or deleted.
    """
    rules.check_apart(order.from_version, order.to_version)
    if order.request_id is not None:
        confirmed(view, order)
    leaving = integrity.require_version(view, order.model, order.from_version)
    target = None if order.to_version is None else integrity.require_version(view, order.model, order.to_version)
    current = view.deployments.current(order.model, PRODUCTION)
    moved = None
    if current is None or order.from_version not in current.weights:
        moved = view.rollbacks.latest_from(order.model, order.from_version)
    current = rules.check_leaving(leaving, current, moved)
    if target is not None:
        unapproved = rules.check_target(target, order.actor, order.reason, allow_unapproved=order.allow_unapproved)
        return Plan(leaving, current, (target,), unapproved, log_size)
    candidates = tuple(view.versions.ways_back(order.model, order.from_version, MAX_CANDIDATES))
    if not candidates:
        raise rules.no_way_back(order.from_version)
    return Plan(leaving, current, candidates, False, log_size)  # noqa: FBT003


def confirmed(view: Reader, order: Order) -> RollbackEvent:
    """Return the request that an order confirms, as it is afterwards.

    Raises:
        RequestClosedError: It was decided before.
        ApproverNotAllowedError: Automation confirms.
    """
    request = require_request(view, order.request_id or "")
    return rules.decided(request, RollbackRequestStatus.CONFIRMED, order.actor, view.now, order.reason)


def require_request(view: Reader, request_id: str) -> RollbackEvent:
    """Return a request for a rollback.

    Raises:
        RequestNotFoundError: There is no such request.
    """
    found = view.rollbacks.get(request_id) if is_name(request_id) else None
    if found is None or "status" not in found.details:
        raise RequestNotFoundError(
            f"There is no request for a rollback {shown(request_id)}.", hint="See: sentinelzer0 rollback history"
        )
    return found


def decided(kernel: Kernel, order: Order) -> Plan:
    """Decide in the present state; a refusal is put on record.

    Raises:
        RefusedError: A rule says no.
        VersionNotFoundError: A version is unknown or deleted.
    """
    try:
        with kernel.read() as view:
            return planned(view, order, view.audit.head().size)
    except (RefusedError, VersionNotFoundError) as error:
        record_refusal(kernel, order, BREAK_GLASS if order.allow_unapproved else EXECUTE, error)
        raise


def record_refusal(kernel: Kernel, order: Order, action: str, error: SentinelError) -> None:
    """Put a refusal on record, also that of a name nobody knows."""
    with kernel.begin(order.actor, action, *order.subjects) as tx:
        tx.record(outcome=Outcome.REFUSED, reason=error.message, detail={"code": error.code})
