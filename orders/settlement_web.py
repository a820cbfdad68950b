"""The staff's side of settlement: runs, cases, terms, adjustments, statements."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from connectors import api as connectors
from hub.kernel.db import uow
from hub.kernel.errors import NotFound
from hub.kernel.types import parse_int_id, parse_uuid_id, public_id
from hub.kernel.web import Answer, Call, Routes
from orders.settlement import cases, reconciling, sheets, statements
from orders.settlement.statements import Party
from orders.settlement_models import (
    AdjustmentIn,
    AdjustmentPage,
    AdjustmentView,
    FileQuery,
    NoteIn,
    PartyIn,
    ResolveIn,
    RunIn,
    RunPage,
    RunQuery,
    RunView,
    SettlementCase,
    SettlementCaseQuery,
    SettlementCases,
    StatementIn,
    StatementList,
    StatementPage,
    StatementQuery,
    StatementView,
    TermsIn,
    TermsList,
    TermsQuery,
    TermsView,
    case_view,
    month_of,
    run_view,
    statement_view,
)
from orders.store import reconciling as kept
from orders.store import statements as books

routes = Routes("settlement")


def number_in(call: Call[Any, Any], prefix: str, what: str) -> int:
    """The id in the path; one that cannot be an id is simply not found."""
    try:
        return parse_int_id(prefix, call.path["id"])
    except ValueError:
        raise NotFound(f"there is no such {what}", code=f"no_{what}") from None


def after(cursor: str | None) -> int:
    return int(cursor) if cursor is not None else 0


def following(rows: list[Any], limit: int) -> str | None:
    """The `next` of a page that was asked for with one row too many."""
    return str(rows[limit - 1]["id"]) if len(rows) > limit else None


# Runs and cases ------------------------------------------------------------------------------------------------------


@routes.post(
    "/settlements/runs",
    scope="staff",
    summary="Reconcile a vendor up to the end of a day",
    body=RunIn,
    answer=RunView,
)
async def start_run(call: Call[RunIn, None]) -> RunView:
    """Runs to its end; a run that broke off goes on where it was."""
    async with uow() as tx:
        await connectors.vendor_name(tx, call.body.vendor_id)
    run_id = await reconciling.run(call.body.vendor_id, call.body.day)
    async with uow() as tx:
        row = await kept.run_row(tx, run_id)
    assert row is not None
    return run_view(row)


@routes.get(
    "/settlements/runs",
    scope="staff",
    summary="Runs, from new to old",
    query=RunQuery,
    answer=RunPage,
    tx=True,
)
async def list_runs(call: Call[None, RunQuery]) -> RunPage:
    asked = call.query
    before = after(asked.after) if asked.after is not None else None
    rows = await kept.runs_before(call.tx, asked.vendor, before, asked.limit + 1)
    return RunPage(items=[run_view(row) for row in rows[: asked.limit]], next=following(rows, asked.limit))


@routes.get(
    "/settlements/cases",
    scope="staff",
    summary="What disagrees",
    query=SettlementCaseQuery,
    answer=SettlementCases,
    tx=True,
)
async def list_cases(call: Call[None, SettlementCaseQuery]) -> SettlementCases:
    asked = call.query
    kind = asked.kind.value if asked.kind else None
    rows = await kept.cases_after(call.tx, asked.vendor, asked.state, kind, after(asked.after), asked.limit + 1)
    return SettlementCases(items=[case_view(row) for row in rows[: asked.limit]], next=following(rows, asked.limit))


@routes.post(
    "/settlements/cases/{id}/note",
    scope="staff",
    summary="Note something, or hand it on",
    body=NoteIn,
    answer=SettlementCase,
    tx=True,
)
async def note_case(call: Call[NoteIn, None]) -> SettlementCase:
    case_id = number_in(call, "stc", "case")
    return case_view(await cases.note(call.tx, case_id, call.principal.actor, call.body.note, call.body.assignee))


@routes.post(
    "/settlements/cases/{id}/resolve",
    scope="staff",
    summary="Close a case with a reason",
    body=ResolveIn,
    answer=SettlementCase,
    tx=True,
)
async def resolve_case(call: Call[ResolveIn, None]) -> SettlementCase:
    case_id, said = number_in(call, "stc", "case"), call.body
    return case_view(await cases.resolve(call.tx, case_id, call.principal.actor, said.resolution, said.reason))


# Terms and adjustments -----------------------------------------------------------------------------------------------


@routes.get(
    "/settlements/terms",
    scope="staff",
    summary="Terms of a vendor",
    query=TermsQuery,
    answer=TermsList,
    tx=True,
)
async def list_terms(call: Call[None, TermsQuery]) -> TermsList:
    rows = await books.terms_of(call.tx, [call.query.vendor])
    return TermsList(items=[TermsView(**{**dict(row), "id": public_id("trm", row["id"])}) for row in rows])


@routes.post(
    "/settlements/terms",
    scope="staff",
    summary="Keep terms agreed with a vendor",
    body=TermsIn,
    answer=TermsList,
    status=201,
    tx=True,
)
async def set_terms(call: Call[TermsIn, None]) -> TermsList:
    """The vendor's terms afterwards: older ones without an end now have one."""
    await cases.set_terms(call.tx, call.principal.actor, **call.body.model_dump())
    rows = await books.terms_of(call.tx, [call.body.vendor_id])
    return TermsList(items=[TermsView(**{**dict(row), "id": public_id("trm", row["id"])}) for row in rows])


