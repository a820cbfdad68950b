"""Intake of demands: line by line, each with its result. Whoever sends the same file twice asks once: a site, or an
address under whatever name, that asks again for an item within the incident's window is a duplicate and does not
count. What a site asks decides nothing by itself: what counts is bounded by the people that somebody has verified."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import asyncpg
from pydantic import ValidationError

from fulfillment.emergency import incidents
from fulfillment.emergency.models import DemandIn, StaffDemandIn, VerifyIn
from fulfillment.emergency.views import AskedView, DemandView, IntakeReport, LineResult
from fulfillment.store import as_hub, emergency, emergency_plans
from hub.kernel import audit, secrets
from hub.kernel import store as kernel
from hub.kernel.db import Tx
from hub.kernel.errors import Fault, Rejected
from hub.kernel.web import faults_of

Channel = Literal["api", "form", "csv"]
Owner = int  # a mall, or 0 for nobody's account


@dataclass(slots=True)
class _Line:
    """One line on its way: where it stands, what it asks, and what became of it."""

    number: int
    asked: DemandIn
    owner: Owner
    key: str
    address: bytes
    result: LineResult | None = None

    def end(self, result: Literal["accepted", "replaced", "duplicate", "invalid"], detail: str | None = None) -> None:
        self.result = LineResult(
            line=self.number, site=self.asked.site, item=self.asked.item, result=result, detail=detail
        )


def bare(text: str) -> str:
    """What is left of a name or an address without the differences in which people write it: width, case, spaces,
    punctuation."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def _address_key(asked: DemandIn) -> bytes:
    whole = bare(asked.province + asked.city + asked.district + asked.address)
    return hashlib.sha256(whole.encode()).digest()


async def take(
    tx: Tx,
    incident: asyncpg.Record,
    lines: Sequence[tuple[int, Any]],
    *,
    model: type[DemandIn],
    owner: Owner,
    channel: Channel,
    actor: str,
    amend: bool = False,
) -> IntakeReport:
    """Judge (number, raw line) one by one and write those that count. `incident` is locked by the caller. With `amend`
    the owner changes what it asked before, or takes it back with quantity 0; never below what it was allotted."""
    results: dict[int, LineResult] = {}
    read: list[_Line] = []
    for number, raw in lines:
        line = _read(number, raw, model, owner, incident)
        if isinstance(line, LineResult):
            results[number] = line
        else:
            read.append(line)
    for of in dict.fromkeys(line.owner for line in read):
        mine = [line for line in read if line.owner == of]
        if of and of != owner and await kernel.find_mall(tx, str(of)) != of:
            for line in mine:
                line.end("invalid", f"mall_id: there is no mall {of}")
        else:
            await _take_of(tx, incident, mine, of, channel, actor, amend)
    for line in read:
        assert line.result is not None
        results[line.number] = line.result
    told = Counter(result.result for result in results.values())
    if told["accepted"] or told["replaced"]:
        await audit.record(
            tx,
            actor,
            "incident.asked",
            f"incident:{incident['id']}",
            {str(name): times for name, times in told.items()},
        )
    return IntakeReport(
        **{name: told[name] for name in ("accepted", "replaced", "duplicate", "invalid")},
        results=[results[number] for number, _ in lines],
    )


def _read(number: int, raw: Any, model: type[DemandIn], owner: Owner, incident: asyncpg.Record) -> _Line | LineResult:
    """The line if it can be read, else its result."""

    def invalid(detail: str) -> LineResult:
        said = [str(raw.get(name))[:200] if isinstance(raw, dict) and name in raw else None for name in _NAMED]
        return LineResult(line=number, site=said[0], item=said[1], result="invalid", detail=detail)

    try:
        asked = raw if isinstance(raw, model) else model.model_validate(raw)
    except ValidationError as error:
        first = faults_of(error)[0]
        return invalid(f"{first.pointer.lstrip('/') or 'line'}: {first.detail}")
    if incidents.item_of(incident, asked.item) is None:
        names = ", ".join(item["name"] for item in incident["items"])
        return invalid(f"item: the incident has no such item; it has {names}"[:500])
    key = bare(asked.site)
    if not key:
        return invalid("site: has no letter and no digit")
    of = owner
    if isinstance(asked, StaffDemandIn):
        of = asked.mall_id or 0
    return _Line(number, asked, of, key, _address_key(asked))


_NAMED = ("site", "item")


