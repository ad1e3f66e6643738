"""Recorders when their process ends or forks: nothing that was taken is lost on the way, and nothing is written twice.

- At a normal exit every recorder takes nothing more and writes what it has, for at most a few seconds.
- SIGTERM does the same and then what it would have done without us: the process dies of it, or the handler that was
  there before is called. ``kill -9`` and ``os._exit`` cannot be met: only what ``flush`` acknowledged is sure.
- A fork waits for a transaction that is being written, because a child must not inherit half of one. The rows stay
  with the parent; the child starts empty.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import current_thread, get_ident, main_thread
from types import FrameType
from typing import Any

from sentinelzer0.mlops.recorder_thread import RecorderThread

_log = logging.getLogger("sentinelzer0.mlops.recorder")

FOREVER = float("inf")
EXIT_WAIT_S = 5.0
FORK_WAIT_S = 5.0

open_recorders: set[RecorderThread] = set()
"""Every recorder of this process that may hold rows. Its entries are strong: rows outlive a forgotten recorder."""

_held: dict[int, list[RecorderThread]] = {}  # by the thread that forks
_hooked: list[int] = []
_finalised: list[int] = []
_handlers: list[_TermHandler] = []


def settle(recorder: RecorderThread, target: int, until: float) -> bool:
    """Wait until so many rows are settled, until then (``time.monotonic``), or until nobody writes any more.

    Returns:
        False when there was nobody to wait for.
    """
    told: SimpleQueue[None] = SimpleQueue()
    waiter = recorder.wait_for(target, lambda: told.put(None))
    if waiter is not None:
        try:
            told.get(timeout=None if until == FOREVER else max(until - time.monotonic(), 0.001))
        except Empty:
            recorder.forget(waiter)
    return waiter is not None


def _settle_all(recorders: list[RecorderThread]) -> int:
    """Wait for what recorders have taken; returns how many rows are not settled after a few seconds."""
    until = time.monotonic() + EXIT_WAIT_S
    for recorder in recorders:
        settle(recorder, recorder.stats().taken, until)
    return sum(recorder.stats().pending for recorder in recorders)


def close_all() -> None:
    """Write what every recorder has taken, take nothing more, and say so when rows are lost."""
    recorders = list(open_recorders)
    for recorder in recorders:
        recorder.end(time.monotonic() + EXIT_WAIT_S)
    if lost := _settle_all(recorders):
        _log.error("%d outcomes were not written before the process ended.", lost)


def prepare() -> None:
    """Register for exits and forks once, and for SIGTERM whenever nobody of ours listens.

    Called for every new recorder, so after the database was opened: hooks before a fork run last one first, and the
    database counts its connections in its own.
    """
    if not _hooked:
        _hooked.append(os.getpid())
        atexit.register(close_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def join_process() -> None:
    """Have a child of multiprocessing, which skips ``atexit``, write its rows before it ends."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or os.getpid() in _finalised or process.parent_process() is None:
        return
    _finalised.append(os.getpid())
    util.Finalize(None, close_all, exitpriority=100)


class _TermHandler:
    """What SIGTERM calls: write everything, then do what it would have done before."""

    def __init__(self, before: Any) -> None:
        self._before = before
        self._called = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        repeated, self._called = self._called, True
        if self._before is not signal.SIG_DFL:
            # Whoever handles it may go on for a while, and end in another way than through atexit.
            _settle_all(list(open_recorders))
            self._called = False
            before: Callable[[int, FrameType | None], object] = self._before
            before(number, frame)
            return
        if not repeated:  # a second one does not wait
            close_all()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def withdraw(self) -> None:
        """Put back what was there before, if nobody came after us."""
        current: Any = signal.getsignal(signal.SIGTERM)
        if current is self:
            signal.signal(signal.SIGTERM, self._before)


def listen() -> None:
    """Handle SIGTERM, if this is the main thread and the process does not ignore it."""
    if current_thread() is not main_thread():
        return
    before: Any = signal.getsignal(signal.SIGTERM)
    if before is None or before is signal.SIG_IGN or isinstance(before, _TermHandler):
        return
    handler = _TermHandler(before)
    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:  # an interpreter within the process
        return
    _handlers.append(handler)


def stop_listening() -> None:
    """Give SIGTERM back once no recorder holds rows or takes any."""
    needed = any(not recorder.ended or recorder.stats().pending for recorder in list(open_recorders))
    if not needed and current_thread() is main_thread():
        while _handlers:
            _handlers.pop().withdraw()


def _before_fork() -> None:
    until = time.monotonic() + FORK_WAIT_S
    _held[get_ident()] = [
        recorder
        for recorder in list(open_recorders)
        if not recorder.is_mine and recorder.transaction.acquire(timeout=max(until - time.monotonic(), 0.0))
    ]


def _after_fork() -> None:
    for recorder in _held.pop(get_ident(), ()):
        recorder.transaction.release()


def _in_child() -> None:
    _held.clear()
    for recorder in list(open_recorders):
        recorder.reset()
