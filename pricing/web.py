"""The staff's side of price parity over HTTP: references, cases, policies, figures.

Since 2026-04-10 China's rules on internet platforms' price conduct (互联网平台价格行为规则) forbid a platform to coerce
"not dearer than elsewhere" by fees, traffic limits, down-ranking or delisting. So nothing here, and nothing that reads
it, changes ranking, fees or a vendor's price: a policy is a buyer's recorded decision about what that one mall buys,
set by a named person, kept in the audit trail, and undone by a review that gives its reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hub.kernel import audit
from hub.kernel.errors import Fault, NotFound, Rejected
from hub.kernel.types import Currency, Input, Json, Price, SafeText, View, parse_int_id, public_id
from hub.kernel.web import Call, Routes
from pricing import api, cases, store
from pricing.contracts import Evidence, ParityFigure, Policy, ReferenceIn
from pricing.parity import STANDING, Rule

routes = Routes("pricing")


def _id(prefix: str) -> Any:
    def check(value: str) -> str:
        parse_int_id(prefix, value)
        return value

    return AfterValidator(check)


ProductId = Annotated[str, _id("prd")]
ListingId = Annotated[str, _id("lst")]
CaseId = Annotated[str, _id("case")]
ReferenceId = Annotated[str, _id("ref")]
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
    evidence: Evidence

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


class HoldView(View):
    """One mall's choice not to buy the listing."""

    mall_id: int
    action: Literal["hold", "block"]
    since: datetime
    ended_at: datetime | None
    reviewed_at: datetime | None
    review_reason: str | None


class CaseView(View):
    """A matter for negotiation with a vendor."""

    id: str
    listing_id: str
    product_id: str
    status: Literal["open", "closed"]
    threshold_pct: Decimal
    gross_pct: Decimal
    opened_at: datetime
    closed_at: datetime | None
    evidence: Json
    log: list[Json]
    holds: list[HoldView]


class CasePage(View):
    """A page of cases, newest first."""

    items: list[CaseView]
    next: str | None


class CaseQuery(Input):
    """Which cases."""

    status: Literal["open", "closed"] | None = None
    listing_id: ListingId | None = None
    cursor: CaseId | None = None
    limit: Limit = 50


class Review(Input):
    """Why the listing may be bought again, by one mall or by all that hold it."""

    reason: Annotated[SafeText, StringConstraints(min_length=1, max_length=1_000)]
    mall_id: Annotated[int, Field(ge=1, le=2**62)] | None = None


class PolicyIn(Input):
    """What one mall does about a breach."""

    mall_id: Annotated[int, Field(ge=1, le=2**62)]
    action: Policy
    threshold_pct: Percent = STANDING.threshold_pct
    gross_pct: Percent = STANDING.gross_pct

    @model_validator(mode="after")
    def _gross_is_wider(self) -> PolicyIn:
        if self.gross_pct < self.threshold_pct:
            raise ValueError("gross_pct must not be below threshold_pct")
        return self


class PolicyView(View):
    """A mall's policy; `updated_at` is empty while the mall has never set one and observes."""

    mall_id: int
    mall: str
    action: Policy
    threshold_pct: Decimal
    gross_pct: Decimal
    updated_at: datetime | None
    updated_by: str | None


class Policies(View):
    """The policies of all malls."""

    items: list[PolicyView]


class PackFinding(View):
    """A multi-pack dearer per unit than a smaller pack of the same product."""

    listing_id: str
    product_id: str
    units: Decimal
    unit: str
    per_unit: Decimal
    smaller_listing_id: str
    smaller_units: Decimal
    smaller_per_unit: Decimal


class PackFindings(View):
    """Findings now, at most 200."""

    items: list[PackFinding]


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


@routes.get("/parity/cases", scope="staff", summary="Parity cases, newest first", query=CaseQuery, answer=CasePage,
            tx=True)  # fmt: skip
async def list_cases(call: Call[None, CaseQuery]) -> CasePage:
    query = call.query
    listing = parse_int_id("lst", query.listing_id) if query.listing_id else None
    before = parse_int_id("case", query.cursor) if query.cursor else None
    rows = await store.case_rows(call.tx, query.status, listing, before, query.limit)
    items = [_case_view(row) for row in rows]
    return CasePage(items=items, next=items[-1].id if len(items) == query.limit else None)


