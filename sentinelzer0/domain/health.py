"""Health: what measurements of a serving version say about it.

This module decides whether measurements are possible, sufficient and good. It performs no I/O. The laws:

- A metric at or above its threshold, over enough requests, is unhealthy; one such metric is enough.
- Too few requests, or a metric that was not reported, is unknown: missing is never read as zero.
- Unknown is not healthy and not unhealthy: it passes no gate and triggers nothing.
- Values that cannot be (a rate above 1, more failures than requests) or contradict each other are refused; a
  reported rate may differ from the counts by rounding to two digits, and then the counts decide.

>>> check = assess("v1", {"error_rate": 0.02, "avg_latency_ms": 12.5, "total_requests": 500}, Thresholds(), _EPOCH)
>>> check.status, check.is_healthy
(<HealthStatus.HEALTHY: 'healthy'>, True)
>>> assess("v1", {"error_rate": 0.0, "avg_latency_ms": 0.0, "total_requests": 3}, Thresholds(), _EPOCH).status
<HealthStatus.UNKNOWN: 'unknown'>
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.domain.scalars import real, shown, whole
from sentinelzer0.domain.versions import check_document
from sentinelzer0.errors import InvalidInputError, InvalidMetricError

ROUNDING = 0.005
"""How far a reported rate may lie from the counts: rounding to two digits."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = ("total_requests", "failed_requests")
_KNOWN = ("error_rate", "avg_latency_ms", *_COUNTS)


