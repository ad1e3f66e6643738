"""``restore``: make a workspace from a backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli.blocks import Block, good, line, next_command, warn
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.options import Yes
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.maintenance.backup import Restored

app = single()


@app.command("restore", cls=Verb)
def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The directory that `backup` wrote.")],
    directory: Annotated[
        str, typer.Argument(metavar="DIRECTORY", help="A new or empty directory, or the address of an empty database.")
    ],
    *,
    yes: Yes = False,
) -> None:
    """Verify a backup as a whole, then make a workspace of it."""
    session: Session = ctx.obj
    session.confirm(f"Restore {source} to {directory}?", yes=yes)
    done: Restored = load("sentinelzer0.maintenance.backup").restore(source, directory, actor=session.actor)
    session.emit(done.to_dict(), lambda: _page(done), names=[done.location])


def _page(done: Restored) -> Iterator[Block]:
    yield line(good("✓ "), f"{done.backup.records} records restored to {done.location}")
    for check in (*done.report.failures, *done.report.warnings):
        yield line(warn("! "), f"{check.name}: {check.detail}")
    yield next_command(f"sz0 doctor --workspace {done.location}")
