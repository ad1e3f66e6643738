"""The whole schema on one page.

Columns use plain types only (text, whole numbers, reals), so that a compiled statement can run on the driver's
own connection without converters. Times are ISO-8601 UTC text of fixed width, which sorts; columns marked
``json`` hold canonical JSON text. ``STATE`` names the tables that the audit log can rebuild.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    column,
)

SCHEMA_VERSION = "0003"

metadata = MetaData()


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null, primary_key=key)


def _json(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, info={"json": True})


def _int(name: str, *, key: bool = False, default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, primary_key=key, autoincrement=False, server_default=default)


def _real(name: str, *, null: bool = False, default: str | None = None) -> Column[float]:
    return Column(name, Float(53), nullable=null, server_default=default)


def _sums(name: str) -> list[Column[float]]:
    """Return the columns for the sums of a value's first three powers."""
    return [_real(f"{name}_{power}") for power in ("sum", "sq", "cu")]


# Alembic's own table, here so that a fresh database equals a migrated one.
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

settings = Table("settings", metadata, _text("key", key=True), _text("value"))

versions = Table(
    "versions",
    metadata,
    _text("model", key=True),
    _text("version", key=True),
    _text("folded"),
    _int("seq"),
    _text("digest"),
    _text("kind"),
    _int("size"),
    *map(_text, ("filename", "created_at", "created_by", "framework", "framework_version", "model_type")),
    _json("architecture"),
    _json("hyperparameters"),
    _text("training_dataset"),
    *map(_json, ("training_metrics", "validation_metrics", "test_metrics")),
    _text("parent_version", null=True),
    _text("stage"),
    Column("deprecated", Integer, nullable=False),
    _json("tags"),
    _text("notes"),
    _text("production_at", null=True),
    _text("known_good_at", null=True),
    _text("quarantined_at", null=True),
    _text("quarantine_reason"),
    _text("deleted_at", null=True),
    Index("versions_seq", "model", "seq"),
    Index("versions_stage", "model", "stage", "deprecated", "seq"),
    Index("versions_folded", "model", "folded", unique=True),
    Index("versions_digest", "digest"),
    Index("versions_parent", "model", "parent_version"),
    Index(
        "versions_production",
        "model",
        "production_at",
        sqlite_where=column("production_at").is_not(None),
        postgresql_where=column("production_at").is_not(None),
    ),
)

version_tags = Table(
    "version_tags",
    metadata,
    _text("model", key=True),
    _text("tag", key=True),
    _int("seq", key=True),
    _text("status"),
    Index("version_tags_status", "model", "tag", "status", "seq"),
    Index("version_tags_seq", "model", "seq"),
)

registry_entries = Table(
    "registry_entries",
    metadata,
    _text("model", key=True),
    _text("version", key=True),
    _text("registered_at"),
    _text("registered_by"),
    _text("promoted_at", null=True),
    _text("promoted_by", null=True),
    _json("deployment_info"),
    _json("performance_metrics"),
    _text("health_status"),
    _text("last_health_check", null=True),
    _json("tags"),
)

approval_requests = Table(
    "approval_requests",
    metadata,
    _text("request_id", key=True),
    *map(_text, ("model", "version", "from_stage", "to_stage", "requested_by", "requested_at", "status")),
    _text("approved_by", null=True),
    _text("approved_at", null=True),
    _text("rejection_reason", null=True),
    _text("notes"),
    _text("target"),
    _real("share"),
    _text("digest"),
    _text("policy_digest"),
    _text("expires_at", null=True),
    _json("votes"),
    _json("gates"),
    Index("approval_requests_version", "model", "version"),
    Index("approval_requests_status", "status"),
)

evidence = Table(
    "evidence",
    metadata,
    _text("evidence_id", key=True),
    *map(_text, ("model", "version", "kind")),
    Column("passed", Integer, nullable=False),
    *map(_text, ("summary", "digest", "version_digest", "filename", "attached_by", "attached_at")),
    Index("evidence_version", "model", "version"),
)

policies = Table(
    "policies",
    metadata,
    _int("revision", key=True),
    *map(_text, ("digest", "name", "body", "installed_at", "installed_by", "reason")),
)

deployments = Table(
    "deployments",
    metadata,
    _text("model", key=True),
    _text("environment", key=True),
    _int("revision", key=True),
    _json("weights"),
    *map(_text, ("cause", "created_at", "created_by", "reason")),
    _json("evidence"),
    _int("audit_seq"),
    Index("deployments_at", "model", "environment", "created_at"),
)

ab_tests = Table(
    "ab_tests",
    metadata,
    _text("test_id", key=True),
    *map(_text, ("test_name", "model_a", "model_b")),
    _real("traffic_split"),
    _text("status"),
    _text("created_at"),
    _text("started_at", null=True),
    _text("ended_at", null=True),
    _text("created_by"),
    _text("description"),
    _int("min_samples"),
    _real("significance_threshold"),
    _text("winner", null=True),
    _real("winner_confidence"),
    *map(_text, ("primary_metric", "salt", "model")),
    _text("environment", null=True),
    _int("revision"),
    *map(_json, ("verdict", "warnings", "arms", "shares", "ranges")),
    _real("holdout"),
    _text("mode"),
    *map(_json, ("phases", "guardrails", "segments")),
    _real("latency_slo_ms", null=True),
    _real("label_window_s"),
    _real("minimum_effect", null=True),
    _text("direction"),
    Column("end_at_verdict", Integer, nullable=False),
    _text("deadline", null=True),
    _real("duration_s", null=True),
    Column("max_samples", BigInteger),
    Index("ab_tests_created", "created_at"),
    Index("ab_tests_open", "model", "environment", "status"),
)

