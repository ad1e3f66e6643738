"""The order of times is the order of the log: a clock that is set back misleads nobody, and waiting ages no record."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.contract.rollback_team import Team, team
from tests.workspace_state import records

if TYPE_CHECKING:
    from sentinelzer0.kernel import Kernel
    from sentinelzer0.testing import FakeClock

__all__ = ["team"]  # a fixture


def test_a_clock_set_back_does_not_change_what_counts_as_production(team: Team, clock: FakeClock) -> None:
    team.serve("v1")
    clock.advance(hours=-3)
    team.serve("v2")
    found = team.versions.get_production_version()
    assert found is not None
    assert found.metadata.version == "v2"
    times = [record.time for record in team.records()]
    assert times == sorted(set(times))


def test_a_clock_set_back_does_not_change_the_way_back(team: Team, clock: FakeClock) -> None:
    team.serve("v1")
    clock.advance(hours=-1)
    team.serve("v2")
    clock.advance(hours=-1)
    team.serve("v3")
    assert team.rollback.execute_rollback("v3").to_version == "v2"


def test_a_clock_set_back_does_not_hide_who_rolled_back_last(team: Team, clock: FakeClock) -> None:
    team.serve("v1", "v2")
    team.rollback.execute_rollback("v2", triggered_by="ana")
    clock.advance(hours=-2)
    team.rollback.release("v2", "ana", "looked into")
    team.versions.promote_version("v2", "production")
    event = team.rollback.execute_rollback("v2", triggered_by="ben")
    with team.kernel.read() as view:
        latest = view.rollbacks.latest_from("default", "v2")
    assert latest is not None
    assert latest.event_id == event.event_id
    assert [found.event_id for found in team.rollback.get_rollback_history(1)] == [event.event_id]


def test_a_deployment_is_found_by_time_after_the_clock_was_set_back(team: Team, clock: FakeClock) -> None:
    team.serve("v1")
    clock.advance(hours=-1)
    team.serve("v2")
    with team.kernel.read() as view:
        second, first = view.deployments.history("default", "production")
        assert view.deployments.at("default", "production", first.created_at) == first
        assert view.deployments.at("default", "production", second.created_at) == second


def test_a_transaction_takes_its_time_once_it_holds_the_log(kernel: Kernel, clock: FakeClock) -> None:
    """Who waited for another transaction is later than it, also when they came first to the clock."""
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with kernel.begin("ben", "test:order:second") as tx:
            tx.record()

    thread = threading.Thread(target=second)
    with kernel.begin("ana", "test:order:first") as tx:
        thread.start()
        waiting.wait()
        thread.join(0.2)
        assert thread.is_alive(), "it does not wait for the log"
        clock.advance(hours=1)
        released = clock.now()
        tx.record()
    thread.join()
    first, last = records(kernel)[-2:]
    assert (first.action, last.action) == ("test:order:first", "test:order:second")
    assert last.time > released > first.time
