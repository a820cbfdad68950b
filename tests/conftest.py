"""Shared fixtures: one embedded PostgreSQL and Valkey per test process, an empty database per test that asks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

_dir = tempfile.mkdtemp(prefix="supplyhub-test-")
os.environ["SUPPLYHUB_DATA_DIR"] = _dir
os.environ.setdefault("SUPPLYHUB_LOG_LEVEL", "WARNING")

from hub.app import migrate  # noqa: E402
from hub.kernel import db, keys, tasks  # noqa: E402
from hub.kernel.embedded import Embedded  # noqa: E402
from hub.kernel.settings import reset_settings, settings  # noqa: E402


@pytest.fixture(scope="session")
def servers() -> Iterator[Embedded]:
    """Real PostgreSQL and Valkey of this test process."""
    embedded = Embedded(Path(_dir))
    embedded.start()
    yield embedded
    embedded.stop()
    shutil.rmtree(_dir, ignore_errors=True)


@pytest.fixture(scope="session")
async def schema(servers: Embedded) -> AsyncIterator[str]:
    """The newest schema in the embedded database; yields its URL."""
    await migrate.upgrade(servers.database_url)
    yield servers.database_url


@pytest.fixture
async def database(schema: str) -> AsyncIterator[db.Database]:
    """An empty database, connected as this process's database."""
    reset_settings()
    keys._cache.clear()
    tasks.install(None)
    connected = db.connect(schema, settings())
    async with db.uow() as tx:
        names = ", ".join(f'"{t.name}"' for t in db.metadata.sorted_tables)
        await tx.run(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    yield connected
    await db.disconnect()


@pytest.fixture
def realdata() -> Path:
    """The folder of real data kept outside the project; skips with a reason where it is absent."""
    root = Path(os.environ.get("SUPPLYHUB_REALDATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data is not at {root}; set SUPPLYHUB_REALDATA")
    return root
