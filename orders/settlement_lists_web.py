"""Vendors' lists of our orders over HTTP: taken in with a report on each row, and the rows that wait for a person."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import date

import orjson
from aiohttp import web

from connectors import api as connectors
from hub.kernel import bodies
from hub.kernel.cells import cell
from hub.kernel.db import HUB
from hub.kernel.errors import Malformed, TooLarge
from hub.kernel.types import parse_uuid_id, public_id
from hub.kernel.web import Call, Routes
from orders.settlement import lists
from orders.settlement.lists import RowResult
from orders.settlement_models import (
    ListReport,
    MatchIn,
    ReasonIn,
    RowDecided,
    RowPage,
    RowQuery,
    RowView,
    StaffListQuery,
)
from orders.settlement_web import after, number_in

routes = Routes("settlement")
MOST_ROWS = 200_000  # of one list: the report on them is made in memory


async def answer_upload(
    request: web.Request, vendor_id: int, actor: str, tenant: str, days: tuple[date, date] | None
) -> web.StreamResponse:
    """Take in the list in a request's body, and report on each row as JSON or (Accept: text/csv) as a table."""
    if request.content_type not in connectors.TABLE_TYPES:
        raise Malformed(f"send the list as {', '.join(connectors.TABLE_TYPES[:2])} or XLSX", code="media_type")
    results: list[RowResult] = []
    pieces: AsyncIterator[list[connectors.OrderRow]] = connectors.uploaded_orders(bodies.chunks(request))
    async for piece in lists.upload(vendor_id, actor, tenant, pieces, days):
        results += piece
        if len(results) > MOST_ROWS:
            raise TooLarge(f"at most {MOST_ROWS} rows a list; those before it are kept, send the rest", code="too_many")
    if "text/csv" not in request.headers.get("Accept", ""):
        body = b'{"results":[' + b",".join(orjson.dumps(result.model_dump()) for result in results) + b"]}"
        return web.Response(body=body, content_type="application/json")
    text = io.StringIO("\ufeff")
    text.seek(1)
    writer = csv.writer(text)
    writer.writerow(["row", "number", "result", "detail"])
    for result in results:
        writer.writerow([cell(value) for value in (result.row, result.number, result.result, result.detail)])
    headers = {"Content-Disposition": 'attachment; filename="settlement-report.csv"'}
    return web.Response(body=text.getvalue().encode(), headers=headers, content_type="text/csv", charset="utf-8")


@routes.post(
    "/settlements/lists",
    scope="staff",
    summary="A vendor's own list of our orders: CSV, TSV or XLSX",
    raw_body=", ".join(connectors.TABLE_TYPES),
    query=StaffListQuery,
    answer=ListReport,
)
async def upload_list(call: Call[None, StaffListQuery]) -> web.StreamResponse:
    return await answer_upload(call.request, call.query.vendor, call.principal.actor, HUB, call.query.days)


@routes.get(
    "/settlements/rows",
    scope="staff",
    summary="Rows of vendors' lists that wait for a person",
    query=RowQuery,
    answer=RowPage,
    tx=True,
)
async def list_rows(call: Call[None, RowQuery]) -> RowPage:
    asked = call.query
    found = await lists.waiting(call.tx, asked.vendor, call.principal.actor, after(asked.after), asked.limit)
    items = []
    for row, raw in found:
        shown = {"id": public_id("str", row["id"]), "number": row["ref"] or None, "sku": row["sku"] or None, "raw": raw}
        items.append(RowView(**{**dict(row), **shown}))
    return RowPage(items=items, next=str(found[-1][0]["id"]) if len(found) == asked.limit else None)


@routes.post(
    "/settlements/rows/{id}/match",
    scope="staff",
    summary="Say which purchase order a row is about",
    body=MatchIn,
    answer=RowDecided,
    tx=True,
)
async def match_row(call: Call[MatchIn, None]) -> RowDecided:
    row_id = number_in(call, "str", "row")
    await lists.match(call.tx, row_id, parse_uuid_id("po", call.body.po), call.principal.actor)
    return RowDecided(id=call.path["id"], state="matched")


@routes.post(
    "/settlements/rows/{id}/discard",
    scope="staff",
    summary="Give a row up",
    body=ReasonIn,
    answer=RowDecided,
    tx=True,
)
async def discard_row(call: Call[ReasonIn, None]) -> RowDecided:
    await lists.discard(call.tx, number_in(call, "str", "row"), call.body.reason, call.principal.actor)
    return RowDecided(id=call.path["id"], state="discarded")
