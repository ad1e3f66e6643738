"""Designing and finding A/B tests: the part of :class:`ABTestManager` that routes and records nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sentinelzer0.domain.ab_design import DEFAULTS, new_test
from sentinelzer0.domain.ab_tests import StoredTest, TestStatus
from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.domain.identity import DEFAULT_MODEL, check_actor
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel, Reader, disk_errors, random_salt
from sentinelzer0.mlops import ab_lifecycle as lifecycle
from sentinelzer0.mlops.ab_lookup import evidence_of, find_test
from sentinelzer0.mlops.ab_planning import plan_for
from sentinelzer0.mlops.ab_publishing import opened_for, write_results
from sentinelzer0.mlops.ab_values import ABTest, public_test
from sentinelzer0.mlops.public_values import LiveView
from sentinelzer0.mlops.tracking import Tracker


class ABTestDesigns:
    """The tests of one workspace, to be created, changed and found; the arguments are :class:`ABTestManager`'s."""

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
        model_a: str | None = None,
        model_b: str | None = None,
        traffic_split: float = 0.5,
        description: str = "",
        created_by: str = "system",
        min_samples: int = 100,
        significance_threshold: float = 0.05,
        *,
        primary_metric: str = "f1_score",
        guardrails: Iterable[Guardrail | Mapping[str, Any] | str] | None = None,
        deployment: str | None = None,
        model: str = DEFAULT_MODEL,
        arms: Mapping[str, float | None] | None = None,
        holdout: float = 0.0,
        shadow: bool = False,
        segments: Iterable[str] = (),
        latency_slo_ms: float | None = None,
        label_window: timedelta | float | None = None,
        minimum_effect: float | None = None,
        direction: str | None = None,
        end_at_verdict: bool = False,
        deadline: datetime | timedelta | None = None,
        max_samples: int | None = None,
        salt: str | None = None,
    ) -> ABTest:
        """Design a test; nothing is routed or recorded before it is started.

        Args:
            test_name: What people call it.
            model_a: The control: a label, or an existing version when ``deployment`` is given.
            model_b: The challenger, the same.
            traffic_split: Share of the challenger, 0..1; in shadow mode it means nothing.
            description: Free text.
            created_by: Who designs it.
            min_samples: Requests each arm needs before a verdict.
            significance_threshold: Probability of a wrong verdict over all looks together, in (0, 1).
            primary_metric: What decides: error_rate, accuracy, precision, recall, f1_score, avg_latency_ms,
                avg_confidence, slow_rate (needs ``latency_slo_ms``) or custom:NAME (needs ``direction``).
            guardrails: What a challenger must not make worse: :class:`Guardrail` values, mappings with ``metric``,
                ``margin``, ``relative``, ``ratio`` and ``direction``, or names of metrics. None guards the error rate
                (margin 0.02) and the mean latency (a fifth of the control's), but not the one of them that is the
                primary metric; ``()`` guards nothing. A ratio is for error_rate, accuracy, recall and slow_rate.
            deployment: ``production`` when the test splits its traffic while it runs; None when the caller routes.
            model: The model the versions belong to.
            arms: Instead of ``model_a``, ``model_b`` and ``traffic_split``: 2 to 7 versions with their shares, the
                control first; its share is what is left, or None.
            holdout: Share of units kept out of the test: they get the control and are counted apart, 0..1.
            shadow: Whether challengers only score the requests that the control answers, and serve nothing.
            segments: At most 50 names that outcomes may be told apart by.
            latency_slo_ms: A request that takes longer is slow, in milliseconds.
            label_window: How long after a request its label may come, a timedelta or seconds; the verdict waits until
                then, so that labels that come early do not bias it.
            minimum_effect: The smallest difference of the primary metric worth having; when it is disproven the test
                is decided.
            direction: Of a custom primary metric: ``higher`` or ``lower`` is better.
            end_at_verdict: Whether the verdict ends the test.
            deadline: When the test ends at the latest: an aware time, or a timedelta that begins with the start.
            max_samples: How many outcomes of all arms end the test.
            salt: 16 hex digits that the assignments hang on; random when left out. Two tests with one salt assign
                alike.

        Raises:
            InvalidInputError: Two equal arms, shares beyond all traffic, or another impossible setting.
            VersionNotFoundError: A version of a test with a deployment does not exist.
        """
        design = {
            name: value for name, value in locals().items() if name in DEFAULTS
        }  # the parameters are the settings
        person = check_actor(created_by)
        test = new_test(
            test_id=self.kernel.ids.new("test"),
            salt=random_salt() if salt is None else salt,
            now=self.kernel.now(),
            created_by=person.name,
            **design,
        )
        lifecycle.create(self.kernel, person, test)
        with self.kernel.read() as view:
            return snapshot(view, test)

    def update_test(self, test_id: str, *, updated_by: str = "system", **settings: Any) -> ABTest:
        """Change the design of a test that was not started; afterwards only shares change (:meth:`set_share`).

        Args:
            test_id: The test.
            updated_by: Who changes it.
            **settings: Arguments of :meth:`create_test` by name; what is not named stays. Without another value
                ``model_a``, ``model_b`` and ``traffic_split`` of a test with two arms stay as well.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: A setting is unknown or impossible.
            ConflictError: The test was started; the refusal is on record.
            VersionNotFoundError: A version of a test with a deployment does not exist.
        """
        return self._changed(lifecycle.edit(self.kernel, test_id, updated_by, settings))

    def plan(
        self,
        test_id: str | None = None,
        *,
        metric: str | None = None,
        direction: str | None = None,
        baseline: float | None = None,
        minimum_effect: float | None = None,
        relative: bool = False,
        share: float | None = None,
        alpha: float | None = None,
        power: float = 0.8,
        min_samples: int | None = None,
        labelled_share: float | None = None,
        attack_share: float = 0.5,
        standard_deviation: float | None = None,
        rate_per_s: float | None = None,
        version: str | None = None,
        model: str = DEFAULT_MODEL,
        guardrails: Iterable[Guardrail | Mapping[str, Any] | str] | None = None,
    ) -> dict[str, Any]:
        """Return how many requests a test takes, before it starts and while it runs.

        Whatever is not given is taken from the test, from the incumbent's own numbers, or assumed; the answer says so.

        Args:
            test_id: An existing test; None plans one that does not exist yet.
            metric: What decides.
            direction: Which way a custom metric improves: ``higher`` or ``lower``.
            baseline: The incumbent's value of the metric.
            minimum_effect: How much better the challenger has to be, in the metric's unit; negative for a worsening.
            relative: Whether that is a share of the baseline.
            share: Share of the challenger among both arms, in (0, 1).
            alpha: Probability of a wrong verdict of the whole test, in (0, 1).
            power: Of the plan with a fixed horizon, in (0, 1).
            min_samples: Requests each arm needs before a verdict.
            labelled_share: Share of the requests that get a true label.
            attack_share: Share of attacks among them, where the incumbent's numbers do not say.
            standard_deviation: Of a measured metric from request to request, likewise.
            rate_per_s: Requests per second; observed when the test runs.
            version: The challenger of a test with several; without a test the incumbent, instead of production's.
            model: The model, without a test.
            guardrails: As for :meth:`create_test`; None means the test's own, or the defaults without a test, () none.

        Returns:
            The fields of a plan, and ``test_id``, ``source``, ``seen``, ``remaining`` and ``assumptions``. Requests and
            durations are those of a promotion: the largest of ``primary`` and each of ``guardrails``;
            ``needs_longest`` names it.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: An argument is not possible, or the baseline is unknown.
        """
        return plan_for(
            self.kernel,
            test_id,
            metric=metric,
            direction=direction,
            baseline=baseline,
            minimum_effect=minimum_effect,
            relative=relative,
            share=share,
            alpha=alpha,
            power=power,
            min_samples=min_samples,
            labelled_share=labelled_share,
            attack_share=attack_share,
            standard_deviation=standard_deviation,
            rate_per_s=rate_per_s,
            version=version,
            model=model,
            guardrails=guardrails,
        )

    def get_test(self, test_id: str) -> ABTest | None:
        """Return a test as it now is, or None."""
        with self.kernel.read() as view:
            test = find_test(view, test_id)
            return None if test is None else snapshot(view, test)

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
            return [snapshot(view, test) for test in tests]

    def _ids(self) -> list[str]:
        with self.kernel.read() as view:
            return view.ab_tests.ids()

    def _changed(self, test: StoredTest) -> ABTest:
        """Return a test after a change, and let the readable file know."""
        write_results(self.kernel, test.test_id)
        with self.kernel.read() as view:
            return snapshot(view, test)


def snapshot(view: Reader, test: StoredTest) -> ABTest:
    """Return a test and what it measured as users see them."""
    return public_test(test, evidence_of(view, test.test_id))
