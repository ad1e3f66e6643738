"""The reference page and the real commands are the same, and every command we tell people to type exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sentinelzer0 import config
from sentinelzer0.cli.commands import ALIASES, GLOBAL_OPTIONS, NOUNS
from sentinelzer0.cli.exit_codes import EXIT_CODES, MEANING
from sentinelzer0.cli.main import app, main
from sentinelzer0.cli.session import SCHEMA_VERSION, Session

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return what stands under a heading of the second level."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)


def table(text: str) -> list[list[str]]:
    """Return the cells of every row below a head."""
    rows = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [re.split(r"(?<!\\) \| ", row.replace(" |  |", " | |") + " ") for row in rows]


def root() -> tuple[Any, Any]:
    command = typer.main.get_command(app)
    return command, command.make_context("sz0", ["x"], obj=Session(), resilient_parsing=True)


def commands(*, hidden: bool = False) -> Iterator[tuple[str, Any]]:
    command, ctx = root()
    for noun in NOUNS:
        found = command.get_command(ctx, noun)
        verbs = getattr(found, "commands", None)
        if verbs is None:
            yield noun, found
        else:
            yield from ((f"{noun} {verb}", one) for verb, one in verbs.items() if hidden or not one.hidden)


def test_every_command_is_described_with_its_arguments_and_options() -> None:
    described = {}
    for row in re.findall(r"^\| `([^`]+)` \| (.*) \| (.*) \|$", section("Commands"), re.MULTILINE):
        signature = row[0].replace("\\|", "|")
        name = " ".join(word for word in signature.split() if not re.match(r"[\[A-Z]", word))
        described[name] = (signature, row[1].replace("\\|", "|"), set(re.findall(r"--[\w-]+", row[2])))
    real = {}
    for name, command in commands():
        arguments = [
            argument.metavar if argument.required else f"[{argument.metavar}]"
            for argument in command.params
            if argument.param_type_name == "argument"
        ]
        options = {
            option
            for parameter in command.params
            if parameter.param_type_name == "option" and parameter.name != "help"
            for option in (*parameter.opts, *parameter.secondary_opts)
            if option.startswith("--")
        }
        real[name] = (" ".join([name, *arguments]), " ".join(command.help.split()), options)
    assert described == real


def test_exit_codes_aliases_settings_and_options_are_those_of_the_program() -> None:
    codes = dict(re.findall(r"^\| (\d+) \| (.*?) \|", section("Exit codes"), re.MULTILINE))
    assert codes == {str(int(code)): meaning for code, meaning in MEANING.items()}
    for kind, code in EXIT_CODES.items():
        assert re.search(rf"^\| {int(code)} \|.*`{kind.__name__}`", section("Exit codes"), re.MULTILINE), kind
    aliases = dict(re.findall(r"^\| `(\w+)` \| `([\w -]+)` \|", section("Short forms"), re.MULTILINE))
    assert aliases == {alias: " ".join(target) for alias, target in ALIASES.items()}
    settings = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*) \|", section("Settings"), re.MULTILINE)
    assert settings == [(key, f"{config.PREFIX}{key.upper()}", meaning) for key, meaning in config.KEYS.items()]
    options = re.findall(r"^\| `(.*)` \| (.*) \|", section("Options of every command"), re.MULTILINE)
    assert options == list(GLOBAL_OPTIONS)
    assert f"`schema_version` is {SCHEMA_VERSION}." in section("Output")


@pytest.mark.parametrize("name", [name for name, _ in commands()] + list(ALIASES))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: ")
    assert "-h, --help" in said


def test_the_overview_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for word in (*NOUNS, *ALIASES, *(option for option, _ in GLOBAL_OPTIONS)):
        assert f"  {word}" in said
    assert max(len(line) for line in said.splitlines()) <= 100


def test_every_command_that_the_package_tells_people_to_type_exists() -> None:
    names = {name for name, _ in commands(hidden=True)}
    first_words = {*NOUNS, *ALIASES}
    singles = {name for name in names if " " not in name} | set(ALIASES)
    unknown = []
    for path in sorted((ROOT / "sentinelzer0").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for noun, verb in re.findall(r"\b(?:sentinelzer0|sz0) ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", text):
            if noun in first_words - singles and verb and f"{noun} {verb}" not in names:
                unknown.append(f"{path.name}: {noun} {verb}")
            elif noun not in first_words and re.search(rf"(?:Run|Use|run|[:`])\s*(?:sentinelzer0|sz0) {noun}\b", text):
                unknown.append(f"{path.name}: {noun}")
    assert not unknown
