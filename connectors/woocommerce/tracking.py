"""What a WooCommerce shop says of an order: its status, its parcels, and what was paid back.

Parcels stand in the order's meta `_wc_shipment_tracking_items`, a list that the Shipment Tracking extension, Advanced
Shipment Tracking and WooCommerce Shipping share. Without them a plain tracking number may stand under a key of its
own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.contracts import BadRow, OrderUpdate, PushContent, ShipmentStatus
from connectors.declarative import TracksByManifest
from connectors.mapping import bad_row
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound

PO_META = "supplyhub_po"
ORDERS = "/wp-json/wc/v3/orders"
_PARCELS = "_wc_shipment_tracking_items"


class FollowsOrders(TracksByManifest):
    """TracksOrders for WooCommerce: one update a parcel, or one for the order while it has none."""

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """The shop's view of the order now; nothing when it has no such order."""
        try:
            answer = await self.call.get(f"{ORDERS}/{digits(vendor_order_no)}")
        except NotFound:
            return ()
        order = answer.json(self.manifest)
        if not isinstance(order, dict):
            raise Broken("woocommerce: the order is not an object", code="bad_shape")
        return [self.order_update(view, vendor_order_no, answer.sent_at) for view in self.order_views(order)]

    def order_update(self, body: Any, vendor_order_no: str, asked_at: Any) -> OrderUpdate:
        """One parcel's state. A parcel that has a number has left, whatever the order still waits for; money paid back
        is said beside the order's status, and an order paid back whole is for people to look at."""
        update = super().order_update(body, vendor_order_no, asked_at)
        status, raw = update.status, update.raw_status
        if update.tracking_no and status is ShipmentStatus.PENDING:
            status = ShipmentStatus.SHIPPED
        if body["_refunded"] and body["status"] not in ("refunded", "cancelled"):
            raw = f"{raw}, {body['_refunded']} of {body['_total']} paid back"
            if body["_refunded"] >= body["_total"]:
                status = ShipmentStatus.EXCEPTION
        return update.model_copy(update={"status": status, "raw_status": raw})

    def order_views(self, order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """An order with what the tracking map reads, once a parcel; nothing of the person it goes to."""
        meta = {m.get("key"): m.get("value") for m in order.get("meta_data") or () if isinstance(m, dict)}
        modified = order.get("date_modified_gmt")
        view = {
            "status": order.get("status"),
            "_modified": f"{modified}Z" if isinstance(modified, str) else None,
            "_po": meta.get(PO_META),
            "_refunded": -sum((_amount(r.get("total")) for r in _objects(order.get("refunds"))), Decimal(0)),
            "_total": _amount(order.get("total")),
        }
        parcels: dict[str, Any] = {}
        for item in _objects(meta.get(_PARCELS)):
            number = item.get("tracking_number")
            if isinstance(number, str | int) and str(number).strip():
                carrier = item.get("tracking_provider") or item.get("custom_tracking_provider")
                parcels.setdefault(str(number).strip(), carrier)
        plain = meta.get(self.config["tracking_meta"])
        if not parcels and isinstance(plain, str | int) and str(plain).strip():
            parcels[str(plain).strip()] = meta.get(self.config["carrier_meta"])
        if not parcels:
            return [{**view, "_tracking_no": None, "_carrier": None}]
        return [{**view, "_tracking_no": number, "_carrier": carrier} for number, carrier in parcels.items()]

    def orders_pushed(self, records: Sequence[Any]) -> PushContent:
        """States of orders that came through the API; a shopper's own orders are none of ours."""
        good: list[OrderUpdate] = []
        bad: list[BadRow] = []
        for record in records:
            if not isinstance(record, dict) or not record.get("id"):
                bad.append(bad_row({}, "the order has no id"))
                continue
            views = self.order_views(record)
            if views[0]["_po"] is None and record.get("created_via") != "rest-api":
                continue
            named = {"id": record["id"], "status": record.get("status")}
            if views[0]["_modified"] is None:
                bad.append(bad_row(named, "the order has no date_modified_gmt"))
                continue
            try:
                good += [self.order_update(view, str(record["id"]), clock.now()) for view in views]
            except (Broken, ValueError) as error:
                bad.append(bad_row(named, str(error)[:300]))
        return PushContent(orders=tuple(good), bad=tuple(bad))


def digits(number: str) -> str:
    """`number` when it is one of WooCommerce's; raises NotFound."""
    if not number.isascii() or not number.isdigit():
        raise NotFound(f"{number[:40]!r} is not an order or product number of WooCommerce", code="vendor_has_none")
    return number


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; PHP writes a list with a gap as an object."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def _amount(text: Any) -> Decimal:
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)
