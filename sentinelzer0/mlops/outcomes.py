"""Outcomes of production, outside any test: recorded, labelled, summed up by version, exported and pruned.

Production of a model is a stream named ``production/<model>``, whose arms are the versions. It is added up as the
outcomes of a test are, so statistics cost the same at any size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sentinelzer0.domain.ab_tests import TestStatus
from sentinelzer0.domain.identity import DEFAULT_MODEL, Actor, check_identifier
from sentinelzer0.domain.outcome_values import check_request_id
from sentinelzer0.domain.tallies import cohort_at
from sentinelzer0.errors import InvalidInputError, SentinelError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops import outcome_recording as recording
from sentinelzer0.mlops import outcome_retention as retention
from sentinelzer0.mlops.ab_lookup import require_test
from sentinelzer0.mlops.ab_values import TestMetrics, public_metrics
from sentinelzer0.mlops.integrity import require_version
from sentinelzer0.mlops.outcome_intake import checked, checked_labels, checked_rows, required_label
from sentinelzer0.mlops.outcome_recording import Recorded, Stream
from sentinelzer0.mlops.outcome_retention import Exported, Pruned
from sentinelzer0.mlops.recorder import Recorder

__all__ = ["Exported", "Outcomes", "Pruned", "Recorded", "Recorder"]

COHORT_S = 300.0
"""Statistics since a time are exact to so many seconds."""

RECORD = "outcome:row:record"
LABEL = "outcome:row:label"


class _Versions(dict[str, str]):
    """The versions of a model that exist, each found once; a version is its own arm."""

    def __init__(self, kernel: Kernel, model: str) -> None:
        super().__init__()
        self._kernel = kernel
        self._model = model

    def __missing__(self, version: str) -> str:
        """Find a version.

        Raises:
            VersionNotFoundError: There is none of this name.
        """
        name = check_identifier(version, "version")
        with self._kernel.read() as view:
            require_version(view, self._model, name)
        self[name] = name
        return name


class Outcomes:
    """The outcomes of a workspace's production, and the raw outcomes of its tests.

    Args:
        kernel: The open workspace.
        retention_days: After how many days :meth:`prune` deletes raw outcomes when it is told nothing else.
    """

    def __init__(self, kernel: Kernel, *, retention_days: float | None = None) -> None:
        self._kernel = kernel
        self._retention_days = retention_days
        self._streams: dict[str, Stream] = {}

    def record(
        self,
        version: str,
        success: bool,
        latency_ms: float,
        *,
        request_id: str | None = None,
        confidence: float | None = None,
        predicted_label: Any = None,
        true_label: Any = None,
        custom_metrics: Mapping[str, float] | None = None,
        key: str | bytes | int | None = None,
        segment: str | None = None,
        model: str = DEFAULT_MODEL,
    ) -> Recorded:
        """Record the outcome of one request to production; it survives ``kill -9`` when this returns.

        Args:
            version: The version that answered; it must exist.
            success: Whether it answered; errors and timeouts are False.
            latency_ms: Milliseconds from 0, also for failures and timeouts.
            request_id: What a repeat or a later label is recognised by; made up when left out, and returned.
            confidence: The model's confidence, 0..1.
            predicted_label: What the model said.
            true_label: What was true; None while unknown.
            custom_metrics: Other finite numbers by name.
            key: The unit: user, host or stream.
            segment: A name to tell outcomes apart by; use few.
            model: The model.

        Raises:
            InvalidInputError: An impossible value.
            VersionNotFoundError: There is no such version.
            ConflictError: The request was recorded for another version; the refusal is on record.
        """
        stream = self._stream(model)
        outcome = checked(
            self._kernel,
            stream,
            version,
            success,
            latency_ms,
            confidence,
            true_label,
            predicted_label,
            custom_metrics,
            request_id,
            key,
            None,
            segment,
        )
        return recording.record(self._kernel, stream, (outcome,))[0]

    def record_many(self, rows: Iterable[Mapping[str, Any]], *, model: str = DEFAULT_MODEL) -> Recorded:
        """Record many outcomes in one transaction: all of them or, when one is not possible, none.

        Args:
            rows: Mappings with the argument names of :meth:`record`, ``model_version`` instead of ``version``.
            model: The model.

        Raises:
            InvalidInputError: A row is not possible; the message names it, counted from 0.
            VersionNotFoundError: There is no such version.
            ConflictError: A request was recorded for another version; the refusal is on record.
        """
        stream = self._stream(model)
        return recording.record(self._kernel, stream, checked_rows(self._kernel, stream, rows))[0]

    def label(self, request_id: str, true_label: Any, *, model: str = DEFAULT_MODEL) -> Recorded:
        """Record the true label of a request, before or after its outcome; a later label replaces an earlier one.

        Raises:
            InvalidInputError: No label, or no usable ``request_id``.
        """
        row = (check_request_id(request_id), required_label(true_label))
        return recording.label(self._kernel, self._stream(model), (row,))[0]

    def labels(self, rows: Iterable[Mapping[str, Any] | tuple[str, Any]], *, model: str = DEFAULT_MODEL) -> Recorded:
        """Record many true labels in one transaction: all of them or, when one is not possible, none.

        Args:
            rows: Mappings with ``request_id`` and ``true_label``, or pairs of both.
            model: The model.

        Raises:
            InvalidInputError: A row is not possible; the message names it, counted from 0.
        """
        return recording.label(self._kernel, self._stream(model), checked_labels(rows))[0]

    def recorder(self, *, model: str = DEFAULT_MODEL, **options: Any) -> Recorder:
        """Return a recorder that takes outcomes and labels in a microsecond and writes them in batches.

        Args:
            model: The model.
            **options: ``capacity``, ``batch``, ``max_delay_s``, ``on_full``, ``wait_s`` and ``on_sigterm`` of
                :class:`Recorder`.

        Raises:
            InvalidInputError: An option is unknown or not possible.
        """
        return Recorder.with_options(partial(self.record_many, model=model), partial(self.labels, model=model), options)

    def statistics(self, version: str, *, since: datetime | None = None, model: str = DEFAULT_MODEL) -> TestMetrics:
        """Return what a version showed in production.

        Args:
            version: The version.
            since: Only what was recorded from this time on, to five minutes; without latency quantiles and custom
                metrics, which are kept for all time together. Aware.
            model: The model.

        Raises:
            InvalidInputError: ``since`` is no aware time.
            VersionNotFoundError: There is no such version.
        """
        name = check_identifier(version, "version")
        stream = stream_name(model)
        with self._kernel.read() as view:
            require_version(view, model, name)
            if since is None:
                evidence = view.cells.evidence(stream, None)
            else:
                evidence = view.cells.since(stream, cohort_at(retention.seconds_of(since, "since"), COHORT_S))
        return public_metrics(name, evidence, name)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        test_id: str | None = None,
        model: str = DEFAULT_MODEL,
        since: datetime | None = None,
    ) -> Exported:
        """Write raw outcomes into a file: ``.jsonl``, or ``.parquet`` with the extra ``parquet``.

        Args:
            path: The file to write; its ending says which kind.
            test_id: A test's outcomes instead of production's.
            model: The model whose production is meant.
            since: Only what was recorded from this time on; aware.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: The name ends otherwise, or ``since`` is no aware time.
            MissingExtraError: The extra ``parquet`` is not installed.
            StorageUnavailableError: The file cannot be written there.
        """
        return retention.export(self._kernel, self._raw(test_id, model), path, since)

    def prune(
        self,
        older_than: datetime | float | None = None,
        *,
        test_id: str | None = None,
        model: str = DEFAULT_MODEL,
        pruned_by: str | Actor = "system",
        dry_run: bool = False,
    ) -> Pruned:
        """Delete old raw outcomes; the statistics stay as they are.

        What is deleted can neither be labelled nor be recognised when it is recorded again.

        Args:
            older_than: A time (aware), or an age in days; the configured retention when left out.
            test_id: A test's outcomes instead of production's.
            model: The model whose production is meant.
            pruned_by: Who deletes.
            dry_run: Whether only to count what would be deleted.

        Raises:
            ABTestNotFoundError: There is no such test.
            InvalidInputError: No time and no age is known, or it is not possible.
        """
        age = self._retention_days if older_than is None else older_than
        return retention.prune(self._kernel, self._raw(test_id, model), age, pruned_by, dry_run=dry_run)

    def _raw(self, test_id: str | None, model: str) -> str:
        if test_id is None:
            return stream_name(model)
        with self._kernel.read() as view:
            return require_test(view, test_id).test_id

    def _stream(self, model: str) -> Stream:
        try:
            return self._streams[model]
        except (KeyError, TypeError):
            name = stream_name(model)
        with self._kernel.record_outcomes() as view:
            view.streams.create(name, TestStatus.RUNNING.value, cohort_s=COHORT_S, judged=False)
        stream = self._streams[model] = Stream(
            name=name,
            arms=_Versions(self._kernel, model),
            subject=f"model:{model}",
            record_action=RECORD,
            label_action=LABEL,
            missing=partial(_missing, name),
            cohort_s=COHORT_S,
        )
        return stream


def stream_name(model: object) -> str:
    """Return the name of the stream of a model's production.

    Raises:
        InvalidInputError: The name cannot be a model's.
    """
    return f"production/{check_identifier(model, 'model')}"


def _missing(name: str) -> SentinelError:
    return InvalidInputError(f"There is no stream of outcomes {name!r}.")
