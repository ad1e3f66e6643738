"""Whether a way back may be taken: a full hash, or one that is fresh and whose files nobody wrote to since.

A stat key cannot see what happens below the file system (a bad disk, a write to the device). Therefore what was
verified from the record only is hashed again as soon as traffic has moved, and the loader hashes what it loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import IntegrityError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops import integrity

MAX_AGE = timedelta(hours=1)
"""How old a full verification may be to stand for one made now."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How a version was found intact.

    Attributes:
        digest: SHA-256 (hex) of the content.
        age: How long ago it was hashed in full, when that is relied on; None when it was hashed now.
    """

    digest: str
    age: timedelta | None = None

    def __str__(self) -> str:
        return "full" if self.age is None else f"cached({self.age.total_seconds():.0f} s)"


def verify(kernel: Kernel, version: Version) -> Verification:
    """Verify a version's bytes, relying on a recent full verification when they are large.

    Raises:
        IntegrityError: They are not those that were registered.
    """
    if version.size > integrity.SMALL and (age := _recorded_age(kernel, version)) is not None:
        return Verification(version.digest, age)
    found = integrity.hash_in_full(kernel, version)
    if found:
        raise integrity.not_intact(version, found)
    return Verification(version.digest)


def first_intact(kernel: Kernel, candidates: Sequence[Version]) -> tuple[Version, Verification, list[dict[str, Any]]]:
    """Return the first candidate whose bytes verify, and those skipped before it, with the reason.

    Args:
        kernel: The open workspace.
        candidates: At least one, the most wanted first.

    Raises:
        IntegrityError: None verifies; the error is that of the first.
    """
    skipped: list[dict[str, Any]] = []
    errors: list[IntegrityError] = []
    for candidate in candidates:
        try:
            return candidate, verify(kernel, candidate), skipped
        except IntegrityError as error:
            errors.append(error)
            skipped.append({"version": candidate.version, "problem": error.message})
    raise errors[0]


def _recorded_age(kernel: Kernel, version: Version) -> timedelta | None:
    """Return the age of the full verification on record, None when it cannot be relied on."""
    with kernel.read() as view:
        found = view.versions.verified(version.digest)
        now = view.now
    if found is None or not timedelta(0) <= now - found[1] <= MAX_AGE:
        return None
    try:
        present = kernel.blobs.stat_key(integrity.content_of(version))
    except IntegrityError:
        return None
    return now - found[1] if [list(key) for key in present] == found[0] else None
