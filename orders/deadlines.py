"""A vendor that does not say whether it takes an order loses it to the next one: once the deadline is over and every
line has somewhere to go. While a vendor's answer is *unknown* nobody else is asked, whatever the clock says."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hub.kernel import tasks
from hub.kernel.db import Tx, uow
from hub.kernel.settings import settings
from orders import issuing, outcomes, routing, store
from orders.book import Book, Po, open_book
from orders.lifecycle import PoStatus


async def overdue_acceptances(limit: int = 100) -> int:
    """A task: take overdue purchase orders back from their vendors; returns how many. Each is a transaction."""
    after: uuid.UUID | None = None
    taken = 0
    while True:
        async with uow() as tx:
            before = tx.now - timedelta(seconds=settings().accept_deadline_s)
            rows = await store.overdue_pos(tx, before, after, limit)
        for row in rows:
            async with uow() as tx:
                taken += await _look(tx, row["order_id"], row["id"])
        if len(rows) < limit:
            return taken
        after = rows[-1]["id"]


async def _look(tx: Tx, order_id: uuid.UUID, po_id: uuid.UUID) -> bool:
    book = await open_book(tx, order_id)
    po = book.pos[po_id]
    if po.status not in (PoStatus.AWAITING_VENDOR, PoStatus.PENDING) or not book.on(po):
        return False
    attempt = await store.open_attempt(tx, po.id)
    if attempt is not None and attempt["state"] == "calling":
        return False  # its answer comes first
    hours = settings().accept_deadline_s / 3600
    if not await _has_somewhere_to_go(tx, book, po):
        po.attention = f"no decision within {hours:g} h, and no other offer"
        await book.save(tx)
        return False
    await outcomes.recall(tx, book, po, f"no decision within {hours:g} h")
    await book.save(tx)
    if po.recall is not None:
        if attempt is not None:
            await store.drop_attempt(tx, attempt["id"], "the deadline is over")
        await store.add_attempts(tx, [po.id], "cancel", tx.now)
        tx.wake(tasks.PLACE)
    return True


async def _has_somewhere_to_go(tx: Tx, book: Book, po: Po) -> bool:
    lines = book.on(po)
    if any(line.asked_listing_id is not None or line.slot_id is not None for line in lines):
        return False
    wishes = await issuing.wishes_elsewhere(tx, lines)
    wishes, offers = await issuing.offers_of(tx, book.order.mall_id, wishes)
    return not routing.plan(wishes, offers).misses
