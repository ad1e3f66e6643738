"""Large targets: a fresh verification stands for a full one, and what relied on it is hashed at once afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from sentinelzer0.domain.manifests import ContentKind
from sentinelzer0.mlops import integrity, rollback
from sentinelzer0.mlops.ab_testing import ABTestManager, TestStatus
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.testing import FakeClock
from tests.contract.rollback_team import Team, team

__all__ = ["team"]  # a fixture


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "SMALL", 4)


def forget(team: Team) -> None:
    """Forget every verification on record."""
    with team.kernel.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM verifications")


def damage_below_the_file_system(team: Team, name: str) -> None:
    """Change bytes so that the stat key on record still matches, as a failing disk does."""
    team.damage(name)
    with team.kernel.record_outcomes() as view:
        version = view.versions.get("default", name)
        assert version is not None
        found = view.versions.verified(version.digest)
        assert found is not None
        view.versions.set_verified(version.digest, team.kernel.blobs.stat_key(integrity.content_of(version)), found[1])


def test_small_targets_are_always_hashed_and_nothing_is_cached(team: Team) -> None:
    team.serve("v1", "v2")
    with team.kernel.read() as view:
        version = view.versions.get("default", "v1")
        assert version is not None
        assert view.versions.verified(version.digest) is None
    assert team.rollback.execute_rollback("v2").details["verification"] == "full"


@pytest.mark.usefixtures("everything_is_large")
def test_a_fresh_verification_counts_and_is_confirmed_afterwards(team: Team, clock: FakeClock) -> None:
    team.serve("v1", "v2")
    clock.advance(minutes=5)
    event = team.rollback.execute_rollback("v2")
    assert event.details["verification"] == "cached(300 s)"
    assert event.details["recheck"] == "running"
    assert team.rollback.finish_rechecks(60)
    (stored,) = team.rollback.rollback_history
    assert stored.details["recheck"] == "passed"
    written = json.loads((team.rollback.rollback_dir / f"{event.event_id}.json").read_text())
    assert written["details"]["recheck"] == "passed"
    record = team.records()[-1]
    assert (record.action, record.actor.auth) == ("rollback:verification:recheck", "internal")


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("spoil", ["older than an hour", "from the future", "touched", "never verified"])
def test_without_a_fresh_verification_the_full_hash_comes_first(team: Team, clock: FakeClock, spoil: str) -> None:
    team.serve("v1", "v2")
    version = team.versions.get_version("v1")
    assert version is not None
    if spoil == "older than an hour":
        clock.advance(hours=1, seconds=1)
    elif spoil == "from the future":
        clock.advance(hours=-2)
    elif spoil == "touched":
        team.kernel.blobs.path(version.metadata.file_hash).touch()
    else:
        forget(team)
    event = team.rollback.execute_rollback("v2")
    assert event.details["verification"] == "full"
    assert "recheck" not in event.details
    with team.kernel.read() as view:
        assert view.versions.verified(version.metadata.file_hash) is not None


@pytest.mark.usefixtures("everything_is_large")
def test_a_directory_is_verified_by_the_keys_of_all_its_files(team: Team) -> None:
    source = team.directory / "bundle"
    source.mkdir()
    (source / "weights.bin").write_bytes(b"weights")
    (source / "threshold.json").write_bytes(b"0.5")
    team.versions.create_version(source, "v1")
    for status in ("staging", "production"):
        team.versions.promote_version("v1", status)
    team.serve("v2")
    with team.versions.open_verified("v1") as content:
        assert content.manifest is not None
        member = team.kernel.blobs.path(content.manifest.entries[0].sha256)
    with team.kernel.read() as view:
        version = view.versions.get("default", "v1")
        assert version is not None
        assert version.kind == ContentKind.DIRECTORY
        found = view.versions.verified(version.digest)
    assert found is not None
    assert len(found[0]) == 3
    member.touch()
    assert team.rollback.execute_rollback("v2").details["verification"] == "full"


@pytest.mark.usefixtures("everything_is_large")
def test_when_the_hash_afterwards_fails_the_next_known_good_is_taken(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    team.serve("v1", "v2", "v3")
    damage_below_the_file_system(team, "v2")
    event = team.rollback.execute_rollback("v3", reason="errors", triggered_by="alice")
    assert (event.to_version, event.details["verification"][:6]) == ("v2", "cached")
    assert team.rollback.finish_rechecks(60)
    first, second = team.rollback.rollback_history
    assert first.details["recheck"].startswith("failed: v2 is not what was registered")
    assert (second.from_version, second.to_version, second.success) == ("v2", "v1", True)
    assert second.details["follows"] == event.event_id
    assert second.triggered_by == "system"
    assert second.details["recheck"] == "passed"
    assert team.serving() == {"v1": 1.0}
    assert team.quarantined("v2")
    assert "failed its re-hash" in caplog.text


@pytest.mark.usefixtures("everything_is_large")
def test_when_there_is_no_other_way_back_it_is_said_loudly(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    team.serve("v1", "v2")
    damage_below_the_file_system(team, "v1")
    event = team.rollback.execute_rollback("v2", triggered_by="alice", reason="errors")
    assert team.rollback.finish_rechecks(60)
    written = json.loads((team.rollback.rollback_dir / f"{event.event_id}.json").read_text())
    assert written["details"]["recheck"].startswith("failed")
    assert "no known-good version to go back to from v1" in caplog.text
    assert [record.levelname for record in caplog.records][-1] == "CRITICAL"
    assert team.serving() == {"v1": 1.0}


@pytest.mark.usefixtures("everything_is_large")
def test_a_write_during_the_hash_makes_the_verification_stale(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.serve("v1", "v2")
    forget(team)
    check = team.kernel.blobs.check

    def with_a_write(content: Any) -> list[str]:
        found = check(content)
        team.kernel.blobs.path(content.digest).touch()
        return found

    with monkeypatch.context() as writing:
        writing.setattr(team.kernel.blobs, "check", with_a_write)
        assert team.versions.verify_integrity("v1")
    assert team.rollback.execute_rollback("v2").details["verification"] == "full"


def test_a_rollback_cancels_the_test_that_splits_the_traffic(team: Team) -> None:
    team.serve("v1", "v2")
    team.create("v3")
    team.versions.promote_version("v3", "staging")
    tests = ABTestManager(kernel=team.kernel)
    test = tests.create_test("v2 or v3", "v2", "v3", 0.1, deployment="production")
    tests.start_test(test.test_id)
    assert team.serving() == {"v2": 0.9, "v3": 0.1}
    event = team.rollback.execute_rollback("v2", reason="both are slow", triggered_by="alice")
    assert event.details["cancelled_tests"] == [test.test_id]
    assert team.serving() == {"v1": 1.0}
    cancelled = tests.get_test(test.test_id)
    assert cancelled is not None
    assert cancelled.status is TestStatus.CANCELLED
    with team.kernel.read() as view:
        record = view.audit.of_subject(f"ab_test:{test.test_id}")[-1]
    assert (record.action, record.reason) == ("ab_test:state:cancel", "both are slow")
    assert record.detail == {"rollback": event.event_id}


def test_a_challenger_is_left_for_the_control(team: Team) -> None:
    team.serve("v1", "v2")
    team.create("v3")
    team.versions.promote_version("v3", "staging")
    tests = ABTestManager(kernel=team.kernel)
    test = tests.create_test("v2 or v3", "v2", "v3", 0.1, deployment="production")
    tests.start_test(test.test_id)
    assert team.rollback.execute_rollback("v3").to_version == "v2"
    assert team.serving() == {"v2": 1.0}
    assert team.quarantined("v3")


@dataclass
class ListeningTracker:
    """Keeps what it is told; may be slow or fail."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None
    hold: threading.Event | None = None

    def start_run(
        self, run_name: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Any]:
        if self.hold is not None:
            self.hold.wait()
        if self.failure is not None:
            raise self.failure
        self.runs.append({"name": run_name, "tags": tags})
        return nullcontext()

    def log_params(self, params: Mapping[str, Any]) -> None:
        self.runs[-1]["params"] = params

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.runs[-1]["metrics"] = metrics

    def log_artifact(self, artifact_path: str, artifact_dir: str | None = None) -> None:
        self.runs[-1]["artifact"] = artifact_path


