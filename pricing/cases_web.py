"""What people do about parity over HTTP: the talk about a case (told the vendor, a new price, a waiver, closed), the
review that releases holds, and prices that moved too far to be taken as they came.

Nothing here changes ranking, fees or a vendor's price; a confirmed move is the vendor's own price taking effect. Every
act goes into the case's log and into the audit trail, with who and when, and leaves a snapshot with its hash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import Field, StringConstraints

from hub.kernel import audit
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected
from hub.kernel.types import Currency, Input, Instant, Json, Price, SafeText, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes
from pricing import api, cases, store
from pricing.contracts import (
    CaseMoved,
    ParityCaseOffered,
    ParityCaseTold,
    ParityCaseWaived,
    PriceMoveConfirmed,
)
from pricing.web import Limit, ListingId, id_of

routes = Routes("pricing")
LONGEST_WAIVER = timedelta(days=366)

CaseId = Annotated[str, id_of("case")]
MoveId = Annotated[str, id_of("move")]
CaseStatus = Literal["open", "waived", "closed"]
MoveStatus = Literal["pending", "confirmed", "refused", "withdrawn"]


class HoldView(View):
    """One mall's choice not to buy the listing."""

    mall_id: int
    action: Literal["hold", "block"]
    since: datetime
    ended_at: datetime | None
    reviewed_at: datetime | None
    review_reason: str | None


class SnapshotView(View):
    """What was known when something happened to a case, by its hash."""

    at: datetime
    what: str
    sha256: str


class CaseView(View):
    """A matter for negotiation with a vendor."""

    id: str
    listing_id: str
    product_id: str
    category: str | None
    status: CaseStatus
    stage: Literal["found", "told", "offered"]
    waived_until: datetime | None
    version: int
    threshold_pct: Decimal
    gross_pct: Decimal
    opened_at: datetime
    closed_at: datetime | None
    evidence: Json
    log: list[Json]
    holds: list[HoldView]
    snapshots: list[SnapshotView]


class CasePage(View):
    """A page of cases, newest first."""

    items: list[CaseView]
    next: str | None


class CaseQuery(Input):
    """Which cases."""

    status: CaseStatus | None = None
    listing_id: ListingId | None = None
    cursor: CaseId | None = None
    limit: Limit = 50


class Review(Input):
    """Why the listing may be bought again, by one mall or by all that hold it."""

    reason: Annotated[SafeText, StringConstraints(min_length=1, max_length=1_000)]
    mall_id: Annotated[int, Field(ge=1, le=2**62)] | None = None


class CaseInFull(CaseView):
    """A case with the snapshots' content, byte for byte as it was hashed."""

    contents: list[str]


class Said(Input):
    """What was said or decided, and the version of the case that it was decided on: another one is a conflict."""

    note: Annotated[SafeText, StringConstraints(min_length=1, max_length=1_000)]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class NewPrice(Said):
    """The price that the vendor named for the listing. The case closes by itself once it is seen."""

    price: Price
    currency: Currency = "CNY"


class Waiver(Said):
    """Until when the price is accepted; then the case opens again by itself."""

    until: Instant


class MoveView(View):
    """A price that moved too far at once. While it is pending or refused the old price stands."""

    id: str
    listing_id: str
    connection_id: str
    sku: str
    price_before: Decimal
    price_after: Decimal
    currency: str
    seen_at: datetime
    status: MoveStatus
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class MovePage(View):
    """A page of moves, newest first."""

    items: list[MoveView]
    next: str | None


class MoveQuery(Input):
    """Which moves."""

    status: MoveStatus | None = None
    cursor: MoveId | None = None
    limit: Limit = 50


class Decision(Input):
    """Why."""

    reason: Annotated[SafeText, StringConstraints(min_length=1, max_length=1_000)]


@routes.get("/parity/cases", scope="staff", summary="Parity cases, newest first", query=CaseQuery, answer=CasePage,
            tx=True)  # fmt: skip
async def list_cases(call: Call[None, CaseQuery]) -> CasePage:
    query = call.query
    listing = parse_int_id("lst", query.listing_id) if query.listing_id else None
    before = parse_int_id("case", query.cursor) if query.cursor else None
    rows = await store.case_rows(call.tx, query.status, listing, before, query.limit)
    items = [_case_view(row) for row in rows]
    return CasePage(items=items, next=items[-1].id if len(items) == query.limit else None)


