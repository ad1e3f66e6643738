from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.multiplicity import holm

PS = st.dictionaries(st.text(max_size=3), st.floats(0.0, 1.0), max_size=8)


def test_holms_example() -> None:
    """p = .01, .04, .03, .005 among four: 4 x .005, 3 x .01, 2 x .03, and .04 is raised to that."""
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({}) == {}
    assert holm({1: 0.2}) == {1: 0.2}


@given(PS)
def test_adjusting_raises_keeps_the_order_and_is_below_bonferroni(p: dict[str, float]) -> None:
    found = holm(p)
    assert found.keys() == p.keys()
    for key, value in p.items():
        assert value <= found[key] <= min(1.0, len(p) * value)
    ordered = sorted(p, key=lambda key: p[key])
    assert [found[key] for key in ordered] == sorted(found.values())


@given(PS, st.floats(0.001, 0.5))
def test_rejections_are_those_of_the_step_down_procedure(p: dict[str, float], alpha: float) -> None:
    rejected = set()
    for rank, key in enumerate(sorted(p, key=lambda key: p[key])):
        if not (len(p) - rank) * p[key] <= alpha:
            break
        rejected.add(key)
    assert {key for key, value in holm(p).items() if value <= alpha} == rejected


def test_the_family_errs_at_most_alpha_also_when_some_effects_are_real() -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(4000):
        p = dict(enumerate(rng.random(5))) | {9: float(rng.random() * 1e-6)}
        wrong += min(value for key, value in holm(p).items() if key != 9) <= 0.05
    assert wrong / 4000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_what_is_no_probability_is_refused() -> None:
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidInputError, match="no probability"):
            holm({"recall": wrong})
