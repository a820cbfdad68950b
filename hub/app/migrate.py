"""Schema changes: Alembic, run from the command line, at start-up and in tests."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from hub.kernel.db import metadata


async def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest schema."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as conn:
        await conn.run_sync(metadata.create_all)
    await engine.dispose()
