"""Every error this package raises on purpose, as one tree.

::

    SentinelError
    ├── InvalidInputError (ValueError)             the caller can fix the call
    │   ├── InvalidNameError
    │   ├── InvalidMetricError
    │   ├── ModelFileNotFoundError (FileNotFoundError)
    │   ├── UnsafeModelError                       symlink, device, empty, unreadable, too deep
    │   ├── SourceChangedError                     the file changed while it was read
    │   └── PolicySyntaxError
    ├── NotFoundError (ValueError)                 the name is unknown here
    │   ├── VersionNotFoundError
    │   ├── EntryNotFoundError
    │   ├── RequestNotFoundError
    │   ├── ABTestNotFoundError
    │   └── DeploymentNotFoundError
    ├── RefusedError (ValueError)                  a rule said no; the refusal is in the audit log
    │   ├── ApprovalRequiredError
    │   ├── ApproverNotAllowedError                self-approval, missing role
    │   ├── GateFailedError
    │   ├── IntegrityError                         stored bytes differ from what was registered
    │   ├── QuarantinedError
    │   ├── NotKnownGoodError                      never served production
    │   ├── IllegalTransitionError
    │   ├── AlreadyExistsError
    │   ├── InUseError                             referenced or serving, cannot be removed
    │   ├── RequestClosedError                     approved, rejected, withdrawn, expired or void
    │   └── ConflictError                          someone else changed it first
    ├── WorkspaceError                             the operator can fix the workspace
    │   ├── LegacyWorkspaceError (ValueError)      a 3.3 directory that was not imported
    │   ├── SchemaVersionError                     needs a migration, or a newer release
    │   ├── CorruptWorkspaceError                  database, file or audit log disagree
    │   ├── StorageUnavailableError                the database or the disk does not answer
    │   ├── StorageFullError
    │   └── UnauditedWriteError                    a defect: state changed without a record
    └── MissingExtraError (ImportError)            an optional part is not installed

Each class has a stable ``code``; each instance says what happened with the value, and ``hint`` says what to
do next. Domain code knows nothing of exit codes or HTTP: tables at the edges map these classes.
"""

from __future__ import annotations

from typing import ClassVar


class SentinelError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: What happened, with the value, and why.
        hint: What to do next; empty when there is nothing to add.
    """

    code: ClassVar[str] = "sentinel_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class InvalidInputError(SentinelError, ValueError):
    """An argument cannot be used; nothing was changed."""

    code = "invalid_input"


class InvalidNameError(InvalidInputError):
    """A model, version, tag, actor or environment name is not acceptable."""

    code = "invalid_name"


class InvalidMetricError(InvalidInputError):
    """A metric is not a finite number, or contradicts another one."""

    code = "invalid_metric"


class ModelFileNotFoundError(InvalidInputError, FileNotFoundError):
    """The model file or directory does not exist."""

    code = "model_file_not_found"


class UnsafeModelError(InvalidInputError):
    """The model file or directory cannot be stored: symlink, device, empty, unreadable."""

    code = "unsafe_model"


class SourceChangedError(InvalidInputError):
    """The model file changed while it was copied, so its digest would describe neither state."""

    code = "source_changed"


class PolicySyntaxError(InvalidInputError):
    """A policy file is not valid TOML or has an unknown or contradictory setting."""

    code = "policy_syntax"


class NotFoundError(SentinelError, ValueError):
    """The named thing does not exist in this workspace."""

    code = "not_found"


class VersionNotFoundError(NotFoundError):
    """No such version of the model, or it was deleted."""

    code = "version_not_found"


class EntryNotFoundError(NotFoundError):
    """The version exists but was never registered."""

    code = "entry_not_found"


class RequestNotFoundError(NotFoundError):
    """No approval or rollback request with this id."""

    code = "request_not_found"


class ABTestNotFoundError(NotFoundError):
    """No A/B test with this id."""

    code = "ab_test_not_found"


class DeploymentNotFoundError(NotFoundError):
    """Nothing is or was deployed in this environment."""

    code = "deployment_not_found"


class RefusedError(SentinelError, ValueError):
    """A rule said no. The transaction was rolled back and the refusal recorded in the audit log."""

    code = "refused"


class ApprovalRequiredError(RefusedError):
    """The policy in force demands an approval that does not exist."""

    code = "approval_required"


class ApproverNotAllowedError(RefusedError):
    """The person may not decide this request: they made it, already voted, or lack the role."""

    code = "approver_not_allowed"


class GateFailedError(RefusedError):
    """An automatic gate of the policy failed."""

    code = "gate_failed"


class IntegrityError(RefusedError):
    """The stored bytes are not the bytes that were registered."""

    code = "integrity"


class QuarantinedError(RefusedError):
    """The version was rolled back from and nobody released it since."""

    code = "quarantined"


class NotKnownGoodError(RefusedError):
    """The version never served production, so it is not a way back."""

    code = "not_known_good"


class IllegalTransitionError(RefusedError):
    """The stage or state cannot change this way."""

    code = "illegal_transition"


class AlreadyExistsError(RefusedError):
    """The name is taken; nothing is ever overwritten."""

    code = "already_exists"


class InUseError(RefusedError):
    """Something still refers to it or it serves traffic."""

    code = "in_use"


class RequestClosedError(RefusedError):
    """The request was already approved, rejected or withdrawn, or is expired or void."""

    code = "request_closed"


class ConflictError(RefusedError):
    """Someone else changed it between the read and the write."""

    code = "conflict"


class WorkspaceError(SentinelError):
    """The workspace itself needs attention."""

    code = "workspace"


class LegacyWorkspaceError(WorkspaceError, ValueError):
    """The directory holds files of version 3.3 that were not imported."""

    code = "legacy_workspace"


class SchemaVersionError(WorkspaceError):
    """The database schema is older or newer than this release."""

    code = "schema_version"


class CorruptWorkspaceError(WorkspaceError):
    """Database, files or audit log contradict each other."""

    code = "corrupt_workspace"


class StorageUnavailableError(WorkspaceError):
    """The database or the disk does not answer."""

    code = "storage_unavailable"


class StorageFullError(WorkspaceError):
    """No space is left; the operation was undone."""

    code = "storage_full"


class UnauditedWriteError(WorkspaceError):
    """A defect in this package: a transaction changed state without an audit record."""

    code = "unaudited_write"


class MissingExtraError(SentinelError, ImportError):
    """An optional part of the package is not installed."""

    code = "missing_extra"


def require_extra(extra: str, package: str) -> MissingExtraError:
    """Build the error that names the exact command installing an optional part.

    Args:
        extra: Name of the extra, as in ``sentinelzer0[extra]``.
        package: The module that could not be imported.
    """
    return MissingExtraError(
        f"{package} is not installed.", hint=f"Install it with: pip install 'sentinelzer0[{extra}]'"
    )
