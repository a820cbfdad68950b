"""What procurement staff set for ordering, quotas and routing policies, and why an order went where it went. Every
change is in the audit trail."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import asyncpg
from pydantic import Field, model_validator

from hub.kernel import audit
from hub.kernel.errors import NotFound
from hub.kernel.types import Input, Json, View, public_id
from hub.kernel.web import Call, Routes
from orders import quotas, store, weighing
from orders.models import ListingId, ProductId
from orders.web import path_id

routes = Routes("orders staff")

MallId = Annotated[int, Field(ge=1, le=2**62)]
Weight = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=4)]
Units = Annotated[int, Field(ge=0, le=100_000_000, strict=True)]


class QuotaIn(Input):
    """A cap on one listing or one product, for one mall or (none given) for all of them together. `units` bounds what
    was ordered within `window_s` seconds; without a window, what is in orders that are not finished."""

    mall_id: MallId | None = None
    listing_id: ListingId | None = None
    product_id: ProductId | None = None
    per_order: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    units: Units | None = None
    window_s: Annotated[int, Field(ge=60, le=400 * 86_400, strict=True)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> QuotaIn:
        if (self.listing_id is None) == (self.product_id is None):
            raise ValueError("give listing_id or product_id, exactly one of them")
        if self.per_order is None and self.units is None:
            raise ValueError("give per_order or units")
        return self


class QuotaView(View):
    """One cap."""

    id: int
    mall_id: int | None
    listing_id: str | None
    product_id: str | None
    per_order: int | None
    units: int | None
    window_s: int | None
    updated_at: datetime


class QuotaList(View):
    """All caps."""

    items: list[QuotaView]


@routes.get("/quotas", scope="staff", summary="Caps on what may be ordered", answer=QuotaList, tx=True)
async def list_quotas(call: Call[None, None]) -> QuotaList:
    return QuotaList(items=[_quota(row) for row in await store.all_quotas(call.tx)])


@routes.put(
    "/quotas", scope="staff", summary="Set a cap on a listing or product", body=QuotaIn, answer=QuotaView, tx=True
)
async def put_quota(call: Call[QuotaIn, None]) -> QuotaView:
    given = call.body
    row = await store.put_quota(
        call.tx, given.mall_id, given.listing_id, given.product_id, given.per_order, given.units, given.window_s
    )
    shown = _quota(row)
    facts = shown.model_dump(mode="json", exclude={"id", "updated_at"})
    await audit.record(call.tx, call.principal.actor, "quota.set", f"quota:{shown.id}", facts)
    call.tx.after_commit(quotas.forget)
    return shown


@routes.delete("/quotas/{id}", scope="staff", summary="Lift a cap", answer=QuotaView, tx=True)
async def drop_quota(call: Call[None, None]) -> QuotaView:
    row = await store.drop_quota(call.tx, _number(call.path["id"]))
    if row is None:
        raise NotFound("there is no such quota", code="no_quota")
    await audit.record(call.tx, call.principal.actor, "quota.lifted", f"quota:{row['id']}", {})
    call.tx.after_commit(quotas.forget)
    return _quota(row)


class RoutingPolicyIn(Input):
    """How one mall weighs offers (see the terms in docs/ordering.md). Weights count against each
    other."""

    mall_id: MallId
    price: Weight = Decimal(1)
    promise: Weight = Decimal(0)
    confidence: Weight = Decimal(0)
    standing: Weight = Decimal(0)
    parcels: Weight = Decimal(0)

    @model_validator(mode="after")
    def _weighs_something(self) -> RoutingPolicyIn:
        if not any((self.price, self.promise, self.confidence, self.standing, self.parcels)):
            raise ValueError("give at least one weight above 0")
        return self


class RoutingPolicyView(View):
    """A mall's weights."""

    mall_id: int
    price: Decimal
    promise: Decimal
    confidence: Decimal
    standing: Decimal
    parcels: Decimal
    updated_at: datetime


class StandingView(View):
    """A vendor's record of the last 30 days, as routing counts it."""

    vendor_id: int
    decided: int
    refused: int
    due: int
    on_time: int
    as_of: datetime


class RoutingPolicies(View):
    """Policies of malls (all others take the cheapest), and the vendors' records that they weigh."""

    items: list[RoutingPolicyView]
    standings: list[StandingView]


class LineRouting(View):
    """The choices that were made for one line, first to last."""

    line_no: int
    status: str
    choices: list[Json]


class OrderRouting(View):
    """Why an order went where it went."""

    order_id: str
    mall_id: int
    lines: list[LineRouting]


@routes.get("/routing/policies", scope="staff", summary="How malls weigh offers", answer=RoutingPolicies, tx=True)
async def list_routing_policies(call: Call[None, None]) -> RoutingPolicies:
    return RoutingPolicies(
        items=[_policy(row) for row in await store.all_policies(call.tx)],
        standings=[
            StandingView(**{name: row[name] for name in StandingView.model_fields})
            for row in await store.all_standings(call.tx)
        ],
    )


@routes.put(
    "/routing/policies",
    scope="staff",
    summary="Set how a mall weighs offers",
    body=RoutingPolicyIn,
    answer=RoutingPolicyView,
    tx=True,
)
async def put_routing_policy(call: Call[RoutingPolicyIn, None]) -> RoutingPolicyView:
    given = call.body
    weights = (given.price, given.promise, given.confidence, given.standing, given.parcels)
    shown = _policy(await store.put_policy(call.tx, given.mall_id, weights))
    facts = shown.model_dump(mode="json", exclude={"mall_id", "updated_at"})
    await audit.record(call.tx, call.principal.actor, "routing.policy", f"mall:{given.mall_id}", facts)
    call.tx.after_commit(weighing.forget)
    return shown


@routes.delete(
    "/routing/policies/{id}",
    scope="staff",
    summary="Let a mall take the cheapest again",
    answer=RoutingPolicyView,
    tx=True,
)
async def drop_routing_policy(call: Call[None, None]) -> RoutingPolicyView:
    row = await store.drop_policy(call.tx, _number(call.path["id"]))
    if row is None:
        raise NotFound("this mall has no routing policy", code="no_policy")
    await audit.record(call.tx, call.principal.actor, "routing.policy", f"mall:{row['mall_id']}", {"dropped": True})
    call.tx.after_commit(weighing.forget)
    return _policy(row)


@routes.get(
    "/orders/{id}/routing", scope="staff", summary="Why an order went where it went", answer=OrderRouting, tx=True
)
async def order_routing(call: Call[None, None]) -> OrderRouting:
    order_id = path_id("ord", call.path["id"], "order")
    rows = await store.routing_of(call.tx, order_id)
    if not rows:
        raise NotFound("there is no such order", code="no_order")
    return OrderRouting(
        order_id=public_id("ord", order_id),
        mall_id=rows[0]["mall_id"],
        lines=[
            LineRouting(line_no=row["line_no"], status=row["status"], choices=list(weighing.told(row["routing"])))
            for row in rows
        ],
    )


def _policy(row: asyncpg.Record) -> RoutingPolicyView:
    return RoutingPolicyView(**{name: row[name] for name in RoutingPolicyView.model_fields})


def _quota(row: asyncpg.Record) -> QuotaView:
    names: dict[str, Any] = {name: row[name] for name in QuotaView.model_fields}
    for name, prefix in (("listing_id", "lst"), ("product_id", "prd")):
        names[name] = public_id(prefix, row[name]) if row[name] is not None else None
    return QuotaView(**names)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such quota", code="no_quota")
    return int(text)
