"""Promises of the step after ingest: what says the same becomes one product, false friends do not, what people said
stands, and no crash or second worker changes any of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catalog import api, recognising
from catalog.contracts import ListingsChanged
from catalog.store import pairs as store_pairs
from hub.kernel import events
from hub.kernel.db import Database, uow
from tests.catalog.kit import fetch
from tests.catalog.matchkit import bring, follow, land, pairs, product_of, together

STICK = "SanDisk Ultra USB flash drive SDCZ48 64GB black"
SAME_STICK = "SanDisk Ultra SDCZ48 USB flash drive 64 GB"
OTHER_STICK = "SanDisk Ultra SDCZ48 USB flash drive 128 GB"


@pytest.fixture(autouse=True)
def _unlearned(database: Database) -> None:
    recognising._known = None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STICK, SAME_STICK),
        ("Sony WH-1000XM5 wireless headphones black", "SONY headphones WH1000XM5 wireless, black"),
        ("3M 9501+ KN95口罩 50只/盒", "3M KN95口罩 9501+ 50只"),
        ("Philips electric kettle HD9350 1.7L", "Philips HD9350 kettle 1.7 litre electric"),
    ],
)
async def test_two_vendors_words_for_one_thing_become_one_product(one: str, other: str) -> None:
    await bring("甲", ("A", one))
    await bring("乙", ("B", other))
    assert await together("A", "B")
    (pair,) = await pairs()
    assert (pair["status"], pair["one"], pair["other"]) == ("matched", "A", "B")
    (entry,) = await fetch("SELECT kind, actor, why FROM catalog_regroupings")
    assert (entry["kind"], entry["actor"]) == ("match", "matcher") and "score" in entry["why"]


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (STICK, OTHER_STICK, "storage"),
        ("可口可乐 汽水 330ml*24罐", "可口可乐汽水 330ml", "count"),
        ("农夫山泉 饮用天然水 550ml", "农夫山泉饮用天然水550ml*24瓶", "count"),
        ("Philips electric kettle HD9350 1.7L black", "Philips electric kettle HD9350 1.7L white", "colour"),
        ("Epson SuperScan V370 photo scanner", "Epson SuperScan V550 photo scanner", "model"),
        ("舒肤佳 纯白清香沐浴露 720ml", "舒肤佳 纯白清香沐浴露 400ml", "volume"),
    ],
)
async def test_a_false_friend_is_refused_and_told_with_what_contradicts(one: str, other: str, field: str) -> None:
    await bring("甲", ("A", one))
    await bring("乙", ("B", other))
    assert not await together("A", "B")
    (pair,) = await pairs()
    assert pair["status"] == "refused" and pair["reasons"]["conflicts"][0][0] == field


async def test_the_order_in_which_vendors_come_does_not_matter() -> None:
    await land("甲", ("A", STICK))
    await land("乙", ("B", SAME_STICK))
    await follow()
    assert await together("A", "B")


async def test_price_alone_never_decides_and_only_a_gross_gap_asks_a_person() -> None:
    def at(sku: str, title: str, price: str) -> dict[str, Any]:
        return {"sku": sku, "title": title, "price": price}

    await bring("甲", at("A", STICK, "10"), at("A2", "Philips electric kettle HD9350 1.7L", "100"))
    await bring("乙", at("B", SAME_STICK, "50"), at("B2", "Philips HD9350 kettle 1.7 litre electric", "501"))
    assert await together("A", "B"), "five times is not beyond five times"
    assert not await together("A2", "B2")
    (pair,) = await pairs("open")
    assert pair["reasons"]["doubts"] == ["price"]
    await bring("丙", at("C", OTHER_STICK, "10"))
    assert not await together("A", "C"), "the same price makes nothing the same"


async def test_one_vendors_two_skus_never_share_a_product_unless_they_carry_one_gtin() -> None:
    await bring("甲", ("A", STICK))
    await bring("乙", ("B1", SAME_STICK), ("B2", "SanDisk Ultra flash drive USB SDCZ48 64GB"))
    assert await together("A", "B1") != await together("A", "B2")
    (pair,) = await pairs("open")
    assert "vendor" in pair["reasons"]["doubts"]
    brand = {"brand": "Acme", "model": "X-100", "title": "Acme X-100"}
    await bring("丙", {"sku": "C1", **brand}, {"sku": "C2", **brand})
    assert not await together("C1", "C2"), "brand and model do not outdo it either"
    await bring("丁", {"sku": "D1", **brand})
    assert await together("C1", "D1")
    await bring("丁", {"sku": "D2", **brand})
    assert not await together("D1", "D2")
    code = {"gtin": "6901234567892", "title": "茶"}
    await bring("戊", {"sku": "E1", **code}, {"sku": "E2", **code})
    assert await together("E1", "E2")


async def test_services_of_one_name_stay_two_products() -> None:
    service = {"title": "入职体检套餐 A款 全项目", "kind": "service", "mode": "appointment", "city": "上海"}
    await bring("甲诊所", {"sku": "A", **service})
    await bring("乙诊所", {"sku": "B", **service})
    assert not await together("A", "B") and await pairs() == []


async def test_shelves_of_one_taxonomy_contradict_each_other() -> None:
    shelves = [("口罩", "医用口罩 均码"), ("手套", "丁腈手套 均码")]
    for vendor in ("甲", "乙"):
        await land(vendor, *({"sku": f"{vendor}{n}", "title": t, "category": c} for n, (c, t) in enumerate(shelves)))
    words = "Lumex Forte X200 protection set"
    await land("甲", {"sku": "A", "title": words, "category": "口罩"})
    await land("乙", {"sku": "B", "title": words, "category": "手套"})
    await follow()
    assert not await together("A", "B")
    assert [p["reasons"]["conflicts"][0][0] for p in await pairs("refused") if p["one"] == "A"] == ["category"]


async def test_a_listing_that_says_the_same_as_before_is_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    await bring("甲", ("A", STICK))
    compared: list[int] = []
    ordinary = recognising._compare

    async def counting(subjects: Any, knowledge: Any) -> None:
        compared.extend(row["id"] for row in subjects)
        await ordinary(subjects, knowledge)

    monkeypatch.setattr(recognising, "_compare", counting)
    await bring("甲", {"sku": "A", "title": STICK, "price": "12"})
    assert compared == [], "only its price has moved"
    await bring("甲", {"sku": "A", "title": STICK + " new", "price": "12"})
    assert compared == [await product_of("A")]


async def test_what_the_matcher_joined_stays_when_the_vendor_sends_it_again() -> None:
    await bring("甲", {"sku": "A", "title": STICK, "brand": "SanDisk", "model": "SDCZ48-064"})
    await bring("乙", {"sku": "B", "title": SAME_STICK, "brand": "SanDisk", "model": "SDCZ48"})
    assert await together("A", "B")
    await bring("乙", {"sku": "B", "title": SAME_STICK + " 包邮", "brand": "SanDisk", "model": "SDCZ48", "price": "8"})
    assert await together("A", "B"), "its own brand and model lead there too"
    await bring("丙", {"sku": "C", "title": "U盘", "brand": "sandisk", "model": "sdcz48"})
    assert await together("A", "C"), "and bring others there"


async def test_a_match_that_comes_to_contradict_itself_is_taken_apart() -> None:
    await bring("甲", ("A", STICK))
    await bring("乙", ("B", SAME_STICK))
    assert await together("A", "B")
    await bring("乙", ("B", OTHER_STICK))
    assert not await together("A", "B")
    (pair,) = await pairs()
    assert pair["status"] == "refused" and pair["reasons"]["conflicts"][0][0] == "storage"
    await bring("乙", ("B", SAME_STICK))
    assert await together("A", "B"), "a slip that was mended"


async def test_any_number_of_workers_do_each_thing_once() -> None:
    for n in range(8):
        await land("甲", (f"A{n}", f"Lumex Forte X{n}37 desk lamp"))
        await land("乙", (f"B{n}", f"Lumex desk lamp Forte X{n}37"))
    await events.drain({ListingsChanged: [api.on_listings_to_match]}, width=1)
    recognising_batch = recognising.BATCH
    try:
        recognising.BATCH = 3
        await asyncio.gather(*(api.match_due() for _ in range(4)))
    finally:
        recognising.BATCH = recognising_batch
    await _due_now()
    await api.match_due()
    assert [await together(f"A{n}", f"B{n}") for n in range(8)] == [True] * 8
    entries = await fetch("SELECT from_id FROM catalog_regroupings WHERE undone_at IS NULL")
    assert len(entries) == len({e["from_id"] for e in entries}) == 8


async def _due_now() -> None:
    async with uow() as tx:
        await tx.run("UPDATE catalog_matching SET due_at = $1 WHERE due_at IS NOT NULL", tx.now)


async def test_what_a_dead_worker_took_comes_back() -> None:
    await bring("甲", ("A", STICK))
    await land("乙", ("B", SAME_STICK))
    await events.drain({ListingsChanged: [api.on_listings_to_match]}, width=1)
    async with uow() as tx:
        assert len(await store_pairs.claim_listings(tx, tx.now + recognising.LEASE, 10)) == 1
    assert await api.match_due() == 0, "it is somebody's"
    await _due_now()
    assert await api.match_due() == 1
    assert await together("A", "B")


async def test_a_listing_that_came_again_while_it_was_looked_at_stays_due() -> None:
    await land("甲", ("A", STICK))
    await events.drain({ListingsChanged: [api.on_listings_to_match]}, width=1)
    async with uow() as tx:
        until = tx.now + recognising.LEASE
        (claimed,) = await store_pairs.claim_listings(tx, until, 10)
    async with uow() as tx:
        await store_pairs.queue_listings(tx, [claimed["listing_id"]])
    async with uow() as tx:
        await store_pairs.settle_listings(tx, until, {claimed["listing_id"]: b"said"})
        assert await store_pairs.waiting_listings(tx) == 1


async def test_a_listing_that_cannot_be_compared_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await bring("甲", ("A", STICK), ("BAD", "poison"))
    ordinary = recognising._compare

    async def failing(subjects: Any, knowledge: Any) -> None:
        if any("poison" in row["title"] for row in subjects):
            raise ZeroDivisionError
        await ordinary(subjects, knowledge)

    monkeypatch.setattr(recognising, "_compare", failing)
    await land("乙", ("B", SAME_STICK), ("BAD2", "poison too"))
    await follow()
    for _ in range(recognising.TRIES):
        await _due_now()
        await api.match_due()
    assert await together("A", "B")
    async with uow() as tx:
        assert await store_pairs.waiting_listings(tx) == 0, "given up until it changes"


async def test_listings_written_to_a_product_that_went_elsewhere_meanwhile_are_sent_after_it() -> None:
    await bring("甲", ("A", STICK))
    await bring("乙", ("B", SAME_STICK))
    (lead,) = await fetch("SELECT old_id, new_id FROM catalog_redirects")
    async with uow() as tx:  # as a pull would that had matched its rows before
        await tx.run("UPDATE catalog_listings SET product_id = $1 WHERE vendor_sku = 'B'", lead["old_id"])
        (row,) = await tx.fetch("SELECT id FROM catalog_listings WHERE vendor_sku = 'B'")
        await store_pairs.queue_listings(tx, [row["id"]])
    await api.match_due()
    assert await product_of("B") == lead["new_id"]
    (old,) = await fetch("SELECT listed FROM catalog_products WHERE id = $1", lead["old_id"])
    assert old["listed"] is False
