"""Promises of a pull into the catalogue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catalog import api, ingest
from catalog.batching import Buffer
from connectors import api as connectors
from connectors.contracts import BadRow
from hub.kernel import clock
from hub.kernel.db import uow
from hub.kernel.errors import Conflict, Retry
from pricing.contracts import ReferencesRecorded
from tests.catalog.kit import T0, Vendor, at, connection, fetch, listing, pages, row, shelf

G1, G2 = "6901234567892", "6923450657713"


async def test_a_pull_lists_products_with_stock_and_search_words(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row(f"A{i}", gtin=G1 if i == 0 else None) for i in range(250)])
    outcome = await api.sync(c, kind="full")
    assert (outcome.seen, outcome.created, outcome.complete, outcome.error) == (250, 250, True, None)
    products = await fetch("SELECT * FROM catalog_products")
    assert len(products) == 250 and all(p["listed"] and p["sellable"] and p["currency"] == "CNY" for p in products)
    assert len(await fetch("SELECT 1 FROM catalog_products WHERE search @@ '口罩'::tsquery")) == 250
    assert (await shelf(await listing("A7")))["on_hand"] == 5
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_pulling_the_same_again_writes_nothing_but_the_time_of_the_stock(vendor: Vendor) -> None:
    c = await connection()
    rows = [row(f"A{i}") for i in range(30)]
    vendor.pages[c] = pages(rows)
    await api.sync(c, kind="full")
    before = await fetch("SELECT * FROM catalog_listings ORDER BY id"), await fetch("SELECT * FROM catalog_products")
    noted = await fetch("SELECT * FROM catalog_changes")
    events = await fetch("SELECT * FROM outbox")
    vendor.pages[c] = pages(rows, captured_at=at(5))
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.updated, outcome.unchanged) == (0, 0, 30)
    assert before == (
        await fetch("SELECT * FROM catalog_listings ORDER BY id"), await fetch("SELECT * FROM catalog_products")
    )  # fmt: skip
    assert noted == await fetch("SELECT * FROM catalog_changes") and events == await fetch("SELECT * FROM outbox")
    assert (await shelf(await listing("A3")))["reported_at"] == at(5)
    assert len(await fetch("SELECT 1 FROM catalog_movements")) == 30


async def test_a_changed_row_updates_listing_and_product_and_is_announced_once(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row("A"), row("B")])
    await api.sync(c, kind="full")
    vendor.pages[c] = pages([row("A", price="7.50", title="酒精"), row("B")], captured_at=at(1))
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.updated, outcome.unchanged) == (0, 1, 1)
    [product] = await fetch(
        "SELECT p.* FROM catalog_products p JOIN catalog_listings l ON l.product_id = p.id AND l.vendor_sku = 'A'"
    )
    assert (product["title"], str(product["price"])) == ("酒精", "7.5000")
    assert await fetch("SELECT 1 FROM catalog_products WHERE search @@ '酒精'::tsquery")
    events = await fetch("SELECT payload FROM outbox WHERE type = 'ListingsChanged' ORDER BY id")
    assert [len(e["payload"]["listing_ids"]) for e in events] == [2, 1]


async def test_listings_of_one_gtin_share_a_product_and_show_the_lowest_price(vendor: Vendor) -> None:
    one, two = await connection("一号店"), await connection("二号店")
    vendor.pages[one] = pages([row("X", gtin=G1, price="12")])
    vendor.pages[two] = pages([row("Y", gtin=G1, price="11"), row("Z", gtin=G2)])
    await api.sync(one, kind="full")
    outcome = await api.sync(two, kind="full")
    assert outcome.merged == 1
    products = await fetch("SELECT * FROM catalog_products ORDER BY id")
    assert len(products) == 2 and str(products[0]["price"]) == "11.0000"


async def test_two_vendors_that_bring_the_same_new_gtins_at_once_meet_on_one_product_each(vendor: Vendor) -> None:
    ids = [await connection(f"店{i}") for i in range(4)]
    gtins = [f"69000000{i:04d}" for i in range(120)]
    gtins = [g + str((10 - sum(int(d) * (3 if k % 2 else 1) for k, d in enumerate(g))) % 10) for g in gtins]
    for k, c in enumerate(ids):
        order = gtins if k % 2 else list(reversed(gtins))
        vendor.pages[c] = pages([row(f"{k}-{g}", gtin=g, brand="B", model=f"M{g}") for g in order])
    outcomes = await asyncio.gather(*(api.sync(c, kind="full") for c in ids))
    assert all(o.complete for o in outcomes)
    assert len(await fetch("SELECT 1 FROM catalog_products")) == len(gtins)
    counts = await fetch("SELECT product_id, count(*) AS n FROM catalog_listings GROUP BY 1")
    assert {c["n"] for c in counts} == {4}


async def test_a_listing_without_gtin_joins_by_brand_and_model_and_the_gtin_follows(vendor: Vendor) -> None:
    a, b, c = [await connection(name) for name in ("甲", "乙", "丙")]
    vendor.pages[a] = pages([row("a", brand="3M", model="8210-CN")])
    vendor.pages[b] = pages([row("b", brand="３m", model="8210 cn", gtin=G1)])
    vendor.pages[c] = pages([row("c", gtin=G1)])
    for one in (a, b, c):
        await api.sync(one, kind="full")
    assert len({r["product_id"] for r in await fetch("SELECT product_id FROM catalog_listings")}) == 1


async def test_a_complete_pull_takes_off_sale_what_it_no_longer_saw(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row(f"A{i}") for i in range(30)], size=10)
    await api.sync(c, kind="full")
    vendor.pages[c] = pages([row(f"A{i}") for i in range(25)], size=10, captured_at=at(9))
    outcome = await api.sync(c, kind="full")
    assert outcome.unlisted == 5
    gone = await fetch(
        "SELECT p.listed FROM catalog_products p JOIN catalog_listings l ON l.product_id = p.id WHERE NOT l.active"
    )
    assert [g["listed"] for g in gone] == [False] * 5
    assert (await fetch("SELECT complete_at FROM catalog_feeds"))[0]["complete_at"] == at(9)
    vendor.pages[c] = pages([row(f"A{i}") for i in range(30)], captured_at=at(12))
    again = await api.sync(c, kind="full")
    assert again.updated == 5 and not await fetch("SELECT 1 FROM catalog_listings WHERE NOT active")


async def test_a_truncated_or_failed_pull_takes_nothing_off_sale(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row(f"A{i}") for i in range(30)], size=10)
    await api.sync(c, kind="full")
    vendor.pages[c] = pages([row(f"A{i}") for i in range(28)], size=10, complete=False)
    outcome = await api.sync(c, kind="full")
    assert not outcome.complete and outcome.unlisted == 0
    vendor.fail_after[c] = (1, Retry("the vendor is down", after=9))
    vendor.pages[c] = pages([row(f"A{i}") for i in range(28)], size=10)
    outcome = await api.sync(c, kind="incremental")
    assert outcome.error == "the vendor is down" and outcome.seen == 10
    assert not await fetch("SELECT 1 FROM catalog_listings WHERE NOT active")


async def test_a_shrunken_assortment_is_not_taken_off_sale_before_somebody_says_so(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row(f"A{i}") for i in range(30)])
    await api.sync(c, kind="full")
    vendor.pages[c] = pages([row(f"A{i}") for i in range(20)], captured_at=at(1))
    outcome = await api.sync(c, kind="full")
    assert outcome.unlisted == 0 and not outcome.complete and "10 of 30" in (outcome.error or "")
    assert not await fetch("SELECT 1 FROM catalog_listings WHERE NOT active")
    vendor.pages[c] = pages([row(f"A{i}") for i in range(20)], captured_at=at(2))
    outcome = await api.sync(c, kind="full", unlist_any_share=True)
    assert outcome.unlisted == 10 and outcome.error is None


async def test_a_refused_row_was_still_seen_and_stays_on_sale(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row(f"A{i}") for i in range(3)])
    await api.sync(c, kind="full")
    [page] = pages([row("A0"), row("A1")], captured_at=at(1))
    bad = BadRow(reason="the price is zero", pointer="/price", vendor_sku="A2", raw="{}")
    vendor.pages[c] = [page.model_copy(update={"bad": (bad,)})]
    outcome = await api.sync(c, kind="full")
    assert (outcome.quarantined, outcome.unlisted) == (1, 0)
    assert (await fetch("SELECT reason, vendor_sku FROM quarantine"))[0] == {"reason": bad.reason, "vendor_sku": "A2"}


async def test_a_pull_that_died_resumes_after_its_last_saved_batch_without_gap_or_repeat(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = await connection()
    monkeypatch.setattr(ingest, "Buffer", lambda _rows: Buffer(rows=20))
    vendor.pages[c] = pages([row(f"A{i}") for i in range(100)], size=10)
    whole = ingest.connectors.save_progress

    async def dies(tx: Any, run_id: int, **progress: Any) -> None:
        if progress["figures"]["seen"] == 60:
            raise RuntimeError("power cut")
        await whole(tx, run_id, **progress)

    monkeypatch.setattr(ingest.connectors, "save_progress", dies)
    with pytest.raises(RuntimeError):
        await api.sync(c, kind="full")
    monkeypatch.setattr(ingest.connectors, "save_progress", whole)
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 40
    await _lease_over(c)
    outcome = await api.sync(c, kind="full")
    assert vendor.asked[-1] == {"from": 40}
    assert (outcome.seen, outcome.created, outcome.complete, outcome.unlisted) == (100, 100, True, 0)
    assert (await fetch("SELECT complete_at FROM catalog_feeds"))[0]["complete_at"] == T0


async def test_one_batch_is_prepared_while_the_one_before_is_written_unless_they_meet(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = await connection()
    monkeypatch.setattr(ingest, "Buffer", lambda _rows: Buffer(rows=10))
    seen: list[str] = []
    prepare, write = ingest.staging.prepare, ingest.landing.write
    second_begun = asyncio.Event()

    async def preparing(tx: Any, view: Any, batch: Any) -> Any:
        seen.append(f"prepare {batch.rows[0].vendor_sku}")
        if batch.rows[0].vendor_sku == "B0":
            second_begun.set()
        return await prepare(tx, view, batch)

    async def writing(tx: Any, view: Any, batch: Any, *rest: Any) -> Any:
        if batch.rows[0].vendor_sku == "A0":
            await asyncio.wait_for(second_begun.wait(), 30)
        await asyncio.sleep(0.05)  # a third that does not wait would begin in this time
        done = await write(tx, view, batch, *rest)
        seen.append(f"wrote {batch.rows[0].vendor_sku}")
        return done

    monkeypatch.setattr(ingest.staging, "prepare", preparing)
    monkeypatch.setattr(ingest.landing, "write", writing)
    first, second = [row(f"A{i}") for i in range(10)], [row(f"B{i}", gtin=G1 if i == 4 else None) for i in range(10)]
    third = [row("C0", gtin=G1), row("B3", price="7"), *(row(f"C{i}") for i in range(1, 9))]
    vendor.pages[c] = pages([*first, *second, *third], size=10)
    outcome = await api.sync(c, kind="full")
    assert seen == ["prepare A0", "prepare B0", "wrote A0", "wrote B0", "prepare C0", "wrote C0"]
    assert (outcome.seen, outcome.created, outcome.updated, outcome.merged) == (30, 29, 1, 1)
    met = await fetch("SELECT product_id FROM catalog_listings WHERE gtin IS NOT NULL")
    assert len(met) == 2 and met[0] == met[1]
    assert str((await fetch("SELECT price FROM catalog_listings WHERE vendor_sku = 'B3'"))[0]["price"]) == "7.0000"


async def test_a_vendor_that_fails_halfway_keeps_every_batch_that_came_before(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = await connection()
    monkeypatch.setattr(ingest, "Buffer", lambda _rows: Buffer(rows=10))
    vendor.pages[c] = pages([row(f"A{i}") for i in range(50)], size=10)
    vendor.fail_after[c] = (3, Retry("the shop is down"))
    outcome = await api.sync(c, kind="full")
    assert (outcome.seen, outcome.complete, outcome.error) == (30, False, "the shop is down")
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 30


async def _lease_over(connection_id: int) -> None:
    async with uow() as tx:
        await tx.run(
            "UPDATE sync_runs SET lease_until = $2 WHERE connection_id = $1 AND status = 'running'", connection_id, T0
        )


async def test_one_connection_is_pulled_by_one_worker_at_a_time(vendor: Vendor) -> None:
    c = await connection()
    async with uow() as tx:
        await connectors.start_run(tx, c, "full")
    with pytest.raises(Conflict):
        await api.sync(c, kind="full")


async def test_a_row_that_no_column_can_hold_stands_alone_in_quarantine(vendor: Vendor) -> None:
    c = await connection()
    rows = [row(f"A{i}") for i in range(50)]
    rows[33] = row("A33", version=2**70)
    vendor.pages[c] = pages(rows)
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.quarantined, outcome.complete) == (49, 1, True)
    assert [q["vendor_sku"] for q in await fetch("SELECT vendor_sku FROM quarantine")] == ["A33"]


async def test_a_sku_twice_in_a_batch_counts_as_its_last_row_and_is_reported(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row("A", price="1"), row("B"), row("A", price="2", on_hand=8), row("B")])
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.quarantined) == (2, 1)
    assert str((await fetch("SELECT price FROM catalog_listings WHERE vendor_sku = 'A'"))[0]["price"]) == "2.0000"
    assert (await shelf(await listing("A")))["on_hand"] == 8


async def test_one_sku_at_two_locations_is_one_listing_with_two_shelf_rows(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = pages([row("A", location="SH", on_hand=2), row("A", location="BJ", on_hand=3)])
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.quarantined) == (1, 0)
    lid = await listing("A")
    assert ((await shelf(lid, "SH"))["on_hand"], (await shelf(lid, "BJ"))["on_hand"]) == (2, 3)


async def test_a_reference_connection_lists_nothing(vendor: Vendor) -> None:
    shop, market = await connection("店"), await connection("行情", role="reference")
    vendor.pages[shop] = pages([row("A", gtin=G1, price="21")])
    vendor.pages[market] = pages(
        [row("R", gtin=G1, price="20", on_hand=None), row("R2", gtin=G2, price="3", on_hand=None)]
    )
    await api.sync(shop, kind="full")
    outcome = await api.sync(market, kind="full")
    assert outcome.complete and outcome.created == 1
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == 1
    [event] = await fetch("SELECT payload FROM outbox WHERE type = 'ReferencesRecorded'")
    assert event["payload"]["product_ids"] == [1]


async def test_a_market_price_that_the_vendor_states_becomes_a_reference_with_evidence(vendor: Vendor) -> None:
    c = await connection("京东企业购")
    now = clock.now()
    vendor.pages[c] = pages([row("A", price="95", market_price="90"), row("B", market_price="8")], captured_at=now)
    await api.sync(c, kind="full")
    found = await fetch("SELECT price, source, captured_at, sha256 FROM pricing_references ORDER BY price")
    assert [str(r["price"]) for r in found] == ["8.0000", "90.0000"]
    assert found[0]["source"] == "京东企业购/main: stated market price" and len(found[0]["sha256"]) == 64
    async with uow() as tx:
        await api.on_references(tx, ReferencesRecorded(product_ids=[1, 2]))
    verdicts = await fetch("SELECT listing_id, verdict FROM pricing_verdicts ORDER BY 1")
    assert [v["verdict"] for v in verdicts] == ["breach", "breach"]
