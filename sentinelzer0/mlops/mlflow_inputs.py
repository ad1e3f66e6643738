"""What the tracker accepts before anything is sent to MLflow: names, values, metrics, folders and models.

Every function returns what may be sent or raises; the limits are those of MLflow's columns.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import os
import posixpath
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sentinelzer0.domain.identity import check_text
from sentinelzer0.domain.manifests import Manifest, ManifestEntry
from sentinelzer0.errors import (
    InvalidInputError,
    InvalidMetricError,
    InvalidNameError,
    ModelFileNotFoundError,
    SentinelError,
    UnsafeModelError,
)

SHA256_TAG = "sentinelzer0.sha256"
"""Tag of a registered version: SHA-256 (hex) of the file, or of the canonical manifest of a directory. Followed
by a dot and the artifact path, it is the tag of the run."""

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_EXPERIMENT = 500

_KEY = re.compile(r"[/\w.\- :]+")
_MODEL_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model on disk: its digest, and what ``stat`` said of each member just before it was hashed."""

    path: Path
    is_directory: bool
    digest: str
    stamps: tuple[tuple[str, int, int, int, int], ...]

    def changed(self) -> bool:
        """Whether a member was added, removed or touched since the digest was computed."""
        try:
            return _stamps(self.path, [member for _, member in _members(self.path)]) != self.stamps
        except SentinelError:
            return True


def check_key(key: object, what: str) -> str:
    """Return ``key`` when MLflow accepts it as the name of a param, metric or tag on every system.

    Raises:
        InvalidNameError: Not text, empty, too long, with other characters, or not a normalised path.
    """
    if not isinstance(key, str):
        raise InvalidNameError(f"The name of a {what} must be text, not {type(key).__name__}.")
    if len(key) > MAX_KEY or not _KEY.fullmatch(key) or posixpath.normpath(key) != key or key.startswith(("..", "/")):
        raise InvalidNameError(
            f"{key[:60]!r} cannot be the name of a {what} in MLflow.",
            hint=f"Use 1 to {MAX_KEY} letters, digits, '_', '-', '.', ' ', ':' and single '/' between them.",
        )
    return key


def check_value(value: object, what: str, limit: int, *, required: bool = False) -> str:
    """Return text that MLflow keeps whole; it would cut a longer one.

    Raises:
        InvalidInputError: Not text, too long, or with characters that no database keeps.
    """
    text = check_text(value, what, required=required)
    if len(text) > limit:
        raise InvalidInputError(
            f"The {what} has {len(text)} characters; MLflow keeps {limit}.", hint="Log it as an artifact instead."
        )
    return text


def check_mapping(values: object, what: str) -> list[tuple[Any, Any]]:
    """Return the items of a mapping.

    Raises:
        InvalidInputError: It is something else.
    """
    if not isinstance(values, Mapping):
        raise InvalidInputError(f"{what} must be a mapping from names to values, not {type(values).__name__}.")
    return list(values.items())


def check_metric(key: str, value: Any) -> float:
    """Return a metric as a float; numpy scalars and one-element tensors are numbers too.

    Raises:
        InvalidMetricError: Not a finite real number.
    """
    if not isinstance(value, numbers.Real) and callable(getattr(value, "item", None)):
        try:
            value = value.item()
        except (ValueError, RuntimeError) as error:  # numpy's and torch's words for "more than one element"
            raise InvalidMetricError(f"The metric {key!r} is not one number: {error}.") from error
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidMetricError(f"The metric {key!r} is {type(value).__name__}, not a number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidMetricError(
            f"The metric {key!r} is {number}: no comparison and no gate can use it.",
            hint="Leave it out, or say what happened with set_tag().",
        )
    return number


def check_step(step: object) -> int:
    """Return the step of a metric; None is 0.

    Raises:
        InvalidInputError: Not an integer of 64 bits.
    """
    if step is None:
        return 0
    if isinstance(step, bool) or not isinstance(step, numbers.Integral) or abs(int(step)) >= 2**63:
        raise InvalidInputError(f"The step {step!r} is not an integer of 64 bits.")
    return int(step)


def check_model_folder(path: object) -> str:
    """Return the folder of a run that a model may be logged to; it becomes part of a tag and of a URI.

    Raises:
        InvalidNameError: Not a relative path of plain names.
    """
    if not isinstance(path, str) or len(path) > MAX_KEY - len(SHA256_TAG) - 1 or not _MODEL_FOLDER.fullmatch(path):
        raise InvalidNameError(
            f"{path!r:.80} cannot be the artifact_path of a model.",
            hint="Use ASCII letters, digits, '_', '-' and '.', with '/' between names that do not start with '.'.",
        )
    return path


