"""SQL of policies and holds: what each mall chose about breaches, and what it therefore does not buy."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx
from pricing.store.tables import columns_of

_ACTIVE = "reviewed_at IS NULL AND ended_at IS NULL"
ACTIVE_HOLDS = f"SELECT DISTINCT listing_id, action FROM pricing_holds WHERE mall_id = $1 AND {_ACTIVE}"  # noqa: S608


async def held_listings(tx: Tx, mall_id: int, listing_ids: list[int]) -> list[asyncpg.Record]:
    """What a mall does not buy among these listings, each with the strongest action (a block before a hold), its case,
    the limit and how far beyond the reference the listing is now."""
    return await tx.fetch(
        "SELECT DISTINCT ON (h.listing_id) h.listing_id, h.action, h.case_id, c.threshold_pct, v.gap "
        "FROM pricing_holds h JOIN pricing_cases c ON c.id = h.case_id "
        "LEFT JOIN pricing_verdicts v ON v.listing_id = h.listing_id "
        "WHERE h.mall_id = $1 AND h.reviewed_at IS NULL AND h.ended_at IS NULL AND h.listing_id = ANY($2::bigint[]) "
        "ORDER BY h.listing_id, h.action, h.case_id DESC",
        mall_id,
        listing_ids,
    )


async def count_held(tx: Tx) -> int:
    """Pairs of a mall and a listing that it holds now."""
    sql = f"SELECT count(*) FROM (SELECT DISTINCT mall_id, listing_id FROM pricing_holds WHERE {_ACTIVE}) AS held"  # noqa: S608
    return int(await tx.fetchval(sql))


async def add_holds(tx: Tx, rows: Sequence[tuple[int, int, int, str]]) -> list[asyncpg.Record]:
    """Hold listings (mall, case, listing, action); those that began. One that was reviewed stays released."""
    if not rows:
        return []
    return await tx.fetch(
        "INSERT INTO pricing_holds (mall_id, case_id, listing_id, action, since) SELECT *, $5::timestamptz FROM "
        "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) ON CONFLICT (mall_id, case_id) DO UPDATE SET "
        "action = EXCLUDED.action, since = EXCLUDED.since, ended_at = NULL "
        "WHERE pricing_holds.ended_at IS NOT NULL AND pricing_holds.reviewed_at IS NULL RETURNING mall_id, listing_id",
        *columns_of(rows),
        tx.now,
    )


async def active_holds(tx: Tx, mall_id: int) -> list[asyncpg.Record]:
    """A mall's standing holds, each with its case's limits and category."""
    return await tx.fetch(
        "SELECT h.case_id, h.action, c.category, c.threshold_pct, c.gross_pct FROM pricing_holds h "
        "JOIN pricing_cases c ON c.id = h.case_id WHERE h.mall_id = $1 AND h.ended_at IS NULL "
        "AND h.reviewed_at IS NULL",
        mall_id,
    )


async def end_holds(tx: Tx, mall_id: int, case_ids: list[int]) -> list[asyncpg.Record]:
    """End one mall's holds under these cases."""
    return await tx.fetch(
        "UPDATE pricing_holds SET ended_at = $3 WHERE mall_id = $1 AND case_id = ANY($2::bigint[]) "  # noqa: S608
        f"AND {_ACTIVE} RETURNING mall_id, listing_id",
        mall_id,
        case_ids,
        tx.now,
    )


async def end_blocks(tx: Tx, case_ids: list[int]) -> list[asyncpg.Record]:
    """End what blocks under these cases; a hold lasts until somebody reviews it."""
    return await tx.fetch(
        "UPDATE pricing_holds SET ended_at = $2 WHERE case_id = ANY($1::bigint[]) AND action = 'block' "
        "AND ended_at IS NULL RETURNING mall_id, listing_id",
        case_ids,
        tx.now,
    )


async def release_holds(tx: Tx, case_id: int, mall_id: int | None, by: str, reason: str) -> list[asyncpg.Record]:
    """Release a case's holds and blocks (of one mall, or all) after a review."""
    return await tx.fetch(
        "UPDATE pricing_holds SET reviewed_at = $3, reviewed_by = $4, review_reason = $5 WHERE case_id = $1 "  # noqa: S608
        f"AND ($2::bigint IS NULL OR mall_id = $2) AND {_ACTIVE} RETURNING mall_id, listing_id",
        case_id,
        mall_id,
        tx.now,
        by,
        reason,
    )


async def forget_reviews(tx: Tx, case_ids: list[int]) -> None:
    """Holds of these cases may begin again: what a waiver released ends with it (the cases' logs keep the reviews)."""
    await tx.run(
        "UPDATE pricing_holds SET ended_at = coalesce(ended_at, $2), reviewed_at = NULL, reviewed_by = NULL, "
        "review_reason = NULL WHERE case_id = ANY($1::bigint[]) AND reviewed_at IS NOT NULL",
        case_ids,
        tx.now,
    )


async def all_policies(tx: Tx) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT mall_id, category, action, threshold_pct, gross_pct FROM pricing_policies")


async def policy_rows(tx: Tx) -> list[asyncpg.Record]:
    """Every mall with its policies, or the standing one."""
    return await tx.fetch(
        "SELECT m.id AS mall_id, m.name AS mall, p.category, p.action, p.threshold_pct, p.gross_pct, p.updated_at, "
        "p.updated_by FROM malls m LEFT JOIN pricing_policies p ON p.mall_id = m.id ORDER BY m.id, p.category"
    )


async def put_policy(
    tx: Tx, mall_id: int, category: str, action: str, threshold: Decimal, gross: Decimal, by: str
) -> bool:
    """Set a mall's policy for a category; False when there is no such mall."""
    written = await tx.run(
        "INSERT INTO pricing_policies (mall_id, category, action, threshold_pct, gross_pct, updated_at, updated_by) "
        "SELECT id, $2, $3, $4, $5, $6, $7 FROM malls WHERE id = $1 ON CONFLICT (mall_id, category) DO UPDATE SET "
        "action = EXCLUDED.action, threshold_pct = EXCLUDED.threshold_pct, gross_pct = EXCLUDED.gross_pct, "
        "updated_at = EXCLUDED.updated_at, updated_by = EXCLUDED.updated_by",
        mall_id,
        category,
        action,
        threshold,
        gross,
        tx.now,
        by,
    )
    return written == 1


async def drop_policy(tx: Tx, mall_id: int, category: str) -> bool:
    sql = "DELETE FROM pricing_policies WHERE mall_id = $1 AND category = $2"
    return await tx.run(sql, mall_id, category) == 1
