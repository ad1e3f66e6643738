"""Everything a workspace holds, to be compared before and after, and the laws it must obey at any time."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.audit import AuditRecord, Outcome, fold
from sentinelzer0.domain.versions import ModelStage
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.storage.database import Statement
from sentinelzer0.storage.schema import STATE, metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentinelzer0.errors import SentinelError
    from sentinelzer0.kernel import Kernel

AUDIT = {"audit_records", "audit_subjects", "audit_nodes", "audit_head"}
KEYS = {table.name: tuple(column.name for column in table.primary_key.columns) for table in STATE}


def tables(kernel: Kernel) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with kernel.read() as view:
        return {
            table.name: [
                dict(zip(table.columns.keys(), row, strict=True))
                for row in view.connection.rows(Statement(select(*table.columns).order_by(*table.primary_key.columns)))
            ]
            for table in metadata.sorted_tables
        }


def files(kernel: Kernel) -> dict[str, str]:
    """Digest of every file in the workspace, the database's own and locks aside."""
    root = kernel.layout.root
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith("sentinelzer0.db") and path.name != ".lock"
    }


def state(kernel: Kernel) -> dict[str, Any]:
    """All rows and files that a refused or failed call must leave alone; the audit log may grow."""
    kept = {name: rows for name, rows in tables(kernel).items() if name not in AUDIT}
    return kept | {"files": files(kernel)}


def records(kernel: Kernel) -> list[AuditRecord]:
    """The whole audit log, oldest first."""
    with kernel.read() as view:
        return [AuditRecord.from_bytes(body) for _, body in view.audit.bodies()]


def refusals(kernel: Kernel) -> list[tuple[str, str, str]]:
    """Action, actor and code of every refusal on record, oldest first."""
    return [
        (record.action, record.actor.name, record.detail["code"])
        for record in records(kernel)
        if record.outcome is Outcome.REFUSED
    ]


def folded(kernel: Kernel) -> dict[str, dict[tuple[str, ...], dict[str, Any]]]:
    """The state tables rebuilt from the audit log alone, in the form of stored columns."""
    json_columns = {table.name: {c.name for c in table.columns if c.info.get("json")} for table in STATE}
    return {
        name: {
            key: {
                column: canonical_json.dumps(value).decode()
                if column in json_columns[name]
                else int(value)
                if isinstance(value, bool)
                else value
                for column, value in row.items()
            }
            for key, row in rows.items()
        }
        for name, rows in fold(records(kernel), KEYS).items()
    }


def stored(kernel: Kernel) -> dict[str, dict[tuple[str, ...], dict[str, Any]]]:
    """The state tables as stored, without derived columns."""
    found = tables(kernel)
    return {
        name: {
            tuple(str(row[key]) for key in keys): {c: v for c, v in row.items() if c != "folded"} for row in found[name]
        }
        for name, keys in KEYS.items()
    }


def require_sound(kernel: Kernel) -> None:
    """Assert every law of a workspace: log intact, log equals tables, bytes there, stages and traffic agree."""
    report = AuditTrail(kernel).verify()
    assert report.problems == ()
    log = records(kernel)
    assert [record.seq for record in log] == list(range(len(log)))
    assert folded(kernel) == stored(kernel)
    with kernel.read() as view:
        versions = view.versions.all()
        index = view.versions.tag_index()
        deployments = view.deployments.all()
    living = [version for version in versions if version.deleted_at is None]
    expected = [(v.model, tag, v.seq, v.status.value) for v in living for tag in v.tags]
    assert Counter(index) == Counter(expected)
    assert len({version.seq for version in versions}) == len(versions)
    for version in living:
        assert integrity.hash_in_full(kernel, version) == []
    places = Counter((d.model, d.environment) for d in deployments)
    for place, count in places.items():
        revisions = [d for d in deployments if (d.model, d.environment) == place]
        assert [d.revision for d in revisions] == list(range(1, count + 1))
        for name in revisions[-1].weights:
            assert next(v for v in living if (v.model, v.version) == (place[0], name)).stage is ModelStage.PRODUCTION


def require_no_effect(
    kernel: Kernel, expected: type[SentinelError], call: Callable[[], object], *, recorded: bool = False
) -> SentinelError:
    """Assert that a call raises a typed error, leaves rows and files alone, and is on record if it was refused."""
    before, seen = state(kernel), len(refusals(kernel))
    with pytest.raises(expected) as caught:
        call()
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.message
    assert type(error) is expected, "the most precise class of the tree"
    assert state(kernel) == before
    new = refusals(kernel)[seen:]
    assert [code for _, _, code in new] == ([expected.code] if recorded else [])
    return error
