"""The band that all looks so far agree on, and whether the latest look still agrees with it.

A confidence sequence covers a constant truth at all looks at once, so the intersection of its intervals covers it as
well. An empty intersection means that the truth was not constant (or, with probability alpha, bad luck): the effect
has drifted. That is said, and the last band that was not empty stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sentinelzer0.stats.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Running:
    """What the looks so far say together about one metric.

    Attributes:
        low: Largest lower limit of any look; None before the first look that counts.
        high: Smallest upper limit of any look; None before the first look that counts.
        p_value: Smallest p-value of any look; still valid, because each is valid at every stopping time.
        drifted: A look contradicted the ones before it. It stays said.
    """

    low: float | None = None
    high: float | None = None
    p_value: float = 1.0
    drifted: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """The band; None before the first look that counts."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def intersect(running: Running, comparison: Comparison) -> Running:
    """Take one more look into account.

    Args:
        running: What the looks before say; ``Running()`` before the first.
        comparison: The new look. It counts once each arm has its minimum, as a verdict does.
    """
    now = comparison.interval
    too_early = min(comparison.samples_a, comparison.samples_b) < comparison.min_samples
    if now is None or too_early or running.drifted:
        return running
    before = running.interval
    low, high = now if before is None else (max(before[0], now[0]), min(before[1], now[1]))
    if low > high:
        return replace(running, drifted=True)
    return Running(low, high, min(running.p_value, comparison.p_value))
