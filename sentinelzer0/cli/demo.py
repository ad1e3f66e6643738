"""``demo``: one model's story from training to rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load

app = single()


@app.command("demo", cls=Verb)
def demo(
    ctx: typer.Context,  # noqa: ARG001 - the same for every command
    *,
    directory: Annotated[Path, typer.Option(help="Where the story's workspace is made; it stays.")] = Path(
        "demo-workspace"
    ),
    data: Annotated[
        Path | None, typer.Option(help="Directory with the NSL-KDD files; none finds the examples.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the workspace of an earlier demo.")] = False,
) -> None:
    """Live through one story: train, register, approve, test, poison, catch, roll back, prove. Offline."""
    load("sentinelzer0.demo.story").run(directory, data=data, force=force)
