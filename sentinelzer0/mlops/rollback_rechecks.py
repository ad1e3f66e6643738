"""The full hashes that follow rollbacks on a recent verification: in threads, and resumed after a crash."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sentinelzer0.domain.rollbacks import RollbackEvent
from sentinelzer0.errors import SentinelError
from sentinelzer0.kernel import SYSTEM, Kernel
from sentinelzer0.mlops import rollback_steps

_log = logging.getLogger("sentinelzer0.mlops.rollback")


class Rechecks:
    """What this process still has to hash.

    Args:
        kernel: The open workspace.
        checked: Called with the id of an event once its re-hash is over, or could not be done.
        followed: Called with the further rollback that a failed re-hash made necessary.
    """

    def __init__(
        self, kernel: Kernel, checked: Callable[[str], None], followed: Callable[[RollbackEvent], None]
    ) -> None:
        self._kernel = kernel
        self._checked = checked
        self._followed = followed
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._resumed = False

    def start(self, event: RollbackEvent) -> None:
        """Hash what a rollback relied on, in a thread; nothing when this process is already at it."""
        # No daemon: the hash was promised, so a program that ends waits for it.
        thread = threading.Thread(target=self._run, args=(event,), name=f"sentinelzer0-recheck-{event.event_id}")
        with self._lock:
            if event.event_id in self._threads:
                return
            self._threads[event.event_id] = thread
            thread.start()

    def resume(self) -> None:
        """Start every re-hash that is on record as running, also those that a killed process left.

        One that another living process is at is done twice; who ends first puts it on record.
        """
        with self._kernel.read() as view:
            unfinished = view.rollbacks.unfinished_rechecks()
        for event in unfinished:
            self.start(event)

    def resume_once(self) -> None:
        """Resume at the first rollback of this manager: what is promised later, it starts itself."""
        if not self._resumed:
            self.resume()
            self._resumed = True

    def wait(self, timeout: float | None) -> bool:
        """Wait for each thread, at most ``timeout`` seconds, and return whether all are done."""
        with self._lock:
            pending = tuple(self._threads.values())
        for thread in pending:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in pending)

    def _run(self, event: RollbackEvent) -> None:
        """Hash what was relied on, and go back further as long as that fails."""
        pending: RollbackEvent | None = event
        try:
            while pending is not None and "recheck" in pending.details:
                checked = pending
                try:
                    pending = rollback_steps.recheck(self._kernel, checked, SYSTEM)
                finally:
                    self._checked(checked.event_id)
                if pending is not None:
                    self._followed(pending)
        except SentinelError as error:
            _log.critical("The re-hash after rollback %s: %s", event.event_id, error)
        finally:
            with self._lock:
                del self._threads[event.event_id]