@routes.get("/parity/cases/{id}", scope="staff", summary="One case with its evidence", answer=CaseInFull, tx=True)
async def one_case(call: Call[None, None]) -> CaseInFull:
    case_id = _number("case", call)
    view = await _view(call, case_id)
    contents = [row["content"] for row in await store.snapshot_rows(call.tx, case_id)]
    return CaseInFull(**{**dict(view), "contents": contents})


@routes.post("/parity/cases/{id}/review", scope="staff", summary="Review a case: release its holds, with a reason",
             body=Review, answer=CaseView, tx=True)  # fmt: skip
async def review_case(call: Call[Review, None]) -> CaseView:
    case_id = _number("case", call)
    actor = call.principal.actor
    released = await cases.review(call.tx, case_id, call.body.mall_id, actor, call.body.reason)
    if released is None:
        raise _no_case()
    await _record(call, "review", case_id, {"reason": call.body.reason, "released_malls": released})
    return await _view(call, case_id)


@routes.post("/parity/cases/{id}/tell", scope="staff", summary="The vendor was told: how, and what was asked",
             body=Said, answer=CaseView, tx=True)  # fmt: skip
async def tell_vendor(call: Call[Said, None]) -> CaseView:
    return await _talk(call, "told", ParityCaseTold, {}, stage="told")


@routes.post("/parity/cases/{id}/offer", scope="staff", summary="The vendor named a new price", body=NewPrice,
             answer=CaseView, tx=True)  # fmt: skip
async def new_price(call: Call[NewPrice, None]) -> CaseView:
    offered = {"price": str(call.body.price), "currency": call.body.currency}
    return await _talk(call, "offered", ParityCaseOffered, offered, stage="offered")


@routes.post("/parity/cases/{id}/waive", scope="staff", summary="Accept the price until a day, with a reason",
             body=Waiver, answer=CaseView, tx=True)  # fmt: skip
async def waive(call: Call[Waiver, None]) -> CaseView:
    """Holds and blocks under the case end; both begin again when the waiver runs out and the price is as dear."""
    until = call.body.until
    if not call.tx.now < until <= call.tx.now + LONGEST_WAIVER:
        raise Rejected(
            "a waiver ends within a year from now", code="invalid",
            faults=(Fault("/until", "must be later than now and within 366 days"),),
        )  # fmt: skip
    return await _talk(call, "waived", ParityCaseWaived, {"until": until.isoformat()}, waived_until=until)


@routes.post("/parity/cases/{id}/close", scope="staff", summary="Close a case, with a reason", body=Said,
             answer=CaseView, tx=True)  # fmt: skip
async def close_case(call: Call[Said, None]) -> CaseView:
    """A breach that is observed anew opens another case; accept a price for a while by a waiver."""
    case_id = _number("case", call)
    case = await _locked(call, case_id, ("open", "waived"))
    await cases.close(call.tx, [case_id], call.body.note, call.principal.actor)
    await store.drop_streaks(call.tx, [(case["listing_id"], case["threshold_pct"])])
    await _record(call, "close", case_id, {"note": call.body.note})
    return await _view(call, case_id)


async def _talk(
    call: Call[Any, None],
    what: str,
    event: type[CaseMoved],
    facts: dict[str, str],
    *,
    stage: str | None = None,
    waived_until: datetime | None = None,
) -> CaseView:
    case_id, actor, note = _number("case", call), call.principal.actor, call.body.note
    await _locked(call, case_id, ("open",))
    entry = cases.log_entry(call.tx, what, note, by=actor, **facts)
    await store.move_case(call.tx, case_id, entry, stage=stage, waived_until=waived_until)
    if waived_until is not None:
        cases.tell_holds(call.tx, await store.release_holds(call.tx, case_id, None, actor, note))
    await cases.announce(call.tx, event, [case_id], what, {case_id: note}, actor)
    await _record(call, what, case_id, {"note": note, **facts})
    return await _view(call, case_id)


