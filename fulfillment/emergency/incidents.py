"""An incident from its declaration to its end: the zone, its clock, who may ask in it, and how it stands. Whatever
changes an incident holds the lock of its row first, so that a plan sees one state of it and never half of another."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from catalog import api as catalog
from fulfillment.emergency.models import IncidentIn
from fulfillment.emergency.views import (
    Clock,
    Figures,
    IncidentView,
    Intake,
    ItemView,
    StockFigures,
    TierFigures,
    ZoneItem,
    ZoneView,
)
from fulfillment.store import as_hub, emergency, emergency_allotments, emergency_plans
from hub.kernel import audit
from hub.kernel import store as kernel
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected

CODE = 10  # bytes of a public code: nobody finds one by trying


async def declare(tx: Tx, actor: str, asked: IncidentIn) -> tuple[asyncpg.Record, str | None]:
    """A new incident, its zone open at once, and the public's code if it has one. The seed that will break ties is
    drawn now, before anybody has asked. Raises Rejected for a company that does not exist."""
    for at, mall_id in enumerate(asked.mall_ids or ()):
        if await kernel.find_mall(tx, str(mall_id)) != mall_id:
            raise Rejected(
                f"there is no mall {mall_id}", code="no_mall", faults=(Fault(f"/mall_ids/{at}", "no such mall"),)
            )
    code = secrets.token_hex(CODE) if asked.access == "public" else None
    row = {
        **asked.model_dump(exclude={"deadline_hours", "duplicate_hours"}),
        "code_digest": digest_of(code) if code else None,
        "window_s": asked.duplicate_hours * 3600,
        "seed": secrets.randbelow(2**31),
        "declared_by": actor,
        "deadline_at": tx.now + timedelta(hours=asked.deadline_hours),
    }
    incident_id = await emergency.add_incident(tx, row)
    facts = {"title": asked.title, "exercise": asked.exercise, "seed": row["seed"]}
    await audit.record(tx, actor, "incident.declared", f"incident:{incident_id}", facts)
    return await found(tx, incident_id), code


def digest_of(code: str) -> bytes:
    """What is kept of a public code. It has 80 random bits, so it needs no slow hash."""
    return hashlib.sha256(b"supplyhub zone\x00" + code.encode("utf-8", "replace")).digest()


async def found(tx: Tx, incident_id: int) -> asyncpg.Record:
    """The incident. Raises NotFound."""
    row = await emergency.incident(tx, incident_id)
    if row is None:
        raise NotFound("there is no such incident", code="no_incident")
    return row


async def locked(tx: Tx, incident_id: int) -> asyncpg.Record:
    """The incident, locked, if it is still open. Raises NotFound, and Conflict once it is closed."""
    row = await emergency.incident(tx, incident_id, lock=True)
    if row is None:
        raise NotFound("there is no such incident", code="no_incident")
    if row["status"] != "open":
        raise Conflict("this incident is closed; declare another", code="incident_closed")
    return row


def item_of(incident: asyncpg.Record, name: str) -> dict[str, Any] | None:
    """The item of this name, if the incident has it."""
    return next((item for item in incident["items"] if item["name"] == name), None)


def counts_of(incident: asyncpg.Record, site: Any, item: str, quantity: int) -> int:
    """Units that count of what a site asks for: no more than its verified people warrant."""
    heads = incident["unverified_headcount"] if site["tier"] is None else site["verified_headcount"]
    known = item_of(incident, item)
    return min(quantity, heads * known["per_head"]) if known else 0


def may_ask(incident: asyncpg.Record, mall_id: int) -> bool:
    """Whether this company may ask in this zone."""
    return incident["status"] == "open" and (incident["mall_ids"] is None or mall_id in incident["mall_ids"])


async def zone_for(tx: Tx, incident_id: int, mall_id: int, *, lock: bool = False) -> asyncpg.Record:
    """The open zone, for a company that may ask in it; anybody else does not find it."""
    row = await emergency.incident(tx, incident_id, lock=lock)
    if row is None or not may_ask(row, mall_id):
        raise NotFound("there is no such zone that is open to you", code="no_zone")
    return row


async def close(tx: Tx, actor: str, incident_id: int) -> asyncpg.Record:
    """End the incident. What is still fenced, and what plans took that no order carries, goes back to ordinary stock;
    orders that went out go on. Closing again changes nothing. Raises NotFound, and Conflict while a committed plan is
    being sent out: its sites are promised."""
    row = await emergency.incident(tx, incident_id, lock=True)
    if row is None:
        raise NotFound("there is no such incident", code="no_incident")
    if row["status"] == "closed":
        return row
    if await emergency_allotments.being_sent(tx, incident_id):
        raise Conflict("a committed plan is being sent out; close it when that is done", code="dispatching")
    await emergency_plans.drop_open_plans(tx, incident_id)
    let_go = await emergency_allotments.release_held(tx, incident_id)
    supplies = await emergency.supply_rows(tx, incident_id)
    returned: dict[int, int] = {}
    for supply_id, quantity, _ in let_go:
        returned[supply_id] = returned.get(supply_id, 0) + quantity
    fences = [row["hold_id"] for row in supplies if row["hold_id"] is not None]
    await catalog.release(tx, sorted([*fences, *(hold for _, _, hold in let_go)]), "incident_closed")
    if supplies:
        await emergency.save_fences(
            tx,
            [(s["id"], 0, s["lost"], s["given_back"] + s["fenced"] + returned.get(s["id"], 0), None) for s in supplies],
        )
    await emergency.close_incident(tx, incident_id, actor)
    await catalog.close_zone(tx, incident_id)
    await catalog.note(tx, {s["product_id"] for s in supplies})
    facts = {"given_back": sum(s["fenced"] for s in supplies) + sum(returned.values())}
    await audit.record(tx, actor, "incident.closed", f"incident:{incident_id}", facts)
    return await found(tx, incident_id)


# -- shown


def clock_of(tx: Tx, row: asyncpg.Record) -> Clock:
    """The incident's clock at this moment."""
    until = row["closed_at"] or tx.now
    return Clock(
        declared_at=row["declared_at"],
        deadline_at=row["deadline_at"],
        closed_at=row["closed_at"],
        seconds_left=int((row["deadline_at"] - until).total_seconds()),
    )


