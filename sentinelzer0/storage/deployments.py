"""Deployments in SQL: revisions are only ever inserted; the key makes the insert a compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from sentinelzer0.domain.deployments import Deployment
from sentinelzer0.storage.codec import Codec, encode_time
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import deployments

CODEC = Codec(Deployment, deployments)
_columns = [deployments.c[name] for name in CODEC.fields]
_place = (deployments.c.model == bindparam("model"), deployments.c.environment == bindparam("environment"))
_newest = deployments.c.revision.desc()

_current = Statement(select(*_columns).where(*_place).order_by(_newest).limit(1))
_history = Statement(select(*_columns).where(*_place).order_by(_newest).limit(bindparam("limit")))
_at = Statement(
    select(*_columns).where(*_place, deployments.c.created_at <= bindparam("at")).order_by(_newest).limit(1)
)
_of_model = Statement(select(deployments.c.environment).where(deployments.c.model == bindparam("model")).distinct())
_all = Statement(select(*_columns).order_by(deployments.c.model, deployments.c.environment, deployments.c.revision))


class DeploymentRows:
    """Deployment revisions as one transaction sees them."""

    def __init__(self, connection: Connection, put: Callable[[Codec[Any], Any], None]) -> None:
        self._connection = connection
        self._put = put

    def current(self, model: str, environment: str) -> Deployment | None:
        """Return the highest revision, or None."""
        row = self._connection.first(_current, {"model": model, "environment": environment})
        return None if row is None else CODEC.decode(row)

    def at(self, model: str, environment: str, moment: datetime) -> Deployment | None:
        """Return the revision that was the highest at ``moment``, or None."""
        row = self._connection.first(_at, {"model": model, "environment": environment, "at": encode_time(moment)})
        return None if row is None else CODEC.decode(row)

    def history(self, model: str, environment: str, limit: int = 2**31) -> list[Deployment]:
        """Return revisions, newest first."""
        parameters = {"model": model, "environment": environment, "limit": limit}
        return [CODEC.decode(row) for row in self._connection.rows(_history, parameters)]

    def serving(self, model: str, version: str) -> list[str]:
        """Return the environments whose current revision gives this version traffic."""
        rows = self._connection.rows(_of_model, {"model": model})
        current = (self.current(model, row[0]) for row in rows)
        return [found.environment for found in current if found is not None and version in found.weights]

    def all(self) -> Sequence[Deployment]:
        """Return every revision of every place."""
        return [CODEC.decode(row) for row in self._connection.rows(_all)]

    def insert(self, deployment: Deployment) -> None:
        """Store a new revision; the caller has checked that it follows the current one in this transaction."""
        self._put(CODEC, deployment)
