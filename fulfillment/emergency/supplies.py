"""Stock for an incident. It is fenced off by an ordinary reservation on the shelf, so that ordinary orders cannot touch
it and the ledger shows it; a vendor's reports go on as always. Ad-hoc suppliers come with vendor, goods and lead times
in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from catalog import api as catalog
from catalog.contracts import ReserveLine
from connectors import api as connectors
from connectors.contracts import ListingIn, StockReport
from fulfillment.emergency import incidents
from fulfillment.emergency.models import LeadIn, SupplierIn, SupplyIn
from fulfillment.emergency.views import SupplyView
from fulfillment.store import emergency
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, Rejected
from hub.kernel.types import DeliveryMode, public_id, uuid7

NOBODY = 0  # a mall that does not exist: offers are looked at for no mall's own policy


async def fence(tx: Tx, actor: str, incident_id: int, wanted: Sequence[SupplyIn]) -> list[SupplyView]:
    """Fence off stock of listings that are on sale, all rows or none. Raises Rejected (no such item, listing or count),
    Conflict (less in stock than wanted, or fenced already)."""
    incident = await incidents.locked(tx, incident_id)
    offers = {
        offer.listing_id: offer
        for offer in await catalog.offers_for(tx, NOBODY, [], sorted({one.listing_id for one in wanted}))
    }
    shelves = await catalog.available(tx, sorted(offers))
    rows: list[tuple[Any, ...]] = []
    for at, one in enumerate(wanted):
        offer = offers.get(one.listing_id)
        if incidents.item_of(incident, one.item) is None:
            raise _refused(at, "item", f"the incident has no item {one.item!r}")
        if offer is None:
            raise _refused(at, "listing_id", "nobody sells it now")
        if offer.mode is not DeliveryMode.PARCEL:
            raise _refused(at, "listing_id", "only goods that are delivered can be fenced off")
        row = next((s for s in shelves.get(one.listing_id, ()) if s.location == one.location), None)
        if row is None:
            raise _refused(at, "location", "there is no stock of it at this location")
        if row.on_hand is None:
            raise _refused(at, "listing_id", "its vendor gives a level and no count; ask it for a count first")
        quantity = one.quantity or row.available or 0
        if quantity < 1:
            raise _refused(at, "listing_id", "nothing of it is in stock")
        rows.append(
            (
                incident_id, offer.vendor_id, one.listing_id, offer.product_id, one.location, one.warehouse, one.item,
                one.lot, one.expires_at, one.units_each, one.pool, one.substitute, quantity, uuid7(),
            )
        )  # fmt: skip
    await catalog.reserve(
        tx,
        [ReserveLine(hold_id=row[13], listing_id=row[2], quantity=row[12], location=row[4]) for row in rows],
    )
    added = await emergency.add_supplies(tx, rows)
    if len(added) < len(rows):
        raise Conflict(
            "one of these is fenced off for this incident already (same listing, location, lot and pool)",
            code="fenced_already",
        )
    await catalog.show_in_zone(tx, incident_id, {row[3] for row in rows}, incident["mall_ids"])
    await catalog.note(tx, {row[3] for row in rows})
    facts = {"rows": len(rows), "units": sum(row[12] * row[9] for row in rows)}
    await audit.record(tx, actor, "incident.supplied", f"incident:{incident_id}", facts)
    return [view_of(row) for row in await emergency.supply_rows(tx, incident_id, ids=added)]


def _refused(at: int, field: str, why: str) -> Rejected:
    return Rejected(f"supply {at + 1}: {why}", code="bad_supply", faults=(Fault(f"/supplies/{at}/{field}", why),))


async def onboard(tx: Tx, actor: str, incident_id: int, supplier: SupplierIn) -> tuple[int, list[SupplyView]]:
    """A supplier that joins now: the vendor, its goods in the catalogue, its stock fenced off, its lead times; all or
    nothing. Raises Conflict when there is a vendor of that name: fence its listings instead."""
    await incidents.locked(tx, incident_id)
    vendor_id = await connectors.add_vendor(tx, supplier.name, supplier.name_en)
    rows: dict[str, ListingIn] = {}
    stock: dict[tuple[str, str], int] = {}
    for at, one in enumerate(supplier.goods):
        try:
            listing = ListingIn(
                vendor_sku=one.sku, title=one.title, gtin=one.gtin, price=one.price, currency=one.currency,
                category="emergency",
            )  # fmt: skip
        except ValueError:
            why = "the GTIN's digits or its check digit are wrong"
            raise Rejected(why, code="bad_gtin", faults=(Fault(f"/goods/{at}/gtin", why),)) from None
        if rows.setdefault(one.sku, listing) != listing:
            why = "this SKU stands there twice, with another title, price or GTIN"
            raise Rejected(why, code="sku_twice", faults=(Fault(f"/goods/{at}/sku", why),))
        place = (one.sku, one.warehouse)
        stock[place] = stock.get(place, 0) + one.quantity
    reports = [
        StockReport(vendor_sku=sku, location=warehouse, on_hand=on_hand, reported_at=tx.now)
        for (sku, warehouse), on_hand in stock.items()
    ]
    listings = await catalog.put_on_shelf(tx, vendor_id, list(rows.values()), reports)
    wanted = [
        SupplyIn.model_construct(
            listing_id=listings[one.sku], location=one.warehouse,
            **one.model_dump(include={"item", "warehouse", "quantity", "units_each", "lot", "expires_at", "pool",
                                      "substitute"}),
        )
        for one in supplier.goods
    ]  # fmt: skip
    views = await fence(tx, actor, incident_id, wanted)
    if supplier.leads:
        await put_leads(tx, actor, incident_id, supplier.leads)
    await audit.record(tx, actor, "supplier.onboarded", f"vendor:{vendor_id}", {"incident": incident_id})
    return vendor_id, views


async def put_leads(tx: Tx, actor: str, incident_id: int, leads: Sequence[LeadIn]) -> int:
    """Write lead times; the newest word about a way counts. Raises Rejected for a site that is not the incident's."""
    await incidents.locked(tx, incident_id)
    named = sorted({one.site_id for one in leads if one.site_id is not None})
    there = await emergency.sites_there(tx, incident_id, named) if named else set()
    ways: dict[tuple[str, str, int], tuple[Any, ...]] = {}
    for at, one in enumerate(leads):
        if one.site_id is not None and one.site_id not in there:
            why = "the incident has no such site"
            raise Rejected(why, code="no_site", faults=(Fault(f"/leads/{at}/site_id", why),))
        way = (one.warehouse, "" if one.site_id else one.area, one.site_id or 0)
        ways[way] = (incident_id, *way, one.hours, one.cost)
    await emergency.put_leads(tx, list(ways.values()))
    await audit.record(tx, actor, "incident.lead_times", f"incident:{incident_id}", {"ways": len(ways)})
    return len(ways)


def view_of(row: asyncpg.Record) -> SupplyView:
    """A supply as staff see it."""
    return SupplyView(**{**dict(row), "listing_id": public_id("lst", row["listing_id"])})
