"""The door of catalog/: everything other packages may call. Values are in catalog.contracts."""

from __future__ import annotations

from catalog.changes import note
from catalog.changes import prune as prune_changes
from catalog.figures import live_listings, shelf_totals, size
from catalog.ingest import on_connection_turned, on_payload, on_references, put_connection, sync
from catalog.offers import offers_for, slots_for
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
from catalog.store.watch import assortment_watch_rows
from catalog.watch import watch_assortment

__all__ = [
    "Drift",
    "Shelf",
    "accept",
    "apply_reports",
    "apply_vendor_reports",
    "assortment_watch_rows",
    "available",
    "drift",
    "live_listings",
    "note",
    "offers_for",
    "on_connection_turned",
    "on_payload",
    "on_references",
    "prune_changes",
    "put_connection",
    "refuse",
    "release",
    "reserve",
    "shelf_totals",
    "size",
    "slots_for",
    "sync",
    "watch_assortment",
]
