"""Where an order of ours stands, by asking and by push. One update a parcel; a fulfilment without a tracking number
tells of the order as a whole, and only when it is all of it. Nothing of the person an order goes to is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from connectors.contracts import BadRow, OrderUpdate, PushContent, ShipmentStatus
from connectors.mapping import bad_row
from connectors.shopify.documents import ORDER_STATE
from connectors.shopify.graphql import SpeaksGraphql
from connectors.shopify.records import number
from hub.kernel.errors import Broken

PO_ATTRIBUTE = "supplyhub_po"
OURS = re.compile(r"po_[0-9a-f]{32}")
_CALLED_OFF = frozenset({"CANCELLED", "CANCELED"})


class TracksShop(SpeaksGraphql):
    """TracksOrders, and what pushes of orders and fulfilments mean."""

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The shop's view of the order now; nothing when it has no such order (or hides it: an app sees 60 days back
        unless it may read all orders)."""
        if number(vendor_order_no) is None:
            return ()
        said = await self.ask(ORDER_STATE, {"id": f"gid://shopify/Order/{number(vendor_order_no)}"})
        order = said.data.get("order")
        if not isinstance(order, dict):
            return ()
        parcels = [
            {
                "status": "CANCELED" if f.get("status") in _CALLED_OFF else f.get("displayStatus") or f.get("status"),
                "at": f.get("deliveredAt") if f.get("displayStatus") == "DELIVERED" else None,
                "updated": f.get("updatedAt"),
                "tracking": [(t.get("number"), t.get("company")) for t in _objects(f.get("trackingInfo"))],
            }
            for f in _objects(order.get("fulfillments"))
        ]
        whole = {
            "cancelled": order.get("cancelledAt"),
            "status": order.get("displayFulfillmentStatus"),
            "updated": order.get("updatedAt"),
            "po": order.get("sourceIdentifier"),
        }
        try:
            return tuple(self._updates(whole, parcels, number(vendor_order_no), said.sent_at))
        except ValidationError:
            raise Broken("shopify's order has a time that is none", code="bad_time") from None

    def order_pushed(self, order: Any) -> PushContent:
        """The state of an order that we placed; a shopper's own orders are none of ours."""
        if not isinstance(order, dict) or _own_id(order) is None:
            return PushContent(bad=(bad_row({}, "the order has no id"),))
        po = _po_of(order)
        if po is None:
            return PushContent()
        whole = {
            "cancelled": order.get("cancelled_at"),
            "status": order.get("fulfillment_status") or "unfulfilled",
            "updated": order.get("updated_at"),
            "po": po,
        }
        parcels = [_pushed_parcel(f) for f in _objects(order.get("fulfillments"))]
        return self._content(whole, parcels, str(_own_id(order)))

    def fulfillment_pushed(self, fulfillment: Any) -> PushContent:
        """The parcels of one fulfilment. One without a tracking number says nothing here: whether it is the whole order
        stands in the order's own push."""
        order = number(fulfillment.get("order_id")) if isinstance(fulfillment, dict) else None
        if order is None:
            return PushContent(bad=(bad_row({}, "the fulfilment names no order"),))
        parcel = _pushed_parcel(fulfillment)
        if not any(tracking_no for tracking_no, _ in parcel["tracking"]):
            return PushContent()
        return self._content({"updated": fulfillment.get("updated_at")}, [parcel], order)

    def _content(self, whole: Mapping[str, Any], parcels: Sequence[Mapping[str, Any]], order_no: str) -> PushContent:
        try:
            return PushContent(orders=tuple(self._updates(whole, parcels, order_no, None)))
        except (ValidationError, ValueError) as error:
            row: BadRow = bad_row({"order": order_no, **whole}, f"the order's times cannot be read: {error}"[:300])
            return PushContent(bad=(row,))

    def _updates(
        self,
        whole: Mapping[str, Any],
        parcels: Sequence[Mapping[str, Any]],
        order_no: str | None,
        asked_at: datetime | None,
    ) -> list[OrderUpdate]:
        def update(raw: Any, at: Any, tracking_no: Any = None, carrier: Any = None) -> OrderUpdate:
            return OrderUpdate.model_validate(
                {
                    "po_number": whole.get("po") if OURS.fullmatch(str(whole.get("po"))) else None,
                    "vendor_order_no": order_no,
                    "status": self.manifest.statuses.get(str(raw or "").upper(), ShipmentStatus.UNKNOWN),
                    "raw_status": str(raw or ""),
                    "at": at or whole.get("updated") or asked_at,
                    "tracking_no": str(tracking_no) if tracking_no else None,
                    "carrier": str(carrier) if carrier else None,
                }
            )

        if whole.get("cancelled"):
            return [update("CANCELLED", whole["cancelled"])]
        found = [
            update(parcel["status"], parcel["at"] or parcel["updated"], tracking_no, carrier)
            for parcel in parcels
            for tracking_no, carrier in parcel["tracking"]
            if tracking_no
        ]
        if found:
            return found
        living = [parcel for parcel in parcels if str(parcel["status"]).upper() not in _CALLED_OFF]
        if len(living) == 1 and str(whole.get("status")).upper() == "FULFILLED":
            return [update(living[0]["status"], living[0]["at"] or living[0]["updated"])]
        return [update(whole.get("status"), whole.get("updated"))]


def _pushed_parcel(fulfillment: Mapping[str, Any]) -> dict[str, Any]:
    status = fulfillment.get("status")
    called_off = str(status).upper() in _CALLED_OFF
    numbers = fulfillment.get("tracking_numbers")
    listed = [each for each in numbers if each] if isinstance(numbers, list) else []
    single = fulfillment.get("tracking_number")
    return {
        "status": status if called_off else fulfillment.get("shipment_status") or status,
        "at": None,
        "updated": fulfillment.get("updated_at"),
        "tracking": [(each, fulfillment.get("tracking_company")) for each in listed or ([single] if single else [])],
    }


def _own_id(record: Mapping[str, Any]) -> str | None:
    """The record's id as text: from the global id, since large numbers were seen rounded."""
    return number(record.get("admin_graphql_api_id")) or number(record.get("id"))


def _po_of(order: Mapping[str, Any]) -> str | None:
    """Our number on an order, wherever it stands."""
    notes = {str(n.get("name")): n.get("value") for n in _objects(order.get("note_attributes"))}
    tags = order.get("tags")
    for given in (notes.get(PO_ATTRIBUTE), order.get("source_identifier"), order.get("po_number")):
        if OURS.fullmatch(str(given)):
            return str(given)
    found = OURS.search(tags) if isinstance(tags, str) else None
    return found.group(0) if found else None


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
