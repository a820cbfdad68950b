"""After-sales over HTTP: malls open cases and say what was sent back, vendors and staff decide, staff refund or
replace."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import StringConstraints

from hub.kernel.types import Input, Money, Price, SafeText, View, public_id
from hub.kernel.web import Call, Routes
from orders import aftersales, store
from orders.book import read_book
from orders.lifecycle import AfterSaleStatus
from orders.models import LineNo, PageQuery, Qty
from orders.web import cursor, path_id

routes = Routes("after-sales")

Words = Annotated[SafeText, StringConstraints(min_length=1, max_length=500)]
Mark = Annotated[SafeText, StringConstraints(min_length=1, max_length=80)]


class AfterSaleIn(Input):
    """Units of one line. `refusal`: not taken at the door; `return`: delivered and sent back; `refund`: paid back while
    the buyer keeps what came."""

    line_no: LineNo
    qty: Qty
    kind: Literal["refusal", "return", "refund"]
    reason: Words


class SentIn(Input):
    """The parcel that goes back."""

    carrier: Mark
    tracking_no: Mark


class DecideIn(Input):
    """What becomes of a case, and why."""

    event: Literal["approve", "decline", "receive"]
    answer: Words | None = None


class RefundIn(Input):
    """How much is paid back; none given: all that was paid for the units."""

    amount: Price | None = None


class AfterSaleQuery(PageQuery):
    """A page of cases, in one status or in any."""

    status: AfterSaleStatus | None = None


class AfterSaleView(View):
    """One case."""

    id: str
    order_id: str
    line_no: int
    purchase_order: str
    kind: str
    qty: int
    status: str
    reason: str
    answer: str | None
    carrier: str | None
    tracking_no: str | None
    refund: Money | None
    replacement_order_id: str | None
    created_at: datetime
    updated_at: datetime


class AfterSaleList(View):
    """The cases of one order."""

    items: list[AfterSaleView]


class AfterSalePage(View):
    """A page of cases, from old to new."""

    items: list[AfterSaleView]
    next: str | None


@routes.post(
    "/orders/{id}/after-sales",
    scope="mall",
    summary="Open a case: a refusal at the door, a return or a refund",
    body=AfterSaleIn,
    answer=AfterSaleView,
    status=201,
    idempotent=True,
)
async def open_after_sale(call: Call[AfterSaleIn, None]) -> AfterSaleView:
    asked = call.body
    order_id = path_id("ord", call.path["id"], "order")
    return _view(
        await aftersales.request(call.tx, call.mall_id, order_id, asked.line_no, asked.qty, asked.kind, asked.reason)
    )


@routes.get("/orders/{id}/after-sales", scope="mall", summary="The cases of an order", answer=AfterSaleList, tx=True)
async def order_after_sales(call: Call[None, None]) -> AfterSaleList:
    order_id = path_id("ord", call.path["id"], "order")
    await read_book(call.tx, order_id, call.mall_id)
    return AfterSaleList(items=[_view(row) for row in await store.cases_of(call.tx, order_id)])


@routes.post("/after-sales/{id}/withdraw", scope="mall", summary="Take a case back", answer=AfterSaleView, tx=True)
async def withdraw_after_sale(call: Call[None, None]) -> AfterSaleView:
    return _view(await aftersales.withdraw(call.tx, call.mall_id, _case(call)))


@routes.post(
    "/after-sales/{id}/sent",
    scope="mall",
    summary="The goods are on their way back",
    body=SentIn,
    answer=AfterSaleView,
    tx=True,
)
async def sent_after_sale(call: Call[SentIn, None]) -> AfterSaleView:
    sent = call.body
    return _view(await aftersales.sent(call.tx, call.mall_id, _case(call), sent.carrier, sent.tracking_no))


@routes.get(
    "/vendor/after-sales",
    scope="vendor",
    summary="Own cases, from old to new",
    query=AfterSaleQuery,
    answer=AfterSalePage,
    tx=True,
)
async def vendor_after_sales(call: Call[None, AfterSaleQuery]) -> AfterSalePage:
    return await _page(call, call.vendor_id)


@routes.post(
    "/vendor/after-sales/{id}/decide",
    scope="vendor",
    summary="Approve or decline a case, or say that its goods are back",
    body=DecideIn,
    answer=AfterSaleView,
    tx=True,
)
async def vendor_decides(call: Call[DecideIn, None]) -> AfterSaleView:
    said, actor = call.body, call.principal.actor
    case = await aftersales.decide(call.tx, _case(call), said.event, said.answer, actor, vendor_id=call.vendor_id)
    return _view(case)


@routes.get(
    "/after-sales",
    scope="staff",
    summary="All cases, from old to new",
    query=AfterSaleQuery,
    answer=AfterSalePage,
    tx=True,
)
async def list_after_sales(call: Call[None, AfterSaleQuery]) -> AfterSalePage:
    return await _page(call, None)


@routes.post(
    "/after-sales/{id}/decide",
    scope="staff",
    summary="Decide a case for its vendor",
    body=DecideIn,
    answer=AfterSaleView,
    tx=True,
)
async def staff_decides(call: Call[DecideIn, None]) -> AfterSaleView:
    said = call.body
    return _view(await aftersales.decide(call.tx, _case(call), said.event, said.answer, call.principal.actor))


@routes.post(
    "/after-sales/{id}/refund",
    scope="staff",
    summary="Pay the units of a case back",
    body=RefundIn | None,
    answer=AfterSaleView,
    tx=True,
)
async def refund_after_sale(call: Call[RefundIn | None, None]) -> AfterSaleView:
    amount: Decimal | None = call.body.amount if call.body is not None else None
    return _view(await aftersales.refund(call.tx, _case(call), amount, call.principal.actor))


@routes.post(
    "/after-sales/{id}/replace",
    scope="staff",
    summary="Order the units of a case once more for the buyer",
    answer=AfterSaleView,
    tx=True,
)
async def replace_after_sale(call: Call[None, None]) -> AfterSaleView:
    return _view(await aftersales.replace(call.tx, _case(call), call.principal.actor))


async def _page(call: Call[None, AfterSaleQuery], vendor_id: int | None) -> AfterSalePage:
    query = call.query
    status = query.status.value if query.status is not None else None
    after = cursor("asc", query.after)
    rows = await store.cases_after(call.tx, vendor_id, status, after, query.limit + 1)
    shown = [_view(row) for row in rows[: query.limit]]
    return AfterSalePage(items=shown, next=shown[-1].id if len(rows) > query.limit else None)


def _case(call: Call[Any, Any]) -> uuid.UUID:
    return path_id("asc", call.path["id"], "case")


def _view(row: asyncpg.Record) -> AfterSaleView:
    return AfterSaleView(
        id=public_id("asc", row["id"]),
        order_id=public_id("ord", row["order_id"]),
        line_no=row["line_no"],
        purchase_order=public_id("po", row["po_id"]),
        kind=row["kind"],
        qty=row["quantity"],
        status=row["status"],
        reason=row["reason"],
        answer=row["answer"],
        carrier=row["carrier"],
        tracking_no=row["tracking_no"],
        refund=Money(amount=row["refund"], currency=row["currency"]) if row["refund"] is not None else None,
        replacement_order_id=(
            public_id("ord", row["replacement_order_id"]) if row["replacement_order_id"] is not None else None
        ),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
