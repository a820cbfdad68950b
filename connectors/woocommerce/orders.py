"""Orders at a WooCommerce shop. The shop takes any order, in stock or not, and has no idempotency key, so:

- before ordering, the products are read: what is not there, not for sale, or dearer than agreed is refused here;
- the order carries our number twice: in its meta data (exact) and as the billing company, which WooCommerce indexes
  for order search (`_billing_address_index`, in both of its order storages), so that it can be found again;
- after ordering, the products are read again: a count below nothing means that somebody bought in between, and the
  order is cancelled, which gives the stock back."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.calling import Refused
from connectors.contracts import PoLine, PurchaseOrder, Receipt, ReceiptStatus, ShipmentStatus
from connectors.declarative import PlacesByManifest
from connectors.woocommerce.stock import PRODUCTS
from connectors.woocommerce.tracking import ORDERS, PO_META, FollowsOrders, digits
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry

_SCAN_PAGES = 20
_UUID7 = re.compile(r"([0-9a-f]{12})7[0-9a-f]{19}$")
_DEAD = frozenset({"cancelled", "failed", "refunded", "trash"})  # a status that plugins add is none of these
_WAITING = frozenset({"pending", "auto-draft", "checkout-draft"})
_GONE = frozenset({ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED, ShipmentStatus.EXCEPTION})

# Keys whose placing ended without an answer in this process: asked for before they are ever sent again.
_unanswered: OrderedDict[str, None] = OrderedDict()


class TakesOrders(PlacesByManifest, FollowsOrders):
    """PlacesOrders and TracksOrders for WooCommerce."""

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        """Check, order, check again. Raises Retry when the outcome is unknown: ask with `find`."""
        if key in _unanswered:
            found = await self.find(key)
            if found is not None:
                return found
        products = await self.products(po.lines)
        refusal = refused_for(po.lines, products)
        if refusal is not None:
            return refusal
        try:
            answer = await self.call.send("POST", ORDERS, self.body(po, key, products))
        except (Refused, NotFound) as error:
            return Receipt(status=ReceiptStatus.REFUSED, reason=str(error))
        except Retry:
            _remember(key)
            raise
        try:
            order = answer.json(self.manifest)
            receipt = await self.settled(order, po.lines, products)
        except Exception:
            _remember(key)
            raise
        _unanswered.pop(key, None)
        return receipt

    async def settled(self, order: Any, lines: Sequence[PoLine], products: Mapping[str, dict[str, Any]]) -> Receipt:
        """The receipt of an order that the shop holds, once it is clear that the shop really has the goods."""
        if not isinstance(order, dict) or not order.get("id"):
            raise Broken("woocommerce confirmed an order without an id", code="no_order_number")
        number, status = str(order["id"]), str(order.get("status", ""))
        if status in _DEAD:
            return Receipt(
                status=ReceiptStatus.REFUSED, vendor_order_no=number, reason=f"the order is {status}", raw_status=status
            )
        wanted = {(p["_product_id"], p["_variation_id"]) for p in products.values()}
        got = {(i.get("product_id"), i.get("variation_id") or 0) for i in order.get("line_items") or ()}
        if wanted and got != wanted:
            await self._cancel_order(number)
            raise Broken(f"woocommerce took other lines than were ordered in order {number}", code="bad_lines")
        currency = order.get("currency")
        if currency and any(line.currency != currency for line in lines):
            await self._cancel_order(number)
            raise Misconfigured(
                f"the shop sells in {currency}; set the connection's currency to it", code="wrong_currency"
            )
        short = await self.oversold(products)
        if short:
            await self._cancel_order(number)
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=number,
                reason="the shop took the order although it had sold out; it was cancelled",
                out_of_stock=True,
                out_of_stock_skus=tuple(short),
                raw_status="cancelled",
            )
        return Receipt(
            status=ReceiptStatus.PENDING if status in _WAITING else ReceiptStatus.ACCEPTED,
            vendor_order_no=number,
            accepted_at=None if status in _WAITING else clock.now(),
            raw_status=status,
        )

    async def find(self, key: str) -> Receipt | None:
        """The receipt of the order with this key, by search and, where a shop's search does not know it, by reading
        the newest orders. An order found here was never confirmed to us, so it is checked as a new one is: if the
        shop does not have the goods it is cancelled and refused."""
        order = await self._order_with(key)
        if order is None:
            return None
        lines = [
            PoLine(
                line_no=n,
                vendor_sku=str(item.get("sku") or _ref(item)),
                quantity=int(item.get("quantity") or 0),
                unit_price=Decimal(0),
                currency=str(order.get("currency", "")),
            )
            for n, item in enumerate(order.get("line_items") or (), 1)
        ]
        if str(order.get("status")) in _DEAD:
            return await self.settled(order, (), {})
        receipt = await self.settled(order, lines, await self.products(lines))
        _unanswered.pop(key, None)
        return receipt

    async def _order_with(self, key: str) -> dict[str, Any] | None:
        every = {"per_page": 100, "status": "any", "orderby": "id", "order": "desc"}
        found = _matching(await self._list_orders({**every, "search": key}), key)
        if found is not None:
            return found
        after = (placed_at(key) or clock.now() - timedelta(hours=int(self.config["find_hours"]))) - timedelta(hours=1)
        window = {**every, "after": after.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()}
        for page in range(1, _SCAN_PAGES + 1):
            orders = await self._list_orders({**window, "dates_are_gmt": "true", "page": page})
            found = _matching(orders, key)
            if found is not None or len(orders) < 100:
                return found
        raise Retry("too many orders to look through for ours", code="find_gave_up", after=60.0)

    async def _list_orders(self, params: Mapping[str, Any]) -> list[Any]:
        orders = (await self.call.get(ORDERS, params)).json(self.manifest)
        if not isinstance(orders, list):
            raise Broken("woocommerce: the orders are not a list", code="bad_shape")
        return orders

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        """Cancel; an order that may be on its way is refused: the shop is done with it, or names a parcel."""
        try:
            order = (await self.call.get(f"{ORDERS}/{digits(vendor_order_no)}")).json(self.manifest)
        except (Refused, NotFound) as error:
            return Receipt(status=ReceiptStatus.REFUSED, vendor_order_no=vendor_order_no, reason=str(error))
        if not isinstance(order, dict):
            raise Broken("woocommerce: the order is not an object", code="bad_shape")
        status = str(order.get("status", ""))
        gone = self.manifest.statuses.get(status) in _GONE
        if gone or (status not in _DEAD and self.order_views(order)[0]["_tracking_no"]):
            return Receipt(
                status=ReceiptStatus.REFUSED,
                vendor_order_no=vendor_order_no,
                reason=f"the order is {status} already" if gone else "a parcel of the order is on its way",
                raw_status=status,
            )
        if status not in _DEAD:
            await self._cancel_order(vendor_order_no)
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=vendor_order_no, raw_status="cancelled")

    async def _cancel_order(self, number: str) -> None:
        answer = await self.call.send("PUT", f"{ORDERS}/{digits(number)}", {"status": "cancelled"})
        order = answer.json(self.manifest)
        if not isinstance(order, dict) or order.get("status") != "cancelled":
            raise Broken(f"woocommerce did not cancel order {number}", code="not_cancelled")

    # Products of an order -------------------------------------------------------------------------------------

    async def products(self, lines: Sequence[PoLine]) -> dict[str, dict[str, Any]]:
        """SKU -> the shop's product or variation now, for those that it has."""
        found: dict[str, dict[str, Any]] = {}
        skus = sorted({line.vendor_sku for line in lines if not line.vendor_sku.startswith("#")})
        for start in range(0, len(skus), 50):
            some = [sku for sku in skus[start : start + 50] if "," not in sku]  # a comma separates SKUs in the query
            if not some:
                continue
            params = {"sku": ",".join(some), "per_page": 100, "status": "any"}
            answer = (await self.call.get(PRODUCTS, params)).json(self.manifest)
            for product in answer if isinstance(answer, list) else ():
                if isinstance(product, dict) and product.get("sku") in some:
                    found[product["sku"]] = _placed(product)
        for ref in sorted({line.vendor_sku for line in lines if line.vendor_sku.startswith("#")}):
            parent, _, variation = ref[1:].partition("/")
            path = f"{PRODUCTS}/{digits(parent)}" + (f"/variations/{digits(variation)}" if variation else "")
            try:
                product = (await self.call.get(path)).json(self.manifest)
            except NotFound:
                continue
            if isinstance(product, dict):
                found[ref] = _placed(product, int(digits(parent)) if variation else 0)
        return found

    async def oversold(self, products: Mapping[str, dict[str, Any]]) -> list[str]:
        """Those of the ordered SKUs whose count is now below nothing although the shop takes no back-orders."""
        counted = [sku for sku, product in products.items() if _counts(product)]
        if not counted:
            return []
        lines = [PoLine(line_no=0, vendor_sku=s, quantity=1, unit_price=Decimal(0), currency="") for s in counted]
        now = await self.products(lines)
        return sorted(sku for sku, product in now.items() if _counts(product) and _quantity(product) < 0)

    def body(self, po: PurchaseOrder, key: str, products: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """The order as WooCommerce takes it."""
        to = po.ship_to
        address = {
            "first_name": to.name,
            "last_name": "",
            "address_1": to.address,
            "address_2": to.district,
            "city": to.city,
            "state": to.province,
            "postcode": to.postcode,
            "country": to.country,
            "phone": to.phone,
        }
        return {
            "payment_method": self.config["payment_method"],
            "payment_method_title": "supplyhub",
            "set_paid": bool(self.config["set_paid"]),
            "customer_note": po.note,
            "billing": {"company": key, "country": to.country},
            "shipping": address,
            "meta_data": [{"key": PO_META, "value": key}],
            "line_items": [
                {
                    "product_id": products[line.vendor_sku]["_product_id"],
                    **(
                        {"variation_id": products[line.vendor_sku]["_variation_id"]}
                        if products[line.vendor_sku]["_variation_id"]
                        else {}
                    ),
                    "quantity": line.quantity,
                }
                for line in po.lines
            ],
        }


def refused_for(lines: Sequence[PoLine], products: Mapping[str, dict[str, Any]]) -> Receipt | None:
    """Why the shop cannot fill these lines, or None. Pure."""
    missing = sorted({line.vendor_sku for line in lines if line.vendor_sku not in products})
    if missing:
        return Receipt(status=ReceiptStatus.REFUSED, reason=f"the shop has no {', '.join(missing)}")
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.vendor_sku] = wanted.get(line.vendor_sku, 0) + line.quantity
    shut = sorted(sku for sku in wanted if not _for_sale(products[sku]))
    if shut:
        return Receipt(status=ReceiptStatus.REFUSED, reason=f"the shop does not sell {', '.join(shut)} now")
    short = sorted(sku for sku, quantity in wanted.items() if not _enough(products[sku], quantity))
    if short:
        return Receipt(
            status=ReceiptStatus.REFUSED,
            reason=f"the shop has not enough of {', '.join(short)}",
            out_of_stock=True,
            out_of_stock_skus=tuple(short),
        )
    dearer = sorted({line.vendor_sku for line in lines if _price(products[line.vendor_sku]) > line.unit_price})
    if dearer:
        return Receipt(
            status=ReceiptStatus.REFUSED, reason=f"the shop now asks more than agreed for {', '.join(dearer)}"
        )
    return None


