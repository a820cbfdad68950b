"""Tracking events in: from carriers, from vendors' pushes, by hand. Each is checked, kept once, and the parcels and
clocks it touches are settled again from the whole set. An event from before its order, or from more than ten minutes
ahead, is refused by itself and the rest of the batch goes on; an event whose parcel nobody has named yet is kept."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import asyncpg
import structlog

from connectors import api as connectors
from connectors.contracts import OrderUpdate, PayloadLanded, ShipmentStatus
from fulfillment import clocks, store
from fulfillment.carriers.tables import fold
from fulfillment.contracts import EventResult, ShipmentUpdated, TrackingEventIn
from fulfillment.parcels import CARRIER, VENDOR
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict
from orders import api as orders
from orders.contracts import PoRef

log = structlog.get_logger()
AHEAD = timedelta(minutes=10)
NO_CARRIER = "unspecified"
LATELY = timedelta(minutes=15)  # longer than any transaction lasts
Key = tuple[str, str]  # carrier and tracking number


async def record_events(tx: Tx, events: Sequence[TrackingEventIn], source: str = CARRIER) -> list[EventResult]:
    """Keep events about parcels and settle what they touch. One result per event, in the order given; a duplicate
    changes nothing, in this batch or an earlier one."""
    if not events:
        return []
    known = await find(tx, {(event.carrier, event.tracking_no) for event in events})
    rows: dict[bytes, tuple[object, ...]] = {}
    results: list[EventResult] = []
    waiting: list[tuple[int, bytes, asyncpg.Record | None]] = []
    for index, event in enumerate(events):
        parcel = known.get((event.carrier, event.tracking_no))
        refusal = _untimely(event.event_at, parcel["t0"] if parcel else None, tx.now)
        digest = _digest(event, source)
        if refusal is not None:
            results.append(EventResult(index=index, result="rejected", detail=refusal))
        elif digest in rows:
            results.append(EventResult(index=index, result="duplicate"))
        else:
            rows[digest] = _event_row(event, source, parcel, digest)
            waiting.append((index, digest, parcel))
    added = await store.add_events(tx, list(rows.values())) if rows else set()
    touched: dict[uuid.UUID, ShipmentUpdated] = {}
    for index, digest, parcel in waiting:
        if digest not in added:
            results.append(EventResult(index=index, result="duplicate"))
        elif parcel is None:
            detail = "kept until a vendor names this parcel"
            results.append(EventResult(index=index, result="parked", detail=detail))
        else:
            results.append(EventResult(index=index, result="applied"))
            touched[parcel["po_id"]] = ShipmentUpdated(
                po_id=parcel["po_id"], order_id=parcel["order_id"], mall_id=parcel["mall_id"]
            )
    if touched:
        await clocks.settle(tx, {update.order_id for update in touched.values()})
        tx.emit(*touched.values())
    return sorted(results, key=lambda result: result.index)


async def on_payload(tx: Tx, event: PayloadLanded) -> None:
    """Read what a vendor's push says about our purchase orders. Its word is kept and shown; only a carrier's scan
    delivers."""
    connection, content = await connectors.landed(tx, event.inbox_id)
    for update in content.orders:
        po = await orders.find_po(
            tx, connection_id=connection.id, po_number=update.po_number, vendor_order_no=update.vendor_order_no
        )
        if update.status is ShipmentStatus.UNKNOWN and update.raw_status:
            await connectors.note_drift(tx, connection.id, [f"order status={update.raw_status[:80]}"])
        if po is None:
            log.debug("update_of_unknown_order", connection_id=connection.id, raw_status=update.raw_status)
        else:
            await apply_update(tx, po, update)


async def apply_update(tx: Tx, po: PoRef, update: OrderUpdate) -> None:
    """Keep a vendor's word about one purchase order, with the parcel it names."""
    await orders.on_order_update(tx, po, update)
    facts = await clocks.follow(tx, po.order_id)
    if not facts:
        return
    await store.open_shipment(tx, po.po_id, po.order_id, po.mall_id, po.vendor_id, None)
    if update.at <= tx.now + AHEAD:
        await store.note_vendor_status(tx, po.po_id, update.status.value, update.raw_status[:200], update.at)
    if update.tracking_no:
        said = TrackingEventIn(
            carrier=update.carrier or NO_CARRIER,
            tracking_no=update.tracking_no,
            status=update.status.value,
            raw_status=update.raw_status[:200],
            event_at=update.at,
        )
        await name_parcel(tx, po, said.carrier, said.tracking_no, min(line.t0 for line in facts))
        key = (said.carrier, said.tracking_no)
        held = (await find(tx, [key])).get(key)
        if held is not None and held["po_id"] != po.po_id:
            log.warning("update_names_the_parcel_of_another_order", po_id=str(po.po_id), parcel_id=held["id"])
        else:
            await record_events(tx, [said], VENDOR)
    await clocks.settle(tx, [po.order_id])
    tx.emit(ShipmentUpdated(po_id=po.po_id, order_id=po.order_id, mall_id=po.mall_id))


