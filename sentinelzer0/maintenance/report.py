"""What the doctor says: one line for every check, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_NAMED = 3


class Status(StrEnum):
    """The outcome of one check."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was checked.
        status: ``pass``; ``warn``: works, but somebody should look; ``fail``: something promised does not hold.
        detail: What was found, in one sentence.
        fix: What to do, usually a command; empty when there is nothing to do.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"name": self.name, "status": self.status.value, "detail": self.detail, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Report:
    """All lines of one examination.

    Attributes:
        workspace: Where the workspace lies.
        checks: The lines, in the order of the examination.
    """

    workspace: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks."""
        return tuple(check for check in self.checks if check.status is Status.FAIL)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that warn."""
        return tuple(check for check in self.checks if check.status is Status.WARN)

    def check(self, name: str) -> Check:
        """Return the line with a name.

        Raises:
            KeyError: There is no such line.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "workspace": self.workspace,
            "healthy": self.healthy,
            "passed": sum(check.status is Status.PASS for check in self.checks),
            "warnings": len(self.warnings),
            "failures": len(self.failures),
            "checks": [check.to_dict() for check in self.checks],
        }


def verdict(name: str, problems: Sequence[str], fine: str, fix: str, status: Status = Status.FAIL) -> Check:
    """Return the line of a check that found ``problems``, or that all is fine."""
    if not problems:
        return Check(name, Status.PASS, fine)
    shown = "; ".join(problems[:MAX_NAMED])
    more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    return Check(name, status, f"{shown}{more}.", fix)