def test_the_tracker_is_told(team: Team) -> None:
    team.serve("v1", "v2")
    tracker = ListeningTracker()
    manager = RollbackManager(team.versions, team.registry, tracker=tracker)
    event = manager.execute_rollback("v2", reason="errors")
    (run,) = tracker.runs
    assert run["name"] == "rollback v2 to v1"
    assert run["tags"]["sentinelzer0.event"] == "rollback:production:execute"
    assert run["tags"]["sentinelzer0.rollback"] == event.event_id
    assert run["params"] == {"from_version": "v2", "to_version": "v1"}
    assert set(run["metrics"]) == {"decide_ms", "verify_ms", "write_ms"}
    assert run["artifact"].endswith(f"{event.event_id}.json")


def test_a_failing_tracker_stops_nothing(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    team.serve("v1", "v2")
    tracker = ListeningTracker(failure=RuntimeError("no route to host"))
    manager = RollbackManager(team.versions, team.registry, tracker=tracker)
    assert manager.execute_rollback("v2").success
    assert "no route to host" in caplog.text


def test_a_slow_tracker_does_not_hold_a_rollback(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.serve("v1", "v2")
    monkeypatch.setattr(rollback, "TRACKER_PATIENCE_S", 0.01)
    tracker = ListeningTracker(hold=threading.Event())
    manager = RollbackManager(team.versions, team.registry, tracker=tracker)
    assert manager.execute_rollback("v2").success
    assert tracker.runs == []
    assert tracker.hold is not None
    tracker.hold.set()
