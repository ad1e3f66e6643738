"""A recorder: the caller neither waits nor meets an error, and what was acknowledged is stored once."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sentinelzer0.storage.database  # before the first recorder, as in every program that opens a workspace
from sentinelzer0.errors import (
    ConflictError,
    InvalidInputError,
    StorageFullError,
    StorageUnavailableError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops import recorder_exit, recorder_thread
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.recorder import FlushTimeoutError, Recorder, RecorderStats
from tests.architecture.source_tree import ROOT
from tests.processes import fork, wait

assert sentinelzer0.storage.database


class Sink:
    """A database that can be away, closed for a while, or dislike rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.labels: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.away: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def record_rows(self, rows: Any) -> None:
        self._store(rows, self.rows)

    def record_labels(self, rows: Any) -> None:
        self._store(rows, self.labels)

    def _store(self, rows: Any, kept: list[dict[str, Any]]) -> None:
        assert self.open.wait(30)
        self.calls.append(len(rows))
        if self.away is not None:
            raise self.away
        for number, row in enumerate(rows):
            if row.get("success") == "impossible":
                raise InvalidInputError(f"Row {number}: success is 'impossible'. Nothing was recorded.")
            if row.get("success") == "unnamed":
                raise ConflictError("One of them is not possible.")
            if row.get("success") == "broken":
                float(row["latency_ms"])
        kept += rows

    def recorder(self, **options: Any) -> Recorder:
        return Recorder(self.record_rows, self.record_labels, **{"max_delay_s": 0.01} | options)


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.away = None
    made.open.set()
    for core in list(recorder_exit.open_recorders):
        core.end(time.monotonic())
        recorder_exit.settle(core, core.stats().taken, time.monotonic() + 10)
    until = time.monotonic() + 10
    while recorder_exit.open_recorders and time.monotonic() < until:
        time.sleep(0.001)
    assert not recorder_exit.open_recorders, "a recorder is left over"
    recorder_exit.stop_listening()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.fixture
