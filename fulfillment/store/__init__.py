"""Tables of fulfilment and all SQL over them. Tracking events are an append-only set; parcels and clocks are derived
from it under the lock of the order's clocks, so they converge however events arrive."""

from __future__ import annotations

from fulfillment.store import carriers, emergency, emergency_allotments, emergency_plans
from fulfillment.store.figures import (
    INVARIANTS,
    broken,
    count_72h,
    count_stockouts,
    on_time_by_vendor,
    tracking_lag,
)
from fulfillment.store.shipping import (
    add_events,
    add_parcel_lines,
    add_parcels,
    adopt_parked,
    clocks_of,
    events_of,
    find_parcels,
    note_vendor_status,
    open_shipment,
    parcels_of,
    parked_lately,
    parked_of,
    progress_of,
    save_parcels,
    shipments_of,
)
from fulfillment.store.tables import (
    DDL,
    as_hub,
    line_clock,
    parcel_lines,
    parcels,
    shipments,
    tracking_events,
)
from fulfillment.store.timing import (
    cancel_lines,
    deliveries_of,
    lock_clocks,
    save_progress,
    start_clocks,
    undecided_orders,
)

__all__ = [
    "DDL", "INVARIANTS", "add_events", "add_parcel_lines", "add_parcels", "adopt_parked", "as_hub", "broken",
    "cancel_lines", "carriers", "clocks_of", "count_72h", "count_stockouts", "deliveries_of", "emergency",
    "emergency_allotments", "emergency_plans", "events_of", "find_parcels", "line_clock", "lock_clocks",
    "note_vendor_status",
    "on_time_by_vendor", "open_shipment", "parcel_lines", "parcels", "parcels_of", "parked_lately", "parked_of",
    "progress_of", "save_parcels", "save_progress", "shipments", "shipments_of", "start_clocks", "tracking_events",
    "tracking_lag", "undecided_orders",
]  # fmt: skip
