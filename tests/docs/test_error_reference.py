"""The error reference has one line for every error class, with the class's own code and exit code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from sentinelzer0 import errors
from sentinelzer0.cli.exit_codes import EXIT_CODES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "errors.md"
LINE = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
CLASSES = {
    name: item for name, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.SentinelError)
}


def test_every_error_is_described_once_with_its_code_and_exit_code() -> None:
    lines = LINE.findall(PAGE.read_text(encoding="utf-8"))
    described = [(code, name, int(exit_code)) for code, name, exit_code, _, _ in lines]
    expected = [(item.code, name, int(EXIT_CODES[item])) for name, item in CLASSES.items()]
    assert sorted(described) == sorted(expected)


def test_meaning_and_next_step_are_sentences() -> None:
    for code, _, _, meaning, step in LINE.findall(PAGE.read_text(encoding="utf-8")):
        assert meaning.endswith("."), code
        assert step.endswith((".", ")")), code


def test_codes_are_unique_and_spelt_like_their_class() -> None:
    codes = [item.code for item in CLASSES.values()]
    assert len(set(codes)) == len(codes)
    for name, item in CLASSES.items():
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Error").replace("ABTest", "AbTest")).lower()
        assert item.code == ("sentinel_error" if item is errors.SentinelError else words)
