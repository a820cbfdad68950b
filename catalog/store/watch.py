"""SQL of the watch over how much can be ordered."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from hub.kernel.db import Tx, read

_ROWS = "SELECT kind, orderable, listed, below_since, counted_at FROM catalog_assortment_watch ORDER BY kind"


async def lock_assortment_watch(tx: Tx) -> list[asyncpg.Record]:
    """The last counts; nobody else changes them until the end of the transaction."""
    await tx.run("LOCK TABLE catalog_assortment_watch IN SHARE ROW EXCLUSIVE MODE")
    return await tx.fetch(_ROWS)


async def put_assortment_watch(tx: Tx, kind: str, orderable: int, listed: int, below_since: datetime | None) -> None:
    await tx.run(
        "INSERT INTO catalog_assortment_watch (kind, orderable, listed, below_since, counted_at) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind) DO UPDATE SET orderable = excluded.orderable, "
        "listed = excluded.listed, below_since = excluded.below_since, counted_at = excluded.counted_at",
        kind, orderable, listed, below_since, tx.now,
    )  # fmt: skip


async def assortment_watch_rows() -> list[asyncpg.Record]:
    """The last counts: kind, orderable, listed, below_since, counted_at."""
    return await read(_ROWS)
