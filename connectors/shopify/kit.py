"""What the contract kit needs to try the Shopify connector: a small shop, an order, pushes, and what each documented
payload must come out as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.contracts import PurchaseOrder, ReceiptStatus, ShipmentStatus
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Delivery, Faults, Sandbox
from connectors.shopify.adapter import Adapter
from connectors.shopify.records import Levels
from connectors.shopify.sandbox import HOME, OUTLET, ShopifySandbox
from connectors.stockmap import StockMapper
from hub.kernel.errors import HubError, Misconfigured, Retry


class Kit(SystemKit):
    """The kit of Shopify."""

    unknown_order = "4711"

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty products with one variant, one with two, and one of each sort that cannot be sold."""
        products: list[dict[str, Any]] = [
            {
                "title": f"试用商品 {n}",
                "vendor": "试用",
                "type": "日用品",
                "sku": f"KIT-{n}",
                "price": f"{10 + n}.50",
                "stock": {HOME: n % 7, OUTLET: 3} if n % 2 else n % 7,
                "description": "一段 描述",
            }
            for n in range(1, 31)
        ]
        products += [
            {
                "title": "T恤",
                "variants": [
                    {"sku": "KIT-TEE-S", "price": "49.00", "stock": 3, "options": {"尺码": "S"}},
                    {"sku": None, "price": "52.00", "stock": 2, "options": {"尺码": "L"}},
                ],
            },
            {"title": "礼品卡", "sku": "KIT-CARD", "price": "100.00", "gift_card": True},
            {"title": "草稿", "sku": "KIT-DRAFT", "price": "1.00", "status": "DRAFT"},
        ]
        return ShopifySandbox(products, faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Few lines at once, so that a pull has several pages."""
        assert isinstance(sandbox, ShopifySandbox)
        return {"base_url": sandbox.base_url, "page_rows": 10}, sandbox.credentials()

    def purchase_order(self) -> PurchaseOrder:
        """Two lines that the shop has."""
        return example_order("po_0190a5c2f00070008000000000000001", [("KIT-5", 2, "15.50"), ("KIT-TEE-S", 1, "49.00")])

    def refused_order(self) -> PurchaseOrder:
        """More than the shop has."""
        return example_order("po_0190a5c2f00070008000000000000002", [("KIT-5", 50, "15.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, ShopifySandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, ShopifySandbox)
        return next(sent for sent in sandbox.order_requests.values() if sent["order"]["sourceIdentifier"] == key)

    def pushes(self, sandbox: Sandbox) -> Sequence[Delivery]:
        """One order, told about at four moments."""
        order = orjson.loads(_fixture("order_updated.json"))
        made = []
        moments = ((None, None), ("label_printed", "01"), ("in_transit", "02"), ("delivered", "03"))
        for n, (status, minute) in enumerate(moments):
            at = f"2026-11-22T15:0{n}:00+08:00"
            parcel = {**order["fulfillments"][0], "shipment_status": status, "updated_at": at}
            told = {"fulfillments": [parcel], "fulfillment_status": "fulfilled"} if minute else {"fulfillments": []}
            made.append({**order, "updated_at": at, **told})
        assert isinstance(sandbox, ShopifySandbox)
        return [sandbox.delivery("orders/updated", payload) for payload in made]

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Documented payloads; the values in them are ours."""
        return {
            "bulk_variants.jsonl": _variants,
            "bulk_stock.jsonl": _stock,
            "changed_products.json": _changed,
            "throttled.json": lambda a, raw: _fails(a, raw, Retry),
            "access_denied.json": lambda a, raw: _fails(a, raw, Misconfigured),
            "order_created.json": _ordered,
            "order_out_of_stock.json": _out_of_stock,
            "order_state.json": _followed,
            "product_update.json": _product_pushed,
            "inventory_level_update.json": _level_pushed,
            "order_updated.json": _order_pushed,
            "fulfillment_update.json": _fulfillment_pushed,
        }


def _fixture(name: str) -> bytes:
    return (manifest.HOME / "shopify" / "fixtures" / name).read_bytes()


def _shop(adapter: AnyAdapter) -> Adapter:
    assert isinstance(adapter, Adapter)
    return adapter


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _through(adapter: AnyAdapter, answers: Mapping[str, Any], **config: Any) -> Adapter:
    """An adapter whose shop gives these answers, by the operation's name."""

    def shop(request: httpx.Request) -> httpx.Response:
        asked = orjson.loads(request.content)
        return httpx.Response(200, json=answers.get(asked["operationName"], answers.get("*")))

    http = httpx.AsyncClient(transport=httpx.MockTransport(shop))
    settings = {**adapter.config, **config}
    made = base.build(manifest.HOME / "shopify", settings, adapter.secrets, http, connection_id=f"fixture-{id(http)}")
    return _shop(made)


def _lines(raw: bytes) -> list[Any]:
    return [orjson.loads(line) for line in raw.splitlines()]


async def _variants(adapter: AnyAdapter, raw: bytes) -> None:
    """Each line a variant with its product: a lasting id, a GTIN only where it is one, options as attributes."""
    from connectors.shopify.records import Skus

    shop, skus, bad = _shop(adapter), Skus(), []  # type: ignore[var-annotated]
    pairs = [(line, line["product"]) for line in _lines(raw)]
    mapped = shop.mapper.page(shop._records([p for p in pairs if shop._on_sale(p[1])], skus, bad))
    _is((len(mapped.listings), len(mapped.bad), len(bad)), (3, 0, 1))
    small, large, mask = mapped.listings
    _is((small.vendor_sku, small.title, small.price), ("TEE-S", "T-Shirt - Small", Decimal("49.00")))
    _is((small.external_id, small.family_id), ("43729076001234", "8474977763649"))
    _is((small.attributes, small.category, small.brand), ({"Size": "Small"}, "Shirts", "Acme"))
    _is((large.vendor_sku, large.market_price), ("#43729076001235", None))
    _is((mask.title, mask.gtin, mask.on_hand), ("N95 口罩", "06901234567892", None))
    assert small.gtin is None, "a shelf code is no GTIN"


async def _stock(adapter: AnyAdapter, raw: bytes) -> None:
    """One figure a SKU and location; nothing where the location sells nothing online, a level where nobody counts."""
    levels, lines = Levels(published_only=True), _lines(raw)
    for line in lines:
        levels.note(line)
    spec = adapter.manifest.pull_stock
    assert spec is not None
    records = [record for line in lines for record in levels.figures(line, frozenset())]
    figures, bad = StockMapper(spec.map, adapter.config).figures(records)
    found = {(f.vendor_sku, f.location): f.on_hand if f.level is None else f.level for f in figures}
    wanted = {
        ("TEE-S", "24826418"): 10,
        ("TEE-S", "24826419"): 0,
        ("#43729076001235", "24826418"): 0,
        ("N95-20", "24826418"): "in_stock",
    }
    _is((found, bad), (wanted, []))


async def _changed(adapter: AnyAdapter, raw: bytes) -> None:
    """Products with their variants; an archived one is told to be off sale."""
    answers = {
        "HubShop": {"data": {"shop": {"currencyCode": "CNY"}}},
        "HubChangedProducts": orjson.loads(raw),
        "HubSameSkus": {
            "data": {"productVariants": {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []}}
        },
    }
    shop = _through(adapter, answers)
    pages = [page async for page in shop.pull({"since": "2026-11-22T07:00:00+00:00"})]
    _is([page.complete for page in pages], [True])
    _is({x.vendor_sku: x.active for x in pages[0].listings}, {"TEE-S": True, "OLD-1": False})


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[HubError]) -> None:
    try:
        await _through(adapter, {"*": orjson.loads(raw)}).same_currency()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was due")


