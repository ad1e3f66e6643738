"""Latency histogram with logarithmic buckets: quantiles within 1 %, merged by adding counts.

Bucket ``i`` holds the values in ``(1.02^(i-1), 1.02^i]`` milliseconds and answers with the point whose relative
distance to both ends is the same, at most 0.02 / 2.02 = 0.991 %. One second spans about 1000 buckets, and only
buckets that were hit are stored. The scheme is that of DDSketch (Masson, Rim and Lee, "DDSketch: a fast and
fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite, log

from sentinelzer0.errors import InvalidInputError

_GROWTH = 1.02
_PER_LOG = 1.0 / log(_GROWTH)
_MIDDLE = 2.0 / (1.0 + _GROWTH)

SMALLEST_MS = 1e-6
"""Values below one nanosecond, and 0 itself, share one bucket that answers 0."""

ZERO_BUCKET = ceil(log(SMALLEST_MS) * _PER_LOG) - 1


def bucket_of(value_ms: float) -> int:
    """The bucket a latency falls into.

    Args:
        value_ms: Milliseconds, finite and not negative.

    Raises:
        InvalidInputError: The value is negative or not finite.
    """
    if not (isfinite(value_ms) and value_ms >= 0.0):
        raise InvalidInputError(f"A latency of {value_ms} ms is not possible.", hint="Pass milliseconds >= 0.")
    return ZERO_BUCKET if value_ms < SMALLEST_MS else ceil(log(value_ms) * _PER_LOG)


def buckets_of(values_ms: Iterable[float]) -> dict[int, int]:
    """How many of many latencies fall into each bucket, as :func:`bucket_of` says.

    Args:
        values_ms: Milliseconds, known to be finite and not negative.
    """
    per_log = _PER_LOG
    return dict(Counter([ceil(log(v) * per_log) if v >= SMALLEST_MS else ZERO_BUCKET for v in values_ms]))


def value_of(bucket: int) -> float:
    """The latency in milliseconds a bucket stands for, within 1 % of every value in it."""
    return 0.0 if bucket <= ZERO_BUCKET else _MIDDLE * _GROWTH**bucket


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """A sparse histogram: how many latencies fell into each bucket.

    Attributes:
        counts: Bucket number -> positive count. Not to be changed after construction.

    Raises:
        InvalidInputError: A negative count.
    """

    counts: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.counts and min(self.counts.values()) < 0:
            raise InvalidInputError("A bucket cannot hold a negative number of latencies.")

    @classmethod
    def of(cls, values_ms: Iterable[float]) -> LatencyHistogram:
        """Count latencies at hand, in milliseconds."""
        counts: dict[int, int] = {}
        for value in values_ms:
            bucket = bucket_of(value)
            counts[bucket] = counts.get(bucket, 0) + 1
        return cls(counts)

    def __add__(self, other: LatencyHistogram) -> LatencyHistogram:
        if not other.counts:
            return self
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return LatencyHistogram(counts)

    @property
    def count(self) -> int:
        """Number of latencies recorded."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """The latency in milliseconds that a share ``q`` of requests did not exceed, within 1 %.

        It is the value of rank ``ceil(q n)`` (the smallest for q = 0), the "nearest rank" definition.

        Args:
            q: Between 0 and 1, 0.95 for p95.

        Returns:
            None when nothing was recorded.

        Raises:
            InvalidInputError: ``q`` is outside [0, 1].
        """
        if not 0.0 <= q <= 1.0:
            raise InvalidInputError(f"A quantile lies between 0 and 1, not {q}.", hint="Use 0.95 for p95.")
        rank = max(1, ceil(q * self.count))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return value_of(bucket)
        return None
