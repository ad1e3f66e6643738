"""``versions compare`` (``diff``): what changed between two versions, and whether it is for the better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentinelzer0.cli import gates, values
from sentinelzer0.cli.blocks import (
    Block,
    Cell,
    Marked,
    Piece,
    Table,
    bad,
    chart,
    dim,
    good,
    line,
    next_command,
    strong,
    warn,
)
from sentinelzer0.cli.session import Session, require
from sentinelzer0.errors import DeploymentNotFoundError

if TYPE_CHECKING:
    from sentinelzer0.domain.policies import GateResult, Policy
    from sentinelzer0.mlops.version_manager import ModelVersion
    from sentinelzer0.workspace import Workspace

HISTORY = 8
LONGEST = 28
"""Characters of a value that are shown without ``--all``."""
_FACTS = ("framework", "framework_version", "model_type", "training_dataset", "parent_version", "tags", "created_by")


@dataclass(frozen=True, slots=True)
class Row:
    """One compared field.

    Attributes:
        field: Its name.
        first: Its value in the first version.
        second: Its value in the second.
        change: Second minus first for numbers, else None.
        verdict: ``better``, ``worse``, ``changed`` or ``equal``.
        history: Its values in the latest versions, oldest first; empty for what is no number.
    """

    field: str
    first: Any
    second: Any
    change: float | None
    verdict: str
    history: tuple[float | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {key: getattr(self, key) for key in self.__slots__} | {"history": list(self.history)}


def compare(
    ctx: typer.Context,
    version1: Annotated[str, typer.Argument(metavar="VERSION1", help="The older one, or the only one named.")],
    version2: Annotated[str | None, typer.Argument(metavar="VERSION2", help="The newer one.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Equal fields too.")] = False,
    target: Annotated[
        str, typer.Option(help="Whose gates are evaluated: production, staging or canary.")
    ] = "production",
) -> None:
    """Compare two versions; one alone is compared with what serves now."""
    session: Session = ctx.obj
    with session.workspace() as workspace:
        base, candidate = _both(session, workspace, version1, version2)
        recent = list(reversed(workspace.versions.list_versions(model=session.model, limit=HISTORY)))
        policy = gates.policy_in_force(workspace)
        quarantined = gates.quarantines(workspace, [candidate.version], session.model)
        held = gates.evaluate(
            workspace, candidate.version, target, model=session.model, environment=session.environment
        )
        entry = workspace.registry.get_entry(candidate.version, model=session.model)
    rows = _rows(base, candidate, recent, _directions(policy))
    step = _next_step(candidate, registered=entry is not None, released=not quarantined)
    data = {
        "version1": base.version,
        "version2": candidate.version,
        "digest1": base.metadata.file_hash,
        "digest2": candidate.metadata.file_hash,
        "fields": [row.to_dict() for row in rows],
        "gates": [result.to_dict() for result in held],
        "policy": policy.name,
        "target": target,
    }
    shown = [row for row in rows if everything or row.verdict != "equal"]
    longest = None if everything else LONGEST
    gate_line = _gate_line(held, policy, target)
    session.emit(
        data,
        lambda: _page(
            base, candidate, _table(base, candidate, shown, longest), len(rows) - len(shown), gate_line, step
        ),
        names=[row.field for row in rows if row.verdict != "equal"],
    )


def _both(
    session: Session, workspace: Workspace, version1: str, version2: str | None
) -> tuple[ModelVersion, ModelVersion]:
    if version2 is None:
        current = session.deployments(workspace).current(session.environment)
        if current is None or current.version is None:
            raise DeploymentNotFoundError(
                f"Nothing serves {session.environment} to compare {version1} with.", hint="Name a second version."
            )
        version1, version2 = current.version, version1
    return require(workspace, version1, session.model), require(workspace, version2, session.model)


def _directions(policy: Policy) -> dict[str, bool]:
    """Return, by metric, whether lower is better according to the policy's own gates."""
    return {gate.metric: gate.direction == "lower" for gate in policy.metric_gates}


