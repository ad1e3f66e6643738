"""``versions``: create, list, show, compare, promote, verify, edit, delete, lineage, path, pull."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import gates, options, values
from sentinelzer0.cli.blocks import Block, Cell, Facts, Piece, Table, bad, dim, good, line, name, next_command, strong
from sentinelzer0.cli.comparison import compare
from sentinelzer0.cli.exit_codes import ExitCode
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.pull import pull
from sentinelzer0.cli.session import Session, require
from sentinelzer0.errors import InvalidInputError, ModelFileNotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from sentinelzer0.mlops.version_manager import ModelVersion

app = noun("Versions: immutable models, named by what they contain.")

_Metrics = Annotated[
    list[str] | None, typer.Option("--metric", "-m", help="A test metric, name=number; or @file.json.")
]


@app.command("create", cls=Verb)
def create(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A model file, or a directory of files.")],
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Its name; left out, made of the time.")
    ] = None,
    *,
    metric: _Metrics = None,
    validation_metric: Annotated[list[str] | None, typer.Option(help="A validation metric, name=number.")] = None,
    training_metric: Annotated[list[str] | None, typer.Option(help="A training metric, name=number.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A hyperparameter, name=value.")] = None,
    tag: options.Tags = None,
    parent: Annotated[str | None, typer.Option(help="The version it was derived from.")] = None,
    notes: options.Notes = "",
    framework: Annotated[str, typer.Option(help="What it was trained with.")] = "",
    framework_version: Annotated[str, typer.Option(help="The framework's version.")] = "",
    model_type: Annotated[str, typer.Option(help="Kind of model.")] = "",
    dataset: Annotated[str, typer.Option(help="Name or reference of the training data.")] = "",
) -> None:
    """Take a model file or directory into the workspace; creates the workspace when there is none."""
    session: Session = ctx.obj
    if not path.exists():
        raise ModelFileNotFoundError(f"There is no file or directory {str(path)!r}.", hint="Check the path.")
    _check_apart(path, session.setting("workspace"))
    facts: dict[str, Any] = {
        "test_metrics": values.pairs(metric, "--metric", numbers=True),
        "validation_metrics": values.pairs(validation_metric, "--validation-metric", numbers=True),
        "training_metrics": values.pairs(training_metric, "--training-metric", numbers=True),
        "hyperparameters": values.pairs(param, "--param", numbers=False),
    }
    with session.workspace(create=True) as workspace, session.progress(f"storing {path.name}") as advance:
        made = workspace.versions.create_version(
            path,
            version,
            session.actor,
            notes=notes,
            tags=tag,
            parent_version=parent,
            framework=framework,
            framework_version=framework_version,
            model_type=model_type,
            training_dataset=dataset,
            model=session.model,
            progress=advance,
            **facts,
        )
    session.emit(made.to_dict(), lambda: _created(made), names=[made.version])


def _check_apart(path: Path, location: str) -> None:
    """Refuse a directory that contains the workspace, which would change while it is copied into itself."""
    if "://" in location or not path.is_dir():
        return
    root = Path(location).resolve()
    if path.resolve() in (root, *root.parents):
        raise InvalidInputError(
            f"The directory {str(path)!r} contains the workspace {str(root)!r} and cannot become a version in it.",
            hint="Name the directory of the model alone, or keep the workspace elsewhere with --workspace.",
        )


@app.command("list", cls=Verb)
def list_(
    ctx: typer.Context,
    *,
    status: Annotated[str | None, typer.Option(help="Only versions of this status.")] = None,
    tag: options.Tags = None,
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric to show.")] = "",
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
) -> None:
    """List versions, newest first."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.versions.list_versions(status, tag, model=session.model, limit=limit + 1, cursor=cursor)
        current = session.deployments(workspace).current(session.environment)
        quarantined = gates.quarantines(workspace, [item.version for item in found], session.model)
        now = workspace.kernel.now()
    more = len(found) > limit
    found = found[:limit]
    weights = {} if current is None else current.weights
    wanted = metric or session.setting("metric")
    session.emit(
        [item.to_dict() for item in found],
        lambda: _listing(found, weights, quarantined, wanted, now),
        names=[item.version for item in found],
        next_cursor=found[-1].version if more else None,
    )