def facts_of(tx: Tx, row: asyncpg.Record) -> dict[str, Any]:
    """What an incident shows of itself."""
    return {
        **dict(row),
        "duplicate_hours": row["window_s"] // 3600,
        "items": [ItemView(**item) for item in row["items"]],
        "clock": clock_of(tx, row),
    }


def view_of(tx: Tx, row: asyncpg.Record) -> IncidentView:
    """The incident as staff see it."""
    return IncidentView(**facts_of(tx, row))


async def zone_view(tx: Tx, row: asyncpg.Record, *, goods: bool = True) -> ZoneView:
    """The zone with what is fenced off in it and, for companies, the catalogue's view of those goods."""
    async with as_hub(tx):  # stock is the vendors'; that it is there is everybody's who may ask
        fenced = {one["item"]: one["fenced"] for one in await emergency_plans.stock_figures(tx, row["id"])}
        supplies = await emergency.supply_rows(tx, row["id"], limit=2_000)
    shown = sorted({s["product_id"] for s in supplies})[:200] if goods else []
    products = await catalog.product_views(tx, shown) if shown else {}
    facts = facts_of(tx, row)
    facts["items"] = [ZoneItem(**item, fenced=fenced.get(item["name"], 0)) for item in row["items"]]
    return ZoneView(**facts, products=list(products.values()))


async def figures(tx: Tx, row: asyncpg.Record) -> Figures:
    """How the incident stands now: filled, in time, late, by tier and item; where its stock is."""
    over = (row["closed_at"] or tx.now) > row["deadline_at"]
    tiers = [_tier(one, over) for one in await emergency_plans.figures(tx, row["id"])]
    counted, allotted = sum(t.counted for t in tiers), sum(t.allotted for t in tiers)
    return Figures(
        counted=counted,
        allotted=allotted,
        filled=allotted / counted if counted else None,
        in_time=sum(t.in_time for t in tiers),
        late=sum(t.late for t in tiers),
        tiers=tiers,
        stock=[StockFigures(**dict(one)) for one in await emergency_plans.stock_figures(tx, row["id"])],
        intake=Intake(**dict(await emergency_plans.intake_figures(tx, row["id"]))),
        as_of=tx.now,
    )


def _tier(row: asyncpg.Record, over: bool) -> TierFigures:
    """Late is what was ordered and, once the deadline has passed, was not all delivered before it."""
    return TierFigures(**dict(row), late=max(0, row["ordered"] - row["in_time"]) if over else 0)


async def rows(tx: Tx, before: int, limit: int) -> Sequence[asyncpg.Record]:
    """Incidents, the newest first."""
    return await emergency.incident_rows(tx, before, limit)
