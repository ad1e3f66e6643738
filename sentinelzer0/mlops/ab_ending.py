"""When a test with a deadline or a budget of outcomes has to be looked at, without a look at every request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_lifecycle import samples_of
from sentinelzer0.mlops.ab_lookup import require_test

MAX_AGE_S = 0.05


@dataclass(slots=True)
class _Rules:
    """What may end one test, as far as this process knows."""

    deadline: datetime | None
    max_samples: int | None
    left: int = 0
    until: float = 0.0


class Endings:
    """Tells when a test is due to end by its deadline or its budget; both stand once a test was started.

    Args:
        kernel: The open workspace.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._rules: dict[str, _Rules | None] = {}

    def past_deadline(self, test_id: str) -> bool:
        """Return whether the deadline of a test has passed.

        Raises:
            ABTestNotFoundError: There is no such test.
        """
        rules = self._rules_of(test_id)
        return rules is not None and rules.deadline is not None and self._kernel.now() >= rules.deadline

    def spent(self, test_id: str, counted: int) -> bool:
        """Return whether the budget of a test is used up, after this process counted more of it.

        What other processes counted is read every 50 ms.
        """
        rules = self._rules_of(test_id)
        if rules is None or rules.max_samples is None:
            return False
        rules.left -= counted
        now = self._kernel.clock.monotonic()
        if rules.left > 0 and now < rules.until:
            return False
        with self._kernel.read() as view:
            rules.left = rules.max_samples - samples_of(view, require_test(view, test_id))
        rules.until = now + MAX_AGE_S
        return rules.left <= 0

    def forget(self, test: StoredTest) -> None:
        """Read the rules of a test again."""
        self._rules.pop(test.test_id, None)

    def _rules_of(self, test_id: str) -> _Rules | None:
        try:
            return self._rules[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            with self._kernel.read() as view:
                test = require_test(view, test_id)
        ends = test.status.is_open and (test.deadline is not None or test.max_samples is not None)
        rules = _Rules(test.deadline, test.max_samples) if ends else None
        if test.status is not TestStatus.SETUP:
            self._rules[test.test_id] = rules
        return rules
