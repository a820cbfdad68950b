"""What the contract kit needs to try the pool: a vendor that issues, and a table in memory in place of the
database's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from connectors.base import Adapter as AnyAdapter
from connectors.contracts import PurchaseOrder
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox
from connectors.voucher_pool.adapter import Adapter
from connectors.voucher_pool.sandbox import TOKEN, IssuingSandbox

ARTICLES = {
    f"SPA-{n:02}": {"title": f"水疗体验 {n}", "title_en": f"Spa {n}", "price": f"{100 + n}.00"} for n in range(30)
}
ISSUE: dict[str, Any] = {
    "post": "/v1/issues",
    "body": {
        "reference": "key",
        "items": {"each": "lines", "map": {"article": "vendor_sku", "quantity": "quantity", "line": "line_no"}},
    },
    "codes": "vouchers",
    "code": "number",
    "pin": "secret",
    "valid_until": "expires",
    "sku": "article",
    "out_of_stock": ["sold_out"],
    "find": {"get": "/v1/issues/{key}"},
    "cancel": {"post": "/v1/issues/{key}/cancel"},
}


class Kit(SystemKit):
    """The kit of the pool, with a vendor that issues."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Eight codes of each of thirty articles."""
        return IssuingSandbox(dict.fromkeys(ARTICLES, 8), faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        config = {
            "skus": ARTICLES, "source": "api", "base_url": sandbox.base_url, "issue": ISSUE, "page_rows": 10,
            "token_header": "X-Api-Token", "bearer": False,
        }  # fmt: skip
        return config, {"token": TOKEN}

    def adapter(self, sandbox: Sandbox) -> AnyAdapter:
        """With the sandbox's table: the kit runs without a database."""
        made = super().adapter(sandbox)
        assert isinstance(made, Adapter) and isinstance(sandbox, IssuingSandbox)
        made.pool = sandbox.pool
        return made

    def purchase_order(self) -> PurchaseOrder:
        """Two articles, three codes."""
        return example_order("po_0190a5c2f00070008000000000000001", [("SPA-03", 2, "103.00"), ("SPA-07", 1, "107.00")])

    def refused_order(self) -> PurchaseOrder:
        """More than the vendor has."""
        return example_order("po_0190a5c2f00070008000000000000002", [("SPA-03", 9, "103.00")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, IssuingSandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, IssuingSandbox)
        return next(request for request in sandbox.requests if request["reference"] == key)

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Settings of a pool."""
        return {"skus.json": _sold}


async def _sold(adapter: AnyAdapter, raw: bytes) -> None:
    """The articles of a small pool, as the README shows them, become listings."""
    config = {"skus": orjson.loads(raw)}
    pool = Adapter(adapter.manifest, config, {})
    [page] = [page async for page in pool.pull(None)]
    found = {listing.vendor_sku: listing for listing in page.listings}
    spa = found["SPA-60"]
    assert not page.bad and (spa.price, spa.market_price, spa.mode) == (Decimal("268.00"), Decimal("399"), "code")
    assert (spa.kind, spa.city, spa.on_hand, spa.attributes) == ("experience", "上海", 0, {"时长": "60 分钟"})
    assert found["CARD-100"].currency == "CNY" and found["CARD-100"].title_en == "Gift card 100"
