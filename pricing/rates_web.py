"""Exchange rates of days and re-checks of everything over HTTP, for staff."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from hub.kernel import audit
from hub.kernel.errors import Fault, Rejected
from hub.kernel.types import Currency, Input, SafeText, View
from hub.kernel.web import Call, Routes
from pricing import api, store
from pricing.contracts import Rate
from pricing.web import Limit

routes = Routes("pricing")


class Rates(Input):
    """What currencies were worth in CNY: `rate` CNY for one unit, on `day` in Shanghai."""

    rates: Annotated[list[Rate], Field(min_length=1, max_length=5_000)]


class RatesKept(View):
    """How many came, and how many were new or another than before; if any, all offers are judged again."""

    received: int
    changed: int


class RateView(View):
    """One kept rate."""

    currency: str
    day: date
    rate: Decimal
    source: str
    recorded_at: datetime
    recorded_by: str


class RatePage(View):
    """A page of rates, newest day first."""

    items: list[RateView]
    next: str | None


class RateQuery(Input):
    """Which rates."""

    currency: Currency | None = None
    cursor: Annotated[str, Field(pattern=r"^[A-Z]{3}\.\d{4}-\d{2}-\d{2}$")] | None = None
    limit: Limit = 50


class Recheck(Input):
    """Why everything shall be judged again."""

    reason: Annotated[SafeText, StringConstraints(min_length=1, max_length=1_000)]


class RecheckView(View):
    """A re-check of all kept offers: how many it has judged, and how many verdicts it wrote."""

    id: int
    asked_at: datetime
    asked_by: str
    why: str
    seen: int
    moved: int
    done_at: datetime | None


class Rechecks(View):
    """The last twenty re-checks."""

    items: list[RecheckView]


@routes.post("/parity/rates", scope="staff", summary="Record exchange rates of days", body=Rates, answer=RatesKept,
             status=201, tx=True)  # fmt: skip
async def record_rates(call: Call[Rates, None]) -> RatesKept:
    faults = [
        Fault(f"/rates/{i}/currency", "rates are in CNY; CNY itself needs none")
        for i, rate in enumerate(call.body.rates)
        if rate.currency == "CNY"
    ]
    if faults:
        raise Rejected(f"the body was refused; {faults[0].pointer}: {faults[0].detail}", code="invalid",
                       faults=tuple(faults))  # fmt: skip
    actor = call.principal.actor
    changed = await api.record_rates(call.tx, call.body.rates, actor)
    if changed:
        facts = {"changed": len(changed), "currencies": sorted({currency for currency, _ in changed})}
        await audit.record(call.tx, actor, "parity.rates.set", "rates", facts)
    return RatesKept(received=len(call.body.rates), changed=len(changed))


@routes.get("/parity/rates", scope="staff", summary="Exchange rates of days", query=RateQuery, answer=RatePage,
            tx=True)  # fmt: skip
async def list_rates(call: Call[None, RateQuery]) -> RatePage:
    query = call.query
    before = None
    if query.cursor:
        currency, _, day = query.cursor.partition(".")
        try:
            before = (currency, date.fromisoformat(day))
        except ValueError as error:
            raise Rejected("this cursor is none that the list gave", code="invalid",
                           faults=(Fault("/cursor", "not a cursor of this list"),)) from error  # fmt: skip
    rows = await store.rate_rows(call.tx, query.currency, before, query.limit)
    items = [RateView(**dict(row)) for row in rows]
    return RatePage(items=items, next=f"{items[-1].currency}.{items[-1].day}" if len(items) == query.limit else None)


@routes.post("/parity/rechecks", scope="staff", summary="Have all offers judged again", body=Recheck, answer=Rechecks,
             status=202, tx=True)  # fmt: skip
async def ask_recheck(call: Call[Recheck, None]) -> Rechecks:
    actor = call.principal.actor
    await api.ask_recheck(call.tx, actor, call.body.reason)
    await audit.record(call.tx, actor, "parity.recheck", "offers", {"reason": call.body.reason})
    return await _rechecks(call)


@routes.get("/parity/rechecks", scope="staff", summary="Re-checks and how far they are", answer=Rechecks, tx=True)
async def list_rechecks(call: Call[None, None]) -> Rechecks:
    return await _rechecks(call)


async def _rechecks(call: Call[Any, Any]) -> Rechecks:
    names = RecheckView.model_fields
    rows = await store.recheck_rows(call.tx, 20)
    return Rechecks(items=[RecheckView(**{name: row[name] for name in names}) for row in rows])
