"""How many requests a test needs, from the incumbent's own numbers, before it starts.

Two answers side by side. The fixed horizon is the classical sample size: look once, at the end. The sequential one
is what the procedure of :mod:`sentinelzer0.stats.comparison` needs: it may be looked at after every request, stops
when the interval excludes 0, and so has no fixed size but a distribution of sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """What a test will take if the true effect is exactly the one asked about.

    Units are what the metric counts: requests, or labelled requests. Requests are those of both arms together.

    Attributes:
        metric: The metric's name.
        baseline: Its value in the incumbent.
        effect: The difference to be found, challenger minus control, in the unit of the metric, with its sign.
        share: Share of the challenger among both arms.
        alpha: Probability of a wrong verdict.
        power: Probability that the fixed-horizon test finds the effect.
        min_samples: Units each arm needs before a verdict.
        labelled_share: Share of the requests that count as units of this metric.
        rate_per_s: Requests per second of both arms together; None when unknown.
        per_arm_fixed: Units the smaller arm needs at the fixed horizon.
        fixed_total: Units of both arms at the fixed horizon.
        sequential_expected: Units of both arms at the verdict, on average.
        sequential_max: Units of both arms by which nine of ten such tests have their verdict.
        requests_fixed: Requests behind ``fixed_total``.
        requests_expected: Requests behind ``sequential_expected``.
        requests_total: Requests behind ``sequential_max``.
        duration_fixed_s: Seconds for ``requests_fixed``; None without a rate.
        duration_s: Seconds for ``requests_expected``; None without a rate.
        duration_max_s: Seconds for ``requests_total``; None without a rate.
        sentence: All of it in words.
    """

    metric: str
    baseline: float
    effect: float
    share: float
    alpha: float
    power: float
    min_samples: int
    labelled_share: float
    rate_per_s: float | None
    per_arm_fixed: int
    fixed_total: int
    sequential_expected: int
    sequential_max: int
    requests_fixed: int
    requests_expected: int
    requests_total: int
    duration_fixed_s: float | None
    duration_s: float | None
    duration_max_s: float | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)
