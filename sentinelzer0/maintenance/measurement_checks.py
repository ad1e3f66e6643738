"""The check that A/B statistics equal the raw outcomes they were added up from."""

from __future__ import annotations

import math
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.outcomes import Increment, tally
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.maintenance.report import Check, verdict
from sentinelzer0.maintenance.state_checks import counted

SAMPLE = 20
"""So many tests, the newest ones, are added up again."""
IMPORTED = "legacy:ab_test:import"
_TOLERANCE = 1e-9
_EXACT = ("requests", "failures", "confidences", "tp", "fp", "tn", "fn")
_SUMS = ("latency_sum", "latency_sq", "confidence_sum", "confidence_sq")


def check_measurements(kernel: Kernel) -> Check:
    """Whether the statistics of the newest A/B tests equal their raw outcomes, added up again."""
    with kernel.read() as view:
        sample = view.ab_tests.all()[:SAMPLE]
        problems = [problem for test in sample for problem in measurement_problems(view, test)]
    whose = f"The statistics of {counted(len(sample), 'A/B test')} equal the raw outcomes."
    fine = whose if sample else "There is no A/B test."
    return verdict("A/B statistics", problems, fine, "Restore a backup: the measurements of this test are not sound")


def measurement_problems(view: Reader, test: StoredTest) -> list[str]:
    """Return where the statistics of a test differ from its raw outcomes (and from what was imported)."""
    test_id = test.test_id
    # A label that comes after the end is kept beside its outcome and not counted.
    exact = _EXACT if not test.status.is_over else _EXACT[: _EXACT.index("tp")]
    expected = imported_totals(view, test_id)
    for arm, more in tally(view.measurements.counted(test_id)).items():
        expected[arm] = _sum(expected.get(arm, Increment()), more)
    problems = []
    for arm, stored in view.measurements.totals(test_id).items():
        wanted = expected.get(arm, Increment())
        for name in (*exact, *_SUMS):
            have, want = stored[name], getattr(wanted, name)
            close = have == want if name in _EXACT else math.isclose(have, want, rel_tol=_TOLERANCE, abs_tol=1e-6)
            if not close:
                problems.append(f"{test_id} arm {arm}: {name} is {have}, the outcomes give {want}")
    return problems


def imported_totals(view: Reader, test_id: str) -> dict[str, Increment]:
    """Return what version 3.3 had measured before the test was imported, by arm; it is in the record of the import."""
    for record in view.audit.of_subject(f"ab_test:{test_id}"):
        if record.action == IMPORTED:
            return {arm: _increment(totals) for arm, totals in record.detail["totals"].items()}
    return {}


def totals_of(arm: Increment) -> dict[str, Any]:
    """Return an increment as the record of an import holds it."""
    return {name: getattr(arm, name) for name in (*_EXACT, *_SUMS, "latency_cu", "confidence_cu")} | {
        "custom": {name: list(sums) for name, sums in arm.custom.items()}
    }


def _increment(totals: dict[str, Any]) -> Increment:
    custom = {name: (int(sums[0]), float(sums[1]), float(sums[2])) for name, sums in totals["custom"].items()}
    return Increment(**{name: value for name, value in totals.items() if name != "custom"}, custom=custom)


def _sum(first: Increment, second: Increment) -> Increment:
    return Increment(**{name: getattr(first, name) + getattr(second, name) for name in (*_EXACT, *_SUMS)})
