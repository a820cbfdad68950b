"""An order book played for fulfilment: the facts that orders/ would give, changed by the test's hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.contracts import OrderUpdate
from fulfillment import api
from hub.kernel.db import Tx, uow
from hub.kernel.types import DeliveryMode
from orders import api as orders
from orders.contracts import (
    LineFacts,
    LineUnsupplied,
    OrderCancelled,
    OrderPlaced,
    PoRef,
    VendorAccepted,
    VendorRefused,
)

T0 = datetime(2026, 5, 1, 8, tzinfo=UTC)
MALL, VENDOR = 7, 3


@dataclass
class Book:
    """Orders as orders.api would describe them, and what it was told."""

    lines: dict[uuid.UUID, LineFacts] = field(default_factory=dict)
    pos: dict[uuid.UUID, PoRef] = field(default_factory=dict)
    told: list[tuple[str, Any]] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("line_facts", "find_po", "po_of_vendor", "shipped", "delivered", "on_order_update"):
            monkeypatch.setattr(orders, name, getattr(self, name))

    def order(
        self, *quantities: int, mode: DeliveryMode = DeliveryMode.PARCEL, mall: int = MALL, vendor: int = VENDOR
    ) -> PoRef:
        """A placed order of one purchase order with these lines."""
        order_id = uuid.uuid4()
        po = self.po(order_id, mall, vendor)
        for number, quantity in enumerate(quantities, 1):
            line = LineFacts(
                line_id=uuid.uuid4(), order_id=order_id, mall_id=mall, line_no=number, quantity=quantity, mode=mode,
                category="masks", city=None, vendor_id=vendor, po_id=po.po_id, t0=T0,
                due_at=T0 + timedelta(hours=72), status="placed",
            )  # fmt: skip
            self.lines[line.line_id] = line
        return po

    def po(self, order_id: uuid.UUID, mall: int = MALL, vendor: int = VENDOR) -> PoRef:
        po_id = uuid.uuid4()
        self.pos[po_id] = PoRef(
            po_id=po_id, order_id=order_id, mall_id=mall, vendor_id=vendor, connection_id=vendor,
            number=f"PO-{len(self.pos)}", vendor_order_no=f"V-{len(self.pos)}",
        )  # fmt: skip
        return self.pos[po_id]

    def of(self, po: PoRef) -> list[LineFacts]:
        return [line for line in self.lines.values() if line.order_id == po.order_id]

    def change(self, lines: Iterable[LineFacts], **facts: Any) -> None:
        for line in lines:
            self.lines[line.line_id] = line.model_copy(update=facts)

    async def line_facts(
        self, _tx: Tx, *, order_id: uuid.UUID | None = None, po_id: uuid.UUID | None = None
    ) -> list[LineFacts]:
        return [line for line in self.lines.values() if order_id == line.order_id or (po_id and po_id == line.po_id)]

    async def find_po(
        self,
        _tx: Tx,
        *,
        connection_id: int | None = None,
        po_number: str | None = None,
        vendor_order_no: str | None = None,
        po_id: uuid.UUID | None = None,
    ) -> PoRef | None:
        for po in self.pos.values():
            if po.po_id == po_id or po.number == po_number:
                return po
            if po.connection_id == connection_id and po.vendor_order_no == vendor_order_no:
                return po
        return None

    async def po_of_vendor(self, _tx: Tx, vendor_id: int, po_id: uuid.UUID) -> PoRef | None:
        po = self.pos.get(po_id)
        return po if po is not None and po.vendor_id == vendor_id else None

    async def shipped(self, _tx: Tx, po_id: uuid.UUID) -> None:
        self.told.append(("shipped", po_id))

    async def delivered(self, _tx: Tx, po_id: uuid.UUID) -> None:
        self.told.append(("delivered", po_id))

    async def on_order_update(self, _tx: Tx, ref: PoRef, update: OrderUpdate) -> None:
        self.told.append((update.status.value, ref.po_id))

    # -- events of an order's life

    async def placed(self, po: PoRef) -> None:
        async with uow() as tx:
            await api.on_placed(tx, OrderPlaced(order_id=po.order_id, mall_id=po.mall_id))

    async def accepted(self, po: PoRef, at: datetime = T0 + timedelta(minutes=5)) -> None:
        carried = [line for line in self.of(po) if line.po_id == po.po_id]
        self.change(carried, status="accepted", first_vendor_outcome=carried[0].first_vendor_outcome or "accepted")
        async with uow() as tx:
            event = VendorAccepted(
                po_id=po.po_id, order_id=po.order_id, mall_id=po.mall_id, vendor_id=po.vendor_id, accepted_at=at
            )
            await api.on_accepted(tx, event)

    async def refused(self, po: PoRef, *, stock: bool = True) -> None:
        carried = [line for line in self.of(po) if line.po_id == po.po_id]
        self.change(carried, status="rerouting", first_vendor_outcome="out_of_stock" if stock else "refused")
        async with uow() as tx:
            await api.on_refused(
                tx, VendorRefused(po_id=po.po_id, order_id=po.order_id, out_of_stock=stock, reason="none left")
            )

    async def moved(self, po: PoRef, vendor: int) -> PoRef:
        """The lines of `po` found the next offer."""
        after = self.po(po.order_id, po.mall_id, vendor)
        self.change(self.of(po), po_id=after.po_id, vendor_id=vendor, status="placed")
        return after

    async def unsupplied(self, line: LineFacts) -> None:
        self.change([line], status="unsupplied")
        async with uow() as tx:
            await api.on_unsupplied(
                tx, LineUnsupplied(line_id=line.line_id, order_id=line.order_id, mall_id=line.mall_id, reason="none")
            )

    async def cancelled(self, po: PoRef) -> None:
        async with uow() as tx:
            ids = [line.line_id for line in self.of(po)]
            await api.on_cancelled(tx, OrderCancelled(order_id=po.order_id, mall_id=po.mall_id, line_ids=ids))


async def clock_of(line: LineFacts) -> dict[str, Any]:
    async with uow() as tx:
        row = await tx.fetchrow("SELECT * FROM fulfillment_line_clock WHERE line_id = $1", line.line_id)
    assert row is not None
    return dict(row)
