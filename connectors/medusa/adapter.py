"""What YAML cannot say of Medusa: prices that the Store API calculates for a region (price lists, rules), names made of
a product's and its variant's, stock of sets at the locations of a sales channel. README.md says what this was verified
against."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.contracts import BadRow, Cursor, Page, StockFigure
from connectors.declarative import PullsByManifest, page_of, stock_page
from connectors.mapping import Mapped, bad_row
from connectors.medusa import shelf
from connectors.medusa.orders import TakesOrders
from connectors.medusa.talking import Market, amount, objects
from connectors.paging import PageOfRecords, since_value
from connectors.stockmap import StockMapper
from connectors.walking import Stand, Walked, walk
from hub.kernel.errors import Misconfigured
from hub.kernel.turns import slices

_VARIANTS = "/admin/product-variants"
_FIELDS = (
    "id,title,sku,ean,upc,barcode,thumbnail,metadata,manage_inventory,allow_backorder,"
    "*prices,prices.price_rules.value,prices.price_rules.attribute,options.value,options.option.title,"
    "product.id,product.title,product.description,product.status,product.thumbnail,product.metadata,"
    "product.categories.name,product.type.value,product.images.url"
)
_PLAIN = frozenset({"default", "default variant", "default option value", "默认", "默认规格"})


@dataclass(frozen=True, slots=True)
class _Rows:
    """One page of variants, and where the pull stands after it."""

    rows: list[dict[str, Any]]
    cursor: Cursor
    sent_at: datetime
    last: bool


class Adapter(PullsByManifest, TakesOrders):
    """One sales channel of a Medusa server."""

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of variants, each a listing. `since` as in PullsByManifest; an increment asks for variants that changed
        and then for those of products that changed."""
        drift: set[str] = set()
        async with contextlib.aclosing(self._variants(_FIELDS, since or {})) as pages:
            async for page in pages:
                bad: list[BadRow] = []
                got = PageOfRecords(page.rows, page.cursor, page.sent_at, page.last, int(page.cursor.get("number", 0)))
                records = await self.expand(got, bad)
                known = await self.known(self.mapper.skus(records)) if self.known is not None else None
                mapped = Mapped(raws=[] if self.keep_raw else None)
                async for part in slices(records):
                    self.mapper.extend(mapped, part, known)
                fresh = mapped.drift - drift
                drift |= fresh
                yield page_of(mapped, got, bad, fresh)

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """What can be ordered of every variant, location by location; an order changes it and moves no `updated_at`."""
        assert self.manifest.pull_stock is not None
        mapper = StockMapper(self.manifest.pull_stock.map, self.config)
        market = await self.market()
        stand = {**(since or {}), "since": None}
        async with contextlib.aclosing(self._variants(shelf.FIELDS, stand)) as pages:
            async for page in pages:
                figures: list[StockFigure] = []
                bad: list[BadRow] = []
                for row in page.rows:
                    try:
                        records = list(_figures(row, market))
                    except ValueError as error:
                        bad.append(bad_row(row, f"no usable stock figure: {error}"))
                        continue
                    good, refused = mapper.figures(records)
                    figures += good
                    bad += refused
                yield stock_page(figures, page.cursor, page.sent_at, complete=page.last, bad=bad)

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """Each variant with the fields that the map reads and paths cannot find (their names start with `_`)."""
        market = await self.market()
        asks = bool(self.config["publishable_key"])
        prices = await self._calculated(got.records, market) if asks else {}
        ready: list[Any] = []
        for row in got.records:
            sold = str(row["id"]) in prices or not asks
            price = prices[str(row["id"])] if sold and asks else listed_price(row, market)
            if price is None:
                reason = f"the shop has no price for it in {market.currency}"
                bad.append(bad_row(row, reason, "/price", shelf.sku_of(row)))
            else:
                ready.append(self.prepared(row, market, price, sold))
        return ready

    def prepared(self, row: dict[str, Any], market: Market, price: Decimal, sold: bool) -> dict[str, Any]:
        """A variant as a flat record; `sold` says whether the sales channel has it."""
        product = row["product"] if isinstance(row.get("product"), dict) else {}
        images = objects(product.get("images"))
        return {
            **row,
            "_sku": shelf.sku_of(row),
            "_title": _title(row.get("title"), product.get("title")),
            "_price": f"{price:f}",
            "_currency": market.currency,
            "_image": row.get("thumbnail") or product.get("thumbnail") or (images[0].get("url") if images else None),
            "_active": product.get("status") == "published" and sold,
            "_attributes": {
                str(option["option"].get("title")): str(option.get("value"))
                for option in objects(row.get("options"))
                if isinstance(option.get("option"), dict)
                and str(option.get("value") or "default").lower() not in _PLAIN
            },
            "_said": self._said(row, product),
        }

    def again(self, record: Any) -> Any:
        """A kept record, with what its metadata says by the settings of now."""
        if not isinstance(record, dict) or "_said" not in record:
            return record
        product = record["product"] if isinstance(record.get("product"), dict) else {}
        return {**record, "_said": self._said(record, product)}

    def _said(self, row: Mapping[str, Any], product: Mapping[str, Any]) -> dict[str, Any]:
        """What metadata, categories and type say; the variant's metadata before its product's."""
        said: dict[str, Any] = {"kind": self.config["kind"], "mode": self.config["mode"]}
        categories = objects(product.get("categories"))
        kind = product.get("type")
        said["category"] = categories[0].get("name") if categories else kind.get("value") if kind else None
        for metadata in (product.get("metadata"), row.get("metadata")):
            if isinstance(metadata, dict):
                for field, key in self.config["meta_keys"].items():
                    value = metadata.get(key)
                    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                        said[field] = value
        return said

    async def _calculated(self, rows: Sequence[dict[str, Any]], market: Market) -> dict[str, Decimal | None]:
        """Variant id -> what it costs in the market now, with price lists and rules, for what the channel sells."""
        products = sorted({str(row["product"].get("id")) for row in rows if isinstance(row.get("product"), dict)})
        found: dict[str, Decimal | None] = {}
        for start in range(0, len(products), 50):
            params = {
                "id[]": products[start : start + 50],
                "region_id": market.region_id,
                "country_code": self.config["country"].lower(),
                "fields": "id,variants.id,*variants.calculated_price",
                "limit": 50,
            }
            answer = await self.shop_gets("/store/products", params)
            for product in self.listed(answer, "products")[0]:
                for variant in objects(product.get("variants")):
                    price = variant.get("calculated_price")
                    found[str(variant.get("id"))] = self.price_in(price if isinstance(price, dict) else {})
        return found

    def price_in(self, price: Mapping[str, Any]) -> Decimal | None:
        """The agreed kind of price in a calculated one."""
        taxed = price.get("calculated_amount_with_tax" if self.config["with_tax"] else "calculated_amount_without_tax")
        return amount(taxed if taxed is not None else price.get("calculated_amount"))

    # Pages ----------------------------------------------------------------------------------------------------

    async def _variants(self, fields: str, since: Cursor) -> AsyncGenerator[_Rows, None]:
        """Pages of variants after `since`: all of them or, of an increment, those that changed (phase `variants`) and
        those of products that changed (phase `products`)."""
        begun = since.get("since")
        if since.get("done"):
            yield _Rows([], dict(since), datetime.fromisoformat(since["done"]), True)
            return
        kept: Cursor = {"since": begun} if begun else {}
        changed: dict[str, Any] = {}
        if begun:
            rule = self.spec.incremental
            assert rule is not None
            changed = {rule.param: since_value(rule, datetime.fromisoformat(begun))}
        stand = Stand.at(since)
        if since.get("phase") != "products":
            params = {**changed, "fields": fields}
            async with contextlib.aclosing(self._walk(_VARIANTS, "variants", params, stand)) as pages:
                async for got in pages:
                    last = got.last and not begun
                    cursor = {**kept, **stand.cursor()}
                    if last:
                        cursor["done"] = got.sent_at.isoformat()
                    elif got.last:
                        cursor = {**kept, "phase": "products"}
                    yield _Rows(got.rows, cursor, got.sent_at, last)
            stand = Stand()
        if not begun:
            return
        params = {**changed, "fields": "id,variants.id"}
        async with contextlib.aclosing(self._walk("/admin/products", "products", params, stand)) as found:
            async for products in found:
                ids = [str(v.get("id")) for row in products.rows for v in objects(row.get("variants"))]
                rows = await self._variants_with(ids, fields)
                cursor = {**kept, "phase": "products", **stand.cursor()}
                if products.last:
                    cursor["done"] = products.sent_at.isoformat()
                yield _Rows(rows, cursor, products.sent_at, products.last)

    async def _variants_with(self, ids: Sequence[str], fields: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), 50):
            some = ids[start : start + 50]
            found += (await self.rows(_VARIANTS, "variants", {"id[]": some, "limit": 50, "fields": fields}))[0]
        return found

    def _walk(self, path: str, name: str, params: Mapping[str, Any], stand: Stand) -> AsyncGenerator[Walked, None]:
        async def fetch(offset: int, limit: int) -> tuple[list[dict[str, Any]], int, datetime]:
            return await self.rows(path, name, {**params, "order": "id", "offset": offset, "limit": limit})

        size = self.config["page_size"]
        if not 1 <= size <= 1000:
            raise Misconfigured("the setting 'page_size' must be between 1 and 1000", code="bad_config")
        return walk(f"medusa: {name}", fetch, size, stand)


