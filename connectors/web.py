"""The HTTP surface of connectors/: the address that vendor systems push to, and what procurement staff see of vendors,
runs and quarantined rows (connections are in connectors.onboarding_web). Ids are plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from connectors import api, store
from connectors.inbox import BODY_LIMIT
from hub.kernel import audit, bodies
from hub.kernel.errors import NotFound, TooLarge
from hub.kernel.types import Input, Name, SafeText, View
from hub.kernel.web import Call, Routes

routes = Routes("connectors")

Limit = Annotated[int, Field(ge=1, le=200)]
RowId = Annotated[int, Field(ge=0, le=2**62)]


class PageQuery(Input):
    """A window over a list; `next` of an answer goes into `cursor`."""

    cursor: RowId | None = None
    limit: Limit = 50


class OfConnection(PageQuery):
    """The same, of one connection."""

    connection_id: RowId | None = None


class OfVendor(PageQuery):
    """The same, of one vendor."""

    vendor_id: RowId | None = None


class NewVendor(Input):
    """A vendor to add."""

    name: Name
    name_en: Annotated[SafeText, Field(max_length=200)] = ""


class VendorShown(View):
    """A vendor."""

    id: int
    name: str
    name_en: str
    connections: int = 0
    created_at: datetime


class Vendors(View):
    """A piece of the vendors."""

    items: list[VendorShown]
    next: str | None


class RunShown(View):
    """One pull of one connection."""

    id: int
    connection_id: int
    kind: str
    status: str
    pages: int
    seen: int
    created: int
    updated: int
    unchanged: int
    quarantined: int
    unlisted: int
    stock_seen: int
    stock_changed: int
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    error: str | None


class Runs(View):
    """A piece of the runs, newest first."""

    items: list[RunShown]
    next: str | None


class QuarantinedRow(View):
    """A row that could not be used: why, where, and what came. `times` counts how often it came."""

    id: int
    connection_id: int
    run_id: int | None
    reason: str
    pointer: str
    vendor_sku: str | None
    raw: str
    times: int
    created_at: datetime
    last_seen_at: datetime
    replayed_at: datetime | None
    outcome: str | None
    note: str | None


class QuarantinePage(View):
    """A piece of the quarantine, newest first."""

    items: list[QuarantinedRow]
    next: str | None


class QuarantineCause(View):
    """Rows of one connection that were refused for one reason and are not settled."""

    connection_id: int
    connection: str
    vendor: str
    reason: str
    pointer: str
    rows: int
    example_id: int
    since: datetime
    last_seen_at: datetime


class QuarantineCauses(View):
    """The causes behind the open rows, the largest first."""

    items: list[QuarantineCause]


class CausesQuery(Input):
    connection_id: RowId | None = None
    limit: Limit = 100


class Landed(View):
    """What became of a push."""

    result: Literal["landed", "duplicate", "ping"]


@routes.post(
    "/push/{connection}",
    scope="public",
    summary="Take a vendor system's own webhook, under its own signature",
    raw_body="application/json, application/x-www-form-urlencoded, application/octet-stream",
    answer=Landed,
)
async def push(call: Call[Any, Any]) -> Landed:
    """200 once the push is stored for good, and for one that was stored before; 401 for a signature that does not
    fit; 404 where no pushes are taken."""
    connection_id = number_of(call.path["connection"])
    declared = call.request.content_length
    if declared is not None and declared > BODY_LIMIT:
        raise TooLarge(f"a push may be at most {BODY_LIMIT} bytes", code="body_too_large")
    body = await bodies.whole(call.request)
    landing = await api.land_push(connection_id, dict(call.request.headers), body)
    return Landed(result=landing.result)


@routes.get("/vendors", scope="staff", summary="List vendors", query=PageQuery, answer=Vendors, tx=True)
async def vendors(call: Call[Any, PageQuery]) -> Vendors:
    rows = await store.vendor_rows(call.tx, call.query.cursor or 0, call.query.limit + 1)
    shown = [VendorShown(**row) for row in rows]
    return Vendors(items=shown[: call.query.limit], next=next_of(shown, call.query.limit))


@routes.post("/vendors", scope="staff", summary="Add a vendor", body=NewVendor, answer=VendorShown, status=201, tx=True)
async def add_vendor(call: Call[NewVendor, Any]) -> VendorShown:
    wanted = call.body
    vendor_id = await api.add_vendor(call.tx, wanted.name, wanted.name_en)
    await audit.record(call.tx, call.principal.actor, "vendor.add", f"vendor:{vendor_id}", {"name": wanted.name})
    return VendorShown(id=vendor_id, name=wanted.name, name_en=wanted.name_en, created_at=call.tx.now)


@routes.get("/sync-runs", scope="staff", summary="Pulls, newest first", query=OfConnection, answer=Runs, tx=True)
async def sync_runs(call: Call[Any, OfConnection]) -> Runs:
    query = call.query
    rows = await store.run_rows(call.tx, query.connection_id, _before(query), query.limit + 1)
    shown = [RunShown(**row) for row in rows]
    return Runs(items=shown[: query.limit], next=next_of(shown, query.limit))


@routes.get(
    "/quarantine",
    scope="staff",
    summary="Rows that could not be used, newest first",
    query=OfConnection,
    answer=QuarantinePage,
    tx=True,
)
async def quarantine(call: Call[Any, OfConnection]) -> QuarantinePage:
    query = call.query
    rows = await store.quarantine_rows(call.tx, query.connection_id, _before(query), query.limit + 1)
    shown = [QuarantinedRow(**row) for row in rows]
    return QuarantinePage(items=shown[: query.limit], next=next_of(shown, query.limit))


@routes.get(
    "/quarantine/causes",
    scope="staff",
    summary="Why rows could not be used: open rows by cause",
    query=CausesQuery,
    answer=QuarantineCauses,
    tx=True,
)
async def quarantine_causes(call: Call[Any, CausesQuery]) -> QuarantineCauses:
    rows = await store.quarantine_causes(call.tx, call.query.connection_id, call.query.limit)
    return QuarantineCauses(items=[QuarantineCause(**row) for row in rows])


def _before(query: PageQuery) -> int:
    return query.cursor if query.cursor is not None else 2**62


def next_of(shown: Sequence[Any], limit: int) -> str | None:
    """The cursor after the last row shown, when there are more."""
    return str(shown[limit - 1].id) if len(shown) > limit else None


def number_of(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such connection", code="no_connection")
    return int(text)
