"""What counts as a number, a truth value or text, whoever's type it is."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sentinelzer0.domain.health import HealthStatus
from sentinelzer0.domain.identity import check_identifier, check_label, check_tags, check_text
from sentinelzer0.domain.outcome_values import check_custom, check_request_id, check_success
from sentinelzer0.domain.scalars import plain, real, shown, truth, whole
from sentinelzer0.errors import InvalidInputError


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (Fraction(1, 4), 0.25),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (True, None),
        (np.True_, None),
        ("3", None),
        (None, None),
        (Decimal(3), None),
    ],
    ids=str,
)
def test_a_real_number_is_a_float(value: Any, number: float | None) -> None:
    found = real(value)
    assert found == number
    assert number is None or type(found) is float


@pytest.mark.parametrize(("value", "number"), [(3, 3), (np.int64(7), 7), (True, None), (2.0, None), ("3", None)])
def test_a_whole_number_is_an_int(value: Any, number: int | None) -> None:
    found = whole(value)
    assert found == number
    assert number is None or type(found) is int


@pytest.mark.parametrize(
    ("value", "answer"), [(True, True), (np.False_, False), (1, None), ("false", None), (None, None), ([], None)]
)
def test_only_a_truth_value_is_one(value: Any, answer: bool | None) -> None:
    assert truth(value) is answer


def test_text_of_a_subclass_becomes_text() -> None:
    class Shouting(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

    for text in (Shouting("healthy"), np.str_("healthy"), HealthStatus.HEALTHY):
        for check in (
            plain,
            check_request_id,
            lambda value: check_identifier(value, "version"),
            lambda value: check_label(value, "tag"),
            lambda value: check_text(value, "note"),
            lambda value: check_tags([value])[0],
            lambda value: next(iter(check_custom({value: 1}))),
        ):
            found = check(text)
            assert (type(found), found) == (str, "healthy")


def test_an_answer_is_a_truth_value_or_its_number() -> None:
    assert [check_success(value) for value in (True, np.False_, 1, np.int64(0))] == [1, 0, 1, 0]
    for value in (2, "true", 1.0, None):
        with pytest.raises(InvalidInputError):
            check_success(value)


def test_whatever_was_passed_can_be_shown() -> None:
    assert shown("x") == "'x'"
    assert shown("x" * 100) == "'" + "x" * 59 + "…"
    assert shown(10**5000) == "<int of many digits>"
