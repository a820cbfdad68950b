"""Shopify against its sandbox: a pull that lost lines is never complete, results lie elsewhere and get no credential,
points are waited for, a SKU is one variant's alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import Level, Page, ShipmentStatus, StockFigure
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults, Sandbox
from connectors.shopify import bulk, graphql, orders
from connectors.shopify.adapter import Adapter
from connectors.shopify.records import number
from connectors.shopify.sandbox import HOME, OUTLET, ShopifySandbox
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured

MUG = {"title": "杯子", "sku": "MUG", "price": "12.90", "stock": 5}
SHIRT = {
    "title": "T恤",
    "vendor": "Acme",
    "variants": [
        {"sku": "TEE-S", "price": "49.00", "stock": 3, "options": {"尺码": "S"}},
        {"price": "52.00", "stock": 2, "options": {"尺码": "L"}},
    ],
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody sleeps between two looks, and nothing is remembered from test to test."""
    monkeypatch.setattr(bulk, "POLLS_S", (0.0,))
    monkeypatch.setattr(orders, "LOOKS_S", (0.0, 0.0))
    orders._open_since.clear()
    graphql._prices.clear()
    yield


@asynccontextmanager
async def shop(
    products: Sequence[dict[str, Any]] = (MUG,), faults: Faults | None = None, *others: Sandbox, **config: Any
) -> AsyncIterator[tuple[ShopifySandbox, Callable[[], Adapter]]]:
    """A running shop and a maker of connector objects for it; `others` run and can be reached as well."""
    sandbox = ShopifySandbox(products, faults)
    running: list[Sandbox] = [sandbox, *others]
    made: list[Adapter] = []
    given = {name: SecretStr(value) for name, value in config.pop("secrets", sandbox.credentials()).items()}

    def connector() -> Adapter:
        settings = {"base_url": sandbox.base_url, **config}
        adapter = base.build(manifest.HOME / "shopify", settings, given, connection_id=f"t{id(sandbox)}")
        assert isinstance(adapter, Adapter)
        made.append(adapter)
        return adapter

    try:
        for each in running:
            await each.start()
        with reachable(*running):
            yield sandbox, connector
    finally:
        for adapter in made:
            await adapter.aclose()
        for each in running:
            await each.stop()
        guards.forget()


async def pull(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull(since)]


async def stock(connector: Adapter, since: Any = None) -> list[Page]:
    return [page async for page in connector.pull_stock(since)]


def skus(pages: Sequence[Page]) -> list[str]:
    return [listing.vendor_sku for page in pages for listing in page.listings]


def figures(pages: Sequence[Page]) -> dict[tuple[str, str], int | Level | None]:
    found: list[StockFigure] = [figure for page in pages for figure in page.unchanged]
    return {(f.vendor_sku, f.location): f.on_hand if f.level is None else f.level for f in found}


# Listings -----------------------------------------------------------------------------------------------------


async def test_a_shop_comes_whole_with_variants_and_reasons_for_what_is_left_out() -> None:
    products = [
        {**MUG, "barcode": "6901234567892", "type": "餐具", "image": "https://cdn.example/mug.png", "compare_at": "99"},
        SHIRT,
        {"title": "卡", "sku": "CARD", "price": "1", "gift_card": True},
        {"title": "订阅", "sku": "SUB", "price": "1", "subscription": True},
        {"title": "套装", "sku": "SET", "price": "1", "bundle": True},
        {"title": "下载", "sku": "FILE", "price": "1", "ships": False},
        {"title": "赠品", "sku": "FREE", "price": "0.00"},
        {"title": "草稿", "sku": "DRAFT", "price": "1", "status": "DRAFT"},
        {"title": "未发布", "sku": "HIDDEN", "price": "1", "published": False},
        {"title": "直链", "sku": "LINK", "price": "1", "status": "UNLISTED"},
    ]
    async with shop(products) as (sandbox, connector):
        pages = await pull(connector())
        large = f"#{number(list(sandbox.variants)[2])}"
    found = {listing.vendor_sku: listing for page in pages for listing in page.listings}
    assert sorted(found) == sorted(["MUG", "TEE-S", large, "LINK"])
    mug, small = found["MUG"], found["TEE-S"]
    assert (mug.title, mug.price, mug.currency, mug.gtin) == ("杯子", Decimal("12.90"), "CNY", "06901234567892")
    assert (mug.category, mug.image_url, mug.market_price) == ("餐具", "https://cdn.example/mug.png", None)
    assert (small.title, small.brand, small.attributes) == ("T恤 - S", "Acme", {"尺码": "S"})
    assert small.family_id == found[large].family_id and small.external_id != found[large].external_id
    assert {bad.vendor_sku: bad.pointer for page in pages for bad in page.bad} == {
        "CARD": "/isGiftCard",
        "SUB": "/requiresSellingPlan",
        "SET": "/requiresComponents",
        "FILE": "/requiresShipping",
        "FREE": "/price",
    }
    assert pages[-1].complete and all(listing.on_hand is None for listing in found.values())


