"""A stand-in for a WooCommerce shop, written from the recorded exchanges in fixtures/ and WooCommerce's own source.

It keeps the manners that matter: pages with X-WP-Total and Link, money as text, ids in order, `related_ids` that
change on every answer, stock that goes below nothing because orders are taken anyway, cancelling that gives stock
back, order search over the billing and shipping address, webhooks signed with base64 HMAC-SHA256 whose delivery id
is shared by deliveries of one webhook within one second, and an unsigned form-encoded ping."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from connectors.sandbox_kit import Delivery, Faults, Sandbox
from hub.kernel import clock

_API = "/wp-json/wc/v3"
_META = ("gtin", "title_en", "brand", "model", "kind", "mode", "category", "pack", "city", "department")
_META_KEYS = {name: "_mpn" if name == "model" else f"_{name}" for name in _META}
_TAKES_STOCK = frozenset({"processing", "on-hold", "completed"})
_STATUSES = frozenset(
    {"auto-draft", "pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft"}
)


class WooSandbox(Sandbox):
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
        super().__init__(faults)
        self.consumer_key = consumer_key
        self.consumer_secret = consumer_secret
        self.webhook_secret = webhook_secret
        self.webhooks_to = webhooks_to
        self.currency = currency
        self.max_per_page = max_per_page
        self.orders: dict[int, dict[str, Any]] = {}
        self.order_requests: list[dict[str, Any]] = []
        self.undelivered: list[Delivery] = []  # deliveries that nobody acknowledged
        self.delivered = 0
        self._ids = itertools.count(101)
        self._products: dict[int, dict[str, Any]] = {}
        self._order_of_ids: list[int] = []
        self._by_sku: dict[str, int] = {}
        self._variations: dict[int, list[int]] = {}
        self._bytes: dict[int, bytes] = {}
        self._pages: dict[tuple[int, int], bytes] = {}
        self._where: dict[int, int] = {}
        self._waiting: list[Delivery] = []
        self._sender: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
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
        made = _product(next(self._ids), product, self._today())
        self._keep(made)
        self._where[made["id"]] = len(self._order_of_ids)
        self._order_of_ids.append(made["id"])
        self._pages.clear()
        children = []
        for variation in product.get("variations") or ():
            child = _variation(next(self._ids), made, variation, self._today())
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
        return [order for order in self.orders.values() if _po(order) == po_number]

    @staticmethod
    def number_of(order: Mapping[str, Any]) -> str | None:
        """The number of ours that an order carries, if any."""
        number = _po(order)
        return str(number) if number is not None else None

    def living(self, po_number: str) -> int:
        """How many orders with this number the shop would still fulfil."""
        return sum(order["status"] in ("pending", *_TAKES_STOCK) for order in self.orders_with(po_number))

    def prime(self, per_page: int) -> None:
        """Serialise all pages now, so that a measurement sees the network and not this stand-in."""
        published = self._published()
        for page in range(1, (len(published) + per_page - 1) // per_page + 1):
            self._page_bytes(published, page, per_page)

    # Webhooks -------------------------------------------------------------------------------------------------

    def delivery(self, topic: str, resource: Mapping[str, Any]) -> Delivery:
        """A signed delivery of `resource` as it is now."""
        body = _dumps(resource)
        kind, _, event = topic.partition(".")
        webhook_id = {"product": 3, "order": 1}[kind] + (event == "updated")
        second = int(clock.now().timestamp())
        signature = base64.b64encode(hmac.digest(self.webhook_secret.encode(), body, "sha256")).decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "WooCommerce/7.9.0 Hookshot (WordPress/6.1.9)",
            "X-WC-Webhook-Source": f"{self.base_url}/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": kind,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": signature,
            "X-WC-Webhook-ID": str(webhook_id),
            "X-WC-Webhook-Delivery-ID": hashlib.md5(f"{webhook_id}{second}".encode()).hexdigest(),  # noqa: S324
        }
        return Delivery(headers, body)

    def product_delivery(self, sku: str) -> Delivery:
        """A signed product.updated delivery of this product as it is now."""
        return self.delivery("product.updated", self._full(self._products[self._by_sku[sku]]))

    @staticmethod
    def ping() -> Delivery:
        """What WooCommerce sends when a webhook is saved: a form, not signed."""
        return Delivery({"Content-Type": "application/x-www-form-urlencoded"}, b"webhook_id=4")

    async def flush_webhooks(self) -> None:
        """Wait until every webhook so far was tried."""
        while self._waiting or (self._sender is not None and not self._sender.done()):
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._deliver())
            await asyncio.gather(self._sender, return_exceptions=True)

    def _push(self, topic: str, resource: Mapping[str, Any]) -> None:
        if self.webhooks_to is None:
            return
        self._waiting.append(self.delivery(topic, resource))
        if self._sender is None or self._sender.done():
            with contextlib.suppress(RuntimeError):  # no loop: flush_webhooks sends later
                self._sender = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        while self._waiting and self.webhooks_to is not None:
            batch, self._waiting = self._waiting, []
            if self.faults.shuffle_webhooks:
                batch.reverse()
            for push in batch:
                for _ in range(2 if self.faults.duplicate_webhooks else 1):
                    try:
                        async with self._session.post(self.webhooks_to, data=push.body, headers=push.headers) as answer:
                            good = answer.status < 300
                    except (aiohttp.ClientError, TimeoutError):
                        good = False
                    if good:
                        self.delivered += 1
                    else:
                        self.undelivered.append(push)

    async def stop(self) -> None:
        """Close the shop."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None
        await super().stop()

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
            found = [order for order in found if query["search"].lower() in _indexed(order)]
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
            items.append(_item(next(self._ids), product, line["quantity"]))
        self.order_requests.append(sent)
        order = _order(next(self._ids), sent, items, self.currency, self._today(), self._ids)
        self.orders[order["id"]] = order
        status = "pending"
        if sent.get("set_paid"):  # cash on delivery has nothing left to process
            status = "completed" if sent.get("payment_method") == "cod" else "processing"
        self._push("order.created", order)
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
        return [i for i in self._order_of_ids if self._products[i]["status"] == "publish"]

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
        self._push("product.updated", self._full(product))

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
        self._push("order.updated", order)

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


