"""The stock of a WooCommerce shop by itself: a sale takes stock without moving `date_modified` (woocommerce#40060), so
no list of changes tells of it. The sweep reads all products and variations with the few fields that say what is there.

Variations come from `/wc/v3/variations` where the shop has it (WooCommerce 10.3 and later): one call a hundred of them
instead of one a product. An older shop is asked product by product."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from connectors.base import Adapter
from connectors.contracts import Cursor, Page
from connectors.declarative import PullsStockByManifest, stock_page
from connectors.paging import walk
from connectors.stockmap import StockMapper
from hub.kernel.errors import Broken, Misconfigured

PRODUCTS = "/wp-json/wc/v3/products"
VARIATIONS = "/wp-json/wc/v3/variations"
_FIELDS = "id,parent_id,sku,type,manage_stock,stock_quantity,stock_status"
_PARTS = ("products", "variations")


class ReadsVariations(Adapter):
    """The variations of one product."""

    async def variations_of(self, parent: Mapping[str, Any], **params: str) -> list[dict[str, Any]]:
        """All of them, in the order of their ids. Raises Broken when they are others than the parent says."""
        found: list[Any] = []
        listed = parent.get("variations")
        if not listed:
            return []
        page = 1
        while True:
            answer = await self.call.get(
                f"{PRODUCTS}/{parent['id']}/variations",
                {"per_page": 100, "page": page, "orderby": "id", "order": "asc", **params},
            )
            part = answer.json(self.manifest)
            if not isinstance(part, list):
                raise Broken("woocommerce: the variations are not a list", code="bad_shape")
            found += part
            if len(part) < 100:
                break
            page += 1
        good = [one for one in found if isinstance(one, dict)]
        if len(found) < len(listed) and not {one.get("id") for one in good} <= set(listed):
            raise Broken(f"woocommerce: product {parent['id']} has other variations than it says", code="rows_missing")
        return good


class SweepsStock(PullsStockByManifest, ReadsVariations):
    """PullsStock for WooCommerce. A cursor says which part is read (`products`, then `variations` in a shop that lists
    them all), whether the shop lists them (once that was asked), and where the part stands."""

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of stock figures of all that is published. `since` None: from the first page; otherwise from after a
        saved one. The last page has `complete`."""
        spec = self.manifest.pull_stock
        assert spec is not None, "the manifest has no pull_stock"
        mapper = StockMapper(spec.map, self.config)
        held = dict(since or {})
        listed: bool | None = held.get("listed")
        at: Cursor | None = held.get("at")
        for part in _PARTS[_PARTS.index(held.get("part", "products")) :]:
            each = spec if part == "products" else spec.model_copy(update={"get": VARIATIONS})
            async with contextlib.aclosing(walk(self.call, self.manifest, each, self.config, at)) as pages:
                async for got in pages:
                    records: list[Any] = []
                    for record in got.records:
                        if not isinstance(record, dict):
                            records.append(record)
                        elif part == "variations":
                            records.append(counted(record, f"#{record.get('parent_id')}/{record.get('id')}"))
                        elif record.get("type") == "simple":
                            records.append(counted(record))
                        elif record.get("type") == "variable" and record.get("variations"):
                            if listed is None:
                                listed = await self._lists_variations()
                            if not listed:
                                records += await self._figures_of(record)
                    figures, bad = mapper.figures(records)
                    more = got.last and part == "products" and bool(listed)
                    cursor: Cursor = {"part": part, "listed": listed, "at": got.cursor}
                    if more:
                        cursor = {"part": "variations", "listed": True, "at": None}
                    yield stock_page(figures, cursor, got.sent_at, complete=got.last and not more, bad=bad)
            if not listed:
                return
            at = None

    async def _figures_of(self, parent: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The variations of one published product, as far as they are published too."""
        wanted = {"status": "publish", "_fields": _FIELDS}
        found = await self.variations_of(parent, **wanted)
        return [counted(one, f"#{parent['id']}/{one.get('id')}") for one in found]

    async def _lists_variations(self) -> bool:
        """Whether the shop lists the variations of all products together."""
        try:
            await self.call.get(VARIATIONS, {"per_page": 1, "_fields": "id"})
        except Misconfigured as error:
            if error.code != "rest_no_route":
                raise
            return False
        return True


def counted(record: dict[str, Any], ref: str | None = None) -> dict[str, Any]:
    """`record` with its SKU's stand-in and its count, where the shop counts."""
    if not record.get("sku"):
        record["_ref"] = ref or f"#{record.get('id')}"
    if record.get("manage_stock") is True:  # `parent` shares one count among variations: their level is honest
        record["_count"] = record.get("stock_quantity")
    return record