def _selling(raw: bytes, order: Any = None) -> dict[str, Any]:
    variant = {
        "id": "gid://shopify/ProductVariant/43729076001234",
        "sku": "TEE-S",
        "price": "49.00",
        "inventoryPolicy": "DENY",
        "sellableOnlineQuantity": 5,
        "inventoryQuantity": 5,
        "requiresComponents": False,
        "product": {
            "id": "gid://shopify/Product/8474977763649",
            "status": "ACTIVE",
            "publishedAt": "2026-01-01T00:00:00Z",
        },
        "inventoryItem": {"id": "gid://shopify/InventoryItem/43729076", "tracked": True, "requiresShipping": True},
    }
    shop = {"currencyCode": "CNY"}
    page = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": [variant]}
    return {
        "HubIdentity": {"data": {"metafieldDefinition": {"type": {"name": "id"}}}},
        "HubOrderByIdentity": {"data": {"orderByIdentifier": order}},
        "HubVariantsBySku": {"data": {"shop": shop, "productVariants": page}},
        "HubVariantsById": {"data": {"shop": shop, "nodes": [variant]}},
        "HubCreateOrder": orjson.loads(raw),
    }


_ORDER = example_order("po_0190a5c2f00070008000000000000009", [("TEE-S", 1, "49.00")])


