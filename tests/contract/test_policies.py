"""Policies as versioned, audited values: quorum, roles, adoption, gates, and what a change of them voids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.domain.policies import DEFAULT, STRICT, EvidenceGate, MetricGate, Policy
from sentinelzer0.errors import (
    ApprovalRequiredError,
    ApproverNotAllowedError,
    GateFailedError,
    InvalidInputError,
    InvalidNameError,
    ModelFileNotFoundError,
    PolicySyntaxError,
    UnsafeModelError,
    VersionNotFoundError,
)
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.policies import policy_in_force
from sentinelzer0.mlops.version_manager import ModelVersionManager
from tests.workspace_state import records, require_no_effect, require_sound

if TYPE_CHECKING:
    from pathlib import Path

    from sentinelzer0.kernel import Kernel
    from sentinelzer0.testing import FakeClock


@pytest.fixture
def registry(kernel: Kernel) -> ModelRegistry:
    return ModelRegistry(ModelVersionManager(kernel=kernel))


def install(registry: ModelRegistry, policy: Policy | str | Path) -> None:
    registry.set_policy(policy, set_by="eve", reason="test")


def staged(registry: ModelRegistry, model_file: Path, name: str, **metrics: float) -> None:
    registry.version_manager.create_version(model_file, name, validation_metrics=metrics)
    registry.version_manager.promote_version(name, "staging")
    registry.register_model(name)


def ask(registry: ModelRegistry, name: str) -> str:
    return registry.request_promotion(name, "production", "ana").request_id


def test_a_policy_is_a_versioned_audited_value(registry: ModelRegistry, model_file: Path, tmp_path: Path) -> None:
    assert policy_in_force(registry.kernel).policy() == DEFAULT
    staged(registry, model_file, "v1")
    request = ask(registry, "v1")
    path = tmp_path / "ours.toml"
    path.write_text('# the team decided this in March\nname = "ours"\n[approval]\nquorum = 3\n')
    assert registry.set_policy(path, set_by="eve", reason="incident 7").quorum == 3
    record = records(registry.kernel)[-1]
    assert (record.action, record.actor.name, record.reason) == ("policy:rules:install", "eve", "incident 7")
    assert record.detail == {"name": "ours", "voided": [request]}
    assert {"version:default/v1", f"request:{request}"} <= set(record.subjects)
    found = policy_in_force(registry.kernel)
    assert (found.revision, found.installed_by, found.name) == (2, "eve", "ours")
    assert "in March" in found.body, "the file is kept as it was written"
    before = records(registry.kernel)
    path.write_text('name = "ours"\n\n[approval]\nquorum = 3 # another layout, the same policy\n')
    install(registry, path)
    assert records(registry.kernel) == before
    install(registry, "default")
    with registry.kernel.read() as view:
        assert [p.name for p in view.policies.all()] == ["default", "ours", "default"]


def test_policies_that_are_not_installed(registry: ModelRegistry, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[approval]\nquorum = 0\n")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    kernel = registry.kernel
    for source, expected in (
        (path, PolicySyntaxError),
        (replace(DEFAULT, quorum=0), PolicySyntaxError),
        (replace(DEFAULT, metric_gates=(MetricGate(metric="f1", limit=float("nan")),)), PolicySyntaxError),
        (binary, InvalidInputError),
        (tmp_path / "missing.toml", InvalidInputError),
        ("unknown", InvalidInputError),
        (tmp_path, InvalidInputError),
    ):
        require_no_effect(kernel, expected, lambda s=source: install(registry, s))
    for reason in ("", " "):
        require_no_effect(
            kernel, InvalidInputError, lambda r=reason: registry.set_policy("strict", set_by="eve", reason=r)
        )
    require_no_effect(kernel, InvalidNameError, lambda: registry.set_policy("strict", set_by="", reason="x"))


def test_a_registry_may_be_opened_with_its_policy(kernel: Kernel) -> None:
    ModelRegistry(ModelVersionManager(kernel=kernel), policy=STRICT)
    assert policy_in_force(kernel).name == "strict"


def test_under_the_strict_policy_nothing_goes_alone(registry: ModelRegistry, model_file: Path) -> None:
    install(registry, "strict")
    kernel, manager = registry.kernel, registry.version_manager
    manager.create_version(model_file, "v1")
    require_no_effect(kernel, ApprovalRequiredError, lambda: registry.register_model("v1", "production"), recorded=True)
    require_no_effect(kernel, ApprovalRequiredError, lambda: registry.register_model("v1", "staging"), recorded=True)
    error = require_no_effect(
        kernel, ApprovalRequiredError, lambda: manager.promote_version("v1", "staging"), recorded=True
    )
    assert "registered, approved versions into staging" in error.message
    registry.register_model("v1")
    staging = registry.request_promotion("v1", "staging", "ana").request_id
    for person in ("ben", "cid"):
        registry.approve_promotion(staging, person)
    request = ask(registry, "v1")
    entry = registry.approve_promotion(request, "ben")
    assert entry.stage == "staging", "one of two"
    assert len(registry.get_pending_approvals()[0].votes) == 1
    require_no_effect(
        kernel, ApproverNotAllowedError, lambda: registry.approve_promotion(request, "ben"), recorded=True
    )
    require_no_effect(
        kernel, ApproverNotAllowedError, lambda: registry.approve_promotion(request, "ana"), recorded=True
    )
    assert registry.approve_promotion(request, "cid").stage == "production"
    assert registry.approval_requests[request].approved_by == "ben, cid"
    for share in (0.21, 0.5):
        require_no_effect(kernel, InvalidInputError, lambda s=share: registry.request_canary("v1", s, "ana"))
    require_sound(kernel)


def test_a_registered_version_needs_approval_for_staging_where_the_policy_says_so(
    registry: ModelRegistry, model_file: Path
) -> None:
    install(registry, "strict")
    registry.version_manager.create_version(model_file, "v1")
    registry.register_model("v1")
    require_no_effect(
        registry.kernel,
        ApprovalRequiredError,
        lambda: registry.version_manager.promote_version("v1", "staging"),
        recorded=True,
    )
    request = registry.request_promotion("v1", "staging", "ana")
    for person in ("ben", "cid"):
        registry.approve_promotion(request.request_id, person)
    assert registry.get_entry("v1").stage == "staging"


def test_only_people_with_the_role_approve(registry: ModelRegistry, model_file: Path) -> None:
    install(registry, replace(DEFAULT, name="roles", approver_roles=("lead",), roles={"lead": ("ana", "ben")}))
    staged(registry, model_file, "v1")
    request = ask(registry, "v1")
    for person in ("cid", "ana"):
        require_no_effect(
            registry.kernel,
            ApproverNotAllowedError,
            lambda p=person: registry.approve_promotion(request, p),
            recorded=True,
        )
    assert registry.approve_promotion(request, "ben").stage == "production"


def test_metric_gates_compare_with_limit_and_incumbent(registry: ModelRegistry, model_file: Path) -> None:
    install(registry, replace(DEFAULT, metric_gates=(MetricGate(metric="f1", limit=0.8, max_regression=0.01),)))
    for name, metrics in (("none", {}), ("low", {"f1": 0.79}), ("first", {"f1": 0.9})):
        staged(registry, model_file, name, **metrics)
    for name in ("none", "low"):
        request = ask(registry, name)
        error = require_no_effect(
            registry.kernel, GateFailedError, lambda r=request: registry.approve_promotion(r, "ben"), recorded=True
        )
        assert "validation_metrics.f1" in error.message
        assert registry.approval_requests[request].status == "pending", "the version may still be mended"
    registry.approve_promotion(ask(registry, "first"), "ben")
    for name, value, passes in (("worse", 0.88, False), ("close", 0.895, True)):
        staged(registry, model_file, name, f1=value)
        request = ask(registry, name)
        if passes:
            assert registry.approve_promotion(request, "ben").stage == "production"
            assert registry.approval_requests[request].gates[1]["passed"] is True
        else:
            error = require_no_effect(
                registry.kernel, GateFailedError, lambda r=request: registry.approve_promotion(r, "ben"), recorded=True
            )
            assert "first" in error.message
    require_sound(registry.kernel)


def test_evidence_counts_for_exactly_the_bytes_it_was_attached_to(
    registry: ModelRegistry, model_file: Path, tmp_path: Path
) -> None:
    install(registry, replace(DEFAULT, evidence_gates=(EvidenceGate(kind="scan"),)))
    staged(registry, model_file, "v1")
    request = ask(registry, "v1")
    scan = tmp_path / "scan.json"
    scan.write_text('{"found": 0}')

    def refused() -> None:
        require_no_effect(
            registry.kernel, GateFailedError, lambda: registry.approve_promotion(request, "ben"), recorded=True
        )

    refused()
    registry.attach_evidence("v1", scan, "scan", "cid", passed=False)
    refused()
    registry.attach_evidence("v1", scan, "other", "cid", passed=True)
    refused()
    item = registry.attach_evidence("v1", scan, "scan", "cid", passed=True, summary="clean")
    version = registry.version_manager.get_version("v1")
    assert item.version_digest == version.metadata.file_hash
    with registry.kernel.blobs.open_private(item.digest) as stream:
        assert stream.read() == scan.read_bytes()
    with registry.kernel.begin("eve", "registry:evidence:attach", "version:default/v1") as tx:
        (stored,) = [e for e in tx.registry.evidence("default", "v1") if e.evidence_id == item.evidence_id]
        tx.registry.put_evidence(replace(stored, version_digest="0" * 64))
        tx.record()
    refused()
    registry.attach_evidence("v1", scan, "scan", "cid", passed=True)
    assert registry.approve_promotion(request, "ben").stage == "production"
    require_sound(registry.kernel)


def test_evidence_that_is_refused(registry: ModelRegistry, model_file: Path, tmp_path: Path) -> None:
    staged(registry, model_file, "v1")
    kernel = registry.kernel

    def attach(
        version: object = "v1", path: object = model_file, kind: object = "scan", person: object = "cid"
    ) -> None:
        registry.attach_evidence(version, path, kind, person, passed=True)  # type: ignore[arg-type]

    require_no_effect(kernel, VersionNotFoundError, lambda: attach("v2"))
    require_no_effect(kernel, ModelFileNotFoundError, lambda: attach(path=tmp_path / "none"))
    (tmp_path / "empty").touch()
    require_no_effect(kernel, UnsafeModelError, lambda: attach(path=tmp_path / "empty"))
    other = tmp_path / "other"
    other.write_bytes(b"bytes that must not be left behind")
    for kind in ("", "a/b", "a\nb", None):
        require_no_effect(kernel, InvalidNameError, lambda k=kind: attach(path=other, kind=k))
    for person in ("", "a/b", None):
        require_no_effect(kernel, InvalidNameError, lambda p=person: attach(path=other, person=p))
    require_no_effect(
        kernel,
        InvalidInputError,
        lambda: registry.attach_evidence("v1", other, "scan", "cid", passed=True, summary="a\0"),
    )


def test_gates_guard_every_way_towards_traffic(registry: ModelRegistry, model_file: Path) -> None:
    gate = MetricGate(metric="f1", limit=0.8, targets=("staging", "production"))
    install(registry, replace(DEFAULT, metric_gates=(gate,)))
    kernel, manager = registry.kernel, registry.version_manager
    manager.create_version(model_file, "free", validation_metrics={"f1": 0.7})
    for stage in ("staging", "production"):
        require_no_effect(kernel, GateFailedError, lambda s=stage: registry.register_model("free", s), recorded=True)
    require_no_effect(kernel, GateFailedError, lambda: manager.promote_version("free", "staging"), recorded=True)
    registry.register_model("free")
    require_no_effect(kernel, GateFailedError, lambda: manager.promote_version("free", "staging"), recorded=True)
    manager.create_version(model_file, "early", validation_metrics={"f1": 0.7})
    install(registry, "default")
    manager.promote_version("early", "staging")
    install(registry, replace(DEFAULT, metric_gates=(gate,)))
    require_no_effect(kernel, GateFailedError, lambda: manager.promote_version("early", "production"), recorded=True)
    manager.create_version(model_file, "good", validation_metrics={"f1": 0.9})
    manager.promote_version("good", "staging")
    assert manager.promote_version("good", "production").status == "production"
    require_sound(kernel)


def test_while_traffic_is_split_the_larger_share_is_what_gates_compare_with(
    registry: ModelRegistry, model_file: Path
) -> None:
    kernel, manager = registry.kernel, registry.version_manager
    for name, f1 in (("v1", 0.9), ("v2", 0.8), ("v3", 0.85)):
        manager.create_version(model_file, name, validation_metrics={"f1": f1})
    registry.register_model("v1", "production")
    tests = ABTestManager(kernel=kernel)
    tests.start_test(tests.create_test("t", "v1", "v2", 0.2, deployment="production").test_id)
    install(registry, replace(DEFAULT, metric_gates=(MetricGate(metric="f1", max_regression=0, targets=("staging",)),)))
    error = require_no_effect(kernel, GateFailedError, lambda: manager.promote_version("v3", "staging"), recorded=True)
    assert "0.85 against 0.9 of v1" in error.message


def test_the_newest_evidence_of_a_kind_decides(registry: ModelRegistry, model_file: Path, clock: FakeClock) -> None:
    gate = EvidenceGate(kind="scan", targets=("production", "canary"))
    install(registry, replace(DEFAULT, evidence_gates=(gate,)))
    kernel, manager = registry.kernel, registry.version_manager
    manager.create_version(model_file, "v0")
    registry.attach_evidence("v0", model_file, "scan", "cid", passed=True)
    registry.register_model("v0", "production")
    staged(registry, model_file, "v1")
    request = ask(registry, "v1")
    tests = ABTestManager(kernel=kernel)
    test = tests.create_test("t", "v0", "v1", 0.1, deployment="production").test_id
    for passed in (True, False):
        clock.advance(seconds=1)
        registry.attach_evidence("v1", model_file, "scan", "cid", passed=passed)
    for call in (lambda: registry.approve_promotion(request, "ben"), lambda: tests.start_test(test)):
        require_no_effect(kernel, GateFailedError, call, recorded=True)
    clock.advance(seconds=1)
    registry.attach_evidence("v1", model_file, "scan", "cid", passed=True)
    assert registry.approve_promotion(request, "ben").stage == "production"


def test_evidence_says_plainly_whether_it_passed(registry: ModelRegistry, model_file: Path) -> None:
    staged(registry, model_file, "v1")
    for passed in ("false", "true", 1, 0, None):
        require_no_effect(
            registry.kernel,
            InvalidInputError,
            lambda p=passed: registry.attach_evidence("v1", model_file, "scan", "cid", passed=p),
        )


def test_without_four_eyes_a_requester_may_approve(registry: ModelRegistry, model_file: Path) -> None:
    install(registry, replace(DEFAULT, name="alone", four_eyes=False))
    staged(registry, model_file, "v1")
    assert registry.approve_promotion(ask(registry, "v1"), "ana").stage == "production"
