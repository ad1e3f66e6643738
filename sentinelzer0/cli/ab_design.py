"""``ab create``, ``ab edit``, ``ab share`` and ``ab assign``: the design of a test, and where its traffic goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.ab_names import Named, id_of
from sentinelzer0.cli.ab_pages import created_page, state_page
from sentinelzer0.cli.blocks import dim, line, name
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import InvalidInputError

_Arm = Annotated[list[str] | None, typer.Option("--arm", help="A further challenger, VERSION=SHARE; repeat for more.")]
_Holdout = Annotated[float | None, typer.Option(help="Share of units kept out of the test, 0 to 1.")]
_Shadow = Annotated[bool | None, typer.Option("--shadow/--no-shadow", help="Challengers score, and serve nothing.")]
_Segment = Annotated[list[str] | None, typer.Option("--segment", help="A segment to tell apart; repeat for more.")]
_Slo = Annotated[float | None, typer.Option("--slo-ms", help="A request that takes longer is slow, in milliseconds.")]
_Window = Annotated[str | None, typer.Option("--label-window", help="How long labels may take, for example 24h.")]
_Guardrail = Annotated[
    list[str] | None,
    typer.Option("--guardrail", help="What must not get worse: error_rate:0.01, avg_latency_ms:10%, none; repeat."),
]
_Effect = Annotated[float | None, typer.Option("--minimum-effect", help="The smallest difference worth having.")]
_Direction = Annotated[str | None, typer.Option(help="Of a custom metric: higher or lower is better.")]
_AtVerdict = Annotated[bool | None, typer.Option("--end-at-verdict/--no-end-at-verdict", help="The verdict ends it.")]
_Deadline = Annotated[str | None, typer.Option(help="When it ends at the latest: a date, or 7d after the start.")]
_Budget = Annotated[int | None, typer.Option("--max-samples", help="How many outcomes end it.")]
_Split = Annotated[float | None, typer.Option(help="Share of the challenger, 0 to 1.")]


def create(
    ctx: typer.Context,
    test_name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    model_a: Annotated[str, typer.Argument(metavar="A", help="The control.")],
    model_b: Annotated[str, typer.Argument(metavar="B", help="The challenger.")],
    *,
    split: Annotated[float, typer.Option(help="Share of the challenger, 0 to 1.")] = 0.5,
    arm: _Arm = None,
    metric: Annotated[str, typer.Option("--metric", "-m", help="What decides.")] = "f1_score",
    direction: _Direction = None,
    guardrail: _Guardrail = None,
    min_samples: Annotated[int, typer.Option(help="Requests each arm needs before a verdict.")] = 100,
    threshold: Annotated[float, typer.Option(help="Probability of a wrong verdict over all looks together.")] = 0.05,
    minimum_effect: _Effect = None,
    holdout: _Holdout = None,
    shadow: _Shadow = None,
    segment: _Segment = None,
    slo_ms: _Slo = None,
    label_window: _Window = None,
    end_at_verdict: _AtVerdict = None,
    deadline: _Deadline = None,
    max_samples: _Budget = None,
    deploy: Annotated[bool, typer.Option("--deploy", help="Split the traffic of --environment while it runs.")] = False,
    salt: Annotated[
        str | None, typer.Option(help="16 hex digits the assignments hang on: two tests with one salt assign alike.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is about.")] = "",
) -> None:
    """Design a test; nothing is routed or recorded before it is started."""
    session: Session = ctx.obj
    typed = _typed(
        guardrail, segment, label_window, deadline, holdout, shadow, slo_ms, minimum_effect, end_at_verdict, max_samples
    )
    settings = typed | _arms(model_a, model_b, split, arm) | ({} if direction is None else {"direction": direction})
    with session.workspace() as workspace:
        test = workspace.ab_tests.create_test(
            test_name,
            description=description,
            created_by=session.actor,
            min_samples=min_samples,
            significance_threshold=threshold,
            primary_metric=metric,
            deployment=session.environment if deploy else None,
            model=session.model,
            salt=salt,
            **settings,
        )
    session.emit(test.to_dict(), lambda: created_page(test), names=[test.test_id])


def edit(
    ctx: typer.Context,
    test: Named,
    *,
    split: _Split = None,
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="What decides.")] = None,
    direction: _Direction = None,
    guardrail: _Guardrail = None,
    min_samples: Annotated[int | None, typer.Option(help="Requests each arm needs before a verdict.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Probability of a wrong verdict.")] = None,
    minimum_effect: _Effect = None,
    holdout: _Holdout = None,
    shadow: _Shadow = None,
    segment: _Segment = None,
    slo_ms: _Slo = None,
    label_window: _Window = None,
    end_at_verdict: _AtVerdict = None,
    deadline: _Deadline = None,
    max_samples: _Budget = None,
    description: Annotated[str | None, typer.Option(help="What it is about.")] = None,
) -> None:
    """Change the design of a test that was not started; what is not named stays."""
    session: Session = ctx.obj
    plain = {
        "traffic_split": split,
        "primary_metric": metric,
        "direction": direction,
        "min_samples": min_samples,
        "significance_threshold": threshold,
        "description": description,
    }
    typed = _typed(
        guardrail, segment, label_window, deadline, holdout, shadow, slo_ms, minimum_effect, end_at_verdict, max_samples
    )
    settings = typed | {name: value for name, value in plain.items() if value is not None}
    with session.workspace() as workspace:
        found = workspace.ab_tests.update_test(id_of(workspace, test), updated_by=session.actor, **settings)
    session.emit(found.to_dict(), lambda: state_page(found), names=[found.test_id])


def share(
    ctx: typer.Context,
    test: Named,
    number: Annotated[float, typer.Argument(metavar="SHARE", help="Share of all traffic, 0 to 1.")],
    *,
    version: Annotated[str | None, typer.Option(help="Which challenger; needed when there are several.")] = None,
    reason: options.Reason = "",
) -> None:
    """Give a challenger another share of the traffic; only the units that have to move do."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        full = id_of(workspace, test)
        found = workspace.ab_tests.set_share(full, number, version=version, changed_by=session.actor, reason=reason)
    session.emit(found.to_dict(), lambda: state_page(found), names=[found.test_id])


