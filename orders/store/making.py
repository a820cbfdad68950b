"""SQL that writes a new order and its purchase orders: one statement each, whatever the number of lines."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hub.kernel.db import Tx

ORDER_COLUMNS = (
    "id", "mall_id", "mall_order_no", "status", "mode", "ship_to", "currency", "total", "created_at", "reserved_until",
    "placed_at", "due_at", "held_until",
)  # fmt: skip
LINE_COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "uuid"), ("line_no", "int2"), ("status", "text"), ("quantity", "int4"), ("asked_listing_id", "int8"),
    ("max_price", "numeric"), ("max_currency", "text"), ("agreed_price", "numeric"), ("product_id", "int8"),
    ("listing_id", "int8"), ("vendor_id", "int8"), ("vendor_name", "text"), ("connection_id", "int8"),
    ("vendor_sku", "text"), ("vendor_ref", "text"), ("unit_price", "numeric"), ("currency", "text"),
    ("title", "text"), ("kind", "text"), ("mode", "text"), ("category", "text"), ("city", "text"),
    ("slot_id", "int8"), ("slot_ref", "text"), ("slot_version", "text"), ("slot_start", "timestamptz"),
    ("slot_end", "timestamptz"), ("hold_id", "uuid"), ("po_id", "uuid"),
    ("vendor_key", "text"), ("routing", "text"),
)  # fmt: skip
PO_COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "uuid"), ("number", "text"), ("vendor_id", "int8"), ("vendor_name", "text"), ("connection_id", "int8"),
    ("sequence", "int2"),
)  # fmt: skip
SHARED = (
    "line_no, listing_id, vendor_sku, vendor_ref, title, quantity, unit_price, currency, slot_ref, slot_version, "
    "slot_start, slot_end"
)


def names(columns: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(name for name, _ in columns)


def unnest(columns: tuple[tuple[str, str], ...], first: int) -> str:
    arrays = ", ".join(f"${first + i}::{kind}[]" for i, (_, kind) in enumerate(columns))
    return f"unnest({arrays}) AS u({names(columns)})"


def arrays(columns: tuple[tuple[str, str], ...], rows: Sequence[object]) -> list[list[Any]]:
    """The attributes of `rows` that `columns` names, one list a column."""
    return [[getattr(row, name) for row in rows] for name, _ in columns]


_ADD_ORDER = (
    f"WITH o AS (INSERT INTO orders ({', '.join(ORDER_COLUMNS)}) "  # noqa: S608
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
    "ON CONFLICT (mall_id, mall_order_no) DO NOTHING RETURNING id), "
    f"l AS (INSERT INTO order_lines (order_id, mall_id, first_po_id, {names(LINE_COLUMNS)}) "
    f"SELECT $1, $2, u.po_id, u.* FROM {unnest(LINE_COLUMNS, 14)} WHERE EXISTS (SELECT 1 FROM o) "
    f"RETURNING id, mall_id, vendor_id, po_id, {SHARED}), "
    f"p AS (INSERT INTO purchase_orders (order_id, mall_id, status, created_at, {names(PO_COLUMNS)}) "
    f"SELECT $1, $2, 'queued', $9, u.* FROM {unnest(PO_COLUMNS, 14 + len(LINE_COLUMNS))} "
    "WHERE EXISTS (SELECT 1 FROM o)), "
    f"x AS (INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, {SHARED}) "
    f"SELECT po_id, id, mall_id, vendor_id, {SHARED} FROM l WHERE po_id IS NOT NULL) "
    "SELECT EXISTS (SELECT 1 FROM o)"
)
_ADD_POS = (
    f"WITH p AS (INSERT INTO purchase_orders (order_id, mall_id, status, created_at, {names(PO_COLUMNS)}) "  # noqa: S608
    f"SELECT $1, $2, 'queued', $3, u.* FROM {unnest(PO_COLUMNS, 4)}) "
    f"INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, {SHARED}) "
    f"SELECT po_id, id, mall_id, vendor_id, {SHARED} FROM order_lines WHERE order_id = $1 AND po_id = ANY($4)"
)


async def add_order(tx: Tx, order: object, lines: Sequence[object], pos: Sequence[object]) -> bool:
    """Insert an order with its lines and their purchase orders; False when this mall already used the number. Takes
    objects with attributes named like the columns."""
    values = [getattr(order, name) for name in ORDER_COLUMNS]
    added: bool = await tx.fetchval(_ADD_ORDER, *values, *arrays(LINE_COLUMNS, lines), *arrays(PO_COLUMNS, pos))
    return added


async def add_purchase_orders(tx: Tx, order_id: uuid.UUID, mall_id: int, at: datetime, pos: Sequence[object]) -> None:
    """Insert purchase orders of an order that exists; each carries the lines whose `po_id` already names it."""
    await tx.run(_ADD_POS, order_id, mall_id, at, *arrays(PO_COLUMNS, pos))


async def open_reservations(tx: Tx, mall_id: int, cap: int) -> int:
    """How many reservations of the mall are open, counted to `cap` at most."""
    counted = "SELECT count(*) FROM (SELECT 1 FROM orders WHERE mall_id = $1 AND status = 'reserved' LIMIT $2) AS o"
    return int(await tx.fetchval(counted, mall_id, cap))


async def queue_for_reserving(tx: Tx, mall_id: int) -> None:
    """Let this mall's reservations be counted one after the other until the transaction ends."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended('supplyhub.reservations', $1))", mall_id)
