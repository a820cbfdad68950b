"""The door of catalog/: everything other packages may call. Values are in catalog.contracts."""

from __future__ import annotations

from catalog.changes import note
from catalog.figures import live_listings, shelf_totals, size
from catalog.ingest import on_connection_turned, on_payload, on_references, put_connection, sync
from catalog.offers import offers_for, slots_for
from catalog.reading import product_views
from catalog.stock import (
    Drift,
    Shelf,
    accept,
    apply_reports,
    apply_vendor_reports,
    available,
    drift,
    open_holds,
    refuse,
    release,
    reserve,
)
from catalog.store.zones import close_zone, show_in_zone
from catalog.taking import put_on_shelf

__all__ = [
    "Drift",
    "Shelf",
    "accept",
    "apply_reports",
    "apply_vendor_reports",
    "available",
    "close_zone",
    "drift",
    "live_listings",
    "note",
    "offers_for",
    "on_connection_turned",
    "on_payload",
    "on_references",
    "open_holds",
    "product_views",
    "put_connection",
    "put_on_shelf",
    "refuse",
    "release",
    "reserve",
    "shelf_totals",
    "show_in_zone",
    "size",
    "slots_for",
    "sync",
]
