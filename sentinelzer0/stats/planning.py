"""How many requests a test needs, from the incumbent's own numbers: before it starts, and while it runs.

Two answers side by side. The fixed horizon is the classical sample size: look once, at the end. The sequential one
is what the procedure of :mod:`sentinelzer0.stats.comparison` needs: it may be looked at after every request, stops
when the interval excludes 0, and so has no fixed size but a distribution of sizes.

That distribution is approximated in closed form (:mod:`sentinelzer0.stats.first_passage`) from the expected statistics
of the test, guards included; ``tests/statistics/test_planning.py`` holds it against simulated tests. The challenger is
assumed to vary like the incumbent: the same spread of measured values, the same share of requests that count.

A promotion also waits until every guardrail is proven to be kept: :func:`kept`.

Sources:
    Fleiss, Levin, Paik, "Statistical Methods for Rates and Proportions" (3rd ed., 2003): sample sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, copysign, sqrt
from typing import Any

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.comparison import minimum_of, tightest_at
from sentinelzer0.stats.confidence_sequences import critical_z, critical_z_one_sided, tuned_rho
from sentinelzer0.stats.estimators import IMAGINED, Direction, Metric
from sentinelzer0.stats.first_passage import MOST, Passage, passage
from sentinelzer0.stats.plan_settings import Baseline, Setting, baseline_by_hand, baseline_of, signed_effect
from sentinelzer0.stats.plan_words import plan_sentence, remaining_sentence
from sentinelzer0.stats.special_functions import normal_quantile

__all__ = [
    "Baseline",
    "Kept",
    "Plan",
    "Remaining",
    "Setting",
    "baseline_by_hand",
    "baseline_of",
    "kept",
    "plan",
    "remaining",
    "signed_effect",
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a test will take if the true effect is exactly the one asked about.

    Units are what the metric counts: requests, or labelled requests. Requests are all that come in.

    Attributes:
        metric: The metric's name.
        baseline: Its value in the incumbent.
        effect: The difference to be found, challenger minus control, in the unit of the metric, with its sign.
        share: Share of the challenger among both arms.
        alpha: Probability of a wrong verdict.
        power: Probability that the fixed-horizon test finds the effect.
        min_samples: Units each arm needs before a verdict.
        labelled_share: Share of the requests that count as units of this metric.
        rate_per_s: Requests per second; None when unknown.
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


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a running test still needs, given what it has seen.

    Attributes:
        units_expected: Further units of both arms until the verdict, on average; 0 when it is there.
        units_max: Further units by which nine of ten such tests have it.
        requests_expected: Requests behind ``units_expected``.
        requests_max: Requests behind ``units_max``.
        duration_s: Seconds for ``requests_expected``; None without a rate.
        duration_max_s: Seconds for ``requests_max``; None without a rate.
        sentence: All of it in words.
    """

    units_expected: int
    units_max: int
    requests_expected: int
    requests_max: int
    duration_s: float | None
    duration_max_s: float | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the proof that a guardrail is kept needs, if the challenger is exactly as good as the control.

    Attributes:
        metric: The metric's name.
        baseline: Its value in the control.
        margin: How much worse is accepted.
        relative: Whether the margin is a share of the control's value.
        alpha: Probability of a wrong proof.
        units_expected: Units of both arms until the proof, on average; 0 when it is there.
        units_max: Units by which nine of ten such tests have it.
        requests_expected: Requests behind ``units_expected``.
        requests_max: Requests behind ``units_max``.
        duration_s: Seconds for ``requests_expected``; None without a rate.
        duration_max_s: Seconds for ``requests_max``; None without a rate.
    """

    metric: str
    baseline: float
    margin: float
    relative: bool
    alpha: float
    units_expected: int
    units_max: int
    requests_expected: int
    requests_max: int
    duration_s: float | None
    duration_max_s: float | None


def plan(baseline: Baseline, gap: float, setting: Setting) -> Plan:
    """Say what a test takes, once at a fixed horizon and once sequentially.

    Args:
        baseline: The incumbent, from :func:`baseline_of` or :func:`baseline_by_hand`.
        gap: The difference B - A to be found, from :func:`signed_effect`.
        setting: How the test is run.

    Raises:
        InvalidInputError: An effect that no number of requests finds.
    """
    fixed_a, fixed_b = _fixed(baseline, gap, setting)
    found = _passage(baseline, gap, setting)
    units = (float(fixed_a + fixed_b), found.mean, found.most)
    fixed, expected, most = (setting.requests(count) for count in units)
    return Plan(
        metric=baseline.metric.value,
        baseline=baseline.value,
        effect=gap,
        share=setting.share,
        alpha=setting.alpha,
        power=setting.power,
        min_samples=minimum_of(baseline.metric, setting.min_samples),
        labelled_share=setting.labelled_share,
        rate_per_s=setting.rate_per_s,
        per_arm_fixed=min(fixed_a, fixed_b),
        fixed_total=fixed_a + fixed_b,
        sequential_expected=ceil(found.mean),
        sequential_max=ceil(found.most),
        requests_fixed=fixed,
        requests_expected=expected,
        requests_total=most,
        duration_fixed_s=setting.seconds(fixed),
        duration_s=setting.seconds(expected),
        duration_max_s=setting.seconds(most),
        sentence=plan_sentence(baseline.metric, baseline.value, gap, setting, (fixed, expected, most)),
    )


def remaining(
    baseline: Baseline,
    gap: float,
    setting: Setting,
    *,
    information: float,
    difference: float | None,
    reach: float = 0.0,
) -> Remaining:
    """Say what a running test still needs, if the true difference is ``gap`` from now on.

    Args:
        baseline: The incumbent, best from the test's own control.
        gap: The true difference B - A.
        setting: How the test is run from now on.
        information: Effective units seen so far (:attr:`sentinelzer0.stats.comparison.Comparison.information`).
        difference: The difference B - A seen so far; None when there is none.
        reach: From there to its limit on the side of 0, which tells how both arms really spread; 0 when unknown.

    Raises:
        InvalidInputError: An effect that no number of requests finds.
    """
    seen = 0.0 if difference is None else information
    found = _passage(baseline, gap, setting, seen, difference or 0.0, reach)
    expected, most = setting.requests(found.mean), setting.requests(found.most)
    return Remaining(
        units_expected=ceil(found.mean),
        units_max=ceil(found.most),
        requests_expected=expected,
        requests_max=most,
        duration_s=setting.seconds(expected),
        duration_max_s=setting.seconds(most),
        sentence=remaining_sentence(baseline.metric, gap, setting, (expected, most)),
    )


def kept(
    baseline: Baseline,
    margin: float,
    setting: Setting,
    *,
    relative: bool = False,
    information: float = 0.0,
    worse_by: float | None = None,
    reach: float = 0.0,
) -> Kept | None:
    """Say what proves that a guardrail is kept, if the challenger is exactly as good as the control from now on.

    Args:
        baseline: The control in the guarded metric.
        margin: How much worse is accepted, in the unit of the metric.
        setting: How the test is run; ``alpha`` is the level of this proof.
        relative: The margin is a share of the control's value instead.
        information: Effective units seen so far.
        worse_by: By how much the challenger has been worse so far, in the unit of the margin; None when unknown.
        reach: From there to its upper limit, likewise, which tells how both arms really spread; 0 when unknown.

    Returns:
        None when no number of requests proves it, as without a margin.
    """
    unit = abs(baseline.value) if relative else 1.0
    if margin * unit <= 0.0:
        return None
    seen = (0.0, 0.0, 0.0) if worse_by is None else (information, (margin - worse_by) * unit, reach * unit)
    found = _proof(baseline, margin, setting, relative=relative, seen=seen)
    if found is None:
        return None
    expected, most = setting.requests(found.mean), setting.requests(found.most)
    return Kept(
        metric=baseline.metric.value,
        baseline=baseline.value,
        margin=margin,
        relative=relative,
        alpha=setting.alpha,
        units_expected=ceil(found.mean),
        units_max=ceil(found.most),
        requests_expected=expected,
        requests_max=most,
        duration_s=setting.seconds(expected),
        duration_max_s=setting.seconds(most),
    )


def _proof(
    baseline: Baseline, margin: float, setting: Setting, *, relative: bool, seen: tuple[float, float, float]
) -> Passage | None:
    """Units of both arms until the one-sided limit of :func:`sentinelzer0.stats.comparison.harm` is below the margin."""
    value, alpha = baseline.value, setting.alpha
    sign = 1.0 if baseline.metric.direction is Direction.LOWER else -1.0
    of_a = sign + copysign(margin, value) if relative else sign
    effective = 4.0 * setting.share * (1.0 - setting.share)
    rho = tuned_rho(tightest_at(setting.min_samples), min(2.0 * alpha, 0.5 + 0.5 * alpha))

    def spread(time: float) -> tuple[float, float]:
        """Standard error, and what skewness adds to the upper limit per squared z."""
        units = time / effective
        a = _expected(baseline, value, units * (1.0 - setting.share))
        b = _expected(baseline, value, units * setting.share)
        variance = of_a * of_a * a[0] + b[0]
        return sqrt(variance), max(0.0, 0.5 * (sign * b[1] - of_a**3 * a[1]) / variance)

    drift = margin * abs(value) if relative else margin
    return _meeting(baseline, setting, lambda time: critical_z_one_sided(time, alpha, rho), spread, drift, seen)


def _passage(
    baseline: Baseline,
    gap: float,
    setting: Setting,
    information: float = 0.0,
    difference: float = 0.0,
    reach: float = 0.0,
) -> Passage:
    """Units of both arms until the verdict."""
    effective = 4.0 * setting.share * (1.0 - setting.share)
    rho = tuned_rho(tightest_at(setting.min_samples), setting.alpha)
    side = 1.0 if gap > 0.0 else -1.0

    def spread(time: float) -> tuple[float, float]:
        """Standard error, and what skewness adds to the limit next to 0 per squared z."""
        units = time / effective
        a = _expected(baseline, baseline.value, units * (1.0 - setting.share))
        b = _expected(baseline, baseline.value + gap, units * setting.share)
        variance = a[0] + b[0]
        if baseline.metric.is_measured:  # the variance of both arms together is the floor
            between = setting.share * (1.0 - setting.share) * gap * gap
            guarded = variance + between * 4.0 / time
        else:
            guarded = variance
        return sqrt(guarded), max(0.0, -side * 0.5 * (b[1] - a[1]) / variance)

    seen = information, side * difference, reach
    found = _meeting(baseline, setting, lambda time: critical_z(time, setting.alpha, rho), spread, abs(gap), seen)
    if found is None:
        raise InvalidInputError(f"No number of requests shows a difference of {gap:g}.", hint="Ask for a larger one.")
    return found


def _meeting(
    baseline: Baseline,
    setting: Setting,
    critical: Callable[[float], float],
    spread: Callable[[float], tuple[float, float]],
    drift: float,
    seen: tuple[float, float, float],
) -> Passage | None:
    """Units of both arms until an estimate of that drift meets the boundary: after information, estimate and reach."""
    effective, least = 4.0 * setting.share * (1.0 - setting.share), min(setting.share, 1.0 - setting.share)
    needed = minimum_of(baseline.metric, setting.min_samples)
    earliest, (information, estimate, reach) = effective * needed / least, seen

    def boundary(time: float) -> float:
        z, (error, lean) = critical(time), spread(time)
        return z * error + z * z * lean

    wider = reach / boundary(information) if reach and information else 1.0
    found = passage(
        lambda time: wider * boundary(time),
        lambda time: wider * spread(time)[0],
        drift,
        earliest=earliest,
        information=information,
        estimate=estimate,
    )
    if found is None:
        return None
    mean, most = found.mean / effective, found.most / effective
    if information == 0.0:  # how many units it takes until the smaller arm has its minimum varies, too
        most = max(most, (needed + normal_quantile(1.0 - MOST) * sqrt(needed * (1.0 - least))) / least)
    return Passage(mean, most)


def _expected(baseline: Baseline, value: float, units: float) -> tuple[float, float]:
    """Variance and third cumulant of the estimate of one arm, as the runtime would guard them."""
    if baseline.metric.is_measured:
        return baseline.variance / units, baseline.third / (units * units)
    of_hit = 2 if baseline.metric is Metric.F1_SCORE else 1
    hits, misses = units * value * baseline.weight / of_hit, units * (1.0 - value) * baseline.weight
    total, more_hits, more_misses = of_hit * hits + misses, hits + IMAGINED, misses + IMAGINED
    more_total = of_hit * more_hits + more_misses
    ratio = of_hit * more_hits / more_total
    up, down = of_hit * (1.0 - ratio), -ratio
    squares = up * up * more_hits + down * down * more_misses
    cubes = up**3 * more_hits + down**3 * more_misses
    return squares / (total * more_total), cubes / (total * total * more_total)


def _fixed(baseline: Baseline, gap: float, setting: Setting) -> tuple[int, int]:
    """Units of A and B for one look with the power asked for: both variances, no continuity correction."""
    a, b = (_plain_variance(baseline, value) for value in (baseline.value, baseline.value + gap))
    reach = normal_quantile(0.5 * setting.alpha) + normal_quantile(1.0 - setting.power)
    both = (reach / gap) ** 2 * (a / (1.0 - setting.share) + b / setting.share)
    return max(2, ceil(both * (1.0 - setting.share))), max(2, ceil(both * setting.share))


def _plain_variance(baseline: Baseline, value: float) -> float:
    if baseline.metric.is_measured:
        return baseline.variance
    of_hit = 2 if baseline.metric is Metric.F1_SCORE else 1
    # E (X - R Y)^2 / (E Y)^2 with the two kinds of units, hits (X = Y = of_hit) and misses (X = 0, Y = 1).
    return value * (1.0 - value) * (of_hit * (1.0 - value) + value) / baseline.weight
