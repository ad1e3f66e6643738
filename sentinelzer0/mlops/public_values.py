"""The snapshots that the version manager and the registry return, and the read-only views they offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from sentinelzer0.domain.deployments import Deployment
from sentinelzer0.domain.registry import Entry
from sentinelzer0.domain.scalars import shown, whole
from sentinelzer0.domain.versions import ModelStage, Version, VersionStatus
from sentinelzer0.errors import InvalidInputError

T = TypeVar("T")
NO_LIMIT = 2**31
DEPLOYED = ("environment", "revision", "share")


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What is known about a version; what was not given is empty, never guessed.

    Attributes:
        version: Name of the version.
        created_at: When it was created, aware.
        created_by: Who created it.
        framework: Name of the framework it was trained with.
        framework_version: Its version.
        model_type: Kind of model.
        architecture: Description of the architecture.
        hyperparameters: Hyperparameters of the training.
        training_dataset: Name or reference of the data set.
        training_metrics: Metrics on the training data.
        validation_metrics: Metrics on the validation data.
        test_metrics: Metrics on the test data.
        file_hash: SHA-256 (hex) of the file, or of the manifest of a directory.
        file_size: Bytes; the sum of all files of a directory.
        status: The stage as users see it.
        tags: Words it can be found by.
        notes: Free text.
        parent_version: The version it was derived from, or None.
    """

    version: str
    created_at: datetime
    created_by: str = "system"
    framework: str = ""
    framework_version: str = ""
    model_type: str = ""
    architecture: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training_dataset: str = ""
    training_metrics: dict[str, float] = field(default_factory=dict)
    validation_metrics: dict[str, float] = field(default_factory=dict)
    test_metrics: dict[str, float] = field(default_factory=dict)
    file_hash: str = ""
    file_size: int = 0
    status: VersionStatus = VersionStatus.DEVELOPMENT
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    parent_version: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the time is ISO-8601."""
        row = {f.name: deepcopy(getattr(self, f.name)) for f in fields(self)}
        return row | {"created_at": self.created_at.isoformat(), "status": self.status.value, "tags": list(self.tags)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ModelMetadata:
        """Build metadata from :meth:`to_dict`."""
        row = dict(raw) | {"created_at": datetime.fromisoformat(raw["created_at"])}
        return cls(**row | {"status": VersionStatus(raw.get("status", "development"))})


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A snapshot of one version.

    Attributes:
        version: Its name.
        status: The stage as users see it.
        metadata: What is known about it.
        model_path: The readable file or directory. It is only a path: use ``open_verified`` for bytes that were
            just checked.
        model: The model it belongs to.
        stage: The stage without regard to deprecation.
    """

    version: str
    status: VersionStatus
    metadata: ModelMetadata
    model_path: Path
    model: str = "default"
    stage: ModelStage = ModelStage.NONE

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "version": self.version,
            "status": self.status.value,
            "metadata": self.metadata.to_dict(),
            "model_path": str(self.model_path),
            "model": self.model,
            "stage": self.stage.value,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ModelVersion:
        """Build a snapshot from :meth:`to_dict`."""
        return cls(
            raw["version"],
            VersionStatus(raw["status"]),
            ModelMetadata.from_dict(raw["metadata"]),
            Path(raw["model_path"]),
            raw.get("model", "default"),
            ModelStage(raw.get("stage", "none")),
        )


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A snapshot of a version's entry in the registry.

    Attributes:
        version: Name of the version.
        stage: How far it has come.
        registered_at: When it was registered.
        registered_by: By whom.
        promoted_at: When it last changed stage through the registry, or None.
        promoted_by: Who decided that, or None.
        deployment_info: Environment, revision and share where it serves now; and what version 3.3 knew besides.
        performance_metrics: Metrics of the latest health check, merged.
        health_status: ``healthy``, ``unhealthy`` or ``unknown``.
        last_health_check: When its health was last written, or None.
        tags: Words it can be found by.
        model: The model it belongs to.
    """

    version: str
    stage: ModelStage
    registered_at: datetime
    registered_by: str = "system"
    promoted_at: datetime | None = None
    promoted_by: str | None = None
    deployment_info: dict[str, Any] = field(default_factory=dict)
    performance_metrics: dict[str, Any] = field(default_factory=dict)
    health_status: str = "unknown"
    last_health_check: datetime | None = None
    tags: list[str] = field(default_factory=list)
    model: str = "default"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; times are ISO-8601."""
        row = {f.name: deepcopy(getattr(self, f.name)) for f in fields(self)}
        for name in ("registered_at", "promoted_at", "last_health_check"):
            row[name] = None if row[name] is None else row[name].isoformat()
        return row | {"stage": self.stage.value, "tags": list(self.tags)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RegistryEntry:
        """Build an entry from :meth:`to_dict`."""
        row = dict(raw) | {"stage": ModelStage(raw["stage"])}
        for name in ("registered_at", "promoted_at", "last_health_check"):
            row[name] = None if row.get(name) is None else datetime.fromisoformat(row[name])
        return cls(**row)


def checked_limit(limit: object) -> int:
    """Return how many items at most; None means all.

    Raises:
        InvalidInputError: Not a whole number, or negative.
    """
    if limit is None:
        return NO_LIMIT
    number = whole(limit)
    if number is None or number < 0:
        raise InvalidInputError(f"limit is {shown(limit)}.", hint="Use 0 or more, or leave it out.")
    return min(number, NO_LIMIT)


class LiveView(Mapping[str, T], Generic[T]):
    """A read-only mapping that asks the workspace each time; assigning to it raises.

    Args:
        get: Returns a value or None.
        names: Returns the present keys.
        hint: What to call instead of assigning.
    """

    def __init__(self, get: Callable[[str], T | None], names: Callable[[], list[str]], hint: str) -> None:
        self._get = get
        self._names = names
        self._hint = hint

    def __getitem__(self, key: str) -> T:
        found = self._get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __setitem__(self, key: str, value: object) -> NoReturn:
        self._refuse(key, value)

    def __delitem__(self, key: str) -> NoReturn:
        self._refuse(key)

    def _refuse(self, *arguments: object, **_named: object) -> NoReturn:
        what = f": {shown(arguments[0])}" if arguments else ""
        raise TypeError(f"This is a view, which cannot be changed{what}. {self._hint}")

    pop = popitem = clear = update = setdefault = __ior__ = _refuse

    def __repr__(self) -> str:
        return repr(dict(self))


def public_metadata(version: Version) -> ModelMetadata:
    """Return a stored version's metadata as users see it."""
    return ModelMetadata(
        version=version.version,
        created_at=version.created_at,
        created_by=version.created_by,
        framework=version.framework,
        framework_version=version.framework_version,
        model_type=version.model_type,
        architecture=version.architecture,
        hyperparameters=version.hyperparameters,
        training_dataset=version.training_dataset,
        training_metrics=version.training_metrics,
        validation_metrics=version.validation_metrics,
        test_metrics=version.test_metrics,
        file_hash=version.digest,
        file_size=version.size,
        status=version.status,
        tags=list(version.tags),
        notes=version.notes,
        parent_version=version.parent_version,
    )


def public_entry(entry: Entry, version: Version, serving: Deployment | None) -> RegistryEntry:
    """Return a stored entry together with what is true of its version now.

    Args:
        entry: As stored.
        version: Its version.
        serving: What serves production, or None; it alone decides where the version is said to serve.
    """
    info = {key: value for key, value in entry.deployment_info.items() if key not in DEPLOYED}
    if serving is not None and version.version in serving.weights:
        info |= zip(DEPLOYED, (serving.environment, serving.revision, serving.weights[version.version]), strict=True)
    return RegistryEntry(
        version=entry.version,
        stage=version.stage,
        registered_at=entry.registered_at,
        registered_by=entry.registered_by,
        promoted_at=entry.promoted_at,
        promoted_by=entry.promoted_by,
        deployment_info=info,
        performance_metrics=entry.performance_metrics,
        health_status=entry.health_status,
        last_health_check=entry.last_health_check,
        tags=list(entry.tags),
        model=entry.model,
    )
