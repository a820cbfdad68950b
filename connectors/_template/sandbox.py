"""A stand-in for acme's server, written from its documentation. Make it as stubborn as the real one."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import Delivery, Faults, Sandbox

TOKEN = "sandbox-token-1234"  # noqa: S105 - the sandbox's own
PUSH_SECRET = "sandbox-push-5678"  # noqa: S105 - the sandbox's own
MOMENT = "2026-11-22T07:00:{:02d}+00:00"


class AcmeSandbox(Sandbox):
    """Thirty products and an order book."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(faults)
        self.products: list[dict[str, Any]] = [
            {
                "sku": f"A-{n}",
                "name": f"示例商品 {n}",
                "price": f"{n}.90",
                "qty": n,
                "rev": 1,
                "at": MOMENT.format(0),
                "seo": "",
            }
            for n in range(1, 31)
        ]
        self.orders: dict[str, dict[str, Any]] = {}  # by our reference
        self.requests: dict[str, Any] = {}

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/v2/products", self.get_products)
        app.router.add_post("/v2/orders", self.post_order)
        app.router.add_get("/v2/orders", self.get_orders)
        app.router.add_get("/v2/orders/{id}", self.get_order)
        app.router.add_post("/v2/orders/{id}/cancel", self.cancel_order)

    def refused(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") != f"Bearer {TOKEN}"

    async def get_products(self, request: web.Request) -> web.StreamResponse:
        if self.refused(request):
            return self.denied()
        start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 10))
        more = start + limit < len(self.products)
        return web.json_response(
            {"data": self.products[start : start + limit], "next": str(start + limit) if more else None}
        )

    async def post_order(self, request: web.Request) -> web.StreamResponse:
        if self.refused(request):
            return self.denied()
        sent = await request.json()
        reference = request.headers["Idempotency-Key"]
        if reference not in self.orders:
            stock = {product["sku"]: product for product in self.products}
            short = [line["sku"] for line in sent["lines"] if stock[line["sku"]]["qty"] < line["quantity"]]
            if short:
                return web.json_response({"code": "OOS", "message": f"none left of {short}"}, status=409)
            for line in sent["lines"]:
                stock[line["sku"]]["qty"] -= line["quantity"]
            self.requests[reference] = sent
            self.orders[reference] = {
                "id": f"N{len(self.orders) + 1}",
                "reference": reference,
                "state": "ACC",
                "at": MOMENT.format(0),
            }
        return web.json_response(self.orders[reference], status=201)

    async def get_orders(self, request: web.Request) -> web.StreamResponse:
        if self.refused(request):
            return self.denied()
        return web.json_response({"data": [o for o in self.orders.values() if o["reference"] == request.query["ref"]]})

    def _order(self, request: web.Request) -> dict[str, Any] | None:
        return next((o for o in self.orders.values() if o["id"] == request.match_info["id"]), None)

    async def get_order(self, request: web.Request) -> web.StreamResponse:
        order = self._order(request)
        return web.json_response(order) if order else web.json_response({"code": "NO"}, status=404)

    async def cancel_order(self, request: web.Request) -> web.StreamResponse:
        order = self._order(request)
        if order is None:
            return web.json_response({"code": "NO"}, status=404)
        order["state"] = "CAN"
        return web.json_response(order)

    def push(self, event_id: str, quantity: int, revision: int) -> Delivery:
        """A signed push: the stock of A-1 as of one moment."""
        record = {"sku": "A-1", "qty": quantity, "rev": revision, "at": MOMENT.format(revision)}
        body = json.dumps({"event_id": event_id, "type": "stock.changed", "data": [record]}).encode()
        return Delivery({"X-Signature": hmac.new(PUSH_SECRET.encode(), body, hashlib.sha256).hexdigest()}, body)
