"""Promises of pushes into the catalogue, of offers, and of the buffer between a connector and the tables."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from catalog import api, ingest
from catalog.batching import Batch, Buffer, ready_page
from connectors import api as connectors
from connectors.contracts import BadRow, ListingIn, Page, PayloadLanded, PushContent, SlotIn, StockFigure, StockReport
from hub.kernel import clock
from hub.kernel.db import Database, uow
from hub.kernel.types import Level
from pricing.contracts import ReferencesRecorded
from tests.catalog.kit import T0, Vendor, at, connection, fetch, listing, pages, row, shelf, stocked

G1 = "6901234567892"


@pytest.fixture
def push(monkeypatch: pytest.MonkeyPatch, database: Database) -> Any:
    """Deliver a push's content to the catalogue's handler."""

    async def deliver(connection_id: int, **content: Any) -> None:
        async def landed(tx: Any, _inbox_id: int) -> Any:
            return await connectors.get_connection(tx, connection_id), PushContent(**content)

        monkeypatch.setattr(ingest.connectors, "landed", landed)
        async with uow() as tx:
            await api.on_payload(tx, PayloadLanded(inbox_id=1, connection_id=connection_id))

    return deliver


async def test_a_push_updates_stock_and_listings_and_keeps_what_it_cannot_use(push: Any) -> None:
    c, [s0] = await stocked([9])
    bad = BadRow(reason="no price", raw="{}")
    stock = (
        StockReport(vendor_sku="S0", on_hand=4, reported_at=at(1)),
        StockReport(vendor_sku="?", on_hand=1, reported_at=at(1)),
    )
    await push(
        c, stock=stock, listings=(row("NEW", on_hand=3), row("S0", on_hand=4, price="5", reported_at=at(1))), bad=(bad,)
    )
    assert (await shelf(s0))["on_hand"] == 4
    assert (await shelf(await listing("NEW")))["on_hand"] == 3
    assert str((await fetch("SELECT price FROM catalog_products WHERE id = 1"))[0]["price"]) == "5.0000"
    assert {q["reason"] for q in await fetch("SELECT reason FROM quarantine")} == {
        "no price",
        "no listing has this SKU",
    }
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_a_push_never_takes_off_sale_what_it_does_not_mention(push: Any) -> None:
    c, _ = await stocked([9, 9, 9])
    await push(c, listings=(row("S0", price="1"),))
    assert len(await fetch("SELECT 1 FROM catalog_listings WHERE active")) == 3


async def test_a_push_that_takes_a_listing_off_sale_does(push: Any) -> None:
    c, _ = await stocked([9])
    await push(c, listings=(row("S0", active=False),))
    assert (await fetch("SELECT listed, sellable FROM catalog_products")) == [{"listed": False, "sellable": False}]


async def test_rows_known_by_their_digest_still_report_their_stock_and_stay_on_sale(vendor: Vendor) -> None:
    c = await connection()
    marks = tuple(bytes([i]) * 16 for i in range(30))
    [page] = pages([row(f"A{i}") for i in range(30)])
    vendor.pages[c] = [page.model_copy(update={"digests": marks})]
    await api.sync(c, kind="full")
    known = await vendor.known([f"A{i}" for i in range(30)] + ["B"])
    assert known == {f"A{i}": marks[i] for i in range(30)}
    figures = tuple(StockFigure(f"A{i}", 8, None, "", None, None) for i in range(29))
    vendor.pages[c] = [
        Page(
            listings=(row("A29", price="3"),), digests=(b"x" * 16,), unchanged=figures, captured_at=at(4), complete=True
        )
    ]
    outcome = await api.sync(c, kind="full")
    assert (outcome.seen, outcome.unchanged, outcome.updated, outcome.unlisted) == (30, 29, 1, 0)
    sql = "SELECT on_hand, reported_at FROM catalog_stock WHERE listing_id <> $1"
    stock = await fetch(sql, await listing("A29"))
    assert stock == [{"on_hand": 8, "reported_at": at(4)}] * 29
    async with uow() as tx:
        await tx.run("UPDATE catalog_listings SET active = false WHERE vendor_sku = 'A3'")
    assert "A3" not in await vendor.known(["A3"]), "what is off sale must be mapped again"


async def test_a_paused_connection_offers_nothing_and_its_products_come_back_with_it(database: Database) -> None:
    c, [s0] = await stocked([9])
    for status, listed in (("paused", False), ("live", True)):
        async with uow() as tx:
            await connectors.set_status(tx, c, status)  # type: ignore[arg-type]
            await api.put_connection(tx, await connectors.get_connection(tx, c))
            assert bool(await api.offers_for(tx, 1, [], [s0])) is listed
        assert (await fetch("SELECT listed FROM catalog_products")) == [{"listed": listed}]


async def test_an_offer_says_what_is_left_and_whether_the_figure_is_fresh(database: Database) -> None:
    c, [s0, s1] = await stocked([9, None])
    now = clock.now()
    async with uow() as tx:
        await tx.run("UPDATE catalog_feeds SET promise_s = 600")
        await api.apply_reports(
            tx, c, [StockReport(vendor_sku="S0", on_hand=5, reported_at=now - timedelta(seconds=1100))]
        )
        one, two = await api.offers_for(tx, 1, [1], [s0, s1])
        assert (one.available, one.level, one.fresh) == (5, Level.IN_STOCK, True)
        assert (two.available, two.level, two.fresh) == (None, Level.IN_STOCK, False)
        await tx.run("UPDATE catalog_feeds SET complete_at = $1", now)
        assert [o.fresh for o in await api.offers_for(tx, 1, [], [s0, s1])] == [True, True]
        await api.refuse(tx, s0, "")
        [refused] = await api.offers_for(tx, 1, [], [s0])
        assert (refused.available, refused.level) == (0, Level.OUT)


async def test_slots_are_shelf_rows_of_one_unit_each(vendor: Vendor) -> None:
    c = await connection("诊所")
    start = clock.now() + timedelta(days=1)

    def slot(ref: str, free: bool, minute: float, sku: str = "洗牙") -> SlotIn:
        return SlotIn(
            vendor_sku=sku, slot_ref=ref, start=start, end=start + timedelta(minutes=30), free=free, version="W/1",
            city="上海", reported_at=at(minute),
        )  # fmt: skip

    service = ListingIn(vendor_sku="洗牙", title="洗牙", price="100", kind="service", mode="appointment")
    vendor.pages[c] = [
        Page(listings=(service,), cursor={"n": 1}, captured_at=T0),
        Page(
            slots=(slot("Slot/1", True, 0), slot("Slot/2", False, 0), slot("Slot/3", True, 0, "?")),
            captured_at=T0,
            complete=True,
        ),
    ]
    outcome = await api.sync(c, kind="full")
    assert (outcome.created, outcome.quarantined, outcome.complete) == (1, 1, True)
    assert (await fetch("SELECT sellable FROM catalog_products")) == [{"sellable": True}]
    async with uow() as tx:
        one, two = await api.slots_for(tx, 1, [1, 2])
        assert (one.free, one.location, one.version, two.free) == (True, "Slot/1", "W/1", False)
    vendor.pages[c] = [Page(listings=(service,), slots=(slot("Slot/1", False, 5),), captured_at=at(5), complete=True)]
    await api.sync(c, kind="full")
    assert (await fetch("SELECT sellable FROM catalog_products")) == [{"sellable": False}]


async def test_new_references_have_the_products_offers_judged_again(vendor: Vendor) -> None:
    shop, market = await connection("店"), await connection("行情", role="reference")
    vendor.pages[shop] = pages([row("A", gtin=G1, price="21")])
    now = clock.now()
    vendor.pages[market] = pages([row("R", gtin=G1, price="20", on_hand=None)], captured_at=now)
    await api.sync(shop, kind="full")
    await api.sync(market, kind="full")
    async with uow() as tx:
        await api.on_references(tx, ReferencesRecorded(product_ids=[1]))
    assert (await fetch("SELECT verdict FROM pricing_verdicts")) == [{"verdict": "pass"}]
    vendor.pages[shop] = pages([row("A", gtin=G1, price="21.01")], captured_at=at(1))
    await api.sync(shop, kind="full")
    assert (await fetch("SELECT verdict FROM pricing_verdicts")) == [{"verdict": "breach"}]


async def test_the_buffer_bounds_rows_and_keeps_nobody_waiting() -> None:
    buffer = Buffer(rows=10, linger_s=0.05)
    page = await ready_page(pages([row(f"A{i}") for i in range(4)])[0])
    given = 0

    async def fill() -> None:
        nonlocal given
        for _ in range(12):
            await buffer.put(page)
            given += 1
        await buffer.close()

    filling = asyncio.create_task(fill())
    await asyncio.sleep(0.02)
    assert given == 5, "two batches wait at most"
    sizes = []
    while (batch := await buffer.take()) is not None:
        sizes.append(batch.size)
    await filling
    assert sizes == [12, 12, 12, 12]
    slow = Buffer(rows=10, linger_s=0.05)
    await slow.put(page)
    assert (await asyncio.wait_for(slow.take(), 1)).size == 4  # type: ignore[union-attr]


async def test_halves_hold_everything_once_and_the_cursor_last() -> None:
    whole = Batch.of([await ready_page(page) for page in pages([row(f"A{i}") for i in range(7)], size=3)])
    first, second = whole.halves()
    assert [r.vendor_sku for r in first.rows + second.rows] == [f"A{i}" for i in range(7)]
    assert (first.pages, second.pages, second.cursor, second.complete) == (0, 3, whole.cursor, True)
    assert not first.complete
