"""SQL over routing policies, vendors' records, and why lines went where they went."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx

_WEIGHTS = ("price", "promise", "confidence", "standing", "parcels")


async def all_policies(tx: Tx) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT * FROM routing_policies ORDER BY mall_id")


async def put_policy(tx: Tx, mall_id: int, weights: Sequence[Decimal]) -> asyncpg.Record:
    """Set a mall's weights, in the order price, promise, confidence, standing, parcels."""
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*_WEIGHTS, "updated_at"))
    row = await tx.fetchrow(
        f"INSERT INTO routing_policies (mall_id, {', '.join(_WEIGHTS)}, updated_at) "  # noqa: S608 - constant names
        f"VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (mall_id) DO UPDATE SET {changes} RETURNING *",
        mall_id,
        *weights,
        tx.now,
    )
    assert row is not None
    return row


async def drop_policy(tx: Tx, mall_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("DELETE FROM routing_policies WHERE mall_id = $1 RETURNING *", mall_id)


async def all_standings(tx: Tx) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT * FROM vendor_standings ORDER BY vendor_id")


async def count_answers(tx: Tx) -> int:
    """Count what vendors answered in the last 30 days."""
    return await tx.run(
        "INSERT INTO vendor_standings AS s (vendor_id, decided, refused, as_of) "
        "SELECT vendor_id, count(*), count(*) FILTER (WHERE status IN ('refused', 'withdrawn')), $1 "
        "FROM purchase_orders WHERE created_at >= $2 AND (accepted_at IS NOT NULL OR status = 'refused') "
        "GROUP BY vendor_id ON CONFLICT (vendor_id) DO UPDATE SET decided = EXCLUDED.decided, "
        "refused = EXCLUDED.refused, as_of = EXCLUDED.as_of",
        tx.now,
        tx.now - timedelta(days=30),
    )


async def note_on_time(tx: Tx, rows: Sequence[tuple[int, int, int]]) -> None:
    """(vendor, lines due, of them on time)."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    await tx.run(
        "INSERT INTO vendor_standings AS s (vendor_id, due, on_time, as_of) "
        "SELECT u.*, $1 FROM unnest($2::int8[], $3::int4[], $4::int4[]) u "
        "ON CONFLICT (vendor_id) DO UPDATE SET due = EXCLUDED.due, on_time = EXCLUDED.on_time, as_of = EXCLUDED.as_of",
        tx.now,
        *columns,
    )


async def note_routing(tx: Tx, line_id: uuid.UUID, why: str) -> None:
    """Add a choice to those of a line."""
    await tx.run("UPDATE order_lines SET routing = concat_ws(E'\n', routing, $2::text) WHERE id = $1", line_id, why)


async def routing_of(tx: Tx, order_id: uuid.UUID) -> list[asyncpg.Record]:
    """Lines of an order with the choices that were made for them."""
    return await tx.fetch(
        "SELECT o.mall_id, l.line_no, l.status, l.routing FROM orders o JOIN order_lines l ON l.order_id = o.id "
        "WHERE o.id = $1 ORDER BY l.line_no",
        order_id,
    )
