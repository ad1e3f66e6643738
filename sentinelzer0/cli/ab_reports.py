"""``ab report``: the report of a test as HTML, Markdown or JSON, into files or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sentinelzer0.cli.ab_names import Named, id_of
from sentinelzer0.cli.blocks import good, line
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import InvalidInputError

_STDOUT = "-"


def report(
    ctx: typer.Context,
    test: Named,
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="report.html, report.md or report.json.", show_default=False)
    ] = "",
    *,
    html: Annotated[str, typer.Option("--html", metavar="FILE", help="One HTML file; - is stdout.")] = "",
    md: Annotated[str, typer.Option("--md", metavar="FILE", help="Markdown, e.g. for a pull request.")] = "",
    as_json: Annotated[str, typer.Option("--json", metavar="FILE", help="Data, settings and digests.")] = "",
    fixed_horizon: Annotated[
        bool, typer.Option("--fixed-horizon", help="Add textbook tests, which hold for one planned look only.")
    ] = False,
) -> None:
    """Write the report of a test, for people (HTML, Markdown) or programs (JSON); it needs no network."""
    session: Session = ctx.obj
    module = load("sentinelzer0.mlops.ab_report")
    wanted = [("html", html), ("md", md), ("json", as_json), (module.format_of(path) if path else "", path)]
    wanted = [(form, target) for form, target in wanted if target]
    if not wanted:
        raise InvalidInputError("Where is the report to go?", hint="Add report.html, or --md -")
    if sum(target == _STDOUT for _, target in wanted) > 1:
        raise InvalidInputError("Two reports cannot both go to standard output.", hint="Name a file for one of them.")
    with session.workspace() as workspace:
        test_id = id_of(workspace, test)
        written = []
        for form, target in wanted:
            if target == _STDOUT:
                results = workspace.ab_tests.get_test_results(test_id, fixed_horizon=fixed_horizon)
                sys.stdout.write(module.report_text(workspace.kernel, test_id, results, form))
            else:
                written.append(str(workspace.ab_tests.report(test_id, Path(target), form, fixed_horizon=fixed_horizon)))
    if written:
        data = {"path": written[0], "paths": written}
        session.emit(data, lambda: [line(good("✓ "), f"report written to {file}") for file in written], names=written)
