"""Whole verdicts on simulated tests, small: what is skipped decides nothing, and equal arms are left alone."""

from __future__ import annotations

import pytest

from sentinelzer0.domain.decisions import Action
from tests.statistics import verdicts
from tests.statistics.streams import Behaviour, Design, simulate
from tests.statistics.verdicts import QUESTIONS, Question

pytestmark = pytest.mark.timeout(300)

SHORT = ((0.05, 400), (0.5, 1600))


@pytest.mark.parametrize("question", [QUESTIONS[0], QUESTIONS[2]], ids=lambda question: question.primary)
def test_what_is_skipped_would_have_decided_nothing(question: Question) -> None:
    """At a level of 60 % some of the tests decide, close to the boundary, and some do not."""
    design = Design(b=Behaviour(failures=0.07, recall=0.74, latency_ms=21.0), ramp=SHORT)
    decisions = 0
    for streams in simulate(design, 10, seed=1):
        test = verdicts.running_test(question, design, 0.6)
        kept = set(verdicts.decidable(test, streams))
        for number in range(streams.size[0]):
            decision = verdicts.decided(test, streams, number)
            decisions += decision is not None
            assert decision is None or number in kept
    assert 2 <= decisions <= 9


@pytest.mark.parametrize(
    ("challenger", "action"),
    [
        (Behaviour(recall=0.99, false_alarms=0.01), Action.PROMOTE),
        (Behaviour(recall=0.40), Action.KEEP),
        (Behaviour(recall=0.99, failures=0.25), Action.STOP_GUARDRAIL),
    ],
    ids=["better", "worse", "harmful"],
)
def test_clear_cases_are_decided_as_they_should(challenger: Behaviour, action: Action) -> None:
    design = Design(b=challenger, ramp=((0.05, 400), (0.5, 8000)), every=100)
    for streams in simulate(design, 3, seed=2):
        test = verdicts.running_test(QUESTIONS[0], design, 0.05)
        for number in range(3):
            decision = verdicts.decided(test, streams, number)
            assert decision is not None
            assert decision.action is action


def test_lost_units_make_a_test_invalid() -> None:
    (streams,) = simulate(Design(ramp=SHORT), 1, seed=3)
    lossy = Design(ramp=((0.10, 400), (0.6, 1600)))
    test = verdicts.running_test(QUESTIONS[0], lossy, 0.05)
    decision = verdicts.decided(test, streams, 0)
    assert decision is not None
    assert decision.action is Action.INVALID


def test_equal_arms_are_left_alone() -> None:
    counts = verdicts.of_equal_arms(0, 100, seed=4)
    assert sum(hits for (_, _, alpha), hits in counts.items() if alpha == "0.05") <= 5
