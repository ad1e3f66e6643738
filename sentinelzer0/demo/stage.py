"""What every act of the story has at hand: the workspace, the people, the data, the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sentinelzer0.demo import model_files
from sentinelzer0.demo.live import Service
from sentinelzer0.demo.nsl_kdd import History, LiveRequest, NslKdd
from sentinelzer0.demo.replay_clock import ReplayClock
from sentinelzer0.demo.screen import Mark, Screen, short
from sentinelzer0.demo.training import Trained
from sentinelzer0.errors import RefusedError
from sentinelzer0.mlops.model_registry import ModelStage
from sentinelzer0.mlops.version_manager import VersionStatus
from sentinelzer0.workspace import Workspace

TRAINER = "ayse"
APPROVER = "mehmet"
SYSTEM = "system"

AB_REQUESTS = 6000


@dataclass(slots=True)
class Stage:
    """One run of the story.

    Attributes:
        workspace: The open workspace.
        clock: Its clock.
        root: Its directory.
        scratch: Where trained models lie before they become versions.
        screen: Where the story is told.
        data: Both files of NSL-KDD.
        history: What a trainer sees.
        stream: KDDTest+ as live traffic, in order of arrival.
        service: What answers it.
        trained: By version.
    """

    workspace: Workspace
    clock: ReplayClock
    root: Path
    scratch: Path
    screen: Screen
    data: NslKdd
    history: History
    stream: tuple[LiveRequest, ...]
    service: Service
    trained: dict[str, Trained] = field(default_factory=dict)

    def create(self, version: str, trained: Trained, *, parent: str | None, notes: str, tags: list[str]) -> None:
        """Save a trained detector as a directory, make it a version, register it, move it to staging."""
        directory = self.scratch / version
        model_files.save(trained, directory)
        made = self.workspace.versions.create_version(
            directory,
            version,
            created_by=TRAINER,
            training_metrics=trained.training_metrics,
            validation_metrics=trained.validation_metrics,
            test_metrics=trained.test_metrics,
            hyperparameters=trained.hyperparameters,
            architecture=trained.architecture,
            framework=trained.framework,
            framework_version=trained.framework_version,
            model_type=trained.model_type,
            training_dataset=trained.training_dataset,
            parent_version=parent,
            notes=notes,
            tags=tags,
        )
        self.trained[version] = trained
        self.workspace.registry.register_model(version, registered_by=TRAINER)
        self.workspace.versions.promote_version(
            version, VersionStatus.STAGING, promoted_by=TRAINER, reason="passed its offline tests"
        )
        files = sum(1 for path in made.model_path.iterdir() if path.is_file())
        self.screen.did(
            TRAINER,
            f"{version} created, registered, in staging: {files} files, {made.metadata.file_size / 1000:,.0f} kB",
            detail=f"{trained.summary} {f'Derived from {parent}. ' if parent else ''}"
            f"sha256 {made.metadata.file_hash[:12]}\N{HORIZONTAL ELLIPSIS}",
        )

    def promote(self, version: str, notes: str, approval: str) -> None:
        """Bring a version into production: one person asks, another approves."""
        registry = self.workspace.registry
        request = registry.request_promotion(version, ModelStage.PRODUCTION, TRAINER, notes)
        carried = [gate for gate in request.gates if gate["gate"].startswith("evidence ")]
        self.screen.did(
            TRAINER,
            f"asks for {version} in production: {notes}",
            detail="".join(
                f"The request carries {gate['gate']}, {'passed' if gate['passed'] else 'NOT passed'}."
                for gate in carried
            ),
        )
        registry.approve_promotion(request.request_id, APPROVER, approval)
        gates = registry.approval_requests[request.request_id].gates
        self.screen.did(
            APPROVER,
            f"approves: {approval}",
            detail=f"{sum(gate['passed'] for gate in gates)} of {len(gates)} gates passed, integrity first; "
            f"{version} serves 100 %",
        )

    def set_policy(self, name: str, text: str, what: str, reason: str) -> None:
        """Write a policy file into the workspace and put it in force."""
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        policy = self.workspace.registry.set_policy(path, set_by=APPROVER, reason=reason)
        self.screen.did(APPROVER, what, detail=f"{name}, sha256 {policy.digest[:12]}\N{HORIZONTAL ELLIPSIS}")

    def refused(self, actor: str, what: str, error: RefusedError) -> None:
        """Tell of a refusal, in the words of the error."""
        self.screen.did(actor, f"{what}: refused", Mark.REFUSED, detail=short(error.message))
