from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
import socket
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sentinelzer0.domain.manifests import ContentKind, Manifest, StoredContent
from sentinelzer0.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidInputError,
    ModelFileNotFoundError,
    UnsafeModelError,
)
from sentinelzer0.storage.blobs import MEDIUM, SMALL, LocalBlobStore
from sentinelzer0.storage.staging import PREFIX, temp_name

START = datetime(2031, 5, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "ws", now=clock.now)


def file_of(tmp_path: Path, data: bytes, name: str = "model.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def bundle(tmp_path: Path) -> Path:
    top = tmp_path / "bundle"
    (top / "inner" / "deep").mkdir(parents=True)
    (top / "empty-directory").mkdir()
    (top / "weights.bin").write_bytes(os.urandom(SMALL + 7))
    (top / "inner" / "threshold.json").write_text("0.5")
    (top / "inner" / "deep" / "copy.json").write_text("0.5")
    (top / "inner" / "empty").touch()
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    return top


def everything_below(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_dir()}


def damage(path: Path, at: int = 0) -> None:
    """Flip one bit in place, leaving size and inode as they are."""
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("size", [1, 10_000, SMALL, SMALL + 1, 5 * SMALL + 3])
def test_a_file_is_stored_under_the_sha256_any_tool_prints(store: LocalBlobStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    content = store.put(file_of(tmp_path, data))
    assert content == StoredContent(
        kind=ContentKind.FILE,
        digest=hashlib.sha256(data).hexdigest(),
        size=size,
        manifest=None,
        filename="model.bin",
    )
    with store.open(content.digest) as stream:
        assert stream.read() == data
    assert store.exists(content.digest)
    assert store.path(content.digest).stat().st_mode & 0o777 == 0o444
    assert store.check(content) == []
    assert not [path for path in everything_below(tmp_path / "ws") if path.name.startswith(PREFIX)]


def test_a_directory_is_its_sorted_manifest_and_identical_bytes_are_stored_once(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    top = bundle(tmp_path)
    content = store.put(top)
    assert content.kind is ContentKind.DIRECTORY
    assert content.manifest is not None
    entries = {entry.path: entry for entry in content.manifest.entries}
    assert list(entries) == ["inner/deep/copy.json", "inner/empty", "inner/threshold.json", "run.sh", "weights.bin"]
    for path, entry in entries.items():
        data = (top / path).read_bytes()
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [path for path, entry in entries.items() if entry.executable] == ["run.sh"]
    assert content.size == sum(entry.size for entry in entries.values())
    assert content.digest == hashlib.sha256(store.path(content.digest).read_bytes()).hexdigest()
    assert store.manifest(content.digest) == content.manifest
    assert store.check(content) == []
    blobs = everything_below(tmp_path / "ws" / "blobs" / "sha256")
    assert len(blobs) == 4 + 1  # four distinct files and the manifest

    again = tmp_path / "elsewhere"
    shutil.copytree(top, again)
    assert store.put(again).digest == content.digest
    assert everything_below(tmp_path / "ws" / "blobs" / "sha256") == blobs


def test_a_content_without_its_manifest_reads_it_from_the_store(store: LocalBlobStore, tmp_path: Path) -> None:
    full = store.put(bundle(tmp_path))
    bare = StoredContent(full.kind, full.digest, full.size, None, full.filename)
    assert store.check(bare) == []
    assert store.stat_key(bare) == store.stat_key(full)
    store.link(bare, tmp_path / "view")
    assert store.view_problems(full, tmp_path / "view") == []
    damage(store.path(full.digest), at=40)
    assert len(store.check(bare)) == 1
    assert "The list of files" in store.check(full)[0]
    with pytest.raises(IntegrityError):
        store.stat_key(bare)


def test_bytes_are_stored_under_their_sha256(store: LocalBlobStore) -> None:
    digest = store.put_bytes(b"report")
    assert digest == hashlib.sha256(b"report").hexdigest()
    assert store.put_bytes(b"report") == digest
    assert store.path(digest).read_bytes() == b"report"


def test_progress_starts_at_zero_never_falls_and_ends_at_the_size(store: LocalBlobStore, tmp_path: Path) -> None:
    for source in (file_of(tmp_path, os.urandom(6 * SMALL)), bundle(tmp_path)):
        seen: list[tuple[int, int]] = []
        content = store.put(source, progress=lambda done, size, seen=seen: seen.append((done, size)))  # type: ignore[misc]
        assert seen[0] == (0, content.size)
        assert seen[-1] == (content.size, content.size)
        assert seen == sorted(seen)


def test_an_error_of_the_progress_callback_leaves_nothing_behind(store: LocalBlobStore, tmp_path: Path) -> None:
    def stop(done: int, _size: int) -> None:
        if done:
            raise KeyboardInterrupt

    for source in (file_of(tmp_path, os.urandom(20 * SMALL)), bundle(tmp_path)):
        with pytest.raises(KeyboardInterrupt):
            store.put(source, progress=stop)
        assert everything_below(tmp_path / "ws" / "blobs" / "sha256") == set()


def test_a_missing_source_is_also_a_file_not_found_error(store: LocalBlobStore, tmp_path: Path) -> None:
    file_of(tmp_path, b"x")
    for path in (tmp_path / "no", tmp_path / "model.bin" / "no", tmp_path / ("x" * 10_000), tmp_path / "a\0b"):
        with pytest.raises(ModelFileNotFoundError) as caught:
            store.put(path)
        assert isinstance(caught.value, FileNotFoundError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("kind", ["symlink", "pipe", "socket", "device"])
@pytest.mark.parametrize("inside", [False, True])
def test_only_regular_files_are_stored(
    store: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, inside: bool
) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "good").write_bytes(b"x")
    bad = top / "sub" / "bad"
    match kind:
        case "symlink":
            bad.symlink_to(top / "good")
        case "pipe":
            os.mkfifo(bad)
        case "socket":
            monkeypatch.chdir(bad.parent)  # a socket's path must be short
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind("bad")
        case "device":
            try:
                os.mknod(bad, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("making a device node needs root")
    with pytest.raises(UnsafeModelError, match="bad"):
        store.put(top if inside else bad)
    assert not (tmp_path / "ws").exists()


def test_a_symlink_to_a_directory_inside_a_directory_is_refused(store: LocalBlobStore, tmp_path: Path) -> None:
    top = bundle(tmp_path)
    (top / "loop").symlink_to(top, target_is_directory=True)
    with pytest.raises(UnsafeModelError, match="loop"):
        store.put(top)


def test_nothing_to_store_is_refused(store: LocalBlobStore, tmp_path: Path) -> None:
    (tmp_path / "hollow" / "inner").mkdir(parents=True)
    with pytest.raises(UnsafeModelError, match="no files"):
        store.put(tmp_path / "hollow")
    with pytest.raises(UnsafeModelError, match="empty"):
        store.put(file_of(tmp_path, b""))


@pytest.mark.parametrize("name", ["a\nb", "e\u0301", "a\\b", "\udcff"])
def test_unsafe_names_are_refused(store: LocalBlobStore, tmp_path: Path, name: str) -> None:
    (tmp_path / "top").mkdir()
    bad = file_of(tmp_path / "top", b"x", name)
    for source in (bad, tmp_path / "top"):
        with pytest.raises(UnsafeModelError):
            store.put(source)


def test_names_that_differ_in_case_only_are_refused(store: LocalBlobStore, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    file_of(tmp_path / "top", b"x", "Model.pt")
    file_of(tmp_path / "top", b"y", "model.pt")
    if len(list((tmp_path / "top").iterdir())) == 1:
        pytest.skip("this file system ignores case")
    with pytest.raises(UnsafeModelError, match="ignore case"):
        store.put(tmp_path / "top")


def test_a_directory_that_is_too_deep_is_refused(store: LocalBlobStore, tmp_path: Path) -> None:
    deep = tmp_path / "top"
    for _ in range(33):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")
    with pytest.raises(UnsafeModelError, match="levels deep"):
        store.put(tmp_path / "top")


@pytest.mark.parametrize("digest", ["..", "/etc/passwd", "A" * 64, ""])
def test_no_path_leaves_the_store(store: LocalBlobStore, digest: str) -> None:
    for use in (store.path, store.exists, store.open, store.open_private):
        with pytest.raises(InvalidInputError):
            use(digest)


def test_a_missing_blob_is_an_integrity_error(store: LocalBlobStore, tmp_path: Path) -> None:
    content = StoredContent(ContentKind.FILE, "0" * 64, 1, None, "model.bin")
    assert not store.exists(content.digest)
    assert store.check(content) == ["model.bin is missing"]
    assert store.stat_key(content) == ((),)
    with pytest.raises(IntegrityError):
        store.open(content.digest)
    with pytest.raises(IntegrityError):
        store.open_private(content.digest)
    with pytest.raises(IntegrityError):
        store.link(content, tmp_path / "view")
    assert not (tmp_path / "view").exists()


def test_one_flipped_bit_is_found_named_and_repaired_by_the_original(store: LocalBlobStore, tmp_path: Path) -> None:
    top = bundle(tmp_path)
    content = store.put(top)
    assert content.manifest is not None
    for entry in content.manifest.entries:
        if not entry.size or entry.path == "inner/threshold.json":  # empty, or the same blob as inner/deep/copy.json
            continue
        damage(store.path(entry.sha256), at=entry.size - 1)
        assert [problem.split(" was changed")[0] for problem in store.check(content)] == [entry.path]
        with pytest.raises(IntegrityError):
            store.open_private(entry.sha256)
        assert store.put(top) == content
        assert store.check(content) == []


def test_a_large_damaged_blob_is_healed_by_the_original(store: LocalBlobStore, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1024) * (33 * 1024))
    content = store.put(path)
    damage(store.path(content.digest), at=MEDIUM)
    assert store.check(content)
    assert store.put(path) == content
    assert store.check(content) == []


def test_a_shortened_blob_is_found_and_repaired(store: LocalBlobStore, tmp_path: Path) -> None:
    source = file_of(tmp_path, os.urandom(2 * SMALL))
    content = store.put(source)
    os.truncate(store.path(content.digest), SMALL)
    assert f"it has {SMALL} bytes, not {2 * SMALL}" in store.check(content)[0]
    assert store.put(source) == content
    assert store.check(content) == []


def test_the_stat_key_stays_until_somebody_touches_a_blob(store: LocalBlobStore, tmp_path: Path) -> None:
    content = store.put(bundle(tmp_path))
    store.link(content, tmp_path / "view")
    key = store.stat_key(content)
    assert content.manifest is not None
    assert len(key) == 1 + len(content.manifest.entries)
    assert all(len(part) == 5 for part in key)
    store.check(content)
    with store.open_private(content.manifest.entries[-1].sha256) as stream:
        stream.read()
    assert store.stat_key(content) == key
    blob = store.path(content.manifest.entries[-1].sha256)
    before = blob.stat()
    damage(blob)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))  # as somebody would who wants to hide it
    blob.chmod(before.st_mode & 0o777)
    assert store.stat_key(content) != key


@pytest.mark.parametrize("size", [10_000, MEDIUM, MEDIUM + 1])
def test_private_bytes_were_checked_and_cannot_change(store: LocalBlobStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    digest = store.put(file_of(tmp_path, data)).digest
    with store.open_private(digest) as stream:
        damage(store.path(digest), at=size // 2)
        assert stream.tell() == 0
        assert stream.read() == data
        if size > MEDIUM:
            with pytest.raises(io.UnsupportedOperation):
                stream.write(b"x")
    with pytest.raises(IntegrityError):
        store.open_private(digest)
    assert everything_below(tmp_path / "ws" / "blobs" / "sha256") == {store.path(digest)}


def test_a_view_is_made_of_read_only_hard_links(store: LocalBlobStore, tmp_path: Path) -> None:
    top = bundle(tmp_path)
    content = store.put(top)
    view = tmp_path / "ws" / "versions" / "v1"
    store.link(content, view)
    assert content.manifest is not None
    assert {str(path.relative_to(view)) for path in everything_below(view)} == {
        entry.path for entry in content.manifest.entries
    }
    for entry in content.manifest.entries:
        shown = view / entry.path
        assert shown.read_bytes() == (top / entry.path).read_bytes()
        assert shown.samefile(store.path(entry.sha256))
        assert shown.stat().st_mode & 0o777 == (0o555 if entry.executable else 0o444)
    store.link(content, view)  # the same again is fine
    assert store.view_problems(content, view) == []

    single = store.put(top / "weights.bin")
    store.link(single, view.parent / "v2" / "weights.bin")
    assert (view.parent / "v2" / "weights.bin").samefile(store.path(single.digest))
    assert store.view_problems(single, view.parent / "v2" / "weights.bin") == []


def test_a_view_that_differs_is_described_and_never_overwritten(store: LocalBlobStore, tmp_path: Path) -> None:
    content = store.put(bundle(tmp_path))
    view = tmp_path / "view"
    store.link(content, view)
    (view / "run.sh").unlink()
    (view / "notes.txt").write_text("mine")
    (view / "inner" / "threshold.json").unlink()
    (view / "inner" / "threshold.json").write_text("0.6")
    (view / "inner" / "empty").unlink()
    (view / "inner" / "empty").symlink_to("threshold.json")
    (view / "inner" / "deep" / "copy.json").unlink()
    (view / "inner" / "deep" / "copy.json").write_text("0.5")  # another file with the same bytes is right
    problems = store.view_problems(content, view)
    assert [problem.split()[0] for problem in problems] == [
        "inner/empty",
        "inner/threshold.json",
        "notes.txt",
        "run.sh",
    ]
    for word, problem in zip(["regular", "was changed", "not belong", "missing"], problems, strict=True):
        assert word in problem
    with pytest.raises(AlreadyExistsError):
        store.link(content, view)
    assert (view / "notes.txt").read_text() == "mine"
    store.remove_view(view)
    assert not view.exists()
    store.remove_view(view)
    store.link(content, view)
    assert store.view_problems(content, view) == []
    assert store.check(content) == []
    assert len(store.view_problems(content, tmp_path / "nowhere")) == len(problems) + 1


def test_a_file_in_the_way_of_a_directory_is_left_alone(store: LocalBlobStore, tmp_path: Path) -> None:
    content = store.put(bundle(tmp_path))
    taken = file_of(tmp_path, b"mine", "taken")
    with pytest.raises(AlreadyExistsError):
        store.link(content, taken)
    assert taken.read_bytes() == b"mine"


def test_a_view_on_another_disk_is_a_read_only_copy(store: LocalBlobStore, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at hand")
    content = store.put(bundle(tmp_path))
    view = other / temp_name(datetime.now(UTC)) / "view"
    try:
        store.link(content, view)
        assert store.view_problems(content, view) == []
        assert not (view / "weights.bin").samefile(store.path(store.put(view / "weights.bin").digest))
        assert (view / "run.sh").stat().st_mode & 0o777 == 0o555
        assert list(view.parent.iterdir()) == [view]
        store.remove_view(view)
        assert list(view.parent.iterdir()) == []
    finally:
        shutil.rmtree(view.parent)


def test_collecting_removes_what_is_old_and_unreferenced_only(
    store: LocalBlobStore, tmp_path: Path, clock: Clock
) -> None:
    kept = store.put(bundle(tmp_path))
    seen = store.put(file_of(tmp_path, b"in a view"))
    store.link(seen, tmp_path / "ws" / "versions" / "v1" / "model.bin")
    orphan = store.put_bytes(b"orphan")
    renewed = store.put_bytes(b"stored again")
    blobs = tmp_path / "ws" / "blobs" / "sha256"
    stale, fresh = blobs / temp_name(START), blobs / temp_name(START + timedelta(hours=2))
    stale.mkdir()
    (stale / "part").write_bytes(b"x")
    fresh.write_bytes(b"x")
    foreign = [blobs / "notes.txt", blobs / orphan[:2] / "notes.txt", blobs / orphan[:2] / ("0" * 63 + "g")]
    foreign += [blobs / (PREFIX + "without-a-time"), blobs / "ab" / ("cd" + "0" * 62)]
    foreign[-1].parent.mkdir(exist_ok=True)
    for path in foreign:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))

    clock.time += timedelta(hours=3)
    assert store.put_bytes(b"stored again") == renewed
    young = store.put_bytes(b"young")
    asked: list[str] = []

    def referenced(digest: str) -> bool:
        asked.append(digest)
        return digest == kept.digest

    assert store.collect(referenced, START) == []
    assert store.collect(referenced, START + timedelta(hours=1)) == sorted([orphan, stale.name])
    assert store.check(kept) == []
    assert store.check(seen) == []
    assert store.exists(young)
    assert store.exists(renewed)
    assert fresh.exists()
    assert all(path.exists() for path in foreign)
    assert set(asked) >= {kept.digest, orphan}
    store.remove_view(tmp_path / "ws" / "versions" / "v1" / "model.bin")
    assert store.collect(referenced, START + timedelta(hours=1)) == [seen.digest]


def test_nothing_is_collected_while_a_manifest_in_use_cannot_be_read(
    store: LocalBlobStore, tmp_path: Path, clock: Clock
) -> None:
    kept = store.put(bundle(tmp_path))
    orphan = store.put_bytes(b"orphan")
    damage(store.path(kept.digest), at=60)
    clock.time += timedelta(hours=1)
    with pytest.raises(IntegrityError):
        store.collect(kept.digest.__eq__, clock.time)
    assert store.exists(orphan)


def test_collecting_in_an_empty_workspace_finds_nothing(store: LocalBlobStore, tmp_path: Path) -> None:
    assert store.collect(lambda _: False, START) == []
    assert not (tmp_path / "ws").exists()


def test_a_blob_that_only_looks_like_a_manifest_is_not_taken_for_one(store: LocalBlobStore) -> None:
    with pytest.raises(IntegrityError):
        store.manifest(store.put_bytes(b'{"entries":[]}'))


@pytest.mark.parametrize("missing", [("copy_file_range",), ("copy_file_range", "ioctl")])
def test_without_the_kernel_copy_the_bytes_are_the_same(
    store: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    if "ioctl" in missing:
        monkeypatch.setattr(fcntl, "ioctl", refuse)
    data = os.urandom(3 * SMALL + 5)
    content = store.put(file_of(tmp_path, data))
    assert content.digest == hashlib.sha256(data).hexdigest()
    assert store.check(content) == []


def test_a_manifest_survives_the_way_through_the_store(store: LocalBlobStore, tmp_path: Path) -> None:
    content = store.put(bundle(tmp_path))
    with store.open_private(content.digest) as stream:
        assert Manifest.parse(stream.read()) == content.manifest
