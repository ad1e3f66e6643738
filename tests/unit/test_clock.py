from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

from sentinelzer0.storage.clock import Ids, SystemClock, random_salt
from sentinelzer0.testing import FakeClock


class Frozen:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


def test_the_system_clock_is_aware_and_in_utc() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.monotonic() <= clock.monotonic()


def test_an_id_is_a_version_7_uuid_behind_its_prefix() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)
    text = Ids(Frozen(moment)).new("apr")
    assert re.fullmatch(r"apr_[0-9a-f]{32}", text)
    digits = text.removeprefix("apr_")
    assert int(digits[:12], 16) == int(moment.timestamp() * 1000)
    assert digits[12] == "7"
    assert digits[16] in "89ab"


def test_ids_of_one_millisecond_are_unique_and_sort_in_the_order_they_were_made() -> None:
    ids = Ids(Frozen(datetime(2026, 1, 1, tzinfo=UTC)))
    made = [ids.new("x") for _ in range(10_000)]
    assert sorted(set(made)) == made


def test_ids_stay_sorted_when_the_clock_goes_back() -> None:
    clock = Frozen(datetime(2026, 1, 1, tzinfo=UTC))
    ids = Ids(clock)
    first = ids.new("x")
    clock.moment -= timedelta(hours=1)
    assert ids.new("x") > first


def test_threads_never_get_the_same_id() -> None:
    ids = Ids(SystemClock())
    made: list[list[str]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=lambda row=row: row.extend(ids.new("x") for _ in range(500))) for row in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text for row in made for text in row}) == 4000


def test_salts_differ() -> None:
    salts = {random_salt() for _ in range(100)}
    assert len(salts) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", salt) for salt in salts)


def test_the_fake_clock_moves_a_microsecond_a_reading_and_when_told_to() -> None:
    clock = FakeClock()
    first, second = clock.now(), clock.now()
    assert second - first == timedelta(microseconds=1)
    clock.advance(hours=2)
    assert clock.now() - second == timedelta(hours=2, microseconds=1)
    clock.advance(hours=-3)
    assert clock.now() < first
