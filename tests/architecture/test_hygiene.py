"""The repository speaks of the project alone, and what is in it is finished."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.mlops import __version__
from tests.architecture.source_tree import ROOT, modules, name_of, repository_files

if TYPE_CHECKING:
    from pathlib import Path

TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".html",
    ".css",
    ".js",
    ".json",
    ".yml",
    ".yaml",
    ".cfg",
    ".sh",
    ".sql",
    ".mako",
    "",
}

# Written so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:work|root|home/\w+|Users/\w+)/")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org)|--(?:extra-)?index[-]url"
)
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIXM[E]|XX[X])\b|NotImplemented[E]rror")

texts = [path for path in repository_files() if path.suffix in TEXT]


@pytest.mark.parametrize("path", texts, ids=name_of)
def test_no_machine_path_registry_host_or_unfinished_mark(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    patterns = [MACHINE_PATH, REGISTRY_HOST] + ([UNFINISHED] if path.suffix == ".py" else [])
    found = [match.group() for pattern in patterns for match in pattern.finditer(content)]
    assert not found, found


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATH.search("see {}work/notes".format("/"))
    assert not MACHINE_PATH.search("see docs{}work/notes".format("/"))
    assert REGISTRY_HOST.search("https://pypi{}org/simple".format("."))
    assert UNFINISHED.search("# {}DO later".format("TO"))


def test_the_changelog_starts_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == __version__


def test_the_architecture_page_describes_every_source_file() -> None:
    """Each source file has one line: its path in backticks, then what it is for."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    described = re.findall(r"`(sentinelzer0/[\w./]+\.py)`\W+\w", page)
    expected = {name_of(path) for path in modules() if "/migrations/versions/" not in name_of(path)}
    empty_faces = {
        name_of(path) for path in modules() if path.name == "__init__.py" and len(path.read_text().splitlines()) <= 3
    }
    assert set(described) - empty_faces == expected - empty_faces
    assert len(described) == len(set(described)), "a file is described twice"
