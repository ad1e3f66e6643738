"""The use cases of model operations, one module per step; a name loads its module when it is first used.

Nothing in here imports ``sentinelzer0/__init__``, so it works under a host application's own ``sentinelzer0`` too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentinelzer0.mlops.ab_testing import (
        ABTest,
        ABTestManager,
        Assignment,
        Guardrail,
        Recorded,
        Recorder,
        TestMetrics,
        TestStatus,
    )
    from sentinelzer0.mlops.mlflow_integration import MLflowTracker
    from sentinelzer0.mlops.model_registry import (
        ApprovalRequest,
        ApprovalStatus,
        ModelRegistry,
        ModelStage,
        RegistryEntry,
    )
    from sentinelzer0.mlops.rollback import HealthCheck, RollbackEvent, RollbackManager, RollbackStrategy
    from sentinelzer0.mlops.version_manager import ModelMetadata, ModelVersion, ModelVersionManager, VersionStatus

__version__ = "4.0.0"
__all__ = [
    "ABTest", "ABTestManager", "ApprovalRequest", "ApprovalStatus", "Assignment", "Guardrail", "HealthCheck",
    "MLflowTracker", "ModelMetadata", "ModelRegistry", "ModelStage", "ModelVersion", "ModelVersionManager",
    "Recorded", "Recorder", "RegistryEntry", "RollbackEvent", "RollbackManager", "RollbackStrategy", "TestMetrics",
    "TestStatus", "VersionStatus", "__version__",
]  # fmt: skip

_NAMES_OF = {
    "ab_testing": (
        *("ABTest", "ABTestManager", "Assignment", "Guardrail"),
        *("Recorded", "Recorder", "TestMetrics", "TestStatus"),
    ),
    "mlflow_integration": ("MLflowTracker",),
    "model_registry": ("ApprovalRequest", "ApprovalStatus", "ModelRegistry", "ModelStage", "RegistryEntry"),
    "rollback": ("HealthCheck", "RollbackEvent", "RollbackManager", "RollbackStrategy"),
    "version_manager": ("ModelMetadata", "ModelVersion", "ModelVersionManager", "VersionStatus"),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
