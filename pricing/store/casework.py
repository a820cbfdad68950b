"""SQL of cases, policies and holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx
from pricing.store.tables import columns_of

ACTIVE_HOLDS = (
    "SELECT DISTINCT listing_id FROM pricing_holds WHERE mall_id = $1 AND reviewed_at IS NULL AND ended_at IS NULL"
)


async def rules(tx: Tx) -> list[asyncpg.Record]:
    """The distinct limits that malls' policies name."""
    return await tx.fetch("SELECT DISTINCT threshold_pct, gross_pct FROM pricing_policies")


async def streak_rows(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT listing_id, threshold_pct, beyond, since, count FROM pricing_streaks "
        "WHERE listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def save_streaks(tx: Tx, rows: Sequence[tuple[int, Decimal, bool, datetime, int]]) -> None:
    await tx.run(
        "INSERT INTO pricing_streaks (listing_id, threshold_pct, beyond, since, count) SELECT * FROM "
        "unnest($1::bigint[], $2::numeric[], $3::bool[], $4::timestamptz[], $5::int[]) "
        "ON CONFLICT (listing_id, threshold_pct) DO UPDATE SET beyond = EXCLUDED.beyond, since = EXCLUDED.since, "
        "count = EXCLUDED.count",
        *columns_of(rows),
    )


async def open_cases(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id, listing_id, product_id, threshold_pct, gross_pct FROM pricing_cases "
        "WHERE status = 'open' AND listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def add_cases(tx: Tx, rows: Sequence[tuple[int, int, Decimal, Decimal, str]]) -> list[asyncpg.Record]:
    """Open cases (listing, product, threshold, gross, evidence as JSON text); returns those really opened."""
    return await tx.fetch(
        "INSERT INTO pricing_cases (listing_id, product_id, threshold_pct, gross_pct, evidence, opened_at) "
        "SELECT *, $6::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::numeric[], $5::jsonb[]) "
        "ON CONFLICT (listing_id, threshold_pct, gross_pct) WHERE status = 'open' DO NOTHING "
        "RETURNING id, listing_id, product_id",
        *columns_of(rows),
        tx.now,
    )


async def hold_under_policies(tx: Tx, case_ids: list[int] | None, mall_id: int | None = None) -> int:
    """Hold the listings of open cases (None: all of them) for every mall (or one) whose policy asks for it under the
    case's own limits. A hold that was reviewed stays released."""
    return await tx.run(
        "INSERT INTO pricing_holds (mall_id, case_id, listing_id, action, since) "
        "SELECT p.mall_id, c.id, c.listing_id, p.action, $2 FROM pricing_cases c JOIN pricing_policies p "
        "ON p.threshold_pct = c.threshold_pct AND p.gross_pct = c.gross_pct AND p.action <> 'observe' "
        "WHERE c.status = 'open' AND ($1::bigint[] IS NULL OR c.id = ANY($1)) "
        "AND ($3::bigint IS NULL OR p.mall_id = $3) ON CONFLICT (mall_id, case_id) DO UPDATE SET "
        "action = EXCLUDED.action, since = EXCLUDED.since, ended_at = NULL "
        "WHERE pricing_holds.ended_at IS NOT NULL AND pricing_holds.reviewed_at IS NULL",
        case_ids,
        tx.now,
        mall_id,
    )


async def close_cases(tx: Tx, case_ids: list[int], note: str) -> list[asyncpg.Record]:
    """Close open cases with a log entry (JSON text); their blocks end, their holds wait for a review."""
    closed = await tx.fetch(
        "UPDATE pricing_cases SET status = 'closed', closed_at = $2, log = log || $3::jsonb "
        "WHERE id = ANY($1::bigint[]) AND status = 'open' RETURNING id, listing_id, product_id",
        case_ids,
        tx.now,
        note,
    )
    await tx.run(
        "UPDATE pricing_holds SET ended_at = $2 WHERE case_id = ANY($1::bigint[]) AND action = 'block' "
        "AND ended_at IS NULL",
        case_ids,
        tx.now,
    )
    return closed


async def held_listings(tx: Tx, mall_id: int, listing_ids: list[int]) -> list[int]:
    rows = await tx.fetch(ACTIVE_HOLDS + " AND listing_id = ANY($2::bigint[])", mall_id, listing_ids)
    return [row["listing_id"] for row in rows]


async def count_held(tx: Tx) -> int:
    """Pairs of a mall and a listing that it holds now."""
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM (SELECT DISTINCT mall_id, listing_id FROM pricing_holds "
            "WHERE reviewed_at IS NULL AND ended_at IS NULL) AS held"
        )
    )


async def case_rows(
    tx: Tx, status: str | None, listing_id: int | None, before: int | None, limit: int, case_id: int | None = None
) -> list[asyncpg.Record]:
    """Cases, newest first, each with its holds."""
    return await tx.fetch(
        "SELECT c.id, c.listing_id, c.product_id, c.threshold_pct, c.gross_pct, c.status, c.opened_at, c.closed_at, "
        "c.evidence, c.log, coalesce((SELECT jsonb_agg(jsonb_build_object('mall_id', h.mall_id, 'action', h.action, "
        "'since', h.since, 'ended_at', h.ended_at, 'reviewed_at', h.reviewed_at, 'review_reason', h.review_reason) "
        "ORDER BY h.mall_id) FROM pricing_holds h WHERE h.case_id = c.id), '[]') AS holds FROM pricing_cases c "
        "WHERE ($1::text IS NULL OR c.status = $1) AND ($2::bigint IS NULL OR c.listing_id = $2) "
        "AND ($3::bigint IS NULL OR c.id < $3) AND ($5::bigint IS NULL OR c.id = $5) ORDER BY c.id DESC LIMIT $4",
        status,
        listing_id,
        before,
        limit,
        case_id,
    )


async def review_case(tx: Tx, case_id: int, mall_id: int | None, by: str, reason: str, note: str) -> list[int] | None:
    """Log a review and release the case's holds (of one mall, or all); the malls released, None for no such case."""
    if not await tx.run("UPDATE pricing_cases SET log = log || $2::jsonb WHERE id = $1", case_id, note):
        return None
    released = await tx.fetch(
        "UPDATE pricing_holds SET reviewed_at = $3, reviewed_by = $4, review_reason = $5 WHERE case_id = $1 "
        "AND ($2::bigint IS NULL OR mall_id = $2) AND reviewed_at IS NULL AND ended_at IS NULL RETURNING mall_id",
        case_id,
        mall_id,
        tx.now,
        by,
        reason,
    )
    return sorted(row["mall_id"] for row in released)


async def policy_rows(tx: Tx) -> list[asyncpg.Record]:
    """Every mall with its policy, or the standing one."""
    return await tx.fetch(
        "SELECT m.id AS mall_id, m.name AS mall, p.action, p.threshold_pct, p.gross_pct, p.updated_at, p.updated_by "
        "FROM malls m LEFT JOIN pricing_policies p ON p.mall_id = m.id ORDER BY m.id"
    )


async def put_policy(tx: Tx, mall_id: int, action: str, threshold: Decimal, gross: Decimal, by: str) -> bool:
    """Set a mall's policy; False when there is no such mall."""
    written = await tx.run(
        "INSERT INTO pricing_policies (mall_id, action, threshold_pct, gross_pct, updated_at, updated_by) "
        "SELECT id, $2, $3, $4, $5, $6 FROM malls WHERE id = $1 ON CONFLICT (mall_id) DO UPDATE SET "
        "action = EXCLUDED.action, threshold_pct = EXCLUDED.threshold_pct, gross_pct = EXCLUDED.gross_pct, "
        "updated_at = EXCLUDED.updated_at, updated_by = EXCLUDED.updated_by",
        mall_id,
        action,
        threshold,
        gross,
        tx.now,
        by,
    )
    return written == 1


async def end_holds_outside_policy(tx: Tx, mall_id: int) -> int:
    """End this mall's holds that its policy of now would not have made."""
    return await tx.run(
        "UPDATE pricing_holds h SET ended_at = $2 FROM pricing_cases c, pricing_policies p WHERE h.mall_id = $1 "
        "AND c.id = h.case_id AND p.mall_id = h.mall_id AND h.ended_at IS NULL AND h.reviewed_at IS NULL "
        "AND (p.action, p.threshold_pct, p.gross_pct) <> (h.action, c.threshold_pct, c.gross_pct)",
        mall_id,
        tx.now,
    )


async def cases_without_rule(tx: Tx, threshold: Decimal, gross: Decimal) -> list[int]:
    """Open cases under limits that are neither the given standing ones nor any mall's."""
    rows = await tx.fetch(
        "SELECT id FROM pricing_cases c WHERE status = 'open' AND (threshold_pct, gross_pct) <> ($1, $2) "
        "AND NOT EXISTS (SELECT 1 FROM pricing_policies p "
        "WHERE (p.threshold_pct, p.gross_pct) = (c.threshold_pct, c.gross_pct))",
        threshold,
        gross,
    )
    return [row["id"] for row in rows]
