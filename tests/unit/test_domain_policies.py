from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.policies import (
    DEFAULT,
    SHIPPED,
    STRICT,
    EvidenceGate,
    MetricGate,
    Policy,
    evaluate_gates,
    parse_policy,
    policy_from_dict,
    policy_to_toml,
)
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import PolicySyntaxError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def version(name: str = "v2", **metrics: dict[str, float]) -> Version:
    return Version(
        seq=1,
        model="default",
        version=name,
        digest="0" * 64,
        kind="file",
        size=1,
        filename="m.pt",
        created_at=NOW,
        created_by="ana",
        **metrics,
    )


def test_what_the_shipped_policies_say() -> None:
    assert set(SHIPPED) == {"default", "strict"}
    assert (DEFAULT.quorum, DEFAULT.four_eyes, DEFAULT.direct_production, DEFAULT.adoption) == (1, True, True, True)
    assert (STRICT.quorum, STRICT.four_eyes, STRICT.direct_production, STRICT.adoption) == (2, True, False, False)
    assert [DEFAULT.needs_approval(t) for t in ("staging", "production", "canary")] == [False, True, False]
    assert [STRICT.needs_approval(t) for t in ("staging", "production", "canary")] == [True, True, True]


def test_production_needs_an_approval_under_every_policy() -> None:
    assert replace(DEFAULT, approval_targets=()).needs_approval("production")


def test_expiry() -> None:
    assert DEFAULT.expiry(NOW) == NOW + timedelta(days=14)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
targets = st.lists(st.sampled_from(["staging", "production", "canary"]), unique=True).map(tuple)
finite = st.floats(-1e9, 1e9).map(lambda x: x + 0.0)
metric_gates = st.builds(
    MetricGate,
    metric=names,
    source=st.sampled_from(["training_metrics", "validation_metrics", "test_metrics"]),
    direction=st.sampled_from(["higher", "lower"]),
    limit=finite,
    max_regression=st.none() | finite,
    targets=targets,
)
policies = st.builds(
    Policy,
    name=names,
    approval_targets=targets,
    quorum=st.integers(1, 100),
    four_eyes=st.booleans(),
    expires_hours=st.floats(0.001, 87840),
    direct_production=st.booleans(),
    adoption=st.booleans(),
    canary_cap=st.floats(0, 1),
    roles=st.dictionaries(names, st.lists(names, max_size=2).map(tuple), max_size=2),
    metric_gates=st.lists(metric_gates, max_size=2).map(tuple),
    evidence_gates=st.lists(st.builds(EvidenceGate, kind=names, targets=targets), max_size=2).map(tuple),
)


@given(policies)
def test_a_policy_survives_its_file(policy: Policy) -> None:
    text = policy_to_toml(policy)
    tomllib.loads(text)
    assert parse_policy(text) == policy
    assert parse_policy(text).digest == policy.digest
    assert parse_policy(f"# a comment\n{text}\n\n").digest == policy.digest


@given(policies, policies)
def test_policies_with_one_digest_are_the_same(one: Policy, other: Policy) -> None:
    assert (one.digest == other.digest) == (one.to_dict() == other.to_dict())


@pytest.mark.parametrize(
    "text",
    [
        "quorum = ",
        "quorum = 2",
        "[approval]\nquorm = 2",
        "[approval]\nquorum = 0",
        "[approval]\nquorum = 101",
        '[approval]\nquorum = 3\nroles = ["lead"]\n[roles]\nlead = ["ana", "ben"]',
        '[approval]\nquorum = 2\nroles = ["a", "b"]\n[roles]\na = ["ana"]\nb = ["Ana"]',
        "[approval]\nquorum = 1.5",
        "[approval]\nquorum = true",
        '[approval]\nquorum = "2"',
        "[approval]\nexpires_hours = 0",
        "[approval]\nexpires_hours = -1",
        "[approval]\nexpires_hours = inf",
        "[approval]\nexpires_hours = nan",
        "[approval]\nfour_eyes = 1",
        '[approval]\ntargets = ["moon"]',
        '[approval]\ntargets = "production"',
        '[approval]\nroles = ["lead"]',
        '[approval]\nroles = ["lead"]\n[roles]\nlead = []',
        '[roles]\nlead = "ben"',
        "[roles]\nlead = [1]",
        "[canary]\ncap = 1.1",
        "[canary]\ncap = -0.1",
        "[canary]\ncap = nan",
        "[canary]\nkap = 0.1",
        "approval = 1",
        "roles = 1",
        "canary = []",
        "name = 1",
        "[gates]\nmetric = []",
        "[gates]\nmetrics = 3",
        "[gates]\nevidence = 3",
        "[gates]\nmetrics = [3]",
        "[gates]\nevidence = [3]",
        "[[gates.metrics]]\nlimit = 0.9",
        '[[gates.metrics]]\nmetric = "f1"',
        '[[gates.metrics]]\nmetric = "f1"\nlimit = "high"',
        '[[gates.metrics]]\nmetric = "f1"\nlimit = nan',
        '[[gates.metrics]]\nmetric = "f1"\nlimit = inf',
        '[[gates.metrics]]\nmetric = "f1"\nmax_regression = nan',
        "[[gates.metrics]]\nmetric = 7\nlimit = 0.9",
        '[[gates.metrics]]\nmetric = "f1"\nlimit = 0.9\nsource = "dreams"',
        '[[gates.metrics]]\nmetric = "f1"\nlimit = 0.9\ndirection = "up"',
        '[[gates.metrics]]\nmetric = "f1"\nlimit = 0.9\ntarget = ["staging"]',
        "[[gates.evidence]]\nkind = 3",
        '[[gates.evidence]]\nkind = ""',
        "[[gates.evidence]]",
    ],
)
def test_policy_files_that_are_refused(text: str) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        parse_policy(text)
    assert isinstance(caught.value, ValueError)


