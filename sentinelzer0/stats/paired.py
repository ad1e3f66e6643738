"""Both models score the same request (shadow mode): statistics of the pairs, and verdicts from them.

Two answers to one request share what makes the request hard, so their difference varies less than the difference
of two independent samples: pairs on which both models agree say nothing against either and cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.moments import NO_VALUES, Moments


@dataclass(frozen=True, slots=True)
class PairedStatistics:
    """Pairs of answers, A's and B's, to the same requests; two of them add up to the statistics of both together.

    Attributes:
        pairs: Requests that both arms answered.
        both_failed: Those on which both failed.
        only_a_failed: Those on which A failed and B did not.
        only_b_failed: Those on which B failed and A did not.
        latency: Moments of ``b - a`` in milliseconds.
        confidence: Moments of ``b - a`` where both gave a confidence.
        joint: Labelled pairs with both predictions, at index ``4 * true + 2 * pred_a + pred_b`` (1 = attack).
        only_a_slow: Pairs in which A took longer than the SLO and B did not.
        only_b_slow: Pairs in which B took longer than the SLO and A did not.
        both_slow: Pairs in which both did.

    Raises:
        InvalidInputError: A negative count, a ``joint`` that has not eight, or more failures than pairs.
    """

    pairs: int = 0
    both_failed: int = 0
    only_a_failed: int = 0
    only_b_failed: int = 0
    latency: Moments = NO_VALUES
    confidence: Moments = NO_VALUES
    joint: tuple[int, ...] = (0,) * 8
    only_a_slow: int = 0
    only_b_slow: int = 0
    both_slow: int = 0

    def __post_init__(self) -> None:
        failed = (self.both_failed, self.only_a_failed, self.only_b_failed)
        slow = (self.both_slow, self.only_a_slow, self.only_b_slow)
        if len(self.joint) != 8 or min(self.joint) < 0 or min(*failed, *slow) < 0:
            raise InvalidInputError(f"No pairs have the counts {self.joint}, {failed}, {slow}.")
        if max(sum(failed), sum(slow), sum(self.joint)) > self.pairs:
            raise InvalidInputError(f"{self.pairs} pairs cannot have the counts {self.joint}, {failed}, {slow}.")

    def __add__(self, other: PairedStatistics) -> PairedStatistics:
        return PairedStatistics(
            self.pairs + other.pairs,
            self.both_failed + other.both_failed,
            self.only_a_failed + other.only_a_failed,
            self.only_b_failed + other.only_b_failed,
            self.latency + other.latency,
            self.confidence + other.confidence,
            tuple(map(add, self.joint, other.joint)),
            self.only_a_slow + other.only_a_slow,
            self.only_b_slow + other.only_b_slow,
            self.both_slow + other.both_slow,
        )
