"""Guardrails: what a challenger must not make worse, and by how much.

This module decides what a guardrail may say. It performs no I/O. The laws:

- A margin is how much worse a challenger may be: in the metric's own unit, or, when relative, as a share of the
  control's value. A guardrail is kept only when "worse by more than the margin" is disproven.
- A ratio is a second limit, for events that can be counted: beyond either is harm. Other metrics have none.
- A metric between 0 and 1 cannot get worse by 1, so such a margin guards nothing and is refused.
- Nobody who names no guardrails has none: the error rate and the mean latency are guarded, unless one of them is what
  the test decides by: that one is left out of the defaults.

>>> [guardrail.metric for guardrail in parsed(None, "f1_score")], parsed((), "f1_score")
(['error_rate', 'avg_latency_ms'], [])
>>> parsed(["error_rate", {"metric": "recall", "margin": 0.05}], "f1_score")[1].to_dict()
{'metric': 'recall', 'margin': 0.05, 'relative': False, 'ratio': None, 'direction': ''}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sentinelzer0.domain.scalars import plain, real, shown, truth
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.estimators import AnyMetric, Metric, metric_named

MAX_GUARDRAILS = 20
_DEFAULT_MARGIN = 0.02
_COUNTED = (Metric.ERROR_RATE, Metric.ACCURACY, Metric.RECALL, Metric.SLOW_RATE)
_HINT = 'Write guardrails=["error_rate", {"metric": "avg_latency_ms", "margin": 0.2, "relative": True}].'


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One metric that a challenger must not make worse.

    Attributes:
        metric: Its name, also ``custom:…``.
        margin: How much worse is still accepted, from 0: in the metric's unit, or a share of the control's value.
        relative: Whether the margin is a share of the control's value.
        ratio: For counted events (failures, wrong labels, missed attacks, slow answers): how many times the control's
            rate is still accepted, from 1; more is harm as well, found by the exact test of who had the events. None
            leaves the margin alone to say what harm is; a margin of 0 tests both.
        direction: Of a custom metric: ``higher`` or ``lower`` is better; empty for the others.
    """

    metric: str
    margin: float
    relative: bool = False
    ratio: float | None = None
    direction: str = ""

    @property
    def measured(self) -> AnyMetric:
        """The metric itself."""
        return metric_named(self.metric, self.direction or None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Guardrail:
        """Build a guardrail from :meth:`to_dict`."""
        ratio = raw["ratio"]
        tolerated = None if ratio is None else float(ratio)
        return cls(raw["metric"], float(raw["margin"]), raw["relative"], tolerated, raw["direction"])


DEFAULTS = (
    Guardrail(Metric.ERROR_RATE.value, 0.02, ratio=1.5),
    Guardrail(Metric.AVG_LATENCY_MS.value, 0.2, relative=True),
)
_BY_NAME = {guardrail.metric: guardrail for guardrail in DEFAULTS}
_FIELDS = tuple(f.name for f in fields(Guardrail))


def parsed(given: object, primary_metric: str) -> list[Guardrail]:
    """Return checked guardrails.

    Args:
        given: Guardrails, mappings with their fields, or names of metrics; None means the defaults.
        primary_metric: What the test decides by.

    Raises:
        InvalidInputError: Something else, an impossible margin or ratio, or one metric twice.
    """
    if given is None:
        return [guardrail for guardrail in DEFAULTS if guardrail.metric != primary_metric]
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidInputError(f"guardrails is {shown(given)}, not a list.", hint=_HINT)
    found = [_parsed(item) for item in given]
    names = [guardrail.metric for guardrail in found]
    if len(found) > MAX_GUARDRAILS:
        raise InvalidInputError(f"There are {len(found)} guardrails.", hint=f"Use at most {MAX_GUARDRAILS}.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInputError(f"{twice} is guarded twice.", hint="Keep one guardrail for each metric.")
    return found


def _parsed(item: object) -> Guardrail:
    if isinstance(item, Guardrail):
        raw: dict[str, Any] = item.to_dict()
    elif isinstance(item, str):
        raw = {"metric": plain(item)}
    elif isinstance(item, Mapping):
        raw = dict(item)
    else:
        raise InvalidInputError(f"{shown(item)} is no guardrail.", hint=_HINT)
    if unknown := [name for name in raw if name not in _FIELDS]:
        raise InvalidInputError(f"A guardrail has no {shown(unknown[0])}.", hint=f"It has: {', '.join(_FIELDS)}.")
    metric, direction = raw.get("metric"), raw.get("direction") or None
    if not isinstance(metric, str):
        raise InvalidInputError(f"The metric of a guardrail is {shown(metric)}.", hint=_HINT)
    measured = metric_named(plain(metric), direction)
    usual = _BY_NAME.get(measured.value, Guardrail(measured.value, _DEFAULT_MARGIN))
    relative = truth(raw.get("relative", usual.relative if "margin" not in raw else False))
    if relative is None:
        raise InvalidInputError(
            f"relative of the guardrail {metric} is {shown(raw['relative'])}.", hint="True or False."
        )
    return Guardrail(
        measured.value,
        _margin(raw.get("margin", usual.margin), measured, relative=relative),
        relative,
        _ratio(raw.get("ratio", usual.ratio if "margin" not in raw else None), measured),
        "" if isinstance(measured, Metric) else measured.direction.value,
    )


def _margin(value: object, metric: AnyMetric, *, relative: bool) -> float:
    margin = _number(value, 0.0, f"The margin of the guardrail {metric.value}")
    bounded = isinstance(metric, Metric) and metric is not Metric.AVG_LATENCY_MS
    if bounded and not relative and margin >= 1.0:
        raise InvalidInputError(
            f"The margin of the guardrail {metric.value} is {margin:g}, which nothing can exceed: "
            "the metric lies between 0 and 1.",
            hint="Write 0.02 for two percentage points, or relative=True for a share of the control's value.",
        )
    return margin


def _ratio(value: object, metric: AnyMetric) -> float | None:
    if value is None:
        return None
    if metric not in _COUNTED:
        raise InvalidInputError(
            f"The guardrail {metric.value} has a ratio, but no events that can be counted.",
            hint=f"Give it a margin; a ratio is for {', '.join(_COUNTED)}.",
        )
    return _number(value, 1.0, f"The ratio of the guardrail {metric.value}")


def _number(value: object, least: float, what: str) -> float:
    number = real(value)
    if number is None or not least <= number < math.inf:
        raise InvalidInputError(f"{what} is {shown(value)}.", hint=f"Pass a number from {least:g}.")
    return number
