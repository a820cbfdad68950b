"""Promises of malls' assortments: one rule decides everywhere, and a mirror ends up with what the mall sells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import catalog.assortment_web
import catalog.web
from catalog import api, assortments, changes, reading, store
from catalog.assortments import Assortment, Rule
from catalog.store.assortments import Args, offers_sql, products_sql
from hub.kernel import keys
from hub.kernel.db import Database, uow
from hub.kernel.web import application
from tests.catalog.kit import fetch
from tests.catalog.shop import Reader, feed, listing, product, stock

KINDS, CATEGORIES, BRANDS = ("goods", "service"), ("口罩", "茶", None), ("可孚", "3M", None)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    assortments.forget()


@asynccontextmanager
async def people() -> AsyncIterator[tuple[Reader, Reader, Reader]]:
    """A mall, another mall, and staff."""
    async with uow() as tx:
        malls = [await tx.fetchval("INSERT INTO malls (name) VALUES ($1) RETURNING id", name) for name in ("甲", "乙")]
        made = [await keys.create_key(tx, "mall", mall, "test") for mall in malls]
        staff = await keys.create_key(tx, "staff", None, "test")
    routes = [*catalog.web.routes.all, *catalog.assortment_web.routes.all]
    async with TestClient(TestServer(application(routes, body_limit=2**20))) as client:
        yield Reader(client, made[0], malls[0]), Reader(client, made[1], malls[1]), Reader(client, staff)


async def call(who: Reader, method: str, path: str, body: Any, expect: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {who.key}"}
    async with who.client.request(method, path, json=body, headers=headers) as answer:
        found = await answer.json(content_type=None)
        assert answer.status == expect, found
        return found


async def allow(staff: Reader, mall: Reader, *rules: dict[str, Any]) -> Any:
    return await call(staff, "PUT", f"/v1/assortments/{mall.mall_id}", {"rules": list(rules)})


async def offered(title: str, vendors: tuple[int, ...] = (1,), **given: Any) -> tuple[int, list[int]]:
    """A product with an offer of each vendor, five in stock."""
    number = await product(title, **given)
    offers = []
    for vendor in vendors:
        offers.append(await listing(number, connection_id=vendor, price=Decimal(9 + vendor)))
        await stock(offers[-1], 5)
    async with uow() as tx:
        await changes.note(tx, [number])
    return number, offers


async def mirror(
    who: Reader, held: dict[str, Any] | None = None, after: str | None = None
) -> tuple[dict[str, Any], str]:
    """What a mirror holds after following the feed to its end."""
    held = {} if held is None else held
    while True:
        page = await who.get("/v1/changes", after=after, limit=3)
        for item in page["items"]:
            if item["op"] == "upsert":
                held[item["id"]] = [offer["listing_id"] for offer in item["product"]["offers"]]
            else:
                held.pop(item["id"], None)
        after = page["next"]
        if not page["items"]:
            return held, after


def random_rules(rng: random.Random, products: list[int]) -> Assortment:
    def rule() -> Rule:
        while True:
            made = Rule(
                include=rng.random() < 0.5,
                kind=rng.choice(KINDS) if rng.random() < 0.3 else None,
                category=rng.choice(CATEGORIES[:2]) if rng.random() < 0.3 else None,
                brand=rng.choice(BRANDS[:2]) if rng.random() < 0.3 else None,
                vendor_id=rng.randint(1, 3) if rng.random() < 0.3 else None,
                product_id=rng.choice(products) if rng.random() < 0.2 else None,
            )
            if made.given:
                return made

    return Assortment(tuple(rule() for _ in range(rng.randint(1, 4))))


async def test_the_rules_in_sql_are_the_rules(database: Database) -> None:
    rng = random.Random(11)
    for n in (1, 2, 3):
        await feed(n, name=f"v{n}")
    numbers = []
    for n in range(40):
        number = await product(
            f"p{n}", kind=rng.choice(KINDS), category=rng.choice(CATEGORIES), brand=rng.choice(BRANDS)
        )
        numbers.append(number)
        for vendor in rng.sample((1, 2, 3), rng.randint(0, 3)):
            await listing(number, connection_id=vendor)
    offers = await fetch(
        "SELECT p.id AS product_id, p.kind, p.category, p.brand, f.vendor_id FROM catalog_products p "
        "JOIN catalog_listings l ON l.product_id = p.id JOIN catalog_feeds f ON f.connection_id = l.connection_id"
    )
    narrow = wide = 0
    for _ in range(120):
        assortment = random_rules(rng, numbers)
        args = Args()
        where = offers_sql(assortment, args.put)
        sold = await fetch(
            "SELECT p.id AS product_id, f.vendor_id FROM catalog_products p JOIN catalog_listings l "
            f"ON l.product_id = p.id JOIN catalog_feeds f ON f.connection_id = l.connection_id WHERE {where}", *args
        )  # fmt: skip
        expected = {(o["product_id"], o["vendor_id"]) for o in offers if assortment.sells(o)}
        assert {(row["product_id"], row["vendor_id"]) for row in sold} == expected, assortment
        args = Args()
        seen = await fetch(f"SELECT p.id FROM catalog_products p WHERE {products_sql(assortment, args.put)}", *args)
        if assortment.by_vendor:
            assert {row["id"] for row in seen} == {number for number, _ in expected}, assortment
        narrow, wide = narrow + (0 < len(expected) < len(offers) / 2), wide + (len(expected) > len(offers) / 2)
        assert assortments.read(assortments.kept(assortment)) == assortment
    assert narrow > 10 and wide > 10, "the rules told things apart"


async def test_one_rule_holds_in_every_view_for_that_mall_alone(database: Database) -> None:
    await feed(1, name="甲商")
    await feed(2, name="乙商")
    mask, [mask_offer] = await offered("医用口罩", category="口罩", gtin="06901234567892")
    tea, [tea_one, tea_two] = await offered("龙井茶", (1, 2), category="茶")
    async with people() as (mall, other, staff):
        await allow(staff, mall, {"effect": "exclude", "category": "口罩"}, {"effect": "exclude", "vendor": "vnd_1"})
        everybody = await other.get("/v1/products", facets=True)
        assert {item["id"] for item in everybody["items"]} == {f"prd_{mask}", f"prd_{tea}"}
        page = await mall.get("/v1/products", facets=True)
        assert [(item["id"], item["offers"], item["price"]["amount"]) for item in page["items"]] == [
            (f"prd_{tea}", 1, "11.00")
        ]
        assert [f["value"] for f in page["facets"]["category"]] == ["茶"]
        assert [f["value"] for f in page["facets"]["vendor"]] == ["vnd_2"]
        for sort in ("price", "-price", "newest", "relevance"):
            assert [i["id"] for i in (await mall.get("/v1/products", sort=sort))["items"]] == [f"prd_{tea}"]
        assert (await mall.get("/v1/products", q="口罩"))["items"] == []
        assert (await mall.get("/v1/products", q="06901234567892"))["items"] == []
        await mall.get(f"/v1/products/prd_{mask}", expect=404)
        await other.get(f"/v1/products/prd_{mask}")
        shown = await mall.get(f"/v1/products/prd_{tea}")
        assert [offer["listing_id"] for offer in shown["offers"]] == [f"lst_{tea_two}"]
        found = await mall.post("/v1/products/lookup", {"ids": [f"prd_{mask}", f"prd_{tea}"]})
        assert [item["id"] for item in found["items"]] == [f"prd_{tea}"] and found["missing"] == [f"prd_{mask}"]
        found = await mall.post("/v1/products/lookup", {"gtins": ["06901234567892"]})
        assert found["items"] == []
        for offer, can in ((mask_offer, False), (tea_one, False), (tea_two, True)):
            said = await mall.get("/v1/availability", listing_id=f"lst_{offer}")
            assert said["can_supply"] is can and said["reason"] == (None if can else "not_in_assortment")
        async with uow() as tx:
            offers = await api.offers_for(tx, mall.mall_id or 0, [mask, tea])
        assert {o.listing_id: o.outside_assortment for o in offers} == {mask_offer: True, tea_one: True, tea_two: False}


async def test_services_and_their_slots_keep_to_it_too(database: Database) -> None:
    await feed(1)
    number, _ = await offered("洗牙", kind="service", mode="appointment")
    async with people() as (mall, other, staff):
        assert len((await mall.get("/v1/clinics"))["items"]) == 1
        await allow(staff, mall, {"effect": "include", "kind": "goods"})
        assert (await mall.get("/v1/clinics"))["items"] == []
        await mall.get(f"/v1/clinics/prd_{number}/slots", expect=404)
        await other.get(f"/v1/clinics/prd_{number}/slots")


async def test_the_feed_tells_what_enters_and_leaves_to_that_mall_alone(database: Database) -> None:
    await feed(1)
    await feed(2, name="乙商")
    mask, _ = await offered("口罩", category="口罩")
    tea, [_one, two] = await offered("茶", (1, 2), category="茶")
    async with people() as (mall, other, staff):
        held, cursor = await mirror(mall)
        others, theirs = await mirror(other)
        assert set(held) == set(others) == {f"prd_{mask}", f"prd_{tea}"}
        done = await allow(staff, mall, {"effect": "exclude", "category": "口罩"})
        assert (done["entered"], done["left"], done["version"]) == (0, 1, 1)
        page = await mall.get("/v1/changes", after=cursor)
        assert page["items"] == [{"op": "delete", "id": f"prd_{mask}"}]
        held.pop(f"prd_{mask}")
        done = await allow(staff, mall, {"effect": "exclude", "vendor": "vnd_1"})
        assert (done["entered"], done["left"], done["offers_changed"]) == (0, 0, 1)
        held, cursor = await mirror(mall, held, page["next"])
        assert held == {f"prd_{tea}": [f"lst_{two}"]}
        await allow(staff, mall)
        held, cursor = await mirror(mall, held, cursor)
        assert held == others and len(held[f"prd_{tea}"]) == 2
        assert (await other.get("/v1/changes", after=theirs))["items"] == [], "no other mall is told"
        assert (await staff.get("/v1/changes", after=theirs))["items"] == []
        async with uow() as tx:
            await tx.run("UPDATE catalog_products SET category = '口罩' WHERE id = $1", tea)
            await changes.note(tx, [tea])
        await allow(staff, mall, {"effect": "include", "category": "茶"})
        assert (await mirror(mall, held, cursor))[0] == {}
        assert (await mirror(mall))[0] == {}, "a mall that begins anew gets what it sells"


async def test_a_change_beside_a_change_of_rules_is_not_lost(database: Database) -> None:
    """A product leaves the new assortment by a transaction that the comparison of the rules did not see, and a mirror
    looks at it before the new rules are committed."""
    await feed(1)
    tea, _ = await offered("茶", category="茶")
    async with people() as (mall, _other, staff):
        held, cursor = await mirror(mall)
        assert set(held) == {f"prd_{tea}"}
        compared, go_on = asyncio.Event(), asyncio.Event()
        note = store.note_difference

        async def slow(*given: Any) -> Any:
            counts = await note(*given)
            compared.set()
            await go_on.wait()
            return counts

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "note_difference", slow)
            setting = asyncio.create_task(allow(staff, mall, {"effect": "include", "category": "茶"}))
            await compared.wait()
            async with uow() as tx:
                await tx.run("UPDATE catalog_products SET category = '水' WHERE id = $1", tea)
                await changes.note(tx, [tea])
            held, cursor = await mirror(mall, held, cursor)
            assert set(held) == {f"prd_{tea}"}, "by the old rules it is still in"
            go_on.set()
            assert (await setting)["left"] == 0
        assert (await mirror(mall, held, cursor))[0] == {}


async def test_mirrors_end_equal_to_the_mall_under_changes_of_everything_at_once(database: Database) -> None:
    rng = random.Random(5)
    for n in (1, 2, 3):
        await feed(n, name=f"v{n}")
    numbers = [
        (await offered(f"p{n}", tuple(rng.sample((1, 2, 3), rng.randint(1, 3))), category=rng.choice(CATEGORIES)))[0]
        for n in range(25)
    ]
    async with people() as (mall, _other, staff):
        held: dict[str, Any] = {}
        after: str | None = None
        done = asyncio.Event()

        async def follow() -> None:
            nonlocal held, after
            while not done.is_set():
                held, after = await mirror(mall, held, after)
                await asyncio.sleep(rng.random() / 100)

        async def move() -> None:
            for _ in range(25):
                number = rng.choice(numbers)
                async with uow() as tx:
                    await tx.run(
                        "UPDATE catalog_products SET category = $2 WHERE id = $1", number, rng.choice(CATEGORIES)
                    )
                    await changes.note(tx, [number])
                    await asyncio.sleep(rng.random() / 50)

        async def rule() -> None:
            for _ in range(8):
                rules = assortments.kept(random_rules(rng, numbers))
                wanted = []
                for kept in rules:
                    vendor, chosen = kept.pop("vendor_id"), kept.pop("product_id")
                    names = {"vendor": vendor and f"vnd_{vendor}", "product": chosen and f"prd_{chosen}"}
                    wanted.append({"effect": "include" if kept.pop("include") else "exclude", **kept, **names})
                await allow(staff, mall, *wanted)
                await asyncio.sleep(rng.random() / 50)

        following = asyncio.create_task(follow())
        await asyncio.gather(move(), move(), rule())
        done.set()
        await following
        held, _ = await mirror(mall, held, after)
        async with uow() as tx:
            views = await reading.product_views(tx, numbers, mall.mall_id)
        assert held == {f"prd_{n}": [o["listing_id"] for o in view["offers"]] for n, view in views.items()}


async def test_staff_see_beforehand_what_rules_come_to(database: Database) -> None:
    await feed(1)
    await feed(2, name="乙商")
    for n in range(4):
        await offered(f"茶 {n}", (1, 2) if n else (1,), category="茶", brand="西湖" if n < 2 else None)
    await offered("口罩", category="口罩")
    async with people() as (mall, _other, staff):
        path = f"/v1/assortments/{mall.mall_id}"
        rules = [{"effect": "include", "category": "茶"}, {"effect": "exclude", "vendor": "vnd_1"},
                 {"effect": "exclude", "kind": "goods", "brand": "西 湖"}]  # fmt: skip
        seen = await call(staff, "POST", f"{path}/preview", {"rules": rules})
        assert seen == {"listed": 5, "before": 5, "after": 3, "entering": 0, "leaving": 2, "offers_changing": 3,
                        "fitting": [4, 5, 0]}  # fmt: skip
        assert (await staff.get(path))["rules"] == [], "a preview changes nothing"
        set_ = await call(staff, "PUT", path, {"rules": rules, "version": 0})
        assert (set_["entered"], set_["left"], set_["offers_changed"]) == (0, 2, 3)
        assert len((await mall.get("/v1/products"))["items"]) == 3
        refused = await call(staff, "PUT", path, {"rules": [], "version": 0}, expect=409)
        assert refused["facts"] == {"version": 1}
        listed = (await staff.get("/v1/assortments"))["items"]
        assert [(row["mall"], len(row["rules"]), row["version"]) for row in listed] == [("甲", 3, 1), ("乙", 0, 0)]
        [entry] = await fetch("SELECT * FROM audit WHERE action = 'assortment.set'")
        assert entry["subject"] == f"mall:{mall.mall_id}"


@pytest.mark.parametrize(
    "rules",
    [[{}], [{"effect": "include"}], [{"effect": "only", "kind": "goods"}], [{"effect": "include", "kind": "food"}],
     [{"effect": "include", "vendor": "7"}], [{"effect": "include", "product": "prd_x"}], [7], None,
     [{"effect": "include", "category": ""}], [{"effect": "include", "kind": "goods", "sort": 1}],
     [{"effect": "include", "kind": "goods"}] * 501],
)  # fmt: skip
async def test_rules_that_are_none_are_refused_with_a_pointer(database: Database, rules: Any) -> None:
    async with people() as (mall, _other, staff):
        refused = await call(staff, "PUT", f"/v1/assortments/{mall.mall_id}", {"rules": rules}, expect=422)
        assert refused["errors"][0]["pointer"].startswith("/rules")
        for nobody in ("0", "999", "x", "-1", "9" * 30):
            await call(staff, "PUT", f"/v1/assortments/{nobody}", {"rules": []}, expect=404)
        await call(mall, "PUT", f"/v1/assortments/{mall.mall_id}", {"rules": []}, expect=403)


async def test_a_narrow_assortment_pages_through_all_of_it_and_counts_it_right(database: Database) -> None:
    await feed(1)
    for n in range(60):
        await offered(f"口罩 {n}", category="口罩" if n % 6 == 0 else "茶")
    async with people() as (mall, _other, staff):
        await allow(staff, mall, {"effect": "include", "category": "口罩"})
        for params in ({"q": "口罩"}, {}, {"sort": "price"}, {"sort": "newest"}):
            pages = await mall.all_pages(limit=3, **params)
            assert len(pages) == 10 == len({item["id"] for item in pages}), params
        first = await mall.get("/v1/products", q="口罩", limit=3)
        assert first["total"] in (None, 10)
        await allow(staff, mall, {"effect": "exclude", "category": "茶"})
        rest = await mall.all_pages(limit=3, q="口罩")
        assert len(rest) == 10
        cursor = first["next"]
        assert len((await mall.get("/v1/products", q="口罩", limit=3, cursor=cursor))["items"]) == 3, "cursors live on"
