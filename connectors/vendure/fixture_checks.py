"""What each answer recorded from a Vendure server must come out as. An answer is replayed to a connector object in
place of the server; where one needs others beside it, they are taken from the same folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
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
from connectors.vendure import documents
from connectors.vendure.adapter import Adapter
from connectors.vendure.refusals import No
from hub.kernel.errors import HubError, Misconfigured, Retry

_HOME = manifest.HOME / "vendure"
_ORDER = example_order("po_0190a5c2f00070008000000000000011", [("LAST-1", 1, "5.00")])


def _recorded(name: str) -> Any:
    return orjson.loads((_HOME / "fixtures" / name).read_bytes())


def _replaying(answers: Mapping[str, Any], **config: Any) -> Adapter:
    """A connector object for a server that gives these answers, by the operation's name."""

    def server(request: httpx.Request) -> httpx.Response:
        operation = orjson.loads(request.content)["operationName"]
        said = answers[operation]
        if "response" in said:
            headers, response = said["response"]["headers"], said["response"]
            return httpx.Response(response["status"], headers=headers, content=response["body"].encode())
        return httpx.Response(200, json=said)

    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    settings = {"base_url": "https://vendure.test", **config}
    secrets = {"api_key": SecretStr("replayed-key-1")}
    made = base.build(Path(_HOME), settings, secrets, http, connection_id=f"fixture-{id(http)}")
    assert isinstance(made, Adapter)
    return made


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


async def _fails(work: Awaitable[Any], kind: type[HubError], says: str) -> None:
    try:
        await work
    except kind as error:
        assert says in str(error), f"{error} does not say {says}"
        return
    raise AssertionError(f"{kind.__name__} was due")


async def _variants(_: AnyAdapter, raw: bytes) -> None:
    answers = {"Variants": orjson.loads(raw), "Skus": _recorded("skus_shared.json")}
    adapter = _replaying(answers, page_size=7, variant_fields={"gtin": "gtin"})
    rows = orjson.loads(answers["Variants"]["response"]["body"])["data"]["productVariants"]["items"]
    [page] = [page async for page in _first(adapter)]
    _is((len(page.listings), len(page.bad), page.drift), (len(rows), 0, ()))
    found = {listing.vendor_sku: listing for listing in page.listings}
    mask = found["N95-20"]
    _is((mask.title, mask.title_en, mask.brand, mask.gtin), ("N95口罩 20只", "N95 Mask E20只", "3M", "06901234567892"))
    _is((mask.price, mask.currency, mask.external_id, mask.family_id), (Decimal("59.90"), "CNY", "1", "1"))
    _is((mask.attributes, mask.description), ({"规格": "20只装"}, "N95口罩 说明"))
    _is((found["N95-50"].category, found["#5"].active), ("口罩", False))  # the SKU of 5 is another's too
    assert {"#8", "UNT-1"} <= set(found), "a variant without a SKU goes by its id"


async def _first(adapter: Adapter) -> Any:
    """The first page alone: the recorded one is of a longer list."""
    async for page in adapter.pull(None):
        yield page
        return


async def _stock(_: AnyAdapter, raw: bytes) -> None:
    answers = {
        "Stock": orjson.loads(raw),
        "Settings": _recorded("settings.json"),
        "Skus": _recorded("skus_shared.json"),
    }
    pages: list[Page] = []
    async for page in _replaying(answers, page_size=7).pull_stock(None):
        pages.append(page)
        break
    figures = {(f.vendor_sku, f.location): f.on_hand for f in pages[0].unchanged}
    _is({key: figures[key] for key in (("N95-20", "1"), ("N95-20", "2"))}, {("N95-20", "1"): 10, ("N95-20", "2"): 3})
    _is([f.level for f in pages[0].unchanged if f.vendor_sku == "UNT-1"], ["in_stock"])  # nobody counts it
    _is((figures["RES-1", "1"], figures["RES-1", "2"]), (0, 0))  # 7 are kept back at each place
    _is((figures["BACK-1", "1"], figures["BACK-1", "2"]), (1, 0))  # ten back-orders would be taken: not stock


async def _skus(_: AnyAdapter, raw: bytes) -> None:
    adapter = _replaying({"Skus": orjson.loads(raw)})
    rows = [{"id": "5", "sku": "HID-1"}, {"id": "2", "sku": "N95-50"}]
    _is(await adapter._names(rows), {"5": "#5", "2": "N95-50"})


