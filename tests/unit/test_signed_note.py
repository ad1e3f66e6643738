from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.signed_note import Checkpoint, VerifierKey, key_id, sign_note, verify_note
from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError

KNOWN = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp_signed_note.json").read_text("utf-8"))
NOTE: str = KNOWN["signed_note"]
VKEY: str = KNOWN["vkey"]

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NAME = "example.com/log"
OUR_VKEY = VerifierKey(NAME, PUBLIC).encode()
ROOT = bytes(range(32))
BODY = Checkpoint(NAME, 42, ROOT).to_body()
OURS = sign_note(BODY, NAME, PUBLIC, PRIVATE.sign)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_the_published_note_verifies_with_its_key() -> None:
    assert verify_note(NOTE, VKEY, verify) == "This is an example message.\n"


def test_the_published_key_has_the_published_key_id() -> None:
    key = VerifierKey.parse(VKEY)
    assert key.name == "example.com/foo"
    assert key_id(key.name, key.public_key).hex() == "530d903a"
    assert key.encode() == VKEY
    assert VerifierKey.parse(f" {VKEY}\n") == key


def test_the_published_checkpoint_is_read_and_written_back() -> None:
    body, _, _ = KNOWN["checkpoint_format_example"].rpartition("\n\n")
    checkpoint = Checkpoint.from_body(body + "\n")
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex().startswith("0ac518")
    assert checkpoint.to_body() == body + "\n"


def test_a_note_is_text_then_empty_line_then_signature() -> None:
    text, signature = OURS.split("\n\n")
    assert text + "\n" == BODY
    assert signature.startswith(f"\u2014 {NAME} ")
    assert verify_note(OURS, OUR_VKEY, verify) == BODY


def test_signatures_of_other_keys_are_ignored() -> None:
    second = sign_note(BODY, "witness", OTHER.public_key().public_bytes_raw(), OTHER.sign).split("\n\n")[1]
    assert verify_note(OURS + second, OUR_VKEY, verify) == BODY
    assert verify_note(OURS.replace("\n\n", "\n\n" + second), OUR_VKEY, verify) == BODY


def test_a_text_may_hold_empty_lines() -> None:
    body = "first\n\n\u2014 not a signature\n"
    assert verify_note(sign_note(body, NAME, PUBLIC, PRIVATE.sign), OUR_VKEY, verify) == body


def test_a_changed_text_is_detected() -> None:
    with pytest.raises(CorruptWorkspaceError, match="does not fit"):
        verify_note(OURS.replace("\n42\n", "\n43\n"), OUR_VKEY, verify)


def test_a_signature_by_another_key_is_not_ours() -> None:
    forged = sign_note(BODY, NAME, OTHER.public_key().public_bytes_raw(), OTHER.sign)
    with pytest.raises(CorruptWorkspaceError, match=r"not signed by example\.com/log"):
        verify_note(forged, OUR_VKEY, verify)


def test_a_signature_made_with_another_private_key_is_detected() -> None:
    forged = sign_note(BODY, NAME, PUBLIC, OTHER.sign)
    with pytest.raises(CorruptWorkspaceError, match="does not fit"):
        verify_note(forged, OUR_VKEY, verify)
    one_good_one_bad = OURS + forged.split("\n\n")[1]
    with pytest.raises(CorruptWorkspaceError, match="does not fit"):
        verify_note(one_good_one_bad, OUR_VKEY, verify)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "\n\n" + OURS.split("\n\n")[1],
        OURS.removesuffix("\n"),
        OURS + "\n",
        OURS + "trailing\n",
        OURS.replace("\u2014", "-"),
        OURS.replace("\u2014 example", "\u2014  example"),
        OURS.replace("\n\n", "\r\n\r\n"),
        OURS.replace("42", "4\t2"),
        OURS.replace("=\n\n", "=\ud800\n\n"),
        OURS[:-2] + "!\n",
        BODY + f"\n\u2014 {NAME} AAAA\n",
        BODY + f"\n\u2014 {NAME}\n",
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    with pytest.raises(InvalidInputError):
        verify_note(note, OUR_VKEY, verify)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        OUR_VKEY.replace(NAME, "example.com/lag"),
        OUR_VKEY.replace(NAME, ""),
        OUR_VKEY.replace(NAME, "two words"),
        OUR_VKEY[:-4],
        OUR_VKEY + "=",
        "example.com/foo+530d903a+AA==",
        "example.com/foo+530d903a+" + "Ag" + VKEY.rpartition("+")[2][2:],
        VKEY.replace("530d903a", "530D903A"),
    ],
)
def test_malformed_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(InvalidInputError):
        VerifierKey.parse(vkey)


def test_a_verifier_key_of_another_signature_type_is_named_as_such() -> None:
    other_type = VKEY.rpartition("+")[0] + "+Ag" + VKEY.rpartition("+")[2][2:]
    with pytest.raises(InvalidInputError, match="signature type 2, not Ed25519"):
        VerifierKey.parse(other_type)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "origin\n1\n",
        BODY.removesuffix("\n"),
        BODY + "\n",
        "\n" + BODY,
        BODY.replace("42", "042"),
        BODY.replace("42", "-1"),
        BODY.replace("42", "4 2"),
        BODY.replace("42", "٤٢"),
        BODY.replace("42", "9" * 20),
        BODY.replace("AAEC", "AAE"),
        BODY.replace("AAEC", "AAEC AAEC"),
        BODY.replace("Hh8=", "Hh9="),
        BODY.replace("\n", "\r\n"),
        "origin\n1\nAAEC\n",
    ],
)
def test_malformed_checkpoints_are_refused(body: str) -> None:
    with pytest.raises(InvalidInputError):
        Checkpoint.from_body(body)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("two\nlines", 1, ROOT, ()),
        ("tab\t", 1, ROOT, ()),
        (NAME, -1, ROOT, ()),
        (NAME, 10**19, ROOT, ()),
        (NAME, 1, ROOT[:-1], ()),
        (NAME, 1, ROOT, ("",)),
    ],
)
def test_values_a_checkpoint_cannot_carry_are_refused(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInputError):
        Checkpoint(origin, size, root, extensions)


@pytest.mark.parametrize("body", ["", "\n", "no newline at the end", "control\x00\n", "surrogate\udfff\n"])
def test_texts_a_note_cannot_carry_are_not_signed(body: str) -> None:
    with pytest.raises(InvalidInputError):
        sign_note(body, NAME, PUBLIC, PRIVATE.sign)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "thin\u2009space"])
def test_names_a_key_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        sign_note(BODY, name, PUBLIC, PRIVATE.sign)


def test_a_signer_that_returns_no_signature_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="64 bytes"):
        sign_note(BODY, NAME, PUBLIC, lambda _message: b"")


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1), max_size=3).map(tuple),
)
def test_any_checkpoint_survives_signing_and_verifying(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    checkpoint = Checkpoint(origin, size, root, extensions)
    note = sign_note(checkpoint.to_body(), NAME, PUBLIC, PRIVATE.sign)
    assert Checkpoint.from_body(verify_note(note, OUR_VKEY, verify)) == checkpoint


@given(st.integers(0, len(OURS) - 1), st.characters(exclude_categories=("Cs",)))
def test_no_character_of_a_note_can_be_replaced(position: int, character: str) -> None:
    changed = OURS[:position] + character + OURS[position + 1 :]
    if changed != OURS:
        with pytest.raises((InvalidInputError, CorruptWorkspaceError)):
            verify_note(changed, OUR_VKEY, verify)
