"""SQL about products and their offers: upkeep of what a product sums up, and offers as orders see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx


async def lock_products(tx: Tx, ids: Sequence[int]) -> None:
    """Lock products in sorted order."""
    await tx.fetchval(
        "SELECT count(*) FROM (SELECT 1 FROM catalog_products WHERE id = ANY($1::bigint[]) "
        "ORDER BY id FOR NO KEY UPDATE) AS locked",
        ids,
    )


_REFRESH = """
WITH offers AS (
  SELECT t.id, l.id AS listing_id, l.price, l.currency, l.currency = t.currency AS usual,
    CASE WHEN f.role = 'supply' THEN f.vendor_id END AS vendor_id
  FROM catalog_products t
  JOIN catalog_listings l ON l.product_id = t.id AND l.active
  JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live
  WHERE t.id = ANY($1::bigint[])),
best AS (SELECT DISTINCT ON (id) id, price, currency FROM offers ORDER BY id, usual DESC NULLS LAST, price, listing_id),
stocked AS (
  SELECT DISTINCT id FROM offers o WHERE EXISTS (
    SELECT 1 FROM catalog_stock s WHERE s.listing_id = o.listing_id AND NOT s.frozen
      AND CASE WHEN s.on_hand IS NULL THEN s.level <> 'out' ELSE s.on_hand - s.reserved - s.buffer > 0 END)),
sellers AS (
  SELECT id, array_agg(DISTINCT vendor_id ORDER BY vendor_id) AS ids FROM offers
  WHERE vendor_id IS NOT NULL GROUP BY id),
news AS (
  SELECT t.id, b.price, b.currency, b.id IS NOT NULL AS listed, k.id IS NOT NULL AS sellable,
    coalesce(v.ids, '{}') AS vendor_ids
  FROM unnest($1::bigint[]) AS t(id) LEFT JOIN best b ON b.id = t.id LEFT JOIN stocked k ON k.id = t.id
  LEFT JOIN sellers v ON v.id = t.id)
UPDATE catalog_products p
SET price = coalesce(n.price, p.price), currency = coalesce(n.currency, p.currency), listed = n.listed,
  sellable = n.sellable, vendor_ids = n.vendor_ids, updated_at = $2
FROM news n
WHERE p.id = n.id AND (coalesce(n.price, p.price), coalesce(n.currency, p.currency), n.listed, n.sellable, n.vendor_ids)
  IS DISTINCT FROM (p.price, p.currency, p.listed, p.sellable, p.vendor_ids)
RETURNING p.id
"""


async def refresh_products(tx: Tx, ids: Iterable[int]) -> list[int]:
    """Recompute price (lowest active), listed, sellable and vendors of these products; returns those that changed."""
    ordered = sorted(set(ids))
    if not ordered:
        return []
    await lock_products(tx, ordered)
    return [row[0] for row in await tx.fetch(_REFRESH, ordered, tx.now)]


async def products_of(tx: Tx, listing_ids: Iterable[int]) -> dict[int, int]:
    """listing id -> product id."""
    rows = await tx.fetch(
        "SELECT id, product_id FROM catalog_listings WHERE id = ANY($1::bigint[])", sorted(listing_ids)
    )
    return {row[0]: row[1] for row in rows}


async def products_of_feed(tx: Tx, connection_id: int) -> list[int]:
    rows = await tx.fetch("SELECT DISTINCT product_id FROM catalog_listings WHERE connection_id = $1", connection_id)
    return [row[0] for row in rows]


_OFFER = """
SELECT l.id AS listing_id, l.product_id, l.connection_id, f.vendor_id, f.vendor_name, l.vendor_sku, l.title, l.kind,
  l.mode, l.price, l.currency, l.category, l.city, f.complete_at,
  coalesce(l.attributes->>'vendor_ref', l.external_id) AS vendor_ref, f.promise_s,
  p.kind AS product_kind, p.category AS product_category, p.brand AS product_brand
"""


async def offer_rows(tx: Tx, product_ids: Sequence[int], listing_ids: Sequence[int]) -> list[asyncpg.Record]:
    """Active listings of live supply connections, by product or by their own id."""
    return await tx.fetch(
        _OFFER + "FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id "
        "JOIN catalog_products p ON p.id = l.product_id "
        "WHERE (l.product_id = ANY($1::bigint[]) OR l.id = ANY($2::bigint[])) "
        "AND l.active AND f.live AND f.role = 'supply' ORDER BY l.id",
        product_ids,
        listing_ids,
    )


async def lock_listing(tx: Tx, listing_id: int) -> bool:
    """Lock one listing against being changed; False when there is none."""
    return await tx.fetchval("SELECT 1 FROM catalog_listings WHERE id = $1 FOR SHARE", listing_id) is not None


async def slot_ids_near(tx: Tx, product_id: int, at: datetime, limit: int) -> list[int]:
    """Slots of a product that the shelf calls free, nearest in time first: as many before `at` as after it at most."""
    halves = " UNION ALL ".join(
        f"(SELECT t.id, t.start_at FROM catalog_listings l JOIN catalog_slots t ON t.listing_id = l.id "  # noqa: S608
        "JOIN catalog_stock s ON s.listing_id = t.listing_id AND s.location = t.slot_ref "
        f"WHERE l.product_id = $1 AND l.active AND t.start_at > $3 AND t.start_at {side} $2 AND NOT s.frozen "
        "AND CASE WHEN s.on_hand IS NULL THEN s.level <> 'out' ELSE s.on_hand - s.reserved - s.buffer > 0 END "
        f"ORDER BY t.start_at {way} LIMIT $4)"
        for side, way in (("<", "DESC"), (">=", "ASC"))
    )
    rows = await tx.fetch(
        f"SELECT id FROM ({halves}) n ORDER BY abs(extract(epoch FROM start_at - $2)), id LIMIT $4",  # noqa: S608
        product_id,
        at,
        tx.now,
        limit,
    )
    return [row["id"] for row in rows]


async def slot_rows(tx: Tx, slot_ids: Sequence[int]) -> list[asyncpg.Record]:
    """Slots of active listings of live supply connections, each with its own row of the shelf."""
    return await tx.fetch(
        _OFFER
        + """, t.id AS slot_id, t.slot_ref, t.version AS slot_version, t.start_at, t.end_at, s.on_hand, s.level,
          s.reserved, s.buffer, s.frozen, s.reported_at
        FROM catalog_slots t JOIN catalog_listings l ON l.id = t.listing_id
        JOIN catalog_feeds f ON f.connection_id = l.connection_id JOIN catalog_products p ON p.id = l.product_id
        LEFT JOIN catalog_stock s ON s.listing_id = t.listing_id AND s.location = t.slot_ref
        WHERE t.id = ANY($1::bigint[]) AND l.active AND f.live AND f.role = 'supply' ORDER BY t.id
        """,
        slot_ids,
    )
