"""Signed notes and checkpoints in the text formats of C2SP (signed-note, tlog-checkpoint, Ed25519 only).

A checkpoint states in three lines which log, how many records, and the root hash of their Merkle tree. Signed as a
note it is a few lines of text that fit in a mail or a commit, and any C2SP tool can check it:

    example.com/log
    42
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/log Az3grlgtzPIC...

Signing and verifying are injected, so nothing here holds a key or depends on a cryptography package.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError

ED25519 = b"\x01"
"""The signature type byte of C2SP signed notes for Ed25519."""

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_KEY_ID_BYTES = 4
_ROOT_BYTES = 32
_DASH = "\u2014 "
_BODY_LINES = 3
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_VKEY = re.compile(r"([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)")
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

Sign = Callable[[bytes], bytes]
"""Signs a message; returns the 64 bytes of an Ed25519 signature."""

Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (public key, message, signature) belong together."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to at one moment.

    Attributes:
        origin: Name of the log, unique to it.
        size: Number of records.
        root: Root hash of the Merkle tree over them, 32 bytes.
        extensions: Further lines of the note, kept as they are; this package writes none.

    Raises:
        InvalidInputError: A value that the text format cannot carry.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise InvalidInputError(f"A checkpoint line must be one non-empty line: {line!r:.100}.")
            _check_text(line)
        if not _SIZE.fullmatch(str(self.size)):
            raise InvalidInputError(f"A checkpoint cannot state {self.size} records.")
        if len(self.root) != _ROOT_BYTES:
            raise InvalidInputError(f"A root hash has {_ROOT_BYTES} bytes, not {len(self.root)}.")

    def to_body(self) -> str:
        """The text that is signed; ends with a newline."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode("ascii"), *self.extensions)
        return "\n".join(lines) + "\n"

    @classmethod
    def from_body(cls, body: str) -> Checkpoint:
        """Read the signed text of a checkpoint.

        Raises:
            InvalidInputError: The text is not a checkpoint in the exact form ``to_body`` writes.
        """
        lines = body.split("\n")
        if len(lines) < _BODY_LINES + 1 or lines.pop() != "":
            raise InvalidInputError("A checkpoint is at least three lines, each ended by a newline.")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise InvalidInputError(f"The second line of a checkpoint is its size in decimal digits, not {size!r:.40}.")
        return cls(origin, int(size), _decode_base64(root, "the root hash of a checkpoint"), tuple(extensions))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs under.

    Attributes:
        name: Key name: no white space, no plus sign.
        public_key: Ed25519 public key, 32 bytes.

    Raises:
        InvalidInputError: The name or the key cannot be used.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _check_text(self.name)
        if not self.name or "+" in self.name or any(character.isspace() for character in self.name):
            raise InvalidInputError(f"A key name must be text without white space or '+': {self.name!r:.100}.")
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise InvalidInputError(f"An Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public_key)}.")

    def encode(self) -> str:
        """The verifier key as text: ``name+key id in hex+base64``."""
        encoded = base64.b64encode(ED25519 + self.public_key).decode("ascii")
        return f"{self.name}+{key_id(self.name, self.public_key).hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a verifier key, surrounding white space aside.

        Raises:
            InvalidInputError: Not a verifier key, of another signature type, or its key id does not match.
        """
        match = _VKEY.fullmatch(vkey.strip())
        if not match:
            raise InvalidInputError(
                f"{vkey.strip()!r:.100} is not a verifier key.", hint="It looks like name+0123abcd+AbCd...="
            )
        name, stated_id, encoded = match.groups()
        key = _decode_base64(encoded, "a verifier key")
        if key[:1] != ED25519:
            raise InvalidInputError(f"The verifier key of {name!r} is of signature type {key[0]}, not Ed25519 (1).")
        verifier = cls(name, key[1:])
        if key_id(name, verifier.public_key).hex() != stated_id:
            raise InvalidInputError(
                f"The key id {stated_id} of {name!r} does not belong to its key.", hint="Copy the whole verifier key."
            )
        return verifier


def key_id(name: str, public_key: bytes) -> bytes:
    """The 4 bytes that tell keys of the same name apart: the start of SHA-256(name, newline, type, key)."""
    return hashlib.sha256(name.encode("utf-8") + b"\n" + ED25519 + public_key).digest()[:_KEY_ID_BYTES]


def sign_note(body: str, name: str, public_key: bytes, sign: Sign) -> str:
    """Sign a text.

    Args:
        body: The text; ends with a newline.
        name: Key name.
        public_key: The public key that belongs to ``sign``.
        sign: Signs the UTF-8 bytes of the text.

    Returns:
        The note: text, empty line, one signature line.

    Raises:
        InvalidInputError: The text or the name cannot be carried by a note, or the signature is not 64 bytes.
    """
    _check_body(body)
    key = VerifierKey(name, public_key)
    signature = sign(body.encode("utf-8"))
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidInputError(f"An Ed25519 signature has {SIGNATURE_BYTES} bytes, not {len(signature)}.")
    encoded = base64.b64encode(key_id(key.name, key.public_key) + signature).decode("ascii")
    return f"{body}\n{_DASH}{key.name} {encoded}\n"


def verify_note(note: str, vkey: str, verify: Verify) -> str:
    """Check that a note was signed with a key, and return what was signed.

    Signatures of other keys are ignored, as the format demands.

    Args:
        note: The whole note.
        vkey: The verifier key to trust.
        verify: Checks an Ed25519 signature.

    Returns:
        The text of the note, ending with a newline.

    Raises:
        InvalidInputError: The note or the verifier key is malformed.
        CorruptWorkspaceError: The key did not sign the note, or its signature does not fit the text.
    """
    key = VerifierKey.parse(vkey)
    wanted = key_id(key.name, key.public_key)
    body, signatures = _split_note(note)
    found = False
    for name, signature in signatures:
        if name != key.name or signature[:_KEY_ID_BYTES] != wanted:
            continue
        found = True
        if not verify(key.public_key, body.encode("utf-8"), signature[_KEY_ID_BYTES:]):
            raise CorruptWorkspaceError(
                f"The signature of {name} does not fit the note: the text or the signature was changed."
            )
    if not found:
        names = ", ".join(f"{name} ({signature[:_KEY_ID_BYTES].hex()})" for name, signature in signatures)
        raise CorruptWorkspaceError(
            f"The note is not signed by {key.name} ({wanted.hex()}) but by {names}.",
            hint="Check that the verifier key belongs to this log.",
        )
    return body


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    _check_text(note)
    text, blank, block = note.rpartition("\n\n")
    body = text + "\n"
    if not blank or not block.endswith("\n"):
        raise InvalidInputError("A signed note is a text, an empty line and signature lines, each ended by a newline.")
    _check_body(body)
    signatures = []
    for line in block.removesuffix("\n").split("\n"):
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not name or not space:
            raise InvalidInputError(f"A signature line is '{_DASH}name base64', not {line!r:.100}.")
        signature = _decode_base64(encoded, f"the signature of {name}")
        if len(signature) <= _KEY_ID_BYTES:
            raise InvalidInputError(f"The signature of {name} is only {len(signature)} bytes.")
        signatures.append((name, signature))
    return body, signatures


def _check_body(body: str) -> None:
    _check_text(body)
    if not body.strip("\n") or not body.endswith("\n"):
        raise InvalidInputError("The text of a note must not be empty and must end with a newline.")


def _check_text(text: str) -> None:
    bad = _FORBIDDEN.search(text)
    if bad:
        raise InvalidInputError(f"A note cannot hold the control character U+{ord(bad.group()):04X}.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError("A note must be valid Unicode text, without lone surrogates.") from error


def _decode_base64(text: str, what: str) -> bytes:
    """Decode standard base64 and accept only the one spelling an encoder writes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"{text!r:.60} is not base64, so it cannot be {what}.") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise InvalidInputError(f"{text!r:.60} is not the usual base64 spelling of {what}.")
    return data
