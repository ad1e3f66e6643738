"""``rollback``: run, history, check-health, confirm, dismiss, release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.blocks import Block, Cell, Facts, Piece, Table, bad, dim, good, line, name, next_command, warn
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, Verbs, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import DeploymentNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.mlops.rollback import HealthCheck, RollbackEvent


class _RunByDefault(Verbs):
    """``rollback --reason WHY`` is ``rollback run --reason WHY``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the verb when none is given."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = noun("Rollback: the way back, health checks, quarantine. Without a verb: run.", cls=_RunByDefault)

_Event = Annotated[str, typer.Argument(metavar="REQUEST", help="Id of the request, or its unambiguous end.")]


@app.command("run", cls=Verb)
def run(
    ctx: typer.Context,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The one to leave; none: what serves.")
    ] = None,
    *,
    reason: options.RequiredReason,
    to: Annotated[str | None, typer.Option("--to", help="Where to go; none: the last known-good version.")] = None,
    strategy: Annotated[
        str, typer.Option(help="immediate, or manual: open a request that a person confirms.")
    ] = "immediate",
    allow_unapproved: Annotated[
        bool, typer.Option("--allow-unapproved", help="Also to a version that was never approved (break-glass).")
    ] = False,
    yes: options.Yes = False,
) -> None:
    """Give all production traffic to a known-good version, verified first, and quarantine the one left."""
    session: Session = ctx.obj
    if not reason.strip():
        raise InvalidInputError("The reason is empty.", hint="Say why: the reason stays on record.")
    with session.workspace() as workspace:
        leaving = version or _serving(session.deployments(workspace).current())
        if strategy == "immediate":
            session.confirm(f"Roll back from {leaving} to {to or 'the last known-good version'}?", yes=yes)
        event = workspace.rollback.execute_rollback(
            leaving,
            to,
            reason,
            strategy,
            triggered_by=session.actor,
            allow_unapproved=allow_unapproved,
            model=session.model,
        )
        workspace.rollback.finish_rechecks()
    session.emit(event.to_dict(), lambda: _event(event), names=[event.event_id])
    if "error" in event.details:
        raise typer.Exit(ExitCode.FAILURE)


@app.command("history", cls=Verb)
def history(ctx: typer.Context, *, limit: options.Limit = 20, cursor: options.Cursor = None) -> None:
    """List rollbacks, failed ones and requests for one, newest first."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.rollback.get_rollback_history(None, model=session.model)
        now = workspace.kernel.now()
    page, following = session.page(found, [item.event_id for item in found], limit, cursor)
    session.emit(
        [item.to_dict() for item in page],
        lambda: _history(page, now),
        names=[item.event_id for item in page],
        next_cursor=following,
    )


@app.command("check-health", cls=Verb)
def check_health(
    ctx: typer.Context,
    version: options.Version,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", help="error_rate=0.02, avg_latency_ms=12, total_requests=500, failed_requests=10."
        ),
    ] = None,
    max_error_rate: Annotated[float | None, typer.Option(help="Unhealthy from this share of failures on.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Unhealthy from this mean latency on.")] = None,
    min_requests: Annotated[int | None, typer.Option(help="Fewer requests say nothing.")] = None,
) -> None:
    """Judge measurements of a version and write its health into its entry; exit code 5 when it is unhealthy."""
    session: Session = ctx.obj
    measured = values.pairs(metric, "--metric", numbers=False)
    with session.workspace() as workspace:
        manager = workspace.rollback
        if max_error_rate is not None:
            manager.error_rate_threshold = max_error_rate
        if max_latency_ms is not None:
            manager.latency_threshold_ms = max_latency_ms
        if min_requests is not None:
            manager.min_requests_for_check = min_requests
        found = manager.check_health(version, measured, checked_by=session.actor, model=session.model)
    session.emit(found.to_dict(), lambda: _health(found), names=[str(found.status)])
    if str(found.status) == "unhealthy":
        raise typer.Exit(ExitCode.GATE)


app.command("check", cls=Verb, hidden=True)(check_health)


@app.command("confirm", cls=Verb)
def confirm(
    ctx: typer.Context, request_id: _Event, *, reason: options.RequiredReason, yes: options.Yes = False
) -> None:
    """Execute a requested rollback."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = session.full_id(request_id, workspace.rollback.get_rollback_history(None), "event_id")
        session.confirm(f"Execute the rollback {full}?", yes=yes)
        event = workspace.rollback.confirm(full, session.actor, reason)
        workspace.rollback.finish_rechecks()
    session.emit(event.to_dict(), lambda: _event(event), names=[event.event_id])


