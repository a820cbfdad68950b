"""Finding products over HTTP: words in two languages, filters, orders, pages, facets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

import pricing.api
from catalog import finding, queryplan, sampling, search
from catalog.views import ProductPage
from hub.kernel import keys
from hub.kernel.db import Database, uow
from tests.catalog import shop
from tests.catalog.shop import NOW, Reader, feed, item, listing, product, reader, stock

PATH = "/v1/products"


@pytest.fixture
async def mall(database: Database) -> AsyncIterator[Reader]:
    pricing.api.forget_held()
    sampling.forget()
    await feed(1)
    async with reader() as made:
        yield made


async def test_words_of_both_languages_find_the_product(mall: Reader) -> None:
    await item(
        "3M 一次性医用防护口罩 N95 50只", title_en="3M Disposable Medical Face Masks N95", brand="3M", model="9502+"
    )
    await item("布洛芬缓释胶囊 0.3g*20粒", title_en="Ibuprofen Sustained-release Capsules")
    await item("索尼无线降噪耳机", title_en="Headphones", brand="Sony", model="WH-1000XM5")
    for q in ("口罩", "N95 口罩", "n９５口罩", "医用", "mask", "face masks", "MASKS", "3m", "9502"):
        assert (await mall.titles(q=q))[0].startswith("3M"), q
    for q in ("ibuprofen", "IBUPRO", "布洛芬", "布洛芬 0.3g", "ibuprofen capsule"):
        assert await mall.titles(q=q) == ["布洛芬缓释胶囊 0.3g*20粒"], q
    for q in ("wh-1000xm5", "WH1000XM5", "wh 1000xm5", "1000xm", "sony 耳机"):
        assert await mall.titles(q=q) == ["索尼无线降噪耳机"], q
    for q in ("口罩 耳机", "口", "手套", "!!!", "'; DROP TABLE catalog_products; --"):
        assert await mall.titles(q=q) == [], q


async def test_a_query_of_signs_alone_finds_nothing_and_an_empty_one_browses(mall: Reader) -> None:
    await item("口罩")
    nothing = await mall.get(PATH, q="&|!:*'\\ ()", facets=1)
    assert (nothing["items"], nothing["total"], nothing["facets"]["kind"]) == ([], 0, [])
    assert await mall.titles(q="  ") == ["口罩"]


async def test_a_gtin_finds_its_product_in_any_length(mall: Reader) -> None:
    await item("牙膏", gtin="06901234567892")
    await item("牙膏 6901234567892x")
    for q in ("6901234567892", "06901234567892", "690 1234 567892"):
        assert await mall.titles(q=q) == ["牙膏"], q
    assert await mall.titles(q="6901234567893") == []


async def test_every_filter_narrows(mall: Reader) -> None:
    await feed(2, name="李四诊所")
    await item("口罩", category="health/masks", brand="稳健", price=Decimal("10"))
    await item("体检", kind="service", mode="appointment", city="上海", price=Decimal("300"), connection_id=2)
    await item("电影票", kind="experience", mode="code", price=Decimal("40"), on_hand=0)
    for wanted, params in {
        "口罩": [{"kind": "goods"}, {"category": "health/masks"}, {"brand": "稳健"}, {"mode": "parcel"},
                {"vendor": "张三药房", "price_max": 20}, {"price_max": "10.00"}],
        "体检": [{"vendor": "李四诊所"}, {"vendor": "vnd_2"}, {"city": "上海"}, {"price_min": 41}, {"kind": "service"}],
        "电影票": [{"price_min": 20, "price_max": 50}, {"mode": "code"}, {"vendor": "vnd_1", "kind": "experience"}],
    }.items():  # fmt: skip
        for given in params:
            assert await mall.titles(**given) == [wanted], given
    assert set(await mall.titles(in_stock="true")) == {"口罩", "体检"}
    assert await mall.titles(vendor="nobody") == [] == await mall.titles(vendor="vnd_99")
    assert await mall.titles(q="口罩", kind="service") == []


async def test_relevance_puts_text_first_then_stock_then_popularity(mall: Reader) -> None:
    await item("口罩收纳盒 医用", popularity=900)
    await item("医用口罩", popularity=1)
    await item("稳健医用口罩 10只", popularity=5, on_hand=0)
    await item("稳健医用口罩 50只", popularity=2)
    assert await mall.titles(q="医用口罩") == ["医用口罩", "稳健医用口罩 50只", "稳健医用口罩 10只", "口罩收纳盒 医用"]


async def test_browsing_shows_what_is_in_stock_and_popular_first(mall: Reader) -> None:
    for title, popularity, on_hand in (("a1", 5, 0), ("b2", 1, 3), ("c3", 9, 3), ("d4", 7, 0)):
        await item(title, popularity=popularity, on_hand=on_hand)
    assert await mall.titles() == ["c3", "b2", "d4", "a1"]
    assert [i["title"] for i in await mall.all_pages(limit=1)] == ["c3", "b2", "d4", "a1"]


async def test_parity_verdicts_never_change_the_order(mall: Reader) -> None:
    ids = [await item(f"口罩 {n}", popularity=n) for n in range(3)]
    before = await mall.titles(q="口罩")
    async with uow() as tx:
        await tx.run(
            "INSERT INTO pricing_verdicts (listing_id, product_id, verdict, reason, gap, reference_id, captured_at, "
            "at, price, currency, shipping, coupon) VALUES ($1, $2, 'breach', 'gap', 0.5, 1, $3, $3, 9, 'CNY', 0, 0)",
            ids[2][1], ids[2][0], NOW,
        )  # fmt: skip
    assert await mall.titles(q="口罩") == before == ["口罩 2", "口罩 1", "口罩 0"]


@pytest.mark.parametrize("sort", ["relevance", "price", "-price", "newest"])
@pytest.mark.parametrize("q", ["", "口罩"])
async def test_pages_hold_every_product_once_in_the_order_asked_for(mall: Reader, sort: str, q: str) -> None:
    for n in range(23):
        await item(f"口罩 {n}", price=Decimal(n % 5 + 1), popularity=n % 7, on_hand=n % 3)
    pages = await mall.all_pages(sort=sort, q=q, limit=4)
    assert len({i["id"] for i in pages}) == len(pages) == 23
    assert pages == (await mall.get(PATH, sort=sort, q=q, limit=100))["items"]
    if "price" in sort:
        prices = [Decimal(i["price"]["amount"]) for i in pages]
        assert prices == sorted(prices, reverse=sort == "-price")
    if sort == "newest":
        assert [i["title"] for i in pages] == [f"口罩 {n}" for n in reversed(range(23))]


@pytest.mark.parametrize("sort", ["relevance", "price", "-price", "newest"])
async def test_products_inserted_between_pages_neither_repeat_nor_push_out_others(mall: Reader, sort: str) -> None:
    for n in range(10):
        await item(f"口罩 {n}", popularity=n, price=Decimal(n + 1))
    first = await mall.get(PATH, q="口罩", sort=sort, limit=4)
    for n in range(10):
        await item(f"口罩 新 {n}", popularity=20 - n, price=Decimal("0.5") * (n + 1))
    seen = [i["id"] for i in first["items"]]
    cursor = first["next"]
    while cursor:
        page = await mall.get(PATH, q="口罩", sort=sort, limit=4, cursor=cursor)
        seen += [i["id"] for i in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen))
    assert {f"prd_{n}" for n in range(1, 11)} <= set(seen)


def _bent(cursor: str) -> list[str]:
    order, print_, whole, *key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    bad: list[Any] = [
        {}, [1, 2], [order, print_, whole], [order, print_, whole, *key, 1], ["nonsense", print_, whole, *key],
        [order, 1, whole, *key], [order, print_, "x", *key], [order, print_, *key],
        [order, print_, whole, *("x" for _ in key)], [order, print_, whole, *(None for _ in key)],
        ["newest", print_, whole, 2**63], ["price", print_, whole, "NaN", 1], ["price", print_, whole, "1e999999", 1],
        ["price", print_, whole, "9" * 30, 1], [[], print_, whole, *key],
    ]  # fmt: skip
    written = [base64.urlsafe_b64encode(orjson.dumps(one)).decode() for one in bad]
    return [*written, "x", "====", "🙂", cursor[:-6], "A" * 499]


async def test_a_bent_cursor_is_refused_with_its_pointer(mall: Reader) -> None:
    for n in range(3):
        await item(f"口罩 {n}")
    cursor = (await mall.get(PATH, q="口罩", limit=1))["next"]
    for bent in _bent(cursor):
        problem = await mall.get(PATH, q="口罩", limit=1, cursor=bent, expect=422)
        assert problem["errors"][0]["pointer"] == "/cursor", bent
    problem = await mall.get(PATH, q="口罩", kind="goods", limit=1, cursor=cursor, expect=422)
    assert "another search" in problem["detail"]
    assert len((await mall.get(PATH, q="口罩", limit=2, cursor=cursor))["items"]) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "101"), ("limit", "x"), ("price_min", "NaN"), ("price_max", "-1"), ("price_min", "1e99"),
     ("kind", "food"), ("mode", "drone"), ("sort", "popularity"), ("in_stock", "maybe"), ("facets", "7"), ("page", "2"),
     ("q", "x" * 201), ("q", "a\x00b"), ("category", "")],
)  # fmt: skip
async def test_a_parameter_that_makes_no_sense_is_pointed_at(mall: Reader, name: str, value: str) -> None:
    problem = await mall.get(PATH, expect=422, **{name: value})
    assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]


async def test_what_is_not_on_sale_is_not_found(mall: Reader) -> None:
    await feed(2, name="李四", live=False)
    await feed(3, name="王五", role="reference")
    await item("口罩 在售")
    await item("口罩 下架", listed=False)
    await item("口罩 停用", connection_id=2)
    await item("口罩 参考", connection_id=3)
    await product("口罩 无报价")
    gone = await product("口罩 停售")
    await listing(gone, active=False)
    assert await mall.titles(q="口罩") == ["口罩 在售"]
    assert await mall.titles() == ["口罩 在售"]


async def test_available_is_what_may_still_be_promised(mall: Reader) -> None:
    await feed(2, name="李四")
    many, first = await item("a1", on_hand=10)
    async with uow() as tx:
        await tx.run("UPDATE catalog_stock SET reserved = 3, buffer = 2 WHERE listing_id = $1", first)
    await stock(first, 4, location="二号仓")
    await stock(await listing(many, 2, vendor_sku="b"), 100, frozen=True)
    levels, offer = await item("b2", on_hand=None)
    await stock(offer, None, location="x", level="limited")
    await item("c3", on_hand=0)
    await shop.product("d4", sellable=True)
    page = {i["title"]: i for i in (await mall.get(PATH))["items"]}
    assert (page["a1"]["available"], page["a1"]["level"], page["a1"]["offers"]) == (9, "in_stock", 2)
    assert (page["b2"]["available"], page["b2"]["level"]) == (None, "in_stock")
    assert (page["c3"]["available"], page["c3"]["level"]) == (0, "out")
    assert set(page) == {"a1", "b2", "c3"}
    assert levels


async def test_stock_older_than_twice_its_promise_counts_as_out(mall: Reader) -> None:
    await feed(2, name="慢", promise_s=600)
    await feed(3, name="确认", promise_s=600, complete_at=NOW)
    for number, title in ((2, "stale"), (3, "confirmed")):
        _, offer = await item(title, connection_id=number)
        async with uow() as tx:
            await tx.run(
                "UPDATE catalog_stock SET reported_at = $2 WHERE listing_id = $1", offer, NOW - timedelta(seconds=1260)
            )
    await item("fresh")
    page = {i["title"]: i for i in (await mall.get(PATH))["items"]}
    assert (page["stale"]["available"], page["stale"]["level"]) == (0, "out")
    assert (page["confirmed"]["available"], page["confirmed"]["level"]) == (10, "in_stock")
    assert set(await mall.titles(in_stock=1)) == {"fresh", "confirmed"}


async def test_a_page_is_filled_up_when_stale_products_are_left_out(mall: Reader) -> None:
    await feed(2, name="慢", promise_s=600)
    for n in range(12):
        _, offer = await item(f"{'old' if n % 4 else 'new'} {n}", connection_id=2 if n % 4 else 1, popularity=n)
        if n % 4:
            async with uow() as tx:
                await tx.run(
                    "UPDATE catalog_stock SET reported_at = $2 WHERE listing_id = $1", offer, NOW - timedelta(1)
                )
    page = await mall.get(PATH, in_stock=1, limit=2)
    assert [i["title"] for i in page["items"]] == ["new 8", "new 4"]
    rest = await mall.get(PATH, in_stock=1, limit=2, cursor=page["next"])
    assert ([i["title"] for i in rest["items"]], rest["next"]) == (["new 0"], None)


async def test_a_held_offer_is_excluded_for_that_mall_alone(mall: Reader) -> None:
    await feed(2, name="李四")
    both, cheap = await item("口罩 双", price=Decimal("5"))
    await stock(await listing(both, 2, price=Decimal("8"), vendor_sku="b"), 7)
    alone, only = await item("口罩 单")
    assert mall.mall_id is not None
    await shop.hold(mall.mall_id, cheap, both)
    await shop.hold(mall.mall_id, only, alone)
    pricing.api.forget_held()
    page = await mall.get(PATH, q="口罩")
    assert [(i["title"], i["offers"], i["available"], i["price"]["amount"]) for i in page["items"]] == [
        ("口罩 双", 1, 7, "8.00")
    ]
    one = await mall.get(f"{PATH}/prd_{both}")
    assert [offer["vendor"] for offer in one["offers"]] == ["李四"]
    async with reader() as other:
        assert len(await other.titles(q="口罩")) == 2
        assert len((await other.get(f"{PATH}/prd_{both}"))["offers"]) == 2
    async with reader("staff") as staff:
        assert len(await staff.titles(q="口罩")) == 2


async def test_facets_count_what_is_found(mall: Reader) -> None:
    await feed(2, name="李四")
    for n in range(3):
        await item(f"口罩 {n}", category="masks", brand="稳健")
    await item("口罩 4", category="other", connection_id=2)
    await item("耳机", category="audio")
    page = await mall.get(PATH, q="口罩", facets=1)
    facets = page["facets"]
    assert facets["category"] == [{"value": "masks", "count": 3}, {"value": "other", "count": 1}]
    assert facets["brand"] == [{"value": "稳健", "count": 3}]
    assert facets["vendor"] == [
        {"value": "vnd_1", "label": "张三药房", "count": 3},
        {"value": "vnd_2", "label": "李四", "count": 1},
    ]
    assert facets["kind"] == [{"value": "goods", "count": 4}]
    assert (page["total"], page["approximate"]) == (4, False)
    assert "facets" not in await mall.get(PATH, q="口罩")


async def test_facets_over_a_sample_say_so(mall: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        await item(f"口罩 {n}")
    monkeypatch.setattr(sampling, "SIZE", 3)
    monkeypatch.setattr(queryplan, "SMALL", 0)
    monkeypatch.setattr(queryplan, "TELLING", 1)
    monkeypatch.setattr(queryplan, "choose", lambda *_: queryplan.Plan.WALK)
    monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
    page = await mall.get(PATH, q="口罩", facets=1)
    assert (page["approximate"], page["total"]) == (True, 6)
    assert page["facets"]["kind"] == [{"value": "goods", "count": 6}]  # two of the five, and each stands for three
    assert page["facets"]["vendor"] == [{"value": "vnd_1", "label": "张三药房", "count": 6}]
    assert page["facets_as_of"] != page["as_of"]


async def _sampled() -> None:
    """A sample of now, and the most popular products with it."""
    sampling.forget()
    await sampling.current()
    await asyncio.gather(*sampling._crowning)
    assert sampling.head() is not None


@pytest.mark.parametrize("way", ["walk", "gather", "give up", "aside", "head", "short head"])
async def test_every_way_of_searching_gives_the_same_pages(
    mall: Reader, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    colours = ("red", "reddish", "round")
    for n in range(40):
        await item(
            f"口罩 {n}" if n % 3 else f"耳机 {n}", title_en=f"mask {colours[n % 3]}", category="ab"[n % 2],
            brand="稳健" if n % 5 else "其他",
            popularity=n % 11, price=Decimal(n % 6 + 1), on_hand=n % 4,
        )  # fmt: skip
    wishes: list[dict[str, Any]] = [
        {}, {"q": "口罩"}, {"category": "a"}, {"q": "口罩", "category": "b"}, {"brand": "稳健"}, {"vendor": "vnd_1"},
        {"in_stock": 1}, {"q": "mask red"}, {"q": "rou"},
        {"sort": "price"}, {"sort": "-price", "q": "口罩"}, {"sort": "newest", "category": "a"},
    ]  # fmt: skip
    monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
    expected = [[i["id"] for i in (await mall.get(PATH, limit=100, **wish))["items"]] for wish in wishes]
    chosen = queryplan.Plan.GATHER if way in ("gather", "aside") else queryplan.Plan.WALK
    if way == "aside":
        monkeypatch.setattr(queryplan, "_gathering", lambda _s, wish, *_: (0.0, len(wish.terms) > 1))
    if "head" in way:
        monkeypatch.setattr(sampling, "SIZE", 10)
        monkeypatch.setattr(sampling, "HEAD", 40 if way == "head" else 10)
        monkeypatch.setattr(sampling, "CHUNK", 10)
        monkeypatch.setattr(finding, "HEADED", 0)
        await _sampled()
    picked: list[int] = []
    pick = search.pick

    async def counted(*args: Any) -> search.Page:
        picked.append(len(args[1]))
        return await pick(*args)

    monkeypatch.setattr(search, "pick", counted)
    monkeypatch.setattr(queryplan, "choose", lambda *_: chosen)
    monkeypatch.setattr(queryplan, "walk_cap", lambda _cost: 3 if way == "give up" else 1_000)
    for wish, ids in zip(wishes, expected, strict=True):
        assert ids, wish
        assert [i["id"] for i in await mall.all_pages(limit=3, **wish)] == ids, wish
    assert bool(picked) is ("head" in way)


async def test_an_unfinished_word_that_the_sample_has_not_seen_finds_what_is_new(mall: Reader) -> None:
    await item("口罩")
    await mall.titles(q="x")
    taken = await sampling.current()
    await item("Ibuprofen")
    assert await mall.titles(q="ibu") == ["Ibuprofen"]
    assert await sampling.current() is taken


async def test_what_is_in_memory_decides_nothing_about_a_product(mall: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SIZE", 20)
    monkeypatch.setattr(queryplan, "SMALL", 0)
    monkeypatch.setattr(finding, "HEADED", 0)
    monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
    ids = [(await item(f"口罩 {n}", popularity=n))[0] for n in range(30)]
    await _sampled()
    assert (await mall.titles(q="口罩", limit=3)) == ["口罩 29", "口罩 28", "口罩 27"]
    head = sampling.head()
    async with uow() as tx:
        await tx.run("UPDATE catalog_products SET listed = false WHERE id = $1", ids[29])
        await tx.run("UPDATE catalog_products SET sellable = false WHERE id = $1", ids[28])
        await tx.run("UPDATE catalog_products SET search = '耳机'::tsvector WHERE id = $1", ids[27])
        await tx.run("UPDATE catalog_products SET popularity = 0 WHERE id = $1", ids[26])
    await item("口罩 new", popularity=25)
    assert (await mall.titles(q="口罩", limit=3)) == ["口罩 new", "口罩 25", "口罩 24"]
    assert sampling.head() is head is not None


async def test_a_broad_word_is_walked_and_a_narrow_one_ranked(mall: Reader, database: Database) -> None:
    async with uow() as tx:
        await tx.run(
            "INSERT INTO catalog_products (kind, mode, title, popularity, price, currency, sellable, search, "
            "created_at, updated_at) SELECT 'goods', 'parcel', '口罩', g % 97, 1, 'CNY', true, "
            "('口罩 w' || g % 500)::tsvector, $1, $1 FROM generate_series(1, 6000) g", NOW,
        )  # fmt: skip
    await item("口罩 w7")
    broad = await mall.get(PATH, q="口罩")
    assert broad["approximate"] is True
    assert 5_000 <= broad["total"] <= 7_000
    narrow = await mall.get(PATH, q="w7 口罩")
    assert (narrow["total"], [i["title"] for i in narrow["items"]]) == (13, ["口罩 w7"])


async def test_pages_say_what_the_contract_says(mall: Reader) -> None:
    await item("口罩", title_en="mask", brand="稳健", category="a", image_url="https://x/y.png", gtin="06901234567892")
    await item("体检", kind="service", mode="appointment", city="上海", on_hand=None)
    page = await mall.get(PATH, facets=1, limit=1)
    assert set(page) == {"items", "next", "total", "facets", "facets_as_of", "approximate", "as_of"}
    view = ProductPage.model_validate(page)
    assert set(page["items"][0]) == set(type(view.items[0]).model_fields)
    assert view.model_dump(mode="json", exclude={"as_of"})["items"][0]["id"] == page["items"][0]["id"]


@pytest.mark.parametrize(
    "path", [PATH, f"{PATH}/prd_1", "/v1/availability?listing_id=lst_1", "/v1/changes", "/v1/clinics"]
)
async def test_vendors_and_strangers_read_nothing(mall: Reader, path: str) -> None:
    async with mall.client.get(path) as answer:
        assert answer.status == 401
    async with uow() as tx:
        key = await keys.create_key(tx, "vendor", 1, "v")
    async with mall.client.get(path, headers={"Authorization": f"Bearer {key}"}) as answer:
        assert answer.status == 403
