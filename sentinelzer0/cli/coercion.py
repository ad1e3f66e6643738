"""Text, numbers and paths of the command line, converted without pydantic.

Typer loads pydantic for the first argument it converts, which takes longer than most commands. Our commands take
text, numbers and paths only, so they bring their own conversion; where typer has no such place, it does its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

_SLOT = "_runtime_param"
_KINDS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (bool, "yes or no"),
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    Path: (Path, "a path"),
    list[str]: (str, "text"),
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the values of one parameter are made.

    Attributes:
        make: Makes a value of what was typed.
        what: What it must be, for the message.
        least: The smallest value, or None.
    """

    make: Callable[[Any], Any]
    what: str
    least: float | None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter; typer calls this."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        return tuple(self._one(item, param, ctx) for item in value) if many else self._one(value, param, ctx)

    def _one(self, typed: Any, param: Any, ctx: Any) -> Any:
        try:
            value = self.make(typed)
        except ValueError as error:
            raise typer.BadParameter(f"{typed!r} is not {self.what}.", ctx=ctx, param=param) from error
        if self.least is not None and value < self.least:
            raise typer.BadParameter(f"{typed} is less than {self.least}.", ctx=ctx, param=param)
        return value


def lighten(parameters: Iterable[Any]) -> list[Any]:
    """Give every parameter of a command its conversion, where typer has a place for one; returns them."""
    found = list(parameters)
    for parameter in found:
        described: Any = getattr(parameter, "type_descriptor", None)
        if described is None or not hasattr(parameter, _SLOT):
            continue
        kind = next((kind for kind in _KINDS if kind == described.annotation), None)
        if kind is not None:
            make, what = _KINDS[kind]
            setattr(parameter, _SLOT, Conversion(make, what, getattr(described.parameter_info, "min", None)))
    return found
