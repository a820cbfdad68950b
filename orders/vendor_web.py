"""The vendors' portal: a vendor reads its own purchase orders, with the address it must deliver to, and answers
them. Every reading of an address is noted in the audit trail."""

from __future__ import annotations

import uuid
from typing import Any

from hub.kernel.types import public_id
from hub.kernel.web import Call, Routes
from orders import portal
from orders.models import AcceptIn, PageQuery, PoAnswer, RejectIn, VendorOrderPage
from orders.web import cursor, path_id

routes = Routes("vendor orders")


@routes.get(
    "/vendor/orders",
    scope="vendor",
    summary="Own purchase orders, from old to new",
    query=PageQuery,
    answer=VendorOrderPage,
    tx=True,
)
async def list_vendor_orders(call: Call[None, PageQuery]) -> VendorOrderPage:
    after = cursor("po", call.query.after)
    items, last = await portal.page(call.tx, call.vendor_id, call.principal.actor, after, call.query.limit)
    return VendorOrderPage(items=items, next=public_id("po", last) if last else None)


@routes.post(
    "/vendor/orders/{po}/accept",
    scope="vendor",
    summary="Accept a purchase order",
    body=AcceptIn | None,
    answer=PoAnswer,
    tx=True,
)
async def accept_vendor_order(call: Call[AcceptIn | None, None]) -> PoAnswer:
    said = call.body or AcceptIn()
    return await portal.accept(call.tx, call.vendor_id, _po(call), said.vendor_order_no, said.lines)


@routes.post(
    "/vendor/orders/{po}/reject",
    scope="vendor",
    summary="Refuse a purchase order",
    body=RejectIn,
    answer=PoAnswer,
    tx=True,
)
async def reject_vendor_order(call: Call[RejectIn, None]) -> PoAnswer:
    return await portal.reject(call.tx, call.vendor_id, _po(call), call.body.reason, call.body.out_of_stock)


@routes.post(
    "/vendor/orders/{po}/cancel",
    scope="vendor",
    summary="Confirm the buyer's cancellation, or withdraw after accepting",
    body=RejectIn | None,
    answer=PoAnswer,
    tx=True,
)
async def cancel_vendor_order(call: Call[RejectIn | None, None]) -> PoAnswer:
    body = call.body or RejectIn(reason="cancelled by the vendor")
    return await portal.cancel(call.tx, call.vendor_id, _po(call), body.reason, body.out_of_stock)


def _po(call: Call[Any, Any]) -> uuid.UUID:
    return path_id("po", call.path["po"], "purchase order")
