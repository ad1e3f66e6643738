"""The design of an A/B test: which settings there are, and what they may be.

This module decides what a test may look like. It performs no I/O. The laws:

- A design is checked whole, by the names that people use for its settings; a refused one has changed nothing.
- In setup everything may still be changed, and is then checked as a new design is. Afterwards only shares may.
- The control is named first and has what the challengers and the holdout leave.
- Challengers in the shadow serve nothing: their shares are 0, and nothing has to be held out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sentinelzer0.domain.ab_shares import TOLERANCE, check_share, check_sum
from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus
from sentinelzer0.domain.assignment import CONTROL, LETTERS, allocate, first_ranges
from sentinelzer0.domain.guardrails import parsed
from sentinelzer0.domain.identity import (
    DEFAULT_MODEL,
    MAX_LABEL,
    PRODUCTION,
    check_identifier,
    check_label,
    check_text,
)
from sentinelzer0.domain.outcome_values import MAX_LATENCY_MS
from sentinelzer0.domain.scalars import plain, real, shown, truth, whole
from sentinelzer0.errors import ConflictError, InvalidInputError, InvalidNameError
from sentinelzer0.stats.estimators import AnyMetric, Metric, metric_named

MAX_SAMPLES = 10**12
MAX_SEGMENTS = 50
_LONGEST_S = 10 * 366 * 86_400.0
_SALT = re.compile(r"[0-9a-f]{16}")

DEFAULTS: Mapping[str, Any] = {
    "test_name": None,
    "model_a": None,
    "model_b": None,
    "traffic_split": 0.5,
    "description": "",
    "min_samples": 100,
    "significance_threshold": 0.05,
    "primary_metric": Metric.F1_SCORE.value,
    "guardrails": None,
    "deployment": None,
    "model": DEFAULT_MODEL,
    "arms": None,
    "holdout": 0.0,
    "shadow": False,
    "segments": (),
    "latency_slo_ms": None,
    "label_window": None,
    "minimum_effect": None,
    "direction": None,
    "end_at_verdict": False,
    "deadline": None,
    "max_samples": None,
}
"""Every setting of a design but the salt, and what it is when nobody says so."""


def new_test(*, test_id: str, salt: object, now: datetime, created_by: str, **design: object) -> StoredTest:
    """Return a checked test in setup.

    Args:
        test_id: Its id.
        salt: 16 hex digits that its assignments hang on.
        now: The present.
        created_by: Who designs it.
        **design: Settings by the names of ``ABTestManager.create_test``; the others are :data:`DEFAULTS`.

    Raises:
        InvalidInputError: A setting is unknown, impossible, or contradicts another; the message says which.
    """
    _check_names(design)
    given = {**DEFAULTS, **design}
    shadow = _truth(given, "shadow")
    arms, shares, holdout = _arms(given, shadow=shadow)
    metric = _metric(given)
    slo = _above(given, "latency_slo_ms", MAX_LATENCY_MS)
    guardrails = parsed(given["guardrails"], metric.value)
    for name in (metric.value, *(guardrail.metric for guardrail in guardrails)):
        if name == Metric.SLOW_RATE.value and slo is None:
            raise InvalidInputError(
                f"{name} needs latency_slo_ms.", hint="Say from how many milliseconds on it is slow."
            )
    min_samples = _samples(given["min_samples"], "min_samples", 1)
    deadline, duration = _deadline(given["deadline"], now)
    most = given["max_samples"]
    return StoredTest(
        test_id=test_id,
        test_name=_check_name(given["test_name"], "test"),
        model_a=arms[CONTROL],
        model_b=arms["B"],
        traffic_split=shares["B"],
        status=TestStatus.SETUP,
        created_at=now,
        created_by=created_by,
        description=check_text(given["description"], "description"),
        min_samples=min_samples,
        significance_threshold=_threshold(given["significance_threshold"]),
        primary_metric=metric.value,
        salt=_salt(salt),
        model=check_identifier(given["model"] or DEFAULT_MODEL, "model"),
        environment=None if given["deployment"] is None else _check_environment(given["deployment"]),
        arms=arms,
        shares=shares,
        ranges=[list(found) for found in allocate(first_ranges(holdout), shares)],
        holdout=holdout,
        mode=Mode.SHADOW if shadow else Mode.SPLIT,
        guardrails=[guardrail.to_dict() for guardrail in guardrails],
        segments=_segments(given["segments"]),
        latency_slo_ms=slo,
        label_window_s=_window(given["label_window"]),
        minimum_effect=_above(given, "minimum_effect", math.inf),
        direction="" if isinstance(metric, Metric) else metric.direction.value,
        end_at_verdict=_truth(given, "end_at_verdict"),
        deadline=deadline,
        duration_s=duration,
        max_samples=None if most is None else _samples(most, "max_samples", len(arms) * min_samples),
    )


def settings_of(test: StoredTest) -> dict[str, Any]:
    """Return the settings that make this test when they are given to :func:`new_test`."""
    same = {f.name: getattr(test, f.name) for f in fields(test) if f.name in DEFAULTS}
    shadow = test.mode is Mode.SHADOW
    deadline = test.deadline if test.duration_s is None else timedelta(seconds=test.duration_s)
    return same | {
        "model_a": None,
        "model_b": None,
        "arms": {version: test.shares.get(letter) for letter, version in test.arms.items()},
        "traffic_split": DEFAULTS["traffic_split"],
        "deployment": test.environment,
        "shadow": shadow,
        "label_window": test.label_window_s,
        "direction": test.direction or None,
        "deadline": deadline,
    }


def edited(test: StoredTest, settings: Mapping[str, object], now: datetime) -> StoredTest:
    """Return a test in setup with other settings; what is not named stays.

    Raises:
        ConflictError: It was started: then only shares may change.
        InvalidInputError: As for :func:`new_test`.
    """
    if test.status is not TestStatus.SETUP:
        raise ConflictError(
            f"The test {test.test_name!r} is {test.status}: {', '.join(sorted(settings)) or 'its design'} cannot change.",
            hint="It has ended: for another design create another test."
            if test.status.is_over
            else "Only shares may: sentinelzer0 ab share. For another design create another test.",
        )
    _check_names(settings.keys() - {"salt"})
    before = settings_of(test)
    if settings.keys() & {"model_a", "model_b", "traffic_split"} and "arms" not in settings:
        if len(test.arms) > 2:
            raise InvalidInputError(
                f"The test {test.test_name!r} has {len(test.arms)} arms.", hint="Pass all of them as arms={…}."
            )
        split = DEFAULTS["traffic_split"] if test.mode is Mode.SHADOW else test.traffic_split
        before |= {"arms": None, "model_a": test.model_a, "model_b": test.model_b, "traffic_split": split}
    elif "arms" not in settings and test.mode is Mode.SHADOW and settings.get("shadow") is False:
        raise InvalidInputError(
            "Outside the shadow challengers need shares.", hint="Pass arms={…} or traffic_split too."
        )
    if "primary_metric" in settings:
        before |= {"direction": None}
    identity: dict[str, Any] = {"test_id": test.test_id, "salt": test.salt, "created_by": test.created_by, "now": now}
    return replace(new_test(**identity | before | dict(settings)), created_at=test.created_at)


def _check_names(settings: Iterable[str]) -> None:
    if unknown := sorted(set(settings) - DEFAULTS.keys()):
        raise InvalidInputError(f"A test has no setting {unknown[0]!r}.", hint=f"Use: {', '.join(DEFAULTS)}, salt.")


def _arms(given: Mapping[str, Any], *, shadow: bool) -> tuple[dict[str, str], dict[str, float], float]:
    """Return the versions and the challengers' shares by letter, and the holdout."""
    check = check_identifier if given["deployment"] is not None else _check_name
    holdout = check_share(given["holdout"], "holdout")
    if given["arms"] is None:
        if missing := [name for name in ("model_a", "model_b") if given[name] is None]:
            raise InvalidInputError(
                f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing.",
                hint='Name the versions: model_a the control and model_b the challenger, or arms={"v1": 0.9, "v2": 0.1}.',
            )
        pairs = [(given["model_a"], None), (given["model_b"], given["traffic_split"])]
    else:
        pairs = _listed(given)
    names = [check(name, "version") for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"Two arms are {twice!r}.", hint="Compare different versions.")
    arms = dict(zip(LETTERS, names, strict=False))
    what = "traffic_split" if given["arms"] is None else "The share of"
    shares = {
        letter: check_share(share, what if given["arms"] is None else f"{what} {name}")
        for (letter, name), (_, share) in zip(list(arms.items())[1:], pairs[1:], strict=True)
        if not (shadow and share is None)
    }
    if shadow:
        if holdout:
            raise InvalidInputError(
                f"holdout is {holdout:g} in a shadow test.",
                hint="In the shadow everybody gets the control: leave it out.",
            )
        return arms, dict.fromkeys(LETTERS[1 : len(names)], 0.0), 0.0
    check_sum(shares.values(), holdout)
    rest = 1.0 - holdout - math.fsum(shares.values())
    if (own := pairs[0][1]) is not None and abs(check_share(own, f"The share of {names[0]}") - rest) > TOLERANCE:
        raise InvalidInputError(
            f"The shares sum to {rest and 1.0 - rest + own:.4g} with the holdout, not 1.",
            hint=f"The challengers leave {max(rest, 0.0):.4g} to {names[0]}; None as its share means just that.",
        )
    return arms, shares, holdout


