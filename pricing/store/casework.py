"""SQL of cases, their snapshots, and streaks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing.store.tables import columns_of

_CASE = "id, listing_id, product_id, category, threshold_pct, gross_pct"


async def streak_rows(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT listing_id, threshold_pct, beyond, since, count FROM pricing_streaks "
        "WHERE listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def save_streaks(tx: Tx, rows: Sequence[tuple[int, Decimal, bool, datetime, int]]) -> None:
    if rows:
        await tx.run(
            "INSERT INTO pricing_streaks (listing_id, threshold_pct, beyond, since, count) SELECT * FROM "
            "unnest($1::bigint[], $2::numeric[], $3::bool[], $4::timestamptz[], $5::int[]) "
            "ON CONFLICT (listing_id, threshold_pct) DO UPDATE SET beyond = EXCLUDED.beyond, since = EXCLUDED.since, "
            "count = EXCLUDED.count",
            *columns_of(rows),
        )


async def drop_streaks(tx: Tx, keys: Sequence[tuple[int, Decimal]]) -> None:
    if keys:
        await tx.run(
            "DELETE FROM pricing_streaks s USING unnest($1::bigint[], $2::numeric[]) AS k(listing_id, threshold_pct) "
            "WHERE s.listing_id = k.listing_id AND s.threshold_pct = k.threshold_pct",
            *columns_of(keys),
        )


async def live_cases(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    """Cases of these listings that are open or waived."""
    return await tx.fetch(
        f"SELECT {_CASE} FROM pricing_cases WHERE status <> 'closed' AND listing_id = ANY($1::bigint[])",  # noqa: S608
        listing_ids,
    )


async def cases_in(tx: Tx, status: str) -> list[asyncpg.Record]:
    return await tx.fetch(f"SELECT {_CASE} FROM pricing_cases WHERE status = $1", status)  # noqa: S608


async def add_cases(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> list[asyncpg.Record]:
    """Open cases (listing, product, category, threshold, gross, evidence and log as JSON text); returns those really
    opened."""
    return await tx.fetch(
        "INSERT INTO pricing_cases (listing_id, product_id, category, threshold_pct, gross_pct, evidence, log, "  # noqa: S608
        "opened_at) SELECT *, $8::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], "
        "$5::numeric[], $6::jsonb[], $7::jsonb[]) "
        "ON CONFLICT (listing_id, threshold_pct, gross_pct) WHERE status <> 'closed' DO NOTHING "
        f"RETURNING {_CASE}",
        *columns_of(rows),
        tx.now,
    )


async def close_cases(tx: Tx, case_ids: list[int], note: str) -> list[asyncpg.Record]:
    """Close live cases with a log entry (JSON text)."""
    return await tx.fetch(
        "UPDATE pricing_cases SET status = 'closed', closed_at = $2, waived_until = NULL, log = log || $3::jsonb, "
        "version = version + 1 WHERE id = ANY($1::bigint[]) AND status <> 'closed' RETURNING id",
        case_ids,
        tx.now,
        note,
    )


async def reopen_expired(tx: Tx, note: str, limit: int) -> list[asyncpg.Record]:
    """Open the cases whose waiver is over; an entry of their log says so."""
    return await tx.fetch(
        "UPDATE pricing_cases SET status = 'open', waived_until = NULL, log = log || $2::jsonb, "  # noqa: S608
        "version = version + 1 WHERE id IN (SELECT id FROM pricing_cases WHERE status = 'waived' "
        f"AND waived_until <= $1 ORDER BY waived_until LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING {_CASE}",
        tx.now,
        note,
        limit,
    )


async def note_on_case(tx: Tx, case_id: int, note: str) -> bool:
    """Append to a case's log; False when there is no such case."""
    return bool(
        await tx.run(
            "UPDATE pricing_cases SET log = log || $2::jsonb, version = version + 1 WHERE id = $1", case_id, note
        )
    )


