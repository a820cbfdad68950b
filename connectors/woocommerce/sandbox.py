"""A stand-in for a WooCommerce shop, written from the recorded exchanges in fixtures/ and WooCommerce's own source.

It keeps the manners that matter: pages with X-WP-Total and Link, money as text, ids in order, `related_ids` that
change on every answer, stock that goes below nothing because orders are taken anyway, cancelling that gives stock
back, order search over the billing and shipping address, webhooks signed with base64 HMAC-SHA256 whose delivery id
is shared by deliveries of one webhook within one second, and an unsigned form-encoded ping."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from connectors.sandbox_kit import Faults, Next
from connectors.woocommerce.gate import Gate
from connectors.woocommerce.shapes import indexed, item_json, order_json, po_of
from connectors.woocommerce.shelf import Shelf, paged

_API = "/wp-json/wc/v3"
_TAKES_STOCK = frozenset({"processing", "on-hold", "completed"})
_STATUSES = frozenset(
    {"auto-draft", "pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft"}
)


class WooSandbox(Shelf):
    """A shop with these products, each a dict:

    sku (may be missing), name, price (text), stock (a count; None: the shop counts nothing), and as wished title_en,
    gtin, brand, model, kind, mode, category, pack, city, department, description, image, type (simple, variable,
    grouped, external), status, virtual, downloadable, in_stock (for uncounted ones), backorders, attributes, and
    variations: a list of {sku, price, stock, status, options: {name: value}}.

    `webhooks_to` is the URL that product and order webhooks go to, signed with `webhook_secret`; it may be set later.
    `max_per_page` is WooCommerce's 100 unless a measurement wants bigger pages. `lists_variations`: the shop has
    `/variations`, as WooCommerce 10.3 and later do. `gate.basic` off: only OAuth opens, as over plain http."""

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
        lists_variations: bool = False,
    ) -> None:
        super().__init__(products, faults, webhook_secret, webhooks_to)
        self.consumer_key = consumer_key
        self.consumer_secret = consumer_secret
        self.gate = Gate(consumer_key, consumer_secret)
        self.home_url: str | None = None  # the shop's address as it knows it, when it is reached under another
        self.currency = currency
        self.max_per_page = max_per_page
        self.lists_variations = lists_variations
        self.orders: dict[int, dict[str, Any]] = {}
        self.order_requests: list[dict[str, Any]] = []

    def credentials(self) -> dict[str, str]:
        """The secrets of a connection to this shop."""
        return {
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
            "webhook_secret": self.webhook_secret,
        }

    # The shop's side ------------------------------------------------------------------------------------------

    def set_order_status(
        self, order_id: int | str, status: str, *, tracking_no: str | None = None, carrier: str | None = None
    ) -> None:
        """The shop works on an order (a parcel comes on top of those before); a webhook goes out."""
        order = self.orders[int(order_id)]
        if tracking_no is not None:
            found = next((m for m in order["meta_data"] if m["key"] == "_wc_shipment_tracking_items"), None)
            if found is None:
                found = {"id": next(self._ids), "key": "_wc_shipment_tracking_items", "value": []}
                order["meta_data"].append(found)
            found["value"].append({"tracking_number": tracking_no, "tracking_provider": carrier or ""})
        self._move(order, status)

    def refund(self, order_id: int | str, amount: str) -> None:
        """The shop pays back a part; what is paid back whole becomes `refunded`."""
        order = self.orders[int(order_id)]
        order["refunds"].append({"id": next(self._ids), "reason": "", "total": f"-{amount}"})
        paid_back = -sum(Decimal(refund["total"]) for refund in order["refunds"])
        self._move(order, "refunded" if paid_back >= Decimal(order["total"]) else order["status"])

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

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        """The parts of REST API v3 that the connector uses."""
        for method, path, handler in (
            ("GET", "/products", self._get_products),
            ("GET", "/products/{id}", self._get_product),
            ("GET", "/products/{id}/variations", self._get_variations),
            ("GET", "/products/{parent}/variations/{id}", self._get_product),
            ("GET", "/variations", self._get_all_variations),
            ("GET", "/orders", self._get_orders),
            ("POST", "/orders", self._post_order),
            ("GET", "/orders/{id}", self._get_order),
            ("PUT", "/orders/{id}", self._put_order),
        ):
            app.router.add_route(method, f"{_API}{path}", self._gated(handler))

    def _gated(self, handler: Next) -> Next:
        async def gated(request: web.Request) -> web.StreamResponse:
            if not self.gate.lets_in(request, self.home_url or self.base_url):
                return self.denied()
            return await handler(request)

        return gated

    def denied(self) -> web.Response:
        """WooCommerce's own words."""
        return _error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")

    async def _get_products(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if "sku" in query:
            ids = [self._by_sku[sku] for sku in query["sku"].split(",") if sku in self._by_sku]
            return paged(orjson.dumps([self._full(self._products[i]) for i in ids]), len(ids), 100)
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        if self.faults.repeat_page:
            page = 1
        if "modified_after" in query:
            after = query["modified_after"]
            chosen = [i for i in self._order_of_ids if self._products[i]["date_modified_gmt"] > after]
        else:
            chosen = self._published()
        if self.faults.drop_page == page:
            return paged(b"[]", len(chosen), per_page)
        if "modified_after" in query or "_fields" in query:
            return self._listed(request, chosen, page, per_page)
        body = self._page_bytes(chosen, page, per_page)
        return paged(body, len(chosen), per_page, self._link(request, page, len(chosen), per_page))

    async def _get_variations(self, request: web.Request) -> web.StreamResponse:
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        wanted = request.query.get("status", "any")
        ids = [i for i in self._variations.get(_number(request), []) if wanted in ("any", self._products[i]["status"])]
        return self._listed(request, ids, page, per_page)

    async def _get_all_variations(self, request: web.Request) -> web.StreamResponse:
        if not self.lists_variations:
            return _error(404, "rest_no_route", "No route was found matching the URL and request method.")
        page, per_page, wrong = self._window(request)
        if wrong is not None:
            return wrong
        return self._listed(request, self._published_variations(), page, per_page)

    async def _get_product(self, request: web.Request) -> web.StreamResponse:
        product = self._products.get(_number(request))
        if product is None:
            return _error(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return web.Response(body=orjson.dumps(self._full(product)), content_type="application/json")

    async def _get_orders(self, request: web.Request) -> web.StreamResponse:
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
        return paged(orjson.dumps(part), len(chosen), per_page)

    async def _get_order(self, request: web.Request) -> web.StreamResponse:
        order = self.orders.get(_number(request))
        if order is None:
            return _error(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return web.Response(body=orjson.dumps(order), content_type="application/json")

    async def _post_order(self, request: web.Request) -> web.StreamResponse:
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
        return web.Response(body=orjson.dumps(order), status=201, content_type="application/json")

    async def _put_order(self, request: web.Request) -> web.StreamResponse:
        order = self.orders.get(_number(request))
        if order is None:
            return _error(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        sent = await _body(request) or {}
        status = sent.get("status", order["status"])
        if status not in _STATUSES:
            return _error(400, "rest_invalid_param", "Invalid parameter(s): status")
        self._move(order, status)
        return web.Response(body=orjson.dumps(order), content_type="application/json")

    # Inside ---------------------------------------------------------------------------------------------------

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
            change = -item["quantity"] if takes else item["quantity"]
            self._count(product, product["stock_quantity"] + change, quiet=self.quiet)
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
