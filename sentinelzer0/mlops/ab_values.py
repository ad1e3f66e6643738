"""What the A/B test manager returns: snapshots of tests and of what each arm measured."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import datetime
from html import escape
from typing import Any, ClassVar

from sentinelzer0.domain.ab_tests import StoredTest, TestStatus, shares_of_all
from sentinelzer0.domain.assignment import HOLDOUT
from sentinelzer0.domain.outcomes import Evidence

_TIMES = ("created_at", "started_at", "ended_at", "deadline")
_METRICS = ("metrics_a", "metrics_b", "holdout_metrics")
QUANTILES = {"latency_p50_ms": 0.50, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


@dataclass(frozen=True, slots=True)
class TestMetrics:
    """What one arm measured so far.

    Means and rates are 0.0 while nothing was measured, as in 3.3; ``comparison`` in the results of a test says None
    then. Quantiles are None.

    Attributes:
        model_version: The version that served this arm.
        total_requests: Outcomes recorded in time.
        successful_requests: Those that succeeded.
        failed_requests: Those that failed.
        avg_latency_ms: Mean latency in milliseconds, failures included.
        avg_confidence: Mean confidence, 0..1, of the requests that have one.
        true_positives: Attacks that were flagged.
        false_positives: Benign requests that were flagged.
        true_negatives: Benign requests that passed.
        false_negatives: Attacks that were missed.
        custom_metrics: Mean of every custom metric.
        latency_p50_ms: Median latency in milliseconds, within 1 %.
        latency_p95_ms: 95th percentile, within 1 %.
        latency_p99_ms: 99th percentile, within 1 %.
        late_requests: Outcomes that came after the end of the test; in none of the other numbers.
    """

    __test__: ClassVar[bool] = False  # pytest: not a test

    model_version: str
    total_requests: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    avg_latency_ms: float = 0.0
    avg_confidence: float = 0.0
    true_positives: int = 0
    false_positives: int = 0
    true_negatives: int = 0
    false_negatives: int = 0
    custom_metrics: dict[str, float] = field(default_factory=dict)
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    late_requests: int = 0

    @property
    def error_rate(self) -> float:
        """Share of requests that failed."""
        return _ratio(self.failed_requests, self.total_requests)

    @property
    def precision(self) -> float:
        """Share of flagged requests that were attacks, among those with a label."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of attacks that were flagged, among the requests with a label."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1_score(self) -> float:
        """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + wrong)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, with the rates under ``computed_metrics``."""
        row = {f.name: getattr(self, f.name) for f in fields(self)} | {"custom_metrics": dict(self.custom_metrics)}
        computed = ("error_rate", "precision", "recall", "f1_score")
        return row | {"computed_metrics": {name: getattr(self, name) for name in computed}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TestMetrics:
        """Build metrics from :meth:`to_dict`; the computed ones are computed again."""
        return cls(**{name: value for name, value in raw.items() if name != "computed_metrics"})


@dataclass(frozen=True, slots=True)
class ABTest:
    """A snapshot of a test.

    Attributes:
        test_id: Unique id, ``test_…``.
        test_name: What people call it.
        model_a: The control.
        model_b: The challenger.
        traffic_split: Share of the challenger, 0..1.
        status: Where it is in its life.
        created_at: When it was created.
        started_at: When it was first started, or None.
        ended_at: When it was completed or cancelled, or None.
        created_by: Who created it.
        description: Free text.
        min_samples: Requests each arm needs before a verdict.
        significance_threshold: Probability of a wrong verdict over all looks together, e.g. 0.05.
        metrics_a: What the control measured.
        metrics_b: What the challenger measured.
        winner: The winning model version, None until decided.
        winner_confidence: One minus the always-valid p-value at the decision; 0.0 until decided.
        primary_metric: The metric that decides.
        model: The model whose versions are compared.
        deployment: The environment whose traffic the test splits, or None.
        verdict: The evidence at the decision, empty until decided.
        warnings: What was warned about when it was started.
        arms: The share of all traffic of every version as designed, the control first; the holdout is apart.
        metrics: What every arm measured, by version.
        holdout_metrics: What the units kept out of the test measured, or None.
        mode: ``split``, or ``shadow`` when challengers score the control's requests and serve nothing.
        holdout: The share of units kept out of the test.
        phases: The periods of constant shares: ``phase``, ``at`` (ISO-8601) and ``shares`` by version.
        guardrails: What challengers must not make worse: ``metric``, ``margin``, ``relative``, ``ratio``, ``direction``.
        segments: The names that outcomes are told apart by.
        latency_slo_ms: A request that takes longer is slow, in milliseconds, or None.
        label_window_s: How long after a request its label may come, in seconds.
        minimum_effect: The smallest difference of the primary metric worth having, or None.
        end_at_verdict: Whether the verdict ends the test.
        deadline: When it ends at the latest, or None; also None before the start when it counts from there.
        max_samples: How many outcomes end it, or None.
        decision: What the verdict calls for, e.g. ``promote`` or ``keep``; None until decided.
    """

    test_id: str
    test_name: str
    model_a: str
    model_b: str
    traffic_split: float
    status: TestStatus
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_by: str = "system"
    description: str = ""
    min_samples: int = 100
    significance_threshold: float = 0.05
    metrics_a: TestMetrics | None = None
    metrics_b: TestMetrics | None = None
    winner: str | None = None
    winner_confidence: float = 0.0
    primary_metric: str = "f1_score"
    model: str = "default"
    deployment: str | None = None
    verdict: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    arms: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, TestMetrics] = field(default_factory=dict)
    holdout_metrics: TestMetrics | None = None
    mode: str = "split"
    holdout: float = 0.0
    phases: list[dict[str, Any]] = field(default_factory=list)
    guardrails: list[dict[str, Any]] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)
    latency_slo_ms: float | None = None
    label_window_s: float = 0.0
    minimum_effect: float | None = None
    end_at_verdict: bool = False
    deadline: datetime | None = None
    max_samples: int | None = None
    decision: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; times are ISO-8601."""
        row = {f.name: deepcopy(getattr(self, f.name)) for f in fields(self)} | {"status": self.status.value}
        for name in _TIMES:
            row[name] = None if row[name] is None else row[name].isoformat()
        for name in _METRICS:
            row[name] = None if row[name] is None else row[name].to_dict()
        return row | {"metrics": {version: metrics.to_dict() for version, metrics in self.metrics.items()}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ABTest:
        """Build a snapshot from :meth:`to_dict`."""
        row = dict(raw) | {"status": TestStatus(raw["status"])}
        for name in _TIMES:
            row[name] = None if row.get(name) is None else datetime.fromisoformat(row[name])
        for name in _METRICS:
            row[name] = None if row.get(name) is None else TestMetrics.from_dict(row[name])
        row["metrics"] = {version: TestMetrics.from_dict(one) for version, one in row.get("metrics", {}).items()}
        return cls(**row | {"winner_confidence": row.get("winner_confidence") or 0.0})

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        rows = [
            (version, f"{self.arms[version]:.1%}", f"{metrics.total_requests:,}", f"{metrics.error_rate:.2%}")
            for version, metrics in self.metrics.items()
        ]
        heads = "".join(f"<th scope='col'>{head}</th>" for head in ("version", "share", "requests", "error rate"))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        said = f"decided: {self.decision}" if self.decision else "not decided"
        title = f"{self.test_name}: {self.status.value}, {said} by {self.primary_metric} ({self.test_id})"
        return f"<table><caption>{escape(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def public_metrics(version: str, evidence: Evidence, letter: str) -> TestMetrics:
    """Return the statistics of an arm, or of the holdout, as users see them."""
    arm = evidence.arm(letter)
    return TestMetrics(
        version,
        arm.requests,
        arm.requests - arm.failures,
        arm.failures,
        arm.latency.mean or 0.0,
        arm.confidence.mean or 0.0,
        arm.confusion.tp,
        arm.confusion.fp,
        arm.confusion.tn,
        arm.confusion.fn,
        {name: found.mean for name, found in sorted(arm.custom.items()) if found.mean is not None},
        **{name: arm.histogram.quantile(q) for name, q in QUANTILES.items()},
        late_requests=evidence.late.get(letter, 0),
    )


def public_test(test: StoredTest, evidence: Evidence) -> ABTest:
    """Return a stored test and its statistics as users see them."""
    metrics = {version: public_metrics(version, evidence, letter) for letter, version in test.arms.items()}
    return ABTest(
        test.test_id,
        test.test_name,
        test.model_a,
        test.model_b,
        test.traffic_split,
        test.status,
        test.created_at,
        test.started_at,
        test.ended_at,
        test.created_by,
        test.description,
        test.min_samples,
        test.significance_threshold,
        metrics[test.model_a],
        metrics[test.model_b],
        test.winner,
        test.winner_confidence,
        test.primary_metric,
        test.model,
        test.environment,
        dict(test.verdict),
        list(test.warnings),
        arms=_by_version(test, shares_of_all(test, test.shares)),
        metrics=metrics,
        holdout_metrics=public_metrics(test.model_a, evidence, HOLDOUT) if test.holdout else None,
        mode=test.mode.value,
        holdout=test.holdout,
        phases=[phase | {"shares": _by_version(test, phase["shares"])} for phase in test.phases],
        guardrails=[guardrail.to_dict() for guardrail in test.guardrail_list],
        segments=list(test.segments),
        latency_slo_ms=test.latency_slo_ms,
        label_window_s=test.label_window_s,
        minimum_effect=test.minimum_effect,
        end_at_verdict=test.end_at_verdict,
        deadline=test.deadline,
        max_samples=test.max_samples,
        decision=_decision(test),
    )


def _by_version(test: StoredTest, shares: Mapping[str, float]) -> dict[str, float]:
    return {version: float(shares[letter]) for letter, version in test.arms.items()}


def _decision(test: StoredTest) -> str | None:
    """Return what the verdict calls for; verdicts of earlier releases name only the winner."""
    if not test.verdict:
        return None
    by_winner = "promote" if test.winner == test.model_b else "keep"
    return str(test.verdict.get("action") or by_winner)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
