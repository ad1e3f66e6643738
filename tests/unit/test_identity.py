from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.identity import (
    MAX_IDENTIFIER,
    MAX_LABEL,
    MAX_TEXT,
    Actor,
    check_actor,
    check_identifier,
    check_label,
    check_tags,
    check_text,
    fold,
)
from sentinelzer0.errors import InvalidInputError, InvalidNameError

BAD_IDENTIFIERS = [
    "",
    " ",
    "v 1",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "v1\n",
    "..",
    ".",
    "a..b",
    ".hidden",
    "v1.",
    "-v",
    "+v",
    "x" * (MAX_IDENTIFIER + 1),
    "x" * 10_000,
    "v\u0661",  # ARABIC-INDIC DIGIT ONE
    "\u0430bc",  # CYRILLIC SMALL LETTER A
    "\uff56\uff11",  # FULLWIDTH
    "caf\u00e9",
    "cafe\u0301",
    "a\u200bb",
    "a:b",
    "a@b",
    "a*b",
    "a\ud800",
]


@pytest.mark.parametrize("name", BAD_IDENTIFIERS, ids=ascii)
def test_names_that_are_not_identifiers(name: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_identifier(name, "version")
    assert isinstance(caught.value, ValueError)
    assert "version" in caught.value.message
    assert len(str(caught.value)) < 700, "a message shows a long name only in part"


@pytest.mark.parametrize("name", [None, 1, 1.0, b"v1", ["v1"], True])
def test_only_text_is_a_name(name: object) -> None:
    for check in (check_identifier, check_label):
        with pytest.raises(InvalidNameError):
            check(name, "version")


@pytest.mark.parametrize(
    "name", ["v1", "V1.2.0-rc.1+build_7", "_x", "1", "x" * MAX_IDENTIFIER, "v_20260101_000000_000001"]
)
def test_names_that_are_identifiers(name: str) -> None:
    assert check_identifier(name, "version") == name


@given(st.text(max_size=12))
def test_an_identifier_is_one_safe_path_component(name: str) -> None:
    try:
        check_identifier(name, "version")
    except InvalidNameError:
        return
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>|\0\n ')
    assert name not in {".", ".."}
    assert unicodedata.normalize("NFKC", name) == name
    assert not name.endswith(".")


def test_names_that_differ_in_case_are_the_same_to_a_file_system() -> None:
    assert fold("V1-Rc") == fold("v1-rC")


BAD_LABELS = [
    "",
    " ",
    " a",
    "a ",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\u2028b",
    "..",
    "a..b",
    "a\tb",
    "al  ice",  # two blanks
    "al\u1680ice",  # OGHAM SPACE MARK
    "a\u200bb",  # ZERO WIDTH SPACE
    "a\u202eb",  # RIGHT-TO-LEFT OVERRIDE
    "a\ud800",
    "p\u0430ypal",  # one Cyrillic letter among Latin ones
    "\uff41dmin",  # fullwidth
    "\u2460",  # CIRCLED DIGIT ONE
    "\ufb01ne",  # ligature
    "a" * (MAX_LABEL + 1),
    "a" * 10_000,
    "\u00e9" * 10_000,
]


@pytest.mark.parametrize("label", BAD_LABELS, ids=lambda label: ascii(label)[:30])
def test_words_that_are_no_labels(label: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_label(label, "tag")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "label",
    ["a", "Jos\u00e9 Mu\u00f1oz", "\u0410\u043d\u043d\u0430", "\u738b\u5c0f\u660e", "O'Neil", "team-red@example.org"],
)
def test_words_that_are_labels(label: str) -> None:
    assert check_label(label, "tag") == label


@given(st.text(min_size=1, max_size=8))
def test_twins_become_one_label(text: str) -> None:
    try:
        label = check_label(unicodedata.normalize("NFD", text), "tag")
    except InvalidNameError:
        return
    assert label == check_label(unicodedata.normalize("NFC", text), "tag")
    assert check_label(label, "tag") == label


def test_tags_are_words_without_repetition_in_the_order_given() -> None:
    assert check_tags(None) == ()
    assert check_tags(["b", "a", "b", "caf\u00e9", "cafe\u0301"]) == ("b", "a", "caf\u00e9")
    assert check_tags({"b", "a"}) == ("a", "b")
    assert check_tags(frozenset({"c", "b", "a"})) == ("a", "b", "c")


@pytest.mark.parametrize("tags", ["abc", b"abc", 7, {"a": 1}, [1], {1, "a"}, [None], [["a"]], ["a\nb"], {None}])
def test_what_are_no_tags(tags: object) -> None:
    with pytest.raises(InvalidNameError):
        check_tags(tags)


def test_free_text_keeps_its_lines() -> None:
    assert check_text("one\ntwo\t\u4e09", "notes") == "one\ntwo\t\u4e09"
    assert check_text("", "notes") == ""


@pytest.mark.parametrize("text", [None, 1, "a\0b", "a\ud800", "x" * (MAX_TEXT + 1)], ids=lambda t: ascii(t)[:20])
def test_what_is_no_text(text: object) -> None:
    with pytest.raises(InvalidInputError):
        check_text(text, "notes")


def test_a_required_reason_is_not_blank() -> None:
    for blank in ("", " ", "\n\t"):
        with pytest.raises(InvalidInputError, match="reason"):
            check_text(blank, "reason", required=True)


def test_an_actor_by_name_is_only_asserted() -> None:
    assert check_actor("ana") == Actor("ana", "asserted")
    known = Actor("ana", "oidc")
    assert check_actor(known) is known
    with pytest.raises(InvalidNameError):
        check_actor("")
