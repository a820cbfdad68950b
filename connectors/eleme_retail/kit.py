"""What the contract kit needs to try the Ele.me connector."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.calling import Refused
from connectors.eleme_retail.adapter import Adapter
from connectors.eleme_retail.sandbox import SECRET, SHOP, SOURCE, ElemeSandbox
from connectors.kit import FixtureCheck, SystemKit
from connectors.paging import PageOfRecords
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import HubError, Misconfigured


class Kit(SystemKit):
    """The kit of an Ele.me shop."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return ElemeSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        config = {"base_url": sandbox.base_url, "source": SOURCE, "shop_id": SHOP, "page_size": 10}
        return config, {"secret": SECRET}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Answers as the SDKs describe them."""
        return {
            "sku_list.json": _items,
            "partial_500001.json": lambda a, raw: _fails(a, raw, Refused),
            "bad_signature.json": lambda a, raw: _fails(a, raw, Misconfigured),
        }


async def _items(adapter: AnyAdapter, raw: bytes) -> None:
    """Fen become yuan; specifications stand for themselves; the largest stock is no count; ids are text."""
    assert isinstance(adapter, Adapter)
    bad: list[Any] = []
    records = orjson.loads(raw)["body"]["data"]["list"]
    got = PageOfRecords(records, {}, datetime(2026, 11, 22, tzinfo=UTC), True, 1)
    mapped = adapter.mapper.page(await adapter.expand(got, bad))
    assert not bad and not mapped.bad and not mapped.drift, (bad, mapped.bad, mapped.drift)
    cola, small, large, old = mapped.listings
    assert (cola.vendor_sku, cola.external_id, cola.price) == ("690123", "153971770506712345", Decimal("3.50"))
    assert (cola.on_hand, cola.category, cola.attributes["list_price"]) == (96, "酒水饮料", "4.00")
    assert (small.vendor_sku, small.external_id, small.family_id) == ("TEE-S", "881", "153971770506712346")
    assert (small.title, small.on_hand, small.attributes["尺码"]) == ("纯棉T恤 S", 7, "S")
    assert (large.vendor_sku, large.price, large.on_hand, large.level) == ("#882", Decimal("52.00"), None, "in_stock")
    assert (old.vendor_sku, old.active, old.on_hand) == ("#153971770506712347", False, 3)
    assert (old.price, old.gtin, old.attributes["upc"]) == (Decimal("19.90"), None, "wm85535096914917")


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[HubError]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=raw))
    async with httpx.AsyncClient(transport=transport) as http:
        folder = manifest.HOME / adapter.manifest.id
        made = base.build(folder, adapter.config, adapter.secrets, http, connection_id=f"fixture-{id(http)}")
        try:
            await made.call.ask("POST", "/", form={"page": 1})
        except kind:
            return
    raise AssertionError(f"{kind.__name__} was due")
