"""Promises of stock that a system tells apart from its listings."""

from __future__ import annotations

import pytest

from catalog import api, ingest, stock
from catalog.batching import Buffer
from catalog.stock import Figure
from connectors import api as connectors
from connectors.contracts import Page, StockFigure
from connectors.declarative import stock_page
from hub.kernel.db import uow
from hub.kernel.errors import Retry
from hub.kernel.types import Level
from tests.catalog.kit import Vendor, at, connection, fetch, listing, pages, row, shelf


def figures(*stock: tuple[str, int | Level], size: int = 10, after: int = 1) -> list[Page]:
    made = [
        StockFigure(sku, said if not isinstance(said, Level) else None, said if isinstance(said, Level) else None,
                    "", None, None)
        for sku, said in stock
    ]  # fmt: skip
    starts = range(0, max(1, len(made)), size)
    return [
        stock_page(made[s : s + size], {"row": s + size}, at(after), complete=s + size >= len(made)) for s in starts
    ]


def silent(count: int) -> list[Page]:
    """Listings that say nothing about stock."""
    return pages([row(f"A{i}", on_hand=None) for i in range(count)], size=10)


async def test_a_pull_lists_first_and_then_reports_the_stock(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(25), figures(*((f"A{i}", i) for i in range(25)), ("ELSEWHERE", 4))
    outcome = await api.sync(c, kind="full")
    assert (outcome.seen, outcome.created, outcome.complete, outcome.error) == (25, 25, True, None)
    assert (await shelf(await listing("A7")))["on_hand"] == 7
    [run] = await fetch("SELECT stock_seen, stock_changed, seen FROM sync_runs")
    assert run == {"stock_seen": 26, "stock_changed": 0, "seen": 25}, "new listings are not changed ones"
    assert [p["sellable"] for p in await fetch("SELECT sellable FROM catalog_products ORDER BY id")] == [
        i > 0 for i in range(25)
    ]
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_a_stock_figure_proves_nothing_about_what_is_listed(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(12), figures(*((f"A{i}", 3) for i in range(12)))
    await api.sync(c, kind="full")
    vendor.pages[c] = pages([row(f"A{i}", on_hand=None) for i in range(10)], captured_at=at(2))
    outcome = await api.sync(c, kind="full")
    assert outcome.unlisted == 2, "A10 and A11 are gone although the stock system still knows them"


async def test_a_run_that_broke_off_in_the_stock_goes_on_there(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    c = await connection()
    monkeypatch.setattr(ingest, "Buffer", lambda _rows: Buffer(rows=10))
    vendor.pages[c], vendor.stock[c] = silent(20), figures(*((f"A{i}", 5) for i in range(20)), size=10)
    whole = ingest.connectors.save_progress

    async def dies(tx, run_id, **progress):  # type: ignore[no-untyped-def]
        if progress["figures"]["stock_seen"] == 20:
            raise Retry("the vendor went away")
        await whole(tx, run_id, **progress)

    monkeypatch.setattr(ingest.connectors, "save_progress", dies)
    monkeypatch.setattr(ingest, "TRIES", 1)
    assert (await api.sync(c, kind="full")).error == "the vendor went away"
    monkeypatch.setattr(ingest.connectors, "save_progress", whole)
    outcome = await api.sync(c, kind="full")
    assert vendor.asked[-1] == {"row": 10}, "resumed in the stock, after its first page"
    assert (outcome.seen, outcome.created, outcome.complete, outcome.unlisted) == (20, 20, True, 0)
    assert (await shelf(await listing("A15")))["on_hand"] == 5


async def test_a_stock_pull_alone_reads_no_listings_and_moves_no_watermark(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(5), figures(*((f"A{i}", 5) for i in range(5)))
    await api.sync(c, kind="full")
    [before] = await fetch("SELECT watermark, last_full_at FROM connections WHERE id = $1", c)
    vendor.asked.clear()
    vendor.stock[c] = figures(("A1", 0), ("A2", Level.LIMITED), ("A3", 9), after=3)
    outcome = await api.sync(c, kind="stock")
    assert (outcome.seen, outcome.complete, outcome.error, vendor.asked) == (0, True, None, [None])
    assert [await fetch("SELECT watermark, last_full_at FROM connections WHERE id = $1", c)] == [[before]]
    [run] = await fetch("SELECT stock_seen, stock_changed FROM sync_runs ORDER BY id DESC LIMIT 1")
    assert run == {"stock_seen": 3, "stock_changed": 3}
    assert (await shelf(await listing("A1")))["level"] == "out"
    assert (await shelf(await listing("A2")))["on_hand"] is None
    assert (await shelf(await listing("A4")))["on_hand"] == 5, "what the sweep did not name stays"


async def test_an_older_stock_figure_changes_nothing(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(1), figures(("A0", 5), after=10)
    await api.sync(c, kind="full")
    vendor.stock[c] = figures(("A0", 9), after=2)
    await api.sync(c, kind="stock")
    assert (await shelf(await listing("A0")))["on_hand"] == 5


async def test_the_next_kind_is_stock_where_only_stock_is_told_apart(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectors import manifest, runs

    c = await connection()
    described = manifest.manifest_of("table_feed")
    pull = manifest.manifest_of("woocommerce").pull_listings
    assert pull is not None
    apart = described.model_copy(
        update={
            "pull_listings": pull.model_copy(update={"incremental": None, "full_every_s": 3600}),
            "capabilities": (*described.capabilities, runs.Capability.PULLS_STOCK),
        }
    )
    monkeypatch.setattr(runs, "of_connection", lambda _name, _config: apart)
    vendor.pages[c], vendor.stock[c] = silent(1), figures(("A0", 5))
    async with uow() as tx:
        assert await connectors.next_sync_kind(tx, c) == "full"
    await api.sync(c, kind="full")
    async with uow() as tx:
        assert await connectors.next_sync_kind(tx, c) == "stock"
        await tx.run("UPDATE connections SET last_full_at = last_full_at - interval '2 hours'")
        assert await connectors.next_sync_kind(tx, c) == "full"


async def test_a_full_sweep_says_what_the_pulls_of_changes_had_missed(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(12), figures(*((f"A{i}", 5) for i in range(12)))
    await api.sync(c, kind="full")
    async with uow() as tx:
        assert await connectors.sweep_drift(tx) == {}, "there were no pulls of changes yet"
    vendor.stock[c] = figures(("A1", 4), after=2)
    await api.sync(c, kind="stock")
    kept = [row(f"A{i}", on_hand=None) for i in range(5)]
    dearer = [row(f"A{i}", on_hand=None, price="99") for i in range(5, 11)]
    vendor.pages[c] = pages([*kept, *dearer], captured_at=at(3))
    vendor.stock[c] = figures(*((f"A{i}", 4) for i in range(3)), after=3)
    await api.sync(c, kind="full")
    async with uow() as tx:
        assert await connectors.sweep_drift(tx) == {c: 6 + 1 + 2}, "six prices, one gone, two figures"


def places(after: int, *told: tuple[str, str, int | Level]) -> list[Page]:
    """Stock by location, all on one page."""
    made = [
        StockFigure(sku, None if isinstance(n, Level) else n, n if isinstance(n, Level) else None, place, None, None)
        for sku, place, n in told
    ]
    return [stock_page(made, {"row": len(made)}, at(after), complete=True)]


async def test_a_location_that_a_complete_pull_no_longer_names_is_empty(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c] = silent(4)
    told = [("A0", "EAST", 5), ("A0", "WEST", 7), ("A1", "WEST", Level.IN_STOCK), ("A1", "EAST", 1), ("A2", "WEST", 3)]
    vendor.stock[c] = places(1, *told, ("A3", "WEST", 9), ("A3", "EAST", 9))
    await api.sync(c, kind="full")
    async with uow() as tx:
        late = Figure(await listing("A3"), "WEST", 4, None, None, at(9))
        await stock.settle(tx, await stock.apply_figures(tx, [late]))
    vendor.pages[c] = pages([row(f"A{i}", on_hand=None) for i in range(4)], size=10, captured_at=at(2))
    vendor.stock[c] = places(3, ("A0", "EAST", 5), ("A1", "EAST", 1), ("A3", "EAST", 9))
    assert (await api.sync(c, kind="full")).complete
    found = [(await shelf(await listing(sku), "WEST")) for sku in ("A0", "A1", "A2", "A3")]
    assert [(row["on_hand"], row["level"]) for row in found] == [
        (0, "out"), (None, "out"), (3, "in_stock"), (4, "in_stock")
    ], "A2 was not spoken of at all; A3's figure is younger than the run"  # fmt: skip
    async with uow() as tx:
        assert await api.drift(tx) == []
    vendor.stock[c] = places(12, *told)
    await api.sync(c, kind="stock")
    assert (await shelf(await listing("A0"), "WEST"))["on_hand"] == 7, "it is told of again"


async def test_a_pull_of_stock_alone_empties_no_location(vendor: Vendor) -> None:
    c = await connection()
    vendor.pages[c], vendor.stock[c] = silent(1), places(1, ("A0", "EAST", 5), ("A0", "WEST", 7))
    await api.sync(c, kind="full")
    vendor.stock[c] = places(3, ("A0", "EAST", 2))
    await api.sync(c, kind="stock")
    assert (await shelf(await listing("A0"), "WEST"))["on_hand"] == 7
