"""Vendors' own lists of our orders, taken in: uploaded by staff or vendor, or asked of a vendor's system. Each row is
matched to a purchase order by our number or the vendor's. One without a number that we know is quarantined, with
the row as it came (sealed, since it may name a recipient), until somebody matches or discards it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from connectors import api as connectors
from connectors.api import OrderRow
from connectors.contracts import Capability, ListedOrder
from connectors.protocol import ListsOrders
from hub.kernel import audit, secrets
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Conflict, NotFound
from hub.kernel.types import View, public_id
from orders import store
from orders.store import reconciling as kept
from orders.store import statements as books

NO_NUMBER = "the row has no order number"
UNKNOWN_NUMBER = "no purchase order of this vendor has this number"
AMBIGUOUS = "two purchase orders of this vendor have this number"


class RowResult(View):
    """What became of one row. `matched`: new, or it says something new; `unchanged`: as we had it; `quarantined`:
    it waits for a person, see `detail`; `discarded`: as somebody decided about the same row before."""

    row: int
    number: str | None
    result: str
    detail: str | None = None


@dataclass(slots=True)
class _Kept:
    """A row as the store keeps it."""

    mark: bytes
    ref: str
    other_ref: str | None
    sku: str
    po_id: UUID | None
    quantity: int | None
    amount: Decimal | None
    currency: str | None
    status: str
    raw_status: str | None
    tax_rate: Decimal | None
    tax_amount: Decimal | None
    state: str
    reason: str | None
    raw: bytes | None


class Intake:
    """One list on its way in. `begin`, then `take` piece by piece (each is durable when it returns), then `finish`."""

    def __init__(self, vendor_id: int, source: str, actor: str, tenant: str = HUB) -> None:
        self.vendor_id = vendor_id
        self.figures = {"rows": 0, "matched": 0, "unchanged": 0, "quarantined": 0, "discarded": 0, "gone": 0}
        self._source, self._actor, self._tenant = source, actor, tenant
        self._list_id = 0
        self._seen: dict[bytes, int] = {}

    async def begin(self) -> None:
        """Raises NotFound for an unknown vendor."""
        async with uow(self._tenant) as tx:
            await connectors.vendor_name(tx, self.vendor_id)
            self._list_id = await kept.begin_list(tx, self.vendor_id, self._source, self._actor)

    async def take(self, rows: Sequence[OrderRow]) -> list[RowResult]:
        """Keep rows; what became of each, in order."""
        async with uow(self._tenant) as tx:
            await books.take_turn(tx, "lists", f"vendor:{self.vendor_id}")  # two lists at once may name the same rows
            found = await _finder(tx, self.vendor_id, [row.order for row in rows if row.order is not None])
            made_rows = [self._kept(row, found) for row in rows]
            by_mark = {row.mark: row for row in made_rows}
            said = {
                r["mark"]: r for r in await kept.put_rows(tx, self.vendor_id, self._list_id, list(by_mark.values()))
            }
        results = []
        for row, made in zip(rows, made_rows, strict=True):
            state, changed = said[made.mark]["state"], said[made.mark]["changed"]
            result = "unchanged" if state == "matched" and not changed else state
            self.figures[result] += 1
            detail = said[made.mark]["reason"] if state != "matched" else None
            results.append(RowResult(row=row.number, number=made.ref or None, result=result, detail=detail))
        self.figures["rows"] += len(rows)
        return results

    async def finish(self, days: tuple[date, date] | None) -> dict[str, int]:
        """Close the list; with `days` it names every order of these days, so that what is missing is missing."""
        async with uow(self._tenant) as tx:
            self.figures["gone"] = await kept.finish_list(tx, self._list_id, days, self.figures)
        return self.figures

    def _kept(self, row: OrderRow, find: _Finder) -> _Kept:
        order = row.order or ListedOrder()
        ref, other = order.po_number or order.vendor_order_no or "", None
        if order.po_number and order.vendor_order_no:
            other = order.vendor_order_no
        sku = order.vendor_sku or ""
        po_id, reason = (None, row.reason) if row.order is None else find(ref, other)
        mark = _digest("row", ref, sku) if ref else _digest("raw", row.raw)
        first = self._seen.setdefault(mark, row.number)
        if first != row.number:
            po_id, reason = None, f"row {first} of this list is about the same order and article"
            mark = _digest("again", ref, sku, row.raw)
        return _Kept(
            mark=mark, ref=ref, other_ref=other, sku=sku, po_id=po_id,
            quantity=order.quantity, amount=order.amount, currency=order.currency, status=order.status.value,
            raw_status=order.raw_status, tax_rate=order.tax_rate, tax_amount=order.tax_amount,
            state="matched" if po_id is not None else "quarantined", reason=reason or None,
            raw=None if po_id is not None else _sealed(self.vendor_id, row.raw),
        )  # fmt: skip


class _Finder:
    """Which purchase order a number means."""

    def __init__(self, rows: Sequence[store.Row]) -> None:
        self._by_number = {row["number"]: row["id"] for row in rows}
        self._by_vendors: dict[str, set[UUID]] = {}
        for row in rows:
            if row["vendor_order_no"] is not None:
                self._by_vendors.setdefault(row["vendor_order_no"], set()).add(row["id"])

    def __call__(self, ref: str, other: str | None = None) -> tuple[UUID | None, str]:
        """The purchase order, or None and why."""
        if not ref:
            return None, NO_NUMBER
        for number in (ref, other):
            if number is None:
                continue
            if number in self._by_number:
                return self._by_number[number], ""
            meant = self._by_vendors.get(number, set())
            if len(meant) > 1:
                return None, AMBIGUOUS
            if meant:
                return next(iter(meant)), ""
        return None, UNKNOWN_NUMBER


async def _finder(tx: Tx, vendor_id: int, listed: Sequence[ListedOrder]) -> _Finder:
    numbers = {number for order in listed for number in (order.po_number, order.vendor_order_no) if number}
    return _Finder(await kept.pos_by_number(tx, vendor_id, sorted(numbers)))


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16).digest()


def _sealed(vendor_id: int, raw: str) -> bytes:
    return secrets.encrypt(raw.encode("utf-8", "replace"), _context(vendor_id))


def _context(vendor_id: int) -> str:
    return f"settlement_row:{vendor_id}"


async def upload(
    vendor_id: int, actor: str, tenant: str, pieces: AsyncIterator[list[OrderRow]], days: tuple[date, date] | None
) -> AsyncIterator[list[RowResult]]:
    """Take in an uploaded list; yields what became of its rows. A file that cannot be read raises before anything is
    kept; one that breaks off keeps the rows that came, and proves no absence."""
    intake: Intake | None = None
    async for piece in pieces:
        if intake is None:
            intake = Intake(vendor_id, "upload", actor, tenant)
            await intake.begin()
        yield await intake.take(piece)
    if intake is not None:
        await intake.finish(days)


async def ask(vendor_id: int, day: date) -> dict[str, int] | None:
    """Ask the vendor's systems for their lists of a day that is over; what came of it, None when none of them
    lists orders. Errors of the vendor's side are raised as they come: nothing absent may be concluded from them."""
    async with uow() as tx:
        able = [
            c for c in await connectors.list_connections(tx, vendor_id) if Capability.LISTS_ORDERS in c.capabilities
        ]
    total: dict[str, int] | None = None
    for connection in able:
        if connection.status != "live":
            continue
        listed: list[ListedOrder] = []
        async with connectors.open_connector(connection.id) as connector:
            assert isinstance(connector, ListsOrders)
            async for page in connector.list_orders(day):
                listed += page
        intake = Intake(vendor_id, f"connection:{connection.id}", "hub")
        await intake.begin()
        rows = [OrderRow(no, order, "", order.model_dump_json(exclude_none=True)) for no, order in enumerate(listed, 1)]
        for start in range(0, len(rows), 500):
            await intake.take(rows[start : start + 500])
        figures = await intake.finish((day, day))
        total = figures if total is None else {name: total[name] + value for name, value in figures.items()}
    return total


