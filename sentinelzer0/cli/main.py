"""The entry point: global options anywhere on the line, lazily loaded commands, errors as sentences and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinelzer0.cli.commands import ALIASES, NOUNS
from sentinelzer0.cli.exit_codes import ExitCode, exit_code_of
from sentinelzer0.cli.help import ReaderGoneError, Verbs, overview, wants_colour
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import SCHEMA_VERSION, Session, print_json
from sentinelzer0.errors import InvalidInputError, SentinelError
from sentinelzer0.mlops import __version__

NAMES = ("sentinelzer0", "sz0")
_WITH_VALUE = {
    "-w": "workspace",
    "--workspace": "workspace",
    "--model": "model",
    "--environment": "environment",
    "--actor": "actor",
    "-o": "output",
    "--output": "output",
}
_WITHOUT_VALUE = {"-q": "quiet", "--quiet": "quiet", "--no-color": "no_color"}
# The parent classes of typer's BadParameter: its parser's usage error, and the base of all its errors.
UsageError: Any = typer.BadParameter.__mro__[1]
ParserError: Any = typer.BadParameter.__mro__[2]


class Root(Verbs):
    """All nouns and short forms; each loads when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the parser's interface
        """Return what can be typed first."""
        return [*NOUNS, *ALIASES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a noun's commands, or the command a short form stands for."""
        if cmd_name in ALIASES:
            noun, verb = ALIASES[cmd_name]
            return self._noun(noun).get_command(ctx, verb)
        return self._noun(cmd_name) if cmd_name in NOUNS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or say what comes close."""
        if args and not args[0].startswith("-") and args[0] not in NOUNS and args[0] not in ALIASES:
            close = get_close_matches(args[0], self.list_commands(ctx))
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the overview."""
        ctx.color = wants_colour(sys.stdout, os.environ, refused=ctx.obj.no_color)
        return overview(colour=ctx.color).rstrip("\n")

    def _noun(self, name: str) -> Any:
        application = load(f"sentinelzer0.cli.{NOUNS[name].module}").app
        command = typer.main.get_command(application)
        command.name = name
        return command


app = typer.Typer(
    cls=Root,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, typer.Option("--version")] = False) -> None:
    """Show the version."""
    if version:
        sys.stdout.write(f"sentinelzer0 {__version__}\n")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What follows the name of the program; None takes them from ``sys.argv``.
    """
    with _alerts():
        return _guarded(Session(), list(sys.argv[1:] if arguments is None else arguments))


@contextmanager
def _alerts() -> Iterator[None]:
    """Show on stderr what this package logs as an error, and leave the caller's logging as it was."""
    log, handler = logging.getLogger("sentinelzer0"), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(logging.Formatter("alert: %(message)s"))
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


def _guarded(session: Session, arguments: list[str]) -> int:
    try:
        return _run(session, arguments)
    except ParserError as error:
        return _report(session, error.format_message(), _usage_hint(error), "usage", ExitCode.USAGE)
    except SentinelError as error:
        return _report(session, error.message, error.hint, error.code, exit_code_of(error))
    except (BrokenPipeError, ReaderGoneError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return ExitCode.OK
    except (KeyboardInterrupt, typer.Abort):
        return _report(session, "Stopped.", "", "interrupted", ExitCode.INTERRUPTED)
    except OSError as error:
        return _report(session, _disk_message(error), "", "os_error", exit_code_of(error))
    except Exception as error:  # noqa: BLE001 - the edge: whatever happens, a person gets a sentence
        if os.environ.get("SENTINELZER0_DEBUG"):
            traceback.print_exc()
        hint = "This is a defect. SENTINELZER0_DEBUG=1 shows where; please report it."
        return _report(session, f"{type(error).__name__}: {error}", hint, "defect", ExitCode.FAILURE)


def separated(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the global options, which may stand anywhere before ``--``, and what is left.

    Raises:
        InvalidInputError: One that needs a value has none.
    """
    given: dict[str, str] = {}
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        flag, equals, value = argument.partition("=")
        if argument == "--":
            return given, [*rest, argument, *remaining]
        if argument in _WITHOUT_VALUE:
            given[_WITHOUT_VALUE[argument]] = "yes"
        elif flag in _WITH_VALUE:
            found = value if equals else next(remaining, "")
            if not found:
                raise InvalidInputError(f"{flag} needs a value.", hint="See: sz0 --help")
            given[_WITH_VALUE[flag]] = found
        else:
            rest.append(argument)
    return given, rest


def _run(session: Session, arguments: list[str]) -> int:
    program = Path(sys.argv[0]).name
    program = program if program in NAMES else NAMES[0]
    if f"_{program.upper()}_COMPLETE" in os.environ:
        load("typer.completion").completion_init()
    else:
        given, arguments = separated(arguments)
        session.configure(given)
    code = typer.main.get_command(app).main(arguments, prog_name=program, standalone_mode=False, obj=session)
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.OK


def _disk_message(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{said}." if error.filename is None else f"{said}: {error.filename}."


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f"See: {context.command_path} --help"


def _report(session: Session, message: str, hint: str, code: str, exit_code: int) -> int:
    """Write an error to stderr, as JSON where the output is, and return its exit code."""
    try:
        machine = session.output in ("json", "jsonl")
    except SentinelError:  # the settings themselves are what is wrong
        machine = False
    if machine:
        error = {"code": code, "message": message, "hint": hint, "exit_code": int(exit_code)}
        print_json({"schema_version": SCHEMA_VERSION, "error": error}, stream=sys.stderr)
        return exit_code
    colour = wants_colour(sys.stderr, os.environ, refused=session.no_color)
    red, strong, off = ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") if colour else ("", "", "")
    sys.stderr.write(f"{red}error:{off} {message}\n")
    if hint:
        sys.stderr.write(f"{strong} next:{off} {hint}\n")
    return exit_code