async def on_shipment_updated(tx: Tx, event: ShipmentUpdated) -> None:
    """Tell orders/ how far a purchase order has come. One that was cancelled meanwhile stays so, with a line in the
    log: the parcel is a matter for people."""
    progress = await store.progress_of(tx, event.po_id)
    try:
        if progress["delivered"]:
            await orders.delivered(tx, event.po_id)
        elif progress["left_vendor"]:
            await orders.shipped(tx, event.po_id)
    except Conflict as conflict:
        log.warning("parcel_of_a_cancelled_order", po_id=str(event.po_id), detail=conflict.detail)


async def name_parcel(tx: Tx, po: PoRef, carrier: str, tracking_no: str, t0: datetime) -> int | None:
    """A parcel of this purchase order, with the events that came before its name; None when it already had one, in
    whatever spelling of its carrier."""
    if any(fold(row["carrier"]) == fold(carrier) for row in await store.find_parcels(tx, [tracking_no])):
        return None
    row = (po.po_id, po.order_id, po.mall_id, po.vendor_id, carrier, tracking_no, t0)
    added = await store.add_parcels(tx, [row])
    if not added:
        return None
    await _adopt(tx, await store.parked_of(tx, added[0]["id"]))
    return int(added[0]["id"])


async def find(tx: Tx, keys: Collection[Key]) -> dict[Key, asyncpg.Record]:
    """The parcels behind (carrier, tracking number). A carrier is written in many ways, and a vendor may have named
    none; a parcel whose vendor named this carrier goes before one that may be anybody's."""
    if not keys:
        return {}
    named: dict[Key, asyncpg.Record] = {}
    for row in await store.find_parcels(tx, sorted({number for _, number in keys})):  # the first of a spelling wins
        named.setdefault((fold(row["carrier"]), row["tracking_no"]), row)
    hits = {key: named.get((fold(key[0]), key[1])) or named.get((NO_CARRIER, key[1])) for key in keys}
    return {key: row for key, row in hits.items() if row is not None}


async def adopt_late(tx: Tx) -> int:
    """Events and the name of their parcel that came at the same moment did not see each other; bring them together.
    Returns how many events."""
    rows = await store.parked_lately(tx, tx.now - LATELY)
    adopted = await _adopt(tx, rows)
    if adopted:
        await clocks.settle(tx, {row["order_id"] for row in adopted})
        updates = {
            row["po_id"]: ShipmentUpdated(po_id=row["po_id"], order_id=row["order_id"], mall_id=row["mall_id"])
            for row in adopted
        }
        tx.emit(*updates.values())
    return len(adopted)


async def _adopt(tx: Tx, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Give parcels the parked events of their number, as far as they are of their carrier; returns those."""
    own = [row for row in rows if row["carrier"] == NO_CARRIER or fold(row["said"]) == fold(row["carrier"])]
    if own:
        await store.adopt_parked(tx, [(row["event_id"], row["parcel_id"]) for row in own])
    return own


def _untimely(at: datetime, t0: datetime | None, now: datetime) -> str | None:
    if at > now + AHEAD:
        return "the event's time is more than ten minutes ahead of now"
    if t0 is not None and at < t0:
        return "the event's time is before the order"
    return None


def _digest(event: TrackingEventIn, source: str) -> bytes:
    """What makes two reports the same event: the words around it may differ, and the spelling of the carrier."""
    parts = [
        fold(event.carrier),
        event.tracking_no,
        source,
        event.status,
        event.event_at.timestamp(),
        event.cause,
        event.void,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _event_row(event: TrackingEventIn, source: str, parcel: asyncpg.Record | None, digest: bytes) -> tuple[object, ...]:
    known = event.status in ShipmentStatus.__members__.values()
    return (
        *((parcel["id"], parcel["mall_id"], parcel["vendor_id"]) if parcel else (None, None, None)),
        parcel["carrier"] if parcel else event.carrier, event.tracking_no, source,
        event.status if known else ShipmentStatus.UNKNOWN.value,
        event.raw_status or event.status, event.cause, event.void, event.event_at, event.place, event.description,
        digest,
    )  # fmt: skip
