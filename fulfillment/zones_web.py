"""Zones as those see them who ask in them: companies by their key, the public by a code. A company sees its own demands
alone; the public sees what happened to the lines it just sent."""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg

from fulfillment.emergency import demands, incidents, intake
from fulfillment.emergency.models import DemandIn, Page
from fulfillment.emergency.views import AskedPage, IntakeReport, Zones, ZoneView
from fulfillment.store import emergency
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import NotFound, TooMany
from hub.kernel.types import Input
from hub.kernel.web import Call, Routes

routes = Routes("zones")
PER_SOURCE = 60  # uses of the public door a minute, by one address of the network
PER_ZONE = 3_000  # by all


class AmendQuery(Input):
    """`amend`: change what you asked before, or take it back with quantity 0, instead of asking once more."""

    amend: bool = False


def _zone(call: Call[Any, Any]) -> int:
    text = call.path["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such zone that is open to you", code="no_zone")
    return int(text)


@routes.get("/zones", scope="mall", summary="Zones that are open to you", answer=Zones, tx=True)
async def zones(call: Call[None, None]) -> Zones:
    rows = await emergency.zones_of(call.tx, call.mall_id)
    return Zones(items=[await incidents.zone_view(call.tx, row) for row in rows])


@routes.get("/zones/{id}", scope="mall", summary="A zone: items, what is left, its clock", answer=ZoneView, tx=True)
async def one_zone(call: Call[None, None]) -> ZoneView:
    return await incidents.zone_view(call.tx, await incidents.zone_for(call.tx, _zone(call), call.mall_id))


@routes.post("/zones/{id}/demands", scope="mall", raw_body=intake.MEDIA, query=AmendQuery, answer=IntakeReport,
             summary="Ask for your sites: {demands: [...]}, a form or a CSV table; a result for each line",
             tx=True)  # fmt: skip
async def ask(call: Call[None, AmendQuery]) -> IntakeReport:
    incident_id, mall_id = _zone(call), call.mall_id
    await incidents.zone_for(call.tx, incident_id, mall_id)
    channel, lines = await intake.lines_of(call.request, DemandIn)
    incident = await incidents.zone_for(call.tx, incident_id, mall_id, lock=True)
    return await demands.take(
        call.tx, incident, lines, model=DemandIn, owner=mall_id, channel=channel, actor=call.principal.actor,
        amend=call.query.amend,
    )  # fmt: skip


@routes.get("/zones/{id}/demands", scope="mall", summary="What you asked for, what you get, and why", query=Page,
            answer=AskedPage, tx=True)  # fmt: skip
async def asked(call: Call[None, Page]) -> AskedPage:
    query = call.query
    incident = await emergency.incident(call.tx, _zone(call))
    mine = [] if incident is None else await demands.asked_by(
        call.tx, incident, call.mall_id, query.cursor or 0, query.limit + 1
    )  # fmt: skip
    if incident is None or not (mine or query.cursor or incidents.may_ask(incident, call.mall_id)):
        raise NotFound("there is no such zone that is open to you", code="no_zone")
    following = str(mine[query.limit - 1][0]) if len(mine) > query.limit else None
    return AskedPage(items=[view for _, view in mine[: query.limit]], next=following)


@routes.get("/public/zones/{code}", scope="public", summary="A zone that is open to the public", answer=ZoneView)
async def public_zone(call: Call[None, None]) -> ZoneView:
    await _knock(call)
    async with uow(HUB) as tx:
        return await incidents.zone_view(tx, await _public(tx, call), goods=False)


@routes.post("/public/zones/{code}/demands", scope="public", raw_body=intake.MEDIA, answer=IntakeReport,
             summary="Ask for a site in a zone that is open to the public: JSON or a posted form")  # fmt: skip
async def public_ask(call: Call[None, None]) -> IntakeReport:
    await _knock(call)
    async with uow(HUB) as tx:
        await _public(tx, call)
    channel, lines = await intake.lines_of(call.request, DemandIn)
    async with uow(HUB) as tx:
        incident = await _public(tx, call, lock=True)
        return await demands.take(tx, incident, lines, model=DemandIn, owner=0, channel=channel, actor="public")


async def _public(tx: Tx, call: Call[Any, Any], *, lock: bool = False) -> asyncpg.Record:
    """The open zone behind the code in the path; nobody learns whether another code was once right."""
    row = await emergency.incident_by_code(tx, incidents.digest_of(call.path["code"]))
    if row is not None and lock:
        row = await emergency.incident(tx, row["id"], lock=True)
    if row is None or row["status"] != "open":
        raise NotFound("there is no zone with this code", code="no_zone")
    return row


async def _knock(call: Call[Any, Any]) -> None:
    """Count this use of the public door, in a transaction of its own, so that refused ones count too. Network addresses
    are kept as digests, for an hour. Raises TooMany."""
    minute = clock.now().replace(second=0, microsecond=0)
    here = f"{call.request.remote}\x00{minute.date()}".encode()
    source = hashlib.sha256(b"supplyhub knock\x00" + here).digest()
    zone = hashlib.sha256(b"supplyhub zone knock\x00" + incidents.digest_of(call.path["code"])).digest()
    async with uow(HUB) as tx:
        mine = await emergency.knock(tx, source, minute)
        all_ = await emergency.knock(tx, zone, minute)
    if mine > PER_SOURCE or all_ > PER_ZONE:
        raise TooMany("too many requests; try again in a minute", code="too_many", after=60.0)
