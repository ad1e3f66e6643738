"""One run of the command: its settings, how it writes, how it asks, and the workspace it opens."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sentinelzer0 import config
from sentinelzer0.cli.blocks import Block, Line, Marked, Piece, dim, line
from sentinelzer0.cli.help import wants_colour
from sentinelzer0.cli.lazy import load
from sentinelzer0.errors import InvalidInputError, NotFoundError, VersionNotFoundError

if TYPE_CHECKING:
    from sentinelzer0.mlops.deployments import Deployments
    from sentinelzer0.mlops.version_manager import ModelVersion
    from sentinelzer0.workspace import Workspace

Item = TypeVar("Item")
SHORTEST_ID = 4
"""Fewer characters do not stand for an id."""
SCHEMA_VERSION = 1
"""Version of the JSON output: raised when a field changes its meaning or goes away, not when one is added."""
ASCII = str.maketrans("▲▼●◐○◌→✓✗…─│└├·≥±⌫\N{EN DASH}▁▂▃▄▅▆▇█", "^v*o.x>+x.-|`|.>~<-_.-~=+*#")


class Session:
    """The state of one run; the settings are read when the first one is asked for.

    Attributes:
        no_color: Whether ``--no-color`` was given.
        quiet: Whether nothing but data is written.
        command: The command that runs, as ``noun verb``.
    """

    def __init__(self) -> None:
        self.no_color = False
        self.quiet = False
        self.command = ""
        self._flags: dict[str, str | None] = {}

    def configure(self, given: Mapping[str, str]) -> None:
        """Take over the global options; ``--quiet`` alone means ``--output quiet``."""
        self._flags = {key: value for key, value in given.items() if key in config.KEYS}
        self.no_color = "no_color" in given
        self.quiet = "quiet" in given
        if self.quiet:
            self._flags.setdefault("output", "quiet")

    @cached_property
    def config(self) -> config.Config:
        """The settings in force.

        Raises:
            InvalidInputError: A file of settings, or a value in it, cannot be meant.
        """
        return config.load(self._flags)

    def setting(self, key: str) -> str:
        """Return a setting."""
        return self.config[key]

    def write_json(self) -> None:
        """Write results as JSON from now on, whatever was asked for before."""
        self._flags["output"] = "json"
        self.__dict__.pop("config", None)

    @property
    def output(self) -> str:
        """How results are written: table, json, jsonl or quiet."""
        return self.setting("output")

    @property
    def actor(self) -> str:
        """Who acts."""
        return self.setting("actor")

    @property
    def model(self) -> str:
        """The model meant."""
        return self.setting("model")

    @property
    def environment(self) -> str:
        """The environment meant."""
        return self.setting("environment")

    @contextmanager
    def workspace(self, *, create: bool = False) -> Iterator[Workspace]:
        """Open the workspace; only a command that is about to put something into it creates one.

        Raises:
            NotFoundError: There is none, and ``create`` is not set.
        """
        location = self.setting("workspace")
        if "://" not in location and Path(location).exists() and not Path(location).is_dir():
            raise InvalidInputError(f"{location!r} is a file; a workspace is a directory.", hint="Name a directory.")
        if not create:
            check_exists(location)
        with load("sentinelzer0.workspace").Workspace.open(location) as opened:
            yield opened

    def deployments(self, workspace: Workspace) -> Deployments:
        """Return the deployments of the model meant."""
        return type(workspace.deployments)(workspace.kernel, self.model)

    def emit(
        self,
        data: Any,
        show: Callable[[], Iterable[Block]],
        *,
        names: Sequence[str] = (),
        next_cursor: str | None = None,
    ) -> None:
        """Write a result to stdout in the form asked for.

        Args:
            data: JSON values: a list of items, or one item.
            show: Builds what a person sees.
            names: What ``quiet`` writes, one a line.
            next_cursor: Where the next page begins, None when there is none.
        """
        if self.output == "json":
            envelope = {"schema_version": SCHEMA_VERSION, "command": self.command, "data": data}
            envelope |= {"next_cursor": next_cursor} if isinstance(data, list) else {}
            print_json(envelope, indent=2 if sys.stdout.isatty() else None)
        elif self.output == "jsonl":
            for item in data if isinstance(data, list) else [data]:
                print_json(item)
        elif self.output == "quiet":
            sys.stdout.writelines(f"{name}\n" for name in names)
        else:
            self._show(show(), sys.stdout)
            if next_cursor is not None:
                self.remark(line(dim(f"There is more: add --cursor {next_cursor}, or --limit for longer pages.")))

    def remark(self, *blocks: Line) -> None:
        """Say something beside the data: on stderr, and never in quiet or machine-readable output."""
        if self.output == "table" and not self.quiet:
            self._show(blocks, sys.stderr)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None] | None]:
        """Show a bar on a terminal while bytes are read or written; yields None where nobody would see it."""
        if self.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield None
            return
        with load("sentinelzer0.cli.render").progress_bar(self._console(sys.stderr), label) as advance:
            yield advance

    @contextmanager
    def screen(self) -> Iterator[Callable[[Iterable[Block]], None] | None]:
        """Draw a page in place on a terminal; yields None where nobody would see it move."""
        if self.output != "table" or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            yield None
            return
        with load("sentinelzer0.cli.render").screen(self._console(sys.stdout)) as draw:
            yield lambda blocks: draw([self._here(block) for block in blocks])

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask once before what cannot be undone.

        Raises:
            InvalidInputError: Nobody can be asked and ``--yes`` was not given, or the answer is no.
        """
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidInputError(f"{question} Nobody is here to answer.", hint="Add --yes to go ahead.")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            raise InvalidInputError("Not confirmed; nothing was changed.")

    @staticmethod
    def page(
        items: Sequence[Item], ids: Sequence[str], limit: int, cursor: str | None
    ) -> tuple[list[Item], str | None]:
        """Return the page behind ``cursor``, and the next page's cursor or None.

        Args:
            items: Everything there is.
            ids: What the cursor names, one for each item.
            limit: Rows a page.
            cursor: Id of the last item of the page before.

        Raises:
            NotFoundError: The cursor names nothing.
        """
        start = 0
        if cursor is not None:
            if cursor not in ids:
                raise NotFoundError(f"The cursor {cursor!r} names nothing here.", hint="Start without --cursor.")
            start = list(ids).index(cursor) + 1
        end = start + limit
        return list(items[start:end]), ids[end - 1] if end < len(items) else None

    @staticmethod
    def full_id(typed: str, candidates: Iterable[Any], attribute: str = "request_id") -> str:
        """Return the one id that begins or ends as typed; what is typed when there is none.

        Raises:
            InvalidInputError: Several do.
        """
        ids = [str(getattr(item, attribute)) for item in candidates]
        found = [one for one in ids if one == typed] or [
            one for one in ids if len(typed) >= SHORTEST_ID and (one.startswith(typed) or one.endswith(typed))
        ]
        if len(found) > 1:
            raise InvalidInputError(f"{typed!r} fits {', '.join(found)}.", hint="Type more of it.")
        return found[0] if found else typed

    def _show(self, blocks: Iterable[Block], stream: Any) -> None:
        render = load("sentinelzer0.cli.render")
        render.show((self._here(block) for block in blocks), self._console(stream))

    def _here(self, block: Block) -> Block:
        """Return a block whose commands name the workspace and the model that this one was told to use."""
        if not (isinstance(block, Line) and block.whole):
            return block
        given = {key: self._flags[key] for key in ("workspace", "model", "environment") if self._flags.get(key)}
        pieces: list[Piece] = []
        for piece in block.pieces:
            if isinstance(piece, Marked) and piece.text.startswith("sz0 "):
                said = [
                    f"--{key} {shlex.quote(str(value))}"
                    for key, value in given.items()
                    if f"--{key} " not in piece.text
                ]
                pieces.append(Marked(" ".join(["sz0", *said, piece.text.removeprefix("sz0 ")]), piece.mark))
            else:
                pieces.append(piece)
        return Line(tuple(pieces), block.indent, block.whole)

    def _console(self, stream: Any) -> Any:
        columns = os.environ.get("COLUMNS", "")
        colour = wants_colour(stream, os.environ, refused=self.no_color)
        return load("sentinelzer0.cli.render").console_for(
            Encodable(stream),
            colour=colour,
            terminal=stream.isatty(),
            width=int(columns) if columns.isdigit() else None,
        )