def _listed(given: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    listed = given["arms"]
    if given["model_a"] is not None or given["model_b"] is not None:
        raise InvalidInputError("Both arms and model_a or model_b are given.", hint="Name every version in arms alone.")
    if not isinstance(listed, Mapping) or not 2 <= len(listed) <= len(LETTERS):
        raise InvalidInputError(
            f"arms is {shown(listed)}.",
            hint=f'Map 2 to {len(LETTERS)} versions to shares, the control first: arms={{"v1": 0.8, "v2": 0.1, "v3": 0.1}}.',
        )
    return list(listed.items())


def _metric(given: Mapping[str, Any]) -> AnyMetric:
    name, direction = given["primary_metric"], given["direction"]
    if not isinstance(name, str):
        raise InvalidInputError(f"primary_metric is {shown(name)}.", hint=f"Use one of: {', '.join(Metric)}.")
    metric = metric_named(plain(name), None if direction is None else str(direction))
    if isinstance(metric, Metric) and direction is not None and direction != metric.direction.value:
        raise InvalidInputError(
            f"direction is {shown(direction)}, but {metric.value} improves when it is {metric.direction.value}.",
            hint="A direction is for custom metrics.",
        )
    return metric


def _threshold(value: object) -> float:
    threshold = real(value)
    if threshold is None or not 0.0 < threshold < 1.0:
        raise InvalidInputError(
            f"significance_threshold is {shown(value)}.", hint="Pass a number between 0 and 1, e.g. 0.05."
        )
    return threshold


def _samples(value: object, what: str, least: int) -> int:
    samples = whole(value)
    if samples is None or not least <= samples <= MAX_SAMPLES:
        more = "" if least == 1 else ": min_samples for every arm"
        raise InvalidInputError(
            f"{what} is {shown(value)}.", hint=f"Pass a whole number from {least} to {MAX_SAMPLES:.0e}{more}."
        )
    return samples


def _truth(given: Mapping[str, Any], name: str) -> bool:
    value = truth(given[name])
    if value is None:
        raise InvalidInputError(f"{name} is {shown(given[name])}.", hint="Pass True or False.")
    return value


def _above(given: Mapping[str, Any], name: str, most: float) -> float | None:
    if given[name] is None:
        return None
    number = real(given[name])
    if number is None or not 0.0 < number <= most or number == math.inf:
        raise InvalidInputError(f"{name} is {shown(given[name])}.", hint="Pass a number above 0, or None.")
    return number


def _segments(given: object) -> list[str]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidInputError(f"segments is {shown(given)}, not a list.", hint='Write segments=["lan", "vpn"].')
    names = [check_label(name, "segment") for name in given]
    if len(names) > MAX_SEGMENTS:
        raise InvalidInputError(f"There are {len(names)} segments.", hint=f"Name at most {MAX_SEGMENTS}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"The segment {twice!r} is named twice.", hint="Name each once.")
    return names


def _window(given: object) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else 0.0 if given is None else real(given)
    if seconds is None or not 0.0 <= seconds <= _LONGEST_S:
        raise InvalidInputError(
            f"label_window is {shown(given)}.", hint="Pass a timedelta or seconds, from 0 to ten years."
        )
    return seconds


def _deadline(given: object, now: datetime) -> tuple[datetime | None, float | None]:
    """Return a fixed time, or seconds after the start."""
    if given is None:
        return None, None
    if isinstance(given, timedelta):
        if not 0.0 < given.total_seconds() <= _LONGEST_S:
            raise InvalidInputError(
                f"deadline is {given} after the start.", hint="Pass a timedelta above 0, of ten years at most."
            )
        return None, given.total_seconds()
    if isinstance(given, datetime) and given.tzinfo is None:
        raise InvalidInputError(
            f"The deadline {given.isoformat()} has no time zone.", hint="Write datetime(2026, 3, 1, tzinfo=UTC)."
        )
    if not isinstance(given, datetime):
        raise InvalidInputError(
            f"deadline is {shown(given)}.",
            hint="Pass a datetime with a time zone, or a timedelta that begins with the start.",
        )
    if given <= now:
        raise InvalidInputError(f"The deadline {given.isoformat()} has passed.", hint="Name a time to come.")
    return given.astimezone(UTC), None


def _salt(given: object) -> str:
    if not isinstance(given, str) or not _SALT.fullmatch(given):
        raise InvalidInputError(f"salt is {shown(given)}.", hint="Pass 16 hex digits in lower case, or nothing.")
    return plain(given)


def _check_environment(deployment: object) -> str:
    name = check_identifier(deployment, "environment")
    if name != PRODUCTION:
        raise InvalidInputError(
            f"deployment is {name!r}, where no traffic can be split.",
            hint=f'Only {PRODUCTION} has deployments: deployment="{PRODUCTION}", or leave it out to route yourself.',
        )
    return name


def _check_name(value: object, what: str) -> str:
    """Return one line of text; unlike a label it may hold a slash, as in "A/B of v2"."""
    text = check_text(value, f"{what} name").strip()
    if not text:
        raise InvalidNameError(f"The {what} name is empty.", hint=f"Use one line of 1 to {MAX_LABEL} characters.")
    if len(text) > MAX_LABEL or not text.isprintable():
        raise InvalidNameError(
            f"{text[:60]!r} cannot be a {what} name.", hint=f"Use one line of 1 to {MAX_LABEL} characters."
        )
    return text
