"""SentinelZer0: takes a detection model from training to production, proves what was live, and brings it back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sentinelzer0.mlops import __version__

if TYPE_CHECKING:
    from sentinelzer0.workspace import Workspace

__all__ = ["Workspace", "__version__"]


def __getattr__(name: str) -> object:
    if name != "Workspace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("sentinelzer0.workspace").Workspace