async def test_what_is_not_shipped_is_delivered_as_the_connection_says() -> None:
    async with shop([{"title": "下载", "sku": "FILE", "price": "1", "ships": False}], unshipped="code") as (
        _,
        connector,
    ):
        [listing] = [x for page in await pull(connector()) for x in page.listings]
    assert listing.mode == "code"


async def test_a_repeated_sku_names_nobody_and_an_unsold_copy_takes_nobodys_away() -> None:
    products = [
        {"title": "甲", "sku": "SAME", "price": "1", "stock": 1},
        {"title": "乙", "sku": "SAME", "price": "2", "stock": 2},
        {"title": "原", "sku": "MUG", "price": "3", "stock": 3},
        {"title": "原 的副本", "sku": "MUG", "price": "3", "stock": 9, "status": "DRAFT"},
        {"title": "井号", "sku": "#12", "price": "4", "stock": 4},
    ]
    async with shop(products) as (sandbox, connector):
        own = [number(gid) for gid in sandbox.variants]
        wanted = {f"#{own[0]}", f"#{own[1]}", "MUG", f"#{own[4]}"}
        assert set(skus(await pull(connector()))) == wanted
        changed = await pull(connector(), {"since": (clock.now() - timedelta(hours=1)).isoformat()})
        told = {x.vendor_sku: x.active for page in changed for x in page.listings}
        counted = figures(await stock(connector()))
    assert told == dict.fromkeys(wanted, True) | {f"#{own[3]}": False}  # the copy, under a name of its own
    assert {sku for sku, _ in counted} == wanted and counted["MUG", str(HOME)] == 3


async def test_an_increment_walks_pages_and_variants_and_takes_off_sale() -> None:
    products: list[dict[str, Any]] = [{"title": f"P{n}", "sku": f"P{n}", "price": "1"} for n in range(24)]
    options = [{"sku": f"V{n}", "price": "1", "options": {"色": str(n)}} for n in range(45)]
    async with shop([*products, {"title": "多", "variants": options}]) as (sandbox, connector):
        sandbox.change_product("P3", status="ARCHIVED")
        pages = await pull(connector(), {"since": (clock.now() - timedelta(hours=1)).isoformat()})
        rest = await pull(connector(), json.loads(json.dumps(pages[0].cursor)))
        done = await pull(connector(), pages[-1].cursor)
        later = (clock.now() + timedelta(hours=1)).isoformat()
        nothing = await pull(connector(), {"since": later})
    assert [page.complete for page in pages] == [False, False, True]
    assert sorted(skus(pages)) == sorted([f"P{n}" for n in range(24)] + [f"V{n}" for n in range(45)])
    assert [x.vendor_sku for page in pages for x in page.listings if not x.active] == ["P3"]
    assert skus(rest) == skus(pages[1:]) and rest[-1].complete
    assert [(page.listings, page.complete) for page in (*done, *nothing)] == [((), True), ((), True)]


async def test_an_increment_that_repeats_a_page_is_broken() -> None:
    products = [{"title": f"P{n}", "sku": f"P{n}", "price": "1"} for n in range(30)]
    async with shop(products, Faults(repeat_page=True)) as (_, connector):
        with pytest.raises(Broken, match="twice"):
            await pull(connector(), {"since": (clock.now() - timedelta(hours=1)).isoformat()})


