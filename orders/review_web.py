"""The staff's side of abnormal orders: the rules of each mall, the queue of orders that they found, and one call to let
an order go or to refuse it."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from hub.kernel.types import Input, Money, SafeText, View, public_id
from hub.kernel.web import Call, Routes
from orders import review, store
from orders.suspicion import RuleSet
from orders.web import cursor, path_id

routes = Routes("order reviews")
State = Literal["flagged", "held", "released", "refused", "overtaken"]
MallId = Annotated[int, Field(ge=1, le=2**62, strict=True)]
Reason = Annotated[SafeText, StringConstraints(min_length=1, max_length=500)]


class RulesIn(RuleSet):
    """A mall's whole set of rules; it takes the place of the one before, which is kept as an older version."""

    mall_id: MallId


class RulesQuery(Input):
    mall: Annotated[int, Field(ge=1, le=2**62)]


class RulesView(View):
    """The rules in force. Version 0: none were ever set."""

    mall_id: int
    version: int
    rules: list[dict[str, Any]]
    deadline_s: int
    at_deadline: str
    set_at: datetime | None = None
    set_by: str | None = None


class FindingView(View):
    """A rule that the order broke: the figure, its limit, over which window."""

    rule: str
    kind: str
    holds: bool
    figure: Decimal
    limit: Decimal
    window_s: int | None
    detail: str


class ReviewView(View):
    """An order that rules found. `held`: no vendor has it, and at `held_until` it is decided without anybody, as
    `at_deadline` says. `overtaken`: it ended by itself. The 72 hours (`due_at`) run on during a hold."""

    id: str
    mall_id: int
    mall_order_no: str
    state: State
    order_status: str
    total: Money
    lines: int
    findings: list[FindingView]
    rules_version: int
    found_at: datetime
    held_until: datetime | None
    at_deadline: str
    due_at: datetime | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class ReviewPage(View):
    items: list[ReviewView]
    next: str | None


class ReviewQuery(Input):
    """Which reviews; those that wait (held and flagged) unless `state` says otherwise."""

    state: State | None = None
    mall: Annotated[int, Field(ge=1, le=2**62)] | None = None
    after: Annotated[str, StringConstraints(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ReleaseIn(Input):
    """Why it was found to be in order, if anybody wants to know later."""

    reason: Reason | None = None


class RefuseIn(Input):
    """Why; the mall reads it in the order."""

    reason: Reason


class Decided(View):
    id: str
    state: State


@routes.get("/review-rules", scope="staff", summary="A mall's rules", query=RulesQuery, answer=RulesView, tx=True)
async def get_rules(call: Call[None, RulesQuery]) -> RulesView:
    row = await store.newest_rules(call.tx, call.query.mall)
    rules = RuleSet.model_validate(row["rules"]) if row is not None else RuleSet(rules=[])
    return _rules(call.query.mall, row["version"] if row else 0, rules, row)


@routes.put("/review-rules", scope="staff", summary="Set a mall's rules", body=RulesIn, answer=RulesView, tx=True)
async def put_rules(call: Call[RulesIn, None]) -> RulesView:
    rules = RuleSet.model_validate(call.body.model_dump(exclude={"mall_id"}))
    version = await review.set_rules(call.tx, call.body.mall_id, rules, call.principal.actor)
    return _rules(call.body.mall_id, version, rules, await store.newest_rules(call.tx, call.body.mall_id))


def _rules(mall_id: int, version: int, rules: RuleSet, row: store.Row | None) -> RulesView:
    said = rules.model_dump(mode="json")
    at, by = (row["set_at"], row["set_by"]) if row is not None else (None, None)
    return RulesView(mall_id=mall_id, version=version, set_at=at, set_by=by, **said)


@routes.get(
    "/reviews",
    scope="staff",
    summary="Orders that rules found, from old to new",
    query=ReviewQuery,
    answer=ReviewPage,
    tx=True,
)
async def list_reviews(call: Call[None, ReviewQuery]) -> ReviewPage:
    asked = call.query
    states = [asked.state] if asked.state else ["flagged", "held"]
    rows = await store.reviews_after(call.tx, states, asked.mall, cursor("ord", asked.after), asked.limit + 1)
    shown = rows[: asked.limit]
    following = public_id("ord", shown[-1]["order_id"]) if len(rows) > asked.limit else None
    return ReviewPage(items=[_view(row) for row in shown], next=following)


def _view(row: store.Row) -> ReviewView:
    return ReviewView(
        id=public_id("ord", row["order_id"]),
        order_status=row["status"],
        total=Money(amount=row["total"], currency=row["currency"]),
        **{name: row[name] for name in ReviewView.model_fields if name not in ("id", "order_status", "total")},
    )


@routes.post(
    "/reviews/{id}/release",
    scope="staff",
    summary="Let the order go on as if it had never been held",
    body=ReleaseIn | None,
    answer=Decided,
    tx=True,
)
async def release_order(call: Call[ReleaseIn | None, None]) -> Decided:
    reason = call.body.reason if call.body is not None else None
    state = await review.release(call.tx, _order(call), call.principal.actor, reason)
    return Decided(id=call.path["id"], state=state)


@routes.post(
    "/reviews/{id}/refuse",
    scope="staff",
    summary="Cancel a held order with a reason",
    body=RefuseIn,
    answer=Decided,
    tx=True,
)
async def refuse_order(call: Call[RefuseIn, None]) -> Decided:
    state = await review.refuse(call.tx, _order(call), call.principal.actor, call.body.reason)
    return Decided(id=call.path["id"], state=state)


def _order(call: Call[Any, Any]) -> uuid.UUID:
    return path_id("ord", call.path["id"], "review")