def assign(
    ctx: typer.Context,
    test: Named,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The unit that stays in its arm.")] = None,
    *,
    request_id: Annotated[str | None, typer.Option(help="Your own id of the request.")] = None,
) -> None:
    """Print the version that answers a request, its share, the phase, the arm and an id to record the outcome by."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        found = workspace.ab_tests.assign(id_of(workspace, test), key, request_id=request_id)
    where = f"  arm {found.arm}, {values.percent(found.share)} of the traffic, phase {found.revision}"
    session.emit(
        found._asdict() | {"key": key},
        lambda: [line(name(found.version), where, dim(f"  request {found.request_id}"))],
        names=[found.version],
    )


def _arms(control: str, challenger: str, split: float, further: list[str] | None) -> dict[str, Any]:
    if not further:
        return {"model_a": control, "model_b": challenger, "traffic_split": split}
    arms: dict[str, float | None] = {control: None, challenger: split}
    for version, number in values.pairs(further, "--arm", numbers=True).items():
        if version in arms:
            raise InvalidInputError(f"Two arms are {version!r}.", hint="Compare different versions.")
        arms[version] = number
    return {"arms": arms}


def _typed(
    guardrails: list[str] | None,
    segments: list[str] | None,
    label_window: str | None,
    deadline: str | None,
    *others: object,
) -> dict[str, Any]:
    """Return the settings that were typed, by the names of ``create_test``."""
    named = ("holdout", "shadow", "latency_slo_ms", "minimum_effect", "end_at_verdict", "max_samples")
    found: dict[str, Any] = {name: value for name, value in zip(named, others, strict=True) if value is not None}
    if guardrails:
        found["guardrails"] = [] if guardrails == ["none"] else [_guardrail(text) for text in guardrails]
    if segments:
        found["segments"] = list(segments)
    if label_window is not None:
        found["label_window"] = values.duration(label_window)
    if deadline is not None:
        found["deadline"] = _deadline(deadline)
    return found


def _deadline(text: str) -> datetime | timedelta:
    try:
        return values.moment(text) if "-" in text else values.duration(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            error.message, hint="Write a date, 2026-03-01 or 2026-03-01T14:30+01:00, or a time from the start, 7d."
        ) from error


def _guardrail(text: str) -> Mapping[str, Any]:
    """Read ``METRIC[:higher|:lower][:MARGIN[%]]``.

    >>> _guardrail("avg_latency_ms:10%")
    {'metric': 'avg_latency_ms', 'margin': 0.1, 'relative': True}
    >>> _guardrail("custom:cost:lower:0.5"), _guardrail("error_rate")
    ({'metric': 'custom:cost', 'margin': 0.5, 'relative': False, 'direction': 'lower'}, {'metric': 'error_rate'})
    """
    metric = text
    found: dict[str, Any] = {}
    head, colon, tail = metric.rpartition(":")
    number = values.number_or_none(tail.removesuffix("%"))
    if colon and number is not None:
        relative = tail.endswith("%")
        metric, found = head, {"margin": number / 100 if relative else number, "relative": relative}
    head, colon, tail = metric.rpartition(":")
    if colon and tail in {"higher", "lower"}:
        metric, found = head, found | {"direction": tail}
    elif colon and head != "custom" and not head.startswith("custom:"):
        raise InvalidInputError(
            f"The margin of the guardrail {head} is {tail!r}, which is not a number.",
            hint="Write error_rate:0.01, avg_latency_ms:10% or custom:cost:lower:0.5.",
        )
    return {"metric": metric} | found
