"""Orders at a Vendure shop, step by step through its Shop API, each in a session of its own:

1. the variants are read: what is not there, not for sale, dearer than agreed or too few is refused before any cart is;
2. the first item makes the order, then it gets our number (as company of the billing address and, where the connection
   names one, in a custom field), the customer, the address and the other items;
3. shipping is chosen, and `ArrangingPayment` lets the shop check and price everything: what came out dearer is dropped;
4. the payment, the only step that buys. Its answer lost, the order is found by our number. An order of ours that was
   never paid is no purchase: `find` cancels it, so that a payment still under way can no longer reach it;
5. Vendure checks stock in one transaction and allocates it in another, so that it oversells when orders cross: the
   shelf is read again, and an order that got less than it ordered is cancelled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.calling import Refused
from connectors.contracts import OrderUpdate, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus
from connectors.vendure import documents, shelf
from connectors.vendure.carts import Cart, FillsCarts
from connectors.vendure.ledger import DEAD_PAYMENTS, instant, moment_of_payment
from connectors.vendure.refusals import No, made_at, refused_for
from connectors.vendure.talking import listed, objects, problem
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry

UNPAID = frozenset({"Created", "Draft", "AddingItems", "ArrangingPayment"})
_ON_THE_WAY = frozenset({"PartiallyShipped", "Shipped", "PartiallyDelivered", "Delivered"})
_SCAN = 100
_SCAN_PAGES = 100

# Keys whose placing ended without an answer in this process: asked for before they are ever sent again.
_unanswered: OrderedDict[str, None] = OrderedDict()


class TakesOrders(FillsCarts):
    """PlacesOrders and TracksOrders for Vendure."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Check, fill a cart, pay, check again. Raises Retry when the outcome is unknown: ask with `find`."""
        if key in _unanswered:
            found = await self.find(key)
            if found is not None:
                return found
        try:
            variants, rules = await self.on_sale(po.lines)
            refused_for(po.lines, variants, rules, self.amount, self.drift_of)
            cart = await self.cart(po, key, variants)
        except No as no:
            return no.receipt()
        async with self.turn([str(variant["id"]) for variant in variants.values()]):
            try:
                method = await self.arranged(cart, po, variants)
            except (No, Misconfigured) as error:
                await self.dropped(cart)
                if isinstance(error, Misconfigured):
                    raise
                return error.receipt()
            try:
                receipt = await self._paid(cart, method, key)
            except No as no:
                await self.dropped(cart)
                return no.receipt()
            except Exception:
                _remember(key)
                raise
        _unanswered.pop(key, None)
        return receipt

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with this number of ours. What is found here was never confirmed to us, so it is
        checked for overselling as a new order is; what was not paid is cancelled, and is no order."""
        ours = await self._orders_with(key)
        for order in ours:
            if order.get("state") not in UNPAID and order.get("state") != "Cancelled":
                receipt = await self._settled(str(order["code"]))
                _unanswered.pop(key, None)
                return receipt
        for order in ours:
            if order.get("state") == "ArrangingPayment":
                left = await self._closed(order)
                if left is not None:
                    return left
        for order in ours:
            if order.get("state") == "Cancelled" and order.get("orderPlacedAt"):
                return self._cancelled(str(order["code"]))
        return None

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel; an order of which a parcel is packed or gone is refused (Vendure itself would cancel even that)."""
        order = await self._order(vendor_order_no)
        if order is None and vendor_order_no == po.number:
            ours = [each for each in await self._orders_with(po.number) if each.get("state") not in UNPAID]
            ours.sort(key=lambda each: each.get("state") == "Cancelled")
            order = await self._order(str(ours[0]["code"])) if ours else None
        if order is None:
            return self._not_cancelled(vendor_order_no, "the shop knows no such order")
        code, state = str(order.get("code")), str(order.get("state"))
        if state == "Cancelled":
            return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=code, raw_status=state)
        if state in _ON_THE_WAY or any(f.get("state") != "Cancelled" for f in objects(order.get("fulfillments"))):
            return self._not_cancelled(code, f"the order is {state} and parcels of it are packed or gone", state)
        said = await self.cancel_order(str(order["id"]))
        if said.get("__typename") != "Order" or said.get("state") != "Cancelled":
            return self._not_cancelled(code, f"the shop did not cancel: {problem(said)}", state)
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=code, raw_status="Cancelled")

    async def track(self, vendor_order_no: str) -> Sequence[OrderUpdate]:
        """One update a parcel, or one for the order while it has none; nothing when the shop has no such order."""
        wanted = {"filter": {"code": {"eq": vendor_order_no}}, "take": 1}
        data, asked_at = await self.admin(documents.TRACKED, {"options": wanted})
        orders, _ = listed(data, "orders")
        return self.updates(orders[0], asked_at) if orders else ()

    def updates(self, order: Mapping[str, Any], asked_at: datetime) -> tuple[OrderUpdate, ...]:
        """An order's parcels in our words."""
        code, state = str(order.get("code")), str(order.get("state") or "")
        company = (order.get("billingAddress") or {}).get("company")
        parcels = [each for each in objects(order.get("fulfillments")) if each.get("state") != "Cancelled"]
        if state == "Cancelled":  # what was packed stays; what had left the house is on its way all the same
            parcels = [each for each in parcels if each.get("state") in _ON_THE_WAY]

        def update(raw: str, at: Any, tracking_no: Any = None, carrier: Any = None) -> OrderUpdate:
            return OrderUpdate(
                po_number=company if isinstance(company, str) and company else None,
                vendor_order_no=code,
                status=self.manifest.statuses.get(raw, ShipmentStatus.UNKNOWN),
                raw_status=raw,
                at=instant(at) or asked_at,
                tracking_no=str(tracking_no) if tracking_no else None,
                carrier=str(carrier) if carrier else None,
            )

        if not parcels:
            moved = objects((order.get("history") or {}).get("items"))
            return (update(state, moved[0].get("createdAt") if moved else order.get("updatedAt")),)
        return tuple(
            update(str(p.get("state") or ""), p.get("updatedAt"), p.get("trackingCode"), p.get("method"))
            for p in parcels
        )

    # What became of it ----------------------------------------------------------------------------------------

    async def _paid(self, cart: Cart, method: str, key: str) -> Receipt:
        """Buy; raises No when the shop declines the payment."""
        paying = {"input": {"method": method, "metadata": {"supplyhub_po": key}}}
        try:
            data, _ = await self.shop(documents.PAY, paying, cart.session)
        except (Refused, NotFound) as error:
            raise No(str(error)) from None
        said = data.get("addPaymentToOrder") or {}
        if said.get("__typename") != "Order":
            if said.get("errorCode") == "NO_ACTIVE_ORDER_ERROR":  # it may be gone because it was paid
                raise Retry("vendure no longer knows the order that was to be paid", code="vendor_unsure")
            raise No(f"the shop declined the payment: {problem(said)}")
        return await self._settled(cart.code)

    async def _settled(self, code: str) -> Receipt:
        """The receipt of an order that the shop holds, once it is clear that the shop really has the goods."""
        order = await self._order(code)
        if order is None:
            raise Retry(f"vendure does not show order {code}", code="vendor_unsure", after=5.0)
        state = str(order.get("state"))
        if state == "Cancelled":
            return self._cancelled(code)
        if state in UNPAID:
            return Receipt(status=ReceiptStatus.PENDING, vendor_order_no=code, raw_status=state)
        short = await self._oversold(order)
        if not short:
            return Receipt(
                status=ReceiptStatus.ACCEPTED, vendor_order_no=code, accepted_at=clock.now(), raw_status=state
            )
        if state in _ON_THE_WAY:
            raise Broken(f"vendure sent order {code} although it has not enough", code="not_cancelled")
        said = await self.cancel_order(str(order["id"]))
        if said.get("__typename") != "Order" or said.get("state") != "Cancelled":
            raise Broken(f"vendure did not cancel order {code}: {problem(said)}", code="not_cancelled")
        return Receipt(
            status=ReceiptStatus.REFUSED,
            vendor_order_no=code,
            reason="the shop took the order although it had sold out; it was cancelled",
            out_of_stock=True,
            out_of_stock_skus=tuple(short),
            raw_status="Cancelled",
        )

    async def _oversold(self, order: Mapping[str, Any]) -> list[str]:
        """Those of the order's SKUs of which it did not get what it ordered, or of which the shop has sold more than it
        has. Vendure allocates what there is and takes the order for the rest all the same, so that a count of nothing
        does not tell whether the last piece is ours: what was allocated at the moment of the payment does."""
        rules = shelf.rules_of(order.get("_settings"))
        moment = moment_of_payment(order)
        wanted: dict[str, tuple[dict[str, Any], int]] = {}
        for line in objects(order.get("lines")):
            variant = line.get("productVariant")
            if isinstance(variant, dict) and shelf.counted(variant, rules):
                _, before = wanted.get(str(variant["id"]), (variant, 0))
                wanted[str(variant["id"])] = variant, before + int(line.get("quantity") or 0)
        short = []
        for variant_id, (variant, quantity) in wanted.items():
            moved = await self.movements_if_allowed(variant_id)
            left = min(shelf.available(variant, rules), moved.left() - shelf.kept_back(variant, rules))
            ours = moved.allocated(moment)  # more than we ordered: the moment is others' too, so it tells nothing
            if left < 0 or left < quantity - (ours if ours <= quantity else 0):
                short.append(str(variant.get("sku") or f"#{variant_id}"))
        return sorted(short)

    # What the shop holds --------------------------------------------------------------------------------------

    async def _order(self, code: str) -> dict[str, Any] | None:
        data, _ = await self.admin(documents.ORDER, {"options": {"filter": {"code": {"eq": code}}, "take": 1}})
        orders, _ = listed(data, "orders")
        return {**orders[0], "_settings": data.get("globalSettings")} if orders else None

    async def _orders_with(self, key: str) -> list[dict[str, Any]]:
        """All orders with this number of ours but carts, newest first: by the custom field or, without one, among the
        orders made since the number was."""
        newest: dict[str, Any] = {"sort": {"createdAt": "DESC"}, "take": _SCAN}
        if self.config["po_field"]:
            exactly = {documents.checked(self.config["po_field"]): {"eq": key}}
            data, _ = await self.admin(documents.ORDERS, {"options": {**newest, "filter": exactly}})
            return [order for order in listed(data, "orders")[0] if order.get("state") != "AddingItems"]
        after = (made_at(key) or clock.now() - timedelta(hours=int(self.config["find_hours"]))) - timedelta(hours=1)
        since = {
            "createdAt": {"after": after.astimezone(UTC).isoformat()},
            "state": {"notIn": ["AddingItems", "Draft"]},
        }
        ours: dict[str, dict[str, Any]] = {}
        for page in range(_SCAN_PAGES):
            asked = {**newest, "filter": since, "skip": page * _SCAN}
            data, _ = await self.admin(documents.ORDERS, {"options": asked})
            orders, total = listed(data, "orders")
            for order in orders:
                if (order.get("billingAddress") or {}).get("company") == key:
                    ours[str(order.get("code"))] = order
            if (page + 1) * _SCAN >= total:
                return list(ours.values())
            if not orders:
                raise Broken(f"vendure announced {total} orders and sent fewer", code="rows_missing")
        raise Retry("too many orders to look through for ours", code="find_gave_up", after=60.0)

    async def _closed(self, order: Mapping[str, Any]) -> Receipt | None:
        """Make sure that an order which waits for its payment is never paid; its receipt if it was paid after all."""
        full = await self._order(str(order["code"]))
        if full is None:
            raise Retry(f"vendure does not show order {order['code']}", code="vendor_unsure", after=5.0)
        if str(full.get("state")) not in UNPAID | {"Cancelled"}:
            return await self._settled(str(order["code"]))
        if any(payment.get("state") not in DEAD_PAYMENTS for payment in objects(full.get("payments"))):
            return await self._settled(str(order["code"]))  # a payment that its provider has not decided
        if full.get("state") != "Cancelled":
            await self.cancel_order(str(full["id"]))
        after = await self._order(str(order["code"]))
        if after is None or after.get("state") == "ArrangingPayment":
            raise Retry(f"vendure did not close the unpaid order {order['code']}", code="vendor_unsure", after=5.0)
        return None if after.get("state") in UNPAID | {"Cancelled"} else await self._settled(str(order["code"]))

    @staticmethod
    def _cancelled(code: str) -> Receipt:
        return Receipt(
            status=ReceiptStatus.REFUSED,
            vendor_order_no=code,
            reason="the shop has cancelled the order",
            raw_status="Cancelled",
        )

    @staticmethod
    def _not_cancelled(number: str, reason: str, state: str | None = None) -> Receipt:
        return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=number, reason=reason, raw_status=state)


def _remember(key: str) -> None:
    _unanswered[key] = None
    while len(_unanswered) > 10_000:
        _unanswered.popitem(last=False)
