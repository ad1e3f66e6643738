"""``versions pull``: copy a version out of the workspace, checked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from sentinelzer0.cli import options, values
from sentinelzer0.cli.blocks import good, line, name
from sentinelzer0.cli.session import Session
from sentinelzer0.errors import AlreadyExistsError, IntegrityError

if TYPE_CHECKING:
    from sentinelzer0.mlops.integrity import VerifiedModel

_CHUNK = 1 << 20


def pull(
    ctx: typer.Context,
    version: options.Version,
    destination: Annotated[Path, typer.Argument(metavar="DESTINATION", help="A new file or directory.")],
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Read the copy back and compare its digest too.")] = False,
) -> None:
    """Copy a version out of the workspace; what is stored is always hashed before it is written."""
    session: Session = ctx.obj
    if destination.exists() or destination.is_symlink():
        raise AlreadyExistsError(f"{str(destination)!r} exists already.", hint="Name a new file or directory.")
    with session.workspace() as workspace:
        beside = destination.with_name(f".{destination.name}.partial")
        try:
            with (
                workspace.versions.open_verified(version, model=session.model) as content,
                session.progress(f"pulling {version}") as advance,
            ):
                size = _copy(content, beside, advance)
                if verify:
                    _check(content, beside)
            beside.rename(destination)
        finally:
            if beside.is_dir():
                shutil.rmtree(beside)
            beside.unlink(missing_ok=True)
    data = {"version": version, "path": str(destination), "bytes": size, "sha256": content.digest, "read_back": verify}
    session.emit(
        data,
        lambda: [line(good("✓ "), name(version), f" pulled to {destination}, {values.size(size)}, digest verified")],
        names=[str(destination)],
    )


def _copy(content: VerifiedModel, target: Path, advance: Callable[[int, int], None] | None) -> int:
    if content.manifest is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _write(content.open, target, advance, 0, 0)
    total = sum(entry.size for entry in content.manifest.entries)
    done = 0
    for entry in content.manifest.entries:
        path = target / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        done += _write(partial(content.open, entry.path), path, advance, done, total)
        if entry.executable:
            path.chmod(path.stat().st_mode | 0o111)
    return done


def _write(
    source: Callable[[], BinaryIO], target: Path, advance: Callable[[int, int], None] | None, before: int, total: int
) -> int:
    written = 0
    with source() as stream, target.open("xb") as output:
        while block := stream.read(_CHUNK):
            output.write(block)
            written += len(block)
            if advance is not None:
                advance(before + written, max(total, before + written))
    return written


def _check(content: VerifiedModel, target: Path) -> None:
    members = {target: content.digest}
    if content.manifest is not None:
        members = {target / entry.path: entry.sha256 for entry in content.manifest.entries}
    for path, digest in members.items():
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise IntegrityError(
                    f"{path.name} reads back differently from what was written.", hint="Check the disk."
                )
