"""What crosses the wall of catalog/: offers, reservations on the shelf, and what changed."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from hub.kernel.events import Event
from hub.kernel.types import DeliveryMode, Frozen, Kind, Level


class Offer(Frozen):
    """One vendor's sellable listing of a product, as routing sees it now. `available` is on hand - reserved -
    buffer, or None for a vendor that gives only a level."""

    listing_id: int
    product_id: int
    connection_id: int
    vendor_id: int
    vendor_name: str
    vendor_sku: str
    title: str
    kind: Kind
    mode: DeliveryMode
    price: Decimal
    currency: str
    available: int | None
    level: Level
    fresh: bool
    held_by_parity: bool = False  # for the asking mall: its policy `hold`
    blocked_by_parity: str | None = None  # ... its policy `block`: why, in words
    outside_assortment: bool = False  # the asking mall's own rules leave it out
    vendor_ref: str | None = None
    category: str | None = None
    city: str | None = None  # where a service takes place


class SlotOffer(Frozen):
    """One bookable time, as routing sees it now."""

    slot_id: int
    offer: Offer
    location: str  # the shelf location that is the slot
    version: str | None
    start: datetime
    end: datetime
    free: bool


class ReserveLine(Frozen):
    """A wish to hold `quantity` of a listing for one order line. `hold_id` is the caller's and unique."""

    hold_id: uuid.UUID
    listing_id: int
    quantity: int
    location: str | None = None  # None: any location with enough; a slot names its own


class Shortage(Frozen):
    """Why a reservation was refused."""

    hold_id: uuid.UUID
    listing_id: int
    wanted: int
    available: int


class SyncOutcome(Frozen):
    """What one pull did."""

    run_id: int
    connection_id: int
    seen: int
    created: int
    updated: int
    unchanged: int
    quarantined: int
    unlisted: int
    merged: int  # listings that joined a product another listing made
    complete: bool
    seconds: float
    error: str | None = None


class ListingIdentityChanged(Event):
    """A vendor renamed a SKU, gave it to another article, made it anew, or split it into variants."""

    connection_id: int
    listing_id: int
    kind: Literal["renamed", "reused", "recreated", "split"]
    external_id: str | None
    before: str
    after: str


class ListingsChanged(Event):
    """A run changed listings of one connection; coarse, one per committed batch at most."""

    connection_id: int
    run_id: int | None
    listing_ids: list[int]


class Oversold(Event):
    """A vendor's report fell below what we hold for orders there."""

    listing_id: int
    location: str
    on_hand: int
    reserved: int


class AssortmentDropped(Event):
    """Fewer products of this kind can be ordered than the target asks for, and it was enough before."""

    kind: str
    orderable: int
    target: int


class AssortmentRestored(Event):
    """Enough products of this kind can be ordered again."""

    kind: str
    orderable: int
    target: int


class ChangesPage(Frozen):
    """A piece of /changes: `cursors` has the place after each item, `head` how far the log has come."""

    items: list[dict[str, Any]]
    cursors: list[str]
    next: str
    full: bool = False  # a piece of a full read
    head: int = 0
    unchanged: bool = False  # nothing was looked at, since the log is where the reader says
