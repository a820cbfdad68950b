"""One clock per accepted line: started when the order is placed, kept in step with who carries the line, stopped by
what the set of tracking events says. Every handler here brings clocks to what orders/ and the events say *now*, so it
does not matter in which order the events of an order's life are delivered, or how often."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import asyncpg

from connectors.contracts import ShipmentStatus
from fulfillment import store
from fulfillment.parcels import LineState, ParcelState, Portion, Scan, line_state, parcel_state
from fulfillment.sla import BUYER, SUPPLY
from fulfillment.stockouts import first_outcome
from hub.kernel.db import Tx
from hub.kernel.types import DeliveryMode
from orders import api as orders
from orders.contracts import (
    LineFacts,
    LineReduced,
    LineUnsupplied,
    OrderCancelled,
    OrderPlaced,
    VendorAccepted,
    VendorRefused,
)

# A line in one of these states is carried by nobody, whatever purchase order it last rode on.
_NOBODYS = frozenset({"rerouting", "unsupplied", "expired"})
_UNDECIDED_FOR = timedelta(days=7)  # how long an unanswered first vendor is asked after


async def follow(tx: Tx, order_id: uuid.UUID) -> list[LineFacts]:
    """Bring the clocks of an order to what orders/ knows now; starts them when they are new. Empty for an order that
    was never placed."""
    facts = await orders.line_facts(tx, order_id=order_id)
    if facts:
        await store.start_clocks(tx, [_clock_row(line) for line in facts])
    return facts


async def on_placed(tx: Tx, event: OrderPlaced) -> None:
    """The hub accepted an order: its clocks run from t0."""
    await follow(tx, event.order_id)


async def on_accepted(tx: Tx, event: VendorAccepted) -> None:
    """A vendor took a purchase order: its shipment opens, and the clocks of appointments (booking confirmed) and codes
    (issued with the acceptance) stop."""
    await follow(tx, event.order_id)
    await store.open_shipment(tx, event.po_id, event.order_id, event.mall_id, event.vendor_id, event.accepted_at)
    await settle(tx, [event.order_id])


async def on_refused(tx: Tx, event: VendorRefused) -> None:
    """A vendor refused or withdrew: nobody carries its lines until they find the next offer. t0 stays."""
    await follow(tx, event.order_id)
    await settle(tx, [event.order_id])


async def on_unsupplied(tx: Tx, event: LineUnsupplied) -> None:
    """No vendor was left for a line: a miss, and visible to the customer."""
    await follow(tx, event.order_id)
    await store.cancel_lines(tx, [event.line_id], SUPPLY)
    await settle(tx, [event.order_id])


async def on_reduced(tx: Tx, event: LineReduced) -> None:
    """The mall wants fewer units of a line: it has arrived when those have."""
    await follow(tx, event.order_id)
    await settle(tx, [event.order_id])


async def on_cancelled(tx: Tx, event: OrderCancelled) -> None:
    """The mall cancelled lines."""
    await follow(tx, event.order_id)
    await store.cancel_lines(tx, event.line_ids, BUYER)


async def refresh_undecided(tx: Tx, after: uuid.UUID | None = None, limit: int = 200) -> uuid.UUID | None:
    """Ask orders/ again about lines whose first vendor has not answered (a time-out emits no event). Returns where to
    go on, None at the end."""
    found = await store.undecided_orders(tx, tx.now - _UNDECIDED_FOR, after, limit)
    for order_id in found:
        await follow(tx, order_id)
    return found[-1] if len(found) == limit else None


async def settle(tx: Tx, order_ids: Collection[uuid.UUID]) -> None:
    """Derive parcels and clocks of these orders from their tracking events, under the lock of the clocks."""
    ordered = sorted(order_ids)
    clocks = await store.lock_clocks(tx, ordered)
    parcels = await store.parcels_of(tx, ordered)
    states = await _parcel_states(tx, parcels)
    if parcels:
        await store.save_parcels(tx, [_parcel_row(parcel_id, state) for parcel_id, state in states.items()])
    accepted = {row["po_id"]: row["accepted_at"] for row in await store.shipments_of(tx, ordered)}
    portions: dict[uuid.UUID, list[Portion]] = defaultdict(list)
    unlisted: dict[uuid.UUID, list[ParcelState]] = defaultdict(list)
    for parcel in parcels:
        if not parcel["lines"]:
            unlisted[parcel["po_id"]].append(states[parcel["id"]])
        for line_id, _line_no, quantity in parcel["lines"]:
            portions[uuid.UUID(line_id)].append(Portion(quantity, states[parcel["id"]]))
    progress = []
    for clock in clocks:
        if clock["mode"] == DeliveryMode.PARCEL:
            state = line_state(clock["quantity"], portions[clock["line_id"]], unlisted[clock["po_id"]])
        else:
            state = _confirmed(clock, accepted.get(clock["po_id"]))
        progress.append(
            (clock["line_id"], state.delivered_units, state.delivered_at, state.first_scan_at, state.excused)
        )
    if progress:
        await store.save_progress(tx, progress)


async def _parcel_states(tx: Tx, parcels: Sequence[asyncpg.Record]) -> dict[int, ParcelState]:
    scans: dict[int, list[Scan]] = {parcel["id"]: [] for parcel in parcels}
    if scans:
        for row in await store.events_of(tx, list(scans)):
            scans[row["parcel_id"]].append(
                Scan(row["source"], ShipmentStatus(row["status"]), row["event_at"], row["cause"], row["void"])
            )
    return {parcel_id: parcel_state(seen) for parcel_id, seen in scans.items()}


def _confirmed(clock: asyncpg.Record, accepted_at: datetime | None) -> LineState:
    """Without a parcel, the vendor's acceptance of the purchase order that carries the line is its end."""
    if accepted_at is None:
        return LineState(0, None, None, None)
    return LineState(clock["quantity"], max(accepted_at, clock["t0"]), None, None)


def _parcel_row(parcel_id: int, state: ParcelState) -> tuple[int, str, str | None, datetime | None, datetime | None]:
    vendor = state.vendor_status.value if state.vendor_status else None
    return parcel_id, state.status.value, vendor, state.delivered_at, state.first_scan_at


def _clock_row(line: LineFacts) -> tuple[object, ...]:
    carried_by = None if line.status in _NOBODYS else line.po_id
    outcome = first_outcome(line.first_vendor_outcome, line.first_vendor_unknown)
    return (
        line.line_id, line.order_id, carried_by, line.mall_id, line.vendor_id, line.line_no, line.category, line.city,
        line.mode.value, line.quantity, line.t0, line.due_at, outcome.value,
    )  # fmt: skip
