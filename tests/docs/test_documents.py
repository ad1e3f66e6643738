"""Every example of the README and the documentation runs, and every link leads somewhere.

A document is one session, in an empty directory: its ``python`` blocks share their names and run top to bottom, its
``console`` blocks run the lines after ``$`` in a shell and, where output is shown, compare it (``...`` matches
anything). A block after an HTML or MyST comment ``<!-- skip: next -->`` is for reading only.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

if TYPE_CHECKING:
    from sybil import Example

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def run_console(example: Example) -> str | None:
    """Run each command of a console block; return the difference to the output shown, or None."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)[1:]:
        command, _, expected = block.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        if not expected.strip():
            if done.returncode != 0:
                return f"$ {command}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        elif not matches(expected, done.stdout + done.stderr):
            return f"$ {command}\nexpected:\n{expected}\ngot:\n{done.stdout}{done.stderr}"
    return None


def matches(expected: str, got: str) -> bool:
    """Compare as doctest does: `...` stands for anything, runs of blanks are one."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip(), got.strip(), flags)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_examples_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sybil = Sybil(parsers=[SkipParser(), PythonCodeBlockParser(), CodeBlockParser("console", run_console)])
    for example in sybil.parse(document).examples():
        example.evaluate()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(FENCED.sub("", document.read_text(encoding="utf-8"))):
        linked = (document.parent / target).resolve() if target else document
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    assert not broken, broken


def test_a_wrong_example_is_noticed(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# A page\n\n```console\n$ echo one two\none ...\n$ echo one\ntwo\n```\n", encoding="utf-8")
    (example,) = Sybil(parsers=[CodeBlockParser("console", run_console)]).parse(document).examples()
    with pytest.raises(Exception, match="expected:\ntwo"):
        example.evaluate()
    assert anchors(document) == {"a-page"}
