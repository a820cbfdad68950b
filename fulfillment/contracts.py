"""What crosses the wall of fulfillment/: shipments, tracking events in normal form, and the figures."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from hub.kernel.events import Event
from hub.kernel.types import View


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
