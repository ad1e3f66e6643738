"""Reading the files of version 3.3: one object at a time, what cannot be used is named, nothing is guessed.

Version 3.3 kept ``metadata/metadata_<version>.json`` beside ``versions/model_<version>.pt``,
``registry/registry.json``, ``registry/approval_requests.json``, ``ab_tests/test_<time>.json`` and
``rollback/rollback_history.json``. Its times have no zone and are local ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sentinelzer0.domain.identity import check_label, check_tags, check_text
from sentinelzer0.domain.versions import check_document, check_metrics
from sentinelzer0.errors import InvalidInputError

E = TypeVar("E", bound=StrEnum)

UNKNOWN_PERSON = "unknown"
KINDS = ("versions", "entries", "requests", "ab_tests", "rollbacks", "deployments")
_WORDS = {"ab_tests": "A/B tests"}


@dataclass(frozen=True, slots=True)
class LegacyProblem:
    """Something that could not be taken over.

    Attributes:
        file: The file, relative to the directory that was imported.
        subject: What in it: the name of a version, request, test or event; empty for the whole file.
        problem: What is wrong with it, in words.
    """

    file: str
    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}{f' ({self.subject})' if self.subject else ''}: {self.problem}"

    def to_dict(self) -> dict[str, str]:
        """Return JSON values."""
        return {"file": self.file, "subject": self.subject, "problem": self.problem}


@dataclass(frozen=True, slots=True)
class LegacyReport:
    """What an import did.

    Attributes:
        source: The directory of version 3.3.
        workspace: Where it was taken.
        imported: Names of what is new, by kind: versions, entries, requests, ab_tests, rollbacks, deployments.
        unchanged: Names of what had been imported before, by kind.
        problems: What could not be taken over, one by one.
        notes: What was taken over differently from how it was written, and why.
    """

    source: str
    workspace: str
    imported: dict[str, list[str]]
    unchanged: dict[str, list[str]]
    problems: tuple[LegacyProblem, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything was taken over, now or before."""
        return not self.problems

    def __str__(self) -> str:
        new = ", ".join(f"{len(names)} {_WORDS.get(kind, kind)}" for kind, names in self.imported.items() if names)
        known = sum(len(names) for names in self.unchanged.values())
        told = f"Imported {new}" if new else "Nothing new to import"
        return f"{told}; {known} imported before, {len(self.problems)} damaged."

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "source": self.source,
            "workspace": self.workspace,
            "complete": self.complete,
            "imported": {kind: list(names) for kind, names in self.imported.items()},
            "unchanged": {kind: list(names) for kind, names in self.unchanged.items()},
            "problems": [problem.to_dict() for problem in self.problems],
            "notes": list(self.notes),
        }


