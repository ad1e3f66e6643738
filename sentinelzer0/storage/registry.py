"""The registry in SQL: entries, approval requests, evidence, policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, func, select

from sentinelzer0.domain.identity import is_name
from sentinelzer0.domain.policies import Policy, parse_policy
from sentinelzer0.domain.registry import ApprovalRequest, Entry, Evidence
from sentinelzer0.storage.codec import Codec
from sentinelzer0.storage.database import Connection, Statement
from sentinelzer0.storage.schema import approval_requests, evidence, policies, registry_entries, versions

Put = Callable[[Codec[Any], Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPolicy:
    """A policy that was in force from some time on; the one with the highest revision is in force now.

    Attributes:
        revision: Position in the order of installation, from 1.
        body: The policy file's text (TOML).
    """

    revision: int
    digest: str
    name: str
    body: str
    installed_at: datetime
    installed_by: str
    reason: str

    def policy(self) -> Policy:
        """Return the policy itself."""
        return _parsed(self.body)


@lru_cache(maxsize=16)
def _parsed(body: str) -> Policy:
    return parse_policy(body)


ENTRY = Codec(Entry, registry_entries)
REQUEST = Codec(ApprovalRequest, approval_requests)
EVIDENCE = Codec(Evidence, evidence)
POLICY = Codec(InstalledPolicy, policies)

_entry_columns = [registry_entries.c[name] for name in ENTRY.fields]
_request_columns = [approval_requests.c[name] for name in REQUEST.fields]
_evidence_columns = [evidence.c[name] for name in EVIDENCE.fields]
_policy_columns = [policies.c[name] for name in POLICY.fields]

_entry = Statement(
    select(*_entry_columns).where(
        registry_entries.c.model == bindparam("model"), registry_entries.c.version == bindparam("version")
    )
)
_entries = Statement(
    select(*_entry_columns)
    .where(registry_entries.c.model == bindparam("model"))
    .order_by(registry_entries.c.registered_at, registry_entries.c.version)
)
_entries_of_stage = Statement(
    select(*_entry_columns)
    .join_from(
        registry_entries,
        versions,
        (registry_entries.c.model == versions.c.model) & (registry_entries.c.version == versions.c.version),
    )
    .where(
        registry_entries.c.model == bindparam("model"),
        versions.c.stage == bindparam("stage"),
        versions.c.deleted_at.is_(None),
    )
    .order_by(versions.c.seq.desc())
)
_request = Statement(select(*_request_columns).where(approval_requests.c.request_id == bindparam("request_id")))
_requests_of = Statement(
    select(*_request_columns)
    .where(approval_requests.c.model == bindparam("model"), approval_requests.c.version == bindparam("version"))
    .order_by(approval_requests.c.requested_at, approval_requests.c.request_id)
)
_requests = Statement(
    select(*_request_columns)
    .where(approval_requests.c.model == bindparam("model"))
    .order_by(approval_requests.c.requested_at, approval_requests.c.request_id)
)
_requests_by_status = Statement(
    select(*_request_columns)
    .where(approval_requests.c.status == bindparam("status"))
    .order_by(approval_requests.c.requested_at, approval_requests.c.request_id)
)
_evidence_of = Statement(
    select(*_evidence_columns)
    .where(evidence.c.model == bindparam("model"), evidence.c.version == bindparam("version"))
    .order_by(evidence.c.attached_at, evidence.c.evidence_id)
)
_evidence_digests = Statement(select(evidence.c.digest))
_policy_now = Statement(select(*_policy_columns).order_by(policies.c.revision.desc()).limit(1))
_policy_digest = Statement(select(policies.c.digest).order_by(policies.c.revision.desc()).limit(1))
_policies = Statement(select(*_policy_columns).order_by(policies.c.revision))
_policy_count = Statement(select(func.count()).select_from(policies))


class RegistryRows:
    """Entries, requests and evidence as one transaction sees them."""

    def __init__(self, connection: Connection, put: Put) -> None:
        self._connection = connection
        self._put = put

    def entry(self, model: str, version: str) -> Entry | None:
        """Return a version's entry, or None."""
        if not (is_name(model) and is_name(version)):
            return None
        row = self._connection.first(_entry, {"model": model, "version": version})
        return None if row is None else ENTRY.decode(row)

    def entries(self, model: str, stage: str | None = None) -> list[Entry]:
        """Return a model's entries in the order of registration, or those of one stage, newest version first."""
        if not is_name(model):
            return []
        statement = _entries if stage is None else _entries_of_stage
        return [ENTRY.decode(r) for r in self._connection.rows(statement, {"model": model, "stage": stage})]

    def put_entry(self, entry: Entry) -> None:
        """Store an entry."""
        self._put(ENTRY, entry)

    def request(self, request_id: str) -> ApprovalRequest | None:
        """Return a request as stored, or None."""
        if not is_name(request_id):
            return None
        row = self._connection.first(_request, {"request_id": request_id})
        return None if row is None else REQUEST.decode(row)

    def requests(self, model: str, version: str | None = None) -> list[ApprovalRequest]:
        """Return the requests of a model or of one version, oldest first."""
        statement = _requests if version is None else _requests_of
        return [REQUEST.decode(r) for r in self._connection.rows(statement, {"model": model, "version": version})]

    def requests_with_status(self, status: str) -> list[ApprovalRequest]:
        """Return the requests of every model with a stored status, oldest first."""
        return [REQUEST.decode(row) for row in self._connection.rows(_requests_by_status, {"status": status})]

    def put_request(self, request: ApprovalRequest) -> None:
        """Store a request."""
        self._put(REQUEST, request)

    def evidence(self, model: str, version: str) -> list[Evidence]:
        """Return the evidence attached to a version, oldest first."""
        return [EVIDENCE.decode(r) for r in self._connection.rows(_evidence_of, {"model": model, "version": version})]

    def put_evidence(self, item: Evidence) -> None:
        """Store a piece of evidence."""
        self._put(EVIDENCE, item)

    def evidence_digests(self) -> set[str]:
        """Return the digests of all attached files."""
        return {row[0] for row in self._connection.rows(_evidence_digests)}


class PolicyRows:
    """Installed policies as one transaction sees them."""

    def __init__(self, connection: Connection, put: Put) -> None:
        self._connection = connection
        self._put = put

    def in_force(self) -> InstalledPolicy:
        """Return the policy in force; every workspace starts with one."""
        row = self._connection.first(_policy_now)
        if row is None:
            raise LookupError("no policy is installed")
        return POLICY.decode(row)

    def in_force_digest(self) -> str | None:
        """Return the digest of the policy in force, or None before the first."""
        row = self._connection.first(_policy_digest)
        return None if row is None else str(row[0])

    def all(self) -> Sequence[InstalledPolicy]:
        """Return every policy that was ever in force, oldest first."""
        return [POLICY.decode(row) for row in self._connection.rows(_policies)]

    def put(self, policy: InstalledPolicy) -> None:
        """Store a policy; the highest revision is in force."""
        self._put(POLICY, policy)
