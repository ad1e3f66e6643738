"""Batches of outcomes, checked by column and stored by the hundred, against the same outcomes one by one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

import pytest

from sentinelzer0.errors import ConflictError, InvalidInputError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_streams import Streams
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.mlops.outcome_columns import checked_columns
from sentinelzer0.mlops.outcome_intake import checked_rows
from sentinelzer0.mlops.recorder_rows import RecorderRows

SIZES = (99, 100, 101, 250)
SHAPES: dict[str, dict[str, Any]] = {
    "usual": {"confidence": 0.5, "true_label": 1, "predicted_label": 0},
    "half said": {"confidence": None, "true_label": None},
    "words": {"true_label": "Attack", "predicted_label": True, "latency_ms": 7, "confidence": 1, "success": 1},
    "keyed": {"key": "host", "segment": "eu"},
    "other keys": {"key": b"h\xff", "segment": "mars"},
    "strange keys": {"key": "h\u00f6st\0", "request_id": None},
    "custom": {"custom_metrics": {"cost": 2.0}},
    "assigned": {"assignment": {"version": "v1", "revision": 1, "share": 0.5, "request_id": None, "arm": "A"}},
}
IMPOSSIBLE: dict[str, tuple[Any, ...]] = {
    "latency_ms": (float("nan"), -1.0, 1e10, float("inf"), None, True, "7", 10**400),
    "confidence": (float("nan"), -0.1, 1.1, "high", True),
    "true_label": (2, -1, "maybe", [1], 0.5),
    "predicted_label": (2, {}, "perhaps"),
    "success": (None, 2, "yes", []),
    "request_id": ("", "a\0b", "x" * 201, 7, "\ud800"),
    "model_version": ("v3", None, ["v1"], 1),
    "segment": ("a\0b", ["eu"], "x" * 201),
    "key": (1.5, "\ud800", "", b""),
    "custom_metrics": ({"cost": float("nan")}, "cost", {"": 1.0}),
    "assignment": ({"version": "v2", "revision": 1}, {"version": "v1", "revision": 9}, {}),
}


@pytest.fixture
def manager(kernel: Kernel) -> ABTestManager:
    return ABTestManager(kernel=kernel)


def started(manager: ABTestManager, **design: Any) -> str:
    test = manager.create_test("t", "v1", "v2", segments=("eu",), **design)
    return manager.start_test(test.test_id).test_id


def batch(size: int, *shapes: str) -> list[dict[str, Any]]:
    """Rows that take the shapes in turn; all have the fields of all shapes."""
    names = {name for shape in shapes for name in SHAPES[shape]}
    return [
        {"model_version": "v1", "success": number % 7 > 0, "latency_ms": number / 3, "request_id": f"r{number:03d}"}
        | dict.fromkeys(names - {"latency_ms", "success", "request_id"})
        | SHAPES[shapes[number % len(shapes)]]
        for number in range(size)
    ]


def slowly(rows: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the same rows in a form that is only ever checked row by row."""
    return [MappingProxyType(row) for row in rows]


def stored(kernel: Kernel, test_id: str) -> list[dict[str, Any]]:
    with kernel.read() as view:
        rows = [raw | {"recorded_at": None} for raw in view.outcomes.all(test_id)]
    return sorted(rows, key=lambda raw: str(raw["request_id"]))


