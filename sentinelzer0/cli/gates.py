"""What the gates of the policy in force say about a version before anybody asks for its approval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sentinelzer0.cli import values
from sentinelzer0.domain.policies import GateResult, Policy, evaluate_gates
from sentinelzer0.domain.registry import passed_kinds
from sentinelzer0.errors import VersionNotFoundError

if TYPE_CHECKING:
    from sentinelzer0.workspace import Workspace


def policy_in_force(workspace: Workspace) -> Policy:
    """Return the policy in force."""
    with workspace.kernel.read() as view:
        return view.policies.in_force().policy()


def quarantines(workspace: Workspace, versions: Iterable[str], model: str) -> dict[str, str]:
    """Return why each of these versions is quarantined, of those that are."""
    with workspace.kernel.read() as view:
        found = [view.versions.get(model, version) for version in versions]
    return {
        item.version: f"since {values.absolute(item.quarantined_at)} UTC: {item.quarantine_reason}"
        for item in found
        if item is not None and item.quarantined_at is not None
    }


def evaluate(
    workspace: Workspace, version: str, target: str, *, model: str, environment: str, policy: Policy | None = None
) -> list[GateResult]:
    """Evaluate every gate that guards ``target``, against what serves now; nothing is recorded.

    Args:
        workspace: The open workspace.
        version: The candidate.
        target: ``staging``, ``production`` or ``canary``.
        model: The model.
        environment: Where the incumbent serves.
        policy: The policy to try; None takes the one in force.

    Raises:
        VersionNotFoundError: There is no such version.
    """
    with workspace.kernel.read() as view:
        candidate = view.versions.get(model, version)
        if candidate is None or candidate.deleted_at is not None:
            raise VersionNotFoundError(f"There is no version {version!r}.", hint="List them: sz0 list")
        current = view.deployments.current(model, environment)
        serving = None if current is None else current.version
        incumbent = None if serving in (None, version) else view.versions.get(model, str(serving))
        evidence = passed_kinds(view.registry.evidence(model, version), candidate.digest)
        rules = policy or view.policies.in_force().policy()
    return evaluate_gates(rules, target, candidate, incumbent, evidence)
