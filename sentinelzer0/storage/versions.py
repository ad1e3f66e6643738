"""Versions in SQL: lookup, listing in the order of creation, tag index, verification cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, union

from sentinelzer0.domain.identity import fold, is_name
from sentinelzer0.domain.versions import Version, VersionStatus
from sentinelzer0.storage.codec import Codec, decode_time, encode_time
from sentinelzer0.storage.database import Connection, Statement, Upsert
from sentinelzer0.storage.schema import verifications, version_tags, versions

Put = Callable[[Codec[Any], Any], None]

_TAGS_AT_ONCE = 100
"""SQLite takes at most 500 terms in a union."""

CODEC = Codec(Version, versions, derived={"folded": lambda version: fold(version.version)})
_columns = [versions.c[name] for name in CODEC.fields]
_model = versions.c.model == bindparam("model")
_live = versions.c.deleted_at.is_(None)

_get = Statement(select(*_columns).where(_model, versions.c.version == bindparam("version")))
_by_folded = Statement(select(*_columns).where(_model, versions.c.folded == bindparam("folded")))
_children = Statement(
    select(*_columns).where(_model, versions.c.parent_version == bindparam("version"), _live).order_by(versions.c.seq)
)
_production = Statement(
    select(*_columns)
    .where(_model, versions.c.stage == "production", _live)
    .order_by(versions.c.production_at.desc(), versions.c.seq.desc())
    .limit(1)
)
_known_good = Statement(
    select(*_columns)
    .where(_model, versions.c.known_good_at.is_not(None), _live)
    .order_by(versions.c.production_at.desc(), versions.c.seq.desc())
)
_ways_back = Statement(
    select(*_columns)
    .where(
        _model,
        versions.c.production_at.is_not(None),
        versions.c.known_good_at.is_not(None),
        versions.c.quarantined_at.is_(None),
        versions.c.deprecated == 0,
        versions.c.version != bindparam("leaving"),
        _live,
    )
    .order_by(versions.c.production_at.desc(), versions.c.seq.desc())
    .limit(bindparam("limit"))
)
_count = Statement(select(func.count()).select_from(versions).where(_model, _live))
_models = Statement(select(versions.c.model).distinct().order_by(versions.c.model))
_with_digest = Statement(
    select(versions.c.model, versions.c.version).where(versions.c.digest == bindparam("digest"), _live)
)
_all = Statement(select(*_columns).order_by(versions.c.seq))
_drop_tags = Statement(
    delete(version_tags).where(version_tags.c.model == bindparam("of_model"), version_tags.c.seq == bindparam("of_seq"))
)
_drop_all_tags = Statement(delete(version_tags))
_add_tags = Statement(version_tags.insert())
_all_tags = Statement(
    select(version_tags.c.model, version_tags.c.tag, version_tags.c.seq, version_tags.c.status).order_by(
        version_tags.c.model, version_tags.c.seq, version_tags.c.tag
    )
)
_verified = Statement(
    select(verifications.c.stat_key, verifications.c.verified_at).where(verifications.c.digest == bindparam("digest"))
)
_set_verified = Upsert(verifications)


class VersionRows:
    """Versions as one transaction sees them."""

    def __init__(self, connection: Connection, put: Put) -> None:
        self._connection = connection
        self._put = put

    def get(self, model: str, version: str) -> Version | None:
        """Return a version, also a deleted one, or None."""
        if not (is_name(model) and is_name(version)):
            return None
        row = self._connection.first(_get, {"model": model, "version": version})
        return None if row is None else CODEC.decode(row)

    def same_name(self, model: str, version: str) -> Version | None:
        """Return the version with this name or one that differs only in case."""
        row = self._connection.first(_by_folded, {"model": model, "folded": fold(version)})
        return None if row is None else CODEC.decode(row)

    def put(self, version: Version, previous: Version | None = None) -> None:
        """Store a version and keep its tag index.

        Args:
            version: The new state.
            previous: The stored state, or None when it is new.
        """
        self._put(CODEC, version)
        if previous is not None and _tag_rows(previous) == _tag_rows(version):
            return
        if previous is not None and previous.tags:
            self._connection.run(_drop_tags, {"of_model": version.model, "of_seq": version.seq})
        self._connection.run_many(_add_tags, _tag_rows(version))

    def newest(
        self,
        model: str,
        *,
        status: VersionStatus | None = None,
        tags: Sequence[str] = (),
        before: int | None = None,
        limit: int = 2**31,
    ) -> Sequence[Version]:
        """Return living versions, newest first.

        Args:
            model: The model.
            status: Only these.
            tags: Only versions with any of these tags; empty means no filter.
            before: Only versions older than this sequence number.
            limit: At most so many.
        """
        if not is_name(model):
            return []
        parameters: dict[str, Any] = {"model": model, "before": 2**62 if before is None else before, "limit": limit}
        if status is not None:
            stage = status.value
            parameters |= {"stage": stage, "deprecated": int(status is VersionStatus.DEPRECATED), "status": stage}
        if len(tags) <= _TAGS_AT_ONCE:
            parameters |= {f"tag{i}": tag for i, tag in enumerate(tags)}
            return CODEC.decode_all(self._connection.rows(_listing(status, len(tags)), parameters))
        found: dict[int, Version] = {}
        for start in range(0, len(tags), _TAGS_AT_ONCE):
            some = tags[start : start + _TAGS_AT_ONCE]
            part = self.newest(model, status=status, tags=some, before=before, limit=limit)
            found |= {version.seq: version for version in part}
        return [found[seq] for seq in sorted(found, reverse=True)[:limit]]

    def children(self, model: str, version: str) -> Sequence[Version]:
        """Return the living versions that name this one as their parent, oldest first."""
        return [CODEC.decode(r) for r in self._connection.rows(_children, {"model": model, "version": version})]

    def production(self, model: str) -> Version | None:
        """Return the version of stage production that entered it last."""
        if not is_name(model):
            return None
        row = self._connection.first(_production, {"model": model})
        return None if row is None else CODEC.decode(row)

    def known_good(self, model: str) -> Sequence[Version]:
        """Return living versions that served production, the one that did so last first."""
        return [CODEC.decode(row) for row in self._connection.rows(_known_good, {"model": model})]

    def ways_back(self, model: str, leaving: str, limit: int) -> Sequence[Version]:
        """Return known-good versions but one, the one that served production last first.

        Quarantined and deprecated ones are left out: somebody decided against them.
        """
        parameters = {"model": model, "leaving": leaving, "limit": limit}
        return [CODEC.decode(row) for row in self._connection.rows(_ways_back, parameters)]

    def count(self, model: str) -> int:
        """Return how many living versions a model has."""
        row = self._connection.first(_count, {"model": model})
        return 0 if row is None else int(row[0])

    def models(self) -> Sequence[str]:
        """Return the names of all models."""
        return [row[0] for row in self._connection.rows(_models)]

    def all(self) -> Sequence[Version]:
        """Return every version of every model, deleted ones too, in the order of creation."""
        return [CODEC.decode(row) for row in self._connection.rows(_all)]

    def tag_index(self) -> Sequence[tuple[str, str, int, str]]:
        """Return the stored tag index: model, tag, seq, status."""
        return [(r[0], r[1], r[2], r[3]) for r in self._connection.rows(_all_tags)]

    def with_digest(self, digest: str) -> Sequence[tuple[str, str]]:
        """Return (model, version) of the living versions with this content."""
        return [(row[0], row[1]) for row in self._connection.rows(_with_digest, {"digest": digest})]

    def verified(self, digest: str) -> tuple[list[Any], datetime] | None:
        """Return the stat key and the time of the last full verification of some content."""
        row = self._connection.first(_verified, {"digest": digest})
        return None if row is None else (json.loads(row[0]), decode_time(row[1]))

    def set_verified(self, digest: str, stat_key: object, at: datetime) -> None:
        """Remember a full verification (a cache: no state, hence no audit record)."""
        self._connection.run(
            _set_verified, {"digest": digest, "stat_key": json.dumps(stat_key), "verified_at": encode_time(at)}
        )


def rebuild_tag_index(connection: Connection) -> int:
    """Make the tag index again from the versions and return its length."""
    found = [CODEC.decode(row) for row in connection.rows(_all)]
    entries = [row for version in found for row in _tag_rows(version)]
    connection.run(_drop_all_tags)
    connection.run_many(_add_tags, entries)
    return len(entries)


def _tag_rows(version: Version) -> list[dict[str, Any]]:
    if version.deleted_at is not None:
        return []
    return [
        {"model": version.model, "tag": tag, "seq": version.seq, "status": version.status.value} for tag in version.tags
    ]


@lru_cache(maxsize=64)
def _listing(status: VersionStatus | None, tags: int) -> Statement:
    """Build the listing; with tags the LIMIT sits inside each tag's index scan, so it never reads the rest."""
    newest_first = versions.c.seq.desc()
    if not tags:
        query = select(*_columns).where(_model, _live, versions.c.seq < bindparam("before"))
        return Statement(query.where(*_status_filter(status)).order_by(newest_first).limit(bindparam("limit")))
    scans = []
    for i in range(tags):
        scan = select(version_tags.c.seq).where(
            version_tags.c.model == bindparam("model"),
            version_tags.c.tag == bindparam(f"tag{i}"),
            version_tags.c.seq < bindparam("before"),
        )
        if status is not None:
            scan = scan.where(version_tags.c.status == bindparam("status"))
        # The derived table keeps ORDER BY and LIMIT legal inside the union on SQLite.
        newest = scan.order_by(version_tags.c.seq.desc()).limit(bindparam("limit")).subquery()
        scans.append(select(newest.c.seq))
    found = (union(*scans) if len(scans) > 1 else scans[0]).subquery()
    joined = select(*_columns).join_from(found, versions, (versions.c.seq == found.c.seq) & _model)
    return Statement(joined.order_by(newest_first).limit(bindparam("limit")))


def _status_filter(status: VersionStatus | None) -> list[Any]:
    if status is None:
        return []
    if status is VersionStatus.DEPRECATED:
        return [versions.c.deprecated == bindparam("deprecated")]
    stage = versions.c.stage == bindparam("stage")
    if status is VersionStatus.DEVELOPMENT:
        stage = or_(stage, versions.c.stage == "none")
    return [stage, versions.c.deprecated == bindparam("deprecated")]
