"""Alembic's entry: runs on the connection that hub.app.migrate hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from hub.kernel.db import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations with `supplyhub migrate`")
tables: frozenset[str] | None = context.config.attributes.get("tables")  # a draft may be limited to one package


def _wanted(name: str | None, kind: str) -> bool:
    return tables is None or kind != "table" or name in tables


context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=False,
    include_name=lambda name, kind, _parents: _wanted(name, kind),
    include_object=lambda _object, name, kind, *_: _wanted(name, kind),
)
context.run_migrations()
