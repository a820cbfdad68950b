"""What each answer recorded from a Medusa server must come out as. An answer is replayed to a connector object in place
of the server; where one needs others beside it, they are taken from the same folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.contracts import Page, Receipt, ReceiptStatus, ShipmentStatus
from connectors.kit import FixtureCheck, example_order
from connectors.medusa.adapter import Adapter, listed_price
from connectors.medusa.talking import objects
from hub.kernel.errors import HubError, Misconfigured

_HOME = manifest.HOME / "medusa"
_KEY = "po_0190a5c2f00070008000000000000021"
_ORDER = example_order(_KEY, [("REC-LAST", 1, "5.00")])
_CHANNEL_KEY = "pk_" + "0" * 64
_NONE: Mapping[str, Any] = {"orders": [], "customers": [], "count": 0}
_OPEN: Mapping[str, Any] = {"cart": {"id": "cart_x", "completed_at": None, "items": [{"id": "cali_x"}]}}
_MARKET = {"GET regions": "regions", "GET api-keys": "api_keys", "GET stock-locations": "stock_locations"}
# What answers each step of an order, by method and the last word of the path that is no id.
_STEPS = {
    **_MARKET,
    "GET product-variants": "order_variant",
    "POST carts": "cart",
    "GET shipping-options": "shipping_options",
    "POST shipping-methods": "shipping_method",
    "POST payment-collections": "payment_collection",
    "POST payment-sessions": "payment_session",
    "POST complete": "completed",
    "GET orders/": "order",
    "GET reservations": "reservations",
    "POST cancel": "canceled",
}


def _recorded(name: str) -> Any:
    return orjson.loads((_HOME / "fixtures" / f"{name}.json").read_bytes())


def _replaying(steps: Mapping[str, Any], *, password: str = "", **config: Any) -> Adapter:
    """A connector object for a server that answers each step with a fixture (by name), or with what is given."""

    def server(request: httpx.Request) -> httpx.Response:
        said = steps[_step(request)]
        if isinstance(said, str):
            said = _recorded(said)
        if "response" in said:
            response = said["response"]
            return httpx.Response(response["status"], headers=response["headers"], content=response["body"].encode())
        return httpx.Response(200, json=said)

    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    settings = {"base_url": "https://medusa.test", "publishable_key": _CHANNEL_KEY, "page_size": 50, **config}
    secrets = {"password": SecretStr(password)} if password else {"secret_key": SecretStr("replayed-key-1")}
    made = base.build(Path(_HOME), settings, secrets, http, connection_id=f"fixture-{id(http)}")
    assert isinstance(made, Adapter)
    return made


def _step(request: httpx.Request) -> str:
    parts = request.url.path.strip("/").split("/")
    last = parts[-1]
    return f"{request.method} {parts[-2]}/" if "_" in last or last.isdigit() else f"{request.method} {last}"


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


async def _variants(_: AnyAdapter, raw: bytes) -> None:
    steps = {**_MARKET, "GET product-variants": orjson.loads(raw), "GET products": "store_products"}
    [page] = [page async for page in _replaying(steps).pull(None)]
    found = {listing.vendor_sku: listing for listing in page.listings}
    _is((page.complete, page.drift, [bad.vendor_sku for bad in page.bad]), (True, (), ["USDONLY-1"]))
    mask = found["N95-20"]
    _is((mask.title, mask.title_en, mask.brand, mask.gtin), ("N95口罩 20只", "N95 20", "3M", "06901234567892"))
    _is((mask.price, mask.currency, mask.attributes), (Decimal("59.9"), "CNY", {"规格": "20只"}))
    _is((mask.category, mask.description, mask.active), ("口罩类", "说明", True))
    _is((found["SALE-1"].price, found["REC-RULE"].price), (Decimal(80), Decimal(18)))  # a price list, a region's price
    _is((found["DRAFT-1"].active, found["ELSE-1"].active), (False, False))  # a draft; in no sales channel


async def _listed_prices(_: AnyAdapter, raw: bytes) -> None:
    """Without a publishable key the variants' own prices count: those of the region, never those for a quantity."""
    market = await _replaying(_MARKET).market()
    rows = {row["sku"]: row for row in orjson.loads(_recorded("variants")["response"]["body"])["variants"]}
    prices = {sku: listed_price(rows[sku], market) for sku in ("REC-RULE", "SALE-1", "USDONLY-1")}
    _is(prices, {"REC-RULE": Decimal(18), "SALE-1": Decimal(100), "USDONLY-1": None})
    sold = {v["id"] for p in orjson.loads(orjson.loads(raw)["response"]["body"])["products"] for v in p["variants"]}
    assert rows["SALE-1"]["id"] in sold and rows["DRAFT-1"]["id"] not in sold


