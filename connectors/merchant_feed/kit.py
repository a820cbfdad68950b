"""What the contract kit needs to try the merchant feed, and what each sample feed comes out as."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from connectors.base import Adapter as AnyAdapter
from connectors.kit import FixtureCheck, SystemKit
from connectors.mapping import Mapped
from connectors.merchant_feed.sandbox import TOKEN, MerchantSandbox
from connectors.sandbox_kit import Faults, Sandbox
from connectors.table_feed.config import feed_config
from connectors.table_feed.reading import refused_and_mapped
from connectors.tables import land

_NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


def examples(folder: Path) -> list[dict[str, Any]]:
    """The settings that the README shows, in its order."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


class Kit(SystemKit):
    """The kit of the merchant feed."""

    def sandbox(self, faults: Faults) -> Sandbox:
        return MerchantSandbox(faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """The first example of the README, in pages of ten."""
        assert isinstance(sandbox, MerchantSandbox)
        return {**examples(self.folder)[0], "url": sandbox.url("xml"), "page_rows": 10}, {"token": TOKEN}

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        return {"feed.xml": _rss, "feed_atom.xml": _atom, "feed.tsv": _tsv, "feed.csv": _csv}


async def _mapped(raw: bytes) -> Mapped:
    async def body() -> AsyncIterator[bytes]:
        yield raw

    with await land(body()) as spooled:
        mapped = refused_and_mapped(spooled, feed_config({"file": "fixture", "preset": "merchant_feed"}), _NOW)
    _is(mapped.drift, set())
    return mapped


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


async def _rss(_adapter: AnyAdapter, raw: bytes) -> None:
    mapped = await _mapped(raw)
    shirt, perfume, kit = mapped.listings
    _is((shirt.price, shirt.currency, shirt.shipping), (Decimal("99.00"), "CNY", Decimal("8.00")))
    _is((shirt.gtin, shirt.model, shirt.family_id, shirt.level), ("06901234567892", "SH-RM", "SHIRT", "in_stock"))
    _is((shirt.url, shirt.description), ("https://shop.example/p/shirt?c=red", "透气 纯棉"))
    _is((shirt.attributes["list_price"], shirt.attributes["adult"]), ("129.00 CNY", "no"))
    _is((perfume.level, perfume.pack, perfume.shipping), ("out", "150 ml", Decimal(0)))
    _is((perfume.attributes["availability"], perfume.attributes["unit_pricing_base_measure"]), ("preorder", "100 ml"))
    _is((kit.gtin, kit.model, kit.brand, kit.attributes["is_bundle"]), (None, None, "示例", "yes"))
    [bad] = mapped.bad
    assert "link is empty" in bad.reason, bad.reason


async def _atom(_adapter: AnyAdapter, raw: bytes) -> None:
    [tv] = (await _mapped(raw)).listings
    _is((tv.price, tv.currency, tv.shipping, tv.level), (Decimal("159.00"), "USD", Decimal("14.95"), "out"))
    _is((tv.url, tv.attributes["condition"]), ("https://shop.example/p/tv", "used"))


async def _tsv(_adapter: AnyAdapter, raw: bytes) -> None:
    mapped = await _mapped(raw)
    three, one = mapped.listings
    _is((three.price, three.pack, three.shipping), (Decimal("30.00"), "3件装", Decimal("6.00")))
    _is((one.level, one.shipping, one.gtin), ("out", Decimal("9.00"), "06901234567892"))
    [bad] = mapped.bad
    assert "does not have the parts country:region:service:price" in bad.reason, bad.reason


async def _csv(_adapter: AnyAdapter, raw: bytes) -> None:
    mapped = await _mapped(raw)
    tea, phone = mapped.listings
    _is((tea.pack, tea.attributes["condition"]), ("50 件", "new"))
    _is(phone.attributes["condition"], "member")  # with a contract: not what an ordinary buyer pays
    [bad] = mapped.bad
    assert "'like new' is not a condition" in bad.reason, bad.reason
