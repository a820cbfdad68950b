"""Alembic's entry: runs on the connection that hub.app.migrate hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from hub.kernel.db import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations with `supplyhub migrate`")
tables = context.config.attributes.get("tables")  # a draft may be limited to the tables of one package
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=False,
    include_name=None if tables is None else lambda name, kind, _parents: kind != "table" or name in tables,
    include_object=None if tables is None else lambda obj, name, kind, *_: kind != "table" or name in tables,
)
context.run_migrations()