@routes.get(
    "/settlements/adjustments",
    scope="staff",
    summary="Adjustments, from old to new",
    query=StatementQuery,
    answer=AdjustmentPage,
    tx=True,
)
async def list_adjustments(call: Call[None, StatementQuery]) -> AdjustmentPage:
    asked = call.query
    party = f"vendor:{asked.vendor}" if asked.vendor else f"mall:{asked.mall}" if asked.mall else None
    rows = await books.adjustments_after(call.tx, party, after(asked.after), asked.limit + 1)
    items = [AdjustmentView(**{**dict(row), "id": public_id("adj", row["id"])}) for row in rows[: asked.limit]]
    return AdjustmentPage(items=items, next=following(rows, asked.limit))


@routes.post(
    "/settlements/adjustments",
    scope="staff",
    summary="Add an amount to a party's next statement",
    body=AdjustmentIn,
    answer=dict[str, str],
    status=201,
    idempotent=True,
)
async def adjust(call: Call[AdjustmentIn, None]) -> dict[str, str]:
    said = call.body
    made = await cases.adjust(
        call.tx,
        call.principal.actor,
        await _party(call, said),
        said.kind,
        said.amount,
        said.currency,
        said.reason,
        po_id=parse_uuid_id("po", said.po) if said.po else None,
        case_id=parse_int_id("stc", said.case) if said.case else None,
    )
    return {"id": public_id("adj", made)}


async def _party(call: Call[Any, Any], said: PartyIn) -> Party:
    if said.vendor_id is not None:
        return await statements.party_of(call.tx, "vendor", said.vendor_id)
    return await statements.party_of(call.tx, "mall", said.mall_id or 0)


# Statements ----------------------------------------------------------------------------------------------------------


@routes.post(
    "/settlements/statements",
    scope="staff",
    summary="Draft a party's statements of a month",
    body=StatementIn,
    answer=StatementList,
    status=201,
    tx=True,
)
async def draft_statements(call: Call[StatementIn, None]) -> StatementList:
    party = await _party(call, call.body)
    rows = await statements.draft(call.tx, party, month_of(call.body.month), call.body.reason)
    return StatementList(items=[statement_view(row) for row in rows])


@routes.get(
    "/settlements/statements",
    scope="staff",
    summary="Statements, from new to old",
    query=StatementQuery,
    answer=StatementPage,
    tx=True,
)
async def list_statements(call: Call[None, StatementQuery]) -> StatementPage:
    asked = call.query
    return await statement_page(call, asked.vendor, asked.mall, asked.after, asked.limit, issued_only=False)


async def statement_page(
    call: Call[Any, Any], vendor: int | None, mall: int | None, cursor: str | None, limit: int, *, issued_only: bool
) -> StatementPage:
    before = after(cursor) if cursor is not None else None
    rows = await books.statements_before(call.tx, vendor, mall, issued_only, before, limit + 1)
    return StatementPage(items=[statement_view(row) for row in rows[:limit]], next=following(rows, limit))


@routes.post(
    "/settlements/statements/{id}/issue",
    scope="staff",
    summary="Freeze a draft",
    answer=StatementView,
    tx=True,
)
async def issue_statement(call: Call[None, None]) -> StatementView:
    statement_id = number_in(call, "stm", "statement")
    return statement_view(await statements.issue(call.tx, statement_id, call.principal.actor))


@routes.get(
    "/settlements/statements/{id}/file",
    scope="staff",
    summary="A statement as CSV or XLSX",
    query=FileQuery,
    answer="text/csv",
    tx=True,
)
async def statement_file(call: Call[None, FileQuery]) -> Answer | web.Response:
    return await file_of(call, None)


async def file_of(call: Call[None, FileQuery], party: Party | None) -> web.Response:
    """The file of a statement that `party` may read (None: staff)."""
    row = await statements.readable(call.tx, number_in(call, "stm", "statement"), party)
    lines = statements.lines_of(call.tx, row["id"])
    name = f"{row['party'].replace(':', '-')}-{row['month']:%Y-%m}-{row['currency']}-v{row['version']}"
    kind, lang = call.query.format, call.query.lang
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    if kind == "xlsx":
        body = await sheets.as_xlsx(row, lines, lang)
        return web.Response(body=body, headers=headers, content_type=connectors.XLSX_TYPE)
    body = b"".join([piece async for piece in sheets.as_csv(row, lines, lang)])
    return web.Response(body=body, headers=headers, content_type="text/csv", charset="utf-8")
