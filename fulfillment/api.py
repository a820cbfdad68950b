"""What other packages may use of fulfilment: the handlers and the tasks that the map wires, the figures, and what a
command-line import of tracking events needs. All but the tasks run inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from fulfillment import clocks, sla, stockouts, store, tracking
from fulfillment.clocks import on_accepted, on_cancelled, on_placed, on_reduced, on_refused, on_unsupplied
from fulfillment.contracts import Delivery72h, StockoutFigure, TrackingFreshness
from fulfillment.sla import Class72h
from fulfillment.stockouts import StockoutCounts
from fulfillment.tracking import on_payload, on_shipment_updated, record_events
from hub.kernel.db import Tx, uow
from orders import api as orders
from orders.contracts import LineDelivery

Window = tuple[datetime, datetime]


async def delivery_72h(
    tx: Tx, window: Window, now: datetime, mall_id: int | None = None, vendor_id: int | None = None
) -> Delivery72h:
    """The 72-hour figure at `now` of the lines ordered in [window), of one mall or of the vendor that carries them."""
    row = await store.count_72h(tx, window, now - sla.GRACE, mall_id, vendor_id)
    counts = {kind: int(row[kind.value]) for kind in Class72h if kind is not Class72h.NOT_DUE}
    return sla.figure(counts | {Class72h.NOT_DUE: 0}, window, now)


async def stockout_figure(
    tx: Tx, window: Window, now: datetime, mall_id: int | None = None, vendor_id: int | None = None
) -> StockoutFigure:
    """The stock-out figure of the lines ordered in [window), of one mall or of their first vendor."""
    row = await store.count_stockouts(tx, window, mall_id, vendor_id)
    return stockouts.figure(StockoutCounts(**{name: int(value) for name, value in row.items()}), window, now)


async def tracking_freshness(tx: Tx, since: datetime) -> TrackingFreshness:
    """How long carriers' events received since `since` took from the scan to us, in seconds."""
    row = await store.tracking_lag(tx, since)
    return TrackingFreshness(events=row["events"], p50_s=row["p50"], p95_s=row["p95"], window=(since, tx.now))


async def deliveries_of(tx: Tx, line_ids: Sequence[uuid.UUID]) -> list[LineDelivery]:
    """What is known of the delivery of these lines, for settlement; nothing for lines without a clock."""
    return [LineDelivery(**dict(row)) for row in await store.deliveries_of(tx, line_ids)]


async def refresh_undecided() -> int:
    """A task: look again at lines whose first vendor has not answered; returns how many pages were looked at. Each page
    is one transaction."""
    after, pages = None, 0
    while True:
        async with uow() as tx:
            after = await clocks.refresh_undecided(tx, after)
        pages += 1
        if after is None:
            return pages


async def adopt_late() -> int:
    """A task: bring scans and the name of their parcel together that came at the same moment; returns how many."""
    async with uow() as tx:
        return await tracking.adopt_late(tx)


async def tell_on_time() -> int:
    """A task: tell routing how vendors kept the 72 hours in the last 30 days; returns how many vendors that were."""
    async with uow() as tx:
        window = (tx.now - timedelta(days=30), tx.now)
        rows = await store.on_time_by_vendor(tx, window, tx.now - sla.GRACE)
        await orders.note_on_time(tx, {row["vendor_id"]: (row["due"], row["on_time"]) for row in rows})
    return len(rows)


async def invariants(tx: Tx) -> dict[str, bool]:
    """The promises that must hold at any moment, each true or false."""
    found = {name: await store.broken(tx, check) == 0 for name, check in store.INVARIANTS.items()}
    always = (tx.now - timedelta(days=36_500), tx.now + timedelta(days=1))
    row = await store.count_72h(tx, always, tx.now - sla.GRACE, None, None)
    classes = (Class72h.ON_TIME, Class72h.LATE, Class72h.OPEN_OVERDUE, Class72h.SUPPLY_CANCELLED)
    return found | {"delivery_72h_partition_is_exact": row["eligible"] == sum(row[kind.value] for kind in classes)}


__all__ = [
    "adopt_late", "deliveries_of", "delivery_72h", "invariants", "on_accepted", "on_cancelled", "on_payload",
    "on_placed", "on_reduced", "on_refused", "on_shipment_updated", "on_unsupplied", "record_events",
    "refresh_undecided", "stockout_figure", "tell_on_time", "tracking_freshness",
]  # fmt: skip
