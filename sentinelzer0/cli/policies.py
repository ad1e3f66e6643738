"""``policy``: show, set, list, check."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import gates, options, values
from sentinelzer0.cli.blocks import Block, Cell, Facts, Piece, Table, dim, good, line, name, next_command
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.domain.policies import SHIPPED, TARGETS, Policy, parse_policy, policy_to_toml
from sentinelzer0.errors import InvalidInputError, ModelFileNotFoundError

if TYPE_CHECKING:
    from sentinelzer0.domain.policies import GateResult
    from sentinelzer0.kernel import InstalledPolicy

app = noun("Policies: which changes need an approval, and which gates must hold.")


@app.command("show", cls=Verb)
def show(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="default, strict or a TOML file; none: in force.")
    ] = None,
    *,
    toml: Annotated[bool, typer.Option("--toml", help="As a file to edit and to set.")] = False,
) -> None:
    """Show the policy in force, a shipped one, or one in a file."""
    session: Session = ctx.obj
    installed: InstalledPolicy | None = None
    if source is None:
        with session.workspace() as workspace, workspace.kernel.read() as view:
            installed = view.policies.in_force()
        policy, text = installed.policy(), installed.body
    else:
        policy, text = _policy(source)
    data: dict[str, Any] = {"digest": policy.digest, "settings": policy.to_dict(), "toml": text}
    if installed is not None:
        data |= {"installed_by": installed.installed_by, "installed_at": installed.installed_at.isoformat()}
    if toml and session.output == "table":
        session.emit(data, lambda: [line(text.rstrip("\n"))])
        return
    session.emit(data, lambda: _policy_page(policy, installed), names=[policy.name])


@app.command("set", cls=Verb)
def set_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="default, strict or a TOML file.")],
    *,
    reason: options.RequiredReason,
) -> None:
    """Put a policy in force; pending requests made under another one become void."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        policy = workspace.registry.set_policy(source, set_by=session.actor, reason=reason)
    data = {"name": policy.name, "digest": policy.digest}
    shown: list[Piece] = [
        good("✓ "),
        "policy ",
        name(policy.name),
        " is in force",
        dim(f"  sha256 {values.short(policy.digest)}"),
    ]
    session.emit(data, lambda: [line(*shown)], names=[policy.name])


@app.command("list", cls=Verb)
def list_(ctx: typer.Context, *, limit: options.Limit = 20, cursor: options.Cursor = None) -> None:
    """List every policy that was ever in force, the latest first."""
    session: Session = ctx.obj
    with session.workspace() as workspace, workspace.kernel.read() as view:
        found = sorted(view.policies.all(), key=lambda item: item.revision, reverse=True)
    page, following = session.page(found, [str(item.revision) for item in found], limit, cursor)
    session.emit(
        [_installed(item) for item in page],
        lambda: _history(page, found[0].revision),
        names=[item.name for item in page],
        next_cursor=following,
    )


@app.command("check", cls=Verb)
def check(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="default, strict or a TOML file.")],
    *,
    version: Annotated[str | None, typer.Option(help="Try its gates on this version.")] = None,
    target: Annotated[str, typer.Option(help=f"Whose gates: {', '.join(TARGETS)}.")] = "production",
) -> None:
    """Check a policy file and, with --version, try its gates; exit code 5 when one fails. Changes nothing."""
    session: Session = ctx.obj
    policy, _ = _policy(source)
    if target not in TARGETS:
        raise InvalidInputError(f"{target!r} is not a target.", hint=f"Use one of: {', '.join(TARGETS)}.")
    held: list[GateResult] = []
    if version is not None:
        with session.workspace() as workspace:
            held = gates.evaluate(
                workspace, version, target, model=session.model, environment=session.environment, policy=policy
            )
    data = {"valid": True, "name": policy.name, "digest": policy.digest, "gates": [item.to_dict() for item in held]}
    session.emit(data, lambda: _checked(policy, held, version, target, source), names=[policy.name])
    if not all(item.passed for item in held):
        raise typer.Exit(ExitCode.GATE)


def _policy(source: str) -> tuple[Policy, str]:
    if source in SHIPPED:
        return SHIPPED[source], policy_to_toml(SHIPPED[source])
    try:
        text = Path(source).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelFileNotFoundError(
            f"There is no policy {source!r}.", hint=f"Name a TOML file, or one of: {', '.join(SHIPPED)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{source} cannot be read: {error}.", hint="Name a readable TOML file.") from error
    return parse_policy(text), text


def _installed(item: InstalledPolicy) -> dict[str, Any]:
    return {
        "revision": item.revision,
        "name": item.name,
        "digest": item.digest,
        "installed_at": item.installed_at.isoformat(),
        "installed_by": item.installed_by,
        "reason": item.reason,
    }


def _policy_page(policy: Policy, installed: InstalledPolicy | None) -> Iterator[Block]:
    yield line(name(policy.name), dim(f"  sha256 {values.short(policy.digest)}"))
    roles = ", ".join(policy.approver_roles) or "anyone"
    rows: list[tuple[str, Cell]] = [
        ("approval for", ", ".join(policy.approval_targets)),
        ("approvers", f"{policy.quorum} of: {roles}" + (", never the requester" if policy.four_eyes else "")),
        ("requests live", f"{policy.expires_hours:g} hours"),
        ("unregistered", "may go to production" if policy.direct_production else "may not go to production"),
        ("adoption", "allowed" if policy.adoption else "not allowed"),
        ("canary cap", values.percent(policy.canary_cap)),
    ]
    rows += [(f"role {role}", ", ".join(people)) for role, people in policy.roles.items()]
    if installed is not None:
        since = f"{values.absolute(installed.installed_at)} UTC by {installed.installed_by}"
        rows.append(("in force since", f"{since}: {installed.reason}"))
    yield Facts(rows)
    gate_rows: list[list[Cell]] = []
    for gate in policy.metric_gates:
        bound = (
            []
            if gate.limit is None
            else [("at least " if gate.direction == "higher" else "at most ") + f"{gate.limit:g}"]
        )
        bound += [] if gate.max_regression is None else [f"at most {gate.max_regression:g} worse than what serves"]
        gate_rows.append([f"{gate.source}.{gate.metric}", " and ".join(bound), ", ".join(gate.targets)])
    gate_rows += [
        [f"evidence {gate.kind}", "attached, passed", ", ".join(gate.targets)] for gate in policy.evidence_gates
    ]
    if gate_rows:
        yield Table(("gate", "must be", "for"), gate_rows)


def _history(page: list[InstalledPolicy], latest: int) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            str(item.revision),
            [name(item.name), good("  ● in force") if item.revision == latest else ""],
            values.absolute(item.installed_at),
            item.installed_by,
            dim(values.short(item.digest)),
            item.reason,
        ]
        for item in page
    ]
    return [Table((">revision", "policy", "since (UTC)", "by", "sha256", "why"), rows, wide=(5,))]


def _checked(policy: Policy, held: list[GateResult], version: str | None, target: str, source: str) -> Iterator[Block]:
    yield line(good("✓ "), name(policy.name), " is a valid policy", dim(f"  sha256 {values.short(policy.digest)}"))
    if version is not None:
        yield line(f"Gates for {version} to {target}:" if held else f"No gate guards {target}.")
        for item in held:
            yield line(values.gate(item.gate, passed=item.passed), f"  {item.detail}", indent=2)
    yield next_command(f"sz0 policy set {shlex.quote(source)} --reason WHY")