TRAILING = re.compile(r" +(?=\n)")


class Encodable:
    """A text stream that spells in ASCII what its encoding has no character for."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text without blanks at line ends, replaced where it cannot be encoded."""
        text = TRAILING.sub("", text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(ASCII).encode(encoding, "replace").decode(encoding)
        self._stream.write(text)
        return len(text)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._stream, attribute)


def print_json(value: Any, indent: int | None = None, stream: Any = None) -> None:
    """Write one JSON value and a line end, to stdout by default; names stay readable, whatever the encoding."""
    stream = stream or sys.stdout
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    stream.write(text + "\n")


def check_exists(location: str) -> None:
    """Accept a location that holds a workspace, without making one.

    Raises:
        NotFoundError: There is none.
    """
    if "://" in location:
        return
    root = Path(location)
    layout = load("sentinelzer0.kernel").Layout(root)
    # What the kernel refuses with an explanation is for the kernel to explain; all it would create is told here.
    if layout.database.exists() or layout.unfinished_import.exists() or layout.holds_blobs() or layout.legacy_traces():
        return
    where = "here" if location == "models" else f"at {location}"
    raise NotFoundError(
        f"There is no workspace {where}: {root.absolute()} holds none.",
        hint="Create one with its first version: sentinelzer0 versions create FILE; or name another with --workspace.",
    )


def require(workspace: Workspace, version: str, model: str) -> ModelVersion:
    """Return a version.

    Raises:
        VersionNotFoundError: There is none of this name.
    """
    found = workspace.versions.get_version(version, model=model)
    if found is None:
        workspace.versions.lineage(version, model=model)  # says whether it never was or is no more
        raise VersionNotFoundError(f"There is no version {version!r}.", hint="List them: sz0 list")
    return found
