"""SQL about connections and their runs: what each feed promises, what a run has seen, what it no longer saw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from catalog.store.literals import integers
from hub.kernel.db import Tx


async def put_feed(
    tx: Tx, connection_id: int, vendor_id: int, vendor: str, role: str, live: bool, promise_s: int
) -> bool:
    """Note what the catalogue must know of a connection; True when its liveness changed."""
    before = await tx.fetchval("SELECT live FROM catalog_feeds WHERE connection_id = $1", connection_id)
    await tx.run(
        """
        INSERT INTO catalog_feeds (connection_id, vendor_id, vendor_name, role, live, promise_s)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (connection_id) DO UPDATE SET vendor_id = $2, vendor_name = $3, role = $4, live = $5, promise_s = $6
        WHERE (catalog_feeds.vendor_id, catalog_feeds.vendor_name, catalog_feeds.role, catalog_feeds.live,
               catalog_feeds.promise_s) IS DISTINCT FROM ($2, $3, $4, $5, $6)
        """,
        connection_id, vendor_id, vendor, role, live, promise_s,
    )  # fmt: skip
    return before is not None and bool(before) != live


async def confirm_feed(tx: Tx, connection_id: int, run_id: int) -> None:
    """A complete sweep confirms every row it found unchanged, as of its first page."""
    await tx.run(
        """
        UPDATE catalog_feeds SET complete_at = greatest(complete_at, r.at)
        FROM (SELECT min(captured_at) AS at FROM catalog_run_pages WHERE run_id = $2) r
        WHERE connection_id = $1 AND r.at IS NOT NULL
        """,
        connection_id,
        run_id,
    )


async def add_run_page(
    tx: Tx,
    run_id: int,
    listing_ids: Sequence[int],
    captured_at: datetime,
    shelf_ids: Sequence[int],
    locations: Sequence[str],
) -> None:
    """Note which listings a batch of a run has seen, and which rows of the shelf it told of (`locations` as long as
    `shelf_ids`, or one where all agree)."""
    await tx.run(
        """
        INSERT INTO catalog_run_pages (run_id, page_no, listing_ids, captured_at, shelf_ids, shelf_locations)
        SELECT $1, coalesce(max(page_no), 0) + 1, $2::text::bigint[], $3, $4::text::bigint[], $5::text[]
        FROM catalog_run_pages WHERE run_id = $1
        """,
        run_id,
        integers(listing_ids),
        captured_at,
        integers(shelf_ids),
        locations,
    )


async def untold_shelf(tx: Tx, connection_id: int, run_id: int) -> list[asyncpg.Record]:
    """Rows of the shelf that say there is stock although a run that told of their listing at other locations did not
    name them: listing_id, location, counted, and when that run began. Slots are not meant: they end by themselves."""
    return await tx.fetch(
        """
        WITH told AS MATERIALIZED (
          SELECT s.id, coalesce(shelf_locations[s.n], shelf_locations[1]) AS location
          FROM catalog_run_pages, unnest(shelf_ids) WITH ORDINALITY AS s(id, n) WHERE run_id = $2),
        began AS (SELECT min(captured_at) AS at FROM catalog_run_pages WHERE run_id = $2)
        SELECT s.listing_id, s.location, s.on_hand IS NOT NULL AS counted, began.at
        FROM catalog_listings l JOIN catalog_stock s ON s.listing_id = l.id, began
        WHERE l.connection_id = $1 AND l.active AND l.mode <> 'appointment' AND s.reported_at < began.at
          AND CASE WHEN s.on_hand IS NULL THEN s.level <> 'out' ELSE s.on_hand > 0 END
          AND l.id IN (SELECT id FROM told)
          AND NOT EXISTS (SELECT 1 FROM told t WHERE t.id = s.listing_id AND t.location = s.location)
        """,
        connection_id,
        run_id,
    )


async def forget_run(tx: Tx, run_id: int) -> None:
    """Drop the proof of a run that is over, and of runs that nobody will resume any more."""
    await tx.run(
        "DELETE FROM catalog_run_pages WHERE run_id = $1 OR captured_at < $2", run_id, tx.now - timedelta(days=7)
    )


_UNSEEN = """
  SELECT l.id FROM catalog_listings l
  LEFT JOIN (SELECT unnest(listing_ids) AS id FROM catalog_run_pages WHERE run_id = $2) seen ON seen.id = l.id
  WHERE l.connection_id = $1 AND l.active AND seen.id IS NULL
"""


async def count_unseen(tx: Tx, connection_id: int, run_id: int) -> tuple[int, int]:
    """(active listings of the connection, those of them that the run did not see)."""
    total = await tx.fetchval(
        "SELECT count(*) FROM catalog_listings WHERE connection_id = $1 AND active", connection_id
    )
    return total, await tx.fetchval(f"SELECT count(*) FROM ({_UNSEEN}) u", connection_id, run_id)  # noqa: S608


async def unlist_unseen(tx: Tx, connection_id: int, run_id: int) -> list[asyncpg.Record]:
    """Take off sale what the run did not see; returns (id, product_id) of each."""
    return await tx.fetch(
        f"UPDATE catalog_listings SET active = false, updated_at = $3 WHERE id IN ({_UNSEEN}) "  # noqa: S608
        "RETURNING id, product_id",
        connection_id,
        run_id,
        tx.now,
    )
