"""``completion``: bash, zsh, fish."""

from __future__ import annotations

import sys

import typer

from sentinelzer0.cli.help import Verb, noun
from sentinelzer0.cli.lazy import load

app = noun("Shell completion. For example: sz0 completion bash > ~/.local/share/bash-completion/completions/sz0")


def _script(ctx: typer.Context, shell: str) -> None:
    program = ctx.find_root().info_name or "sz0"
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    script = load("typer.completion").get_completion_script(prog_name=program, complete_var=variable, shell=shell)
    sys.stdout.write(f"{script}\n")


@app.command("bash", cls=Verb)
def bash(ctx: typer.Context) -> None:
    """Print the script for bash."""
    _script(ctx, "bash")


@app.command("zsh", cls=Verb)
def zsh(ctx: typer.Context) -> None:
    """Print the script for zsh."""
    _script(ctx, "zsh")


@app.command("fish", cls=Verb)
def fish(ctx: typer.Context) -> None:
    """Print the script for fish."""
    _script(ctx, "fish")
