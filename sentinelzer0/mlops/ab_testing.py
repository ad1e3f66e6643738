"""A/B tests of live traffic: route, record, decide; the verdict holds however often one looks.

Each arm is summarised by counts and sums that grow in the database, so results cost the same at a thousand and at a
hundred million outcomes. A winner is declared when an always-valid interval for the primary metric excludes "no
difference" and each arm has its minimum; that verdict is latched and never flips.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sentinelzer0.domain.ab_design import new_test
from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.domain.identity import DEFAULT_MODEL, check_actor
from sentinelzer0.domain.outcomes import check_label, check_request_id
from sentinelzer0.errors import InvalidInputError, SentinelError
from sentinelzer0.kernel import Kernel, Reader, check_path, disk_errors, random_salt, write_text
from sentinelzer0.mlops import ab_lifecycle as lifecycle
from sentinelzer0.mlops import ab_recording as recording
from sentinelzer0.mlops.ab_publishing import opened_for, publish_start, publish_verdict, write_results
from sentinelzer0.mlops.ab_recording import Recorded
from sentinelzer0.mlops.ab_report import html_report
from sentinelzer0.mlops.ab_results import results_of
from sentinelzer0.mlops.ab_routing import Router
from sentinelzer0.mlops.ab_values import ABTest, TestMetrics, public_test
from sentinelzer0.mlops.public_values import LiveView
from sentinelzer0.mlops.tracking import Tracker

__all__ = ["ABTest", "ABTestManager", "Recorded", "TestMetrics", "TestStatus"]

_log = logging.getLogger("sentinelzer0.mlops.ab_testing")


class ABTestManager:
    """The A/B tests of one workspace.

    Args:
        tests_dir: A directory named ``ab_tests`` belongs to the workspace of its parent directory; any other
            directory is a workspace of its own, with an ``ab_tests`` in it. Created when it does not exist.
        kernel: An already open workspace, instead of ``tests_dir``.
        tracker: Where starts and verdicts are also reported, after their commit.

    Raises:
        LegacyWorkspaceError: The workspace directory holds files of version 3.3 that were not imported.
    """

    def __init__(
        self,
        tests_dir: str | os.PathLike[str] = "models/ab_tests",
        *,
        kernel: Kernel | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.kernel = kernel or opened_for(tests_dir)
        with disk_errors(f"Making {str(self.tests_dir)!r}"):
            self.tests_dir.mkdir(parents=True, exist_ok=True)
        self._tracker = tracker
        self._router = Router(self.kernel)
        self._arms: dict[str, dict[str, str]] = {}

    @property
    def tests_dir(self) -> Path:
        """The directory with the readable files of the tests."""
        return self.kernel.layout.ab_tests

    @property
    def tests(self) -> LiveView[ABTest]:
        """A live, read-only view of all tests by id, oldest first."""
        return LiveView(self.get_test, self._ids, "Call create_test(…).")

    def create_test(
        self,
        test_name: str,
        model_a: str,
        model_b: str,
        traffic_split: float = 0.5,
        description: str = "",
        created_by: str = "system",
        min_samples: int = 100,
        significance_threshold: float = 0.05,
        *,
        primary_metric: str = "f1_score",
        deployment: str | None = None,
        model: str = DEFAULT_MODEL,
    ) -> ABTest:
        """Design a test; nothing is routed or recorded before it is started.

        Args:
            test_name: What people call it.
            model_a: The control: a label, or an existing version when ``deployment`` is given.
            model_b: The challenger, the same.
            traffic_split: Share of the challenger, 0..1.
            description: Free text.
            created_by: Who designs it.
            min_samples: Requests each arm needs before a verdict.
            significance_threshold: Probability of a wrong verdict over all looks together, in (0, 1).
            primary_metric: What decides: error_rate, accuracy, precision, recall, f1_score, avg_latency_ms or
                avg_confidence.
            deployment: ``production`` when the test splits its traffic while it runs; None when the caller routes.
            model: The model the versions belong to.

        Raises:
            InvalidInputError: Two equal arms, a share outside [0, 1], or another unusable argument.
            VersionNotFoundError: A version of a test with a deployment does not exist.
        """
        person = check_actor(created_by)
        test = new_test(
            test_id=self.kernel.ids.new("test"),
            salt=random_salt(),
            now=self.kernel.now(),
            created_by=person.name,
            test_name=test_name,
            model_a=model_a,
            model_b=model_b,
            traffic_split=traffic_split,
            description=description,
            min_samples=min_samples,
            significance_threshold=significance_threshold,
            primary_metric=primary_metric,
            deployment=deployment,
            model=model,
        )
        lifecycle.create(self.kernel, person, test)
        with self.kernel.read() as view:
            return _snapshot(view, test)

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

    def complete_test(self, test_id: str, force: bool = False, *, completed_by: str = "system") -> dict[str, Any]:
        """End a test and declare the winner its evidence carries, or none.

        Args:
            test_id: The test.
            force: End it although an arm has fewer than ``min_samples`` outcomes; that invents no winner.
            completed_by: Who ends it.

        Returns:
            As :meth:`get_test_results`, with ``winner`` (a model version or None) and ``winner_confidence``.

        Raises:
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: It is not running or paused.
            GateFailedError: Too few outcomes, and not forced.
        """
        stored = lifecycle.complete(self.kernel, test_id, completed_by, force=force)
        self._changed(stored)
        publish_verdict(self.kernel, self._tracker, stored, lifecycle.ACTIONS["complete"])
        results = self.get_test_results(test_id)
        return results | {"winner": stored.winner, "winner_confidence": stored.winner_confidence}

    def get_test(self, test_id: str) -> ABTest | None:
        """Return a test as it now is, or None."""
        with self.kernel.read() as view:
            test = recording.find_test(view, test_id)
            return None if test is None else _snapshot(view, test)

    def list_tests(self, status: TestStatus | str | None = None) -> list[ABTest]:
        """Return all tests or those with one status, newest first.

        Raises:
            InvalidInputError: There is no such status.
        """
        try:
            wanted = None if status is None else TestStatus(status)
        except ValueError as error:
            raise InvalidInputError(f"No status is {status!r:.60}.", hint=f"Use: {', '.join(TestStatus)}.") from error
        with self.kernel.read() as view:
            tests = [test for test in view.ab_tests.all() if wanted is None or test.status is wanted]
            return [_snapshot(view, test) for test in tests]

    def route_request(self, test_id: str, key: str | bytes | int | None = None) -> str:
        """Return the model version that answers a request.

        With a key the answer is a function of the key and the test alone: the same in every process, for as long as
        the test runs. Without one it is drawn at random. A test that is not running sends everything to the control.
        A change made by another process is seen within 50 ms.

        Args:
            test_id: The test.
            key: The unit that must stay in its arm: user, host or stream. Text, bytes or a whole number; the number
                7 and the text "7" are the same key.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The key is something else.
        """
        return self._router.route(test_id, key)

    def record_result(
        self,
        test_id: str,
        model_version: str,
        success: bool,
        latency_ms: float,
        confidence: float | None = None,
        true_label: Any = None,
        predicted_label: Any = None,
        custom_metrics: Mapping[str, float] | None = None,
        *,
        request_id: str | None = None,
        key: str | bytes | int | None = None,
    ) -> Recorded:
        """Record the outcome of one request; it survives ``kill -9`` when this returns.

        A repeat with the same ``request_id`` for the same version counts once. After the end of the test an outcome
        is kept and counted as late.

        Args:
            test_id: The test.
            model_version: The version that answered: one of the two arms.
            success: Whether it answered; errors and timeouts are False.
            latency_ms: Milliseconds from 0, also for failures and timeouts.
            confidence: The model's confidence, 0..1.
            true_label: True, 1, "1", "true", "attack" or "malicious" for an attack; False, 0, "0", "false", "benign"
                or "normal" for a benign request; None while unknown (:meth:`record_label` adds it).
            predicted_label: What the model said, in the same words.
            custom_metrics: Other finite numbers by name; their means are reported.
            request_id: What a repeat or a later label is recognised by; made up when left out, and returned.
            key: The key it was routed by, kept with the outcome.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: An impossible value, or a version that is not in the test.
            IllegalTransitionError: The test was not started; the refusal is on record.
            ConflictError: The request was recorded for the other arm; the refusal is on record.
        """
        outcome = recording.checked(
            self.kernel,
            self._arms_of(test_id),
            model_version,
            success,
            latency_ms,
            confidence,
            true_label,
            predicted_label,
            custom_metrics,
            request_id,
            key,
        )
        return self._latching(test_id, *recording.record(self.kernel, test_id, (outcome,)))

    def record_results(self, test_id: str, rows: Iterable[Mapping[str, Any]]) -> Recorded:
        """Record many outcomes in one transaction: all of them or, when one is not possible, none.

        Args:
            test_id: The test.
            rows: Mappings with the argument names of :meth:`record_result`; ``model_version``, ``success`` and
                ``latency_ms`` are needed.

        Raises:
            InvalidInputError: A row is not possible; the message names it, counted from 0.
            RefusedError: As for :meth:`record_result`.
            ABTestNotFoundError: There is no such test.
        """
        outcomes = recording.checked_rows(self.kernel, self._arms_of(test_id), rows)
        return self._latching(test_id, *recording.record(self.kernel, test_id, outcomes))

    def record_label(self, test_id: str, request_id: str, true_label: Any) -> Recorded:
        """Record the true label of a request, before or after its outcome; a later label replaces an earlier one.

        Args:
            test_id: The test.
            request_id: The request.
            true_label: As for :meth:`record_result`.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: No label, or no usable ``request_id``.
            IllegalTransitionError: The test was not started; the refusal is on record.
        """
        label = check_label(true_label, "true_label")
        if label is None:
            raise InvalidInputError("true_label is None.", hint="Record a label once it is known.")
        self._arms_of(test_id)  # a test of that name exists
        return self._latching(test_id, *recording.label(self.kernel, test_id, check_request_id(request_id), label))

    def get_test_results(self, test_id: str) -> dict[str, Any]:
        """Return what the test says so far; looking is free, and a verdict that is carried now is latched.

        Returns:
            ``test_id``, ``test_name``, ``status``, ``model_a``, ``model_b``, ``metrics_a``, ``metrics_b``,
            ``comparison`` (for each metric ``model_a``, ``model_b``, ``difference`` B - A, ``percent_change``,
            ``winner`` "A", "B" or None), ``statistical_significance`` (of the primary metric), ``recommendation``
            (a sentence), ``warnings``. Rates are fractions, latencies milliseconds.

        Raises:
            ABTestNotFoundError: There is no such test.
        """
        if recording.carries_new_verdict(self.kernel, test_id):
            self._latch(test_id, on_the_way=False)
        with self.kernel.read() as view:
            test = recording.require_test(view, test_id)
            return results_of(test, *view.ab_tests.outcomes.read(test_id))

    def report(self, test_id: str, path: str | os.PathLike[str]) -> Path:
        """Write the report of a test: one HTML file without scripts that needs no network.

        Args:
            test_id: The test.
            path: The file to write; its directory is created.

        Raises:
            ABTestNotFoundError: There is no such test.
            StorageUnavailableError: The file cannot be written there.
        """
        target = check_path(path, "path")
        text = html_report(self.kernel, test_id, self.get_test_results(test_id))
        with disk_errors(f"Writing {str(target)!r}"):
            write_text(target, text)
        return target

    def _ids(self) -> list[str]:
        with self.kernel.read() as view:
            return view.ab_tests.ids()

    def _arms_of(self, test_id: str) -> dict[str, str]:
        """Return the arms by version, which never change."""
        try:
            return self._arms[test_id]
        except (KeyError, TypeError):  # not read yet, or nothing that could be a name
            with self.kernel.read() as view:
                test = recording.require_test(view, test_id)
        arms = self._arms[test.test_id] = {test.model_a: "A", test.model_b: "B"}
        return arms

    def _changed(self, test: StoredTest) -> ABTest:
        """Return a test after its status changed, and let the router and the readable file know."""
        self._router.forget(test)
        write_results(self.kernel, test.test_id)
        with self.kernel.read() as view:
            return _snapshot(view, test)

    def _latch(self, test_id: str, *, on_the_way: bool) -> None:
        test = recording.latch(self.kernel, test_id)
        if test is not None:
            publish_verdict(self.kernel, self._tracker, test, in_background=on_the_way)

    def _latching(self, test_id: str, recorded: Recorded, carries: bool) -> Recorded:
        """Latch a verdict on the way of a request, which is recorded whatever becomes of this."""
        try:
            if carries:
                self._latch(test_id, on_the_way=True)
        except SentinelError as error:
            _log.warning("The verdict of %s will be latched at the next look: %s", test_id, error)
        return recorded


def _snapshot(view: Reader, test: StoredTest) -> ABTest:
    return public_test(test, *view.ab_tests.outcomes.read(test.test_id))