class HealthStatus(StrEnum):
    """What is known about the health of a version."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a version counts as unhealthy, and how much must be seen before anything is said.

    Attributes:
        error_rate: Share of failed requests, above 0, at most 1.
        latency_ms: Mean latency in milliseconds, above 0.
        min_requests: Fewer requests say nothing; at least 1.
    """

    error_rate: float = 0.10
    latency_ms: float = 100.0
    min_requests: int = 50

    def __post_init__(self) -> None:
        error_rate = _number("error_rate_threshold", self.error_rate)
        if not 0 < error_rate <= 1:
            raise InvalidInputError(f"error_rate_threshold is {error_rate!r}.", hint="Use above 0, at most 1.")
        latency = _number("latency_threshold_ms", self.latency_ms)
        if not latency > 0:
            raise InvalidInputError(f"latency_threshold_ms is {latency!r}.", hint="Use milliseconds above 0.")
        requests = whole(self.min_requests)
        if requests is None or requests < 1:
            raise InvalidInputError(
                f"min_requests_for_check is {shown(self.min_requests)}.", hint="Use a whole number of requests from 1."
            )
        for name, value in (("error_rate", error_rate), ("latency_ms", latency), ("min_requests", requests)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The health of one version at one time.

    Attributes:
        timestamp: When it was judged, aware.
        version: The version.
        is_healthy: Whether the status is healthy; False also when it is unknown.
        error_rate: Share of failed requests, 0..1, or None when it is not known.
        avg_latency_ms: Mean latency in milliseconds, or None when it is not known.
        success_rate: Share of successful requests, 0..1, or None when it is not known.
        details: ``total_requests`` and ``failed_requests`` (None when not reported), ``thresholds`` {error_rate,
            latency_ms, min_requests}, ``reasons`` (sentences), ``metrics`` (what else was reported).
        status: ``healthy``, ``unhealthy`` or ``unknown``; left out, it follows ``is_healthy``.
    """

    timestamp: datetime
    version: str
    is_healthy: bool
    error_rate: float | None
    avg_latency_ms: float | None
    success_rate: float | None
    details: dict[str, Any] = field(default_factory=dict)
    status: HealthStatus | None = None

    def __post_init__(self) -> None:
        follows = HealthStatus.HEALTHY if self.is_healthy else HealthStatus.UNHEALTHY
        status = follows if self.status is None else HealthStatus(self.status)
        if self.is_healthy != (status is HealthStatus.HEALTHY):
            raise InvalidInputError(f"is_healthy is {self.is_healthy}, but the status is {status}.")
        object.__setattr__(self, "status", status)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the time is ISO-8601."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return row | {"timestamp": self.timestamp.isoformat(), "status": str(self.status), "details": {**self.details}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> HealthCheck:
        """Build a check from :meth:`to_dict`."""
        return cls(**dict(raw) | {"timestamp": datetime.fromisoformat(raw["timestamp"])})


def assess(version: str, metrics: object, thresholds: Thresholds, now: datetime) -> HealthCheck:
    """Judge measurements of a version.

    Args:
        version: The version they are about.
        metrics: ``error_rate`` (0..1), ``avg_latency_ms``, ``total_requests``, ``failed_requests``, and any others.
        thresholds: When it counts as unhealthy.
        now: The present.

    Raises:
        InvalidMetricError: A value is impossible or contradicts another.
    """
    seen = _measured(metrics)
    total, error_rate, latency = seen["total_requests"], seen["error_rate"], seen["avg_latency_ms"]
    crossed, missing = [], []
    if total is None:
        missing.append("total_requests was not reported.")
    elif total < thresholds.min_requests:
        missing.append(f"{total} requests are fewer than the {thresholds.min_requests} needed.")
    for name, value, limit in (
        ("error_rate", error_rate, thresholds.error_rate),
        ("avg_latency_ms", latency, thresholds.latency_ms),
    ):
        if value is None:
            missing.append(f"{name} was not reported.")
        elif value >= limit:
            crossed.append(f"{name} {value:.6g} is at or above its threshold {limit:g}.")
    enough = total is not None and total >= thresholds.min_requests
    status = HealthStatus.HEALTHY
    if crossed and enough:
        status = HealthStatus.UNHEALTHY
    elif missing:
        status = HealthStatus.UNKNOWN
    failed = seen["failed_requests"]
    success_rate = None if error_rate is None else 1.0 - error_rate
    if total and failed is not None:
        success_rate = (total - failed) / total
    details = {
        "total_requests": total,
        "failed_requests": failed,
        "thresholds": {
            "error_rate": thresholds.error_rate,
            "latency_ms": thresholds.latency_ms,
            "min_requests": thresholds.min_requests,
        },
        "reasons": [*crossed, *missing] or ["Every metric is below its threshold."],
        "metrics": seen["others"],
    }
    return HealthCheck(now, version, status is HealthStatus.HEALTHY, error_rate, latency, success_rate, details, status)


def _measured(metrics: object) -> dict[str, Any]:
    """Return every known metric (None when missing) and the ``others``, all possible and without contradiction."""
    if not isinstance(metrics, Mapping):
        raise InvalidMetricError(f"metrics must map names to values, not be {type(metrics).__name__}.")
    given = {name: metrics[name] for name in _KNOWN if metrics.get(name) is not None}
    total, failed = (_count(name, given[name]) if name in given else None for name in _COUNTS)
    error_rate = _rate("error_rate", given["error_rate"]) if "error_rate" in given else None
    latency = _number("avg_latency_ms", given["avg_latency_ms"]) if "avg_latency_ms" in given else None
    if latency is not None and latency < 0:
        raise InvalidMetricError(f"avg_latency_ms is {latency:g}.", hint="A latency is 0 or more milliseconds.")
    if total is not None and failed is not None and failed > total:
        raise InvalidMetricError(f"{failed} of {total} requests failed, which cannot be.", hint="Check the counters.")
    if total is not None and (failed is not None or total == 0):
        error_rate = _agreed("error_rate", error_rate, failed or 0, total)
    others = check_document({name: value for name, value in metrics.items() if name not in _KNOWN}, "metrics")
    if error_rate is not None and others.get("success_rate") is not None:
        claimed = _rate("success_rate", others["success_rate"])
        if abs(1.0 - claimed - error_rate) > ROUNDING + 1e-9:
            raise InvalidMetricError(f"success_rate {claimed:g} contradicts the error rate {error_rate:g}.")
    if total == 0:
        latency = None  # the mean of nothing
    return {
        "total_requests": total,
        "failed_requests": failed,
        "error_rate": error_rate,
        "avg_latency_ms": latency,
        "others": others,
    }


def _agreed(name: str, reported: float | None, part: int, total: int) -> float | None:
    """Return the rate by the counts, which are exact, once the reported one agrees with them."""
    counted = part / total if total else 0.0
    if reported is not None and abs(reported - counted) > ROUNDING + 1e-9:
        raise InvalidMetricError(
            f"{name} {reported:g} contradicts {part} failed of {total} requests.", hint="Check the counters."
        )
    return counted if total else None


def _number(name: str, value: object) -> float:
    number = real(value)
    if number is None:
        raise InvalidMetricError(f"{name} is {shown(value)}, which is not a number.")
    if not math.isfinite(number):
        raise InvalidMetricError(f"{name} is {number}.", hint="Leave a metric out when it could not be measured.")
    return number


def _rate(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise InvalidMetricError(f"{name} is {number:g}.", hint="A rate is a number from 0 to 1.")
    return number


def _count(name: str, value: object) -> int:
    number = _number(name, value)
    if number < 0 or number != int(number):
        raise InvalidMetricError(f"{name} is {number:g}.", hint="A count is a whole number from 0.")
    return int(number)