def local(tmp_path: Path) -> str:
    """Return a workspace for what is the same on every backend: how programs end."""
    return str(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_thread, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(recorder_thread, "LONGEST_PAUSE_S", 0.01)


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


@pytest.fixture
def running(manager: ABTestManager) -> str:
    test = manager.create_test("t", "a", "b")
    return manager.start_test(test.test_id).test_id


def recorder_of(manager: ABTestManager, test_id: str, **options: Any) -> Recorder:
    def labels(rows: Any) -> None:
        for row in rows:
            manager.record_label(test_id, row["request_id"], row["true_label"])

    return Recorder(partial(manager.record_results, test_id), labels, **{"max_delay_s": 0.01} | options)


def totals(manager: ABTestManager, test_id: str) -> tuple[int, int]:
    test = manager.get_test(test_id)
    assert test is not None
    return test.metrics_a.total_requests, test.metrics_b.total_requests


def balanced(stats: RecorderStats) -> bool:
    return stats.taken == stats.written + stats.duplicates + stats.late + stats.refused + stats.pending


class Hostile:  # noqa: PLW1641 - it has no hash that answers
    """A value whose every question is answered by an exception."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __float__ = __bool__ = __hash__ = __str__ = __len__ = __repr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError


# What is recorded is there


def test_outcomes_and_labels_are_stored_and_counted(manager: ABTestManager, running: str) -> None:
    with recorder_of(manager, running) as recorder:
        for number in range(500):
            assert recorder.record(
                "ab"[number % 2], number % 5 > 0, 2.0, 0.5, None, 1, {"x": 1.0}, request_id=str(number)
            )
        assert recorder.label("0", True)
        assert recorder.label("1", "benign")
        stats = recorder.flush()
        assert stats == RecorderStats(taken=502, written=502)
        assert totals(manager, running) == (250, 250)
    test = manager.get_test(running)
    assert (test.metrics_a.true_positives, test.metrics_b.false_positives) == (1, 1)
    assert test.metrics_a.failed_requests == test.metrics_b.failed_requests == 50
    assert test.metrics_a.custom_metrics == {"x": 1.0}


def test_repeats_count_once_and_rows_without_an_id_are_different_requests(manager: ABTestManager, running: str) -> None:
    with recorder_of(manager, running) as recorder:
        for _ in range(3):
            recorder.record("a", True, 1.0, request_id="same")
            recorder.record("a", True, 1.0)
        assert recorder.flush() == RecorderStats(taken=6, written=4, duplicates=2)
    assert totals(manager, running) == (4, 0)


def test_outcomes_after_the_end_of_a_test_are_late(manager: ABTestManager, running: str) -> None:
    with recorder_of(manager, running) as recorder:
        manager.cancel_test(running)
        recorder.record("a", True, 1.0)
        assert recorder.flush() == RecorderStats(taken=1, late=1)


def test_outcomes_of_a_test_that_was_not_started_are_refused_with_the_reason(manager: ABTestManager) -> None:
    test = manager.create_test("t", "a", "b")
    with recorder_of(manager, test.test_id) as recorder:
        for _ in range(20):
            recorder.record("a", True, 1.0)
        assert recorder.flush() == RecorderStats(taken=20, refused=20)
        assert len(recorder.refusals) == 10
        assert "was not started" in recorder.refusals[0].reason


def test_an_acknowledgement_that_was_lost_counts_nothing_twice(manager: ABTestManager, running: str) -> None:
    answers = count()

    def unreliable(rows: Any) -> Any:
        recorded = manager.record_results(running, rows)
        if next(answers) % 2 == 0:
            raise StorageUnavailableError("The connection broke.")
        return recorded

    with Recorder(unreliable, unreliable, batch=100, max_delay_s=0.01) as recorder:
        for _ in range(1000):
            recorder.record("a", True, 1.0)
        stats = recorder.flush()
    assert (stats.written + stats.duplicates, stats.taken) == (1000, 1000)
    assert totals(manager, running) == (1000, 0)


def test_a_label_and_an_outcome_with_a_label_count_in_their_order(manager: ABTestManager, running: str) -> None:
    with recorder_of(manager, running, max_delay_s=5) as recorder:
        recorder.record("a", True, 1.0, None, True, True, request_id="1")
        recorder.label("1", False)
        recorder.label("2", False)
        recorder.record("b", True, 1.0, None, True, True, request_id="2")
        recorder.flush()
    test = manager.get_test(running)
    assert (test.metrics_a.false_positives, test.metrics_b.true_positives) == (1, 1), "the later one counts"


def test_the_request_id_of_an_assignment_is_that_of_the_outcome(sink: Sink) -> None:
    class Assigned(NamedTuple):
        request_id: str

    with sink.recorder() as recorder:
        recorder.record("a", True, 1.0, assignment=Assigned("r1"), segment="s")
        recorder.record("a", True, 1.0, assignment={"request_id": "r2"})
        recorder.record("a", True, 1.0, assignment=Assigned("r3"), request_id="mine")
        recorder.record("a", True, 1.0, assignment=Hostile())
        recorder.flush()
    assert [row["request_id"] for row in sink.rows[:3]] == ["r1", "r2", "mine"]
    assert sink.rows[3]["request_id"].startswith("out_")
    assert [row.get("segment") for row in sink.rows] == ["s", None, None, None]


# What is not possible


GARBAGE: list[tuple[Any, ...]] = [
    (None, True, 1.0),
    ("nobody", True, 1.0),
    ([], True, 1.0),
    (b"a", True, 1.0),
    ("a", None, 1.0),
    ("a", "yes", 1.0),
    ("a", True, math.nan),
    ("a", True, -1.0),
    ("a", True, math.inf),
    ("a", True, 10**5000),
    ("a", True, "fast"),
    ("a", True, 1.0, 2.0),
    ("a", True, 1.0, None, "perhaps"),
    ("a", True, 1.0, None, None, object()),
    ("a", True, 1.0, None, None, None, {"x": "y"}),
    ("a", True, 1.0, None, None, None, {1: 1.0}),
    ("a", True, 1.0, None, None, None, "no mapping"),
    (Hostile(), True, 1.0),
    ("a", Hostile(), 1.0),
    ("a", True, Hostile()),
    ("a", True, 1.0, Hostile()),
    ("a", True, 1.0, None, Hostile()),
    ("a", True, 1.0, None, None, Hostile()),
    ("a", True, 1.0, None, None, None, {"x": Hostile()}),
]
ODD_IDS: list[Any] = ["", "x" * 300, "\ud800", "\0", 7, Hostile(), [], float("nan")]


def test_garbage_never_raises_and_loses_nothing_but_itself(manager: ABTestManager, running: str) -> None:
    with recorder_of(manager, running, batch=64) as recorder:
        for number, row in enumerate(GARBAGE):
            assert recorder.record("a", True, 1.0, request_id=f"before {number}") is True
            assert recorder.record(*row) is True
        for odd in ODD_IDS:
            assert recorder.record("b", True, 1.0, request_id=odd) is True
            assert recorder.label(odd, True) is True
        assert recorder.record("b", True, 1.0, key=Hostile()) is True
        assert recorder.record("b", True, 1.0) is True
        stats = recorder.flush()
        bad = len(GARBAGE) + 2 * len(ODD_IDS) + 1
        assert stats == RecorderStats(taken=bad + len(GARBAGE) + 1, written=len(GARBAGE) + 1, refused=bad)
        assert len(recorder.refusals) == 10
        assert all(refusal.reason and refusal.request_id for refusal in recorder.refusals)
    assert totals(manager, running) == (len(GARBAGE), 1)


@pytest.mark.parametrize("kind", ["impossible", "unnamed", "broken"])
@pytest.mark.parametrize("where", [[0], [499], [250], [0, 1, 2, 497, 498, 499], list(range(500))], ids=str)
def test_impossible_rows_are_set_apart(sink: Sink, kind: str, where: list[int]) -> None:
    with sink.recorder(max_delay_s=5) as recorder:
        for number in range(500):
            recorder.record("a", kind if number in where else True, "x", request_id=str(number))
        stats = recorder.flush()
    assert (stats.written, stats.refused) == (500 - len(where), len(where))
    assert [row["request_id"] for row in sink.rows] == [str(n) for n in range(500) if n not in where]
    assert len(sink.calls) <= 2 + 20 * len(where)


def test_refusals_are_logged_once_a_minute(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), sink.recorder() as recorder:
        for _ in range(3):
            recorder.record("a", "impossible", 1.0)
            recorder.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "1 outcomes or labels were refused; the newest: success is 'impossible'."
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 1},
        {"capacity": "many"},
        {"capacity": 10**9},
        {"batch": 0},
        {"max_delay_s": -1},
        {"max_delay_s": math.nan},
        {"on_full": "explode"},
        {"on_full": []},
        {"wait_s": None},
    ],
    ids=str,
)
def test_options_are_checked(sink: Sink, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        sink.recorder(**options)


# A database that is away


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailableError("It is locked."),
        StorageFullError("It is full."),
        OSError("It is gone."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_rows_are_kept_while_the_database_is_away(sink: Sink, error: Exception) -> None:
    with sink.recorder(batch=50) as recorder:
        sink.away = error
        for number in range(200):
            assert recorder.record("a", True, 1.0, request_id=str(number))
        with pytest.raises(FlushTimeoutError) as caught:
            recorder.flush(0.1)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, StorageUnavailableError)
        assert caught.value.message.startswith("200 of 200 rows were not written within 0.1 s.")
        assert recorder.stats == RecorderStats(taken=200, pending=200)
        assert recorder.trouble
        sink.away = None
        assert recorder.flush() == RecorderStats(taken=200, written=200)
        assert recorder.trouble is None
    assert [row["request_id"] for row in sink.rows] == [str(number) for number in range(200)]


def test_a_database_that_goes_away_in_the_middle_of_a_split_batch(sink: Sink) -> None:
    real, calls = sink.record_rows, count()

    def flickering(rows: Any) -> None:
        if next(calls) % 2:
            raise StorageUnavailableError("It flickers.")
        real(rows)

    with Recorder(flickering, flickering, max_delay_s=5) as recorder:
        for number in range(100):
            recorder.record("a", "impossible" if number % 10 == 5 else True, 1.0, request_id=str(number))
        assert recorder.flush() == RecorderStats(taken=100, written=90, refused=10)
    assert [row["request_id"] for row in sink.rows] == [str(n) for n in range(100) if n % 10 != 5]


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    with Kernel(tmp_path / "w").read():
        pass
    kernel = Kernel(tmp_path / "w")
    manager = ABTestManager(kernel=kernel)
    test_id = manager.start_test(manager.create_test("t", "a", "b").test_id).test_id
    with recorder_of(manager, test_id) as recorder:
        lock = sqlite3.connect(kernel.layout.database, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        recorder.record("a", True, 1.0)
        with pytest.raises(FlushTimeoutError):
            recorder.flush(0.2)
        lock.execute("ROLLBACK")
        lock.close()
        assert recorder.flush() == RecorderStats(taken=1, written=1)
    kernel.close()


def test_closing_while_the_database_is_away_says_what_is_lost(sink: Sink) -> None:
    recorder = sink.recorder()
    sink.away = StorageUnavailableError("It is locked.")
    recorder.record("a", True, 1.0)
    with pytest.raises(FlushTimeoutError, match="They are lost"):
        recorder.close(0.05)
    assert recorder.record("a", True, 1.0) is False
    assert recorder.stats == RecorderStats(taken=1, dropped=1, pending=1)
    sink.away = None
    assert recorder.close().written == 1, "another attempt was possible after all"


# Bounded memory


def test_a_full_buffer_drops_and_counts(sink: Sink) -> None:
    with sink.recorder(capacity=100, batch=10) as recorder:
        sink.open.clear()
        taken = sum(recorder.record("a", True, 1.0) for _ in range(1000))
        taken += sum(recorder.label("x", True) for _ in range(10))
        assert 100 <= taken <= 110
        sink.open.set()
        stats = recorder.flush()
        assert (stats.taken, stats.dropped) == (taken, 1010 - taken)
        assert recorder.record("a", True, 1.0), "there is room again"


def test_the_memory_is_bounded_with_many_threads_while_the_database_is_away(sink: Sink) -> None:
    sink.away = StorageUnavailableError("It is locked.")
    with sink.recorder(capacity=1000, batch=100) as recorder:
        threads = [
            threading.Thread(target=lambda: [recorder.record("a", True, 1.0) for _ in range(2000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = recorder.stats
        assert stats.taken + stats.dropped == 8000
        assert 900 <= stats.pending <= 1000 + len(threads)
        sink.away = None


def test_waiting_for_room_holds_the_caller_up_for_so_long(sink: Sink) -> None:
    with sink.recorder(capacity=10, batch=5, on_full="wait", wait_s=0.05) as recorder:
        sink.open.clear()
        started = time.monotonic()
        taken = [recorder.record("a", True, 1.0) for _ in range(20)]
        assert time.monotonic() - started >= 0.05 * taken.count(False) > 0
        recorder_stats = recorder.stats
        assert recorder_stats.dropped == taken.count(False)
        sink.open.set()


def test_waiting_for_room_loses_nothing(sink: Sink) -> None:
    with sink.recorder(capacity=50, batch=10, on_full="wait", wait_s=30) as recorder:
        assert all(recorder.record("a", True, 1.0) for _ in range(5000))
        assert recorder.flush() == RecorderStats(taken=5000, written=5000)


def test_an_event_loop_is_never_held_up(sink: Sink) -> None:
    async def main() -> None:
        with sink.recorder(capacity=10, batch=5, on_full="wait", wait_s=30) as recorder:
            sink.open.clear()
            started = time.monotonic()
            taken = [recorder.record("a", True, 1.0) for _ in range(100)]
            assert time.monotonic() - started < 5
            assert taken[-1] is False
            turns = 0
            flushing = asyncio.create_task(recorder.aflush())
            while turns < 20:
                await asyncio.sleep(0.001)
                turns += 1
            assert not flushing.done(), "the loop turned while the rows waited"
            with pytest.raises(FlushTimeoutError):
                await recorder.aflush(0.02)
            sink.open.set()
            stats = await flushing
            assert stats.taken == stats.written == sum(taken)

    asyncio.run(main())


# Threads, signals, destructors


def test_threads_record_flush_and_look_at_once(manager: ABTestManager, running: str) -> None:
    threads, rows = 4, 1500
    with recorder_of(manager, running, batch=200) as recorder:

        def work(number: int) -> None:
            for row in range(rows):
                assert recorder.record("ab"[row % 2], True, 1.0, request_id=f"{number}:{row}")
                if row % 500 == 499:
                    stats = recorder.flush()
                    assert balanced(stats)
                    assert stats.written >= row

        crowd = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in crowd:
            thread.start()
        while any(thread.is_alive() for thread in crowd):
            stats = recorder.stats
            assert balanced(stats)
            assert 0 <= stats.pending <= threads * rows
            time.sleep(0.002)
        assert recorder.flush() == RecorderStats(taken=threads * rows, written=threads * rows)
    assert totals(manager, running) == (threads * rows / 2, threads * rows / 2)


def test_a_signal_handler_may_use_the_recorder_it_interrupted(sink: Sink) -> None:
    with sink.recorder(capacity=50, batch=10, max_delay_s=0) as recorder:
        seen: list[RecorderStats] = []

        def handler(_number: int, _frame: Any) -> None:
            recorder.record("a", True, 1.0)
            seen.append(recorder.flush(10))

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        try:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                recorder.record("a", True, 1.0)
                recorder.flush(10)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert len(seen) > 5
        assert all(map(balanced, seen))


def test_a_destructor_may_record(sink: Sink) -> None:
    with sink.recorder(max_delay_s=0) as recorder:

        class Witness:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                recorder.record("a", True, 1.0)
                assert balanced(recorder.stats)

        for _ in range(2000):
            Witness()
            recorder.record("b", True, 1.0)
        gc.collect()
        assert recorder.flush().taken == 4000


def test_what_writes_may_record_and_flush_too(sink: Sink) -> None:
    made: list[Recorder] = []

    def write(rows: Any) -> None:
        if len(sink.calls) < 3:
            made[0].record("b", True, 1.0)
            with pytest.raises(FlushTimeoutError):
                made[0].flush(5)
        sink.record_rows(rows)

    started = time.monotonic()
    with Recorder(write, write, max_delay_s=0.01) as recorder:
        made.append(recorder)
        recorder.record("a", True, 1.0)
        while recorder.flush().written < 4:
            assert time.monotonic() - started < 4, "it did not wait for itself"
    made.clear()


# Ends


def test_closing_writes_everything_and_may_be_repeated(sink: Sink) -> None:
    recorder = sink.recorder(max_delay_s=60)
    recorder.record("a", True, 1.0)
    assert recorder.close() == recorder.close() == RecorderStats(taken=1, written=1)
    assert recorder.record("a", True, 1.0) is False
    assert recorder.label("x", True) is False
    assert recorder.flush() == RecorderStats(taken=1, written=1, dropped=2)


def test_closing_among_recording_threads_loses_nothing_that_was_taken(sink: Sink) -> None:
    for _ in range(20):
        recorder = sink.recorder(batch=10, max_delay_s=0)
        taken = [0] * 3

        def work(number: int, recorder: Recorder = recorder, taken: list[int] = taken) -> None:
            while recorder.record("a", True, 1.0):
                taken[number] += 1

        crowd = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in crowd:
            thread.start()
        time.sleep(0.005)
        recorder.close()
        for thread in crowd:
            thread.join()
        assert recorder.stats.written >= sum(taken)


def test_a_forgotten_recorder_writes_what_it_has(sink: Sink) -> None:
    recorder = sink.recorder(max_delay_s=60)
    recorder.record("a", True, 1.0)
    gone = weakref.ref(recorder)
    del recorder
    gc.collect()
    assert gone() is None
    until = time.monotonic() + 10
    while recorder_exit.open_recorders and time.monotonic() < until:
        time.sleep(0.01)
    assert len(sink.rows) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "sentinelzer0-recorder"]


def test_a_recorder_without_work_has_no_thread_and_sleeps(sink: Sink) -> None:
    with sink.recorder() as recorder:
        assert not [thread for thread in threading.enumerate() if thread.name == "sentinelzer0-recorder"]
        recorder.record("a", True, 1.0)
        recorder.flush()
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.05


def test_a_thread_that_cannot_be_started_harms_nobody(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    with sink.recorder() as recorder:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert recorder.record("a", True, 1.0)
        assert recorder.flush() == RecorderStats(taken=1, written=1), "the caller wrote it"
        sink.away = StorageUnavailableError("It is locked.")
        assert recorder.record("a", True, 1.0)
        with pytest.raises(FlushTimeoutError):
            recorder.flush(1)
        sink.away = None


SCRIPT = """
import os, signal, sys, threading, time
from functools import partial
from sentinelzer0.workspace import Workspace
from sentinelzer0.mlops.recorder import Recorder
ws = Workspace.open(sys.argv[1])
record_results = partial(ws.ab_tests.record_results, sys.argv[2])
def labels(rows):
    for row in rows:
        ws.ab_tests.record_label(sys.argv[2], **row)
def make(**options):
    return Recorder(record_results, labels, **{"max_delay_s": 60} | options)
def work(recorder, rows=100):
    for _ in range(rows):
        assert recorder.record("a", True, 1.0)
"""


def program(location: str, test_id: str, text: str, *, sent: int | None = None) -> tuple[int, str]:
    """Run a program and return its status and what it said; send it a signal once it says it is ready."""
    started = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", SCRIPT + text, location, test_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    said = ""
    if sent is not None:
        said = started.stdout.readline()
        started.send_signal(sent)
    rest, _ = started.communicate(timeout=60)
    return started.returncode, said + rest


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("ws.close()", 0),
        ("sys.exit(3)", 3),
        ("1 / 0", 1),
        ("threading.Thread(target=lambda: (time.sleep(0.2), work(recorder, 50))).start(); work(recorder, 50)", 0),
        ("del recorder", 0),
        ("import atexit; atexit.register(lambda: print(recorder.record('a', True, 1.0)))", 0),
    ],
)
def test_a_program_that_ends_has_written_everything(local: str, end: str, status: int) -> None:
    with opened(local) as (manager, test_id):
        done, said = program(local, test_id, f"recorder = make()\nwork(recorder)\n{end}\n")
        assert done == status, said
        assert totals(manager, test_id)[0] >= 100, said


def test_children_of_multiprocessing_write_before_they_end(location: str) -> None:
    with opened(location) as (manager, test_id):
        text = """
import multiprocessing
recorder = make()
work(recorder, 10)
if __name__ == "__main__":
    children = [multiprocessing.get_context("fork").Process(target=work, args=(recorder, 30)) for _ in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
"""
        done, said = program(location, test_id, text)
        assert done == 0, said
        assert totals(manager, test_id) == (100, 0)


READY = "work(recorder)\nprint('ready', flush=True)\n"


@pytest.mark.parametrize(
    "waiting", ["time.sleep(60)", "threading.Event().wait()", "while True: recorder.flush(); recorder.stats"]
)
def test_sigterm_writes_everything_and_the_process_dies_of_it(location: str, waiting: str) -> None:
    with opened(location) as (manager, test_id):
        done, said = program(location, test_id, f"recorder = make()\n{READY}{waiting}", sent=signal.SIGTERM)
        assert done == -signal.SIGTERM, said
        assert totals(manager, test_id) == (100, 0)


def test_sigterm_calls_the_handler_that_was_there_before(local: str) -> None:
    with opened(local) as (manager, test_id):
        text = f"""
def handler(number, frame):
    print("handled", number, flush=True)
    os._exit(7)
signal.signal(signal.SIGTERM, handler)
recorder = make()
{READY}time.sleep(60)
"""
        assert program(local, test_id, text, sent=signal.SIGTERM) == (7, f"ready\nhandled {int(signal.SIGTERM)}\n")
        assert totals(manager, test_id) == (100, 0)


def test_a_second_sigterm_does_not_wait(local: str) -> None:
    with opened(local) as (_, test_id):
        text = """
from sentinelzer0.mlops import recorder_exit
recorder_exit.EXIT_WAIT_S = 50
def hang(rows):
    time.sleep(60)
recorder = Recorder(hang, hang)
work(recorder)
for after in (0.2, 1):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGTERM)).start()
time.sleep(60)
"""
        started = time.monotonic()
        done, said = program(local, test_id, text)
        assert done == -signal.SIGTERM, said
        assert time.monotonic() - started < 45


def test_an_exit_does_not_wait_for_ever_and_says_what_is_lost(local: str) -> None:
    with opened(local) as (_, test_id):
        text = "def away(rows):\n    raise OSError('gone')\nrecorder = Recorder(away, away)\nwork(recorder)\n"
        started = time.monotonic()
        done, said = program(
            local, test_id, "from sentinelzer0.mlops import recorder_exit as e\ne.EXIT_WAIT_S=.3\n" + text
        )
        assert done == 0, said
        assert "100 outcomes were not written before the process ended." in said
        assert time.monotonic() - started < 20


def test_who_ignores_sigterm_goes_on_ignoring_it(sink: Sink) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with sink.recorder():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_is_given_back_and_only_the_main_thread_takes_it(sink: Sink) -> None:
    first = sink.recorder()
    ours = signal.getsignal(signal.SIGTERM)
    assert ours is not signal.SIG_DFL
    second = sink.recorder()
    assert signal.getsignal(signal.SIGTERM) is ours, "one handler serves all"
    first.close()
    assert signal.getsignal(signal.SIGTERM) is ours
    second.close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    sink.recorder(on_sigterm=False).close()
    made: list[Recorder] = []
    thread = threading.Thread(target=lambda: made.append(sink.recorder()))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    made[0].close()


# Forks


def test_a_child_starts_empty_and_both_write_their_own_rows_once(location: str) -> None:
    with opened(location) as (manager, test_id), recorder_of(manager, test_id, batch=50, max_delay_s=0.001) as recorder:
        stop = threading.Event()

        def keep_recording() -> None:
            while not stop.is_set():
                recorder.record("a", True, 1.0)
                time.sleep(0.0001)

        busy = threading.Thread(target=keep_recording)
        busy.start()

        def work() -> None:
            assert recorder.stats == RecorderStats()
            for _ in range(20):
                assert recorder.record("b", True, 1.0)
            assert recorder.flush() == RecorderStats(taken=20, written=20)
            recorder.close()
            assert recorder.record("b", True, 1.0) is False

        try:
            for _ in range(15):
                assert wait(fork(work)) == 0
        finally:
            stop.set()
            busy.join()
        stats = recorder.flush()
        assert (stats.written, stats.refused, stats.pending) == (stats.taken, 0, 0)
        assert totals(manager, test_id) == (stats.taken, 15 * 20)


def test_a_child_of_a_child_and_a_closed_recorder_in_a_child(sink: Sink) -> None:
    recorder, closed = sink.recorder(max_delay_s=60), sink.recorder()
    closed.close()
    recorder.record("a", True, 1.0)

    def work() -> None:
        assert closed.record("a", True, 1.0) is False
        assert closed.stats.pending == 0
        recorder.record("a", True, 1.0)

        def deeper() -> None:
            assert recorder.stats.taken == 0
            recorder.record("a", True, 1.0)
            assert recorder.flush().written == 1

        assert wait(fork(deeper)) == 0
        assert recorder.flush().written == 1

    assert wait(fork(work)) == 0
    assert recorder.close() == RecorderStats(taken=1, written=1)


def test_two_threads_may_fork_at_once(sink: Sink) -> None:
    with sink.recorder(max_delay_s=0, batch=5) as recorder:

        def forks() -> None:
            for _ in range(10):
                recorder.record("a", True, 1.0)
                assert wait(fork(lambda: None)) == 0

        crowd = [threading.Thread(target=forks) for _ in range(3)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        assert recorder.flush() == RecorderStats(taken=30, written=30)


class opened:  # noqa: N801 - reads as a function
    """A workspace with a running test, closed afterwards."""

    def __init__(self, location: str) -> None:
        self._kernel = Kernel(location)

    def __enter__(self) -> tuple[ABTestManager, str]:
        manager = ABTestManager(kernel=self._kernel)
        return manager, manager.start_test(manager.create_test("t", "a", "b").test_id).test_id

    def __exit__(self, *_: object) -> None:
        self._kernel.close()