async def _settings(_: AnyAdapter, raw: bytes) -> None:
    data, _when = await _replaying({"Settings": orjson.loads(raw)}).admin(documents.SETTINGS)
    _is(data["globalSettings"], {"trackInventory": True, "outOfStockThreshold": 0})


async def _login_refused(_: AnyAdapter, raw: bytes) -> None:
    adapter = _replaying({"Login": orjson.loads(raw)}, username="somebody")
    adapter.secrets["api_key"] = SecretStr("")
    adapter.call.credentials._secrets = {"password": SecretStr("wrong-password")}
    await _fails(adapter.admin(documents.SETTINGS), Misconfigured, "credentials are invalid")


def _denied(name: str, says: str) -> FixtureCheck:
    async def check(_: AnyAdapter, raw: bytes) -> None:
        await _fails(_replaying({name: orjson.loads(raw)}).admin(f"query {name} {{ x }}"), Misconfigured, says)

    return check


def _cart_step(name: str, wanted: str) -> FixtureCheck:
    """A step of a cart leaves the order in this state."""

    async def check(_: AnyAdapter, raw: bytes) -> None:
        data, _session = await _replaying({name: orjson.loads(raw)}).shop(f"mutation {name} {{ x }}", {}, None)
        states = {said["state"] for said in data.values() if "state" in said}
        _is((states, {said["__typename"] for said in data.values()}), ({wanted}, {"Order"}))

    return check


async def _no_stock(adapter: AnyAdapter, raw: bytes) -> None:
    assert isinstance(adapter, Adapter)
    said = orjson.loads(orjson.loads(raw)["response"]["body"])["data"]["addItemToOrder"]
    try:
        adapter.in_cart(said, "LAST-1")
    except No as no:
        _is((no.receipt().out_of_stock_skus, no.receipt().status), (("LAST-1",), ReceiptStatus.REFUSED))
        return
    raise AssertionError("a cart without its item was taken")


def _quotes(adapter: AnyAdapter, raw: bytes) -> None:
    assert isinstance(adapter, Adapter)
    data = orjson.loads(orjson.loads(raw)["response"]["body"])["data"]
    _is(adapter.payment_method(data["eligiblePaymentMethods"]), "supplyhub")
    _is([each["code"] for each in data["eligibleShippingMethods"]], ["standard", "express"])


def _whole(pay: str, order: str, **more: Any) -> Adapter:
    """A server that answers every step of an order."""
    on_sale = {
        "globalSettings": {"trackInventory": True, "outOfStockThreshold": 0},
        "productVariants": {
            "totalItems": 1,
            "items": [
                {
                    "id": "50", "sku": "LAST-1", "enabled": True, "price": 442, "priceWithTax": 500,
                    "currencyCode": "CNY", "trackInventory": "INHERIT", "useGlobalOutOfStockThreshold": True,
                    "outOfStockThreshold": 0, "product": {"enabled": True},
                    "stockLevels": [{"stockLocationId": "1", "stockOnHand": 1, "stockAllocated": 0}],
                }
            ],
        },
    }  # fmt: skip
    steps = {
        "FirstItem": "first_item.json", "RestOfCart": "rest_of_cart.json", "Quotes": "quotes.json",
        "Arrange": "arranged.json", "Pay": pay, "Order": order, "Movements": "movements.json",
        "CancelOrder": "cancelled.json",
    }  # fmt: skip
    answers = {name: _recorded(file) for name, file in steps.items()}
    return _replaying({**answers, "OnSale": {"data": on_sale}, **more})


async def _placed(_: AnyAdapter, raw: bytes) -> None:
    receipt = await _whole("paid.json", "order_settled.json").place(_ORDER, key=_ORDER.number)
    code = orjson.loads(orjson.loads(raw)["response"]["body"])["data"]["orders"]["items"][0]["code"]
    _is((receipt.status, receipt.vendor_order_no, receipt.raw_status), ("accepted", code, "PaymentSettled"))


