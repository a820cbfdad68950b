"""What the contract kit needs to try the Vendure connector: a small shop, orders, and what each recorded answer must
come out as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.contracts import PurchaseOrder
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox
from connectors.vendure.fixture_checks import CHECKS
from connectors.vendure.sandbox import VendureSandbox


class Kit(SystemKit):
    """The kit of Vendure."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty products, one with variants at two locations, one that is not counted, one SKU twice, one without."""
        products: list[dict[str, Any]] = [
            {
                "name": f"试用商品 {n}",
                "name_en": f"Sample {n}",
                "description": "<p>一段&nbsp;描述</p>",
                "brand": "3M",
                "category": "口罩",
                "variants": [{"sku": f"KIT-{n}", "price": 1050 + 100 * n, "stock": n % 7}],
            }
            for n in range(1, 31)
        ]
        products[3]["variants"][0]["stock"] = None
        products += [
            {
                "name": "T恤",
                "name_en": "T-shirt",
                "variants": [
                    {
                        "sku": "KIT-TEE-S",
                        "name": "T恤 S",
                        "price": 4900,
                        "stock": {"1": 3, "2": 4},
                        "options": {"尺码": "S"},
                    },
                    {
                        "sku": "KIT-TEE-L",
                        "name": "T恤 L",
                        "price": 5200,
                        "stock": {"1": 0, "2": 2},
                        "options": {"尺码": "L"},
                    },
                ],
            },
            {"name": "双份", "variants": [{"sku": "KIT-TWICE", "price": 100, "stock": 1} for _ in range(2)]},
            {"name": "无货号", "variants": [{"price": 100, "stock": 1}]},
        ]
        return VendureSandbox(products, faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        assert isinstance(sandbox, VendureSandbox)
        return {"base_url": sandbox.base_url, "username": sandbox.username, "page_size": 10}, sandbox.credentials()

    def purchase_order(self) -> PurchaseOrder:
        """Two lines that the shop has."""
        return example_order("po_0190a5c2f00070008000000000000001", [("KIT-5", 2, "15.50"), ("KIT-TEE-S", 1, "49.00")])

    def refused_order(self) -> PurchaseOrder:
        """More than the shop has."""
        return example_order("po_0190a5c2f00070008000000000000002", [("KIT-5", 50, "15.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, VendureSandbox)
        return sandbox.living(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        """The variables of the operations that made the order."""
        assert isinstance(sandbox, VendureSandbox)
        steps = ("FirstItem", "RestOfCart", "Arrange", "Pay")
        return {name: variables for name, variables in sandbox.asked if name in steps}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """The recorded answers."""
        return CHECKS