@app.command("show", cls=Verb)
def show(ctx: typer.Context, version: options.Version) -> None:
    """Show everything that is known about a version."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = require(workspace, version, session.model)
        entry = workspace.registry.get_entry(version, model=session.model)
        current = session.deployments(workspace).current(session.environment)
        share = 0.0 if current is None else current.weights.get(version, 0.0)
        quarantine = gates.quarantines(workspace, [version], session.model).get(version)
        now = workspace.kernel.now()
    data = found.to_dict() | {"registry_entry": None if entry is None else entry.to_dict(), "serves": share}
    data |= {"quarantine": quarantine}

    def page() -> Iterator[Block]:
        blocks = _card(found, entry, share, session.environment, now)
        yield next(blocks)
        if quarantine is not None:
            yield line(bad("! quarantined "), quarantine)
        yield from blocks

    session.emit(data, page, names=[version])


app.command("compare", cls=Verb)(compare)
app.command("diff", cls=Verb, hidden=True)(compare)


@app.command("promote", cls=Verb)
def promote(
    ctx: typer.Context,
    version: options.Version,
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="development, staging, production, archived, deprecated.")
    ],
    *,
    reason: options.Reason = "",
) -> None:
    """Move a version to another status; a registered one goes to production by request and approval only."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        moved = workspace.versions.promote_version(
            version, status, promoted_by=session.actor, reason=reason, model=session.model
        )
    session.emit(
        moved.to_dict(), lambda: [line(name(version), " is now ", values.status(moved.status.value))], names=[version]
    )


@app.command("verify", cls=Verb)
def verify(
    ctx: typer.Context,
    versions: Annotated[list[str] | None, typer.Argument(metavar="VERSION...", help="Names; none means all.")] = None,
) -> None:
    """Hash every byte of versions and compare; exit code 5 when one is not what was registered."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        names = versions or [item.version for item in workspace.versions.list_versions(model=session.model)]
        found = [require(workspace, item, session.model) for item in names]
        total = sum(item.metadata.file_size for item in found)
        rows = []
        with session.progress("hashing") as advance:
            done = 0
            for item in found:
                problems = workspace.versions.integrity_problems(item.version, model=session.model)
                rows.append({"version": item.version, "intact": not problems, "problems": problems})
                done += item.metadata.file_size
                if advance is not None:
                    advance(done, total)
    session.emit(rows, lambda: _verified(rows), names=[str(row["version"]) for row in rows if row["intact"]])
    if not all(row["intact"] for row in rows):
        raise typer.Exit(ExitCode.GATE)


@app.command("edit", cls=Verb)
def edit(
    ctx: typer.Context,
    version: options.Version,
    *,
    tag: options.Tags = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Remove every tag.")] = False,
    notes: Annotated[str | None, typer.Option(help="New notes; empty removes them.")] = None,
) -> None:
    """Replace a version's tags or notes; what is not given stays."""
    session: Session = ctx.obj
    if tag is None and notes is None and not no_tags:
        raise InvalidInputError("Nothing was said to change.", hint="Add --tag, --no-tags or --notes.")
    with session.workspace() as workspace:
        edited = workspace.versions.edit_version(
            version, tags=[] if no_tags else tag, notes=notes, edited_by=session.actor, model=session.model
        )
    tags = ", ".join(edited.metadata.tags) or values.NONE
    facts = Facts([("tags", tags), ("notes", edited.metadata.notes or values.NONE)])
    session.emit(edited.to_dict(), lambda: [line(name(version), " edited"), facts], names=[version])


@app.command("delete", cls=Verb)
def delete(
    ctx: typer.Context,
    version: options.Version,
    *,
    reason: options.Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Also one of stage production that serves nothing.")] = False,
    yes: options.Yes = False,
) -> None:
    """Delete a version, leaving a tombstone: its name is never used again."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        require(workspace, version, session.model)
        session.confirm(f"Delete {version}? Its name can never be used again.", yes=yes)
        workspace.versions.delete_version(version, force, deleted_by=session.actor, reason=reason, model=session.model)
    session.emit({"version": version, "deleted": True}, lambda: [line(name(version), " deleted")], names=[version])


@app.command("lineage", cls=Verb)
def lineage(ctx: typer.Context, version: options.Version) -> None:
    """Show what a version was derived from, and what was derived from it."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        tree = workspace.versions.lineage(version, model=session.model)
        now = workspace.kernel.now()
        found = require(workspace, version, session.model)
    names = [str(row["version"]) for row in (*reversed(tree["ancestors"]), {"version": version}, *tree["descendants"])]
    session.emit(tree, lambda: _tree(tree, found, now), names=names)


