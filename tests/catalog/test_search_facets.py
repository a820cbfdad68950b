"""Facets against plain counting, pages against writes that come between, and the wall between ranking and parity."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import grimp
import pytest

from catalog import finding, queryplan, sampling, store
from catalog.ingest import on_connection_turned, sync
from catalog.web import _asked
from connectors.contracts import ConnectionTurned
from hub.kernel import clock, db
from hub.kernel.db import HUB, Database, read, uow
from tests.catalog import kit
from tests.catalog.kit import Vendor, row
from tests.catalog.shop import Reader, feed, item, listing, reader, stock

PATH = "/v1/products"


@pytest.fixture
async def mall(database: Database) -> AsyncIterator[Reader]:
    for n in (1, 2, 3):
        await feed(n, name=f"vendor {n}")
    async with reader() as made:
        yield made


def _expected(shop: list[dict[str, Any]], **wanted: Any) -> dict[str, list[tuple[str, int]]]:
    """What counting one by one gives."""
    found = [one for one in shop if all(one[name] == value for name, value in wanted.items())]
    counts = {name: Counter(one[name] for one in found if one[name]) for name in ("kind", "category", "brand")}
    counts["vendor"] = Counter(f"vnd_{vendor}" for one in found for vendor in one["vendors"])
    return {name: sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])) for name, counted in counts.items()}


def _given(facets: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    return {
        name: sorted(((v["value"], v["count"]) for v in values), key=lambda pair: (-pair[1], pair[0]))
        for name, values in facets.items()
        if name != "mode"
    }


async def _shop(count: int) -> list[dict[str, Any]]:
    rng = random.Random(11)
    shop = []
    for n in range(count):
        one = {
            "word": rng.choice(("口罩", "耳机")), "kind": rng.choice(("goods", "service")),
            "category": rng.choice(("a", "b", "c", None)), "brand": rng.choice(("x", "y", None)),
            "vendors": sorted(rng.sample((1, 2, 3), rng.randint(1, 3))), "price": Decimal(rng.randint(1, 90)),
        }  # fmt: skip
        columns = {name: one[name] for name in ("kind", "category", "brand", "price")}
        # A third of the rows are from before vendors were kept beside products.
        known = {"vendor_ids": one["vendors"]} if n % 3 else {}
        product_id, _ = await item(f"{one['word']} {n}", connection_id=one["vendors"][0], **columns, **known)
        for vendor in one["vendors"][1:]:
            await stock(await listing(product_id, vendor, vendor_sku=f"{n}-{vendor}"), 3)
        shop.append(one)
    return shop


@pytest.mark.parametrize("way", ["gather", "sample", "count"])
async def test_facets_are_what_counting_one_by_one_gives(
    mall: Reader, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    shop = await _shop(40)
    if way != "gather":
        monkeypatch.setattr(queryplan, "choose", lambda *_: queryplan.Plan.WALK)
        monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
        monkeypatch.setattr(queryplan, "TELLING", 1 if way == "sample" else 1_000)
    for params, wanted in (
        ({}, {}), ({"q": "口罩"}, {"word": "口罩"}), ({"category": "a"}, {"category": "a"}),
        ({"q": "耳机", "brand": "x", "kind": "goods"}, {"word": "耳机", "brand": "x", "kind": "goods"}),
    ):  # fmt: skip
        page = await mall.get(PATH, facets=1, limit=3, **params)
        assert _given(page["facets"]) == _expected(shop, **wanted), (way, params)
        assert page["approximate"] is (way == "sample"), (way, params)
        if page["next"] and way == "gather":
            second = await mall.get(PATH, facets=1, limit=3, cursor=page["next"], **params)
            assert second["facets"] == page["facets"]
    dear = await mall.get(PATH, facets=1, price_min=40, vendor="vnd_2")
    assert _given(dear["facets"]) == _expected(
        [{**one, "dear": one["price"] >= 40 and 2 in one["vendors"]} for one in shop], dear=True
    )


async def test_vendors_beside_products_follow_their_offers(vendor: Vendor) -> None:
    connections = [await kit.connection(name) for name in ("张三", "李四")]
    for connection in connections:
        vendor.pages[connection] = kit.pages([row("A", gtin="06901234567892"), row(f"B{connection}")])
        await sync(connection, kind="full")

    async def sellers() -> dict[str, list[int]]:
        found = await read("SELECT title, vendor_ids FROM catalog_products ORDER BY id")
        return {one[0]: list(one[1]) for one in found}

    ids = [int(one[0]) for one in await read("SELECT vendor_id FROM catalog_feeds ORDER BY connection_id")]
    both = "口罩 A"
    assert await sellers() == {both: ids, f"口罩 B{connections[0]}": [ids[0]], f"口罩 B{connections[1]}": [ids[1]]}
    async with uow(HUB) as tx:
        await tx.run("UPDATE connections SET status = 'paused' WHERE id = $1", connections[0])
        await on_connection_turned(tx, ConnectionTurned(connection_id=connections[0]))
    assert await sellers() == {both: [ids[1]], f"口罩 B{connections[0]}": [], f"口罩 B{connections[1]}": [ids[1]]}


@pytest.mark.parametrize(
    ("sort", "way"), [("relevance", "walk"), ("relevance", "gather"), ("price", "walk"), ("newest", "walk")]
)
async def test_deep_pages_show_once_whatever_does_not_change_meanwhile(
    mall: Reader, monkeypatch: pytest.MonkeyPatch, sort: str, way: str
) -> None:
    if way == "walk":
        monkeypatch.setattr(queryplan, "choose", lambda *_: queryplan.Plan.WALK)
        monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
    rng = random.Random(3)
    ids = [(await item(f"口罩 {n}", popularity=n % 9, price=Decimal(n % 5 + 1)))[0] for n in range(60)]
    restless = set(rng.sample(ids, 20))
    seen: list[int] = []
    cursor = None
    while True:
        page = await mall.get(PATH, q="口罩", sort=sort, limit=4, cursor=cursor)
        seen += [int(i["id"].removeprefix("prd_")) for i in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        async with uow(HUB) as tx:
            some = rng.sample(sorted(restless), 5)
            await tx.run(
                "UPDATE catalog_products SET popularity = popularity + $2, price = price + $3, listed = NOT listed, "
                "sellable = random() < 0.5 WHERE id = ANY($1)", some, rng.randint(-3, 9), Decimal(rng.randint(0, 3)),
            )  # fmt: skip
        await item("口罩 新", popularity=rng.randint(0, 9), price=Decimal(rng.randint(1, 5)))
        sampling.forget()
    steady = [one for one in seen if one in set(ids) - restless]
    assert sorted(steady) == sorted(set(ids) - restless)


RANKING = ("finding", "search", "queryplan", "sample", "sampling", "wording", "vocabulary", "segment", "wish")


def test_no_module_of_ranking_can_reach_pricing() -> None:
    graph = grimp.build_graph("catalog", "pricing", "connectors", "hub")
    for name in RANKING:
        assert not graph.chain_exists(importer=f"catalog.{name}", imported="pricing", as_packages=True), name


async def test_no_statement_of_a_search_reads_a_verdict(mall: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    asked = db.read

    async def listening(sql: str, *args: Any) -> Any:
        said.append(sql)
        return await asked(sql, *args)

    await item("口罩")
    monkeypatch.setattr(db, "read", listening)
    for plan in queryplan.Plan:
        monkeypatch.setattr(queryplan, "choose", lambda *_, plan=plan: plan)
        for order in (None, *finding.KEYS):
            wish = _asked("口罩")
            assert wish is not None
            assert (await finding.find(wish, order, None, 5, [], clock.now(), True)).items
    assert len(said) > 10
    assert not [sql for sql in said if "pricing" in sql or "verdict" in sql or "parity" in sql]


async def test_products_are_refreshed_with_their_vendors_by_name(database: Database) -> None:
    await feed(1)
    await feed(2, live=False)
    product_id, _ = await item("口罩")
    await listing(product_id, 2)
    async with uow(HUB) as tx:
        assert await store.refresh_products(tx, [product_id]) == [product_id]
        assert await store.refresh_products(tx, [product_id]) == []
    assert list((await read("SELECT vendor_ids FROM catalog_products"))[0][0]) == [1]
