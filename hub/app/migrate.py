"""Schema changes: Alembic, run from the command line, at start-up and in tests."""

from __future__ import annotations

import importlib
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hub.kernel.db import metadata

PACKAGES = ("hub.kernel", "connectors", "pricing", "catalog", "orders", "fulfillment")
_FOLDER = Path(__file__).parents[1] / "migrations"


def load_tables() -> None:
    """Import every module that declares tables, so that `metadata` is complete."""
    for package in PACKAGES:
        importlib.import_module(f"{package}.store")


def config(connection: Connection | None = None, tables: frozenset[str] | None = None) -> Config:
    """Alembic's configuration without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    made.attributes["connection"] = connection
    made.attributes["tables"] = tables
    return made


def _engine(url: str) -> AsyncEngine:
    return create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        connect_args={"server_settings": {"lock_timeout": "5000", "timezone": "UTC"}},
    )


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`. Several processes may call it at once; they take turns."""
    load_tables()

    def run(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('supplyhub.migrate'))")
        command.upgrade(config(connection), revision)

    engine = _engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base" for an empty one)."""
    load_tables()
    engine = _engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(lambda c: command.downgrade(config(c), revision))
    finally:
        await engine.dispose()


async def draft(url: str, message: str, revision: str, tables: frozenset[str] | None = None) -> None:
    """Write a new revision with the differences between the database at `url` (at head) and the declared tables,
    or only those of `tables`."""
    load_tables()
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(
                lambda c: command.revision(config(c, tables), message, autogenerate=True, rev_id=revision)
            )
    finally:
        await engine.dispose()


async def current_and_newest(url: str) -> tuple[str | None, str | None]:
    """The revision the database is at, and the newest one there is."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            current = await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
    finally:
        await engine.dispose()
    return current, newest


async def differences(url: str) -> list[object]:
    """What `alembic check` would report: differences between the database and the declared tables."""
    load_tables()
    engine = _engine(url)
    try:
        async with engine.connect() as connection:

            def compare(sync: Connection) -> list[object]:
                context = MigrationContext.configure(sync, opts={"compare_type": True})
                return list(compare_metadata(context, metadata))

            return await connection.run_sync(compare)
    finally:
        await engine.dispose()