def check_model_name(name: object) -> str:
    """Return the name of a registered model, by MLflow's rules.

    Raises:
        InvalidInputError: Not text, empty, too long, with ``/`` or ``:``, or one that reads as a path.
    """
    text = check_value(name, "registered_model_name", MAX_KEY, required=True)
    if "/" in text or ":" in text or text in {".", ".."}:
        raise InvalidNameError(f"{text!r:.80} cannot be the name of a registered model.", hint="Leave out '/' and ':'.")
    return text


def check_folder(path: str) -> str:
    """Return a folder of the run that an artifact may be put in.

    Raises:
        InvalidInputError: Not text, empty, or a path that leaves the run's artifacts.
    """
    folder = PurePosixPath(check_text(path, "artifact_dir", required=True))
    _check_travels(str(folder))
    if folder.is_absolute() or ".." in folder.parts or "\\" in path:
        raise InvalidNameError(f"{path!r:.80} cannot be an artifact_dir.", hint="Use a relative path without '..'.")
    return str(folder)


def check_artifact(path: str | os.PathLike[str]) -> Path:
    """Return a local file or directory that may be logged as it is.

    Raises:
        ModelFileNotFoundError: There is no such file or directory.
        InvalidNameError: A name that MLflow does not carry to a server.
    """
    artifact = Path(path)
    if not (artifact.is_file() or artifact.is_dir()):
        raise ModelFileNotFoundError(f"There is no file or directory {artifact} to log.", hint="Check the path.")
    _check_travels(artifact.name)
    for member in artifact.rglob("*"):
        _check_travels(member.name)
    return artifact


def _check_travels(name: str) -> None:
    """Refuse a name that MLflow's HTTP client does not quote: it cuts at # and ?, and the server decodes %41."""
    if any(character in name for character in "#?%"):
        raise InvalidNameError(
            f"MLflow would store {name!r:.200} under another name.", hint="Rename it without '#', '?' and '%'."
        )


def read_model(path: str | os.PathLike[str]) -> ModelSource:
    """Hash a model file or directory the way versions are hashed.

    Raises:
        ModelFileNotFoundError: There is nothing at ``path``.
        UnsafeModelError: Empty, unreadable, or with a symlink, a device or an unsafe name.
        InvalidNameError: A name that MLflow does not carry to a server.
    """
    source = Path(path)
    members = _members(source)
    stamps = _stamps(source, [member for _, member in members])
    try:
        if not source.is_dir():
            return ModelSource(source, is_directory=False, digest=_sha256(source), stamps=stamps)
        manifest = Manifest(tuple(_entry(name, member) for name, member in members))
    except OSError as error:
        raise _unreadable(source, error) from error
    return ModelSource(source, is_directory=True, digest=manifest.digest(), stamps=stamps)


def _members(source: Path) -> list[tuple[str, Path]]:
    """The regular files of a model with their names in its manifest; anything else is refused."""
    try:
        directory = stat.S_ISDIR(source.lstat().st_mode)
        found = _walk(source) if directory else [source]
        for path in found:
            _check_travels(path.name if path == source else path.relative_to(source).as_posix())
            if not stat.S_ISREG(path.lstat().st_mode):
                raise UnsafeModelError(
                    f"{path} is neither a regular file nor a directory.", hint="Replace links by the files they name."
                )
        if not directory and source.stat().st_size == 0:
            raise UnsafeModelError(f"The model file {source} is empty.", hint="Save the model again.")
    except FileNotFoundError as error:
        raise ModelFileNotFoundError(f"There is no model at {source}.", hint="Check the path.") from error
    except OSError as error:
        raise _unreadable(source, error) from error
    return [(path.relative_to(source).as_posix(), path) for path in found]


def _walk(top: Path) -> list[Path]:
    """Every entry below ``top`` but directories; a directory that cannot be listed raises."""

    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for folder, directories, files in os.walk(top, onerror=fail):
        entries = [Path(folder, name) for name in (*directories, *files)]
        found += [path for path in entries if path.is_symlink() or not path.is_dir()]
    return sorted(found)


def _stamps(source: Path, members: list[Path]) -> tuple[tuple[str, int, int, int, int], ...]:
    found = []
    try:
        for path in members:
            info = path.stat()
            found.append((str(path), info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
    except OSError as error:
        raise _unreadable(source, error) from error
    return tuple(found)


def _entry(name: str, path: Path) -> ManifestEntry:
    info = path.stat()
    return ManifestEntry(name, _sha256(path), info.st_size, bool(info.st_mode & stat.S_IXUSR))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(source: Path, error: OSError) -> UnsafeModelError:
    return UnsafeModelError(f"The model {source} cannot be read: {error.strerror}.", hint="Check its permissions.")
