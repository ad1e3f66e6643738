"""The verdict of an A/B test as evidence: for whom it speaks, that it stays, and that gates and requests know it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.cli import gates
from sentinelzer0.domain.audit import Outcome
from sentinelzer0.domain.policies import DEFAULT, EvidenceGate
from sentinelzer0.domain.registry import AB_VERDICT, Evidence
from sentinelzer0.errors import GateFailedError, IntegrityError, InvalidInputError, InvalidNameError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance.backup import backup, restore, verify_backup
from sentinelzer0.maintenance.collection import collect
from sentinelzer0.maintenance.doctor import examine
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.integrity import view_path
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.testing import FakeClock
from sentinelzer0.workspace import Workspace
from tests.contract.test_ab_verdicts import BETTER, FAILING, HALF, PLAIN, WORSE, Model, record, started, traffic, trail
from tests.workspace_state import require_no_effect, require_sound


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


@pytest.fixture
def registry(kernel: Kernel, model_file: Path) -> ModelRegistry:
    """v1 serves production; v2 and v3 are registered in staging."""
    registry = ModelRegistry(ModelVersionManager(kernel=kernel))
    for name in ("v1", "v2", "v3"):
        model_file.write_bytes(b"weights of " + name.encode())
        registry.version_manager.create_version(model_file, name)
        registry.register_model(name, "production" if name == "v1" else "staging")
    return registry


def verdicts(kernel: Kernel, version: str) -> list[Evidence]:
    """Return the verdicts attached to a version, oldest first."""
    with kernel.read() as view:
        return [found for found in view.registry.evidence("default", version) if found.kind == AB_VERDICT]


def demand(registry: ModelRegistry, *targets: str) -> None:
    gate = EvidenceGate(kind=AB_VERDICT, targets=targets or ("production",))
    registry.set_policy(replace(DEFAULT, name="tested", evidence_gates=(gate,)), set_by="eve", reason="test first")


def gate_passes(kernel: Kernel, version: str) -> bool:
    """Return what ``sz0 diff`` and ``sz0 policy`` say of the gate."""
    results = gates.evaluate(Workspace(kernel), version, "production", model="default", environment="production")
    (mine,) = [result for result in results if result.gate == f"evidence {AB_VERDICT}"]
    return mine.passed


def run(manager: ABTestManager, model: Model, shares: dict[str, float] = HALF, **design: Any) -> str:
    test_id = started(manager, **design)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": model}, shares=shares), batch=500)
    return test_id


# For whom it speaks -------------------------------------------------------------------------------------------------


def test_the_verdict_speaks_for_the_winner_alone(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    shares = {"v1": 0.4, "v2": 0.2, "v3": 0.2, "an idea": 0.2}
    test_id = started(manager, arms=shares)
    models = {"v1": PLAIN, "v2": PLAIN, "v3": Model(0.96), "an idea": PLAIN}
    record(manager, test_id, traffic(6000, models, shares=shares), batch=3000)
    assert manager.tests[test_id].winner == "v3"
    ((second,), (third,)) = verdicts(kernel, "v2"), verdicts(kernel, "v3")
    assert (second.passed, third.passed) == (False, True)
    assert verdicts(kernel, "v1") == verdicts(kernel, "an idea") == []
    assert third.digest == second.digest
    for item in (second, third):
        assert item.version_digest == registry.version_manager.versions[item.version].metadata.file_hash
        assert item.attached_by == "system"
        assert item.summary.startswith("new against old: Promote v3, which has the higher F1 score")
    (reached,) = trail(kernel, test_id, "ab_test:verdict:reach")
    assert [(found["version"], found["passed"]) for found in reached.detail["evidence"]] == [
        ("v2", False),
        ("v3", True),
    ]
    assert {found["digest"] for found in reached.detail["evidence"]} == {third.digest}
    manager.complete_test(test_id)
    assert len(verdicts(kernel, "v3")) == 1, "attached once"
    require_sound(kernel)


def test_its_content_is_the_design_and_the_verdict(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    assert registry.get_production_model()
    test_id = run(manager, BETTER, segments=["lan"], salt="00000000000000ff")
    (item,) = verdicts(kernel, "v2")
    with kernel.blobs.open_private(item.digest) as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == item.digest
    found = json.loads(content)
    test = manager.tests[test_id]
    assert (found["format"], found["verdict"]) == ("sentinelzer0-ab-verdict-1", test.verdict)
    assert found["test"]["test_id"] == test_id
    assert found["test"]["arms"] == {"A": "v1", "B": "v2"}
    assert (found["test"]["salt"], found["test"]["segments"]) == ("00000000000000ff", ["lan"])
    assert [guardrail["metric"] for guardrail in found["test"]["guardrails"]] == ["error_rate", "avg_latency_ms"]
    assert found["test"]["significance_threshold"] == 0.05
    assert item.filename == f"{test_id}-verdict.json"


@pytest.mark.parametrize(
    ("action", "model", "shares"),
    [("keep", WORSE, HALF), ("stop_guardrail", FAILING, HALF), ("invalid", BETTER, {"v1": 0.6, "v2": 0.4})],
)
def test_every_other_verdict_speaks_against_the_challenger(
    kernel: Kernel,
    registry: ModelRegistry,
    manager: ABTestManager,
    action: str,
    model: Model,
    shares: dict[str, float],
) -> None:
    demand(registry)
    test_id = run(manager, model, shares)
    if action == "invalid":  # it blocks verdicts while the test runs, and is one when the test ends so
        assert verdicts(kernel, "v2") == []
        manager.complete_test(test_id)
    assert manager.tests[test_id].decision == action
    (item,) = verdicts(kernel, "v2")
    assert item.passed is False
    assert gate_passes(kernel, "v2") is False


def test_without_a_verdict_there_is_no_evidence(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    undecided, cancelled = run(manager, PLAIN), started(manager)
    with kernel.record_outcomes() as view:
        view.streams.set_next_look(cancelled, 10**9)
    record(manager, cancelled, traffic(3000, {"v1": PLAIN, "v2": BETTER}), batch=1000)
    manager.cancel_test(cancelled)
    assert manager.complete_test(undecided)["winner"] is None
    assert "v2" in registry.version_manager.versions
    assert verdicts(kernel, "v2") == []


def test_a_verdict_at_the_end_of_a_test_is_attached_too(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    demand(registry)
    test_id = started(manager)
    with kernel.record_outcomes() as view:
        view.streams.set_next_look(test_id, 10**9)
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v2": BETTER}), batch=1000)
    assert verdicts(kernel, "v2") == []
    assert manager.complete_test(test_id)["winner"] == "v2"
    (item,) = verdicts(kernel, "v2")
    (ended,) = trail(kernel, test_id, "ab_test:state:complete")
    assert ended.detail["evidence"] == [
        {"version": "v2", "evidence": item.evidence_id, "passed": True, "digest": item.digest}
    ]
    assert gate_passes(kernel, "v2")


def test_bytes_that_came_after_the_start_were_not_measured(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager, model_file: Path, clock: FakeClock
) -> None:
    """A label in the test becomes a version while it runs: nobody knows what had answered as that."""
    test_id = started(manager, model_a="v1", model_b="v9")
    clock.advance(seconds=1)
    registry.version_manager.create_version(model_file, "v9")
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v9": BETTER}, shares={"v1": 0.5, "v9": 0.5}), batch=1000)
    assert manager.tests[test_id].winner == "v9"
    assert verdicts(kernel, "v9") == []


# That it stays ------------------------------------------------------------------------------------------------------


def test_it_survives_collection_backup_and_examination(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager, clock: FakeClock, tmp_path: Path
) -> None:
    demand(registry)
    run(manager, BETTER)
    (item,) = verdicts(kernel, "v2")
    clock.advance(days=400)
    collect(kernel, timedelta(0))
    with kernel.blobs.open_private(item.digest) as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == item.digest
    assert examine(kernel).failures == ()
    made = backup(kernel, tmp_path / "copy")
    assert verify_backup(tmp_path / "copy").records == made.records
    restore(tmp_path / "copy", tmp_path / "again")
    copy = Kernel(str(tmp_path / "again"), clock=clock)
    try:
        assert verdicts(copy, "v2") == [item]
        with copy.blobs.open_private(item.digest) as stream:
            assert stream.read() == content
        assert gate_passes(copy, "v2")
        assert examine(copy).failures == ()
    finally:
        copy.close()


# That gates and requests know it ------------------------------------------------------------------------------------


def test_a_gate_demands_the_verdict_and_the_request_carries_it(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    demand(registry)
    request = registry.request_promotion("v2", "production", "ana").request_id
    assert gate_passes(kernel, "v2") is False
    refused = require_no_effect(
        kernel, GateFailedError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )
    assert AB_VERDICT in refused.message
    run(manager, BETTER)
    assert gate_passes(kernel, "v2")
    assert gate_passes(kernel, "v3") is False, "it was in no test"
    registry.reject_promotion(request, "ben", "made before the test")
    carried = registry.request_promotion("v2", "production", "ana")
    (gate,) = [gate for gate in carried.gates if gate["gate"] == f"evidence {AB_VERDICT}"]
    assert gate["passed"] is True
    assert "new against old: Promote v2, which has the higher F1 score" in gate["detail"]
    assert verdicts(kernel, "v2")[0].evidence_id in gate["detail"]
    assert registry.approve_promotion(carried.request_id, "ben").stage == "production"
    decided = registry.approval_requests[carried.request_id].gates
    assert {gate["gate"]: gate["passed"] for gate in decided}[f"evidence {AB_VERDICT}"] is True
    require_sound(kernel)


def test_a_promotion_without_request_needs_the_verdict_as_well(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager, model_file: Path
) -> None:
    versions = registry.version_manager
    model_file.write_bytes(b"never registered")
    versions.create_version(model_file, "v4")
    versions.promote_version("v4", "staging")
    demand(registry)
    require_no_effect(kernel, GateFailedError, lambda: versions.promote_version("v4", "production"), recorded=True)
    test_id = started(manager, model_b="v4")
    record(manager, test_id, traffic(3000, {"v1": PLAIN, "v4": BETTER}, shares={"v1": 0.5, "v4": 0.5}), batch=1000)
    assert manager.tests[test_id].winner == "v4"
    assert versions.promote_version("v4", "production").status == "production"


def test_a_test_of_real_traffic_ends_in_an_approved_promotion(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    demand(registry)
    test_id = run(manager, BETTER, deployment="production", end_at_verdict=True)
    assert manager.tests[test_id].status == "completed"
    (reached,) = trail(kernel, test_id, "ab_test:verdict:reach")
    assert {"version:default/v1", "version:default/v2"} <= set(reached.subjects)
    request = registry.request_promotion("v2", "production", "ana")
    assert registry.approve_promotion(request.request_id, "ben").stage == "production"
    require_sound(kernel)


def test_the_newest_verdict_decides(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager, clock: FakeClock
) -> None:
    demand(registry)
    run(manager, BETTER)
    clock.advance(days=1)
    run(manager, WORSE)
    assert [item.passed for item in verdicts(kernel, "v2")] == [True, False]
    request = registry.request_promotion("v2", "production", "ana").request_id
    require_no_effect(kernel, GateFailedError, lambda: registry.approve_promotion(request, "ben"), recorded=True)


def test_nobody_attaches_a_verdict_by_hand(kernel: Kernel, registry: ModelRegistry, tmp_path: Path) -> None:
    demand(registry)
    forged = tmp_path / "verdict.json"
    forged.write_text('{"verdict": {"action": "promote", "winner": "B"}}')

    def attach(kind: str) -> None:
        registry.attach_evidence("v2", forged, kind, "mallory", passed=True)

    require_no_effect(kernel, InvalidInputError, lambda: attach(AB_VERDICT))
    for alike in (f" {AB_VERDICT}", f"{AB_VERDICT}\n", "ab\uff0dverdict", "\u0430b-verdict"):
        require_no_effect(kernel, InvalidNameError, partial(attach, alike))
    attach("AB-Verdict")
    assert gate_passes(kernel, "v2") is False
    assert verdicts(kernel, "v2") == []


def test_a_changed_version_does_not_profit(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager, model_file: Path
) -> None:
    demand(registry)
    run(manager, BETTER)
    model_file.write_bytes(b"weights of v2, and a line more")
    registry.version_manager.create_version(model_file, "v2-hotfix", parent_version="v2")
    registry.register_model("v2-hotfix", "staging")
    assert gate_passes(kernel, "v2-hotfix") is False
    # The same name with other bytes: the evidence is about a digest, and bytes are hashed before an approval.
    request = registry.request_promotion("v2", "production", "ana").request_id
    with kernel.begin("eve", "registry:evidence:attach", "version:default/v2") as tx:
        (stored,) = [found for found in tx.registry.evidence("default", "v2") if found.kind == AB_VERDICT]
        tx.registry.put_evidence(replace(stored, version_digest="0" * 64))
        tx.record()
    assert gate_passes(kernel, "v2") is False
    require_no_effect(kernel, GateFailedError, lambda: registry.approve_promotion(request, "ben"), recorded=True)
    with kernel.begin("eve", "registry:evidence:attach", "version:default/v2") as tx:
        tx.registry.put_evidence(stored)
        tx.record()
    with kernel.read() as view:
        version = view.versions.get("default", "v2")
    assert version is not None
    blob = kernel.layout.root / "blobs"
    changed = [path for path in blob.rglob("*") if path.is_file() and path.name.endswith(version.digest[-8:])]
    for path in {*changed, view_path(kernel, version)}:
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"weights of vX")
    with pytest.raises(IntegrityError):
        registry.approve_promotion(request, "ben")
    with kernel.read() as view:
        assert list(view.audit.of_subject("version:default/v2"))[-1].outcome is Outcome.REFUSED


def test_a_lost_or_changed_verdict_is_found(kernel: Kernel, registry: ModelRegistry, manager: ABTestManager) -> None:
    run(manager, BETTER)
    (item,) = verdicts(kernel, "v2")
    path = kernel.blobs.path(item.digest)

    def said(*, deep: bool) -> str:
        (check,) = [found for found in examine(kernel, deep=deep).checks if found.name == "bytes"]
        return check.detail

    assert "1 file of evidence, hashed" in said(deep=True)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content.replace(b"promote", b"PROMOTE"))
    assert "present, not hashed" in said(deep=False)
    assert f"evidence {item.digest[:12]}: bytes have another SHA-256" in said(deep=True)
    path.unlink()
    assert f"evidence {item.digest[:12]}: bytes are missing" in said(deep=False)


def test_an_older_pass_does_not_outweigh_a_newer_failure(
    kernel: Kernel, registry: ModelRegistry, manager: ABTestManager
) -> None:
    demand(registry)
    run(manager, BETTER)
    assert gate_passes(kernel, "v2")
    run(manager, WORSE)
    assert not gate_passes(kernel, "v2")
