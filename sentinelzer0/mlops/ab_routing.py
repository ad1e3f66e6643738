"""Which version answers a request: the test's row read at most every 50 ms, a hash for a key, chance without one."""

from __future__ import annotations

from typing import NamedTuple

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus, share_threshold, unit_hash
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_recording import require_test

MAX_AGE_S = 0.05


class _Route(NamedTuple):
    until: float
    seed: int
    threshold: int
    share: float
    model_a: str
    model_b: str


class Router:
    """Routes the requests of all tests of a workspace; safe for threads, right in a forked child.

    Args:
        kernel: The open workspace.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._monotonic = kernel.clock.monotonic
        self._routes: dict[str, _Route] = {}

    def route(self, test_id: str, key: str | bytes | int | None) -> str:
        """Return the version that answers.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is neither text nor bytes nor a whole number.
        """
        try:
            route = self._routes[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            route = self._read(test_id)
        if self._monotonic() >= route.until:
            route = self._read(test_id)
        if key is None:
            return route.model_b if self._kernel.random.random() < route.share else route.model_a
        return route.model_b if unit_hash(key, route.seed) < route.threshold else route.model_a

    def forget(self, test: StoredTest) -> None:
        """Read a test again at its next request."""
        self._routes.pop(test.test_id, None)

    def _read(self, test_id: str) -> _Route:
        until = self._monotonic() + MAX_AGE_S  # taken before the read, so the row is never older than that
        with self._kernel.read() as view:
            test = require_test(view, test_id)
        share = test.traffic_split if test.status is TestStatus.RUNNING else 0.0
        route = _Route(until, int(test.salt, 16), share_threshold(share), share, test.model_a, test.model_b)
        self._routes[test.test_id] = route
        return route
