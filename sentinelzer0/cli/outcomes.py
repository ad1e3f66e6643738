"""``outcomes``: record, record-many, label, stats, export, prune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli import options, recording, values
from sentinelzer0.cli.ab_names import id_of
from sentinelzer0.cli.ab_pages import recorded_page
from sentinelzer0.cli.blocks import Block, Facts, good, line, name
from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import InvalidInputError

if TYPE_CHECKING:
    from sentinelzer0.mlops.ab_values import TestMetrics
    from sentinelzer0.mlops.outcomes import Pruned
    from sentinelzer0.workspace import Workspace

app = noun("Outcomes of production: what every version showed, outside any test.")

BATCH = 1000
_Test = Annotated[str | None, typer.Option("--test", metavar="TEST", help="A test's instead of production's.")]


@app.command("record", cls=Verb)
def record(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version that answered.")],
    *,
    latency_ms: Annotated[float, typer.Option(help="Milliseconds, also of failures.", show_default=False)],
    success: Annotated[bool, typer.Option("--success/--failure", help="Whether it answered.")] = True,
    confidence: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    predicted_label: Annotated[str | None, typer.Option(help="attack or benign.")] = None,
    true_label: Annotated[str | None, typer.Option(help="attack or benign; `outcomes label` adds it later.")] = None,
    request_id: Annotated[str | None, typer.Option(help="What a repeat or a later label is recognised by.")] = None,
    key: Annotated[str | None, typer.Option(help="The unit: user, host or stream.")] = None,
    segment: recording.Segment = None,
    custom: recording.Custom = None,
) -> None:
    """Record the outcome of one request to production."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        done = workspace.outcomes.record(
            version,
            success,
            latency_ms,
            confidence=confidence,
            predicted_label=predicted_label,
            true_label=true_label,
            request_id=request_id,
            key=key,
            segment=segment,
            custom_metrics=recording.custom_metrics(custom),
            model=session.model,
        )
    session.emit(done.to_dict(), lambda: recorded_page(done.to_dict()), names=[done.request_id or ""])


@app.command("record-many", cls=Verb)
def record_many(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - reads standard input.")],
) -> None:
    """Record outcomes from a file, 1000 a transaction; a line has model_version, success, latency_ms and more."""
    session: Session = ctx.obj
    rows = values.json_lines(path)
    total = recording.no_counts()
    with session.workspace() as workspace:
        for start in range(0, len(rows), BATCH):
            done = workspace.outcomes.record_many(rows[start : start + BATCH], model=session.model).to_dict()
            total = {key: total[key] + done[key] for key in total}
    session.emit(total, lambda: recorded_page(total), names=[str(total["counted"])])


@app.command("label", cls=Verb)
def label(
    ctx: typer.Context,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="The request.")],
    true_label: Annotated[str, typer.Argument(metavar="LABEL", help="attack or benign.")],
) -> None:
    """Record the true label of a request; a later label replaces an earlier one."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        done = workspace.outcomes.label(request_id, true_label, model=session.model)
    session.emit(done.to_dict(), lambda: recorded_page(done.to_dict()), names=[request_id])


@app.command("stats", cls=Verb)
def stats(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version.")],
    *,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from this time on, to five minutes.")] = None,
) -> None:
    """Show what a version showed in production."""
    session: Session = ctx.obj
    start = None if since is None else values.moment(since)
    with session.workspace() as workspace:
        found = workspace.outcomes.statistics(version, since=start, model=session.model)
    session.emit(found.to_dict(), lambda: _stats(found), names=[str(found.total_requests)])


@app.command("export", cls=Verb)
def export(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A .jsonl or .parquet file to write.")],
    *,
    test: _Test = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from this time on.")] = None,
) -> None:
    """Write raw outcomes into a file."""
    session: Session = ctx.obj
    start = None if since is None else values.moment(since)
    with session.workspace() as workspace:
        done = workspace.outcomes.export(path, test_id=_id(workspace, test), model=session.model, since=start)
    session.emit(
        done.to_dict(),
        lambda: [line(good("✓ "), f"{done.rows:,} raw outcomes written to ", name(str(done.path)))],
        names=[str(done.path)],
    )


@app.command("prune", cls=Verb)
def prune(
    ctx: typer.Context,
    *,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", help="The setting retention_days when left out.", show_default=False)
    ] = None,
    test: _Test = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: options.Yes = False,
) -> None:
    """Delete old raw outcomes; the statistics stay as they are."""
    session: Session = ctx.obj
    days = _retention(session) if older_than is None else older_than
    with session.workspace() as workspace:
        found, model = _id(workspace, test), session.model
        done = workspace.outcomes.prune(days, test_id=found, model=model, dry_run=True)
        if not dry_run:
            if done.rows:
                session.confirm(f"Delete {_pruned(done)} of {done.stream}?", yes=yes)
            done = workspace.outcomes.prune(done.before, test_id=found, model=model, pruned_by=session.actor)
    verb = "would go" if dry_run else "deleted"
    session.emit(
        done.to_dict(),
        lambda: [line(good("✓ "), f"{_pruned(done)} {verb}; statistics stay")],
        names=[str(done.rows)],
    )


def _pruned(done: Pruned) -> str:
    return f"{done.rows:,} raw outcomes from before {values.precise(done.before)} UTC"


def _retention(session: Session) -> float | None:
    given = session.setting("retention_days")
    try:
        return float(given) if given else None
    except ValueError as error:
        raise InvalidInputError(f"retention_days is {given!r}.", hint="Write a number of days.") from error


def _id(workspace: Workspace, test: str | None) -> str | None:
    return None if test is None else id_of(workspace, test)


def _stats(found: TestMetrics) -> Iterator[Block]:
    yield line(name(found.model_version), f": {found.total_requests:,} requests in production")
    labelled = found.true_positives + found.false_positives + found.true_negatives + found.false_negatives
    quantiles = (found.latency_p50_ms, found.latency_p95_ms, found.latency_p99_ms)
    yield Facts(
        [
            ("failed", f"{found.failed_requests:,} ({found.error_rate:.2%})"),
            ("latency", f"mean {found.avg_latency_ms:.1f} ms"),
            ("p50/95/99", " / ".join(values.NONE if q is None else f"{q:.1f} ms" for q in quantiles)),
            ("labelled", f"{labelled:,}"),
            ("recall", f"{found.recall:.2%}" if labelled else values.NONE),
            ("precision", f"{found.precision:.2%}" if labelled else values.NONE),
        ]
    )
