"""``restore``: make a workspace from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sentinelzer0.cli.backup import as_dict
from sentinelzer0.cli.blocks import good, line, next_command
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.options import Yes
from sentinelzer0.cli.session import Session

app = single()


@app.command("restore", cls=Verb)
def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The directory that `backup` wrote.")],
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="A new or empty directory.")],
    *,
    yes: Yes = False,
) -> None:
    """Verify a backup as a whole, then make a workspace of it."""
    session: Session = ctx.obj
    session.confirm(f"Restore {source} to {directory}?", yes=yes)
    done: Any = load("sentinelzer0.maintenance.backup").restore(source, directory)
    session.emit(
        {"source": str(source), "directory": str(directory), **as_dict(done)},
        lambda: [line(good("✓ "), f"restored to {directory}"), next_command(f"sz0 doctor --workspace {directory}")],
        names=[str(directory)],
    )
