"""``import-legacy``: take over a directory of version 3.3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli.blocks import Block, bad, dim, good, line, next_command
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.maintenance.legacy import LegacyReport

app = single()


@app.command("import-legacy", cls=Verb)
def import_legacy(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The directory of version 3.3; it stays.")],
    *,
    into: Annotated[str | None, typer.Option(help="Another workspace; none makes it in the same directory.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of its times, e.g. Europe/Istanbul; none: of this machine.")
    ] = None,
) -> None:
    """Take over what version 3.3 wrote, with hashes verified; exit code 1 when some of it is damaged."""
    session: Session = ctx.obj
    done: LegacyReport = load("sentinelzer0.maintenance.legacy").import_legacy(
        source, into, timezone=timezone, imported_by=session.actor
    )
    session.emit(
        done.to_dict(), lambda: _page(done), names=[name for names in done.imported.values() for name in names]
    )
    if not done.complete:
        raise typer.Exit(ExitCode.FAILURE)


def _page(done: LegacyReport) -> Iterator[Block]:
    yield line(good("✓ ") if done.complete else bad("✗ "), str(done))
    for problem in done.problems:
        what = problem.subject or problem.file
        yield line(
            bad("✗ "), f"{what}: {problem.problem}", dim(f" ({problem.file})" if problem.subject else ""), indent=2
        )
    for note in done.notes:
        yield line(dim("· "), note, indent=2)
    yield next_command(f"sz0 list --workspace {done.workspace}")
