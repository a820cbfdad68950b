"""The door of catalog/: everything other packages may call. Values are in catalog.contracts."""

from __future__ import annotations

from catalog.changes import note
from catalog.figures import live_listings, shelf_totals, size
from catalog.ingest import on_connection_turned, on_payload, on_references, put_connection, sync
from catalog.offers import moved_products, offers_for, slots_for
from catalog.recognising import match_due, on_listings_changed
from catalog.stock import (
    Drift,
    Shelf,
    accept,
    apply_reports,
    apply_vendor_reports,
    available,
    drift,
    refuse,
    release,
    reserve,
)

__all__ = [
    "Drift",
    "Shelf",
    "accept",
    "apply_reports",
    "apply_vendor_reports",
    "available",
    "drift",
    "live_listings",
    "match_due",
    "moved_products",
    "note",
    "offers_for",
    "on_connection_turned",
    "on_listings_changed",
    "on_payload",
    "on_references",
    "put_connection",
    "refuse",
    "release",
    "reserve",
    "shelf_totals",
    "size",
    "slots_for",
    "sync",
]
