"""The command behind ``make validate-stats``, small: its screens drop nothing, its counts are right, its figures hold.

The full size is a command, not a test: 10,000 tests per figure, ``python -m tests.statistics.validate``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sentinelzer0.stats import regression, sample_ratio
from sentinelzer0.stats.comparison import compare, harm
from sentinelzer0.stats.estimators import ArmStatistics
from tests.statistics import error_rates, naive, screens, validate
from tests.statistics.streams import METRICS, RAMP, Behaviour, Design, simulate

pytestmark = pytest.mark.timeout(300)

NEAR = Design(
    b=Behaviour(failures=0.06, recall=0.70, false_alarms=0.07, latency_ms=24.0, doubt=0.11),
    ramp=((0.02, 400), (0.25, 800), (0.5, 1600)),
)
"""A challenger that is told apart along the way, so that many looks lie close to the boundary."""


@pytest.mark.parametrize("metric", METRICS)
def test_the_screens_drop_no_look_at_which_the_exact_rule_declares(metric: str) -> None:
    declared = {"differs": 0, "misses": 0, "harms": 0}
    for streams in simulate(NEAR, 12, seed=1):
        found = screens.standardise(streams, metric)
        kept = screens.outside(found, metric, 0.3, 20)
        kept_of_truth = screens.outside(found, metric, 0.8, 20, of_truth=True)
        kept_of_harm = screens.harmful(found, metric, 0.15, 20)
        for test, look in [(test, look) for test in range(streams.size[0]) for look in range(streams.size[1])]:
            strata = streams.strata(test, look)
            said = compare(strata, metric, 0.3, 20)
            ready = min(said.samples_a, said.samples_b) >= said.min_samples
            interval, truth = compare(strata, metric, 0.8, 20).interval, found.truth[test, look]
            misses = ready and interval is not None and not interval[0] <= truth <= interval[1]
            harms = harm(strata, metric, 0.0, 0.15, 20).state == "violated"
            assert kept[test, look] or not said.is_significant
            assert kept_of_truth[test, look] or not misses
            assert kept_of_harm[test, look] or not harms
            declared["differs"] += said.is_significant
            declared["misses"] += misses
            declared["harms"] += harms
    assert min(declared["differs"], declared["harms"]) > 100
    assert declared["misses"] > 0


def test_the_screens_compute_what_the_product_computes() -> None:
    for streams in simulate(NEAR, 5, seed=2):
        for metric in METRICS:
            found = screens.standardise(streams, metric)
            for test, look in ((0, 0), (1, 60), (2, 139), (4, 100)):
                said = compare(streams.strata(test, look), metric)
                if said.difference is not None:
                    assert said.difference == pytest.approx(found.difference[test, look], rel=1e-9)
                assert min(said.samples_a, said.samples_b) == found.smaller_arm[test, look]
        evidence = screens.mismatched(streams)
        for test, look in ((0, 5), (3, 70), (4, 139)):
            strata = streams.strata(test, look)
            shares = [share for share, _ in NEAR.ramp]
            splits = [
                sample_ratio.PhaseSplit({"A": 1 - share, "B": share}, {"A": s.a.requests, "B": s.b.requests})
                for share, s in zip(shares, strata, strict=False)
            ]
            assert evidence[test, look] == pytest.approx(sample_ratio.log_e(splits), abs=1e-8)
            failures = [
                regression.PhaseCounts(share, s.a.failures, s.b.failures)
                for share, s in zip(shares, strata, strict=False)
            ]
            reached = screens.regressed(streams, np.exp(-regression.log_e(failures)) * 1.001)
            assert reached[test, look]
            assert not screens.regressed(streams, np.exp(-regression.log_e(failures)) * 0.999)[test, look]


def test_the_streams_hold_what_they_say() -> None:
    (streams,) = simulate(Design(), 40, seed=3)
    assert streams.size == (40, 600)
    last = streams.strata(7, 599)
    assert [stratum.a.requests + stratum.b.requests for stratum in last] == [events for _, events in RAMP]
    a, b = (sum((getattr(s, arm) for s in last), start=ArmStatistics()) for arm in ("a", "b"))
    whole_a, whole_b = streams.pooled()
    assert (a.failures, b.failures) == (whole_a["failures"][7, -1], whole_b["failures"][7, -1])
    assert a.confusion.labelled + b.confusion.labelled == pytest.approx(6000, abs=300)
    first = streams.strata(7, 0)
    assert len(first) == 1
    assert first[0].a.requests + first[0].b.requests == 20


def test_what_arms_do_on_average_is_what_was_asked_for() -> None:
    design = error_rates.DIFFERENCES["worse"]
    expected = naive.expected_sums(design)[-1]
    sums = [dict.fromkeys(expected[0].sums, 0.0) for _ in range(2)]
    for streams in simulate(design, 100, seed=4):
        for arm, found in enumerate(list(streams.by_phase())[-1]):
            for name in sums[arm]:
                sums[arm][name] += float(found[name][:, -1].sum())
    for arm, found in enumerate(sums):
        for name, value in found.items():
            per_request = value / found["requests"]
            assert per_request == pytest.approx(float(expected[arm][name][-1]), rel=0.03), name


def test_the_textbook_tests_are_those_of_the_textbook() -> None:
    (streams,) = simulate(NEAR, 3, seed=5)
    a, b = streams.pooled()
    from scipy import stats

    for test, look in ((0, 80), (2, 139)):
        n_a, n_b = a["requests"][test, look], b["requests"][test, look]
        table = [[a["failures"][test, look], b["failures"][test, look]]]
        table.append([n_a - table[0][0], n_b - table[0][1]])
        chi_square = stats.chi2_contingency(table, correction=False).pvalue
        assert naive.p_values(a, b, "error_rate")[test, look] == pytest.approx(chi_square, rel=1e-9)
        moments = [
            (arm["latency"][test, look] / n, arm["latency_sq"][test, look], n) for arm, n in ((a, n_a), (b, n_b))
        ]
        (mean_a, sd_a), (mean_b, sd_b) = ((m, ((sq - n * m * m) / (n - 1)) ** 0.5) for m, sq, n in moments)
        welch = stats.ttest_ind_from_stats(mean_a, sd_a, n_a, mean_b, sd_b, n_b, equal_var=False).pvalue
        assert naive.p_values(a, b, "avg_latency_ms")[test, look] == pytest.approx(welch, rel=1e-9)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    assert validate.upper_bound(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100), abs=1e-12)
    assert validate.upper_bound(100, 100) == 1.0
    assert validate.upper_bound(500, 10_000) == pytest.approx(0.05375, abs=5e-5)


def test_a_figure_holds_only_with_its_value_and_its_bound() -> None:
    assert validate.rate("x", 480, 10_000, 0.05).holds
    assert not validate.rate("x", 510, 10_000, 0.05).holds
    assert not validate.rate("x", 24, 500, 0.05).holds
    assert validate.Figure("shown only", 7.0).holds


def test_equal_arms_err_at_most_alpha_often_and_peeking_many_times_as_often() -> None:
    tests = 300
    counts = error_rates.of_equal_arms(tests, seed=6)
    for metric in METRICS:
        assert counts["verdict", metric, "0.05"] <= 0.05 * tests
        assert counts["verdict", metric, "0.01"] <= 0.01 * tests + 3
        assert counts["peek", metric, "0.05"] >= 5 * counts["verdict", metric, "0.05"]
        assert counts["peek", metric, "0.05"] > 0.2 * tests
    assert sum(counts["verdict", metric, "0.05"] for metric in METRICS) > 0
    assert 0 < counts["regression", "0.05"] <= 0.05 * tests
    assert error_rates.of_splits(1000, seed=8)["mismatch",] <= 4


@pytest.mark.parametrize("difference", list(error_rates.DIFFERENCES))
def test_intervals_miss_a_true_difference_at_most_alpha_often(difference: str) -> None:
    counts = error_rates.of_intervals(difference, 150, seed=7)
    assert all(counts["miss", metric, "0.05"] <= 9 for metric in METRICS)
    assert sum(counts.values()) > 0


def test_a_ramp_does_not_flip_the_verdict_as_it_does_when_phases_are_thrown_together() -> None:
    assert error_rates.simpson() == error_rates.Simpson(stratified="A", pooled="B")


def test_the_command_prints_writes_and_says_whether_figures_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "figures.json"
    assert validate.main(["--only", "simpson", "--processes", "1", "--json", str(out)]) == 0
    assert "thrown together: B is better" in capsys.readouterr().out
    (section,) = json.loads(out.read_text())["sections"]
    assert section["figures"][0]["holds"] is True
    monkeypatch.setattr(error_rates, "simpson", lambda: error_rates.Simpson("B", "B"))
    assert validate.main(["--only", "simpson", "--processes", "1"]) == 1
    assert "MISSED" in capsys.readouterr().out