def listed_price(row: Mapping[str, Any], market: Market) -> Decimal | None:
    """A variant's own price in the market: that of its region before that of its currency; price lists are not among
    these, and prices for certain quantities or by other rules are not for everybody. Pure."""
    plain: Decimal | None = None
    for price in objects(row.get("prices")):
        if str(price.get("currency_code")).upper() != market.currency:
            continue
        if price.get("min_quantity") not in (None, 0, 1) or price.get("max_quantity") is not None:
            continue
        rules = price.get("rules") or {}
        if rules == {"region_id": market.region_id}:
            return amount(price.get("amount"))
        if not rules and plain is None:
            plain = amount(price.get("amount"))
    return plain


def _figures(row: Mapping[str, Any], market: Market) -> list[dict[str, Any]]:
    sku = shelf.sku_of(row)
    if not shelf.counted(row):
        return [{"sku": sku, "level": "in_stock"}]
    at = shelf.at_locations(row, market.locations)
    if shelf.shared(row):
        return [{"sku": sku, "level": "in_stock" if any(at.values()) else "out"}]
    return [{"sku": sku, "location": location, "on_hand": free} for location, free in at.items()] or [
        {"sku": sku, "on_hand": 0}
    ]


def _title(own: Any, product: Any) -> str | None:
    """A product's name and its variant's, where that says something."""
    own, product = (value.strip() if isinstance(value, str) else "" for value in (own, product))
    if not own or not product or own.lower() in _PLAIN or own in product:
        return product or own or None
    return own if product in own else f"{product} {own}"
