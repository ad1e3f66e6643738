from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.versions import (
    TRANSITIONS,
    ModelStage,
    Version,
    VersionStatus,
    check_document,
    check_metrics,
    check_transition,
    compare_metrics,
    differing,
    percent_change,
    promoted,
)
from sentinelzer0.errors import IllegalTransitionError, InvalidInputError, InvalidMetricError

V1 = Version(
    seq=1,
    model="default",
    version="v1",
    digest="0" * 64,
    kind="file",
    size=1,
    filename="m.pt",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_by="ana",
)
LEGAL = {
    ("none", "development"),
    ("development", "staging"),
    ("development", "archived"),
    ("staging", "production"),
    ("staging", "development"),
    ("staging", "archived"),
    ("production", "archived"),
    ("archived", "development"),
}
# Status before (stage, deprecated) -> the statuses promote_version accepts.
PROMOTIONS = {
    ("none", False): {"development", "staging", "archived", "deprecated"},
    ("development", False): {"staging", "archived", "deprecated"},
    ("staging", False): {"production", "development", "archived", "deprecated"},
    ("production", False): {"archived"},
    ("archived", False): {"development", "deprecated"},
    **{(stage, True): {"archived"} for stage in ("none", "development", "staging", "archived")},
}


def test_the_statuses_and_stages_are_those_of_the_contract() -> None:
    assert [s.value for s in VersionStatus] == ["development", "staging", "production", "archived", "deprecated"]
    assert [s.value for s in ModelStage] == ["none", "development", "staging", "production", "archived"]
    assert issubclass(VersionStatus, StrEnum)
    assert issubclass(ModelStage, StrEnum)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(ModelStage, ModelStage)))
def test_the_whole_transition_table(source: ModelStage, target: ModelStage) -> None:
    if (source.value, target.value) in LEGAL:
        check_transition(source, target)
        return
    with pytest.raises(IllegalTransitionError) as caught:
        check_transition(source, target)
    assert f"from {source} to {target}" in caught.value.message
    assert all(name in caught.value.hint for name in TRANSITIONS[source])


@pytest.mark.parametrize(("before", "target"), list(itertools.product(PROMOTIONS, VersionStatus)), ids=str)
def test_every_promotion_from_every_state(before: tuple[str, bool], target: VersionStatus) -> None:
    version = replace(V1, stage=ModelStage(before[0]), deprecated=before[1])
    if target.value not in PROMOTIONS[before]:
        with pytest.raises(IllegalTransitionError):
            promoted(version, target)
        return
    after = promoted(version, target)
    assert after.status is target
    assert after.deprecated == (target is VersionStatus.DEPRECATED)
    if target is VersionStatus.DEPRECATED:
        assert after.stage is version.stage
    assert replace(after, stage=version.stage, deprecated=version.deprecated) == version, "nothing else changes"


def test_status_and_stage_are_two_readings_of_one_state() -> None:
    assert V1.status is VersionStatus.DEVELOPMENT
    assert V1.stage is ModelStage.NONE
    assert replace(V1, stage=ModelStage.ARCHIVED, deprecated=True).status is VersionStatus.DEPRECATED
    for stage in list(ModelStage)[1:]:
        assert replace(V1, stage=stage).status.value == stage.value


def test_a_version_is_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        V1.stage = ModelStage.PRODUCTION  # type: ignore[misc]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "0.9", None, True, [0.9], 1j, b"1", object(), 10**400, Fraction(10**400)]
)
def test_what_is_no_metric(value: object) -> None:
    with pytest.raises(InvalidMetricError) as caught:
        check_metrics({"f1": value}, "training_metrics")
    assert "training_metrics['f1']" in caught.value.message


@pytest.mark.parametrize("metrics", [[("f1", 0.9)], "f1", 0.9, {1: 0.9}, {"": 0.9}, {None: 0.9}])
def test_what_are_no_metrics(metrics: object) -> None:
    with pytest.raises(InvalidMetricError):
        check_metrics(metrics, "training_metrics")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"], ids=ascii)
