"""What the contract kit needs to try the WooCommerce connector: a small shop, an order, pushes, and what each
recorded exchange must come out as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base
from connectors.base import Adapter as AnyAdapter
from connectors.calling import Refused
from connectors.contracts import PurchaseOrder, ShipmentStatus
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.paging import PageOfRecords
from connectors.sandbox_kit import Delivery, Faults, Sandbox
from connectors.woocommerce.adapter import Adapter
from connectors.woocommerce.sandbox import WooSandbox
from connectors.woocommerce.shapes import parsed_time
from hub.kernel.errors import HubError, Misconfigured, NotFound

_SECRET = "hub-secret"  # noqa: S105 - the recorded shop's, public in its fixtures


class Kit(SystemKit):
    """The kit of WooCommerce."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty simple products, one with variations, and one of each sort that cannot be sold."""
        products: list[dict[str, Any]] = [
            {
                "sku": f"KIT-{n}",
                "name": f"试用商品 {n}",
                "title_en": f"Sample {n}",
                "price": f"{10 + n}.50",
                "stock": n % 7,
                "category": "日用品",
                "description": "<p>一段&nbsp;描述</p>",
            }
            for n in range(1, 31)
        ]
        products[3]["stock"] = None
        products += [
            {
                "sku": "KIT-TEE",
                "name": "T恤",
                "price": "49.00",
                "type": "variable",
                "variations": [
                    {"sku": "KIT-TEE-S", "price": "49.00", "stock": 3, "options": {"尺码": "S"}},
                    {"price": "52.00", "stock": 2, "options": {"尺码": "L"}},
                ],
            },
            {"sku": "KIT-SET", "name": "套装", "price": "1.00", "type": "grouped"},
            {"sku": "KIT-EXT", "name": "外站", "price": "1.00", "type": "external"},
        ]
        return WooSandbox(products, faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        assert isinstance(sandbox, WooSandbox)
        return {"base_url": sandbox.base_url, "per_page": 10}, sandbox.credentials()

    def purchase_order(self) -> PurchaseOrder:
        """Two lines that the shop has."""
        return example_order("po_0190a5c2f00070008000000000000001", [("KIT-5", 2, "15.50"), ("KIT-TEE-S", 1, "49.00")])

    def refused_order(self) -> PurchaseOrder:
        """More than the shop has; WooCommerce itself would take it."""
        return example_order("po_0190a5c2f00070008000000000000002", [("KIT-5", 50, "15.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, WooSandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, WooSandbox)
        return next(r for r in sandbox.order_requests if any(m["value"] == key for m in r["meta_data"]))

    def pushes(self, sandbox: Sandbox) -> Sequence[Delivery]:
        """One product at four moments."""
        assert isinstance(sandbox, WooSandbox)
        made = []
        start = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
        product = orjson.loads(sandbox.product_delivery("KIT-6").body)
        for n, quantity in enumerate((6, 4, 1, 3)):
            moment = (start + timedelta(seconds=n)).replace(tzinfo=None).isoformat()
            changed = {**product, "stock_quantity": quantity, "date_modified_gmt": moment}
            made.append(sandbox.delivery("product.updated", changed))
        return made

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """The recorded exchanges."""
        return {
            "products_p1.json": lambda a, raw: _listings(a, raw, good=15, bad=3, counted={"N95-20": 37}),
            "products_p2.json": lambda a, raw: _listings(a, raw, good=4, bad=16, counted={"BUY-6": 6, "BUY-20": 20}),
            "products_modified_after.json": lambda a, raw: _listings(a, raw, good=3, bad=2, counted={"BUY-87": 12}),
            "products_past_end.json": lambda a, raw: _listings(a, raw, good=0, bad=0, counted={}),
            "product_variable.json": _variable,
            "product_create.json": lambda a, raw: _one(a, raw, on_hand=5),
            "product_stock_update.json": lambda a, raw: _one(a, raw, on_hand=2),
            "product_after_cancel.json": lambda a, raw: _one(a, raw, on_hand=0),
            "order_create.json": _order_taken,
            "order_get.json": lambda a, raw: _tracked(a, raw, ShipmentStatus.SHIPPED),
            "order_cancel.json": lambda a, raw: _tracked(a, raw, ShipmentStatus.CANCELLED),
            "order_oversell.json": _oversell,
            "order_refund.json": lambda a, raw: _is(_exchange(raw)[1]["amount"], "26.90"),
            "order_bad_status.json": lambda a, raw: _fails(a, raw, Refused),
            "bad_per_page.json": lambda a, raw: _fails(a, raw, Refused),
            "duplicate_sku.json": lambda a, raw: _fails(a, raw, Refused),
            "missing.json": lambda a, raw: _fails(a, raw, NotFound),
            "unauthorized.json": lambda a, raw: _fails(a, raw, Misconfigured),
            "webhooks/001_product_updated.json": _product_push,
            "webhooks/002_order_created.json": lambda a, raw: _order_push(a, raw, "138", ShipmentStatus.CANCELLED),
            "webhooks/003_order_updated.json": lambda a, raw: _order_push(a, raw, "138", ShipmentStatus.CANCELLED),
            "webhooks/004_order_created.json": lambda a, raw: _order_push(a, raw, "139", ShipmentStatus.SHIPPED),
            "webhooks/005_order_updated.json": lambda a, raw: _order_push(a, raw, "139", ShipmentStatus.SHIPPED),
            "webhooks/006_ping.json": _pinged,
        }


def _exchange(raw: bytes) -> tuple[dict[str, Any], Any]:
    recorded = orjson.loads(raw)
    return recorded["response"], orjson.loads(recorded["response"]["body"])


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _woo(adapter: AnyAdapter) -> Adapter:
    assert isinstance(adapter, Adapter)
    return adapter


async def _listings(adapter: AnyAdapter, raw: bytes, *, good: int, bad: int, counted: Mapping[str, int]) -> None:
    woo = _woo(adapter)
    refused: list[Any] = []
    records = [r for r in _exchange(raw)[1] if r["type"] != "variable"]
    got = PageOfRecords(records, {}, datetime(2026, 11, 22, tzinfo=UTC), True, 1)
    mapped = woo.mapper.page(await woo.expand(got, refused))
    _is((len(mapped.listings), len(mapped.bad) + len(refused)), (good, bad))
    _is(mapped.drift, set())
    stock = {listing.vendor_sku: listing.on_hand for listing in mapped.listings}
    _is({sku: stock[sku] for sku in counted}, dict(counted))
    assert all("<" not in (listing.description or "") for listing in mapped.listings), "HTML is left in a description"


async def _variable(adapter: AnyAdapter, raw: bytes) -> None:
    woo = _woo(adapter)
    parent = _exchange(raw)[1][0]
    one = {
        "id": 24,
        "sku": "",
        "price": "20",
        "status": "publish",
        "purchasable": True,
        "manage_stock": "parent",
        "stock_quantity": None,
        "stock_status": "instock",
        "attributes": [{"id": 1, "name": "Color", "option": "Blue"}, {"id": 2, "name": "Size", "option": "Large"}],
    }
    [listing] = woo.mapper.page([woo.variation(parent, one)]).listings
    _is((listing.vendor_sku, listing.title, listing.price), ("#10/24", "V-Neck T-Shirt - Blue, Large", Decimal(20)))
    _is((listing.level, listing.on_hand, listing.category), ("in_stock", None, "Tshirts"))


def _one(adapter: AnyAdapter, raw: bytes, *, on_hand: int) -> None:
    """The recorded product's GTIN has a wrong check digit: the row is refused for it, its stock can be read, and with
    the digit put right it is a listing."""
    woo = _woo(adapter)
    product = _exchange(raw)[1]
    [refused] = woo.mapper.page([woo.prepared(dict(product))]).bad
    _is((refused.vendor_sku, refused.pointer), ("IBU-20", "/gtin"))
    product["meta_data"][0]["value"] = "6900000000014"
    prepared = woo.prepared(product)
    [listing] = woo.mapper.page([prepared]).listings
    _is((listing.vendor_sku, listing.price, listing.gtin), ("IBU-20", Decimal("26.90"), "06900000000014"))
    figure = woo.mapper.figure(prepared, "IBU-20")
    _is((listing.on_hand, figure.on_hand if figure else None), (on_hand, on_hand))


def _order_taken(adapter: AnyAdapter, raw: bytes) -> None:
    response, order = _exchange(raw)
    _is(response["status"], 201)
    _is(adapter.manifest.statuses[order["status"]], ShipmentStatus.SHIPPED)  # cash on delivery is `completed` at once


def _tracked(adapter: AnyAdapter, raw: bytes, status: ShipmentStatus) -> None:
    woo = _woo(adapter)
    order = _exchange(raw)[1]
    [view] = woo.order_views(order)
    update = woo.order_update(view, str(order["id"]), datetime(2026, 11, 22, tzinfo=UTC))
    _is((update.vendor_order_no, update.status, update.at), ("138", status, parsed_time(order["date_modified_gmt"])))


async def _oversell(adapter: AnyAdapter, raw: bytes) -> None:
    """The recorded shop answers 201 to 50 of what it does not have: the connector must cancel and refuse."""
    response, order = _exchange(raw)
    _is(response["status"], 201)
    product = orjson.loads(
        orjson.loads((_folder(adapter) / "product_after_cancel.json").read_bytes())["response"]["body"]
    )
    seen: list[tuple[str, str]] = []

    def shop(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        if request.method == "GET":
            quantity = 60 if len(seen) == 1 else product["stock_quantity"]  # enough when asked, below nothing after
            return httpx.Response(200, json=[{**product, "stock_quantity": quantity}])
        if request.method == "POST":
            return httpx.Response(201, json=order)
        return httpx.Response(200, json={**order, "status": "cancelled"})

    receipt = await _through(adapter, shop).place(
        example_order("po_oversell", [("IBU-20", 50, "26.90")], order["currency"]), key="po_oversell"
    )
    _is((receipt.status, receipt.out_of_stock, receipt.out_of_stock_skus), ("refused", True, ("IBU-20",)))
    _is([method for method, _ in seen], ["GET", "POST", "GET", "PUT"])


def _through(adapter: AnyAdapter, shop: Any) -> Adapter:
    http = httpx.AsyncClient(transport=httpx.MockTransport(shop))
    made = base.build(
        _folder(adapter).parent, adapter.config, adapter.secrets, http, connection_id=f"fixture-{id(http)}"
    )
    return _woo(made)


def _folder(adapter: AnyAdapter) -> Any:
    from connectors import manifest

    return manifest.HOME / adapter.manifest.id / "fixtures"


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[HubError]) -> None:
    recorded = orjson.loads(raw)["response"]

    def shop(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            recorded["status"], headers={"Content-Type": "application/json"}, content=recorded["body"]
        )

    try:
        await _through(adapter, shop).call.get("/wp-json/wc/v3/products")
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was due")


def _pushed(adapter: AnyAdapter, raw: bytes) -> Any:
    recorded = orjson.loads(raw)
    body = recorded["body"].encode()
    signed = base.build(
        _folder(adapter).parent, adapter.config, {**adapter.secrets, "webhook_secret": _secret(recorded["secret"])}
    )
    woo = _woo(signed)
    received = woo.verify(recorded["headers"], body)
    _is(received.topic, recorded["headers"]["X-WC-Webhook-Topic"])
    return woo.parse_push(received.topic, body)


def _secret(value: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(value)


def _product_push(adapter: AnyAdapter, raw: bytes) -> None:
    content = _pushed(adapter, raw)
    [report] = content.stock
    _is((report.vendor_sku, report.on_hand), ("IBU-20", 0))  # the shop says -48: nothing is there
    _is(report.reported_at, datetime(2026, 11, 22, 7, 3, 44, tzinfo=UTC))


def _order_push(adapter: AnyAdapter, raw: bytes, number: str, status: ShipmentStatus) -> None:
    [update] = _pushed(adapter, raw).orders
    _is((update.vendor_order_no, update.status), (number, status))


def _pinged(adapter: AnyAdapter, raw: bytes) -> None:
    recorded = orjson.loads(raw)
    _is(_woo(adapter).is_ping(recorded["headers"], recorded["body"].encode()), True)
    _is(_woo(adapter).is_ping({**recorded["headers"], "X-WC-Webhook-Signature": ""}, b"webhook_id=4"), False)
