"""Stock that no list of changes tells of is swept by itself: whole, resumable, one figure a SKU, in shops old and
new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from connectors.contracts import Page, StockFigure
from connectors.sandbox_kit import Faults
from connectors.woocommerce.adapter import Adapter
from hub.kernel import clock
from hub.kernel.errors import Broken
from hub.kernel.types import Level
from tests.connectors.test_woocommerce import TWO_SHIRTS, pull, shop

SHARED = {
    "sku": "CAP",
    "name": "帽子",
    "type": "variable",
    "price": "9",
    "stock": 4,
    "variations": [{"sku": f"CAP-{n}", "price": "9", "options": {"色": str(n)}} for n in (1, 2)],
}
ASSORTMENT: list[dict[str, Any]] = [
    *({"sku": f"P{n}", "name": "x", "price": "1", "stock": n} for n in range(12)),
    TWO_SHIRTS,
    {"name": "没有货号", "price": "3"},
    SHARED,
    {"sku": "OWED", "name": "x", "price": "1", "stock": -3, "backorders": True},
    {"sku": "DRAFT", "name": "x", "price": "1", "stock": 1, "status": "draft"},
    {"sku": "SET", "name": "套装", "price": "1", "type": "grouped"},
    {"sku": "EXT", "name": "外站", "price": "1", "type": "external"},
]
FIGURES = {
    **{f"P{n}": n for n in range(12)},
    "TEE-S": 3, "#113/115": 2, "#116": Level.IN_STOCK, "CAP-1": Level.IN_STOCK, "CAP-2": Level.IN_STOCK, "OWED": 0,
}  # fmt: skip


async def sweep(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull_stock(since)]


def told(pages: Sequence[Page]) -> dict[str, Any]:
    figures: list[StockFigure] = [figure for page in pages for figure in page.unchanged]
    assert len({figure.vendor_sku for figure in figures}) == len(figures)
    return {f.vendor_sku: f.level if f.on_hand is None else f.on_hand for f in figures}


@pytest.mark.parametrize("listed", [False, True])
async def test_a_sweep_tells_everything_that_is_published(listed: bool) -> None:
    async with shop(ASSORTMENT, per_page=5) as (sandbox, connector):
        sandbox.lists_variations = listed
        pages = await sweep(connector())
        assert told(pages) == FIGURES and not any(page.bad for page in pages)
        assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
        by_parent = [seen for seen in sandbox.seen if "/products/" in seen.path]
        assert len(by_parent) == (0 if listed else 2)
        assert all("_fields=" in seen.path for seen in sandbox.seen)
        [listing, *_] = await pull(connector())
        for x in listing.listings:
            assert FIGURES[x.vendor_sku] == (x.level if x.on_hand is None else x.on_hand)


@pytest.mark.parametrize("listed", [False, True])
async def test_a_sweep_goes_on_after_any_page(listed: bool) -> None:
    async with shop(ASSORTMENT, per_page=3) as (sandbox, connector):
        sandbox.lists_variations = listed
        whole = await sweep(connector())
        for done in range(1, len(whole) + 1):
            cursor = orjson.loads(orjson.dumps(whole[done - 1].cursor))
            rest = await sweep(connector(), cursor)
            assert told([*whole[:done], *rest]) == FIGURES and rest[-1].complete


async def test_a_sale_that_the_shop_calls_no_change_is_seen() -> None:
    async with shop([*ASSORTMENT, {"sku": "HOT", "name": "x", "price": "1", "stock": 9}]) as (sandbox, connector):
        sandbox.quiet = True
        began = clock.now().isoformat()
        sandbox._products[sandbox._by_sku["HOT"]]["date_modified_gmt"] = "2020-01-01T00:00:00"
        sandbox.sell("HOT", 4)
        sandbox.sell("TEE-S", 1)
        changed = await pull(connector(), {"since": began})
        assert "HOT" not in {listing.vendor_sku for page in changed for listing in page.listings}
        figures = told(await sweep(connector()))
    assert (figures["HOT"], figures["TEE-S"]) == (5, 2)


async def test_a_figure_that_cannot_be_read_costs_itself_alone() -> None:
    async with shop(ASSORTMENT) as (sandbox, connector):
        sandbox._products[101]["stock_quantity"] = 1.5
        sandbox._products[102].update(stock_status="someday", manage_stock=False)
        [page] = await sweep(connector())
    assert len(page.bad) == 2 and len(page.unchanged) == len(FIGURES) - 2


@pytest.mark.parametrize("faults", [Faults(repeat_page=True), Faults(drop_page=2), Faults(truncate=9)])
async def test_a_sweep_that_lost_rows_is_never_complete(faults: Faults) -> None:
    seen: list[Page] = []
    async with shop(ASSORTMENT, faults, per_page=5) as (_, connector):
        with pytest.raises(Broken):
            async for page in connector().pull_stock(None):
                seen.append(page)
    assert not any(page.complete for page in seen)


async def test_a_sweep_rides_out_throttling() -> None:
    async with shop(ASSORTMENT, Faults(throttle=1, retry_after_s=0.1), per_page=5) as (_, connector):
        assert told(await sweep(connector())) == FIGURES