@app.command("dismiss", cls=Verb)
def dismiss(ctx: typer.Context, request_id: _Event, *, reason: options.RequiredReason) -> None:
    """Decide that a requested rollback is not needed."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = session.full_id(request_id, workspace.rollback.get_rollback_history(None), "event_id")
        event = workspace.rollback.dismiss(full, session.actor, reason)
    session.emit(event.to_dict(), lambda: [line(f"{full} dismissed; nothing was moved")], names=[full])


@app.command("release", cls=Verb)
def release(ctx: typer.Context, version: options.Version, *, reason: options.RequiredReason) -> None:
    """Lift the quarantine of a version that was rolled back from."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.rollback.release(version, session.actor, reason, model=session.model)
    session.emit(
        found.to_dict(), lambda: [line(good("✓ "), name(version), " is no longer quarantined")], names=[version]
    )


def _serving(current: Any) -> str:
    if current is None or current.version is None:
        raise DeploymentNotFoundError(
            "Nothing serves production, so there is nothing to leave.", hint="See: sz0 history"
        )
    return str(current.version)


def _event(event: RollbackEvent) -> Iterator[Block]:
    details = event.details
    if event.success:
        yield line(good("✓ "), "rolled back from ", name(event.from_version), " to ", name(event.to_version))
        spent = ", ".join(f"{step} {float(ms):.1f} ms" for step, ms in details.get("durations_ms", {}).items())
        rows: list[tuple[str, Cell]] = [
            ("took", spent or values.NONE),
            (
                "verified",
                f"{details.get('verification', values.NONE)}, sha256 {values.short(details.get('verified_digest'))}",
            ),
            ("revision", str(details.get("revision", values.NONE))),
            ("event", event.event_id),
        ]
        rows += [("skipped", f"{item['version']}: {item['problem']}") for item in details.get("skipped", [])]
        yield Facts(rows)
        yield line(warn("! "), name(event.from_version), " is quarantined until a person releases it.")
        yield next_command("sz0 history", f"sz0 rollback release {event.from_version} --reason WHY")
    elif "error" in details:
        yield line(bad("✗ "), "the rollback failed: ", str(details["error"]))
    else:
        goal: list[Piece] = [] if event.to_version is None else [" to ", name(event.to_version)]
        yield line(warn("… "), "asked for a rollback from ", name(event.from_version), *goal)
        yield next_command(f"sz0 rollback confirm {event.event_id} --reason WHY")


def _history(page: list[RollbackEvent], now: datetime) -> list[Block]:
    if not page:
        return [line("There was no rollback.")]
    rows: list[list[Cell]] = [
        [
            values.absolute(item.timestamp),
            dim(values.relative(item.timestamp, now)),
            [name(item.from_version), " → ", name(item.to_version or values.NONE)],
            _outcome(item),
            item.triggered_by,
            item.reason,
            dim(item.event_id),
        ]
        for item in page
    ]
    return [Table(("when (UTC)", "", "from → to", "outcome", "who", "why", "event"), rows, wide=(5,), optional=(6, 1))]


def _outcome(item: RollbackEvent) -> Piece:
    if item.success:
        return good("✓ done")
    if "error" in item.details:
        return bad("✗ failed")
    state = str(item.details.get("status", "open"))
    return warn("… asked for") if state == "open" else dim(f"· {state}")


def _health(found: HealthCheck) -> Iterator[Block]:
    yield line(name(found.version), " is ", values.health(str(found.status)))
    for reason in found.details.get("reasons", []):
        yield line(str(reason), indent=2)
    if str(found.status) == "unhealthy":
        yield next_command(f"sz0 rollback run {found.version} --reason WHY")
