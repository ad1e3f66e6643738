"""``registry``: register, list, show, request, request-canary, approve, reject, withdraw, pending, health, evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.blocks import (
    Block,
    Cell,
    Facts,
    Piece,
    Table,
    bad,
    dim,
    good,
    line,
    name,
    next_command,
    strong,
    warn,
)
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.domain.versions import ModelStage
from sentinelzer0.errors import EntryNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.domain.registry import ApprovalRequest
    from sentinelzer0.mlops.model_registry import RegistryEntry

app = noun("The registry: entries, and the way to production by request and approval.")

_Request = Annotated[
    str, typer.Argument(metavar="REQUEST", help="Id of the request, or its unambiguous beginning or end.")
]


@app.command("register", cls=Verb)
def register(
    ctx: typer.Context,
    version: options.Version,
    *,
    stage: Annotated[str, typer.Option(help="production adopts a version that already serves.")] = "development",
    tag: options.Tags = None,
) -> None:
    """Enter a version into the registry; its way to production then needs approval."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        entry = workspace.registry.register_model(version, stage, session.actor, tag, model=session.model)
    following = "production" if entry.stage is ModelStage.STAGING else "staging"
    session.emit(
        entry.to_dict(),
        lambda: [
            line(good("✓ "), name(version), " registered, stage ", values.status(entry.stage.value)),
            next_command(f"sz0 registry request {version} {following}"),
        ],
        names=[version],
    )


@app.command("list", cls=Verb)
def list_(
    ctx: typer.Context,
    *,
    stage: Annotated[str | None, typer.Option(help="Only entries of this stage.")] = None,
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
) -> None:
    """List registered versions, the latest registered first."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = [
            entry
            for wanted in ([stage] if stage else list(ModelStage))
            for entry in workspace.registry.get_models_by_stage(wanted, model=session.model)
        ]
        now = workspace.kernel.now()
    found.sort(key=lambda entry: (entry.registered_at, entry.version), reverse=True)
    page, following = session.page(found, [entry.version for entry in found], limit, cursor)
    session.emit(
        [entry.to_dict() for entry in page],
        lambda: _entries(page, now),
        names=[entry.version for entry in page],
        next_cursor=following,
    )


@app.command("show", cls=Verb)
def show(ctx: typer.Context, version: options.Version) -> None:
    """Show a version's entry and every request made about it."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        trail = workspace.registry.get_audit_trail(version, model=session.model)
        entry = workspace.registry.get_entry(version, model=session.model)
        now = workspace.kernel.now()
    if entry is None:
        raise EntryNotFoundError(f"{version} is not registered.", hint=f"Register it: sz0 register {version}")
    requests = trail["approval_requests"]
    data = entry.to_dict() | {"approval_requests": requests}
    session.emit(data, lambda: _entry(entry, requests, now), names=[version])


@app.command("request", cls=Verb)
def request(
    ctx: typer.Context,
    version: options.Version,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="staging, production, archived or development.")],
    *,
    notes: options.Notes = "",
) -> None:
    """Ask for a version to be moved to another stage; somebody else approves."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        made = workspace.registry.request_promotion(version, stage, session.actor, notes, model=session.model)
    session.emit(made.to_dict(), lambda: _requested(made), names=[made.request_id])


@app.command("request-canary", cls=Verb)
def request_canary(
    ctx: typer.Context,
    version: options.Version,
    share: Annotated[float, typer.Argument(metavar="SHARE", help="Largest share of the traffic, 0 to 1.")],
    *,
    notes: options.Notes = "",
) -> None:
    """Ask for a version to serve a share of the traffic, as a canary or the challenger of an A/B test."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        made = workspace.registry.request_canary(version, share, session.actor, notes, model=session.model)
    session.emit(made.to_dict(), lambda: _requested(made), names=[made.request_id])


@app.command("approve", cls=Verb)
def approve(ctx: typer.Context, request_id: _Request, *, notes: options.Notes = "") -> None:
    """Approve a request: the bytes are verified, the gates evaluated, and with the quorum the version moves."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = session.full_id(request_id, workspace.registry.get_pending_approvals())
        entry = workspace.registry.approve_promotion(full, session.actor, notes)
        pending = any(item.request_id == full for item in workspace.registry.get_pending_approvals())
    outcome: list[Piece] = [good("✓ "), name(entry.version)]
    outcome += (
        [" has one more approval; the quorum needs more"] if pending else [" is now ", values.status(entry.stage.value)]
    )
    data = {"request_id": full, "complete": not pending, "entry": entry.to_dict()}
    session.emit(data, lambda: [line(*outcome)], names=[entry.version])


@app.command("reject", cls=Verb)
def reject(ctx: typer.Context, request_id: _Request, *, reason: options.RequiredReason) -> None:
    """Reject a request, for good."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = session.full_id(request_id, workspace.registry.get_pending_approvals())
        closed = workspace.registry.reject_promotion(full, session.actor, reason)
    session.emit(closed.to_dict(), lambda: [line(f"{full} rejected")], names=[full])


