"""What the blob store does when the disk, the source or the process fails at the worst moment."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import SourceChangedError, StorageFullError
from sentinelzer0.storage.blobs import SMALL, LocalBlobStore
from sentinelzer0.storage.staging import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
LATER = datetime.now(UTC) + timedelta(days=1)

PUT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sentinelzer0.errors import StorageUnavailableError
from sentinelzer0.storage.blobs import LocalBlobStore
store = LocalBlobStore(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
try:
    store.put(Path(sys.argv[2]))
except StorageUnavailableError as error:
    sys.exit(f"unavailable: {error}")
"""


def open_store(root: Path) -> LocalBlobStore:
    return LocalBlobStore(root, now=lambda: datetime.now(UTC))


def blob_files(root: Path) -> list[Path]:
    return [path for path in (root / "blobs" / "sha256").rglob("*") if path.is_file()]


def require_sound(root: Path) -> None:
    """Every blob holds what its name says; nothing else lies about."""
    for path in blob_files(root):
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()


def model(tmp_path: Path, kind: str) -> Path:
    if kind == "small":
        (tmp_path / "model").write_bytes(os.urandom(10_000))
    elif kind == "large":
        (tmp_path / "model").write_bytes(os.urandom(3 * SMALL))
    else:
        (tmp_path / "model").mkdir()
        for name, size in (("a", 100), ("b", 2 * SMALL), ("c", 200)):
            (tmp_path / "model" / name).write_bytes(os.urandom(size))
    return tmp_path / "model"


@contextmanager
def tiny_disk(at: Path, size: str) -> Iterator[Path]:
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting a small tmpfs needs root: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize("kind", ["small", "large", "directory"])
def test_a_full_disk_keeps_nothing_and_the_store_goes_on(tmp_path: Path, kind: str) -> None:
    source = model(tmp_path, kind)
    with tiny_disk(tmp_path / "disk", "1m") as disk:
        store = open_store(disk)
        before = store.put_bytes(b"before")
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while stream.write(b"x" * 4096):
                pass
        with pytest.raises(StorageFullError):
            store.put(source)
        assert [path.name for path in blob_files(disk)] == [before]
        ballast.unlink()
        assert store.put_bytes(b"after")
        assert store.collect(lambda _: True, LATER) == []


