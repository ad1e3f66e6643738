"""``collect``: remove bytes that nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli import values
from sentinelzer0.cli.blocks import Block, dim, good, line
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.maintenance.collection import Collection

app = single()


@app.command("collect", cls=Verb)
def collect(
    ctx: typer.Context,
    *,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Only what is older; uploads must be over.")
    ] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove stored bytes that no version and no evidence refers to, and leftovers of crashes."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        done: Collection = load("sentinelzer0.maintenance.collection").collect(
            workspace.kernel, timedelta(days=older_than), dry_run=dry_run, actor=session.actor
        )
    session.emit(done.to_dict(), lambda: _page(done), names=list(done.blobs))


def _page(done: Collection) -> Iterator[Block]:
    verb = "would go" if done.dry_run else "removed"
    yield line(
        good("✓ "),
        f"{len(done.blobs)} blobs ({values.size(done.size)}) and {len(done.temps)} temporary files {verb}",
    )
    for digest in done.blobs[:10]:
        yield line(dim(digest), indent=2)
