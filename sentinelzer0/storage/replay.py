"""A database made again from the records of its audit log: the same log, and the state they carry."""

from __future__ import annotations

from collections.abc import Iterable

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.merkle import Frontier
from sentinelzer0.errors import AlreadyExistsError, CorruptWorkspaceError
from sentinelzer0.storage import creation
from sentinelzer0.storage.audit import AuditRows
from sentinelzer0.storage.database import Database
from sentinelzer0.storage.state import StateRows


def replay(database: Database, bodies: Iterable[str]) -> Frontier:
    """Fill an empty database with records as they were stored, and with the state their after-images hold.

    A/B tests come back without what they measured: single outcomes are not in the log.

    Args:
        database: Its schema is created when it has none.
        bodies: The canonical bytes of record 0, 1, 2, … as text, verified by the caller.

    Returns:
        The frontier of the log, equal to that of the original.

    Raises:
        AlreadyExistsError: The database holds a workspace.
        CorruptWorkspaceError: The first record does not tell the workspace's identity.
    """
    creation.ensure_schema(database, may_migrate=False)
    with database.writing() as connection:
        if creation.read_settings(connection):
            raise AlreadyExistsError("The database holds a workspace already.", hint="Name an empty one.")
        audit, state = AuditRows(connection), StateRows(connection)
        audit.create_head()
        frontier = Frontier()
        for body in bodies:
            record = AuditRecord.from_bytes(body)
            if frontier.size == 0:
                creation.add_settings(connection, _identity(record))
            frontier = audit.append(record, frontier)
            for change in record.after:
                state.restore(change["table"], change["row"])
        audit.store_head(frontier)
        state.restore_statistics()
    return frontier


def _identity(first: AuditRecord) -> dict[str, str]:
    workspace_id = first.detail.get("workspace_id")
    if not isinstance(workspace_id, str):
        raise CorruptWorkspaceError(
            f"The first record ({first.action}) does not tell the workspace's identity.",
            hint="Use an export that starts with record 0.",
        )
    return {"workspace_id": workspace_id, "created_at": first.time.isoformat()}
