"""A/B tests of live traffic: route, record, decide; the verdict holds however often one looks.

Each arm is summarised by counts and sums that grow in the database, so results cost the same at a thousand and at a
hundred million outcomes. A winner is declared when an always-valid interval for the primary metric excludes "no
difference" and each arm has its minimum; that verdict is latched and never flips.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.domain.assignment import Assignment
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.outcome_values import check_request_id
from sentinelzer0.domain.outcomes import Outcome
from sentinelzer0.errors import RefusedError, SentinelError, WorkspaceError
from sentinelzer0.kernel import Kernel, check_path, disk_errors, write_text
from sentinelzer0.mlops import ab_judging as judging
from sentinelzer0.mlops import ab_lifecycle as lifecycle
from sentinelzer0.mlops import outcome_recording as recording
from sentinelzer0.mlops.ab_ending import Endings
from sentinelzer0.mlops.ab_publishing import publish_verdict
from sentinelzer0.mlops.ab_report import format_of, report_text
from sentinelzer0.mlops.ab_results import ABResults, results_of
from sentinelzer0.mlops.ab_streams import Streams
from sentinelzer0.mlops.ab_traffic import ABTestTraffic
from sentinelzer0.mlops.ab_values import ABTest, TestMetrics
from sentinelzer0.mlops.outcome_intake import checked, checked_labels, checked_rows, required_label
from sentinelzer0.mlops.outcome_recording import Recorded
from sentinelzer0.mlops.recorder import Recorder
from sentinelzer0.mlops.tracking import Tracker

__all__ = ["ABTest", "ABTestManager", "Assignment", "Guardrail", "Recorded", "Recorder", "TestMetrics", "TestStatus"]


_log = logging.getLogger("sentinelzer0.mlops.ab_testing")


class ABTestManager(ABTestTraffic):
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
        super().__init__(tests_dir, kernel=kernel, tracker=tracker)
        self._endings = Endings(self.kernel)
        self._streams = Streams(self.kernel)

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
        assignment: Assignment | Mapping[str, Any] | None = None,
        segment: str | None = None,
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
            assignment: What :meth:`assign` answered, or the same as a mapping; its request id counts unless another
                is given.
            segment: One of the segments of the test; any other name counts as none.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: An impossible value, or a version that is not in the test.
            IllegalTransitionError: The test was not started; the refusal is on record.
            ConflictError: The request was recorded for the other arm; the refusal is on record.
        """
        stream = self._streams.of(test_id)
        outcome = checked(
            self.kernel,
            stream,
            model_version,
            success,
            latency_ms,
            confidence,
            true_label,
            predicted_label,
            custom_metrics,
            request_id,
            key,
            assignment,
            segment,
        )
        return self._recorded(test_id, stream, (outcome,))

    def record_results(self, test_id: str, rows: Iterable[Mapping[str, Any]]) -> Recorded:
        """Record many outcomes in one transaction: all of them or, when one is not possible, none.

        Args:
            test_id: The test.
            rows: Mappings with the argument names of :meth:`record_result`; ``model_version``, ``success`` and
                ``latency_ms`` are needed. Instead of an ``assignment`` a row may hold its ``revision`` and ``share``.

        Raises:
            InvalidInputError: A row is not possible; the message names it, counted from 0.
            RefusedError: As for :meth:`record_result`.
            ABTestNotFoundError: There is no such test.
        """
        stream = self._streams.of(test_id)
        return self._recorded(test_id, stream, checked_rows(self.kernel, stream, rows))

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
        label = (check_request_id(request_id), required_label(true_label))
        return self._labelled(test_id, (label,))

    def record_labels(self, test_id: str, rows: Iterable[Mapping[str, Any] | tuple[str, Any]]) -> Recorded:
        """Record many true labels in one transaction: all of them or, when one is not possible, none.

        Args:
            test_id: The test.
            rows: Mappings with ``request_id`` and ``true_label``, or pairs of both.

        Raises:
            InvalidInputError: A row is not possible; the message names it, counted from 0.
            ABTestNotFoundError: There is no such test.
            IllegalTransitionError: The test was not started; the refusal is on record.
        """
        return self._labelled(test_id, checked_labels(rows))

    def recorder(self, test_id: str, **options: Any) -> Recorder:
        """Return a recorder that takes outcomes and labels of a test in a microsecond and writes them in batches.

        Args:
            test_id: The test.
            **options: ``capacity``, ``batch``, ``max_delay_s``, ``on_full``, ``wait_s`` and ``on_sigterm`` of
                :class:`Recorder`.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: An option is unknown or not possible.
        """
        self._streams.of(test_id)  # a test of that name exists
        return Recorder.with_options(
            partial(self.record_results, test_id), partial(self.record_labels, test_id), options
        )

    def get_test_results(self, test_id: str, *, fixed_horizon: bool = False) -> dict[str, Any]:
        """Return what the test says so far; looking is free, and a verdict that is carried now is latched.

        Args:
            test_id: The test.
            fixed_horizon: Also return what textbook tests say, which hold for one look at a size fixed beforehand.

        Returns:
            ``test_id``, ``test_name``, ``status``, ``model_a``, ``model_b``, ``metrics_a``, ``metrics_b``;
            ``decision`` (``action`` promote, keep, inconclusive, stop_guardrail or invalid, ``winner``, ``sentence``,
            ``reasons``, ``latched``); ``recommendation`` (a sentence); ``comparison`` of the first challenger with the
            control and ``comparisons`` of all (for each metric ``model_a``, ``model_b``, ``difference``,
            ``percent_change``, ``winner`` "A", "B" or None, ``interval``, always-valid ``p_value``, one-sided
            ``lower`` and ``upper``, ``lift`` and more); ``statistical_significance`` (of the primary metric); ``srm``
            (whether the traffic reached the arms as meant); ``guardrails``; ``segments``; ``phases``; ``holdout``;
            ``drift`` (a sentence, or None); ``maturity`` (labels that wait for their window); ``warnings``. Rates are
            fractions, latencies milliseconds. In a notebook it shows itself as a table.

        Raises:
            ABTestNotFoundError: There is no such test.
        """
        with self.kernel.read() as view:
            found = judging.judged(view, test_id)
        if found.carries_verdict:
            self._latch(test_id, on_the_way=False)
        ended = self._end_if_due(test_id, on_the_way=False)
        if found.carries_verdict or ended:
            with self.kernel.read() as view:
                found = judging.judged(view, test_id)
        return ABResults(results_of(found.test, found.measured, found.judgement, fixed_horizon=fixed_horizon))

    def report(
        self, test_id: str, path: str | os.PathLike[str], form: str = "", *, fixed_horizon: bool = False
    ) -> Path:
        """Write the report of a test: for people as HTML or Markdown, for programs as JSON; it needs no network.

        Args:
            test_id: The test.
            path: The file to write; its directory is created.
            form: ``html``, ``md`` or ``json``; when left out the ending of the name says it, and no ending means HTML.
            fixed_horizon: Also show what textbook tests say, labelled as such: they hold for a single look only.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: There is no such form, or the name ends otherwise.
            StorageUnavailableError: The file cannot be written there.
        """
        target = check_path(path, "path")
        results = self.get_test_results(test_id, fixed_horizon=fixed_horizon)
        text = report_text(self.kernel, test_id, results, form or format_of(target))
        with disk_errors(f"Writing {str(target)!r}"):
            write_text(target, text)
        return target

    def _changed(self, test: StoredTest) -> ABTest:
        self._endings.forget(test)
        return super()._changed(test)

    def _recorded(self, test_id: str, stream: recording.Stream, outcomes: Sequence[Outcome]) -> Recorded:
        """Record outcomes, and end the test when they or its deadline make it due; what comes after is late."""
        if self._endings.past_deadline(test_id):
            self._end_if_due(test_id, on_the_way=True)
        recorded = self._latching(test_id, *recording.record(self.kernel, stream, outcomes))
        if self._endings.spent(test_id, recorded.counted):
            self._end_if_due(test_id, on_the_way=True)
        return recorded

    def _labelled(self, test_id: str, labels: Sequence[tuple[str, int]]) -> Recorded:
        """Record labels; those that come after the deadline are late."""
        stream = self._streams.of(test_id)
        if self._endings.past_deadline(test_id):
            self._end_if_due(test_id, on_the_way=True)
        return self._latching(test_id, *recording.label(self.kernel, stream, labels))

    def _end_if_due(self, test_id: str, *, on_the_way: bool) -> bool:
        """End a test by its own rules; on the way of a request, which is served whatever becomes of this.

        Returns:
            Whether this call ended it.
        """
        try:
            test = lifecycle.end_if_due(self.kernel, test_id)
        except (RefusedError, WorkspaceError) as error:
            _log.warning("The test %s is due to end and will be at the next look: %s", test_id, error)
            return False
        if test is not None:
            self._changed(test)
            kind = lifecycle.ACTIONS["complete"]
            publish_verdict(self.kernel, self._tracker, test, kind, in_background=on_the_way)
        return test is not None

    def _latch(self, test_id: str, *, on_the_way: bool) -> None:
        test = judging.latch(self.kernel, test_id)
        if test is not None:
            publish_verdict(self.kernel, self._tracker, test, in_background=on_the_way)
            self._end_if_due(test_id, on_the_way=on_the_way)

    def _latching(self, test_id: str, recorded: Recorded, carries: bool) -> Recorded:
        """Latch a verdict on the way of a request, which is recorded whatever becomes of this."""
        try:
            if carries:
                self._latch(test_id, on_the_way=True)
        except SentinelError as error:
            _log.warning("The verdict of %s will be latched at the next look: %s", test_id, error)
        return recorded
