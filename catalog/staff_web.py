"""What procurement staff do with the catalogue's troubles: refused rows mapped again or discarded, and what vendors did
to their own names of things."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from catalog import replay, stock, store
from connectors import api as connectors
from hub.kernel import audit
from hub.kernel.errors import NotFound
from hub.kernel.types import Input, SafeText, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes

routes = Routes("catalog staff")
RowId = Annotated[int, Field(ge=0, le=2**62)]


class BufferIn(Input):
    """Units that are not sold, at each location of the listing; 0 ends it."""

    buffer: Annotated[int, Field(ge=0, le=1_000_000, strict=True)]


class BufferSet(View):
    """What is kept from sale now."""

    listing_id: str
    buffer: int


class QuarantineChoice(Input):
    """Rows of one connection's quarantine: these, or all that were refused for this reason, or (with neither) all."""

    connection_id: RowId
    ids: Annotated[list[RowId], Field(min_length=1, max_length=10_000)] | None = None
    reason: Annotated[SafeText, Field(max_length=500)] | None = None


class QuarantineDiscard(QuarantineChoice):
    """The same, and why they may be forgotten."""

    why: Annotated[SafeText, Field(min_length=3, max_length=500)]


class ReplayResult(View):
    """How many rows landed; how many were refused again, by reason."""

    landed: int
    refused: int
    reasons: dict[str, int]


class DiscardResult(View):
    """How many rows were discarded."""

    discarded: int


class IdentityQuery(Input):
    """A window over the list, of one connection or of all."""

    connection_id: RowId | None = None
    cursor: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class IdentityShown(View):
    """One thing that a vendor did to a SKU. `renamed`: the same article under a new SKU. `reused`: the SKU is another
    article's now. `recreated`: the same article under a new id of the vendor's. `split`: variants took its place."""

    id: int
    connection_id: int
    vendor: str | None
    listing_id: int
    kind: Literal["renamed", "reused", "recreated", "split"]
    external_id: str | None
    sku_before: str
    sku_after: str
    at: datetime


class Identities(View):
    """A piece of the list, newest first."""

    items: list[IdentityShown]
    next: str | None


@routes.post(
    "/quarantine/replay",
    scope="staff",
    summary="Map refused rows again, after the mapping was mended, and take in what can be used",
    body=QuarantineChoice,
    answer=ReplayResult,
)
async def replay_quarantine(call: Call[QuarantineChoice, Any]) -> ReplayResult:
    wanted = call.body
    done = await replay.replay(wanted.connection_id, wanted.ids, wanted.reason)
    return ReplayResult(**done.model_dump())


@routes.post(
    "/quarantine/discard",
    scope="staff",
    summary="Forget refused rows, with a reason; the same rows refused again stay forgotten",
    body=QuarantineDiscard,
    answer=DiscardResult,
    tx=True,
)
async def discard_quarantine(call: Call[QuarantineDiscard, Any]) -> DiscardResult:
    wanted, who = call.body, call.principal.actor
    await connectors.get_connection(call.tx, wanted.connection_id)
    ids = await connectors.open_quarantine(call.tx, wanted.connection_id, wanted.ids, wanted.reason)
    if wanted.ids is not None and not ids:
        raise NotFound("none of these rows is open", code="no_rows")
    await connectors.settle_quarantine(call.tx, ids, discarded=f"{who}: {wanted.why}")
    facts = {"rows": len(ids), "reason": wanted.reason, "why": wanted.why}
    await audit.record(call.tx, who, "quarantine.discard", f"connection:{wanted.connection_id}", facts)
    return DiscardResult(discarded=len(ids))


@routes.get(
    "/listing-identities",
    scope="staff",
    summary="SKUs that vendors renamed, reused, made anew or split, newest first",
    query=IdentityQuery,
    answer=Identities,
    tx=True,
)
async def identities(call: Call[Any, IdentityQuery]) -> Identities:
    query = call.query
    before = query.cursor if query.cursor is not None else 2**62
    rows = await store.identity_rows(call.tx, query.connection_id, before, query.limit + 1)
    shown = [IdentityShown(**row) for row in rows[: query.limit]]
    return Identities(items=shown, next=str(shown[-1].id) if len(rows) > query.limit else None)


@routes.put(
    "/listings/{id}/buffer",
    scope="staff",
    summary="Keep units of a listing from sale",
    body=BufferIn,
    answer=BufferSet,
    tx=True,
)
async def set_buffer(call: Call[BufferIn, None]) -> BufferSet:
    try:
        listing_id = parse_int_id("lst", call.path["id"])
    except ValueError:
        raise NotFound("there is no such listing", code="no_listing") from None
    if not await stock.keep_from_sale(call.tx, listing_id, call.body.buffer):
        raise NotFound("there is no such listing", code="no_listing")
    name = public_id("lst", listing_id)
    await audit.record(call.tx, call.principal.actor, "listing.buffer", name, {"units": call.body.buffer})
    return BufferSet(listing_id=name, buffer=call.body.buffer)
