"""The normal form of what a carrier says about parcels. A value that nobody knows stays `unknown` beside what came."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from connectors.contracts import ShipmentStatus
from hub.kernel.types import Frozen, Instant, SafeText


class CarrierStatus(StrEnum):
    """What happened to a parcel, as carriers distinguish it."""

    PENDING = "pending"  # announced; the carrier does not have it yet
    PICKED_UP = "picked_up"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    READY_FOR_PICKUP = "ready_for_pickup"  # waits for the recipient at a counter, station or locker
    DELIVERED = "delivered"
    DELIVERY_FAILED = "delivery_failed"
    DELIVERY_DELAYED = "delivery_delayed"
    ON_HOLD = "on_hold"
    RETURN_TO_SENDER = "return_to_sender"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


Cause = Literal["refused", "bad_address"]

# The one place where a carrier's word becomes a state of our parcels. Waiting at a station is near the buyer and not
# delivered; a delay is no exception while the parcel moves.
OURS: Mapping[CarrierStatus, ShipmentStatus] = {
    CarrierStatus.PENDING: ShipmentStatus.PENDING,
    CarrierStatus.PICKED_UP: ShipmentStatus.SHIPPED,
    CarrierStatus.IN_TRANSIT: ShipmentStatus.IN_TRANSIT,
    CarrierStatus.OUT_FOR_DELIVERY: ShipmentStatus.OUT_FOR_DELIVERY,
    CarrierStatus.READY_FOR_PICKUP: ShipmentStatus.OUT_FOR_DELIVERY,
    CarrierStatus.DELIVERED: ShipmentStatus.DELIVERED,
    CarrierStatus.DELIVERY_FAILED: ShipmentStatus.EXCEPTION,
    CarrierStatus.DELIVERY_DELAYED: ShipmentStatus.IN_TRANSIT,
    CarrierStatus.ON_HOLD: ShipmentStatus.EXCEPTION,
    CarrierStatus.RETURN_TO_SENDER: ShipmentStatus.RETURNED,
    CarrierStatus.CANCELLED: ShipmentStatus.CANCELLED,
    CarrierStatus.UNKNOWN: ShipmentStatus.UNKNOWN,
}

Code = Annotated[SafeText, Field(max_length=120)]
Words = Annotated[SafeText, Field(max_length=500)]
Place = Annotated[SafeText, Field(max_length=200)]


class CarrierEvent(Frozen):
    """One scan. `local` is the wall clock as the carrier wrote it; `at` is the instant, when a zone is known."""

    status: CarrierStatus
    code: Code | None = None
    description: Words | None = None
    place: Place | None = None
    local: datetime
    at: Instant | None = None
    zone_from: Literal["payload", "carrier", "place"] | None = None
    cause: Cause | None = None

    @property
    def sort_key(self) -> tuple[str, ...]:
        """A total order of events by what they say, newest last, whatever order they came in."""
        said = (self.code or "", self.description or "", self.place or "")
        return (self.local.isoformat(), _RANK[self.status], *said, self.at.isoformat() if self.at else "")


_RANK = {status: f"{rank:02}" for rank, status in enumerate(CarrierStatus)}


class CarrierParcel(Frozen):
    """A parcel with its scans, newest first. `tracking_no` is None when neither payload nor caller names one."""

    carrier: str
    tracking_no: Annotated[SafeText, Field(max_length=80)] | None
    status: CarrierStatus
    delivered: bool
    events: tuple[CarrierEvent, ...]


class Refused(Frozen):
    """A record that looks like a scan and cannot be used: why, where, and what came."""

    reason: str
    pointer: str
    raw: str


class Problem(Frozen):
    """What the carrier says is wrong (no such parcel, say)."""

    code: str | None
    message: str


class Reading(Frozen):
    """Everything that one payload says. One of the three is never empty."""

    parcels: tuple[CarrierParcel, ...] = ()
    refused: tuple[Refused, ...] = ()
    problems: tuple[Problem, ...] = ()
