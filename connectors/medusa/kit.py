"""What the contract kit needs to try the Medusa connector: a small shop, orders, and what each recorded answer must
come out as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.contracts import PurchaseOrder
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.medusa.fixture_checks import CHECKS
from connectors.medusa.sandbox import MedusaSandbox
from connectors.sandbox_kit import Faults, Sandbox


class Kit(SystemKit):
    """The kit of Medusa."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty products, one that is not counted, one at two locations, one without a SKU, a set of two."""
        products: list[dict[str, Any]] = [
            {
                "title": f"试用商品 {n}",
                "description": "<p>一段&nbsp;描述</p>",
                "category": "日用品",
                "metadata": {"title_en": f"Sample {n}", "brand": "3M"},
                "variants": [{"sku": f"KIT-{n}", "price": 10.5 + n, "stock": n % 7}],
            }
            for n in range(1, 31)
        ]
        products[3]["variants"][0]["stock"] = None
        products += [
            {
                "title": "T恤",
                "variants": [
                    {"sku": f"KIT-TEE-{size}", "title": size, "price": price, "stock": stock, "options": {"尺码": size}}
                    for size, price, stock in (("S", 49, {"sloc_1": 3, "sloc_2": 4}), ("L", 52, {"sloc_2": 2}))
                ],
            },
            {"title": "无货号", "variants": [{"price": 1, "stock": 1}]},
            {"title": "套装", "variants": [{"sku": "KIT-SET", "price": 9.9, "stock": 8, "items": {"part": 2}}]},
        ]
        return MedusaSandbox(products, faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        assert isinstance(sandbox, MedusaSandbox)
        settings = {"base_url": sandbox.base_url, "publishable_key": sandbox.publishable_key, "page_size": 10}
        return settings, sandbox.credentials()

    def purchase_order(self) -> PurchaseOrder:
        """Two lines that the shop has."""
        return example_order("po_0190a5c2f00070008000000000000001", [("KIT-5", 2, "15.50"), ("KIT-TEE-S", 1, "49.00")])

    def refused_order(self) -> PurchaseOrder:
        """More than the shop has."""
        return example_order("po_0190a5c2f00070008000000000000002", [("KIT-5", 50, "15.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, MedusaSandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        """The cart that became the order."""
        assert isinstance(sandbox, MedusaSandbox)
        return next(sent for sent in sandbox.cart_requests if sent["metadata"]["supplyhub_po"] == key)

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """The recorded answers."""
        return CHECKS
