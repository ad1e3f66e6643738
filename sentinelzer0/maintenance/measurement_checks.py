"""The check that statistics equal the raw outcomes they were added up from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sentinelzer0.domain.outcomes import CellKey, Outcome
from sentinelzer0.domain.tallies import Increment, tally
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.maintenance.report import Check, verdict
from sentinelzer0.maintenance.state_checks import counted

SAMPLE = 20
"""So many tests, the newest ones, are added up again."""
IMPORTED = "legacy:ab_test:import"
_TOLERANCE = 1e-9
_LABELLED = ("tp", "fp", "tn", "fn")
_EXACT = ("requests", "failures", "slow", "confidences", *_LABELLED)
_SUMS = ("latency_sum", "latency_sq", "confidence_sum", "confidence_sq")
_KEPT = ("requests", "failures", "confidences", *_LABELLED, *_SUMS, "latency_cu", "confidence_cu")


def check_measurements(kernel: Kernel) -> Check:
    """Whether the statistics of the newest A/B tests, and of production, equal their raw outcomes, added up again."""
    with kernel.read() as view:
        tests = view.ab_tests.all()[:SAMPLE]
        over = {test.test_id: test.status.is_over for test in tests}
        others = [name for name in view.streams.names() if "/" in name]
        problems = [p for name in over for p in measurement_problems(view, name, over=over[name])]
        problems += [p for name in others for p in measurement_problems(view, name)]
    whose = f"The statistics of {counted(len(tests), 'A/B test')} equal the raw outcomes."
    fine = whose if tests else "There is no A/B test."
    return verdict("A/B statistics", problems, fine, "Restore a backup: the measurements of this test are not sound")


def measurement_problems(view: Reader, stream: str, *, over: bool = False) -> list[str]:
    """Return where the statistics of a stream differ from its raw outcomes (and from what was imported).

    Args:
        view: The transaction.
        stream: The test, or another stream.
        over: Whether the test is over: a label that comes after the end is kept beside its outcome and not counted.
    """
    state = view.streams.state(stream)
    if state is None:
        return [f"{stream} has no statistics"]
    exact = tuple(name for name in _EXACT if not (over and name in _LABELLED))
    expected = imported_totals(view, stream)
    keyless, answers = sum(more.units for more in expected.values()), Counter[tuple[str, str]]()
    by_cohort: dict[int, list[Outcome]] = {}
    for cohort, outcome in view.measurements.counted(stream):
        by_cohort.setdefault(cohort, []).append(outcome)
        keyless += outcome.slot == 0 and outcome.key is None
        answers[outcome.request_id, outcome.arm] += 1
    for cohort, outcomes in by_cohort.items():
        for key, more in tally(outcomes, cohort=cohort, slo_ms=state.progress.slo_ms).items():
            expected[key] = _sum(expected.get(key, Increment()), more)
    totals = view.measurements.totals(stream)
    if state.pruned:
        return _too_small(stream, totals, expected, exact)
    problems = _differences(stream, totals, expected, exact)
    units, known = sum(int(stored["units"]) for stored in totals.values()), keyless + view.measurements.units(stream)
    if units != known:
        problems.append(f"{stream}: {units} units are counted, the outcomes give {known}")
    return problems + _pair_problems(view, stream, answers)


def imported_totals(view: Reader, test_id: str) -> dict[CellKey, Increment]:
    """Return what version 3.3 had measured before the test was imported, by cell; it is in the record of the import."""
    for record in view.audit.of_subject(f"ab_test:{test_id}"):
        if record.action == IMPORTED:
            return imported_cells({arm: _increment(totals) for arm, totals in record.detail["totals"].items()})
    return {}


def imported_cells(totals: Mapping[str, Increment]) -> dict[CellKey, Increment]:
    """Return where totals by arm count that were measured before the import: in the first phase."""
    return {CellKey(1, 0, 0, "", arm): more for arm, more in totals.items() if more.requests}


def totals_of(arm: Increment) -> dict[str, Any]:
    """Return an increment as the record of an import holds it."""
    return {name: getattr(arm, name) for name in _KEPT}


def _increment(totals: Mapping[str, Any]) -> Increment:
    return Increment(**{name: totals[name] for name in _KEPT}, units=totals["requests"])


def _differences(
    stream: str,
    totals: Mapping[CellKey, Mapping[str, float]],
    expected: Mapping[CellKey, Increment],
    exact: Iterable[str],
) -> list[str]:
    problems = []
    for key in sorted({*totals, *expected}):
        stored, wanted = totals.get(key, {}), expected.get(key, Increment())
        for name in (*exact, *_SUMS):
            have, want = stored.get(name, 0), getattr(wanted, name)
            close = have == want if name in _EXACT else math.isclose(have, want, rel_tol=_TOLERANCE, abs_tol=1e-6)
            if not close:
                problems.append(f"{_place(stream, key)}: {name} is {have}, the outcomes give {want}")
    return problems


def _too_small(
    stream: str,
    totals: Mapping[CellKey, Mapping[str, float]],
    expected: Mapping[CellKey, Increment],
    exact: Iterable[str],
) -> list[str]:
    """Compare what is left of the raw outcomes: the statistics hold these and the deleted ones."""
    return [
        f"{_place(stream, key)}: {name} is {totals.get(key, {}).get(name, 0)}, the outcomes that are left give "
        f"{getattr(more, name)}"
        for key, more in sorted(expected.items(), key=lambda pair: pair[0])
        for name in exact
        if totals.get(key, {}).get(name, 0) < getattr(more, name)
    ]


def _pair_problems(view: Reader, stream: str, answers: Mapping[tuple[str, str], int]) -> list[str]:
    stored: Counter[str] = Counter()
    for pair in view.pairs.read(stream, 0):
        stored[pair.arm] += pair.statistics.pairs
    if not stored:
        return []
    found = Counter(arm for request_id, arm in answers if arm != "A" and (request_id, "A") in answers)
    return [
        f"{stream} arm {arm}: {stored[arm]} pairs are counted, the outcomes give {found[arm]}"
        for arm in sorted({*stored, *found})
        if stored[arm] != found[arm]
    ]


def _place(stream: str, key: CellKey) -> str:
    segment = f" segment {key.segment!r}" if key.segment else ""
    return f"{stream} phase {key.phase}{segment} arm {key.arm}"


def _sum(first: Increment, second: Increment) -> Increment:
    return Increment(**{name: getattr(first, name) + getattr(second, name) for name in (*_EXACT, *_SUMS)})
