"""``backup``: copy the workspace while it is in use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli import values
from sentinelzer0.cli.blocks import Block, dim, good, line, next_command, warn
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.maintenance.backup import Backup

app = single()


@app.command("backup", cls=Verb)
def backup(
    ctx: typer.Context,
    destination: Annotated[Path, typer.Argument(metavar="DESTINATION", help="A new or empty directory.")],
) -> None:
    """Copy database, bytes, checkpoints and reports, verified; the signing key is not part of it."""
    session: Session = ctx.obj
    with session.workspace() as workspace, session.progress("copying") as advance:
        done: Backup = load("sentinelzer0.maintenance.backup").backup(
            workspace.kernel, destination, actor=session.actor, progress=advance
        )
    session.emit(done.to_dict(), lambda: _page(done, destination), names=[str(destination)])


def _page(done: Backup, destination: Path) -> Iterator[Block]:
    yield line(
        good("✓ "),
        f"{done.records} records and {done.blobs} blobs, {values.size(done.size)}, backed up to {destination}",
    )
    yield line(dim("root "), done.root, indent=2)
    for remark in done.remarks:
        yield line(warn("! "), remark)
    yield next_command(f"sz0 restore {destination} NEW-DIRECTORY")
