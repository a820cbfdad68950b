"""Searching within a mall's assortment: whichever way leads to a page, its rules decide alike, also in what is counted,
and what was merged is found where it went."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import orjson
import pytest

from catalog import finding, queryplan, regrouping, sampling, search
from catalog.assortments import Assortment, Rule
from catalog.web import _asked
from catalog.wish import Order, Wish
from hub.kernel import clock
from hub.kernel.db import Database, uow
from tests.catalog.kit import fetch
from tests.catalog.matchkit import bring, product_of
from tests.catalog.shop import feed, item, listing, stock
from tests.catalog.test_assortments import BRANDS, CATEGORIES, KINDS, allow, people, random_rules

SORTS = (None, Order.PRICE, Order.NEWEST)


async def _shop(rng: random.Random) -> list[dict[str, Any]]:
    """Forty products of up to three vendors each, by their offers; all in stock."""
    for vendor in (1, 2, 3):
        await feed(vendor, name=f"v{vendor}")
    offers = []
    for n in range(40):
        facts: dict[str, Any] = {
            "kind": rng.choice(KINDS),
            "category": rng.choice(CATEGORIES),
            "brand": rng.choice(BRANDS),
        }
        vendors = rng.sample((1, 2, 3), rng.randint(1, 3))
        # A third of the rows are from before vendors were kept beside products.
        known = {"vendor_ids": sorted(vendors)} if n % 3 else {}
        number, _ = await item(
            f"{'口罩' if n % 4 else '耳机'} {n}", connection_id=vendors[0], popularity=n % 7, **facts, **known
        )
        for vendor in vendors[1:]:
            await stock(await listing(number, vendor, vendor_sku=f"{n}-{vendor}"), 3)
        facts["word"] = n % 4 > 0 or facts["category"] == "口罩"  # categories are searched too
        offers += [{**facts, "product_id": number, "vendor_id": vendor} for vendor in vendors]
    return offers


async def _pages(wish: Wish, sort: Order | None, facets: bool = False) -> tuple[list[str], finding.Found]:
    """The ids of all pages, and the first page."""
    ids: list[str] = []
    first, cursor = None, None
    while True:
        found = await finding.find(wish, sort, cursor, 5, [], clock.now(), facets)
        first = first or found
        ids += [orjson.loads(text)["id"] for text in found.items]
        cursor = found.next
        if cursor is None:
            return ids, first


def _wishes() -> list[Wish]:
    return [Wish(), *(wish for q in ("口罩",) if (wish := _asked(q)) is not None), Wish(category="茶")]


@pytest.mark.parametrize("way", ["gather", "walk", "give up", "head"])
async def test_every_way_to_a_page_keeps_to_the_rules(
    database: Database, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    rng = random.Random(23)
    offers = await _shop(rng)
    monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
    whole = {(w, sort): (await _pages(wish, sort))[0] for w, wish in enumerate(_wishes()) for sort in SORTS}
    if way == "head":
        monkeypatch.setattr(sampling, "SIZE", 10)
        monkeypatch.setattr(finding, "HEADED", 0)
        sampling.forget()
        await sampling.current()
        await asyncio.gather(*sampling._crowning)
        assert sampling.head() is not None
    picked = 0
    pick = search.pick

    async def counted(*args: Any) -> search.Page:
        nonlocal picked
        picked += 1
        return await pick(*args)

    monkeypatch.setattr(search, "pick", counted)
    chosen = queryplan.Plan.GATHER if way == "gather" else queryplan.Plan.WALK
    monkeypatch.setattr(queryplan, "choose", lambda *_: chosen)
    monkeypatch.setattr(queryplan, "walk_cap", lambda _cost: 3 if way == "give up" else 1_000)
    numbers = sorted({offer["product_id"] for offer in offers})
    broad = [Assortment((Rule(False, category="茶"),)), Assortment((Rule(True, kind="goods"),))]
    for assortment in [*broad, *(random_rules(rng, numbers) for _ in range(8))]:
        sold = {f"prd_{offer['product_id']}" for offer in offers if assortment.sells(offer)}
        for w, wish in enumerate(_wishes()):
            for sort in SORTS:
                ids, _ = await _pages(Wish(**{**_fields(wish), "assortment": assortment}), sort)
                assert ids == [one for one in whole[w, sort] if one in sold], (assortment, wish, sort)
    assert bool(picked) is (way == "head")


def _fields(wish: Wish) -> dict[str, Any]:
    return {name: getattr(wish, name) for name in Wish.__dataclass_fields__}


@pytest.mark.parametrize("way", ["gather", "sample", "count"])
async def test_facets_count_what_the_mall_sells_and_of_whom(
    database: Database, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    rng = random.Random(29)
    offers = await _shop(rng)
    if way != "gather":
        monkeypatch.setattr(queryplan, "choose", lambda *_: queryplan.Plan.WALK)
        monkeypatch.setattr(queryplan, "affords_ranking", lambda *_: False)
        monkeypatch.setattr(queryplan, "TELLING", 1 if way == "sample" else 1_000)
    numbers = sorted({offer["product_id"] for offer in offers})
    sampled = 0
    for _ in range(25):
        assortment = random_rules(rng, numbers)
        for wish in _wishes()[:2]:
            sold = [o for o in offers if assortment.sells(o) and (o["word"] or not wish.terms)]
            products = {o["product_id"]: o for o in sold}
            expected = {
                name: Counter(o[name] for o in products.values() if o[name]) for name in ("kind", "category", "brand")
            }
            expected["vendor"] = Counter(f"vnd_{o['vendor_id']}" for o in sold)
            _, found = await _pages(Wish(terms=wish.terms, assortment=assortment), None, facets=True)
            counted = orjson.loads(found.facets or "")
            for name, counts in expected.items():
                assert {v["value"]: v["count"] for v in counted[name]} == counts, (name, assortment)
            assert found.total in ({None, len(products)} if way == "count" else {len(products)}) or (
                assortment.by_product and found.total is None
            )
            sampled += way == "sample" and found.approximate
    assert bool(sampled) is (way == "sample")


@pytest.mark.parametrize("rule", [{"category": "壶"}, {"vendor": "vnd_1"}])
async def test_what_was_merged_is_found_where_it_went_by_those_who_have_it(
    database: Database, rule: dict[str, Any]
) -> None:
    await bring("甲", {"sku": "A", "title": "热水壶", "gtin": "6901234567892", "price": "20", "category": "壶"})
    await bring("乙", {"sku": "B", "title": "电茶壶", "gtin": "6903148079874", "price": "18", "category": "壶"})
    old, new = await product_of("B"), await product_of("A")
    vendors = {
        row["vendor_name"]: row["vendor_id"] for row in await fetch("SELECT vendor_name, vendor_id FROM catalog_feeds")
    }
    if "vendor" in rule:
        rule = {"vendor": f"vnd_{vendors['乙']}"}
    async with people() as (has, lacks, staff):
        await allow(staff, has, {"effect": "include", **rule})
        rest = {"effect": "exclude", "vendor": f"vnd_{vendors['甲']}"}
        await allow(staff, lacks, {"effect": "exclude", **rule}, rest)
        cursor = (await has.get("/v1/changes"))["next"]
        while (page := await has.get("/v1/changes", after=cursor))["items"]:
            cursor = page["next"]
        async with uow() as tx:
            await regrouping.put_together(tx, [regrouping.Wanted(old, new, "seen")], "merge", "李莉", by_hand=True)
        told = (await has.get("/v1/changes", after=cursor))["items"]
        assert [(c["op"], c["id"], c.get("merged_into")) for c in told if c["op"] == "delete"] == [
            ("delete", f"prd_{old}", f"prd_{new}")
        ]
        headers = {"Authorization": f"Bearer {has.key}"}
        async with has.client.get(f"/v1/products/prd_{old}", headers=headers, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, f"/v1/products/prd_{new}")
        found = await has.post("/v1/products/lookup", {"ids": [f"prd_{old}"]})
        assert [one["id"] for one in found["items"]] == [f"prd_{new}"] and found["missing"] == []
        assert found["merged"] == {f"prd_{old}": f"prd_{new}"}
        headers = {"Authorization": f"Bearer {lacks.key}"}
        async with lacks.client.get(f"/v1/products/prd_{old}", headers=headers, allow_redirects=False) as answer:
            assert answer.status == 404
        found = await lacks.post("/v1/products/lookup", {"ids": [f"prd_{old}"]})
        assert (found["items"], found["merged"], found["missing"]) == ([], {}, [f"prd_{old}"])
