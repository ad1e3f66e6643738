"""The entry point: global options anywhere on the line, lazily loaded commands, errors as sentences and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinelzer0.cli.commands import ALIASES, NOUNS
from sentinelzer0.cli.exit_codes import ExitCode, exit_code_of
from sentinelzer0.cli.help import Verbs, overview, wants_colour
from sentinelzer0.cli.lazy import load
from sentinelzer0.cli.session import SCHEMA_VERSION, Session, print_json
from sentinelzer0.errors import SentinelError
from sentinelzer0.mlops import __version__

NAMES = ("sentinelzer0", "sz0")
_WITH_VALUE = ("-w", "--workspace", "--model", "--environment", "--actor", "-o", "--output")
_WITHOUT_VALUE = ("-q", "--quiet", "--no-color")
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
            hint = f" Did you mean {' or '.join(close)}?" if close else " See: sz0 --help"
            raise UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the overview."""
        return overview(colour=wants_colour(sys.stdout, os.environ, refused=ctx.obj.no_color)).rstrip("\n")

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
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    *,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    environment: Annotated[str | None, typer.Option()] = None,
    actor: Annotated[str | None, typer.Option()] = None,
    output: Annotated[str | None, typer.Option("--output", "-o")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
    no_color: Annotated[bool, typer.Option("--no-color")] = False,
    version: Annotated[bool, typer.Option("--version")] = False,
) -> None:
    """Read the global options."""
    if version:
        sys.stdout.write(f"sentinelzer0 {__version__}\n")
        raise typer.Exit
    flags = {"workspace": workspace, "model": model, "environment": environment, "actor": actor, "output": output}
    ctx.obj.configure(flags, quiet=quiet, no_color=no_color)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What follows the name of the program; None takes them from ``sys.argv``.
    """
    session = Session()
    try:
        return _run(session, list(sys.argv[1:] if arguments is None else arguments))
    except ParserError as error:
        return _report(session, error.format_message(), _usage_hint(error), "usage", ExitCode.USAGE)
    except SentinelError as error:
        return _report(session, error.message, error.hint, error.code, exit_code_of(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return ExitCode.OK
    except (KeyboardInterrupt, typer.Abort):
        return _report(session, "Stopped.", "", "interrupted", ExitCode.INTERRUPTED)
    except OSError as error:
        return _report(session, f"{error.strerror or error}: {error.filename}.", "", "os_error", exit_code_of(error))
    except Exception as error:  # noqa: BLE001 - the edge: whatever happens, a person gets a sentence
        if os.environ.get("SENTINELZER0_DEBUG"):
            traceback.print_exc()
        hint = "This is a defect. SENTINELZER0_DEBUG=1 shows where; please report it."
        return _report(session, f"{type(error).__name__}: {error}", hint, "defect", ExitCode.FAILURE)


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the global options first, so that they may stand anywhere before ``--``."""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            return [*first, *rest, argument, *remaining]
        flag = argument.partition("=")[0]
        if argument in _WITHOUT_VALUE or (flag in _WITH_VALUE and "=" in argument):
            first.append(argument)
        elif argument in _WITH_VALUE:
            first += [argument, *[value for value in [next(remaining, None)] if value is not None]]
        else:
            rest.append(argument)
    return [*first, *rest]


def _run(session: Session, arguments: list[str]) -> int:
    program = Path(sys.argv[0]).name
    program = program if program in NAMES else NAMES[0]
    if f"_{program.upper()}_COMPLETE" in os.environ:
        load("typer.completion").completion_init()
    else:
        arguments = hoisted(arguments)
        session.no_color = "--no-color" in arguments
    code = typer.main.get_command(app).main(arguments, prog_name=program, standalone_mode=False, obj=session)
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.OK


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