def test_a_full_disk_leaves_no_half_view(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ws")
    content = store.put(model(tmp_path, "directory"))
    with tiny_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(StorageFullError):
            store.link(content, disk / "view")
        assert list(disk.iterdir()) == []


def run_put(root: Path, source: Path, *injection: str, log: Path) -> subprocess.CompletedProcess[str]:
    """Store a model in a process whose system calls are tampered with."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "-qq", "-y", "-o", str(log), *injection, sys.executable, "-c", PUT]
    done = subprocess.run(
        [*command, str(root), str(source)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in done.stderr:
        pytest.skip(f"tracing is not permitted: {done.stderr.strip()}")
    return done


# strace counts calls per thread: in a new workspace the directories fail first, in a used one the files do.
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", ["small", "large", "directory"])
def test_a_failed_fsync_is_reported_and_never_retried(tmp_path: Path, kind: str, used: bool) -> None:
    source, root, log = model(tmp_path, kind), tmp_path / "ws", tmp_path / "log"
    failed_files = set()
    failures = 0
    for count in range(1, 30):
        if used:
            open_store(root).put_bytes(b"first")
        inject = ("-e", "trace=fsync", "-e", f"inject=fsync:error=EIO:when={count}")
        done = run_put(root, source, *inject, log=log)
        if done.returncode == 0:
            break
        failures += 1
        assert "unavailable" in done.stderr, done.stderr
        failed = re.findall(r"fsync\(\d+<([^>]+)>.*INJECTED", log.read_text())
        assert failed
        for path in failed:
            after = log.read_text().rpartition(f"<{path}>")[2]
            assert "INJECTED" in after.partition("\n")[0]  # the failed call was the last one on this path
        failed_files |= {path for path in failed if PREFIX in path}
        assert not [path for path in blob_files(root) if path.name.startswith(PREFIX)]
        require_sound(root)
        shutil.rmtree(root, ignore_errors=True)
    assert "INJECTED" not in log.read_text()  # the loop went past the last fsync
    assert failures >= 2
    assert failed_files or not used
    store = open_store(root)
    assert store.check(store.put(source)) == []


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
@pytest.mark.parametrize("call", ["copy_file_range", "rename", "chmod"])
def test_any_other_failing_call_is_reported_and_leaves_no_temp(tmp_path: Path, call: str, error: str) -> None:
    source, root, log = model(tmp_path, "large"), tmp_path / "ws", tmp_path / "log"
    done = run_put(root, source, "-e", f"trace={call}", "-e", f"inject={call}:error={error}", log=log)
    assert "INJECTED" in log.read_text()
    assert "unavailable" in done.stderr
    assert blob_files(root) == []


@pytest.mark.parametrize("kind", ["small", "large", "directory"])
def test_a_source_that_cannot_be_read_is_refused(tmp_path: Path, kind: str) -> None:
    """Injected, because root may read everything."""
    source, root, log = model(tmp_path, kind), tmp_path / "ws", tmp_path / "log"
    inject = ("-P", str(source), "-e", "trace=openat", "-e", "inject=openat:error=EACCES")
    done = run_put(root, source, *inject, log=log)
    assert f"UnsafeModelError: '{source}' cannot be read: Permission denied" in done.stderr
    assert blob_files(root) == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("kind", ["small", "large", "directory"])
def test_a_killed_put_leaves_whole_blobs_and_temps_that_are_collected(tmp_path: Path, kind: str, call: str) -> None:
    source, root, log = model(tmp_path, kind), tmp_path / "ws", tmp_path / "log"
    killed = 0
    for count in range(1, 30):
        open_store(root).put_bytes(b"first")
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}")
        if run_put(root, source, *inject, log=log).returncode == 0:
            break
        killed += 1
        store = open_store(root)
        blobs = [path for path in blob_files(root) if not path.name.startswith(PREFIX)]
        for path in blobs:
            assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()
        store.collect(lambda _: False, LATER)
        assert blob_files(root) == []
        shutil.rmtree(root / "blobs", ignore_errors=True)
    assert killed >= {"fsync": 2, "rename": 1}[call]
    store = open_store(root)
    assert store.check(store.put(source)) == []


def test_a_disk_that_cannot_be_read_is_a_problem_in_plain_words(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    store = open_store(tmp_path / "ws")
    content = store.put(model(tmp_path, "large"))
    script = PUT.split("try:", maxsplit=1)[0] + (
        "from sentinelzer0.domain.manifests import StoredContent\n"
        "print(store.check(StoredContent('file', sys.argv[2], int(sys.argv[3]), None, 'model')))\n"
    )
    inject = ["-P", str(store.path(content.digest)), "-e", "trace=read", "-e", "inject=read:error=EIO:when=2+"]
    command = ["strace", "-f", "-qq", "-o", str(tmp_path / "log"), *inject, sys.executable, "-c", script]
    done = subprocess.run(
        [*command, str(tmp_path / "ws"), content.digest, str(content.size)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in done.stderr:
        pytest.skip(f"tracing is not permitted: {done.stderr.strip()}")
    assert done.stdout.strip() == "['model cannot be read: Input/output error']", done.stderr


def _append(source: Path) -> None:
    with source.open("ab") as stream:
        stream.write(b"x")


def _replace(source: Path) -> None:
    twin = source.with_name("twin")
    shutil.copy2(source, twin)
    twin.replace(source)


def _touch(source: Path) -> None:
    os.utime(source, ns=(1, 1))


def _remove(source: Path) -> None:
    source.unlink()


def _link(source: Path) -> None:
    source.rename(source.with_name("real"))
    source.symlink_to("real")


@pytest.mark.parametrize("kind", ["small", "large"])
@pytest.mark.parametrize("change", [_append, _replace, _touch, _remove])
def test_a_file_that_changes_after_it_was_found_is_refused(
    tmp_path: Path, kind: str, change: Callable[[Path], None]
) -> None:
    source = model(tmp_path, kind)

    def progress(done: int, _size: int) -> None:
        if done == 0:
            change(source)

    with pytest.raises(SourceChangedError):
        open_store(tmp_path / "ws").put(source, progress=progress)
    assert blob_files(tmp_path / "ws") == []


@pytest.mark.parametrize("change", [_append, _replace, _touch, _remove, _link])
def test_a_directory_that_changes_after_a_file_was_copied_is_refused(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    source = model(tmp_path, "directory")
    changed = []

    def progress(done: int, size: int) -> None:
        if done == size:  # every file was copied, and was unchanged then
            change(source / "a")
            changed.append(done)

    with pytest.raises(SourceChangedError):
        open_store(tmp_path / "ws").put(source, progress=progress)
    assert changed
    assert blob_files(tmp_path / "ws") == []


@pytest.mark.parametrize("name", ["d", "sub/d"])
def test_a_file_that_appears_during_the_copy_is_refused(tmp_path: Path, name: str) -> None:
    source = model(tmp_path, "directory")

    def progress(done: int, _size: int) -> None:
        if done:
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(b"late")

    with pytest.raises(SourceChangedError, match="added"):
        open_store(tmp_path / "ws").put(source, progress=progress)
    assert blob_files(tmp_path / "ws") == []


def test_a_file_that_another_thread_keeps_writing_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(bytes(48 * SMALL))
    stop, started = threading.Event(), threading.Event()

    def write() -> None:
        with source.open("r+b", buffering=0) as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(os.urandom(16))  # the size stays the same
                started.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert started.wait(30)
        with pytest.raises(SourceChangedError):
            open_store(tmp_path / "ws").put(source)
    finally:
        stop.set()
        writer.join()
    assert blob_files(tmp_path / "ws") == []


CROWD = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from sentinelzer0.storage.blobs import LocalBlobStore
root, sources = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
store = LocalBlobStore(root, now=lambda: datetime.now(UTC))
start, go = os.pipe()
children = []
for number in range(16):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(go)
            os.read(start, 1)  # all begin together, when the parent closes its end
            own = store.put_bytes(b"own %d" % number)
            for turn in range(3):
                for source in sources:
                    content = store.put(source)
                    assert store.check(content) == [], store.check(content)
                    store.link(content, root / "versions" / source.name)
                assert store.exists(own)
            status = 0
        finally:
            os._exit(status)
    children.append(child)
os.close(go)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_sixteen_processes_store_the_same_bytes_at_once(tmp_path: Path) -> None:
    sources = []
    for kind in ("small", "large", "directory"):
        (tmp_path / kind).mkdir()
        sources.append(model(tmp_path / kind, kind).rename(tmp_path / f"model-{kind}"))
    command = [sys.executable, "-c", CROWD, str(tmp_path / "ws"), *map(str, sources)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    require_sound(tmp_path / "ws")
    assert len(blob_files(tmp_path / "ws")) == 16 + 1 + 1 + 4
    store = open_store(tmp_path / "ws")
    for source in sources:
        content = store.put(source)
        view = tmp_path / "ws" / "versions" / source.name
        assert store.view_problems(content, view) == []
        for path in [view] if view.is_file() else view.iterdir():
            assert path.stat().st_nlink == 2  # the view shares the blob, so the bytes are there once


def test_collecting_beside_a_put_of_the_same_bytes_never_takes_them_away(tmp_path: Path) -> None:
    """An old orphan is collected while another thread stores the same bytes: afterwards they are there."""
    source = model(tmp_path, "small")
    store = open_store(tmp_path / "ws")
    for _ in range(30):
        content = store.put(source)
        os.utime(store.path(content.digest), (1, 1))
        cutoff = datetime.now(UTC) - timedelta(hours=1)
        putting = threading.Thread(target=store.put, args=(source,))
        putting.start()
        store.collect(lambda _: False, cutoff)
        putting.join()
        assert store.check(content) == []


MEMORY = (
    PUT.split("try:", maxsplit=1)[0]
    + """
def peak():  # of this program alone; ru_maxrss would start with the peak of the parent
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
store.put_bytes(b"warm")
before = peak()
content = store.put(Path(sys.argv[2]))
assert store.check(content) == []
with store.open_private(content.digest) as stream:
    assert stream.tell() == 0
print(peak() - before)
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = tmp_path / "model"
    with source.open("wb") as stream:
        stream.truncate(256 * SMALL)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "ws", source],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 < int(done.stdout) < 16 * 1024  # KiB
