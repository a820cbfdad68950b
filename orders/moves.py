"""An appointment on its way to another time. The line keeps its old booking until the vendor has accepted the new one;
then the line points at the new one and the old is cancelled. Whatever the vendor refuses, and whichever answer is lost,
the buyer has at least one of the two. Every function here changes a book under its lock, as in `outcomes`."""

from __future__ import annotations

import uuid
from datetime import datetime

import asyncpg

from catalog import api as catalog
from hub.kernel import tasks
from hub.kernel.db import Tx
from orders import store
from orders.book import Book, Line, Po
from orders.contracts import VendorAccepted
from orders.lifecycle import LineStatus
from orders.vendors import can_place


async def arrived(tx: Tx, book: Book, po: Po, accepted_at: datetime) -> bool:
    """The vendor accepted `po`. When it books a line's new time, the line moves there and the old appointment is
    cancelled; returns whether that was the matter."""
    move = await store.open_move_by(tx, po.id)
    if move is None:
        return False
    line, old = book.lines[move["line_id"]], book.pos[move["old_po_id"]]
    po.accepted_at = accepted_at
    if line.status is not LineStatus.ACCEPTED or line.po_id != old.id:
        # The old appointment took place, or was cancelled at the clinic and given up, before the new one was booked.
        await _ended(tx, move)
        await ask_cancel(tx, po)
        return True
    left_behind = line.hold_id
    _point_at(line, po, move)
    await store.save_slot(tx, line)
    await store.end_move(tx, po.id, "moved", left_behind)
    if line.hold_id is not None:
        await catalog.accept(tx, [line.hold_id], accepted_at)
    await ask_cancel(tx, old)
    tx.emit(
        VendorAccepted(
            po_id=po.id,
            order_id=book.order.id,
            mall_id=book.order.mall_id,
            vendor_id=po.vendor_id,
            accepted_at=old.accepted_at or accepted_at,  # booking confirmed: a change of mind is not the vendor's delay
        )
    )
    return True


async def failed(tx: Tx, po: Po, event: str, reason: str, *, out_of_stock: bool) -> bool:
    """The vendor refused `po`. When it was to book a new time, the line stays where it is; returns whether that was
    the matter."""
    move = await store.open_move_by(tx, po.id)
    if move is None:
        return False
    po.move(event)
    po.reason, po.attention = reason[:500], None
    listing_id = await _ended(tx, move)
    if out_of_stock and listing_id is not None:
        await catalog.refuse(tx, listing_id, move["slot_ref"])
    return True


async def take_over(tx: Tx, book: Book, line: Line) -> bool:
    """The vendor cancelled the appointment that `line` was about to leave: the new one is all that is left, so the
    line waits for that one like for any other."""
    move = await store.open_move(tx, line.id)
    if move is None:
        return False
    _point_at(line, book.pos[move["po_id"]], move)
    await store.save_slot(tx, line)
    await store.end_move(tx, move["po_id"], "moved", None)
    line.move("route")
    await book.save(tx)
    return True


async def left(tx: Tx, po: Po) -> None:
    """The appointment that a line left is gone at the vendor."""
    if holds := await store.holds_left_behind(tx, po.id):
        await catalog.release(tx, holds)


async def ask_cancel(tx: Tx, po: Po) -> None:
    """Have an appointment cancelled that no line needs."""
    po.move("ask_cancel")
    if await can_place(tx, po.connection_id):
        await store.add_attempts(tx, [po.id], "cancel", tx.now)
        tx.wake(tasks.PLACE)


async def _ended(tx: Tx, move: asyncpg.Record) -> int | None:
    """Close a move that came to nothing and free its slot; returns the listing."""
    await store.end_move(tx, move["po_id"], "failed", None)
    if move["hold_id"] is not None:
        await catalog.release(tx, [move["hold_id"]])
    return await store.listing_of_po(tx, move["po_id"])


def _point_at(line: Line, po: Po, move: asyncpg.Record) -> None:
    line.slot_id, line.slot_ref, line.slot_version = move["slot_id"], move["slot_ref"], move["slot_version"]
    line.slot_start, line.slot_end = move["slot_start"], move["slot_end"]
    line.unit_price, line.vendor_key = move["unit_price"], move["vendor_key"]
    line.hold_id = uuid.UUID(str(move["hold_id"])) if move["hold_id"] is not None else None
    if line.first_po_id == line.po_id:
        line.first_po_id = po.id  # the same vendor, asked once more: no fail-over
    line.po_id = po.id
