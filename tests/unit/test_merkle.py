from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_leaves,
    verify_consistency,
    verify_inclusion,
)
from sentinelzer0.errors import InvalidInputError

KNOWN = json.loads((Path(__file__).parents[1] / "vectors" / "rfc6962_ct_known_answers.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in KNOWN["leaves"]]
SIZES = range(1, 34)


def unhex(values: list[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in values]


class Grown:
    """A tree grown leaf by leaf, with every stored node and a count of look-ups."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [EMPTY_ROOT]
        self.lookups = 0
        frontier = Frontier()
        for leaf in leaves:
            frontier, new = frontier.append(leaf_hash(leaf))
            assert not self.nodes.keys() & {(level, index) for level, index, _ in new}
            self.nodes.update({(level, index): node for level, index, node in new})
            self.roots.append(frontier.root())

    def get_node(self, level: int, index: int) -> bytes:
        self.lookups += 1
        return self.nodes[level, index]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = max(1 << bit for bit in range(len(leaves).bit_length()) if 1 << bit < len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def data(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def test_published_hashes() -> None:
    assert EMPTY_ROOT.hex() == KNOWN["empty_root"]
    for leaf, expected in KNOWN["leaf_hashes"]:
        assert leaf_hash(bytes.fromhex(leaf)).hex() == expected
    for left, right, expected in KNOWN["node_hashes"]:
        assert node_hash(bytes.fromhex(left), bytes.fromhex(right)).hex() == expected


def test_published_roots() -> None:
    assert [root.hex() for root in Grown(LEAVES).roots[1:]] == KNOWN["roots_by_size_1_to_8"]
    assert [root_from_leaves(LEAVES[:size]).hex() for size in range(1, 9)] == KNOWN["roots_by_size_1_to_8"]
    assert root_from_leaves([]) == Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("case", KNOWN["inclusion_paths"])
def test_published_inclusion_paths(case: dict[str, Any]) -> None:
    tree, index, size = Grown(LEAVES), case["leaf_1based"] - 1, case["tree_size"]
    assert inclusion_proof(index, size, tree.get_node) == unhex(case["path"])
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, unhex(case["path"]), tree.roots[size])


@pytest.mark.parametrize("case", KNOWN["consistency"])
def test_published_consistency_proofs(case: dict[str, Any]) -> None:
    old, new, proof = case["size1"], case["size2"], unhex(case["proof"])
    assert consistency_proof(old, new, Grown(LEAVES).get_node) == proof
    assert verify_consistency(old, new, bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"]), proof)


def test_a_certificate_in_a_real_log() -> None:
    case = KNOWN["real_ct_log_inclusion"]
    leaf, path, root = bytes.fromhex(case["leaf_hex"]), unhex(case["audit_path"]), bytes.fromhex(case["root"])
    index, size = int(case["leaf_index"]), int(case["tree_size"])
    assert leaf_hash(leaf).hex() == case["leaf_hash"]
    assert verify_inclusion(leaf_hash(leaf), index, size, path, root)
    assert not verify_inclusion(leaf_hash(leaf), index + 1, size, path, root)


def test_every_inclusion_proof_holds_for_its_leaf_only() -> None:
    leaves = data(33)
    tree = Grown(leaves)
    for size in SIZES:
        for index in range(size):
            proof = inclusion_proof(index, size, tree.get_node)
            for claimed in range(size):
                holds = verify_inclusion(leaf_hash(leaves[claimed]), index, size, proof, tree.roots[size])
                assert holds == (claimed == index)


def test_every_consistency_proof_holds_for_its_roots_only() -> None:
    tree = Grown(data(33))
    for new in SIZES:
        for old in range(new + 1):
            proof = consistency_proof(old, new, tree.get_node)
            assert verify_consistency(old, new, tree.roots[old], tree.roots[new], proof)
            assert not verify_consistency(old, new, b"\x01" * 32, tree.roots[new], proof)
            # An empty old tree is a prefix of anything, so only then may the new root be any.
            assert verify_consistency(old, new, tree.roots[old], b"\x01" * 32, proof) == (old == 0)


@given(st.integers(1, 200), st.data())
def test_a_changed_proof_never_verifies(size: int, draw: st.DataObject) -> None:
    leaves = data(size)
    tree = Grown(leaves)
    index = draw.draw(st.integers(0, size - 1))
    old = draw.draw(st.integers(1, size))
    inclusion = inclusion_proof(index, size, tree.get_node)
    consistency = consistency_proof(old, size, tree.get_node)
    for proof, check in (
        (inclusion, lambda p: verify_inclusion(leaf_hash(leaves[index]), index, size, p, tree.roots[size])),
        (consistency, lambda p: verify_consistency(old, size, tree.roots[old], tree.roots[size], p)),
    ):
        assert check(proof)
        assert not check([*proof, b"\x00" * 32])
        for position, node in enumerate(proof):
            assert not check(proof[:position] + proof[position + 1 :])
            flipped = bytes([node[0] ^ 1]) + node[1:]
            assert not check([*proof[:position], flipped, *proof[position + 1 :]])


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_roots_are_those_of_the_definition(leaves: list[bytes]) -> None:
    assert Grown(leaves).roots[-1] == root_from_leaves(iter(leaves)) == naive_root(leaves)


@given(st.integers(1, 130))
def test_nodes_are_the_roots_of_their_leaves(size: int) -> None:
    leaves = data(size)
    for (level, index), node in Grown(leaves).nodes.items():
        assert node == naive_root(leaves[index << level : (index + 1) << level])


def test_proofs_take_a_logarithmic_number_of_lookups() -> None:
    size = 5000
    tree = Grown(data(size))
    for index in range(0, size, 37):
        tree.lookups = 0
        proof = inclusion_proof(index, size, tree.get_node)
        assert len(proof) <= 13
        assert tree.lookups <= 2 * 13
        tree.lookups = 0
        consistency_proof(index + 1, size, tree.get_node)
        assert tree.lookups <= 2 * 13


@given(st.integers(0, 300))
def test_a_frontier_survives_its_bytes(size: int) -> None:
    frontier = Frontier()
    for leaf in data(size):
        frontier, _ = frontier.append(leaf_hash(leaf))
    stored = frontier.to_bytes()
    assert Frontier.from_bytes(stored) == frontier
    for damaged in (stored[:-1], stored + b"\x00", stored[:7]):
        with pytest.raises(InvalidInputError):
            Frontier.from_bytes(damaged)


@pytest.mark.parametrize("stored", [b"", b"\x00" * 7, b"\x00" * 9, b"\xff" * 8 + b"\x00" * 32 * 64])
def test_bytes_that_are_no_frontier_are_refused(stored: bytes) -> None:
    with pytest.raises(InvalidInputError):
        Frontier.from_bytes(stored)


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, ()), (0, (b"\x00" * 32,)), (-1, (b"\x00" * 32,)), (3, (b"\x00" * 32,))]
)
def test_size_and_peaks_must_agree(size: int, peaks: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidInputError, match="perfect subtrees"):
        Frontier(size, peaks)


def test_a_peak_must_be_a_hash() -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        Frontier(1, (b"short",))


@pytest.mark.parametrize("leaf", [b"", b"x" * 31, b"x" * 33])
def test_only_hashes_are_appended(leaf: bytes) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        Frontier().append(leaf)


def test_a_full_tree_is_refused() -> None:
    full = Frontier(MAX_SIZE, (b"\x00" * 32,) * MAX_SIZE.bit_count())
    with pytest.raises(InvalidInputError):
        full.append(b"\x00" * 32)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4), (0, -1)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(InvalidInputError, match="not in a tree"):
        inclusion_proof(index, size, Grown(data(4)).get_node)
    assert not verify_inclusion(b"\x00" * 32, index, size, [], b"\x00" * 32)


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 4), (1, 0)])
def test_a_larger_tree_is_no_prefix(old: int, new: int) -> None:
    with pytest.raises(InvalidInputError, match="prefix"):
        consistency_proof(old, new, Grown(data(4)).get_node)
    assert not verify_consistency(old, new, EMPTY_ROOT, EMPTY_ROOT, [])


def test_sizes_that_need_a_proof_are_not_consistent_without_one() -> None:
    tree = Grown(data(4))
    assert not verify_consistency(3, 4, tree.roots[3], tree.roots[4], [])
    assert not verify_consistency(4, 4, tree.roots[4], tree.roots[3], [])
    assert not verify_consistency(0, 4, tree.roots[1], tree.roots[4], [])


def test_a_proof_that_ends_below_the_root_of_the_stated_size_is_refused() -> None:
    tree = Grown(data(4))
    leaf = leaf_hash(data(1)[0])
    assert not verify_inclusion(leaf, 0, 4, [], leaf)
    assert not verify_consistency(2, 4, tree.roots[2], tree.roots[2], [])