async def _locked(call: Call[Any, None], case_id: int, statuses: tuple[str, ...]) -> asyncpg.Record:
    """The case, locked, if it is in one of the statuses and as the caller saw it."""
    case = await store.lock_case(call.tx, case_id)
    if case is None:
        raise _no_case()
    facts = {"status": case["status"], "stage": case["stage"], "version": case["version"]}
    if call.body.version is not None and call.body.version != case["version"]:
        raise Conflict("somebody else wrote to this case meanwhile; look at it again", code="case_moved", facts=facts)
    if case["status"] not in statuses:
        raise Conflict(f"the case is {case['status']}", code=f"case_{case['status']}", facts=facts)
    return case


async def _record(call: Call[Any, None], what: str, case_id: int, facts: dict[str, Any]) -> None:
    await audit.record(call.tx, call.principal.actor, f"parity.case.{what}", public_id("case", case_id), facts)
    call.tx.after_commit(api.forget_held)


@routes.get("/parity/moves", scope="staff", summary="Prices that moved too far at once, newest first",
            query=MoveQuery, answer=MovePage, tx=True)  # fmt: skip
async def list_moves(call: Call[None, MoveQuery]) -> MovePage:
    query = call.query
    before = parse_int_id("move", query.cursor) if query.cursor else None
    items = [_move_view(row) for row in await store.move_rows(call.tx, query.status, before, query.limit)]
    return MovePage(items=items, next=items[-1].id if len(items) == query.limit else None)


@routes.post("/parity/moves/{id}/confirm", scope="staff", summary="The new price is meant: it takes effect",
             body=Decision, answer=MoveView, tx=True)  # fmt: skip
async def confirm_move(call: Call[Decision, None]) -> MoveView:
    row = await _decide(call, "confirmed")
    call.tx.emit(PriceMoveConfirmed(listing_id=row["listing_id"], before=row["price_before"], after=row["price_after"]))
    return _move_view(row)


@routes.post("/parity/moves/{id}/refuse", scope="staff", summary="The new price is a slip: the old one stands",
             body=Decision, answer=MoveView, tx=True)  # fmt: skip
async def refuse_move(call: Call[Decision, None]) -> MoveView:
    """The same price from the vendor is refused from now on without a word; any other one is looked at anew."""
    return _move_view(await _decide(call, "refused"))


async def _decide(call: Call[Decision, None], status: str) -> asyncpg.Record:
    move_id, actor, reason = _number("move", call), call.principal.actor, call.body.reason
    row = await store.decide_move(call.tx, move_id, status, actor, reason)
    if row is None:
        rows = await store.move_rows(call.tx, None, None, 1, move_id)
        if not rows:
            raise NotFound("there is no such move of a price", code="no_move")
        raise Conflict(f"this move is {rows[0]['status']} already", code="move_decided")
    prices = {"before": str(row["price_before"]), "after": str(row["price_after"]), "reason": reason}
    await audit.record(call.tx, actor, f"parity.move.{status}", public_id("move", move_id), prices)
    return row


def _number(prefix: str, call: Call[Any, None]) -> int:
    try:
        return parse_int_id(prefix, call.path["id"])
    except ValueError as error:
        raise (_no_case() if prefix == "case" else NotFound("there is no such move of a price", code="no_move")) from (
            error
        )


def _no_case() -> NotFound:
    return NotFound("there is no such parity case", code="no_case")


async def _view(call: Call[Any, None], case_id: int) -> CaseView:
    rows = await store.case_rows(call.tx, None, None, None, 1, case_id)
    if not rows:
        raise _no_case()
    return _case_view(rows[0])


def _case_view(row: asyncpg.Record) -> CaseView:
    values: Mapping[str, Any] = dict(row)
    ids = {
        "id": public_id("case", row["id"]),
        "listing_id": public_id("lst", row["listing_id"]),
        "product_id": public_id("prd", row["product_id"]),
    }
    return CaseView(**{**values, **ids})


def _move_view(row: asyncpg.Record) -> MoveView:
    ids = {
        "id": public_id("move", row["id"]),
        "listing_id": public_id("lst", row["listing_id"]),
        "connection_id": public_id("conn", row["connection_id"]),
        "sku": row["vendor_sku"],
    }
    return MoveView(**{**{name: row[name] for name in MoveView.model_fields if name in row}, **ids})
