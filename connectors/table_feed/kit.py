"""What the contract kit needs to try the table feed: a feed in three pages, and what each sample file comes out as."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.base import Adapter as AnyAdapter
from connectors.kit import FixtureCheck, SystemKit
from connectors.mapping import Mapped
from connectors.sandbox_kit import Faults, Sandbox
from connectors.table_feed.config import feed_config
from connectors.table_feed.reading import refused_and_mapped
from connectors.table_feed.sandbox import FeedSandbox
from connectors.tables import land

_NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


class Kit(SystemKit):
    """The kit of the table feed."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty products as a Google Merchant feed."""
        rows = [
            {
                "id": f"KIT-{n}",
                "title": f"试用商品 {n}",
                "price": f"{10 + n}.50 CNY",
                "availability": "in_stock" if n % 3 else "out_of_stock",
                "brand": "示例",
                "link": f"https://shop.example/p/{n}",
            }
            for n in range(1, 31)
        ]
        return FeedSandbox(rows, faults, token="feed-sandbox-token-31")  # noqa: S106 - the sandbox's own

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """The XML feed, whose end can be seen to be missing, in pages of ten."""
        assert isinstance(sandbox, FeedSandbox)
        config = {"url": sandbox.url("xml"), "preset": "google_merchant", "page_rows": 10}
        return config, {"token": sandbox.token or ""}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Sample files of the formats and habits that vendors have."""
        return {
            "google_merchant.xml": _google_xml,
            "google_merchant_atom.xml": _google_atom,
            "google_merchant.tsv": _google_tsv,
            "price_list_gb18030.csv": _chinese,
            "price_list_euro.csv": _euro,
            "products_utf16.csv": _utf16,
            "products.jsonl.gz": _json_lines,
        }


async def _mapped(raw: bytes, settings: dict[str, Any]) -> Mapped:
    async def body() -> AsyncIterator[bytes]:
        yield raw

    with await land(body()) as spooled:
        return refused_and_mapped(spooled, feed_config({"file": "fixture", **settings}), _NOW)


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _by_sku(mapped: Mapped) -> dict[str, Any]:
    return {listing.vendor_sku: listing for listing in mapped.listings}


async def _google_xml(_adapter: AnyAdapter, raw: bytes) -> None:
    mapped = await _mapped(raw, {"preset": "google_merchant"})
    found = _by_sku(mapped)
    mask, water = found["MASK-50"], found["WATER-12"]
    _is((mask.price, mask.currency, mask.shipping), (Decimal("19.90"), "CNY", Decimal("5.00")))
    _is((mask.level, mask.gtin, mask.pack, mask.brand), ("in_stock", "06901234567892", "50 件", "稳健"))
    _is((mask.attributes["list_price"], mask.description), ("29.90 CNY", "三层防护， 独立包装"))
    _is((mask.category, mask.url), ("医疗 > 口罩", "https://shop.example/p/mask-50"))
    _is((water.price, water.level, water.pack, water.model), (Decimal("1024.00"), "out", "12件装", "NF-550"))
    _is(water.attributes["availability"], "backorder")
    [bad] = mapped.bad
    _is((bad.vendor_sku, bad.pointer), ("BAD-GTIN", "/gtin"))
    _is(mapped.drift, set())


async def _google_atom(_adapter: AnyAdapter, raw: bytes) -> None:
    [tea] = (await _mapped(raw, {"preset": "google_merchant"})).listings
    _is((tea.vendor_sku, tea.level, tea.url), ("TEA-1", "out", "https://shop.example/p/tea-1"))


async def _google_tsv(_adapter: AnyAdapter, raw: bytes) -> None:
    mapped = await _mapped(raw, {"preset": "google_merchant"})
    [mask] = mapped.listings
    _is(
        (mask.price, mask.shipping, mask.image_url), (Decimal("29.90"), Decimal("5.00"), "https://shop.example/i/m.jpg")
    )
    [bad] = mapped.bad
    assert "sold_out_forever" in bad.reason, bad.reason


async def _chinese(_adapter: AnyAdapter, raw: bytes) -> None:
    columns = {"vendor_sku": "货号", "title": "品名", "price": "单价（元）", "on_hand": "库存", "active": "状态"}
    mapped = await _mapped(raw, {"map": columns})
    found = _by_sku(mapped)
    _is((found["A-1"].price, found["A-1"].on_hand, found["A-1"].title), (Decimal("1299.00"), 12, "护手霜“滋润型”"))
    _is((found["A-2"].title, found["A-2"].on_hand), ("洗发水,\r\n去屑", 0))
    _is((found["A-4"].title[0], found["A-4"].active), ("=", False))
    [bad] = mapped.bad
    _is((bad.vendor_sku, bad.pointer), ("A-3", "/price"))


async def _euro(_adapter: AnyAdapter, raw: bytes) -> None:
    available = {"column": "Verfügbar", "values": {"ja": "in_stock", "nein": "out"}}
    columns = {"vendor_sku": "Artikel", "title": "Bezeichnung", "price": "Preis", "level": available}
    mapped = await _mapped(raw, {"map": columns, "decimal": ",", "currency": "EUR"})
    prices = {sku: (x.price, x.currency, x.level) for sku, x in _by_sku(mapped).items()}
    wanted = {"E-1": (Decimal("1299.00"), "EUR", "in_stock"), "E-2": (Decimal("4.5"), "EUR", "out")}
    _is(prices, wanted)
    _is([bad.vendor_sku for bad in mapped.bad], ["E-3"])


async def _utf16(_adapter: AnyAdapter, raw: bytes) -> None:
    [tea] = (await _mapped(raw, {"map": {"vendor_sku": "sku", "title": "name", "price": "price"}})).listings
    _is((tea.vendor_sku, tea.title), ("U-1", "茶叶"))


async def _json_lines(_adapter: AnyAdapter, raw: bytes) -> None:
    columns = {"vendor_sku": "sku", "title": "name", "price": "offer.price", "on_hand": "offer.stock"}
    mapped = await _mapped(raw, {"map": columns})
    _is(
        {sku: (x.price, x.on_hand) for sku, x in _by_sku(mapped).items()}, {"J-1": (Decimal("12.5"), 7), "J-3": (30, 1)}
    )
    _is(len(mapped.bad), 2)