# How far each stream of outcomes has come: a test's, or "production/<model>". Recording locks this row first, so the
# outcomes of one stream are counted one at a time.
outcome_streams = Table(
    "outcome_streams",
    metadata,
    _text("stream", key=True),
    _text("status"),
    *map(_int, ("events", "next_look", "phase")),
    _real("cohort_s"),
    _real("slo_ms", null=True),
    _int("relabelled"),
    _int("pruned"),
    _json("running"),
)

outcome_cells = Table(
    "outcome_cells",
    metadata,
    _text("stream", key=True),
    _int("phase", key=True),
    _int("assigned", key=True),
    _int("cohort", key=True),
    _text("segment", key=True),
    _text("arm", key=True),
    *map(_int, ("requests", "failures", "slow", "units")),
    *_sums("latency"),
    _int("confidences"),
    *_sums("confidence"),
    *map(_int, ("tp", "fp", "tn", "fn", "late")),
    sqlite_with_rowid=False,
)

outcome_custom = Table(
    "outcome_custom",
    metadata,
    _text("stream", key=True),
    _int("phase", key=True),
    _text("arm", key=True),
    _text("metric", key=True),
    _int("samples"),
    *map(_real, ("total", "total_sq", "total_cu")),
    sqlite_with_rowid=False,
)

outcome_latency = Table(
    "outcome_latency",
    metadata,
    _text("stream", key=True),
    _text("arm", key=True),
    _int("bucket", key=True),
    _int("requests"),
    sqlite_with_rowid=False,
)

# Read only to join a label or to recognise a repeat. No arm: a label that came before its outcome. The columns from
# request_id to slot stand in the order of domain.outcomes.Outcome.
outcomes = Table(
    "outcomes",
    metadata,
    _text("stream"),
    _text("request_id"),
    _text("arm", null=True),
    Column("success", Integer),
    _real("latency_ms", null=True),
    _real("confidence", null=True),
    Column("predicted_label", Integer),
    Column("true_label", Integer),
    _text("unit", null=True),
    _text("segment"),
    _int("phase"),
    Column("assigned", Integer, nullable=False),
    _real("share", null=True),
    Column("slot", Integer, nullable=False),
    _text("recorded_at"),
    _int("cohort"),
    Column("late", Integer, nullable=False),
    _text("custom", null=True),
    PrimaryKeyConstraint("stream", "request_id", "slot"),
    sqlite_with_rowid=False,
)

outcome_units = Table(
    "outcome_units", metadata, _text("stream", key=True), _text("unit", key=True), sqlite_with_rowid=False
)

outcome_pairs = Table(
    "outcome_pairs",
    metadata,
    _text("stream", key=True),
    _int("phase", key=True),
    _int("cohort", key=True),
    _text("segment", key=True),
    _text("arm", key=True),
    *map(_int, ("pairs", "both_failed", "only_a_failed", "only_b_failed", "both_slow", "only_a_slow", "only_b_slow")),
    *_sums("latency"),
    _int("confidences"),
    *_sums("confidence"),
    *(_int(f"joint_{cell}") for cell in range(8)),
    sqlite_with_rowid=False,
)

# The looks at a test on a geometric grid: what was read off the statistics then, and the decision if one was due.
ab_looks = Table(
    "ab_looks",
    metadata,
    _text("test_id", key=True),
    _int("events", key=True),
    _text("recorded_at"),
    _text("decision", null=True),
    _json("readings"),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    _text("event_id", key=True),
    *map(_text, ("timestamp", "model", "environment", "from_version")),
    _text("to_version", null=True),
    *map(_text, ("reason", "strategy", "triggered_by")),
    Column("success", Integer, nullable=False),
    _json("details"),
    Index("rollbacks_at", "model", "timestamp"),
    Index("rollbacks_from", "model", "from_version", "timestamp"),
)

verifications = Table("verifications", metadata, _text("digest", key=True), _json("stat_key"), _text("verified_at"))

audit_records = Table(
    "audit_records",
    metadata,
    _int("seq", key=True),
    *map(_text, ("time", "actor", "action", "outcome", "body")),
    Index("audit_records_time", "time"),
)

audit_subjects = Table("audit_subjects", metadata, _text("subject", key=True), _int("seq", key=True))

audit_nodes = Table(
    "audit_nodes",
    metadata,
    _int("level", key=True),
    _int("position", key=True),
    Column("hash", LargeBinary, nullable=False),
)

audit_head = Table(
    "audit_head", metadata, _int("id", key=True), _int("size"), Column("frontier", LargeBinary, nullable=False)
)

# Every row of these is the latest after-image in the audit log; `doctor` proves it.
STATE: tuple[Table, ...] = (
    versions,
    registry_entries,
    approval_requests,
    evidence,
    policies,
    deployments,
    ab_tests,
    rollbacks,
)
