"""Settings: who wins, where each comes from, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinelzer0 import config
from sentinelzer0.errors import InvalidInputError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "LOGNAME": "ayse"}


def user_settings(environ: dict[str, str], text: str) -> None:
    path = config.user_file(environ)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def test_nothing_given_gives_the_defaults(project: Path, environ: dict[str, str]) -> None:
    found = config.load(environ=environ, directory=project)
    assert {key: found[key] for key in ("workspace", "model", "environment", "output")} == {
        "workspace": "models",
        "model": "default",
        "environment": "production",
        "output": "table",
    }
    assert {setting.origin for setting in found.settings.values()} == {"default", "login name"}
    assert set(found.settings) == set(config.KEYS)


def test_the_nearer_source_wins_and_is_named(project: Path, environ: dict[str, str]) -> None:
    """Each step adds a stronger source for the same key."""
    steps = [lambda: user_settings(environ, 'actor = "user file"\nmodel = "mine"\n')]
    steps += [lambda: (project / "pyproject.toml").write_text('[tool.sentinelzer0]\nactor = "pyproject"\n')]
    steps += [lambda: (project / "sentinelzer0.toml").write_text('actor = "project file"\n')]
    steps += [lambda: environ.update(SENTINELZER0_ACTOR="environment")]
    expected = [
        ("user file", str(config.user_file(environ))),
        ("pyproject", f"{project / 'pyproject.toml'} [tool.sentinelzer0]"),
        ("project file", str(project / "sentinelzer0.toml")),
        ("environment", "environment variable SENTINELZER0_ACTOR"),
    ]
    for step, (value, origin) in zip(steps, expected, strict=True):
        step()
        setting = config.load(environ=environ, directory=project).settings["actor"]
        assert (setting.value, setting.origin) == (value, origin)
    flagged = config.load({"actor": "flag", "model": None}, environ=environ, directory=project)
    assert (flagged["actor"], flagged.settings["actor"].origin) == ("flag", "flag")
    assert flagged["model"] == "mine", "a flag that was not given hides nothing"


def test_a_workspace_in_a_file_is_meant_from_that_file(project: Path, environ: dict[str, str]) -> None:
    (project / "sentinelzer0.toml").write_text('workspace = "data/models"\n')
    assert config.load(environ=environ, directory=project)["workspace"] == str(project / "data/models")
    (project / "sentinelzer0.toml").write_text('workspace = "postgresql://host/db?blobs=/b"\n')
    assert config.load(environ=environ, directory=project)["workspace"] == "postgresql://host/db?blobs=/b"


def test_the_user_file_is_where_xdg_says(environ: dict[str, str]) -> None:
    assert config.user_file(environ) == Path(environ["HOME"]) / ".config/sentinelzer0/config.toml"
    environ["XDG_CONFIG_HOME"] = "/somewhere"
    assert config.user_file(environ) == Path("/somewhere/sentinelzer0/config.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('wokspace = "x"', "unknown setting 'wokspace'"),
        ("workspace = 3", "workspace in .* is 3"),
        ('model = ""', "model in .* is ''"),
        ("workspace = ", "cannot be read"),
        ('output = "xml"', "output is 'xml'"),
    ],
)
def test_what_cannot_be_meant_is_refused(project: Path, environ: dict[str, str], text: str, message: str) -> None:
    (project / "sentinelzer0.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        config.load(environ=environ, directory=project)
    assert caught.value.hint


def test_somebody_elses_pyproject_says_nothing_about_us(project: Path, environ: dict[str, str]) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 100\n')
    assert config.load(environ=environ, directory=project)["workspace"] == "models"
    (project / "pyproject.toml").write_text("[tool]\nsentinelzer0 = 3\n")
    with pytest.raises(InvalidInputError, match="not a table"):
        config.load(environ=environ, directory=project)
