"""A/B tests: what a test is, how it may change, when it is due to end, when it is decided.

This module decides. It performs no I/O. The laws:

- setup -> running -> paused -> running; running or paused -> completed; any of the three -> cancelled. Nothing
  leaves completed or cancelled.
- While a test is not over its shares may change, and nothing else of its design once it has started. Each period of
  constant shares is a phase; outcomes belong to one, so that a ramp cannot look like an effect.
- Ranges move as :mod:`sentinelzer0.domain.assignment` says. A pause leaves them alone: whoever was in an arm is in it
  again afterwards.
- A verdict is latched: it is reached at the first look whose evidence carries it, and stays.
- Looks are spaced geometrically, so that their number grows with the logarithm of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

from sentinelzer0.domain.assignment import CONTROL, HOLDOUT
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.scalars import shown
from sentinelzer0.errors import ConflictError, IllegalTransitionError, InvalidInputError
from sentinelzer0.stats.estimators import AnyMetric, metric_named

FIRST_LOOK = 20
_LOOK_GROWTH = 1.03
LARGE_SHARE = 0.2
MAX_PHASES = 1000


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


class Mode(StrEnum):
    """How a test meets the traffic."""

    SPLIT = "split"
    SHADOW = "shadow"


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
        traffic_split: Share of B, 0..1; 0 in shadow mode, where B serves nothing.
        min_samples: Requests each arm needs.
        significance_threshold: Probability of a wrong verdict, over all looks together.
        winner: The winning model version, None until decided.
        winner_confidence: One minus the always-valid p-value at the decision; 0.0 until then.
        primary_metric: What decides, by name; see :attr:`metric`.
        salt: Separates this test's assignments from any other's, 16 hex digits.
        model: The model whose versions these are.
        environment: The deployment whose traffic is split, or None.
        revision: The deployment revision this test made last, 0 for none.
        verdict: The evidence at the decision, empty until then.
        warnings: What was warned about when it started.
        arms: The version of every arm by its letter, ``A`` (the control) first.
        shares: The share of all traffic of every challenger, by letter; 0 in shadow mode.
        ranges: Which positions belong to which arm, each ``[start, end, arm]``.
        holdout: The share of units kept out of the test; they get the control and are counted apart.
        mode: Whether challengers get a share of the traffic, or score the control's requests beside it.
        phases: One for every period of constant shares: ``phase`` (from 1), ``at`` (ISO-8601), ``shares`` (of all
            traffic by letter, the control's included; the holdout has the rest).
        guardrails: What challengers must not make worse; see :attr:`guardrail_list`.
        segments: The segments that outcomes are told apart by.
        latency_slo_ms: A request that takes longer is slow, or None.
        label_window_s: How long after a request its label may come; earlier labels wait for that long.
        minimum_effect: The smallest difference of the primary metric worth having, or None.
        direction: Of a custom primary metric: ``higher`` or ``lower`` is better; empty for the others.
        end_at_verdict: Whether the verdict ends the test.
        deadline: When it ends at the latest, or None.
        duration_s: How long after its start the deadline is; None when the deadline is a fixed time or absent.
        max_samples: How many outcomes end it, or None.
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
    primary_metric: str
    salt: str
    model: str
    environment: str | None = None
    revision: int = 0
    verdict: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    arms: dict[str, str]
    shares: dict[str, float]
    ranges: list[Any]
    holdout: float = 0.0
    mode: Mode = Mode.SPLIT
    phases: list[Any] = field(default_factory=list)
    guardrails: list[Any] = field(default_factory=list)
    segments: list[Any] = field(default_factory=list)
    latency_slo_ms: float | None = None
    label_window_s: float = 0.0
    minimum_effect: float | None = None
    direction: str = ""
    end_at_verdict: bool = False
    deadline: datetime | None = None
    duration_s: float | None = None
    max_samples: int | None = None

    @property
    def metric(self) -> AnyMetric:
        """The primary metric itself."""
        return metric_named(self.primary_metric, self.direction or None)

    @property
    def guardrail_list(self) -> list[Guardrail]:
        """The guardrails as values."""
        return [Guardrail.from_dict(raw) for raw in self.guardrails]

    @property
    def phase(self) -> int:
        """The number of the present phase, 0 before the start."""
        return len(self.phases)

    @property
    def shares_in_force(self) -> dict[str, float]:
        """The share of all traffic of every arm by letter, and of the holdout if there is one; what is served now."""
        if self.status is TestStatus.RUNNING:
            return shares_of_all(self, self.shares)
        return shares_of_all(self, dict.fromkeys(self.shares, 0.0))

    def letter_of(self, version: object) -> str:
        """Return the letter of a version's arm.

        Raises:
            InvalidInputError: The version is not in this test.
        """
        for letter, name in self.arms.items():
            if version == name:
                return letter
        raise InvalidInputError(
            f"{shown(version)} is not in the test {self.test_name!r}.",
            hint=f"Its arms are {' and '.join(self.arms.values())}.",
        )


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
    if target.is_over:
        return replace(test, status=target, ended_at=now)
    if verb == "start":
        test = replace(test, started_at=now, deadline=_deadline(test, now))
    return with_new_phase(replace(test, status=target), now)


def _deadline(test: StoredTest, now: datetime) -> datetime | None:
    """Return when a test that starts now ends at the latest.

    Raises:
        ConflictError: That time has passed.
    """
    if test.duration_s is not None:
        return now + timedelta(seconds=test.duration_s)
    if test.deadline is not None and test.deadline <= now:
        raise ConflictError(
            f"The deadline of the test {test.test_name!r}, {test.deadline:%Y-%m-%d %H:%M} UTC, has passed.",
            hint=f"Set another: sentinelzer0 ab edit {test.test_id} --deadline 7d",
        )
    return test.deadline


def shares_of_all(test: StoredTest, challengers: Mapping[str, float]) -> dict[str, float]:
    """Return the share of all traffic of every arm by letter; the control has what is left, the holdout is apart.

    Args:
        test: The test.
        challengers: The shares of the challengers.
    """
    control = max(0.0, round(1.0 - test.holdout - sum(challengers.values()), 12))
    held = {HOLDOUT: test.holdout} if test.holdout else {}
    return {CONTROL: control, **challengers, **held}


def with_new_phase(test: StoredTest, now: datetime) -> StoredTest:
    """Return the test with one phase more: the shares in force from now on.

    Raises:
        ConflictError: It has very many already.
    """
    if test.phase >= MAX_PHASES:
        raise ConflictError(
            f"The shares of the test {test.test_name!r} changed {MAX_PHASES} times already.",
            hint="Complete it, and go on with another one.",
        )
    shares = {letter: share for letter, share in test.shares_in_force.items() if letter != HOLDOUT}
    phase = {"phase": test.phase + 1, "at": now.isoformat(), "shares": shares}
    return replace(test, phases=[*test.phases, phase])


def due_to_end(test: StoredTest, now: datetime, samples: int) -> str | None:
    """Return why an open test ends by its own rules now, or None.

    Args:
        test: The test.
        now: The present.
        samples: Outcomes of all arms so far.
    """
    if not test.status.is_open:
        return None
    if test.end_at_verdict and test.verdict:
        return "its verdict was reached"
    if test.deadline is not None and now >= test.deadline:
        return f"its deadline, {test.deadline:%Y-%m-%d %H:%M} UTC, has passed"
    if test.max_samples is not None and samples >= test.max_samples:
        return f"it has the {test.max_samples:,} outcomes it was given"
    return None


_PARTICIPLE = {
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "complete": "completed",
}


def next_look(events: int) -> int:
    """Return after how many events the statistics are looked at next, about 3 % later."""
    return max(events + 1, ceil(events * _LOOK_GROWTH))
