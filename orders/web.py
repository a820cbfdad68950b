"""The malls' routes: make, confirm, cancel and follow orders. The tenant comes from the credential alone, so another
mall's order is not found."""

from __future__ import annotations

import uuid
from typing import Any

from hub.kernel.errors import Fault, NotFound, Rejected
from hub.kernel.types import parse_uuid_id, public_id
from hub.kernel.web import Answer, Call, Routes
from orders import cancelling, codes, moving, service
from orders.codes import OrderCodes, RevealedCodes
from orders.models import CancelIn, KeepIn, OrderIn, OrderPage, OrderView, PageQuery
from orders.moving import RescheduleIn

routes = Routes("orders")


def path_id(prefix: str, text: str, what: str) -> uuid.UUID:
    """The id in a path; one that cannot be an id is simply not found."""
    try:
        return parse_uuid_id(prefix, text)
    except ValueError:
        raise NotFound(f"there is no such {what}", code="no_" + what.replace(" ", "_")) from None


def cursor(prefix: str, text: str | None) -> uuid.UUID | None:
    """The place where a page begins; raises Rejected for anything that is not a `next`."""
    try:
        return parse_uuid_id(prefix, text) if text else None
    except ValueError as error:
        raise Rejected(
            "`after` is the `next` of an earlier page", code="bad_cursor", faults=(Fault("/after", str(error)),)
        ) from None


@routes.post(
    "/orders",
    scope="mall",
    summary="Reserve or place an order",
    body=OrderIn,
    answer=OrderView,
    status=201,
    idempotent=True,
)
async def create_order(call: Call[OrderIn, None]) -> OrderView:
    return await service.create(call.tx, call.mall_id, call.body, call.prepared)


@routes.get("/orders", scope="mall", summary="Orders, from old to new", query=PageQuery, answer=OrderPage, tx=True)
async def list_orders(call: Call[None, PageQuery]) -> OrderPage:
    items, last = await service.page(call.tx, call.mall_id, cursor("ord", call.query.after), call.query.limit)
    return OrderPage(items=items, next=public_id("ord", last) if last else None)


@routes.get("/orders/{id}", scope="mall", summary="One order", answer=OrderView, tx=True)
async def get_order(call: Call[None, None]) -> OrderView:
    return await service.read(call.tx, call.mall_id, _order(call))


@routes.post("/orders/{id}/confirm", scope="mall", summary="Buy what was reserved", answer=OrderView, tx=True)
async def confirm_order(call: Call[None, None]) -> OrderView:
    return await service.confirm(call.tx, call.mall_id, _order(call))


@routes.post(
    "/orders/{id}/cancel",
    scope="mall",
    summary="Cancel lines, or all that is not shipped",
    body=CancelIn | None,
    answer=OrderView,
    tx=True,
)
async def cancel_order(call: Call[CancelIn | None, None]) -> OrderView:
    named = call.body.lines if call.body is not None else None
    whole, keep = None, {}
    if named is not None:
        keep = {line.line_no: line.keep for line in named if isinstance(line, KeepIn)}
        whole = [line for line in named if isinstance(line, int)]
    return await cancelling.cancel(call.tx, call.mall_id, _order(call), whole, keep)


@routes.post(
    "/orders/{id}/reschedule",
    scope="mall",
    summary="Move an appointment: the new time is booked before the old one is let go",
    body=RescheduleIn,
    answer=OrderView,
    tx=True,
)
async def reschedule_order(call: Call[RescheduleIn, None]) -> OrderView:
    book = await moving.reschedule(call.tx, call.mall_id, _order(call), call.body, call.prepared)
    return service.show(book)


@routes.get(
    "/orders/{id}/codes", scope="mall", summary="Code lines of an order; codes masked", answer=OrderCodes, tx=True
)
async def order_codes(call: Call[None, None]) -> OrderCodes:
    return await codes.listed(call.tx, call.mall_id, _order(call))


@routes.post(
    "/orders/{id}/codes/reveal",
    scope="mall",
    summary="The codes of an order in plain, the same ones every time; each reveal is noted in the audit trail",
    answer=RevealedCodes,
)
async def reveal_codes(call: Call[None, None]) -> Answer:
    shown = await codes.reveal(call.principal, _order(call))
    return Answer(shown, headers={"Cache-Control": "no-store"})


def _order(call: Call[Any, Any]) -> uuid.UUID:
    return path_id("ord", call.path["id"], "order")
