"""The key that signs checkpoints: Ed25519, kept outside the workspace it vouches for.

The key lies in ``$SENTINELZER0_SIGNING_KEY_FILE`` or in the user's configuration directory, one per workspace. A
workspace that is copied or altered without it cannot produce a validly signed checkpoint.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sentinelzer0.domain.signed_note import VerifierKey, sign_note, verify_note
from sentinelzer0.errors import WorkspaceError

KEY_BYTES = 32
ENVIRONMENT = "SENTINELZER0_SIGNING_KEY_FILE"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and verifies the checkpoints of one workspace.

    Attributes:
        name: Origin line of the checkpoints.
        vkey: Verifier key, to be published.
    """

    name: str
    vkey: str
    _private: Ed25519PrivateKey | None = None

    def sign(self, body: str) -> str:
        """Return the signed note over ``body``.

        Raises:
            WorkspaceError: The private key is not on this machine.
        """
        if self._private is None:
            raise WorkspaceError(
                "The key that signs this workspace's checkpoints is not on this machine.",
                hint=f"Point {ENVIRONMENT} to it, or sign where it is.",
            )
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return sign_note(body, self.name, public, self._private.sign)

    def verify(self, note: str) -> str:
        """Return the body of a validly signed note.

        Raises:
            InvalidInputError: It is not signed by this key.
        """
        return verify_note(note, self.vkey, _is_valid)


def load_signer(workspace_id: str, vkey_file: Path) -> Signer:
    """Return the workspace's signer; makes its key when the workspace never had one.

    Args:
        workspace_id: The workspace's id, which names its key.
        vkey_file: Where the workspace keeps its verifier key. When it exists but the private key does not, the
            result can only verify.
    """
    name = f"sentinelzer0/{workspace_id}"
    path = key_file(workspace_id)
    if not path.exists() and vkey_file.exists():
        return Signer(name, vkey_file.read_text(encoding="utf-8").strip())
    secret = path.read_bytes() if path.exists() else _create_key(path)
    if len(secret) != KEY_BYTES:
        raise WorkspaceError(
            f"{str(path)!r} is not a signing key: it has {len(secret)} bytes, not {KEY_BYTES}.",
            hint="Restore it from a backup.",
        )
    private = Ed25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Signer(name, VerifierKey(name, public).encode(), private)


def key_file(workspace_id: str) -> Path:
    """Return where the private key of a workspace lies, or would lie."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sentinelzer0" / "keys" / f"{workspace_id}.key"


def _create_key(path: Path) -> bytes:
    """Make a key that only its owner can read; of two processes, the first one's key counts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = Ed25519PrivateKey.generate().private_bytes_raw()
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secret)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(beside, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        beside.unlink()
    return secret


def _is_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