async def test_a_shop_of_another_currency_is_misconfigured() -> None:
    async with shop() as (sandbox, connector):
        sandbox.currency = "USD"
        for since in (None, {"since": clock.now().isoformat()}):
            with pytest.raises(Misconfigured, match="USD"):
                await pull(connector(), since)


@pytest.mark.parametrize("config", [{"api_version": "latest"}, {"api_version": "2026-07/../x"}, {"page_rows": 0}])
async def test_a_setting_that_makes_no_sense_is_misconfigured(config: dict[str, Any]) -> None:
    async with shop(**config) as (_, connector):
        with pytest.raises(Misconfigured):
            await pull(connector())


# Stock --------------------------------------------------------------------------------------------------------


async def test_stock_is_told_by_location_and_only_where_it_sells_online() -> None:
    products: list[dict[str, Any]] = [
        {"title": "甲", "sku": "A", "price": "1", "stock": {HOME: 4, OUTLET: 7, 24826420: -2}},
        {"title": "乙", "sku": "B", "price": "1", "tracked": False, "stock": {HOME: 0, OUTLET: 0}},
        {"title": "丙", "sku": "C", "price": "1", "tracked": False, "stock": {}},
        {"title": "丁", "sku": "D", "price": "1", "stock": {}},
        {"title": "戊", "status": "DRAFT", "sku": "E", "price": "1", "stock": 5},
        {"title": "己", "variants": [{"sku": f"S{n}", "price": "1", "item": 77, "stock": 6} for n in (1, 2)]},
    ]
    async with shop(products) as (_, connector):
        told = figures(await stock(connector()))
    assert told == {
        ("A", str(HOME)): 4,
        ("A", str(OUTLET)): 0,
        ("A", "24826420"): 0,
        ("B", str(HOME)): Level.IN_STOCK,
        ("B", str(OUTLET)): 0,
        ("C", ""): Level.IN_STOCK,
        ("S1", str(HOME)): Level.IN_STOCK,  # one unit is not counted once a variant
        ("S2", str(HOME)): Level.IN_STOCK,
    }


async def test_the_connection_may_name_the_locations_that_sell_to_us() -> None:
    products = [{"title": "甲", "sku": "A", "price": "1", "stock": {HOME: 4, OUTLET: 7}}]
    async with shop(products, locations=f" {OUTLET} ,") as (_, connector):
        told = figures(await stock(connector()))
    assert told == {("A", str(HOME)): 0, ("A", str(OUTLET)): 7}


