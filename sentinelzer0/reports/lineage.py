"""Draw a `LineageRail`: descent of versions in the manner of a commit graph, text and links as real HTML.

Every row carries its own piece of the rail, so rows may grow with their text; the drawing repeats what the table says
and is hidden from screen readers.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentinelzer0.reports.canvas import marker, path
from sentinelzer0.reports.chart_values import LineageNode, LineageRail, Tone
from sentinelzer0.reports.figure import Context, Data, caption, data_details
from sentinelzer0.reports.formats import moment, symbol
from sentinelzer0.reports.html import Markup, el
from sentinelzer0.reports.page_values import Column

_LANE = 18.0
_NODE = 19.0  # y of the node within its row
_HEAD = 38.0  # height of the drawn part of a row


@dataclass(frozen=True, slots=True)
class RailRow:
    """One row: the lane of the node and the lanes that enter from above and leave below.

    ``incoming`` and ``outgoing`` list lanes by the version they lead to; None is a free lane.
    """

    node: LineageNode
    lane: int
    incoming: tuple[str | None, ...]
    outgoing: tuple[str | None, ...]


def rail_rows(nodes: tuple[LineageNode, ...]) -> list[RailRow]:
    """Assign lanes from the newest version down: the first parent stays in its child's lane, others branch off."""
    known = {node.version for node in nodes}
    lanes: list[str | None] = []
    rows: list[RailRow] = []
    for node in nodes:
        incoming = tuple(lanes)
        lane = lanes.index(node.version) if node.version in lanes else _free(lanes)
        lanes = [None if waiting == node.version else waiting for waiting in lanes]
        for parent in node.parents:
            if parent in known and parent not in lanes:
                target = lane if lane < len(lanes) and lanes[lane] is None else _free(lanes)
                lanes[target] = parent
        while lanes and lanes[-1] is None:
            lanes.pop()
        rows.append(RailRow(node, lane, incoming, tuple(lanes)))
        lanes = list(lanes)
    return rows


def _free(lanes: list[str | None]) -> int:
    if None in lanes:
        return lanes.index(None)
    lanes.append(None)
    return len(lanes) - 1


def lineage_figure(rail: LineageRail, context: Context) -> Markup:
    """Draw the rail with its surroundings."""
    rows = rail_rows(rail.nodes)
    lanes = max((max(len(row.incoming), len(row.outgoing), row.lane + 1) for row in rows), default=1)
    return el(
        "figure",
        caption(context, rail.title, lineage_sentence(rail)),
        el("ol", [_item(row, lanes, rail) for row in rows], class_="rail"),
        data_details(rail.title, _data(rail)),
        id=context.prefix,
    )


def lineage_sentence(rail: LineageRail) -> str:
    """Say how many versions there are and which are current."""
    if not rail.nodes:
        return "No versions."
    counted = "1 version" if len(rail.nodes) == 1 else f"{len(rail.nodes)} versions"
    current = [node.version for node in rail.nodes if node.version in rail.current]
    filled = f"; current: {', '.join(current)} (filled)" if current else ""
    return f"{counted}, newest first{filled}."


def _item(row: RailRow, lanes: int, rail: LineageRail) -> Markup:
    width = lanes * _LANE + 4
    head = el(
        "svg",
        _edges(row),
        _node(row, current=row.node.version in rail.current),
        width=width,
        height=_HEAD,
        viewBox=f"0 0 {width:g} {_HEAD:g}",
    )
    through = [
        el(
            "path",
            d=path([(_x(lane), -1), (_x(lane), 11)]),
            stroke="currentColor",
            stroke_width=2,
            vector_effect="non-scaling-stroke",
        )
        for lane, waiting in enumerate(row.outgoing)
        if waiting is not None
    ]
    rest = el(
        "svg",
        through,
        width=width,
        height=10,
        viewBox=f"0 0 {width:g} 10",
        preserveAspectRatio="none",
        class_="stretch",
    )
    return el("li", el("div", head, rest, class_="track", aria_hidden="true"), _body(row.node, rail))


def _x(lane: int) -> float:
    return lane * _LANE + _LANE / 2 + 2


def _edges(row: RailRow) -> Markup:
    drawn: list[Markup] = []
    for lane, waiting in enumerate(row.incoming):
        if waiting == row.node.version:
            drawn.append(_edge(_bend(_x(lane), 0, _x(row.lane), _NODE)))
        elif waiting is not None and waiting in row.outgoing:
            drawn.append(_edge(_bend(_x(lane), 0, _x(row.outgoing.index(waiting)), _HEAD)))
    drawn.extend(
        _edge(_bend(_x(row.lane), _NODE, _x(row.outgoing.index(parent)), _HEAD))
        for parent in row.node.parents
        if parent in row.outgoing
    )
    return el("g", drawn)


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    if x1 == x2:
        return path([(x1, y1), (x2, y2)])
    middle = (y1 + y2) / 2
    return f"M{x1:g} {y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"


def _edge(commands: str) -> Markup:
    return el("path", d=commands, fill="none", stroke="currentColor", stroke_width=2)


def _node(row: RailRow, *, current: bool) -> Markup:
    x = _x(row.lane)
    tone = row.node.tone if row.node.tone is not Tone.NEUTRAL else "s1" if current else "neutral"
    return el(
        "g",
        el("circle", cx=x, cy=_NODE, r=8.5, class_="halo"),
        marker(0, x, _NODE, size=6, hollow=not current),
        class_=str(tone),
    )


def _body(node: LineageNode, rail: LineageRail) -> Markup:
    name = el("a", node.version, href=node.href) if node.href else node.version
    sign = f"{symbol(node.tone)} " if symbol(node.tone) else ""
    known = {other.version for other in rail.nodes}
    outside = [parent for parent in node.parents if parent not in known]
    about = [node.note, node.actor, moment(node.at) if node.at else "", f"from {', '.join(outside)}" if outside else ""]
    return el(
        "div",
        el(
            "p",
            el("span", name, class_="version"),
            el("span", sign, node.state, class_=f"tag {node.tone}") if node.state else None,
        ),
        el("p", " \N{MIDDLE DOT} ".join(part for part in about if part), class_="more"),
        class_="body",
    )


def _data(rail: LineageRail) -> Data:
    columns = (Column("Version"), Column("Parents"), Column("State"), Column("Created"), Column("By"), Column("Note"))
    rows = tuple(
        (node.version, ", ".join(node.parents), node.state, node.at, node.actor, node.note) for node in rail.nodes
    )
    return Data(columns, rows)
