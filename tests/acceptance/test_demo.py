"""The demo as a user runs it; what it says is compared with the workspace it leaves, not believed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sklearn", reason="the extra demo is not installed")

from rich.console import Console

from sentinelzer0.cli.main import main
from sentinelzer0.demo import nsl_kdd, story
from sentinelzer0.demo.act_ab_test import (
    FIRST_SHARE,
    LABEL_WINDOW_S,
    LATENCY_MARGIN_MS,
    RAMP_AT,
    SALT,
    SHARE,
    WORTH_HAVING,
)
from sentinelzer0.demo.act_poisoned import BEFORE, MISSED_LIMIT, WINDOW
from sentinelzer0.demo.live import BATCH, AttackWindow, Service, load, ticks
from sentinelzer0.demo.screen import Mark, Screen, interval_bar, share_bar, short
from sentinelzer0.demo.stage import AB_REQUESTS, APPROVER, TRAINER
from sentinelzer0.domain.assignment import POSITIONS, position_of
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.maintenance.rebuild import rebuild
from sentinelzer0.mlops import TestStatus
from sentinelzer0.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentinelzer0.domain.audit import AuditRecord

ROOT = Path(__file__).resolve().parents[2]

slow = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("demo")]


@dataclass(frozen=True)
class Run:
    """A finished demo."""

    out: str
    err: str
    root: Path

    def found(self, pattern: str) -> tuple[str, ...]:
        """Search the output, in which any white space stands for any other."""
        match = re.search(pattern.replace(" ", r"\s+"), self.out)
        assert match, f"{pattern!r} is not in the output:\n{self.out}"
        return match.groups()


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One demo, run by its command in an empty directory with an empty home."""
    place = tmp_path_factory.mktemp("demo")
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "FORCE_COLOR", "XDG_CONFIG_HOME"}}
    environment |= {"HOME": str(place / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sentinelzer0", "demo", "--directory", "demo workspace"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(done.stdout, done.stderr, place / "demo workspace")


@pytest.fixture(scope="module")
def workspace(run: Run) -> Iterator[Workspace]:
    with Workspace.open(run.root) as opened:
        yield opened


@pytest.fixture(scope="module")
def records(workspace: Workspace) -> list[AuditRecord]:
    """What the audit log holds, oldest first."""
    return list(reversed(workspace.audit.records(limit=10_000)))


def of_action(records: list[AuditRecord], action: str, version: str, outcome: str = "ok") -> list[AuditRecord]:
    subject = f"version:default/{version}"
    return [r for r in records if r.action == action and subject in r.subjects and r.outcome == outcome]


class TestStory:
    pytestmark = slow

    def test_it_is_readable_on_80_columns_and_says_nothing_else(self, run: Run) -> None:
        story_told = run.out.partition("The workspace stays")[0]
        assert max(map(len, story_told.splitlines())) <= 80
        assert not [line for line in run.out.splitlines() if line != line.rstrip()]
        assert "\x1b" not in run.out
        assert run.err == ""

    def test_versions_are_bundles_with_real_metrics_and_lineage(self, run: Run, workspace: Workspace) -> None:
        parents = {v.version: v.metadata.parent_version for v in workspace.versions.list_versions()}
        assert parents == {"v1": None, "v2": "v1", "v3": "v2", "v4": "v1"}
        history = nsl_kdd.split(nsl_kdd.load())
        for version in ("v1", "v2"):
            with workspace.versions.open_verified(version) as model:
                assert {"decision.json", "preprocessing.json", "weights.json", "MODEL_CARD.md"} <= set(model.names())
                detector = load(model)
            said = workspace.versions.get_version(version).metadata.test_metrics
            caught = detector.predict(history.test)[history.test.label == 1].mean()
            assert said["recall"] == pytest.approx(caught)
        for name, label in (("roc_auc", "AUC"), ("fpr", "false-positive rate")):
            for pair in (("v1", "v2"), ("v2", "v3")):
                row = [workspace.versions.get_version(v).metadata.test_metrics[name] for v in pair]
                assert re.search(rf"{label} +{100 * row[0]:.2f} % +{100 * row[1]:.2f} %", run.out)

    def test_nobody_approves_the_own_request_and_v1_needed_two_people(self, records: list[AuditRecord]) -> None:
        (refused,) = of_action(records, "registry:promotion:approve", "v1", "refused")
        assert (refused.actor.name, refused.detail["code"]) == (TRAINER, "approver_not_allowed")
        (approved,) = of_action(records, "registry:promotion:approve", "v1")
        assert approved.actor.name == APPROVER
        assert refused.seq < approved.seq

    def test_the_ab_test_is_as_told(self, run: Run, workspace: Workspace, records: list[AuditRecord]) -> None:
        (test,) = workspace.ab_tests.list_tests()
        assert (test.status, test.winner, test.deployment) == (TestStatus.COMPLETED, "v2", "production")
        told = run.found(r"([\d,]+) requests to v1, ([\d,]+) to v2")
        assert tuple(map(number, told)) == (test.metrics_a.total_requests, test.metrics_b.total_requests)
        assert sum(map(number, told)) == AB_REQUESTS
        a, b = test.metrics_a, test.metrics_b
        labelled = sum(m.true_positives + m.false_positives + m.true_negatives + m.false_negatives for m in (a, b))
        assert labelled == AB_REQUESTS, "every label arrived in the end"
        results = workspace.ab_tests.get_test_results(test.test_id)
        found = results["statistical_significance"]
        assert (results["decision"]["action"], results["decision"]["winner"]) == ("promote", "v2")
        low, high = run.found(r"Promote v2: its F1 score is (\d\.\d\d) to (\d\.\d\d) higher")
        assert [float(low), float(high)] == pytest.approx(found["interval"], abs=0.005)
        assert float(low) > 0
        (level,) = run.found(r"the interval it lies in with ([\d.]+) % at all looks together")
        assert float(level) == pytest.approx(100 * (1 - found["alpha"]))
        reached, ended = (
            next(r for r in records if r.action == f"ab_test:{what}") for what in ("verdict:reach", "state:complete")
        )
        assert reached.seq < ended.seq
        after, counted = run.found(r"The verdict was reached after ([\d,]+) requests, ([\d,]+) labels counted")
        assert number(after) == test.verdict["requests"] < AB_REQUESTS
        assert number(counted) == test.verdict["samples_a"] + test.verdict["samples_b"]
        page, story_page = ((run.root / name).read_text(encoding="utf-8") for name in ("ab-test.html", "report.html"))
        assert f"after {after} requests, {counted} of them labelled" in page
        said = r"F1 score, v2 minus v1: [^<\"]+ the first look that decides\."
        assert set(re.findall(said, page)) == set(re.findall(said, story_page)) != set()

    def test_every_run_sends_the_same_hosts_to_v2(self, run: Run, workspace: Workspace) -> None:
        """Counted again with the pure assignment: which hosts met v2, and that nobody left it."""
        (test,) = workspace.ab_tests.list_tests()
        stream = nsl_kdd.replay(nsl_kdd.load().test)[:AB_REQUESTS]
        first, whole = (
            {request.key for request in stream if position_of(request.key, int(SALT, 16)) < share * POSITIONS}
            for share in (FIRST_SHARE, SHARE)
        )
        assert first < whole
        of_v2 = [r.position for r in stream if r.key in (first if r.position < RAMP_AT else whole)]
        assert len(of_v2) == test.metrics_b.total_requests
        phases = workspace.ab_tests.get_test_results(test.test_id)["phases"]
        assert [phase["shares"]["v2"] for phase in phases] == [FIRST_SHARE, SHARE]
        assert phases[0]["requests"] == {
            "v1": RAMP_AT - sum(at < RAMP_AT for at in of_v2),
            "v2": sum(at < RAMP_AT for at in of_v2),
        }

    def test_labels_had_their_time_before_the_verdict(self, workspace: Workspace) -> None:
        """At the verdict only requests count that are older than the window: counted again from the stream."""
        (test,) = workspace.ab_tests.list_tests()
        stream = nsl_kdd.replay(nsl_kdd.load().test)[:AB_REQUESTS]
        served = test.verdict["requests"]
        counted = test.verdict["samples_a"] + test.verdict["samples_b"]
        old = [r for r in stream[:served] if r.position < served - LABEL_WINDOW_S]
        known = [r for r in old if r.position + r.label_delay < served]
        assert counted <= len(known)
        assert counted > len(known) - LABEL_WINDOW_S / 4, "no longer than a window and a quarter"
        ramp = workspace.ab_tests.get_test_results(test.test_id)["phases"][1]["at"]
        passed = datetime.fromisoformat(test.verdict["reached_at"]) - datetime.fromisoformat(ramp)
        assert passed.total_seconds() == served - BATCH - RAMP_AT, "a connection a second"

    def test_guardrails_and_split_are_as_told(self, run: Run, workspace: Workspace) -> None:
        (test,) = workspace.ab_tests.list_tests()
        results = workspace.ab_tests.get_test_results(test.test_id)
        guarded = {g["metric"]: (g["state"], g["margin"], g["relative"]) for g in results["guardrails"]}
        assert guarded == {
            "error_rate": ("passed", 0.02, False),
            "avg_latency_ms": ("passed", LATENCY_MARGIN_MS, False),
        }
        run.found(r"guard error rate: passed")
        (margin, now) = run.found(
            r"mean latency of v2 is not worse than v1's by more than \+(\d+) ms \(now \+?(-?[\d.]+) ms\)"
        )
        assert float(margin) == LATENCY_MARGIN_MS
        latencies = [m.avg_latency_ms for m in (test.metrics_a, test.metrics_b)]
        assert float(now) == pytest.approx(latencies[1] - latencies[0], rel=0.2)
        assert results["srm"]["ok"]
        observed, expected = run.found(r"v2 was met by ([\d,]+) hosts for the first time, ([\d,]+) were expected")
        assert number(observed) == results["srm"]["observed"]["v2"]
        assert number(expected) == round(results["srm"]["expected"]["v2"])

    def test_the_plan_beside_the_verdict_is_the_planner_s(self, run: Run, workspace: Workspace) -> None:
        (test,) = workspace.ab_tests.list_tests()
        results = workspace.ab_tests.get_test_results(test.test_id)
        effects = (WORTH_HAVING, results["comparison"]["f1_score"]["difference"])
        told = run.found(
            r"needs ([\d,]+) labelled requests to find [^.]+\.05,[^.]+ and ([\d,]+) for somebody who knows"
        )
        planned = [workspace.ab_tests.plan(test.test_id, minimum_effect=effect)["fixed_total"] for effect in effects]
        assert [number(text) for text in told] == planned
        (needed,) = run.found(r"labels of each version, and needed ([\d,]+)\.")
        assert number(needed) == test.verdict["samples_a"] + test.verdict["samples_b"]

    def test_the_verdict_is_carried_to_the_approval_and_demanded(
        self, run: Run, workspace: Workspace, records: list[AuditRecord]
    ) -> None:
        reached = next(r for r in records if r.action == "ab_test:verdict:reach")
        (attached,) = reached.detail["evidence"]
        assert (attached["version"], attached["passed"]) == ("v2", True)
        asked = next(
            r for r in of_action(records, "registry:promotion:request", "v2") if r.detail["target"] == "production"
        )
        assert asked.seq > reached.seq
        requests = [r for r in workspace.registry.approval_requests.values() if r.version == "v2"]
        (request,) = [r for r in requests if r.target == "production"]
        assert [g["gate"] for g in request.gates if g["passed"]][-1] == "evidence ab-verdict"
        assert len(request.gates) == 6
        run.found(r"The request carries evidence ab-verdict, passed")

    def test_the_interval_narrows(self, run: Run) -> None:
        bars = re.findall(r"\[([-|═●]{33})\]", run.out)
        widths = [sum(bar.count(sign) for sign in "═●") for bar in bars]
        assert len(widths) >= 8
        assert widths[-1] < widths[0] / 2
        assert bars[0][16] == bars[-1][16] == "|", "zero is in the middle"

    def test_traffic_moved_as_told(self, workspace: Workspace) -> None:
        moves = [(d.cause.value, d.weights, d.created_by) for d in reversed(workspace.deployments.history())]
        assert moves == [
            ("promotion", {"v1": 1.0}, APPROVER),
            ("ab_start", {"v1": 0.95, "v2": 0.05}, TRAINER),
            ("ab_share", {"v1": 0.8, "v2": 0.2}, TRAINER),
            ("ab_end", {"v1": 1.0}, TRAINER),
            ("promotion", {"v2": 1.0}, APPROVER),
            ("promotion", {"v3": 1.0}, APPROVER),
            ("rollback", {"v2": 1.0}, "system"),
        ]

    def test_v3_lacked_a_verdict_until_the_gate_was_taken_away(
        self, run: Run, workspace: Workspace, records: list[AuditRecord]
    ) -> None:
        requests = [r for r in workspace.registry.approval_requests.values() if r.version == "v3"]
        first, request = sorted(requests, key=lambda r: r.requested_at)
        (refused,) = of_action(records, "registry:promotion:approve", "v3", "refused")
        assert refused.detail["code"] == "gate_failed"
        assert "evidence ab-verdict" in refused.reason
        run.found(r"v3 fails 1 of 5 gates for production: evidence ab-verdict")
        assert (first.status, request.status) == ("void", "approved")
        policies = [r for r in records if r.action == "policy:rules:install" and r.outcome == "ok"]
        assert [r.actor.name for r in policies[-3:]] == [APPROVER] * 3
        assert refused.seq < policies[-1].seq
        assert len(request.gates) == 5
        assert all(gate["passed"] for gate in request.gates)
        assert [gate["detail"].partition(" against ")[2][-5:] for gate in request.gates[1:]] == ["of v2"] * 4

    def test_the_rollback_is_as_told(self, run: Run, workspace: Workspace) -> None:
        (event,) = workspace.rollback.get_rollback_history()
        assert (event.from_version, event.to_version, event.success) == ("v3", "v2", True)
        assert (event.triggered_by, event.details["verification"]) == ("system", "full")
        assert workspace.deployments.current().revision == event.details["revision"]
        requests, labelled, total = run.found(
            r"v3 was gone after (\d+) requests, (\d+) of them labelled: (\d+) ms from"
        )
        seen = workspace.registry.get_entry("v3").performance_metrics
        assert (seen["live_requests"], seen["labelled_requests"]) == (int(requests), int(labelled))
        assert event.reason.startswith(f"{seen['failed_requests']} of the last {seen['total_requests']} labelled")
        assert int(total) >= sum(event.details["durations_ms"].values()) - 1
        with workspace.kernel.read() as view:
            assert view.versions.get("default", "v3").quarantined_at is not None
        assert workspace.registry.get_entry("v2").health_status == "healthy"

    def test_missed_attacks_counted_again_from_the_data(self, run: Run, workspace: Workspace) -> None:
        """The traffic is replayed and both versions asked again, without the demo's own bookkeeping."""
        world = nsl_kdd.load()
        stream = nsl_kdd.replay(world.test)[AB_REQUESTS:]
        seen = workspace.registry.get_entry("v3").performance_metrics
        end = BEFORE + seen["live_requests"]
        answered = range(BEFORE, end)
        known = [index for index in answered if index + stream[index].label_delay <= end]
        assert len(known) == seen["labelled_requests"]
        missed = {}
        for version in ("v2", "v3"):
            alarm = Service(workspace, world.test).detector(version).predict(world.test)
            attacks = [index for index in known if stream[index].label == 1]
            assert len(attacks) == seen["total_requests"] <= WINDOW
            missed[version] = sum(not alarm[stream[index].row] for index in attacks)
            let_through = sum(stream[i].label == 1 and not alarm[stream[i].row] for i in answered)
            column = {"v3": 0, "v2": 1}[version]
            assert int(run.found(rf"let through, in {len(answered)} requests (\d+) (\d+)")[column]) == let_through
        assert missed["v3"] == seen["failed_requests"] >= MISSED_LIMIT * seen["total_requests"]
        assert missed["v2"] < MISSED_LIMIT * seen["total_requests"]
        assert tuple(map(int, run.found(r"missed, of \d+ labelled attacks (\d+) (\d+)"))) == (
            missed["v3"],
            missed["v2"],
        )

    def test_one_flipped_bit_was_refused_everywhere_and_is_mended(
        self, run: Run, workspace: Workspace, records: list[AuditRecord]
    ) -> None:
        for attempt in ("verifies v4: not intact", "loads v4: refused", "promotes v4: refused"):
            assert attempt in run.out
        assert "rolls v2 back to v1: refused" in run.out
        (approval,) = of_action(records, "registry:promotion:approve", "v4", "refused")
        (rollback,) = of_action(records, "rollback:production:execute", "v1", "refused")
        assert approval.detail["code"] == rollback.detail["code"] == "integrity"
        for version in ("v1", "v2", "v3", "v4"):
            assert workspace.versions.verify_integrity(version)
        assert workspace.registry.get_pending_approvals() == []

    def test_the_log_verifies_inside_and_outside(self, run: Run, workspace: Workspace) -> None:
        report = workspace.audit.verify()
        assert report.intact, report.problems
        assert (report.records, report.checkpoints) == (number(run.found(r"verify: (\d+) records intact")[0]), 1)
        export = run.root / "registry" / "exports" / str(report.records)
        key = (run.root / "registry" / "audit.vkey").read_text(encoding="utf-8").strip()
        command = [sys.executable, "-I", export / "verify_audit_export.py", export, "--vkey", key]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0

    def test_without_its_database_it_comes_back_as_it_was(self, run: Run, workspace: Workspace, tmp_path: Path) -> None:
        stages = {version.version: version.stage for version in workspace.versions.list_versions()}
        root = Path(shutil.copytree(run.root, tmp_path / "lost"))
        for path in root.glob("sentinelzer0.db*"):
            path.unlink()
        result = rebuild(root)
        assert (result.records, result.recovered) == (workspace.audit.verify().records, [])
        with Workspace.open(root) as again:
            assert {version.version: version.stage for version in again.versions.list_versions()} == stages
            assert again.deployments.current().weights == {"v2": 1.0}

    def test_the_report_is_one_file_that_asks_for_nothing(self, run: Run, workspace: Workspace) -> None:
        (path,) = run.found(r"with the charts:\n +(.+report\.html)\n")
        text = (run.root.parent / path).read_text(encoding="utf-8")
        assert not re.search(r"<script|<link|<img|src=|url\((?!#)|https?://(?!www\.w3\.org)", text)
        (event,) = workspace.rollback.get_rollback_history()
        assert text.count("<figure") >= 7
        assert event.reason in text
        assert workspace.audit.verify().root in text

    def test_every_command_it_proposes_works(
        self, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(run.root.parent)
        commands = re.findall(r"python -m sentinelzer0 (-w 'demo workspace' .+)", run.out)
        assert len(commands) == len(story.COMMANDS)
        for command in commands:
            assert main(shlex.split(command)) == 0, command
            assert capsys.readouterr().out, command


class TestDirectory:
    def test_a_new_or_empty_directory_is_taken(self, tmp_path: Path) -> None:
        assert story.choose(tmp_path / "new", force=False) == tmp_path / "new"
        assert story.choose(tmp_path, force=False) == tmp_path

    @pytest.mark.parametrize("force", [False, True])
    def test_what_is_not_a_demo_is_never_touched(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "mine").write_text("precious", encoding="utf-8")
        with pytest.raises(InvalidInputError, match="not an earlier demo"):
            story.run(tmp_path, force=force)
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_an_earlier_demo_stays_unless_forced(self, tmp_path: Path) -> None:
        first = tmp_path / "demo"
        first.mkdir()
        (first / story.MARKER).write_text(json.dumps({}), encoding="utf-8")
        (tmp_path / "demo-2").mkdir()
        assert story.choose(first, force=False) == tmp_path / "demo-3"
        assert first.exists()
        assert story.choose(first, force=True) == first
        assert not first.exists()

    def test_missing_data_leave_nothing_behind(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="NSL-KDD"):
            story.run(tmp_path / "demo", data=tmp_path)
        assert not (tmp_path / "demo").exists()


class TestScreen:
    def told(self, encoding: str, columns: int = 80) -> str:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
        screen = Screen(Console(file=stream, width=columns), Console(file=io.StringIO()))
        screen.act(1, "A title", "An intro \N{EN DASH} with a dash.")
        screen.did("ayse", "does something \N{RIGHTWARDS ARROW} done", Mark.REFUSED, detail="because " * 20)
        screen.table(["what", ">how much"], [["\N{BALLOT X} one", "1"]], title="Numbers")
        screen.line(interval_bar(-0.1, 0.2, 0.05, reach=0.4), (share_bar(0.5, 0.7), "red"))
        screen.verdict("In the end.", good=True)
        stream.flush()
        return raw.getvalue().decode(encoding)

    def test_an_ascii_stream_gets_ascii(self) -> None:
        assert "x ayse" in self.told("ascii")
        assert "->" in self.told("ascii")
        assert "\N{BALLOT X} ayse" in self.told("utf-8")

    def test_long_lines_are_folded_beneath_their_text(self) -> None:
        lines = self.told("utf-8").splitlines()
        assert max(map(len, lines)) <= 80
        assert [line for line in lines if line.startswith(" " * 12 + "because")]

    def test_bars(self) -> None:
        assert interval_bar(-0.1, 0.2, 0.1, reach=0.4, cells=9) == "[---═|●═--]"
        assert interval_bar(-9, 9, 9, reach=0.4, cells=5) == "[══|═●]"
        assert share_bar(0.5, 0.75, cells=8) == "████░░|░"

    def test_digests_and_ids_are_shortened(self) -> None:
        assert short(f"sha {'ab' * 32}.") == f"sha {'ab' * 6}…"
        assert short(f"apr_{'0' * 26}123456 of v1") == "apr_…123456 of v1"


class TestTicks:
    def test_a_label_comes_after_its_request_and_exactly_once(self) -> None:
        stream = nsl_kdd.replay(nsl_kdd.load().test)[:1000]
        seen, labelled = set(), []
        for tick in ticks(stream):
            assert {request.position for request in tick.labelled} <= seen
            labelled += [request.position for request in tick.labelled]
            seen |= {request.position for request in tick.requests}
        assert sorted(labelled) == sorted(seen) == list(range(1000))

    def test_the_window_keeps_the_latest_attacks_only(self) -> None:
        window, other = AttackWindow(2), AttackWindow(2)
        assert (window.recall, window.missed_share, window.latency_ms) == (None, 0.0, 0.0)
        normal, attack = (nsl_kdd.LiveRequest(0, "h", 0, label, 1) for label in (0, 1))
        for request, alarm in ((attack, 0), (normal, 1), (attack, 1), (attack, 1)):
            window.add(request, alarm, 2.0)
        assert (window.labelled, window.attacks, window.missed, window.recall) == (4, 2, 0, 1.0)
        assert window.latency_ms == 2.0
        assert not window.equals(other)
        window.add(attack, 0, 4.0)
        assert (window.recall, window.missed_share, window.latency_ms) == (0.5, 0.5, 3.0)
