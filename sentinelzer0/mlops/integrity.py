"""Bytes that were just checked: verification before every step towards traffic, and the loader's way in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sentinelzer0.domain.identity import Actor, subject_of_version
from sentinelzer0.domain.manifests import ContentKind, Manifest, StoredContent
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import (
    AlreadyExistsError,
    IntegrityError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
    VersionNotFoundError,
)

if TYPE_CHECKING:
    from sentinelzer0.kernel import Kernel, Reader

MAX_NAMED_PROBLEMS = 3
SMALL = 32 * 1024 * 1024
"""Up to so many bytes hashing is quick enough never to rely on an earlier one."""


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A version whose bytes are handed out only after they were hashed.

    Attributes:
        digest: SHA-256 (hex) of the file or of the directory's manifest.
        manifest: The files of a directory, None for a single file.
    """

    digest: str
    manifest: Manifest | None
    _kernel: Kernel

    def names(self) -> list[str]:
        """Return the relative paths of a directory's files, or an empty list for a single file."""
        return [] if self.manifest is None else [entry.path for entry in self.manifest.entries]

    def open(self, name: str | None = None) -> BinaryIO:
        """Open a private copy of the bytes, hashed after it was taken, so that nobody can change it any more.

        Args:
            name: Relative path of a file in a directory; None for a single file.

        Raises:
            IntegrityError: The bytes are not the registered ones.
            NotFoundError: The directory has no such file.
        """
        if self.manifest is None:
            if name is not None:
                raise NotFoundError(f"The version is a single file; it has no member {name!r}.")
            return self._kernel.blobs.open_private(self.digest)
        for entry in self.manifest.entries:
            if entry.path == name:
                return self._kernel.blobs.open_private(entry.sha256)
        raise NotFoundError(f"The version has no file {name!r}.", hint=f"It has: {', '.join(self.names()[:20])}.")

    def read(self, name: str | None = None) -> bytes:
        """Return checked bytes; see :meth:`open`."""
        with self.open(name) as stream:
            return stream.read()


def content_of(version: Version) -> StoredContent:
    """Return what the blob store needs to find a version's bytes; a directory's manifest is read when needed."""
    return StoredContent(ContentKind(version.kind), version.digest, version.size, None, version.filename)


def view_location(kernel: Kernel, version: Version) -> Path:
    """Return where the readable file or directory of a version belongs; nothing is looked at."""
    name = "" if version.kind == ContentKind.DIRECTORY.value else version.filename
    return kernel.layout.view_of(version.model, version.version, name)


def view_path(kernel: Kernel, version: Version) -> Path:
    """Return the readable file or directory of a version, building it when it is missing.

    A damaged blob cannot be made readable; the path is then returned although nothing is there.
    """
    name = "" if version.kind == ContentKind.DIRECTORY.value else version.filename
    path = view_location(kernel, version)
    if version.deleted_at is None and not kernel.layout.has_view(version.model, version.version, name):
        try:
            kernel.blobs.link(content_of(version), path)
        except IntegrityError:
            return path
    return path


def readable_path(kernel: Kernel, version: Version) -> Path:
    """Return where a version can be read, whether or not its view could be built.

    The view is a convenience: that it cannot be written must not keep anybody from reading the catalogue.
    """
    try:
        return view_path(kernel, version)
    except (OSError, AlreadyExistsError, StorageFullError, StorageUnavailableError):
        return view_location(kernel, version)


def hash_in_full(kernel: Kernel, version: Version) -> list[str]:
    """Hash every byte of a version; for large content, put on record that it was found intact.

    The stat key on record was taken before the hash, so a write during the hash makes it stale.

    Returns:
        What is wrong, in plain words; empty when all is intact.
    """
    content = content_of(version)
    if version.size <= SMALL:
        return kernel.blobs.check(content)
    try:
        stat_key = kernel.blobs.stat_key(content)
    except IntegrityError as error:
        return [error.message]
    started = kernel.now()
    found = kernel.blobs.check(content)
    if not found:
        with kernel.record_outcomes() as view:
            view.versions.set_verified(version.digest, stat_key, started)
    return found


def problems(kernel: Kernel, version: Version) -> list[str]:
    """Hash every byte of a version and compare its readable view.

    Returns:
        What is wrong, in plain words; empty when all is intact.
    """
    path = readable_path(kernel, version)  # first: a new link changes the stat key of the bytes
    found = hash_in_full(kernel, version)
    try:
        return found or kernel.blobs.view_problems(content_of(version), path)
    except (IntegrityError, StorageUnavailableError) as error:
        return [error.message]


def require_intact(kernel: Kernel, version: Version, actor: str | Actor, action: str) -> None:
    """Hash every byte before ``action`` may go on.

    Raises:
        IntegrityError: The bytes are not those that were registered; the refusal is on record.
    """
    found = hash_in_full(kernel, version)
    if found:
        subjects = (subject_of_version(version.model, version.version),)
        raise kernel.refuse(actor, action, subjects, not_intact(version, found))


def not_intact(version: Version, found: list[str]) -> IntegrityError:
    """Return the error that a version's bytes are not those that were registered."""
    shown = "; ".join(found[:MAX_NAMED_PROBLEMS])
    more = f" (and {len(found) - MAX_NAMED_PROBLEMS} more)" if len(found) > MAX_NAMED_PROBLEMS else ""
    return IntegrityError(
        f"{version.version} is not what was registered: {shown}{more}.",
        hint="Restore its bytes from a backup, or create a new version from the original file.",
    )


@contextmanager
def verified(kernel: Kernel, version: Version) -> Iterator[VerifiedModel]:
    """Give access to a version's bytes, each checked when it is opened.

    Raises:
        IntegrityError: The manifest of a directory is not the registered one.
    """
    manifest = kernel.blobs.manifest(version.digest) if version.kind == ContentKind.DIRECTORY.value else None
    yield VerifiedModel(version.digest, manifest, kernel)


def require_version(view: Reader, model: str, version: str) -> Version:
    """Return a living version.

    Raises:
        VersionNotFoundError: It never existed, or was deleted.
    """
    found = view.versions.get(model, version)
    if found is None:
        of_model = "" if model == "default" else f" of model {model!r:.200}"
        raise VersionNotFoundError(
            f"There is no version {version!r:.200}{of_model}.", hint="List them: sentinelzer0 versions list"
        )
    if found.deleted_at is not None:
        raise VersionNotFoundError(f"Version {version} was deleted on {found.deleted_at:%Y-%m-%d %H:%M} UTC.")
    return found