@dataclass(slots=True)
class Findings:
    """What an import finds out on its way."""

    imported: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    unchanged: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    problems: list[LegacyProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def damaged(self, file: str, subject: str, problem: str) -> None:
        """Name something that cannot be taken over."""
        self.problems.append(LegacyProblem(file, subject, problem))


class LegacyDirectory:
    """The files of one directory of version 3.3.

    Args:
        root: The directory.
        zone: The zone of its times; None is that of this machine.
        findings: Where damage is named.
    """

    def __init__(self, root: Path, zone: tzinfo | None, findings: Findings) -> None:
        self.root = root
        self.zone = zone
        self.findings = findings

    def load(self, path: Path) -> Any:
        """Return what a JSON file holds, or None when it is damaged (which is then named)."""
        try:
            return json.loads(path.read_bytes())
        except OSError as error:
            self.findings.damaged(self.name(path), "", f"cannot be read: {error.strerror}")
        except (ValueError, RecursionError) as error:
            self.findings.damaged(self.name(path), "", f"is not JSON, perhaps cut: {error}")
        return None

    def objects(self, path: Path) -> list[Facts]:
        """Return the objects of a file that maps names to objects, or lists them; others are named as damaged."""
        if not path.is_file() or (raw := self.load(path)) is None:
            return []
        rows = (
            list(raw.items())
            if isinstance(raw, Mapping)
            else [("", row) for row in raw]
            if isinstance(raw, list)
            else None
        )
        if rows is None:
            self.findings.damaged(self.name(path), "", "holds neither a list nor named objects")
            return []
        found = []
        for number, (key, row) in enumerate(rows):
            if isinstance(row, Mapping):
                found.append(Facts(row, self, self.name(path), str(key)))
            else:
                self.findings.damaged(self.name(path), str(key) or f"#{number}", "is not an object")
        return found

    def object(self, path: Path) -> Facts | None:
        """Return the one object of a file, or None when it is damaged (which is then named)."""
        raw = self.load(path)
        if isinstance(raw, Mapping):
            return Facts(raw, self, self.name(path), "")
        if raw is not None:
            self.findings.damaged(self.name(path), "", "does not hold an object")
        return None

    def name(self, path: Path) -> str:
        """Return a file's name relative to the directory."""
        return path.relative_to(self.root).as_posix()


class Facts:
    """One object of version 3.3, read field by field.

    Attributes:
        raw: The object.
        file: The file it is in.
        key: The name it has there.
    """

    def __init__(self, raw: Mapping[str, Any], directory: LegacyDirectory, file: str, key: str) -> None:
        self.raw = raw
        self.file = file
        self.key = key
        self._directory = directory

    def note(self, text: str) -> None:
        """Say that something was taken over differently."""
        self._directory.findings.notes.append(f"{self.file}{f' ({self.key})' if self.key else ''}: {text}")

    def damaged(self, problem: str) -> None:
        """Say that this object cannot be taken over."""
        self._directory.findings.damaged(self.file, self.key, problem)

    def required(self, name: str) -> str:
        """Return a text that must be there.

        Raises:
            InvalidInputError: It is missing, empty or no text.
        """
        value = self.raw.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidInputError(f"{name} is {value!r:.60}, not a text.")
        return check_text(value, name)

    def flag(self, name: str) -> bool:
        """Return a truth value that must be there.

        Raises:
            InvalidInputError: It is missing or no truth value.
        """
        value = self.raw.get(name)
        if not isinstance(value, bool):
            raise InvalidInputError(f"{name} is {value!r:.40}, neither true nor false.")
        return value

    def one_of(self, name: str, values: type[E]) -> E:
        """Return a member of an enumeration.

        Raises:
            InvalidInputError: It is missing or no member.
        """
        value = self.raw.get(name)
        if not isinstance(value, str) or value not in list(values):
            raise InvalidInputError(f"{name} is {value!r:.40}, which is none of {', '.join(values)}.")
        return values(value)

    def text(self, name: str) -> str:
        """Return a text, empty when it is missing; one that cannot be kept is left out with a note."""
        value = self.raw.get(name)
        if value is None:
            return ""
        try:
            return check_text(value, name)
        except InvalidInputError as error:
            self.note(f"{name} was left out: {error.message}")
            return ""

    def person(self, name: str) -> str:
        """Return the name of a person; one that is no longer allowed becomes ``unknown`` with a note."""
        value = self.raw.get(name)
        try:
            return check_label(value, "person's name")
        except InvalidInputError as error:
            self.note(f"{name} {value!r:.60} became {UNKNOWN_PERSON!r}: {error.message}")
            return UNKNOWN_PERSON

    def optional_person(self, name: str) -> str | None:
        """Return the name of a person, or None when there is none."""
        return None if self.raw.get(name) is None else self.person(name)

    def time(self, name: str) -> datetime | None:
        """Return a time as aware UTC, or None when there is none.

        Raises:
            InvalidInputError: It is no time.
        """
        value = self.raw.get(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{name} is {value!r:.60}, not a time.") from error
        if moment.tzinfo is None and self._directory.zone is not None:
            moment = moment.replace(tzinfo=self._directory.zone)
        try:
            return moment.astimezone(UTC)  # a time without a zone is read as this machine's local time
        except (OverflowError, ValueError) as error:
            raise InvalidInputError(f"{name} is {value!r:.60}, outside of what a clock shows.") from error

    def required_time(self, name: str) -> datetime:
        """Return a time that must be there.

        Raises:
            InvalidInputError: It is missing or no time.
        """
        moment = self.time(name)
        if moment is None:
            raise InvalidInputError(f"{name} is missing.")
        return moment

    def tags(self, name: str = "tags") -> tuple[str, ...]:
        """Return tags; those that are no longer allowed are left out with a note."""
        value = self.raw.get(name)
        kept: list[str] = []
        for tag in value if isinstance(value, list) else []:
            try:
                kept += check_tags([tag])
            except InvalidInputError as error:
                self.note(f"the tag {tag!r:.60} was left out: {error.message}")
        return tuple(dict.fromkeys(kept))

    def metrics(self, name: str) -> dict[str, float]:
        """Return finite metrics; others are left out with a note."""
        value = self.raw.get(name)
        kept: dict[str, float] = {}
        for metric, number in value.items() if isinstance(value, Mapping) else ():
            try:
                kept |= check_metrics({metric: number}, name)
            except InvalidInputError as error:
                self.note(f"a metric was left out: {error.message}")
        return kept

    def document(self, name: str) -> dict[str, Any]:
        """Return a mapping of JSON values; one that cannot be kept is left out with a note."""
        value = self.raw.get(name)
        try:
            return check_document(value, name)
        except InvalidInputError as error:
            self.note(f"{name} was left out: {error.message}")
            return {}


def zone_of(timezone: str | tzinfo | None) -> tzinfo | None:
    """Return the zone of times without one; None is that of this machine.

    Raises:
        InvalidInputError: There is no such zone.
    """
    if timezone is None or isinstance(timezone, tzinfo):
        return timezone
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(f"{timezone!r} is no time zone.", hint="Use a name such as Europe/Istanbul.") from error