async def test_a_level_under_its_inventory_item_is_understood_as_well() -> None:
    """Which of the two a level's __parentId names is not documented."""
    async with shop() as (sandbox, connector):
        pages = connector().pull_stock(None)
        first = await anext(pages)
        assert first.cursor is not None
        operation = sandbox.operations[first.cursor["op"]]
        lines = [json.loads(line) for line in operation["file"].splitlines()]
        lines[1]["__parentId"] = lines[0]["inventoryItem"]["id"]
        operation["file"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        rest = [page async for page in pages]
    assert figures(rest) == {("MUG", str(HOME)): 5}


async def test_a_figure_that_is_no_count_costs_one_row() -> None:
    async with shop([MUG, {"title": "甲", "sku": "A", "price": "1", "stock": 3}]) as (sandbox, connector):
        pages = connector().pull_stock(None)
        first = await anext(pages)
        assert first.cursor is not None
        operation = sandbox.operations[first.cursor["op"]]
        lines = [json.loads(line) for line in operation["file"].splitlines()]
        lines[2]["quantities"] = [{"name": "available", "quantity": 1.5}]
        operation["file"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        rest = [page async for page in pages]
    assert figures(rest) == {("A", str(HOME)): 3} and rest[-1].complete
    assert len([bad for page in rest for bad in page.bad]) == 1


# Pushes -------------------------------------------------------------------------------------------------------


async def test_pushed_products_tell_what_is_on_sale_and_no_stock() -> None:
    products: list[dict[str, Any]] = [
        {**SHIRT, "variants": [*SHIRT["variants"], {"sku": "TEE-S", "price": "50", "options": {"尺码": "M"}}]},  # type: ignore[misc]
        {"title": "草稿", "sku": "DRAFT", "price": "1", "status": "DRAFT"},
        {"title": "下载", "sku": "FILE", "price": "1", "ships": False},
        {"title": "坏", "sku": "BAD", "price": "-1"},
    ]
    async with shop(products) as (sandbox, connector):
        adapter = connector()
        contents = {
            sku: adapter.parse_push("products/update", sandbox.product_delivery(sku).body)
            for sku in ("TEE-S", "DRAFT", "FILE", "BAD")
        }
        own = [f"#{number(gid)}" for gid in sandbox.variants]
    assert [x.vendor_sku for x in contents["TEE-S"].listings] == own[:3]  # the SKU is there twice
    assert not contents["DRAFT"].listings and not contents["FILE"].listings
    assert [bad.pointer for bad in contents["BAD"].bad] == ["/price"]
    assert not any(content.stock for content in contents.values())


async def test_webhooks_that_come_twice_or_in_disorder_are_the_same_deliveries() -> None:
    came: list[tuple[dict[str, str], bytes]] = []

    class Hub(Sandbox):
        def routes(self, app: web.Application) -> None:
            app.router.add_post("/push", self.take)

        async def take(self, request: web.Request) -> web.Response:
            came.append((dict(request.headers), await request.read()))
            return web.Response(status=202)

    hub = Hub()
    faults = Faults(duplicate_webhooks=True, shuffle_webhooks=True)
    async with shop([MUG], faults, hub) as (sandbox, connector):
        sandbox.webhooks_to = f"{hub.base_url}/push"
        for quantity in (4, 3, 2):
            sandbox.set_stock("MUG", quantity)
        await sandbox.flush_webhooks()
        received = [connector().verify(headers, body) for headers, body in came]
    assert len(received) == 12 and len({r.external_id for r in received}) == 6 and not sandbox.undelivered
    assert {r.topic for r in received} == {"products/update", "inventory_levels/update"}


@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b'{"variants": 3}', b'{"id": 1.5}', b'{"fulfillments": [null]}'])
async def test_a_push_that_is_something_else_is_refused_by_itself(body: bytes) -> None:
    async with shop() as (_, connector):
        for topic in manifest.load(manifest.HOME / "shopify").push.topics:  # type: ignore[union-attr]
            content = connector().parse_push(topic, body)
            assert not content.listings and not content.orders and not content.stock


@pytest.mark.realdata
async def test_shopifys_own_samples_are_understood(realdata: Path) -> None:
    folder = realdata / "webhooks" / "shopify_payloads"
    async with shop(currency="USD") as (sandbox, connector):
        adapter = connector()

        def told(name: str) -> Any:
            payload = json.loads((folder / f"{name}.json").read_text())["response"]
            push = sandbox.delivery(name, payload)
            received = adapter.verify(push.headers, push.body)
            assert received.topic == name
            return adapter.parse_push(received.topic, push.body)

        for name in ("products/create", "products/update"):
            listings = told(name).listings
            assert [x.vendor_sku for x in listings] == ["#642667041472713922", "#757650484644203962"]  # not rounded
            assert {x.family_id for x in listings} == {"788032119674292922"}
            assert [x.price for x in listings] == [Decimal("19.99")] * 2
        for name in ("fulfillments/create", "fulfillments/update"):
            [update] = told(name).orders
            assert (update.tracking_no, update.carrier) == ("1z827wk74630", "UPS")
            assert (update.status, update.raw_status) == (ShipmentStatus.PENDING, "pending")
            assert "Steve" not in update.model_dump_json()
        for path in sorted(folder.glob("*/*.json")):
            name = f"{path.parent.name}/{path.stem}"
            if not name.startswith(("products/", "fulfillments/")):
                content = told(name)  # orders of the shop's own shoppers, levels without SKUs, topics not subscribed to
                assert (content.listings, content.stock, content.orders, content.bad) == ((), (), (), ())
