"""The staff's side of price parity over HTTP: references, policies, findings, figures; cases and moves are in
pricing.cases_web, rates in pricing.rates_web.

Since 2026-04-10 China's rules on internet platforms' price conduct (互联网平台价格行为规则) forbid a platform to coerce
"not dearer than elsewhere" by fees, traffic limits, down-ranking or delisting. So nothing here, and nothing that reads
it, changes ranking, fees or a vendor's price: a policy is a buyer's recorded decision about what that one mall buys,
set by a named person, kept in the audit trail, and undone by a review that gives its reason."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import AfterValidator, Field, model_validator

from hub.kernel import audit
from hub.kernel.errors import Fault, NotFound, Rejected
from hub.kernel.types import Currency, Input, Instant, Price, SafeText, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes
from pricing import api, cases, store
from pricing.contracts import Evidence, ParityFigure, Policy, ReferenceIn
from pricing.parity import STANDING, Rule

routes = Routes("pricing")


def id_of(prefix: str) -> Any:
    """Validates an id of this kind."""

    def check(value: str) -> str:
        parse_int_id(prefix, value)
        return value

    return AfterValidator(check)


ProductId = Annotated[str, id_of("prd")]
ListingId = Annotated[str, id_of("lst")]
ConnectionId = Annotated[str, id_of("conn")]
ReferenceId = Annotated[str, id_of("ref")]
Percent = Annotated[Decimal, Field(ge=0, le=10_000, decimal_places=2)]
Extra = Annotated[Decimal, Field(ge=0, le=999_999, decimal_places=4)]
Limit = Annotated[int, Field(ge=1, le=200)]


class ObservedPrice(Input):
    """A mainstream price as somebody or something observed it, with the evidence."""

    product_id: ProductId
    price: Price
    currency: Currency = "CNY"
    shipping: Extra = Decimal(0)
    coupon: Extra = Decimal(0)
    pack: Annotated[SafeText, Field(max_length=500)] | None = None
    condition: Literal["ordinary", "member", "group_buy", "flash", "new_user", "used"] = "ordinary"
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    evidence: Evidence

    @model_validator(mode="after")
    def _window_is_one(self) -> ObservedPrice:
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be later than valid_from")
        return self

    def reference(self) -> ReferenceIn:
        """As pricing.api takes it."""
        return ReferenceIn(**{**dict(self), "product_id": parse_int_id("prd", self.product_id)})


class References(Input):
    """Observations to keep; all of them or none."""

    references: Annotated[list[ObservedPrice], Field(min_length=1, max_length=1_000)]


class Recorded(View):
    """How many observations came and how many were new."""

    received: int
    recorded: int


class ReferenceView(View):
    """One kept observation."""

    id: str
    product_id: str
    price: Decimal
    shipping: Decimal
    coupon: Decimal
    currency: str
    pack: str | None
    units: Decimal | None
    unit: str | None
    comparable: Decimal | None
    condition: str
    valid_from: datetime | None
    valid_to: datetime | None
    evidence: Evidence
    recorded_at: datetime


class ReferencePage(View):
    """A page of references, newest first."""

    items: list[ReferenceView]
    next: str | None


class ReferenceQuery(Input):
    """Which references."""

    product_id: ProductId | None = None
    cursor: ReferenceId | None = None
    limit: Limit = 50


class PolicyIn(Input):
    """What one mall does about a breach. `category` narrows it to listings of that category and those below it (as
    vendors write it: 食品/饮料, Home > Kitchen); the policy for the closest category counts."""

    mall_id: Annotated[int, Field(ge=1, le=2**62)]
    category: Annotated[SafeText, Field(max_length=120)] = ""
    action: Policy
    threshold_pct: Percent = STANDING.threshold_pct
    gross_pct: Percent = STANDING.gross_pct

    @model_validator(mode="after")
    def _gross_is_wider(self) -> PolicyIn:
        if self.gross_pct < self.threshold_pct:
            raise ValueError("gross_pct must not be below threshold_pct")
        return self


class PolicyKey(Input):
    """Which policy: a mall's for a category, or ('') for whatever no category's policy covers."""

    mall_id: Annotated[int, Field(ge=1, le=2**62)]
    category: Annotated[SafeText, Field(max_length=120)] = ""


class PolicyView(View):
    """A mall's policy; `updated_at` is empty while the mall has never set one and observes."""

    mall_id: int
    mall: str
    category: str
    action: Policy
    threshold_pct: Decimal
    gross_pct: Decimal
    updated_at: datetime | None
    updated_by: str | None


