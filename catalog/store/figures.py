"""Sums over the whole catalogue, for operators and reports; never on a shopper's path."""

from __future__ import annotations

import asyncpg

from hub.kernel.db import Tx


async def assortment_counts(tx: Tx) -> asyncpg.Record:
    """Live listings of live feeds that supply, and the listed products behind them."""
    row = await tx.fetchrow(
        "SELECT count(*) AS listings, count(DISTINCT l.product_id) AS products FROM catalog_listings l "
        "JOIN catalog_feeds f USING (connection_id) WHERE l.active AND f.live AND f.role = 'supply'"
    )
    assert row is not None
    return row


async def shelf_sums(tx: Tx) -> asyncpg.Record:
    """Units reserved on the shelf and units that open holds keep; the two are equal when the shelf is sound."""
    row = await tx.fetchrow(
        "SELECT (SELECT coalesce(sum(reserved), 0) FROM catalog_stock)::bigint AS reserved, "
        "(SELECT coalesce(sum(quantity), 0) FROM catalog_holds WHERE state IN ('held', 'accepted'))::bigint AS held"
    )
    assert row is not None
    return row
