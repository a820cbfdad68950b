"""Alembic's entry: runs on the connection that hub.app.migrate hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from hub.kernel.db import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations with `supplyhub migrate`")
context.configure(connection=connection, target_metadata=metadata, compare_type=True, transaction_per_migration=False)
context.run_migrations()
