"""What the contract kit needs to try rest_json: it plays the first example of the README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import yaml

from connectors.base import Adapter
from connectors.contracts import PurchaseOrder
from connectors.declarative import PullsByManifest, TracksByManifest
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.rest_json.sandbox import PUSH_SECRET, TOKEN, RestSandbox
from connectors.sandbox_kit import Delivery, Faults, Sandbox
from hub.kernel import clock


def examples(folder: Path) -> list[dict[str, Any]]:
    """The settings that the README shows, in its order."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


class Kit(SystemKit):
    """The kit of rest_json."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return RestSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        config = {**examples(self.folder)[0], "base_url": sandbox.base_url}
        return config, {"token": TOKEN, "push_secret": PUSH_SECRET}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {"products.json": _a_page_is_read, "order.json": _an_order_is_followed}

    def purchase_order(self) -> PurchaseOrder:
        return example_order("po_example_1", [("R-5", 2, "14.50"), ("R-7", 1, "16.30")])

    def refused_order(self) -> PurchaseOrder:
        return example_order("po_example_2", [("R-5", 500, "14.50")])

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, RestSandbox)
        return sum(o["reference"] == key and o["state"] != "cancelled" for o in sandbox.orders.values())

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, RestSandbox)
        return sandbox.requests[key]

    def pushes(self, sandbox: Sandbox) -> Sequence[Delivery]:
        assert isinstance(sandbox, RestSandbox)
        return [sandbox.push(f"evt-{n}", quantity, n) for n, quantity in enumerate((9, 4, 6), 1)]

    def signature_header(self) -> str:
        return "X-Signature"


def _a_page_is_read(adapter: Adapter, raw: bytes) -> None:
    assert isinstance(adapter, PullsByManifest)
    mapped = adapter.mapper.page(orjson.loads(raw)["items"])
    assert not mapped.drift
    first = mapped.listings[0]
    assert (first.vendor_sku, first.external_id, first.price) == ("R-1", "9007199254740994", Decimal("10.90"))
    [bad] = mapped.bad
    assert (bad.vendor_sku, bad.reason) == ("R-2", "an amount in minor units must be a whole number")


def _an_order_is_followed(adapter: Adapter, raw: bytes) -> None:
    assert isinstance(adapter, TracksByManifest)
    update = adapter.order_update(orjson.loads(raw), "N1", clock.now())
    assert (update.status, update.raw_status, update.tracking_no) == ("shipped", "sent", "SF1234567890")
