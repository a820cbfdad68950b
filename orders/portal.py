"""What a vendor does with its own purchase orders by hand. The vendor's right is checked first, under the second
wall as that vendor; only then does its word take effect on the buyer's order."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence

import asyncpg

from connectors.contracts import ReceiptLine
from hub.kernel import audit, secrets, tasks
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected
from hub.kernel.types import Money, public_id
from orders import outcomes, store
from orders.book import Book, Po, open_book
from orders.lifecycle import PoStatus, WrongState
from orders.models import AcceptLineIn, PoAnswer, ShipToView, VendorLineView, VendorOrderView

# A cancelled or refused purchase order no longer needs the buyer's address.
_NO_ADDRESS = frozenset({PoStatus.REFUSED, PoStatus.WITHDRAWN, PoStatus.CANCELLED})


async def page(
    tx: Tx, vendor_id: int, actor: str, after: uuid.UUID | None, limit: int
) -> tuple[list[VendorOrderView], uuid.UUID | None]:
    """Purchase orders of this vendor from old to new, and where the next page begins."""
    rows = await store.vendor_pos_after(tx, vendor_id, after, limit + 1)
    shown = rows[:limit]
    lines: dict[uuid.UUID, list[asyncpg.Record]] = {row["id"]: [] for row in shown}
    for line in await store.carried_lines(tx, list(lines)):
        lines[line["po_id"]].append(line)
    views = [_view(row, lines[row["id"]]) for row in shown]
    unmasked = [view.id for view in views if view.ship_to is not None]
    if unmasked:
        facts = {"reason": "the vendor delivers these purchase orders", "purchase_orders": unmasked}
        await audit.record(tx, actor, "ship_to.read", f"vendor:{vendor_id}", facts)
    return views, shown[-1]["id"] if len(rows) > limit else None


def _view(row: asyncpg.Record, lines: Sequence[asyncpg.Record]) -> VendorOrderView:
    ship_to = None
    if PoStatus(row["status"]) not in _NO_ADDRESS:
        ship_to = ShipToView(**secrets.decrypt_json(row["ship_to"], f"order:{row['order_id']}"))
    return VendorOrderView(
        id=public_id("po", row["id"]),
        number=row["number"],
        status=row["status"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        vendor_order_no=row["vendor_order_no"],
        accepted_at=row["accepted_at"],
        reason=row["reason"],
        ship_to=ship_to,
        lines=[
            VendorLineView(
                line_no=line["line_no"],
                sku=line["vendor_sku"],
                title=line["title"],
                qty=line["quantity"],
                unit_price=Money(amount=line["unit_price"], currency=line["currency"]),
                slot_ref=line["slot_ref"],
                slot_start=line["slot_start"],
                slot_end=line["slot_end"],
            )
            for line in lines
        ],
    )


async def accept(
    tx: Tx, vendor_id: int, po_id: uuid.UUID, vendor_order_no: str | None, lines: Sequence[AcceptLineIn] = ()
) -> PoAnswer:
    """The vendor takes the purchase order, some `lines` of it otherwise than asked. Accepting again changes
    nothing; WrongState when it is too late, or still on its way to the vendor's own system."""
    async with _own(tx, vendor_id, po_id) as (book, po):
        if po.status not in _TAKEN:
            await _decides(tx, po, "accept")
            terms = _terms(book, po, lines)
            await outcomes.accept(tx, book, po, vendor_order_no, tx.now, terms)
            if po.status is PoStatus.CANCELLING:  # its system has the order, at a price that the mall does not pay
                await store.add_attempts(tx, [po.id], "cancel", tx.now)
                tx.wake(tasks.PLACE)
    return _answer(po)


def _terms(book: Book, po: Po, lines: Sequence[AcceptLineIn]) -> list[ReceiptLine]:
    carried = {line.line_no: line for line in book.on(po)}
    terms: list[ReceiptLine] = []
    for n, given in enumerate(lines):
        line = carried.get(given.line_no)
        at = f"/lines/{n}"
        if line is None or any(term.line_no == given.line_no for term in terms):
            raise Rejected("name each line of this purchase order at most once", code="invalid",
                           faults=(Fault(f"{at}/line_no", "not on this purchase order, or named twice"),))  # fmt: skip
        if given.qty > line.quantity:
            raise Rejected(f"line {given.line_no} was asked for {line.quantity} units", code="invalid",
                           faults=(Fault(f"{at}/qty", f"at most {line.quantity}"),))  # fmt: skip
        terms.append(ReceiptLine(line_no=given.line_no, quantity=given.qty, unit_price=given.unit_price))
    return terms


async def reject(tx: Tx, vendor_id: int, po_id: uuid.UUID, reason: str, out_of_stock: bool) -> PoAnswer:
    """The vendor refuses the purchase order; its lines go to the next offer. Refusing again changes nothing."""
    async with _own(tx, vendor_id, po_id) as (book, po):
        if po.status is not PoStatus.REFUSED:
            await _decides(tx, po, "refuse")
            await outcomes.refuse(tx, book, po, reason, out_of_stock=out_of_stock)
    return _answer(po)


async def cancel(tx: Tx, vendor_id: int, po_id: uuid.UUID, reason: str, out_of_stock: bool) -> PoAnswer:
    """The vendor confirms the buyer's cancellation or, having accepted, withdraws; then the lines go to the next
    offer. Saying it again changes nothing."""
    async with _own(tx, vendor_id, po_id) as (book, po):
        if po.status is PoStatus.CANCELLING:
            await _no_call(tx, po)
            await outcomes.cancelled(tx, book, po)
        elif po.status not in (PoStatus.CANCELLED, PoStatus.WITHDRAWN):
            await outcomes.refuse(tx, book, po, reason, out_of_stock=out_of_stock, withdrawn=True)
    return _answer(po)


@contextlib.asynccontextmanager
async def _own(tx: Tx, vendor_id: int, po_id: uuid.UUID) -> AsyncIterator[tuple[Book, Po]]:
    """The order behind this vendor's purchase order, locked, and saved afterwards; NotFound for anybody else's."""
    row = await store.po_row(tx, po_id)
    if row is None or row["vendor_id"] != vendor_id:
        raise NotFound("there is no such purchase order", code="no_purchase_order")
    async with store.as_hub(tx):
        book = await open_book(tx, row["order_id"])
        yield book, book.pos[po_id]
        await book.save(tx)


async def _decides(tx: Tx, po: Po, event: str) -> None:
    """The vendor may decide by hand about what it has (or may have); not about what is still on its way."""
    if po.status not in _UNDECIDED:
        raise WrongState(
            f"this purchase order is {po.status.value} and cannot {event}",
            code="wrong_state",
            facts={"status": po.status.value, "event": event},
        )
    await _no_call(tx, po)


async def _no_call(tx: Tx, po: Po) -> None:
    """Close the open attempt of a purchase order whose vendor has spoken; Conflict while a call is in flight."""
    attempt = await store.open_attempt(tx, po.id)
    if attempt is None:
        return
    if attempt["state"] == "calling":
        raise Conflict("your system is being asked about this purchase order; try again in a moment", code="in_flight")
    await store.drop_attempt(tx, attempt["id"], "answered in the portal")


def _answer(po: Po) -> PoAnswer:
    return PoAnswer(id=public_id("po", po.id), number=po.number, status=po.status.value)


_TAKEN = (PoStatus.ACCEPTED, PoStatus.SHIPPED, PoStatus.DELIVERED)
_UNDECIDED = (PoStatus.AWAITING_VENDOR, PoStatus.PENDING, PoStatus.UNKNOWN)