@routes.post("/parity/cases/{id}/review", scope="staff", summary="Review a case: release its holds, with a reason",
             body=Review, answer=CaseView, tx=True)  # fmt: skip
async def review_case(call: Call[Review, None]) -> CaseView:
    try:
        case_id = parse_int_id("case", call.path["id"])
    except ValueError as error:
        raise NotFound("there is no such parity case", code="no_case") from error
    actor = call.principal.actor
    released = await cases.review(call.tx, case_id, call.body.mall_id, actor, call.body.reason)
    if released is None:
        raise NotFound("there is no such parity case", code="no_case")
    facts = {"reason": call.body.reason, "released_malls": released}
    await audit.record(call.tx, actor, "parity.case.review", public_id("case", case_id), facts)
    call.tx.after_commit(api.forget_held)
    return _case_view((await store.case_rows(call.tx, None, None, None, 1, case_id))[0])


@routes.get("/parity/policies", scope="staff", summary="What each mall does about a breach", answer=Policies, tx=True)
async def list_policies(call: Call[None, None]) -> Policies:
    return Policies(items=[_policy_view(row) for row in await store.policy_rows(call.tx)])


@routes.put(
    "/parity/policies", scope="staff", summary="Set one mall's policy", body=PolicyIn, answer=PolicyView, tx=True
)
async def put_policy(call: Call[PolicyIn, None]) -> PolicyView:
    wanted, actor = call.body, call.principal.actor
    rule = Rule(wanted.threshold_pct, wanted.gross_pct)
    if not await cases.set_policy(call.tx, wanted.mall_id, wanted.action, rule, actor):
        raise NotFound("there is no such mall", code="no_mall", faults=(Fault("/mall_id", "no such mall"),))
    facts = {"action": wanted.action.value, "threshold_pct": str(rule.threshold_pct), "gross_pct": str(rule.gross_pct)}
    await audit.record(call.tx, actor, "parity.policy.set", f"mall:{wanted.mall_id}", facts)
    call.tx.after_commit(api.forget_held)
    return next(_policy_view(r) for r in await store.policy_rows(call.tx) if r["mall_id"] == wanted.mall_id)


@routes.get("/parity/findings", scope="staff", summary="Multi-packs dearer per unit than a smaller pack",
            answer=PackFindings, tx=True)  # fmt: skip
async def list_findings(call: Call[None, None]) -> PackFindings:
    return PackFindings(items=[_finding_view(row) for row in await api.dearer_packs(call.tx, 200)])


@routes.get("/metrics/parity", scope="staff", summary="Listings level with the market", answer=ParityFigure, tx=True)
async def parity_figure(call: Call[None, None]) -> ParityFigure:
    return await api.parity_figure(call.tx)


def _reference_view(row: asyncpg.Record) -> ReferenceView:
    values = dict(row)
    evidence = Evidence(**{name: values[name] for name in Evidence.model_fields})
    ids = {"id": public_id("ref", row["id"]), "product_id": public_id("prd", row["product_id"])}
    return ReferenceView(**{**values, **ids, "evidence": evidence})


def _case_view(row: asyncpg.Record) -> CaseView:
    values: Mapping[str, Any] = dict(row)
    ids = {
        "id": public_id("case", row["id"]),
        "listing_id": public_id("lst", row["listing_id"]),
        "product_id": public_id("prd", row["product_id"]),
    }
    return CaseView(**{**values, **ids})


def _policy_view(row: asyncpg.Record) -> PolicyView:
    if row["action"] is not None:
        return PolicyView(**dict(row))
    standing = {"threshold_pct": STANDING.threshold_pct, "gross_pct": STANDING.gross_pct}
    return PolicyView(**{**dict(row), **standing, "action": Policy.OBSERVE})


def _finding_view(row: asyncpg.Record) -> PackFinding:
    return PackFinding(
        listing_id=public_id("lst", row["listing_id"]),
        product_id=public_id("prd", row["product_id"]),
        units=row["units"],
        unit=row["unit"],
        per_unit=row["ours"],
        smaller_listing_id=public_id("lst", row["small_listing_id"]),
        smaller_units=row["small_units"],
        smaller_per_unit=row["small_ours"],
    )
