"""What other packages may use of orders: the handlers and tasks that the map wires, and what fulfilment must know
of lines and purchase orders. All but the tasks run inside the caller's transaction."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from connectors.contracts import OrderUpdate, ShipmentStatus
from hub.kernel.db import Tx
from hub.kernel.errors import NotFound
from orders import outcomes, review, store
from orders.allotted import Allotted, place_allotted
from orders.book import Book, Po, open_book
from orders.contracts import LineFacts, OrderStanding, PoRef, PoStanding
from orders.deadlines import overdue_acceptances
from orders.holding import let_go_due
from orders.issuing import on_refused, submit_to_vendors
from orders.lifecycle import PoStatus, move
from orders.placing import place_due
from orders.review import decide_overdue as decide_overdue_reviews
from orders.service import expire_reservations
from orders.settlement.reconciling import read_deliveries_with, reconcile_due
from orders.store import statements as books
from orders.weighing import note_on_time, refresh_standings

_LEFT_THE_VENDOR = frozenset(
    {
        ShipmentStatus.SHIPPED,
        ShipmentStatus.IN_TRANSIT,
        ShipmentStatus.OUT_FOR_DELIVERY,
        ShipmentStatus.DELIVERED,
    }
)


async def line_facts(tx: Tx, *, order_id: uuid.UUID | None = None, po_id: uuid.UUID | None = None) -> list[LineFacts]:
    """Placed lines of one order, or all lines that one purchase order ever carried (a line that failed over then
    names its new purchase order in `po_id`). Give exactly one of the two."""
    if (order_id is None) == (po_id is None):
        raise ValueError("give order_id or po_id")
    return [LineFacts(**dict(row)) for row in await store.facts(tx, order_id, po_id)]


async def standing(tx: Tx, order_id: uuid.UUID) -> OrderStanding | None:
    """Where an order stands at this moment; None when there is no such order."""
    order = await store.order_row(tx, order_id)
    if order is None:
        return None
    lines, pos = await store.lines_of(tx, [order_id]), await store.pos_of(tx, [order_id])
    return OrderStanding(
        order_id=order_id,
        mall_id=order["mall_id"],
        mall_order_no=order["mall_order_no"],
        status=order["status"],
        lines=tuple((line["line_no"], line["status"]) for line in lines),
        purchase_orders=tuple(
            PoStanding(
                po_id=po["id"], number=po["number"], vendor_id=po["vendor_id"], status=po["status"],
                issued_at=po["created_at"],
            )
            for po in pos
        ),
    )  # fmt: skip


async def find_po(
    tx: Tx,
    *,
    connection_id: int | None = None,
    po_number: str | None = None,
    vendor_order_no: str | None = None,
    po_id: uuid.UUID | None = None,
) -> PoRef | None:
    """The purchase order with the surest mark given (our id, then our number, then the vendor's number), or None. A
    vendor's number may be new to us while ours is known; alone it is meaningful within its connection only."""
    if po_number is None and po_id is None and (vendor_order_no is None or connection_id is None):
        return None
    row = await store.po_ref(tx, connection_id, po_number, vendor_order_no, po_id)
    return PoRef(**dict(row)) if row is not None else None


async def po_of_vendor(tx: Tx, vendor_id: int, po_id: uuid.UUID) -> PoRef | None:
    """The purchase order if it is this vendor's, else None."""
    found = await find_po(tx, po_id=po_id)
    return found if found is not None and found.vendor_id == vendor_id else None


async def on_order_update(tx: Tx, ref: PoRef, update: OrderUpdate) -> None:
    """A vendor's own news about a purchase order: goods that left or arrived, or a cancellation, which confirms the
    buyer's or sends the lines to the next offer. Old or repeated news changes nothing."""
    if update.status is not ShipmentStatus.CANCELLED and update.status not in _LEFT_THE_VENDOR:
        return
    async with _changing(tx, ref.po_id) as (book, po):
        po.vendor_order_no = po.vendor_order_no or update.vendor_order_no
        if update.status is ShipmentStatus.CANCELLED:
            await _cancelled_by_vendor(tx, book, po, update)
        else:
            await outcomes.shipped(tx, book, po)


async def _cancelled_by_vendor(tx: Tx, book: Book, po: Po, update: OrderUpdate) -> None:
    attempt = await store.open_attempt(tx, po.id)
    if attempt is not None and attempt["state"] == "calling":
        return  # the call in flight, or the question after it, brings the same news
    reason = f"the vendor cancelled it ({update.raw_status})"
    if po.can("withdraw"):
        await outcomes.refuse(tx, book, po, reason, withdrawn=True)
    elif po.status in (PoStatus.UNKNOWN, PoStatus.PENDING):
        await outcomes.refuse(tx, book, po, reason)
    else:
        return
    if attempt is not None:
        await store.drop_attempt(tx, attempt["id"], "the vendor cancelled it")


async def shipped(tx: Tx, po_id: uuid.UUID) -> None:
    """The goods of this purchase order left the vendor: from now on it cannot be cancelled. A vendor that ships has
    accepted. Saying it again changes nothing; raises WrongState for a refused or cancelled one."""
    async with _changing(tx, po_id) as (book, po):
        if po.status is not PoStatus.DELIVERED:
            _still_wanted(po, "ship")
            await outcomes.shipped(tx, book, po)


def _still_wanted(po: Po, event: str) -> None:
    if po.status in (PoStatus.REFUSED, PoStatus.WITHDRAWN, PoStatus.CANCELLED):
        move(po.status, event)  # raises


async def delivered(tx: Tx, po_id: uuid.UUID) -> None:
    """Everything of this purchase order reached the buyer. Saying it again changes nothing; raises as `shipped`."""
    async with _changing(tx, po_id) as (book, po):
        _still_wanted(po, "deliver")
        await outcomes.delivered(tx, book, po)


@contextlib.asynccontextmanager
async def _changing(tx: Tx, po_id: uuid.UUID) -> AsyncIterator[tuple[Book, Po]]:
    """The purchase order with its order locked, and saved afterwards. The caller has proved its right to it."""
    async with store.as_hub(tx):
        row = await store.po_row(tx, po_id)
        if row is None:
            raise NotFound("there is no such purchase order", code="no_purchase_order")
        book = await open_book(tx, row["order_id"])
        yield book, book.pos[po_id]
        await book.save(tx)


async def forget_old(tx: Tx) -> None:
    """Forget who ordered to where once no rule can ask any more."""
    await store.forget_marks(tx, review.KEEP_MARKS)


async def counts(tx: Tx) -> dict[str, int]:
    """Orders placed; split over several vendors from the start; with a line that failed over; with a line that no
    vendor could supply (`refused`)."""
    row = await store.counts(tx)
    return {name: int(row[name]) for name in ("placed", "split", "failed_over", "refused")}


async def attention(tx: Tx, limit: int = 100) -> list[dict[str, Any]]:
    """Purchase orders that a person should look at, oldest first, with the reason."""
    return [dict(row) for row in await store.needing_attention(tx, limit)]


async def invariants(tx: Tx) -> dict[str, bool]:
    """The promises that must hold at any moment, each true or false."""
    broken = await store.broken_promises(tx)
    return {
        "each_line_on_one_live_purchase_order": not broken["lines_without_one_live_po"]
        and not broken["lines_on_a_second_live_po"],
        "one_vendor_order_per_purchase_order": not broken["vendor_orders_shared"],
        "holds_match_lines": not broken["lines_without_their_hold"] and not broken["holds_shared"],
        "after_sales_within_their_lines": not broken["cases_beyond_their_line"],
        "due_at_is_72h_after_t0": not broken["wrong_due"],
        "statements_are_the_sum_of_their_lines": not await books.wrong_statements(tx),
    }


__all__ = [
    "Allotted", "attention", "counts", "decide_overdue_reviews", "delivered", "expire_reservations", "find_po",
    "forget_old", "invariants", "let_go_due", "line_facts", "note_on_time", "on_order_update", "on_refused",
    "overdue_acceptances", "place_allotted", "place_due", "po_of_vendor", "read_deliveries_with", "reconcile_due",
    "refresh_standings", "shipped", "submit_to_vendors",
]  # fmt: skip
