"""Help texts: the overview of all commands, and typer's help of one command with a little emphasis.

Typer's own rich help loads for over half a second; this costs nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sentinelzer0.cli.coercion import lighten
from sentinelzer0.cli.commands import ALIASES, CARE, FLOW, GLOBAL_OPTIONS

_WIDTH = 22
_HEADING = re.compile(r"^([A-Z][\w ]*:)(?=$| )", re.MULTILINE)
_NAME = re.compile(r"^(  )((?:-{1,2}[\w-]+|[\w\[\]-]+)(?:(?:, | / )-{1,2}[\w-]+)*)(?=  |\n| [A-Z<\[])", re.MULTILINE)
_BOLD, _CYAN, _DIM, _OFF = "\x1b[1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"


def wants_colour(stream: Any, environ: Mapping[str, str], *, refused: bool = False) -> bool:
    """Return whether a stream gets colours: NO_COLOR and ``--no-color`` refuse, FORCE_COLOR insists."""
    if refused or environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return bool(stream.isatty()) and environ.get("TERM") != "dumb"


def overview(*, colour: bool) -> str:
    """Return the help of the command itself: every noun, every alias, every global option."""
    heading, name, off = (_BOLD, _CYAN, _OFF) if colour else ("", "", "")
    lines = [
        f"{heading}Usage:{off} sz0 [OPTIONS] NOUN VERB [ARGS]...",
        "",
        "  Takes a detection model from training to production, proves what was live, and brings it back.",
    ]
    aliases = [(alias, " ".join(target)) for alias, target in ALIASES.items()]
    sections = (
        ("The flow", [(noun.name, noun.summary) for noun in FLOW]),
        ("Care", [(noun.name, noun.summary) for noun in CARE]),
        ("Short forms", [(alias, f"= {target}") for alias, target in aliases]),
        ("Options, before or after the verb", list(GLOBAL_OPTIONS)),
    )
    for title, rows in sections:
        lines += ["", f"{heading}{title}:{off}"]
        lines += [f"  {name}{left:<{_WIDTH}}{off}  {right}" for left, right in rows]
    lines += ["", "  Begin: sz0 demo, or sz0 versions create FILE. More on a noun: sz0 versions --help"]
    return "\n".join(lines) + "\n"


def painted(text: str, *, colour: bool) -> str:
    """Return typer's plain help with emphasised headings and names."""
    if not colour:
        return text
    text = _HEADING.sub(rf"{_BOLD}\1{_OFF}", text)
    return _NAME.sub(rf"\1{_CYAN}\2{_OFF}", text)


class ReaderGoneError(Exception):
    """Whoever read our output has seen enough; typer would turn the broken pipe itself into a failure."""


class Verb(TyperCommand):
    """A command with readable help and quick arguments."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with quick conversions."""
        return lighten(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        """Return the help text, painted when the terminal takes colours."""
        return painted(super().get_help(ctx), colour=_decide_colour(ctx))

    def get_help_option_names(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the parser's interface
        """Return what asks for help."""
        return ["-h", "--help"]

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - the list of verbs wraps, it need not cut
        """Return what a list of verbs says: the first half of the sentence."""
        return re.split(r"[;:.]", self.help or "", maxsplit=1)[0]

    def invoke(self, ctx: Any) -> Any:
        """Run the command, once the session knows by its full name which one it is."""
        typed = ctx.command_path.split()[1:]
        ctx.obj.command = " ".join(ALIASES.get(typed[0], typed)) if typed else self.name
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error


class Verbs(TyperGroup):
    """A noun; without a verb it shows its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with quick conversions."""
        return lighten(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        """Return the help text, painted when the terminal takes colours."""
        return painted(super().get_help(ctx), colour=_decide_colour(ctx))

    def get_help_option_names(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the parser's interface
        """Return what asks for help."""
        return ["-h", "--help"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help instead of complaining when no verb is given."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)


def noun(summary: str, *, cls: type[Verbs] = Verbs) -> typer.Typer:
    """Return an empty application for the verbs of a noun."""
    return typer.Typer(
        cls=cls,
        help=summary,
        callback=_nothing,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def single() -> typer.Typer:
    """Return an empty application for a noun that is a command itself."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _nothing() -> None:
    """Make typer keep a noun although it has one verb only."""


def _decide_colour(ctx: Any) -> bool:
    """Decide about colours for this help, and keep the parser from stripping them where they are insisted on."""
    ctx.color = wants_colour(sys.stdout, os.environ, refused=bool(getattr(ctx.obj, "no_color", False)))
    return bool(ctx.color)
