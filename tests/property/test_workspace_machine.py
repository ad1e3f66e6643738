"""A workspace beside a plain dict: whatever is called in whatever order, both say the same, on both databases."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sentinelzer0.domain.policies import DEFAULT
from sentinelzer0.errors import SentinelError
from sentinelzer0.kernel import Kernel
from sentinelzer0.testing import FakeClock
from sentinelzer0.workspace import Workspace
from tests.workspace_state import refusals, require_sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres import PostgresServer

SCALE = int(os.environ.get("SENTINELZER0_TEST_SCALE", "1"))
NAMES = ["v1", "v2", "v3"]
names, people = st.sampled_from(NAMES), st.sampled_from(["ana", "ben"])
STAGES = {
    "development": ["staging", "archived"],
    "staging": ["production", "development", "archived"],
    "production": ["archived"],
    "archived": ["development"],
}


class WorkspaceBesideADict(RuleBasedStateMachine):
    """The model: versions {name: stage, deprecated, deleted, registered, tags, parent}, requests, what serves."""

    def __init__(self, new_location: Callable[[ExitStack], str]) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.location = new_location(self.stack)
        self.clock = FakeClock()
        self.versions: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.serving: str | None = None
        self.policies = 0
        self.refused = 0

    @initialize()
    def open(self) -> None:
        self.workspace = Workspace(Kernel(self.location, clock=self.clock))

    def teardown(self) -> None:
        if hasattr(self, "workspace"):
            require_sound(self.workspace.kernel)
            assert len(refusals(self.workspace.kernel)) == self.refused
            self.workspace.close()
        self.stack.close()

    def attempt(self, expected: str | None, call: Callable[[], object]) -> Any:
        """Call, and compare the error's code with what the model says; a refusal must be on record."""
        code, result = None, None
        try:
            result = call()
        except SentinelError as error:
            code = error.code
        assert code == expected
        self.refused += code not in {None, "version_not_found", "entry_not_found"}
        return result

    def living(self, name: str) -> dict[str, Any] | None:
        found = self.versions.get(name)
        return None if found is None or found["deleted"] else found

    def pending(self, name: str) -> list[dict[str, Any]]:
        return [r for r in self.requests.values() if r["version"] == name and self.status(r) == "pending"]

    def status(self, request: dict[str, Any]) -> str:
        if request["status"] == "pending" and self.clock._now >= request["expires"]:
            return "expired"
        return request["status"]

    @rule(name=names, parent=st.none() | names, tags=st.lists(st.sampled_from("ab"), unique=True))
    def create(self, name: str, parent: str | None, tags: list[str]) -> None:
        path = self.directory / "model"
        path.write_text(f"weights {len(self.versions) % 2}")
        expected = None
        if parent is not None and self.living(parent) is None:
            expected = "version_not_found"
        elif name in self.versions:
            expected = "already_exists"
        made = self.attempt(
            expected, lambda: self.workspace.versions.create_version(path, name, tags=tags, parent_version=parent)
        )
        if made is not None:
            self.versions[name] = {
                "stage": "none", "deprecated": False, "deleted": False, "registered": False, "tags": tags, "parent": parent
            }  # fmt: skip

    def moved(self, version: dict[str, Any], target: str) -> str | None:
        """Say why the table forbids a move, or None."""
        if target == "deprecated":
            allowed = not version["deprecated"] and version["stage"] != "production"
        elif version["deprecated"]:
            allowed = target == "archived"
        elif version["stage"] == "none":
            allowed = target in {"development", *STAGES["development"]}
        else:
            allowed = target in STAGES[version["stage"]]
        return None if allowed else "illegal_transition"

    def move(self, name: str, target: str) -> None:
        version = self.versions[name]
        version["deprecated"] = target == "deprecated"
        if target != "deprecated":
            version["stage"] = target
        if target == "production":
            self.serving = name

    @rule(name=names, to=st.sampled_from(["development", "staging", "production", "archived", "deprecated"]))
    def promote(self, name: str, to: str) -> None:
        version = self.living(name)
        if version is None:
            expected: str | None = "version_not_found"
        elif (expected := self.moved(version, to)) is None:
            if to == "production" and version["registered"]:
                expected = "approval_required"
            elif to == "archived" and self.serving == name:
                expected = "in_use"
        if self.attempt(expected, lambda: self.workspace.versions.promote_version(name, to)) is not None:
            self.move(name, to)

    @rule(name=names)
    def register(self, name: str) -> None:
        version = self.living(name)
        expected = "version_not_found" if version is None else "already_exists" if version["registered"] else None
        if self.attempt(expected, lambda: self.workspace.registry.register_model(name)) is not None:
            version["registered"] = True
            if version["stage"] == "none":
                version["stage"] = "development"

    @rule(name=names, to=st.sampled_from(["development", "staging", "production", "archived"]), who=people)
    def request(self, name: str, to: str, who: str) -> None:
        version = self.living(name)
        if version is None:
            expected: str | None = "version_not_found"
        elif not version["registered"]:
            expected = "entry_not_found"
        elif (expected := self.moved(version, to)) is None and any(r["to"] == to for r in self.pending(name)):
            expected = "already_exists"
        made = self.attempt(expected, lambda: self.workspace.registry.request_promotion(name, to, who))
        if made is not None:
            self.requests[made.request_id] = {
                "version": name, "from": version["stage"], "to": to, "by": who, "status": "pending",
                "expires": made.expires_at,
            }  # fmt: skip

    def pick(self, data: st.DataObject) -> str | None:
        return data.draw(st.sampled_from(sorted(self.requests))) if self.requests else None

    @rule(data=st.data(), who=people)
    def approve(self, data: st.DataObject, who: str) -> None:
        if (request_id := self.pick(data)) is None:
            return
        request = self.requests[request_id]
        version = self.living(request["version"])
        if version is None:
            expected: str | None = "version_not_found"
        elif self.status(request) != "pending":
            expected = "request_closed"
        elif who == request["by"]:
            expected = "approver_not_allowed"
        elif version["stage"] != request["from"]:
            expected = "request_closed"
        else:
            expected = self.moved(version, request["to"])
            if expected is None and request["to"] == "archived" and self.serving == request["version"]:
                expected = "in_use"
        if self.attempt(expected, lambda: self.workspace.registry.approve_promotion(request_id, who)) is not None:
            request["status"] = "approved"
            self.move(request["version"], request["to"])

    @rule(data=st.data(), who=people, how=st.sampled_from(["rejected", "withdrawn"]))
    def close(self, data: st.DataObject, who: str, how: str) -> None:
        if (request_id := self.pick(data)) is None:
            return
        request = self.requests[request_id]
        expected = None
        if self.status(request) != "pending":
            expected = "request_closed"
        elif how == "withdrawn" and who != request["by"]:
            expected = "approver_not_allowed"
        registry = self.workspace.registry
        verb = registry.reject_promotion if how == "rejected" else registry.withdraw_promotion
        if self.attempt(expected, lambda: verb(request_id, who, "because")) is not None:
            request["status"] = how

    @rule(days=st.sampled_from([1, 8]))
    def wait(self, days: int) -> None:
        self.clock.advance(days=days)

    @rule()
    def change_policy(self) -> None:
        self.policies += 1
        policy = replace(DEFAULT, name=f"policy {self.policies}")
        self.workspace.registry.set_policy(policy, set_by="eve", reason="test")
        for request in self.requests.values():
            if request["status"] == "pending":
                request["status"] = "void"

    @rule(name=names, force=st.booleans())
    def delete(self, name: str, force: bool) -> None:
        version = self.living(name)
        if version is None:
            expected: str | None = "version_not_found"
        elif (
            self.serving == name
            or any(v["parent"] == name and not v["deleted"] for v in self.versions.values())
            or self.pending(name)
            or (version["stage"] == "production" and not force)
        ):
            expected = "in_use"
        else:
            expected = None
        if self.attempt(expected, lambda: self.workspace.versions.delete_version(name, force)) is not None:
            version["deleted"] = True

    @rule(name=names, tags=st.lists(st.sampled_from("abc"), unique=True))
    def edit(self, name: str, tags: list[str]) -> None:
        expected = "version_not_found" if self.living(name) is None else None
        if self.attempt(expected, lambda: self.workspace.versions.edit_version(name, tags=tags)) is not None:
            self.versions[name]["tags"] = tags

    @rule()
    def reopen(self) -> None:
        self.workspace.close()
        self.open()

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "workspace"):
            return
        living = {name: v for name, v in self.versions.items() if not v["deleted"]}
        shown = self.workspace.versions.list_versions()
        assert [v.version for v in shown] == list(reversed(living))
        for version in shown:
            model = living[version.version]
            assert (version.stage, version.metadata.tags) == (model["stage"], model["tags"])
            assert (version.status == "deprecated") == model["deprecated"]
        assert {v.version for v in self.workspace.versions.list_versions(tags=["a", "b"])} == {
            name for name, v in living.items() if {"a", "b"} & set(v["tags"])
        }
        assert set(self.workspace.registry.registry) == {name for name, v in living.items() if v["registered"]}
        current = self.workspace.deployments.current()
        assert (None if current is None else current.version) == self.serving
        pending = {request_id for request_id, r in self.requests.items() if self.status(r) == "pending"}
        assert {r.request_id for r in self.workspace.registry.get_pending_approvals()} == pending


def settled(examples: int) -> settings:
    return settings(
        max_examples=examples * SCALE,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.mark.timeout(300)
def test_workspace_beside_a_dict_on_sqlite() -> None:
    def new_location(stack: ExitStack) -> str:
        return stack.enter_context(tempfile.TemporaryDirectory())

    run_state_machine_as_test(lambda: WorkspaceBesideADict(new_location), settings=settled(20))


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_workspace_beside_a_dict_on_postgresql(postgres: PostgresServer) -> None:
    def new_location(stack: ExitStack) -> str:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        return f"{stack.enter_context(postgres.database())}&blobs={directory}"

    run_state_machine_as_test(lambda: WorkspaceBesideADict(new_location), settings=settled(6))
