"""What malls and vendors are told when something happens: from events to outgoing messages. Handlers run after those
that changed the order (hub.app.wiring), in the same transaction, so a message says what is true when it is
committed."""

from __future__ import annotations

from typing import Any

import orders.api
from fulfillment.contracts import ShipmentUpdated
from hub.kernel import webhooks
from hub.kernel.db import Tx
from hub.kernel.types import public_id
from orders.contracts import (
    AfterSaleChanged,
    LineReduced,
    LineUnsupplied,
    OrderCancelled,
    OrderPlaced,
    OrderStanding,
    PoStanding,
    VendorAccepted,
    VendorRefused,
)

OrderEvent = (
    OrderPlaced | VendorAccepted | LineReduced | VendorRefused | LineUnsupplied | OrderCancelled | AfterSaleChanged
)


async def on_order(tx: Tx, event: OrderEvent) -> None:
    """Tell the mall where its order stands, and vendors of purchase orders that are new, or that changed for them."""
    if not await webhooks.anybody(tx):
        return  # one look instead of reading an order that nobody is told of
    order = await orders.api.standing(tx, event.order_id)
    if order is None:
        return
    mall = f"mall:{order.mall_id}"
    told = await webhooks.listening(tx, mall, *{f"vendor:{po.vendor_id}" for po in order.purchase_orders})
    if mall in told:
        await webhooks.announce(tx, mall, "order.updated", _order(order))
    for po in order.purchase_orders:
        vendor = f"vendor:{po.vendor_id}"
        if vendor in told and (kind := _concerns(event, po, tx)):
            await webhooks.announce(tx, vendor, kind, _purchase_order(po))


async def on_shipment(tx: Tx, event: ShipmentUpdated) -> None:
    """Tell the mall that tracking said something new."""
    mall = f"mall:{event.mall_id}"
    if not await webhooks.listening(tx, mall):
        return
    order = await orders.api.standing(tx, event.order_id)
    if order is not None:
        data = {**_order(order), "purchase_order": public_id("po", event.po_id)}
        await webhooks.announce(tx, mall, "shipment.updated", data)


def _concerns(event: OrderEvent, po: PoStanding, tx: Tx) -> str | None:
    """The type of message that this event makes for the vendor of this purchase order."""
    if isinstance(event, OrderPlaced):
        return "purchase_order.created"
    if isinstance(event, VendorRefused):
        if po.po_id == event.po_id:
            return "purchase_order.updated"
        return "purchase_order.created" if po.issued_at == tx.now else None
    if isinstance(event, VendorAccepted):
        return "purchase_order.updated" if po.po_id == event.po_id else None
    return "purchase_order.updated" if isinstance(event, OrderCancelled | LineReduced) else None


def _order(order: OrderStanding) -> dict[str, Any]:
    return {
        "order_id": public_id("ord", order.order_id),
        "mall_order_no": order.mall_order_no,
        "status": order.status,
        "lines": [{"line_no": number, "status": status} for number, status in order.lines],
    }


def _purchase_order(po: PoStanding) -> dict[str, Any]:
    return {"purchase_order": public_id("po", po.po_id), "number": po.number, "status": po.status}
