"""SQL of the clocks: one row per accepted line."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from fulfillment.store.tables import columns_of
from hub.kernel.db import Tx


async def start_clocks(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Start clocks, or bring what may change (who carries the line, what its first vendor did) up to date. t0 and
    due_at are written once. A definite first outcome is never taken back."""
    await tx.run(
        "INSERT INTO fulfillment_line_clock AS c (line_id, order_id, po_id, mall_id, vendor_id, first_vendor_id, "
        "line_no, category, city, mode, quantity, t0, due_at, first_outcome) SELECT u.a, u.b, u.c, u.d, u.e, u.e, u.f, "
        "u.g, u.h, u.i, u.j, u.k, u.l, u.m FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], "
        "$6::int[], $7::text[], $8::text[], $9::text[], $10::int[], $11::timestamptz[], $12::timestamptz[], "
        "$13::text[]) AS u(a, b, c, d, e, f, g, h, i, j, k, l, m) ORDER BY u.a "
        "ON CONFLICT (line_id) DO UPDATE SET po_id = EXCLUDED.po_id, vendor_id = EXCLUDED.vendor_id, "
        "quantity = EXCLUDED.quantity, "
        "first_outcome = CASE WHEN EXCLUDED.first_outcome = 'undecided' OR c.first_outcome IN ('ok', 'stockout') "
        "THEN c.first_outcome ELSE EXCLUDED.first_outcome END "
        "WHERE (c.po_id, c.vendor_id, c.quantity, c.first_outcome) IS DISTINCT FROM "
        "(EXCLUDED.po_id, EXCLUDED.vendor_id, EXCLUDED.quantity, EXCLUDED.first_outcome)",
        *columns_of(rows),
    )


async def lock_clocks(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    """The clocks of these orders, locked in order of line."""
    return await tx.fetch(
        "SELECT * FROM fulfillment_line_clock WHERE order_id = ANY($1::uuid[]) ORDER BY line_id FOR UPDATE",
        list(order_ids),
    )


async def save_progress(
    tx: Tx, rows: Sequence[tuple[uuid.UUID, int, datetime | None, datetime | None, str | None]]
) -> None:
    """Write (line, delivered units, t1, first scan, excused)."""
    await tx.run(
        "UPDATE fulfillment_line_clock c SET delivered_units = u.units, delivered_at = u.t1, first_scan_at = u.scan, "
        "excused = u.excused FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::timestamptz[], $5::text[]) "
        "AS u(line_id, units, t1, scan, excused) WHERE c.line_id = u.line_id AND (c.delivered_units, c.delivered_at, "
        "c.first_scan_at, c.excused) IS DISTINCT FROM (u.units, u.t1, u.scan, u.excused)",
        *columns_of(rows),
    )


async def cancel_lines(tx: Tx, line_ids: Sequence[uuid.UUID], by: str) -> None:
    """Note who cancelled these lines, once."""
    await tx.run(
        "UPDATE fulfillment_line_clock SET cancelled_by = $2, cancelled_at = $3 WHERE line_id = ANY($1::uuid[]) "
        "AND cancelled_by IS NULL",
        list(line_ids),
        by,
        tx.now,
    )


async def undecided_orders(tx: Tx, since: datetime, after: uuid.UUID | None, limit: int) -> list[uuid.UUID]:
    """Orders placed since `since` with a line whose first vendor has not answered as far as we know."""
    rows = await tx.fetch(
        "SELECT DISTINCT order_id FROM fulfillment_line_clock WHERE first_outcome IN ('undecided', 'unknown') "
        "AND t0 >= $1 AND ($2::uuid IS NULL OR order_id > $2) ORDER BY order_id LIMIT $3",
        since,
        after,
        limit,
    )
    return [row["order_id"] for row in rows]


async def deliveries_of(tx: Tx, line_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT line_id, delivered_units, delivered_at, due_at FROM fulfillment_line_clock WHERE line_id = ANY($1)",
        list(line_ids),
    )
