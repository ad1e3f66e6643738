from __future__ import annotations

import json
import math
import struct
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.canonical_json import MAX_EXACT_INT, dumps, format_number
from sentinelzer0.errors import InvalidInputError

# RFC 8785, appendix B: the bits of a double and how it is written.
RFC_NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), RFC_NUMBERS)
def test_numbers_of_rfc_8785_appendix_b(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert format_number(value) == text
    assert dumps(value) == text.encode()


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_nan_and_infinity_are_refused(bits: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(InvalidInputError):
        dumps({"value": value})


def test_sample_of_rfc_8785_section_3_2_2() -> None:
    value = json.loads(
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )
    expected = bytes.fromhex(
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a"
        "5b3333333333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d3237"
        "5d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
    )
    assert dumps(value) == expected


def test_key_order_of_rfc_8785_section_3_2_3() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(dumps(value)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_strings_use_the_short_escapes_and_keep_everything_else() -> None:
    assert dumps("\b\t\n\f\r\x00\x1f\x7f/\u2028é") == '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f/\u2028é"'.encode()


def test_percent_signs_in_keys_and_values_are_text() -> None:
    assert dumps({"%s": "%d", "100%": {"%(x)s": 1}}) == b'{"%s":"%d","100%":{"%(x)s":1}}'


@pytest.mark.parametrize(
    ("value", "text"),
    [({}, b"{}"), ([], b"[]"), ((), b"[]"), ([{}, [], None], b"[{},[],null]"), ({"a": ()}, b'{"a":[]}')],
)
def test_empty_containers(value: Any, text: bytes) -> None:
    assert dumps(value) == text


def test_subclasses_are_written_as_the_json_type_they_derive_from() -> None:
    class Stage(StrEnum):
        PRODUCTION = "production"

    class Level(IntEnum):
        HIGH = 3

    class Share(float):
        def __repr__(self) -> str:
            return "share"

    assert (
        dumps({Stage.PRODUCTION: [Stage.PRODUCTION, Level.HIGH, Share(0.5)]}) == b'{"production":["production",3,0.5]}'
    )


@pytest.mark.parametrize("value", [MAX_EXACT_INT, -MAX_EXACT_INT])
def test_integers_up_to_2_to_the_53_are_exact(value: int) -> None:
    assert dumps(value) == str(value).encode()


@pytest.mark.parametrize("value", [MAX_EXACT_INT + 1, -MAX_EXACT_INT - 1, 10**400, [{"n": 2**64}]])
def test_integers_beyond_2_to_the_53_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="beyond 2\\*\\*53"):
        dumps(value)


@pytest.mark.parametrize("value", ["\ud800", {"a": "x\udfff"}, {"\ud800": 1}, {"\ud800": 1, "b": 2}])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"lone surrogate U\+D"):
        dumps(value)


@pytest.mark.parametrize("key", [1, 1.5, True, None, b"bytes", ("a",)])
def test_keys_that_are_not_strings_are_refused(key: Any) -> None:
    with pytest.raises(InvalidInputError, match="key must be a string"):
        dumps({"fine": {key: 1}})
    with pytest.raises(InvalidInputError, match="key must be a string"):
        dumps({key: 1, "fine": 2})


@pytest.mark.parametrize("value", [b"bytes", {1}, object(), 1j])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="no JSON form"):
        dumps([value])


def test_circular_and_bottomless_values_are_refused() -> None:
    circular: list[Any] = []
    circular.append({"self": circular})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circular, deep):
        with pytest.raises(InvalidInputError, match="circular or nested too deeply"):
            dumps(value)


TEXT = st.text(st.characters(exclude_categories=("Cs",)))
ASTRAL_KEYS = st.text(st.sampled_from("a\ue000\uffff\U00010000\U0010ffff%"), max_size=3)
INTEGERS = st.integers(-MAX_EXACT_INT, MAX_EXACT_INT)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


def read(data: bytes) -> Any:
    """Read as a JSON reader with IEEE 754 numbers does."""
    return json.loads(data, parse_int=lambda text: int(text) if abs(int(text)) <= MAX_EXACT_INT else float(text))


@given(nested(st.none() | st.booleans() | INTEGERS | FLOATS | TEXT, TEXT | ASTRAL_KEYS))
def test_reading_and_writing_again_gives_the_same_bytes_and_value(value: Any) -> None:
    data = dumps(value)
    assert read(data) == value
    assert dumps(read(data)) == data


@given(nested(st.none() | st.booleans() | INTEGERS | TEXT, st.text(st.characters(max_codepoint=0xD7FF))))
def test_without_floats_and_astral_keys_it_is_what_the_standard_library_writes(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert dumps(value) == text.encode()


@given(st.dictionaries(ASTRAL_KEYS, st.none()))
def test_keys_are_in_the_order_of_their_utf_16_code_units(value: dict[str, None]) -> None:
    units = [
        [unit for (unit,) in struct.iter_unpack("<H", key.encode("utf-16-le"))] for key in json.loads(dumps(value))
    ]
    assert units == sorted(units)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_have_the_layout_of_ecmascript(value: float) -> None:
    text = format_number(value)
    assert float(text) == value
    assert ("e" in text) == (value != 0 and not 1e-6 <= math.fabs(value) < 1e21)
    assert not text.endswith(".0")
    assert "e+0" not in text
    assert "e-0" not in text
