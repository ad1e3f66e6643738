"""Assignment: the same on every platform for ever, uniform, independent, and no unit moves more than it must."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chi2

from sentinelzer0.domain.assignment import (
    HOLDOUT,
    LETTERS,
    POSITIONS,
    Range,
    allocate,
    arm_at,
    assigner,
    check_key,
    first_ranges,
    position_of,
    unit_hash,
)
from sentinelzer0.errors import InvalidInputError

ITSELF = {arm: arm for arm in (*LETTERS, HOLDOUT)}

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "golden_assignments.json").read_text(encoding="utf-8"))
KEYS = 100_000
EMPTY: tuple[object, ...] = ("", b"")
RARE = 1e-6
"""No chi-square test of a sound assignment is this unlikely; the keys are fixed, so this never flickers."""


def key_of(raw: dict[str, Any]) -> str | bytes | int:
    return bytes.fromhex(raw["bytes"]) if "bytes" in raw else raw.get("text", raw.get("int"))


def ramped(case: dict[str, Any]) -> list[Range]:
    ranges = first_ranges(case["holdout"])
    for shares in case["ramp"]:
        ranges = allocate(ranges, shares)
    return ranges


# Golden -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_assignments_never_change(case: dict[str, Any]) -> None:
    """A release that moved these would move running tests' units between arms."""
    ranges, seed = ramped(case), int(case["salt"], 16)
    assert [list(found) for found in ranges] == case["ranges"]
    arm_of = assigner(ranges, seed, ITSELF)
    named = [
        (key, arm) for raw, arm in zip(GOLDEN["keys"], case["arms"], strict=True) if (key := key_of(raw)) not in EMPTY
    ]
    assert [arm_of(key) for key, _ in named] == [arm for _, arm in named]
    assert [arm_at(position_of(key_of(raw), seed), ranges) for raw in GOLDEN["keys"]] == case["arms"]


def test_hashes_never_change() -> None:
    seed = int(GOLDEN["salt"], 16)
    assert [f"{unit_hash(key_of(raw), seed):016x}" for raw in GOLDEN["keys"]] == GOLDEN["hashes"]
    assert unit_hash("", 0) == 0x2D06800538D394C2, "XXH3-64 of nothing, as its specification gives it"


@pytest.mark.parametrize("key", EMPTY)
def test_an_empty_key_has_a_hash_but_no_arm(key: Any) -> None:
    with pytest.raises(InvalidInputError, match="The key is empty"):
        assigner(first_ranges(), 7, ITSELF)(key)
    with pytest.raises(InvalidInputError, match="The key is empty"):
        check_key(key)
    assert unit_hash(key, 0) == 0x2D06800538D394C2
    check_key(0)


def test_assignments_do_not_depend_on_the_hash_seed() -> None:
    program = "from sentinelzer0.domain.assignment import unit_hash; print(unit_hash('user-1', 255))"
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1


# Uniform and independent --------------------------------------------------------------------------------------------


def unlikely(observed: Counter[Any], expected: dict[Any, float]) -> bool:
    assert set(observed) <= set(expected)
    statistic = sum((observed[cell] - count) ** 2 / count for cell, count in expected.items())
    return bool(chi2.sf(statistic, len(expected) - 1) < RARE)


