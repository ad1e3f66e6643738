"""Loading a module when a command needs it: ``sz0 --help`` must not pay for a database it does not open."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(module: str) -> Any:
    """Import and return a module of this package or of a dependency by its full name."""
    return import_module(module)