async def _take_of(
    tx: Tx, incident: asyncpg.Record, lines: list[_Line], owner: Owner, channel: Channel, actor: str, amend: bool
) -> None:
    """Judge and write the lines of one owner."""
    incident_id, window = incident["id"], timedelta(seconds=incident["window_s"])
    sites = await emergency.sites_by_key(tx, incident_id, owner, list({line.key for line in lines}))
    before = await emergency.demands_of_sites(tx, [row["id"] for row in sites.values()])
    async with as_hub(tx):  # an address may have asked under somebody else's name; who that was is told to nobody
        asked = await emergency.addresses_asked(
            tx, incident_id, list({line.address for line in lines}), tx.now - window
        )
    elsewhere = {(bytes(row["address_key"]), row["item"]): row["id"] for row in asked}
    seen: dict[tuple[str, str], int] = {}
    at_address: dict[tuple[bytes, str], int] = {}
    again: list[tuple[int, str]] = []
    good: list[_Line] = []
    for line in lines:
        want, site = (line.key, line.asked.item), sites.get(line.key)
        was = before.get((site["id"], line.asked.item)) if site else None
        other = elsewhere.get((line.address, line.asked.item))
        if want in seen:
            line.end("duplicate", f"line {seen[want]} asks for the same item at the same site")
        elif (line.address, line.asked.item) in at_address:
            line.end("duplicate", f"line {at_address[line.address, line.asked.item]} asks for it at this address")
        elif was is not None and was["quantity"] > 0 and was["asked_at"] > tx.now - window and not amend:
            line.end("duplicate", f"this site asked for it at {was['asked_at'].isoformat(timespec='seconds')}")
            again.append((was["site_id"], line.asked.item))
        elif other is not None and (site is None or other != site["id"]):
            line.end("duplicate", "this address has asked for it under another name")
        elif was is not None and line.asked.quantity < was["allotted"]:
            line.end("invalid", f"quantity: {was['allotted']} were allotted already; no less can be asked for")
        elif line.asked.quantity == 0 and was is None:
            line.end("invalid", "quantity: 0 takes a demand back, and there is none")
        else:
            line.end("replaced" if was is not None else "accepted")
            good.append(line)
            seen[want] = at_address[line.address, line.asked.item] = line.number
    if again:
        await emergency.count_again(tx, again)
    if not good:
        return
    fresh = {line.key: line for line in good if line.key not in sites}
    ids = {key: row["id"] for key, row in sites.items()}
    if fresh:
        rows = [_site_row(incident_id, owner, line, actor) for line in fresh.values()]
        ids |= await emergency.add_sites(tx, rows)
    await emergency.put_demands(
        tx,
        [(incident_id, ids[line.key], owner or None, line.asked.item, line.asked.quantity, channel) for line in good],
    )
    known: dict[int, tuple[int, int, int, str | None, int | None]] = {}
    for line in good:
        said = line.asked
        if line.key not in sites or not isinstance(said, StaffDemandIn):
            continue
        if said.verified_headcount is not None and said.tier is not None:
            site_id = ids[line.key]
            known[site_id] = (site_id, said.verified_headcount, said.tier, said.pool, said.floor)
    if known:
        await emergency.verify_sites(tx, incident_id, list(known.values()), actor)


def _site_row(incident_id: int, owner: Owner, line: _Line, actor: str) -> tuple[Any, ...]:
    asked = line.asked
    ship_to = {
        "name": asked.contact, "phone": asked.phone, "country": "CN", "province": asked.province, "city": asked.city,
        "district": asked.district, "address": asked.address, "postcode": "",
    }  # fmt: skip
    sealed = secrets.encrypt_json(ship_to, ship_to_context(incident_id, owner, line.key))
    heads, tier, pool, floor, by = None, None, "", 0, None
    if isinstance(asked, StaffDemandIn):
        heads, tier, pool, floor = asked.verified_headcount, asked.tier, asked.pool, asked.floor
        by = actor if tier is not None else None
    return (
        incident_id, owner or None, owner, line.key, asked.site, asked.area, line.address, sealed, asked.substitutes,
        asked.headcount, heads, tier, pool, floor, by,
    )  # fmt: skip


def ship_to_context(incident_id: int, owner: Owner, key: str) -> str:
    """What a site's address is sealed for."""
    return f"emergency:{incident_id}:{owner}:{key}"


async def verify(tx: Tx, actor: str, incident_id: int, given: Sequence[VerifyIn]) -> int:
    """Write what was verified of sites: people and tier, and with them what counts from the next plan on. All or
    nothing; raises Rejected for a site that is not the incident's or stands there twice."""
    await incidents.locked(tx, incident_id)
    rows = {one.site_id: (one.site_id, one.headcount, one.tier, one.pool, one.floor) for one in given}
    if len(rows) < len(given):
        raise Rejected("a site stands there twice", code="site_twice", faults=(Fault("/sites", "a site twice"),))
    found = await emergency.verify_sites(tx, incident_id, list(rows.values()), actor)
    for at, one in enumerate(given):
        if one.site_id not in found:
            why = "the incident has no such site"
            raise Rejected(why, code="no_site", faults=(Fault(f"/sites/{at}/site_id", why),))
    await audit.record(tx, actor, "incident.verified", f"incident:{incident_id}", {"sites": len(found)})
    return len(found)


def view_of(incident: asyncpg.Record, row: asyncpg.Record) -> DemandView:
    """A demand as staff see it."""
    return DemandView(
        **{
            **dict(row),
            "site": row["name"],
            "headcount": row["claimed_headcount"],
            "counts": incidents.counts_of(incident, row, row["item"], row["quantity"]),
        }
    )


async def asked_by(
    tx: Tx, incident: asyncpg.Record, mall_id: int, after: int, limit: int
) -> list[tuple[int, AskedView]]:
    """A company's own demands, with what the plans that were carried out said about each."""
    rows = await emergency.demand_rows(tx, incident["id"], after, limit, mall_id)
    told = await emergency_plans.told_to(tx, incident["id"], [row["id"] for row in rows])
    return [
        (
            row["id"],
            AskedView(
                site=row["name"],
                item=row["item"],
                quantity=row["quantity"],
                verified=row["tier"] is not None,
                counts=incidents.counts_of(incident, row, row["item"], row["quantity"]),
                allotted=row["allotted"],
                asked_at=row["asked_at"],
                why=[share["words"] for share in told.get(row["id"], ())],
            ),
        )
        for row in rows
    ]
