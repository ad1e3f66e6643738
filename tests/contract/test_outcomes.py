"""Outcomes on every backend: cells, windows, holdouts, shadow answers, contradicting labels, production, retention."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.errors import ConflictError, InvalidInputError, MissingExtraError, VersionNotFoundError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.measurement_checks import check_measurements
from sentinelzer0.maintenance.report import Status
from sentinelzer0.mlops.ab_lookup import evidence_of
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.outcomes import Outcomes
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


@pytest.fixture
def outcomes(kernel: Kernel, model_file: Path) -> Outcomes:
    versions = ModelVersionManager(kernel=kernel)
    for name in ("v1", "v2"):
        versions.create_version(str(model_file), version=name)
    return Outcomes(kernel)


def started(manager: ABTestManager, **design: Any) -> str:
    test = manager.create_test("t", "v1", "v2", **design)
    return manager.start_test(test.test_id).test_id


def seen(kernel: Kernel, test_id: str) -> Evidence:
    with kernel.read() as view:
        return evidence_of(view, test_id)


def row(version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"model_version": version, "success": True, "latency_ms": 10.0, "predicted_label": 1} | more


def sound(kernel: Kernel) -> bool:
    check = check_measurements(kernel)
    assert check.status is Status.PASS, check.detail
    return True


# Cells --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("single", [True, False])
def test_an_outcome_counts_in_the_phase_it_was_assigned_in(
    kernel: Kernel, manager: ABTestManager, single: bool
) -> None:
    test_id = started(manager, segments=("eu",), latency_slo_ms=20.0)
    early = manager.assign(test_id, "host-1")
    manager.set_share(test_id, 0.9)
    rows = [
        row(early.version, assignment=early, segment="eu", true_label=1, key="host-1"),
        row("v2", revision=1, share=0.5, latency_ms=30.0, custom_metrics={"cost": 2.0}),
        row("v2", segment="mars", key="host-2"),
        row("v2", key="host-2", success=False),
    ]
    if single:
        for one in rows[2:]:
            manager.record_result(test_id, **one)
        manager.record_results(test_id, rows[:1])
        manager.record_results(test_id, rows[1:2])
    else:
        manager.record_results(test_id, rows)
    evidence = seen(kernel, test_id)
    arm = "A" if early.version == "v1" else "B"
    cells = {(c.phase, c.assigned, c.segment, c.arm): (c.statistics.requests, c.units) for c in evidence.cells}
    assert cells == {(1, True, "eu", arm): (1, 1), (1, True, "", "B"): (1, 1), (2, False, "", "B"): (2, 1)}
    b = evidence.arm("B")
    assert (b.slow, b.failures, b.custom["cost"].mean) == (1, 1, 2.0)
    assert [(s.a + s.b).requests for s in evidence.strata("B")] == [2, 2]
    assert sound(kernel)


def test_what_contradicts_an_assignment_is_refused(manager: ABTestManager) -> None:
    test_id = started(manager)
    given = {"version": "v1", "revision": 1, "share": 0.5, "request_id": "r", "arm": "A"}
    for wrong, message in (
        (row("v2", assignment=given), "was assigned to 'v1'"),
        (row("v1", assignment=given | {"arm": "B"}), "was assigned to arm 'B'"),
        (row("v1", assignment=given | {"revision": 2}), "no revision 2"),
        (row("v1", assignment=given | {"share": 1.5}), "share is 1.5"),
        (row("v1", assignment=given, revision=1), "An assignment and a revision"),
        (row("v1", assignment={"version": "v1"}), "The assignment is"),
        (row("v1", revision=0), "revision is 0"),
        (row("v1", segment=7), "segment is 7"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            manager.record_results(test_id, [wrong])
    assert manager.record_result(test_id, "v1", True, 1.0, assignment=given).request_id == "r"
    assert manager.record_result(test_id, "v1", True, 1.0, assignment=given).duplicates == 1


def test_a_holdout_is_counted_apart(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager, holdout=0.3, traffic_split=0.3)
    assigned = [manager.assign(test_id, f"host-{n}") for n in range(60)]
    held = sum(found.arm == "holdout" for found in assigned)
    assert 0 < held < 60
    manager.record_results(test_id, [row(found.version, assignment=found) for found in assigned])
    manager.record_results(
        test_id, [row(found.version, key=f"host-{n}", request_id=f"k{n}") for n, found in enumerate(assigned)]
    )
    evidence = seen(kernel, test_id)
    assert evidence.arm("holdout").requests == 2 * held
    assert sum(evidence.arm(arm).requests for arm in ("A", "B", "holdout")) == 120
    assert sound(kernel)


def test_with_a_holdout_an_outcome_says_whose_it_is(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager, holdout=0.3, traffic_split=0.3)
    untold = (
        row(),
        row("v2"),
        row(revision=1, share=0.4),
        row(assignment={"version": "v1", "revision": 1, "share": 0.4}),
        row(key=None, assignment=None),
    )
    for wrong in untold:
        for rows in ([wrong], [row(key="host-1"), wrong]):
            with pytest.raises(InvalidInputError) as refused:
                manager.record_results(test_id, rows)
            assert refused.value.hint == "This test has a holdout: pass the key or the assignment."
    with pytest.raises(InvalidInputError, match="its key nor its assignment"):
        manager.record_result(test_id, "v1", True, 1.0)
    assert seen(kernel, test_id).events == 0
    assert manager.record_result(test_id, "v1", True, 1.0, key=0).counted == 1


def test_an_arm_without_traffic_in_a_phase_has_no_outcomes_of_it(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager)
    other = ABTestManager(kernel=kernel)
    other.record_results(test_id, [row("v2", revision=1, share=0.5)])
    manager.pause_test(test_id)
    for recording in (manager, other):  # one that paused the test, and one that does not know of it
        with pytest.raises(InvalidInputError, match="'v2' got no traffic in revision 2"):
            recording.record_results(test_id, [row("v2", revision=2, share=0.5)])
        with pytest.raises(InvalidInputError, match="no traffic in revision 2"):
            given = {"version": "v2", "revision": 2, "share": 0.0, "request_id": "x", "arm": "B"}
            recording.record_result(test_id, "v2", True, 1.0, assignment=given)
    assert other.record_results(test_id, [row(revision=2, share=1.0), row("v2", revision=1)]).counted == 2
    manager.resume_test(test_id)
    assert other.record_results(test_id, [row("v2", revision=3, share=0.5)]).counted == 1
    dark = started(manager, shadow=True)
    given = manager.assign(dark)
    rows = [row(request_id="s", assignment=given), row("v2", request_id="s", assignment=given)]
    assert manager.record_results(dark, rows).counted == 2


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_key_is_refused(manager: ABTestManager, outcomes: Outcomes, empty: Any) -> None:
    test_id = started(manager)
    for call in (
        lambda: manager.assign(test_id, empty),
        lambda: manager.route_request(test_id, empty),
        lambda: manager.record_result(test_id, "v1", True, 1.0, key=empty),
        lambda: manager.record_results(test_id, [row(key="host"), row(key=empty)]),
        lambda: outcomes.record("v1", True, 1.0, key=empty),
    ):
        with pytest.raises(InvalidInputError, match="The key is empty"):
            call()


def test_another_arm_is_named_by_its_version(manager: ABTestManager, outcomes: Outcomes) -> None:
    test_id = started(manager)
    manager.record_result(test_id, "v1", True, 1.0, request_id="r")
    with pytest.raises(ConflictError, match=r"recorded for v1 \(arm A\) before and cannot be one of v2 \(arm B\)"):
        manager.record_result(test_id, "v2", True, 1.0, request_id="r")
    outcomes.record("v1", True, 1.0, request_id="r")
    with pytest.raises(ConflictError, match="recorded for v1 before and cannot be one of v2;"):
        outcomes.record("v2", True, 1.0, request_id="r")


def test_a_recorder_names_its_options(manager: ABTestManager, outcomes: Outcomes) -> None:
    test_id = started(manager)
    for make in (outcomes.recorder, lambda **options: manager.recorder(test_id, **options)):
        with pytest.raises(InvalidInputError, match="no option 'foo'") as refused:
            make(foo=1)
        assert "capacity, batch, max_delay_s, on_full, wait_s, on_sigterm" in str(refused.value.hint)
        make(batch=10).close()


# Labels -------------------------------------------------------------------------------------------------------------


def test_kept_and_replaced_labels_are_told(manager: ABTestManager) -> None:
    test_id = started(manager)

    def label(request_id: str, true: int) -> tuple[int, int, int]:
        done = manager.record_label(test_id, request_id, true)
        return done.labelled, done.kept, done.relabelled

    assert label("early", 1) == (0, 1, 0)
    assert label("early", 1) == (0, 0, 0)
    assert label("early", 0) == (0, 0, 1)
    manager.record_results(test_id, [row(request_id="early"), row(request_id="mute", predicted_label=None)])
    assert label("early", 0) == (0, 0, 0)
    assert label("early", 1) == (1, 0, 1)
    assert label("mute", 1) == (0, 1, 0)
    assert label("mute", 0) == (0, 0, 1)
    again = manager.record_results(test_id, [row(request_id="early", true_label=0), row(request_id="new")])
    assert (again.counted, again.duplicates, again.labelled, again.kept, again.relabelled) == (1, 1, 1, 0, 1)
    many = manager.record_labels(test_id, [("p", 1), ("q", 0), ("new", 1), ("mute", 1)])
    assert (many.labelled, many.kept, many.relabelled) == (1, 2, 1)
    manager.complete_test(test_id, force=True)
    late = manager.record_labels(test_id, [("z", 1), ("p", 0)])
    assert (late.labelled, late.kept, late.relabelled, late.late) == (0, 0, 0, 2)


# Prune --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_deletes_nothing(kernel: Kernel, outcomes: Outcomes) -> None:
    outcomes.record("v1", True, 1.0)
    done = outcomes.prune(0, dry_run=True)
    assert (done.rows, done.dry_run, outcomes.prune(0, dry_run=True).rows) == (1, True, 1)
    with kernel.read() as view:
        assert not [one for one in view.audit.of_subject("outcomes:production/default") if one.action.endswith("prune")]
    assert outcomes.prune(0).rows == 1


# Contradicting labels -----------------------------------------------------------------------------------------------


def test_a_contradicting_label_wins_and_is_counted(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager)
    manager.record_results(test_id, [row(request_id="a"), row(request_id="b", true_label=1)])
    labels = [("a", 1), {"request_id": "b", "true_label": "benign"}, ("unknown", 1), ("a", 1)]
    done = manager.record_labels(test_id, labels)
    assert (done.labelled, done.late) == (2, 0)
    evidence = seen(kernel, test_id)
    assert (evidence.arm("A").confusion.tp, evidence.arm("A").confusion.fp, evidence.relabelled) == (1, 1, 1)
    manager.record_result(test_id, **row(request_id="a", true_label=False))
    assert seen(kernel, test_id).relabelled == 2
    for wrong in ([("a",)], [{"request_id": "a"}], [("a", None)], {"a": 1}, "ab", 5, [7]):
        with pytest.raises(InvalidInputError):
            manager.record_labels(test_id, wrong)
    assert sound(kernel)


def test_labels_wait_until_their_cohort_is_mature(kernel: Kernel, manager: ABTestManager, clock: FakeClock) -> None:
    test_id = started(manager, label_window=8 * 3600, primary_metric="accuracy", guardrails=())
    manager.record_results(test_id, [row(v, true_label=v == "v2") for v in ("v1", "v2") for _ in range(200)])
    young = seen(kernel, test_id)
    assert (young.arm("A").confusion.labelled, young.immature("A"), young.arm("A").requests) == (0, 200, 200)
    assert manager.tests[test_id].winner is None
    clock.advance(hours=9, minutes=1)
    manager.record_results(test_id, [row("v1", true_label=1) for _ in range(20)])  # a look is due
    grown = seen(kernel, test_id)
    assert (grown.arm("A").confusion.labelled, grown.immature("A")) == (200, 20)
    found = manager.get_test_results(test_id)
    assert found["statistical_significance"]["winner"] == "B", found["decision"]
    clock.advance(hours=-8)
    assert seen(kernel, test_id) == grown, "what was mature once stays mature"
    assert sound(kernel)


# Shadow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["a b label", "b a label", "label b a", "a label b", "b label a"])
def test_pairs_form_in_any_order(kernel: Kernel, manager: ABTestManager, order: str) -> None:
    test_id = started(manager, shadow=True, traffic_split=0.0)
    for step in order.split():
        if step == "label":
            manager.record_label(test_id, "r", 1)
        else:
            version = {"a": "v1", "b": "v2"}[step]
            seconds = {"a": 10.0, "b": 25.0}[step]
            found = row(version, request_id="r", latency_ms=seconds, predicted_label=step == "a", key="host-1")
            assert manager.record_result(test_id, **found).counted == 1
            assert manager.record_result(test_id, **found).duplicates == 1
    evidence = seen(kernel, test_id)
    (pair,) = evidence.pairs
    assert (pair.arm, pair.statistics.pairs, pair.statistics.latency.total) == ("B", 1, 15.0)
    assert pair.statistics.joint == (0, 0, 0, 0, 0, 0, 1, 0)
    assert (evidence.arm("A").confusion.tp, evidence.arm("B").confusion.fn) == (1, 1)
    assert (evidence.units("A"), evidence.units("B")) == (1, 0)
    manager.record_label(test_id, "r", 0)
    turned = seen(kernel, test_id)
    assert turned.pairs[0].statistics.joint == (0, 0, 1, 0, 0, 0, 0, 0)
    assert (turned.arm("A").confusion.fp, turned.arm("B").confusion.tn, turned.relabelled) == (1, 1, 1)
    assert sound(kernel)


def test_both_answers_in_one_batch(kernel: Kernel, manager: ABTestManager) -> None:
    test_id = started(manager, shadow=True, traffic_split=0.0)
    rows = [row(v, request_id=f"r{n}", success=n > 2 or v == "v1") for n in range(50) for v in ("v1", "v2")]
    assert manager.record_results(test_id, rows).counted == 100
    assert manager.record_results(test_id, rows).duplicates == 100
    (pair,) = seen(kernel, test_id).pairs
    assert (pair.statistics.pairs, pair.statistics.only_b_failed) == (50, 3)
    assert sound(kernel)


# Production ---------------------------------------------------------------------------------------------------------


def test_production_is_summed_up_by_version(kernel: Kernel, outcomes: Outcomes, clock: FakeClock) -> None:
    first = outcomes.record("v1", True, 10.0, predicted_label=1, confidence=0.5, key="h", custom_metrics={"cost": 3})
    assert outcomes.label(first.request_id or "", "attack").labelled == 1
    assert outcomes.labels([("early", 0)]).labelled == 0
    clock.advance(hours=1)
    since = clock.now()
    rows = [row("v2", request_id="early"), row("v2", success=False, latency_ms=20), row("v1")]
    assert outcomes.record_many(rows).counted == 3
    v1, v2 = outcomes.statistics("v1"), outcomes.statistics("v2")
    assert (v1.total_requests, v1.true_positives, v1.custom_metrics) == (2, 1, {"cost": 3.0})
    assert v1.latency_p50_ms == pytest.approx(10, rel=0.01)
    assert (v2.error_rate, v2.false_positives, v2.avg_latency_ms) == (0.5, 1, 15.0)
    assert outcomes.statistics("v1", since=since).total_requests == 1
    with pytest.raises(VersionNotFoundError):
        outcomes.record("v9", True, 1.0)
    with pytest.raises(VersionNotFoundError):
        outcomes.statistics("v9")
    with pytest.raises(ConflictError):
        outcomes.record("v1", True, 1.0, request_id="early")
    with pytest.raises(InvalidInputError):
        outcomes.statistics("v1", since=since.replace(tzinfo=None))
    with kernel.read() as view:
        assert view.audit.of_subject("model:default")[-1].action == "outcome:row:record"
    assert sound(kernel)


def test_a_recorder_of_production(outcomes: Outcomes) -> None:
    with outcomes.recorder() as recorder:
        for number in range(100):
            assert recorder.record("v1", True, 5.0, predicted_label=1, request_id=f"r{number}")
        recorder.label("r0", 1)
    assert outcomes.statistics("v1").total_requests == 100
    assert outcomes.statistics("v1").true_positives == 1


def test_pruning_deletes_rows_and_keeps_statistics(
    kernel: Kernel, outcomes: Outcomes, manager: ABTestManager, clock: FakeClock, tmp_path: Path
) -> None:
    test_id = started(manager)
    for target in (outcomes.record_many, lambda rows: manager.record_results(test_id, rows)):
        target([row(key=f"h{n}", true_label=1) for n in range(10)])
    clock.advance(days=10)
    outcomes.record_many([row()])
    before = outcomes.statistics("v1"), seen(kernel, test_id)
    with pytest.raises(InvalidInputError, match="How old"):
        outcomes.prune()
    assert (outcomes.prune(5).rows, outcomes.prune(5).rows) == (10, 0)
    assert Outcomes(kernel, retention_days=5).prune(test_id=test_id).rows == 10
    after = outcomes.statistics("v1"), seen(kernel, test_id)
    assert after[0] == before[0]
    assert after[1].cells == before[1].cells
    assert after[1].pruned == 10
    assert outcomes.export(tmp_path / "left.jsonl").rows == 1
    for wrong in (-1, "5", clock.now().replace(tzinfo=None), 1e9, float("nan")):
        with pytest.raises(InvalidInputError):
            outcomes.prune(wrong)  # type: ignore[arg-type]
    with kernel.read() as view:
        records = [r for r in view.audit.of_subject("outcomes:production/default") if r.action == "outcome:rows:prune"]
    assert [record.detail["rows"] for record in records] == [10, 0]
    assert sound(kernel)


def test_raw_outcomes_are_exported(
    kernel: Kernel, outcomes: Outcomes, manager: ABTestManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_id = started(manager)
    manager.record_results(test_id, [row(key="h", custom_metrics={"cost": 1.5}), row("v2", confidence=0.5)])
    manager.record_label(test_id, "waits", 1)
    exported = outcomes.export(tmp_path / "deep" / "rows.jsonl", test_id=test_id)
    rows = [json.loads(line) for line in exported.path.read_text().splitlines()]
    assert exported.rows == len(rows) == 3
    assert {found["arm"] for found in rows} == {"A", "B", None}
    assert [found["custom"] for found in rows if found["unit"] == "h"] == [{"cost": 1.5}]
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(outcomes.export(tmp_path / "rows.parquet", test_id=test_id).path)
    assert table.num_rows == 3
    assert sorted(table.column("request_id").to_pylist()) == sorted(found["request_id"] for found in rows)
    with pytest.raises(InvalidInputError, match="no file of outcomes"):
        outcomes.export(tmp_path / "rows.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pyarrow") as missing:
        outcomes.export(tmp_path / "no.parquet")
    assert "pip install 'sentinelzer0[parquet]'" in str(missing.value.hint)
    assert sorted(path.name for path in tmp_path.glob("*.par*")) == ["rows.parquet"]
