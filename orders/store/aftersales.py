"""SQL over after-sales. A case changes under the lock of its order."""

from __future__ import annotations

import uuid
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx

_CLOSED = "('declined', 'withdrawn')"


async def add_case(
    tx: Tx,
    case_id: uuid.UUID,
    line: object,
    order_id: uuid.UUID,
    mall_id: int,
    kind: str,
    quantity: int,
    status: str,
    reason: str,
) -> None:
    names = ("id", "line_no", "po_id", "vendor_id", "currency")
    await tx.run(
        "INSERT INTO after_sales (id, order_id, mall_id, kind, quantity, status, reason, created_at, updated_at, "
        "line_id, line_no, po_id, vendor_id, currency) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, "
        "$13)",
        case_id, order_id, mall_id, kind, quantity, status, reason, tx.now, *(getattr(line, name) for name in names),
    )  # fmt: skip


async def case_row(tx: Tx, case_id: uuid.UUID) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM after_sales WHERE id = $1", case_id)


async def cases_of(tx: Tx, order_id: uuid.UUID) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT * FROM after_sales WHERE order_id = $1 ORDER BY id", order_id)


async def cases_after(
    tx: Tx, vendor_id: int | None, status: str | None, after: uuid.UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Cases from old to new, of one vendor or of all."""
    return await tx.fetch(
        "SELECT * FROM after_sales WHERE ($1::int8 IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR status = $2) "
        "AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4",
        vendor_id,
        status,
        after,
        limit,
    )


async def units_in_cases(tx: Tx, line_id: uuid.UUID) -> int:
    """Units of a line that are or were in a case which was not declined or withdrawn."""
    counted = await tx.fetchval(
        f"SELECT coalesce(sum(quantity), 0) FROM after_sales WHERE line_id = $1 AND status NOT IN {_CLOSED}",  # noqa: S608
        line_id,
    )
    return int(counted)


async def units_back(tx: Tx, line_id: uuid.UUID) -> int:
    """Units of a line that were refused at the door and are with the vendor again."""
    counted = await tx.fetchval(
        "SELECT coalesce(sum(quantity), 0) FROM after_sales WHERE line_id = $1 AND kind = 'refusal' "
        "AND status IN ('received', 'refunded', 'replaced')",
        line_id,
    )
    return int(counted)


async def save_case(
    tx: Tx,
    case_id: uuid.UUID,
    status: str,
    *,
    answer: str | None = None,
    carrier: str | None = None,
    tracking_no: str | None = None,
    refund: Decimal | None = None,
    replacement: uuid.UUID | None = None,
) -> None:
    await tx.run(
        "UPDATE after_sales SET status = $2, answer = coalesce($3, answer), carrier = coalesce($4, carrier), "
        "tracking_no = coalesce($5, tracking_no), refund = $6, replacement_order_id = $7, updated_at = $8 "
        "WHERE id = $1",
        case_id, status, answer, carrier, tracking_no, refund, replacement, tx.now,
    )  # fmt: skip
