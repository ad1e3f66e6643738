"""Work in forked children: cheap enough to kill by the hundred."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child and return its process id; the child's status is 0 only when it came to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12: threads and fork; the children know
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - the child's edge: tell, then leave
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def wait(child: int) -> int:
    """Return the exit status of a child; a signal is its negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_children(work: Callable[[int], object], count: int, *, meanwhile: Callable[[], None] | None = None) -> None:
    """Run ``work(number)`` in so many children at once and fail when one of them does."""
    children = [fork(lambda number=number: work(number)) for number in range(count)]
    try:
        if meanwhile is not None:
            meanwhile()
        assert [wait(child) for child in children] == [0] * count
    finally:
        for child in children:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
