"""A stand-in for a WooCommerce shop, written from the recorded exchanges in fixtures/ and WooCommerce's own source.

It keeps the manners that matter: pages with X-WP-Total and Link, money as text, ids in order, `related_ids` that
change on every answer, stock that goes below nothing because orders are taken anyway, cancelling that gives stock
back, order search over the billing and shipping address, webhooks signed with base64 HMAC-SHA256 whose delivery id
is shared by deliveries of one webhook within one second, and an unsigned form-encoded ping."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import orjson
from aiohttp import web

from connectors.sandbox_kit import Delivery, Faults
from connectors.woocommerce.shapes import indexed, item_json, order_json, po_of, product_json, variation_json
from connectors.woocommerce.webhooks import SendsWebhooks
from hub.kernel import clock

_API = "/wp-json/wc/v3"
_TAKES_STOCK = frozenset({"processing", "on-hold", "completed"})
_STATUSES = frozenset(
    {"auto-draft", "pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft"}
)


class WooSandbox(SendsWebhooks):
    """A shop with these products, each a dict:

    sku (may be missing), name, price (text), stock (a count; None: the shop counts nothing), and as wished title_en,
    gtin, brand, model, kind, mode, category, pack, city, department, description, image, type (simple, variable,
    grouped, external), status, in_stock (for uncounted ones), backorders, and variations: a list of {sku, price,
    stock, options: {name: value}}.

    `webhooks_to` is the URL that product and order webhooks go to, signed with `webhook_secret`; it may be set later.
    `max_per_page` is WooCommerce's 100 unless a measurement wants bigger pages."""

    def __init__(
        self,
        products: Iterable[Mapping[str, Any]],
        faults: Faults | None = None,
        *,
        consumer_key: str = "ck_sandbox_0123456789",
        consumer_secret: str = "cs_sandbox_9876543210",  # noqa: S107 - the sandbox's own
        webhook_secret: str = "whsec_sandbox_5566",  # noqa: S107 - the sandbox's own
        webhooks_to: str | None = None,
        currency: str = "CNY",
        max_per_page: int = 100,
    ) -> None:
        super().__init__(faults, webhook_secret, webhooks_to)
        self.consumer_key = consumer_key
        self.consumer_secret = consumer_secret
        self.currency = currency
        self.max_per_page = max_per_page
        self.orders: dict[int, dict[str, Any]] = {}
        self.order_requests: list[dict[str, Any]] = []
        self._ids = itertools.count(101)
        self._products: dict[int, dict[str, Any]] = {}
        self._order_of_ids: list[int] = []
        self._on_sale: list[int] | None = None  # ids of what is published, in order; None: look again
        self._by_sku: dict[str, int] = {}
        self._variations: dict[int, list[int]] = {}
        self._bytes: dict[int, bytes] = {}
        self._pages: dict[tuple[int, int], bytes] = {}
        self._where: dict[int, int] = {}
        basic = base64.b64encode(f"{consumer_key}:{consumer_secret}".encode()).decode()
        self._authorization = f"Basic {basic}"
        for product in products:
            self.add(product)

    def credentials(self) -> dict[str, str]:
        """The secrets of a connection to this shop."""
        return {
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
            "webhook_secret": self.webhook_secret,
        }

    # The shop's side ------------------------------------------------------------------------------------------

    def add(self, product: Mapping[str, Any]) -> int:
        """Put a product on sale; returns its id."""
        made = product_json(next(self._ids), product, self._today())
        self._keep(made)
        self._where[made["id"]] = len(self._order_of_ids)
        self._order_of_ids.append(made["id"])
        self._pages.clear()
        self._on_sale = None
        children = []
        for variation in product.get("variations") or ():
            child = variation_json(next(self._ids), made, variation, self._today())
            self._keep(child)
            children.append(child["id"])
        if children:
            made["variations"] = self._variations[made["id"]] = children
        return int(made["id"])

    def stock_of(self, sku: str) -> int | None:
        """The shop's own count now."""
        quantity = self._products[self._by_sku[sku]]["stock_quantity"]
        return int(quantity) if quantity is not None else None

    def set_stock(self, sku: str, quantity: int) -> None:
        """Somebody counts the shelf; a webhook goes out."""
        self._count(self._products[self._by_sku[sku]], quantity)

    def sell(self, sku: str, quantity: int) -> None:
        """A shopper buys in the shop itself."""
        product = self._products[self._by_sku[sku]]
        self._count(product, product["stock_quantity"] - quantity)

    def set_price(self, sku: str, price: str) -> None:
        """The shop changes a price; a webhook goes out."""
        product = self._products[self._by_sku[sku]]
        product.update(price=price, regular_price=price)
        self._touched(product)

    def remove(self, sku: str) -> None:
        """The shop takes a product off sale (it becomes a draft)."""
        product = self._products[self._by_sku[sku]]
        product["status"] = "draft"
        self._pages.clear()
        self._on_sale = None
        self._touched(product)

    def set_order_status(
        self, order_id: int | str, status: str, *, tracking_no: str | None = None, carrier: str | None = None
    ) -> None:
        """The shop works on an order; a webhook goes out."""
        order = self.orders[int(order_id)]
        if tracking_no is not None:
            items = [{"tracking_number": tracking_no, "tracking_provider": carrier or ""}]
            order["meta_data"].append({"id": next(self._ids), "key": "_wc_shipment_tracking_items", "value": items})
        self._move(order, status)

    def orders_with(self, po_number: str) -> list[dict[str, Any]]:
        """Orders that carry this number of ours, in any status."""
        return [order for order in self.orders.values() if po_of(order) == po_number]

    @staticmethod
    def number_of(order: Mapping[str, Any]) -> str | None:
        """The number of ours that an order carries, if any."""
        number = po_of(order)
        return str(number) if number is not None else None

    def living(self, po_number: str) -> int:
        """How many orders with this number the shop would still fulfil."""
        return sum(order["status"] in ("pending", *_TAKES_STOCK) for order in self.orders_with(po_number))

    def prime(self, per_page: int) -> None:
        """Serialise all pages now, so that a measurement sees the network and not this stand-in."""
        published = self._published()
        for page in range(1, (len(published) + per_page - 1) // per_page + 1):
            self._page_bytes(published, page, per_page)

    def product_delivery(self, sku: str) -> Delivery:
        """A signed product.updated delivery of this product as it is now."""
        return self.delivery("product.updated", self._full(self._products[self._by_sku[sku]]))

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        """The parts of REST API v3 that the connector uses."""
        app.router.add_get(f"{_API}/products", self._get_products)
        app.router.add_get(f"{_API}/products/{{id}}", self._get_product)
        app.router.add_get(f"{_API}/products/{{id}}/variations", self._get_variations)
        app.router.add_get(f"{_API}/products/{{parent}}/variations/{{id}}", self._get_product)
        app.router.add_get(f"{_API}/orders", self._get_orders)
        app.router.add_post(f"{_API}/orders", self._post_order)
        app.router.add_get(f"{_API}/orders/{{id}}", self._get_order)
        app.router.add_put(f"{_API}/orders/{{id}}", self._put_order)

    def denied(self) -> web.Response:
        """WooCommerce's own words."""
        return _error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")

    def _refused(self, request: web.Request) -> web.Response | None:
        return None if request.headers.get("Authorization") == self._authorization else self.denied()

    async def _get_products(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        query = request.query
        if "sku" in query:
            ids = [self._by_sku[sku] for sku in query["sku"].split(",") if sku in self._by_sku]
            return _json(b"[" + b",".join(_dumps(self._full(self._products[i])) for i in ids) + b"]", len(ids), 1)
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        if self.faults.repeat_page:
            page = 1
        if "modified_after" in query:
            after = query["modified_after"]
            chosen = [i for i in self._order_of_ids if self._products[i]["date_modified_gmt"] > after]
            part = chosen[(page - 1) * per_page : page * per_page]
            body = b"[" + b",".join(self._product_bytes(i) for i in part) + b"]"
        else:
            chosen = self._published()
            body = self._page_bytes(chosen, page, per_page)
        if self.faults.drop_page == page:
            body = b"[]"
        return _json(body, len(chosen), -(-len(chosen) // per_page), self._link(request, page, len(chosen), per_page))

    async def _get_variations(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        ids = self._variations.get(_number(request), [])
        part = ids[(page - 1) * per_page : page * per_page]
        return _json(b"[" + b",".join(self._product_bytes(i) for i in part) + b"]", len(ids), -(-len(ids) // per_page))

    async def _get_product(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        product = self._products.get(_number(request))
        if product is None:
            return _error(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return web.Response(body=_dumps(self._full(product)), content_type="application/json")

    async def _get_orders(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        query = request.query
        found: Iterable[dict[str, Any]] = self.orders.values()
        if "search" in query:
            found = [order for order in found if query["search"].lower() in indexed(order)]
        if "after" in query:
            found = [order for order in found if order["date_created_gmt"] > query["after"]]
        chosen = sorted(found, key=lambda order: order["id"], reverse=query.get("order", "desc") == "desc")
        part = chosen[(page - 1) * per_page : page * per_page]
        return _json(_dumps(part), len(chosen), -(-len(chosen) // per_page))

    async def _get_order(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        order = self.orders.get(_number(request))
        if order is None:
            return _error(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return web.Response(body=_dumps(order), content_type="application/json")

    async def _post_order(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        sent = await _body(request)
        if sent is None:
            return _error(400, "rest_invalid_json", "Invalid JSON body passed.")
        items = []
        for line in sent.get("line_items") or ():
            product = self._products.get(line.get("variation_id") or line.get("product_id") or 0)
            if product is None or not isinstance(line.get("quantity"), int) or line["quantity"] < 1:
                return _error(400, "woocommerce_rest_invalid_product_id", "Product ID is invalid.")
            items.append(item_json(next(self._ids), product, line["quantity"]))
        self.order_requests.append(sent)
        order = order_json(next(self._ids), sent, items, self.currency, self._today(), self._ids)
        self.orders[order["id"]] = order
        status = "pending"
        if sent.get("set_paid"):  # cash on delivery has nothing left to process
            status = "completed" if sent.get("payment_method") == "cod" else "processing"
        self.push("order.created", order)
        self._move(order, sent.get("status") or status)
        return web.Response(body=_dumps(order), status=201, content_type="application/json")

    async def _put_order(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        order = self.orders.get(_number(request))
        if order is None:
            return _error(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        sent = await _body(request) or {}
        status = sent.get("status", order["status"])
        if status not in _STATUSES:
            return _error(400, "rest_invalid_param", "Invalid parameter(s): status")
        self._move(order, status)
        return web.Response(body=_dumps(order), content_type="application/json")

    # Inside ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _today() -> str:
        return clock.now().astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()

    def _keep(self, product: dict[str, Any]) -> None:
        self._products[product["id"]] = product
        if product["sku"]:
            self._by_sku[product["sku"]] = product["id"]

    def _published(self) -> list[int]:
        if self._on_sale is None:
            self._on_sale = [i for i in self._order_of_ids if self._products[i]["status"] == "publish"]
        return self._on_sale

    def _full(self, product: Mapping[str, Any]) -> dict[str, Any]:
        """The product as the API shows it; what it recommends changes with every answer."""
        related = [
            self._order_of_ids[(product["id"] * 7 + n * len(self.seen) + n) % len(self._order_of_ids)] for n in range(3)
        ]
        return {**product, "related_ids": related}

    def _product_bytes(self, product_id: int) -> bytes:
        made = self._bytes.get(product_id)
        if made is None:
            made = self._bytes[product_id] = _dumps(self._full(self._products[product_id]))
        return made

    def _page_bytes(self, ids: Sequence[int], page: int, per_page: int) -> bytes:
        made = self._pages.get((page, per_page))
        if made is None:
            part = ids[(page - 1) * per_page : page * per_page]
            made = b"[" + b",".join(_dumps(self._full(self._products[i])) for i in part) + b"]"
            self._pages[page, per_page] = made
        return made

    def _count(self, product: dict[str, Any], quantity: int) -> None:
        product["stock_quantity"] = quantity
        product["stock_status"] = (
            "instock" if quantity > 0 else "onbackorder" if product["backorders_allowed"] else "outofstock"
        )
        self._touched(product)

    def _touched(self, product: dict[str, Any]) -> None:
        product["date_modified"] = product["date_modified_gmt"] = self._today()
        self._bytes.pop(product["id"], None)
        place = self._where.get(product["id"], self._where.get(product["parent_id"]))
        if place is not None:
            for page, per_page in [key for key in self._pages if key[0] == place // key[1] + 1]:
                del self._pages[page, per_page]
        self.push("product.updated", self._full(product))

    def _move(self, order: dict[str, Any], status: str) -> None:
        """An order's new status; stock is taken once and given back once, whatever the count says."""
        order["status"] = status
        order["date_modified"] = order["date_modified_gmt"] = self._today()
        takes = status in _TAKES_STOCK
        for item in order["line_items"]:
            product = self._products[item["variation_id"] or item["product_id"]]
            reduced = any(m["key"] == "_reduced_stock" for m in item["meta_data"])
            if (
                not product["manage_stock"]
                or takes == reduced
                or (not takes and status not in ("cancelled", "pending"))
            ):
                continue
            item["meta_data"] = (
                [{"id": next(self._ids), "key": "_reduced_stock", "value": str(item["quantity"])}] if takes else []
            )
            self._count(product, product["stock_quantity"] + (-item["quantity"] if takes else item["quantity"]))
        self.push("order.updated", order)

    def _window(self, request: web.Request) -> tuple[int, int, web.Response | None]:
        page, per_page = request.query.get("page", "1"), request.query.get("per_page", "10")
        if not per_page.isdigit() or not 1 <= int(per_page) <= self.max_per_page:
            return 1, 1, _error(400, "rest_invalid_param", "Invalid parameter(s): per_page")
        if not page.isdigit() or int(page) < 1:
            return 1, 1, _error(400, "rest_invalid_param", "Invalid parameter(s): page")
        return int(page), int(per_page), None

    def _link(self, request: web.Request, page: int, total: int, per_page: int) -> str:
        if page * per_page >= total:
            return ""
        return f'<{request.url.update_query(page=str(page + 1))}>; rel="next"'


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value)


def _json(body: bytes, total: int, pages: int, link: str = "") -> web.Response:
    headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
    if link:
        headers["Link"] = link
    return web.Response(body=body, content_type="application/json", charset="UTF-8", headers=headers)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message, "data": {"status": status}}, status=status)


async def _body(request: web.Request) -> dict[str, Any] | None:
    try:
        sent = json.loads(await request.read())
    except ValueError:
        return None
    return sent if isinstance(sent, dict) else None


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    return int(text) if text.isdigit() else -1
