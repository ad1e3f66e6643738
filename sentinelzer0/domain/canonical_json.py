"""Canonical JSON as RFC 8785 (JCS) defines it: one value, one sequence of bytes.

Audit records are hashed and signed, so the same record must give the same bytes on every machine and in every
language. The rules: object keys sorted by their UTF-16 code units, no white space, the shortest string escapes,
numbers as ECMAScript prints them, UTF-8 without a byte order mark.

Common values (no surprising float, ASCII keys) go through the C encoder of the standard library, which already
writes this form; everything else goes through the writer below. Both give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from json.encoder import encode_basestring as _quote
from typing import Any

from sentinelzer0.errors import InvalidInputError

MAX_EXACT_INT = 2**53
"""Largest absolute integer accepted: beyond it a reader that uses IEEE 754 doubles would see another number."""

_HINT = "Store it as a string, or leave it out."

_c_encode: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


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
        if _is_plain(value):
            text = _c_encode(value)
        else:
            parts: list[str] = []
            _write(value, parts.append)
            text = "".join(parts)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"A string holds the lone surrogate U+{ord(error.object[error.start]):04X}, which is not Unicode text.",
            hint="Replace it before storing the text.",
        ) from error
    except RecursionError as error:
        raise InvalidInputError("The value is circular or nested too deeply for JSON.", hint=_HINT) from error


def _is_plain(value: Any) -> bool:
    """Whether the C encoder is known to write the canonical form of this value; False may be over-cautious."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-MAX_EXACT_INT <= value <= MAX_EXACT_INT)
    if kind is float:
        # repr() and ECMAScript agree on these, except that repr writes a trailing ".0" for an integral float.
        return bool(1e-4 <= abs(value) < 1e16 and not value.is_integer())
    if kind is dict:
        # ASCII keys sort alike by code point and by UTF-16 code unit. Keys of a str subclass are left to _write.
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is not str and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return False


def _write(value: Any, put: Callable[[str], None]) -> None:
    """Append the canonical text of a value piece by piece."""
    if isinstance(value, str):
        put(_quote(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int):
        put(_integer(value))
    elif isinstance(value, float):
        put(format_number(value))
    elif isinstance(value, dict):
        _write_object(value, put)
    elif isinstance(value, (list, tuple)):
        separator = "["
        for item in value:
            put(separator)
            _write(item, put)
            separator = ","
        put("]" if value else "[]")
    else:
        raise InvalidInputError(f"A {type(value).__name__} has no JSON form: {value!r:.100}.", hint=_HINT)


def _write_object(value: dict[Any, Any], put: Callable[[str], None]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise InvalidInputError(f"A JSON key must be a string, not {type(key).__name__}: {key!r:.100}.")
    separator = "{"
    for key in sorted(value, key=_utf16):
        put(separator)
        put(_quote(key))
        put(":")
        _write(value[key], put)
        separator = ","
    put("}" if value else "{}")


def _utf16(key: str) -> bytes:
    # Big-endian bytes compare like the code units; a lone surrogate is refused later, when the text is encoded.
    return key.encode("utf-16-be", "surrogatepass")


def _integer(value: int) -> str:
    if not -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
        raise InvalidInputError(
            f"An integer of {value.bit_length()} bits is beyond 2**53 and would not survive JSON exactly.", hint=_HINT
        )
    return int.__repr__(value)


def format_number(value: float) -> str:
    """Write a float as ECMAScript's ``Number::toString`` does (RFC 8785, section 3.2.2.3).

    Python's ``repr`` already finds the shortest digits that read back as the same double; only the layout differs:
    ECMAScript writes plain decimals from 1e-6 up to below 1e21, and exponents without leading zeros.

    Args:
        value: A finite float.

    Raises:
        InvalidInputError: The value is NaN or infinite.
    """
    if not math.isfinite(value):
        raise InvalidInputError(f"{float(value)!r} has no JSON form.", hint=_HINT)
    if value == 0:
        return "0"
    text = float.__repr__(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent_text = text.partition("e")
    exponent = int(exponent_text)
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    if 0 <= exponent < 21:
        return sign + digits.ljust(exponent + 1, "0")
    if -7 < exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{mantissa}e{exponent:+d}"