@pytest.mark.parametrize("kind", ["text", "int", "bytes", "address"])
@pytest.mark.parametrize("salt", [1, 0xFF, 0x0123456789ABCDEF])
def test_positions_are_uniform(kind: str, salt: int) -> None:
    make = {
        "text": lambda i: f"user-{i}",
        "int": lambda i: i,
        "bytes": lambda i: i.to_bytes(4, "big"),
        "address": lambda i: f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}",
    }[kind]
    buckets = Counter(position_of(make(i), salt) * 100 // POSITIONS for i in range(KEYS))
    assert not unlikely(buckets, dict.fromkeys(range(100), KEYS / 100))


def test_arms_get_their_shares() -> None:
    shares = {"B": 0.01, "C": 0.05, "D": 0.25, "E": 0.1}
    arm_of = assigner(allocate(first_ranges(0.05), shares), 7, ITSELF)
    observed = Counter(arm_of(f"host-{i}") for i in range(KEYS))
    expected = {arm: KEYS * share for arm, share in {**shares, HOLDOUT: 0.05, "A": 0.54}.items()}
    assert not unlikely(observed, expected)


@pytest.mark.parametrize("other", ["0123456789abcdee", "fedcba9876543210", "0000000000000000"])
def test_two_tests_assign_independently(other: str) -> None:
    ranges = allocate(first_ranges(), {"B": 0.25, "C": 0.25})
    one, two = assigner(ranges, 0x0123456789ABCDEF, ITSELF), assigner(ranges, int(other, 16), ITSELF)
    share = {"A": 0.5, "B": 0.25, "C": 0.25}
    observed = Counter((one(i), two(i)) for i in range(KEYS))
    assert not unlikely(observed, {(a, b): KEYS * share[a] * share[b] for a, b in product("ABC", repeat=2)})


def test_the_chi_square_test_can_fail() -> None:
    even = Counter(dict.fromkeys(range(100), 1000))
    assert not unlikely(even, dict.fromkeys(range(100), KEYS / 100))
    even[0] -= 500
    assert unlikely(even, dict.fromkeys(range(100), KEYS / 100))


# Ramps --------------------------------------------------------------------------------------------------------------


def arms_of(ranges: list[Range], keys: int = 20_000) -> list[str]:
    arm_of = assigner(ranges, 0xABCDEF, ITSELF)
    return [arm_of(i) for i in range(keys)]


def test_a_growing_share_only_moves_the_units_it_needs() -> None:
    ranges, before = first_ranges(), ["A"] * 20_000
    for last, share in pairwise([0.0, 0.01, 0.05, 0.25, 0.5, 1.0]):
        ranges = allocate(ranges, {"B": share})
        now = arms_of(ranges)
        assert not any(was == "B" and is_now != "B" for was, is_now in zip(before, now, strict=True))
        moved = sum(was != is_now for was, is_now in zip(before, now, strict=True))
        assert moved / 20_000 == pytest.approx(share - last, abs=0.012)
        assert ranges[0] == Range(0, round(share * POSITIONS), "B"), "with one challenger B is [0, share)"
        before = now


@pytest.mark.parametrize("order", [("B", "C", "D"), ("D", "C", "B"), ("C", "B", "D")])
def test_several_arms_grow_in_any_order(order: tuple[str, ...]) -> None:
    shares = dict.fromkeys(order, 0.0)
    ranges = first_ranges(0.1)
    held = [i for i, arm in enumerate(arms_of(ranges)) if arm == HOLDOUT]
    before = arms_of(ranges)
    for share in (0.01, 0.05, 0.2, 0.3):
        for arm in order:
            shares[arm] = share
            ranges = allocate(ranges, shares)
            now = arms_of(ranges)
            assert {(was, is_now) for was, is_now in zip(before, now, strict=True) if was != is_now} == {("A", arm)}
            before = now
    assert [i for i, arm in enumerate(before) if arm == HOLDOUT] == held
    assert Counter(before)["A"] == 0
    shrunk = arms_of(allocate(ranges, shares | {"C": 0.1}))
    assert {(was, now) for was, now in zip(before, shrunk, strict=True) if was != now} == {("C", "A")}


def test_a_share_that_returns_brings_the_same_units_back() -> None:
    there = allocate(first_ranges(), {"B": 0.5})
    assert allocate(allocate(there, {"B": 0.05}), {"B": 0.5}) == there


def test_six_challengers_may_have_everything() -> None:
    ranges = allocate(first_ranges(), dict.fromkeys(LETTERS[1:], 1 / 6))
    assert (ranges[0].start, ranges[-1].end) == (0, POSITIONS)
    with pytest.raises(InvalidInputError, match="leave the control"):
        allocate(first_ranges(0.1), {"B": 0.95})


@pytest.mark.parametrize("key", [1.5, None, True, ["a"], "\ud800", {}, 10**5000], ids=lambda key: ascii(type(key)))
def test_what_cannot_be_a_key(key: Any) -> None:
    arm_of = assigner(first_ranges(), 1, ITSELF)
    for call in (lambda: unit_hash(key, 1), lambda: arm_of(key)):
        with pytest.raises(InvalidInputError, match="cannot be a key"):
            call()


def test_keys_of_numeric_libraries_and_subclasses() -> None:
    numpy = pytest.importorskip("numpy")
    arm_of = assigner(allocate(first_ranges(), {"B": 0.5}), 3, ITSELF)
    for i in range(200):
        assert arm_of(i) == arm_of(str(i)) == arm_of(str(i).encode()) == arm_of(numpy.int64(i)) == arm_of(numpy.str_(i))
