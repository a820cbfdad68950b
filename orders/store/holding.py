"""SQL over what vendors hold for orders. A row is written before the vendor is asked and closed after it let go, so a
crash anywhere leaves a row that says what to do. Which rows are no longer needed is read off the orders themselves."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx

# A hold is needed while a living line waits for it: one that no purchase order carries yet, or the one of its key.
_NEEDED = """(
  EXISTS (SELECT 1 FROM order_lines l LEFT JOIN purchase_orders p ON p.id = l.po_id
    WHERE l.order_id = h.order_id AND l.vendor_key = h.key AND l.status NOT IN ('cancelled', 'expired', 'unsupplied')
      AND (h.slot_ref IS NULL OR l.slot_ref = h.slot_ref) AND (p.id IS NULL OR p.number = h.key))
  OR EXISTS (SELECT 1 FROM purchase_orders p JOIN slot_moves m ON m.po_id = p.id
    WHERE p.order_id = h.order_id AND p.number = h.key AND m.state = 'open'))"""
_CLAIM = f"""
UPDATE vendor_holds h SET state = 'releasing', due_at = $2, tries = h.tries + 1 FROM (
  SELECT h.id FROM vendor_holds h WHERE h.state IN ('asking', 'held', 'releasing')
    AND CASE WHEN h.state = 'releasing' OR h.order_id IS NULL THEN h.due_at <= $1 ELSE NOT {_NEEDED} END
  ORDER BY h.due_at LIMIT $3 FOR UPDATE OF h SKIP LOCKED) n
WHERE h.id = n.id RETURNING h.id, h.key, h.connection_id, h.slot_ref, h.tries
"""  # noqa: S608 - constant text


async def holds_asked_before(tx: Tx, mall_id: int, order_no: str) -> list[asyncpg.Record]:
    """Holds that an earlier request for the same order asked for, with everybody else kept from asking."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))", f"vendor hold {order_no}", mall_id)
    return await tx.fetch(
        "SELECT id, key, connection_id, slot_ref FROM vendor_holds WHERE mall_id = $1 AND order_no = $2 "
        "AND order_id IS NULL AND state IN ('asking', 'held') FOR UPDATE",
        mall_id,
        order_no,
    )


async def ask_again(tx: Tx, ids: Sequence[uuid.UUID], until: datetime, due_at: datetime) -> None:
    await tx.run(
        "UPDATE vendor_holds SET state = 'asking', until = $2, due_at = $3 WHERE id = ANY($1)", list(ids), until, due_at
    )


async def ask_holds(
    tx: Tx,
    mall_id: int,
    order_no: str,
    until: datetime,
    due_at: datetime,
    rows: Sequence[tuple[uuid.UUID, str, int, int, str | None]],
) -> None:
    """Write down what is about to be asked for: (id, key, connection, listing, slot)."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(5)]
    await tx.run(
        "INSERT INTO vendor_holds (mall_id, order_no, state, until, due_at, created_at, id, key, connection_id, "
        "listing_id, slot_ref) SELECT $1, $2, 'asking', $3, $4, $5, u.* "
        "FROM unnest($6::uuid[], $7::text[], $8::int8[], $9::int8[], $10::text[]) u",
        mall_id,
        order_no,
        until,
        due_at,
        tx.now,
        *columns,
    )


async def holds_kept(tx: Tx, ids: Sequence[uuid.UUID]) -> int:
    """The vendors hold these; returns how many of them are still ours to use."""
    return await tx.run("UPDATE vendor_holds SET state = 'held' WHERE id = ANY($1) AND state = 'asking'", list(ids))


async def holds_not_wanted(tx: Tx, keys: Sequence[str]) -> None:
    """Let go soon of what no order came of."""
    await tx.run(
        "UPDATE vendor_holds SET due_at = $2 WHERE key = ANY($1) AND order_id IS NULL AND state IN ('asking', 'held')",
        list(keys),
        tx.now,
    )


async def bind_holds(tx: Tx, keys: Sequence[str], order_id: uuid.UUID) -> set[str]:
    """Give held things to an order; returns the keys that were still held."""
    rows = await tx.fetch(
        "UPDATE vendor_holds SET order_id = $2 WHERE key = ANY($1) AND state = 'held' AND order_id IS NULL "
        "RETURNING key",
        list(keys),
        order_id,
    )
    return {row["key"] for row in rows}


async def held_by_others(tx: Tx, connection_id: int, slot_ref: str, key: str) -> bool:
    """Whether another order of ours holds this slot or is asking for it."""
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT 1 FROM vendor_holds WHERE connection_id = $1 AND slot_ref = $2 AND key <> $3 "
            "AND state IN ('asking', 'held', 'releasing'))",
            connection_id,
            slot_ref,
            key,
        )
    )


async def settle_used_holds(tx: Tx) -> int:
    """Holds whose purchase order was accepted became bookings."""
    return await tx.run(
        "UPDATE vendor_holds h SET state = 'used' FROM purchase_orders p "
        "WHERE h.state = 'held' AND p.number = h.key AND p.accepted_at IS NOT NULL"
    )


async def claim_releases(tx: Tx, again_at: datetime, limit: int) -> list[asyncpg.Record]:
    """Holds that nothing needs any more; nobody else takes them before `again_at`."""
    return await tx.fetch(_CLAIM, tx.now, again_at, limit)


async def let_go(tx: Tx, hold_id: uuid.UUID, state: str, error: str | None, due_at: datetime) -> None:
    await tx.run(
        "UPDATE vendor_holds SET state = $2, error = $3, due_at = $4 WHERE id = $1 AND state = 'releasing'",
        hold_id,
        state,
        error,
        due_at,
    )
