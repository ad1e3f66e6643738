"""Promotions, rollbacks, quarantine and releases in any order, beside a plain model that knows the rules by heart."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from sentinelzer0.errors import (
    ConflictError,
    IllegalTransitionError,
    IntegrityError,
    InUseError,
    NotKnownGoodError,
    QuarantinedError,
    RequestClosedError,
    SentinelError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.rollback import RollbackEvent, RollbackManager
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock

PERSON, AUTOMATION = "alice", "system"


@dataclass
class Known:
    """What the model knows of a version."""

    stage: str = "development"
    good: bool = False
    served: int = 0
    quarantined: bool = False
    intact: bool = True


@dataclass
class Model:
    """The rules of rollback over a dictionary."""

    versions: dict[str, Known] = field(default_factory=dict)
    serving: str | None = None
    revision: int = 0
    rollbacks: int = 0

    def give_traffic(self, name: str) -> None:
        self.revision += 1
        self.serving = name
        self.versions[name].stage = "production"
        self.versions[name].served = self.revision

    def roll_back(
        self, leaving: str, target: str | None, actor: str, allow: bool
    ) -> tuple[str | None, type[SentinelError] | None]:
        """Return the version gone to, or the error; change the model in the first case."""
        goal, error = self._goal(leaving, target, insists=allow and actor == PERSON)
        if goal is None:
            return None, error
        self.give_traffic(goal)
        left = self.versions[leaving]
        left.quarantined = True
        left.stage = "staging" if left.stage == "production" else left.stage
        self.rollbacks += 1
        return goal, None

    def _goal(
        self, leaving: str, target: str | None, *, insists: bool
    ) -> tuple[str | None, type[SentinelError] | None]:
        if leaving == target:
            return None, IllegalTransitionError
        if leaving != self.serving:
            return None, ConflictError
        if target is not None:
            known = self.versions[target]
            if known.quarantined:
                return None, QuarantinedError
            if not known.good and not insists:
                return None, NotKnownGoodError
            return (target, None) if known.intact else (None, IntegrityError)
        good = [n for n, v in self.versions.items() if v.good and not v.quarantined and n != leaving]
        newest_first = sorted(good, key=lambda name: -self.versions[name].served)
        intact = [name for name in newest_first if self.versions[name].intact]
        return (intact[0], None) if intact else (None, IntegrityError if good else NotKnownGoodError)


class RollbackMachine(RuleBasedStateMachine):
    """The workspace and the model, side by side."""

    names = Bundle("names")
    requests = Bundle("requests")

    @initialize(target=names)
    def open(self) -> object:
        self.directory = Path(tempfile.mkdtemp(prefix="sz0-machine-"))
        self.kernel = Kernel(self.directory / "workspace", clock=FakeClock())
        self.versions = ModelVersionManager(kernel=self.kernel)
        registry = ModelRegistry(self.versions)
        self.rollback = RollbackManager(self.versions, registry)
        self.model = Model()
        self.decided: set[str] = set()
        made = [self.create() for _ in range(4)]
        for name in made[:3]:
            self.serve(name)
        return multiple(*made)

    def teardown(self) -> None:
        if not hasattr(self, "kernel"):
            return
        assert AuditTrail(self.kernel).verify().problems == ()
        self.kernel.close()
        shutil.rmtree(self.directory)

    def attempt(self, action: Callable[[], object], expected: type[SentinelError] | None) -> object:
        """Call and show that it raises exactly what the model expects."""
        if expected is None:
            return action()
        with pytest.raises(SentinelError) as caught:
            action()
        assert caught.type is expected
        return None

    @rule(target=names)
    def create(self) -> str:
        name = f"v{len(self.model.versions) + 1}"
        path = self.directory / name
        path.write_bytes(f"weights of {name}".encode())
        self.versions.create_version(path, name)
        self.model.versions[name] = Known()
        return name

    @rule(name=names)
    def serve(self, name: str) -> None:
        """Bring a version into production from wherever it is."""
        known = self.model.versions[name]
        if not known.intact or known.stage == "production":
            return
        path = {"archived": ["development", "staging"], "development": ["staging"], "staging": []}[known.stage]
        for status in path:
            self.versions.promote_version(name, status)
            known.stage = status
        self.attempt(
            lambda: self.versions.promote_version(name, "production"), QuarantinedError if known.quarantined else None
        )
        if not known.quarantined:
            self.model.give_traffic(name)
            known.good = True

    @rule(name=names)
    def archive(self, name: str) -> None:
        known = self.model.versions[name]
        if known.stage == "archived":
            return
        self.attempt(
            lambda: self.versions.promote_version(name, "archived"), InUseError if name == self.model.serving else None
        )
        if name != self.model.serving:
            known.stage = "archived"

    @rule(name=names)
    def change_the_bytes(self, name: str) -> None:
        """Flip a bit of the stored bytes, or flip it back."""
        version = self.versions.get_version(name)
        assert version is not None
        blob = self.kernel.blobs.path(version.metadata.file_hash)
        data = bytearray(blob.read_bytes())
        data[0] ^= 1
        blob.chmod(0o644)
        blob.write_bytes(data)
        self.model.versions[name].intact = not self.model.versions[name].intact

    @rule(leaving=names, to=st.none() | names, actor=st.sampled_from([PERSON, AUTOMATION]), allow=st.booleans())
    def roll_back(self, leaving: str, to: str | None, actor: str, allow: bool) -> None:
        goal, error = self.model.roll_back(leaving, to, actor, allow)
        event = self.attempt(
            lambda: self.rollback.execute_rollback(leaving, to, "as drawn", triggered_by=actor, allow_unapproved=allow),
            error,
        )
        self.compare(event, goal)

    @rule(to=st.none() | names, actor=st.sampled_from([PERSON, AUTOMATION]))
    def roll_back_what_serves(self, to: str | None, actor: str) -> None:
        if self.model.serving is not None:
            self.roll_back(self.model.serving, to, actor, False)

    @rule(target=requests)
    def ask(self) -> object:
        """Open a request to leave what serves, as a monitor with strategy ``manual`` does."""
        serving = self.model.serving
        possible = self.model._goal(serving, None, insists=False)[1] is not NotKnownGoodError
        event = self.attempt(
            lambda: self.rollback.execute_rollback(serving, None, "as drawn", "manual"),
            None if possible else NotKnownGoodError,
        )
        return multiple() if event is None else (event.event_id, serving)

    @rule(request=requests)
    def confirm(self, request: tuple[str, str]) -> None:
        request_id, leaving = request
        if request_id in self.decided:
            self.attempt(lambda: self.rollback.confirm(request_id, PERSON, "go"), RequestClosedError)
            return
        goal, error = self.model.roll_back(leaving, None, PERSON, False)
        event = self.attempt(lambda: self.rollback.confirm(request_id, PERSON, "go"), error)
        self.compare(event, goal)
        if goal is not None:
            self.decided.add(request_id)

    @rule(request=consumes(requests))
    def dismiss(self, request: tuple[str, str]) -> None:
        closed = RequestClosedError if request[0] in self.decided else None
        self.attempt(lambda: self.rollback.dismiss(request[0], PERSON, "no"), closed)
        self.decided.add(request[0])

    @rule(name=names)
    def release(self, name: str) -> None:
        known = self.model.versions[name]
        self.attempt(
            lambda: self.rollback.release(name, PERSON, "as drawn"), None if known.quarantined else ConflictError
        )
        known.quarantined = False

    def compare(self, event: object, goal: str | None) -> None:
        if goal is not None:
            assert isinstance(event, RollbackEvent)
            assert (event.success, event.to_version) == (True, goal)

    @invariant()
    def the_workspace_is_what_the_model_says(self) -> None:
        if not hasattr(self, "kernel"):
            return
        with self.kernel.read() as view:
            stored = view.versions.all()
            current = view.deployments.current("default", "production")
            events = view.rollbacks.all()
        shown = {
            v.version: (
                "development" if v.stage == "none" else v.stage.value,
                v.quarantined_at is not None,
                v.known_good_at is not None,
            )
            for v in stored
        }
        assert shown == {name: (v.stage, v.quarantined, v.good) for name, v in self.model.versions.items()}
        assert current is not None
        assert (current.weights, current.revision) == ({self.model.serving: 1.0}, self.model.revision)
        assert sum(event.success for event in events) == self.model.rollbacks
        assert not self.model.versions[self.model.serving].quarantined


TestRollbackMachine = RollbackMachine.TestCase
TestRollbackMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