def test_metric_names_that_no_database_keeps(name: str) -> None:
    with pytest.raises(InvalidInputError):
        check_metrics({name: 0.5}, "training_metrics")


def test_metrics_of_numeric_libraries_become_plain_numbers() -> None:
    given_metrics = {"a": np.float32(0.5), "b": np.int64(3), "c": Fraction(1, 4), "d": 1}
    checked = check_metrics(given_metrics, "training_metrics")
    assert checked == {"a": 0.5, "b": 3.0, "c": 0.25, "d": 1.0}
    assert {type(value) for value in checked.values()} == {float}
    assert check_metrics(None, "training_metrics") == {}


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(allow_nan=False, allow_infinity=False)))
def test_metrics_survive_their_stored_form(metrics: dict[str, float]) -> None:
    checked = check_metrics(metrics, "metrics")
    again = canonical_json.loads(canonical_json.dumps(checked))
    assert again == checked
    assert canonical_json.dumps(again) == canonical_json.dumps(checked)


def circular() -> dict[str, Any]:
    document: dict[str, Any] = {}
    document["self"] = document
    return document


def deep() -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(5_000):
        document = {"d": document}
    return document


@pytest.mark.parametrize(
    "document",
    [
        {"a": math.nan},
        {"a": [math.inf]},
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"x"},
        {"a": 2**60},
        {"a": Fraction(10**400)},
        {"a": "\ud800"},
        {1: "a", "1": "b"},
        [1],
        "text",
        circular(),
        deep(),
    ],
    ids=lambda document: type(document).__name__,
)
def test_documents_without_a_json_form(document: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_document(document, "hyperparameters")
    assert "hyperparameters" in caught.value.message


def test_a_document_is_kept_as_it_will_be_read_back() -> None:
    assert check_document({"a": (1, 2), "b": np.float64(0.5), 3: {"c": ModelStage.NONE}}, "x") == {
        "a": [1, 2],
        "b": 0.5,
        "3": {"c": "none"},
    }
    assert check_document(None, "x") == {}
    found = check_document({"a": np.True_, "b": np.int64(3), "c": np.str_("x"), "d": np.float32(0.5)}, "x")
    assert found == {"a": True, "b": 3, "c": "x", "d": 0.5}
    assert [type(value) for value in found.values()] == [bool, int, str, float]


def test_a_whole_number_json_cannot_carry_is_refused_and_not_rounded() -> None:
    assert check_document({"seed": np.int64(2**53)}, "x") == {"seed": 2**53}
    for seed in (2**53 + 1, np.int64(2**53 + 1)):
        with pytest.raises(InvalidInputError, match=r"2\*\*53") as refused:
            check_document({"seed": seed}, "hyperparameters")
        assert "string" in refused.value.hint


def test_percent_change_is_undefined_without_a_base() -> None:
    assert percent_change(0, 1) is None
    assert percent_change(None, 1) is None
    assert percent_change(1, None) is None
    assert percent_change(0.5, 0.75) == pytest.approx(50)
    assert percent_change(-0.5, -0.25) == pytest.approx(50), "less negative is an increase"


def test_comparison_names_every_metric_of_either_side() -> None:
    compared = compare_metrics({"a": 0.0, "b": 2.0}, {"b": 1.0, "c": 3.0})
    assert list(compared) == ["a", "b", "c"]
    assert compared["a"] == {"version1": 0.0, "version2": None, "diff": None, "percent_change": None}
    assert compared["b"] == {"version1": 2.0, "version2": 1.0, "diff": -1.0, "percent_change": -50.0}
    assert compared["c"]["version1"] is None


def test_differences_tell_absent_from_none() -> None:
    found = differing({"same": 1, "gone": None, "other": 1}, {"same": 1, "other": 2, "new": 3})
    assert found == {
        "gone": {"version1": None, "version2": None},
        "other": {"version1": 1, "version2": 2},
        "new": {"version1": None, "version2": 3},
    }
