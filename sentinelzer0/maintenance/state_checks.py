"""Checks of the truth: the database, the audit log, and that every state row is what the log says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sentinelzer0.domain.audit import AuditRecord, StateKey, fold
from sentinelzer0.errors import SentinelError
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.maintenance.report import Check, Status, verdict
from sentinelzer0.mlops.audit_trail import AuditTrail

RESTORE = "Restore a backup (sentinelzer0 restore), or rebuild from the files: sentinelzer0 doctor --rebuild"
REPAIR = "Run: sentinelzer0 doctor --fix"


def check_database(kernel: Kernel) -> Check:
    """Whether the database's pages, tables and indexes are sound."""
    kind = "SQLite" if kernel.database.is_sqlite else "PostgreSQL"
    return verdict("database", kernel.database_problems(), f"{kind}: pages, tables and indexes are sound.", RESTORE)


def check_audit(kernel: Kernel) -> Check:
    """Whether the audit log is complete and unchanged, and agrees with every signed checkpoint."""
    try:
        found = AuditTrail(kernel).verify()
    except SentinelError as error:
        return Check("audit log", Status.FAIL, error.message, error.hint or RESTORE)
    signed = {0: "no checkpoint was signed yet", 1: "1 signed checkpoint agrees"}
    agreed = signed.get(found.checkpoints, f"{found.checkpoints} signed checkpoints agree")
    fine = f"{counted(found.records, 'record')} give root {found.root[:16]}…; {agreed}."
    return verdict("audit log", [text.rstrip(".") for text in found.problems], fine, RESTORE)


def check_state(kernel: Kernel) -> Check:
    """Whether every row of every state table equals its latest after-image in the audit log."""
    with kernel.read() as view:
        try:
            problems = list(state_problems(view))
        except (ValueError, KeyError, TypeError) as error:
            problems = [f"the audit log cannot be read: {error}"]
        tables = len(view.state.keys)
    fine = f"Every row of {tables} state tables equals the latest after-image in the audit log."
    return verdict("state equals audit log", problems, fine, RESTORE)


def state_problems(view: Reader) -> Iterator[str]:
    """Yield every difference between the state tables and the fold of the audit records, naming the row."""
    keys = view.state.keys
    expected = fold((AuditRecord.from_bytes(body) for _, body in view.audit.bodies()), keys)
    for table in keys:
        images = expected[table]
        for key, row in view.state.rows(table):
            image = images.pop(key, None)
            if image is None:
                yield f"{table} {_shown(key)} is in no audit record"
            elif row != (known := view.state.completed(table, image)):
                yield f"{table} {_shown(key)} differs from the audit log: {_difference(row, known)}"
        yield from (f"{table} {_shown(key)} is on record but missing" for key in images)


def check_tags(kernel: Kernel) -> Check:
    """Whether the index that finds versions by tag says what the versions say."""
    with kernel.read() as view:
        stored = set(view.versions.tag_index())
        expected = {
            (version.model, tag, version.seq, version.status.value)
            for version in view.versions.all()
            if version.deleted_at is None
            for tag in version.tags
        }
    wrong = sorted(stored ^ expected)
    problems = [
        f"tag {tag!r} of {model} #{seq} ({status}) is {'missing' if row in expected else 'left over'}"
        for row in wrong
        for model, tag, seq, status in (row,)
    ]
    fine = f"It says what the versions say: {counted(len(expected), 'tag')}." if expected else "No version has a tag."
    return verdict("tag index", problems, fine, REPAIR)


def counted(count: int, thing: str) -> str:
    """Return a count and its thing, in the plural where it is one.

    >>> counted(1, "record"), counted(2, "record")
    ('1 record', '2 records')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _shown(key: StateKey) -> str:
    return "/".join(key)


def _difference(row: dict[str, Any], image: Mapping[str, Any]) -> str:
    if "" in row:
        return str(row[""])
    names = [name for name in row.keys() | image.keys() if row.get(name) != image.get(name)]
    name = min(names)
    return f"{name} is {row.get(name)!r:.60}, on record {image.get(name)!r:.60}"
