"""What the contract kit needs to try this connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from connectors.base import Adapter, load_module
from connectors.contracts import PurchaseOrder
from connectors.declarative import PullsByManifest
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Delivery, Faults, Sandbox

sandbox = load_module(Path(__file__).parent, "sandbox")


class Kit(SystemKit):
    """The kit of acme."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return sandbox.AcmeSandbox(faults)

    def connection(self, running: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        return {"base_url": running.base_url}, {"token": sandbox.TOKEN, "push_secret": sandbox.PUSH_SECRET}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {"products.json": a_documented_page_is_read}

    def purchase_order(self) -> PurchaseOrder:
        return example_order("po_example_1", [("A-5", 2, "5.90"), ("A-7", 1, "7.90")])

    def refused_order(self) -> PurchaseOrder:
        return example_order("po_example_2", [("A-5", 500, "5.90")])

    def orders_at_vendor(self, running: Sandbox, key: str) -> int:
        return sum(order["state"] != "CAN" for order in running.orders.values() if order["reference"] == key)

    def order_request(self, running: Sandbox, key: str) -> Any:
        return running.requests[key]

    def pushes(self, running: Sandbox) -> Sequence[Delivery]:
        return [running.push(f"evt-{n}", quantity, n) for n, quantity in enumerate((9, 4, 6), 1)]


def a_documented_page_is_read(adapter: Adapter, raw: bytes) -> None:
    """fixtures/products.json is a page as acme documents it."""
    assert isinstance(adapter, PullsByManifest)
    mapped = adapter.mapper.page(orjson.loads(raw)["data"])
    assert not mapped.bad and not mapped.drift
    first = mapped.listings[0]
    assert (first.vendor_sku, first.price, first.on_hand) == ("A-100", Decimal("12.90"), 40)
