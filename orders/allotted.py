"""Orders of goods that were allotted elsewhere: whose stock is held already, under holds that the lines take over.
The only way into the order path besides a mall's own order; the emergency dispatch uses it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.contracts import Offer
from hub.kernel import secrets
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict
from hub.kernel.types import uuid7
from orders import issuing, store
from orders.book import Order, total_of
from orders.contracts import OrderPlaced
from orders.lifecycle import OrderStatus
from orders.models import LineIn
from orders.service import DELIVERED_WITHIN, line_on


@dataclass(frozen=True, slots=True)
class Allotted:
    """Goods of one offer, held for exactly this quantity."""

    offer: Offer
    quantity: int
    hold_id: uuid.UUID


async def place_allotted(
    tx: Tx, mall_id: int, order_no: str, ship_to: Mapping[str, str], goods: Sequence[Allotted]
) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """Place an order of `goods` (one currency) at once; returns its id and a line for each, in order. Each line names
    its listing, so that a vendor's refusal ends it and never takes stock that nobody allotted. Parity policies are
    not asked: the plan has decided. Raises Conflict when the mall has used `order_no`."""
    lines = [
        line_on(
            number,
            LineIn.model_construct(listing_id=one.offer.listing_id, qty=one.quantity),
            one.offer,
            one.hold_id,
            ship_to.get("city"),
        )
        for number, one in enumerate(goods, 1)
    ]
    order_id = uuid7()
    order = Order(
        id=order_id, mall_id=mall_id, mall_order_no=order_no, status=OrderStatus.PLACED, mode="place",
        ship_to=secrets.encrypt_json(dict(ship_to), f"order:{order_id}"), currency=lines[0].currency,
        total=total_of(lines), created_at=tx.now, reserved_until=None, placed_at=tx.now,
        due_at=tx.now + DELIVERED_WITHIN,
    )  # fmt: skip
    for line in lines:
        line.move("confirm")
    pos = issuing.draft(order, lines, 1, tx.now)
    if not await store.add_order(tx, order, lines, pos):
        raise Conflict(f"the order number {order_no} is already used", code="duplicate_order_no")
    tx.emit(OrderPlaced(order_id=order_id, mall_id=mall_id))
    return order_id, [line.id for line in lines]
