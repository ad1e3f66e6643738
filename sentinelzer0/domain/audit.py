"""The audit log: what a record says, how it becomes bytes, how state is rebuilt from records.

This module decides the form of a record. It performs no I/O. The laws:

- A record's canonical bytes (RFC 8785) are produced once, stored, hashed as an RFC 6962 leaf, and verified as stored.
- Sequence numbers start at 0 and have no gap; the sequence number is the leaf's index in the Merkle tree.
- A record carries the after-image of every state row it changed, so folding the records rebuilds the tables.
- A refusal is a record with outcome ``refused`` and no after-image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.identity import Actor

StateKey = tuple[str, ...]
State = dict[str, dict[StateKey, dict[str, Any]]]


class Outcome(StrEnum):
    """Whether the recorded attempt changed anything."""

    OK = "ok"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of the audit log.

    Attributes:
        seq: Position, from 0, without gaps.
        time: When the change was committed, UTC.
        actor: Who, and how they were authenticated.
        action: What, as ``noun:subject:verb``.
        subjects: The objects it touches, as ``kind:name``; the audit trail of an object is found by these.
        digest: SHA-256 (hex) of the content it is about, or None.
        after: The rows as they now are: ``{"table": name, "row": {...}}``.
        reason: Why; for a refusal, the message the caller got.
        policy: Digest of the policy in force, or None before the first.
        outcome: ``ok`` or ``refused``.
        detail: Facts that are not state, as JSON values.
    """

    seq: int
    time: datetime
    actor: Actor
    action: str
    subjects: tuple[str, ...]
    digest: str | None = None
    after: tuple[dict[str, Any], ...] = ()
    reason: str = ""
    policy: str | None = None
    outcome: Outcome = Outcome.OK
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values; the time is ISO-8601 UTC with microseconds."""
        return {
            "seq": self.seq,
            "time": self.time.isoformat(timespec="microseconds")[:26] + "Z",
            "actor": {"name": self.actor.name, "auth": self.actor.auth},
            "action": self.action,
            "subjects": list(self.subjects),
            "digest": self.digest,
            "after": list(self.after),
            "reason": self.reason,
            "policy": self.policy,
            "outcome": self.outcome.value,
            "detail": self.detail,
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: the data of the Merkle leaf."""
        return canonical_json.dumps(self.to_dict())

    @classmethod
    def from_bytes(cls, body: bytes | str) -> AuditRecord:
        """Read a record back from its stored bytes."""
        raw = canonical_json.loads(body)
        return cls(
            seq=raw["seq"],
            time=datetime.fromisoformat(raw["time"]),
            actor=Actor(raw["actor"]["name"], raw["actor"]["auth"]),
            action=raw["action"],
            subjects=tuple(raw["subjects"]),
            digest=raw["digest"],
            after=tuple(raw["after"]),
            reason=raw["reason"],
            policy=raw["policy"],
            outcome=Outcome(raw["outcome"]),
            detail=raw["detail"],
        )


def fold(records: Iterable[AuditRecord], keys: dict[str, tuple[str, ...]]) -> State:
    """Rebuild the state tables from the records.

    Args:
        records: In the order of ``seq``.
        keys: For each state table, the names of its key columns.

    Returns:
        ``{table: {key values: row}}`` with the latest after-image of every row.
    """
    state: State = {table: {} for table in keys}
    for record in records:
        for change in record.after:
            row = change["row"]
            state[change["table"]][tuple(str(row[name]) for name in keys[change["table"]])] = row
    return state
