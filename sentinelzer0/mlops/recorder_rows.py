"""The outcomes of a batch as a recorder hands them on: mappings to whoever reads them, columns to who checks them.

A dictionary for each outcome, and taking it apart again, would cost as much as all the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, overload

_FIELDS = (
    "model_version",
    "success",
    "latency_ms",
    "confidence",
    "true_label",
    "predicted_label",
    "custom_metrics",
    "request_id",
    "key",
    "assignment",
    "segment",
)
"""In the order in which ``Recorder.record`` puts them into its buffer."""
_REQUEST_ID, _ASSIGNMENT = _FIELDS.index("request_id"), _FIELDS.index("assignment")
_OPTIONAL = {"assignment", "segment"}


class RecorderRows(Sequence[Mapping[str, Any]]):
    """Outcomes, each with a request id.

    Args:
        columns: The values of every field.

    Attributes:
        columns: The values by field; not to be changed.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, items: Sequence[tuple[Any, ...]], name: Callable[[], str]) -> Self:
        """Return outcomes out of the buffer.

        Args:
            items: The outcomes.
            name: Makes an id for a request that has none.
        """
        columns: list[Sequence[Any]] = list(zip(*items, strict=True)) or [()] * len(_FIELDS)
        columns[_REQUEST_ID] = [
            (name() if assignment is None else _assigned_id(assignment) or name()) if said is None else said
            for said, assignment in zip(columns[_REQUEST_ID], columns[_ASSIGNMENT], strict=True)
        ]
        return cls(dict(zip(_FIELDS, columns, strict=True)))

    def __len__(self) -> int:
        return len(self.columns["request_id"])

    @overload
    def __getitem__(self, at: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> RecorderRows: ...
    def __getitem__(self, at: int | slice) -> Mapping[str, Any] | RecorderRows:
        if isinstance(at, slice):
            return RecorderRows({name: column[at] for name, column in self.columns.items()})
        row = {name: column[at] for name, column in self.columns.items()}
        return {name: value for name, value in row.items() if value is not None or name not in _OPTIONAL}


def _assigned_id(assignment: Any) -> Any:
    """Return the id an assignment gave the request: a later label names that one."""
    try:
        if isinstance(assignment, Mapping):
            return assignment.get("request_id")
        return getattr(assignment, "request_id", None)
    except Exception:  # noqa: BLE001 - a value of a caller's own type, which is refused when it is written
        return None
