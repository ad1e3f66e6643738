from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, Table, Text

from sentinelzer0.domain import canonical_json
from sentinelzer0.storage.codec import Codec, decode_time, encode_time


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    size: int
    share: float | None
    passed: bool
    colour: Colour
    at: datetime
    until: datetime | None
    tags: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def json_column(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, info={"json": True})


TABLE = Table(
    "things",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("share", Float(53)),
    Column("passed", Integer, nullable=False),
    Column("colour", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("until", Text),
    json_column("tags"),
    json_column("facts"),
    Column("folded", Text, nullable=False),
)
CODEC = Codec(Thing, TABLE, derived={"folded": lambda thing: thing.name.casefold()})

moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
things = st.builds(
    Thing,
    name=st.text("aB", max_size=4),
    size=st.integers(-(2**53), 2**53),
    share=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    passed=st.booleans(),
    colour=st.just(Colour.RED),
    at=moments,
    until=st.none() | moments,
    tags=st.lists(st.text("ab", max_size=2), max_size=3).map(tuple),
    facts=st.dictionaries(st.text("ab", max_size=2), values, max_size=3),
)


@given(things)
def test_a_value_survives_its_row_and_the_row_its_after_image(thing: Thing) -> None:
    native = CODEC.native(thing)
    parameters = CODEC.parameters(thing, native)
    row = [parameters[name] for name in CODEC.fields]
    again = CODEC.decode(row)
    assert again == thing
    assert again.colour is Colour.RED
    assert isinstance(again.passed, bool)
    assert again.at.tzinfo is UTC
    # What the audit log holds and what the table holds tell the same, to the byte.
    image = canonical_json.dumps(native)
    assert canonical_json.dumps(CODEC.decode_native(row)) == image
    assert canonical_json.dumps(canonical_json.loads(image)) == image


def test_a_row_has_plain_values_only_and_the_derived_column_is_no_state() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    thing = Thing(
        name="A",
        size=1,
        share=0.5,
        passed=True,
        colour=Colour.RED,
        at=at,
        until=None,
        tags=("x",),
        facts={"b": 1, "a": 2},
    )
    native = CODEC.native(thing)
    assert "folded" not in native
    assert type(native["colour"]) is str
    assert CODEC.parameters(thing, native) == {
        "name": "A",
        "size": 1,
        "share": 0.5,
        "passed": 1,
        "colour": "red",
        "at": "2026-01-02T03:04:05.000006Z",
        "until": None,
        "tags": '["x"]',
        "facts": '{"a":2,"b":1}',
        "folded": "a",
    }


def test_a_table_that_differs_from_its_value_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="folded"):
        Codec(Thing, TABLE)


@given(moments, moments)
def test_stored_times_sort_like_times(one: datetime, other: datetime) -> None:
    assert decode_time(encode_time(one)) == one
    assert len(encode_time(one)) == 27
    assert (encode_time(one) < encode_time(other)) == (one < other)
