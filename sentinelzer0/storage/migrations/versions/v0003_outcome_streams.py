"""Outcomes in streams and cells: by phase, cohort, segment and arm; looks with readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_OLD = ("ab_progress", "ab_arms", "ab_custom", "ab_latency", "ab_outcomes", "ab_trajectory")


def upgrade() -> None:
    """Apply: everything measured so far happened in the first phase of its test, without segments and cohorts."""
    _streams()
    _cells()
    _custom()
    _latency()
    _outcomes()
    _units()
    _pairs()
    _looks()
    _move()
    for table in _OLD:
        op.drop_table(table)


def _move() -> None:
    op.execute(
        "INSERT INTO outcome_streams (stream, status, events, next_look, phase, cohort_s, slo_ms, relabelled, pruned, "
        "running) SELECT test_id, status, events, next_look, CASE WHEN EXISTS (SELECT 1 FROM ab_tests t WHERE "
        "t.test_id = p.test_id AND t.started_at IS NOT NULL) THEN 1 ELSE 0 END, 0, NULL, 0, 0, '{}' FROM ab_progress p"
    )
    # A unit was exposed first by one of its outcomes; where that was in both arms, it is taken to be the control.
    op.execute(
        "INSERT INTO outcome_cells (stream, phase, assigned, cohort, segment, arm, requests, failures, slow, units, "
        "latency_sum, latency_sq, latency_cu, confidences, confidence_sum, confidence_sq, confidence_cu, tp, fp, tn, "
        "fn, late) SELECT a.test_id, 1, 0, 0, '', a.arm, a.requests, a.failures, 0, a.requests "
        "- (SELECT count(*) FROM ab_outcomes o WHERE o.test_id = a.test_id AND o.arm = a.arm AND o.unit IS NOT NULL "
        "AND o.late = 0) "
        "+ (SELECT count(*) FROM (SELECT min(o.arm) AS first FROM ab_outcomes o WHERE o.test_id = a.test_id AND "
        "o.unit IS NOT NULL AND o.arm IS NOT NULL AND o.late = 0 GROUP BY o.unit) u WHERE u.first = a.arm), a.latency_sum, a.latency_sq, a.latency_cu, "
        "a.confidences, a.confidence_sum, a.confidence_sq, a.confidence_cu, a.tp, a.fp, a.tn, a.fn, a.late "
        "FROM ab_arms a WHERE a.requests > 0 OR a.late > 0"
    )
    # The third power was not kept: that of a sample without skewness takes its place.
    op.execute(
        "INSERT INTO outcome_custom (stream, phase, arm, metric, samples, total, total_sq, total_cu) "
        "SELECT test_id, 1, arm, metric, samples, total, total_sq, 3.0 * (total / samples) * total_sq "
        "- 2.0 * samples * (total / samples) * (total / samples) * (total / samples) FROM ab_custom WHERE samples > 0"
    )
    op.execute(
        "INSERT INTO outcome_latency (stream, arm, bucket, requests) SELECT test_id, arm, bucket, requests "
        "FROM ab_latency"
    )
    op.execute(
        "INSERT INTO outcomes (stream, request_id, arm, success, latency_ms, confidence, predicted_label, true_label, "
        "unit, segment, phase, assigned, share, slot, recorded_at, cohort, late, custom) SELECT test_id, request_id, "
        "arm, success, latency_ms, confidence, predicted_label, true_label, unit, '', CASE WHEN arm IS NULL THEN 0 "
        "ELSE 1 END, 0, NULL, 0, recorded_at, 0, late, NULL FROM ab_outcomes"
    )
    op.execute(
        "INSERT INTO outcome_units (stream, unit) SELECT DISTINCT o.test_id, o.unit FROM ab_outcomes o "
        "WHERE o.unit IS NOT NULL AND o.arm IS NOT NULL AND o.late = 0"
    )
    op.execute(
        "INSERT INTO ab_looks (test_id, events, recorded_at, decision, readings) SELECT test_id, events, recorded_at, "
        "CASE winner WHEN 'B' THEN 'promote' WHEN 'A' THEN 'keep' ELSE NULL END, '{\"arms\":' || arms || '}' "
        "FROM ab_trajectory"
    )


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _real(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(precision=53), nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _small(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=null)


def _streams() -> None:
    op.create_table(
        "outcome_streams",
        _text("stream"),
        _text("status"),
        _whole("events"),
        _whole("next_look"),
        _whole("phase"),
        _real("cohort_s"),
        _real("slo_ms", null=True),
        _whole("relabelled"),
        _whole("pruned"),
        _text("running"),
        sa.PrimaryKeyConstraint("stream"),
    )


def _cells() -> None:
    op.create_table(
        "outcome_cells",
        _text("stream"),
        _whole("phase"),
        _whole("assigned"),
        _whole("cohort"),
        _text("segment"),
        _text("arm"),
        *(_whole(name) for name in ("requests", "failures", "slow", "units")),
        *(_real(name) for name in ("latency_sum", "latency_sq", "latency_cu")),
        _whole("confidences"),
        *(_real(name) for name in ("confidence_sum", "confidence_sq", "confidence_cu")),
        *(_whole(name) for name in ("tp", "fp", "tn", "fn", "late")),
        sa.PrimaryKeyConstraint("stream", "phase", "assigned", "cohort", "segment", "arm"),
        sqlite_with_rowid=False,
    )


def _custom() -> None:
    op.create_table(
        "outcome_custom",
        _text("stream"),
        _whole("phase"),
        _text("arm"),
        _text("metric"),
        _whole("samples"),
        *(_real(name) for name in ("total", "total_sq", "total_cu")),
        sa.PrimaryKeyConstraint("stream", "phase", "arm", "metric"),
        sqlite_with_rowid=False,
    )


def _latency() -> None:
    op.create_table(
        "outcome_latency",
        _text("stream"),
        _text("arm"),
        _whole("bucket"),
        _whole("requests"),
        sa.PrimaryKeyConstraint("stream", "arm", "bucket"),
        sqlite_with_rowid=False,
    )


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        _text("stream"),
        _text("request_id"),
        _text("arm", null=True),
        _small("success", null=True),
        _real("latency_ms", null=True),
        _real("confidence", null=True),
        _small("predicted_label", null=True),
        _small("true_label", null=True),
        _text("unit", null=True),
        _text("segment"),
        _whole("phase"),
        _small("assigned"),
        _real("share", null=True),
        _small("slot"),
        _text("recorded_at"),
        _whole("cohort"),
        _small("late"),
        _text("custom", null=True),
        sa.PrimaryKeyConstraint("stream", "request_id", "slot"),
        sqlite_with_rowid=False,
    )


def _units() -> None:
    op.create_table(
        "outcome_units",
        _text("stream"),
        _text("unit"),
        sa.PrimaryKeyConstraint("stream", "unit"),
        sqlite_with_rowid=False,
    )


def _pairs() -> None:
    op.create_table(
        "outcome_pairs",
        _text("stream"),
        _whole("phase"),
        _whole("cohort"),
        _text("segment"),
        _text("arm"),
        *(_whole(name) for name in ("pairs", "both_failed", "only_a_failed", "only_b_failed")),
        *(_whole(name) for name in ("both_slow", "only_a_slow", "only_b_slow")),
        *(_real(name) for name in ("latency_sum", "latency_sq", "latency_cu")),
        _whole("confidences"),
        *(_real(name) for name in ("confidence_sum", "confidence_sq", "confidence_cu")),
        *(_whole(f"joint_{cell}") for cell in range(8)),
        sa.PrimaryKeyConstraint("stream", "phase", "cohort", "segment", "arm"),
        sqlite_with_rowid=False,
    )


def _looks() -> None:
    op.create_table(
        "ab_looks",
        _text("test_id"),
        _whole("events"),
        _text("recorded_at"),
        _text("decision", null=True),
        _text("readings"),
        sa.PrimaryKeyConstraint("test_id", "events"),
    )
