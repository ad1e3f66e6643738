"""Numbers, times and spans as people write them. English, UTC, a true minus sign, tabular where it matters.

>>> [text.replace(NBSP, " ") for text in (number(0.12456, Unit.PERCENT), number(0.0252, Unit.POINTS, signed=True))]
['12.46 %', '+2.52 pp']
>>> span(308 * 3600)
'12 d 20 h'
"""

from __future__ import annotations

from datetime import UTC, datetime

from sentinelzer0.reports.chart_values import Tone, Unit, X
from sentinelzer0.reports.page_values import Cell, State

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"
_SUFFIX = {Unit.PERCENT: f"{NBSP}%", Unit.POINTS: f"{NBSP}pp", Unit.MILLISECONDS: f"{NBSP}ms"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SYMBOLS = {
    Tone.NEUTRAL: "",
    Tone.GOOD: "\N{CHECK MARK}",
    Tone.CAUTION: "!",
    Tone.BAD: "\N{MULTIPLICATION X}",
}


def number(value: float, unit: Unit = Unit.NUMBER, *, signed: bool = False, decimals: int | None = None) -> str:
    """Write a number with its unit.

    Args:
        value: In the metric's own scale; fractions for PERCENT and POINTS.
        unit: How it is read.
        signed: Write a plus sign, for differences.
        decimals: Fixed number of decimals after scaling; None picks four significant digits, three for differences.
    """
    scaled, suffix = _scale(value, unit)
    text = _digits(abs(scaled), unit, decimals, 3 if signed else 4)
    negative = value < 0 and any(digit in "123456789" for digit in text)
    sign = MINUS if negative else "+" if signed and any(digit in "123456789" for digit in text) else ""
    return f"{sign}{text}{suffix}"


def brief(value: float, unit: Unit, *, signed: bool = False) -> str:
    """Write a chosen number, such as a limit, with no more decimals than it has: 80 %, not 80.00 %."""
    scaled, _ = _scale(value, unit)
    decimals = next(
        (count for count in range(4) if abs(round(scaled, count) - scaled) < 1e-9 * max(1.0, abs(scaled))), None
    )
    return number(value, unit, signed=signed, decimals=decimals)


def place(x: X, counted: str) -> str:
    """Write where on the x axis: a time, or a number and what it counts."""
    return position(x) if isinstance(x, datetime) else f"{position(x)} {counted}"


def sentence_case(text: str) -> str:
    """Begin a sentence with a capital."""
    return text[:1].upper() + text[1:]


def cell(value: Cell, unit: Unit | None = None) -> str:
    """Write a table cell or a fact; None is a dash."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, State):
        return f"{symbol(value.tone)}{NBSP}{value.word}".strip().replace(" ", NBSP)
    if isinstance(value, str):
        return value
    if unit is None:
        unit = Unit.COUNT if isinstance(value, int) else Unit.NUMBER
    return number(value, unit)


def position(x: X) -> str:
    """Write an x value in a sentence or a table."""
    if isinstance(x, datetime):
        return moment(x)
    return number(x, Unit.COUNT if float(x).is_integer() else Unit.NUMBER)


def moment(at: datetime) -> str:
    """Write a time: ``22 Nov 2026, 14:05 UTC``, with seconds where they are not zero."""
    at = at.astimezone(UTC)
    clock = f"{at:%H:%M:%S}" if at.second or at.microsecond else f"{at:%H:%M}"
    return f"{day(at)} {at.year}, {clock} UTC".replace(" ", NBSP)


def day(at: datetime) -> str:
    """Write a day of the year, independent of the locale: ``22 Nov``."""
    return f"{at.day} {_MONTHS[at.month - 1]}"


def iso(x: X) -> str:
    """Write an x value for a machine: ISO 8601 with Z, or a plain number."""
    if isinstance(x, datetime):
        return x.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"{x:.12g}"


def span(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts: list[str] = []
    rest = round(seconds)
    for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def distance(first: X, last: X) -> str:
    """Write how far apart two x values are."""
    if isinstance(first, datetime) and isinstance(last, datetime):
        return span((last - first).total_seconds())
    return number(_plain(last) - _plain(first), Unit.COUNT)


def short_digest(digest: str) -> str:
    """Shorten a digest so that it stays recognisable; anything short stays whole."""
    prefix, _, body = digest.rpartition(":")
    if len(body) <= 16:
        return digest
    return f"{prefix + ':' if prefix else ''}{body[:8]}\N{HORIZONTAL ELLIPSIS}{body[-4:]}"


def symbol(tone: Tone) -> str:
    """Return the shape that says the tone without colour."""
    return _SYMBOLS[tone]


def shorten(text: str, width: int) -> str:
    """Cut text to ``width`` characters with an ellipsis."""
    return text if len(text) <= width else f"{text[: max(width - 1, 1)].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _plain(x: X) -> float:
    return x.timestamp() if isinstance(x, datetime) else float(x)


def _scale(value: float, unit: Unit) -> tuple[float, str]:
    if unit in {Unit.PERCENT, Unit.POINTS}:
        return value * 100, _SUFFIX[unit]
    if unit is Unit.MILLISECONDS:
        return (value / 1000, f"{NBSP}s") if abs(value) >= 1000 else (value, _SUFFIX[unit])
    if unit is Unit.BYTES:
        for power, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= power:
                return value / power, f"{NBSP}{name}"
        return value, f"{NBSP}B"
    return value, ""


def _digits(size: float, unit: Unit, decimals: int | None, significant: int) -> str:
    if decimals is not None:
        return f"{size:,.{decimals}f}"
    if unit is Unit.COUNT:
        return f"{size:,.0f}" if float(size).is_integer() else f"{size:,.1f}"
    if unit in {Unit.PERCENT, Unit.POINTS}:
        return f"{size:.2f}" if size >= 0.01 or size == 0 else f"{size:.2g}"
    if unit is Unit.BYTES or unit is Unit.MILLISECONDS:
        return f"{size:.{significant}g}" if size < 1000 else f"{size:,.0f}"
    if size != 0 and (size < 1e-3 or size >= 1e7):
        return f"{size:.3g}"
    if size >= 1000:
        return f"{size:,.0f}" if float(size).is_integer() else f"{size:,.1f}"
    return f"{size:.{significant}g}"
