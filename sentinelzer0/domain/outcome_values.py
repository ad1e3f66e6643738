"""Which values an outcome may have: labels, request ids, latencies, confidences, custom metrics, segments.

This module checks and performs no I/O. The laws:

- A value is exactly Python's own (``str``, ``float``, ``int``) when it comes out, and one that any database keeps.
- A label is "attack" or "benign": true, 1, "1", "true", "attack", "malicious" against false, 0, "0", "false",
  "benign", "normal", in any case. Anything else is refused, because guessing turns into wrong recall.

>>> check_label("Attack", "true_label"), check_label(0, "true_label")
(1, 0)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinelzer0.domain.scalars import plain, real, shown, truth, whole
from sentinelzer0.errors import InvalidInputError, InvalidMetricError

MAX_LATENCY_MS = 1e9
MAX_CUSTOM = 1e100
MAX_ID = 200

_POSITIVE = ("1", "true", "attack", "malicious")
_NEGATIVE = ("0", "false", "benign", "normal")
# True and 1.0 equal 1 and hash alike, so numbers of numeric libraries are found here too.
_LABELS: dict[Any, int] = {0: 0, 1: 1} | dict.fromkeys(_POSITIVE, 1) | dict.fromkeys(_NEGATIVE, 0)


def check_label(value: Any, what: str) -> int | None:
    """Return 1 for an attack, 0 for a benign request, None for None.

    Args:
        value: A truth value, 0 or 1, or one of the words of the module's second law.
        what: Which label, for the message.

    Raises:
        InvalidInputError: Anything else.
    """
    if value is None:
        return None
    try:
        found = _LABELS.get(value)
    except TypeError:
        found = None
    if found is None and isinstance(value, str):
        found = _LABELS.get(value.strip().lower())
    if found is None:
        raise InvalidInputError(
            f"{what} is {shown(value)}, which is neither an attack nor benign.",
            hint="Use True or False, 1 or 0, or the words attack, malicious, benign, normal.",
        )
    return found


def check_request_id(value: Any) -> str:
    """Return a request id.

    Raises:
        InvalidInputError: Not text of 1 to 200 characters, or text no database keeps.
    """
    if isinstance(value, str):
        text = plain(value)
        if 0 < len(text) <= MAX_ID and (text.isascii() or _storable(text)) and "\0" not in text:
            return text
    raise InvalidInputError(f"request_id is {shown(value)}.", hint=f"Use text of 1 to {MAX_ID} characters.")


def check_latency(value: Any) -> float:
    """Return milliseconds.

    Raises:
        InvalidMetricError: Not a number, negative, NaN, or longer than eleven days.
    """
    if type(value) is not float:
        value = _number(value, "latency_ms", "Pass milliseconds as a number, for failures and timeouts too.")
    if 0.0 <= value <= MAX_LATENCY_MS:
        return value  # type: ignore[no-any-return]
    raise InvalidMetricError(f"latency_ms is {value}.", hint=f"Pass milliseconds from 0 to {MAX_LATENCY_MS:.0e}.")


def check_confidence(value: Any) -> float | None:
    """Return a confidence, or None for None.

    Raises:
        InvalidMetricError: Not a number from 0 to 1.
    """
    if value is None:
        return None
    if type(value) is not float:
        value = _number(value, "confidence", "A confidence is a number from 0 to 1; leave it out where there is none.")
    if 0.0 <= value <= 1.0:
        return value  # type: ignore[no-any-return]
    raise InvalidMetricError(f"confidence is {value}.", hint="A confidence is a number from 0 to 1.")


def check_success(value: Any) -> int:
    """Return 1 for a success and 0 for a failure.

    Raises:
        InvalidInputError: Not a truth value.
    """
    if value is True:
        return 1
    if value is False:
        return 0
    answer = whole(value) if truth(value) is None else int(value)
    if answer in (0, 1):
        return answer
    raise InvalidInputError(f"success is {shown(value)}.", hint="Pass True or False.")


def check_custom(values: Any) -> Mapping[str, float]:
    """Return custom metrics as finite numbers by name.

    Raises:
        InvalidMetricError: Not a mapping of text to finite numbers below 1e100 in size.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidMetricError(f"custom_metrics is {shown(values)}.", hint='Write custom_metrics={"name": 1.0}.')
    checked: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID or "\0" in name or not _storable(name):
            raise InvalidMetricError(f"A custom metric is named {shown(name)}.", hint="Its name is text.")
        number = _number(value, f"custom_metrics[{name!r}]", 'Write custom_metrics={"name": 1.0}.')
        if not -MAX_CUSTOM <= number <= MAX_CUSTOM:
            raise InvalidMetricError(
                f"custom_metrics[{name!r}] is {number}.", hint="Leave a metric out when it could not be computed."
            )
        checked[plain(name)] = number
    return checked


def check_segment(value: Any) -> str:
    """Return the name of a segment; None is ``""``, everything without one.

    Raises:
        InvalidInputError: Not text of at most 200 characters, or text no database keeps.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        text = plain(value)
        if len(text) <= MAX_ID and "\0" not in text and (text.isascii() or _storable(text)):
            return text
    raise InvalidInputError(f"segment is {shown(value)}.", hint=f"Use text of at most {MAX_ID} characters.")


def check_share(value: Any) -> float | None:
    """Return the share of traffic an arm had when it was assigned, or None for None.

    Raises:
        InvalidInputError: Not a number from 0 to 1.
    """
    if value is None:
        return None
    share = real(value)
    if share is None or not 0.0 <= share <= 1.0:
        raise InvalidInputError(f"share is {shown(value)}.", hint="A share of the traffic lies between 0 and 1.")
    return share


def check_revision(value: Any) -> int:
    """Return the number of a revision of a test's shares.

    Raises:
        InvalidInputError: Not a whole number from 1.
    """
    revision = whole(value)
    if revision is None or revision < 1:
        raise InvalidInputError(f"revision is {shown(value)}.", hint="Pass the revision the assignment came with.")
    return revision


def _number(value: Any, what: str, hint: str) -> float:
    number = real(value)
    if number is None:
        raise InvalidMetricError(f"{what} is {shown(value)}, which is not a number.", hint=hint)
    return number


def _storable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)
