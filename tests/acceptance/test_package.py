"""What is published works: a wheel built from the sdist holds everything it needs and passes the acceptance script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from sentinelzer0.mlops import __version__

ROOT = Path(__file__).resolve().parents[2]
ACCEPTANCE = Path(__file__).with_name("test_phase_2_2_mlops.py")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command; return what it printed, or fail with it."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the sdist and the wheel built from it, offline."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


def test_the_sdist_is_source_only(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in names if not name.startswith("sentinelzer0/")} == {
        *(".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml")
    }
    assert path.stat().st_size < 1_000_000


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    in_tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sentinelzer0").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == in_tree
    assert "sentinelzer0/py.typed" in names
    assert any("/migrations/" in name for name in names)


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        says = message_from_string(archive.read(metadata).decode())
        (commands,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        entry_points = archive.read(commands).decode()
    assert (says["Version"], says["License-Expression"]) == (__version__, "Apache-2.0")
    assert "sz0 = sentinelzer0.cli.main:main" in entry_points
    base = {line for line in says.get_all("Requires-Dist") if "extra ==" not in line}
    assert {re.match(r"[\w-]+", line).group() for line in base} == {
        *("alembic", "cryptography", "rich", "sqlalchemy", "typer", "xxhash")
    }


def test_the_installed_wheel_passes_the_acceptance_script(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    run(*pip, "--target", installed, wheel, cwd=tmp_path)
    script = tmp_path / ACCEPTANCE.name
    script.write_bytes(ACCEPTANCE.read_bytes())

    where = run(
        sys.executable,
        "-c",
        "import sentinelzer0; print(sentinelzer0.__file__)",
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert Path(where.strip()).is_relative_to(installed), "the wheel is under test, not the checkout"
    assert run(sys.executable, script, cwd=tmp_path, PYTHONPATH=str(installed)).rstrip().endswith("5/5 tests passed")
