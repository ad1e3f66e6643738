"""What never appears in the source, whatever the reason seemed to be at the time."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source_tree import PACKAGE, ROOT, modules, name_of, repository_files, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOCK = PACKAGE / "storage" / "clock.py"

READS_OF_CLOCK = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "os.urandom",
}
CLOCK_MODULES = {"uuid", "random", "secrets"}

# Modules that only an extra brings, and alembic, which only a migration needs: imported where they are used.
OPTIONAL = {
    *(
        "alembic",
        "argon2",
        "authlib",
        "fastapi",
        "httpx",
        "jinja2",
        "joblib",
        "mlflow",
        "numpy",
        "obstore",
        "onnxruntime",
    ),
    *(
        "prometheus_client",
        "psycopg",
        "pyarrow",
        "pydantic_settings",
        "ray",
        "sklearn",
        "starlette",
        "structlog",
        "uvicorn",
    ),
}
# Other imports inside a function: (file, module) -> why the command or the face must not pay for it at start.
LAZY = {
    ("sentinelzer0/__init__.py", "sentinelzer0.workspace"): "the lazy face",
    ("sentinelzer0/mlops/__init__.py", "import_module"): "the lazy face",
    ("sentinelzer0/cli/lazy.py", "import_module"): "a command loads what it needs, --help does not",
    ("sentinelzer0/kernel.py", "import_module"): "SQLAlchemy loads when the first workspace opens",
    ("sentinelzer0/storage/creation.py", "sentinelzer0.storage.migrations"): "Alembic loads only to migrate",
}

SQL = re.compile(
    r"\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX)|PRAGMA\s)", re.DOTALL
)

python_files = [path for path in repository_files() if path.suffix == ".py"]


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each import statement with the full names it brings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def lazy_imports(tree: ast.Module) -> Iterator[str]:
    """Yield what functions import, by statement or by `import_module`."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (name for _, name in imported(function))
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                    named = node.args and isinstance(node.args[0], ast.Constant)
                    yield str(node.args[0].value) if named else "import_module"


@pytest.mark.parametrize("path", python_files, ids=name_of)
def test_no_module_without_a_subject(path: Path) -> None:
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & {path.stem, *path.relative_to(ROOT).parts}


@pytest.mark.parametrize("path", [path for path in python_files if path != CLOCK], ids=name_of)
def test_no_mock(path: Path) -> None:
    assert not [name for _, name in imported(tree_of(path)) if name.startswith(("unittest.mock", "mock."))]


@pytest.mark.parametrize("path", [path for path in modules() if path != CLOCK], ids=name_of)
def test_time_ids_and_chance_come_from_one_place(path: Path) -> None:
    tree = tree_of(path)
    found = [
        f"line {node.lineno}: imports {name}" for node, name in imported(tree) if name.split(".")[0] in CLOCK_MODULES
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            called = ast.unparse(node)
            if any(called == read or called.endswith("." + read) for read in READS_OF_CLOCK):
                found.append(f"line {node.lineno}: {called}")
    assert not found, f"{found}: take it as an argument; only {name_of(CLOCK)} provides it"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_an_import_in_a_function_has_a_reason(path: Path) -> None:
    without = [
        name
        for name in lazy_imports(tree_of(path))
        if name.split(".")[0] not in OPTIONAL and (name_of(path), name) not in LAZY
    ]
    assert not without, f"{without}: import at the top, or give the reason in LAZY"


@pytest.mark.parametrize(
    "path", [path for path in modules() if not path.is_relative_to(PACKAGE / "storage")], ids=name_of
)
def test_no_sql_outside_storage(path: Path) -> None:
    texts = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [f"line {node.lineno}: {node.value[:60]!r}" for node in texts if SQL.match(node.value)]


def test_optional_modules_are_not_base_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split(r"[\[<>=;]", requirement)[0] for requirement in project["dependencies"]}
    assert base & OPTIONAL == {"alembic"}


def test_the_detectors_detect() -> None:
    bad = ast.parse(
        "def f():\n    import uuid\n    import_module('x.y')\n    import_module(z)\n    return datetime.now()\n"
    )
    assert list(lazy_imports(bad)) == ["uuid", "x.y", "import_module"]
    assert [name for _, name in imported(ast.parse("from unittest.mock import Mock"))] == ["unittest.mock.Mock"]
    assert SQL.match("SELECT 1 AS x FROM t")
    assert not SQL.match("Select a version from the list")
