"""What users import: the names, that importing them is free, and that they survive under a host's own package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

import sentinelzer0
from sentinelzer0 import mlops
from tests.architecture.source_tree import PACKAGE, ROOT, modules, name_of, tree_of
from tests.architecture.test_never import imported

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = {
    "ab_testing": {
        *("ABTest", "ABTestManager", "Assignment", "Guardrail"),
        *("Recorded", "Recorder", "TestMetrics", "TestStatus"),
    },
    "mlflow_integration": {"MLflowTracker"},
    "model_registry": {"ApprovalRequest", "ApprovalStatus", "ModelRegistry", "ModelStage", "RegistryEntry"},
    "rollback": {"HealthCheck", "RollbackEvent", "RollbackManager", "RollbackStrategy"},
    "version_manager": {"ModelMetadata", "ModelVersion", "ModelVersionManager", "VersionStatus"},
}
HEAVY = {
    *(
        "alembic",
        "cryptography",
        "fastapi",
        "httpx",
        "jinja2",
        "joblib",
        "mlflow",
        "numpy",
        "pandas",
        "psycopg",
        "pyarrow",
    ),
    *("pydantic", "rich", "scipy", "sklearn", "sqlalchemy", "sqlite3", "typer", "xxhash"),
}
HEAVY_FOR_A_MANAGER = HEAVY - {"cryptography", "sqlalchemy", "sqlite3", "xxhash"}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules a fresh interpreter holds after the statement."""
    program = f"import json, sys\n{statement}\nprint(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_public_names_are_pinned() -> None:
    assert set(mlops.__all__) == {"__version__"}.union(*PUBLIC.values())
    assert sentinelzer0.__all__ == ["Workspace", "__version__"]
    assert sentinelzer0.__version__ == mlops.__version__


@pytest.mark.parametrize(
    ("module", "name"), sorted((module, name) for module, names in PUBLIC.items() for name in names)
)
def test_a_public_name_is_the_one_of_its_module(module: str, name: str) -> None:
    value = getattr(mlops, name)
    assert value is getattr(import_module(f"sentinelzer0.mlops.{module}"), name)
    assert value.__doc__
    if name.startswith("Test"):
        assert value.__test__ is False, "pytest would collect it in a user's suite"


def test_the_workspace_is_the_face_of_the_package() -> None:
    assert sentinelzer0.Workspace is import_module("sentinelzer0.workspace").Workspace


@pytest.mark.parametrize("package", [sentinelzer0, mlops], ids=["sentinelzer0", "mlops"])
def test_an_unknown_name_is_an_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing


@pytest.mark.parametrize("package", ["sentinelzer0", "sentinelzer0.mlops", "sentinelzer0.errors"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by(f"import {package}") & HEAVY


@pytest.mark.parametrize("name", ["ModelVersionManager", "MLflowTracker"])
def test_a_manager_loads_no_extra_no_terminal_and_no_migration(name: str) -> None:
    assert not loaded_by(f"from sentinelzer0.mlops import {name}") & HEAVY_FOR_A_MANAGER


def test_nothing_imports_the_top_level_face() -> None:
    """Under a host's own package, `sentinelzer0/__init__` is the host's."""
    face = {"sentinelzer0.Workspace", "sentinelzer0.__version__", "sentinelzer0"}
    found = [
        f"{name_of(path)}: {name}"
        for path in modules()
        if path != PACKAGE / "__init__.py"
        for node, name in imported(tree_of(path))
        if name in face and (isinstance(node, ast.Import) or node.level == 0)
    ]
    assert not found, found


def test_the_use_cases_work_under_a_host_application_s_own_package(tmp_path: Path) -> None:
    host = tmp_path / "host" / "sentinelzer0"
    host.mkdir(parents=True)
    (host / "__init__.py").write_text("from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n")
    (host / "detector.py").write_text("THRESHOLD = 0.5\n")
    (tmp_path / "model.bin").write_bytes(b"weights")
    program = f"""
import sys
sys.path[:0] = [{str(tmp_path / "host")!r}, {str(ROOT)!r}]
import sentinelzer0, sentinelzer0.detector
assert not hasattr(sentinelzer0, "Workspace"), "this is the host's package"
from sentinelzer0.mlops import ModelVersionManager, __version__
manager = ModelVersionManager(base_dir="models")
manager.create_version("model.bin", version="v1")
print(__version__, manager.verify_integrity("v1"), sentinelzer0.detector.THRESHOLD)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [mlops.__version__, "True", "0.5"], done.stderr
