"""SQL of the log of changes. A row holds the products of one transaction (a chunk of them); its number is given after
the commit, under one lock, without gaps. Old rows are deleted from the lowest number up, and never the newest one: the
lowest number that is left says how far back a reader can go, the highest one how far the log has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from catalog.store.literals import integers
from hub.kernel.db import Tx

_SEQUENCER = 7_301_944_020_331_001  # the advisory lock under which changes get their numbers


class Kept(NamedTuple):
    """The lowest and the highest number in the log; 1 and 0 while it is empty."""

    first: int
    last: int


async def add_changes(tx: Tx, product_ids: Sequence[int]) -> None:
    await tx.run(
        "INSERT INTO catalog_changes (product_ids, at) VALUES ($1::text::bigint[], $2)", integers(product_ids), tx.now
    )


async def unsequenced_changes(tx: Tx) -> bool:
    return bool(await tx.fetchval("SELECT EXISTS (SELECT 1 FROM catalog_changes WHERE seq IS NULL)"))


async def sequence_changes(tx: Tx) -> None:
    """Number what has been committed since the last time. The lock is held to the end of this transaction, and
    the numbering statement looks only after it has the lock: numbers become visible in their own order."""
    await tx.run("SELECT pg_advisory_xact_lock($1)", _SEQUENCER)
    await tx.run(
        """
        UPDATE catalog_changes c SET seq = n.seq
        FROM (SELECT id, coalesce((SELECT max(seq) FROM catalog_changes), 0) + row_number() OVER (ORDER BY id) AS seq
              FROM catalog_changes WHERE seq IS NULL) n
        WHERE c.id = n.id
        """
    )


async def changes_from(tx: Tx, seq: int, limit: int, mall_id: int | None) -> list[asyncpg.Record]:
    """Numbered changes from `seq` on that are of interest to this reader, at most `limit` rows."""
    return await tx.fetch(
        "SELECT seq, product_ids FROM catalog_changes WHERE seq >= $1 AND (mall_id IS NULL OR mall_id = $3) "
        "ORDER BY seq LIMIT $2",
        seq, limit, mall_id,
    )  # fmt: skip


async def kept_changes(tx: Tx) -> Kept:
    """How far the log reaches back, and how far it has come."""
    row = await tx.fetchrow("SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM catalog_changes")
    assert row is not None
    return Kept(row[0], row[1])


async def prune_changes(tx: Tx, before: datetime, limit: int) -> int:
    """Delete at most `limit` of the lowest numbers, up to the first row that is not older than `before`; how many."""
    return await tx.run(
        """
        DELETE FROM catalog_changes WHERE id IN (
          SELECT id FROM catalog_changes
          WHERE seq < coalesce(
            (SELECT seq FROM catalog_changes WHERE seq IS NOT NULL AND at >= $1 ORDER BY seq LIMIT 1),
            (SELECT max(seq) FROM catalog_changes))
          ORDER BY seq LIMIT $2)
        """,
        before,
        limit,
    )


async def listed_after(tx: Tx, product_id: int, limit: int) -> list[int]:
    """Products on sale, by number."""
    rows = await tx.fetch(
        "SELECT id FROM catalog_products WHERE listed AND id > $1 ORDER BY id LIMIT $2", product_id, limit
    )
    return [row[0] for row in rows]
