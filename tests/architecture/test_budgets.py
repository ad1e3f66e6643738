"""No file, function, class or port grows beyond what a reader can hold."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source_tree import modules, name_of, tree_of

if TYPE_CHECKING:
    from pathlib import Path

FILE_LINES = 400
FACE_LINES = 60
FUNCTION_LINES = 50
PUBLIC_METHODS = 15
PORT_METHODS = 10
HISTORICAL_METHODS = 20
HISTORICAL = {"ModelVersionManager", "ModelRegistry", "ABTestManager", "RollbackManager", "MLflowTracker"}

type_of_function = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count from `def` to the last line, the docstring aside."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def public_methods(class_: ast.ClassDef) -> list[str]:
    """Name what a user can call; properties are values, not calls."""
    return [
        node.name
        for node in class_.body
        if isinstance(node, type_of_function)
        and not node.name.startswith("_")
        and not any(
            "property" in ast.unparse(decorator) or ".setter" in ast.unparse(decorator)
            for decorator in node.decorator_list
        )
    ]


def methods_allowed(class_: ast.ClassDef) -> int:
    if class_.name in HISTORICAL:
        return HISTORICAL_METHODS
    is_port = any(ast.unparse(base).startswith("Protocol") for base in class_.bases)
    return PORT_METHODS if is_port else PUBLIC_METHODS


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_budgets(path: Path) -> None:
    over = []
    lines = len(path.read_text(encoding="utf-8").splitlines())
    allowed = FACE_LINES if path.name == "__init__.py" else FILE_LINES
    if lines > allowed:
        over.append(f"{lines} lines, {allowed} allowed")
    for node in ast.walk(tree_of(path)):
        if isinstance(node, type_of_function) and (lines := lines_of_code(node)) > FUNCTION_LINES:
            over.append(f"{node.name} (line {node.lineno}) has {lines} lines, {FUNCTION_LINES} allowed")
        if isinstance(node, ast.ClassDef) and (count := len(public_methods(node))) > (allowed := methods_allowed(node)):
            over.append(f"{node.name} has {count} public methods, {allowed} allowed")
    assert not over, over


def test_the_measures_themselves() -> None:
    source = '''
class Sample(Protocol):
    def one(self):
        """Two lines
        of docstring."""
        return 1

    @property
    def value(self): ...

    def _private(self): ...
'''
    (sample,) = ast.parse(source).body
    assert public_methods(sample) == ["one"]
    assert lines_of_code(sample.body[0]) == 2
    assert methods_allowed(sample) == PORT_METHODS
