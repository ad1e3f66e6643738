"""``backup``: copy the workspace while it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sentinelzer0.cli.blocks import good, line, next_command, warn
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session

app = single()


@app.command("backup", cls=Verb)
def backup(
    ctx: typer.Context,
    destination: Annotated[Path, typer.Argument(metavar="DESTINATION", help="A new directory.")],
) -> None:
    """Copy database, bytes, checkpoints and reports, verified; the signing key is not part of it."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        done: Any = load("sentinelzer0.maintenance.backup").backup(workspace.kernel, destination)
    session.emit(
        {"destination": str(destination), **as_dict(done)},
        lambda: [
            line(good("✓ "), f"backed up to {destination}"),
            line(warn("! "), "The signing key is not in it: keep a copy of the key elsewhere."),
            next_command(f"sz0 restore {destination} NEW-DIRECTORY"),
        ],
        names=[str(destination)],
    )


def as_dict(report: Any) -> dict[str, Any]:
    """Return a report of maintenance as JSON values."""
    return dict(report.to_dict()) if hasattr(report, "to_dict") else {}
