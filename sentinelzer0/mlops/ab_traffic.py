"""The traffic of A/B tests: the part of :class:`ABTestManager` that starts, stops and shares."""

from __future__ import annotations

from sentinelzer0.mlops import ab_lifecycle as lifecycle
from sentinelzer0.mlops.ab_publishing import publish_start
from sentinelzer0.mlops.ab_routing import ABTestRouting
from sentinelzer0.mlops.ab_values import ABTest


class ABTestTraffic(ABTestRouting):
    """The traffic of the tests of one workspace; the arguments are :class:`ABTestManager`'s."""

    def start_test(self, test_id: str, *, started_by: str = "system") -> ABTest:
        """Start a test; one with a deployment now splits its traffic.

        Raises:
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: It was started before.
            IntegrityError: The bytes of a version are not those that were registered.
            QuarantinedError: The challenger was rolled back from and not released.
            ApprovalRequiredError: The policy demands a canary approval that does not exist.
            GateFailedError: The share is above the policy's cap, or a gate for canaries fails.
            ConflictError: The control does not serve alone, or the deployment changed meanwhile.
        """
        stored = lifecycle.begin_serving(self.kernel, test_id, "start", started_by)
        test = self._changed(stored)
        publish_start(self.kernel, self._tracker, stored)
        return test

    def pause_test(self, test_id: str, *, paused_by: str = "system", reason: str = "") -> ABTest:
        """Pause a running test: all requests go to the control; outcomes still count.

        Raises:
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: It is not running.
        """
        return self._changed(lifecycle.stop_serving(self.kernel, test_id, "pause", paused_by, reason))

    def resume_test(self, test_id: str, *, resumed_by: str = "system") -> ABTest:
        """Resume a paused test; checks and splits as :meth:`start_test` does.

        Raises:
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: It is not paused.
            RefusedError: As for :meth:`start_test`.
        """
        return self._changed(lifecycle.begin_serving(self.kernel, test_id, "resume", resumed_by))

    def cancel_test(self, test_id: str, *, cancelled_by: str = "system", reason: str = "") -> ABTest:
        """End a test for good without a look at the evidence; a verdict that was reached stays on record.

        Raises:
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: It is over already.
        """
        return self._changed(lifecycle.stop_serving(self.kernel, test_id, "cancel", cancelled_by, reason))

    def set_share(
        self,
        test_id: str,
        share: float,
        *,
        version: str | None = None,
        changed_by: str = "system",
        reason: str = "",
    ) -> ABTest:
        """Give a challenger another share of the traffic; a ramp is a few of these.

        Only as many units move as the change needs: nobody leaves the challenger when its share grows. A running test
        begins a new phase, and the evidence of each phase is compared within itself. In setup the design is changed; a
        paused test uses the share when it resumes. A larger share of production needs what a start needs.

        Args:
            test_id: The test.
            share: The share of all traffic, 0..1.
            version: The challenger; needed when there are several.
            changed_by: Who changes it.
            reason: Why, kept on record.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: No share, more than the control and the other challengers leave, no challenger of this
                test, or a shadow test.
            IllegalTransitionError: The test is over.
            RefusedError: As for :meth:`start_test`.
        """
        return self._changed(lifecycle.set_share(self.kernel, test_id, share, version, changed_by, reason))
