"""The Merkle tree of RFC 6962: hashes, an append-only frontier, inclusion and consistency proofs.

A tree over ``size`` leaves has one shape. Every perfect subtree in it is a node ``(level, index)``: the subtree over
the leaves ``[index * 2**level, (index + 1) * 2**level)``; level 0 holds the leaf hashes. A stored node never changes
when leaves are appended, so storage keeps nodes by that key and proofs fetch O(log size) of them.

Proofs follow RFC 6962 section 2.1, verification RFC 9162 sections 2.1.3.2 and 2.1.4.2. Hashes are SHA-256, 32 bytes.
Leaves and inner nodes are hashed with different prefix bytes, so neither can pass for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sentinelzer0.errors import InvalidInputError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""Root of the tree without leaves."""

MAX_SIZE = 2**63 - 1
"""Most leaves a frontier may hold: what a signed 64-bit database column can count."""

GetNode = Callable[[int, int], bytes]
"""Looks up the hash of the perfect subtree ``(level, index)``."""

Node = tuple[int, int, bytes]
"""A perfect subtree: level, index, hash."""

_ONE_HASH_LENGTH = frozenset({HASH_BYTES})
_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256 of the byte 0x00 followed by the data."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of the byte 0x01 followed by both child hashes."""
    return _sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to append to a tree and know its root.

    Attributes:
        size: Number of leaves.
        peaks: Hashes of the perfect subtrees the tree falls into, largest first; one per set bit of ``size``.

    Raises:
        InvalidInputError: Size and peaks do not belong together.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.peaks) != self.size.bit_count():
            raise InvalidInputError(f"A tree of {self.size} leaves cannot have {len(self.peaks)} perfect subtrees.")
        if not _ONE_HASH_LENGTH.issuperset(map(len, self.peaks)):  # one call, whatever the number of peaks
            raise InvalidInputError(f"Every perfect subtree has a SHA-256 hash of {HASH_BYTES} bytes.")

    def append(self, leaf: bytes) -> tuple[Frontier, list[Node]]:
        """Add one leaf.

        Args:
            leaf: The hash of the leaf (``leaf_hash(data)``), 32 bytes.

        Returns:
            The new frontier, and every perfect subtree this leaf completes, the leaf itself at level 0 first.

        Raises:
            InvalidInputError: The leaf is not 32 bytes, or the tree is full.
        """
        _check_hash(leaf)
        peaks = list(self.peaks)
        index = self.size
        node = leaf
        nodes = [(0, index, node)]
        level = 0
        while index & 1:  # the tree ends in a perfect subtree of this level: the two merge
            node = node_hash(peaks.pop(), node)
            index >>= 1
            level += 1
            nodes.append((level, index, node))
        peaks.append(node)
        return Frontier(self.size + 1, tuple(peaks)), nodes

    def root(self) -> bytes:
        """The root hash of the tree."""
        return _fold(self.peaks)

    def to_bytes(self) -> bytes:
        """The size as 8 big-endian bytes, then the peaks, 32 bytes each."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Read what ``to_bytes`` wrote.

        Raises:
            InvalidInputError: The bytes have the wrong length for the size they state.
        """
        size = int.from_bytes(data[:8], "big")
        if len(data) != 8 + HASH_BYTES * size.bit_count():
            raise InvalidInputError(f"{len(data)} bytes are not a tree frontier of {size} leaves.")
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in range(8, len(data), HASH_BYTES)))


def root_from_leaves(leaves: Iterable[bytes]) -> bytes:
    """Root of the tree over the given leaf data (not leaf hashes), read once and in order."""
    peaks: list[bytes] = []
    for position, data in enumerate(leaves):
        node = leaf_hash(data)
        index = position
        while index & 1:
            node = node_hash(peaks.pop(), node)
            index >>= 1
        peaks.append(node)
    return _fold(peaks)


def inclusion_proof(index: int, size: int, get_node: GetNode) -> list[bytes]:
    """Build the path that proves leaf ``index`` is in the tree of ``size`` leaves, from the leaf up.

    Args:
        index: Position of the leaf, from 0.
        size: Number of leaves of the tree; later leaves do not matter.
        get_node: Looks up stored perfect subtrees of that tree.

    Raises:
        InvalidInputError: The index is outside the tree.
    """
    if not 0 <= index < size:
        raise InvalidInputError(f"Leaf {index} is not in a tree of {size} leaves.")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        if index < middle:
            path.append(_range_root(middle, end, get_node))
            end = middle
        else:
            path.append(_range_root(start, middle, get_node))
            start = middle
    path.reverse()
    return path


def consistency_proof(old_size: int, new_size: int, get_node: GetNode) -> list[bytes]:
    """Build the proof that the tree of ``old_size`` leaves is a prefix of the tree of ``new_size`` leaves.

    The proof is empty when the sizes are equal or the old tree is empty.

    Args:
        old_size: Leaves of the earlier tree.
        new_size: Leaves of the later tree.
        get_node: Looks up stored perfect subtrees of the later tree.

    Raises:
        InvalidInputError: Not ``0 <= old_size <= new_size``.
    """
    if not 0 <= old_size <= new_size:
        raise InvalidInputError(f"A tree of {old_size} leaves cannot be a prefix of one of {new_size}.")
    if old_size in (0, new_size):
        return []
    path: list[bytes] = []
    start, end = 0, new_size
    while old_size != end:
        middle = start + _left_size(end - start)
        if old_size <= middle:
            path.append(_range_root(middle, end, get_node))
            end = middle
        else:
            path.append(_range_root(start, middle, get_node))
            start = middle
    if start:  # otherwise the last subtree is the whole old tree, whose root the verifier has
        path.append(_range_root(start, end, get_node))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that the leaf hash is at ``index`` in the tree with this size and root.

    Source: RFC 9162, section 2.1.3.2. Malformed input gives False, never an exception.
    """
    if not 0 <= index < size:
        return False
    node, last, current = leaf, size - 1, index
    for sibling in proof:
        if last == 0:
            return False
        if current & 1 or current == last:
            node = node_hash(sibling, node)
            while not current & 1 and current:
                current >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        current >>= 1
        last >>= 1
    return last == 0 and node == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the old tree is a prefix of the new one.

    Source: RFC 9162, section 2.1.4.2; as there, equal sizes need equal roots and an empty proof. The empty tree is a
    prefix of every tree. Malformed input gives False, never an exception.
    """
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:  # a perfect old tree is its own first node
        hashes.insert(0, old_root)
    if not hashes:
        return False
    current, last = old_size - 1, new_size - 1
    while current & 1:
        current >>= 1
        last >>= 1
    old_node = new_node = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if current & 1 or current == last:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
            while not current & 1 and current:
                current >>= 1
                last >>= 1
        else:
            new_node = node_hash(new_node, sibling)
        current >>= 1
        last >>= 1
    return last == 0 and old_node == old_root and new_node == new_root


def _check_hash(value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise InvalidInputError(f"A SHA-256 hash has {HASH_BYTES} bytes, not {len(value)}.")


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Root over perfect subtrees given largest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _left_size(size: int) -> int:
    """Largest power of two smaller than ``size`` (at least 2): where RFC 6962 splits a tree."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(start: int, end: int, get_node: GetNode) -> bytes:
    """Root over the leaves [start, end), where ``start`` is a multiple of the largest perfect subtree inside."""
    peaks = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(get_node(level, start >> level))
        start += 1 << level
    return _fold(peaks)
