"""A test beside a plain dict: ramps, labels and repeats in any order from two processes give the same counts."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sentinelzer0.domain.assignment import arm_at, first_ranges, position_of
from sentinelzer0.errors import ConflictError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.measurement_checks import check_measurements
from sentinelzer0.maintenance.report import Status
from sentinelzer0.mlops.ab_lookup import evidence_of
from sentinelzer0.mlops.ab_testing import ABTestManager, Assignment
from sentinelzer0.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres import PostgresServer

SCALE = int(os.environ.get("SENTINELZER0_TEST_SCALE", "1"))
LETTERS = {"v1": "A", "v2": "B", "v3": "C"}
HOLDOUT = 0.1
SALT = "00000000000000ff"
WINDOW_S = 3600.0
versions = st.sampled_from(list(LETTERS))
processes = st.integers(0, 1)
names = st.sampled_from([f"r{n}" for n in range(8)])
labels = st.none() | st.booleans()
rows = st.fixed_dictionaries(
    {
        "model_version": versions,
        "request_id": names,
        "success": st.booleans(),
        "latency_ms": st.sampled_from([0.0, 12.5, 900.0]),
        "predicted_label": labels,
        "true_label": labels,
        "segment": st.sampled_from([None, "lan", "mars"]),
    }
)
Cell = tuple[int, bool, str, str]


@dataclass
class Answer:
    """What the model knows of one recorded outcome."""

    arm: str
    cell: Cell
    success: bool
    slow: bool
    predicted: bool | None
    late: bool


def kept_in() -> Iterator[str]:
    """Return units that the holdout does not have, each once."""
    seed = int(SALT, 16)
    names = (f"unit-{number}" for number in count())
    return (name for name in names if arm_at(position_of(name, seed), first_ranges(HOLDOUT)) == "A")


class TestBesideADict(RuleBasedStateMachine):
    """The model: answers and labels by request id, the shares of every phase, whether the test is over."""

    __test__ = False
    assignments = Bundle("assignments")

    def __init__(self, new_location: Callable[[ExitStack], str]) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.location = new_location(self.stack)
        self.clock = FakeClock()
        self.answers: dict[str, Answer] = {}
        self.labels: dict[str, bool] = {}
        self.shares = {"v2": 0.1, "v3": 0.1}
        self.phases: list[dict[str, float]] = []
        self.status = "running"
        self.relabelled = 0
        self.units = kept_in()

    @initialize(window=st.sampled_from([0.0, WINDOW_S]))
    def start(self, window: float) -> None:
        self.managers = [ABTestManager(kernel=Kernel(self.location, clock=self.clock)) for _ in range(2)]
        for manager in self.managers:
            self.stack.callback(manager.kernel.close)
        test = self.managers[0].create_test(
            "t",
            arms={"v1": None, "v2": 0.1, "v3": 0.1},
            holdout=HOLDOUT,
            segments=["lan"],
            latency_slo_ms=100,
            label_window=window,
            min_samples=10**6,
            salt=SALT,
        )
        self.test_id = self.managers[0].start_test(test.test_id).test_id
        self.begin_phase()

    def teardown(self) -> None:
        if hasattr(self, "managers"):
            self.require_the_whole()
        self.stack.close()

    # What happens to the test ------------------------------------------------------------------------------------

    def begin_phase(self) -> None:
        challengers = self.shares if self.status == "running" else dict.fromkeys(self.shares, 0.0)
        self.phases.append({"v1": round(1 - HOLDOUT - sum(challengers.values()), 12), **challengers})

    @precondition(lambda self: self.status != "completed")
    @rule(process=processes, version=st.sampled_from(["v2", "v3"]), share=st.sampled_from([0.0, 0.05, 0.25, 0.4]))
    def ramp(self, process: int, version: str, share: float) -> None:
        self.managers[process].set_share(self.test_id, share, version=version)
        changed = self.shares[version] != share
        self.shares[version] = share
        if changed and self.status == "running":
            self.begin_phase()

    @precondition(lambda self: self.status != "completed")
    @rule(process=processes)
    def pause_or_resume(self, process: int) -> None:
        manager = self.managers[process]
        if self.status == "running":
            self.status = manager.pause_test(self.test_id).status.value
        else:
            self.status = manager.resume_test(self.test_id).status.value
        self.begin_phase()

    @precondition(lambda self: self.status != "completed" and len(self.answers) > 6)
    @rule(process=processes)
    def complete(self, process: int) -> None:
        done = self.managers[process].complete_test(self.test_id, force=True)
        assert (done["winner"], done["decision"]["action"]) == (None, "inconclusive")
        self.status = "completed"

    @rule(seconds=st.sampled_from([-7200.0, -0.5, 0.06, 900.0, 7200.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    # Outcomes ----------------------------------------------------------------------------------------------------

    @rule(target=assignments, process=processes, key=st.integers(0, 40))
    def assign(self, process: int, key: int) -> Assignment:
        found = self.managers[process].assign(self.test_id, f"host-{key}")
        if found.arm == "holdout":
            assert (found.version, found.share) == ("v1", HOLDOUT)
        else:
            assert LETTERS[found.version] == found.arm
        if found.arm != "holdout" and self.status != "completed":
            # The other process may be 50 ms behind, and then says so.
            assert found.share == self.phases[found.revision - 1][found.version]
        return found

    @rule(process=processes, given=assignments, row=rows)
    def record_as_assigned(self, process: int, given: Assignment, row: dict[str, Any]) -> None:
        mine = row | {"model_version": given.version, "request_id": given.request_id}
        self.expect(process, [(mine, given.arm, given.revision, True)], [mine | {"assignment": given}])

    @rule(process=processes, batch=st.lists(rows, min_size=1, max_size=5))
    def record_some(self, process: int, batch: list[dict[str, Any]]) -> None:
        phase = len(self.phases)
        told = [(row, LETTERS[row["model_version"]], phase, False) for row in batch]
        self.expect(process, told, [row | {"key": next(self.units)} for row in batch])

    def expect(
        self, process: int, told: list[tuple[dict[str, Any], str, int, bool]], given: list[dict[str, Any]]
    ) -> None:
        """Record, and compare what is answered with what the model says; a conflict takes the whole batch back."""
        before = (dict(self.answers), dict(self.labels), self.relabelled)
        results = [self.take(*one) for one in told]
        manager = self.managers[process]
        if "conflict" in results:
            self.answers, self.labels, self.relabelled = before
            with pytest.raises(ConflictError):
                manager.record_results(self.test_id, given)
            return
        done = manager.record_results(self.test_id, given)
        count = Counter(results)
        assert (done.counted, done.late, done.duplicates) == (count["counted"], count["late"], count["duplicate"])

    def take(self, row: dict[str, Any], arm: str, phase: int, assigned: bool) -> str:
        name, over = row["request_id"], self.status == "completed"
        known = self.answers.get(name)
        if known is not None and known.arm != arm:
            return "conflict"
        if known is None:
            cell = (phase, assigned, "lan" if row["segment"] == "lan" else "", arm)
            self.answers[name] = Answer(
                arm, cell, row["success"], row["latency_ms"] > 100, row["predicted_label"], late=over
            )
        if row["true_label"] is not None:
            self.note_label(name, row["true_label"])
        return "duplicate" if known is not None else "late" if over else "counted"

    # Labels ------------------------------------------------------------------------------------------------------

    @rule(process=processes, batch=st.lists(st.tuples(names, st.booleans()), min_size=1, max_size=4))
    def label(self, process: int, batch: list[tuple[str, bool]]) -> None:
        self.managers[process].record_labels(self.test_id, batch)
        for name, true in batch:
            self.note_label(name, true)

    @rule(process=processes, given=assignments, true=st.booleans())
    def label_as_assigned(self, process: int, given: Assignment, true: bool) -> None:
        self.managers[process].record_label(self.test_id, given.request_id, true)
        self.note_label(given.request_id, true)

    def note_label(self, name: str, true: bool) -> None:
        if self.status == "completed":
            return  # kept beside the outcome, counted nowhere
        self.relabelled += self.labels.get(name, true) != true
        self.labels[name] = true

    # What must hold ----------------------------------------------------------------------------------------------

    def expected(self) -> dict[Cell, tuple[int, ...]]:
        """Return requests, failures, slow ones, units, and labelled ones with a prediction, by cell."""
        cells: dict[Cell, list[int]] = {}
        for name, answer in self.answers.items():
            if not answer.late:
                labelled = answer.predicted is not None and name in self.labels
                mine = cells.setdefault(answer.cell, [0] * 5)
                for place, more in enumerate((1, not answer.success, answer.slow, 1, labelled)):
                    mine[place] += more
        return {cell: tuple(counts) for cell, counts in cells.items()}

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "managers"):
            return
        with self.managers[0].kernel.read() as view:
            evidence = evidence_of(view, self.test_id, histograms=False)
        found = {
            (cell.phase, cell.assigned, cell.segment, cell.arm): (
                cell.statistics.requests,
                cell.statistics.failures,
                cell.statistics.slow,
                cell.units,
                cell.statistics.confusion.labelled + cell.immature,
            )
            for cell in evidence.cells
            if cell.statistics.requests
        }
        assert found == self.expected()
        assert evidence.relabelled == self.relabelled
        late = Counter(answer.arm for answer in self.answers.values() if answer.late)
        assert {arm: count for arm, count in evidence.late.items() if count} == dict(late)

    def require_the_whole(self) -> None:
        """Once every label is mature, the results say what the model says, and the raw rows add up to it."""
        self.clock.advance(days=30)
        manager = self.managers[1]
        results = manager.get_test_results(self.test_id)
        counted = {name: answer for name, answer in self.answers.items() if not answer.late}
        for arm, metrics in (
            *((LETTERS[version], found) for version, found in results["metrics"].items()),
            ("holdout", results["holdout"]),
        ):
            table = Counter(
                (self.labels[name], answer.predicted)
                for name, answer in counted.items()
                if answer.arm == arm and name in self.labels and answer.predicted is not None
            )
            cells = ((True, True), (False, True), (False, False), (True, False))
            kinds = ("true_positives", "false_positives", "true_negatives", "false_negatives")
            assert [metrics[kind] for kind in kinds] == [table[cell] for cell in cells]
        assert [phase["shares"] for phase in results["phases"]] == self.phases
        for phase in results["phases"]:
            requests = Counter(a.arm for a in counted.values() if a.cell[0] == phase["phase"])
            assert phase["requests"] == {version: requests[letter] for version, letter in LETTERS.items()}
        assert results["maturity"] == results["maturity"] | {"labels_waiting": 0, "relabelled": self.relabelled}
        assert json.loads(json.dumps(results, allow_nan=False)) == results
        check = check_measurements(manager.kernel)
        assert check.status is Status.PASS, check.detail


def _directory(stack: ExitStack) -> str:
    return str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "workspace")


def test_counts_are_exact_on_sqlite() -> None:
    run_state_machine_as_test(
        lambda: TestBesideADict(_directory),
        settings=settings(
            max_examples=25 * SCALE, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.postgres
def test_counts_are_exact_on_postgresql(postgres: PostgresServer) -> None:
    def location(stack: ExitStack) -> str:
        return f"{stack.enter_context(postgres.database())}&blobs={_directory(stack)}"

    run_state_machine_as_test(
        lambda: TestBesideADict(location),
        settings=settings(
            max_examples=5 * SCALE, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
