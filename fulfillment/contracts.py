"""What crosses the wall of fulfillment/: shipments, tracking events in normal form, and the figures."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from hub.kernel.events import Event
from hub.kernel.types import Frozen, Instant, SafeText, View


class ShipmentUpdated(Event):
    """Tracking said something new about a purchase order's parcels."""

    po_id: uuid.UUID
    order_id: uuid.UUID
    mall_id: int


class Wilson(View):
    """A 95 % Wilson score interval, as shares."""

    low: float
    high: float


class Partition72h(View):
    """Every eligible line in exactly one class: the four add up to `eligible`."""

    eligible: int
    on_time: int
    late: int
    open_overdue: int
    supply_cancelled: int


class Delivery72h(View):
    """The 72-hour figure of one window."""

    numerator: int
    denominator: int
    rate: float | None
    interval: Wilson | None
    target: float = 0.90
    status: Literal["met", "missed", "no_data"]
    partition: Partition72h
    excluded: int
    exclusion_rate: float | None
    window: tuple[datetime, datetime]
    as_of: datetime


class StockoutFigure(View):
    """First-vendor and customer-visible stock-out rates of one window."""

    numerator: int
    denominator: int
    rate: float | None
    visible_numerator: int
    visible_rate: float | None
    rescue_rate: float | None
    unknown: int  # lines whose vendor timed out: their own class
    target: float = 0.03
    status: Literal["met", "missed", "no_data"]
    window: tuple[datetime, datetime]
    as_of: datetime


CarrierCode = Annotated[SafeText, StringConstraints(min_length=1, max_length=60, strip_whitespace=True, to_lower=True)]
TrackingNo = Annotated[SafeText, StringConstraints(min_length=1, max_length=80, strip_whitespace=True, to_upper=True)]


class TrackingEventIn(Frozen):
    """One event about a parcel. A `status` outside ShipmentStatus is kept as unknown with the raw value. `void`
    withdraws the event of the same status and instant; `cause` is the carrier's evidence of why it cannot deliver."""

    carrier: CarrierCode
    tracking_no: TrackingNo
    status: Annotated[SafeText, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    event_at: Instant
    raw_status: Annotated[SafeText, Field(max_length=200)] | None = None
    place: Annotated[SafeText, Field(max_length=200)] | None = None
    description: Annotated[SafeText, Field(max_length=500)] | None = None
    cause: Literal["bad_address"] | None = None
    void: bool = False


class EventResult(View):
    """What became of one event. `parked`: kept until a vendor names this parcel."""

    index: int
    result: Literal["applied", "duplicate", "parked", "rejected", "invalid"]
    detail: str | None = None


class ParcelEventView(View):
    """One event of a parcel."""

    source: str
    status: str
    raw_status: str
    event_at: datetime
    ingested_at: datetime
    place: str | None
    description: str | None
    void: bool


class ParcelLineView(View):
    """Units of one order line in a parcel."""

    line_no: int
    quantity: int


class ParcelView(View):
    """A parcel. `lines` is empty when the vendor never said what is in it."""

    carrier: str
    tracking_no: str
    status: str
    vendor_status: str | None
    delivered_at: datetime | None
    lines: list[ParcelLineView]
    events: list[ParcelEventView]


class ShipmentView(View):
    """What one vendor sends of an order."""

    purchase_order: str
    accepted_at: datetime | None
    vendor_status: str | None
    parcels: list[ParcelView]


class LineProgress(View):
    """How far one line of an order is. `delivered_at` is when its last unit arrived by a carrier's scan."""

    line_no: int
    quantity: int
    delivered_units: int
    due_at: datetime
    delivered_at: datetime | None
    cancelled_by: Literal["buyer", "supply"] | None


class OrderShipments(View):
    """The shipments of one order and what has arrived of each line."""

    order_id: str
    shipments: list[ShipmentView]
    lines: list[LineProgress]


class TrackingFreshness(View):
    """How long carriers' events took from the scan to us; None without any."""

    events: int
    p50_s: float | None
    p95_s: float | None
    window: tuple[datetime, datetime]
