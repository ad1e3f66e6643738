"""``deployments``: current, history, at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.blocks import Block, Cell, Facts, Marked, Piece, Table, dim, good, line, name, next_command, warn
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import DeploymentNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.domain.deployments import Deployment

app = noun("Deployments: what serves, what did when, who put it there and why.")

_When = "2026-03-01 (the end of that day), or 2026-03-01T14:30+01:00; no zone means UTC."


@app.command("current", cls=Verb)
def current(ctx: typer.Context) -> None:
    """Show what serves now."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = session.deployments(workspace).current(session.environment)
        now = workspace.kernel.now()
    if found is None:
        raise _never(session)
    session.emit(found.to_dict(), lambda: _page("now", found, now), names=list(found.weights))


@app.command("history", cls=Verb)
def history(
    ctx: typer.Context,
    *,
    at: Annotated[str | None, typer.Option("--at", metavar="DATE", help=f"Only what served then: {_When}")] = None,
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
) -> None:
    """List every change of what serves, newest first: when, what, who, why."""
    session: Session = ctx.obj
    if at is not None:
        _at(session, at)
        return
    with session.workspace() as workspace:
        found = session.deployments(workspace).history(session.environment)
        now = workspace.kernel.now()
    page, following = session.page(found, [str(item.revision) for item in found], limit, cursor)
    session.emit(
        [item.to_dict() for item in page],
        lambda: _history(page, session.environment, now),
        names=[str(item.revision) for item in page],
        next_cursor=following,
    )


@app.command("at", cls=Verb)
def at(ctx: typer.Context, date: Annotated[str, typer.Argument(metavar="DATE", help=_When)]) -> None:
    """Show what was live on a date, who put it there, and why."""
    _at(ctx.obj, date)


def _at(session: Session, date: str) -> None:
    asked = values.moment(date)
    with session.workspace() as workspace:
        now = workspace.kernel.now()
        if asked.date() > now.date():
            raise InvalidInputError(
                f"{values.absolute(asked)} UTC has not come yet.", hint="What serves now: sz0 deployments current"
            )
        moment = min(asked, now)  # a day that is not over is known up to now
        deployments = session.deployments(workspace)
        found = deployments.at(moment, session.environment)
        later = [item for item in deployments.history(session.environment) if found and item.revision > found.revision]
    if found is None:
        raise DeploymentNotFoundError(
            f"Nothing had been deployed to {session.environment} by {values.precise(moment)} UTC.",
            hint="See every change: sz0 history",
        )
    until = later[-1].created_at if later else None
    data: dict[str, Any] = {"at": moment.isoformat(), "until": None if until is None else until.isoformat()}
    when = f"{values.precise(moment)} UTC"
    session.emit(data | found.to_dict(), lambda: _page(when, found, now, until), names=list(found.weights))


def _never(session: Session) -> DeploymentNotFoundError:
    return DeploymentNotFoundError(
        f"Nothing was ever deployed to {session.environment}.", hint="Promote a version: sz0 promote VERSION production"
    )


def _page(when: str, found: Deployment, now: datetime, until: datetime | None = None) -> Iterator[Block]:
    yield line(f"{found.environment}, {when}: ", *_traffic(found))
    rows: list[tuple[str, Cell]] = [
        ("since", f"{values.precise(found.created_at)} UTC, {values.relative(found.created_at, now)}"),
        ("until", "now" if until is None else f"{values.precise(until)} UTC"),
        ("who", found.created_by),
        ("cause", _cause(found)),
        ("why", found.reason or values.NONE),
        ("evidence", ", ".join(f"{key} {value}" for key, value in found.evidence.items()) or values.NONE),
        ("record", f"revision {found.revision}, audit record {found.audit_seq}"),
    ]
    yield Facts(rows)
    yield next_command(f"sz0 audit prove {found.audit_seq}")


def _history(page: list[Deployment], environment: str, now: datetime) -> list[Block]:
    if not page:
        return [line(f"Nothing was ever deployed to {environment}.")]
    rows: list[list[Cell]] = [
        [
            str(item.revision),
            values.absolute(item.created_at),
            dim(values.relative(item.created_at, now)),
            _traffic(item),
            _cause(item),
            item.created_by,
            item.reason,
        ]
        for item in page
    ]
    return [
        Table(
            (">rev", "when (UTC)", "", "what served from then", "cause", "who", "why"), rows, wide=(6,), optional=(2,)
        )
    ]


def _traffic(item: Deployment) -> list[Piece]:
    if not item.weights:
        return [dim("nothing")]
    pieces: list[Piece] = []
    for version, share in item.weights.items():
        pieces += [", " if pieces else "", name(version), f" {values.percent(share)}"]
    return pieces


def _cause(item: Deployment) -> Marked:
    shown = {
        "promotion": good("▲ promotion"),
        "rollback": warn("▼ rollback"),
        "break_glass": warn("! break-glass"),
    }
    return shown.get(item.cause.value, dim(f"· {item.cause.value.replace('_', ' ')}"))
