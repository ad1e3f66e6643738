"""The readable side of a workspace directory: paths, JSON files written whole, traces of version 3.3.

Everything here is derived from the database and the blobs and can be written again; nothing here is the truth.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from sentinelzer0.domain.identity import DEFAULT_MODEL
from sentinelzer0.domain.scalars import shown
from sentinelzer0.errors import InvalidInputError

DATABASE = "sentinelzer0.db"
MAX_NAME = 200
"""Longest name of a version's readable files, so that a suffix and a temporary prefix fit into 255 bytes."""
# Version 3.3 named tests by the second; ours have 32 hexadecimal digits.
_LEGACY_TEST = "test_" + "[0-9]" * 8 + "_" + "[0-9]" * 6 + "*.json"


class Layout:
    """Where things lie below a workspace directory.

    Args:
        root: The workspace directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.versions = root / "versions"
        self.metadata = root / "metadata"
        self.keep_registry_in(root / "registry")
        self.ab_tests = root / "ab_tests"
        self.rollback = root / "rollback"
        self.database = root / DATABASE

    def keep_ab_tests_in(self, directory: Path) -> None:
        """Keep the readable files of A/B tests in a directory."""
        self.ab_tests = directory

    def keep_registry_in(self, directory: Path) -> None:
        """Keep checkpoints, verifier key and exports in a directory, which may lie outside of the workspace."""
        self.registry = directory
        self.checkpoints = directory / "checkpoints"

    def version_directory(self, model: str, version: str) -> Path:
        """Return the directory of a version's readable view."""
        return self.versions / readable_name(model, version)

    def view_of(self, model: str, version: str, filename: str) -> Path:
        """Return the readable file of a version, or with an empty name its directory."""
        return self.versions / f"{readable_name(model, version)}/{filename}"

    def has_view(self, model: str, version: str, filename: str) -> bool:
        """Return whether the file of :meth:`view_of` is there; asked for every version of a list, hence on text."""
        return os.access(f"{self.versions}/{readable_name(model, version)}/{filename}", os.F_OK)

    def metadata_file(self, model: str, version: str) -> Path:
        """Return the file with a version's immutable facts."""
        return self.metadata / f"{readable_name(model, version)}.json"

    @property
    def unfinished_import(self) -> Path:
        """Return the file that exists while files of version 3.3 are being taken over."""
        return self.root / ".sz0-unfinished-import"

    def holds_blobs(self) -> bool:
        """Return whether bytes of models lie here."""
        return next((self.root / "blobs" / "sha256").glob("??"), None) is not None

    def legacy_traces(self) -> list[Path]:
        """Return files that only version 3.3 wrote, of every kind it had."""
        found = [
            *self.metadata.glob("metadata_*.json"),
            *self.versions.glob("model_*.pt"),
            self.registry / "registry.json",
            self.registry / "approval_requests.json",
            *self.ab_tests.glob(_LEGACY_TEST),
            *self.root.glob(_LEGACY_TEST),
            self.rollback / "rollback_history.json",
        ]
        return sorted(path for path in found if path.is_file())


def check_path(value: object, what: str) -> Path:
    """Return a path as the caller wrote it.

    Args:
        value: The candidate.
        what: What it is the path of, for the message.

    Raises:
        InvalidInputError: Not text and not a path, empty, or with a character that no file system takes.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise InvalidInputError(f"{what} is {shown(value)}.", hint="Pass text or a pathlib.Path.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = ""
    if not text or "\0" in text:
        raise InvalidInputError(f"{what} is {shown(value)}, which is no path.", hint="Name a file or a directory.")
    return Path(text)


def readable_name(model: str, version: str) -> str:
    """Return the name of a version in the readable directories; ``@`` and ``~`` occur in no identifier.

    A name too long for a file system ends in the SHA-256 of the whole instead.
    """
    name = version if model == DEFAULT_MODEL else f"{model}@{version}"
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: MAX_NAME - len(digest) - 1]}~{digest}"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; it can be written again, so it is not synced."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    beside = path.with_name(f".sz0-tmp-{os.getpid()}-{threading.get_ident()}-{path.name}")
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
