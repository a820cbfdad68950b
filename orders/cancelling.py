"""A mall changes its mind before goods are shipped: lines are cancelled whole, or some units of them. What no vendor
was asked for is given back at once; what a vendor has or may have waits for the vendor's word. Each function runs
inside the caller's transaction and either does all it says or raises and does nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import asyncpg

from catalog import api as catalog
from hub.kernel import tasks
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, Rejected
from orders import outcomes, store
from orders.book import Book, Line, Po, open_book
from orders.contracts import LineReduced
from orders.lifecycle import LineStatus, PoStatus, finished
from orders.models import OrderView
from orders.service import show
from orders.vendors import can_place


async def cancel(
    tx: Tx,
    mall_id: int,
    order_id: uuid.UUID,
    line_nos: Sequence[int] | None = None,
    keep: Mapping[int, int] | None = None,
) -> OrderView:
    """Cancel lines (all unfinished ones when none is named) before they are shipped; codes, even when they were
    revealed, if their vendor allows it.

    What no vendor was asked for is cancelled at once; what a vendor has or may have is `cancelling` until the vendor
    said so. `keep` says how many units of a line stay: the others are given back as long as its vendor was not asked
    for them. Cancelling again changes nothing. Raises Conflict when a line has shipped, or when only some lines of
    a purchase order are named that its vendor already has."""
    book = await open_book(tx, order_id, mall_id)
    line_nos = await _reduce(tx, book, line_nos, keep or {})
    lines = list(book.lines.values()) if line_nos is None else book.by_number(line_nos)
    lines = [line for line in lines if line.status not in _CANCELLED_ALREADY]
    if line_nos is None and any(not finished(line.status) for line in lines):
        lines = [line for line in lines if not finished(line.status)]
    if gone := [line.line_no for line in lines if line.status in _TOO_LATE]:
        raise Conflict(
            f"line {gone[0]} can no longer be cancelled",
            code="too_late_to_cancel",
            facts={"lines": gone, "cancellable": [line.line_no for line in lines if line.line_no not in gone]},
        )
    if moving := [line.line_no for line in lines if line.slot_id is not None and await store.open_move(tx, line.id)]:
        raise Conflict(
            f"the appointment of line {moving[0]} is being moved; try again in a moment",
            code="being_moved",
            facts={"lines": moving},
        )
    asked_of_vendor = {line.id for line in lines if line.po_id and line.status is not LineStatus.REROUTING}
    at_once = [line for line in lines if line.id not in asked_of_vendor]
    for po in book.pos.values():
        mine = [line for line in book.on(po) if line.id in asked_of_vendor]
        if mine and await _cancel_on(tx, book, po, mine):
            at_once += mine
    await outcomes.cancel_lines(tx, book, at_once)
    await book.save(tx)
    return show(book)


_CANCELLED_ALREADY = (LineStatus.CANCELLED, LineStatus.CANCELLING)
_TOO_LATE = (LineStatus.SHIPPED, LineStatus.DELIVERED, LineStatus.RETURNED, LineStatus.EXPIRED, LineStatus.UNSUPPLIED)


async def _cancel_on(tx: Tx, book: Book, po: Po, lines: list[Line]) -> bool:
    """Cancel `lines` of one purchase order; True when that needs no word of its vendor."""
    attempt = await store.open_attempt(tx, po.id)
    whole = len(lines) == len(book.on(po))
    if _not_asked(po, attempt):
        await store.remove_po_lines(tx, po.id, [line.id for line in lines])
        if whole:
            po.move("cancel")
            if attempt is not None:
                await store.drop_attempt(tx, attempt["id"], "cancelled")
        return True
    if not whole:
        together = [line.line_no for line in book.on(po)]
        raise Conflict(
            f"the vendor already has lines {together} as one purchase order; cancel all of them or none",
            code="cancel_together",
            facts={"lines": together},
        )
    if po.recall is not None:
        po.recall = None  # it is being cancelled there already; now its lines go nowhere else
    else:
        po.move("ask_cancel")
    for line in lines:
        line.move("ask_cancel")
    if attempt is None:
        if not await can_place(tx, po.connection_id):
            return False  # the vendor sees it in the portal and answers there
        await store.add_attempts(tx, [po.id], "cancel", tx.now)
    else:
        await store.hasten_attempt(tx, attempt["id"])
    tx.wake(tasks.PLACE)
    return False


async def _reduce(tx: Tx, book: Book, line_nos: Sequence[int] | None, keep: Mapping[int, int]) -> Sequence[int] | None:
    """Give back the units beyond `keep`; returns the lines that are to be cancelled whole."""
    if not keep:
        return line_nos
    whole = list(line_nos or ())
    for line in book.by_number(keep):
        wanted = keep[line.line_no]
        if wanted == 0:
            whole.append(line.line_no)
        elif wanted > line.quantity:
            at = f"line {line.line_no} has only {line.quantity} units"
            raise Rejected(at, code="invalid", faults=(Fault("/lines", at),))
        elif wanted < line.quantity:
            await _give_back(tx, book, line, line.quantity - wanted)
    return whole


async def _give_back(tx: Tx, book: Book, line: Line, units: int) -> None:
    po = book.pos[line.po_id] if line.po_id is not None else None
    if line.status is LineStatus.RESERVED and line.vendor_key is not None:
        raise _whole_only(line, "the vendor holds it for us as a whole")
    if line.status not in (LineStatus.RESERVED, LineStatus.PLACED, LineStatus.REROUTING):
        raise _whole_only(line, f"it is {line.status.value}")
    if line.status is LineStatus.PLACED and (po is None or not _not_asked(po, await store.open_attempt(tx, po.id))):
        raise _whole_only(line, "the vendor was asked for it")
    if line.hold_id is not None and line.hold_id not in await catalog.shrink(tx, {line.hold_id: units}):
        raise RuntimeError("a line's hold keeps less than the line wants")
    line.quantity -= units
    line.cancelled_quantity += units
    on_po = line.po_id if line.status is LineStatus.PLACED else None
    await store.reduce_line(tx, line.id, on_po, line.quantity, line.cancelled_quantity)
    tx.emit(
        LineReduced(
            order_id=book.order.id,
            mall_id=book.order.mall_id,
            line_id=line.id,
            quantity=line.quantity,
            cancelled=line.cancelled_quantity,
        )
    )


def _whole_only(line: Line, why: str) -> Conflict:
    return Conflict(
        f"line {line.line_no} can only be cancelled as a whole: {why}",
        code="whole_line_only",
        facts={"line_no": line.line_no, "qty": line.quantity, "status": line.status.value},
    )


def _not_asked(po: Po, attempt: asyncpg.Record | None) -> bool:
    """Whether the vendor of `po` has not decided and no call is or was under way: its open attempt is only due."""
    undecided = po.can("cancel") and po.status is not PoStatus.CANCELLING
    return undecided and (attempt is None or attempt["state"] == "due")
