"""The schema that migrations make is the one the code declares, and every step goes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from hub.app import migrate
from hub.kernel.embedded import Embedded

VERSIONS = sorted((Path(migrate.__file__).parents[1] / "migrations" / "versions").glob("[0-9]*.py"))


@pytest.fixture
async def empty(servers: Embedded) -> str:
    """The URL of a database of its own, without any table."""
    url = make_url(servers.database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as conn:
        await conn.exec_driver_sql("DROP DATABASE IF EXISTS migrations")
        await conn.exec_driver_sql("CREATE DATABASE migrations")
    await engine.dispose()
    return url.set(database="migrations", drivername="postgresql").render_as_string(hide_password=False)


async def test_the_migrated_schema_is_the_declared_one(empty: str) -> None:
    await migrate.upgrade(empty)
    assert await migrate.differences(empty) == []
    current, newest = await migrate.current_and_newest(empty)
    assert current == newest == VERSIONS[-1].name[:4]


async def test_every_step_goes_back_and_forth(empty: str) -> None:
    await migrate.upgrade(empty)
    names = [version.name[:4] for version in VERSIONS]
    for previous in [*reversed(names[:-1]), None]:
        await migrate.downgrade(empty, previous or "base")
        assert (await migrate.current_and_newest(empty))[0] == previous
    await migrate.upgrade(empty)
    assert await migrate.differences(empty) == []


def test_every_migration_says_whether_it_goes_back_and_what_it_locks() -> None:
    for version in VERSIONS:
        doc = version.read_text().split('"""')[1]
        assert "everse" in doc or "everts" in doc or "Reversible" in doc, version.name
        assert "lock" in doc, version.name
