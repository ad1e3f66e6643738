"""Sufficient statistics of one arm: values that merge by addition.

Laws, each of them a property test:

* ``a + b`` is the statistics of both samples together; it is commutative and has the empty value as zero.
* For counts the merge is exact and associative. For sums of floats it is associative up to rounding.
* A rate without a denominator (0/0) is None, never 0: "nothing was predicted positive" is not "precision 0".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from sentinelzer0.errors import InvalidInputError

# The spread about the mean is a difference of two sums. Below this share of the larger sum the difference is
# rounding noise (1e8 additions leave about 1e-12), and noise must not pass for a tiny variance.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Moments:
    """Count and sums of the first three powers of a sample, taken about a fixed offset.

    Each field grows by plain addition, so many processes may maintain one row with ``count = count + 1,
    total = total + d, total_sq = total_sq + d * d, total_cu = total_cu + d * d * d`` where ``d = x - offset``;
    the count is exact. :meth:`of` gives the sums of a batch.

    Cancellation: the variance is ``(total_sq - total^2 / n) / (n - 1)`` and loses a factor of about
    ``(mean - offset)^2 / variance`` in relative accuracy. With an offset of 0 that is harmless for latencies and
    probabilities (a mean of 100 times the standard deviation still leaves 11 digits). A metric whose mean is more
    than a thousand standard deviations from 0 needs an offset near its values, chosen once for the metric and
    never changed, because only moments about the same offset can be added. A spread below the rounding error of
    the sums (standard deviation under a millionth of the distance from the offset) reads as exactly 0.

    Attributes:
        count: Number of values.
        total: Sum of ``x - offset``.
        total_sq: Sum of ``(x - offset)^2``.
        total_cu: Sum of ``(x - offset)^3``; gives the skewness, which intervals have to allow for.
        offset: The fixed point the sums are taken about, in the unit of the values.

    Raises:
        InvalidInputError: A negative count, a non-finite sum, or sums that no sample has.
    """

    count: int
    total: float
    total_sq: float
    total_cu: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InvalidInputError(f"A sample cannot hold {self.count} values.")
        if not isfinite(self.total + self.total_sq + self.total_cu + self.offset):
            raise InvalidInputError(
                f"The sums {self.total}, {self.total_sq}, {self.total_cu} about {self.offset} are not finite."
            )
        if self.total_sq < 0.0 or (self.count == 0 and (self.total or self.total_sq or self.total_cu)):
            raise InvalidInputError(f"No sample of {self.count} has the sums {self.total}, {self.total_sq}.")

    @classmethod
    def of(cls, values: Iterable[float], *, offset: float = 0.0) -> Moments:
        """Summarise values at hand.

        Args:
            values: Finite numbers.
            offset: The fixed point of the metric.
        """
        centred = [value - offset for value in values]
        return cls(len(centred), sum(centred), sum(d * d for d in centred), sum(d * d * d for d in centred), offset)

    def __add__(self, other: Moments) -> Moments:
        if self.offset != other.offset:
            raise InvalidInputError(
                f"Moments about {self.offset} and {other.offset} cannot be added.",
                hint="Keep one offset per metric for its whole life.",
            )
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.total_sq + other.total_sq,
            self.total_cu + other.total_cu,
            self.offset,
        )

    @property
    def mean(self) -> float | None:
        """Arithmetic mean in the unit of the values; None for an empty sample."""
        return self.offset + self.total / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """Unbiased sample variance (divisor n - 1), never negative; None for fewer than two values."""
        if self.count < 2:
            return None
        spread = self.total_sq - self.total * self.total / self.count
        return 0.0 if spread <= _ROUNDING * self.total_sq else spread / (self.count - 1)

    @property
    def third_moment(self) -> float | None:
        """Third central moment of the sample (divisor n); its sign says which tail is longer. None when empty."""
        if self.count == 0:
            return None
        mean = self.total / self.count
        return (self.total_cu - 3.0 * mean * self.total_sq) / self.count + 2.0 * mean**3


NO_VALUES = Moments(0, 0.0, 0.0, 0.0)
"""The empty sample about offset 0."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of labelled requests by predicted and true label; "positive" means "attack".

    Attributes:
        tp: Attacks that were flagged.
        fp: Benign requests that were flagged.
        tn: Benign requests that passed.
        fn: Attacks that were missed.

    Raises:
        InvalidInputError: A negative count.
    """

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0

    def __post_init__(self) -> None:
        if self.tp < 0 or self.fp < 0 or self.tn < 0 or self.fn < 0:
            raise InvalidInputError(f"Counts cannot be negative: tp={self.tp} fp={self.fp} tn={self.tn} fn={self.fn}.")

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.tn + other.tn, self.fn + other.fn)

    @property
    def labelled(self) -> int:
        """Number of requests with a known true label."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def accuracy(self) -> float | None:
        """Share of labelled requests answered correctly; None without labels."""
        return _ratio(self.tp + self.tn, self.labelled)

    @property
    def precision(self) -> float | None:
        """Share of flagged requests that were attacks; None when nothing was flagged."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of attacks that were flagged; None when there was no attack."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1_score(self) -> float | None:
        """Harmonic mean of precision and recall, 2TP / (2TP + FP + FN); None when that is 0/0."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
