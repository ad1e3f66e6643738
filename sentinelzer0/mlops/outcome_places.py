"""Where an outcome counts: its arm, phase and share, its segment and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sentinelzer0.domain.assignment import CONTROL, HOLDOUT, check_key
from sentinelzer0.domain.outcome_values import check_revision, check_segment, check_share
from sentinelzer0.domain.scalars import plain, shown
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.outcome_recording import Stream

_ALWAYS = (CONTROL, HOLDOUT)
_NAMES = ("revision", "share", "request_id", "version", "arm")


class Place(NamedTuple):
    """Where an outcome counts, and how the last fields of :class:`Outcome` are filled.

    Attributes:
        arm: The arm.
        phase: The phase.
        assigned: 1 when the phase is known from the assignment.
        share: The share of the arm, when it was said.
        request_id: The one that the assignment gave.
    """

    arm: str
    phase: int
    assigned: int
    share: float | None
    request_id: Any


def assigned_place(
    kernel: Kernel, stream: Stream, version: Any, place: Place, assignment: Any, revision: Any, share: Any
) -> Place:
    """Return where an outcome counts that says how it was assigned.

    Raises:
        InvalidInputError: The assignment is of another version or arm, of a revision that never was, or of one in
            which the arm had no traffic.
    """
    arm, request_id = place.arm, None
    if assignment is not None:
        if revision is not None or share is not None:
            raise InvalidInputError(
                "An assignment and a revision or share are given.", hint="The assignment holds both: pass it alone."
            )
        revision, share, request_id, *said = [_said(assignment, name) for name in _NAMES]
        if revision is None or said[0] is None:
            raise InvalidInputError(f"The assignment is {shown(assignment)}.", hint="Pass what assign() returned.")
        arm = _arm_assigned(stream, version, arm, *said)
    share = check_share(share)
    if revision is None:
        return Place(arm, place.phase, 0, share, request_id)
    number = check_revision(revision)
    if number > len(stream.shares):
        if stream.read_shares is not None:
            with kernel.read() as view:
                stream.shares = stream.read_shares(view)
        if number > len(stream.shares):
            raise InvalidInputError(
                f"There is no revision {number} of the shares of {stream.name}: the newest is {len(stream.shares)}.",
                hint="Pass the revision that assign() returned with the request.",
            )
    # The control answers whatever the challengers leave, and in the shadow nobody has a share.
    if stream.slots is None and arm not in _ALWAYS and stream.shares[number - 1].get(arm) == 0.0:
        raise InvalidInputError(
            f"{shown(version)} got no traffic in revision {number} of the shares, so this outcome cannot be of it.",
            hint="Pass the revision that assign() returned with the request.",
        )
    return Place(arm, number, 1, share, request_id)


def check_told(stream: Stream, key: Any, assignment: Any) -> None:
    """Refuse an outcome that does not say whether its unit is kept out of the test; needed where units are.

    Raises:
        InvalidInputError: There is neither a key nor an assignment with its arm.
    """
    if key is None and (assignment is None or _said(assignment, "arm") is None):
        raise InvalidInputError(
            f"The outcome says neither its key nor its assignment, but units are kept out of {stream.name}.",
            hint="This test has a holdout: pass the key or the assignment.",
        )


def _said(assignment: Any, name: str) -> Any:
    return assignment.get(name) if isinstance(assignment, Mapping) else getattr(assignment, name, None)


def _arm_assigned(stream: Stream, version: Any, arm: str, assigned_version: Any, assigned_arm: Any) -> str:
    # In shadow mode the request is assigned to the control, and the shadow arms answer it too.
    shadowed = stream.slots is not None and assigned_version in stream.arms
    if assigned_version != version and not shadowed:
        raise InvalidInputError(
            f"The request was assigned to {shown(assigned_version)}, but the outcome is of {shown(version)}.",
            hint="Record the outcome of the version that was assigned.",
        )
    if assigned_arm == HOLDOUT and arm == CONTROL:
        return HOLDOUT
    if assigned_arm not in {None, arm} and not shadowed:
        raise InvalidInputError(
            f"The request was assigned to arm {shown(assigned_arm)}, but {shown(version)} is arm {arm}.",
            hint="Pass what assign() returned.",
        )
    return arm


def unknown_arm(stream: Stream, version: Any) -> InvalidInputError:
    """Return the error for a version that has no arm."""
    return InvalidInputError(
        f"{shown(version)} is not in this test.", hint=f"Its arms are {' and '.join(stream.arms)}."
    )


def segment_of(stream: Stream, segment: Any) -> str:
    """Return the segment an outcome counts in: the one given if the stream knows it.

    Raises:
        InvalidInputError: It cannot be the name of a segment.
    """
    name = check_segment(segment)
    return name if stream.segments is None or name in stream.segments else ""


def unit_of(key: Any) -> str:
    """Return the unit of a key, as text that any database keeps.

    Raises:
        InvalidInputError: It is no key, or empty.
    """
    if type(key) is not str or not key or not key.isascii():
        check_key(key)
        if isinstance(key, bytes):
            key = key.decode("utf-8", "backslashreplace")
        key = plain(key) if isinstance(key, str) else str(int(key))
    unit: str = key
    return unit if "\0" not in unit else unit.replace("\0", "\\x00")  # which no database keeps
