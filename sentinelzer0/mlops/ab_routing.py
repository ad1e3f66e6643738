"""Which version answers a request: the test's row read at most every 50 ms, a hash for a key, chance without one."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus, shares_of_all
from sentinelzer0.domain.assignment import CONTROL, HOLDOUT, Assignment, assigner, first_ranges
from sentinelzer0.domain.outcome_values import check_request_id
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_lookup import require_test

MAX_AGE_S = 0.05
_new_tuple = tuple.__new__
"""Makes a named tuple in half the time its class takes."""
_KEY_BITS = 60
"""Of the key that a request without one gets by chance."""

_routers: weakref.WeakSet[Router] = weakref.WeakSet()


class _Route(NamedTuple):
    """What a test's row says about requests until ``until``; made anew at every read, so request ids never repeat."""

    until: float
    arm_of: Callable[[str | bytes | int], str]
    terms: dict[str, tuple[str, float]]
    revision: int
    prefix: str
    number: count[int]


class Router:
    """Routes the requests of all tests of a workspace; safe for threads, right in a forked child.

    Args:
        kernel: The open workspace.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._monotonic = kernel.clock.monotonic
        self._draw = kernel.random.getrandbits
        self._routes: dict[str, _Route] = {}
        _routers.add(self)

    def route(self, test_id: str, key: str | bytes | int | None) -> str:
        """Return the version that answers.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is neither text nor bytes nor a whole number.
        """
        try:
            until, arm_of, terms, _, _, _ = self._routes[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            until, arm_of, terms, _, _, _ = self._read(test_id)
        if self._monotonic() >= until:
            _, arm_of, terms, _, _, _ = self._read(test_id)
        return terms[arm_of(self._draw(_KEY_BITS) if key is None else key)][0]

    def assign(self, test_id: str, key: str | bytes | int | None, request_id: str | None = None) -> Assignment:
        """Return the version that answers, with the terms on which it does.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is neither text nor bytes nor a whole number, or no usable ``request_id``.
        """
        try:
            until, arm_of, terms, revision, prefix, number = self._routes[test_id]
        except (KeyError, TypeError):  # as in route(), without a call
            until, arm_of, terms, revision, prefix, number = self._read(test_id)
        if self._monotonic() >= until:
            _, arm_of, terms, revision, prefix, number = self._read(test_id)
        arm = arm_of(self._draw(_KEY_BITS) if key is None else key)
        version, share = terms[arm]
        name = f"{prefix}{next(number)}" if request_id is None else check_request_id(request_id)
        return _new_tuple(Assignment, (version, share, revision, name, arm))

    def forget(self, test: StoredTest) -> None:
        """Read a test again at its next request."""
        self._routes.pop(test.test_id, None)

    def forget_all(self) -> None:
        """Read every test again: a forked child must not give out the request ids of its parent."""
        self._routes = {}

    def _read(self, test_id: str) -> _Route:
        until = self._monotonic() + MAX_AGE_S  # taken before the read, so the row is never older than that
        with self._kernel.read() as view:
            test, now = require_test(view, test_id), view.now
        splits = test.status is TestStatus.RUNNING and test.mode is Mode.SPLIT
        if splits and test.deadline is not None:
            left = (test.deadline - now).total_seconds()
            splits, until = left > 0.0, until - max(0.0, MAX_AGE_S - left) if left > 0.0 else until
        ranges = test.ranges if splits else first_ranges(test.holdout)
        shares = shares_of_all(test, test.shares if splits else dict.fromkeys(test.shares, 0.0))
        arm_of = assigner(ranges, int(test.salt, 16))
        versions = {**test.arms, HOLDOUT: test.arms[CONTROL]}
        terms = {arm: (versions[arm], share) for arm, share in shares.items()}
        route = _Route(until, arm_of, terms, test.phase, f"{self._kernel.ids.new('req')}_", count())
        self._routes[test.test_id] = route
        return route


def _after_fork() -> None:
    for router in list(_routers):
        router.forget_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
