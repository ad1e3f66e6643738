"""Alembic's entry: runs the migrations on the connection it was given."""

from __future__ import annotations

from alembic import context

from sentinelzer0.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
