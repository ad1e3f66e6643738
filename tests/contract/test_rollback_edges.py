"""Rollback where convenience fails, where input is odd, and where versions are deprecated."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sentinelzer0.errors import InvalidInputError, InvalidMetricError, NotKnownGoodError, RequestNotFoundError
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.rollback import RollbackManager
from tests.contract.rollback_team import Team, team

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["team"]  # a fixture


def foreign_file(directory: Path) -> None:
    directory.write_text("not ours")


def dangling_link(directory: Path) -> None:
    directory.mkdir()
    (directory / "v1.bin").symlink_to("nowhere")


@pytest.mark.parametrize("obstacle", [foreign_file, dangling_link])
def test_readable_files_that_cannot_be_built_stop_no_rollback(team: Team, obstacle: Callable[[Path], None]) -> None:
    team.serve("v1", "v2")
    directory = team.kernel.layout.version_directory("default", "v1")
    team.kernel.blobs.remove_view(directory)
    obstacle(directory)
    event = team.rollback.execute_rollback("v2", "v1", "recall fell")
    assert event.success
    assert team.serving() == {"v1": 1.0}
    assert event.details["target_model_path"] == str(directory / "v1.bin")
    assert team.versions.integrity_problems("v1"), "the obstacle itself is told"


def test_a_missing_readable_file_is_there_after_the_rollback(team: Team) -> None:
    team.serve("v1", "v2")
    team.kernel.blobs.remove_view(team.kernel.layout.version_directory("default", "v1"))
    event = team.rollback.execute_rollback("v2", "v1", "recall fell")
    with open(event.details["target_model_path"], "rb") as stream:  # noqa: PTH123 - the path is text
        assert stream.read() == b"weights of default v1"


def test_the_longest_names_can_be_rolled_back_to_read_and_verified(team: Team) -> None:
    model, first, second = "m" * 128, "a" * 128, "a" * 127 + "b"
    for number, name in enumerate((first, second)):
        path = team.directory / f"{number}.bin"
        path.write_bytes(f"weights {number}".encode())
        team.versions.create_version(path, name, model=model)
        team.versions.promote_version(name, "staging", model=model)
        team.versions.promote_version(name, "production", model=model)
    event = team.rollback.execute_rollback(second, None, "recall fell", model=model)
    assert (event.success, event.to_version) == (True, first)
    for name, content in ((first, b"weights 0"), (second, b"weights 1")):
        version = team.versions.get_version(name, model=model)
        assert version is not None
        assert version.model_path.read_bytes() == content
        assert team.versions.verify_integrity(name, model=model)
        assert len(os.fsencode(version.model_path.parent.name)) <= 200


def test_a_deprecated_version_is_gone_to_only_by_name(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    team.versions.promote_version("v2", "archived")
    team.versions.promote_version("v2", "deprecated")
    assert team.rollback.execute_rollback("v3").to_version == "v1"
    with pytest.raises(NotKnownGoodError, match="not deprecated"):
        team.rollback.execute_rollback("v1")
    assert team.rollback.execute_rollback("v1", "v2", "the feature is back", triggered_by="ana").to_version == "v2"


@pytest.mark.parametrize("word", ["false", "true", 1, None, 10**400])
def test_whether_somebody_insists_is_a_truth_value(team: Team, word: Any) -> None:
    team.serve("v1")
    team.create("v2")
    with pytest.raises(InvalidInputError, match="allow_unapproved is"):
        team.rollback.execute_rollback("v1", "v2", "urgent", triggered_by="ana", allow_unapproved=word)
    assert team.serving() == {"v1": 1.0}
    event = team.rollback.execute_rollback(
        "v1",
        "v2",
        "urgent",
        triggered_by="ana",
        allow_unapproved=np.bool_(True),  # type: ignore[arg-type]
    )
    assert event.details["rollback_method"] == "break-glass"


def test_a_relative_directory_of_events_stays_where_it_was(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.serve("v1", "v2")
    here, there = team.directory / "here", team.directory / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    manager = RollbackManager(team.versions, team.registry, "events")
    monkeypatch.chdir(there)
    event = manager.execute_rollback("v2")
    assert manager.rollback_dir == here / "events"
    assert (here / "events" / f"{event.event_id}.json").is_file()
    assert not list(there.iterdir())


@pytest.mark.parametrize("limit", ["x", 2.5, -1, True])
def test_a_limit_that_is_none_is_refused(team: Team, limit: Any) -> None:
    with pytest.raises(InvalidInputError, match="limit is"):
        team.rollback.get_rollback_history(limit)


def test_odd_names_find_nothing(team: Team) -> None:
    assert team.rollback.get_rollback_history(10**30) == []
    assert team.rollback.get_rollback_history(model="\ud800") == []
    strange: tuple[Any, ...] = ("\ud800", "a\0b", [], None, 10**5000)
    for odd in strange:
        with pytest.raises(RequestNotFoundError):
            team.rollback.confirm(odd, "ana", "why")
        with pytest.raises(RequestNotFoundError):
            team.rollback.dismiss(odd, "ana", "why")


@pytest.mark.parametrize("name", ["error_rate", "avg_latency_ms", "total_requests", "failed_requests"])
def test_a_measurement_beyond_all_floats_is_refused(team: Team, name: str) -> None:
    team.create("v1")
    for value in (10**400, -(10**400)):
        with pytest.raises(InvalidMetricError, match=name):
            team.rollback.check_health("v1", {name: value})


def test_thresholds_become_plain_numbers(team: Team) -> None:
    team.rollback.min_requests_for_check = np.int64(7)  # type: ignore[assignment]
    team.rollback.error_rate_threshold = np.float32(0.5)  # type: ignore[assignment]
    assert type(team.rollback.min_requests_for_check) is int
    assert (team.rollback.min_requests_for_check, team.rollback.error_rate_threshold) == (7, 0.5)
    with pytest.raises(InvalidMetricError, match="latency_threshold_ms"):
        team.rollback.latency_threshold_ms = 10**400


def test_the_readable_file_of_a_cancelled_test_says_so(team: Team) -> None:
    team.serve("v1", "v2")
    team.create("v3")
    tests = ABTestManager(kernel=team.kernel)
    test = tests.create_test("canary", "v2", "v3", deployment="production", traffic_split=0.05)
    tests.start_test(test.test_id)
    readable = team.kernel.layout.ab_tests / f"{test.test_id}.json"
    assert json.loads(readable.read_text())["test"]["status"] == "running"
    event = team.rollback.execute_rollback("v2")
    assert event.details["cancelled_tests"] == [test.test_id]
    assert json.loads(readable.read_text())["test"]["status"] == "cancelled"
