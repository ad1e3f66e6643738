"""What can be told about versions: immutable facts, comparison, lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentinelzer0.domain.versions import Version, compare_metrics, differing
from sentinelzer0.mlops.public_values import public_metadata

if TYPE_CHECKING:
    from sentinelzer0.kernel import Reader


def immutable_facts(version: Version) -> dict[str, Any]:
    """Return what never changes about a version: the content of its metadata file."""
    facts = public_metadata(version).to_dict()
    for mutable in ("status", "tags", "notes"):
        del facts[mutable]
    return facts | {
        "model": version.model,
        "kind": version.kind,
        "filename": version.filename,
        "seq": version.seq,
        "format": "sentinelzer0-version-1",
    }


def comparison_of(first: Version, second: Version) -> dict[str, Any]:
    """Return what differs between two versions; differences are second minus first."""
    return {
        "version1": first.version,
        "version2": second.version,
        "metrics_comparison": compare_metrics(first.training_metrics, second.training_metrics),
        "validation_metrics_comparison": compare_metrics(first.validation_metrics, second.validation_metrics),
        "test_metrics_comparison": compare_metrics(first.test_metrics, second.test_metrics),
        "hyperparameters_diff": differing(first.hyperparameters, second.hyperparameters),
        "file_size_diff": second.size - first.size,
        "created_at_diff": (second.created_at - first.created_at).total_seconds(),
    }


def lineage_of(view: Reader, version: Version) -> dict[str, Any]:
    """Return a version's ancestors, from the parent to the root, and its descendants, nearest first."""
    ancestors: list[Version] = []
    parent = version.parent_version
    while parent is not None and (ancestor := view.versions.get(version.model, parent)) is not None:
        ancestors.append(ancestor)
        parent = ancestor.parent_version
    descendants: list[Version] = list(view.versions.children(version.model, version.version))
    for child in descendants:
        descendants.extend(view.versions.children(version.model, child.version))
    return {
        "version": version.version,
        "ancestors": [_lineage_row(item) for item in ancestors],
        "descendants": [_lineage_row(item) for item in descendants],
    }


def _lineage_row(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "parent_version": version.parent_version,
        "status": "deleted" if version.deleted_at is not None else version.status.value,
        "created_at": version.created_at.isoformat(),
        "created_by": version.created_by,
        "file_hash": version.digest,
    }
