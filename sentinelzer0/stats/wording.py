"""What a comparison of two arms means, in one sentence."""

from __future__ import annotations

from enum import StrEnum

from sentinelzer0.stats.estimators import AnyMetric, CustomMetric, Direction, Metric


class HarmState(StrEnum):
    """What a guardrail says."""

    VIOLATED = "violated"
    PASSED = "passed"
    PENDING = "pending"
    NO_DATA = "no_data"


def winner_of(direction: Direction, interval: tuple[float, float] | None) -> str | None:
    """The better arm, "A" or "B"; None while the interval holds 0.

    Args:
        direction: Which way the metric improves.
        interval: Limits for the difference B - A.
    """
    if interval is None or interval[0] <= 0.0 <= interval[1]:
        return None
    b_is_higher = interval[0] > 0.0
    return "B" if b_is_higher == (direction is Direction.HIGHER) else "A"


def reason_of(
    metric: AnyMetric, winner: str | None, interval: tuple[float, float] | None, direction: Direction, alpha: float
) -> str:
    """What a comparison says, once nothing is missing for it.

    Args:
        metric: The metric compared.
        winner: The better arm, or None while neither is shown to be.
        interval: Limits for the difference B - A; None when there are none.
        direction: Which way the metric improves.
        alpha: Error probability of the interval.
    """
    if interval is None:
        return f"The {metric.words} cannot be compared: every value in both arms is identical."
    low, high = shown(metric, interval[0]), shown(metric, interval[1])
    band = f"the difference B - A lies between {low} and {high} ({100 * (1 - alpha):g} % at every look)"
    if winner is None:
        return f"No difference in {metric.words} is shown yet: {band}."
    better = "lower" if direction is Direction.LOWER else "higher"
    return f"{winner} has the {better} {metric.words}: {band}."


def missing_for(
    metric: AnyMetric,
    values: tuple[float | None, float | None],
    samples: tuple[int, int],
    *,
    needed: int,
    strata: int,
) -> str | None:
    """What is missing before anything can be said; None when nothing is.

    Args:
        metric: The metric compared.
        values: Of A and B; None when undefined.
        samples: Units of A and B.
        needed: Units each arm has to have.
        strata: Phases in which both arms have units.
    """
    unit = metric.unit
    if min(samples) == 0:
        empty = [arm for arm, units in zip("AB", samples, strict=True) if units == 0]
        return f"No data: {' and '.join(empty)} {'have' if len(empty) == 2 else 'has'} no {unit} yet."
    if not strata:
        return f"Nothing to compare: A and B have no {unit} at the same share of traffic yet."
    if min(samples) < needed:
        return f"Too early to say: A has {samples[0]} and B {samples[1]} of the {needed} {unit} each needs."
    if None in values:
        undefined = " and ".join(arm for arm, value in zip("AB", values, strict=True) if value is None)
        return f"The {metric.words} of {undefined} is not defined yet: nothing that it is a share of has occurred."
    return None


def harm_reason(
    metric: AnyMetric, state: HarmState, worse_by: float | None, margin: float, *, alpha: float, relative: bool
) -> str:
    """What a guardrail says, once there are limits.

    Args:
        metric: The metric that is guarded.
        state: What is proven.
        worse_by: By how much B is worse, against the direction of the metric, in the unit of the margin.
        margin: How much worse is acceptable.
        alpha: Error probability of the limits.
        relative: Margin and ``worse_by`` are shares of the control's value.
    """
    sign = 1.0 if metric.direction is Direction.LOWER else -1.0
    now = "" if worse_by is None else f" (now {_by(metric, sign * worse_by, relative)})"
    bound = _by(metric, sign * margin, relative)
    sure = f"{100 * (1 - alpha):g} % at every look"
    match state:
        case HarmState.VIOLATED:
            return f"The {metric.words} of B is worse than A's by more than {bound}{now}, {sure}."
        case HarmState.PASSED:
            return f"The {metric.words} of B is not worse than A's by more than {bound}{now}, {sure}."
        case _:
            return f"It is not shown yet whether the {metric.words} of B is worse than A's by more than {bound}{now}."


def shown(metric: AnyMetric, value: float) -> str:
    """A difference with its sign, in the unit of the metric.

    Args:
        metric: What differs.
        value: By how much.
    """
    if metric is Metric.AVG_LATENCY_MS:
        return f"{value:+.3g} ms"
    return f"{value:+.4g}" if isinstance(metric, CustomMetric) else f"{value:+.4f}"


def _by(metric: AnyMetric, value: float, relative: bool) -> str:
    return f"{100 * value:+.3g} %" if relative else shown(metric, value)
