"""What tracking events mean: the state of a parcel, and how much of a line has arrived and when. Pure. A state is a
function of the *set* of events, so late, doubled and shuffled events converge on the same answer.

Only a carrier's scan delivers. A vendor's "delivered" is shown as the vendor's word and ends no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from connectors.contracts import ShipmentStatus

CARRIER = "carrier"
VENDOR = "vendor"
MANUAL = "manual"
BAD_ADDRESS = "bad_address"

# Among events of one instant the one further along wins.
_ORDER = (
    ShipmentStatus.UNKNOWN,
    ShipmentStatus.PENDING,
    ShipmentStatus.SHIPPED,
    ShipmentStatus.IN_TRANSIT,
    ShipmentStatus.OUT_FOR_DELIVERY,
    ShipmentStatus.EXCEPTION,
    ShipmentStatus.REFUSED,
    ShipmentStatus.DELIVERED,
    ShipmentStatus.RETURNED,
    ShipmentStatus.CANCELLED,
)
_RANK = {status: rank for rank, status in enumerate(_ORDER)}
_NO_SCAN = frozenset({ShipmentStatus.UNKNOWN, ShipmentStatus.PENDING, ShipmentStatus.CANCELLED})
_GONE = frozenset({ShipmentStatus.RETURNED, ShipmentStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Scan:
    """One tracking event. `void` withdraws the event of the same source, status and instant, whichever came first."""

    source: str
    status: ShipmentStatus
    event_at: datetime
    cause: str | None = None
    void: bool = False


@dataclass(frozen=True, slots=True)
class ParcelState:
    """Where a parcel is, by the carrier's scans; `vendor_status` is what the vendor says."""

    status: ShipmentStatus
    delivered_at: datetime | None = None
    first_scan_at: datetime | None = None
    excused: str | None = None  # "refused" or "bad_address", on the carrier's evidence
    vendor_status: ShipmentStatus | None = None

    @property
    def gone(self) -> bool:
        """Whether its units will not arrive in this parcel, and may be shipped again."""
        return self.delivered_at is None and self.status in _GONE


def parcel_state(scans: Iterable[Scan]) -> ParcelState:
    """The state that a set of events amounts to."""
    seen = set(scans)
    withdrawn = {(s.source, s.status, s.event_at) for s in seen if s.void}
    valid = [s for s in seen if not s.void and (s.source, s.status, s.event_at) not in withdrawn]
    carrier = _to_whom([s for s in valid if s.source != VENDOR])
    scanned = [s for s in carrier if s.source == CARRIER and s.status not in _NO_SCAN]
    delivered = [s.event_at for s in scanned if s.status is ShipmentStatus.DELIVERED]
    vendor_status = _newest([s for s in valid if s.source == VENDOR])
    status = _newest(carrier) or _unconfirmed(vendor_status)
    if delivered and status is not ShipmentStatus.RETURNED:
        status = ShipmentStatus.DELIVERED
    elif status is ShipmentStatus.DELIVERED:
        status = ShipmentStatus.IN_TRANSIT  # said by hand; no carrier scanned it
    excused = None
    if any(s.status is ShipmentStatus.REFUSED for s in scanned):
        excused = "refused"
    elif any(s.cause == BAD_ADDRESS for s in scanned):
        excused = BAD_ADDRESS
    return ParcelState(
        status=status,
        delivered_at=min(delivered, default=None),
        first_scan_at=min((s.event_at for s in scanned), default=None),
        excused=excused,
        vendor_status=vendor_status,
    )


@dataclass(frozen=True, slots=True)
class Portion:
    """Units of one line in one parcel."""

    quantity: int
    parcel: ParcelState


@dataclass(frozen=True, slots=True)
class LineState:
    """What has become of a line's units."""

    delivered_units: int
    delivered_at: datetime | None  # t1: when the last unit was delivered
    first_scan_at: datetime | None
    excused: str | None


def line_state(quantity: int, portions: Sequence[Portion], unlisted: Sequence[ParcelState]) -> LineState:
    """How much of a line of `quantity` units has arrived. `unlisted` are parcels of its purchase order whose contents
    the vendor never said: what no portion covers has arrived when all of them have."""
    waiting = [p for p in unlisted if not p.gone]
    rest = quantity - sum(p.quantity for p in portions if not p.parcel.gone)
    arrivals = [(p.parcel.delivered_at, p.quantity) for p in portions if p.parcel.delivered_at is not None]
    times = [p.delivered_at for p in waiting if p.delivered_at is not None]
    if rest > 0 and waiting and len(times) == len(waiting):
        arrivals.append((max(times), rest))
    units, t1 = 0, None
    for at, count in sorted(arrivals):
        units += count
        if units >= quantity:
            t1 = at
            break
    parcels = [p.parcel for p in portions] + list(unlisted)
    return LineState(
        delivered_units=min(units, quantity),
        delivered_at=t1,
        first_scan_at=min((p.first_scan_at for p in parcels if p.first_scan_at is not None), default=None),
        excused=None if t1 else next((p.excused for p in parcels if p.excused), None),
    )


def _to_whom(scans: Sequence[Scan]) -> list[Scan]:
    """The same, where what the carrier delivered after it turned back is no delivery: its sender got it. A carrier that
    tells of one scan at a time says "delivered" there too."""
    turned = min(
        (s.event_at for s in scans if s.source == CARRIER and s.status is ShipmentStatus.RETURNED), default=None
    )
    return [
        replace(s, status=ShipmentStatus.RETURNED)
        if turned is not None and s.status is ShipmentStatus.DELIVERED and s.event_at > turned
        else s
        for s in scans
    ]


def _newest(scans: Sequence[Scan]) -> ShipmentStatus | None:
    return max(scans, key=lambda s: (s.event_at, _RANK[s.status])).status if scans else None


def _unconfirmed(vendor_status: ShipmentStatus | None) -> ShipmentStatus:
    """The vendor's word as far as it goes without a carrier: handed over, never delivered."""
    if vendor_status is None:
        return ShipmentStatus.PENDING
    if _RANK[ShipmentStatus.SHIPPED] < _RANK[vendor_status] and vendor_status is not ShipmentStatus.CANCELLED:
        return ShipmentStatus.SHIPPED
    return vendor_status
