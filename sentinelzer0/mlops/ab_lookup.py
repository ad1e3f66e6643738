"""Finding a test by the name a caller gives, and the evidence it has."""

from __future__ import annotations

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.domain.identity import is_name
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.domain.scalars import plain, shown
from sentinelzer0.errors import ABTestNotFoundError
from sentinelzer0.kernel import Reader


def find_test(view: Reader, test_id: object) -> StoredTest | None:
    """Return a test, or None when there is none of this name, whatever the name is."""
    return view.ab_tests.get(plain(test_id)) if isinstance(test_id, str) and is_name(test_id) else None


def require_test(view: Reader, test_id: object) -> StoredTest:
    """Return a test.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    test = find_test(view, test_id)
    if test is None:
        raise not_found(test_id)
    return test


def not_found(test_id: object) -> ABTestNotFoundError:
    """Return the error for an unknown test."""
    return ABTestNotFoundError(f"There is no A/B test {shown(test_id)}.", hint="List them: sentinelzer0 ab list")


def evidence_of(view: Reader, test_id: str, *, histograms: bool = True) -> Evidence:
    """Return what a test measured.

    Whether a label has had its time is judged by the newest look when the clock was set back behind it: what was
    mature once stays mature.

    Args:
        view: The transaction.
        test_id: The test.
        histograms: Whether to read the latencies too, which inference does not need.
    """
    newest = view.ab_tests.looks.newest_time(test_id)
    now = view.now if newest is None else max(view.now, newest)
    return view.cells.evidence(test_id, now.timestamp(), histograms=histograms)
