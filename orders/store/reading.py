"""SQL that reads orders for the portal, for fulfilment and for the report of promises."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence

import asyncpg

from hub.kernel.db import HUB, Tx
from hub.kernel.errors import HubError


async def po_row(tx: Tx, po_id: uuid.UUID) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM purchase_orders WHERE id = $1", po_id)


async def vendor_pos_after(tx: Tx, vendor_id: int, after: uuid.UUID | None, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT p.*, o.ship_to, o.due_at FROM purchase_orders p JOIN orders o ON o.id = p.order_id "
        "WHERE p.vendor_id = $1 AND ($2::uuid IS NULL OR p.id > $2) ORDER BY p.id LIMIT $3",
        vendor_id,
        after,
        limit,
    )


async def carried_lines(tx: Tx, po_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM po_lines WHERE po_id = ANY($1) AND NOT removed ORDER BY po_id, line_no", list(po_ids)
    )


_FACTS = (
    "SELECT l.id AS line_id, l.order_id, l.mall_id, l.line_no, l.quantity, l.mode, l.category, l.city, l.vendor_id, "
    "l.po_id, o.placed_at AS t0, o.due_at, l.status, l.product_id, l.listing_id, "
    "l.first_outcome AS first_vendor_outcome, coalesce(f.ever_unknown, false) AS first_vendor_unknown, "
    "(SELECT count(*) FROM po_lines x WHERE x.line_id = l.id)::int AS pos "
    "FROM order_lines l JOIN orders o ON o.id = l.order_id LEFT JOIN purchase_orders f ON f.id = l.first_po_id "
    "WHERE o.placed_at IS NOT NULL AND (l.first_po_id IS NOT NULL OR l.status = 'cancelled') "
)


async def facts(tx: Tx, order_id: uuid.UUID | None, po_id: uuid.UUID | None) -> list[asyncpg.Record]:
    """Placed lines of an order, or those a purchase order ever carried. Lines of an order that waits for a review are
    not among them; once they are cancelled they are, so that the exclusion is counted."""
    if po_id is not None:
        within = "AND l.id IN (SELECT line_id FROM po_lines WHERE po_id = $1) ORDER BY l.line_no"
        return await tx.fetch(_FACTS + within, po_id)
    return await tx.fetch(_FACTS + "AND l.order_id = $1 ORDER BY l.line_no", order_id)


async def po_ref(
    tx: Tx, connection_id: int | None, po_number: str | None, vendor_order_no: str | None, po_id: uuid.UUID | None
) -> asyncpg.Record | None:
    """The purchase order with the surest of the marks that are given: our id, our number, the vendor's number (which
    counts within one connection only)."""
    if po_id is not None:
        mark: str = "id"
        value: uuid.UUID | str | None = po_id
    elif po_number is not None:
        mark, value = "number", po_number
    else:
        mark, value = "vendor_order_no", vendor_order_no
    return await tx.fetchrow(
        "SELECT id AS po_id, order_id, mall_id, vendor_id, connection_id, number, vendor_order_no "  # noqa: S608
        f"FROM purchase_orders WHERE {mark} = $1 AND ($2::int8 IS NULL OR connection_id = $2) ORDER BY id DESC LIMIT 1",
        value,
        connection_id,
    )


async def counts(tx: Tx) -> asyncpg.Record:
    row = await tx.fetchrow(
        "WITH o AS (SELECT o.id, "
        "(SELECT count(DISTINCT connection_id) FROM purchase_orders p WHERE p.order_id = o.id AND p.sequence = 1) "
        "AS vendors, "
        "EXISTS (SELECT 1 FROM order_lines l WHERE l.order_id = o.id AND l.status = 'unsupplied') AS unsupplied, "
        "EXISTS (SELECT 1 FROM order_lines l WHERE l.order_id = o.id AND l.po_id <> l.first_po_id) AS moved "
        "FROM orders o WHERE o.placed_at IS NOT NULL) "
        "SELECT count(*) AS placed, count(*) FILTER (WHERE vendors > 1) AS split, "
        "count(*) FILTER (WHERE moved) AS failed_over, count(*) FILTER (WHERE unsupplied) AS refused FROM o"
    )
    assert row is not None
    return row


async def broken_promises(tx: Tx) -> asyncpg.Record:
    """How many rows contradict each promise; all zero when the orders are sound."""
    row = await tx.fetchrow(
        "SELECT (SELECT count(*) FROM order_lines l WHERE l.status IN "
        "('placed', 'accepted', 'cancelling', 'shipped', 'delivered') AND 1 <> (SELECT count(*) FROM po_lines x "
        "JOIN purchase_orders p ON p.id = x.po_id WHERE x.line_id = l.id AND NOT x.removed AND p.status NOT IN "
        "('refused', 'withdrawn', 'cancelled') AND p.id = l.po_id)) AS lines_without_one_live_po, "
        "(SELECT count(*) FROM po_lines x JOIN purchase_orders p ON p.id = x.po_id "
        "JOIN order_lines l ON l.id = x.line_id WHERE NOT x.removed AND p.id IS DISTINCT FROM l.po_id "
        "AND p.status NOT IN ('refused', 'withdrawn', 'cancelled') AND NOT EXISTS (SELECT 1 FROM slot_moves m "
        "WHERE m.line_id = x.line_id AND p.id IN (m.po_id, m.old_po_id))) AS lines_on_a_second_live_po, "
        "(SELECT count(*) FROM (SELECT 1 FROM purchase_orders WHERE vendor_order_no IS NOT NULL "
        "GROUP BY connection_id, vendor_order_no HAVING count(*) > 1) d) AS vendor_orders_shared, "
        "(SELECT count(*) FROM order_lines WHERE (hold_id IS NULL) <> "
        "(status IN ('cancelled', 'expired', 'unsupplied') OR (status = 'rerouting' AND hold_id IS NULL))) "
        "AS lines_without_their_hold, "
        "(SELECT count(*) FROM (SELECT 1 FROM order_lines WHERE hold_id IS NOT NULL GROUP BY hold_id "
        "HAVING count(*) > 1) d) AS holds_shared, "
        "(SELECT count(*) FROM (SELECT a.line_id FROM after_sales a JOIN order_lines l ON l.id = a.line_id "
        "WHERE a.status NOT IN ('declined', 'withdrawn') GROUP BY a.line_id, l.quantity, l.unit_price "
        "HAVING sum(a.quantity) > l.quantity OR sum(coalesce(a.refund, 0)) > l.quantity * l.unit_price) d) "
        "AS cases_beyond_their_line, "
        "(SELECT count(*) FROM orders WHERE due_at IS DISTINCT FROM placed_at + interval '72 hours') AS wrong_due"
    )
    assert row is not None
    return row


async def needing_attention(tx: Tx, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id, number, vendor_id, vendor_name, connection_id, status, attention, created_at "
        "FROM purchase_orders WHERE attention IS NOT NULL ORDER BY id LIMIT $1",
        limit,
    )


@contextlib.asynccontextmanager
async def as_hub(tx: Tx) -> AsyncIterator[None]:
    """Let a vendor's proven right over one purchase order take its effect on the buyer's rows: inside, the
    second wall sees the hub. Any other error than ours ends the transaction, and with it the widened sight."""
    if tx.tenant == HUB:
        yield
        return
    await tx.run(_SPEAK_AS, HUB)
    try:
        yield
    except HubError:  # ours: the transaction lives, and its caller may go on
        await tx.run(_SPEAK_AS, tx.tenant)
        raise
    await tx.run(_SPEAK_AS, tx.tenant)


_SPEAK_AS = "SELECT set_config('supplyhub.tenant', $1, true)"
