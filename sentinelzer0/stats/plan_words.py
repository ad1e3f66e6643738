"""A plan in one sentence, and durations as people say them."""

from __future__ import annotations

from sentinelzer0.stats.estimators import AnyMetric, Metric
from sentinelzer0.stats.plan_settings import Setting
from sentinelzer0.stats.wording import shown

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def plan_sentence(metric: AnyMetric, value: float, gap: float, setting: Setting, requests: tuple[int, int, int]) -> str:
    """Say what a test takes.

    Args:
        metric: What is compared.
        value: The incumbent's value.
        gap: The difference to be found.
        setting: How the test is run.
        requests: At a fixed horizon; until the sequential verdict on average; and in nine of ten tests.
    """
    fixed, expected, most = requests
    old, new = apart(value, gap)
    ms = " ms" if metric is Metric.AVG_LATENCY_MS else ""
    said = (
        f"To find that the {metric.words} is {new}{ms} rather than {old}{ms}, a fixed horizon takes "
        f"{fixed:,} requests and allows one look (power {100 * setting.power:g} %). The sequential test may be looked at "
        f"any time and takes {expected:,} requests on average; nine of ten have their verdict by {most:,}."
    )
    if setting.rate_per_s is None:
        return said
    times = [duration(count / setting.rate_per_s) for count in requests]
    return f"{said} At {setting.rate_per_s:.4g} requests/s that is {times[0]}, against {times[1]} and {times[2]}."


def remaining_sentence(metric: AnyMetric, gap: float, setting: Setting, requests: tuple[int, int]) -> str:
    """Say what a running test still needs.

    Args:
        metric: What is compared.
        gap: The assumed true difference.
        setting: How the test is run.
        requests: Further requests until the verdict on average, and in nine of ten tests.
    """
    expected, most = requests
    if most == 0:
        return f"The evidence on the {metric.words} is enough already."
    by = shown(metric, gap)
    if not float(by.removesuffix(" ms")):
        by = f"{gap:+.3g}"
    said = f"If the {metric.words} of B differs by {by}, a verdict takes about {expected:,} more requests"
    said += f" (nine of ten tests: {most:,})"
    if setting.rate_per_s is None:
        return said + "."
    times = [duration(count / setting.rate_per_s) for count in requests]
    return f"{said}: at this rate in {times[0]} ({times[1]})."


def promotion_sentence(longest: str, requests: tuple[int, int], rate_per_s: float | None, *, more: bool) -> str:
    """Say what a promotion takes where guardrails have to be proven to be kept, too.

    Args:
        longest: What needs the longest, as the subject of a sentence.
        requests: Requests until the promotion on average, and in nine of ten tests.
        rate_per_s: Requests per second; None when unknown.
        more: They come on top of what was seen.
    """
    expected, most = requests
    if most == 0:
        return "The guardrails are proven to be kept already."
    times = "" if rate_per_s is None else f" ({duration(expected / rate_per_s)} and {duration(most / rate_per_s)})"
    return (
        f"A promotion waits until the guardrails are proven to be kept as well: {expected:,}{' more' * more} requests on "
        f"average, {most:,} in nine of ten tests{times}, if the challenger is exactly as good there. {longest} needs "
        f"the longest."
    )


def apart(value: float, gap: float) -> tuple[str, str]:
    """Return a value and what it becomes, with as many digits as it takes to tell their difference.

    >>> apart(0.05, -1e-6), apart(0.9, 0.02), apart(20.0, 0.00123)
    (('0.05', '0.049999'), ('0.9', '0.92'), ('20', '20.00123'))
    """
    digits = 4
    while digits < 17 and abs(float(f"{value + gap:.{digits}g}") - float(f"{value:.{digits}g}") - gap) > 0.02 * abs(
        gap
    ):
        digits += 1
    return f"{value:.{digits}g}", f"{value + gap:.{digits}g}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> [duration(s) for s in (0.2, 45, 90, 12_000, 180_000, 400_000_000)]
    ['1 s', '45 s', '2 min', '3 h 20 min', '2 d 2 h', '4,630 d']
    """
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR - 30:
        return f"{round(whole / _MINUTE)} min"
    minutes = round(whole / _MINUTE)
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(whole / _HOUR)
    if hours < 24 * 30:
        return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
    return f"{round(whole / _DAY):,} d"