async def lock_case(tx: Tx, case_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(
        "SELECT id, listing_id, status, stage, version, threshold_pct FROM pricing_cases WHERE id = $1 FOR UPDATE",
        case_id,
    )


async def move_case(
    tx: Tx, case_id: int, note: str, *, stage: str | None = None, waived_until: datetime | None = None
) -> None:
    """Write what a person did about a locked open case: a log entry, how far the talk is, a waiver."""
    await tx.run(
        "UPDATE pricing_cases SET log = log || $2::jsonb, version = version + 1, stage = coalesce($3, stage), "
        "waived_until = $4::timestamptz, status = CASE WHEN $4::timestamptz IS NULL THEN status ELSE 'waived' END "
        "WHERE id = $1",
        case_id,
        note,
        stage,
        waived_until,
    )


async def case_rows(
    tx: Tx, status: str | None, listing_id: int | None, before: int | None, limit: int, case_id: int | None = None
) -> list[asyncpg.Record]:
    """Cases, newest first, each with its holds and its snapshots' hashes."""
    return await tx.fetch(
        "SELECT c.id, c.listing_id, c.product_id, c.category, c.threshold_pct, c.gross_pct, c.status, c.stage, "
        "c.waived_until, c.version, c.opened_at, c.closed_at, c.evidence, c.log, "
        "coalesce((SELECT jsonb_agg(jsonb_build_object('mall_id', h.mall_id, 'action', h.action, "
        "'since', h.since, 'ended_at', h.ended_at, 'reviewed_at', h.reviewed_at, 'review_reason', h.review_reason) "
        "ORDER BY h.mall_id) FROM pricing_holds h WHERE h.case_id = c.id), '[]') AS holds, "
        "coalesce((SELECT jsonb_agg(jsonb_build_object('at', s.at, 'what', s.what, 'sha256', s.sha256) ORDER BY s.id) "
        "FROM pricing_snapshots s WHERE s.case_id = c.id), '[]') AS snapshots FROM pricing_cases c "
        "WHERE ($1::text IS NULL OR c.status = $1) AND ($2::bigint IS NULL OR c.listing_id = $2) "
        "AND ($3::bigint IS NULL OR c.id < $3) AND ($5::bigint IS NULL OR c.id = $5) ORDER BY c.id DESC LIMIT $4",
        status,
        listing_id,
        before,
        limit,
        case_id,
    )


async def case_facts(tx: Tx, case_ids: list[int]) -> list[asyncpg.Record]:
    """What is told about these cases, each with the malls that hold its listing back now."""
    return await tx.fetch(
        "SELECT id, listing_id, product_id, status, stage, threshold_pct, gross_pct, waived_until, "
        "ARRAY(SELECT h.mall_id FROM pricing_holds h WHERE h.case_id = c.id AND h.reviewed_at IS NULL "
        "AND h.ended_at IS NULL ORDER BY 1) AS malls FROM pricing_cases c WHERE id = ANY($1::bigint[]) ORDER BY id",
        case_ids,
    )


async def evidence(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    """The whole calculation of these listings' verdicts, with the observation each rests on."""
    return await tx.fetch(
        "SELECT v.listing_id, v.verdict, v.reason, v.ours, v.reference, v.gap, v.reference_id, v.at, v.price, "
        "v.currency, v.shipping, v.coupon, v.pack, v.units, v.unit, r.price AS their_price, r.currency AS "
        "their_currency, r.shipping AS their_shipping, r.coupon AS their_coupon, r.pack AS their_pack, r.units AS "
        "their_units, r.unit AS their_unit, r.source, r.url, r.sha256, r.captured_at, r.region, r.parser "
        "FROM pricing_verdicts v LEFT JOIN pricing_references r ON r.id = v.reference_id "
        "WHERE v.listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def add_snapshots(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    await tx.copy("pricing_snapshots", ("case_id", "at", "what", "content", "sha256"), list(rows))


async def snapshot_rows(tx: Tx, case_id: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT at, what, content, sha256 FROM pricing_snapshots WHERE case_id = $1 ORDER BY id", case_id
    )
