"""SQL of prices as the price check needs them: offers of products, packs of one article, prices that moved far."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx


async def prices_of_products(tx: Tx, product_ids: Sequence[int]) -> list[asyncpg.Record]:
    """What pricing needs of each active supply offer of these products."""
    return await tx.fetch(
        """
        SELECT l.id AS listing_id, l.product_id, l.price, l.currency, l.shipping, l.coupon,
          coalesce(l.pack, l.title) AS pack, l.category,
          CASE WHEN l.attributes ?| '{price_from,price_until}' THEN l.attributes END AS attributes
        FROM catalog_listings l WHERE l.product_id = ANY($1::bigint[]) AND l.active ORDER BY l.id
        """,
        product_ids,
    )


async def packs_of_families(tx: Tx, connection_id: int, listing_ids: Sequence[int]) -> list[asyncpg.Record]:
    """Every active listing of the articles that these listings of a connection are variants of."""
    return await tx.fetch(
        """
        SELECT l.family_id, l.id, l.price + l.shipping - l.coupon AS total, l.currency,
          coalesce(l.pack, l.title) AS pack
        FROM catalog_listings l WHERE l.connection_id = $1 AND l.active AND l.family_id = ANY(ARRAY(
          SELECT DISTINCT f.family_id FROM catalog_listings f
          WHERE f.id = ANY($2::bigint[]) AND f.family_id IS NOT NULL))
        """,
        connection_id,
        listing_ids,
    )


async def far_moves(tx: Tx, connection_id: int, ratio: Decimal) -> list[asyncpg.Record]:
    """Staged rows whose price is `ratio` times the listing's, or a `ratio`th of it, or further away."""
    return await tx.fetch(
        """
        SELECT l.id, l.vendor_sku, l.price AS before, s.price::numeric AS after, l.currency
        FROM catalog_stage s JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = s.vendor_sku
        WHERE l.currency = s.currency AND (s.price::numeric >= l.price * $2 OR s.price::numeric * $2 <= l.price)
        """,
        connection_id,
        ratio,
    )


async def keep_prices(tx: Tx, connection_id: int, skus: Sequence[str]) -> None:
    """Stage these rows with the prices that their listings have."""
    await tx.run(
        "UPDATE catalog_stage s SET price = l.price::text FROM catalog_listings l WHERE l.connection_id = $1 "
        "AND l.vendor_sku = s.vendor_sku AND s.vendor_sku = ANY($2::text[])",
        connection_id,
        skus,
    )


async def set_price(tx: Tx, listing_id: int, before: Decimal, after: Decimal) -> int | None:
    """Give a listing another price, if it still has the one before; its product, or None."""
    product: int | None = await tx.fetchval(
        "UPDATE catalog_listings SET price = $3, updated_at = $4 WHERE id = $1 AND price = $2 AND active "
        "RETURNING product_id",
        listing_id,
        before,
        after,
        tx.now,
    )
    return product
