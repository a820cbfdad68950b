"""A vendor accepts otherwise than asked: fewer units, another price. Units always add up: what it does not take becomes
a line of its own, which goes to the next offer like any refused line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from catalog import api as catalog
from connectors.contracts import ReceiptLine
from hub.kernel.db import Tx
from hub.kernel.types import uuid7
from orders import store
from orders.book import Book, Line, Po
from orders.lifecycle import LineStatus


def too_dear(lines: Sequence[Line], terms: Sequence[ReceiptLine]) -> str | None:
    """Why the vendor's prices cannot be accepted, if so: one is above the agreed price and the line's ceiling."""
    by_no = {line.line_no: line for line in lines}
    for term in terms:
        line = by_no.get(term.line_no)
        if line is None or term.unit_price is None or term.unit_price <= line.unit_price or term.quantity == 0:
            continue
        if line.max_price is None or term.unit_price > line.max_price:
            return f"the vendor wants {term.unit_price} instead of {line.unit_price} for line {line.line_no}"
    return None


async def apply(tx: Tx, book: Book, po: Po, terms: Sequence[ReceiptLine]) -> list[Line]:
    """Write the vendor's terms into the lines of `po`; returns the lines that it left without stock: split off, or
    whole. The caller emits what follows."""
    by_no = {line.line_no: line for line in book.on(po)}
    short: list[Line] = []
    for term in sorted(terms, key=lambda t: t.line_no):
        line = by_no.get(term.line_no)
        if line is None:
            continue
        if term.unit_price is not None and term.quantity > 0:
            line.unit_price = term.unit_price
        if term.quantity == 0:
            short.append(await _not_taken(tx, po, line))
        elif term.quantity < line.quantity:
            short.append(await _split(tx, book, po, line, term.quantity))
    return short


async def _not_taken(tx: Tx, po: Po, line: Line) -> Line:
    line.move("refuse")
    if line.first_po_id == po.id:
        line.first_outcome = "out_of_stock"
    if line.hold_id is not None:
        await catalog.release(tx, [line.hold_id])
    line.hold_id = None
    await store.remove_po_lines(tx, po.id, [line.id])
    return line


async def _split(tx: Tx, book: Book, po: Po, line: Line, taken: int) -> Line:
    rest = replace(
        line,
        id=uuid7(),
        line_no=1 + max(other.line_no for other in book.lines.values()),
        status=LineStatus.REROUTING,
        quantity=line.quantity - taken,
        cancelled_quantity=0,
        hold_id=None,
        vendor_key=None,
        routing=None,
        first_outcome="out_of_stock" if line.first_po_id == po.id else line.first_outcome,
        split_from=line.id,
    )
    if line.hold_id is not None and line.hold_id not in await catalog.shrink(tx, {line.hold_id: rest.quantity}):
        raise RuntimeError("a line's hold keeps less than the line wants")
    line.quantity = taken
    await store.reduce_line(tx, line.id, po.id, taken, line.cancelled_quantity)
    await store.add_split_line(tx, book.order.id, book.order.mall_id, rest, po.id)
    book.add_line(rest)
    return rest
