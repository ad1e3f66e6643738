"""``ab watch``: what a test says, drawn again whenever it changes, until it is decided or over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli.ab_names import Named, id_of
from sentinelzer0.cli.ab_pages import is_decided, winner_of
from sentinelzer0.cli.ab_watch_page import watch_page
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.workspace import Workspace

_OVER = ("completed", "cancelled")


def watch(
    ctx: typer.Context,
    test: Named,
    *,
    interval: Annotated[float, typer.Option(min=0.05, max=3600, metavar="SECONDS", help="Between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
) -> None:
    """Watch a test until its verdict or its end; looking costs nothing. -o jsonl writes a line per change."""
    session: Session = ctx.obj
    last: dict[str, Any] = {}
    with session.workspace() as workspace:
        changes = _changes(workspace, id_of(workspace, test), interval, once=once)
        with session.screen() as show:
            for results in changes:
                last = results
                if show is not None:
                    show(watch_page(results, workspace.kernel.now()))
                elif session.output in ("table", "jsonl"):
                    _emit(session, results, workspace)
        if session.output in ("json", "quiet"):  # one document, and one name, at the end
            _emit(session, last, workspace)


def _emit(session: Session, results: dict[str, Any], workspace: Workspace) -> None:
    winner = winner_of(results)
    now = workspace.kernel.now()
    session.emit(results, lambda: watch_page(results, now), names=[] if winner is None else [winner])


def _changes(workspace: Workspace, test_id: str, interval: float, *, once: bool) -> Iterator[dict[str, Any]]:
    """Yield the results whenever they differ from the last ones, until the test is decided or over."""
    before: dict[str, Any] = {}
    while True:
        results = workspace.ab_tests.get_test_results(test_id)
        if results != before:
            yield results
        before = results
        if once or results["status"] in _OVER or is_decided(results):
            return
        time.sleep(interval)
