"""A vendor with an ordinary REST interface, in the manners that such interfaces have: six ways to say who calls, five
ways to turn pages, answers in JSON and JSON lines, stock apart, orders and signed pushes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiohttp import web

from connectors.sandbox_kit import ACTS, Delivery, Faults, Sandbox

TOKEN = "sandbox-token-1234"  # noqa: S105 - the sandbox's own
PUSH_SECRET = "sandbox-push-5678"  # noqa: S105 - the sandbox's own
MOMENT = "2026-11-22T07:{:02d}:{:02d}+00:00"
Way = Literal["bearer", "basic", "header", "query", "token", "signed", "open"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestSandbox(Sandbox):
    """Thirty products (or `products`), their stock in two warehouses, and an order book. `way` is how calls must say
    who they are; `total` False keeps back how many rows there are."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        way: Way = "bearer",
        total: bool = True,
        products: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(faults)
        self.way = way
        self.total = total
        self.products = products if products is not None else [_product(n) for n in range(1, 31)]
        self.orders: dict[str, dict[str, Any]] = {}  # by our reference
        self.requests: dict[str, Any] = {}
        self.issued: list[str] = []  # tokens, newest last
        self.asked: list[dict[str, str]] = []  # queries of the product lists
        self.known_filters = True  # False: unknown query parameters of the order list are ignored

    def routes(self, app: web.Application) -> None:
        for path, handler in (
            ("/v1/products", self._by_page),
            ("/v1/by-offset", self._by_offset),
            ("/v1/by-cursor", self._by_cursor),
            ("/v1/by-link", self._by_link),
            ("/v1/export.jsonl", self._export),
            ("/v1/stock", self._stock),
            ("/v1/orders", self._orders),
            ("/v1/orders/{id}", self._order),
        ):
            app.router.add_get(path, self._for_ours(handler))
        app.router.add_post("/oauth/token", self._token)
        app.router.add_post("/v1/search", self._for_ours(self._search))
        app.router.add_post("/v1/orders", self._for_ours(self._take))
        app.router.add_post("/v1/orders/{id}/cancel", self._for_ours(self._cancel))

    # Who calls ------------------------------------------------------------------------------------------------

    def _for_ours(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not await self._allowed(request):
                request[ACTS] = False
                return self.denied()
            return await handler(request)

        return guarded

    async def _allowed(self, request: web.Request) -> bool:
        said = request.headers.get("Authorization", "")
        if self.way == "bearer":
            return said == f"Bearer {TOKEN}"
        if self.way == "basic":
            return said == "Basic " + base64.b64encode(f"shop:{TOKEN}".encode()).decode()
        if self.way == "header":
            return request.headers.get("X-Api-Key") == TOKEN
        if self.way == "query":
            return request.query.get("api_key") == TOKEN
        if self.way == "token":
            return bool(self.issued) and said == f"Bearer {self.issued[-1]}"
        if self.way == "signed":
            return await self._signed(request)
        return True

    async def _signed(self, request: web.Request) -> bool:
        """MD5 over the sorted query and the secret behind it, in capitals, as many Chinese platforms want it."""
        given = dict(request.query)
        sign = given.pop("sign", "")
        text = "&".join(f"{name}={value}" for name, value in sorted(given.items())) + TOKEN
        wanted = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
        return "timestamp" in given and hmac.compare_digest(sign, wanted)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        form = await request.post()
        good = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": TOKEN}
        if {name: form.get(name) for name in good} != good:
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued.append(uuid.uuid4().hex)
        return web.json_response({"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": 3600})

    # Lists ----------------------------------------------------------------------------------------------------

    def _wanted(self, request: web.Request) -> list[dict[str, Any]]:
        self.asked.append(dict(request.query))
        since = request.query.get("updated_after")
        return [p for p in self.products if since is None or p["updated_at"] >= since]

    async def _by_page(self, request: web.Request) -> web.StreamResponse:
        page, size = int(request.query.get("page", 1)), int(request.query.get("size", 10))
        wanted = self._wanted(request)
        if self.faults.repeat_page:
            page = 1
        body: dict[str, Any] = {"items": wanted[(page - 1) * size : page * size]}
        if page == self.faults.drop_page:
            body["items"] = []
        return web.json_response({**body, "total": len(wanted)} if self.total else body)

    async def _by_offset(self, request: web.Request) -> web.StreamResponse:
        start, size = int(request.query.get("offset", 0)), int(request.query.get("limit", 10))
        wanted = self._wanted(request)
        return web.json_response(wanted[start : start + size], headers={"X-Total-Count": str(len(wanted))})

    async def _by_cursor(self, request: web.Request) -> web.StreamResponse:
        start, wanted = int(request.query.get("after", 0)), self._wanted(request)
        more = start + 10 < len(wanted)
        return web.json_response({"data": wanted[start : start + 10], "next": str(start + 10) if more else None})

    async def _by_link(self, request: web.Request) -> web.StreamResponse:
        start, wanted = int(request.query.get("from", 0)), self._wanted(request)
        following = f"{self.base_url}/v1/by-link?from={start + 10}"
        headers = {"Link": f'<{following}>; rel="next"'} if start + 10 < len(wanted) else {}
        return web.json_response(wanted[start : start + 10], headers=headers)

    async def _search(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        said = await request.json()
        page, size = int(said["pageNo"]), int(said["pageSize"])
        rows = self.products[(page - 1) * size : page * size]
        if self.faults.drop_page == page:
            return web.json_response({"code": 500, "msg": "busy", "result": None})
        return web.json_response({"code": 0, "msg": "ok", "result": {"rows": rows, "count": len(self.products)}})

    async def _export(self, request: web.Request) -> web.StreamResponse:
        lines = "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in self._wanted(request))
        return web.Response(body=lines.encode(), content_type="application/x-ndjson")

    async def _stock(self, request: web.Request) -> web.StreamResponse:
        start, size = int(request.query.get("offset", 0)), int(request.query.get("limit", 20))
        rows = [
            {"sku": p["sku"], "warehouse": place, "qty": p["stock"] if place == "SH" else 1, "at": p["updated_at"]}
            for p in self.products
            for place in ("SH", "BJ")
        ]
        return web.json_response({"rows": rows[start : start + size], "total": len(rows)})

    # Orders ---------------------------------------------------------------------------------------------------

    async def _take(self, request: web.Request) -> web.StreamResponse:
        said = await request.json()
        reference = str(said["reference"])
        if reference not in self.orders:
            stock = {product["sku"]: product for product in self.products}
            short = [line["sku"] for line in said["items"] if stock[line["sku"]]["stock"] < line["quantity"]]
            if short:
                return web.json_response({"error": {"code": "NO_STOCK", "text": f"none left of {short}"}}, status=422)
            for line in said["items"]:
                stock[line["sku"]]["stock"] -= line["quantity"]
            self.requests[reference] = said
            number = f"N{len(self.orders) + 1}"
            self.orders[reference] = {
                "id": number, "reference": reference, "state": "accepted", "at": MOMENT.format(30, 0), "parcel": None,
            }  # fmt: skip
        return web.json_response(self.orders[reference], status=201)

    async def _orders(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("reference") if self.known_filters else None
        return web.json_response({"orders": [o for o in self.orders.values() if wanted in (None, o["reference"])]})

    def _of(self, request: web.Request) -> dict[str, Any] | None:
        return next((o for o in self.orders.values() if o["id"] == request.match_info["id"]), None)

    async def _order(self, request: web.Request) -> web.StreamResponse:
        order = self._of(request)
        return web.json_response(order) if order else web.json_response({"error": {"code": "NONE"}}, status=404)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        order = self._of(request)
        if order is None:
            return web.json_response({"error": {"code": "NONE"}}, status=404)
        order["state"] = "cancelled"
        return web.json_response(order)

    def push(self, event_id: str, quantity: int, minute: int) -> Delivery:
        """A signed push: the stock of R-1 as of one moment."""
        record = {"sku": "R-1", "warehouse": "SH", "qty": quantity, "at": MOMENT.format(40 + minute, 0)}
        body = json.dumps({"id": event_id, "event": "stock.changed", "rows": [record]}).encode()
        digest = hmac.new(PUSH_SECRET.encode(), body, hashlib.sha256).digest()
        return Delivery({"X-Signature": base64.b64encode(digest).decode()}, body)


def _product(n: int) -> dict[str, Any]:
    return {
        "id": 9_007_199_254_740_993 + n,  # beyond what a double can hold
        "sku": f"R-{n}",
        "name": f"示例商品 {n}",
        "brand": {"name": "示例"},
        "price_fen": 1000 + 90 * n,
        "stock": n,
        "available": True,
        "updated_at": MOMENT.format(n % 20, n),
        "seo": {"words": ["a"]},
    }
