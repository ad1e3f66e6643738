"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    _ab_arms()
    _ab_custom()
    _ab_latency()
    _ab_outcomes()
    _ab_progress()
    _ab_tests()
    _ab_trajectory()
    _approval_requests()
    _audit_head()
    _audit_nodes()
    _audit_records()
    _audit_subjects()
    _deployments()
    _evidence()
    _policies()
    _registry_entries()
    _rollbacks()
    _settings()
    _verifications()
    _version_tags()
    _versions()


def _ab_arms() -> None:
    op.create_table(
        "ab_arms",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("failures", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("latency_sum", sa.Float(precision=53), nullable=False),
        sa.Column("latency_sq", sa.Float(precision=53), nullable=False),
        sa.Column("latency_cu", sa.Float(precision=53), nullable=False),
        sa.Column("confidences", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("confidence_sum", sa.Float(precision=53), nullable=False),
        sa.Column("confidence_sq", sa.Float(precision=53), nullable=False),
        sa.Column("confidence_cu", sa.Float(precision=53), nullable=False),
        sa.Column("tp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("late", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("test_id", "arm"),
        sqlite_with_rowid=False,
    )


def _ab_custom() -> None:
    op.create_table(
        "ab_custom",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("samples", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("total", sa.Float(precision=53), nullable=False),
        sa.Column("total_sq", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("test_id", "arm", "metric"),
        sqlite_with_rowid=False,
    )


def _ab_latency() -> None:
    op.create_table(
        "ab_latency",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("test_id", "arm", "bucket"),
        sqlite_with_rowid=False,
    )


def _ab_outcomes() -> None:
    op.create_table(
        "ab_outcomes",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("success", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Float(precision=53), nullable=True),
        sa.Column("confidence", sa.Float(precision=53), nullable=True),
        sa.Column("predicted_label", sa.Integer(), nullable=True),
        sa.Column("true_label", sa.Integer(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("test_id", "request_id"),
        sqlite_with_rowid=False,
    )


def _ab_progress() -> None:
    op.create_table(
        "ab_progress",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("next_look", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("test_id"),
    )


def _ab_tests() -> None:
    op.create_table(
        "ab_tests",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("test_name", sa.Text(), nullable=False),
        sa.Column("model_a", sa.Text(), nullable=False),
        sa.Column("model_b", sa.Text(), nullable=False),
        sa.Column("traffic_split", sa.Float(precision=53), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("min_samples", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("significance_threshold", sa.Float(precision=53), nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("winner_confidence", sa.Float(precision=53), nullable=False),
        sa.Column("primary_metric", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("test_id"),
    )
    op.create_index("ab_tests_created", "ab_tests", ["created_at"], unique=False)
    op.create_index("ab_tests_open", "ab_tests", ["model", "environment", "status"], unique=False)


def _ab_trajectory() -> None:
    op.create_table(
        "ab_trajectory",
        sa.Column("test_id", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("arms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("test_id", "events"),
    )


def _approval_requests() -> None:
    op.create_table(
        "approval_requests",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("from_stage", sa.Text(), nullable=False),
        sa.Column("to_stage", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.Text(), nullable=True),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("share", sa.Float(precision=53), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("votes", sa.Text(), nullable=False),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("approval_requests_status", "approval_requests", ["status"], unique=False)
    op.create_index("approval_requests_version", "approval_requests", ["model", "version"], unique=False)


def _audit_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _audit_nodes() -> None:
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position"),
    )


def _audit_records() -> None:
    op.create_table(
        "audit_records",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("audit_records_time", "audit_records", ["time"], unique=False)


def _audit_subjects() -> None:
    op.create_table(
        "audit_subjects",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("subject", "seq"),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("audit_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("model", "environment", "revision"),
    )
    op.create_index("deployments_at", "deployments", ["model", "environment", "created_at"], unique=False)


def _evidence() -> None:
    op.create_table(
        "evidence",
        sa.Column("evidence_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("version_digest", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("attached_by", sa.Text(), nullable=False),
        sa.Column("attached_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("evidence_id"),
    )
    op.create_index("evidence_version", "evidence", ["model", "version"], unique=False)


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("installed_at", sa.Text(), nullable=False),
        sa.Column("installed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )


def _registry_entries() -> None:
    op.create_table(
        "registry_entries",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.Text(), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=False),
        sa.Column("promoted_at", sa.Text(), nullable=True),
        sa.Column("promoted_by", sa.Text(), nullable=True),
        sa.Column("deployment_info", sa.Text(), nullable=False),
        sa.Column("performance_metrics", sa.Text(), nullable=False),
        sa.Column("health_status", sa.Text(), nullable=False),
        sa.Column("last_health_check", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version"),
    )


def _rollbacks() -> None:
    op.create_table(
        "rollbacks",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("from_version", sa.Text(), nullable=False),
        sa.Column("to_version", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("success", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("rollbacks_at", "rollbacks", ["model", "timestamp"], unique=False)
    op.create_index("rollbacks_from", "rollbacks", ["model", "from_version", "timestamp"], unique=False)


def _settings() -> None:
    op.create_table(
        "settings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _verifications() -> None:
    op.create_table(
        "verifications",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("stat_key", sa.Text(), nullable=False),
        sa.Column("verified_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )


def _version_tags() -> None:
    op.create_table(
        "version_tags",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "tag", "seq"),
    )
    op.create_index("version_tags_seq", "version_tags", ["model", "seq"], unique=False)
    op.create_index("version_tags_status", "version_tags", ["model", "tag", "status", "seq"], unique=False)


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("framework", sa.Text(), nullable=False),
        sa.Column("framework_version", sa.Text(), nullable=False),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("hyperparameters", sa.Text(), nullable=False),
        sa.Column("training_dataset", sa.Text(), nullable=False),
        sa.Column("training_metrics", sa.Text(), nullable=False),
        sa.Column("validation_metrics", sa.Text(), nullable=False),
        sa.Column("test_metrics", sa.Text(), nullable=False),
        sa.Column("parent_version", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("deprecated", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("production_at", sa.Text(), nullable=True),
        sa.Column("known_good_at", sa.Text(), nullable=True),
        sa.Column("quarantined_at", sa.Text(), nullable=True),
        sa.Column("quarantine_reason", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    op.create_index("versions_digest", "versions", ["digest"], unique=False)
    op.create_index("versions_folded", "versions", ["model", "folded"], unique=True)
    op.create_index("versions_parent", "versions", ["model", "parent_version"], unique=False)
    op.create_index(
        "versions_production",
        "versions",
        ["model", "production_at"],
        unique=False,
        sqlite_where=sa.text("production_at IS NOT NULL"),
        postgresql_where=sa.text("production_at IS NOT NULL"),
    )
    op.create_index("versions_seq", "versions", ["model", "seq"], unique=False)
    op.create_index("versions_stage", "versions", ["model", "stage", "deprecated", "seq"], unique=False)
