"""Health checks and the way back: leave a bad version for a known-good one in one transaction.

Stages, deployment revision, registry entries, event and audit record change together or not at all. The target's
bytes are verified first, and the version left is quarantined until a person releases it.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from sentinelzer0.domain import rollbacks as rules
from sentinelzer0.domain.health import HealthCheck, HealthStatus, Thresholds, assess
from sentinelzer0.domain.identity import (
    DEFAULT_MODEL,
    Actor,
    check_actor,
    check_identifier,
    check_person,
    check_text,
    is_name,
    subject_of_version,
)
from sentinelzer0.domain.rollbacks import RollbackEvent, RollbackRequestStatus, RollbackStrategy
from sentinelzer0.domain.scalars import shown, truth
from sentinelzer0.errors import InvalidInputError, VersionNotFoundError, WorkspaceError
from sentinelzer0.kernel import Kernel, write_json
from sentinelzer0.mlops import approvals, integrity, rollback_steps
from sentinelzer0.mlops.ab_publishing import write_results
from sentinelzer0.mlops.model_registry import HEALTH, ModelRegistry
from sentinelzer0.mlops.public_values import ModelVersion, checked_limit
from sentinelzer0.mlops.rollback_plan import EXECUTE, Order, require_request
from sentinelzer0.mlops.rollback_rechecks import Rechecks
from sentinelzer0.mlops.tracking import TrackedEvent, Tracker, publish
from sentinelzer0.mlops.version_manager import ModelVersionManager

__all__ = ["HealthCheck", "HealthStatus", "RollbackEvent", "RollbackManager", "RollbackStrategy"]

RELEASE = "rollback:quarantine:release"
TRACKER_PATIENCE_S = 2.0
"""How long a rollback's return waits for the tracker; a slower one is told from a thread meanwhile."""

_log = logging.getLogger("sentinelzer0.mlops.rollback")


