"""What the contract kit needs to try the Meituan connector."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.contracts import ListingIn
from connectors.kit import FixtureCheck, SystemKit
from connectors.meituan_retail.adapter import Adapter
from connectors.meituan_retail.sandbox import APP_ID, APP_SECRET, POI, MeituanSandbox
from connectors.paging import PageOfRecords
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import HubError, Misconfigured, Retry


class Kit(SystemKit):
    """The kit of a Meituan store."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return MeituanSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        config = {"base_url": sandbox.base_url, "app_id": APP_ID, "app_poi_code": POI, "page_size": 10}
        return config, {"app_secret": APP_SECRET}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Answers as the SDKs describe them."""
        return {
            "retail_list.json": _goods,
            "medicine_list.json": _medicines,
            "error_703.json": lambda a, raw: _fails(a, raw, Misconfigured),
            "error_711.json": lambda a, raw: _fails(a, raw, Retry),
            "error_result_code.json": lambda a, raw: _fails(a, raw, Misconfigured),
        }


async def _goods(adapter: AnyAdapter, raw: bytes) -> None:
    """SKUs that came as text; a number, no limit, and the largest number, which is no count."""
    large, small, eggs = await _mapped(adapter, raw, "retail")
    assert (large.vendor_sku, large.family_id, large.title) == ("10001-950", "10001", "光明鲜牛奶 950ml")
    assert (large.price, large.on_hand, large.gtin) == (Decimal("15.90"), 42, "06901209212222")
    assert large.attributes["品牌"] == "光明" and large.description == "冷藏 0-6℃"
    assert large.image_url == "https://p0.meituan.net/xianfu/a.jpg"
    assert (small.vendor_sku, small.on_hand, small.level) == ("10001-190", None, "in_stock")
    assert (eggs.vendor_sku, eggs.on_hand, eggs.level, eggs.active) == ("#10002", None, "in_stock", False)
    assert (eggs.gtin, eggs.attributes["upc"]) == (None, "EGG-01")


async def _medicines(adapter: AnyAdapter, raw: bytes) -> None:
    """The approval number is kept; a medicine without a code is known by its UPC, unique in a store."""
    cold, capsules = await _mapped(adapter, raw, "medicine")
    assert (cold.vendor_sku, cold.price, cold.on_hand, cold.pack) == ("M-001", Decimal("14.8"), 37, "10g*9袋")
    assert cold.attributes["approval_number"] == "国药准字Z44021940" and cold.attributes["medicine_type"] == "OTC"
    assert (capsules.vendor_sku, capsules.level) == ("#6900000000014", "in_stock")
    assert capsules.attributes["medicine_type"] == "处方药"


async def _mapped(adapter: AnyAdapter, raw: bytes, kind: str) -> list[ListingIn]:
    adapter = _like(adapter, kind=kind)
    bad: list[Any] = []
    records = orjson.loads(raw)["data"]
    got = PageOfRecords(records, {}, datetime(2026, 11, 22, tzinfo=UTC), True, 1)
    mapped = adapter.mapper.page(await adapter.expand(got, bad))
    assert not bad and not mapped.bad and not mapped.drift, (bad, mapped.bad, mapped.drift)
    return mapped.listings


def _like(adapter: AnyAdapter, http: httpx.AsyncClient | None = None, **config: Any) -> Adapter:
    made = base.build(
        manifest.HOME / adapter.manifest.id,
        {**adapter.config, **config},
        adapter.secrets,
        http,
        connection_id=f"fixture-{id(http)}",
    )
    assert isinstance(made, Adapter)
    return made


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[HubError]) -> None:
    """Sent once: whether a call may be repeated is not the fixture's matter."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=raw))
    async with httpx.AsyncClient(transport=transport) as http:
        try:
            await _like(adapter, http).call.send("GET", "/api/v1/retail/list")
        except kind:
            return
    raise AssertionError(f"{kind.__name__} was due")