async def match_again(tx: Tx, vendor_id: int) -> int:
    """Match waiting rows whose number has become known meanwhile; returns how many."""
    waiting = await kept.waiting_rows(tx, vendor_id, 0, 100_000, UNKNOWN_NUMBER)
    if not waiting:
        return 0
    numbers = {number for row in waiting for number in (row["ref"], row["other_ref"]) if number}
    find = _Finder(await kept.pos_by_number(tx, vendor_id, sorted(numbers)))
    pairs = [(row["id"], po_id) for row in waiting if (po_id := find(row["ref"], row["other_ref"])[0]) is not None]
    if pairs:
        await kept.match_rows(tx, pairs)
    return len(pairs)


async def waiting(tx: Tx, vendor_id: int | None, actor: str, after: int, limit: int) -> list[tuple[store.Row, str]]:
    """Quarantined rows with the row as it came. Reading them is noted in the audit trail: they may name a recipient."""
    rows = await kept.waiting_rows(tx, vendor_id, after, limit)
    if rows:
        facts = {"reason": "settlement quarantine", "rows": [row["id"] for row in rows]}
        await audit.record(tx, actor, "settlement.raw_read", f"vendor:{vendor_id or '*'}", facts)
    return [(row, secrets.decrypt(row["raw"], _context(row["vendor_id"])).decode()) for row in rows if row["raw"]]


async def match(tx: Tx, row_id: int, po_id: UUID, actor: str) -> None:
    """Match a waiting row by hand. Doing it again changes nothing. NotFound, Conflict when it is another vendor's
    purchase order or the row waits no longer."""
    row = await _waiting(tx, row_id, po_id)
    po = await store.po_row(tx, po_id)
    if po is None:
        raise NotFound("there is no such purchase order", code="no_purchase_order")
    if po["vendor_id"] != row["vendor_id"]:
        raise Conflict("that purchase order went to another vendor", code="other_vendor")
    if row["state"] == "quarantined":
        await kept.match_rows(tx, [(row_id, po_id)], by_hand=True)
        facts = {"po": public_id("po", po_id)}
        await audit.record(tx, actor, "settlement.row_matched", f"settlement_row:{row_id}", facts)


async def discard(tx: Tx, row_id: int, reason: str, actor: str) -> None:
    """Take a waiting row out of the quarantine for good. Doing it again changes nothing; raises as `match`."""
    row = await _waiting(tx, row_id, None)
    if row["state"] == "quarantined":
        await kept.discard_row(tx, row_id, reason)
        await audit.record(tx, actor, "settlement.row_discarded", f"settlement_row:{row_id}", {"reason": reason})


async def _waiting(tx: Tx, row_id: int, po_id: UUID | None) -> store.Row:
    row = await kept.lock_row(tx, row_id)
    if row is None:
        raise NotFound("there is no such row", code="no_row")
    done = row["state"] == "matched" and row["po_id"] == po_id if po_id else row["state"] == "discarded"
    if row["state"] != "quarantined" and not done:
        raise Conflict(f"this row is {row['state']}; it waits for nobody", code="not_waiting")
    return row
