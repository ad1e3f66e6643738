"""What `ab record` and `outcomes record` share: options, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sentinelzer0.cli import values
from sentinelzer0.errors import InvalidInputError

Segment = Annotated[str | None, typer.Option(help="The segment it is told apart by.")]
Custom = Annotated[list[str] | None, typer.Option("--custom", help="A custom metric, name=value; repeat for more.")]
Assigned = Annotated[str | None, typer.Option("--assignment", help="What `ab assign -o json` printed.")]
Revision = Annotated[int | None, typer.Option(help="Instead of --assignment: the phase it was assigned in.")]
Share = Annotated[float | None, typer.Option(help="With --revision: the share its arm had, 0 to 1.")]

_HINT = "Pass what `sz0 ab assign TEST KEY --output json` printed."


def no_counts() -> dict[str, int]:
    """Return the counts of nothing recorded yet."""
    return dict.fromkeys(("counted", "duplicates", "labelled", "late", "kept", "relabelled"), 0)


def custom_metrics(typed: list[str] | None) -> dict[str, float] | None:
    """Return custom metrics as typed, None for none.

    Raises:
        InvalidInputError: One of them is not ``name=number``.
    """
    return values.pairs(typed, "--custom", numbers=True) or None


def assigned(version: str, assignment: str | None, revision: int | None, share: float | None) -> dict[str, Any] | None:
    """Return an assignment as typed: as JSON, or as the revision and share; None for none.

    Raises:
        InvalidInputError: Both are given, a share without its revision, or no JSON of an assignment.
    """
    if assignment is None:
        if revision is None and share is not None:
            raise InvalidInputError(
                "--share is given without --revision.", hint="Pass the revision that belongs to it too."
            )
        return None if revision is None else {"version": version, "revision": revision, "share": share}
    if revision is not None or share is not None:
        raise InvalidInputError(
            "--assignment is given with --revision or --share.", hint="The assignment holds both: pass it alone."
        )
    try:
        found = json.loads(assignment)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"--assignment is not JSON: {error}.", hint=_HINT) from error
    if isinstance(found, Mapping) and isinstance(found.get("data"), Mapping):
        found = found["data"]
    if not isinstance(found, Mapping):
        raise InvalidInputError("--assignment is no JSON object.", hint=_HINT)
    return dict(found)