def test_left_out_settings_take_the_defaults_but_not_its_name() -> None:
    assert replace(parse_policy(""), name="default") == DEFAULT
    assert parse_policy("").name == "custom"


@pytest.mark.parametrize("raw", [[], "x", None, {"gates": []}])
def test_a_policy_must_be_a_table(raw: Any) -> None:
    with pytest.raises(PolicySyntaxError):
        policy_from_dict(raw)


GATE = MetricGate(metric="f1", limit=0.9, max_regression=0.01)
LATENCY = MetricGate(metric="ms", direction="lower", limit=50.0, max_regression=5.0)


@pytest.mark.parametrize(
    ("gate", "own", "incumbent", "passed"),
    [
        (GATE, 0.95, None, True),
        (GATE, 0.9, None, True),
        (GATE, 0.8999, None, False),
        (GATE, None, None, False),
        (GATE, 0.95, 0.955, True),
        (GATE, 0.95, 0.97, False),
        (GATE, 0.97, 0.95, True),
        (LATENCY, 40.0, None, True),
        (LATENCY, 50.0, None, True),
        (LATENCY, 50.1, None, False),
        (LATENCY, 40.0, 36.0, True),
        (LATENCY, 40.0, 30.0, False),
        (replace(GATE, limit=None), 0.1, 0.1, True),
        (replace(GATE, limit=None), 0.1, None, True),
        (replace(GATE, max_regression=None), 0.95, 0.99, True),
    ],
)
def test_metric_gates(gate: MetricGate, own: float | None, incumbent: float | None, passed: bool) -> None:
    policy = replace(DEFAULT, metric_gates=(gate,))
    candidate = version(validation_metrics={} if own is None else {gate.metric: own})
    before = None if incumbent is None else version("v1", validation_metrics={gate.metric: incumbent})
    (result,) = evaluate_gates(policy, "production", candidate, before, [])
    assert result.passed is passed
    assert result.gate == f"validation_metrics.{gate.metric}"
    assert evaluate_gates(policy, "staging", candidate, before, []) == []


def test_a_gate_that_lacks_the_incumbents_value_fails() -> None:
    policy = replace(DEFAULT, metric_gates=(GATE,))
    (result,) = evaluate_gates(
        policy, "production", version(validation_metrics={"f1": 0.95}), version("v1", test_metrics={"f1": 0.5}), []
    )
    assert not result.passed
    assert "v1 does not report it" in result.detail


def test_a_gate_reads_its_own_source_only() -> None:
    policy = replace(DEFAULT, metric_gates=(replace(GATE, source="test_metrics"),))
    assert not evaluate_gates(policy, "production", version(validation_metrics={"f1": 1.0}), None, [])[0].passed
    assert evaluate_gates(policy, "production", version(test_metrics={"f1": 1.0}), None, [])[0].passed


def test_evidence_gates() -> None:
    policy = replace(DEFAULT, evidence_gates=(EvidenceGate(kind="scan", targets=("canary", "production")),))
    for target in ("canary", "production"):
        assert [g.passed for g in evaluate_gates(policy, target, version(), None, [])] == [False]
        assert [g.passed for g in evaluate_gates(policy, target, version(), None, ["other"])] == [False]
        assert [g.passed for g in evaluate_gates(policy, target, version(), None, ["scan"])] == [True]
    assert evaluate_gates(policy, "staging", version(), None, []) == []
