"""The blob store against the plainest program that does the same, in one run on one disk.

Every function measures one figure and returns a flat dict; run this file to print them all::

    python benchmarks/bench_blobs.py [MiB of the large file] [directory on the disk to measure]

What is compared runs alternately, and medians are compared, because other programs use the machine too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from sentinelzer0.storage.blobs import LocalBlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
ROUNDS = 5
Figures = dict[str, float | int | str]


@contextmanager
def scratch(disk: Path | None) -> Iterator[Path]:
    """A directory on the disk to measure, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-blobs-", dir=disk) as name:
        yield Path(name)


def store_in(directory: Path) -> LocalBlobStore:
    return LocalBlobStore(directory, now=lambda: datetime.now(UTC))


def random_file(path: Path, mib: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(MIB))
        stream.flush()
        os.fsync(stream.fileno())
    return path


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def copy_and_sync(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        left = os.fstat(reader.fileno()).st_size
        while left:
            left -= os.copy_file_range(reader.fileno(), writer.fileno(), left)
        os.fsync(writer.fileno())


def large_file(mib: int = 1024, disk: Path | None = None) -> Figures:
    """`put` of a large file: at least 0.85x the slower of (kernel copy + fsync) and `file_digest`."""
    copies, digests, puts = [], [], []
    with scratch(disk) as top:
        source = random_file(top / "model", mib)
        for _ in range(ROUNDS):
            copies.append(seconds(lambda: copy_and_sync(source, top / "copy")))
            (top / "copy").unlink()
            digests.append(seconds(lambda: file_digest(source)))
            puts.append(seconds(lambda: store_in(top / "ws").put(source)))
            shutil.rmtree(top / "ws")
    slower = max(median(copies), median(digests))
    return {
        "figure": "put, large file",
        "mib": mib,
        "copy_fsync_s": round(median(copies), 3),
        "file_digest_s": round(median(digests), 3),
        "put_s": round(median(puts), 3),
        "speed_against_the_slower": round(slower / median(puts), 2),
        "target_at_least": 0.85,
    }


def small_file(disk: Path | None = None, rounds: int = 100) -> Figures:
    """`put` of 10 kB against writing, syncing and renaming one file and syncing its directory."""
    raw, puts = [], []
    with scratch(disk) as top:
        store = store_in(top / "ws")
        store.put_bytes(b"warm")

        def plain(data: bytes) -> None:
            target = top / "raw" / hashlib.sha256(data).hexdigest()
            with (top / "raw" / "temp").open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            (top / "raw" / "temp").rename(target)
            descriptor = os.open(top / "raw", os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        (top / "raw").mkdir()
        for number in range(256):  # the two-digit directories of a store in use
            (top / "ws" / "blobs" / "sha256" / f"{number:02x}").mkdir(exist_ok=True)
        for number in range(rounds):
            source = top / f"model-{number}"
            source.write_bytes(os.urandom(10_000))
            raw.append(seconds(lambda source=source: plain(source.read_bytes())))  # type: ignore[misc]
            puts.append(seconds(lambda source=source: store.put(source)))  # type: ignore[misc]
    return {
        "figure": "put, 10 kB",
        "raw_two_fsyncs_ms": round(median(raw) * 1000, 3),
        "put_ms": round(median(puts) * 1000, 3),
        "times_raw": round(median(puts) / median(raw), 2),
    }


def verify_file(mib: int = 1024, disk: Path | None = None) -> Figures:
    """`check` of one file: at least 0.95x `file_digest`."""
    with scratch(disk) as top:
        store = store_in(top / "ws")
        content = store.put(random_file(top / "model", mib))
        blob = store.path(content.digest)
        digests, checks = [], []
        for _ in range(ROUNDS):
            digests.append(seconds(lambda: file_digest(blob)))
            checks.append(seconds(lambda: store.check(content)))
    return {
        "figure": "check, one file",
        "mib": mib,
        "file_digest_s": round(median(digests), 3),
        "check_s": round(median(checks), 3),
        "speed_against_file_digest": round(median(digests) / median(checks), 2),
        "target_at_least": 0.95,
    }


def cores_worth() -> float:
    """What two threads hashing the same memory gain over one: what the machine leaves us at this moment."""
    block = bytes(256 * 1024)

    def work(times: int) -> None:
        digest = hashlib.sha256()
        for _ in range(times):
            digest.update(block)

    one = seconds(lambda: work(2000))
    with ThreadPoolExecutor(2) as pool:
        two = seconds(lambda: list(pool.map(work, [1000, 1000])))
    return one / two


def verify_directory(files: int = 8, mib: int = 128, disk: Path | None = None) -> Figures:
    """`check` of a directory on two cores: at least 1.7x `file_digest` of its files one after the other."""
    with scratch(disk) as top:
        for number in range(files):
            random_file(top / "model" / f"part-{number}", mib)
        store = store_in(top / "ws")
        content = store.put(top / "model")
        assert content.manifest is not None
        blobs = [store.path(entry.sha256) for entry in content.manifest.entries]
        digests, checks, worth = [], [], []
        for _ in range(ROUNDS):
            worth.append(cores_worth())
            digests.append(seconds(lambda: [file_digest(blob) for blob in blobs]))
            checks.append(seconds(lambda: store.check(content)))
    return {
        "figure": "check, directory",
        "files": files,
        "mib_each": mib,
        "cores": len(os.sched_getaffinity(0)),
        "one_core_file_digest_s": round(median(digests), 3),
        "check_s": round(median(checks), 3),
        "speed_against_one_core": round(median(digests) / median(checks), 2),
        "two_plain_threads_against_one": round(median(worth), 2),
        "target_at_least": 1.7,
    }


MEMORY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sentinelzer0.storage.blobs import LocalBlobStore
def peak():  # of this program alone; ru_maxrss would start with the peak of the parent
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
store = LocalBlobStore(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
store.put_bytes(b"warm")
before = peak()
content = store.put(Path(sys.argv[2]))
store.check(content)
with store.open_private(content.digest):
    print((peak() - before) / 1024)
"""


def peak_memory(mib: int = 4096, disk: Path | None = None) -> Figures:
    """Growth of the peak memory over `put`, `check` and `open_private` of a large file: below 64 MiB."""
    with scratch(disk) as top:
        source = top / "model"
        with source.open("wb") as stream:
            stream.truncate(mib * MIB)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, top / "ws", source], capture_output=True, text=True, check=True
        )
    return {
        "figure": "peak memory of put, check and open_private",
        "mib": mib,
        "growth_mib": round(float(done.stdout), 1),
        "target_below": 64,
    }


def many_small_files(files: int = 500, disk: Path | None = None) -> Figures:
    """`put` of a bundle of 4 kB files, per file."""
    with scratch(disk) as top:
        (top / "model").mkdir()
        for number in range(files):
            (top / "model" / f"{number:05}").write_bytes(os.urandom(4096))
        took = seconds(lambda: store_in(top / "ws").put(top / "model"))
    return {
        "figure": "put, many small files",
        "files": files,
        "s": round(took, 3),
        "ms_each": round(took / files * 1e3, 3),
    }


def measure(mib: int = 1024, disk: Path | None = None) -> list[Figures]:
    """All figures of the blob store."""
    return [
        large_file(mib, disk),
        small_file(disk),
        many_small_files(disk=disk),
        verify_file(mib, disk),
        verify_directory(8, max(1, mib // 8), disk),
        peak_memory(4 * mib, disk),
    ]


if __name__ == "__main__":
    for figures in measure(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1024, Path(sys.argv[2]) if len(sys.argv) > 2 else None
    ):
        print(figures)
