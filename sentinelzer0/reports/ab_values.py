"""What the report of an A/B test is made from, and how its metrics are called and written.

Everything here is JSON values, as the results of a test and its looks give them, so that the report can be made from
an exported file as well as from a workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sentinelzer0.reports.chart_values import Event, Tone, Unit, X
from sentinelzer0.reports.formats import number
from sentinelzer0.stats.estimators import Direction, Metric

_KNOWN = {metric.value: metric for metric in Metric}
_CUSTOM = "custom:"
_BATCH_S = 60.0  # a test whose looks all lie within this many seconds is drawn over its outcomes

STATES: Mapping[str, tuple[str, Tone]] = {
    "passed": ("passed", Tone.GOOD),
    "violated": ("violated", Tone.BAD),
    "pending": ("not settled", Tone.NEUTRAL),
    "no_data": ("no data", Tone.CAUTION),
}
"""How the state of a guardrail is said."""


@dataclass(frozen=True, slots=True)
class MetricWords:
    """How a metric is called and written.

    Attributes:
        name: In words.
        unit: Of its value.
        difference: Of a difference of two values.
        higher_is_better: None where a change is neither good nor bad.
    """

    name: str
    unit: Unit
    difference: Unit
    higher_is_better: bool | None

    def signed(self, value: float | None) -> str:
        """Write a difference; a dash for None."""
        return "\N{EN DASH}" if value is None else number(value, self.difference, signed=True)

    def possible(self, limits: Sequence[float | None] | None) -> tuple[float | None, float | None]:
        """Cut an interval of differences to what a difference can be: rates and shares differ by -1 to 1."""
        low, high = (None, None) if limits is None else limits
        return (low, high) if self.difference is not Unit.POINTS else (_cut(low), _cut(high))

    def judged(self, difference: float) -> str:
        """Return ``better`` or ``worse``, or ``higher`` or ``lower`` where neither is good."""
        if self.higher_is_better is None:
            return "higher" if difference > 0 else "lower"
        return "better" if (difference > 0) is self.higher_is_better else "worse"


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What the audit log says about a test.

    Attributes:
        events: Its records, oldest first.
        last_seq: Sequence number of the last of them.
        last_digest: SHA-256 of that record, hexadecimal.
    """

    events: tuple[Event, ...] = ()
    last_seq: int = 0
    last_digest: str = ""


@dataclass(frozen=True)
class ABReport:
    """Everything a report of an A/B test is made from.

    Attributes:
        results: As ``get_test_results`` returns them.
        looks: The looks at the test, oldest first: ``events``, ``recorded_at``, ``decision`` and the readings.
        settings: How the test is set up, JSON values.
        audit: What the audit log says about it.
        generated_at: When the report is made; an aware time.
    """

    results: Mapping[str, Any]
    looks: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    audit: AuditFacts
    generated_at: datetime

    @property
    def control(self) -> str:
        """The version of the control."""
        return str(self.results["model_a"])

    @property
    def challengers(self) -> list[str]:
        """The versions of the challengers, in the order of their arms."""
        return list(self.comparisons)

    @property
    def primary(self) -> str:
        """The name of the metric that decides."""
        return str(self.results["statistical_significance"]["metric"])

    @property
    def comparisons(self) -> Mapping[str, Mapping[str, Any]]:
        """Version of a challenger -> metric -> what the comparison says."""
        several: Mapping[str, Mapping[str, Any]] | None = self.results.get("comparisons")
        return several or {str(self.results["model_b"]): self.results["comparison"]}

    @property
    def guardrails(self) -> Sequence[Mapping[str, Any]]:
        """The guardrails of all challengers."""
        found: Sequence[Mapping[str, Any]] = self.results.get("guardrails") or ()
        return found

    @property
    def decision(self) -> Mapping[str, Any]:
        """What the evidence calls for."""
        found: Mapping[str, Any] = self.results["decision"]
        return found

    @property
    def min_samples(self) -> int:
        """Samples each arm needs before anything is found."""
        return int(self.settings.get("min_samples") or 0)

    @cached_property
    def over_time(self) -> bool:
        """Whether x is time; a test recorded in one go is drawn over its outcomes."""
        if len(self.looks) < 2:
            return True
        first, last = (datetime.fromisoformat(self.looks[index]["recorded_at"]) for index in (0, -1))
        return (last - first).total_seconds() >= _BATCH_S

    @property
    def x_label(self) -> str:
        """What a numeric x counts; empty for time."""
        return "" if self.over_time else "outcomes and labels"

    def x_of(self, recorded_at: str | None, events: float | None) -> X | None:
        """Return the place of something on the x axis, None where it is not known."""
        if self.over_time:
            return None if recorded_at is None else datetime.fromisoformat(recorded_at)
        return None if events is None else float(events)

    def words(self, metric: str) -> MetricWords:
        """Return how a metric is called and written."""
        return metric_words(metric, self.settings)


def metric_words(metric: str, settings: Mapping[str, Any] | None = None) -> MetricWords:
    """Return how a metric is called and written.

    Args:
        metric: Its name, e.g. ``f1_score`` or ``custom:revenue``.
        settings: Where the direction of a custom metric is found, if it has one.
    """
    known = _KNOWN.get(metric)
    if known is not None:
        milliseconds = known is Metric.AVG_LATENCY_MS
        unit, difference = (Unit.MILLISECONDS,) * 2 if milliseconds else (Unit.PERCENT, Unit.POINTS)
        return MetricWords(known.words, unit, difference, known.direction is Direction.HIGHER)
    direction = _direction(metric, settings or {})
    higher = None if direction is None else direction == Direction.HIGHER
    return MetricWords(metric.removeprefix(_CUSTOM), Unit.NUMBER, Unit.NUMBER, higher)


def metric_order(report: ABReport) -> list[str]:
    """Return the compared metrics: the primary one, those of guardrails, the others."""
    compared = {metric for of_arm in report.comparisons.values() for metric in of_arm}
    ordered = [report.primary, *(str(g["metric"]) for g in report.guardrails)]
    ordered += [metric for of_arm in report.comparisons.values() for metric in of_arm]
    return [metric for metric in dict.fromkeys(ordered) if metric in compared]


def metrics_without_data(compared: Mapping[str, Mapping[str, Any]], *kept: str) -> list[str]:
    """Return the metrics that neither arm has a value of; those to be ``kept`` are never among them."""
    empty = (None, None)
    return [m for m, found in compared.items() if (found["model_a"], found["model_b"]) == empty and m not in kept]


def no_data(metrics: Sequence[str], settings: Mapping[str, Any] | None = None) -> str:
    """Say which metrics have no data."""
    return f"No data: {', '.join(metric_words(metric, settings).name for metric in metrics)}."


def margin_of(
    guardrail: Mapping[str, Any], control_value: float | None, *, higher_is_better: bool | None
) -> float | None:
    """Return the margin of a guardrail as a difference with its sign; None while a relative one has no base."""
    size = float(guardrail["margin"])
    if guardrail.get("relative"):
        if control_value is None:
            return None
        size *= abs(control_value)
    return -size if higher_is_better else size


def _cut(limit: float | None) -> float | None:
    return None if limit is None else min(max(limit, -1.0), 1.0)


def _direction(metric: str, settings: Mapping[str, Any]) -> str | None:
    if metric == settings.get("primary_metric") and settings.get("direction"):
        return str(settings["direction"])
    for guardrail in settings.get("guardrails") or ():
        if guardrail.get("metric") == metric and guardrail.get("direction"):
            return str(guardrail["direction"])
    return None
