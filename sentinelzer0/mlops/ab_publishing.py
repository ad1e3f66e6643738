"""What leaves the database after a commit: the readable file of a test, and the events for the tracker."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from sentinelzer0.domain.ab_tests import StoredTest
from sentinelzer0.kernel import Kernel, check_path, write_json, write_text
from sentinelzer0.mlops.ab_judging import REACH, judged
from sentinelzer0.mlops.ab_lifecycle import ACTIONS
from sentinelzer0.mlops.ab_report import html_report
from sentinelzer0.mlops.ab_results import results_of
from sentinelzer0.mlops.ab_values import public_test
from sentinelzer0.mlops.tracking import TrackedEvent, Tracker, publish

FORMAT = "sentinelzer0-ab-test-1"

_log = logging.getLogger("sentinelzer0.mlops.ab_testing")


def opened_for(tests_dir: str | os.PathLike[str]) -> Kernel:
    """Open the workspace of a directory of tests: its parent's when it is named ``ab_tests``, otherwise its own."""
    given = check_path(tests_dir, "tests_dir")
    if given.name == "ab_tests":
        return Kernel(given.parent)
    kernel = Kernel(given)
    kernel.layout.keep_ab_tests_in(kernel.layout.root)
    return kernel


def write_results(kernel: Kernel, test_id: str) -> Path:
    """Write ``ab_tests/<test_id>.json``: the test and its results; it can be written again, so a failure is logged."""
    path = kernel.layout.ab_tests / f"{test_id}.json"
    with kernel.read() as view:
        found = judged(view, test_id)
    shown = public_test(found.test, found.measured).to_dict()
    content = {
        "format": FORMAT,
        "test": shown,
        "results": results_of(found.test, found.measured, found.judgement),
    }
    try:
        write_json(path, content)
    except OSError as error:
        _log.warning("The readable file %s could not be written: %s", path, error)
    return path


def publish_start(kernel: Kernel, tracker: Tracker | None, test: StoredTest) -> None:
    """Tell the tracker that a test was started."""
    if tracker is not None:
        artifacts = (kernel.layout.ab_tests / f"{test.test_id}.json",)
        event = TrackedEvent(
            name=test.test_name, kind=ACTIONS["start"], tags=_tags(test), params=_params(test), artifacts=artifacts
        )
        publish(tracker, event)


def publish_verdict(
    kernel: Kernel, tracker: Tracker | None, test: StoredTest, kind: str = REACH, *, in_background: bool = False
) -> None:
    """Tell the tracker what a test found, with its report.

    Args:
        kernel: The open workspace.
        tracker: Where to.
        test: The test with its verdict, or without one when it ended so.
        kind: What happened, as the audit log calls it.
        in_background: Send it from a thread of its own.
    """
    if tracker is None:
        return
    with kernel.read() as view:
        found = judged(view, test.test_id)
    results = results_of(found.test, found.measured, found.judgement)
    report = kernel.layout.ab_tests / f"{test.test_id}.html"
    try:
        write_text(report, html_report(kernel, test.test_id, results))
    except OSError as error:
        _log.warning("The report %s could not be written: %s", report, error)
    event = TrackedEvent(
        name=test.test_name,
        kind=kind,
        tags=_tags(test) | {"winner": test.winner or "none", "recommendation": results["recommendation"]},
        params=_params(test),
        metrics=_metrics(results),
        artifacts=(report, write_results(kernel, test.test_id)),
    )
    publish(tracker, event, in_background=in_background)


def _tags(test: StoredTest) -> dict[str, Any]:
    return {"test_id": test.test_id, "model": test.model, "status": test.status.value}


def _params(test: StoredTest) -> dict[str, Any]:
    return {
        "model_a": test.model_a,
        "model_b": test.model_b,
        "traffic_split": test.traffic_split,
        "arms": ", ".join(test.arms.values()),
        "mode": test.mode.value,
        "holdout": test.holdout,
        "min_samples": test.min_samples,
        "significance_threshold": test.significance_threshold,
        "primary_metric": test.primary_metric,
        "deployment": test.environment or "none",
    }


def _metrics(results: dict[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for metric, compared in results["comparison"].items():
        found |= {f"a.{metric}": compared["model_a"], f"b.{metric}": compared["model_b"]}
        found[f"difference.{metric}"] = compared["difference"]
    significance = results["statistical_significance"]
    found |= {"p_value": significance["p_value"], "total_samples": significance["total_samples"]}
    if significance["interval"] is not None:
        found |= {"interval.low": significance["interval"][0], "interval.high": significance["interval"][1]}
    return found
