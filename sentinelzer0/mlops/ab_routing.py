"""Which version answers a request: the part of :class:`ABTestManager` that every request goes through.

The test's row is read at most every 50 ms; then it is a hash for a key, and chance without one.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import NamedTuple

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus, shares_of_all
from sentinelzer0.domain.assignment import CONTROL, HOLDOUT, Assignment, assigner, first_ranges
from sentinelzer0.domain.outcome_values import check_request_id
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_design import ABTestDesigns
from sentinelzer0.mlops.ab_lookup import require_test
from sentinelzer0.mlops.ab_values import ABTest
from sentinelzer0.mlops.tracking import Tracker

MAX_AGE_S = 0.05
_new_tuple = tuple.__new__
"""Makes a named tuple in half the time its class takes."""
_KEY_BITS = 60
"""Of the key that a request without one gets by chance."""

_SUFFIXES = tuple(f"_{number:02}" for number in reversed(range(100)))

_routers: weakref.WeakSet[ABTestRouting] = weakref.WeakSet()


class _Route(NamedTuple):
    """What a test's row says about requests until ``until``; made anew at every read, so request ids never repeat."""

    until: float
    terms_of: Callable[[str | bytes | int], tuple[str, float, str]]
    revision: int
    names: list[str]


class ABTestRouting(ABTestDesigns):
    """Routes the requests of all tests of a workspace; safe for threads, right in a forked child.

    The arguments are :class:`ABTestManager`'s.
    """

    def __init__(
        self,
        tests_dir: str | os.PathLike[str] = "models/ab_tests",
        *,
        kernel: Kernel | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        super().__init__(tests_dir, kernel=kernel, tracker=tracker)
        self._monotonic = self.kernel.clock.monotonic
        self._draw = self.kernel.random.getrandbits
        self._routes: dict[str, _Route] = {}
        _routers.add(self)

    def route_request(self, test_id: str, key: str | bytes | int | None = None) -> str:
        """Return the model version that answers a request.

        With a key the answer is a function of the key and the test alone: the same in every process, for as long as
        the test runs. Without one it is drawn at random. A test that is not running sends everything to the control.
        A change made by another process is seen within 50 ms.

        Args:
            test_id: The test.
            key: The unit that must stay in its arm: user, host or stream. Text, bytes or a whole number; the number
                7 and the text "7" are the same key.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is something else.
        """
        try:
            until, terms_of, _, _ = self._routes[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            until, terms_of, _, _ = self._read(test_id)
        if self._monotonic() >= until:
            _, terms_of, _, _ = self._read(test_id)
        return terms_of(self._draw(_KEY_BITS) if key is None else key)[0]

    def assign(
        self, test_id: str, key: str | bytes | int | None = None, *, request_id: str | None = None
    ) -> Assignment:
        """Return the model version that answers a request, together with what its outcome should say about that.

        Hand the assignment to :meth:`record_result`: then the outcome is counted in the phase and with the share it was
        routed by, and what got lost on the way can be told.

        Args:
            test_id: The test.
            key: As for :meth:`route_request`.
            request_id: Your own id of the request; a fresh one when left out.

        Returns:
            ``version``, its ``share`` of all traffic, the ``revision`` of the shares (the phase), ``request_id`` and
            ``arm`` (``A`` for the control, or ``holdout``).

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is something else, or the id is no text of 1 to 200 characters.
        """
        try:
            until, terms_of, revision, names = self._routes[test_id]
        except (KeyError, TypeError):  # as in route_request, without a call
            until, terms_of, revision, names = self._read(test_id)
        if self._monotonic() >= until:
            _, terms_of, revision, names = self._read(test_id)
        version, share, arm = terms_of(self._draw(_KEY_BITS) if key is None else key)
        try:
            name = names.pop() if request_id is None else check_request_id(request_id)
        except IndexError:
            names += self._request_ids()
            name = names.pop()
        return _new_tuple(Assignment, (version, share, revision, name, arm))

    def _changed(self, test: StoredTest) -> ABTest:
        self._routes.pop(test.test_id, None)  # read again at its next request
        return super()._changed(test)

    def _request_ids(self) -> list[str]:
        """Return fresh ids, the last one first; a few at once cost a third of what each would cost alone."""
        prefix = self.kernel.ids.new("req")
        return [prefix + suffix for suffix in _SUFFIXES]

    def _read(self, test_id: str) -> _Route:
        until = self._monotonic() + MAX_AGE_S  # taken before the read, so the row is never older than that
        with self.kernel.read() as view:
            test, now = require_test(view, test_id), view.now
        splits = test.status is TestStatus.RUNNING and test.mode is Mode.SPLIT
        if splits and test.deadline is not None:
            left = (test.deadline - now).total_seconds()
            splits, until = left > 0.0, until - max(0.0, MAX_AGE_S - left) if left > 0.0 else until
        ranges = test.ranges if splits else first_ranges(test.holdout)
        shares = shares_of_all(test, test.shares if splits else dict.fromkeys(test.shares, 0.0))
        versions = {**test.arms, HOLDOUT: test.arms[CONTROL]}
        terms = {arm: (versions[arm], share, arm) for arm, share in shares.items()}
        terms_of = assigner(ranges, int(test.salt, 16), terms)
        route = _Route(until, terms_of, test.phase, [])
        self._routes[test.test_id] = route
        return route


def _after_fork() -> None:
    """Read every test again: a child must not give out the request ids of its parent."""
    for router in list(_routers):
        router._routes.clear()  # noqa: SLF001 - their own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
