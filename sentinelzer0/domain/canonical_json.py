"""Canonical JSON as RFC 8785 (JCS) defines it: one value, one sequence of bytes.

Audit records are hashed and signed, so the same record must give the same bytes on every machine and in every
language. The rules: object keys sorted by their UTF-16 code units, no white space, the shortest string escapes,
numbers as ECMAScript prints them, UTF-8 without a byte order mark.

The writer is as fast as the C encoder of the standard library with sorted keys, because records share few shapes:
sorting and quoting the keys of an object is done once per set of keys.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from json.encoder import encode_basestring as _quote
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sentinelzer0.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_EXACT_INT = 2**53
"""Largest absolute integer accepted: beyond it a reader that uses IEEE 754 doubles would see another number."""

# ECMAScript writes numbers from 1e-6 up to below 1e21 without an exponent.
_FIRST_SCIENTIFIC_EXPONENT = 21
_SMALLEST_PLAIN_EXPONENT = -6

_HINT = "Store it as a string, or leave it out."


def dumps(value: Any) -> bytes:
    """Write a value as canonical JSON.

    Accepts dict (str keys), list, tuple (as an array), str (a ``StrEnum`` is its value), int, float, bool, None.
    An integral float prints as ECMAScript does (``1.0`` is ``1``, ``1e20`` is ``100000000000000000000``), so a
    reader may get an int back; beyond 2**53 it must read such a number as a float to write it again.

    Args:
        value: The value to write.

    Returns:
        The UTF-8 bytes of RFC 8785, without a trailing newline.

    Raises:
        InvalidInputError: NaN or infinity, an integer beyond 2**53, a lone surrogate, a key that is not a str,
            another type, or a structure that is circular or nested too deeply.
    """
    try:
        return _text(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"A string holds the lone surrogate U+{ord(error.object[error.start]):04X}, which is not Unicode text.",
            hint="Replace it before storing the text.",
        ) from error
    except RecursionError as error:
        raise InvalidInputError("The value is circular or nested too deeply for JSON.", hint=_HINT) from error


def loads(text: str | bytes) -> Any:
    """Read JSON so that :func:`dumps` writes it again: an integer beyond 2**53 can only have been a float.

    Raises:
        ValueError: Not JSON.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if text.startswith(("{", "[")):  # an object or array without white space around it, spared two searches for that
        value, end = _reader.raw_decode(text)
        if end == len(text):
            return value
    return _reader.decode(text)


def _parse_int(digits: str) -> int | float:
    number = int(digits)
    return number if abs(number) <= MAX_EXACT_INT else float(digits)


_reader = json.JSONDecoder(parse_int=_parse_int)  # made once: ``json.loads`` with an argument makes one per call


def format_number(value: float) -> str:
    """Write a float as ECMAScript's ``Number::toString`` does (RFC 8785, section 3.2.2.3).

    Python's ``repr`` already finds the shortest digits that read back as the same double; only the layout differs.

    Args:
        value: A finite float.

    Raises:
        InvalidInputError: The value is NaN or infinite.
    """
    if not math.isfinite(value):
        raise InvalidInputError(f"{float(value)!r} has no JSON form.", hint=_HINT)
    if value == 0:
        return "0"  # also for minus zero
    text = float.__repr__(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent_text = text.partition("e")
    exponent = int(exponent_text)
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    if 0 <= exponent < _FIRST_SCIENTIFIC_EXPONENT:
        return sign + digits.ljust(exponent + 1, "0")
    if _SMALLEST_PLAIN_EXPONENT <= exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{mantissa}e{exponent:+d}"


def _text(value: Any) -> str:
    return _WRITERS.get(type(value), _subclass)(value)


def _object(value: dict[Any, Any]) -> str:
    if not value:
        return "{}"
    template, values = _shape(tuple(value))
    return template % tuple([_WRITERS.get(type(item), _subclass)(item) for item in values(value)])


@lru_cache(maxsize=1024)
def _shape(keys: tuple[Any, ...]) -> tuple[str, Callable[[dict[Any, Any]], Any]]:
    """For the keys of an object: its text with a ``%s`` per value, and what fetches the values in that order."""
    for key in keys:
        if not isinstance(key, str):
            raise InvalidInputError(f"A JSON key must be a string, not {type(key).__name__}: {key!r:.100}.")
    # Big-endian bytes compare like UTF-16 code units. A lone surrogate is refused later, when the text is encoded.
    ordered = sorted(keys, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    template = ",".join(_quote(key).replace("%", "%%") + ":%s" for key in ordered)
    values = itemgetter(*ordered) if len(ordered) > 1 else dict.values
    return "{" + template + "}", values


def _array(value: list[Any] | tuple[Any, ...]) -> str:
    return "[" + ",".join([_WRITERS.get(type(item), _subclass)(item) for item in value]) + "]"


def _integer(value: int) -> str:
    if -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
        return int.__repr__(value)
    raise InvalidInputError(
        f"An integer of {value.bit_length()} bits is beyond 2**53 and would not survive JSON exactly.", hint=_HINT
    )


def _subclass(value: Any) -> str:
    """Write a value whose exact type has no writer: as the JSON type it derives from."""
    for base in (str, int, float, dict, list, tuple):
        if isinstance(value, base):
            return _WRITERS[base](value)
    raise InvalidInputError(f"A {type(value).__name__} has no JSON form: {value!r:.100}.", hint=_HINT)


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: _quote,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
    int: _integer,
    float: format_number,
    dict: _object,
    list: _array,
    tuple: _array,
}
