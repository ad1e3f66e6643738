"""Deployments: numbered revisions, what served when, and being told of a change."""

from __future__ import annotations

import json
import queue
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from sentinelzer0.domain.deployments import Cause, Deployment, check_weights, main_version, next_revision
from sentinelzer0.errors import ConflictError, InvalidInputError, InvalidNameError
from sentinelzer0.mlops.deployments import Deployments, deploy
from sentinelzer0.mlops.version_manager import ModelVersionManager
from tests.workspace_state import require_sound

if TYPE_CHECKING:
    from pathlib import Path

    from sentinelzer0.kernel import Kernel
    from sentinelzer0.testing import FakeClock


def serve(kernel: Kernel, model_file: Path, *names: str) -> None:
    manager = ModelVersionManager(kernel=kernel)
    for name in names:
        manager.create_version(model_file, name)
        manager.promote_version(name, "staging")
        manager.promote_version(name, "production", promoted_by="ana", reason=f"why {name}")


def test_every_change_is_a_revision(kernel: Kernel, model_file: Path, clock: FakeClock) -> None:
    deployments = Deployments(kernel)
    assert deployments.current() is None
    assert deployments.history() == []
    before = clock.now()
    serve(kernel, model_file, "v1")
    first = deployments.current()
    clock.advance(hours=1)
    between = clock.now()
    clock.advance(hours=1)
    serve(kernel, model_file, "v2")
    second = deployments.current()
    assert [(d.revision, d.version) for d in deployments.history()] == [(2, "v2"), (1, "v1")]
    assert deployments.history(limit=1) == [second]
    assert deployments.history(limit=0) == []
    assert deployments.at(before) is None
    assert deployments.at(first.created_at) == deployments.at(between) == first
    assert deployments.at(between.astimezone(timezone(timedelta(hours=5)))) == first
    assert deployments.at(clock.now()) == second
    assert (second.cause, second.created_by, second.reason) == ("promotion", "ana", "why v2")
    with kernel.read() as view:
        (record,) = [r for r in view.audit.of_subject("version:default/v2") if r.seq == second.audit_seq]
    assert record.action == "version:stage:promote"
    assert Deployment.from_dict(json.loads(json.dumps(second.to_dict()))) == second
    require_sound(kernel)


def test_places_are_separate(kernel: Kernel, model_file: Path) -> None:
    serve(kernel, model_file, "v1")
    assert Deployments(kernel).current("shadow") is None
    assert Deployments(kernel, "dns").current() is None


def test_bad_questions(kernel: Kernel) -> None:
    deployments = Deployments(kernel)
    for name in ("", "a/b", "a\0", "..", None, 7, "x" * 10_000):
        with pytest.raises(InvalidNameError):
            Deployments(kernel, name)  # type: ignore[arg-type]
        for ask in (deployments.current, deployments.history, lambda n: deployments.at(datetime.now(UTC), n)):
            with pytest.raises(InvalidNameError):
                ask(name)  # type: ignore[arg-type]
    for moment in (datetime(2026, 1, 1), "2026-01-01", None, 7):  # noqa: DTZ001 - the point of the test
        with pytest.raises(InvalidInputError):
            deployments.at(moment)  # type: ignore[arg-type]
    for limit in (-1, 1.5, "1", True):
        with pytest.raises(InvalidInputError):
            deployments.history(limit=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "weights",
    [{"a": 0.5}, {"a": 1.1}, {"a": -0.1, "b": 1.1}, {"a": float("nan")}, {"a": float("inf")}, {"a": 0.6, "b": 0.6}],
)
def test_weights_that_are_no_split(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        check_weights(weights)


def test_weights() -> None:
    assert check_weights({"a": 1, "b": 0}) == {"a": 1.0}
    assert check_weights({}) == {}
    assert check_weights(dict.fromkeys("abc", 1 / 3)) == dict.fromkeys("abc", 1 / 3)
    assert main_version({}) is None
    assert main_version({"a": 0.5, "b": 0.5}) == "a"


def test_compare_and_set(kernel: Kernel, model_file: Path) -> None:
    serve(kernel, model_file, "v1")
    current = Deployments(kernel).current()
    assert next_revision(current, 1) == 2
    assert next_revision(None, 0) == 1
    for expected in (0, 2):
        with pytest.raises(ConflictError, match="revision 1"):
            next_revision(current, expected)
    with pytest.raises(ConflictError), kernel.begin("ana", "deployment:weights:set") as tx:
        deploy(tx, model="default", environment="production", weights={"v1": 1.0}, cause=Cause.PROMOTION, expected=0)
    assert Deployments(kernel).current() == current
    require_sound(kernel)


def test_being_told_of_a_change(kernel: Kernel, model_file: Path) -> None:
    serve(kernel, model_file, "v1")
    told: queue.Queue[Deployment] = queue.Queue()
    with Deployments(kernel).on_change(told.put, poll_seconds=0.01):
        serve(kernel, model_file, "v2")
        assert told.get(timeout=20).version == "v2"
        serve(kernel, model_file, "v3")
        assert told.get(timeout=20).version == "v3"
    serve(kernel, model_file, "v4")
    assert told.empty(), "after close nothing is called"


def test_a_callback_that_fails_ends_only_its_call(
    kernel: Kernel, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    told: queue.Queue[str] = queue.Queue()

    def callback(deployment: Deployment) -> None:
        told.put(deployment.version)
        raise ZeroDivisionError

    with Deployments(kernel).on_change(callback, poll_seconds=0.01):
        serve(kernel, model_file, "v1")
        assert told.get(timeout=20) == "v1"
        serve(kernel, model_file, "v2")
        assert told.get(timeout=20) == "v2"
    assert [f.exc_type for f in failures] == [ZeroDivisionError] * 2


def test_a_subscription_may_be_closed_from_its_callback(kernel: Kernel, model_file: Path) -> None:
    closed = threading.Event()

    def callback(_: Deployment) -> None:
        subscription.close()
        closed.set()

    subscription = Deployments(kernel).on_change(callback, poll_seconds=0.01)
    serve(kernel, model_file, "v1")
    assert closed.wait(20)
    subscription.close()


@pytest.mark.parametrize("pause", [-1, 0, float("nan"), float("inf"), "x", None, 10**400, True])
def test_a_pause_between_looks_is_a_time(kernel: Kernel, pause: Any) -> None:
    with pytest.raises(InvalidInputError, match="poll_seconds is"):
        Deployments(kernel).on_change(print, poll_seconds=pause)


def test_one_object_shows_the_deployments_of_every_model(kernel: Kernel, model_file: Path, clock: FakeClock) -> None:
    serve(kernel, model_file, "v1")
    manager = ModelVersionManager(kernel=kernel)
    manager.create_version(model_file, "d1", model="dns")
    manager.promote_version("d1", "staging", model="dns")
    deployments = Deployments(kernel)
    told: queue.Queue[Deployment] = queue.Queue()
    with deployments.on_change(told.put, model="dns", poll_seconds=0.01):
        manager.promote_version("d1", "production", model="dns")
        found = told.get(timeout=30)
    assert found == deployments.current(model="dns") == deployments.at(clock.now(), model="dns")
    assert deployments.history(model="dns") == [found]
    assert (found.model, found.version) == ("dns", "d1")
    with pytest.raises(InvalidNameError):
        deployments.current(model="not a name")
