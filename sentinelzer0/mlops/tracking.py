"""The optional sink: what was decided is also told to an experiment tracker, after the commit.

The tracker is foreign code and a foreign server: whatever it does, the operation has already happened, and its
failure is logged and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_log = logging.getLogger("sentinelzer0.mlops.tracking")


class Tracker(Protocol):
    """What is used of a tracker; ``MLflowTracker`` is one."""

    def start_run(
        self, run_name: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Any]:
        """Start a run; leaving the context ends it."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings of the active run."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log finite numbers of the active run."""

    def log_artifact(self, artifact_path: str, artifact_dir: str | None = None) -> None:
        """Attach a file to the active run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedEvent:
    """Something that was decided, as one run.

    Attributes:
        name: Name of the run.
        kind: What happened, as the audit log calls it; becomes the tag ``sentinelzer0.event``.
        tags: Further tags, each behind ``sentinelzer0.``.
        params: Settings.
        metrics: Numbers; those that are None are left out.
        artifacts: Files to attach, if they exist.
    """

    name: str
    kind: str
    tags: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    artifacts: tuple[Path, ...] = ()


def publish(tracker: Tracker | None, event: TrackedEvent, *, in_background: bool = False) -> None:
    """Tell the tracker, if there is one; never raises.

    Args:
        tracker: Where to.
        event: What happened.
        in_background: Return at once and tell it from a thread of its own, on the way of a request.
    """
    if tracker is None:
        return
    if in_background:
        threading.Thread(target=_send, args=(tracker, event), name="sentinelzer0-tracking").start()
    else:
        _send(tracker, event)


def _send(tracker: Tracker, event: TrackedEvent) -> None:
    tags = {"sentinelzer0.event": event.kind} | {f"sentinelzer0.{name}": value for name, value in event.tags.items()}
    try:
        with tracker.start_run(event.name, tags):
            tracker.log_params(event.params)
            tracker.log_metrics({name: value for name, value in event.metrics.items() if value is not None})
            for path in event.artifacts:
                if path.exists():
                    tracker.log_artifact(str(path))
    except Exception as error:  # noqa: BLE001 - the edge to foreign code: its failure must not undo what happened
        _log.warning("The tracker was not told of %s %r: %s", event.kind, event.name, error)
