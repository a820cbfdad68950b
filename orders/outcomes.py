"""What a vendor's word does to an order, whichever way it came: as the answer to a call, in the portal, or by
push. Each function changes the book under its lock, tells the shelf and emits the event; the caller saves the
book. Nothing here calls a vendor."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from catalog import api as catalog
from connectors.contracts import ReceiptLine
from hub.kernel.db import Tx
from hub.kernel.types import DeliveryMode
from orders import moves, partial, store
from orders.book import Book, Line, Po
from orders.contracts import OrderCancelled, VendorAccepted, VendorRefused
from orders.lifecycle import LineStatus, PoStatus


async def accept(
    tx: Tx,
    book: Book,
    po: Po,
    vendor_order_no: str | None,
    accepted_at: datetime | None,
    terms: Sequence[ReceiptLine] = (),
) -> None:
    """The vendor took `po`, at its own time `accepted_at` when it said one. While a cancellation waits, only the
    vendor's number is kept: the order is then cancelled there.

    `terms` are lines that it takes otherwise than asked: of fewer units the rest goes to the next offer; a lower price
    counts, as does a higher one within the line's `max_price`; beyond that the order is taken back from it."""
    po.vendor_order_no = vendor_order_no or po.vendor_order_no
    taken = [line for line in book.on(po) if not any(t.line_no == line.line_no and t.quantity == 0 for t in terms)]
    if terms and not taken and po.moving_line_id is None:
        await refuse(tx, book, po, "the vendor takes none of it", out_of_stock=True)
        return
    if (dear := partial.too_dear(book.on(po), terms)) is not None:
        await recall(tx, book, po, dear)
        return
    if po.recall is not None:  # it was to be taken back for want of an answer, and here the answer is
        po.recall = None
        po.move("keep")
    else:
        po.move("accept")
    if po.status is PoStatus.ACCEPTED:
        await _shortened(tx, book, po, terms)
    po.attention = None
    if po.status is PoStatus.ACCEPTED:
        await _taken(tx, book, po, accepted_at)


async def _shortened(tx: Tx, book: Book, po: Po, terms: Sequence[ReceiptLine]) -> None:
    """Take over the vendor's terms; what it does not take looks for the next offer."""
    short = await partial.apply(tx, book, po, terms)
    if not short:
        return
    await _stop_selling(tx, short)
    tx.emit(
        VendorRefused(
            po_id=po.id,
            order_id=book.order.id,
            out_of_stock=True,
            reason="the vendor took fewer units",
            stock_line_ids=tuple(line.id for line in short),
        )
    )


async def recall(tx: Tx, book: Book, po: Po, reason: str) -> None:
    """Take `po` back from a vendor that has or may have it; once it is cancelled there, its lines go elsewhere."""
    if not po.can("ask_cancel") and po.status is not PoStatus.CANCELLING:
        await refuse(tx, book, po, reason)  # only the portal has it, and nothing was promised there
        return
    if po.status is not PoStatus.CANCELLING:
        po.move("ask_cancel")
        po.recall = reason[:500]


async def _taken(tx: Tx, book: Book, po: Po, accepted_at: datetime | None) -> None:
    # A vendor's clock may be wrong; the shelf compares this time with the vendor's reports, so it stays in bounds.
    accepted_at = min(max(accepted_at or tx.now, po.created_at), tx.now)
    if po.moving_line_id is not None and await moves.arrived(tx, book, po, accepted_at):
        return
    po.accepted_at = accepted_at
    lines = [line for line in book.on(po) if line.status is not LineStatus.REROUTING]
    for line in lines:
        if line.status is not LineStatus.ACCEPTED:
            line.move("accept")
        if line.first_po_id == po.id:
            line.first_outcome = "accepted"
    await catalog.accept(tx, _holds(lines), po.accepted_at)
    tx.emit(
        VendorAccepted(
            po_id=po.id,
            order_id=book.order.id,
            mall_id=book.order.mall_id,
            vendor_id=po.vendor_id,
            accepted_at=po.accepted_at,
        )
    )


