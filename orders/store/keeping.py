"""SQL over an order as one thing: reading it under its lock, writing it back, letting reservations run out."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx
from orders.store.making import LINE_COLUMNS, SHARED, arrays, unnest

_LINES_OF = "SELECT * FROM order_lines WHERE order_id = ANY($1) ORDER BY order_id, line_no"
_POS_OF = "SELECT * FROM purchase_orders WHERE order_id = ANY($1) ORDER BY order_id, sequence, id"


async def lock_order(tx: Tx, order_id: uuid.UUID) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM orders WHERE id = $1 FOR UPDATE", order_id)


async def order_row(tx: Tx, order_id: uuid.UUID) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM orders WHERE id = $1", order_id)


async def orders_after(tx: Tx, mall_id: int, after: uuid.UUID | None, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM orders WHERE mall_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
        mall_id,
        after,
        limit,
    )


async def lines_of(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(_LINES_OF, list(order_ids))


async def pos_of(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(_POS_OF, list(order_ids))


async def save_order(tx: Tx, order_id: uuid.UUID, status: str, total: Decimal) -> None:
    await tx.run("UPDATE orders SET status = $2, total = $3 WHERE id = $1", order_id, status, total)


async def start_clock(tx: Tx, order_id: uuid.UUID, status: str, placed_at: datetime, due_at: datetime) -> None:
    await tx.run(
        "UPDATE orders SET status = $2, placed_at = $3, due_at = $4 WHERE id = $1", order_id, status, placed_at, due_at
    )


SAVED_LINE = (
    ("id", "uuid"), ("status", "text"), ("listing_id", "int8"), ("vendor_id", "int8"), ("vendor_name", "text"),
    ("connection_id", "int8"), ("vendor_sku", "text"), ("vendor_ref", "text"), ("unit_price", "numeric"),
    ("currency", "text"), ("title", "text"), ("hold_id", "uuid"), ("po_id", "uuid"), ("first_po_id", "uuid"),
    ("first_outcome", "text"),
)  # fmt: skip
SAVED_PO = (
    ("id", "uuid"), ("status", "text"), ("vendor_order_no", "text"), ("accepted_at", "timestamptz"),
    ("reason", "text"), ("attention", "text"), ("ever_unknown", "bool"),
    ("recall", "text"),
)  # fmt: skip


def _update(table: str, columns: tuple[tuple[str, str], ...]) -> str:
    changes = ", ".join(f"{name} = u.{name}" for name, _ in columns[1:])
    return f"UPDATE {table} t SET {changes} FROM {unnest(columns, 1)} WHERE t.id = u.id"  # noqa: S608


_SAVE_LINES = _update("order_lines", SAVED_LINE)
_SAVE_POS = _update("purchase_orders", SAVED_PO)


async def save_lines(tx: Tx, rows: Sequence[object]) -> None:
    await tx.run(_SAVE_LINES, *arrays(SAVED_LINE, rows))


async def save_pos(tx: Tx, rows: Sequence[object]) -> None:
    await tx.run(_SAVE_POS, *arrays(SAVED_PO, rows))


async def remove_po_lines(tx: Tx, po_id: uuid.UUID, line_ids: Sequence[uuid.UUID]) -> None:
    """Take lines off a purchase order that its vendor has not been asked for yet."""
    await tx.run("UPDATE po_lines SET removed = true WHERE po_id = $1 AND line_id = ANY($2)", po_id, list(line_ids))


async def reduce_line(tx: Tx, line_id: uuid.UUID, po_id: uuid.UUID | None, quantity: int, cancelled: int) -> None:
    """Write how many units of a line are still wanted, here and in what its vendor will be asked for."""
    await tx.run(
        "UPDATE order_lines SET quantity = $2, cancelled_quantity = $3 WHERE id = $1", line_id, quantity, cancelled
    )
    if po_id is not None:
        await tx.run("UPDATE po_lines SET quantity = $3 WHERE po_id = $1 AND line_id = $2", po_id, line_id, quantity)


async def add_split_line(tx: Tx, order_id: uuid.UUID, mall_id: int, line: object, po_id: uuid.UUID) -> None:
    """Write a line that was split off another one, as one that this purchase order was asked for and did not take."""
    extra = ("first_po_id", "first_outcome", "split_from")
    columns = [name for name, _ in LINE_COLUMNS]
    values = ", ".join(f"${n}" for n in range(1, len(columns) + len(extra) + 3))
    await tx.run(
        f"INSERT INTO order_lines (order_id, mall_id, {', '.join((*columns, *extra))}) VALUES ({values})",  # noqa: S608
        order_id,
        mall_id,
        *(getattr(line, name) for name in (*columns, *extra)),
    )
    await tx.run(
        f"INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, removed, {SHARED}) "  # noqa: S608 - constant names
        f"SELECT $1, id, mall_id, vendor_id, true, {SHARED} FROM order_lines WHERE id = $2",
        po_id,
        getattr(line, "id"),  # noqa: B009
    )


async def overdue_pos(tx: Tx, before: datetime, after: uuid.UUID | None, limit: int) -> list[asyncpg.Record]:
    """Purchase orders without their vendor's decision since before then."""
    return await tx.fetch(
        "SELECT id, order_id FROM purchase_orders WHERE status IN ('awaiting_vendor', 'pending') AND created_at < $1 "
        "AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
        before,
        after,
        limit,
    )


async def tried_vendors(tx: Tx, line_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT line_id, array_agg(DISTINCT vendor_id) AS vendors FROM po_lines WHERE line_id = ANY($1) "
        "GROUP BY line_id",
        list(line_ids),
    )


async def claim_expired(tx: Tx, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id FROM orders WHERE status = 'reserved' AND reserved_until <= $1 "
        "ORDER BY reserved_until LIMIT $2 FOR UPDATE SKIP LOCKED",
        tx.now,
        limit,
    )


async def expire(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Mark locked reservations and their lines expired; returns the holds to release."""
    rows = await tx.fetch(
        "WITH o AS (UPDATE orders SET status = 'expired' WHERE id = ANY($1)), "
        "l AS (SELECT id, hold_id FROM order_lines WHERE order_id = ANY($1) AND status = 'reserved'), "
        "u AS (UPDATE order_lines x SET status = 'expired', hold_id = NULL FROM l WHERE x.id = l.id) "
        "SELECT hold_id FROM l WHERE hold_id IS NOT NULL",
        list(order_ids),
    )
    return [row["hold_id"] for row in rows]
