"""The running band only narrows, and its decision is the first crossing and never flips."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.reports import IntervalPoint
from sentinelzer0.reports.running_band import running_band


@st.composite
def sequences(draw: st.DrawFn) -> list[IntervalPoint]:
    count = draw(st.integers(1, 30))
    centre = st.integers(-20, 20).map(lambda n: n / 10)
    points = []
    for index in range(count):
        middle, half = draw(centre), draw(st.integers(0, 30)) / 10
        points.append(IntervalPoint(index, middle, middle - half, middle + half, samples=index * 10))
    return points


@given(sequences(), st.integers(0, 150), st.sampled_from([0.0, -0.5, 0.7]))
def test_it_narrows_until_the_effect_drifts(points: list[IntervalPoint], minimum: int, reference: float) -> None:
    band = running_band(points, minimum, reference)
    end = len(points) if band.drifted is None else band.drifted
    valid = range(band.first_valid if band.first_valid is not None else end, end)
    for before, now in pairwise(valid):
        assert band.low[now] >= band.low[before]
        assert band.high[now] <= band.high[before]
    for now in valid:
        assert band.low[now] == max(points[i].low for i in valid if i <= now)
        assert band.high[now] == min(points[i].high for i in valid if i <= now)
    if band.drifted is not None:
        assert max(p.low for p in points[valid.start : end + 1]) > min(p.high for p in points[valid.start : end + 1])


@given(sequences(), st.integers(0, 150), st.sampled_from([0.0, -0.5, 0.7]))
def test_a_decision_is_the_first_crossing_and_stays(
    points: list[IntervalPoint], minimum: int, reference: float
) -> None:
    final = running_band(points, minimum, reference)
    for count in range(1, len(points) + 1):
        so_far = running_band(points[:count], minimum, reference)
        if final.decided is not None and count > final.decided:
            assert (so_far.decided, so_far.above) == (final.decided, final.above)
        else:
            assert so_far.decided is None
    if final.decided is not None:
        assert points[final.decided].samples >= minimum
        assert final.low[final.decided] > reference or final.high[final.decided] < reference


def test_a_wild_look_before_the_minimum_sample_neither_decides_nor_narrows() -> None:
    early = IntervalPoint(1, 5.0, 4.9, 5.1, samples=10)
    later = IntervalPoint(2, 0.1, -0.5, 0.7, samples=100)
    band = running_band([early, later], 50, 0.0)
    assert (band.first_valid, band.decided, band.drifted) == (1, None, None)
    assert (band.low[1], band.high[1]) == (-0.5, 0.7)


def test_re_entering_does_not_undo_a_decision() -> None:
    out = IntervalPoint(1, 1.0, 0.2, 1.8, samples=100)
    back = IntervalPoint(2, 0.5, -0.3, 1.3, samples=200)
    band = running_band([out, back], 50, 0.0)
    assert (band.decided, band.above, band.low[1], band.high[1]) == (0, True, 0.2, 1.3)