class Policies(View):
    """The policies of all malls."""

    items: list[PolicyView]


class PackFinding(View):
    """A multi-pack dearer per unit than a smaller pack of the same thing."""

    listing_id: str
    unit: str
    units: Decimal
    per_unit: Decimal
    smaller_listing_id: str
    smaller_units: Decimal
    smaller_per_unit: Decimal
    currency: str
    found_at: datetime


class FindingQuery(Input):
    """Where the last page ended."""

    cursor: ListingId | None = None
    limit: Limit = 50


class PackFindings(View):
    """A page of findings, by listing."""

    items: list[PackFinding]
    next: str | None


class UnmatchedView(View):
    """What a reference source prices and we do not know as a product of ours."""

    connection_id: str
    sku: str
    title: str
    brand: str | None
    model: str | None
    gtin: str | None
    price: Decimal
    currency: str
    url: str | None
    seen_at: datetime


class UnmatchedPage(View):
    """A page of them, and how many there are by connection."""

    items: list[UnmatchedView]
    counts: dict[str, int]
    next: str | None


class UnmatchedQuery(Input):
    """Of which connection."""

    connection_id: ConnectionId | None = None
    cursor: Annotated[SafeText, Field(max_length=300)] | None = None
    limit: Limit = 50


@routes.post("/references", scope="staff", summary="Record observed mainstream prices", body=References,
             answer=Recorded, status=201, tx=True)  # fmt: skip
async def record_references(call: Call[References, None]) -> Recorded:
    ahead = [
        Fault(f"/references/{i}/evidence/captured_at", "the capture time is in the future")
        for i, ref in enumerate(call.body.references)
        if ref.evidence.captured_at > call.tx.now + api.SKEW
    ]
    if ahead:
        raise Rejected(
            f"the body was refused; {ahead[0].pointer}: {ahead[0].detail}", code="invalid", faults=tuple(ahead)
        )
    recorded = await api.record_references(call.tx, [ref.reference() for ref in call.body.references])
    return Recorded(received=len(call.body.references), recorded=recorded)


@routes.get("/references", scope="staff", summary="Observed prices with their evidence", query=ReferenceQuery,
            answer=ReferencePage, tx=True)  # fmt: skip
async def list_references(call: Call[None, ReferenceQuery]) -> ReferencePage:
    query = call.query
    product = parse_int_id("prd", query.product_id) if query.product_id else None
    before = parse_int_id("ref", query.cursor) if query.cursor else None
    rows = await store.reference_rows(call.tx, product, before, query.limit)
    items = [_reference_view(row) for row in rows]
    return ReferencePage(items=items, next=items[-1].id if len(items) == query.limit else None)


@routes.get("/parity/policies", scope="staff", summary="What each mall does about a breach", answer=Policies, tx=True)
async def list_policies(call: Call[None, None]) -> Policies:
    return Policies(items=[_policy_view(row) for row in await store.policy_rows(call.tx)])


@routes.put(
    "/parity/policies", scope="staff", summary="Set one mall's policy", body=PolicyIn, answer=PolicyView, tx=True
)
async def put_policy(call: Call[PolicyIn, None]) -> PolicyView:
    wanted, actor = call.body, call.principal.actor
    rule = Rule(wanted.threshold_pct, wanted.gross_pct)
    if not await cases.set_policy(call.tx, wanted.mall_id, wanted.action, rule, actor, wanted.category):
        raise NotFound("there is no such mall", code="no_mall", faults=(Fault("/mall_id", "no such mall"),))
    facts = {
        "category": wanted.category, "action": wanted.action.value, "threshold_pct": str(rule.threshold_pct),
        "gross_pct": str(rule.gross_pct),
    }  # fmt: skip
    await audit.record(call.tx, actor, "parity.policy.set", f"mall:{wanted.mall_id}", facts)
    call.tx.after_commit(api.forget_held)
    rows = await store.policy_rows(call.tx)
    kept = ((r["mall_id"], r["category"]) == (wanted.mall_id, wanted.category) for r in rows)
    return _policy_view(next(row for row, it in zip(rows, kept, strict=True) if it))


