"""``import-legacy``: take over a directory of version 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sentinelzer0.cli.backup import as_dict
from sentinelzer0.cli.blocks import good, line, next_command
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session

app = single()


@app.command("import-legacy", cls=Verb)
def import_legacy(
    ctx: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="The directory of version 3.3; it stays as it is.")
    ],
    *,
    into: Annotated[Path | None, typer.Option(help="Another workspace; none makes it in the same directory.")] = None,
) -> None:
    """Take over versions, registry, approvals, tests and rollbacks of version 3.3, with their hashes verified."""
    session: Session = ctx.obj
    done: Any = load("sentinelzer0.maintenance.legacy").import_legacy(source, into)
    session.emit(
        as_dict(done), lambda: [line(good("✓ "), str(done)), next_command(f"sz0 list --workspace {into or source}")]
    )
