"""One order with its lines and purchase orders, read under the order's lock, changed in memory and written back
in a few set-based statements. Every change of a status goes through `lifecycle.move`; the order's own status is
derived from its lines when the book is saved. Callers hold an open transaction and commit nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from hub.kernel.errors import NotFound
from orders import lifecycle, store
from orders.lifecycle import LineStatus, OrderStatus, PoStatus


@dataclass(slots=True)
class Line:
    """One order line; from `listing_id` on, the offer that serves it now."""

    id: uuid.UUID
    line_no: int
    status: LineStatus
    quantity: int
    asked_listing_id: int | None
    max_price: Decimal | None
    max_currency: str | None
    agreed_price: Decimal
    product_id: int
    listing_id: int
    vendor_id: int
    vendor_name: str
    connection_id: int
    vendor_sku: str
    vendor_ref: str | None
    unit_price: Decimal
    currency: str
    title: str
    kind: str
    mode: str
    category: str | None
    city: str | None
    slot_id: int | None
    slot_ref: str | None
    slot_version: str | None
    slot_start: datetime | None
    slot_end: datetime | None
    hold_id: uuid.UUID | None
    po_id: uuid.UUID | None
    first_po_id: uuid.UUID | None = None
    first_outcome: str | None = None
    vendor_key: str | None = None  # what its vendor holds for it
    split_from: uuid.UUID | None = None
    routing: str | None = None  # why this offer was chosen, as JSON; kept when the line is made
    cancelled_quantity: int = 0  # units that were ordered and are not wanted any more, beside `quantity`

    def move(self, event: str) -> None:
        self.status = lifecycle.move(self.status, event)


@dataclass(slots=True)
class Po:
    """One purchase order."""

    id: uuid.UUID
    number: str
    order_id: uuid.UUID
    mall_id: int
    vendor_id: int
    vendor_name: str
    connection_id: int
    sequence: int
    status: PoStatus
    vendor_order_no: str | None
    created_at: datetime
    accepted_at: datetime | None
    reason: str | None
    attention: str | None
    ever_unknown: bool
    recall: str | None = None  # why we take it back, for its lines to go elsewhere
    moving_line_id: uuid.UUID | None = None  # it books this line's appointment anew

    def move(self, event: str) -> None:
        self.status = lifecycle.move(self.status, event)

    def can(self, event: str) -> bool:
        return lifecycle.can(self.status, event)


@dataclass(slots=True)
class Order:
    """The order's own row, without the address unless it was read for a view."""

    id: uuid.UUID
    mall_id: int
    mall_order_no: str
    status: OrderStatus
    mode: str
    ship_to: bytes
    currency: str
    total: Decimal
    created_at: datetime
    reserved_until: datetime | None
    placed_at: datetime | None
    due_at: datetime | None
    held_until: datetime | None = None  # it waits for a review until then, and no vendor has it
    reason: str | None = None  # why a review refused it


_LINE = {f.name for f in fields(Line)} - {"routing"}
_PO = {f.name for f in fields(Po)}
_ORDER = {f.name for f in fields(Order)}


def line_of(row: asyncpg.Record) -> Line:
    values = {name: row[name] for name in _LINE}
    return Line(**{**values, "status": LineStatus(values["status"])})


def po_of(row: asyncpg.Record) -> Po:
    values = {name: row[name] for name in _PO}
    return Po(**{**values, "status": PoStatus(values["status"])})


def order_of(row: asyncpg.Record) -> Order:
    values = {name: row[name] for name in _ORDER}
    return Order(**{**values, "status": OrderStatus(values["status"])})


