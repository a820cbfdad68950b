"""A mall moves an appointment to another time of the same service: hold the new one, book it, then let the old one go
(see `moves`). A reservation, which nobody has booked yet, simply changes places."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import Field

from catalog import api as catalog
from catalog.contracts import ReserveLine, SlotOffer
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, Rejected
from hub.kernel.failpoints import failpoint
from hub.kernel.types import Input, Price, public_id, uuid7
from orders import holding, issuing, store
from orders.book import Book, Line, Po, open_book
from orders.holding import Kept, Wanted
from orders.lifecycle import LineStatus, PoStatus, WrongState
from orders.models import SlotId
from orders.numbers import po_number
from orders.vendors import can_hold_slots


class RescheduleIn(Input):
    """Which line goes to which time. A dearer time is taken only up to `max_price`."""

    line_no: Annotated[int, Field(ge=1, le=200, strict=True)]
    slot_id: SlotId
    max_price: Price | None = None


async def reschedule(tx: Tx, mall_id: int, order_id: uuid.UUID, asked: RescheduleIn, kept: Kept | None) -> Book:
    """Move one line's appointment; asking again for the same time changes nothing. Raises Outside when the vendor must
    hold the new time first, NotFound, Rejected (no appointment, another service), Conflict (taken, with alternatives;
    dearer; being moved elsewhere; not booked yet or over)."""
    book = await open_book(tx, order_id, mall_id)
    [line] = book.by_number([asked.line_no])
    if line.slot_id is None:
        raise Rejected(f"line {line.line_no} is no appointment", code="no_appointment")
    move = await store.open_move(tx, line.id)
    if (move["slot_id"] if move is not None else line.slot_id) == asked.slot_id:
        return book
    if move is not None:
        raise Conflict("this appointment is being moved already; try again in a moment", code="being_moved")
    if line.status not in (LineStatus.RESERVED, LineStatus.ACCEPTED):
        raise WrongState(
            f"this appointment is {line.status.value} and cannot be moved",
            code="wrong_state",
            facts={"status": line.status.value, "event": "reschedule"},
        )
    slot = await _slot(tx, mall_id, line, asked)
    hold_id = await _reserved(tx, mall_id, line, slot)
    key = None
    if await can_hold_slots(tx, line.connection_id):
        place = (line.connection_id, slot.location)
        key = kept.keys.get(place) if kept is not None else None
        if key is None:
            ttl = holding.PLACE_S
            waits = [at for at in (book.order.reserved_until, book.order.held_until) if at is not None]
            if waits and line.status is LineStatus.RESERVED:
                ttl = (max(waits) - tx.now).total_seconds() + holding.MARGIN_S
            wanted = Wanted(place, line.listing_id, line.product_id, line.line_no, slot.slot_id, slot.start, ())
            raise holding.outside(mall_id, f"{book.order.mall_order_no}#{line.line_no}", [wanted], {}, ttl)
    if line.status is LineStatus.RESERVED:
        await _change_places(tx, line, slot, hold_id, key)
    else:
        await _rebook(tx, book, line, slot, hold_id, key)
    if key is not None:
        await holding.bind_keys(tx, order_id, {key})
    failpoint("orders.move_recorded")
    await book.save(tx)
    return book


async def _slot(tx: Tx, mall_id: int, line: Line, asked: RescheduleIn) -> SlotOffer:
    found = await catalog.slots_for(tx, mall_id, [asked.slot_id])
    if not found:
        raise Rejected("there is no such time on offer", code="unknown_slot", faults=(Fault("/slot_id", "unknown"),))
    [slot] = found
    if slot.offer.listing_id != line.listing_id:
        detail = "it is another service; cancel this appointment and order that one"
        raise Rejected(detail, code="other_service", faults=(Fault("/slot_id", detail),))
    if slot.offer.held_by_parity:
        raise Conflict("this mall's parity policy holds this service", code="held_by_parity")
    if (blocked := slot.offer.blocked_by_parity) is not None:
        raise Conflict(
            f"this mall's parity policy blocks this service: {blocked}",
            code="blocked_by_parity",
            facts={"blocked": blocked},
        )
    if not slot.free or not slot.offer.fresh:
        raise await _taken(tx, mall_id, line, slot)
    most = max(price for price in (line.unit_price, line.max_price, asked.max_price) if price is not None)
    if slot.offer.price > most:
        raise Conflict(
            "the new time costs more than the old one",
            code="price_changed",
            faults=(Fault("/max_price", "the price is above it"),),
            facts={"price": str(slot.offer.price), "currency": slot.offer.currency, "max_price": str(most)},
        )
    return slot


async def _taken(tx: Tx, mall_id: int, line: Line, slot: SlotOffer) -> Conflict:
    product_id, why = slot.offer.product_id, "somebody else has it"
    taken = await holding.slot_taken(tx, mall_id, line.line_no, slot.slot_id, product_id, slot.start, why)
    taken.faults = (Fault("/slot_id", "no longer free"),)
    return taken


async def _reserved(tx: Tx, mall_id: int, line: Line, slot: SlotOffer) -> uuid.UUID:
    wish = ReserveLine(hold_id=uuid7(), listing_id=line.listing_id, quantity=1, location=slot.location)
    try:
        await catalog.reserve(tx, [wish])
    except Conflict:
        raise await _taken(tx, mall_id, line, slot) from None
    return wish.hold_id


async def _change_places(tx: Tx, line: Line, slot: SlotOffer, hold_id: uuid.UUID, key: str | None) -> None:
    if line.hold_id is not None:
        await catalog.release(tx, [line.hold_id])
    line.slot_id, line.slot_ref, line.slot_version = slot.slot_id, slot.location, slot.version
    line.slot_start, line.slot_end = slot.start, slot.end
    line.hold_id, line.vendor_key, line.unit_price = hold_id, key, slot.offer.price
    await store.save_slot(tx, line)


async def _rebook(tx: Tx, book: Book, line: Line, slot: SlotOffer, hold_id: uuid.UUID, key: str | None) -> None:
    """Book the new time beside the old one; what follows is decided by the vendor's answer."""
    old = book.pos[line.po_id] if line.po_id is not None else None
    if old is None or old.status is not PoStatus.ACCEPTED or len(book.on(old)) != 1:
        together = [] if old is None else [other.line_no for other in book.on(old)]
        raise Conflict(
            "the vendor booked this appointment together with others; cancel and order anew",
            code="booked_together",
            facts={"purchase_order": None if old is None else public_id("po", old.id), "lines": together},
        )
    po = Po(
        id=uuid7(),
        number=key or po_number(),
        order_id=book.order.id,
        mall_id=book.order.mall_id,
        vendor_id=line.vendor_id,
        vendor_name=line.vendor_name,
        connection_id=line.connection_id,
        sequence=1 + max(known.sequence for known in book.pos.values()),
        status=PoStatus.QUEUED,
        vendor_order_no=None,
        created_at=tx.now,
        accepted_at=None,
        reason=None,
        attention=None,
        ever_unknown=False,
        moving_line_id=line.id,
    )
    await store.add_moving_po(tx, po, line.id, slot, slot.offer.price)
    await store.add_move(
        tx,
        po_id=po.id,
        old_po_id=old.id,
        line_id=line.id,
        slot_id=slot.slot_id,
        slot_ref=slot.location,
        slot_version=slot.version,
        slot_start=slot.start,
        slot_end=slot.end,
        unit_price=slot.offer.price,
        hold_id=hold_id,
        vendor_key=key,
    )
    book.add_po(po)
    await issuing.dispatch(tx, book, [po])