@app.command("withdraw", cls=Verb)
def withdraw(ctx: typer.Context, request_id: _Request, *, reason: options.RequiredReason) -> None:
    """Withdraw your own request, for good."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = session.full_id(request_id, workspace.registry.get_pending_approvals())
        closed = workspace.registry.withdraw_promotion(full, session.actor, reason)
    session.emit(closed.to_dict(), lambda: [line(f"{full} withdrawn")], names=[full])


@app.command("pending", cls=Verb)
def pending(
    ctx: typer.Context,
    *,
    all_models: Annotated[bool, typer.Option("--all-models", help="Of every model.")] = False,
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
) -> None:
    """List the requests that wait for a decision, oldest first."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.registry.get_pending_approvals(model=None if all_models else session.model)
        now = workspace.kernel.now()
    page, following = session.page(found, [item.request_id for item in found], limit, cursor)
    session.emit(
        [item.to_dict() for item in page],
        lambda: _pending(page, now),
        names=[item.request_id for item in page],
        next_cursor=following,
    )


@app.command("health", cls=Verb)
def health(
    ctx: typer.Context,
    version: options.Version,
    status: Annotated[str, typer.Argument(metavar="STATUS", help="healthy, unhealthy or unknown.")],
    *,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-m", help="name=value; or @file.json.")] = None,
) -> None:
    """Write a version's health into its entry; `rollback check-health` judges it from measurements."""
    session: Session = ctx.obj
    metrics = values.pairs(metric, "--metric", numbers=False)
    with session.workspace() as workspace:
        entry = workspace.registry.update_health_status(
            version, status, metrics or None, updated_by=session.actor, model=session.model
        )
    session.emit(
        entry.to_dict(), lambda: [line(name(version), " is ", values.health(entry.health_status))], names=[version]
    )


@app.command("attach-evidence", cls=Verb)
def attach_evidence(
    ctx: typer.Context,
    version: options.Version,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="For example a scanner's result.")],
    *,
    kind: Annotated[str, typer.Option(help="What it is, for example malware-scan.", show_default=False)],
    passed: Annotated[
        bool, typer.Option("--passed/--failed", help="Whether it speaks for the version.", show_default=False)
    ],
    summary: Annotated[str, typer.Option(help="One line for people.")] = "",
) -> None:
    """Attach a file that speaks for or against a version; gates may demand it."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        item = workspace.registry.attach_evidence(
            version, path, kind, session.actor, passed=passed, summary=summary, model=session.model
        )
    facts: list[Piece] = [
        good("✓ "),
        f"{kind} attached to ",
        name(version),
        dim(f"  sha256 {values.short(item.digest)}"),
    ]
    session.emit(item.to_dict(), lambda: [line(*facts)], names=[item.evidence_id])


@app.command("break-glass", cls=Verb)
def break_glass(
    ctx: typer.Context, version: options.Version, *, reason: options.RequiredReason, yes: options.Yes = False
) -> None:
    """Put a registered version into production without approval, loudly: for emergencies."""
    session: Session = ctx.obj
    if not reason.strip():
        raise InvalidInputError("The reason is empty.", hint="Say why: the reason stays on record.")
    with session.workspace() as workspace:
        session.confirm(f"Put {version} into {session.environment} without approval?", yes=yes)
        entry = workspace.registry.break_glass(version, session.actor, reason, model=session.model)
    session.emit(
        entry.to_dict(),
        lambda: [
            line(warn("! break-glass: "), name(version), " serves production without an approval; this is on record")
        ],
        names=[version],
    )


@app.command("trail", cls=Verb)
def trail(ctx: typer.Context, version: options.Version) -> None:
    """Show everything on record about a version: stages, requests, refusals, evidence."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.registry.get_audit_trail(version, model=session.model)
    session.emit(found, lambda: _trail(found), names=[str(event["seq"]) for event in found["events"]])