@pytest.mark.parametrize("holdout", [0.0, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_columns_say_what_rows_say(kernel: Kernel, manager: ABTestManager, shape: str, holdout: float) -> None:
    stream = Streams(kernel).of(started(manager, holdout=holdout))
    for shapes in ((shape,), ("usual", shape), ("keyed", "half said", shape)):
        rows = batch(30, *shapes)
        if holdout:  # then every outcome says whose it is
            rows = [row | {"key": row.get("key") or f"host-{n % 9}"} for n, row in enumerate(rows)]
        found = checked_columns(kernel, stream, rows, "out_x")
        plain = checked_rows(kernel, stream, slowly(rows))
        made_up = [number for number, row in enumerate(rows) if row["request_id"] is None]
        assert found is not None
        assert [o._replace(request_id="") if n in made_up else o for n, o in enumerate(found)] == [
            o._replace(request_id="") if n in made_up else o for n, o in enumerate(plain)
        ]
        assert [type(value) for o in found for value in o] == [type(value) for o in plain for value in o]
        assert len({o.request_id for o in found}) == len(rows)


@pytest.mark.parametrize("field", IMPOSSIBLE)
def test_an_impossible_value_is_refused_in_the_same_words(kernel: Kernel, manager: ABTestManager, field: str) -> None:
    test_id = started(manager)
    for value in IMPOSSIBLE[field]:
        rows = batch(5, "usual")
        rows = [row | {field: rows[0].get(field)} for row in rows]
        rows[3][field] = value
        said = []
        for given in (rows, slowly(rows)):
            with pytest.raises(InvalidInputError) as refused:
                manager.record_results(test_id, given)
            said.append((type(refused.value), refused.value.message, refused.value.hint))
        assert said[0] == said[1]
        assert said[0][1].startswith("Row 3: ")
    assert stored(kernel, test_id) == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shapes", [("usual",), ("usual", "keyed", "custom"), ("assigned", "half said")])
def test_a_batch_stores_what_single_outcomes_store(
    kernel: Kernel, manager: ABTestManager, size: int, shapes: tuple[str, ...]
) -> None:
    together, single = started(manager), started(manager)
    rows = batch(size, *shapes)
    assert manager.record_results(together, rows).counted == size
    for row in rows:
        manager.record_results(single, [row])
    assert stored(kernel, together) == stored(kernel, single)
    with kernel.read() as view:
        ours, theirs = (view.cells.evidence(test_id, None) for test_id in (together, single))
    assert ours.histograms == theirs.histograms
    for mine, other in zip(ours.cells, theirs.cells, strict=True):
        assert (mine.statistics.requests, mine.units) == (other.statistics.requests, other.units)
        assert mine.statistics.latency.total == pytest.approx(other.statistics.latency.total)
        assert mine.statistics.confusion == other.statistics.confusion


@pytest.mark.parametrize("at", [0, 150, 249])
def test_repeats_anywhere_in_a_batch_count_once(kernel: Kernel, manager: ABTestManager, at: int) -> None:
    test_id, rows = started(manager), batch(250, "usual")
    manager.record_results(test_id, [rows[at]])
    assert manager.record_results(test_id, rows).to_dict() == {
        "counted": 249,
        "duplicates": 1,
        "labelled": 249,
        "late": 0,
        "request_id": None,
        "kept": 0,
        "relabelled": 0,
    }
    assert manager.record_results(test_id, rows).duplicates == 250
    with pytest.raises(ConflictError, match=f"Row {at}: request"):
        manager.record_results(test_id, [*rows[:at], rows[at] | {"model_version": "v2"}, *rows[at + 1 :]])
    assert len(stored(kernel, test_id)) == 250


def test_the_rows_of_a_recorder_are_mappings_too() -> None:
    name = map("own_{}".format, count()).__next__
    items = [
        ("v1", True, 1.0, None, None, None, None, None, None, None, None),
        ("v2", False, 2.0, None, 1, None, None, "given", "k", {"request_id": "of the assignment"}, "eu"),
        ("v2", False, 2.0, None, 1, None, None, None, "k", {"request_id": "of the assignment"}, None),
        ("v2", False, 2.0, None, 1, None, None, None, "k", 7, None),
    ]
    rows = RecorderRows.of(items, name)
    assert [row["request_id"] for row in rows] == ["own_0", "given", "of the assignment", "own_1"]
    assert rows[0].keys() == rows[1].keys() - {"assignment", "segment"}
    assert [dict(row) for row in rows[1:3]] == [dict(rows[1]), dict(rows[2])]
    assert (len(rows[:0]), len(RecorderRows.of([], name))) == (0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_makes_up_ids_of_its_own(kernel: Kernel, manager: ABTestManager) -> None:
    stream = Streams(kernel).of(started(manager))
    ids = [stream.fresh_id(kernel) for _ in range(250)]
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        os.write(sending, stream.fresh_id(kernel).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(receiving, 300).decode()
    os.close(receiving)
    os.close(sending)
    assert len({theirs, stream.fresh_id(kernel), *ids}) == 252