def _po(order: Mapping[str, Any]) -> Any:
    return next((m["value"] for m in order["meta_data"] if m["key"] == "supplyhub_po"), None)


def _indexed(order: Mapping[str, Any]) -> str:
    """What WooCommerce's order search looks at: the two address indexes."""
    return " ".join(str(v) for part in ("billing", "shipping") for v in order[part].values()).lower()


def _product(number: int, given: Mapping[str, Any], today: str) -> dict[str, Any]:
    stock = given.get("stock")
    backorders = bool(given.get("backorders", False))
    available = given.get("in_stock", True) if stock is None else stock > 0
    name = str(given.get("name", ""))
    category = given.get("shop_category") or given.get("category")
    return {
        "id": number,
        "name": name,
        "slug": f"p-{number}",
        "permalink": f"https://shop.example/product/p-{number}/",
        "date_created": today,
        "date_created_gmt": today,
        "date_modified": today,
        "date_modified_gmt": today,
        "type": given.get("type", "simple"),
        "status": given.get("status", "publish"),
        "featured": False,
        "catalog_visibility": "visible",
        "description": given.get("description", ""),
        "short_description": "",
        "sku": given.get("sku", ""),
        "price": str(given.get("price", "")),
        "regular_price": str(given.get("price", "")),
        "sale_price": "",
        "on_sale": False,
        "purchasable": given.get("type", "simple") in ("simple", "variable"),
        "total_sales": 0,
        "virtual": given.get("mode", "parcel") != "parcel",
        "downloadable": False,
        "manage_stock": stock is not None,
        "stock_quantity": stock,
        "backorders": "yes" if backorders else "no",
        "backorders_allowed": backorders,
        "backordered": False,
        "weight": "",
        "parent_id": 0,
        "categories": [{"id": 15, "name": category or "Uncategorized", "slug": "c"}],
        "tags": [],
        "images": [{"id": 1, "src": given["image"]}] if given.get("image") else [],
        "attributes": given.get("attributes", []),
        "variations": [],
        "grouped_products": [],
        "price_html": f'<span class="amount">&yen;{given.get("price", "")}</span>',
        "related_ids": [],
        "meta_data": [
            {"id": number * 20 + n, "key": _META_KEYS[field], "value": str(given[field])}
            for n, field in enumerate(_META)
            if given.get(field) is not None
        ],
        "stock_status": "instock" if available else "onbackorder" if backorders else "outofstock",
    }


def _variation(number: int, parent: dict[str, Any], given: Mapping[str, Any], today: str) -> dict[str, Any]:
    made = _product(number, given, today)
    options = given.get("options") or {}
    made |= {
        "type": "variation",
        "parent_id": parent["id"],
        "name": ", ".join(options.values()),
        "purchasable": True,
        "attributes": [{"id": n, "name": name, "option": value} for n, (name, value) in enumerate(options.items(), 1)],
        "image": None,
        "categories": [],
    }
    if given.get("stock") is None and "in_stock" not in given and parent["manage_stock"]:
        made |= {"manage_stock": "parent", "stock_quantity": parent["stock_quantity"]}
    return made


def _item(number: int, product: Mapping[str, Any], quantity: int) -> dict[str, Any]:
    variation = product["type"] == "variation"
    total = f"{Decimal(product['price'] or '0') * quantity:.2f}"
    return {
        "id": number,
        "name": product["name"],
        "product_id": product["parent_id"] if variation else product["id"],
        "variation_id": product["id"] if variation else 0,
        "quantity": quantity,
        "subtotal": total,
        "total": total,
        "meta_data": [],
        "sku": product["sku"],
        "price": float(product["price"] or 0),  # the real API answers a JSON number here
    }


def _order(
    number: int, sent: Mapping[str, Any], items: list[dict[str, Any]], currency: str, today: str, ids: Any
) -> dict[str, Any]:
    blank = dict.fromkeys(
        (
            "first_name",
            "last_name",
            "company",
            "address_1",
            "address_2",
            "city",
            "state",
            "postcode",
            "country",
            "phone",
        ),
        "",
    )
    return {
        "id": number,
        "parent_id": 0,
        "status": "pending",
        "currency": currency,
        "version": "7.9.0",
        "date_created": today,
        "date_created_gmt": today,
        "date_modified": today,
        "date_modified_gmt": today,
        "total": f"{sum(Decimal(item['total']) for item in items):.2f}",
        "billing": {**blank, **(sent.get("billing") or {})},
        "shipping": {**blank, **(sent.get("shipping") or {})},
        "payment_method": sent.get("payment_method", ""),
        "transaction_id": sent.get("transaction_id", ""),
        "created_via": "rest-api",
        "customer_note": sent.get("customer_note", ""),
        "number": str(number),
        "meta_data": [{"id": next(ids), "key": m["key"], "value": m["value"]} for m in sent.get("meta_data") or ()],
        "line_items": items,
        "refunds": [],
    }


def parsed_time(text: str) -> datetime:
    """A `date_*_gmt` of WooCommerce as an aware time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
