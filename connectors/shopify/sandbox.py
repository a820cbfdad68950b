"""A stand-in for a Shopify shop, written from the Admin API's documentation and schema and from answers that others
recorded from live shops (README.md).

It keeps the manners that matter: one address for everything, errors with status 200, points that a query costs and
that come back with time, a search index that may run behind, bulk operations whose result lies elsewhere and must be
fetched without credentials, custom ids that exist once, orders that are refused in the words of live shops when there
is no stock, cancellation as a job, webhooks without SKUs. Operations are told apart by their names: this is no GraphQL
engine."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import ACTS, Delivery, Faults
from connectors.shopify.answering import AnswersGraphql
from connectors.shopify.shapes import (
    HOME,
    OUTLET,
    fulfillment_push,
    gid,
    level_push,
    order_push,
    product_json,
    product_push,
    variant_json,
)
from hub.kernel import clock

__all__ = ["HOME", "OUTLET", "ShopifySandbox"]


class ShopifySandbox(AnswersGraphql):
    """A shop with these products, each a dict: title and as wished vendor, type, category, description, image, status,
    published, gift_card, subscription, and `variants`: a list of {sku, price, barcode, stock (a count at the first
    location, or {location id: count}), policy (DENY, CONTINUE), tracked, ships, bundle, options: {name: value}, item
    (the number of a shared inventory item)}. A product without `variants` is its own only variant.

    What may be changed while it runs: `search_lags` (orders do not show in searches), `points` (left to spend),
    `bulk_polls` (looks before an operation ends), `bulk_ends` (the status it ends with), `bulk_gone` (operations expire
    at once, so many times), `busy` (another operation of the app runs), `lost_lines` (missing at a result's end)."""

    def __init__(
        self,
        products: Iterable[Mapping[str, Any]],
        faults: Faults | None = None,
        *,
        access_token: str = "shpat_sandbox_0123456789",  # noqa: S107 - the sandbox's own
        client_secret: str = "shpss_sandbox_9876543210",  # noqa: S107 - the sandbox's own
        webhooks_to: str | None = None,
        currency: str = "CNY",
        api_version: str = "2026-07",
    ) -> None:
        super().__init__(faults, client_secret, webhooks_to, api_version)
        self.access_token = access_token
        self.tokens = {access_token}
        self.currency = currency
        self.storage = ""  # where results lie; empty: here
        self.fetched_with_credentials = False
        self._ids = itertools.count(7_482_910_330_001)
        self._at = clock.now()
        for product in products:
            self.add(product)

    def credentials(self) -> dict[str, str]:
        """The secrets of a connection to this shop."""
        return {"access_token": self.access_token, "client_secret": self.webhook_secret}

    # The shop's side ------------------------------------------------------------------------------------------

    def add(self, given: Mapping[str, Any]) -> str:
        """Put a product into the shop; returns its number."""
        number = next(self._ids)
        product = product_json(number, given, self.now())
        self.products[product["id"]] = product
        for each in given.get("variants") or (given,):
            item = each.get("item") or next(self._ids)
            variant = variant_json(next(self._ids), item, each)
            variant["product_id"] = product["id"]
            self.variants[variant["id"]] = variant
            stock = each.get("stock", 0)
            self.levels.setdefault(
                variant["inventoryItem"]["id"], dict(stock) if isinstance(stock, dict) else {HOME: stock}
            )
        return str(number)

    def now(self) -> str:
        """The shop's clock: later at every look, so that each change has its own time."""
        self._at = max(clock.now(), self._at + timedelta(seconds=1))
        return self._at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def variant_of(self, sku: str) -> dict[str, Any]:
        """The first variant with this SKU."""
        return next(variant for variant in self.variants.values() if variant["sku"] == sku)

    def number_of(self, sku: str) -> str:
        """Its number."""
        return str(self.variant_of(sku)["id"]).rsplit("/", 1)[1]

    def stock_of(self, sku: str, location: int = HOME) -> int:
        """What is available there now."""
        return self.levels[self.variant_of(sku)["inventoryItem"]["id"]].get(location, 0)

    def set_stock(self, sku: str, quantity: int, location: int = HOME) -> None:
        """Somebody counts the shelf; a webhook goes out."""
        self.count(self.variant_of(sku), location, quantity)

    def count(self, variant: Mapping[str, Any], location: int, quantity: int) -> None:
        """A new count; it counts as an update of the product."""
        item = variant["inventoryItem"]["id"]
        self.levels[item][location] = quantity
        self._touched(variant["product_id"])
        self.push("inventory_levels/update", level_push(int(item.rsplit("/", 1)[1]), location, quantity, self.now()))

    def change(self, sku: str, **fields: Any) -> None:
        """Change a variant's own fields (price, sku, barcode)."""
        variant = self.variant_of(sku)
        variant.update(fields)
        self._touched(variant["product_id"])

    def change_product(self, sku: str, **fields: Any) -> None:
        """Change the fields of a variant's product (title, status, publishedAt)."""
        product = self.products[self.variant_of(sku)["product_id"]]
        product.update(fields)
        self._touched(product["id"])

    def fulfill(
        self, order_no: str, numbers: Iterable[str], *, display: str = "FULFILLED", company: str = "SF Express",
        part: bool = False,
    ) -> None:  # fmt: skip
        """The shop sends parcels of an order; webhooks go out."""
        order = self.orders[gid("Order", order_no)]
        now = self.now()
        fulfillment = {
            "id": gid("Fulfillment", next(self._ids)),
            "status": "SUCCESS",
            "displayStatus": display,
            "updatedAt": now,
            "deliveredAt": now if display == "DELIVERED" else None,
            "trackingInfo": [{"number": number, "company": company} for number in numbers],
        }
        order["fulfillments"].append(fulfillment)
        order["displayFulfillmentStatus"] = "PARTIALLY_FULFILLED" if part else "FULFILLED"
        self._moved(order, fulfillment)

    def scan(self, order_no: str, display: str) -> None:
        """The carrier scans the last parcels of an order; webhooks go out."""
        order = self.orders[gid("Order", order_no)]
        fulfillment = order["fulfillments"][-1]
        fulfillment.update(displayStatus=display, updatedAt=self.now())
        fulfillment["deliveredAt"] = fulfillment["updatedAt"] if display == "DELIVERED" else None
        self._moved(order, fulfillment)

    def orders_with(self, key: str) -> list[dict[str, Any]]:
        """Orders that carry this number of ours, cancelled ones too."""
        return [order for order in self.orders.values() if order["sourceIdentifier"] == key]

    def living(self, key: str) -> int:
        """How many orders with this number the shop would still fulfil."""
        return sum(order["cancelledAt"] is None for order in self.orders_with(key))

    def order_delivery(self, order_no: str) -> Delivery:
        """A signed orders/updated delivery of an order as it is now."""
        order = self.orders[gid("Order", order_no)]
        return self.delivery("orders/updated", order_push(order, self.requests_of(order)))

    def product_delivery(self, sku: str, topic: str = "products/update") -> Delivery:
        """A signed delivery of a variant's product as it is now."""
        product = self.products[self.variant_of(sku)["product_id"]]
        return self.delivery(topic, product_push(product, self.variants_of(product["id"])))

    def _moved(self, order: dict[str, Any], fulfillment: Mapping[str, Any]) -> None:
        order["updatedAt"] = fulfillment["updatedAt"]
        self.push("fulfillments/update", fulfillment_push(order, fulfillment))
        self.push("orders/updated", order_push(order, self.requests_of(order)))

    def _touched(self, product_id: str) -> None:
        product = self.products[product_id]
        product["updatedAt"] = self.now()
        self.push("products/update", product_push(product, self.variants_of(product_id)))

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        """The one address of the API, the tokens of Dev Dashboard apps, and the files of bulk operations."""
        app.router.add_post("/admin/api/{version}/graphql.json", self._graphql)
        app.router.add_post("/admin/oauth/access_token", self._token)
        app.router.add_get("/bulk/{name}", self.result_file)

    def denied(self) -> web.Response:
        """Shopify's own words."""
        said = "[API] Invalid API key or access token (unrecognized login or wrong password)"
        return web.json_response({"errors": said}, status=401)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        form = await request.post()
        if form.get("grant_type") != "client_credentials" or form.get("client_secret") != self.webhook_secret:
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"shpat_fetched_{len(self.tokens)}_abcdef"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "scope": "write_orders", "expires_in": 86399})

    async def _graphql(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        if request.headers.get("X-Shopify-Access-Token") not in self.tokens:
            return self.denied()
        if not re.fullmatch(r"\d{4}-\d{2}|unstable", request.match_info["version"]):
            return web.json_response({"errors": "Not Found"}, status=404)
        try:
            sent = json.loads(await request.read())
        except ValueError:
            return web.json_response({"errors": "Bad Request"}, status=400)
        name = str(sent.get("operationName"))
        if f" {name}" not in str(sent.get("query")):
            return self.answer(name, None, [{"message": f'No operation named "{name}"'}])
        cost = self.price_of(name)
        if not self.afford(cost):
            throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return self.answer(name, None, [throttled])
        request[ACTS] = name in ("HubCreateOrder", "HubCancelOrder")
        data, errors = self.said(name, sent.get("variables") or {})
        return self.answer(name, data, errors)

    async def result_file(self, request: web.Request) -> web.StreamResponse:
        """A result, as storage.googleapis.com gives it: for whoever has the signed address."""
        request[ACTS] = False
        if "X-Shopify-Access-Token" in request.headers or "Authorization" in request.headers:
            self.fetched_with_credentials = True
        operation = self.operations.get(gid("BulkOperation", request.match_info["name"].partition(".")[0]))
        if operation is None or operation["status"] == "EXPIRED" or request.query.get("Signature") != "s3cr3t":
            expired = "<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>"
            return web.Response(status=400, text=expired, content_type="application/xml")
        return web.Response(body=operation["file"], content_type="application/jsonl")

    def afford(self, cost: float) -> bool:
        """Take `cost` from the bucket, which fills up with time."""
        tick = time.monotonic()
        self.points = min(self.most_points, self.points + (tick - self.points_at) * self.restore_rate)
        self.points_at = tick
        if self.points < cost:
            return False
        self.points -= cost
        return True
