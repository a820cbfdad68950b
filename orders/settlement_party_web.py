"""Settlement as its parties see it: a vendor sends its list and reads its cases and statements, a mall reads its
statements. The party comes from the credential alone, drafts are nobody's but the staff's, and the second wall stands
behind every statement."""

from __future__ import annotations

from aiohttp import web

from connectors import api as connectors
from hub.kernel.web import Call, Routes
from orders.settlement.statements import Party
from orders.settlement_lists_web import answer_upload
from orders.settlement_models import (
    FileQuery,
    ListQuery,
    ListReport,
    OwnSettlementCase,
    OwnSettlementCaseQuery,
    OwnSettlementCases,
    PageQuery,
    StatementPage,
    case_view,
)
from orders.settlement_web import after, file_of, following, statement_page
from orders.store import reconciling as kept

routes = Routes("settlement")


@routes.post(
    "/vendor/settlements/lists",
    scope="vendor",
    summary="Your own list of our orders: CSV, TSV or XLSX",
    raw_body=", ".join(connectors.TABLE_TYPES),
    query=ListQuery,
    answer=ListReport,
)
async def send_list(call: Call[None, ListQuery]) -> web.StreamResponse:
    who = call.principal
    return await answer_upload(call.request, call.vendor_id, who.actor, who.tenant, call.query.days)


@routes.get(
    "/vendor/settlements/cases",
    scope="vendor",
    summary="What disagrees between your lists and our orders",
    query=OwnSettlementCaseQuery,
    answer=OwnSettlementCases,
    tx=True,
)
async def own_cases(call: Call[None, OwnSettlementCaseQuery]) -> OwnSettlementCases:
    asked = call.query
    kind = asked.kind.value if asked.kind else None
    rows = await kept.cases_after(call.tx, call.vendor_id, asked.state, kind, after(asked.after), asked.limit + 1)
    items = [OwnSettlementCase(**case_view(row).model_dump()) for row in rows[: asked.limit]]
    return OwnSettlementCases(items=items, next=following(rows, asked.limit))


@routes.get(
    "/vendor/settlements/statements",
    scope="vendor",
    summary="Your statements, from new to old",
    query=PageQuery,
    answer=StatementPage,
    tx=True,
)
async def vendors_statements(call: Call[None, PageQuery]) -> StatementPage:
    asked = call.query
    return await statement_page(call, call.vendor_id, None, asked.after, asked.limit, issued_only=True)


@routes.get(
    "/vendor/settlements/statements/{id}/file",
    scope="vendor",
    summary="Your statement as CSV or XLSX",
    query=FileQuery,
    answer="text/csv",
    tx=True,
)
async def vendors_file(call: Call[None, FileQuery]) -> web.Response:
    return await file_of(call, Party("vendor", call.vendor_id))


@routes.get(
    "/statements",
    scope="mall",
    summary="Your statements, from new to old",
    query=PageQuery,
    answer=StatementPage,
    tx=True,
)
async def malls_statements(call: Call[None, PageQuery]) -> StatementPage:
    asked = call.query
    return await statement_page(call, None, call.mall_id, asked.after, asked.limit, issued_only=True)


@routes.get(
    "/statements/{id}/file",
    scope="mall",
    summary="Your statement as CSV or XLSX",
    query=FileQuery,
    answer="text/csv",
    tx=True,
)
async def malls_file(call: Call[None, FileQuery]) -> web.Response:
    return await file_of(call, Party("mall", call.mall_id))
