"""Outcomes: what one answered request says, what a label may be, how many of them add up.

This module decides which outcomes are possible and what they add to the sufficient statistics. It performs no I/O.
The laws:

- An outcome is checked whole before it counts; a refused one has changed nothing.
- A label is "attack" or "benign": true, 1, "1", "true", "attack", "malicious" against false, 0, "0", "false",
  "benign", "normal", in any case. Anything else is refused, because guessing turns into wrong recall.
- :func:`tally` of two batches adds up to the tally of both, in any order (sums of floats up to rounding).
- A label counts once the prediction and the outcome are known, whichever came first; a later label replaces an
  earlier one, and the counts move with it.

>>> check_label("Attack", "true_label"), check_label(0, "true_label")
(1, 0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import mul
from typing import Any, NamedTuple

from sentinelzer0.domain.scalars import plain, real, shown, truth, whole
from sentinelzer0.errors import InvalidInputError, InvalidMetricError
from sentinelzer0.stats.histogram import bucket_of

MAX_LATENCY_MS = 1e9
MAX_CUSTOM = 1e100
MAX_ID = 200

_POSITIVE = ("1", "true", "attack", "malicious")
_NEGATIVE = ("0", "false", "benign", "normal")
# True and 1.0 equal 1 and hash alike, so numbers of numeric libraries are found here too.
_CELLS: dict[tuple[int | None, int | None], tuple[int, int, int, int]] = {
    (1, 1): (1, 0, 0, 0),
    (1, 0): (0, 1, 0, 0),
    (0, 0): (0, 0, 1, 0),
    (0, 1): (0, 0, 0, 1),
    **dict.fromkeys(((None, None), (None, 0), (None, 1), (0, None), (1, None)), (0, 0, 0, 0)),
}
"""How a request with this prediction and this truth counts as tp, fp, tn, fn."""

_LABELS: dict[Any, int] = {0: 0, 1: 1} | dict.fromkeys(_POSITIVE, 1) | dict.fromkeys(_NEGATIVE, 0)


class Outcome(NamedTuple):
    """One checked outcome.

    Attributes:
        request_id: What a later label or a repeat is joined by.
        arm: ``A`` or ``B``.
        success: 1 when the request was answered, 0 when it failed or timed out.
        latency_ms: Milliseconds, failures included.
        confidence: The model's confidence, 0..1, or None.
        predicted: Predicted label, 1 for an attack, or None.
        true: True label, or None while it is unknown.
        key: The unit the request was routed by, or None.
        custom: Other numbers by name.
    """

    request_id: str
    arm: str
    success: int
    latency_ms: float
    confidence: float | None = None
    predicted: int | None = None
    true: int | None = None
    key: str | None = None
    custom: Mapping[str, float] = {}


class Progress(NamedTuple):
    """How far a test has come: its status, outcomes and labels so far, and when to look next."""

    status: str
    events: int
    next_look: int


class StoredOutcome(NamedTuple):
    """What joining needs to know of a request; no arm: a label that waits for its outcome."""

    arm: str | None
    predicted: int | None
    true: int | None
    late: int


@dataclass(slots=True)
class Increment:
    """What a batch of outcomes adds to the statistics of one arm; every field adds up.

    The names of the numbers are those of the columns they are added to.
    """

    requests: int = 0
    failures: int = 0
    latency_sum: float = 0.0
    latency_sq: float = 0.0
    latency_cu: float = 0.0
    confidences: int = 0
    confidence_sum: float = 0.0
    confidence_sq: float = 0.0
    confidence_cu: float = 0.0
    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0
    late: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    custom: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    @property
    def labelled(self) -> int:
        """Requests with a prediction and a label."""
        return self.tp + self.fp + self.tn + self.fn

    def add_label(self, predicted: int | None, true: int | None, sign: int = 1) -> None:
        """Count a labelled request in its cell, or take it out again with ``sign=-1``."""
        tp, fp, tn, fn = _CELLS[predicted, true]
        self.tp += sign * tp
        self.fp += sign * fp
        self.tn += sign * tn
        self.fn += sign * fn

    def move_label(self, predicted: int | None, before: int | None, after: int) -> bool:
        """Count a request under another true label and return whether that changed anything."""
        if predicted is None or before == after:
            return False
        self.add_label(predicted, before, -1)
        self.add_label(predicted, after)
        return True


def numbers_of(outcome: Outcome) -> tuple[float, ...]:
    """Return what one outcome adds to the numbers of an :class:`Increment`, in their order."""
    _, _, success, latency, confidence, predicted, true, _, _ = outcome
    square = latency * latency
    cell = _CELLS[predicted, true]
    if confidence is None:
        return (1, 1 - success, latency, square, square * latency, 0, 0.0, 0.0, 0.0, *cell, 0)
    sure = confidence * confidence
    return (1, 1 - success, latency, square, square * latency, 1, confidence, sure, sure * confidence, *cell, 0)


def tally(outcomes: Iterable[Outcome]) -> dict[str, Increment]:
    """Return what outcomes add to the statistics, by arm: the sums of :func:`numbers_of`."""
    by_arm: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_arm.setdefault(outcome[1], []).append(outcome)
    return {arm: _tally(of_arm) for arm, of_arm in by_arm.items()}


def _tally(outcomes: list[Outcome]) -> Increment:
    latencies = [outcome[3] for outcome in outcomes]
    squares = [latency * latency for latency in latencies]
    sure = [outcome[4] for outcome in outcomes if outcome[4] is not None]
    cells = Counter([outcome[5:7] for outcome in outcomes])
    custom: dict[str, tuple[int, float, float]] = {}
    for outcome in outcomes:
        if outcome[8]:
            for name, value in outcome[8].items():
                count, total, total_sq = custom.get(name, (0, 0.0, 0.0))
                custom[name] = (count + 1, total + value, total_sq + value * value)
    return Increment(
        requests=len(outcomes),
        failures=len(outcomes) - sum([outcome[2] for outcome in outcomes]),
        latency_sum=sum(latencies),
        latency_sq=sum(squares),
        latency_cu=sum(map(mul, squares, latencies)),
        confidences=len(sure),
        confidence_sum=sum(sure),
        confidence_sq=sum(map(mul, sure, sure)),
        confidence_cu=sum([confidence * confidence * confidence for confidence in sure]),
        tp=cells[1, 1],
        fp=cells[1, 0],
        tn=cells[0, 0],
        fn=cells[0, 1],
        buckets=dict(Counter(map(bucket_of, latencies))),
        custom=custom,
    )


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
        value = _number(value, "latency_ms")
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
        value = _number(value, "confidence")
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
        number = _number(value, f"custom_metrics[{name!r}]")
        if not -MAX_CUSTOM <= number <= MAX_CUSTOM:
            raise InvalidMetricError(
                f"custom_metrics[{name!r}] is {number}.", hint="Leave a metric out when it could not be computed."
            )
        checked[plain(name)] = number
    return checked


def _number(value: Any, what: str) -> float:
    number = real(value)
    if number is None:
        raise InvalidMetricError(f"{what} is {shown(value)}, which is not a number.")
    return number


def _storable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)
