"""What charts share that are read together: one x domain, and the room left and right of the plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sentinelzer0.reports.canvas import Canvas

Room = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """An empty frame lets every chart choose for itself.

    Attributes:
        domain: Smallest and largest x, or None.
        rooms: Name of a canvas -> SVG units left and right of the plot.
    """

    domain: tuple[float, float] | None = None
    rooms: Mapping[str, Room] = field(default_factory=dict)

    def x_extent(self, own: tuple[float, float]) -> tuple[float, float]:
        """Return the extent of the x axis of a chart that would choose ``own``."""
        return own if self.domain is None else self.domain

    def edges(self, canvas: Canvas, own: Room) -> tuple[float, float]:
        """Return where the plot begins and ends on a canvas, for a chart that needs at least ``own``."""
        left, right = self.rooms.get(canvas.name, own)
        return left, canvas.width - right


def widest(rooms: Iterable[Room]) -> Room:
    """Return the room that is enough for all."""
    lefts, rights = zip(*rooms, strict=True)
    return max(lefts), max(rights)
