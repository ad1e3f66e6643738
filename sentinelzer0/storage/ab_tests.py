"""A/B tests in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, or_, select

from sentinelzer0.errors import ConflictError, InUseError
from sentinelzer0.storage.codec import Codec
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import ab_tests

_running_in = Statement(
    select(ab_tests.c.test_id, ab_tests.c.test_name).where(
        ab_tests.c.model == bindparam("model"),
        ab_tests.c.environment == bindparam("environment"),
        or_(*(ab_tests.c.status == status for status in ("running", "paused"))),
    )
)
_open_with = Statement(
    select(ab_tests.c.test_id, ab_tests.c.test_name).where(
        ab_tests.c.model == bindparam("model"),
        ab_tests.c.environment.is_not(None),
        or_(ab_tests.c.model_a == bindparam("version"), ab_tests.c.model_b == bindparam("version")),
        or_(*(ab_tests.c.status == status for status in ("setup", "running", "paused"))),
    )
)


class ABTestRows:
    """A/B tests as one transaction sees them."""

    def __init__(self, connection: Connection, put: Callable[[Codec[Any], Any], None]) -> None:
        self._connection = connection
        self._put = put

    def check_no_running_test(self, model: str, environment: str) -> None:
        """Refuse a change of traffic that a running test shares.

        Raises:
            ConflictError: A test bound to this deployment is running or paused.
        """
        row = self._connection.first(_running_in, {"model": model, "environment": environment})
        if row is not None:
            raise ConflictError(
                f"The A/B test {row[1]!r} ({row[0]}) splits the traffic of {environment}.",
                hint="Complete or cancel it first.",
            )

    def check_in_no_open_test(self, model: str, version: str) -> None:
        """Refuse to remove a version that a test needs.

        Raises:
            InUseError: A test bound to a deployment and not yet over names it.
        """
        row = self._connection.first(_open_with, {"model": model, "version": version})
        if row is not None:
            raise InUseError(f"{version} is part of the A/B test {row[1]!r} ({row[0]}).", hint="Cancel it first.")
