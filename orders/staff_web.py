"""What procurement staff set for ordering: quotas. Every change is in the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import asyncpg
from pydantic import Field, model_validator

from hub.kernel import audit
from hub.kernel.errors import NotFound
from hub.kernel.types import Input, View, public_id
from hub.kernel.web import Call, Routes
from orders import quotas, store
from orders.models import ListingId, ProductId

routes = Routes("orders staff")

MallId = Annotated[int, Field(ge=1, le=2**62)]
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


def _quota(row: asyncpg.Record) -> QuotaView:
    names: dict[str, Any] = {name: row[name] for name in QuotaView.model_fields}
    for name, prefix in (("listing_id", "lst"), ("product_id", "prd")):
        names[name] = public_id(prefix, row[name]) if row[name] is not None else None
    return QuotaView(**names)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such quota", code="no_quota")
    return int(text)