async def _oversold(_: AnyAdapter, _raw: bytes) -> None:
    """The recorded server took a second order for its last piece and allocated nothing to it: the counters look well,
    and the order must be cancelled and refused all the same."""
    receipt: Receipt = await _whole("paid.json", "order_oversold.json").place(_ORDER, key=_ORDER.number)
    _is(receipt.status, ReceiptStatus.REFUSED)
    _is((receipt.out_of_stock, receipt.out_of_stock_skus), (True, ("LAST-1",)))


async def _paid_again(_: AnyAdapter, raw: bytes) -> None:
    order = _ORDER.model_copy(update={"number": "po_0190a5c2f00070008000000000000099"})
    await _fails(_whole("paid_again.json", "order_settled.json").place(order, key=order.number), Retry, "no longer")


async def _arrange_short(_: AnyAdapter, raw: bytes) -> None:
    receipt = await _whole("paid.json", "order_settled.json", Arrange=orjson.loads(raw)).place(_ORDER, key="po_short")
    _is(receipt.status, ReceiptStatus.REFUSED)
    assert "insufficient stock" in (receipt.reason or ""), receipt.reason


async def _movements(_: AnyAdapter, raw: bytes) -> None:
    moved = await _replaying({"Movements": orjson.loads(raw)}).movements("50")
    _is((moved.outstanding(), moved.left(), moved.drift), (1, 0, 0))


async def _orders(_: AnyAdapter, raw: bytes) -> None:
    exchange = orjson.loads(raw)
    body = orjson.loads(exchange["response"]["body"])
    body["data"]["orders"]["totalItems"] = len(body["data"]["orders"]["items"])  # the recorded page is one of many
    found = await _replaying({"Orders": body})._orders_with("po_0190a5c2f00070008000000000000011")
    _is([order["state"] for order in found], ["PaymentSettled"])


def _cancels(accepted: bool) -> FixtureCheck:
    async def check(_: AnyAdapter, raw: bytes) -> None:
        adapter = _whole("paid.json", "order_settled.json", CancelOrder=orjson.loads(raw))
        receipt = await adapter.cancel("Y26CLGBBTDP4BVX7", _ORDER)
        _is(receipt.status is ReceiptStatus.ACCEPTED, accepted)

    return check


async def _parcels(_: AnyAdapter, raw: bytes) -> None:
    updates = await _replaying({"Tracked": orjson.loads(raw)}).track("8MJ89VWKRFAGGS48")
    _is(
        {(update.tracking_no, update.carrier): update.status for update in updates},
        {("SF1", "顺丰"): ShipmentStatus.DELIVERED, ("ZT2", "中通"): ShipmentStatus.SHIPPED},
    )


async def _cancelled(_: AnyAdapter, raw: bytes) -> None:
    [update] = await _replaying({"Tracked": orjson.loads(raw)}).track("whatever")
    _is((update.status, update.po_number), (ShipmentStatus.CANCELLED, "po_0190a5c2f00070008000000000000012"))
    assert update.at > datetime(2026, 11, 25, 4, 1, tzinfo=UTC), "the time is that of the last change"


CHECKS: dict[str, Callable[[AnyAdapter, bytes], Awaitable[None] | None]] = {
    "variants.json": _variants,
    "stock.json": _stock,
    "skus_shared.json": _skus,
    "settings.json": _settings,
    "login_refused.json": _login_refused,
    "forbidden.json": _denied("Settings", "FORBIDDEN"),
    "unknown_field.json": _denied("Variants", "nosuchfield"),
    "channel_not_found.json": _denied("Settings", "CHANNEL_NOT_FOUND"),
    "first_item.json": _cart_step("FirstItem", "AddingItems"),
    "first_item_short.json": _no_stock,
    "rest_of_cart.json": _cart_step("RestOfCart", "AddingItems"),
    "quotes.json": _quotes,
    "arranged.json": _cart_step("Arrange", "ArrangingPayment"),
    "arrange_short.json": _arrange_short,
    "paid.json": _cart_step("Pay", "PaymentSettled"),
    "paid_again.json": _paid_again,
    "order_settled.json": _placed,
    "order_oversold.json": _oversold,
    "movements.json": _movements,
    "orders.json": _orders,
    "cancelled.json": _cancels(True),
    "cancelled_again.json": _cancels(False),
    "tracked_parcels.json": _parcels,
    "tracked_cancelled.json": _cancelled,
}
