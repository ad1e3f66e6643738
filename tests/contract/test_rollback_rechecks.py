"""The full hash that a rollback promised is not lost with the process that promised it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sentinelzer0.maintenance.doctor import examine
from sentinelzer0.maintenance.report import Status
from sentinelzer0.mlops import integrity, rollback_steps
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.mlops.rollback_rechecks import Rechecks
from tests.contract.rollback_team import Team, team
from tests.contract.test_rollback_verification import damage_below_the_file_system

if TYPE_CHECKING:
    from sentinelzer0.domain.rollbacks import RollbackEvent
    from sentinelzer0.testing import FakeClock

__all__ = ["team"]  # a fixture

pytestmark = pytest.mark.usefixtures("everything_is_large")


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "SMALL", 4)


def killed_after(team: Team, leaving: str) -> RollbackEvent:
    """Roll back in a process that ends between the commit and the re-hash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rechecks, "start", lambda *_: None)
        event = team.rollback.execute_rollback(leaving)
    assert event.details["recheck"] == "running"
    return event


def recheck_of(team: Team, event: RollbackEvent) -> str:
    with team.kernel.read() as view:
        stored = view.rollbacks.get(event.event_id)
    assert stored is not None
    return str(stored.details["recheck"])


def test_another_process_finishes_it(team: Team) -> None:
    team.serve("v1", "v2")
    event = killed_after(team, "v2")
    other = RollbackManager(team.versions, team.registry)
    assert other.finish_rechecks(60)
    assert recheck_of(team, event) == "passed"
    seen = len(team.records())
    assert other.finish_rechecks(60)
    assert len(team.records()) == seen, "once is enough"


def test_the_next_rollback_of_any_model_finishes_it_and_goes_back_further(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    team.serve("a", "b", model="dns")
    damage_below_the_file_system(team, "v2")
    event = killed_after(team, "v3")
    assert event.to_version == "v2"
    other = RollbackManager(team.versions, team.registry)
    other.execute_rollback("b", model="dns")
    assert other.finish_rechecks(60)
    assert recheck_of(team, event).startswith("failed")
    assert team.serving() == {"v1": 1.0}


def test_who_comes_second_to_a_recheck_changes_nothing(team: Team) -> None:
    team.serve("v1", "v2")
    event = killed_after(team, "v2")
    assert team.rollback.finish_rechecks(60)
    seen = len(team.records())
    team.damage("v1")
    assert rollback_steps.recheck(team.kernel, event, team.records()[-1].actor) is None
    assert len(team.records()) == seen


def test_a_deleted_version_needs_no_recheck(team: Team) -> None:
    team.serve("v1", "v2", "v3")
    event = killed_after(team, "v3")
    team.versions.promote_version("v1", "archived")
    team.rollback.release("v3", "ana", "looked into")
    team.versions.promote_version("v3", "production")
    team.versions.promote_version("v2", "archived")
    team.versions.delete_version("v2")
    assert team.rollback.finish_rechecks(60)
    assert recheck_of(team, event) == "not needed: the version was deleted"


def test_the_doctor_tells_what_was_left_undone(team: Team, clock: FakeClock) -> None:
    team.serve("v1", "v2")
    event = killed_after(team, "v2")
    assert examine(team.kernel, deep=False).check("re-hashes").status is Status.PASS, "it may be under way"
    clock.advance(minutes=11)
    found = examine(team.kernel, deep=False).check("re-hashes")
    assert (found.status, event.event_id in found.detail) == (Status.WARN, True)
    assert "finish_rechecks" in found.fix
    assert team.rollback.finish_rechecks(60)
    assert examine(team.kernel, deep=False).check("re-hashes").status is Status.PASS


def test_the_doctor_tells_when_what_failed_its_recheck_still_serves(team: Team) -> None:
    team.serve("v1", "v2")
    damage_below_the_file_system(team, "v1")
    team.rollback.execute_rollback("v2")
    assert team.rollback.finish_rechecks(60)
    assert team.serving() == {"v1": 1.0}
    found = examine(team.kernel, deep=False).check("re-hashes")
    assert (found.status, "v1 serves" in found.detail) == (Status.WARN, True)
