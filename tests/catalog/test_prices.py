"""What the catalogue and the price check tell each other: far moves that wait, packs of one article, references that
are no product of ours, sales that begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from catalog import api, ingest, listings_web
from hub.kernel import clock, events
from hub.kernel.db import uow
from hub.kernel.settings import reset_settings
from pricing import api as pricing
from pricing import store
from pricing.contracts import (
    ParityHoldsChanged,
    PriceMoveConfirmed,
    PriceMovesWaiting,
    ReferencesRecorded,
)
from tests.catalog.kit import Vendor, connection, fetch, listing, pages, row, shelf
from tests.catalog.test_listings_push import client, item, send

G1, G2 = "06901234567892", "06923450657713"
FLOW = {ReferencesRecorded: [api.on_references], PriceMoveConfirmed: [api.on_move_confirmed], PriceMovesWaiting: [],
        ParityHoldsChanged: [api.on_holds_changed]}  # fmt: skip
__all__ = ["client", "listings_web"]


async def pull(vendor: Vendor, connection_id: int, *rows: Any) -> Any:
    vendor.pages[connection_id] = pages(rows, captured_at=clock.now())
    return await ingest.sync(connection_id, kind="full")


async def price(sku: str = "A") -> str:
    [found] = await fetch("SELECT price FROM catalog_listings WHERE vendor_sku = $1", sku)
    return f"{found['price'].normalize():f}"


async def moves() -> list[tuple[str, str, str]]:
    rows = await fetch("SELECT price_before, price_after, status FROM pricing_moves ORDER BY id")
    return [(f"{r['price_before'].normalize():f}", f"{r['price_after'].normalize():f}", r["status"]) for r in rows]


async def decide(move_id: int, status: str) -> None:
    async with uow() as tx:
        decided = await store.decide_move(tx, move_id, status, "key:1", "asked the vendor")
        assert decided is not None
        if status == "confirmed":
            before, after = decided["price_before"], decided["price_after"]
            tx.emit(PriceMoveConfirmed(listing_id=decided["listing_id"], before=before, after=after))
    await events.drain(FLOW)


@pytest.fixture
def no_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SUPPLYHUB_PRICE_MOVE_RATIO", "0")
    reset_settings()
    yield
    monkeypatch.undo()
    reset_settings()


async def test_a_price_ten_times_what_it_was_waits_and_the_rest_of_the_row_lands(vendor: Vendor) -> None:
    c = await connection()
    await pull(vendor, c, row("A", price="9.90"), row("B", price="9.90"), row("C", price="9.90"))
    told = await pull(
        vendor, c, row("A", price="99", on_hand=7, title="新口罩"), row("B", price="0.99"), row("C", price="98.99")
    )
    assert (told.updated, told.quarantined) == (3, 2)
    assert [await price(sku) for sku in "ABC"] == ["9.9", "9.9", "98.99"], "98.99 is not yet ten times"
    assert (await shelf(await listing("A")))["on_hand"] == 7
    assert (await fetch("SELECT title FROM catalog_listings WHERE vendor_sku = 'A'"))[0]["title"] == "新口罩"
    assert await moves() == [("9.9", "99", "pending"), ("9.9", "0.99", "pending")]
    again = await pull(vendor, c, row("A", price="99", on_hand=7, title="新口罩"), row("B", price="0.99"))
    assert (again.unchanged, again.quarantined) == (2, 0), "the same row again asks nothing"


async def test_a_confirmed_move_takes_effect_and_is_judged(vendor: Vendor) -> None:
    c = await connection()
    await pull(vendor, c, row("A", price="9.90", market_price="10"))
    await events.drain(FLOW)
    await pull(vendor, c, row("A", price="99", market_price="10"))
    assert (await fetch("SELECT verdict FROM pricing_verdicts")) == [{"verdict": "pass"}]
    await decide(1, "confirmed")
    assert await price() == "99"
    assert (await fetch("SELECT verdict FROM pricing_verdicts")) == [{"verdict": "breach"}]
    [product] = await fetch("SELECT price FROM catalog_products")
    assert product["price"] == 99
    await pull(vendor, c, row("A", price="9.90", market_price="10"))
    assert await moves() == [("9.9", "99", "confirmed"), ("99", "9.9", "pending")]
    await pull(vendor, c, row("A", price="99", title="第三次", market_price="10"))
    assert await moves() == [("9.9", "99", "confirmed"), ("99", "9.9", "withdrawn")]


async def test_a_refused_move_is_refused_from_then_on_without_a_word(vendor: Vendor) -> None:
    c = await connection()
    await pull(vendor, c, row("A", price="9.90"))
    await pull(vendor, c, row("A", price="99"))
    await decide(1, "refused")
    await pull(vendor, c, row("A", price="99", title="又一次"))
    assert (await price(), await moves()) == ("9.9", [("9.9", "99", "refused")])
    await pull(vendor, c, row("A", price="990"))
    assert (await price(), (await moves())[1]) == ("9.9", ("9.9", "990", "pending"))
    await pull(vendor, c, row("A", price="12"))
    assert (await price(), (await moves())[1]) == ("12", ("9.9", "990", "withdrawn"))


async def test_a_confirmation_that_comes_late_does_not_undo_what_the_vendor_sent_since(vendor: Vendor) -> None:
    c = await connection()
    await pull(vendor, c, row("A", price="9.90"))
    await pull(vendor, c, row("A", price="99"))
    async with uow() as tx:
        await store.decide_move(tx, 1, "confirmed", "key:1", "meant")
    await pull(vendor, c, row("A", price="12"))
    listed = await listing("A")
    async with uow() as tx:
        confirmed = PriceMoveConfirmed(listing_id=listed, before=Decimal("9.9"), after=Decimal(99))
        await api.on_move_confirmed(tx, confirmed)
    assert await price() == "12"


async def test_the_guard_can_be_turned_off(vendor: Vendor, no_guard: None) -> None:
    c = await connection()
    await pull(vendor, c, row("A", price="9.90"))
    await pull(vendor, c, row("A", price="9900"))
    assert (await price(), await moves()) == ("9900", [])


async def test_a_vendor_that_pushes_a_slip_is_told(client: Any) -> None:
    await send(client, item("A", price="9.90"))
    said = (await send(client, item("A", price="99", on_hand=6)))["results"][0]
    assert said["result"] == "applied" and "from 9.9 to 99 CNY" in said["detail"] and "confirmed" in said["detail"]
    assert (await price(), (await shelf(await listing("A")))["on_hand"]) == ("9.9", 6)


async def test_a_pack_dearer_than_the_single_of_its_article_is_found_and_told_once(vendor: Vendor) -> None:
    c = await connection()
    await pull(
        vendor, c,
        row("1", price="10", pack="500ml", family_id="water"),
        row("6", price="61", pack="500ml*6瓶", family_id="water"),
        row("12", price="119", pack="500ml*12瓶", family_id="water"), row("J", price="99", pack="500ml*6瓶"),
    )  # fmt: skip
    for _ in range(2):
        for event in await fetch("SELECT payload FROM outbox WHERE type = 'ListingsChanged'"):
            async with uow() as tx:
                await api.on_listings_changed(tx, api_event(event["payload"]))
    async with uow() as tx:
        rows = await store.finding_rows(tx, 0, 10)
    assert [(r["listing_id"], r["smaller_listing_id"]) for r in rows] == [(await listing("6"), await listing("1"))]
    assert len(await fetch("SELECT 1 FROM outbox WHERE type = 'DearerPacksFound'")) == 1


def api_event(payload: Any) -> Any:
    return events.Event.registry["ListingsChanged"].model_validate(payload)


async def test_reference_rows_that_are_no_product_of_ours_are_counted_and_shown(vendor: Vendor) -> None:
    shop, market = await connection("店"), await connection("行情", role="reference")
    await pull(vendor, shop, row("A", gtin=G1, price="21"))
    seen = [row("R", gtin=G1, price="20", on_hand=None), row("R2", gtin=G2, price="3", on_hand=None, brand="某牌")]
    await pull(vendor, market, *seen)

    async def shown() -> tuple[dict[int, int], list[tuple[str, str | None]]]:
        async with uow() as tx:
            rows = await store.unmatched_rows(tx, market, None, 10)
            return await store.count_unmatched(tx), [(r["vendor_sku"], r["gtin"]) for r in rows]

    assert await shown() == ({market: 1}, [("R2", G2)])
    assert len(await fetch("SELECT 1 FROM catalog_listings")) == len(await fetch("SELECT 1 FROM catalog_products")) == 1
    await pull(vendor, shop, row("A", gtin=G1, price="21"), row("B", gtin=G2, price="3"))
    await pull(vendor, market, *seen)
    assert await shown() == ({}, [])


async def test_a_shops_sale_begins_and_ends_in_the_verdict_without_another_reading(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, market = await connection("店"), await connection("行情", role="reference")
    start = clock.now()
    begins, ends = start + timedelta(hours=1), start + timedelta(hours=2)
    await pull(vendor, shop, row("A", gtin=G1, price="100"))
    planned = {"other_price": "80.00 CNY", "other_price_from": begins.isoformat(), "price_until": begins.isoformat(),
               "other_price_until": ends.isoformat()}  # fmt: skip
    vendor.pages[market] = pages([row("R", gtin=G1, price="100", on_hand=None, attributes=planned)], captured_at=start)
    await ingest.sync(market, kind="full")
    await events.drain(FLOW)
    stands = []
    for moment in (start, begins, ends):
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        await pricing.expire_verdicts()
        stands.append((await pricing.standing_verdicts([1]))[1].verdict.value)
    assert stands == ["pass", "breach", "pass"]


async def test_what_a_mall_holds_back_reaches_its_mirrors(vendor: Vendor) -> None:
    c = await connection()
    await pull(vendor, c, row("A"))
    before = len(await fetch("SELECT 1 FROM catalog_changes"))
    async with uow() as tx:
        await api.on_holds_changed(tx, ParityHoldsChanged(listings={1: [await listing("A")]}))
    assert len(await fetch("SELECT 1 FROM catalog_changes")) == before + 1
