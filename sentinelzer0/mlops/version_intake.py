"""Taking a model in: every fact is checked, then the bytes are stored, then the version is put on record."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from sentinelzer0.domain.identity import check_identifier, check_label, check_tags, check_text, subject_of_version
from sentinelzer0.domain.manifests import StoredContent
from sentinelzer0.domain.versions import Version, check_document, check_metrics
from sentinelzer0.errors import AlreadyExistsError, WorkspaceError
from sentinelzer0.kernel import Kernel, check_path, write_json
from sentinelzer0.mlops.integrity import readable_path
from sentinelzer0.mlops.version_facts import immutable_facts
from sentinelzer0.mlops.version_rules import check_free_name, check_parent, generated_name

CREATE = "version:content:create"
TEXTS = ("framework", "framework_version", "model_type", "training_dataset", "notes")
METRICS = ("training_metrics", "validation_metrics", "test_metrics")
DOCUMENTS = ("hyperparameters", "architecture")

_log = logging.getLogger("sentinelzer0.mlops.versions")


def checked_facts(given: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a new version as they will be stored.

    Args:
        given: ``model``, ``created_by``, ``tags``, ``parent_version``, and whatever is named in ``TEXTS``,
            ``METRICS`` and ``DOCUMENTS``.

    Raises:
        InvalidNameError: A name is not acceptable.
        InvalidMetricError: A metric is not a finite number.
        InvalidInputError: A text or document cannot be kept.
    """
    return (
        {
            "model": check_identifier(given["model"], "model"),
            "created_by": check_label(given["created_by"], "person's name"),
            "tags": check_tags(given["tags"]),
            "parent_version": given["parent_version"],
        }
        | {name: check_text(given[name], name.replace("_", " ")) for name in TEXTS}
        | {name: check_metrics(given[name], name) for name in METRICS}
        | {name: check_document(given[name], name) for name in DOCUMENTS}
    )


def take_in(
    kernel: Kernel,
    model_path: str | os.PathLike[str],
    name: str | None,
    facts: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> Version:
    """Store a model's bytes and put the new version on record, with its readable files.

    Raises:
        AlreadyExistsError: The name is taken.
        VersionNotFoundError: The parent does not exist.
    """
    source = check_path(model_path, "model_path")
    if name is not None:
        check_identifier(name, "version")
    _check_before_copying(kernel, facts, name)
    content = kernel.blobs.put(source, progress=progress)
    version = _insert(kernel, facts, name, content)
    publish(kernel, version)
    return version


def publish(kernel: Kernel, version: Version) -> None:
    """Write the readable files of a committed version.

    The version is on record and its bytes are stored, so a failure here is told and not raised.
    """
    path = readable_path(kernel, version)
    try:
        write_json(kernel.layout.metadata_file(version.model, version.version), immutable_facts(version))
    except OSError as error:
        _log.warning("Version %s is stored, but not its readable files: %s", version.version, error)
    else:
        if not path.exists():
            _log.warning(
                "Version %s is stored, but %s could not be made. Run: sentinelzer0 doctor", version.version, path
            )


def unpublish(kernel: Kernel, version: Version) -> None:
    """Remove the readable files of a deleted version; a failure is told and not raised."""
    try:
        kernel.blobs.remove_view(kernel.layout.version_directory(version.model, version.version))
        kernel.layout.metadata_file(version.model, version.version).unlink(missing_ok=True)
    except (OSError, WorkspaceError) as error:
        _log.warning("Version %s is deleted, but not its readable files: %s", version.version, error)


def _check_before_copying(kernel: Kernel, facts: dict[str, Any], name: str | None) -> None:
    """Refuse a taken name or an unknown parent before any byte is copied; the transaction decides again."""
    with kernel.read() as view:
        check_parent(view, facts["model"], facts["parent_version"])
        if name is None:
            return
        try:
            check_free_name(view, facts["model"], name)
        except AlreadyExistsError as refusal:
            error = refusal
        else:
            return
    raise kernel.refuse(facts["created_by"], CREATE, (subject_of_version(facts["model"], name),), error)


def _insert(kernel: Kernel, facts: dict[str, Any], name: str | None, content: StoredContent) -> Version:
    subjects = () if name is None else (subject_of_version(facts["model"], name),)
    with kernel.begin(facts["created_by"], CREATE, *subjects) as tx:
        chosen = name or generated_name(tx, facts["model"])
        check_free_name(tx, facts["model"], chosen)
        check_parent(tx, facts["model"], facts["parent_version"])
        version = Version(
            seq=tx.next_seq,
            version=chosen,
            digest=content.digest,
            kind=content.kind.value,
            size=content.size,
            filename=content.filename,
            created_at=tx.now,
            **facts,
        )
        tx.versions.put(version)
        tx.record(None, subject_of_version(version.model, chosen), digest=version.digest)
    return version
