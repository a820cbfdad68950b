"""A vendor ships a purchase order: which units leave in which parcel. Quantities always add up: no parcel may carry
more of a line than was ordered and is not in another parcel on its way."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

import asyncpg
from pydantic import Field

from fulfillment import clocks, store, tracking
from fulfillment.carriers.tables import fold
from fulfillment.contracts import CarrierCode, ShipmentUpdated, TrackingNo
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected
from hub.kernel.types import DeliveryMode, Input, Quantity
from orders import api as orders
from orders.contracts import LineFacts, PoRef

_GONE = ("returned", "cancelled")
_UNSHIPPABLE = frozenset({"cancelled", "unsupplied", "expired", "rerouting"})


class ParcelLineIn(Input):
    """Units of one line of the purchase order."""

    line_no: Annotated[int, Field(ge=1, le=32_767, strict=True)]
    quantity: Quantity


class ParcelIn(Input):
    """One parcel. Without `lines` it carries everything that is not in another parcel."""

    carrier: CarrierCode
    tracking_no: TrackingNo
    lines: Annotated[list[ParcelLineIn], Field(min_length=1, max_length=500)] | None = None


class ShipIn(Input):
    """The parcels that leave."""

    parcels: Annotated[list[ParcelIn], Field(min_length=1, max_length=200)]


async def ship(tx: Tx, vendor_id: int, po_id: uuid.UUID, parcels: Sequence[ParcelIn]) -> uuid.UUID:
    """Register the parcels of this vendor's purchase order and return the order's id. Sending the same parcels again
    changes nothing. Raises NotFound (not this vendor's), Rejected (unknown line, more than is left, parcel twice),
    Conflict (nothing to ship, tracking number of another shipment, cancelled)."""
    po = await orders.po_of_vendor(tx, vendor_id, po_id)
    if po is None:
        raise NotFound("there is no such purchase order", code="no_purchase_order")
    await orders.shipped(tx, po_id)
    async with store.as_hub(tx):
        await clocks.follow(tx, po.order_id)
        await store.open_shipment(tx, po.po_id, po.order_id, po.mall_id, po.vendor_id, None)
        await store.lock_clocks(tx, [po.order_id])
        lines = await _shippable(tx, po)
        existing = await store.parcels_of(tx, [po.order_id])
        await _register(tx, po, lines, existing, parcels)
        await clocks.settle(tx, [po.order_id])
    tx.emit(ShipmentUpdated(po_id=po.po_id, order_id=po.order_id, mall_id=po.mall_id))
    return po.order_id


async def _shippable(tx: Tx, po: PoRef) -> dict[int, LineFacts]:
    facts = await orders.line_facts(tx, po_id=po.po_id)
    lines = {
        line.line_no: line
        for line in facts
        if line.po_id == po.po_id and line.mode is DeliveryMode.PARCEL and line.status not in _UNSHIPPABLE
    }
    if not lines:
        raise Conflict("this purchase order has no line that travels in a parcel", code="nothing_to_ship")
    return lines


async def _register(
    tx: Tx,
    po: PoRef,
    lines: dict[int, LineFacts],
    existing: Sequence[asyncpg.Record],
    parcels: Sequence[ParcelIn],
) -> None:
    left = {no: line.quantity for no, line in lines.items()}
    for row in existing:
        if row["status"] not in _GONE or row["delivered_at"] is not None:
            for _line_id, line_no, quantity in row["lines"]:
                if line_no in left:
                    left[line_no] -= quantity
    known = {(fold(row["carrier"]), row["tracking_no"]): row for row in existing}
    t0 = min(line.t0 for line in lines.values())
    seen: set[tuple[str, str]] = set()
    for index, parcel in enumerate(parcels):
        at, key = f"/parcels/{index}", (fold(parcel.carrier), parcel.tracking_no)
        if key in seen:
            raise _refused(f"{at}/tracking_no", "this parcel is in the request twice")
        seen.add(key)
        before = known.get(key)
        if before is not None and before["lines"]:
            _same_again(before, parcel, at)
            continue
        contents = _contents(parcel, left, at)
        for line_no, quantity in contents.items():
            left[line_no] -= quantity
        # A parcel that a push named before is the same parcel; now its contents are known.
        named = (parcel.carrier, parcel.tracking_no)
        parcel_id = before["id"] if before is not None else await tracking.name_parcel(tx, po, *named, t0)
        if parcel_id is None or (before is not None and before["po_id"] != po.po_id):
            raise Conflict(
                f"{parcel.carrier} {parcel.tracking_no} is already the parcel of another shipment",
                code="parcel_taken",
                faults=(Fault(f"{at}/tracking_no", "already used"),),
            )
        await store.add_parcel_lines(
            tx,
            [
                (parcel_id, lines[no].line_id, po.mall_id, po.vendor_id, no, quantity)
                for no, quantity in sorted(contents.items())
            ],
        )


def _contents(parcel: ParcelIn, left: dict[int, int], at: str) -> dict[int, int]:
    """Units per line number of a new parcel; raises Rejected when they do not add up."""
    if parcel.lines is None:
        contents = {no: quantity for no, quantity in left.items() if quantity > 0}
        if not contents:
            raise _refused(at, "everything is in other parcels already")
        return contents
    contents = {}
    for index, line in enumerate(parcel.lines):
        where = f"{at}/lines/{index}"
        if line.line_no not in left:
            raise _refused(f"{where}/line_no", "this purchase order carries no such line")
        contents[line.line_no] = contents.get(line.line_no, 0) + line.quantity
        if contents[line.line_no] > left[line.line_no]:
            detail = f"line {line.line_no} has {max(0, left[line.line_no])} units left to ship"
            raise _refused(f"{where}/quantity", detail)
    return contents


def _same_again(before: asyncpg.Record, parcel: ParcelIn, at: str) -> None:
    if parcel.lines is None:
        return
    wanted: dict[int, int] = {}
    for line in parcel.lines:
        wanted[line.line_no] = wanted.get(line.line_no, 0) + line.quantity
    if wanted != {line_no: quantity for _line_id, line_no, quantity in before["lines"]}:
        raise Conflict(
            f"{parcel.carrier} {parcel.tracking_no} was already shipped with other contents",
            code="parcel_differs",
            faults=(Fault(f"{at}/lines", "differs from what was shipped"),),
        )


def _refused(pointer: str, detail: str) -> Rejected:
    return Rejected(f"the body was refused; {pointer}: {detail}", code="invalid", faults=(Fault(pointer, detail),))
