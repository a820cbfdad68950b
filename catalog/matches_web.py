"""The review queue and the history of products, for procurement staff: pairs that may be one product with what speaks
for and against them, decisions and taking them back, products put together and taken apart by hand."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from catalog import deciding, grounds, regrouping
from catalog.regrouping import Refused, Wanted
from catalog.store import moves, pairs
from catalog.views import ListingId, MoneyView, ProductId
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import NotFound
from hub.kernel.types import Input, SafeText, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes

routes = Routes("matching")
RowId = Annotated[int, Field(ge=0, le=2**62)]
Why = Annotated[SafeText, Field(min_length=3, max_length=500, description="for the history and the audit trail")]
Status = Literal["open", "same", "different", "matched", "refused"]
_COMPARED = ("title", "title_en", "brand", "model", "gtin", "pack", "category")


class MatchesQuery(Input):
    """Which pairs, from where. `open`: for a person. `matched`: put together by the matcher. `refused`: alike in words,
    and kept apart by a contradiction. `same` and `different`: what people said."""

    status: Status = "open"
    vendor: Annotated[str | None, Field(pattern=r"^vnd_[0-9]{1,18}$", description="one side's vendor, vnd_7")] = None
    cursor: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class MatchSide(View):
    """One listing of a pair, as its vendor describes it."""

    listing_id: str
    product_id: str
    vendor: str
    vendor_id: str
    vendor_sku: str
    title: str
    title_en: str | None
    brand: str | None
    model: str | None
    gtin: str | None
    pack: str | None
    category: str | None
    price: MoneyView
    image_url: str | None
    url: str | None
    listed: bool


class SaidOfField(View):
    """A field on which both sides speak, and what each says."""

    field: str
    field_zh: str
    field_en: str
    left: str
    right: str


class MatchDoubt(View):
    """Why a person should look."""

    code: str
    zh: str
    en: str


class MatchShown(View):
    """A pair with both sides. `differing` are the fields that the vendors fill differently; `agreeing` and `conflicts`
    what matching read in them. Send `seen` back with a decision: it fails when anything here has changed."""

    id: str
    status: Status
    score: Decimal
    seen: str
    left: MatchSide
    right: MatchSide
    together: bool
    differing: list[SaidOfField]
    agreeing: list[SaidOfField]
    conflicts: list[SaidOfField]
    doubts: list[MatchDoubt]
    decided_by: str | None
    why: str | None
    created_at: datetime
    changed_at: datetime


class Matches(View):
    """A piece of the queue, oldest first; how many pairs there are of each status; how many listings wait to be
    compared."""

    items: list[MatchShown]
    next: str | None
    counts: dict[str, int]
    waiting: int


class MatchDecision(Input):
    """What these two are."""

    verdict: deciding.Verdict
    seen: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="of the pair as you saw it")]
    why: Why


class MatchUndo(Input):
    """Why the decision is taken back."""

    seen: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="of the pair as you saw it")]
    why: Why


class TakeBack(Input):
    """Why it is taken back."""

    why: Why


class MergeIn(Input):
    """The product that all listings of this one shall be on."""

    into: ProductId
    why: Why


class SplitIn(Input):
    """The listings that shall be on a product of their own."""

    listing_ids: Annotated[list[ListingId], Field(min_length=1, max_length=200)]
    why: Why


class Regrouping(View):
    """One entry of the history of products: `listing_ids` moved from one to the other. Of a merge the older id leads to
    the other product."""

    id: str
    kind: Literal["match", "merge", "split"]
    from_id: str
    into_id: str
    listing_ids: list[str]
    actor: str
    why: str
    at: datetime
    undone_at: datetime | None
    undone_by: str | None
    undone_why: str | None


class ProductHistoryQuery(Input):
    """A window over the history, of one product or of all."""

    product_id: ProductId | None = None
    cursor: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ProductHistory(View):
    """A piece of the history, newest first."""

    items: list[Regrouping]
    next: str | None


def _number(prefix: str, text: str) -> int:
    try:
        return parse_int_id(prefix, text)
    except ValueError:
        raise NotFound(f"there is no such id; ids look like {prefix}_123", code="no_such_id") from None


@routes.get(
    "/matches", scope="staff", summary="Pairs that may be one product, oldest first", query=MatchesQuery,
    answer=Matches, tx=True,
)  # fmt: skip
async def matches(call: Call[Any, MatchesQuery]) -> Matches:
    query = call.query
    vendor_id = _number("vnd", query.vendor) if query.vendor else None
    rows = await pairs.match_rows(call.tx, query.status, vendor_id, query.cursor or 0, query.limit + 1)
    shown = await _shown(call.tx, rows[: query.limit])
    return Matches(
        items=shown,
        next=str(rows[query.limit - 1]["id"]) if len(rows) > query.limit else None,
        counts=await pairs.match_counts(call.tx),
        waiting=await pairs.waiting_listings(call.tx),
    )


@routes.get("/matches/{id}", scope="staff", summary="One pair", answer=MatchShown, tx=True)
async def match(call: Call[Any, Any]) -> MatchShown:
    return await _one(call.tx, _number("mat", call.path["id"]))


@routes.post(
    "/matches/{id}/decide", scope="staff", summary="Say that a pair is the same product, or that it is not",
    body=MatchDecision, answer=MatchShown, tx=True,
)  # fmt: skip
async def decide(call: Call[MatchDecision, Any]) -> MatchShown:
    match_id, said = _number("mat", call.path["id"]), call.body
    await deciding.decide(call.tx, match_id, said.verdict, said.seen, call.principal.actor, said.why)
    return await _one(call.tx, match_id)


@routes.post(
    "/matches/{id}/undo", scope="staff", summary="Take back what was decided about a pair", body=MatchUndo,
    answer=MatchShown, tx=True,
)  # fmt: skip
async def undo_match(call: Call[MatchUndo, Any]) -> MatchShown:
    match_id = _number("mat", call.path["id"])
    await deciding.undo(call.tx, match_id, call.body.seen, call.principal.actor, call.body.why)
    return await _one(call.tx, match_id)


@routes.post(
    "/products/{id}/merge", scope="staff", summary="Put a product's listings onto another product", body=MergeIn,
    answer=Regrouping, tx=True,
)  # fmt: skip
async def merge(call: Call[MergeIn, Any]) -> Regrouping:
    goes, stays = _number("prd", call.path["id"]), parse_int_id("prd", call.body.into)
    who = call.principal.actor
    (answer,) = await regrouping.put_together(call.tx, [Wanted(goes, stays, call.body.why)], "merge", who, by_hand=True)
    if isinstance(answer, Refused):
        if answer.code == "no_such_product":
            raise NotFound(answer.detail, code=answer.code, facts=answer.facts)
        raise answer.error()
    facts = {"into": public_id("prd", stays), "why": call.body.why}
    await audit.record(call.tx, who, "product.merge", public_id("prd", goes), facts)
    return await _entry(call.tx, answer)


@routes.post(
    "/products/{id}/split", scope="staff", summary="Take listings off a product, onto a new one", body=SplitIn,
    answer=Regrouping, tx=True,
)  # fmt: skip
async def split(call: Call[SplitIn, Any]) -> Regrouping:
    product_id = _number("prd", call.path["id"])
    listing_ids = [parse_int_id("lst", text) for text in call.body.listing_ids]
    entry = await regrouping.split(call.tx, product_id, listing_ids, call.principal.actor, call.body.why)
    return await _entry(call.tx, entry)


@routes.get(
    "/regroupings", scope="staff", summary="Products put together and taken apart, newest first",
    query=ProductHistoryQuery, answer=ProductHistory, tx=True,
)  # fmt: skip
async def history(call: Call[Any, ProductHistoryQuery]) -> ProductHistory:
    query = call.query
    product_id = parse_int_id("prd", query.product_id) if query.product_id else None
    before = query.cursor if query.cursor is not None else 2**62
    rows = await moves.regrouping_rows(call.tx, product_id, before, query.limit + 1)
    more = str(rows[query.limit - 1]["id"]) if len(rows) > query.limit else None
    return ProductHistory(items=[_regrouping(row) for row in rows[: query.limit]], next=more)


@routes.post(
    "/regroupings/{id}/undo", scope="staff", summary="Take back one entry of the history", body=TakeBack,
    answer=Regrouping, tx=True,
)  # fmt: skip
async def undo_regrouping(call: Call[TakeBack, Any]) -> Regrouping:
    number = _number("grp", call.path["id"])
    await regrouping.undo(call.tx, number, call.principal.actor, call.body.why)
    return await _entry(call.tx, number)


async def _entry(tx: Tx, number: int) -> Regrouping:
    row = await moves.lock_regrouping(tx, number)
    assert row is not None
    return _regrouping(row)


def _regrouping(row: Any) -> Regrouping:
    ids = {name: public_id("prd", row[name]) for name in ("from_id", "into_id")}
    moved = [public_id("lst", i) for i in row["listing_ids"]]
    return Regrouping(**{**dict(row), **ids, "id": public_id("grp", row["id"]), "listing_ids": moved})


async def _one(tx: Tx, match_id: int) -> MatchShown:
    row = await pairs.match_row(tx, match_id)
    if row is None:
        raise NotFound("there is no such pair", code="no_such_match")
    return (await _shown(tx, [row]))[0]


async def _shown(tx: Tx, rows: list[Any]) -> list[MatchShown]:
    ids = {i for row in rows for i in (row["left_id"], row["right_id"])}
    said = {row["id"]: row for row in await pairs.listings_by_id(tx, ids)}
    return [_match(row, said[row["left_id"]], said[row["right_id"]]) for row in rows]


def _match(row: Any, left: Any, right: Any) -> MatchShown:
    reasons = row["reasons"]
    differing = [
        [name, left[name] or "", right[name] or ""]
        for name in _COMPARED
        if (left[name] or right[name]) and left[name] != right[name]
    ]
    if (left["price"], left["currency"]) != (right["price"], right["currency"]):
        differing.append(["price", *(f"{side['price'].normalize():f} {side['currency']}" for side in (left, right))])
    return MatchShown(
        id=public_id("mat", row["id"]),
        status=row["status"],
        score=row["score"],
        seen=deciding.seen(row, left, right),
        left=_side(left),
        right=_side(right),
        together=left["product_id"] == right["product_id"],
        differing=[_evidence(each) for each in differing],
        agreeing=[_evidence(each) for each in reasons["agreeing"]],
        conflicts=[_evidence(each) for each in reasons["conflicts"]],
        doubts=[MatchDoubt(code=code, **grounds.doubt(code)._asdict()) for code in reasons["doubts"]],
        decided_by=row["decided_by"],
        why=row["why"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


def _side(row: Any) -> MatchSide:
    return MatchSide(
        **{name: row[name] for name in (*_COMPARED, "vendor_sku", "image_url", "url")},
        listing_id=public_id("lst", row["id"]),
        product_id=public_id("prd", row["product_id"]),
        vendor=row["vendor_name"],
        vendor_id=public_id("vnd", row["vendor_id"]),
        price=MoneyView(amount=row["price"], currency=row["currency"]),
        listed=row["active"],
    )


def _evidence(said: list[str]) -> SaidOfField:
    words = grounds.field(said[0])
    return SaidOfField(field=said[0], field_zh=words.zh, field_en=words.en, left=said[1], right=said[2])
