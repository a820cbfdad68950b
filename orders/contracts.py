"""What crosses the wall of orders/: the events of an order's life and the facts fulfilment needs of a line."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal

from connectors.contracts import OrderUpdate
from hub.kernel.events import Event
from hub.kernel.types import DeliveryMode, Frozen


class OrderPlaced(Event):
    """A mall's order was accepted by the hub (t0 is its commit) and its purchase orders may go out."""

    order_id: uuid.UUID
    mall_id: int


class VendorAccepted(Event):
    """A vendor took one purchase order."""

    po_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int
    vendor_id: int
    accepted_at: datetime


class VendorRefused(Event):
    """A vendor refused one purchase order; its lines look for the next offer."""

    po_id: uuid.UUID
    order_id: uuid.UUID
    out_of_stock: bool
    reason: str
    stock_line_ids: tuple[uuid.UUID, ...] = ()  # the lines refused for want of stock


class LineUnsupplied(Event):
    """No vendor is left for this line: it is cancelled on the supply side (a miss, not an exclusion)."""

    line_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int
    reason: str
    split_from: uuid.UUID | None = None  # the line whose vendor took fewer units; these are the others


class OrderCancelled(Event):
    """The mall cancelled lines before they were shipped."""

    order_id: uuid.UUID
    mall_id: int
    line_ids: list[uuid.UUID]


class LineReduced(Event):
    """The mall cancelled some units of a line before its vendor was asked for it; `quantity` are still wanted."""

    order_id: uuid.UUID
    mall_id: int
    line_id: uuid.UUID
    quantity: int
    cancelled: int  # units, all in all


class AfterSaleChanged(Event):
    """A case of after-sales was opened, moved on or ended. `refund`: what the buyer gets back, once it is refunded."""

    case_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int
    vendor_id: int
    line_id: uuid.UUID
    kind: str  # refusal, return, refund
    status: str  # lifecycle.AfterSaleStatus
    quantity: int
    refund: Decimal | None = None
    currency: str


class LineFacts(Frozen):
    """One accepted order line as fulfilment needs it. `po_id` is the purchase order that carries it now."""

    line_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int
    line_no: int
    quantity: int
    mode: DeliveryMode
    category: str | None
    city: str | None
    vendor_id: int
    po_id: uuid.UUID | None
    t0: datetime
    due_at: datetime
    status: str = ""  # lifecycle.LineStatus
    product_id: int = 0
    listing_id: int = 0
    first_vendor_outcome: str | None = None  # accepted, out_of_stock, refused, cancelled; None: not decided
    first_vendor_unknown: bool = False  # its answer was once lost: a class of its own
    pos: int = 1  # purchase orders that carried it; more than one means it failed over


class LineDelivery(Frozen):
    """What fulfilment knows of a line's delivery. `delivered_at` is when its last unit arrived by a carrier's scan (for
    appointments the booking, for codes their issue); None until then."""

    line_id: uuid.UUID
    delivered_units: int
    delivered_at: datetime | None
    due_at: datetime


class PoRef(Frozen):
    """How to find a purchase order from what a vendor or carrier says."""

    po_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int
    vendor_id: int
    connection_id: int
    number: str
    vendor_order_no: str | None


class PoStanding(Frozen):
    """Where one purchase order of an order stands. `issued_at` is when it was made."""

    po_id: uuid.UUID
    number: str
    vendor_id: int
    status: str  # lifecycle.PoStatus
    issued_at: datetime


class OrderStanding(Frozen):
    """Where an order stands: what its mall and vendors are told when that changes."""

    order_id: uuid.UUID
    mall_id: int
    mall_order_no: str
    status: str  # lifecycle.OrderStatus
    lines: tuple[tuple[int, str], ...]  # (line number, lifecycle.LineStatus)
    purchase_orders: tuple[PoStanding, ...]


__all__ = [
    "AfterSaleChanged", "LineDelivery", "LineFacts", "LineReduced", "LineUnsupplied", "OrderCancelled", "OrderPlaced",
    "OrderStanding", "OrderUpdate", "PoRef", "PoStanding", "VendorAccepted", "VendorRefused",
]  # fmt: skip
