"""The table of all nouns and short aliases; a noun's module loads when one of its commands is called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun of the command line.

    Attributes:
        name: As typed.
        module: The module below ``sentinelzer0.cli`` whose ``app`` holds its verbs.
        summary: One line for the overview.
    """

    name: str
    module: str
    summary: str


FLOW = (
    Noun("versions", "versions", "Create, compare, verify and promote immutable versions"),
    Noun("registry", "registry", "Register versions; request, approve, reject their way to production"),
    Noun("policy", "policies", "What needs an approval, and which gates must hold"),
    Noun("deployments", "deployments", "What serves now, what did when, who put it there and why"),
    Noun("ab", "ab_tests", "A/B tests whose verdict holds however often you look"),
    Noun("outcomes", "outcomes", "What versions showed in production; raw outcomes exported and pruned"),
    Noun("rollback", "rollbacks", "The way back, health checks, quarantine"),
    Noun("audit", "audit", "Read, verify, sign, export and prove the audit log"),
)
CARE = (
    Noun("doctor", "doctor", "Examine the workspace; --fix mends, --rebuild restores the catalogue"),
    Noun("backup", "backup", "Copy the workspace while it is in use"),
    Noun("restore", "restore", "Make a workspace from a backup"),
    Noun("collect", "collection", "Remove bytes that nothing refers to"),
    Noun("import-legacy", "legacy", "Take over a directory of version 3.3"),
    Noun("db", "database", "Bring a database to this release's schema"),
    Noun("config", "configuration", "Settings, and where each comes from"),
    Noun("completion", "completion", "Script that completes commands in bash, zsh or fish"),
    Noun("demo", "demo", "One model's story from training to rollback, on real data"),
)
NOUNS = {noun.name: noun for noun in (*FLOW, *CARE)}

ALIASES: dict[str, tuple[str, str]] = {
    "list": ("versions", "list"),
    "show": ("versions", "show"),
    "diff": ("versions", "compare"),
    "verify": ("versions", "verify"),
    "promote": ("versions", "promote"),
    "register": ("registry", "register"),
    "approve": ("registry", "approve"),
    "history": ("deployments", "history"),
}
"""Short forms of frequent commands. ``rollback`` without a verb is ``rollback run``."""

GLOBAL_OPTIONS = (
    ("-w, --workspace TEXT", "Directory or postgresql:// address of the workspace"),
    ("--model TEXT", "The model whose versions are meant"),
    ("--environment TEXT", "The environment whose traffic is meant"),
    ("--actor TEXT", "Who acts, as written into the audit log"),
    ("-o, --output FORMAT", "table, json, jsonl or quiet"),
    ("-q, --quiet", "No progress, no remarks; names only"),
    ("--no-color", "No colours, as NO_COLOR does"),
    ("--version", "Show the version"),
    ("--help", "Show this, or the help of a command"),
)
