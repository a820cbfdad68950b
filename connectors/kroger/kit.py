"""What the contract kit needs to try the Kroger connector."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.kit import FixtureCheck, SystemKit
from connectors.kroger.adapter import Adapter
from connectors.kroger.sandbox import CLIENT_ID, CLIENT_SECRET, PLACE, KrogerSandbox
from connectors.paging import PageOfRecords
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import HubError, Misconfigured, Retry


class Kit(SystemKit):
    """The kit of a Kroger store."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return KrogerSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Two searches of pages of ten, that must be seen whole."""
        config = {
            "base_url": sandbox.base_url, "location_id": PLACE, "terms": "milk, bread", "page_size": 10,
            "sweep": "whole",
        }  # fmt: skip
        return config, {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Answers with the examples of Kroger's own description."""
        return {
            "products.json": _products,
            "error_400.json": lambda a, raw: _fails(a, raw, 400, Misconfigured),
            "error_401.json": lambda a, raw: _fails(a, raw, 401, Misconfigured),
            "error_500.json": lambda a, raw: _fails(a, raw, 500, Retry),
        }


async def _products(adapter: AnyAdapter, raw: bytes) -> None:
    """A promotion is what anybody pays; a level is a level; without a price there is nothing to list."""
    assert isinstance(adapter, Adapter)
    bad: list[Any] = []
    got = PageOfRecords(orjson.loads(raw)["data"], {}, datetime(2026, 11, 22, tzinfo=UTC), True, 1)
    mapped = adapter.mapper.page(await adapter.expand(got, bad))
    assert not mapped.bad and not mapped.drift, (mapped.bad, mapped.drift)
    milk, bananas = mapped.listings
    assert (milk.vendor_sku, milk.external_id, milk.family_id) == ("0001111041700", "0001111041700", None)
    assert (milk.price, milk.market_price, milk.currency) == (Decimal("1.59"), Decimal("1.59"), "USD")
    assert milk.attributes["regular_price"] == "1.99" and milk.attributes["fulfilment"] == "curbside, delivery, instore"
    assert (milk.level, milk.on_hand, milk.location, milk.pack) == ("in_stock", None, PLACE, "1 gal")
    assert milk.url == "https://www.kroger.com/p/kroger-2-reduced-fat-milk/0001111041700" and milk.gtin is None
    assert (bananas.level, bananas.active, bananas.attributes["sold_by"]) == (None, False, "WEIGHT")
    [eggnog] = bad
    assert (eggnog.vendor_sku, eggnog.pointer) == ("0001111099999", "/items/price")


async def _fails(adapter: AnyAdapter, raw: bytes, status: int, kind: type[HubError]) -> None:
    """Sent once: whether a call may be repeated is not the fixture's matter."""

    def kroger(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 1800})
        return httpx.Response(status, content=raw)

    async with httpx.AsyncClient(transport=httpx.MockTransport(kroger)) as http:
        folder = manifest.HOME / adapter.manifest.id
        made = base.build(folder, adapter.config, adapter.secrets, http, connection_id=f"fixture-{id(http)}")
        try:
            await made.call.send("GET", "/v1/products")
        except kind:
            return
    raise AssertionError(f"{kind.__name__} was due")
