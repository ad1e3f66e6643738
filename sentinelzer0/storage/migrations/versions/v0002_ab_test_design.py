"""A/B tests of several arms, with phases, a holdout, guardrails, segments and an end of their own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from sentinelzer0.domain.canonical_json import dumps
from sentinelzer0.storage.older_images import design_of_first_schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply: the table is made anew, because a column added to it would carry a default that a fresh one has not."""
    op.drop_index("ab_tests_created", "ab_tests")
    op.drop_index("ab_tests_open", "ab_tests")
    op.rename_table("ab_tests", "ab_tests_0001")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX ab_tests_pkey RENAME TO ab_tests_0001_pkey")
    table = _ab_tests()
    old = sa.Table("ab_tests_0001", sa.MetaData(), autoload_with=op.get_bind())
    rows = [dict(row) for row in op.get_bind().execute(sa.select(old)).mappings()]
    if rows:
        op.bulk_insert(table, [row | _stored(row) for row in rows])
    op.drop_table("ab_tests_0001")


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    design = design_of_first_schema(row)
    return {name: dumps(value).decode() if isinstance(value, dict | list) else value for name, value in design.items()}


def _ab_tests() -> sa.Table:
    table = op.create_table(
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
        *_new_columns(),
        sa.PrimaryKeyConstraint("test_id"),
    )
    op.create_index("ab_tests_created", "ab_tests", ["created_at"], unique=False)
    op.create_index("ab_tests_open", "ab_tests", ["model", "environment", "status"], unique=False)
    return table


def _new_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("arms", sa.Text(), nullable=False),
        sa.Column("shares", sa.Text(), nullable=False),
        sa.Column("ranges", sa.Text(), nullable=False),
        sa.Column("holdout", sa.Float(precision=53), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("phases", sa.Text(), nullable=False),
        sa.Column("guardrails", sa.Text(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.Column("latency_slo_ms", sa.Float(precision=53), nullable=True),
        sa.Column("label_window_s", sa.Float(precision=53), nullable=False),
        sa.Column("minimum_effect", sa.Float(precision=53), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("end_at_verdict", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Float(precision=53), nullable=True),
        sa.Column("max_samples", sa.BigInteger(), nullable=True),
    ]
