"""What follows from the evidence of a test: five actions, each reached and each refused where it is not carried."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sentinelzer0.domain.ab_design import new_test
from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.domain.decisions import Action, Judgement, decision_of, judge, latched, verdict_of
from sentinelzer0.domain.guarding import budget
from sentinelzer0.domain.outcomes import Cell, Evidence, PairCell
from sentinelzer0.domain.proofs import Proofs
from sentinelzer0.domain.readings import by_segment
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.histogram import LatencyHistogram
from sentinelzer0.stats.moments import Confusion, Moments
from sentinelzer0.stats.paired import PairedStatistics

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_test(**design: Any) -> StoredTest:
    """A running test with one phase for every set of shares."""
    phases = design.pop("phases", [{"A": 0.5, "B": 0.5}])
    given = {"model_a": "v1", "model_b": "v2", "traffic_split": 0.5} if "arms" not in design else {}
    test = new_test(
        test_id="test_1",
        salt="00000000000000ff",
        now=NOW,
        created_by="ada",
        test_name="v2 against v1",
        **(given | {"min_samples": 100, "significance_threshold": 0.05} | design),
    )
    numbered = [{"phase": n, "at": NOW.isoformat(), "shares": shares} for n, shares in enumerate(phases, 1)]
    return replace(test, status=TestStatus.RUNNING, started_at=NOW, phases=numbered)


def an_arm(
    requests: int, failures: int = 0, *, good: float = 0.9, latency: tuple[float, float] = (10.0, 2.0)
) -> ArmStatistics:
    """An arm whose labelled requests are right with a share ``good``, latencies with mean and standard deviation."""
    attacks = requests // 2
    tp, tn = round(attacks * good), round((requests - attacks) * good)
    mean, spread = latency
    squares = requests * (mean * mean + spread * spread)
    cubes = requests * (mean**3 + 3 * mean * spread * spread)
    return ArmStatistics(
        requests,
        failures,
        Moments(requests, requests * mean, squares, cubes),
        Moments(0, 0.0, 0.0, 0.0),
        Confusion(tp, requests - attacks - tn, tn, attacks - tp),
        LatencyHistogram({}),
    )


def evidence(*cells: tuple[int, str, ArmStatistics], assigned: bool = True) -> Evidence:
    """Evidence of cells (phase, arm, statistics)."""
    return Evidence(tuple(Cell(phase, assigned, "", arm, of, of.requests) for phase, arm, of in cells))


def look(test: StoredTest, seen: Evidence, before: Proofs | None = None) -> Judgement:
    return judge(test, seen, before or Proofs())


def test_better_without_harm_is_promoted() -> None:
    seen = evidence((1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(4000, 8, good=0.9)))
    found = look(a_test(), seen)
    assert found.decision.action is Action.PROMOTE
    assert found.decision.winner == "B"
    assert found.decision.sentence.startswith("Promote v2, which has the higher F1 score: ")
    assert len(found.decision.reasons) == 3  # the primary metric and two guardrails
    assert found.decision.confidence > 0.97


def test_better_waits_for_its_guardrails() -> None:
    """Few requests cannot prove yet that the error rate is kept, so there is no verdict, and the page says why."""
    seen = evidence((1, "A", an_arm(150, 3, good=0.6)), (1, "B", an_arm(150, 3, good=0.98)))
    found = look(a_test(), seen)
    assert found.readings.comparisons["B"]["f1_score"].winner == "B"
    assert found.decision.action is Action.INCONCLUSIVE
    assert "error_rate" in found.decision.sentence
    assert look(a_test(guardrails=()), seen).decision.action is Action.PROMOTE


def test_worse_is_kept_away_and_the_control_wins() -> None:
    seen = evidence((1, "A", an_arm(4000, good=0.9)), (1, "B", an_arm(4000, good=0.8)))
    decision = look(a_test(), seen).decision
    assert (decision.action, decision.winner) == (Action.KEEP, "A")
    assert decision.sentence.startswith("Keep v1, which has the higher F1 score: ")


def test_harm_goes_before_gain() -> None:
    seen = evidence((1, "A", an_arm(4000, 20, good=0.8)), (1, "B", an_arm(4000, 200, good=0.9)))
    found = look(a_test(), seen)
    assert (found.decision.action, found.decision.winner) == (Action.STOP_GUARDRAIL, "A")
    assert "200 of 220" in found.decision.sentence


def test_outcomes_without_assignment_do_not_enter_the_exact_test() -> None:
    cells = ((1, "A", an_arm(1000, 2)), (1, "B", an_arm(1000, 22)))
    assert look(a_test(), evidence(*cells)).decision.action is Action.STOP_GUARDRAIL
    assert look(a_test(), evidence(*cells, assigned=False)).decision.action is Action.INCONCLUSIVE


def test_a_margin_alone_is_what_it_says() -> None:
    """Proven to fail more often, but by less than the margin: no harm unless a ratio says so."""
    cells = ((1, "A", an_arm(40_000, 1600, good=0.8)), (1, "B", an_arm(40_000, 2200, good=0.9)))

    def action(**guardrail: Any) -> Action:
        return look(a_test(guardrails=[{"metric": "error_rate"} | guardrail]), evidence(*cells)).decision.action

    assert action(margin=0.02) is Action.PROMOTE
    assert action(margin=0.02, ratio=1.5) is Action.PROMOTE
    assert action(margin=0.02, ratio=1.1) is Action.STOP_GUARDRAIL
    assert action(margin=0.0) is Action.STOP_GUARDRAIL
    assert action(margin=0.005) is Action.STOP_GUARDRAIL


def test_slower_beyond_the_margin_stops() -> None:
    seen = evidence((1, "A", an_arm(4000, good=0.8)), (1, "B", an_arm(4000, good=0.9, latency=(14.0, 3.0))))
    assert look(a_test(), seen).decision.action is Action.STOP_GUARDRAIL
    within = evidence((1, "A", an_arm(4000, good=0.8)), (1, "B", an_arm(4000, good=0.9, latency=(10.5, 3.0))))
    assert look(a_test(), within).decision.action is Action.PROMOTE


def test_a_broken_split_blocks_every_verdict_and_says_where() -> None:
    seen = evidence((1, "A", an_arm(5000, good=0.8)), (1, "B", an_arm(4000, good=0.9)))
    found = look(a_test(), seen)
    assert found.decision.action is Action.INVALID
    assert found.decision.winner is None
    assert found.readings.split.where[0].arm == "B"
    assert "phase 1" in found.decision.sentence
    assert verdict_of(a_test(), found, NOW, events=1, requests=1) is None, "it blocks, for as long as it is so"
    ended = verdict_of(a_test(), found, NOW, events=1, requests=1, ending=True)
    assert ended is not None
    assert (ended["action"], ended["winner"]) == ("invalid", None)
    # Services that write their arm's outcomes in batches of their own look broken until all have written.
    mended = evidence((1, "A", an_arm(5000, good=0.8)), (1, "B", an_arm(5000, good=0.9)))
    assert look(a_test(), mended, found.proofs).decision.action is Action.PROMOTE


def test_an_arm_without_units_and_very_few_units_are_no_mismatch() -> None:
    nobody = look(a_test(), evidence((1, "A", an_arm(5000))))
    assert nobody.readings.split.ok
    assert nobody.readings.split.reason == "No data: B has no units yet."
    assert look(a_test(), evidence((1, "A", an_arm(60)), (1, "B", an_arm(2)))).readings.split.ok


def test_around_a_change_of_shares_only_assignments_tell_how_the_traffic_is_split() -> None:
    phases = [{"A": 0.99, "B": 0.01}, {"A": 0.5, "B": 0.5}]
    cells = ((1, "A", an_arm(990)), (1, "B", an_arm(10)), (2, "A", an_arm(900)), (2, "B", an_arm(500)))
    assert look(a_test(phases=phases), evidence(*cells)).decision.action is Action.INVALID
    assert look(a_test(phases=phases), evidence(*cells, assigned=False)).readings.split.ok


def test_units_of_a_phase_in_which_their_arm_had_no_share_are_left_out() -> None:
    phases = [{"A": 0.5, "B": 0.5}, {"A": 1.0, "B": 0.0}]
    cells = ((1, "A", an_arm(500)), (1, "B", an_arm(500)), (2, "A", an_arm(300)), (2, "B", an_arm(1)))
    assert look(a_test(phases=phases), evidence(*cells)).readings.split.ok


def test_a_band_that_drifted_decides_nothing() -> None:
    """A challenger that was better, and is now worse, waits for a guardrail: it is not promoted when that is kept."""
    design: dict[str, Any] = {"primary_metric": "error_rate", "guardrails": [{"metric": "recall", "margin": 0.5}]}
    test = a_test(**design)

    def unlabelled(requests: int, failures: int) -> ArmStatistics:
        return replace(an_arm(requests, failures), confusion=Confusion())

    good = evidence((1, "A", unlabelled(1500, 300)), (1, "B", unlabelled(1500, 60)))
    first = look(test, good)
    assert first.decision.action is Action.INCONCLUSIVE
    turned = evidence((1, "A", unlabelled(19_500, 660)), (1, "B", unlabelled(19_500, 7260)))
    second = look(test, turned, first.proofs)
    assert second.drift is not None
    labelled = evidence((1, "A", an_arm(21_000, 660)), (1, "B", an_arm(21_000, 7260)))
    third = look(test, labelled, second.proofs)
    assert {g.state.value for g in third.readings.guardrails} == {"passed"}
    assert third.decision.action is not Action.PROMOTE


def test_a_test_that_ended_without_a_verdict_gets_none_later() -> None:
    seen = evidence((1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(4000, 8, good=0.9)))
    over = replace(a_test(), status=TestStatus.COMPLETED, ended_at=NOW)
    found = look(over, seen).decision
    assert (found.action, found.winner) == (Action.INCONCLUSIVE, None)


def test_a_difference_too_small_to_matter_is_kept_away_although_it_is_one() -> None:
    seen = evidence((1, "A", an_arm(90_000, 90, good=0.88)), (1, "B", an_arm(90_000, 90, good=0.90)))
    assert look(a_test(), seen).decision.action is Action.PROMOTE
    assert look(a_test(minimum_effect=0.1), seen).decision.action is Action.KEEP


def test_sentences_speak_of_versions_whatever_they_are_called() -> None:
    seen = evidence((1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(4000, 8, good=0.9)))
    decision = look(a_test(model_a="candidate B", model_b="model A"), seen).decision
    assert decision.sentence.startswith("Promote model A, which has the higher F1 score: ")
    assert "the difference model A - candidate B lay between" in decision.sentence
    assert decision.reasons[1].startswith("The error rate of model A is not worse than candidate B's")


@pytest.mark.parametrize("good", [0.5, 0.9, 1.0])
def test_equal_arms_have_no_winner(good: float) -> None:
    seen = evidence((1, "A", an_arm(3000, 30, good=good)), (1, "B", an_arm(3000, 30, good=good)))
    decision = look(a_test(), seen).decision
    assert (decision.action, decision.winner) == (Action.INCONCLUSIVE, None)


def test_no_traffic_in_an_arm_is_no_data() -> None:
    test = a_test(phases=[{"A": 1.0, "B": 0.0}])
    found = look(test, evidence((1, "A", an_arm(5000))))
    assert found.decision.action is Action.INCONCLUSIVE
    assert "o data" in found.decision.sentence
    assert look(test, Evidence()).decision.action is Action.INCONCLUSIVE


def test_identical_outcomes_decide_nothing() -> None:
    arm = ArmStatistics(500, 0, Moments(500, 5000.0, 50000.0, 500000.0), Moments(0, 0.0, 0.0, 0.0), Confusion(tn=500))
    found = look(a_test(), evidence((1, "A", arm), (1, "B", arm)))
    assert found.decision.action is Action.INCONCLUSIVE


def test_an_effect_too_small_to_matter_keeps_the_control_without_a_winner() -> None:
    seen = evidence((1, "A", an_arm(60_000, 60, good=0.9)), (1, "B", an_arm(60_000, 60, good=0.9)))
    decision = look(a_test(minimum_effect=0.05), seen).decision
    assert (decision.action, decision.winner) == (Action.KEEP, None)
    assert "not better by the 0.05" in decision.sentence


def test_a_ramp_with_a_changing_base_rate_does_not_look_like_an_effect() -> None:
    """Simpson: in both phases the arms are equal; pooled, B looks much better because it came when life was easy."""
    hard, easy = 0.6, 0.95
    seen = evidence(
        (1, "A", an_arm(9900, 99, good=hard)),
        (1, "B", an_arm(100, 1, good=hard)),
        (2, "A", an_arm(5000, 50, good=easy)),
        (2, "B", an_arm(5000, 50, good=easy)),
    )
    test = a_test(phases=[{"A": 0.99, "B": 0.01}, {"A": 0.5, "B": 0.5}])
    found = look(test, seen)
    assert found.decision.action is Action.INCONCLUSIVE
    pooled = evidence((1, "A", seen.arm("A")), (1, "B", seen.arm("B")))
    share = 5100 / 20000
    assert look(a_test(phases=[{"A": 1 - share, "B": share}]), pooled).decision.action is Action.PROMOTE


def test_several_challengers_share_the_error_and_the_best_proven_one_wins() -> None:
    arms = {"v1": 0.4, "v2": 0.3, "v3": 0.3}
    test = a_test(arms=arms, phases=[{"A": 0.4, "B": 0.3, "C": 0.3}])
    assert budget(test).primary == pytest.approx(0.05 / 2 / 2)
    seen = evidence(
        (1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(3000, 6, good=0.86)), (1, "C", an_arm(3000, 6, good=0.93))
    )
    decision = look(test, seen).decision
    assert (decision.action, decision.winner, decision.arm) == (Action.PROMOTE, "C", "C")
    assert decision.sentence.startswith("Promote v3, which has the higher F1 score")
    harmful = evidence(
        (1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(3000, 6, good=0.9)), (1, "C", an_arm(3000, 300, good=0.95))
    )
    decision = look(test, harmful).decision
    assert (decision.action, decision.winner) == (Action.PROMOTE, "B")


def test_the_first_verdict_is_latched_and_later_drift_is_said() -> None:
    test = a_test()
    good = evidence((1, "A", an_arm(4000, 8, good=0.8)), (1, "B", an_arm(4000, 8, good=0.9)))
    first = look(test, good)
    verdict = verdict_of(test, first, NOW, events=16_000, requests=8000)
    assert verdict is not None
    assert json.loads(json.dumps(verdict)) == verdict
    decided = latched(test, verdict)
    assert (decided.winner, decided.verdict["action"]) == ("v2", "promote")
    turned = evidence((1, "A", an_arm(90_000, 8, good=0.9)), (1, "B", an_arm(90_000, 8, good=0.8)))
    later = look(decided, turned, first.proofs)
    assert later.decision == decision_of(verdict)
    assert later.drift is not None
    assert "drifted" in later.drift
    assert verdict_of(decided, later, NOW, events=1, requests=1) is None


def test_what_was_proven_stays_proven() -> None:
    test = a_test()
    first = look(test, evidence((1, "A", an_arm(4000, good=0.85)), (1, "B", an_arm(4000, good=0.86))))
    band = first.proofs.band("B", "f1_score").interval
    wider = look(test, evidence((1, "A", an_arm(400, good=0.85)), (1, "B", an_arm(400, good=0.86))), first.proofs)
    assert wider.proofs.band("B", "f1_score").interval == band
    assert Proofs.from_dict(json.loads(json.dumps(wider.proofs.to_dict()))) == wider.proofs


def test_a_shadow_test_compares_pairs() -> None:
    test = a_test(shadow=True, phases=[{"A": 1.0, "B": 0.0}])
    served, shadow = an_arm(2000, 4, good=0.85), an_arm(2000, 4, good=0.9)
    # 0..3 benign, 4..7 attacks; then predicted by A, by B
    joint = (850, 50, 0, 100, 100, 50, 0, 850)
    pairs = PairedStatistics(2000, 4, 0, 0, Moments(2000, 100.0, 900.0, 3000.0), Moments(0, 0.0, 0.0, 0.0), joint)
    seen = replace(evidence((1, "A", served), (1, "B", shadow)), pairs=(PairCell(1, "", "B", pairs),))
    found = look(test, seen)
    assert found.readings.split.ok
    assert found.decision.action is not Action.INVALID
    assert found.readings.comparisons["B"]["recall"].samples_a == 2000


def test_segments_share_the_level() -> None:
    test = a_test(segments=["tcp", "udp"])
    cells = [
        Cell(1, True, segment, arm, an_arm(2000, good=good), 2000)
        for segment, arm, good in (("tcp", "A", 0.8), ("tcp", "B", 0.9), ("udp", "A", 0.8), ("udp", "B", 0.8))
    ]
    found = by_segment(test, Evidence(tuple(cells)))
    assert found["tcp"]["B"].alpha == pytest.approx(0.025)
    assert found["tcp"]["B"].winner == "B"
    assert found["udp"]["B"].winner is None


def test_without_guardrails_the_primary_metric_has_the_whole_budget() -> None:
    assert budget(a_test(guardrails=())).primary == 0.05
    assert budget(a_test()).primary == 0.025
    assert budget(a_test()).stop == pytest.approx(0.0125)
