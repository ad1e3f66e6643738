"""Versions: create, find, promote, compare, verify and delete immutable models.

A version is a file or a directory, named by its SHA-256 and kept once; only its stage, deprecation, tags and notes
may change, each with an audit record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sentinelzer0.domain.deployments import Cause
from sentinelzer0.domain.identity import DEFAULT_MODEL, check_tags, check_text, subject_of_version
from sentinelzer0.domain.versions import Version, VersionStatus, promoted
from sentinelzer0.errors import InvalidInputError, VersionNotFoundError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops import integrity
from sentinelzer0.mlops import version_intake as intake
from sentinelzer0.mlops.public_values import LiveView, ModelMetadata, ModelVersion, checked_limit, public_metadata
from sentinelzer0.mlops.version_facts import comparison_of, lineage_of
from sentinelzer0.mlops.version_rules import (
    check_direct_promotion,
    check_not_serving,
    check_unreferenced,
    enter_production,
)

__all__ = ["ModelMetadata", "ModelVersion", "ModelVersionManager", "VersionStatus"]

PROMOTE = "version:stage:promote"
DELETE = "version:content:delete"
EDIT = "version:notes:edit"


class ModelVersionManager:
    """The versions of one workspace directory.

    Args:
        base_dir: The workspace directory; created when it does not exist.
        kernel: An already open workspace, instead of ``base_dir``.

    Raises:
        LegacyWorkspaceError: The directory holds files of version 3.3 that were not imported.
    """

    def __init__(self, base_dir: str | os.PathLike[str] = "models", *, kernel: Kernel | None = None) -> None:
        self.kernel = kernel or Kernel(base_dir)

    @property
    def base_dir(self) -> Path:
        """The workspace directory."""
        return self.kernel.layout.root

    @property
    def versions_dir(self) -> Path:
        """The directory with the readable view of every version."""
        return self.kernel.layout.versions

    @property
    def metadata_dir(self) -> Path:
        """The directory with the immutable facts of every version, as JSON."""
        return self.kernel.layout.metadata

    @property
    def versions(self) -> LiveView[ModelVersion]:
        """A live, read-only view of the default model's versions by name, oldest first."""
        return LiveView(
            self.get_version,
            lambda: [version.version for version in reversed(self.list_versions())],
            "Call create_version(…).",
        )

    def create_version(
        self,
        model_path: str | os.PathLike[str],
        version: str | None = None,
        created_by: str = "system",
        training_metrics: dict[str, float] | None = None,
        hyperparameters: dict[str, Any] | None = None,
        notes: str = "",
        tags: Sequence[str] | None = None,
        parent_version: str | None = None,
        *,
        framework: str = "",
        framework_version: str = "",
        model_type: str = "",
        architecture: dict[str, Any] | None = None,
        validation_metrics: dict[str, float] | None = None,
        test_metrics: dict[str, float] | None = None,
        training_dataset: str = "",
        model: str = DEFAULT_MODEL,
        progress: Callable[[int, int], None] | None = None,
    ) -> ModelVersion:
        """Take a model file or directory into the workspace as a new version.

        Args:
            model_path: A file, or a directory of regular files.
            version: Its name; None makes one that sorts by time.
            created_by: Who creates it.
            training_metrics: Finite numbers by name.
            hyperparameters: JSON values by name.
            notes: Free text.
            tags: Words to find it by.
            parent_version: The version it was derived from; it must exist.
            framework: Framework it was trained with.
            framework_version: Its version.
            model_type: Kind of model.
            architecture: JSON values describing the architecture.
            validation_metrics: Finite numbers by name.
            test_metrics: Finite numbers by name.
            training_dataset: Name or reference of the data set.
            model: The model it belongs to.
            progress: Called with (bytes done, bytes in all) while the bytes are stored.

        Raises:
            ModelFileNotFoundError: ``model_path`` does not exist.
            UnsafeModelError: It is empty or unreadable, or contains a symlink or a device.
            SourceChangedError: It changed while it was copied.
            AlreadyExistsError: The name is taken, also by a deleted version or in another case.
            VersionNotFoundError: The parent does not exist.
            InvalidNameError: A name is not acceptable.
            InvalidMetricError: A metric is not a finite number.
        """
        facts = intake.checked_facts(
            {
                "model": model,
                "created_by": created_by,
                "training_metrics": training_metrics,
                "validation_metrics": validation_metrics,
                "test_metrics": test_metrics,
                "hyperparameters": hyperparameters,
                "architecture": architecture,
                "notes": notes,
                "tags": tags,
                "framework": framework,
                "framework_version": framework_version,
                "model_type": model_type,
                "training_dataset": training_dataset,
                "parent_version": parent_version,
            }
        )
        created = intake.take_in(self.kernel, model_path, version, facts, progress)
        return self._public(created)

    def get_version(self, version: str, *, model: str = DEFAULT_MODEL) -> ModelVersion | None:
        """Return a version, or None when there is none with this name (or it was deleted)."""
        with self.kernel.read() as view:
            found = view.versions.get(model, version)
        return None if found is None or found.deleted_at is not None else self._public(found)

    def list_versions(
        self,
        status: VersionStatus | str | None = None,
        tags: Sequence[str] | None = None,
        *,
        model: str = DEFAULT_MODEL,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> list[ModelVersion]:
        """Return versions, newest first.

        Args:
            status: Only these.
            tags: Only versions with any of these tags.
            model: The model.
            limit: At most so many.
            cursor: Name of the last version of the previous page; the page starts behind it.

        Raises:
            InvalidInputError: An unknown status, or a negative limit.
            VersionNotFoundError: The cursor names no version.
        """
        most = checked_limit(limit)
        wanted = None if status is None else _status(status)
        with self.kernel.read() as view:
            before = None
            if cursor is not None:
                last = view.versions.get(model, cursor)
                if last is None:
                    raise VersionNotFoundError(f"The cursor {cursor!r} is no version.", hint="Start from the top.")
                before = last.seq
            found = view.versions.newest(model, status=wanted, tags=check_tags(tags), before=before, limit=most)
        return [self._public(item) for item in found]

    def get_latest_version(
        self, status: VersionStatus | str | None = None, *, model: str = DEFAULT_MODEL
    ) -> ModelVersion | None:
        """Return the newest version (of a status), or None."""
        return next(iter(self.list_versions(status, model=model, limit=1)), None)

    def get_production_version(self, *, model: str = DEFAULT_MODEL) -> ModelVersion | None:
        """Return the version of stage production that entered production last, or None."""
        with self.kernel.read() as view:
            found = view.versions.production(model)
        return None if found is None else self._public(found)

    def promote_version(
        self,
        version: str,
        target_status: VersionStatus | str,
        *,
        promoted_by: str = "system",
        reason: str = "",
        model: str = DEFAULT_MODEL,
    ) -> ModelVersion:
        """Move a version to another status, following the one transition table.

        A version without a registry entry may go to production under a policy that allows it; the record says
        that no approval was asked. A registered version goes to production through its approval only.

        Raises:
            IllegalTransitionError: The table has no such move.
            ApprovalRequiredError: The policy in force demands an approval.
            GateFailedError: A gate of the policy in force fails.
            IntegrityError: The bytes are not those that were registered.
            InUseError: A version that serves production cannot be archived.
            QuarantinedError: It was rolled back from and not released.
        """
        target = _status(target_status)
        check_text(reason, "reason")
        with self.kernel.read() as view:
            found = integrity.require_version(view, model, version)
        if target in (VersionStatus.STAGING, VersionStatus.PRODUCTION):
            integrity.require_intact(self.kernel, found, promoted_by, PROMOTE)
        with self.kernel.begin(promoted_by, PROMOTE, subject_of_version(model, version)) as tx:
            before = integrity.require_version(tx, model, version)
            after = promoted(before, target)
            waived = check_direct_promotion(tx, before, target)
            if target is VersionStatus.ARCHIVED:
                check_not_serving(tx, before)
            if target is VersionStatus.PRODUCTION:
                after = enter_production(tx, after, Cause.PROMOTION, reason, {"approval": waived})
            tx.versions.put(after, before)
            tx.record(
                digest=after.digest,
                reason=reason,
                detail={"from": before.status.value, "to": after.status.value, "approval": waived},
            )
        return self._public(after)

    def compare_versions(self, version1: str, version2: str, *, model: str = DEFAULT_MODEL) -> dict[str, Any]:
        """Compare two versions.

        Returns:
            ``version1``, ``version2``; ``metrics_comparison``, ``validation_metrics_comparison`` and
            ``test_metrics_comparison`` {metric: version1, version2, diff, percent_change}, where absent is None;
            ``hyperparameters_diff`` {key: {version1, version2}}; ``file_size_diff`` in bytes;
            ``created_at_diff`` in seconds. Differences are version2 minus version1.

        Raises:
            VersionNotFoundError: One of them does not exist.
        """
        with self.kernel.read() as view:
            first = integrity.require_version(view, model, version1)
            second = integrity.require_version(view, model, version2)
        return comparison_of(first, second)

    def verify_integrity(self, version: str, *, model: str = DEFAULT_MODEL) -> bool:
        """Hash every byte of a version; False for changed, missing or extra bytes.

        Raises:
            VersionNotFoundError: It does not exist.
        """
        return not self.integrity_problems(version, model=model)

    def integrity_problems(self, version: str, *, model: str = DEFAULT_MODEL) -> list[str]:
        """Return what :meth:`verify_integrity` found, in plain words; empty when all is intact."""
        with self.kernel.read() as view:
            found = integrity.require_version(view, model, version)
        return integrity.problems(self.kernel, found)

    def open_verified(
        self, version: str, *, model: str = DEFAULT_MODEL
    ) -> AbstractContextManager[integrity.VerifiedModel]:
        """Open a version for loading: every file is hashed when it is opened, from a copy nobody can change.

        Example:
            ``with manager.open_verified("v1") as content: weights = content.read()``

        Raises:
            VersionNotFoundError: It does not exist.
            IntegrityError: On opening, when the bytes are not those that were registered.
        """
        with self.kernel.read() as view:
            found = integrity.require_version(view, model, version)
        return integrity.verified(self.kernel, found)

    def delete_version(
        self,
        version: str,
        force: bool = False,
        *,
        deleted_by: str = "system",
        reason: str = "",
        model: str = DEFAULT_MODEL,
    ) -> bool:
        """Delete a version, leaving a tombstone; its name is never used again.

        Args:
            version: Its name.
            force: Also delete a version of stage production that serves nothing.
            deleted_by: Who deletes it.
            reason: Why.
            model: The model.

        Returns:
            True.

        Raises:
            VersionNotFoundError: It does not exist.
            InUseError: It serves traffic, is the parent of another version, is part of a running A/B test, has a
                pending request, or is of stage production and ``force`` is not set.
        """
        with self.kernel.begin(deleted_by, DELETE, subject_of_version(model, version)) as tx:
            before = integrity.require_version(tx, model, version)
            check_unreferenced(tx, before, force=force)
            after = replace(before, deleted_at=tx.now)
            tx.versions.put(after, before)
            tx.record(digest=before.digest, reason=check_text(reason, "reason"), detail={"force": bool(force)})
        intake.unpublish(self.kernel, after)
        return True

    def edit_version(
        self,
        version: str,
        *,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        edited_by: str = "system",
        model: str = DEFAULT_MODEL,
    ) -> ModelVersion:
        """Replace a version's tags or notes; what is None stays.

        Raises:
            VersionNotFoundError: It does not exist.
            InvalidNameError: A tag is not acceptable.
        """
        with self.kernel.begin(edited_by, EDIT, subject_of_version(model, version)) as tx:
            before = integrity.require_version(tx, model, version)
            after = replace(
                before,
                tags=before.tags if tags is None else check_tags(tags),
                notes=before.notes if notes is None else check_text(notes, "notes"),
            )
            tx.versions.put(after, before)
            tx.record(digest=after.digest)
        return self._public(after)

    def lineage(self, version: str, *, model: str = DEFAULT_MODEL) -> dict[str, Any]:
        """Return where a version comes from and what was derived from it.

        Returns:
            ``version``; ``ancestors``, from the parent to the root; ``descendants``, nearest first. Each is a list
            of {version, parent_version, status, created_at, created_by, file_hash}; deleted ones stay in it.

        Raises:
            VersionNotFoundError: It does not exist.
        """
        with self.kernel.read() as view:
            return lineage_of(view, integrity.require_version(view, model, version))

    def _public(self, version: Version) -> ModelVersion:
        return ModelVersion(
            version.version,
            version.status,
            public_metadata(version),
            integrity.readable_path(self.kernel, version),
            version.model,
            version.stage,
        )


def _status(value: VersionStatus | str) -> VersionStatus:
    try:
        return VersionStatus(value)
    except ValueError as error:
        raise InvalidInputError(
            f"{value!r} is not a status.", hint=f"Use one of: {', '.join(VersionStatus)}."
        ) from error
