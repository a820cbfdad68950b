"""A stand-in for a Vendure server, written from answers recorded from Vendure 3.7.3 and from its documentation.

It does not read GraphQL: the operation's name says what is wanted and whole records come back. It keeps the manners
that matter: errors with status 200, a login that answers with an error as data, sessions told by a header, a cart for
each item while the session has none, carts that are no orders, stock that is checked when payment is arranged and
allocated when it is paid (so that it oversells), a counter of the allocated that can lose changes, cancelling of
anything."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from connectors.sandbox_kit import ACTS, Faults, Sandbox
from connectors.vendure.world import PLACED, World, now

Variables = Mapping[str, Any]
_NOT_ASKED = frozenset(
    {"updatedAt", "stockLevels", "trackInventory", "outOfStockThreshold", "useGlobalOutOfStockThreshold"}
)


class _Answered(Exception):
    """The answer is an error of GraphQL."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


class VendureSandbox(Sandbox):
    """A shop with these products (see World.add). `when_paying` is called before each payment is taken: somebody else
    may come first."""

    def __init__(
        self,
        products: Iterable[Mapping[str, Any]],
        faults: Faults | None = None,
        *,
        username: str = "hub-buyer",
        password: str = "sandbox-password-77",  # noqa: S107 - the sandbox's own
        api_key: str = "sandbox-api-key-4242",
        cookies: bool = False,
        most: int = 1000,
    ) -> None:
        super().__init__(faults)
        self.world = World()
        self.username, self.password, self.api_key = username, password, api_key
        self.cookies = cookies
        self.most = most
        self.when_paying: Callable[[], None] = lambda: None
        self.countries = {"CN"}
        self.shipping = [("1", "standard", 800), ("2", "express", 2000)]
        self.payment_methods = ["supplyhub"]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._admins: set[str] = set()
        self._carts: dict[str, str | None] = {}  # session -> code of its order
        for product in products:
            self.world.add(product)

    def credentials(self) -> dict[str, str]:
        """The secrets of a connection to this shop."""
        return {"password": self.password}

    def variant(self, sku: str) -> dict[str, Any]:
        """The variant with this SKU."""
        return next(each for each in self.world.variants.values() if each["sku"] == sku)

    def orders_with(self, number: str) -> list[dict[str, Any]]:
        """Orders that carry this number of ours, carts too."""
        return [o for o in self.world.orders.values() if (o["billingAddress"] or {}).get("company") == number]

    def living(self, number: str) -> int:
        """How many orders with this number the shop would fulfil."""
        return sum(order["state"] in PLACED for order in self.orders_with(number))

    def forget_sessions(self) -> None:
        """Every administrator is logged out."""
        self._admins.clear()

    # Routes ---------------------------------------------------------------------------------------------------

    def routes(self, app: web.Application) -> None:
        """Both APIs."""
        app.router.add_post("/admin-api", self._admin_api)
        app.router.add_post("/shop-api", self._shop_api)

    def denied(self) -> web.Response:
        """Vendure's own words, with status 200."""
        return _failed("You are not currently authorized to perform this action", "FORBIDDEN")

    async def _admin_api(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        name, variables = await self._asked(request)
        if name == "Login":
            return self._login(variables)
        known = request.headers.get("vendure-api-key") == self.api_key or self._session(request) in self._admins
        if not known:
            return self.denied()
        answer: Callable[[Variables], Any] | None = getattr(self, f"_on_{name.lower()}", None)
        if answer is None:
            return _failed(f"Cannot query field {name}", "GRAPHQL_VALIDATION_FAILED", 400)
        try:
            return web.json_response({"data": answer(variables)})
        except _Answered as error:
            return error.response

    async def _shop_api(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        name, variables = await self._asked(request)
        session = self._session(request)
        headers = {}
        if session not in self._carts:
            session = secrets.token_hex(16)
            self._carts[session] = None
            headers = self._opened(session)
        if name == "Pay":
            request[ACTS] = True
            self.when_paying()
        cart = self._carts[session]
        order = self.world.orders[cart] if cart is not None else None
        if order is not None and order["state"] not in ("AddingItems", "ArrangingPayment"):
            order = None
        try:
            return web.json_response({"data": self._shopping(name, variables, session, order)}, headers=headers)
        except _Answered as error:
            return error.response

    async def _asked(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        sent = orjson.loads(await request.read())
        self.asked.append((sent["operationName"], sent["variables"]))
        return sent["operationName"], sent["variables"]

    def _session(self, request: web.Request) -> str:
        cookies = {name: value for name, value in request.cookies.items() if name == "session"}
        if cookies:
            return cookies["session"]
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def _opened(self, session: str) -> dict[str, str]:
        if self.cookies:
            return {"Set-Cookie": f"session={session}; path=/; httponly, session.sig=abc; path=/; httponly"}
        return {"vendure-auth-token": session}

    def _login(self, variables: Variables) -> web.Response:
        if (variables["username"], variables["password"]) != (self.username, self.password):
            said = {
                "__typename": "InvalidCredentialsError",
                "errorCode": "INVALID_CREDENTIALS_ERROR",
                "message": "The provided credentials are invalid",
            }
            return web.json_response({"data": {"login": said}})
        session = secrets.token_hex(16)
        self._admins.add(session)
        return web.json_response({"data": {"login": {"__typename": "CurrentUser"}}}, headers=self._opened(session))

    # The Admin API --------------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {"trackInventory": self.world.tracks, "outOfStockThreshold": self.world.threshold}

    def _on_settings(self, _: Variables) -> Any:
        return {"globalSettings": self._settings()}

    def _on_stock(self, variables: Variables) -> Any:
        return {"productVariants": self._listed(self.world.variants.values(), variables["options"])}

    _on_skus = _on_prices = _on_stock

    def _on_variants(self, variables: Variables) -> Any:
        found = self._on_stock(variables)["productVariants"]
        items = [{name: value for name, value in row.items() if name not in _NOT_ASKED} for row in found["items"]]
        return {"productVariants": {**found, "items": items}}

    def _on_onsale(self, variables: Variables) -> Any:
        return {"globalSettings": self._settings(), **self._on_stock(variables)}

    def _on_products(self, variables: Variables) -> Any:
        return {"products": self._listed(self.world.products.values(), variables["options"])}

    def _on_orders(self, variables: Variables) -> Any:
        orders = [self._shown(order) for order in reversed(self.world.orders.values())]
        return {"orders": self._listed(orders, variables["options"])}

    def _on_order(self, variables: Variables) -> Any:
        return {"globalSettings": self._settings(), **self._on_orders(variables)}

    _on_tracked = _on_orders

    def _on_movements(self, variables: Variables) -> Any:
        variant = self.world.variants.get(variables["id"])
        if variant is None:
            return {"productVariant": None}
        rows = self.world.movements[variant["id"]]
        rows = sorted(rows, key=lambda row: (int(row["id"]) % 3 == 0, int(row["id"])))  # no order to rely on
        part = rows[variables["skip"] : variables["skip"] + variables["take"]]
        return {
            "productVariant": {
                "stockLevels": variant["stockLevels"],
                "stockMovements": {"totalItems": len(rows), "items": part},
            }
        }

    def _on_cancelorder(self, variables: Variables) -> Any:
        order = next((o for o in self.world.orders.values() if o["id"] == variables["input"]["orderId"]), None)
        if order is None:
            raise _Answered(_failed("No Order with this id could be found", "ENTITY_NOT_FOUND"))
        if order["state"] == "Cancelled":
            return {"cancelOrder": _error("ORDER_STATE_TRANSITION_ERROR", 'Cannot transition Order from "Cancelled"')}
        self.world.cancel(order)
        return {"cancelOrder": _order(order)}

    def _listed(self, rows: Iterable[dict[str, Any]], options: Variables) -> Any:
        take = options.get("take", self.most)
        if take > self.most:
            raise _Answered(_failed(f"Cannot take more than {self.most} results", "LIST_QUERY_LIMIT_EXCEEDED"))
        found = [row for row in rows if _fits(row, options.get("filter") or {})]
        skip = 0 if self.faults.repeat_page else options.get("skip", 0)
        part = [] if self.faults.drop_page and skip else found[skip : skip + take]
        return {"totalItems": len(found), "items": part}

    def _shown(self, order: Mapping[str, Any]) -> dict[str, Any]:
        lines = [
            {"id": str(n), "quantity": line["quantity"], "productVariant": self.world.variants[line["variant"]]}
            for n, line in enumerate(order["lines"])
        ]
        return {**order, **order["customFields"], "lines": lines, "history": {"items": order["history"][:10]}}

    # The Shop API ---------------------------------------------------------------------------------------------

    def _shopping(self, name: str, variables: Variables, session: str, order: dict[str, Any] | None) -> Any:
        if name == "FirstItem":
            return {"addItemToOrder": self._added(session, order, variables["variant"], variables["quantity"])}
        if name == "RestOfCart":
            return self._completed(variables, session, order)
        if name == "Quotes":
            return self._quotes(order)
        if name == "Arrange":
            return self._arranged(variables, order)
        if name == "Pay":
            return {"addPaymentToOrder": self._paid(variables["input"], session, order)}
        raise _Answered(_failed(f"Cannot query field {name}", "GRAPHQL_VALIDATION_FAILED", 400))

    def _added(self, session: str, order: dict[str, Any] | None, variant_id: str, quantity: int) -> Any:
        """One item; while the session has no order each makes one of its own."""
        variant = self.world.variants.get(variant_id)
        if variant is None or not variant["enabled"]:
            raise _Answered(_failed(f'No ProductVariant with the id "{variant_id}" could be found', "ENTITY_NOT_FOUND"))
        if order is None:
            order = self.world.new_order()
            self._carts[session] = order["code"]
        there = self.world.saleable(variant)
        if there < quantity:
            said = f"Only {max(0, there)} items were added to the order due to insufficient stock"
            return {**_error("INSUFFICIENT_STOCK_ERROR", said), "quantityAvailable": max(0, there)}
        order["lines"].append({"variant": variant_id, "quantity": quantity})
        return _order(order)

    def _completed(self, variables: Variables, session: str, order: dict[str, Any] | None) -> Any:
        if order is None:
            return {"billing": _error("NO_ACTIVE_ORDER_ERROR", "There is no active Order")}
        if variables["to"]["countryCode"] not in self.countries:
            raise _Answered(_failed("The countryCode was not recognized", "USER_INPUT_ERROR"))
        order["billingAddress"], order["shippingAddress"] = dict(variables["billing"]), dict(variables["to"])
        order["customer"] = dict(variables["customer"])
        made = {"billing": _order(order)}
        if "number" in variables:
            order["customFields"].update(variables["number"]["customFields"])
            made["number"] = _order(order)
        made |= {"customer": _order(order), "to": _order(order)}
        for n in range(1, 100):
            if f"v{n}" not in variables:
                break
            made[f"item{n}"] = self._added(session, order, variables[f"v{n}"], variables[f"q{n}"])
        return made

    def _quotes(self, order: dict[str, Any] | None) -> Any:
        shown = [{"id": i, "code": code, "priceWithTax": price} for i, code, price in self.shipping]
        methods = [{"code": code, "isEligible": True} for code in self.payment_methods]
        return {
            "eligibleShippingMethods": shown if order else [],
            "eligiblePaymentMethods": methods if order else [],
        }

    def _arranged(self, variables: Variables, order: dict[str, Any] | None) -> Any:
        if order is None:
            gone = _error("NO_ACTIVE_ORDER_ERROR", "There is no active Order")
            return {"method": gone, "arranged": gone}
        order["shippingLines"] = list(variables["methods"])
        short = [
            variant["name"]
            for line in order["lines"]
            if self.world.saleable(variant := self.world.variants[line["variant"]]) < line["quantity"]
        ]
        if short:
            said = f"due to insufficient stock of {', '.join(short)}"
            return {
                "method": _order(order),
                "arranged": {**_error("ORDER_STATE_TRANSITION_ERROR", "Cannot transition"), "transitionError": said},
            }
        self.world.move(order, "ArrangingPayment")
        lines = [
            {
                "quantity": line["quantity"],
                "proratedLinePrice": self.world.variants[line["variant"]]["price"] * line["quantity"],
                "proratedLinePriceWithTax": self.world.variants[line["variant"]]["priceWithTax"] * line["quantity"],
                "productVariant": {"id": line["variant"]},
            }
            for line in order["lines"]
        ]
        totals = {
            "subTotal": self.world.total(order, "price"),
            "subTotalWithTax": self.world.total(order, "priceWithTax"),
        }
        return {
            "method": _order(order),
            "arranged": {**_order(order), **totals, "currencyCode": order["currencyCode"], "lines": lines},
        }

    def _paid(self, given: Variables, session: str, order: dict[str, Any] | None) -> Any:
        if order is None:
            return _error("NO_ACTIVE_ORDER_ERROR", "There is no active Order associated with the current session")
        if order["state"] != "ArrangingPayment":
            return _error("ORDER_PAYMENT_STATE_ERROR", "A Payment may only be added in the ArrangingPayment state")
        if self.world.declines:
            order["payments"].append({"state": "Declined", "createdAt": now()})
            return {**_error("PAYMENT_DECLINED_ERROR", "The payment was declined"), "paymentErrorMessage": "no credit"}
        self.world.pay(order, given["method"], given["metadata"])
        self._carts[session] = None
        return _order(order)


def _order(order: Mapping[str, Any]) -> dict[str, Any]:
    return {"__typename": "Order", "id": order["id"], "code": order["code"], "state": order["state"]}


def _error(code: str, message: str) -> dict[str, Any]:
    kind = "".join(part.title() for part in code.split("_"))
    return {"__typename": kind, "errorCode": code, "message": message}


def _failed(message: str, code: str, status: int = 200) -> web.Response:
    errors = [{"message": message, "extensions": {"code": code}}]
    return web.json_response({"errors": errors, "data": None}, status=status)


def _fits(row: Mapping[str, Any], filtered: Variables) -> bool:
    """Whether a row passes a filter: eq, notEq, in, notIn, after."""
    for name, rule in filtered.items():
        value = row["product"]["id"] if name == "productId" else row.get(name)
        for operator, wanted in rule.items():
            if operator == "eq" and value != wanted:
                return False
            if operator == "in" and value not in wanted:
                return False
            if operator == "notIn" and value in wanted:
                return False
            if operator == "after" and not str(value).replace("Z", "+00:00") > str(wanted):
                return False
    return True
