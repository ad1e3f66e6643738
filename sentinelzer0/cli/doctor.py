"""``doctor``: examine, --fix, --rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli.blocks import Block, Cell, Piece, Table, bad, dim, good, line, next_command, warn
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, single
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session, check_exists

if TYPE_CHECKING:
    from sentinelzer0.maintenance.rebuild import Rebuilt
    from sentinelzer0.maintenance.report import Report

app = single()

LOST = "not brought back"


@app.command("doctor", cls=Verb)
def doctor(
    ctx: typer.Context,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is derived: readable files, indexes, leftovers.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Restore a lost or damaged catalogue from the files.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not hash the bytes, do not replay the log.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
) -> None:
    """Examine everything the workspace promises, with a fix per line; exit code 1 when a check fails."""
    session: Session = ctx.obj
    if as_json:
        session.write_json()
    location = session.setting("workspace")
    done: list[str] = []
    if rebuild:
        done += _rebuilt(load("sentinelzer0.maintenance.rebuild").rebuild(location, actor=session.actor))
    check_exists(location)
    if fix:
        with session.workspace() as workspace:
            done += load("sentinelzer0.maintenance.doctor").repair(workspace.kernel, actor=session.actor)
    report: Report = load("sentinelzer0.maintenance.doctor").examine_at(location, deep=not quick)
    data: dict[str, Any] = report.to_dict() | {"done": done}
    session.emit(data, lambda: _page(report, done), names=[check.name for check in report.failures])
    if not report.healthy:
        raise typer.Exit(ExitCode.FAILURE)


def _rebuilt(result: Rebuilt) -> list[str]:
    """Say what came back and what did not."""
    source = f"the audit export {result.export}" if result.export else "the metadata files alone: every stage is lost"
    told = [f"rebuilt {result.versions} versions and {result.records} records from {source}"]
    told += [f"moved aside: {path}" for path in result.aside]
    return told + [f"{LOST}: {problem}" for problem in result.problems]


def _page(report: Report, done: list[str]) -> Iterator[Block]:
    for item in done:
        yield line(warn("! ") if item.startswith(LOST) else good("✓ "), item)
    shapes = {"pass": good("✓ pass"), "warn": warn("! warn"), "fail": bad("✗ fail")}
    rows: list[list[Cell]] = []
    for check in report.checks:
        rows.append([shapes[check.status.value], check.name, check.detail])
        if check.fix:
            rows.append(["", "", [dim("→ "), check.fix]])
    yield Table(("", "check", "found"), rows, wide=(2,))
    failed, warned = len(report.failures), len(report.warnings)
    passed = len(report.checks) - failed - warned
    tail: list[Piece] = [
        good(f"{passed} passed"),
        ", ",
        warn(f"{warned} to look at") if warned else "none to look at",
        ", ",
    ]
    yield line(*tail, bad(f"{failed} failed") if failed else "none failed")
    if failed:
        lost = any("--rebuild" in check.fix for check in report.failures)
        yield next_command("sz0 doctor --rebuild" if lost else "sz0 doctor --fix")
