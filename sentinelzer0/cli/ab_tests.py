"""``ab``: create, start, pause, resume, complete, cancel, list, show, route, record, record-many, label, results, watch, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli import options, recording, values
from sentinelzer0.cli.ab_design import assign, create, edit, share
from sentinelzer0.cli.ab_names import Named, id_of, require_test
from sentinelzer0.cli.ab_pages import list_page, recorded_page, results_page, state_page, winner_of
from sentinelzer0.cli.ab_plan import plan
from sentinelzer0.cli.ab_reports import report
from sentinelzer0.cli.ab_watch import watch
from sentinelzer0.cli.blocks import line, name
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session

if TYPE_CHECKING:
    from sentinelzer0.mlops.ab_testing import ABTest

app = noun("A/B tests: a verdict that holds however often you look.")

app.command("create", cls=Verb)(create)
app.command("edit", cls=Verb)(edit)

BATCH = 1000


@app.command("start", cls=Verb)
def start(ctx: typer.Context, test: Named) -> None:
    """Start a test; one with --deploy splits the traffic from now on."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.start_test(id_of(workspace, test), started_by=session.actor)
    _emit_state(session, found)


@app.command("pause", cls=Verb)
def pause(ctx: typer.Context, test: Named, *, reason: options.Reason = "") -> None:
    """Pause a test; all traffic goes to the control."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.pause_test(id_of(workspace, test), paused_by=session.actor, reason=reason)
    _emit_state(session, found)


@app.command("resume", cls=Verb)
def resume(ctx: typer.Context, test: Named) -> None:
    """Resume a paused test."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.resume_test(id_of(workspace, test), resumed_by=session.actor)
    _emit_state(session, found)


@app.command("cancel", cls=Verb)
def cancel(ctx: typer.Context, test: Named, *, reason: options.Reason = "") -> None:
    """Cancel a test, for good; what was recorded stays."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.cancel_test(id_of(workspace, test), cancelled_by=session.actor, reason=reason)
    _emit_state(session, found)


@app.command("complete", cls=Verb)
def complete(
    ctx: typer.Context,
    test: Named,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also below the minimum; no winner is invented.")] = False,
) -> None:
    """End a test and declare the winner, if the evidence carries one."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        results = workspace.ab_tests.complete_test(id_of(workspace, test), force, completed_by=session.actor)
    session.emit(results, lambda: results_page(results), names=[str(results["winner"] or "")])


@app.command("list", cls=Verb)
def list_(
    ctx: typer.Context,
    *,
    status: Annotated[str | None, typer.Option(help="setup, running, paused, completed or cancelled.")] = None,
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
) -> None:
    """List tests, newest first."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.list_tests(status)
        now = workspace.kernel.now()
    found.sort(key=lambda item: (item.created_at, item.test_id), reverse=True)
    page, following = session.page(found, [item.test_id for item in found], limit, cursor)
    session.emit(
        [item.to_dict() for item in page],
        lambda: list_page(page, now),
        names=[item.test_id for item in page],
        next_cursor=following,
    )


@app.command("show", cls=Verb)
def show(ctx: typer.Context, test: Named) -> None:
    """Show how a test is set up and where it stands."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = require_test(workspace, test)
    _emit_state(session, found)


@app.command("route", cls=Verb)
def route(
    ctx: typer.Context,
    test: Named,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The unit that stays in its arm.")] = None,
) -> None:
    """Print the version that answers a request; the same key always gets the same one."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        version = workspace.ab_tests.route_request(id_of(workspace, test), key)
    session.emit({"version": version, "key": key}, lambda: [line(name(version))], names=[version])


@app.command("record", cls=Verb)
def record(
    ctx: typer.Context,
    test: Named,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The arm that answered.")],
    *,
    latency_ms: Annotated[float, typer.Option(help="Milliseconds, also of failures.", show_default=False)],
    success: Annotated[bool, typer.Option("--success/--failure", help="Whether it answered.")] = True,
    confidence: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    predicted_label: Annotated[str | None, typer.Option(help="attack or benign.")] = None,
    true_label: Annotated[str | None, typer.Option(help="attack or benign; `ab label` adds it later.")] = None,
    request_id: Annotated[str | None, typer.Option(help="What a repeat or a later label is recognised by.")] = None,
    key: Annotated[str | None, typer.Option(help="The key it was routed by.")] = None,
    segment: recording.Segment = None,
    custom: recording.Custom = None,
    assignment: recording.Assigned = None,
    revision: recording.Revision = None,
    share: recording.Share = None,
) -> None:
    """Record the outcome of one request."""
    session: Session = ctx.obj
    assigned = recording.assigned(version, assignment, revision, share)
    with session.workspace() as workspace:
        done = workspace.ab_tests.record_result(
            id_of(workspace, test),
            version,
            success,
            latency_ms,
            confidence,
            true_label,
            predicted_label,
            recording.custom_metrics(custom),
            request_id=request_id,
            key=key,
            assignment=assigned,
            segment=segment,
        )
    session.emit(done.to_dict(), lambda: recorded_page(done.to_dict()), names=[done.request_id or ""])


@app.command("record-many", cls=Verb)
def record_many(
    ctx: typer.Context,
    test: Named,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - reads standard input.")],
) -> None:
    """Record outcomes from a file, 1000 a transaction; a line has model_version, success, latency_ms and more."""
    session: Session = ctx.obj
    rows = values.json_lines(path)
    total = recording.no_counts()
    with session.workspace() as workspace:
        full = id_of(workspace, test)
        for start_of_batch in range(0, len(rows), BATCH):
            done = workspace.ab_tests.record_results(full, rows[start_of_batch : start_of_batch + BATCH]).to_dict()
            total = {key: total[key] + done[key] for key in total}
    session.emit(total, lambda: recorded_page(total), names=[str(total["counted"])])


@app.command("label", cls=Verb)
def label(
    ctx: typer.Context,
    test: Named,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="The request.")],
    true_label: Annotated[str, typer.Argument(metavar="LABEL", help="attack or benign.")],
) -> None:
    """Record the true label of a request; a later label replaces an earlier one."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        done = workspace.ab_tests.record_label(id_of(workspace, test), request_id, true_label)
    session.emit(done.to_dict(), lambda: recorded_page(done.to_dict()), names=[request_id])


@app.command("results", cls=Verb)
def results(ctx: typer.Context, test: Named) -> None:
    """Show what a test says so far; looking is free."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.get_test_results(id_of(workspace, test))
    winner = winner_of(found)
    session.emit(found, lambda: results_page(found), names=[] if winner is None else [winner])


app.command("assign", cls=Verb)(assign)
app.command("share", cls=Verb)(share)
app.command("plan", cls=Verb)(plan)
app.command("report", cls=Verb)(report)
app.command("watch", cls=Verb)(watch)


def _emit_state(session: Session, found: ABTest) -> None:
    session.emit(found.to_dict(), lambda: state_page(found), names=[found.test_id])
