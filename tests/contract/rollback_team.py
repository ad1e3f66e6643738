"""A workspace with its managers, and the short ways that tests of rollbacks take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.rollback import RollbackManager
from sentinelzer0.mlops.version_manager import ModelVersionManager, VersionStatus


@dataclass
class Team:
    """A workspace with its managers, and the short ways tests take."""

    kernel: Kernel
    versions: ModelVersionManager
    registry: ModelRegistry
    rollback: RollbackManager
    directory: Path

    def create(self, *names: str, model: str = "default") -> None:
        for name in names:
            path = self.directory / f"{name}.bin"
            path.write_bytes(f"weights of {model} {name}".encode())
            self.versions.create_version(path, name, model=model)

    def serve(self, *names: str, model: str = "default") -> None:
        """Create versions and bring them into production one after the other."""
        self.create(*names, model=model)
        for name in names:
            self.versions.promote_version(name, "staging", model=model)
            self.versions.promote_version(name, "production", model=model)

    def damage(self, name: str) -> None:
        """Flip a bit of a stored version."""
        version = self.versions.get_version(name)
        assert version is not None
        blob = self.kernel.blobs.path(version.metadata.file_hash)
        data = bytearray(blob.read_bytes())
        data[0] ^= 1
        blob.chmod(0o644)
        blob.write_bytes(data)

    def serving(self, model: str = "default") -> dict[str, float]:
        with self.kernel.read() as view:
            current = view.deployments.current(model, "production")
        return {} if current is None else current.weights

    def status(self, name: str, model: str = "default") -> VersionStatus:
        version = self.versions.get_version(name, model=model)
        assert version is not None
        return version.status

    def records(self, start: int = 0) -> list[AuditRecord]:
        with self.kernel.read() as view:
            return [AuditRecord.from_bytes(body) for _, body in view.audit.bodies(start)]

    def quarantined(self, name: str) -> bool:
        with self.kernel.read() as view:
            found = view.versions.get("default", name)
        assert found is not None
        return found.quarantined_at is not None


@pytest.fixture
def team(kernel: Kernel, tmp_path: Path) -> Team:
    versions = ModelVersionManager(kernel=kernel)
    registry = ModelRegistry(versions)
    return Team(kernel, versions, registry, RollbackManager(versions, registry), tmp_path)
