"""Numbers and text as callers pass them: those of numeric libraries and subclasses become Python's own.

This module decides what counts as a number or as text. It performs no I/O. The laws:

- A truth value is no number, and a number is no truth value.
- What comes out is exactly ``float``, ``int``, ``bool`` or ``str``, so that nothing foreign is kept or handed out again.
- A number beyond all floats is infinite; a caller with a range refuses it like any other number outside.

>>> real(3), real(True), real("3"), whole(2.0), plain("v1")
(3.0, None, None, None, 'v1')
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

_SHOWN = 60


def real(value: object) -> float | None:
    """Return the nearest float, infinity beyond all of them, or None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    number: Any = value
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def whole(value: object) -> int | None:
    """Return a whole number, or None for what is none."""
    return None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def truth(value: object) -> bool | None:
    """Return a truth value, of a numeric library too, or None for what is none; a number or a word is none."""
    return bool(value) if type(value).__name__ in {"bool", "bool_"} else None


def plain(text: str) -> str:
    """Return text as exactly ``str``."""
    return text if type(text) is str else str.__str__(text)


def shown(value: object) -> str:
    """Return a value as a message quotes it: at most 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of more than 4300 digits
        return f"<{type(value).__name__} of many digits>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
