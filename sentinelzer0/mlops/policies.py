"""Putting a policy in force: it is a versioned, audited value of the workspace."""

from __future__ import annotations

import os
from dataclasses import replace

from sentinelzer0.domain.identity import check_person, check_text, subject_of_version
from sentinelzer0.domain.policies import SHIPPED, Policy, parse_policy, policy_from_dict, policy_to_toml
from sentinelzer0.domain.registry import ApprovalStatus
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import InstalledPolicy, Kernel, check_path

INSTALL = "policy:rules:install"


def load_policy(source: Policy | str | os.PathLike[str]) -> tuple[Policy, str]:
    """Return a policy and its text: a value, ``default``, ``strict``, or the path of a TOML file.

    Raises:
        PolicySyntaxError: The file is not a policy.
        InvalidInputError: There is no such file.
    """
    if isinstance(source, Policy):
        policy_from_dict(source.to_dict())
        return source, policy_to_toml(source)
    if isinstance(source, str) and source in SHIPPED:
        return SHIPPED[source], policy_to_toml(SHIPPED[source])
    path = check_path(source, "The policy")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"The policy {str(path)!r} cannot be read: {error}.",
            hint=f"Name a TOML file, or one of: {', '.join(SHIPPED)}.",
        ) from error
    return parse_policy(text), text


def policy_in_force(kernel: Kernel) -> InstalledPolicy:
    """Return the policy in force, with its text and since when."""
    with kernel.read() as view:
        return view.policies.in_force()


def install_policy(kernel: Kernel, source: Policy | str | os.PathLike[str], *, set_by: str, reason: str) -> Policy:
    """Put a policy in force and void the pending requests made under another one.

    Raises:
        PolicySyntaxError: The file is not a policy.
        InvalidInputError: No reason is given.
        ApproverNotAllowedError: Not a person, but automation.
    """
    policy, text = load_policy(source)
    reason = check_text(reason, "reason", required=True)
    return _install(kernel, policy, text, set_by, reason, by_person=True)


def configure_policy(kernel: Kernel, policy: Policy) -> Policy:
    """Put the policy in force that the embedding program opens its registry with, as its own configuration.

    Raises:
        PolicySyntaxError: A setting is outside its range.
    """
    checked, text = load_policy(policy)
    return _install(kernel, checked, text, "system", "given when the registry was opened", by_person=False)


def _install(kernel: Kernel, policy: Policy, text: str, set_by: str, reason: str, *, by_person: bool) -> Policy:
    with kernel.read() as view:
        if view.policies.in_force_digest() == policy.digest:
            return policy
    with kernel.begin(set_by, INSTALL, f"policy:{policy.digest}") as tx:
        if by_person:
            check_person(tx.actor, "install a policy")
        current = tx.policies.in_force()
        if current.digest == policy.digest:
            return policy
        tx.policies.put(
            InstalledPolicy(
                revision=current.revision + 1,
                digest=policy.digest,
                name=policy.name,
                body=text,
                installed_at=tx.now,
                installed_by=tx.actor.name,
                reason=reason,
            )
        )
        voided = tx.registry.requests_with_status(ApprovalStatus.PENDING.value)
        for request in voided:
            tx.registry.put_request(replace(request, status=ApprovalStatus.VOID))
        touched = dict.fromkeys(subject_of_version(r.model, r.version) for r in voided)
        tx.record(
            None,
            *tx.subjects,
            *(f"request:{request.request_id}" for request in voided),
            *touched,
            reason=reason,
            detail={"name": policy.name, "voided": [request.request_id for request in voided]},
        )
    return policy
