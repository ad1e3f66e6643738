"""What a stored model consists of: one file, or the sorted list of the files of a directory.

This module decides how a directory of files is named by one digest and which member paths are acceptable.
It reads no file; `sentinelzer0.storage.blobs` does.

Invariants:

- A manifest is independent of the order in which files were found: entries are sorted by path (code points).
- Its canonical form is RFC 8785 JSON, ``{"entries": [{"executable", "path", "sha256", "size"}, ...],
  "format": "sentinelzer0-manifest-1"}``; its digest is the SHA-256 of exactly these bytes.
- ``Manifest.parse(m.canonical_bytes()) == m``, and bytes that are not the canonical form of what they say
  are refused, so one manifest has one digest.
- Every path can be created below any directory on Linux, macOS and Windows without leaving it and without two
  entries meeting in one file.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from sentinelzer0.domain import canonical_json
from sentinelzer0.errors import InvalidInputError, UnsafeModelError

FORMAT = "sentinelzer0-manifest-1"
CANONICAL_START = b'{"entries":[{"executable":'
"""How the canonical form of every manifest begins."""
MAX_DEPTH = 32
"""Most path components of a member, its file name included."""
MAX_NAME_BYTES = 255
"""Longest file or directory name in UTF-8 bytes, the limit of every common file system."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST_SIZE = 2**53 - 1  # the largest integer RFC 8785 carries exactly
_REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "bytes that are not UTF-8",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class ContentKind(StrEnum):
    """Whether a model is one file or a directory of files."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file of a directory.

    Attributes:
        path: Relative path with ``/`` between components.
        sha256: SHA-256 of the bytes, 64 lower-case hexadecimal digits.
        size: Number of bytes; zero is allowed here.
        executable: Whether the owner could execute the original.
    """

    path: str
    sha256: str
    size: int
    executable: bool = False

    def __post_init__(self) -> None:
        check_member_path(self.path)
        check_digest(self.sha256)
        if not 0 <= self.size <= _LARGEST_SIZE:
            raise InvalidInputError(f"The size {self.size} of {self.path!r} is not between 0 and {_LARGEST_SIZE}.")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a directory, sorted by path.

    Attributes:
        entries: At least one file; any order is accepted and sorted.

    Raises:
        UnsafeModelError: No entry, or two entries that would meet in one file on some file system.
    """

    entries: tuple[ManifestEntry, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise UnsafeModelError("The directory holds no files.", hint="Put at least one file into it.")
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda entry: entry.path)))
        check_paths_apart([entry.path for entry in self.entries])

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    def canonical_bytes(self) -> bytes:
        """The bytes that are stored and hashed; the module docstring gives the format."""
        entries = [
            {"path": entry.path, "sha256": entry.sha256, "size": entry.size, "executable": entry.executable}
            for entry in self.entries
        ]
        return canonical_json.dumps({"format": FORMAT, "entries": entries})

    def digest(self) -> str:
        """SHA-256 of `canonical_bytes`, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read what `canonical_bytes` wrote.

        Raises:
            InvalidInputError: The bytes are not a manifest, or not in canonical form.
        """
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"This is not a manifest: {error}.") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidInputError(f"This is not a manifest of the format {FORMAT!r}.")
        entries = document.get("entries")
        if not isinstance(entries, list):
            raise InvalidInputError("The manifest has no list of entries.")
        manifest = cls(tuple(_parse_entry(entry) for entry in entries))
        if manifest.canonical_bytes() != data:
            raise InvalidInputError("The manifest is not in canonical form.")
        return manifest


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A model as the blob store knows it.

    Attributes:
        kind: One file, or a directory.
        digest: SHA-256 of the file, or of the canonical manifest. Keep it together with ``kind``: a file
            could hold the very bytes of a manifest.
        size: Bytes of the file, or of all files of the directory.
        manifest: The files of a directory; None for a file, and for a directory whose manifest is to be read
            from the store when needed.
        filename: Base name of the original.
    """

    kind: ContentKind
    digest: str
    size: int
    manifest: Manifest | None
    filename: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", ContentKind(self.kind))
        check_digest(self.digest)
        if self.kind is ContentKind.FILE and self.manifest is not None:
            raise InvalidInputError("A single file has no manifest.")


