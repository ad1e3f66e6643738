"""Values as people read them: times, sizes, digests, statuses, numbers, sparklines; and values as people type them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from sentinelzer0.cli.blocks import Marked, bad, dim, good, plain, warn
from sentinelzer0.errors import InvalidInputError, ModelFileNotFoundError

NONE = "\N{EN DASH}"
"""What stands where there is no value."""
_BARS = "▁▂▃▄▅▆▇█"
_STEPS = (
    (timedelta(minutes=1), timedelta(seconds=1), "s"),
    (timedelta(hours=1), timedelta(minutes=1), "min"),
    (timedelta(days=1), timedelta(hours=1), "h"),
    (timedelta(days=60), timedelta(days=1), "d"),
    (timedelta(days=730), timedelta(days=30), "months"),
)
_DURATIONS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SHAPES: dict[str, tuple[str, Callable[[object], Marked]]] = {
    "production": ("●", good),
    "staging": ("◐", warn),
    "development": ("○", plain),
    "none": ("○", dim),
    "archived": ("◌", dim),
    "deprecated": ("✗", dim),
}
_LOWER_IS_BETTER = (
    "loss",
    "error",
    "latency",
    "false_positive",
    "false_negative",
    "fpr",
    "fnr",
    "miss",
    "_ms",
    "brier",
)
_HIGHER_IS_BETTER = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "auc",
    "tpr",
    "tnr",
    "specificity",
    "detection_rate",
    "mcc",
)
KEY_METRICS = ("f1_score", "f1", "auc", "roc_auc", "accuracy", "recall", "precision")
SOURCES = ("test_metrics", "validation_metrics", "training_metrics")


def absolute(when: datetime | None) -> str:
    """Return a time in UTC to the minute, or a dash."""
    return NONE if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def precise(when: datetime | None) -> str:
    """Return a time in UTC to the second, or a dash."""
    return NONE if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def counted(count: int, thing: str) -> str:
    """Return a count and its thing, in the plural where it is one.

    >>> counted(1, "checkpoint"), counted(2, "checkpoint")
    ('1 checkpoint', '2 checkpoints')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


def relative(when: datetime, now: datetime) -> str:
    """Return how long ago (or ahead) a time is, in one unit.

    >>> relative(datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 14, 30, tzinfo=UTC))
    '2 h ago'
    >>> relative(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    'in 3 d'
    """
    apart = abs(now - when)
    if apart < timedelta(seconds=5):
        return "just now"
    unit, word = next(((unit, word) for limit, unit, word in _STEPS if apart < limit), (timedelta(days=365), "years"))
    text = f"{apart // unit} {word}"
    return f"{text} ago" if now >= when else f"in {text}"


def size(count: int) -> str:
    """Return bytes with a binary unit.

    >>> size(512), size(1536), size(3 * 2**30)
    ('512 B', '1.5 KiB', '3.0 GiB')
    """
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def short(digest: str | None) -> str:
    """Return enough of a digest to tell two apart."""
    return NONE if not digest else digest[:12]


def number(value: float | None) -> str:
    """Return a number to four significant digits, from 1000 on to one decimal, or a dash.

    >>> number(0.871249), number(41.0), number(1234567.0), number(2345.678), number(None) == NONE
    ('0.8712', '41', '1234567', '2345.7', True)
    """
    if value is None:
        return NONE
    if abs(value) < 1e15 and (value == round(value) or abs(value) >= 1000):
        return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    return f"{value:.4g}"


def shortened(first: str, second: str, longest: int) -> tuple[str, str]:
    """Return two texts of at most ``longest`` characters each, begun where they start to differ if that is needed.

    >>> shortened("rate <= 0.01 on the validation rows", "rate <= 0.002 on the validation rows", 20)
    ('…0.01 on the valida…', '…0.002 on the valid…')
    >>> shortened("short", "shorter", 20)
    ('short', 'shorter')
    """
    start = 0
    if first != second and max(len(first), len(second)) > longest:
        same = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
        word = first.rfind(" ", 0, same) + 1
        start = word if same - word < longest // 2 else same
    return _cut(first, start, longest), _cut(second, start, longest)


def _cut(text: str, start: int, longest: int) -> str:
    text = f"…{text[start:]}" if start else text
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def signed(value: float | None) -> str:
    """Return a difference with its sign.

    >>> signed(0.25), signed(-2.0)
    ('+0.25', '-2')
    """
    return NONE if value is None else f"{'+' if value > 0 else ''}{number(value)}"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{share * 100:.3g} %"


def status(value: str) -> Marked:
    """Return a status with its shape, so that it reads without colour."""
    shape, mark = _SHAPES.get(value, ("·", plain))
    return mark(f"{shape} {value}")


