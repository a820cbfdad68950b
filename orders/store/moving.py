"""SQL over appointments that move."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal

import asyncpg

from hub.kernel.db import Tx


async def add_moving_po(tx: Tx, po: object, line_id: uuid.UUID, new: object, unit_price: Decimal) -> None:
    """Insert the purchase order that books the line's new slot; `new` is a catalogue SlotOffer."""
    names = (
        "id", "number", "order_id", "mall_id", "vendor_id", "vendor_name", "connection_id", "sequence", "status",
        "created_at", "moving_line_id",
    )  # fmt: skip
    slot = [getattr(new, name) for name in ("location", "version", "start", "end")]
    numbers = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    await tx.run(
        f"INSERT INTO purchase_orders ({', '.join(names)}) VALUES ({numbers})",  # noqa: S608 - constant names
        *(getattr(po, name) for name in names),
    )
    await tx.run(
        "INSERT INTO po_lines (po_id, line_id, mall_id, vendor_id, line_no, listing_id, vendor_sku, vendor_ref, title, "
        "quantity, unit_price, currency, slot_ref, slot_version, slot_start, slot_end) "
        "SELECT $1, id, mall_id, vendor_id, line_no, listing_id, vendor_sku, vendor_ref, title, quantity, $3, "
        "currency, $4, $5, $6, $7 FROM order_lines WHERE id = $2",
        getattr(po, "id"),  # noqa: B009
        line_id,
        unit_price,
        *slot,
    )


async def add_move(
    tx: Tx,
    *,
    po_id: uuid.UUID,
    old_po_id: uuid.UUID,
    line_id: uuid.UUID,
    slot_id: int,
    slot_ref: str,
    slot_version: str | None,
    slot_start: datetime,
    slot_end: datetime,
    unit_price: Decimal,
    hold_id: uuid.UUID,
    vendor_key: str | None,
) -> None:
    await tx.run(
        "INSERT INTO slot_moves (po_id, old_po_id, line_id, state, slot_id, slot_ref, slot_version, slot_start, "
        "slot_end, unit_price, hold_id, vendor_key, created_at) "
        "VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        po_id, old_po_id, line_id, slot_id, slot_ref, slot_version, slot_start, slot_end, unit_price, hold_id,
        vendor_key, tx.now,
    )  # fmt: skip


async def open_move(tx: Tx, line_id: uuid.UUID) -> asyncpg.Record | None:
    """The move of this line that is under way."""
    return await tx.fetchrow("SELECT * FROM slot_moves WHERE line_id = $1 AND state = 'open'", line_id)


async def open_move_by(tx: Tx, po_id: uuid.UUID) -> asyncpg.Record | None:
    """The move under way that this purchase order books."""
    return await tx.fetchrow("SELECT * FROM slot_moves WHERE po_id = $1 AND state = 'open'", po_id)


async def end_move(tx: Tx, po_id: uuid.UUID, state: str, old_hold_id: uuid.UUID | None) -> None:
    await tx.run("UPDATE slot_moves SET state = $2, old_hold_id = $3 WHERE po_id = $1", po_id, state, old_hold_id)


async def holds_left_behind(tx: Tx, old_po_id: uuid.UUID) -> list[uuid.UUID]:
    """Holds on slots that lines left when they moved away from this purchase order."""
    rows = await tx.fetch(
        "SELECT old_hold_id FROM slot_moves WHERE old_po_id = $1 AND state = 'moved' AND old_hold_id IS NOT NULL",
        old_po_id,
    )
    return [row["old_hold_id"] for row in rows]


async def save_slot(tx: Tx, line: object) -> None:
    """Write the slot that a line has now."""
    names = ("slot_id", "slot_ref", "slot_version", "slot_start", "slot_end", "vendor_key")
    changes = ", ".join(f"{name} = ${n}" for n, name in enumerate(names, 2))
    await tx.run(
        f"UPDATE order_lines SET {changes} WHERE id = $1",  # noqa: S608 - constant names
        getattr(line, "id"),  # noqa: B009
        *(getattr(line, name) for name in names),
    )


async def listing_of_po(tx: Tx, po_id: uuid.UUID) -> int | None:
    """The listing of the first line that a purchase order carries."""
    found: int | None = await tx.fetchval("SELECT listing_id FROM po_lines WHERE po_id = $1 LIMIT 1", po_id)
    return found
