"""The public face of a workspace: one object with a manager for every step of the flow."""

from __future__ import annotations

import os
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.deployments import Deployments
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.outcomes import Outcomes
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.mlops.version_manager import ModelVersionManager

if TYPE_CHECKING:
    from sentinelzer0.mlops.mlflow_integration import MLflowTracker


class Workspace:
    """An open workspace; use :meth:`open`, or a ``with`` block.

    Args:
        kernel: The opened storage.
        tracker: Where A/B verdicts and rollbacks are also reported, after their commit.
    """

    def __init__(self, kernel: Kernel, *, tracker: MLflowTracker | None = None) -> None:
        self.kernel = kernel
        self.tracker = tracker

    @classmethod
    def open(cls, location: str | os.PathLike[str], *, tracker: MLflowTracker | None = None) -> Workspace:
        """Open a workspace, creating it when it does not exist.

        Args:
            location: A directory, or ``postgresql://host/database?blobs=DIRECTORY``.
            tracker: An optional sink for A/B verdicts and rollbacks; its failure never affects an operation.

        Raises:
            LegacyWorkspaceError: The directory holds files of version 3.3 that were not imported.
            StorageUnavailableError: The database or the directory cannot be opened.
        """
        return cls(Kernel(location), tracker=tracker)

    @cached_property
    def versions(self) -> ModelVersionManager:
        """Create, find, promote, compare, verify and delete versions."""
        return ModelVersionManager(kernel=self.kernel)

    @cached_property
    def registry(self) -> ModelRegistry:
        """Entries, approvals, policy, evidence, health."""
        return ModelRegistry(self.versions)

    @cached_property
    def deployments(self) -> Deployments:
        """What serves now, what did when."""
        return Deployments(self.kernel)

    @cached_property
    def ab_tests(self) -> ABTestManager:
        """A/B tests of live traffic."""
        return ABTestManager(kernel=self.kernel, tracker=self.tracker)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Outcomes of production, and the raw outcomes of tests."""
        return Outcomes(self.kernel)

    @cached_property
    def rollback(self) -> RollbackManager:
        """Health checks and the way back."""
        return RollbackManager(self.versions, self.registry, tracker=self.tracker)

    @cached_property
    def audit(self) -> AuditTrail:
        """The audit log."""
        return AuditTrail(self.kernel)

    def close(self) -> None:
        """Close every idle database connection."""
        self.kernel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
