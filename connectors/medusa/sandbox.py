"""A stand-in for a Medusa server, written from answers recorded from Medusa 2.21.2 and from its documentation.

It keeps the manners that matter: amounts in major units, 400 for a wrong publishable key, prices that only the Store
API calculates, carts that are no orders until they are completed, completing that answers 409 while it is under way and
the same order again afterwards, lines that are looked at one by one (so that two of them are promised the same pieces),
orders that keep a cart's metadata, and cancelling that is refused once a parcel is packed."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from connectors.medusa.world import CHANNEL, REGION, Refusal, World
from connectors.sandbox_kit import ACTS, Faults, Sandbox

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Step = Callable[[web.Request, Any], Any]  # request and JSON body -> JSON
_STOCK = ("id", "sku", "manage_inventory", "allow_backorder")


class MedusaSandbox(Sandbox):
    """A shop with these products (see World.add). `busy` completions answer 409; `when_completing` is called before
    each completion: somebody else may come first."""

    def __init__(
        self,
        products: Iterable[Mapping[str, Any]],
        faults: Faults | None = None,
        *,
        secret_key: str = "sk_sandbox_0123456789",  # noqa: S107 - the sandbox's own
        publishable_key: str = "pk_sandbox_9876543210",
        email: str = "buyer@hub.example",
        password: str = "sandbox-password-77",  # noqa: S107 - the sandbox's own
    ) -> None:
        super().__init__(faults)
        self.world = World()
        self.secret_key, self.publishable_key = secret_key, publishable_key
        self.email, self.password = email, password
        self.busy = 0
        self.when_completing: Callable[[], None] = lambda: None
        self.shipping: list[dict[str, Any]] = [
            {"id": "so_slow", "name": "标准快递", "price_type": "flat", "amount": 8},
            {"id": "so_fast", "name": "次日达", "price_type": "flat", "amount": 20},
            {"id": "so_asked", "name": "按重量", "price_type": "calculated", "amount": None},
        ]
        self.providers = {"pp_system_default"}
        self.key_channels = [CHANNEL]
        self.cart_requests: list[dict[str, Any]] = []
        self._tokens: set[str] = set()
        basic = base64.b64encode(f"{secret_key}:".encode()).decode()
        self._basic = f"Basic {basic}"
        for product in products:
            self.world.add(product)

    def credentials(self) -> dict[str, str]:
        """The secrets of a connection to this shop."""
        return {"secret_key": self.secret_key}

    def variant(self, sku: str | None) -> dict[str, Any]:
        """The variant with this SKU."""
        return next(each for each in self.world.variants.values() if each["sku"] == sku)

    def orders_with(self, number: str) -> list[dict[str, Any]]:
        """Orders that carry this number of ours."""
        return [o for o in self.world.orders.values() if o["metadata"].get("supplyhub_po") == number]

    def living(self, number: str) -> int:
        """How many orders with this number the shop would fulfil."""
        return sum(order["status"] != "canceled" for order in self.orders_with(number))

    def forget_tokens(self) -> None:
        """Every login has ended."""
        self._tokens.clear()

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        """The parts of both APIs that the connector uses."""
        app.router.add_post("/auth/user/emailpass", self._answering(self._login))
        admin: list[tuple[str, str, Step]] = [
            ("GET", "regions", self._regions),
            ("GET", "regions/{id}", self._region),
            ("GET", "api-keys", self._api_keys),
            ("GET", "stock-locations", self._stock_locations),
            ("GET", "product-variants", self._variants),
            ("GET", "products", self._products),
            ("GET", "reservations", self._reservations),
            ("GET", "customers", self._customers),
            ("GET", "orders", self._orders),
            ("GET", "orders/{id}", self._order),
            ("POST", "orders/{id}/cancel", self._cancel),
        ]
        store: list[tuple[str, str, Step]] = [
            ("GET", "products", self._store_products),
            ("POST", "carts", self._new_cart),
            ("GET", "carts/{id}", self._cart),
            ("GET", "shipping-options", self._options),
            ("POST", "carts/{id}/shipping-methods", self._shipped_by),
            ("POST", "payment-collections", self._collection),
            ("POST", "payment-collections/{id}/payment-sessions", self._session),
            ("POST", "carts/{id}/complete", self._complete),
            ("DELETE", "carts/{id}/line-items/{line}", self._drop),
        ]
        for method, path, step in admin:
            app.router.add_route(method, f"/admin/{path}", self._answering(step, admin=True))
        for method, path, step in store:
            app.router.add_route(method, f"/store/{path}", self._answering(step, store=True))

    def denied(self) -> web.Response:
        """Medusa's own words."""
        return web.json_response({"message": "Unauthorized"}, status=401)

    def _answering(self, step: Step, *, admin: bool = False, store: bool = False) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            request[ACTS] = False
            if admin and not self._known(request):
                return self.denied()
            try:
                if store:
                    self._check_key(request)
                body = await request.read()
                made = step(request, orjson.loads(body) if body else {})
            except Refusal as error:
                status = {"not_found": 404, "conflict": 409, "unauthorized": 401}.get(error.body["type"], 400)
                return web.json_response(error.body, status=status)
            return web.json_response(made)

        return answer

    def _known(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "")
        return given == self._basic or given.removeprefix("Bearer ") in self._tokens

    def _check_key(self, request: web.Request) -> None:
        given = request.headers.get("x-publishable-api-key")
        if given is None:
            raise Refusal("Publishable API key required in the request header: x-publishable-api-key.", "not_allowed")
        if given != self.publishable_key:
            raise Refusal("A valid publishable key is required to proceed with the request", "not_allowed")

    def _login(self, _: web.Request, sent: dict[str, Any]) -> Any:
        if (sent["email"], sent["password"]) != (self.email, self.password):
            raise Refusal("Invalid email or password", "unauthorized")
        token = secrets.token_hex(16)
        self._tokens.add(token)
        return {"token": token}

    # The Admin API --------------------------------------------------------------------------------------------

    def _region_json(self) -> dict[str, Any]:
        return {"id": REGION, "currency_code": self.world.currency, "countries": [{"iso_2": "cn"}]}

    def _regions(self, _: web.Request, __: Any) -> Any:
        return {"regions": [self._region_json()], "count": 1}

    def _region(self, request: web.Request, _: Any) -> Any:
        if request.match_info["id"] != REGION:
            raise Refusal("Region not found", "not_found")
        return {"region": self._region_json()}

    def _api_keys(self, request: web.Request, _: Any) -> Any:
        key = {"id": "apk_1", "token": self.publishable_key, "sales_channels": [{"id": i} for i in self.key_channels]}
        found = [key] if request.query.get("token") == self.publishable_key else []
        return {"api_keys": found, "count": len(found)}

    def _stock_locations(self, request: web.Request, _: Any) -> Any:
        return self._paged(request, "stock_locations", [{"id": place} for place in self.world.locations])

    def _variants(self, request: web.Request, _: Any) -> Any:
        query = request.query
        rows = sorted(self.world.variants.values(), key=lambda variant: str(variant["id"]))
        rows = [v for v in rows if v["sku"] in query.getall("sku[]")] if "sku[]" in query else rows
        rows = [v for v in rows if v["id"] in query.getall("id[]")] if "id[]" in query else rows
        rows = self._changed(request, rows)
        if "inventory_items" in query.get("fields", ""):
            shown = [
                {
                    **{name: v[name] for name in _STOCK},
                    "inventory_items": self.world.inventory_of(v["id"]),
                    "product": {"id": v["product_id"], "status": v["product"]["status"]},
                }
                for v in rows
            ]
        else:
            shown = [
                {
                    **{k: x for k, x in v.items() if k != "updated_at"},
                    "product": {k: x for k, x in v["product"].items() if k != "updated_at"},
                }
                for v in rows
            ]
        return self._paged(request, "variants", shown)

    def _products(self, request: web.Request, _: Any) -> Any:
        rows = [
            {"id": p["id"], "variants": [{"id": v["id"]} for v in self.world.variants.values() if v["product"] is p]}
            for p in self._changed(request, list(self.world.products.values()))
        ]
        return self._paged(request, "products", rows)

    @staticmethod
    def _changed(request: web.Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        since = request.query.get("updated_at[$gte]")
        return [r for r in rows if r["updated_at"].replace("Z", "+00:00") >= since] if since else rows

    def _reservations(self, request: web.Request, _: Any) -> Any:
        wanted = request.query.getall("inventory_item_id[]")
        rows = [r for r in self.world.reservations.values() if r["inventory_item_id"] in wanted]
        return self._paged(request, "reservations", rows)

    def _customers(self, request: web.Request, _: Any) -> Any:
        email = request.query["email"]
        carts = [cart for cart in self.world.carts.values() if cart["email"] == email]
        shown = [{name: cart[name] for name in ("id", "completed_at", "metadata")} for cart in carts]
        rows = [{"id": f"cus_{email}", "carts": shown}] if carts else []
        return {"customers": rows, "count": len(rows)}

    def _orders(self, request: web.Request, _: Any) -> Any:
        query = request.query
        rows = list(reversed(self.world.orders.values()))
        rows = [o for o in rows if query["q"].lower() in o["email"].lower()] if "q" in query else rows
        since = query.get("created_at[$gte]")
        rows = [o for o in rows if o["created_at"].replace("Z", "+00:00") >= since] if since else rows
        return self._paged(request, "orders", rows)

    def _order(self, request: web.Request, _: Any) -> Any:
        return {"order": self._known_order(request)}

    def _cancel(self, request: web.Request, _: Any) -> Any:
        order = self._known_order(request)
        self.world.cancel(order)
        return {"order": order}

    def _known_order(self, request: web.Request) -> dict[str, Any]:
        order = self.world.orders.get(request.match_info["id"])
        if order is None:
            raise Refusal(f"Order id not found: {request.match_info['id']}", "not_found")
        return order

    def _paged(self, request: web.Request, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        limit = int(request.query.get("limit", "50"))
        offset = 0 if self.faults.repeat_page else int(request.query.get("offset", "0"))
        part = [] if self.faults.drop_page and offset else rows[offset : offset + limit]
        return {name: part, "count": len(rows), "offset": offset, "limit": limit}

    # The Store API --------------------------------------------------------------------------------------------

    def _store_products(self, request: web.Request, _: Any) -> Any:
        wanted = request.query.getall("id[]")
        world = self.world
        found = [
            {"id": p["id"], "variants": [self._priced(v) for v in world.variants.values() if v["product"] is p]}
            for p in world.products.values()
            if p["id"] in wanted and p["status"] == "published" and p["id"] not in world.hidden
        ]
        return {"products": found, "count": len(found)}

    def _priced(self, variant: Mapping[str, Any]) -> dict[str, Any]:
        price = self.world.price(variant["id"])
        if price is None:
            return {"id": variant["id"], "calculated_price": {}}
        said = {
            "calculated_amount": price,
            "original_amount": variant["prices"][0]["amount"],
            "currency_code": self.world.currency,
            "calculated_amount_with_tax": price,
            "calculated_amount_without_tax": price / (1 + self.world.tax / 100),
        }
        return {"id": variant["id"], "calculated_price": said}

    def _new_cart(self, _: web.Request, sent: dict[str, Any]) -> Any:
        self.cart_requests.append(sent)
        return {"cart": self.world.new_cart(sent)}

    def _known_cart(self, cart_id: str) -> dict[str, Any]:
        cart = self.world.carts.get(cart_id)
        if cart is None:
            raise Refusal(f"Cart id not found: {cart_id}", "not_found")
        return cart

    def _cart(self, request: web.Request, _: Any) -> Any:
        return {"cart": self._known_cart(request.match_info["id"])}

    def _options(self, request: web.Request, _: Any) -> Any:
        self._known_cart(request.query["cart_id"])
        return {"shipping_options": self.shipping}

    def _shipped_by(self, request: web.Request, sent: dict[str, Any]) -> Any:
        cart = self._known_cart(request.match_info["id"])
        if sent["option_id"] not in {option["id"] for option in self.shipping}:
            raise Refusal("Shipping Options are invalid for cart.")
        cart["shipping"] = sent["option_id"]
        return {"cart": {"id": cart["id"]}}

    def _collection(self, _: web.Request, sent: dict[str, Any]) -> Any:
        return {"payment_collection": {"id": self._known_cart(sent["cart_id"])["id"].replace("cart", "pay_col")}}

    def _session(self, request: web.Request, sent: dict[str, Any]) -> Any:
        if sent["provider_id"] not in self.providers:
            raise Refusal(f"Payment provider {sent['provider_id']} is not enabled in the cart's region {REGION}.")
        cart = self._known_cart(request.match_info["id"].replace("pay_col", "cart"))
        cart["session"] = sent["provider_id"]
        return {"payment_collection": {"id": request.match_info["id"]}}

    def _complete(self, request: web.Request, _: Any) -> Any:
        request[ACTS] = True
        cart = self._known_cart(request.match_info["id"])
        if self.busy > 0:
            self.busy -= 1
            raise Refusal("Cart is already being completed by another request", "conflict")
        self.when_completing()
        order = self.world.complete(cart)
        return {"type": "order", "order": {"id": order["id"], "status": order["status"]}}

    def _drop(self, request: web.Request, _: Any) -> Any:
        cart = self._known_cart(request.match_info["id"])
        if cart["completed_at"]:
            raise Refusal(f"Cart {cart['id']} is already completed.")
        cart["items"] = [item for item in cart["items"] if item["id"] != request.match_info["line"]]
        return {"deleted": True}