async def refuse(
    tx: Tx,
    book: Book,
    po: Po,
    reason: str,
    *,
    out_of_stock: bool = False,
    skus: Iterable[str] = (),
    withdrawn: bool = False,
) -> None:
    """The vendor refused `po`, or (`withdrawn`) cancelled it after accepting. Its lines let go of their stock and
    look for the next offer. When the vendor names only some SKUs as out of stock, the other lines keep their
    hold and are asked for again there, in a new purchase order."""
    event = "withdraw" if withdrawn else "refuse"
    if po.status is PoStatus.CANCELLING:
        await cancelled(tx, book, po, event)
        return
    if po.moving_line_id is not None and await moves.failed(tx, po, event, reason, out_of_stock=out_of_stock):
        return
    po.move(event)
    po.reason, po.attention = reason[:500], None
    lines = book.on(po)
    named_skus = frozenset(skus)
    named = [line for line in lines if line.vendor_sku in named_skus]
    short = named or (lines if out_of_stock else [])
    partial = bool(named) and not withdrawn and len(named) < len(lines)
    leaving = short if partial else lines
    for line in lines:
        line.move("refuse")
        if line.first_po_id == po.id:
            if line not in leaving:
                line.first_po_id = None  # its first vendor has not decided about this line yet
            elif line in short:
                line.first_outcome = "out_of_stock"
            else:
                line.first_outcome = "cancelled" if withdrawn else "refused"
    await _let_go(tx, leaving)
    await _stop_selling(tx, short)
    tx.emit(
        VendorRefused(
            po_id=po.id,
            order_id=book.order.id,
            out_of_stock=bool(short),
            reason=po.reason,
            stock_line_ids=tuple(line.id for line in short),
        )
    )


async def _stop_selling(tx: Tx, lines: list[Line]) -> None:
    """What a vendor refused for want of stock is not sold again before its next report: that one slot, or the
    listing at every location, since the vendor spoke of the whole."""
    places = {(line.listing_id, line.slot_ref) for line in lines if line.slot_ref is not None}
    listings = sorted({line.listing_id for line in lines if line.slot_ref is None})
    if listings:
        shelves = await catalog.available(tx, listings)
        places |= {(shelf.listing_id, shelf.location) for rows in shelves.values() for shelf in rows}
    for listing_id, location in sorted(places):
        await catalog.refuse(tx, listing_id, location)


async def cancelled(tx: Tx, book: Book, po: Po, event: str = "cancel") -> None:
    """The mall's cancellation of `po` has taken effect (`event` says how: cancel, absent, refuse, withdraw)."""
    po.move(event)
    po.attention = None
    if po.recall is not None:
        await _leave(tx, book, po, po.recall)
    elif lines := book.on(po):
        await cancel_lines(tx, book, lines)
    else:
        await moves.left(tx, po)


async def _leave(tx: Tx, book: Book, po: Po, reason: str) -> None:
    """`po` was taken back: its lines look for the next offer."""
    po.reason = reason
    lines = book.on(po)
    for line in lines:
        line.move("refuse")
        if line.first_po_id == po.id:
            line.first_outcome = "refused"
    await _let_go(tx, lines)
    tx.emit(VendorRefused(po_id=po.id, order_id=book.order.id, out_of_stock=False, reason=reason))


async def cancel_lines(tx: Tx, book: Book, lines: list[Line]) -> None:
    """Cancel `lines` for the mall and give back their stock."""
    if not lines:
        return
    for line in lines:
        line.move("cancel")
    await _let_go(tx, lines)
    tx.emit(OrderCancelled(order_id=book.order.id, mall_id=book.order.mall_id, line_ids=[line.id for line in lines]))


async def keep(tx: Tx, book: Book, po: Po, reason: str) -> None:
    """The vendor will not cancel: the purchase order goes on as accepted."""
    po.move("keep")
    po.reason = reason[:500]
    po.attention = None
    if po.recall is not None:
        po.attention = f"to be taken back ({po.recall}), and the vendor will not cancel: {reason}"[:500]
        po.recall = None
        await _taken(tx, book, po, None)
        return
    if po.accepted_at is None:
        await _taken(tx, book, po, None)
        return
    lines = book.on(po)
    if not lines:
        po.attention = f"the appointment that was left could not be cancelled: {reason}"[:500]
    seen = await store.revealed_lines(tx, [line.id for line in lines if line.mode == DeliveryMode.CODE])
    for line in lines:
        line.move("reveal" if line.id in seen else "accept")


async def shipped(tx: Tx, book: Book, po: Po) -> None:
    """The goods of `po` left the vendor. A vendor that ships has accepted; saying it again changes nothing."""
    if po.can("accept") and po.status is not PoStatus.CANCELLING:
        await accept(tx, book, po, None, None)
    if po.can("ship"):
        if po.status is PoStatus.CANCELLING and po.accepted_at is None:
            await keep(tx, book, po, "the vendor had already shipped")
        po.move("ship")
        for line in book.on(po):
            line.move("ship")


async def delivered(tx: Tx, book: Book, po: Po) -> None:
    """Everything that `po` carries reached the buyer. Saying it again changes nothing."""
    await shipped(tx, book, po)
    if po.can("deliver"):
        po.move("deliver")
        for line in book.on(po):
            line.move("deliver")


def _holds(lines: Iterable[Line]) -> list[uuid.UUID]:
    return sorted(line.hold_id for line in lines if line.hold_id is not None)


async def _let_go(tx: Tx, lines: list[Line]) -> None:
    if holds := _holds(lines):
        await catalog.release(tx, holds)
    for line in lines:
        line.hold_id = None
