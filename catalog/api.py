"""The door of catalog/: everything other packages may call. Values are in catalog.contracts."""

from __future__ import annotations

from catalog.changes import note
from catalog.changes import prune as prune_changes
from catalog.figures import live_listings, shelf_totals, size
from catalog.ingest import on_connection_turned, on_payload, put_connection, sync
from catalog.observing import land_observed
from catalog.offers import moved_products, offers_for, slots_for
from catalog.prices import on_holds_changed, on_listings_changed, on_move_confirmed, on_references
from catalog.recognising import match_due, on_listings_to_match
from catalog.reindexing import needed as reindex_needed
from catalog.reindexing import reindex
from catalog.sampling import begin as begin_sampling
from catalog.sampling import stop as stop_sampling
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
from catalog.wording import count_words

__all__ = [
    "Drift",
    "Shelf",
    "accept",
    "apply_reports",
    "apply_vendor_reports",
    "assortment_watch_rows",
    "available",
    "begin_sampling",
    "count_words",
    "drift",
    "land_observed",
    "live_listings",
    "match_due",
    "moved_products",
    "note",
    "offers_for",
    "on_connection_turned",
    "on_holds_changed",
    "on_listings_changed",
    "on_listings_to_match",
    "on_move_confirmed",
    "on_payload",
    "on_references",
    "prune_changes",
    "put_connection",
    "refuse",
    "reindex",
    "reindex_needed",
    "release",
    "reserve",
    "shelf_totals",
    "size",
    "slots_for",
    "stop_sampling",
    "sync",
    "watch_assortment",
]
