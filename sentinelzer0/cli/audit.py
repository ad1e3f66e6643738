"""``audit``: list, show, verify, checkpoint, export, prove."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.blocks import Block, Cell, Facts, Table, bad, dim, good, line, name, next_command
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.domain.identity import subject_of_version
from sentinelzer0.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from sentinelzer0.domain.audit import AuditRecord
    from sentinelzer0.mlops.audit_trail import AuditReport

app = noun("The audit log: every change and every refused change, provable.")

VERIFIER = "sentinelzer0.maintenance.verify_audit_export"
_Record = Annotated[int, typer.Argument(metavar="RECORD", help="Its number.", min=0)]


@app.command("list", cls=Verb)
def list_(
    ctx: typer.Context,
    *,
    subject: Annotated[str | None, typer.Option(help="Only about this object, for example request:apr_….")] = None,
    version: Annotated[str | None, typer.Option(help="Only about this version.")] = None,
    limit: options.Limit = 20,
    cursor: Annotated[int | None, typer.Option("--cursor", help="Only records before this one.")] = None,
) -> None:
    """List records, newest first."""
    session: Session = ctx.obj
    wanted = subject_of_version(session.model, version) if version is not None else subject
    with session.workspace() as workspace:
        found = workspace.audit.records(wanted, limit=limit + 1, before=cursor)
    page = found[:limit]
    session.emit(
        [item.to_dict() for item in page],
        lambda: _records(page),
        names=[str(item.seq) for item in page],
        next_cursor=str(page[-1].seq) if len(found) > limit else None,
    )


@app.command("show", cls=Verb)
def show(ctx: typer.Context, record: _Record) -> None:
    """Show one record in full."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.audit.records(limit=1, before=record + 1)
    if not found or found[0].seq != record:
        raise NotFoundError(f"The log has no record {record}.", hint="See the latest: sz0 audit list")
    session.emit(found[0].to_dict(), lambda: _record(found[0]), names=[str(record)])


@app.command("verify", cls=Verb)
def verify(ctx: typer.Context) -> None:
    """Recompute the whole log and compare; exit code 5 when anything differs."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        report = workspace.audit.verify()
    session.emit(report.to_dict(), lambda: _report(report), names=[report.root] if report.intact else [])
    if not report.intact:
        raise typer.Exit(ExitCode.GATE)


@app.command("checkpoint", cls=Verb)
def checkpoint(ctx: typer.Context) -> None:
    """Sign the present state of the log; keep the note elsewhere, and nobody can rewrite what came before."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        note = workspace.audit.checkpoint()
        directory = workspace.kernel.layout.checkpoints
    session.emit(
        {"note": note, "directory": str(directory)}, lambda: [line(note.rstrip("\n"))], names=[note.rstrip("\n")]
    )


@app.command("export", cls=Verb)
def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the export goes; created.")],
) -> None:
    """Write the log, a signed checkpoint and a verifier that needs Python and nothing of ours."""
    session: Session = ctx.obj
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInputError(f"{str(directory)!r} exists and is not empty.", hint="Name a new directory.")
    with session.workspace() as workspace:
        done = workspace.audit.export(directory)
    script = directory / "verify_audit_export.py"
    spec = find_spec(VERIFIER)
    if spec is not None and spec.origin is not None:
        shutil.copyfile(spec.origin, script)
    vkey = (directory / "audit.vkey").read_text(encoding="utf-8").strip()
    data = done | {"verifier": str(script), "vkey": vkey}
    session.emit(data, lambda: _exported(data), names=[str(directory)])


@app.command("prove", cls=Verb)
def prove(
    ctx: typer.Context,
    record: Annotated[int | None, typer.Argument(metavar="RECORD", help="Prove that it is part of the log.")] = None,
    *,
    since: Annotated[
        int | None, typer.Option(help="Prove that the log only grew since it had so many records.")
    ] = None,
) -> None:
    """Print a Merkle proof (RFC 6962): inclusion of a record, or consistency with an earlier size."""
    session: Session = ctx.obj
    if (record is None) == (since is None):
        raise InvalidInputError("Prove what?", hint="Name a record, or --since SIZE.")
    with session.workspace() as workspace:
        if since is not None:
            proof = workspace.audit.consistency_proof(since)
            said = f"the log of {proof['size']} records begins with the one of {since}"
        else:
            proof = workspace.audit.inclusion_proof(int(record or 0))
            said = f"record {record} is part of the log of {proof['size']} records"
    session.emit(proof, lambda: _proof(proof, said), names=proof["path"])


def _records(page: list[AuditRecord]) -> list[Block]:
    rows: list[list[Cell]] = []
    for item in page:
        refused = item.outcome.value == "refused"
        subject = item.subjects[0] if item.subjects else values.NONE
        rows.append(
            [
                dim(str(item.seq)),
                values.absolute(item.time),
                item.actor.name,
                bad(f"✗ {item.action} refused") if refused else item.action,
                name(subject.removeprefix("version:default/")),
                item.reason,
            ]
        )
    return [Table((">record", "when (UTC)", "who", "what", "about", "why"), rows, wide=(5,))]


def _record(found: AuditRecord) -> Iterator[Block]:
    refused = found.outcome.value == "refused"
    yield line(name(f"record {found.seq}"), "  ", found.action, "  ", bad("✗ refused") if refused else good("✓ done"))
    rows: list[tuple[str, Cell]] = [
        ("time", found.to_dict()["time"]),
        ("who", f"{found.actor.name} ({found.actor.auth})"),
        ("about", ", ".join(found.subjects)),
        ("sha256", found.digest or values.NONE),
        ("why", found.reason or values.NONE),
        ("policy", found.policy or values.NONE),
        ("detail", ", ".join(f"{key} {value}" for key, value in found.detail.items()) or values.NONE),
        ("changed", ", ".join(change["table"] for change in found.after) or "nothing"),
    ]
    yield Facts(rows)
    yield next_command(f"sz0 audit prove {found.seq}", f"sz0 audit show {found.seq} --output json")


def _report(report: AuditReport) -> Iterator[Block]:
    if report.intact:
        checkpoints = f", {values.counted(report.checkpoints, 'signed checkpoint')}" if report.checkpoints else ""
        yield line(good("✓ intact: "), f"{values.counted(report.records, 'record')}{checkpoints}")
        yield line(dim("root "), report.root, indent=2)
        return
    yield line(
        bad(f"✗ not intact: {values.counted(len(report.problems), 'problem')}"),
        f" in {values.counted(report.records, 'record')}",
    )
    for problem in report.problems:
        yield line(problem, indent=2)
    yield next_command("sz0 doctor")


def _exported(data: dict[str, Any]) -> Iterator[Block]:
    yield line(good("✓ "), f"{data['records']} records exported to {data['directory']}")
    yield line(dim("root "), data["root"], indent=2)
    yield line(dim("key  "), data["vkey"], indent=2, whole=True)
    yield next_command(f"python3 {data['verifier']} {data['directory']} --vkey '{data['vkey']}'")


def _proof(proof: dict[str, Any], said: str) -> Iterator[Block]:
    yield line(good("✓ "), said)
    yield line(dim("root "), proof["root"], indent=2)
    if "leaf" in proof:
        yield line(dim("leaf "), proof["leaf"], indent=2)
    for node in proof["path"]:
        yield line(dim("     "), node, indent=2)
