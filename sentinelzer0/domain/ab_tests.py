"""A/B tests: what a test is, how it may change, which requests go to the challenger, when it is decided.

This module decides. It performs no I/O. The laws:

- setup -> running -> paused -> running; running or paused -> completed; any of the three -> cancelled. Nothing
  leaves completed or cancelled.
- The assignment is a hash of (salt, key) over a fixed range: the challenger gets the lowest part of it, as long as
  its share. So a key stays where it is, and a growing share only moves keys from A to B. Salts differ from test to
  test, hence assignments of two tests are independent. Text, bytes and whole numbers with the same digits are the
  same key.
- A verdict is latched: it is reached at the first look whose evidence carries it, and stays.
- Looks are spaced geometrically, so that their number grows with the logarithm of the traffic.

>>> threshold = share_threshold(0.25)
>>> [assigned_to_b("host-%d" % i, "00000000000000ff", threshold) for i in range(6)]
[False, False, True, True, True, False]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import Any

from xxhash import xxh3_64_intdigest

from sentinelzer0.domain.identity import DEFAULT_MODEL, MAX_LABEL, PRODUCTION, check_identifier, check_text
from sentinelzer0.domain.scalars import real, shown, whole
from sentinelzer0.errors import IllegalTransitionError, InvalidInputError, InvalidNameError
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import ArmStatistics, Metric, metric_named

FIRST_LOOK = 20
_LOOK_GROWTH = 1.03
_HASH_RANGE = 1 << 64
_MAX_KEY_BITS = 8192
"""Python refuses to write out integers of more than 4300 digits."""

LARGE_SHARE = 0.2
MAX_SAMPLES = 10**12


class TestStatus(StrEnum):
    """Where a test is in its life."""

    __test__ = False  # pytest: not a test

    SETUP = "setup"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether outcomes still count."""
        return self in (TestStatus.RUNNING, TestStatus.PAUSED)

    @property
    def is_over(self) -> bool:
        """Whether nothing can change any more."""
        return self in (TestStatus.COMPLETED, TestStatus.CANCELLED)


