"""A stand-in for Kroger's public Products API, written from its OpenAPI description: tokens that end, searches by term
whose order may change with every call, and no list of everything."""

from __future__ import annotations

import base64
import random
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import ACTS, Faults, Sandbox

CLIENT_ID = "sandbox-client-id"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - the sandbox's own
PLACE = "01400943"


def product(n: int, **changed: Any) -> dict[str, Any]:
    """A product with one item, as the Products API shows it."""
    number = f"00011110{n:05d}"
    milk = n % 2 == 0
    stock = ("HIGH", "LOW", "TEMPORARILY_OUT_OF_STOCK")[n % 3]
    made = {
        "productId": number,
        "upc": number,
        "productPageURI": f"/p/product-{n}/{number}?cid=dis.api.tpi_products-api_20240521_b:all_c:p_t:",
        "aliasProductIds": [],
        "brand": "Kroger" if n % 5 else "Simple Truth",
        "categories": ["Dairy" if milk else "Bakery"],
        "countryOrigin": "United States",
        "description": f"Kroger® {'Milk' if milk else 'Bread'} {n}",
        "images": [
            {"perspective": "back", "sizes": [{"size": "large", "url": f"https://img.example/back/{number}"}]},
            {
                "perspective": "front",
                "default": True,
                "sizes": [
                    {"size": "small", "url": f"https://img.example/small/{number}"},
                    {"size": "large", "url": f"https://img.example/large/{number}"},
                ],
            },
        ],
        "items": [
            {
                "itemId": number,
                "inventory": {"stockLevel": stock},
                "favorite": False,
                "fulfillment": {"curbside": True, "delivery": False, "instore": True, "shiptohome": False},
                "price": {"regular": round(1.99 + n, 2), "promo": round(1.49 + n, 2) if n % 4 == 0 else 0},
                "size": "1 gal",
                "soldBy": "UNIT",
            }
        ],
        "temperature": {"indicator": "Refrigerated", "heatSensitive": False},
    }
    return {**made, **changed}


class KrogerSandbox(Sandbox):
    """One store."""

    def __init__(self, faults: Faults | None = None, *, products: list[dict[str, Any]] | None = None) -> None:
        super().__init__(faults)
        self.products = products if products is not None else [product(n) for n in range(1, 36)]
        self.shuffles = False  # every answer to a term has another order
        self.total: int | None = None  # what is announced instead of the truth
        self.says_total = True
        self.at_most = 10_000  # products of one answer to ids
        self.tokens: set[str] = set()
        self.asked: list[dict[str, str]] = []
        self._chance = random.Random(7)

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/connect/oauth2/token", self._token)
        app.router.add_get("/v1/products", self._products)

    def denied(self) -> web.Response:
        said = {"error": "invalid_token", "error_description": "The access token is invalid or has expired"}
        return web.json_response({"errors": said}, status=401)

    def expire(self) -> None:
        """All tokens end now."""
        self.tokens.clear()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        wanted = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form = await request.post()
        if request.headers.get("Authorization") != wanted:
            said = {"error": "unauthorized", "error_description": "invalid credentials"}
            return web.json_response(said, status=401)
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if form.get("scope") != "product.compact":
            return web.json_response({"error": "invalid_scope", "error_description": "invalid scope"}, status=400)
        token = f"kroger-token-{self._chance.random()}"
        self.tokens.add(token)
        return web.json_response({"expires_in": 1800, "access_token": token, "token_type": "bearer"})

    async def _products(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self.denied()
        query = dict(request.query)
        self.asked.append(query)
        wrong = self._wrong(query)
        if wrong is not None:
            return web.json_response({"errors": {"code": "PRODUCT-2011-400", "reason": wrong}}, status=400)
        limit, start = int(query.get("filter.limit", 10)), int(query.get("filter.start", 0))
        if "filter.productId" in query:
            ids = query["filter.productId"].split(",")
            found = [p for p in self.products if p["productId"] in ids or set(p["aliasProductIds"]) & set(ids)]
            return self._page(found[: min(limit, self.at_most)], len(found), 0, limit)
        found = [p for p in self.products if query["filter.term"].lower() in p["description"].lower()]
        if "filter.brand" in query:
            found = [p for p in found if p["brand"] in query["filter.brand"].split("|")]
        if self.shuffles:
            self._chance.shuffle(found)
        shift = 0 if self.faults.repeat_page else start
        return self._page(found[shift : shift + limit], len(found), start, limit)

    def _wrong(self, query: dict[str, str]) -> str | None:
        if len(query.get("filter.locationId", "")) != 8:
            return "Field 'locationId' must have a length of 8 characters"
        if not 1 <= int(query.get("filter.limit", 10)) <= 50:
            return "Field 'limit' must be a number between 1 and 50 (inclusive)"
        if "filter.start" in query and not 1 <= int(query["filter.start"]) <= 250:
            return "Field 'start' must be a number between 1 and 250 (inclusive)"
        if "filter.productId" not in query and len(query.get("filter.term", "")) < 3:
            return "Field 'term' must have a length of at least 3"
        return None

    def _page(self, rows: list[dict[str, Any]], total: int, start: int, limit: int) -> web.Response:
        pagination = {"start": start, "limit": limit, "total": total if self.total is None else self.total}
        return web.json_response({"data": rows, "meta": {"pagination": pagination} if self.says_total else {}})
