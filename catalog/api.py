"""The door of catalog/: everything other packages may call. Values are in catalog.contracts."""

from __future__ import annotations

from catalog.changes import note
from catalog.changes import prune as prune_changes
from catalog.figures import live_listings, shelf_totals, size
from catalog.ingest import on_connection_turned, on_payload, put_connection, sync
from catalog.observing import land_observed
from catalog.offers import moved_products, offers_for, slots_for, slots_near
from catalog.prices import on_holds_changed, on_listings_changed, on_move_confirmed, on_references
from catalog.reading import product_views
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
    open_holds,
    refuse,
    release,
    reserve,
    shrink,
)
from catalog.store.watch import assortment_watch_rows
from catalog.store.zones import close_zone, show_in_zone
from catalog.taking import put_on_shelf
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
    "close_zone",
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
    "open_holds",
    "product_views",
    "prune_changes",
    "put_connection",
    "put_on_shelf",
    "refuse",
    "reindex",
    "reindex_needed",
    "release",
    "reserve",
    "shelf_totals",
    "show_in_zone",
    "shrink",
    "size",
    "slots_for",
    "slots_near",
    "stop_sampling",
    "sync",
    "watch_assortment",
]
