"""``ab plan``: how many requests a test takes, at a fixed horizon beside sequentially, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from sentinelzer0.cli import values
from sentinelzer0.cli.ab_names import id_of
from sentinelzer0.cli.blocks import Block, Cell, Table, dim, line, name, next_command, strong
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.plan_words import apart

_Test = Annotated[
    str | None, typer.Argument(metavar="TEST", help="An existing test: its id, the end of it, or its name.")
]


def plan(
    ctx: typer.Context,
    test: _Test = None,
    *,
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="What decides.", show_default=False)] = None,
    direction: Annotated[str | None, typer.Option(help="Of a custom metric: higher or lower is better.")] = None,
    baseline: Annotated[
        float | None, typer.Option(help="Its value in the incumbent, instead of what is known.")
    ] = None,
    effect: Annotated[float | None, typer.Option(help="How much better B has to be; negative for a worsening.")] = None,
    relative_effect: Annotated[float | None, typer.Option(help="The same as a share of the baseline.")] = None,
    share: Annotated[float | None, typer.Option(help="Share of the challenger among both arms.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Probability of a wrong verdict, of the whole test.")] = None,
    power: Annotated[float, typer.Option(help="Of the fixed horizon.")] = 0.8,
    min_samples: Annotated[int | None, typer.Option(help="Requests each arm needs before a verdict.")] = None,
    labelled_share: Annotated[float | None, typer.Option(help="Share of the requests that get a true label.")] = None,
    attack_share: Annotated[float, typer.Option(help="Share of attacks among them, where it is not known.")] = 0.5,
    deviation: Annotated[
        float | None, typer.Option(help="Standard deviation of a latency or confidence, where it is not known.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second, instead of the observed rate.")] = None,
    version: Annotated[str | None, typer.Option(help="The challenger; without TEST the incumbent.")] = None,
    no_guardrails: Annotated[bool, typer.Option("--no-guardrails", help="Plan a test without guardrails.")] = False,
) -> None:
    """Say how many requests a verdict takes: at a fixed horizon, sequentially, and from now on."""
    session: Session = ctx.obj
    if effect is not None and relative_effect is not None:
        raise InvalidInputError(
            "The effect is given twice, as --effect and as --relative-effect.", hint="Give one of them."
        )
    with session.workspace() as workspace:
        found = workspace.ab_tests.plan(
            None if test is None else id_of(workspace, test),
            metric=metric,
            direction=direction,
            baseline=baseline,
            minimum_effect=effect if relative_effect is None else relative_effect,
            relative=relative_effect is not None,
            share=share,
            alpha=alpha,
            power=power,
            min_samples=min_samples,
            labelled_share=labelled_share,
            attack_share=attack_share,
            standard_deviation=deviation,
            rate_per_s=rate,
            version=version,
            model=session.model,
            guardrails=() if no_guardrails else None,
        )
    session.emit(found, lambda: plan_page(found), names=[str(found["requests_expected"])])


def plan_page(found: dict[str, Any]) -> Iterator[Block]:
    """Return a plan: the question, both answers side by side, the guardrails, what is left, what was assumed."""
    gap = found["effect"]
    before, after = apart(found["baseline"], gap)
    level = f"{found['alpha']:g}"
    if found["alpha"] != found["significance_threshold"]:
        level += f" of {found['significance_threshold']:g}"
    yield line(
        name(found["metric"]),
        f"  {before} in the control, {after} in the challenger ",
        strong(f"({values.signed(gap)})"),
    )
    yield line(
        dim(f"baseline: {found['source']}; {values.percent(found['share'])} of both arms to the challenger, "),
        dim(f"alpha {level}, at least {found['min_samples']} an arm"),
    )
    yield Table(("", ">fixed horizon", ">sequential, on average", ">nine of ten by"), _rows(found))
    if found["guardrails"]:
        yield line(
            dim("A promotion waits for all of them; "),
            f"{found['needs_longest']} needs the longest",
            dim(" on average."),
        )
    if found["remaining"] is not None:
        yield line(strong(found["remaining"]["sentence"]), dim(f" Seen so far: {found['seen']:,}."))
    for assumed in found["assumptions"]:
        yield line(dim(f"Assumed: {assumed}"), indent=2)
    test = found["test_id"]
    yield next_command(f"sz0 ab create NAME A B --metric {found['metric']}" if test is None else f"sz0 ab show {test}")


def _rows(found: dict[str, Any]) -> list[list[Cell]]:
    """Return what the primary metric takes, what each guardrail takes, and both together."""
    primary = found["primary"]
    own = (found["requests_fixed"], primary["requests_expected"], primary["requests_total"])
    rows: list[list[Cell]] = [["looks", "one, at the end", "any number", "any number"]]
    rows.append(["requests", *map(_count, own)])
    if found["labelled_share"] < 1.0:
        kind = f"of them counted ({values.percent(found['labelled_share'])})"
        rows.append([kind, *(_count(found[key]) for key in ("fixed_total", "sequential_expected", "sequential_max"))])
    rows += [
        [f"guardrail {kept['metric']}", "", _count(kept["requests_expected"]), _count(kept["requests_max"])]
        for kept in found["guardrails"]
    ]
    if found["guardrails"]:
        rows.append(["a promotion", "", _count(found["requests_expected"]), _count(found["requests_total"])])
    if found["rate_per_s"] is not None:
        times = found["durations"]
        rate = f"at {values.number(found['rate_per_s'])} a second"
        rows.append([rate, *(times[key] for key in ("duration_fixed_s", "duration_s", "duration_max_s"))])
    rows.append(["chance to find it", values.percent(found["power"]), "certain, if it goes on", "90 %"])
    return rows


def _count(number: int) -> str:
    return f"{number:,}"
