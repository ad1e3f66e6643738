"""Deployments: what serves an environment now, what did when, and being told of a change."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from sentinelzer0.domain.deployments import Cause, Deployment, check_weights, next_revision
from sentinelzer0.domain.identity import DEFAULT_MODEL, PRODUCTION, check_identifier
from sentinelzer0.domain.scalars import real, shown
from sentinelzer0.errors import InvalidInputError, WorkspaceError
from sentinelzer0.mlops.public_values import checked_limit

if TYPE_CHECKING:
    from sentinelzer0.kernel import Kernel, Transaction

POLL_S = 0.05


def deploy(
    tx: Transaction,
    *,
    model: str,
    environment: str,
    weights: Mapping[str, float],
    cause: Cause,
    reason: str = "",
    evidence: dict[str, Any] | None = None,
    expected: int | None = None,
) -> Deployment:
    """Make the next revision inside a use case's transaction; the caller records it.

    Args:
        tx: The transaction.
        model: The model.
        environment: The environment.
        weights: Share of traffic by version, summing to 1; empty retires everything.
        cause: Why.
        reason: Why, in a person's words.
        evidence: What justifies it.
        expected: The revision the caller decided on; None accepts whatever this transaction sees.

    Raises:
        ConflictError: Somebody made another revision in between.
    """
    current = tx.deployments.current(model, environment)
    if expected is None:
        expected = 0 if current is None else current.revision
    deployment = Deployment(
        model=model,
        environment=environment,
        revision=next_revision(current, expected),
        weights=check_weights(weights),
        cause=cause,
        created_at=tx.now,
        created_by=tx.actor.name,
        reason=reason,
        evidence=evidence or {},
        audit_seq=tx.next_seq,
    )
    tx.deployments.insert(deployment)
    return deployment


class Subscription:
    """A running :meth:`Deployments.on_change`; close it, or use it in a ``with`` block."""

    def __init__(self, thread: threading.Thread, stop: threading.Event) -> None:
        self._thread = thread
        self._stop = stop

    def close(self) -> None:
        """Stop calling back; returns once no call is under way (unless called from the callback itself)."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Deployments:
    """The deployments of a workspace's models.

    Args:
        kernel: The open workspace.
        model: The model that is meant where a method is given none.
    """

    def __init__(self, kernel: Kernel, model: str = DEFAULT_MODEL) -> None:
        self._kernel = kernel
        self._model = check_identifier(model, "model")

    def current(self, environment: str = PRODUCTION, *, model: str | None = None) -> Deployment | None:
        """Return what serves ``environment`` now, or None when nothing was ever deployed."""
        place = self._place(model, environment)
        with self._kernel.read() as view:
            return view.deployments.current(*place)

    def history(
        self, environment: str = PRODUCTION, limit: int | None = None, *, model: str | None = None
    ) -> list[Deployment]:
        """Return every revision, newest first, at most ``limit``."""
        place = self._place(model, environment)
        most = checked_limit(limit)
        with self._kernel.read() as view:
            return view.deployments.history(*place, most)

    def at(self, moment: datetime, environment: str = PRODUCTION, *, model: str | None = None) -> Deployment | None:
        """Return what served ``environment`` at ``moment``, or None.

        Args:
            moment: Aware; a time without a zone is refused because it could mean two things.
            environment: The environment.
            model: The model.

        Raises:
            InvalidInputError: ``moment`` has no time zone.
        """
        place = self._place(model, environment)
        if getattr(moment, "tzinfo", None) is None:
            raise InvalidInputError(
                f"{shown(moment)} has no time zone.",
                hint="Say which one, for example datetime(…, tzinfo=timezone.utc).",
            )
        with self._kernel.read() as view:
            return view.deployments.at(*place, moment.astimezone(UTC))

    def on_change(
        self,
        callback: Callable[[Deployment], None],
        environment: str = PRODUCTION,
        *,
        model: str | None = None,
        poll_seconds: float = POLL_S,
    ) -> Subscription:
        """Call ``callback`` with every new revision, from a thread of its own, until the subscription is closed.

        Revisions made by other processes count too. Revisions that follow each other faster than the poll are
        reported as one: the highest. While the database is away nothing is called, and polling goes on.

        Args:
            callback: Receives the new deployment; an exception it raises ends only that call, through
                ``threading.excepthook``.
            environment: The environment.
            model: The model.
            poll_seconds: Pause between two looks, in seconds, above 0.

        Raises:
            InvalidInputError: The pause is no number above 0.
        """
        pause = real(poll_seconds)
        if pause is None or not 0 < pause <= threading.TIMEOUT_MAX:
            raise InvalidInputError(f"poll_seconds is {shown(poll_seconds)}.", hint="Use a number of seconds above 0.")
        stop = threading.Event()

        def look() -> Deployment | None:
            return self.current(environment, model=model)

        seen = look()
        watcher = _Watcher(look, callback, stop, 0 if seen is None else seen.revision)
        thread = threading.Thread(
            target=watcher.run, args=(pause,), name=f"sentinelzer0-watch-{environment}", daemon=True
        )
        thread.start()
        return Subscription(thread, stop)

    def _place(self, model: str | None, environment: str) -> tuple[str, str]:
        name = self._model if model is None else check_identifier(model, "model")
        return name, check_identifier(environment, "environment")


class _Watcher:
    def __init__(
        self,
        look: Callable[[], Deployment | None],
        callback: Callable[[Deployment], None],
        stop: threading.Event,
        revision: int,
    ) -> None:
        self._look = look
        self._callback = callback
        self._stop = stop
        self._revision = revision

    def run(self, poll_seconds: float) -> None:
        while not self._stop.wait(poll_seconds):
            try:
                current = self._look()
            except WorkspaceError:
                continue  # the database is away: keep serving what we have, look again
            if current is not None and current.revision > self._revision:
                self._revision = current.revision
                self._report(current)

    def _report(self, deployment: Deployment) -> None:
        try:
            self._callback(deployment)
        except Exception:  # noqa: BLE001 - the edge to foreign code: its failure must not end the watch
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
