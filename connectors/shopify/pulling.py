"""Pulling a shop: all listings by a bulk operation, changes by pages of products, stock by an operation of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest, page_of, stock_page
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords
from connectors.shopify.bulk import RunsBulk
from connectors.shopify.documents import (
    ALL_STOCK,
    ALL_VARIANTS,
    CHANGED_PRODUCTS,
    MORE_VARIANTS,
    SAME_SKUS,
    SHOP,
)
from connectors.shopify.graphql import field, following, nodes, quoted
from connectors.shopify.records import Levels, Skus, not_sold_here, number, on_sale, record_of, sku_of
from connectors.stockmap import StockMapper
from hub.kernel.errors import Broken, Misconfigured
from hub.kernel.turns import slices

_PRODUCTS, _VARIANTS = 10, 20  # a page of changes: a query may cost 1000 points
_SKUS = 40  # asked for at once


class PullsShop(PullsByManifest, RunsBulk):
    """PullsListings and PullsStock."""

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of listings. `since` None: all on sale; {"since": iso time}: what changed after it; a saved page's
        cursor: from after that page."""
        pages = self._changes(since) if since and "since" in since else self._everything(since)
        async with contextlib.aclosing(pages) as asked:
            async for got, bad in asked:
                known = await self.known(self.mapper.skus(got.records)) if self.known is not None else None
                mapped = Mapped()
                async for part in slices(got.records):
                    self.mapper.extend(mapped, part, known)
                yield page_of(mapped, got, bad)

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """What is available of each variant on sale at each location."""
        spec = self.manifest.pull_stock
        assert spec is not None, "the manifest has pull_stock"
        mapper, levels = StockMapper(spec.map, self.config), Levels(published_only=self.published_only)
        selling = frozenset(part.strip() for part in self.config["locations"].split(",") if part.strip())
        lines = self.bulk(ALL_STOCK, since, self.page_rows, levels.note)
        async with contextlib.aclosing(lines) as pages:
            async for got in pages:
                records = [record for line in got.records for record in levels.figures(line, selling)]
                figures, bad = mapper.figures(records)
                yield stock_page(figures, got.cursor, got.sent_at, complete=got.last, bad=bad)

    @property
    def published_only(self) -> bool:
        return bool(self.config["published_only"])

    @property
    def page_rows(self) -> int:
        rows = self.config["page_rows"]
        if not 1 <= rows <= 10_000:
            raise Misconfigured("the setting 'page_rows' must be between 1 and 10000", code="bad_config")
        return int(rows)

    async def same_currency(self) -> None:
        """Raises Misconfigured when the shop sells in another currency than the connection says."""
        self.check_currency((await self.ask(SHOP)).data)

    def check_currency(self, data: Mapping[str, Any]) -> None:
        """The same from an answer that names the shop's currency."""
        currency = field(data, "shop").get("currencyCode")
        if currency != self.config["currency"]:
            raise Misconfigured(
                f"the shop sells in {str(currency)[:10]}; set the connection's currency to it", code="wrong_currency"
            )

    # Everything -----------------------------------------------------------------------------------------------

    async def _everything(self, since: Cursor | None) -> AsyncGenerator[tuple[PageOfRecords, list[BadRow]], None]:
        if not since:
            await self.same_currency()
        skus = Skus()

        def note(line: Any) -> None:
            if isinstance(line, dict) and on_sale(line.get("product"), published_only=self.published_only):
                skus.add(line)

        async with contextlib.aclosing(self.bulk(ALL_VARIANTS, since, self.page_rows, note)) as pages:
            async for got in pages:
                bad: list[BadRow] = []
                pairs = _pairs(got.records, bad)
                records = self._records([p for p in pairs if self._on_sale(p[1])], skus, bad)
                yield PageOfRecords(records, got.cursor, got.sent_at, got.last, got.number), bad

    # Changes --------------------------------------------------------------------------------------------------

    async def _changes(self, since: Cursor) -> AsyncGenerator[tuple[PageOfRecords, list[BadRow]], None]:
        if since.get("done"):
            yield PageOfRecords([], dict(since), datetime.fromisoformat(since["done"]), True, 0), []
            return
        rule = self.spec.incremental
        assert rule is not None, "the manifest has incremental"
        after = since.get("after")
        if after is None:
            await self.same_currency()
        start = datetime.fromisoformat(since["since"]).astimezone(UTC) - timedelta(seconds=rule.overlap_s)
        variables = {
            "query": f"updated_at:>='{start:%Y-%m-%dT%H:%M:%SZ}'",
            "products": _PRODUCTS,
            "variants": _VARIANTS,
        }
        page = int(since.get("page", 0))
        while True:
            said = await self.ask(CHANGED_PRODUCTS, {**variables, "after": after})
            connection = field(said.data, "products")
            bad: list[BadRow] = []
            pairs = await self._variants(nodes(connection), bad)
            records = self._records(pairs, await self._holders(variant for variant, _ in pairs), bad)
            before, after, page = after, following(connection), page + 1
            if after is not None and after == before:
                raise Broken("shopify sent the same page twice", code="page_repeated")
            cursor: Cursor = {"since": since["since"], "after": after, "page": page}
            if after is None:
                cursor = {"since": since["since"], "done": said.sent_at.isoformat()}
            yield PageOfRecords(records, cursor, said.sent_at, after is None, page), bad
            if after is None:
                return

    async def _variants(self, products: Sequence[Any], bad: list[BadRow]) -> list[tuple[Any, Any]]:
        """Every variant of these products beside its product."""
        found: list[tuple[Any, Any]] = []
        for product in products:
            if not isinstance(product, dict):
                bad.append(bad_row(product, "the product is not an object"))
                continue
            connection = field(product, "variants")
            while True:
                found += [(variant, product) for variant in nodes(connection) if isinstance(variant, dict)]
                after = following(connection)
                if after is None:
                    break
                said = await self.ask(MORE_VARIANTS, {"id": product.get("id"), "variants": 100, "after": after})
                if said.data.get("product") is None:
                    break  # deleted meanwhile
                connection = field(field(said.data, "product"), "variants")
        return found

    async def _holders(self, variants: Iterable[Mapping[str, Any]]) -> Skus:
        """Who on sale has the SKUs of these variants, in the whole shop."""
        skus, wanted = Skus(), sorted({sku for variant in variants if (sku := sku_of(variant))})
        for start in range(0, len(wanted), _SKUS):
            query = " OR ".join(f"sku:{quoted(sku)}" for sku in wanted[start : start + _SKUS])
            after: str | None = None
            while True:
                connection = field(
                    (await self.ask(SAME_SKUS, {"query": query, "after": after})).data, "productVariants"
                )
                for variant in nodes(connection):
                    if isinstance(variant, dict) and self._on_sale(variant.get("product")):
                        skus.add(variant)
                after = following(connection)
                if after is None:
                    break
        return skus

    # Both -----------------------------------------------------------------------------------------------------

    def _on_sale(self, product: Any) -> bool:
        return on_sale(product, published_only=self.published_only)

    def _records(self, pairs: Sequence[tuple[Any, Any]], skus: Skus, bad: list[BadRow]) -> list[Any]:
        """The records to map; what the hub cannot sell goes to `bad` with its reason."""
        for variant, product in pairs:
            if self._on_sale(product):
                skus.add(variant)  # the page itself knows better than the search index
        records: list[Any] = []
        for variant, product in pairs:
            active, name = self._on_sale(product), skus.name(variant)
            refused = not_sold_here(variant, product, self.config) if active else None
            if refused is None:
                records.append(record_of(variant, product, name, self.config, active=active))
            else:
                brief = {"product": product.get("id"), "title": product.get("title"), "variant": variant.get("id")}
                bad.append(bad_row(brief, *refused, name))
        return records


def _pairs(lines: Sequence[Any], bad: list[BadRow]) -> list[tuple[Any, Any]]:
    """Variants beside their products; what is neither is refused."""
    found: list[tuple[Any, Any]] = []
    for line in lines:
        product = line.get("product") if isinstance(line, dict) else None
        if not isinstance(product, dict) or number(line.get("id")) is None:
            bad.append(bad_row(line, "it is no variant with its product"))
        else:
            found.append((line, product))
    return found
