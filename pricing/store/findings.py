"""SQL of what is found beside verdicts: dearer packs, prices that moved too far at once, references without a product
of ours."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing.store.tables import columns_of


async def save_findings(tx: Tx, rows: Sequence[tuple[Any, ...]], looked_at: list[int]) -> list[int]:
    """Keep the findings among the listings looked at and drop what is none any more; the listings newly found."""
    await tx.run(
        "DELETE FROM pricing_pack_findings WHERE listing_id = ANY($1::bigint[]) AND listing_id <> ALL($2::bigint[])",
        looked_at,
        [row[0] for row in rows],
    )
    if not rows:
        return []
    kept = await tx.fetch(
        "INSERT INTO pricing_pack_findings AS f (listing_id, smaller_listing_id, unit, units, smaller_units, per_unit, "
        "smaller_per_unit, currency, found_at, told_at) SELECT *, $9::timestamptz, $9::timestamptz FROM "
        "unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[], "
        "$8::text[]) ON CONFLICT (listing_id) DO UPDATE SET smaller_listing_id = EXCLUDED.smaller_listing_id, "
        "unit = EXCLUDED.unit, units = EXCLUDED.units, smaller_units = EXCLUDED.smaller_units, "
        "per_unit = EXCLUDED.per_unit, smaller_per_unit = EXCLUDED.smaller_per_unit, currency = EXCLUDED.currency "
        "RETURNING listing_id, xmax = 0 AS is_new",
        *columns_of(rows),
        tx.now,
    )
    return [row["listing_id"] for row in kept if row["is_new"]]


async def finding_rows(tx: Tx, after: int, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT listing_id, smaller_listing_id, unit, units, smaller_units, per_unit, smaller_per_unit, currency, "
        "found_at FROM pricing_pack_findings WHERE listing_id > $1 ORDER BY listing_id LIMIT $2",
        after,
        limit,
    )


async def forget_findings(tx: Tx, listing_ids: list[int]) -> None:
    await tx.run(
        "DELETE FROM pricing_pack_findings WHERE listing_id = ANY($1::bigint[]) OR smaller_listing_id = ANY($1)",
        listing_ids,
    )


async def moves_decided(tx: Tx, keys: Sequence[tuple[int, Decimal]]) -> dict[tuple[int, Decimal], str]:
    """The last decision about each (listing, new price) that somebody has made."""
    rows = await tx.fetch(
        "SELECT DISTINCT ON (m.listing_id, m.price_after) m.listing_id, m.price_after, m.status FROM "
        "unnest($1::bigint[], $2::numeric[]) AS k(listing_id, price) JOIN pricing_moves m "
        "ON m.listing_id = k.listing_id AND m.price_after = k.price AND m.status IN ('confirmed', 'refused') "
        "ORDER BY m.listing_id, m.price_after, m.id DESC",
        *columns_of(keys),
    )
    return {(row["listing_id"], row["price_after"]): row["status"] for row in rows}


async def add_moves(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Have moves (listing, connection, SKU, before, after, currency) wait for a decision; a newer one takes the place
    of the one that waits."""
    await tx.run(
        "INSERT INTO pricing_moves (listing_id, connection_id, vendor_sku, price_before, price_after, currency, "
        "seen_at) SELECT *, $7::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], "
        "$5::numeric[], $6::text[]) ON CONFLICT (listing_id) WHERE status = 'pending' DO UPDATE SET "
        "price_before = EXCLUDED.price_before, price_after = EXCLUDED.price_after, currency = EXCLUDED.currency, "
        "seen_at = EXCLUDED.seen_at",
        *columns_of(rows),
        tx.now,
    )


async def withdraw_moves(tx: Tx, listing_ids: list[int], reason: str) -> None:
    """The vendor took them back itself."""
    await tx.run(
        "UPDATE pricing_moves SET status = 'withdrawn', decided_at = $2, decided_by = 'hub', reason = $3 "
        "WHERE status = 'pending' AND listing_id = ANY($1::bigint[])",
        listing_ids,
        tx.now,
        reason,
    )


async def decide_move(tx: Tx, move_id: int, status: str, by: str, reason: str) -> asyncpg.Record | None:
    """Decide a pending move; None when it is not pending."""
    return await tx.fetchrow(
        "UPDATE pricing_moves SET status = $2, decided_at = $3, decided_by = $4, reason = $5 WHERE id = $1 "
        "AND status = 'pending' RETURNING *",
        move_id,
        status,
        tx.now,
        by,
        reason,
    )


async def move_rows(
    tx: Tx, status: str | None, before: int | None, limit: int, move_id: int | None = None
) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id, listing_id, connection_id, vendor_sku, price_before, price_after, currency, seen_at, status, "
        "decided_at, decided_by, reason FROM pricing_moves WHERE ($1::text IS NULL OR status = $1) "
        "AND ($2::bigint IS NULL OR id < $2) AND ($4::bigint IS NULL OR id = $4) ORDER BY id DESC LIMIT $3",
        status,
        before,
        limit,
        move_id,
    )


async def put_unmatched(tx: Tx, connection_id: int, rows: Sequence[tuple[Any, ...]], matched: list[str]) -> None:
    """Keep what a reference source prices and we do not sell (SKU, title, brand, model, GTIN, price, currency, URL),
    and forget what has found its product."""
    await tx.run(
        "DELETE FROM pricing_unmatched WHERE connection_id = $1 AND vendor_sku = ANY($2::text[])",
        connection_id,
        matched,
    )
    if rows:
        await tx.run(
            "INSERT INTO pricing_unmatched AS u (connection_id, vendor_sku, title, brand, model, gtin, price, "
            "currency, url, seen_at) SELECT $9, *, $10::timestamptz FROM "
            "unnest($1::text[], $2::text[], $3::text[], $4::text[], "
            "$5::text[], $6::numeric[], $7::text[], $8::text[]) ON CONFLICT (connection_id, vendor_sku) DO UPDATE SET "
            "title = EXCLUDED.title, brand = EXCLUDED.brand, model = EXCLUDED.model, gtin = EXCLUDED.gtin, "
            "price = EXCLUDED.price, currency = EXCLUDED.currency, url = EXCLUDED.url, seen_at = EXCLUDED.seen_at "
            "WHERE (u.title, u.brand, u.model, u.gtin, u.price, u.currency) IS DISTINCT FROM (EXCLUDED.title, "
            "EXCLUDED.brand, EXCLUDED.model, EXCLUDED.gtin, EXCLUDED.price, EXCLUDED.currency)",
            *columns_of(rows),
            connection_id,
            tx.now,
        )


async def unmatched_rows(
    tx: Tx, connection_id: int | None, after: tuple[int, str] | None, limit: int
) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT connection_id, vendor_sku, title, brand, model, gtin, price, currency, url, seen_at "
        "FROM pricing_unmatched WHERE ($1::bigint IS NULL OR connection_id = $1) "
        "AND ($2::bigint IS NULL OR (connection_id, vendor_sku) > ($2, $3::text)) "
        "ORDER BY connection_id, vendor_sku LIMIT $4",
        connection_id,
        *(after or (None, None)),
        limit,
    )


async def count_unmatched(tx: Tx) -> dict[int, int]:
    rows = await tx.fetch("SELECT connection_id, count(*) FROM pricing_unmatched GROUP BY 1 ORDER BY 1")
    return {row[0]: row[1] for row in rows}