def _rows(
    base: ModelVersion, candidate: ModelVersion, recent: list[ModelVersion], directions: dict[str, bool]
) -> list[Row]:
    rows = []
    for source in values.SOURCES:
        first, second = getattr(base.metadata, source), getattr(candidate.metadata, source)
        prefix = "" if source == "test_metrics" else source.removesuffix("_metrics") + "."
        for metric in dict.fromkeys([*first, *second]):
            history = tuple(getattr(item.metadata, source).get(metric) for item in recent)
            lower = directions.get(metric, values.lower_is_better(metric))
            rows.append(_numeric(prefix + metric, first.get(metric), second.get(metric), history, lower=lower))
    sizes = tuple(float(item.metadata.file_size) for item in recent)
    rows.append(
        _numeric("size", float(base.metadata.file_size), float(candidate.metadata.file_size), sizes, lower=True)
    )
    for group, prefix in (("hyperparameters", "param."), ("architecture", "architecture.")):
        first, second = getattr(base.metadata, group), getattr(candidate.metadata, group)
        rows += [_plain(prefix + key, first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])]
    rows += [_plain(fact, getattr(base.metadata, fact), getattr(candidate.metadata, fact)) for fact in _FACTS]
    rows.append(_plain("sha256", base.metadata.file_hash, candidate.metadata.file_hash))
    return rows


def _numeric(
    field: str, first: float | None, second: float | None, history: tuple[float | None, ...], *, lower: bool | None
) -> Row:
    change = None if first is None or second is None else second - first
    if first == second:
        verdict = "equal"
    elif change is None or lower is None:
        verdict = "changed"
    else:
        verdict = "better" if (change < 0) == lower else "worse"
    return Row(field, first, second, change, verdict, history)


def _plain(field: str, first: Any, second: Any) -> Row:
    return Row(field, first, second, None, "equal" if first == second else "changed")


def _page(
    base: ModelVersion, candidate: ModelVersion, table: Table, hidden: int, gate_line: list[Piece], step: str
) -> Iterator[Block]:
    digests = (values.short(base.metadata.file_hash), values.short(candidate.metadata.file_hash))
    yield line(
        strong(base.version),
        dim(f" ({base.status})"),
        " → ",
        strong(candidate.version),
        dim(f" ({candidate.status})"),
        dim("   sha256 "),
        digests[0],
        " → ",
        digests[1] if digests[0] != digests[1] else "the same bytes",
    )
    if table.rows:
        yield table
    if hidden:
        yield line(dim(f"{hidden} equal {'field' if hidden == 1 else 'fields'} hidden (--all)."))
    yield line(*gate_line)
    yield next_command(step)


def _table(base: ModelVersion, candidate: ModelVersion, rows: list[Row], longest: int | None) -> Table:
    """Return the fields side by side, each value cut to ``longest`` characters, where given."""
    cells: list[list[Cell]] = []
    for row in rows:
        if row.field != "sha256":
            first, second = _shown(row.field, row.first), _shown(row.field, row.second)
            pair = (first, second) if longest is None else values.shortened(first, second, longest)
            cells.append([row.field, *pair, _change(row), chart(values.sparkline(row.history))])
    heads = ("", f">{base.version}", f">{candidate.version}", "change", f"last {HISTORY} versions")
    return Table(heads, cells, wide=(1, 2), optional=(4,))


def _shown(field: str, value: Any) -> str:
    if field == "size" and value is not None:
        return values.size(int(value))
    if isinstance(value, float) or value is None:
        return values.number(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or values.NONE
    return str(value) if value != "" else values.NONE


def _change(row: Row) -> Marked:
    if row.verdict == "equal":
        return dim("= equal")
    if row.change is None:
        return warn(
            "~ added" if row.first in (None, "", []) else "~ removed" if row.second in (None, "", []) else "~ changed"
        )
    arrow = "▲" if row.change > 0 else "▼"
    sign = "+" if row.change > 0 else "-"
    amount = values.size(int(abs(row.change))) if row.field == "size" else values.number(abs(row.change))
    mark = {"better": good, "worse": bad}.get(row.verdict, warn)
    return mark(f"{arrow} {sign}{amount} {row.verdict}")


def _gate_line(held: list[GateResult], policy: Policy, target: str) -> list[Piece]:
    pieces: list[Piece] = [dim(f"Gates for {target} (policy {policy.name}): ")]
    if not held:
        return [*pieces, "none"]
    for index, result in enumerate(held):
        name = result.gate.removeprefix("test_metrics.").removeprefix("validation_metrics.")
        text = name if result.passed else f"{name}: {result.detail}"
        pieces += ["  " if index else "", values.gate(text, passed=result.passed)]
    return pieces


def _next_step(candidate: ModelVersion, *, registered: bool, released: bool) -> str:
    if not released:
        return f"sz0 rollback release {candidate.version} --reason WHY"
    if not registered:
        return f"sz0 register {candidate.version}"
    following = {"none": "staging", "development": "staging", "staging": "production"}.get(candidate.stage.value)
    return f"sz0 registry request {candidate.version} {following}" if following else f"sz0 show {candidate.version}"