class RollbackManager:
    """Health and rollbacks of the workspace a version manager has open.

    Args:
        version_manager: The manager whose workspace this is.
        registry: The registry of the same workspace.
        rollback_dir: Directory of the readable event files; left out, the workspace's own.
        tracker: Where rollbacks are also reported, after their commit.

    Raises:
        InvalidInputError: The registry belongs to another workspace.
    """

    def __init__(
        self,
        version_manager: ModelVersionManager,
        registry: ModelRegistry,
        rollback_dir: str | os.PathLike[str] = "models/rollback",
        *,
        tracker: Tracker | None = None,
    ) -> None:
        self.kernel: Kernel = version_manager.kernel
        if registry.kernel.workspace_id != self.kernel.workspace_id:
            raise InvalidInputError(
                f"The registry belongs to {registry.kernel.layout.root}, not to {self.kernel.layout.root}.",
                hint="Give the registry of the same version manager.",
            )
        self._versions = version_manager
        self._tracker = tracker
        given = Path(rollback_dir)
        own = given == Path("models/rollback")
        # Absolute: a later change of the working directory does not move the files.
        self._directory = self.kernel.layout.rollback if own else Path(os.path.abspath(given))  # noqa: PTH100
        self._thresholds = Thresholds()
        self._rechecks = Rechecks(self.kernel, self._rewrite, self._tell)

    @property
    def rollback_dir(self) -> Path:
        """The directory of the readable event files."""
        return self._directory

    @property
    def rollback_history(self) -> tuple[RollbackEvent, ...]:
        """Every rollback, failed rollback and request of the default model, oldest first: the latest is the last."""
        return tuple(reversed(self.get_rollback_history(limit=None)))

    @property
    def error_rate_threshold(self) -> float:
        """Share of failed requests from which a version is unhealthy: above 0, at most 1."""
        return self._thresholds.error_rate

    @error_rate_threshold.setter
    def error_rate_threshold(self, value: float) -> None:
        self._thresholds = replace(self._thresholds, error_rate=value)

    @property
    def latency_threshold_ms(self) -> float:
        """Mean latency in milliseconds from which a version is unhealthy: above 0."""
        return self._thresholds.latency_ms

    @latency_threshold_ms.setter
    def latency_threshold_ms(self, value: float) -> None:
        self._thresholds = replace(self._thresholds, latency_ms=value)

    @property
    def min_requests_for_check(self) -> int:
        """Number of requests below which nothing is said: at least 1."""
        return self._thresholds.min_requests

    @min_requests_for_check.setter
    def min_requests_for_check(self, value: int) -> None:
        self._thresholds = replace(self._thresholds, min_requests=value)

    def check_health(
        self, version: str, metrics: dict[str, Any], *, checked_by: str = "system", model: str = DEFAULT_MODEL
    ) -> HealthCheck:
        """Judge measurements of a version and write the result to its registry entry, if it has one.

        Args:
            version: An existing version.
            metrics: ``error_rate`` (0..1), ``avg_latency_ms``, ``total_requests``, ``failed_requests``; others
                are kept. Missing is unknown, never 0; an error rate follows from the counts when it is left out.
            checked_by: Who measured.
            model: The model.

        Returns:
            Unhealthy when a metric is at or above its threshold over enough requests; otherwise unknown when there
            are too few requests or a metric is missing; otherwise healthy.

        Raises:
            VersionNotFoundError: There is no such version.
            InvalidMetricError: A value is impossible or contradicts another.
        """
        thresholds = self._thresholds
        with self.kernel.read() as view:
            integrity.require_version(view, model, version)
            check = assess(version, metrics, thresholds, view.now)
            if view.registry.entry(model, version) is None:
                return check
        with self.kernel.begin(checked_by, HEALTH, subject_of_version(model, version)) as tx:
            found = integrity.require_version(tx, model, version)
            entry = approvals.require_entry(tx, model, version)
            status = str(check.status)
            tx.registry.put_entry(approvals.with_health(entry, status, dict(metrics), tx.now))
            detail = {"status": status, "thresholds": check.details["thresholds"]}
            tx.record(digest=found.digest, reason=" ".join(check.details["reasons"]), detail=detail)
            return replace(check, timestamp=tx.now)

    def should_rollback(
        self,
        current_version: str,
        health_check: HealthCheck,
        strategy: RollbackStrategy | str = RollbackStrategy.IMMEDIATE,
    ) -> bool:
        """Return whether automation should roll back: on unhealthy, never on unknown, never when ``manual``.

        Raises:
            InvalidInputError: The check is about another version, or the strategy is unknown.
        """
        return rules.is_due(current_version, health_check, rules.checked_strategy(strategy))

    def execute_rollback(
        self,
        from_version: str,
        to_version: str | None = None,
        reason: str = rules.DEFAULT_REASON,
        strategy: RollbackStrategy | str = RollbackStrategy.IMMEDIATE,
        *,
        triggered_by: str | Actor = "system",
        allow_unapproved: bool = False,
        model: str = DEFAULT_MODEL,
    ) -> RollbackEvent:
        """Give all production traffic to another version and quarantine the one left, in one transaction.

        The target is verified first: up to 32 MiB in full; above, a full verification at most an hour old counts
        while device, inode, size and times of the files are unchanged. It is then hashed in full right after the
        switch, in a thread, and if that fails, the next known-good version is taken by a second rollback.

        Args:
            from_version: A version with production traffic.
            to_version: The target; None takes the version that served production last, is known-good, neither
                quarantined nor deprecated, and verifies.
            reason: Why; it becomes the reason of the quarantine.
            strategy: ``immediate``, or ``manual``: open a request that a person confirms.
            triggered_by: Who; ``system`` is automation, which goes to known-good versions only.
            allow_unapproved: A person insists, with a reason, on a target that was never approved (break-glass).
            model: The model.

        Returns:
            The event. A failure of the storage after acceptance is an event with ``success=False`` and
            ``details["error"]``; a request has ``success=False`` and ``details["request_id"]``.

        Raises:
            ConflictError: ``from_version`` serves nothing; says which rollback took it away.
            IllegalTransitionError: A rollback to itself.
            VersionNotFoundError: A version is unknown or deleted.
            NotKnownGoodError: The target never served production with an approval, or there is no way back.
            QuarantinedError: The target was rolled back from and not released.
            IntegrityError: The target's bytes are not those that were registered.
            InvalidInputError: ``allow_unapproved`` is no truth value, or a text or name is none.
        """
        order = Order(
            model=check_identifier(model, "model"),
            from_version=check_identifier(from_version, "version"),
            to_version=None if to_version is None else check_identifier(to_version, "version"),
            reason=check_text(reason, "reason", required=True),
            strategy=rules.checked_strategy(strategy),
            actor=check_actor(triggered_by),
            allow_unapproved=_checked_insistence(allow_unapproved),
        )
        if order.strategy is RollbackStrategy.IMMEDIATE:
            return self._run(order)
        event, is_new = rollback_steps.open_request(self.kernel, order)
        if is_new:
            self._publish(event)
        return event

    def confirm(self, request_id: str, confirmed_by: str | Actor, reason: str) -> RollbackEvent:
        """Execute a requested rollback.

        Args:
            request_id: From ``details["request_id"]`` of the request.
            confirmed_by: A person.
            reason: Why, in that person's words.

        Raises:
            RequestNotFoundError: There is no such request.
            RequestClosedError: It was decided before.
            ApproverNotAllowedError: Automation confirms.
            RefusedError: As for :meth:`execute_rollback`; the request stays open.
        """
        with self.kernel.read() as view:
            request = require_request(view, request_id)
        order = Order(
            model=request.model,
            from_version=request.from_version,
            to_version=request.details["target_asked"],
            reason=check_text(reason, "reason", required=True),
            strategy=RollbackStrategy.MANUAL,
            actor=check_actor(confirmed_by),
            allow_unapproved=request.details["allow_unapproved"],
            request_id=request_id,
        )
        event = self._run(order)
        self._rewrite(request_id)
        return event

    def dismiss(self, request_id: str, dismissed_by: str | Actor, reason: str) -> RollbackEvent:
        """Decide that a requested rollback is not needed; returns the request.

        Raises:
            RequestNotFoundError: There is no such request.
            RequestClosedError: It was decided before.
            ApproverNotAllowedError: Automation dismisses.
        """
        reason = check_text(reason, "reason", required=True)
        with self.kernel.read() as view:
            request = require_request(view, request_id)
        subjects = (subject_of_version(request.model, request.from_version), f"rollback:{request_id}")
        with self.kernel.begin(dismissed_by, rollback_steps.DISMISS, *subjects) as tx:
            stored = require_request(tx, request_id)
            dismissed = rules.decided(stored, RollbackRequestStatus.DISMISSED, tx.actor, tx.now, reason)
            tx.rollbacks.put(dismissed)
            tx.record(reason=reason)
        self._publish(dismissed)
        return dismissed

    def release(
        self, version: str, released_by: str | Actor, reason: str, *, model: str = DEFAULT_MODEL
    ) -> ModelVersion:
        """Lift the quarantine of a version that was rolled back from.

        Raises:
            VersionNotFoundError: There is no such version.
            ConflictError: It is not quarantined.
            ApproverNotAllowedError: Automation releases.
        """
        reason = check_text(reason, "reason", required=True)
        with self.kernel.begin(released_by, RELEASE, subject_of_version(model, version)) as tx:
            before = integrity.require_version(tx, model, version)
            check_person(tx.actor, "release a version from quarantine")
            tx.versions.put(rules.released(before), before)
            tx.record(digest=before.digest, reason=reason, detail={"quarantine_reason": before.quarantine_reason})
        found = self._versions.get_version(version, model=model)
        if found is None:
            raise VersionNotFoundError(f"Version {version} was deleted just after its release.")
        return found

    def get_rollback_history(self, limit: int | None = 10, *, model: str = DEFAULT_MODEL) -> list[RollbackEvent]:
        """Return rollbacks, failed rollbacks and requests, newest first, at most ``limit`` (None: all).

        Raises:
            InvalidInputError: The limit is no whole number, or negative.
        """
        most = checked_limit(limit)
        with self.kernel.read() as view:
            return view.rollbacks.history(model, most) if is_name(model) else []

    def finish_rechecks(self, timeout: float | None = None) -> bool:
        """Wait for the full hashes that follow rollbacks on a recent verification.

        Those that a process left behind when it was killed are done here; a manager's first rollback does them too.

        Args:
            timeout: Most seconds to wait for each; None waits as long as it takes.

        Returns:
            Whether all are done.
        """
        self._rechecks.resume()
        return self._rechecks.wait(timeout)

    def _run(self, order: Order) -> RollbackEvent:
        event = rollback_steps.execute(self.kernel, order)
        self._tell(event)
        if "recheck" in event.details:
            self._rechecks.start(event)
        try:
            self._rechecks.resume_once()
        except WorkspaceError as error:
            _log.warning("Earlier re-hashes that did not end could not be looked for: %s", error)
        return event

    def _tell(self, event: RollbackEvent) -> None:
        self._publish(event)
        try:
            for test_id in event.details.get("cancelled_tests", ()):
                write_results(self.kernel, test_id)
        except WorkspaceError as error:
            _log.warning("The readable files of the tests cancelled by %s were not written: %s", event.event_id, error)
        self._track(event)

    def _publish(self, event: RollbackEvent) -> None:
        """Write the readable file of a committed event; it can be written again, so its failure is only told."""
        try:
            write_json(self._event_file(event.event_id), event.to_dict())
        except OSError as error:
            _log.warning("The readable file of %s could not be written: %s", event.event_id, error)

    def _track(self, event: RollbackEvent) -> None:
        if self._tracker is None:
            return
        run = TrackedEvent(
            name=f"rollback {event.from_version} to {event.to_version}",
            kind=EXECUTE if event.success else rollback_steps.FAIL,
            tags={"rollback": event.event_id, "triggered_by": event.triggered_by, "reason": event.reason},
            params={"from_version": event.from_version, "to_version": event.to_version or ""},
            metrics={f"{name}_ms": value for name, value in event.details.get("durations_ms", {}).items()},
            artifacts=(self._event_file(event.event_id),),
        )
        thread = threading.Thread(target=publish, args=(self._tracker, run), name="sentinelzer0-tracking")
        thread.start()
        thread.join(TRACKER_PATIENCE_S)

    def _event_file(self, event_id: str) -> Path:
        return self._directory / f"{event_id}.json"

    def _rewrite(self, event_id: str) -> None:
        with self.kernel.read() as view:
            stored = view.rollbacks.get(event_id)
        if stored is not None:
            self._publish(stored)


def _checked_insistence(value: object) -> bool:
    """Return whether somebody insists; a word is no answer, because ``"false"`` would read as yes."""
    insists = truth(value)
    if insists is None:
        raise InvalidInputError(f"allow_unapproved is {shown(value)}.", hint="Use True or False.")
    return insists