@app.command("path", cls=Verb)
def path_(ctx: typer.Context, version: options.Version) -> None:
    """Print where a version can be read; use `pull --verify` for bytes that were just checked."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        path = str(require(workspace, version, session.model).model_path)
    session.emit({"version": version, "path": path}, lambda: [line(path, whole=True)], names=[path])


app.command("pull", cls=Verb)(pull)


def _created(made: ModelVersion) -> list[Block]:
    facts = made.metadata
    return [
        line(good("✓ "), name(made.version), f" created, {values.size(facts.file_size)}"),
        line(dim("sha256 "), facts.file_hash, indent=2),
        next_command(f"sz0 register {made.version}"),
    ]


def _listing(
    found: list[ModelVersion], weights: dict[str, float], quarantined: dict[str, str], wanted: str, now: datetime
) -> list[Block]:
    if not found:
        return [line("No versions."), next_command("sz0 versions create FILE")]
    rows: list[list[Cell]] = []
    for item in found:
        facts = item.metadata
        metric = values.key_metric(facts, wanted)
        share = weights.get(item.version)
        state: list[Piece] = [values.status(item.status.value)]
        if share is not None:
            state.append(strong(f" serves {values.percent(share)}"))
        if item.version in quarantined:
            state.append(bad(" ! quarantined"))
        rows.append(
            [
                name(item.version),
                state,
                dim(values.NONE) if metric is None else [strong(values.number(metric[1])), dim(f" {metric[0]}")],
                values.relative(facts.created_at, now),
                dim(values.absolute(facts.created_at)),
                facts.created_by,
                values.size(facts.file_size),
                dim(values.short(facts.file_hash)),
                ", ".join(facts.tags),
            ]
        )
    heads = ("version", "status", "metric", "age", "created (UTC)", "who", ">size", "sha256", "tags")
    return [Table(heads, rows, wide=(8,), optional=(3, 7, 6))]


def _card(found: ModelVersion, entry: Any, share: float, environment: str, now: datetime) -> Iterator[Block]:
    facts = found.metadata
    serves: list[Piece] = [strong(f"  serves {values.percent(share)} of {environment}")] if share else []
    yield line(name(found.version), "  ", values.status(found.status.value), *serves)
    rows: list[tuple[str, Cell]] = [
        (
            "created",
            f"{values.absolute(facts.created_at)} UTC, {values.relative(facts.created_at, now)}, by {facts.created_by}",
        ),
        ("sha256", facts.file_hash),
        ("size", f"{values.size(facts.file_size)} ({facts.file_size} bytes)"),
        ("path", str(found.model_path)),
        ("parent", facts.parent_version or values.NONE),
    ]
    trained = " ".join(part for part in (facts.framework, facts.framework_version) if part)
    optional = (
        ("framework", trained),
        ("kind", facts.model_type),
        ("data", facts.training_dataset),
        ("tags", ", ".join(facts.tags)),
        ("notes", facts.notes),
    )
    rows += [(label, value) for label, value in optional if value]
    rows += [
        (label, ", ".join(f"{key} {values.number(value)}" for key, value in metrics.items()))
        for label, metrics in (
            ("test", facts.test_metrics),
            ("validation", facts.validation_metrics),
            ("training", facts.training_metrics),
        )
        if metrics
    ]
    if facts.hyperparameters:
        rows.append(("parameters", ", ".join(f"{key}={value}" for key, value in facts.hyperparameters.items())))
    if entry is None:
        rows.append(("registry", "not registered"))
    else:
        since = f"registered {values.absolute(entry.registered_at)} by {entry.registered_by}, health "
        rows.append(("registry", [since, values.health(entry.health_status)]))
    yield Facts(rows)
    yield next_command(f"sz0 register {found.version}" if entry is None else f"sz0 registry trail {found.version}")


def _verified(rows: list[dict[str, Any]]) -> Iterator[Block]:
    for row in rows:
        if row["intact"]:
            yield line(good("✓ intact   "), name(row["version"]))
        else:
            yield line(bad("✗ damaged  "), name(row["version"]), "  ", "; ".join(row["problems"]))
    broken = sum(not row["intact"] for row in rows)
    if broken:
        yield line(bad(f"{broken} of {len(rows)} not intact. "), "Restore their bytes: sz0 restore BACKUP DIRECTORY")


def _tree(tree: dict[str, Any], found: ModelVersion, now: datetime) -> Iterator[Block]:
    depth = {row["version"]: index for index, row in enumerate(reversed(tree["ancestors"]))}
    here = {
        "version": found.version,
        "parent_version": found.metadata.parent_version,
        "status": found.status.value,
        "created_at": found.metadata.created_at.isoformat(),
        "created_by": found.metadata.created_by,
    }
    for row in (*reversed(tree["ancestors"]), here, *_in_tree_order(tree["descendants"], found.version)):
        parent = row["parent_version"]
        level = depth.setdefault(row["version"], depth.get(parent, -1) + 1)
        created = values.moment(row["created_at"])
        mine = row["version"] == found.version
        yield line(
            dim("   " * max(level - 1, 0) + ("└─ " if level else "")),
            (name if mine else str)(row["version"]),
            "  ",
            values.status(row["status"]),
            dim(f"  {row['created_by']}, {values.relative(created, now)}"),
        )


def _in_tree_order(rows: list[dict[str, Any]], parent: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["parent_version"] == parent:
            yield row
            yield from _in_tree_order(rows, row["version"])
