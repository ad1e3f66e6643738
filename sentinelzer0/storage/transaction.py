"""A transaction: rows of every noun, one point in time, one actor, and the audit records of what changed.

A state row is written through :meth:`Transaction.put`, which keeps its after-image; :meth:`Transaction.record`
puts the images of everything written since into one audit record. A commit with an image left over is refused, so
state cannot change without a record.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from sentinelzer0.domain.audit import AuditRecord, Outcome
from sentinelzer0.domain.identity import Actor
from sentinelzer0.errors import UnauditedWriteError
from sentinelzer0.storage.ab_tests import ABTestRows
from sentinelzer0.storage.audit import AuditRows
from sentinelzer0.storage.clock import Clock, Ids
from sentinelzer0.storage.codec import Codec, Native
from sentinelzer0.storage.database import Connection, Upsert
from sentinelzer0.storage.deployments import DeploymentRows
from sentinelzer0.storage.measurements import MeasurementRows
from sentinelzer0.storage.outcome_cells import CellRows
from sentinelzer0.storage.outcome_pairs import PairRows
from sentinelzer0.storage.outcome_streams import StreamRows
from sentinelzer0.storage.outcomes import OutcomeRows
from sentinelzer0.storage.registry import PolicyRows, RegistryRows
from sentinelzer0.storage.rollbacks import RollbackRows
from sentinelzer0.storage.state import StateRows
from sentinelzer0.storage.versions import VersionRows

T = TypeVar("T")
TICK = timedelta(microseconds=1)
"""The least distance between the times of two transactions: the resolution of stored times."""
_upserts: dict[str, Upsert] = {}


class Reader:
    """The rows of every noun at one point in time.

    Attributes:
        now: The time of this transaction, the same for everything in it.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now

    @property
    def audit(self) -> AuditRows:
        """The audit log."""
        return AuditRows(self.connection)

    @property
    def versions(self) -> VersionRows:
        """Versions."""
        return VersionRows(self.connection, self._put)

    @property
    def registry(self) -> RegistryRows:
        """Entries, requests and evidence."""
        return RegistryRows(self.connection, self._put)

    @property
    def policies(self) -> PolicyRows:
        """Installed policies."""
        return PolicyRows(self.connection, self._put)

    @property
    def deployments(self) -> DeploymentRows:
        """Deployment revisions."""
        return DeploymentRows(self.connection, self._put)

    @property
    def ab_tests(self) -> ABTestRows:
        """A/B tests."""
        return ABTestRows(self.connection, self._put)

    @property
    def rollbacks(self) -> RollbackRows:
        """Rollbacks."""
        return RollbackRows(self.connection, self._put)

    @property
    def state(self) -> StateRows:
        """The rows of all state tables in the form of after-images."""
        return StateRows(self.connection)

    @property
    def measurements(self) -> MeasurementRows:
        """What was measured, outcome by outcome and in total."""
        return MeasurementRows(self.connection)

    @property
    def streams(self) -> StreamRows:
        """Streams of outcomes: of every test, and of production."""
        return StreamRows(self.connection)

    @property
    def outcomes(self) -> OutcomeRows:
        """Raw outcomes."""
        return OutcomeRows(self.connection)

    @property
    def cells(self) -> CellRows:
        """Statistics of outcomes."""
        return CellRows(self.connection)

    @property
    def pairs(self) -> PairRows:
        """Statistics of pairs of answers to the same requests."""
        return PairRows(self.connection)

    def _put(self, _codec: Codec[T], _value: T) -> None:
        raise UnauditedWriteError("A read-only transaction cannot write.")


class Recording(AbstractContextManager[Reader]):
    """A transaction for what no audit record carries: outcomes, statistics, verifications.

    A class, because a generator costs as much as a statement.
    """

    __slots__ = ("_clock", "_transaction")

    def __init__(self, transaction: AbstractContextManager[Connection], clock: Clock) -> None:
        self._transaction = transaction
        self._clock = clock

    def __enter__(self) -> Reader:
        return Reader(self._transaction.__enter__(), self._clock.now())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transaction.__exit__(kind, error, trace)


class Transaction(Reader):
    """A read-write transaction of one actor with one intent.

    Its time is read once it holds the log, and is later than that of the newest record even when the machine's clock
    was set back: the order of times is the order of the log, so whatever is sorted by time is sorted by commit.

    Attributes:
        actor: Who acts.
        action: What they intend, as ``noun:subject:verb``; the action of a record unless it names another.
        subjects: The objects concerned.
    """

    def __init__(
        self, connection: Connection, clock: Clock, ids: Ids, actor: Actor, action: str, subjects: tuple[str, ...]
    ) -> None:
        rows = AuditRows(connection)
        self._frontier = rows.head(lock=True)
        newest = rows.time_of(self._frontier.size - 1)
        super().__init__(connection, clock.now() if newest is None else max(clock.now(), newest + TICK))
        self.actor = actor
        self.action = action
        self.subjects = subjects
        self._ids = ids
        self._changes: list[dict[str, Any]] = []
        self._recorded = False

    @property
    def next_seq(self) -> int:
        """Return the sequence number the next audit record will have."""
        return self._frontier.size

    def new_id(self, prefix: str) -> str:
        """Return a fresh id behind a readable prefix."""
        return self._ids.new(prefix)

    def record(
        self,
        action: str | None = None,
        *subjects: str,
        digest: str | None = None,
        reason: str = "",
        outcome: Outcome = Outcome.OK,
        detail: dict[str, Any] | None = None,
    ) -> AuditRecord:
        """Append an audit record that carries every state row written since the previous one.

        Args:
            action: What happened; the transaction's intent when left out.
            subjects: The objects concerned; the transaction's when left out.
            digest: SHA-256 (hex) of the content it is about.
            reason: Why.
            outcome: ``ok``, or ``refused``.
            detail: Facts that are not state, as JSON values.
        """
        record = AuditRecord(
            seq=self._frontier.size,
            time=self.now,
            actor=self.actor,
            action=action or self.action,
            subjects=subjects or self.subjects,
            digest=digest,
            after=tuple(self._changes),
            reason=reason,
            policy=self.policies.in_force_digest(),
            outcome=outcome,
            detail=detail or {},
        )
        self._changes = []
        self._frontier = self.audit.append(record, self._frontier)
        self._recorded = True
        return record

    def finish(self) -> None:
        """Store the new head of the log; called once, before the commit.

        Raises:
            UnauditedWriteError: State was written that no record carries.
        """
        if self._changes:
            tables = ", ".join(sorted({change["table"] for change in self._changes}))
            raise UnauditedWriteError(f"{self.action} changed {tables} without an audit record.")
        if self._recorded:
            self.audit.store_head(self._frontier)

    def _put(self, codec: Codec[T], value: T) -> None:
        native: Native = codec.native(value)
        name = codec.table.name
        upsert = _upserts.get(name) or _upserts.setdefault(name, Upsert(codec.table))
        self.connection.run(upsert, codec.parameters(value, native))
        self._changes.append({"table": name, "row": native})
