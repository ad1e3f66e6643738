"""The reference pages know every public method of the managers and every action of the audit log."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from sentinelzer0 import mlops
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.deployments import Deployments

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
ACTION = re.compile(r"[a-z_]+:[a-z_]+:[a-z-]+")
MANAGERS = (mlops.ModelVersionManager, mlops.ModelRegistry, mlops.ABTestManager, mlops.RollbackManager)


def words_of(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+?)(?:\(.*?\))?`", (REFERENCE / page).read_text(encoding="utf-8")))


def actions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ACTION.fullmatch(node.value)
    }


@pytest.mark.parametrize("manager", [*MANAGERS, Deployments, AuditTrail], ids=lambda item: item.__name__)
def test_the_python_page_names_every_public_method(manager: type) -> None:
    methods = {name for name, item in inspect.getmembers(manager, inspect.isfunction) if not name.startswith("_")}
    assert methods
    assert methods - words_of("python-api.md") == set()


def test_the_python_page_names_everything_that_is_exported() -> None:
    assert set(mlops.__all__) - {"__version__"} - words_of("python-api.md") == set()


def test_the_audit_page_names_every_action_and_no_other() -> None:
    sources = (ROOT / "sentinelzer0").rglob("*.py")
    in_code = set().union(*(actions_in(path) for path in sources)) | {
        f"ab_test:state:{verb}" for verb in ("start", "pause", "resume", "cancel", "complete")
    }
    page = (REFERENCE / "audit-record.md").read_text(encoding="utf-8")
    described = re.findall(rf"^\| `({ACTION.pattern})` \|", page, re.MULTILINE)
    assert sorted(described) == sorted(in_code)
