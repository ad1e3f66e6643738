"""A/B tests in SQL: the tests themselves; what was measured lies in :mod:`sentinelzer0.storage.outcome_cells`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, select

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus, moved
from sentinelzer0.domain.tallies import COHORTS_PER_WINDOW
from sentinelzer0.errors import ConflictError, InUseError
from sentinelzer0.storage.ab_looks import ABLookRows
from sentinelzer0.storage.codec import Codec
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.outcome_streams import StreamRows
from sentinelzer0.storage.schema import ab_tests

CODEC = Codec(StoredTest, ab_tests)
_columns = [ab_tests.c[name] for name in CODEC.fields]
_place = (ab_tests.c.model == bindparam("model"), ab_tests.c.environment == bindparam("environment"))
_open = or_(*(ab_tests.c.status == status.value for status in TestStatus if status.is_open))
_not_over = or_(*(ab_tests.c.status == status.value for status in TestStatus if not status.is_over))

_get = Statement(select(*_columns).where(ab_tests.c.test_id == bindparam("test_id")))
_all = Statement(select(*_columns).order_by(ab_tests.c.created_at.desc(), ab_tests.c.test_id.desc()))
_ids = Statement(select(ab_tests.c.test_id).order_by(ab_tests.c.created_at, ab_tests.c.test_id))
_splitting = Statement(select(*_columns).where(*_place, _open).order_by(ab_tests.c.test_id))
_bound = Statement(
    select(*_columns).where(ab_tests.c.model == bindparam("model"), ab_tests.c.environment.is_not(None), _not_over)
)


class ABTestRows:
    """A/B tests as one transaction sees them."""

    def __init__(self, connection: Connection, put: Callable[[Codec[Any], Any], None]) -> None:
        self._connection = connection
        self._put = put

    @property
    def looks(self) -> ABLookRows:
        """The looks at what was measured."""
        return ABLookRows(self._connection)

    def get(self, test_id: str) -> StoredTest | None:
        """Return a test, or None."""
        row = self._connection.first(_get, {"test_id": test_id})
        return None if row is None else CODEC.decode(row)

    def all(self) -> list[StoredTest]:
        """Return every test, newest first."""
        return [CODEC.decode(row) for row in self._connection.rows(_all)]

    def ids(self) -> list[str]:
        """Return the ids of all tests, oldest first."""
        return [row[0] for row in self._connection.rows(_ids)]

    def splitting(self, model: str, environment: str) -> list[StoredTest]:
        """Return the running and paused tests bound to a deployment."""
        rows = self._connection.rows(_splitting, {"model": model, "environment": environment})
        return [CODEC.decode(row) for row in rows]

    def add(self, test: StoredTest) -> None:
        """Store a new test, and begin the stream of its outcomes."""
        self._put(CODEC, test)
        self.begin_outcomes(test)

    def put(self, test: StoredTest) -> None:
        """Store a changed test; outcomes that are not yet counted wait until this transaction ends."""
        StreamRows(self._connection).follow(test.test_id, test.status.value, **_terms(test))
        self._put(CODEC, test)

    def begin_outcomes(self, test: StoredTest) -> None:
        """Begin the stream of a test's outcomes; one that exists stays as it is."""
        StreamRows(self._connection).create(test.test_id, test.status.value, **_terms(test))

    def cancel_open_tests(self, model: str, environment: str, now: datetime) -> list[StoredTest]:
        """Cancel the running and paused tests bound to a deployment whose traffic goes elsewhere; the caller records it.

        The traffic itself is not touched.
        """
        cancelled = [replace(moved(test, "cancel", now), revision=0) for test in self.splitting(model, environment)]
        for test in cancelled:
            self.put(test)
        return cancelled

    def check_no_running_test(self, model: str, environment: str) -> None:
        """Refuse a change of traffic that a running test shares.

        Raises:
            ConflictError: A test bound to this deployment is running or paused.
        """
        for test in self.splitting(model, environment):
            raise ConflictError(
                f"The A/B test {test.test_name!r} ({test.test_id}) splits the traffic of {environment}.",
                hint="Complete or cancel it first.",
            )

    def check_in_no_open_test(self, model: str, version: str) -> None:
        """Refuse to remove a version that a test needs.

        Raises:
            InUseError: A test bound to a deployment and not yet over names it.
        """
        for row in self._connection.rows(_bound, {"model": model}):
            test = CODEC.decode(row)
            if version in test.arms.values():
                raise InUseError(
                    f"{version} is part of the A/B test {test.test_name!r} ({test.test_id}).", hint="Cancel it first."
                )


def _terms(test: StoredTest) -> dict[str, Any]:
    """Return on what terms outcomes are counted."""
    return {
        "phase": test.phase,
        "cohort_s": test.label_window_s / COHORTS_PER_WINDOW,
        "slo_ms": test.latency_slo_ms,
    }
