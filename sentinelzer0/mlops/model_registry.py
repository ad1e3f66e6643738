"""The registry: entries, promotion by request and approval, health, and the complete audit trail of a version.

An approval is a statement about exact bytes under an exact policy: it is bound to the version's digest and to the
policy's digest, and a change of either voids it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sentinelzer0.domain import registry as rules
from sentinelzer0.domain.identity import (
    DEFAULT_MODEL,
    PRODUCTION,
    check_label,
    check_tags,
    check_text,
    subject_of_version,
)
from sentinelzer0.domain.policies import Policy
from sentinelzer0.domain.registry import ApprovalRequest, ApprovalStatus, Entry, Evidence, Target
from sentinelzer0.domain.versions import ModelStage, last_in_production
from sentinelzer0.errors import InvalidInputError, RequestNotFoundError
from sentinelzer0.kernel import Kernel, check_path
from sentinelzer0.mlops import approvals, integrity
from sentinelzer0.mlops.policies import configure_policy, install_policy
from sentinelzer0.mlops.public_values import LiveView, RegistryEntry, public_entry, public_metadata
from sentinelzer0.mlops.version_manager import ModelVersionManager

__all__ = ["ApprovalRequest", "ApprovalStatus", "ModelRegistry", "ModelStage", "RegistryEntry"]

REGISTER = "registry:entry:register"
ATTACH = "registry:evidence:attach"
HEALTH = "registry:health:update"
HEALTH_STATUSES = ("healthy", "unhealthy", "unknown")


class ModelRegistry:
    """The registry of the workspace a version manager has open.

    Args:
        version_manager: The manager whose workspace this is.
        registry_dir: Where the manager's workspace keeps checkpoints and exports while it is open; left out, its own.
        policy: The policy to be in force from now on; None keeps the one in force.
    """

    def __init__(
        self,
        version_manager: ModelVersionManager,
        registry_dir: str | os.PathLike[str] = "models/registry",
        *,
        policy: Policy | None = None,
    ) -> None:
        self._manager = version_manager
        self.kernel: Kernel = version_manager.kernel
        given = check_path(registry_dir, "registry_dir")
        if given != Path("models/registry"):
            self.kernel.layout.keep_registry_in(Path(os.path.abspath(given)))  # noqa: PTH100
        if policy is not None:
            configure_policy(self.kernel, policy)

    @property
    def version_manager(self) -> ModelVersionManager:
        """The manager of the same workspace."""
        return self._manager

    @property
    def registry_dir(self) -> Path:
        """The directory of checkpoints and exports."""
        return self.kernel.layout.registry

    @property
    def registry(self) -> LiveView[RegistryEntry]:
        """A live, read-only view of the default model's entries by version."""
        return LiveView(self.get_entry, self._entry_names, "Call register_model(…).")

    @property
    def approval_requests(self) -> LiveView[ApprovalRequest]:
        """A live, read-only view of the default model's requests by id."""
        return LiveView(self._find_request, self._request_ids, "Call request_promotion(…).")

    def register_model(
        self,
        version: str,
        stage: ModelStage | str = ModelStage.DEVELOPMENT,
        registered_by: str = "system",
        tags: Sequence[str] | None = None,
        *,
        model: str = DEFAULT_MODEL,
    ) -> RegistryEntry:
        """Enter a version into the registry.

        Args:
            version: An existing version.
            stage: Its stage; the default keeps the stage it has (none becomes development). ``production`` adopts
                a version that already serves, which is an approval on record where the policy allows it.
            registered_by: Who registers it.
            tags: Words to find the entry by.
            model: The model.

        Raises:
            VersionNotFoundError: There is no such version.
            AlreadyExistsError: It is registered already.
            ApprovalRequiredError: The policy does not allow adoption.
            IllegalTransitionError: The stage cannot be reached from the version's stage.
            IntegrityError: Adoption of bytes that are not those that were registered.
        """
        wanted = approvals.checked_stage(stage)
        checked = check_tags(tags)
        with self.kernel.read() as view:
            found = integrity.require_version(view, model, version)
        if wanted is not ModelStage.DEVELOPMENT:
            integrity.require_intact(self.kernel, found, registered_by, REGISTER)
        with self.kernel.begin(registered_by, REGISTER, subject_of_version(model, version)) as tx:
            before = integrity.require_version(tx, model, version)
            approvals.check_not_registered(tx, before)
            after, detail = approvals.registered(tx, before, wanted)
            moved = after.stage is not before.stage and wanted is not ModelStage.DEVELOPMENT
            entry = Entry(
                model=model,
                version=version,
                registered_at=tx.now,
                registered_by=tx.actor.name,
                promoted_at=tx.now if moved else None,
                promoted_by=tx.actor.name if moved else None,
                tags=checked,
            )
            if after != before:
                tx.versions.put(after, before)
            tx.registry.put_entry(entry)
            tx.record(digest=after.digest, detail={"from": before.stage.value, "to": after.stage.value} | detail)
            return approvals.snapshot(tx, entry, after)

    def request_promotion(
        self,
        version: str,
        to_stage: ModelStage | str,
        requested_by: str,
        notes: str | None = "",
        *,
        model: str = DEFAULT_MODEL,
    ) -> ApprovalRequest:
        """Ask for a version to be moved to another stage.

        Raises:
            EntryNotFoundError: The version is not registered.
            IllegalTransitionError: Its stage cannot become ``to_stage``.
            AlreadyExistsError: The same request is already pending.
            QuarantinedError: The version was rolled back from and not released.
        """
        stage = approvals.checked_stage(to_stage)
        return self._request(model, version, stage, rules.target_of(stage), 1.0, requested_by, notes)

    def request_canary(
        self, version: str, share: float, requested_by: str, notes: str | None = "", *, model: str = DEFAULT_MODEL
    ) -> ApprovalRequest:
        """Ask for a version to serve a share of the traffic, as a canary or the challenger of an A/B test.

        Raises:
            EntryNotFoundError: The version is not registered.
            InvalidInputError: The share is not above 0, or above the policy's cap.
        """
        with self.kernel.read() as view:
            stage = integrity.require_version(view, model, version).stage
            cap = view.policies.in_force().policy().canary_cap
        approvals.check_share(share, cap)
        return self._request(model, version, stage, Target.CANARY, share, requested_by, notes)

    def approve_promotion(self, request_id: str, approved_by: str, notes: str | None = "") -> RegistryEntry:
        """Approve a request; with the last approval of the quorum the version moves, in the same transaction.

        The bytes are verified first, and the gates of the policy are evaluated.

        Raises:
            RequestNotFoundError: There is no such request.
            RequestClosedError: It was decided, or has expired, or is void.
            ApproverNotAllowedError: The requester, a second vote, a person without the role, or automation.
            IntegrityError: The bytes are not those that were registered.
            GateFailedError: A gate of the policy failed.
        """
        notes = check_text("" if notes is None else notes, "notes")
        with self.kernel.read() as view:
            request = approvals.require_request(view, request_id)
            found = integrity.require_version(view, request.model, request.version)
        subjects = (subject_of_version(request.model, request.version), f"request:{request_id}")
        integrity.require_intact(self.kernel, found, approved_by, approvals.APPROVE)
        with self.kernel.begin(approved_by, approvals.APPROVE, *subjects) as tx:
            decided, version = approvals.approve(tx, request_id, notes, found.digest)
            entry = approvals.require_entry(tx, request.model, request.version)
            if decided.status is ApprovalStatus.APPROVED and decided.target is not Target.CANARY:
                version, entry = approvals.carried_out(tx, decided, version, entry)
            tx.registry.put_request(decided)
            tx.record(digest=version.digest, reason=notes, detail=approvals.decision_detail(decided))
            return approvals.snapshot(tx, entry, version)

    def reject_promotion(self, request_id: str, rejected_by: str, reason: str) -> ApprovalRequest:
        """Reject a request, for good.

        Raises:
            RequestNotFoundError: There is no such request.
            RequestClosedError: It can no longer be decided.
            InvalidInputError: The reason is empty.
        """
        return approvals.close(self.kernel, request_id, ApprovalStatus.REJECTED, rejected_by, reason)

    def withdraw_promotion(self, request_id: str, withdrawn_by: str, reason: str) -> ApprovalRequest:
        """Withdraw one's own request, for good.

        Raises:
            RequestNotFoundError: There is no such request.
            RequestClosedError: It can no longer be decided.
            ApproverNotAllowedError: Somebody else's request.
            InvalidInputError: The reason is empty.
        """
        return approvals.close(self.kernel, request_id, ApprovalStatus.WITHDRAWN, withdrawn_by, reason)

    def get_pending_approvals(self, *, model: str | None = None) -> list[ApprovalRequest]:
        """Return the requests that can still be decided, oldest first, of one model or of all."""
        with self.kernel.read() as view:
            stored = view.registry.requests_with_status(ApprovalStatus.PENDING.value)
            current = [approvals.as_of_now(view, request) for request in stored]
        return [r for r in current if r.status is ApprovalStatus.PENDING and model in (None, r.model)]

    def get_entry(self, version: str, *, model: str = DEFAULT_MODEL) -> RegistryEntry | None:
        """Return a version's entry, or None when it is not registered (or was deleted)."""
        with self.kernel.read() as view:
            entry = view.registry.entry(model, version)
            found = view.versions.get(model, version)
            if entry is None or found is None or found.deleted_at is not None:
                return None
            return approvals.snapshot(view, entry, found)

    def get_models_by_stage(self, stage: ModelStage | str, *, model: str = DEFAULT_MODEL) -> list[RegistryEntry]:
        """Return the entries of a stage, newest version first."""
        wanted = approvals.checked_stage(stage)
        with self.kernel.read() as view:
            pairs = approvals.entries_of_stage(view, model, wanted)
            serving = view.deployments.current(model, PRODUCTION)
        return [public_entry(entry, version, serving) for entry, version in pairs]

    def get_production_model(self, *, model: str = DEFAULT_MODEL) -> RegistryEntry | None:
        """Return the entry of the registered version that entered production last, or None.

        Several versions may hold the stage; what serves is the deployment's business.
        """
        with self.kernel.read() as view:
            pairs = approvals.entries_of_stage(view, model, ModelStage.PRODUCTION)
            newest = max(pairs, key=lambda pair: last_in_production(pair[1]), default=None)
            return newest and approvals.snapshot(view, *newest)

    def update_health_status(
        self,
        version: str,
        status: str = "healthy",
        metrics: dict[str, Any] | None = None,
        *,
        updated_by: str = "system",
        model: str = DEFAULT_MODEL,
    ) -> RegistryEntry:
        """Write a version's health; metrics are merged into those already there.

        Args:
            version: A registered version.
            status: ``healthy``, ``unhealthy`` or ``unknown``.
            metrics: JSON values by name.
            updated_by: Who reports it.
            model: The model.

        Raises:
            EntryNotFoundError: The version is not registered.
            InvalidInputError: Another status, or metrics without a JSON form.
        """
        if status not in HEALTH_STATUSES:
            raise InvalidInputError(f"{status!r} is no health.", hint=f"Use one of: {', '.join(HEALTH_STATUSES)}.")
        with self.kernel.begin(updated_by, HEALTH, subject_of_version(model, version)) as tx:
            found = integrity.require_version(tx, model, version)
            entry = approvals.with_health(approvals.require_entry(tx, model, version), status, metrics, tx.now)
            tx.registry.put_entry(entry)
            tx.record(digest=found.digest, detail={"status": str(status)})
            return approvals.snapshot(tx, entry, found)

    def attach_evidence(
        self,
        version: str,
        path: str | os.PathLike[str],
        kind: str,
        attached_by: str,
        *,
        passed: bool,
        summary: str = "",
        model: str = DEFAULT_MODEL,
    ) -> Evidence:
        """Attach a file that speaks for or against a version, such as a scanner's result; gates may demand it.

        Args:
            version: The version it is about; the evidence counts for its present bytes only.
            path: The file, which is stored and hashed.
            kind: What it is, for example ``malware-scan``.
            attached_by: Who attaches it.
            passed: Whether it speaks for the version.
            summary: One line for people.
            model: The model.

        Raises:
            VersionNotFoundError: There is no such version.
            InvalidInputError: ``passed`` is neither True nor False, or the kind is kept for A/B tests.
        """
        kind, summary = rules.check_evidence(kind, passed=passed), check_text(summary, "summary")
        check_label(attached_by, "person's name")
        with self.kernel.read() as view:
            integrity.require_version(view, model, version)
        content = self.kernel.blobs.put(check_path(path, "path"))
        with self.kernel.begin(attached_by, ATTACH, subject_of_version(model, version)) as tx:
            found = integrity.require_version(tx, model, version)
            item = Evidence(
                evidence_id=tx.new_id("ev"),
                model=model,
                version=version,
                kind=kind,
                passed=passed,
                summary=summary,
                digest=content.digest,
                version_digest=found.digest,
                filename=content.filename,
                attached_by=tx.actor.name,
                attached_at=tx.now,
            )
            tx.registry.put_evidence(item)
            tx.record(digest=content.digest, reason=item.summary, detail={"kind": kind, "passed": item.passed})
        return item

    def set_policy(self, policy: Policy | str | os.PathLike[str], *, set_by: str, reason: str) -> Policy:
        """Put a policy in force: a :class:`Policy`, ``default``, ``strict``, or the path of a TOML file.

        Pending requests made under another policy become void. The policy already in force is left as it is.

        Raises:
            PolicySyntaxError: The file is not a policy.
            ApproverNotAllowedError: Not a person, but automation.
        """
        return install_policy(self.kernel, policy, set_by=set_by, reason=reason)

    def break_glass(self, version: str, promoted_by: str, reason: str, *, model: str = DEFAULT_MODEL) -> RegistryEntry:
        """Put a registered version into production without approval, loudly: for emergencies, with a reason.

        Approval, gates and stage are skipped; the bytes are verified. A quarantine is lifted, on record.

        Raises:
            InvalidInputError: The reason is empty.
            ApproverNotAllowedError: Not a person, but automation.
            IntegrityError: The bytes are not those that were registered.
            EntryNotFoundError: The version is not registered.
        """
        return approvals.break_glass(self.kernel, model, version, promoted_by, reason)

    def get_audit_trail(self, version: str, *, model: str = DEFAULT_MODEL) -> dict[str, Any]:
        """Return everything on record about a version.

        Returns:
            ``version``; ``registry_entry`` and ``version_metadata`` (None when there is none);
            ``approval_requests``; ``stage_history``: every transition (event, stage, from_stage, timestamp, user,
            reason), oldest first; ``events``: every audit record that touches it, oldest first. All JSON values.

        Raises:
            VersionNotFoundError: There never was such a version.
        """
        return approvals.audit_trail(self.kernel, model, version, public_metadata)

    def _request(
        self, model: str, version: str, stage: ModelStage, target: Target, share: float, person: str, notes: str | None
    ) -> ApprovalRequest:
        notes = check_text("" if notes is None else notes, "notes")
        with self.kernel.begin(person, approvals.REQUEST, subject_of_version(model, version)) as tx:
            request = approvals.new_request(tx, model, version, stage, target, share, notes)
            tx.registry.put_request(request)
            subjects = (subject_of_version(model, version), f"request:{request.request_id}")
            tx.record(None, *subjects, digest=request.digest, reason=notes, detail={"target": target.value})
        return request

    def _find_request(self, request_id: str) -> ApprovalRequest | None:
        with self.kernel.read() as view, suppress(RequestNotFoundError):
            return approvals.require_request(view, request_id)
        return None

    def _entry_names(self) -> list[str]:
        with self.kernel.read() as view:
            return approvals.entry_names(view, DEFAULT_MODEL)

    def _request_ids(self) -> list[str]:
        with self.kernel.read() as view:
            return [request.request_id for request in view.registry.requests(DEFAULT_MODEL)]