_ALLOWED: dict[str, tuple[tuple[TestStatus, ...], TestStatus]] = {
    "start": ((TestStatus.SETUP,), TestStatus.RUNNING),
    "pause": ((TestStatus.RUNNING,), TestStatus.PAUSED),
    "resume": ((TestStatus.PAUSED,), TestStatus.RUNNING),
    "cancel": ((TestStatus.SETUP, TestStatus.RUNNING, TestStatus.PAUSED), TestStatus.CANCELLED),
    "complete": ((TestStatus.RUNNING, TestStatus.PAUSED), TestStatus.COMPLETED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTest:
    """A test as stored; what was measured lies in its statistics.

    Attributes:
        model_a: The control.
        model_b: The challenger.
        traffic_split: Share of B, 0..1.
        min_samples: Requests each arm needs.
        significance_threshold: Probability of a wrong verdict, over all looks together.
        winner: The winning model version, None until decided.
        winner_confidence: One minus the always-valid p-value at the decision; 0.0 until then.
        primary_metric: What decides.
        salt: Separates this test's assignments from any other's, 16 hex digits.
        model: The model whose versions these are.
        environment: The deployment whose traffic is split, or None.
        revision: The deployment revision this test made last, 0 for none.
        verdict: The evidence at the decision, empty until then.
        warnings: What was warned about when it started.
    """

    test_id: str
    test_name: str
    model_a: str
    model_b: str
    traffic_split: float
    status: TestStatus
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_by: str
    description: str
    min_samples: int
    significance_threshold: float
    winner: str | None = None
    winner_confidence: float = 0.0
    primary_metric: Metric
    salt: str
    model: str
    environment: str | None = None
    revision: int = 0
    verdict: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def arm_of(self, version: object) -> str:
        """Return ``A`` or ``B``.

        Raises:
            InvalidInputError: The version is not in this test.
        """
        if version == self.model_a:
            return "A"
        if version == self.model_b:
            return "B"
        raise InvalidInputError(
            f"{shown(version)} is not in the test {self.test_name!r}.",
            hint=f"Its arms are {self.model_a} and {self.model_b}.",
        )


@dataclass(frozen=True, slots=True)
class ArmReading:
    """The statistics of one arm, with what inference does not use.

    Attributes:
        statistics: What inference uses.
        late: Outcomes that came after the end and are not counted.
        custom: For each custom metric (samples, sum, sum of squares).
    """

    statistics: ArmStatistics
    late: int
    custom: Mapping[str, tuple[int, float, float]]


@dataclass(frozen=True, slots=True)
class Look:
    """The statistics of both arms at one look, without histograms.

    Attributes:
        events: Outcomes and labels up to it.
        at: When.
        winner: ``A`` or ``B`` if the evidence carried a verdict then.
    """

    events: int
    at: datetime
    winner: str | None
    a: ArmStatistics
    b: ArmStatistics


def new_test(
    *,
    test_id: str,
    salt: str,
    now: datetime,
    created_by: str,
    test_name: object,
    model_a: object,
    model_b: object,
    traffic_split: object,
    description: object,
    min_samples: object,
    significance_threshold: object,
    primary_metric: str,
    deployment: str | None,
    model: str,
) -> StoredTest:
    """Return a checked test in setup.

    Raises:
        InvalidInputError: Two equal arms, a share outside [0, 1], fewer than one sample, a threshold outside (0, 1),
            an unknown metric, an unusable name, or a deployment other than ``production``.
    """
    check = check_identifier if deployment is not None else _check_name
    first, second = check(model_a, "version"), check(model_b, "version")
    if first == second:
        raise InvalidInputError(f"Both arms are {first!r}.", hint="Compare two different versions.")
    split = real(traffic_split)
    if split is None or not 0.0 <= split <= 1.0:
        raise InvalidInputError(
            f"traffic_split is {shown(traffic_split)}.", hint="Pass the share of the challenger, from 0 to 1."
        )
    threshold = real(significance_threshold)
    if threshold is None or not 0.0 < threshold < 1.0:
        raise InvalidInputError(
            f"significance_threshold is {shown(significance_threshold)}.",
            hint="Pass a number between 0 and 1, e.g. 0.05.",
        )
    return StoredTest(
        test_id=test_id,
        test_name=_check_name(test_name, "test"),
        model_a=first,
        model_b=second,
        traffic_split=split,
        status=TestStatus.SETUP,
        created_at=now,
        created_by=created_by,
        description=check_text(description, "description"),
        min_samples=_check_samples(min_samples),
        significance_threshold=threshold,
        primary_metric=metric_named(primary_metric),
        salt=salt,
        model=check_identifier(model or DEFAULT_MODEL, "model"),
        environment=None if deployment is None else _check_environment(deployment),
    )


def _check_samples(min_samples: object) -> int:
    samples = whole(min_samples)
    if samples is None or not 1 <= samples <= MAX_SAMPLES:
        raise InvalidInputError(
            f"min_samples is {shown(min_samples)}.", hint=f"Pass a whole number from 1 to {MAX_SAMPLES:.0e}."
        )
    return samples


def _check_environment(deployment: object) -> str:
    name = check_identifier(deployment, "environment")
    if name != PRODUCTION:
        raise InvalidInputError(
            f"deployment is {name!r}, where no traffic can be split.",
            hint=f'Only {PRODUCTION} has deployments: deployment="{PRODUCTION}", or leave it out to route yourself.',
        )
    return name


def moved(test: StoredTest, verb: str, now: datetime) -> StoredTest:
    """Return the test after ``start``, ``pause``, ``resume``, ``cancel`` or ``complete``.

    Raises:
        IllegalTransitionError: Its status does not allow that.
    """
    sources, target = _ALLOWED[verb]
    if test.status not in sources:
        raise IllegalTransitionError(
            f"The test {test.test_name!r} is {test.status} and cannot be {_PARTICIPLE[verb]}.",
            hint=f"Only a test that is {' or '.join(sources)} can.",
        )
    started = test.started_at or (now if target is TestStatus.RUNNING else None)
    return replace(test, status=target, started_at=started, ended_at=now if target.is_over else None)


_PARTICIPLE = {
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "complete": "completed",
}


def decided(test: StoredTest, comparison: Comparison, at: datetime, *, events: int, requests: int) -> StoredTest:
    """Return the test with its verdict latched; a test that has one, or evidence that carries none, stays as it is.

    Args:
        test: The test.
        comparison: What the primary metric said.
        at: When it said so.
        events: Outcomes and labels it was based on.
        requests: Outcomes among them.
    """
    if test.winner is not None or comparison.winner is None:
        return test
    verdict = {
        "winner": comparison.winner,
        "metric": comparison.metric.value,
        "model_a": comparison.value_a,
        "model_b": comparison.value_b,
        "difference": comparison.difference,
        "interval": None if comparison.interval is None else list(comparison.interval),
        "p_value": comparison.p_value,
        "samples_a": comparison.samples_a,
        "samples_b": comparison.samples_b,
        "reason": _reason_then(comparison),
        "events": events,
        "requests": requests,
        "reached_at": at.isoformat(),
    }
    winner = test.model_b if comparison.winner == "B" else test.model_a
    return replace(test, winner=winner, winner_confidence=comparison.confidence, verdict=verdict)


def _reason_then(comparison: Comparison) -> str:
    """Return the reason as of the verdict: by now the interval may be another one."""
    counted = comparison.samples_a + comparison.samples_b
    when = f"when the verdict was reached, after {counted:,} {comparison.metric.unit}, the difference B - A lay between"
    return comparison.reason.replace("the difference B - A lies between", when)


def comparison_of(test: StoredTest, a: ArmStatistics, b: ArmStatistics) -> Comparison:
    """Return what the primary metric says at one look."""
    return compare([Stratum(a, b)], test.primary_metric, test.significance_threshold, test.min_samples)


def next_look(events: int) -> int:
    """Return after how many events the statistics are looked at next, about 3 % later."""
    return max(events + 1, ceil(events * _LOOK_GROWTH))


def share_threshold(share: float) -> int:
    """Return below which hash a key belongs to B."""
    return round(share * _HASH_RANGE)


def assigned_to_b(key: str | bytes | int, salt: str, threshold: int) -> bool:
    """Return whether a unit belongs to the challenger: XXH3-64 of the key, seeded with the salt, below the threshold.

    Raises:
        InvalidInputError: A key that is neither text nor bytes nor a whole number.
    """
    return unit_hash(key, int(salt, 16)) < threshold


def unit_hash(key: str | bytes | int, seed: int) -> int:
    """Return the position of a unit, 0 to 2**64 - 1.

    Raises:
        InvalidInputError: A key that is neither text nor bytes nor a whole number.
    """
    if type(key) is not bytes:
        key = _key_bytes(key)
    return xxh3_64_intdigest(key, seed)


def _key_bytes(key: object) -> bytes:
    try:
        if isinstance(key, str):
            return key.encode()
    except UnicodeEncodeError:
        key = None
    if isinstance(key, bytes):
        return bytes(key)
    number = whole(key)
    if number is not None and number.bit_length() <= _MAX_KEY_BITS:
        return b"%d" % number
    raise InvalidInputError(
        f"{shown(key)} cannot be a key.", hint="Route by text, bytes or a whole number, for example the host."
    )


def _check_name(value: object, what: str) -> str:
    """Return one line of text; unlike a label it may hold a slash, as in "A/B of v2"."""
    text = check_text(value, f"{what} name", required=True).strip()
    if len(text) > MAX_LABEL or not text.isprintable():
        raise InvalidNameError(
            f"{text[:60]!r} cannot be a {what} name.", hint=f"Use one line of 1 to {MAX_LABEL} characters."
        )
    return text