async def _ordered(adapter: AnyAdapter, raw: bytes) -> None:
    receipt = await _through(adapter, _selling(raw)).place(_ORDER, key=_ORDER.number)
    _is((receipt.status, receipt.vendor_order_no, receipt.raw_status), ("accepted", "8939169218866", "PAID"))


async def _out_of_stock(adapter: AnyAdapter, raw: bytes) -> None:
    """Live shops refuse in these words, not with the documented code."""
    receipt = await _through(adapter, _selling(raw)).place(_ORDER, key=_ORDER.number)
    _is((receipt.status, receipt.out_of_stock), (ReceiptStatus.REFUSED, True))
    _is(receipt.reason, "Line items Unable to reserve inventory")


async def _followed(adapter: AnyAdapter, raw: bytes) -> None:
    """One update a parcel, each with its own number."""
    updates = await _through(adapter, {"HubOrderState": orjson.loads(raw)}).track("8939169218866")
    _is(
        [(u.tracking_no, u.carrier, u.status) for u in updates],
        [
            ("SF1234567890", "SF Express", ShipmentStatus.DELIVERED),
            ("SF1234567891", "SF Express", ShipmentStatus.DELIVERED),
            ("YT0000000001", "YTO", ShipmentStatus.IN_TRANSIT),
        ],
    )
    _is(updates[0].at, datetime(2026, 11, 23, 8, 0, tzinfo=UTC))


def _product_pushed(adapter: AnyAdapter, raw: bytes) -> None:
    content = _shop(adapter).parse_push("products/update", raw)
    _is([x.vendor_sku for x in content.listings], ["TEE-S", "#757650484644203962"])
    _is((content.listings[0].external_id, content.listings[0].family_id), ("642667041472713922", "788032119674292922"))
    _is((content.stock, content.bad), ((), ()))


def _level_pushed(adapter: AnyAdapter, raw: bytes) -> None:
    """It names an inventory item and no SKU: the next stock pull tells."""
    content = _shop(adapter).parse_push("inventory_levels/update", raw)
    _is((content.stock, content.bad), ((), ()))


def _order_pushed(adapter: AnyAdapter, raw: bytes) -> None:
    [update] = _shop(adapter).parse_push("orders/updated", raw).orders
    _is((update.vendor_order_no, update.po_number), ("820982911946154508", "po_0190a5c2f00070008000000000000009"))
    _is((update.tracking_no, update.status, update.raw_status), ("1z827wk74630", ShipmentStatus.SHIPPED, "success"))


def _fulfillment_pushed(adapter: AnyAdapter, raw: bytes) -> None:
    updates = _shop(adapter).parse_push("fulfillments/update", raw).orders
    _is([u.tracking_no for u in updates], ["1z827wk74630", "1z827wk74631"])
    _is((updates[0].status, updates[0].carrier), (ShipmentStatus.OUT_FOR_DELIVERY, "UPS"))
    _is(updates[0].at, datetime(2026, 11, 22, 1, 0, tzinfo=UTC))
