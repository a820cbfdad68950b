"""What YAML cannot say of Vendure: GraphQL, names in two languages, facets that say brand and category, SKUs that the
server does not keep unique, and stock that lies at several places. README.md says what this was verified against."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.contracts import BadRow, Cursor, Page, StockFigure
from connectors.declarative import PullsByManifest, page_of, stock_page
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords, since_value
from connectors.stockmap import StockMapper
from connectors.vendure import documents, shelf
from connectors.vendure.orders import TakesOrders
from connectors.vendure.talking import listed, objects
from connectors.walking import Stand, Walked, walk
from hub.kernel.errors import Misconfigured
from hub.kernel.turns import slices

_BY_CODE = frozenset({"kind", "mode"})  # these have our own words, which a facet value's code can be
_SAID = frozenset({"brand", "category", "model", "gtin", "pack", "city", "department", *_BY_CODE})


@dataclass(frozen=True, slots=True)
class _Rows:
    """One page of variants, and where the pull stands after it."""

    rows: list[dict[str, Any]]
    cursor: Cursor
    sent_at: datetime
    last: bool


class Adapter(PullsByManifest, TakesOrders):
    """One channel of a Vendure server."""

    observes_prices = True  # where the connection names the channel of ordinary buyers

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of variants, each a listing. `since` as in PullsByManifest; an increment asks for variants that changed
        and then for those of products that changed."""
        fields = _settings(self.config["variant_fields"], "variant_fields").values()
        document = documents.variants(fields, collections=self.config["collections"])
        drift: set[str] = set()
        async with contextlib.aclosing(self._variants(document, since or {})) as pages:
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
        """What can be ordered of every variant, location by location; an order changes it and moves no `updatedAt`."""
        assert self.manifest.pull_stock is not None
        mapper = StockMapper(self.manifest.pull_stock.map, self.config)
        settings, _ = await self.admin(documents.SETTINGS)
        rules = shelf.rules_of(settings.get("globalSettings"))
        async with contextlib.aclosing(self._variants(documents.STOCK, {**(since or {}), "since": None})) as pages:
            async for page in pages:
                names = await self._names(page.rows)
                figures: list[StockFigure] = []
                bad: list[BadRow] = []
                for row in page.rows:
                    try:
                        records = list(_figures(row, rules, names[str(row["id"])]))
                    except ValueError as error:
                        bad.append(bad_row(row, f"no usable stock figure: {error}"))
                        continue
                    good, refused = mapper.figures(records)
                    figures += good
                    bad += refused
                yield stock_page(figures, page.cursor, page.sent_at, complete=page.last, bad=bad)

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """Each variant with the fields that the map reads and paths cannot find (their names start with `_`)."""
        names = await self._names(got.records)
        public = await self._public_prices(got.records)
        return [self.prepared(row, names[str(row["id"])], public.get(str(row["id"]))) for row in got.records]

    def again(self, record: Any) -> Any:
        """A kept record, with what facets and custom fields say by the settings of now."""
        if not isinstance(record, dict) or "_sku" not in record:
            return record
        return self.prepared(record, str(record["_sku"]), record.get("_market_price"))

    def prepared(self, row: dict[str, Any], sku: str, public_price: str | None = None) -> dict[str, Any]:
        """A variant as a flat record."""
        product = row["product"] if isinstance(row.get("product"), dict) else {}
        language = self.config["language_en"]
        english = _translated(row, language), _translated(product, language)
        made = {
            **row,
            "_sku": sku,
            "_title": _title(row.get("name"), product.get("name")),
            "_title_en": _title(*english) if language != self.config["language"] and all(english) else None,
            "_price": _text(self.amount(row)),
            "_market_price": public_price,
            "_image": _image(row) or _image(product),
            "_active": row.get("enabled") is not False and product.get("enabled") is not False,
            "_attributes": {
                str(option["group"].get("name") or option["group"].get("code")): str(option.get("name"))
                for option in objects(row.get("options"))
                if isinstance(option.get("group"), dict) and option.get("name")
            },
        }
        made["_said"] = self._said(row, product)
        return made

    def _said(self, row: Mapping[str, Any], product: Mapping[str, Any]) -> dict[str, Any]:
        """What facets, custom fields and collections say; the variant before its product."""
        said: dict[str, Any] = {"kind": self.config["kind"], "mode": self.config["mode"]}
        first = next(iter(objects(product.get("collections"))), None)
        if first is not None:
            said["category"] = first.get("name")
        facets = _settings(self.config["facets"], "facets")
        for values in (objects(product.get("facetValues")), objects(row.get("facetValues"))):
            for field, code in facets.items():
                for value in values:
                    facet = value.get("facet")
                    if isinstance(facet, dict) and facet.get("code") == code:
                        said[field] = value.get("code") if field in _BY_CODE else value.get("name")
                        break
        custom = row.get("customFields")
        if isinstance(custom, dict):
            for field, name in _settings(self.config["variant_fields"], "variant_fields").items():
                if custom.get(name) not in (None, ""):
                    said[field] = custom[name]
        return said

    # Pages ----------------------------------------------------------------------------------------------------

    async def _variants(self, document: str, since: Cursor) -> AsyncGenerator[_Rows, None]:
        """Pages of variants after `since`: all of them or, of an increment, those that changed (phase `variants`) and
        those of products that changed (phase `products`)."""
        begun = since.get("since")
        if since.get("done"):
            yield _Rows([], dict(since), datetime.fromisoformat(since["done"]), True)
            return
        size = self.page_size
        kept: Cursor = {"since": begun} if begun else {}
        changed: dict[str, Any] = {}
        if begun:
            rule = self.spec.incremental
            assert rule is not None
            changed = {"updatedAt": {"after": since_value(rule, datetime.fromisoformat(begun))}}
        stand = Stand.at(since)
        if since.get("phase") != "products":
            async with contextlib.aclosing(self._walk(document, "productVariants", changed, size, stand)) as pages:
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
        async with contextlib.aclosing(self._walk(documents.PRODUCTS, "products", changed, size, stand)) as found:
            async for products in found:
                rows = await self._variants_of([str(row["id"]) for row in products.rows], document, size)
                cursor = {**kept, "phase": "products", **stand.cursor()}
                if products.last:
                    cursor["done"] = products.sent_at.isoformat()
                yield _Rows(rows, cursor, products.sent_at, products.last)

    async def _variants_of(self, products: Sequence[str], document: str, size: int) -> list[dict[str, Any]]:
        if not products:
            return []
        of_these = {"productId": {"in": list(products)}}
        async with contextlib.aclosing(self._walk(document, "productVariants", of_these, size, Stand())) as pages:
            return [row async for page in pages for row in page.rows]

    def _walk(
        self, document: str, name: str, filtered: Mapping[str, Any], size: int, stand: Stand
    ) -> AsyncGenerator[Walked, None]:
        async def fetch(skip: int, take: int) -> tuple[list[dict[str, Any]], int, datetime]:
            options: dict[str, Any] = {"skip": skip, "take": take, "sort": {"id": "ASC"}}
            if filtered:
                options["filter"] = dict(filtered)
            data, sent_at = await self.admin(document, {"options": options})
            rows, total = listed(data, name)
            return rows, total, sent_at

        return walk(f"vendure: {name}", fetch, size, stand, int)

    # Names ----------------------------------------------------------------------------------------------------

    async def _names(self, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Variant id -> what the hub calls it: its SKU, or `#id` when it has none or shares it with another (Vendure
        does not keep SKUs unique)."""
        here = Counter(sku for row in rows if (sku := _sku(row)))
        shared: set[str] = {sku for sku, times in here.items() if times > 1}
        if here:
            with_them = {"sku": {"in": sorted(here)}}
            data, _ = await self.admin(documents.SKUS, {"options": {"take": 1, "filter": with_them}})
            _, total = listed(data, "productVariants")
            if total != sum(here.values()):
                walked = self._walk(documents.SKUS, "productVariants", with_them, self.page_size, Stand())
                async with contextlib.aclosing(walked) as pages:
                    everywhere = Counter([_sku(row) async for page in pages for row in page.rows])
                shared |= {sku for sku in here if everywhere[sku] > 1}
        return {str(row["id"]): sku if (sku := _sku(row)) and sku not in shared else f"#{row['id']}" for row in rows}

    async def _public_prices(self, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Variant id -> what it costs in the ordinary buyers' channel, in the same currency."""
        channel = self.config["public_channel"]
        if not channel or not rows:
            return {}
        currencies = {str(row["id"]): row.get("currencyCode") for row in rows}
        asked = {"take": self.page_size + 1, "filter": {"id": {"in": list(currencies)}}}
        data, _ = await self.admin(documents.PRICES, {"options": asked}, channel=channel)
        prices, _ = listed(data, "productVariants")
        return {
            str(row["id"]): f"{price:f}"
            for row in prices
            if row.get("currencyCode") == currencies.get(str(row.get("id"))) and (price := self.amount(row))
        }

    @property
    def page_size(self) -> int:
        """Rows a page. One more is asked for, to see that none was lost."""
        size = self.config["page_size"]
        if not 1 <= size <= 1000:
            raise Misconfigured("the setting 'page_size' must be between 1 and 1000", code="bad_config")
        return min(int(size), 999)


def _figures(row: Mapping[str, Any], rules: shelf.Rules, sku: str) -> list[dict[str, Any]]:
    if not shelf.counted(row, rules):
        return [{"sku": sku, "level": "in_stock"}]
    at = shelf.at_locations(row, rules)
    return [{"sku": sku, "location": location, "on_hand": free} for location, free in at] or [
        {"sku": sku, "on_hand": 0}
    ]


def _settings(given: Mapping[str, Any], name: str) -> dict[str, str]:
    """A setting that says where our fields stand; raises Misconfigured for fields that cannot be said so."""
    unknown = sorted(set(given) - _SAID)
    if unknown or not all(isinstance(value, str) for value in given.values()):
        raise Misconfigured(f"the setting {name!r} can say {', '.join(sorted(_SAID))}, each a text", code="bad_config")
    return dict(given)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _sku(row: Mapping[str, Any]) -> str:
    """The shop's SKU, or nothing; one that looks like an id of ours would be taken for it."""
    sku = row.get("sku")
    sku = sku.strip() if isinstance(sku, str) else ""
    return "" if sku.startswith("#") else sku


def _title(own: Any, product: Any) -> str | None:
    """A variant's name; with its product's in front where it does not say it."""
    own, product = (value.strip() if isinstance(value, str) else "" for value in (own, product))
    if not own or not product or product.replace(" ", "") in own.replace(" ", ""):
        return own or product or None
    return f"{product} {own}"


def _translated(thing: Mapping[str, Any], language: str) -> str | None:
    for translation in objects(thing.get("translations")):
        if translation.get("languageCode") == language and isinstance(translation.get("name"), str):
            return str(translation["name"])
    return None


def _image(thing: Mapping[str, Any]) -> str | None:
    asset = thing.get("featuredAsset")
    preview = asset.get("preview") if isinstance(asset, dict) else None
    return preview if isinstance(preview, str) and preview else None
