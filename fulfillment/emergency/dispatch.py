"""Sending what a committed plan allots: an order for each site through the ordinary order path, whose lines take over
the allotments' holds, so that vendors get purchase orders as for any order. A few sites a transaction: a crash leaves
each site sent once or still to be sent. In an exercise each order is made in the same way and then undone, so that
whatever would go wrong shows, and no vendor hears of it."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import asyncpg

from catalog import api as catalog
from catalog.contracts import Offer
from fulfillment.emergency import demands, incidents
from fulfillment.store import emergency, emergency_allotments
from hub.kernel import audit, metrics, secrets
from hub.kernel import store as kernel
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Conflict, Rejected
from hub.kernel.failpoints import failpoint
from orders import api as orders
from orders.api import Allotted
from orders.contracts import LineReduced, LineUnsupplied, OrderCancelled

SITES = 50  # a transaction
PUBLIC_MALL = "应急专区 emergency zone"  # buys for sites that belong to no company
Ending = tuple[int, str, uuid.UUID | None, uuid.UUID | None, str | None]  # allotment, state, order, line, problem


async def dispatch_due() -> int:
    """A task: send what committed plans still have to send, the first tiers first; returns how many sites. Any number
    of processes may run it; a plan is sent by one at a time."""
    sent = 0
    after = 0
    while True:
        async with uow() as tx:
            row = await emergency_allotments.plan_to_dispatch(tx, after)
            if row is None:
                return sent
            made = await _send_some(tx, row["id"], row["incident_id"])
        failpoint("emergency.batch_sent")
        if made:
            sent += made
        else:
            after = row["id"]


async def _send_some(tx: Tx, plan_id: int, incident_id: int) -> int:
    """Send a plan's next sites; 0 when there are none, or somebody else sends them now."""
    incident = await incidents.locked(tx, incident_id)
    if not await emergency_allotments.lock_to_dispatch(tx, plan_id):
        return 0
    rows = await emergency_allotments.held_of_next_sites(tx, plan_id, SITES)
    if not rows:
        await emergency_allotments.all_dispatched(tx, plan_id)
        await audit.record(tx, "dispatch", "plan.dispatched", f"plan:{plan_id}", {"exercise": incident["exercise"]})
        return 0
    offers = {
        offer.listing_id: offer
        for offer in await catalog.offers_for(tx, 0, [], sorted({r["listing_id"] for r in rows}))
    }
    ships_to = await emergency.ship_to_of(tx, sorted({row["site_id"] for row in rows}))
    public = await kernel.add_mall(tx, PUBLIC_MALL) if any(row["mall_id"] is None for row in rows) else 0
    endings: list[Ending] = []
    sites = 0
    for site_id, group in itertools.groupby(rows, key=lambda row: row["site_id"]):
        site = ships_to[site_id]
        ship_to = secrets.decrypt_json(
            site["ship_to"], demands.ship_to_context(incident_id, site["owner"], site["site_key"])
        )
        mall_id = site["mall_id"] or public
        endings += await _send(tx, incident, plan_id, mall_id, site_id, ship_to, list(group), offers)
        sites += 1
    gone = [row["hold_id"] for row in rows if (row["id"], "unsupplied") in {(end[0], end[1]) for end in endings}]
    await catalog.release(tx, sorted(gone), "allotment_failed")
    await emergency_allotments.dispatched(tx, endings)
    failpoint("emergency.batch_ordered")
    return sites


async def _send(
    tx: Tx,
    incident: asyncpg.Record,
    plan_id: int,
    mall_id: int,
    site_id: int,
    ship_to: dict[str, str],
    rows: list[asyncpg.Record],
    offers: dict[int, Offer],
) -> list[Ending]:
    """An order for one site and currency; goods that nobody sells any more are unsupplied at once."""
    endings: list[Ending] = [
        (row["id"], "unsupplied", None, None, "its vendor no longer sells it")
        for row in rows
        if row["listing_id"] not in offers
    ]
    by_currency: dict[str, list[Any]] = {}
    for row in rows:
        if row["listing_id"] in offers:
            by_currency.setdefault(offers[row["listing_id"]].currency, []).append(row)
    for currency, mine in sorted(by_currency.items()):
        number = f"INC{incident['id']}-P{plan_id}-S{site_id}-{currency}"
        goods = [Allotted(offers[row["listing_id"]], row["quantity"], row["hold_id"]) for row in mine]
        try:
            async with tx.savepoint():
                order_id, line_ids = await orders.place_allotted(tx, mall_id, number, ship_to, goods)
                if incident["exercise"]:
                    raise _Rehearsed
        except _Rehearsed:
            endings += [(row["id"], "rehearsed", None, None, None) for row in mine]
        except (Conflict, Rejected) as error:
            endings += [(row["id"], "unsupplied", None, None, error.detail[:500]) for row in mine]
        else:
            tx.after_commit(lambda: metrics.ORDERS.labels("placed").inc())
            endings += [
                (row["id"], "ordered", order_id, line_id, None) for row, line_id in zip(mine, line_ids, strict=True)
            ]
    return endings


class _Rehearsed(Conflict):
    """An exercise's order has been made and is to be undone."""

    def __init__(self) -> None:
        super().__init__("an exercise")


async def on_unsupplied(tx: Tx, event: LineUnsupplied) -> None:
    """Handler of LineUnsupplied: an allotment that its vendor refused, or took fewer units of; the site may be served
    by the next plan. Runs after the clocks, which know how many units are left."""
    await emergency_allotments.line_ended(tx, [event.line_id], "unsupplied", event.reason)
    if event.split_from is not None:
        await emergency_allotments.line_shrank(tx, event.split_from, "lost", event.reason)


async def on_reduced(tx: Tx, event: LineReduced) -> None:
    """Handler of LineReduced: the company wants fewer units than it was allotted."""
    await emergency_allotments.line_shrank(tx, event.line_id, "given_back", "the company wants fewer units")


async def on_cancelled(tx: Tx, event: OrderCancelled) -> None:
    """Handler of OrderCancelled: the company no longer wants what it was allotted."""
    await emergency_allotments.line_ended(tx, event.line_ids, "cancelled", "cancelled by the company")
