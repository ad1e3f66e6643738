from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from sentinelzer0.domain.manifests import ContentKind, Manifest, ManifestEntry, StoredContent, check_member_path
from sentinelzer0.errors import IntegrityError, UnsafeModelError
from sentinelzer0.storage.blobs import LocalBlobStore

START = datetime(2031, 5, 1, 12, tzinfo=UTC)

names = st.text(alphabet="abcé.- 模", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
digests = st.binary(max_size=4).map(lambda data: hashlib.sha256(data).hexdigest())
entries = st.builds(ManifestEntry, paths, digests, st.integers(0, 2**53 - 1), st.booleans())


def manifest_of(found: list[ManifestEntry]) -> Manifest | None:
    """The manifest of entries that can stand beside each other; the twins are another test's business."""
    with suppress(UnsafeModelError):
        return Manifest(tuple(found))
    return None


manifests = st.lists(entries, min_size=1, max_size=6).map(manifest_of).filter(bool)


@given(manifests, st.data())
def test_a_manifest_survives_its_bytes_and_forgets_the_order(manifest: Manifest, data: st.DataObject) -> None:
    canonical = manifest.canonical_bytes()
    assert Manifest.parse(canonical) == manifest
    shuffled = data.draw(st.permutations(manifest.entries))
    assert Manifest(tuple(shuffled)).canonical_bytes() == canonical
    assert manifest.digest() == hashlib.sha256(canonical).hexdigest()


@given(manifests, manifests)
def test_different_manifests_have_different_digests(one: Manifest, other: Manifest) -> None:
    assert (one.digest() == other.digest()) == (one == other)


@given(
    st.one_of(st.text(max_size=30), st.lists(st.sampled_from(["a", "..", ".", "", "b\\c"]), max_size=4).map("/".join))
)
def test_an_accepted_path_names_a_new_file_below_its_directory(path: str) -> None:
    try:
        check_member_path(path)
    except UnsafeModelError:
        return
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        target = top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")
        assert target.resolve().is_relative_to(top)
        assert [str(found.relative_to(top)) for found in top.rglob("*") if found.is_file()] == [path]


trees = st.dictionaries(paths, st.binary(max_size=40), min_size=1, max_size=5).filter(
    lambda tree: manifest_of([ManifestEntry(path, "0" * 64, 0) for path in tree]) is not None
)


@settings(max_examples=30)
@given(tree=trees, data=st.data())
def test_a_directory_comes_back_as_it_was_and_any_flipped_bit_is_found(
    tree: dict[str, bytes], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for path, content in tree.items():
            (top / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            (top / "source" / path).write_bytes(content)
        store = LocalBlobStore(top / "ws", now=lambda: START)
        stored = store.put(top / "source")
        store.link(stored, top / "view")
        found = {str(path.relative_to(top / "view")): path for path in (top / "view").rglob("*") if path.is_file()}
        assert {path: file.read_bytes() for path, file in found.items()} == tree
        assert store.check(stored) == []
        assert store.view_problems(stored, top / "view") == []

        blobs = [
            path for path in (top / "ws" / "blobs" / "sha256").rglob("*") if path.is_file() and path.stat().st_size
        ]
        blob = data.draw(st.sampled_from(sorted(blobs)))
        content = blob.read_bytes()
        at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
        key = store.stat_key(stored)
        blob.chmod(0o644)
        blob.write_bytes(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
        assert store.check(stored) != []
        assert store.stat_key(stored) != key
        with pytest.raises(IntegrityError):
            store.open_private(blob.name)
        assert store.put(top / "source") == stored
        assert store.check(stored) == []


class BlobsBesideADict(RuleBasedStateMachine):
    """The store against a dict from digest to bytes and time of the last put."""

    stored = Bundle("stored")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.now = START
        self.store = LocalBlobStore(Path(self.directory.name) / "ws", now=lambda: self.now)
        self.model: dict[str, tuple[bytes, datetime]] = {}

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(target=stored, data=st.binary(min_size=1, max_size=8))
    def put_bytes(self, data: bytes) -> str:
        digest = self.store.put_bytes(data)
        assert digest == hashlib.sha256(data).hexdigest()
        self.model[digest] = (data, self.now)
        return digest

    @rule(target=stored, data=st.binary(min_size=1, max_size=8))
    def put_file(self, data: bytes) -> str:
        source = Path(self.directory.name) / "source"
        source.write_bytes(data)
        content = self.store.put(source)
        self.model[content.digest] = (data, self.now)
        return content.digest

    @rule(digest=stored)
    def corrupt(self, digest: str) -> None:
        if digest in self.model:
            path = self.store.path(digest)
            path.chmod(0o644)
            path.write_bytes(b"damaged " * 2)
            data = self.model[digest][0]
            assert self.store.check(StoredContent(ContentKind.FILE, digest, len(data), None, "f"))
            self.put_bytes(data)

    @rule(hours=st.integers(1, 5))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(keep=st.sets(stored, max_size=3), hours=st.integers(0, 5))
    def collect(self, keep: set[str], hours: int) -> None:
        cutoff = self.now - timedelta(hours=hours)
        gone = {digest for digest, (_, time) in self.model.items() if time < cutoff and digest not in keep}
        assert self.store.collect(keep.__contains__, cutoff) == sorted(gone)
        for digest in gone:
            del self.model[digest]

    @rule(digest=stored)
    def read(self, digest: str) -> None:
        assert self.store.exists(digest) == (digest in self.model)
        if digest in self.model:
            with self.store.open_private(digest) as stream:
                assert stream.read() == self.model[digest][0]
        else:
            with pytest.raises(IntegrityError):
                self.store.open_private(digest)

    @invariant()
    def nothing_else_lies_about(self) -> None:
        files = {path.name for path in (Path(self.directory.name) / "ws").rglob("*") if path.is_file()}
        assert files - {".lock"} == set(self.model)


TestBlobsBesideADict = BlobsBesideADict.TestCase
TestBlobsBesideADict.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