def _entries(page: list[RegistryEntry], now: datetime) -> list[Block]:
    if not page:
        return [line("Nothing is registered."), next_command("sz0 register VERSION")]
    rows: list[list[Cell]] = []
    for entry in page:
        where = entry.deployment_info.get("environment", "")
        rows.append(
            [
                name(entry.version),
                values.status(entry.stage.value),
                values.health(entry.health_status),
                values.relative(entry.registered_at, now),
                dim(values.absolute(entry.registered_at)),
                entry.registered_by,
                entry.promoted_by or values.NONE,
                str(where) or values.NONE,
                ", ".join(entry.tags),
            ]
        )
    heads = ("version", "stage", "health", "age", "registered (UTC)", "by", "approved by", "deployed to", "tags")
    return [Table(heads, rows, wide=(8,), optional=(3, 7, 6))]


def _entry(entry: RegistryEntry, requests: list[dict[str, Any]], now: datetime) -> Iterator[Block]:
    yield line(name(entry.version), "  ", values.status(entry.stage.value), "  ", values.health(entry.health_status))
    rows: list[tuple[str, Cell]] = [
        ("registered", f"{values.absolute(entry.registered_at)} UTC by {entry.registered_by}"),
        (
            "promoted",
            f"{values.absolute(entry.promoted_at)} by {entry.promoted_by}" if entry.promoted_at else values.NONE,
        ),
        ("deployed", ", ".join(f"{key} {value}" for key, value in entry.deployment_info.items()) or values.NONE),
        ("measured", ", ".join(f"{key} {value}" for key, value in entry.performance_metrics.items()) or values.NONE),
        ("tags", ", ".join(entry.tags) or values.NONE),
    ]
    yield Facts(rows)
    if requests:
        yield Table(
            ("request", "asked for", "status", "by", "decided by", "when"),
            [
                [
                    request["request_id"],
                    request["target"] if request["target"] != "stage" else request["to_stage"],
                    _decision(request["status"]),
                    request["requested_by"],
                    request["approved_by"] or values.NONE,
                    values.relative(values.moment(request["requested_at"]), now),
                ]
                for request in requests
            ],
        )


def _requested(made: ApprovalRequest) -> list[Block]:
    until = "" if made.expires_at is None else f", until {values.absolute(made.expires_at)} UTC"
    what = made.to_stage.value if made.target.value != "canary" else f"a canary of up to {values.percent(made.share)}"
    return [
        line(good("✓ "), "asked for ", name(made.version), f" to become {what}{until}"),
        line(dim("request "), strong(made.request_id), indent=2),
        *_carried(made),
        next_command(f"sz0 approve {made.request_id} --actor SOMEBODY-ELSE"),
    ]


def _pending(page: list[ApprovalRequest], now: datetime) -> list[Block]:
    if not page:
        return [line("No request waits for a decision.")]
    rows: list[list[Cell]] = [
        [
            strong(item.request_id),
            name(item.version),
            f"{item.from_stage.value} → {item.to_stage.value}"
            if item.target.value != "canary"
            else f"canary {values.percent(item.share)}",
            item.requested_by,
            values.relative(item.requested_at, now),
            values.NONE if item.expires_at is None else values.relative(item.expires_at, now),
            str(len(item.votes)),
            item.notes,
        ]
        for item in page
    ]
    heads = ("request", "version", "asked for", "by", "when", "expires", ">votes", "notes")
    return [
        Table(heads, rows, wide=(7,)),
        *(piece for item in page for piece in _carried(item)),
        next_command("sz0 approve REQUEST", "sz0 registry reject REQUEST --reason WHY"),
    ]


def _carried(made: ApprovalRequest) -> list[Block]:
    """Return the evidence a request carries, a line each."""
    return [
        line(
            good("✓ ") if gate["passed"] else bad("✗ "),
            name(made.version),
            f" {gate['gate']}: {gate['detail']}",
            indent=2,
        )
        for gate in made.gates
    ]


def _decision(status: str) -> Piece:
    shown = {"approved": good("✓ approved"), "rejected": bad("✗ rejected"), "pending": warn("… pending")}
    return shown.get(status, dim(f"· {status}"))


def _trail(found: dict[str, Any]) -> Iterator[Block]:
    yield line(name(found["version"]), dim(f"  {len(found['events'])} records"))
    rows: list[list[Cell]] = []
    for event in found["events"]:
        refused = event["outcome"] == "refused"
        rows.append(
            [
                dim(str(event["seq"])),
                values.absolute(values.moment(event["time"])),
                event["actor"]["name"],
                bad(f"✗ {event['action']} refused") if refused else event["action"],
                event["reason"],
            ]
        )
    yield Table((">record", "when (UTC)", "who", "what", "why"), rows, wide=(4,))