def health(value: str) -> Marked:
    """Return a health with its shape."""
    shapes = {"healthy": good("✓ healthy"), "unhealthy": bad("✗ unhealthy")}
    return shapes.get(value, dim("· unknown"))


def gate(name: str, *, passed: bool) -> Marked:
    """Return a gate with a tick or a cross."""
    return good(f"✓ {name}") if passed else bad(f"✗ {name}")


def lower_is_better(metric: str) -> bool | None:
    """Return the direction of a metric by its name, None when the name does not tell.

    >>> lower_is_better("avg_latency_ms"), lower_is_better("f1_score"), lower_is_better("temperature")
    (True, False, None)
    """
    folded = metric.casefold()
    if any(word in folded for word in _LOWER_IS_BETTER):
        return True
    return False if any(word in folded for word in _HIGHER_IS_BETTER) else None


def sparkline(values: Sequence[float | None]) -> str:
    """Return values as a row of bars between their smallest and largest; a missing one is a gap.

    >>> sparkline([0.1, None, 0.5, 0.9])
    '▁ ▅█'
    """
    present = [value for value in values if value is not None]
    if len(present) < 2:
        return ""
    low, high = min(present), max(present)
    if high == low:
        return "".join(" " if value is None else _BARS[3] for value in values)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(" " if value is None else _BARS[math.floor((value - low) / step + 0.5)] for value in values)


def key_metric(metadata: Any, wanted: str = "") -> tuple[str, float] | None:
    """Return the metric a list shows for a version: the wanted one, or the first known one it reports."""
    for metric in (wanted,) if wanted else KEY_METRICS:
        for source in SOURCES:
            if metric in getattr(metadata, source):
                return metric, getattr(metadata, source)[metric]
    return None


def moment(text: str) -> datetime:
    """Read a time as typed; a bare date is the end of that day, and no zone means UTC.

    Raises:
        InvalidInputError: It is no ISO 8601 date or time.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(
            f"{text!r} is no date or time.", hint="Write 2026-03-01, or 2026-03-01T14:30+01:00."
        ) from error
    if "T" not in text and " " not in text:
        when = datetime.combine(when, time.max)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def duration(text: str) -> timedelta:
    """Read a length of time as typed: a number and a unit.

    >>> duration("24h"), duration("90 min")
    (datetime.timedelta(days=1), datetime.timedelta(seconds=5400))

    Raises:
        InvalidInputError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)", text.strip())
    if found is None:
        raise InvalidInputError(f"{text!r} is no length of time.", hint="Write 30s, 15min, 24h, 7d or 2w.")
    try:
        return float(found[1]) * _DURATIONS[found[2]]
    except OverflowError as error:
        raise InvalidInputError(f"{text!r} is too long.", hint="Write 30s, 15min, 24h, 7d or 2w.") from error


def number_or_none(text: str) -> float | None:
    """Return a number as typed, or None for what is none."""
    try:
        return float(text)
    except ValueError:
        return None


def pairs(given: Iterable[str] | None, what: str, *, numbers: bool) -> dict[str, Any]:
    """Read ``name=value`` options and ``@file.json``.

    Args:
        given: As typed.
        what: The option, for the message.
        numbers: Whether values must be numbers; otherwise they are JSON, or text where they are not.

    Raises:
        InvalidInputError: Something else.
    """
    found: dict[str, Any] = {}
    for item in given or ():
        if item.startswith("@"):
            found |= _document(Path(item[1:]), what)
            continue
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise InvalidInputError(
                f"{what} {item!r} has no value.", hint=f"Write {what} name=value or {what} @file.json."
            )
        found[name] = _number(name, text, what) if numbers else _json_or_text(text)
    return found


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line; ``-`` reads standard input.

    Raises:
        ModelFileNotFoundError: There is no such file.
        InvalidInputError: A line is no JSON object.
    """
    rows = []
    source = Path("/dev/stdin") if str(path) == "-" else path
    for index, text in enumerate(_text_of(source).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"Line {index} of {path} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InvalidInputError(f"Line {index} of {path} is not an object.", hint='Write {"name": value, …}.')
        rows.append(row)
    return rows


def _document(path: Path, what: str) -> Mapping[str, Any]:
    try:
        document = json.loads(_text_of(path))
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path} is not JSON: {error}.", hint=f"{what} @FILE takes a JSON object.") from error
    if not isinstance(document, Mapping):
        raise InvalidInputError(f"{path} holds no JSON object.", hint='Write {"name": value, …}.')
    return document


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelFileNotFoundError(f"There is no file {str(path)!r}.", hint="Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.", hint="Name a readable UTF-8 file.") from error


def _number(name: str, text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInputError(f"{what} {name} is {text!r}, which is not a number.", hint="Write 0.97.") from error


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