def check_digest(digest: str) -> None:
    """Refuse what is not a SHA-256 in lower-case hexadecimal digits.

    Raises:
        InvalidInputError: It is something else.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidInputError(f"{digest[:80]!r} is not a SHA-256 in 64 lower-case hexadecimal digits.")


def check_member_path(path: str) -> None:
    """Refuse a path that is not safe, or not the same, on every common file system.

    Args:
        path: Relative path with ``/`` between components.

    Raises:
        UnsafeModelError: Absolute, ``.`` or ``..``, control characters, not NFC, too deep or a name too long.
    """
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        raise UnsafeModelError(
            f"{path[:200]!r} lies {len(components)} levels deep, more than {MAX_DEPTH}.",
            hint="Move the files closer to the top of the directory.",
        )
    for name in components:
        problem = _name_problem(name)
        if problem:
            raise UnsafeModelError(f"The path {path[:300]!r} {problem}.", hint="Rename the file and try again.")


def _name_problem(name: str) -> str:
    """What is wrong with one path component, or an empty string."""
    if name in {"", ".", ".."}:
        return f"is absolute or has the component {name!r}"
    if "\\" in name:
        return "contains a backslash, which separates directories on Windows"
    for character in name:
        found = _REFUSED_CATEGORIES.get(unicodedata.category(character))
        if found:
            return f"contains {found} ({character!a})"
        if character in _BIDI_CONTROLS:
            return f"contains a character that reverses how it is displayed ({character!a})"
    if not unicodedata.is_normalized("NFC", name):
        return f"has the name {name!a}, which is not in Unicode normal form C and could have a twin"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"has a name of {len(name.encode())} bytes, more than {MAX_NAME_BYTES}"
    return ""


def check_paths_apart(paths: list[str]) -> None:
    """Refuse paths that would meet in one file where case or normal form does not count.

    Compares as Unicode canonical caseless matching does (The Unicode Standard, D145), for every directory on
    the way too.

    Raises:
        UnsafeModelError: Two paths are twins, or one path is both a file and a directory.
    """
    seen: dict[str, str] = {}
    files: set[str] = set()
    directories: set[str] = set()
    for path in paths:
        if path in files:
            raise UnsafeModelError(f"The path {path!r} appears twice.")
        files.add(path)
        for prefix in accumulate(path.split("/"), "{}/{}".format):
            if prefix != path:
                directories.add(prefix)
            twin = seen.setdefault(_caseless(prefix), prefix)
            if twin != prefix:
                raise UnsafeModelError(
                    f"{twin!r} and {prefix!r} are one file on file systems that ignore case.",
                    hint="Rename one of them.",
                )
    both = sorted(files & directories)
    if both:
        raise UnsafeModelError(f"The path {both[0]!r} is both a file and a directory.")


def _caseless(text: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def _parse_entry(entry: object) -> ManifestEntry:
    if not isinstance(entry, dict) or entry.keys() != {"path", "sha256", "size", "executable"}:
        raise InvalidInputError(f"Not an entry of a manifest: {str(entry)[:200]}.")
    path, sha256, size, executable = entry["path"], entry["sha256"], entry["size"], entry["executable"]
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(executable, bool)):
        raise InvalidInputError(f"An entry of the manifest has values of the wrong type: {str(entry)[:200]}.")
    if isinstance(size, bool) or not isinstance(size, int):
        raise InvalidInputError(f"The size of {path[:200]!r} in the manifest is not a whole number.")
    return ManifestEntry(path, sha256, size, executable)