@routes.delete("/parity/policies", scope="staff", summary="Take a mall's policy back", query=PolicyKey, answer=Policies,
               tx=True)  # fmt: skip
async def drop_policy(call: Call[None, PolicyKey]) -> Policies:
    """What it covered is covered by the wider policy again, or by the standing limits; the policies that are left."""
    key = call.query
    if not await cases.drop_policy(call.tx, key.mall_id, key.category):
        raise NotFound("this mall has no such policy", code="no_policy")
    await audit.record(
        call.tx, call.principal.actor, "parity.policy.drop", f"mall:{key.mall_id}", {"category": key.category}
    )
    call.tx.after_commit(api.forget_held)
    return Policies(items=[_policy_view(row) for row in await store.policy_rows(call.tx)])


@routes.get("/parity/findings", scope="staff", summary="Multi-packs dearer per unit than a smaller pack",
            query=FindingQuery, answer=PackFindings, tx=True)  # fmt: skip
async def list_findings(call: Call[None, FindingQuery]) -> PackFindings:
    after = parse_int_id("lst", call.query.cursor) if call.query.cursor else 0
    items = [_finding_view(row) for row in await store.finding_rows(call.tx, after, call.query.limit)]
    return PackFindings(items=items, next=items[-1].listing_id if len(items) == call.query.limit else None)


@routes.get("/references/unmatched", scope="staff", summary="What reference sources price and we do not sell",
            query=UnmatchedQuery, answer=UnmatchedPage, tx=True)  # fmt: skip
async def list_unmatched(call: Call[None, UnmatchedQuery]) -> UnmatchedPage:
    query = call.query
    after = None
    if query.cursor:
        number, _, sku = query.cursor.partition(":")
        if not sku or not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise Rejected("this cursor is none that the list gave", code="invalid",
                           faults=(Fault("/cursor", "not a cursor of this list"),))  # fmt: skip
        after = (int(number), sku)
    connection = parse_int_id("conn", query.connection_id) if query.connection_id else None
    rows = await store.unmatched_rows(call.tx, connection, after, query.limit)
    items = [
        UnmatchedView(**{**dict(r), "connection_id": public_id("conn", r["connection_id"]), "sku": r["vendor_sku"]})
        for r in rows
    ]
    counts = {public_id("conn", number): count for number, count in (await store.count_unmatched(call.tx)).items()}
    more = f"{rows[-1]['connection_id']}:{rows[-1]['vendor_sku']}" if len(rows) == query.limit else None
    return UnmatchedPage(items=items, counts=counts, next=more)


@routes.get("/metrics/parity", scope="staff", summary="Listings level with the market", answer=ParityFigure, tx=True)
async def parity_figure(call: Call[None, None]) -> ParityFigure:
    return await api.parity_figure(call.tx)


def _reference_view(row: asyncpg.Record) -> ReferenceView:
    values = dict(row)
    evidence = Evidence(**{name: values[name] for name in Evidence.model_fields})
    ids = {"id": public_id("ref", row["id"]), "product_id": public_id("prd", row["product_id"])}
    return ReferenceView(**{**values, **ids, "evidence": evidence})


def _policy_view(row: asyncpg.Record) -> PolicyView:
    if row["action"] is not None:
        return PolicyView(**dict(row))
    standing = {"threshold_pct": STANDING.threshold_pct, "gross_pct": STANDING.gross_pct}
    return PolicyView(**{**dict(row), **standing, "category": "", "action": Policy.OBSERVE})


def _finding_view(row: asyncpg.Record) -> PackFinding:
    ids = {name: public_id("lst", row[name]) for name in ("listing_id", "smaller_listing_id")}
    return PackFinding(**{**dict(row), **ids})
