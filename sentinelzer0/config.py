"""Settings and where each came from: flag, environment, file or default, in this order.

The files are ``sentinelzer0.toml``, then ``[tool.sentinelzer0]`` of ``pyproject.toml``, both in the current directory
only, then ``sentinelzer0/config.toml`` in the user's configuration directory (``$XDG_CONFIG_HOME``, or ``~/.config``).
A relative ``workspace`` in a file is meant from that file's directory; an unknown key is an error.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinelzer0.errors import InvalidInputError

PREFIX = "SENTINELZER0_"
FILE = "sentinelzer0.toml"
OUTPUTS = ("table", "json", "jsonl", "quiet")
KEYS = {
    "workspace": "directory or postgresql:// address of the workspace",
    "model": "the model whose versions are meant",
    "environment": "the environment whose traffic is meant",
    "actor": "who acts, as written into the audit log",
    "output": f"how results are written: {', '.join(OUTPUTS)}",
    "metric": "the metric shown in lists; empty takes the first known one a version reports",
    "retention_days": "after how many days outcomes prune deletes raw outcomes; empty keeps them",
}
_DEFAULTS = {
    "workspace": "models",
    "model": "default",
    "environment": "production",
    "output": "table",
    "metric": "",
    "retention_days": "",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        key: Its name.
        value: Its value.
        origin: ``flag``, the environment variable, the file, ``default`` or ``login name``.
    """

    key: str
    value: str
    origin: str

    def to_dict(self) -> dict[str, str]:
        """Return JSON values."""
        return {"key": self.key, "value": self.value, "origin": self.origin}


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting in force.

    Attributes:
        settings: By key.
    """

    settings: dict[str, Setting]

    def __getitem__(self, key: str) -> str:
        return self.settings[key].value


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    directory: Path | None = None,
) -> Config:
    """Return the settings in force.

    Args:
        flags: Values of the command line; None means not given.
        environ: The environment.
        directory: Where the project's files are looked for; the current directory when None.

    Raises:
        InvalidInputError: A file is not TOML, has an unknown key, or a value that is not allowed.
    """
    found = {key: Setting(key, value, "default") for key, value in _DEFAULTS.items()}
    found["actor"] = Setting("actor", _login_name(), "login name")
    for source in reversed(list(_files(environ, directory or Path()))):
        found |= source
    for key in KEYS:
        name = PREFIX + key.upper()
        if environ.get(name):
            found[key] = Setting(key, environ[name], f"environment variable {name}")
    for key, value in (flags or {}).items():
        if value is not None:
            found[key] = Setting(key, value, "flag")
    output = found["output"]
    if output.value not in OUTPUTS:
        raise InvalidInputError(
            f"output is {output.value!r} ({output.origin}).", hint=f"Use one of: {', '.join(OUTPUTS)}."
        )
    return Config({key: found[key] for key in KEYS})


def user_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's own settings are looked for."""
    base = environ.get("XDG_CONFIG_HOME") or ""
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME") or "~").expanduser() / ".config"
    return root / "sentinelzer0" / "config.toml"


def _files(environ: Mapping[str, str], directory: Path) -> Iterator[dict[str, Setting]]:
    """Yield the settings of every file there is, strongest first."""
    yield _read(directory / FILE, directory / FILE, ())
    yield _read(
        directory / "pyproject.toml", f"{directory / 'pyproject.toml'} [tool.sentinelzer0]", ("tool", "sentinelzer0")
    )
    mine = user_file(environ)
    yield _read(mine, mine, ())


def _read(path: Path, origin: str | Path, tables: tuple[str, ...]) -> dict[str, Setting]:
    try:
        content: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(f"The settings in {path} cannot be read: {error}.", hint="Mend the file.") from error
    for table in tables:
        content = content.get(table, {}) if isinstance(content, Mapping) else {}
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"{origin} is not a table of settings.", hint='Write: key = "value".')
    return {key: _setting(key, value, path, str(origin)) for key, value in content.items()}


def _setting(key: str, value: Any, path: Path, origin: str) -> Setting:
    if key not in KEYS:
        raise InvalidInputError(f"{origin} has an unknown setting {key!r}.", hint=f"Known settings: {', '.join(KEYS)}.")
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"{key} in {origin} is {value!r}.", hint=f'Write text: {key} = "…".')
    if key == "workspace" and "://" not in value:
        value = str(path.parent / Path(value).expanduser())
    return Setting(key, value, origin)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in some containers
        return "unknown"
