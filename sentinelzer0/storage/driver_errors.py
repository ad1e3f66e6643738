"""The one place where errors of the database drivers are turned into this package's."""

from __future__ import annotations

from typing import Any

from sentinelzer0.errors import (
    ConflictError,
    CorruptWorkspaceError,
    InvalidInputError,
    SentinelError,
    StorageFullError,
    StorageUnavailableError,
)

BUSY_TIMEOUT_S = 60.0
"""How long a transaction waits for the lock of a local database."""

_DAMAGE = ("malformed", "not a database", "could not decode")
_READ_ONLY = ("readonly", "unable to open")


def unstorable(error: Exception) -> InvalidInputError:
    """Return the error of a value that no column can hold."""
    return InvalidInputError(f"A value cannot be stored: {error}.", hint="Use plain text and numbers below 2**63.")


def translated(error: Any, dbapi: Any) -> SentinelError:
    """Return what a driver's error means.

    Args:
        error: An error of the driver.
        dbapi: The driver's module, which has the error classes of PEP 249.
    """
    text = str(error).strip()
    if isinstance(error, dbapi.DataError):
        return unstorable(error)
    if isinstance(error, dbapi.IntegrityError):
        return ConflictError(f"Another process wrote the same row first: {text}.", hint="Read again and retry.")
    # A server's message may quote names and values, so what it means is in its code; SQLite's texts are fixed.
    code, low = getattr(error, "sqlstate", None), "" if hasattr(error, "sqlstate") else text.lower()
    if code == "53100" or "is full" in low:
        return StorageFullError(f"The database cannot grow: {text}.", hint="Free some space; nothing was changed.")
    if code in {"XX001", "XX002"} or any(sign in low for sign in _DAMAGE):
        return CorruptWorkspaceError(f"The database is damaged: {text}.", hint="Run: sentinelzer0 doctor")
    if code == "55P03" or "is locked" in low:
        return StorageUnavailableError(
            f"The database stayed locked for {BUSY_TIMEOUT_S:g} s.", hint="Another process holds it: retry."
        )
    if code == "25006" or any(sign in low for sign in _READ_ONLY):
        hint = "Even reading needs that, for its locks: let this user write to the workspace directory."
        return StorageUnavailableError(f"The database cannot be written: {text}.", hint=hint)
    return StorageUnavailableError(f"The database does not answer: {text}.", hint="Check it and retry.")
