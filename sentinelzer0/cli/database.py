"""``db``: upgrade."""

from __future__ import annotations

import typer

from sentinelzer0.cli.blocks import good, line
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session, check_exists

app = noun("The database of the workspace.")


@app.command("upgrade", cls=Verb)
def upgrade(ctx: typer.Context) -> None:
    """Bring the database to this release's schema; local ones are brought there when they are opened."""
    session: Session = ctx.obj
    location = session.setting("workspace")
    check_exists(location)
    load("sentinelzer0.kernel").upgrade_schema(location)
    with session.workspace():
        done = {"workspace": location, "up_to_date": True}
    session.emit(done, lambda: [line(good("✓ "), "the schema is up to date")], names=[location])
