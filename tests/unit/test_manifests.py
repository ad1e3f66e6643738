from __future__ import annotations

import hashlib
import json

import pytest

from sentinelzer0.domain.manifests import (
    CANONICAL_START,
    ContentKind,
    Manifest,
    ManifestEntry,
    StoredContent,
    check_digest,
    check_member_path,
    check_paths_apart,
)
from sentinelzer0.errors import InvalidInputError, UnsafeModelError

A = hashlib.sha256(b"a").hexdigest()
B = hashlib.sha256(b"b").hexdigest()


def test_the_canonical_form_is_the_documented_one() -> None:
    manifest = Manifest((ManifestEntry("w/b", B, 1, executable=True), ManifestEntry("a", A, 1)))
    expected = (
        '{"entries":[{"executable":false,"path":"a","sha256":"' + A + '","size":1},'
        '{"executable":true,"path":"w/b","sha256":"' + B + '","size":1}],"format":"sentinelzer0-manifest-1"}'
    ).encode()
    assert manifest.canonical_bytes() == expected
    assert manifest.digest() == hashlib.sha256(expected).hexdigest()
    assert expected.startswith(CANONICAL_START)
    assert Manifest.parse(expected) == manifest
    assert manifest.size == 2


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u2028b",
        "a\\b",
        "\u202efdp.exe",
        "e\u0301",  # the NFD twin of é
        "\udcff",  # how Python shows a name that is not UTF-8
        "x" * 256,
        "\u00e9" * 128,
        "/".join(["d"] * 33),
    ],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(UnsafeModelError) as caught:
        check_member_path(path)
    assert caught.value.hint
    str(caught.value).encode()  # the message itself can always be printed


@pytest.mark.parametrize("path", ["a", "...", ".hidden", "a b/ü.pt", "x" * 255, "/".join(["d"] * 32), "模型/权重.bin"])
def test_ordinary_paths_are_accepted(path: str) -> None:
    check_member_path(path)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["Model.pt", "model.pt"], "ignore case"),
        (["W/a", "w/b"], "ignore case"),
        (["stra\u00dfe", "STRASSE"], "ignore case"),
        (["a", "a"], "twice"),
        (["a", "a/b"], "both a file and a directory"),
    ],
)
def test_paths_that_would_meet_are_refused(paths: list[str], words: str) -> None:
    with pytest.raises(UnsafeModelError, match=words):
        check_paths_apart(paths)
    with pytest.raises(UnsafeModelError, match=words):
        Manifest(tuple(ManifestEntry(path, A, 1) for path in paths))


def test_the_same_name_in_two_directories_is_no_twin() -> None:
    check_paths_apart(["a/w", "b/w", "b/x", "ab/w"])


def test_a_manifest_of_nothing_is_refused() -> None:
    with pytest.raises(UnsafeModelError):
        Manifest(())


def _document(**changes: object) -> bytes:
    entry = {"path": "a", "sha256": A, "size": 1, "executable": False} | changes
    return json.dumps(
        {"format": "sentinelzer0-manifest-1", "entries": [entry]}, sort_keys=True, separators=(",", ":")
    ).encode()


def test_the_document_the_next_test_damages_is_right() -> None:
    assert Manifest.parse(_document()).entries == (ManifestEntry("a", A, 1),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"format":"sentinelzer0-manifest-1"}',
        b'{"entries":[],"format":"sentinelzer0-manifest-1"}',
        b'{"entries":[1],"format":"sentinelzer0-manifest-1"}',
        _document().replace(b"-1", b"-2"),
        _document(size=True),
        _document(size=-1),
        _document(size=1.0),
        _document(size=2**53),
        _document(sha256=A.upper()),
        _document(sha256=None),
        _document(executable=1),
        _document(path="../a"),
        _document(path=1),
        _document(more=1),
        _document() + b"\n",
        _document().replace(b":", b": "),
        _document().replace(b'"size":1', b'"size":1,"size":1'),
    ],
)
def test_anything_but_the_canonical_form_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        Manifest.parse(data)


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"])
def test_only_a_sha256_is_a_digest(digest: str) -> None:
    with pytest.raises(InvalidInputError):
        check_digest(digest)


def test_stored_content_takes_the_kind_from_a_database_and_keeps_files_without_manifest() -> None:
    assert StoredContent("directory", A, 1, None, "m").kind is ContentKind.DIRECTORY  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        StoredContent(ContentKind.FILE, A, 1, Manifest((ManifestEntry("a", A, 1),)), "m")