class Book:
    """An order, its lines and its purchase orders."""

    def __init__(self, order: Order, lines: Iterable[Line], pos: Iterable[Po]) -> None:
        self.order = order
        self.lines = {line.id: line for line in lines}
        self.pos = {po.id: po for po in pos}
        self._seen = self._snapshot()

    def _snapshot(self) -> dict[uuid.UUID, tuple[Any, ...]]:
        lines = {line.id: _saved(line, store.SAVED_LINE) for line in self.lines.values()}
        return lines | {po.id: _saved(po, store.SAVED_PO) for po in self.pos.values()}

    def on(self, po: Po) -> list[Line]:
        """The unfinished lines that `po` carries now, in line order."""
        return [line for line in self.lines.values() if line.po_id == po.id and not lifecycle.terminal(line.status)]

    def by_number(self, line_nos: Iterable[int]) -> list[Line]:
        """Lines by their numbers; raises NotFound for one that the order does not have."""
        numbered = {line.line_no: line for line in self.lines.values()}
        wanted = list(dict.fromkeys(line_nos))
        if unknown := [no for no in wanted if no not in numbered]:
            raise NotFound(f"the order has no line {unknown[0]}", code="no_line", facts={"lines": unknown})
        return [numbered[no] for no in wanted]

    def add_po(self, po: Po) -> None:
        """Take up a purchase order that is already written."""
        self.pos[po.id] = po
        self._seen[po.id] = _saved(po, store.SAVED_PO)

    def add_line(self, line: Line) -> None:
        """Take up a line that is already written."""
        self.lines[line.id] = line
        self._seen[line.id] = _saved(line, store.SAVED_LINE)

    async def save(self, tx: Tx) -> None:
        """Write what changed, and bring the order's status and total in step with its lines."""
        lines = [line for line in self.lines.values() if _saved(line, store.SAVED_LINE) != self._seen[line.id]]
        if lines:
            await store.save_lines(tx, lines)
        pos = [po for po in self.pos.values() if _saved(po, store.SAVED_PO) != self._seen[po.id]]
        if pos:
            await store.save_pos(tx, pos)
        await self._settle(tx)
        self._seen = self._snapshot()

    async def _settle(self, tx: Tx) -> None:
        order = self.order
        status = order.status
        if order.placed_at is not None and not lifecycle.terminal(status):
            status = lifecycle.move(status, lifecycle.order_event([line.status for line in self.lines.values()]))
        elif all(line.status is LineStatus.CANCELLED for line in self.lines.values()):
            status = OrderStatus.CANCELLED
        total = total_of(self.lines.values())
        if (status, total) != (order.status, order.total):
            order.status, order.total = status, total
            await store.save_order(tx, order.id, status.value, total)


def _saved(thing: Line | Po, columns: Sequence[tuple[str, str]]) -> tuple[Any, ...]:
    return tuple(getattr(thing, name) for name, _ in columns)


_UNPAID = (LineStatus.RETURNED, LineStatus.CANCELLED, LineStatus.EXPIRED, LineStatus.UNSUPPLIED)


def total_of(lines: Iterable[Line]) -> Decimal:
    """What the order costs: the lines that are not cancelled, returned whole, expired or
    unsupplied."""
    return sum((line.unit_price * line.quantity for line in lines if line.status not in _UNPAID), Decimal(0))


async def open_book(tx: Tx, order_id: uuid.UUID, mall_id: int | None = None) -> Book:
    """The order under its lock. Raises NotFound when there is none, or when `mall_id` is another mall's."""
    row = await store.lock_order(tx, order_id)
    return await _filled(tx, row, order_id, mall_id)


async def read_book(tx: Tx, order_id: uuid.UUID, mall_id: int) -> Book:
    """The order as it is, without locking it; NotFound as in `open_book`."""
    row = await store.order_row(tx, order_id)
    return await _filled(tx, row, order_id, mall_id)


async def _filled(tx: Tx, row: asyncpg.Record | None, order_id: uuid.UUID, mall_id: int | None) -> Book:
    if row is None or mall_id not in (None, row["mall_id"]):
        raise NotFound("there is no such order", code="no_order")
    return (await books_of(tx, [order_of(row)]))[0]


async def books_of(tx: Tx, found: Sequence[Order]) -> list[Book]:
    """Orders that were already read, with their lines and purchase orders, in the same sequence."""
    ids = [order.id for order in found]
    lines: dict[uuid.UUID, list[Line]] = {order_id: [] for order_id in ids}
    pos: dict[uuid.UUID, list[Po]] = {order_id: [] for order_id in ids}
    for row in await store.lines_of(tx, ids):
        lines[row["order_id"]].append(line_of(row))
    for row in await store.pos_of(tx, ids):
        pos[row["order_id"]].append(po_of(row))
    return [Book(order, lines[order.id], pos[order.id]) for order in found]