async def _stock(_: AnyAdapter, raw: bytes) -> None:
    pages: list[Page] = [
        page async for page in _replaying({**_MARKET, "GET product-variants": orjson.loads(raw)}).pull_stock(None)
    ]
    figures = {
        (f.vendor_sku, f.location[-4:]): f.on_hand if f.level is None else str(f.level) for f in pages[0].unchanged
    }
    _is((figures["N95-20", "8R63"], figures["N95-20", "71B7"]), (0, 3))  # 12 reserved of 10: nothing, not less
    assert not any(place == "SCGY" for _, place in figures), "a location of another channel"
    _is((figures["REC-UNT", ""], figures["REC-BACK", "8R63"]), ("in_stock", 1))
    _is((figures["SET-1", ""], figures["T-15", ""]), ("in_stock", "in_stock"))  # they share pieces: no count is honest


async def _market(_: AnyAdapter, _raw: bytes) -> None:
    market = await _replaying(_MARKET).market()
    _is((market.currency, len(market.locations or ())), ("CNY", 2))
    assert market.region_id.startswith("reg_") and (market.sales_channel_id or "").startswith("sc_")


def _fails(kind: type[HubError], says: str, step: str, **config: Any) -> FixtureCheck:
    """This answer to the connection's first question is such an error."""

    async def check(_: AnyAdapter, raw: bytes) -> None:
        adapter = _replaying({**_MARKET, step: orjson.loads(raw)}, **config)
        ask = adapter.shop_gets("/store/products") if step == "GET products" else adapter.market()
        try:
            await ask
        except kind as error:
            assert says in str(error), f"{error} does not say {says}"
            return
        raise AssertionError(f"{kind.__name__} was due")

    return check


async def _place(**steps: Any) -> Receipt:
    quiet = {"GET orders": _NONE, "GET customers": _NONE, "GET carts/": _OPEN, "GET product-variants": _with_piece()}
    adapter = _replaying({**_STEPS, **quiet, **steps})
    return await adapter.place(_ORDER, key=_KEY)


async def _accepted(_: AnyAdapter, _raw: bytes) -> None:
    """Every step as it was recorded: the last piece was ours, and nothing of it is left."""
    receipt = await _place()
    _is((receipt.status, receipt.raw_status), (ReceiptStatus.ACCEPTED, "pending"))
    assert (receipt.vendor_order_no or "").startswith("order_")


def _refused(step: str, short: bool, says: str) -> FixtureCheck:
    async def check(_: AnyAdapter, raw: bytes) -> None:
        receipt = await _place(**{step: orjson.loads(raw)}, **{"DELETE line-items/": {"deleted": True}})
        _is((receipt.status, receipt.out_of_stock), (ReceiptStatus.REFUSED, short))
        assert says in (receipt.reason or ""), receipt.reason

    return check


async def _before(_: AnyAdapter, raw: bytes) -> None:
    """The variant as it stood before the order, with its piece; the recording is of after."""
    body = orjson.loads(orjson.loads(raw)["response"]["body"])
    [item] = body["variants"][0]["inventory_items"]
    [level] = item["inventory"]["location_levels"]
    _is((level["stocked_quantity"], level["reserved_quantity"]), (1, 1))
    receipt = await _place(**{"GET product-variants": body})
    _is((receipt.out_of_stock_skus, receipt.status), (("REC-LAST",), ReceiptStatus.REFUSED))


async def _oversold(_: AnyAdapter, _raw: bytes) -> None:
    """The recorded shop promised two lines of eight each out of thirteen: the order is cancelled and refused."""
    steps = {
        "GET orders/": "order_oversold",
        "GET product-variants": "oversold_variant",
        "GET reservations": "oversold_reservations",
        "POST cancel": "canceled",
    }
    receipt = await _replaying({**_STEPS, **steps})._settled("order_x")
    _is((receipt.status, receipt.out_of_stock_skus), (ReceiptStatus.REFUSED, ("T-13",)))


async def _found(_: AnyAdapter, raw: bytes) -> None:
    adapter = _replaying({**_STEPS, "GET orders": orjson.loads(raw)})
    receipt = await adapter.find(_KEY)
    assert receipt is not None
    _is((receipt.status, receipt.raw_status), (ReceiptStatus.ACCEPTED, "pending"))


