"""Policies: which approvals and which automatic gates a change needs.

This module decides what a policy may say and whether gates pass. It performs no I/O. The laws:

- A policy is a value; its digest is that of its canonical settings, so comments and layout do not matter.
- An approval is bound to the digest of the policy it was asked under: another policy voids it.
- A gate that lacks its data fails; it never passes for want of evidence.

>>> DEFAULT.needs_approval("production"), DEFAULT.needs_approval("canary")
(True, False)
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import PolicySyntaxError

TARGETS = ("staging", "production", "canary")
METRIC_SOURCES = ("training_metrics", "validation_metrics", "test_metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGate:
    """A threshold on one metric of a version.

    Attributes:
        metric: Name of the metric.
        source: Which metrics it is read from.
        direction: ``higher`` or ``lower`` is better.
        limit: The worst acceptable value, or None.
        max_regression: How much worse than the incumbent it may be (in the metric's unit), or None.
        targets: The targets it guards.
    """

    metric: str
    source: str = "validation_metrics"
    direction: str = "higher"
    limit: float | None = None
    max_regression: float | None = None
    targets: tuple[str, ...] = ("production",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGate:
    """A file of some kind, attached to the version with a passing result."""

    kind: str
    targets: tuple[str, ...] = ("production",)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What one gate found.

    Attributes:
        gate: Which gate, readable.
        passed: Whether it holds.
        detail: The values compared.
    """

    gate: str
    passed: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"gate": self.gate, "passed": self.passed, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a change needs.

    Attributes:
        name: How people call it.
        approval_targets: Targets that need an approval; production needs one in any case.
        quorum: How many different approvers must agree.
        approver_roles: Roles one of which an approver must hold; empty means anyone.
        four_eyes: Whether the requester may not approve.
        expires_hours: Life of a request, and of a canary approval, in hours.
        direct_production: Whether a version without a registry entry may be promoted to production.
        adoption: Whether registering straight into production counts as an approval on record.
        canary_cap: Largest share of a canary or A/B arm, 0..1.
        roles: People by role.
        metric_gates: Thresholds on metrics.
        evidence_gates: Required evidence.
    """

    name: str
    approval_targets: tuple[str, ...] = ("production",)
    quorum: int = 1
    approver_roles: tuple[str, ...] = ()
    four_eyes: bool = True
    expires_hours: float = 336.0
    direct_production: bool = True
    adoption: bool = True
    canary_cap: float = 0.5
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    metric_gates: tuple[MetricGate, ...] = ()
    evidence_gates: tuple[EvidenceGate, ...] = ()

    def needs_approval(self, target: str) -> bool:
        """Return whether moving a registered version to ``target`` needs an approval."""
        return target in self.approval_targets or target == "production"

    def lets_unregistered(self, target: str) -> bool:
        """Return whether a version without a registry entry, which nobody can approve, may go to ``target``."""
        return self.direct_production if target == "production" else not self.needs_approval(target)

    def may_approve(self, person: str) -> bool:
        """Return whether a person holds one of the approver roles (anyone does when there are none)."""
        return not self.approver_roles or any(person in self.roles.get(role, ()) for role in self.approver_roles)

    def expiry(self, now: datetime) -> datetime:
        """Return when a request made now expires."""
        return now + timedelta(hours=self.expires_hours)

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical settings."""
        return hashlib.sha256(canonical_json.dumps(self.to_dict())).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in the shape of a policy file."""
        return {
            "name": self.name,
            "approval": {
                "targets": list(self.approval_targets),
                "quorum": self.quorum,
                "roles": list(self.approver_roles),
                "four_eyes": self.four_eyes,
                "expires_hours": self.expires_hours,
                "direct_production": self.direct_production,
                "adoption": self.adoption,
            },
            "canary": {"cap": self.canary_cap},
            "roles": {role: list(people) for role, people in self.roles.items()},
            "gates": {
                "metrics": [_metric_gate_dict(gate) for gate in self.metric_gates],
                "evidence": [{"kind": g.kind, "targets": list(g.targets)} for g in self.evidence_gates],
            },
        }


DEFAULT = Policy(name="default")
STRICT = Policy(
    name="strict",
    approval_targets=("staging", "production", "canary"),
    quorum=2,
    expires_hours=72.0,
    direct_production=False,
    adoption=False,
    canary_cap=0.2,
)
SHIPPED = {policy.name: policy for policy in (DEFAULT, STRICT)}


def parse_policy(text: str) -> Policy:
    """Read a policy from TOML.

    Raises:
        PolicySyntaxError: Not TOML, an unknown setting, or a value outside its range.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicySyntaxError(f"The policy is not valid TOML: {error}.", hint="Mend the line it names.") from error
    return policy_from_dict(raw)


def policy_from_dict(raw: Mapping[str, Any]) -> Policy:
    """Build a policy from the shape of :meth:`Policy.to_dict`; left-out settings take their defaults.

    Raises:
        PolicySyntaxError: An unknown setting or a value outside its range.
    """
    _known(raw, ("name", "approval", "canary", "roles", "gates"), "policy")
    approval, canary, gates = (_table(raw, key) for key in ("approval", "canary", "gates"))
    known = ("targets", "quorum", "roles", "four_eyes", "expires_hours", "direct_production", "adoption")
    _known(approval, known, "approval")
    _known(canary, ("cap",), "canary")
    _known(gates, ("metrics", "evidence"), "gates")
    base = DEFAULT
    policy = Policy(
        name=_typed(raw, "name", str, "custom"),
        approval_targets=_targets(approval.get("targets", base.approval_targets)),
        quorum=_typed(approval, "quorum", int, base.quorum),
        approver_roles=tuple(_words(approval.get("roles", ()), "approval.roles")),
        four_eyes=_typed(approval, "four_eyes", bool, base.four_eyes),
        expires_hours=float(_typed(approval, "expires_hours", (int, float), base.expires_hours)),
        direct_production=_typed(approval, "direct_production", bool, base.direct_production),
        adoption=_typed(approval, "adoption", bool, base.adoption),
        canary_cap=float(_typed(canary, "cap", (int, float), base.canary_cap)),
        roles={role: tuple(_words(people, f"roles.{role}")) for role, people in _table(raw, "roles").items()},
        metric_gates=tuple(_metric_gate(gate) for gate in _tables(gates, "metrics")),
        evidence_gates=tuple(_evidence_gate(gate) for gate in _tables(gates, "evidence")),
    )
    _check(policy)
    return policy


def evaluate_gates(
    policy: Policy, target: str, version: Version, incumbent: Version | None, passed_evidence: Sequence[str]
) -> list[GateResult]:
    """Evaluate every gate that guards ``target``.

    Args:
        policy: The policy in force.
        target: ``staging``, ``production`` or ``canary``.
        version: The candidate.
        incumbent: What serves now, or None; a comparison with nobody passes.
        passed_evidence: Kinds of evidence attached to exactly this content, the newest with a passing result.
    """
    results = [_evaluate_metric(gate, version, incumbent) for gate in policy.metric_gates if target in gate.targets]
    for gate in policy.evidence_gates:
        if target in gate.targets:
            found = gate.kind in passed_evidence
            detail = "attached, passed" if found else "none attached with a passing result"
            results.append(GateResult(gate=f"evidence {gate.kind}", passed=found, detail=detail))
    return results


def _evaluate_metric(gate: MetricGate, version: Version, incumbent: Version | None) -> GateResult:
    name = f"{gate.source}.{gate.metric}"
    value = getattr(version, gate.source).get(gate.metric)
    if value is None:
        return GateResult(gate=name, passed=False, detail="the version does not report it")
    sign = 1.0 if gate.direction == "higher" else -1.0
    if gate.limit is not None and sign * (value - gate.limit) < 0:
        relation = "below" if sign > 0 else "above"
        return GateResult(gate=name, passed=False, detail=f"{value:g} is {relation} the limit {gate.limit:g}")
    detail = f"{value:g}"
    if gate.max_regression is not None and incumbent is not None:
        base = getattr(incumbent, gate.source).get(gate.metric)
        if base is None:
            return GateResult(gate=name, passed=False, detail=f"{incumbent.version} does not report it")
        worse = sign * (base - value)
        detail = f"{value:g} against {base:g} of {incumbent.version}"
        if worse > gate.max_regression:
            return GateResult(gate=name, passed=False, detail=f"{detail}: worse by {worse:g}")
    return GateResult(gate=name, passed=True, detail=detail)


def _metric_gate_dict(gate: MetricGate) -> dict[str, Any]:
    row: dict[str, Any] = {"metric": gate.metric, "source": gate.source, "direction": gate.direction}
    row["targets"] = list(gate.targets)
    if gate.limit is not None:
        row["limit"] = gate.limit
    if gate.max_regression is not None:
        row["max_regression"] = gate.max_regression
    return row


def _metric_gate(raw: Any) -> MetricGate:
    _known(raw, ("metric", "source", "direction", "limit", "max_regression", "targets"), "gates.metrics")
    source = _typed(raw, "source", str, "validation_metrics")
    direction = _typed(raw, "direction", str, "higher")
    if not _typed(raw, "metric", str, "") or source not in METRIC_SOURCES or direction not in ("higher", "lower"):
        raise PolicySyntaxError(
            f"The metric gate {dict(raw)!r} is incomplete.",
            hint=f"It needs metric, a source of {', '.join(METRIC_SOURCES)}, a direction higher or lower.",
        )
    limit, worse = (_typed(raw, key, (int, float), None) for key in ("limit", "max_regression"))
    if limit is None and worse is None:
        raise PolicySyntaxError(
            f"The gate on {raw['metric']!r} compares with nothing.", hint="Give limit, max_regression or both."
        )
    if any(bound is not None and not math.isfinite(bound) for bound in (limit, worse)):
        raise PolicySyntaxError(
            f"The gate on {raw['metric']!r} compares with a number that is not finite.", hint="It would always pass."
        )
    return MetricGate(
        metric=raw["metric"],
        source=source,
        direction=direction,
        limit=None if limit is None else float(limit),
        max_regression=None if worse is None else float(worse),
        targets=_targets(raw.get("targets", ("production",))),
    )


def _evidence_gate(raw: Any) -> EvidenceGate:
    _known(raw, ("kind", "targets"), "gates.evidence")
    if not isinstance(raw.get("kind"), str) or not raw["kind"]:
        raise PolicySyntaxError("An evidence gate names no kind.", hint='Write kind = "malware-scan", for example.')
    return EvidenceGate(kind=raw["kind"], targets=_targets(raw.get("targets", ("production",))))


def _check(policy: Policy) -> None:
    if not 1 <= policy.quorum <= 100:
        raise PolicySyntaxError(f"quorum is {policy.quorum}.", hint="Use 1 to 100 approvers.")
    if not 0 < policy.expires_hours <= 24 * 3660:
        raise PolicySyntaxError(f"expires_hours is {policy.expires_hours:g}.", hint="Use more than 0, at most 87840.")
    if not 0 <= policy.canary_cap <= 1:
        raise PolicySyntaxError(f"canary.cap is {policy.canary_cap:g}.", hint="Use a share from 0 to 1.")
    missing = [role for role in policy.approver_roles if not policy.roles.get(role)]
    if missing:
        raise PolicySyntaxError(
            f"Nobody holds the approver role {missing[0]!r}: nothing could ever be approved.",
            hint=f'Add people: [roles] {missing[0]} = ["name"].',
        )
    able = {person.casefold() for role in policy.approver_roles for person in policy.roles[role]}
    if policy.approver_roles and len(able) < policy.quorum:
        raise PolicySyntaxError(
            f"quorum is {policy.quorum}, but only {len(able)} people hold an approver role: nothing could be approved.",
            hint="Add people to a role, or ask for fewer approvers.",
        )


def _known(raw: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(raw, Mapping):
        raise PolicySyntaxError(f"{where} must be a table, not {raw!r}.")
    unknown = sorted(set(raw) - set(names))
    if unknown:
        raise PolicySyntaxError(
            f"{where} has an unknown setting {unknown[0]!r}.", hint=f"Known settings: {', '.join(names)}."
        )


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, Mapping):
        raise PolicySyntaxError(f"{key} must be a table, not {value!r}.")
    return value


def _tables(raw: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = raw.get(key, ())
    if not isinstance(value, list | tuple):
        raise PolicySyntaxError(f"gates.{key} must be a list of tables, not {value!r}.", hint=f"Write [[gates.{key}]].")
    return value


def _typed(raw: Mapping[str, Any], key: str, kind: Any, default: Any) -> Any:
    value = raw.get(key, default)
    if value is not default and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise PolicySyntaxError(f"{key} has the value {value!r}, which is not of the right type.")
    return value


def _words(value: Any, where: str) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and word for word in value):
        raise PolicySyntaxError(f"{where} must be a list of names, not {value!r}.")
    return list(value)


def _targets(value: Any) -> tuple[str, ...]:
    words = _words(value, "targets")
    unknown = [word for word in words if word not in TARGETS]
    if unknown:
        raise PolicySyntaxError(f"{unknown[0]!r} is not a target.", hint=f"Targets: {', '.join(TARGETS)}.")
    return tuple(words)


def policy_to_toml(policy: Policy) -> str:
    """Return the policy as a file that :func:`parse_policy` reads back as the same policy."""
    raw = policy.to_dict()
    lines = [f"name = {_toml(raw['name'])}"]
    for table in ("approval", "canary", "roles"):
        lines += ["", f"[{table}]", *_toml_lines(raw[table])]
    for kind in ("metrics", "evidence"):
        for gate in raw["gates"][kind]:
            lines += ["", f"[[gates.{kind}]]", *_toml_lines(gate)]
    return "\n".join(lines) + "\n"


def _toml_lines(table: Mapping[str, Any]) -> list[str]:
    bare = (key if key.isascii() and key.isidentifier() else _toml(key) for key in table)
    return [f"{key} = {_toml(value)}" for key, value in zip(bare, table.values(), strict=True)]


def _toml(value: Any) -> str:
    # JSON text, numbers, truth values and lists of text are TOML too, but for one character.
    return canonical_json.dumps(value).decode().replace("\x7f", "\\u007f")
