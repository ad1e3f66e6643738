"""State rows of every noun in one form: read to be compared with the audit log, written to be rebuilt from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select

from sentinelzer0.domain.audit import StateKey
from sentinelzer0.domain.canonical_json import dumps as canonical_dumps
from sentinelzer0.domain.versions import Version
from sentinelzer0.storage import ab_tests, deployments, registry, rollbacks, versions
from sentinelzer0.storage.codec import Codec, Native
from sentinelzer0.storage.database import Connection, Row, Statement, Upsert
from sentinelzer0.storage.older_images import completed

CODECS: dict[str, Codec[Any]] = {
    codec.table.name: codec
    for codec in (
        versions.CODEC,
        registry.ENTRY,
        registry.REQUEST,
        registry.EVIDENCE,
        registry.POLICY,
        deployments.CODEC,
        ab_tests.CODEC,
        rollbacks.CODEC,
    )
}
_selects = {name: Statement(select(*codec.table.columns)) for name, codec in CODECS.items()}
_upserts = {name: Upsert(codec.table) for name, codec in CODECS.items()}


class StateRows:
    """The rows of the tables that the audit log can rebuild."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The names of the key columns of every state table."""
        return {name: codec.key for name, codec in CODECS.items()}

    def rows(self, table: str) -> Iterator[tuple[StateKey, Native]]:
        """Yield every row of a state table as an after-image would hold it.

        A row that cannot be read, or is not stored as this package stores it, is yielded with one key more,
        ``""``, that says so.
        """
        codec = CODECS[table]
        for row in self._connection.run(_selects[table]):
            stored = dict(zip((column.name for column in codec.table.columns), row, strict=True))
            yield tuple(str(stored[name]) for name in codec.key), _native(codec, stored)

    def restore(self, table: str, image: Mapping[str, Any]) -> None:
        """Write the row that an after-image holds; no after-image is kept, because it is on record already."""
        codec = CODECS[table]
        value = codec.decode(_as_stored(codec, completed(table, image)))
        previous = self._version(value) if isinstance(value, Version) else None
        self._connection.run(_upserts[table], codec.parameters(value, codec.native(value)))
        if isinstance(value, Version):
            versions.VersionRows(self._connection, _kept).put(value, previous)

    def completed(self, table: str, image: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an after-image, which an earlier schema may have made, with every column of the present one."""
        return completed(table, image)

    def rebuild_tag_index(self) -> int:
        """Make the index of tags again from the versions and return its length."""
        return versions.rebuild_tag_index(self._connection)

    def restore_statistics(self) -> int:
        """Give every A/B test that has no statistics empty ones; return how many there are."""
        rows = ab_tests.ABTestRows(self._connection, _kept)
        known = rows.all()
        for test in known:
            rows.begin_outcomes(test)
        return len(known)

    def _version(self, value: Version) -> Version | None:
        return versions.VersionRows(self._connection, _kept).get(value.model, value.version)


def _kept(_codec: Codec[Any], _value: Any) -> None:
    """Take no after-image: the row was just written from one."""


def _native(codec: Codec[Any], stored: Mapping[str, Any]) -> Native:
    try:
        value = codec.decode([stored[name] for name in codec.fields])
        native = codec.native(value)
        expected = codec.parameters(value, native)
    except (ValueError, TypeError, KeyError) as error:
        return {**stored, "": f"it cannot be read: {error}"}
    odd = sorted(name for name in stored if stored[name] != expected[name])
    return native | {"": f"{', '.join(odd)} was written by something else"} if odd else native


def _as_stored(codec: Codec[Any], image: Mapping[str, Any]) -> Row:
    """Return an after-image in the form of a selected row."""
    json_columns = {column.name for column in codec.table.columns if column.info.get("json")}
    return [canonical_dumps(image[name]).decode() if name in json_columns else image[name] for name in codec.fields]