async def _open_cart(_: AnyAdapter, raw: bytes) -> None:
    [cart] = await _replaying({"GET customers": orjson.loads(raw)})._carts_with(_KEY)
    assert cart.startswith("cart_"), cart
    _is(await _replaying({"GET customers": orjson.loads(raw)})._carts_with(_KEY + "0"), [])


def _cancels(accepted: bool, order: str) -> FixtureCheck:
    async def check(_: AnyAdapter, raw: bytes) -> None:
        adapter = _replaying({**_STEPS, "GET orders/": order, "POST cancel": orjson.loads(raw)})
        receipt = await adapter.cancel("order_x", _ORDER)
        _is(receipt.status is ReceiptStatus.ACCEPTED, accepted)

    return check


async def _canceled(_: AnyAdapter, raw: bytes) -> None:
    adapter = _replaying({"GET orders/": orjson.loads(raw)})
    [update] = await adapter.track("order_x")
    _is((update.status, update.po_number), (ShipmentStatus.CANCELLED, "po_0190a5c2f00070008000000000000023"))
    _is((await adapter._settled("order_x")).status, ReceiptStatus.REFUSED)


async def _parcels(_: AnyAdapter, raw: bytes) -> None:
    """Two labels of one fulfillment; the other one was cancelled."""
    updates = await _replaying({"GET orders/": orjson.loads(raw)}).track("order_x")
    _is([(u.tracking_no, u.status) for u in updates], [(n, ShipmentStatus.DELIVERED) for n in ("SF1", "SF2")])


async def _unknown(_: AnyAdapter, raw: bytes) -> None:
    _is(await _replaying({"GET orders/": orjson.loads(raw)}).track("4711"), ())


def _shipping(adapter: AnyAdapter, raw: bytes) -> None:
    assert isinstance(adapter, Adapter)
    offered = objects(orjson.loads(orjson.loads(raw)["response"]["body"])["shipping_options"])
    _is(adapter._shipping(offered), min(offered, key=lambda option: option["amount"])["id"])


async def _provider(_: AnyAdapter, raw: bytes) -> None:
    try:
        await _place(**{"POST payment-sessions": orjson.loads(raw)})
    except Misconfigured as error:
        assert "pp_" in str(error)
        return
    raise AssertionError("Misconfigured was due")


def _with_piece() -> Any:
    body = orjson.loads(_recorded("order_variant")["response"]["body"])
    for item in body["variants"][0]["inventory_items"]:
        for level in item["inventory"]["location_levels"]:
            level["reserved_quantity"] = 0
    return body


CHECKS: dict[str, Callable[[AnyAdapter, bytes], Awaitable[None] | None]] = {
    "regions.json": _market,
    "api_keys.json": _market,
    "stock_locations.json": _market,
    "variants.json": _variants,
    "store_products.json": _listed_prices,
    "stock.json": _stock,
    "unauthorized.json": _fails(Misconfigured, "401", "GET regions"),
    "login_refused.json": _fails(
        Misconfigured, "Invalid email or password", "POST emailpass", email="somebody@example.com", password="x" * 8
    ),
    "publishable_missing.json": _fails(Misconfigured, "Publishable API key", "GET products"),
    "publishable_wrong.json": _fails(Misconfigured, "publishable key", "GET products"),
    "cart.json": _accepted,
    "cart_short.json": _refused("POST carts", True, "required inventory"),
    "cart_no_price.json": _refused("POST carts", False, "do not have a price"),
    "shipping_options.json": _shipping,
    "shipping_method.json": _accepted,
    "payment_collection.json": _accepted,
    "payment_session.json": _accepted,
    "provider_unknown.json": _provider,
    "completed.json": _accepted,
    "complete_short.json": _refused("POST complete", False, "Not enough stock"),
    "order.json": _accepted,
    "order_variant.json": _before,
    "reservations.json": _accepted,
    "orders_found.json": _found,
    "customers_open_cart.json": _open_cart,
    "order_oversold.json": _oversold,
    "oversold_variant.json": _oversold,
    "oversold_reservations.json": _oversold,
    "canceled.json": _cancels(True, "order_oversold"),
    "canceled_again.json": _cancels(False, "order_oversold"),
    "order_canceled.json": _canceled,
    "order_parcels.json": _parcels,
    "cancel_refused.json": _cancels(False, "order_parcels"),
    "order_unknown.json": _unknown,
}