def placed_at(key: str) -> datetime | None:
    """When our order number was made, if it ends in a time-ordered UUID (version 7)."""
    found = _UUID7.search(key.lower().replace("-", ""))
    if found is None:
        return None
    return datetime.fromtimestamp(int(found.group(1), 16) / 1000, UTC)


def _placed(product: dict[str, Any], parent: int = 0) -> dict[str, Any]:
    parent = parent or (int(product.get("parent_id") or 0) if product.get("type") == "variation" else 0)
    own = int(product.get("id") or 0)
    product["_product_id"], product["_variation_id"] = (parent, own) if parent else (own, 0)
    return product


def _matching(orders: Sequence[Any], key: str) -> dict[str, Any] | None:
    """The order that carries our key, a living one before a dead one."""
    ours = [
        order
        for order in orders
        if isinstance(order, dict)
        and any(
            m.get("key") == PO_META and m.get("value") == key
            for m in order.get("meta_data") or ()
            if isinstance(m, dict)
        )
    ]
    ours.sort(key=lambda order: str(order.get("status")) in _DEAD)
    return ours[0] if ours else None


def _counts(product: Mapping[str, Any]) -> bool:
    return bool(product.get("manage_stock")) and not product.get("backorders_allowed")


def _quantity(product: Mapping[str, Any]) -> int:
    quantity = product.get("stock_quantity")
    return quantity if isinstance(quantity, int) else 0


def _enough(product: Mapping[str, Any], quantity: int) -> bool:
    if product.get("manage_stock"):
        return _quantity(product) >= quantity  # a back-order would be late, so back-orders do not count
    return product.get("stock_status") == "instock"


def _for_sale(product: Mapping[str, Any]) -> bool:
    return product.get("status", "publish") == "publish" and product.get("purchasable", True) is not False


def _price(product: Mapping[str, Any]) -> Decimal:
    try:
        return Decimal(str(product.get("price")))
    except InvalidOperation:
        return Decimal("Infinity")  # no price: nothing was agreed


def _ref(item: Mapping[str, Any]) -> str:
    variation = item.get("variation_id")
    return f"#{item.get('product_id')}/{variation}" if variation else f"#{item.get('product_id')}"


def _remember(key: str) -> None:
    _unanswered[key] = None
    while len(_unanswered) > 10_000:
        _unanswered.popitem(last=False)
