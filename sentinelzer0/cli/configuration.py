"""``config``: show."""

from __future__ import annotations

from typing import Annotated

import typer

from sentinelzer0 import config
from sentinelzer0.cli.blocks import Cell, Table, dim, line, strong
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session

app = noun("Settings: flag, then SENTINELZER0_*, then sentinelzer0.toml or pyproject.toml, then yours, then default.")


@app.command("show", cls=Verb)
def show(
    ctx: typer.Context,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Where each comes from.")] = False,
) -> None:
    """Show every setting in force."""
    session: Session = ctx.obj
    settings = list(session.config.settings.values())
    rows: list[list[Cell]] = []
    for setting in settings:
        row: list[Cell] = [setting.key, strong(setting.value) if setting.value else dim("empty")]
        rows.append([*row, setting.origin if origin else dim(config.KEYS[setting.key])])
    table = Table(("setting", "value", "from" if origin else "meaning"), rows, wide=(2,))
    place = line(dim(f"your own settings: {config.user_file()}"))
    session.emit(
        [setting.to_dict() for setting in settings],
        lambda: [table, place],
        names=[f"{setting.key}={setting.value}" for setting in settings],
    )
