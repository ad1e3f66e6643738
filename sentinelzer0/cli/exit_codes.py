"""What the exit code of a command means, and which error gives which.

=====  ============================================================
code   meaning
=====  ============================================================
0      done
1      failed: the operator must act, or a check of ``doctor`` failed
2      usage: the call is wrong
3      not found: version, entry, request, test, file or workspace
4      an approval is needed, or the person may not do this
5      a gate failed, or the bytes or the log are not intact
6      conflict with the present state
7      the database or the disk does not answer
124    it took too long
130    stopped with Ctrl-C
=====  ============================================================
"""

from __future__ import annotations

from enum import IntEnum

from sentinelzer0 import errors


class ExitCode(IntEnum):
    """The exit codes, by name."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    GATE = 5
    CONFLICT = 6
    UNREACHABLE = 7
    TIMEOUT = 124
    INTERRUPTED = 130


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "failed: the operator must act, or a check of `doctor` failed",
    ExitCode.USAGE: "usage: the call is wrong",
    ExitCode.NOT_FOUND: "not found: version, entry, request, test, file or workspace",
    ExitCode.DENIED: "an approval is needed, or the person may not do this",
    ExitCode.GATE: "a gate failed, or the bytes or the audit log are not intact",
    ExitCode.CONFLICT: "conflict with the present state",
    ExitCode.UNREACHABLE: "the database or the disk does not answer",
    ExitCode.TIMEOUT: "it took too long",
    ExitCode.INTERRUPTED: "stopped with Ctrl-C",
}

EXIT_CODES: dict[type[errors.SentinelError], ExitCode] = {
    errors.SentinelError: ExitCode.FAILURE,
    errors.InvalidInputError: ExitCode.USAGE,
    errors.InvalidNameError: ExitCode.USAGE,
    errors.InvalidMetricError: ExitCode.USAGE,
    errors.ModelFileNotFoundError: ExitCode.NOT_FOUND,
    errors.UnsafeModelError: ExitCode.USAGE,
    errors.SourceChangedError: ExitCode.CONFLICT,
    errors.PolicySyntaxError: ExitCode.USAGE,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.VersionNotFoundError: ExitCode.NOT_FOUND,
    errors.EntryNotFoundError: ExitCode.NOT_FOUND,
    errors.RequestNotFoundError: ExitCode.NOT_FOUND,
    errors.ABTestNotFoundError: ExitCode.NOT_FOUND,
    errors.DeploymentNotFoundError: ExitCode.NOT_FOUND,
    errors.RefusedError: ExitCode.DENIED,
    errors.ApprovalRequiredError: ExitCode.DENIED,
    errors.ApproverNotAllowedError: ExitCode.DENIED,
    errors.GateFailedError: ExitCode.GATE,
    errors.IntegrityError: ExitCode.GATE,
    errors.QuarantinedError: ExitCode.DENIED,
    errors.NotKnownGoodError: ExitCode.DENIED,
    errors.IllegalTransitionError: ExitCode.CONFLICT,
    errors.AlreadyExistsError: ExitCode.CONFLICT,
    errors.InUseError: ExitCode.CONFLICT,
    errors.RequestClosedError: ExitCode.CONFLICT,
    errors.ConflictError: ExitCode.CONFLICT,
    errors.WorkspaceError: ExitCode.FAILURE,
    errors.LegacyWorkspaceError: ExitCode.FAILURE,
    errors.SchemaVersionError: ExitCode.FAILURE,
    errors.CorruptWorkspaceError: ExitCode.GATE,
    errors.StorageUnavailableError: ExitCode.UNREACHABLE,
    errors.StorageFullError: ExitCode.FAILURE,
    errors.UnauditedWriteError: ExitCode.FAILURE,
    errors.MissingExtraError: ExitCode.FAILURE,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of an error: that of its nearest class in the table, 1 for any other."""
    if isinstance(error, TimeoutError):
        return ExitCode.TIMEOUT
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    for kind in type(error).__mro__:
        if (code := EXIT_CODES.get(kind)) is not None:
            return code
    return ExitCode.FAILURE
