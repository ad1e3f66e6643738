"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Version = Annotated[str, typer.Argument(metavar="VERSION", help="Name of the version.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays on record.")]
RequiredReason = Annotated[str, typer.Option("--reason", help="Why; it stays on record.", show_default=False)]
Notes = Annotated[str, typer.Option("--notes", help="Remarks; they stay on record.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Rows a page.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Where the page begins: the end of the one before.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", help="A word to find it by; repeat for more.")]
Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY")]
