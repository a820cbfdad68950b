"""Promises of group commit: each call gets its own results after its commit, and nobody suffers for a neighbour."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import timedelta
from typing import Any

import pytest

from catalog import gathering, stock
from catalog.contracts import ReserveLine
from connectors.contracts import StockReport
from hub.kernel.db import Database, uow
from hub.kernel.errors import Conflict, Retry
from tests.catalog.kit import T0, at, fetch, shelf, stocked


def report(sku: str, on_hand: int, n: int) -> StockReport:
    return StockReport(vendor_sku=sku, on_hand=on_hand, version=n, reported_at=T0 + timedelta(seconds=n))


async def vendor_of(connection_id: int) -> int:
    [row] = await fetch("SELECT vendor_id FROM catalog_feeds WHERE connection_id = $1", connection_id)
    return int(row["vendor_id"])


async def test_calls_that_come_together_share_a_transaction_and_each_gets_its_own_results(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await stocked([5] * 20, vendor="甲")
    two, _ = await stocked([5] * 20, vendor="乙")
    vendors = [await vendor_of(one), await vendor_of(two)]
    sizes: list[int] = []
    committed = gathering.committed

    async def counted(group: Any) -> Any:
        sizes.append(len(group))
        return await committed(group)

    monkeypatch.setattr(gathering, "committed", counted)
    calls = [(vendors[n % 2], f"S{n // 2}", n) for n in range(40)]
    results = await asyncio.gather(*(gathering.apply(v, [report(sku, 50 + n, 1)]) for v, sku, n in calls))
    assert results == [["applied"]] * 40
    assert len(sizes) < 10 and sum(sizes) == 40
    rows = await fetch(
        "SELECT f.vendor_id, l.vendor_sku, s.on_hand FROM catalog_stock s "
        "JOIN catalog_listings l ON l.id = s.listing_id JOIN catalog_feeds f ON f.connection_id = l.connection_id"
    )
    assert {(r["vendor_id"], r["vendor_sku"]): r["on_hand"] for r in rows} == {(v, sku): 50 + n for v, sku, n in calls}


async def test_a_vendor_cannot_reach_another_vendors_sku_through_a_shared_transaction(database: Database) -> None:
    one, [theirs] = await stocked([5], vendor="甲")
    async with uow() as tx:
        nobody = await tx.fetchval("INSERT INTO vendors (name, created_at) VALUES ('乙', $1) RETURNING id", tx.now)
    mine, foreign = await asyncio.gather(
        gathering.apply(await vendor_of(one), [report("S0", 7, 1)]), gathering.apply(nobody, [report("S0", 0, 2)])
    )
    assert (mine, foreign) == (["applied"], ["unknown_sku"])
    assert (await shelf(theirs))["on_hand"] == 7


async def test_the_newest_wins_whatever_the_order_in_which_calls_come(database: Database) -> None:
    connection, ids = await stocked([5] * 5)
    vendor = await vendor_of(connection)
    reports = [(f"S{k}", 100 * k + n, n) for k in range(5) for n in range(1, 41)]
    random.Random(3).shuffle(reports)
    await asyncio.gather(*(gathering.apply(vendor, [report(sku, figure, n)]) for sku, figure, n in reports * 2))
    assert [(await shelf(i))["on_hand"] for i in ids] == [100 * k + 40 for k in range(5)]
    async with uow() as tx:
        assert await stock.drift(tx) == []


async def test_one_calls_trouble_is_nobody_elses(database: Database) -> None:
    connection, [s0, s1] = await stocked([5, 5])
    vendor = await vendor_of(connection)
    poison = StockReport.model_construct(
        vendor_sku="S1", location="", on_hand=2**40, level=None, version=1, reported_at=at(5)
    )
    blocker = gathering.apply(vendor, [report("S0", 9, 1)])
    good, bad, also = await asyncio.gather(
        gathering.apply(vendor, [report("S0", 10, 2)]),
        gathering.apply(vendor, [poison]),
        gathering.apply(vendor, [report("S0", 11, 3)]),
        return_exceptions=True,
    )
    await blocker
    assert (good, also) == (["applied"], ["applied"]) and isinstance(bad, Exception)
    assert ((await shelf(s0))["on_hand"], (await shelf(s1))["on_hand"]) == (11, 5)


async def test_a_row_that_somebody_holds_keeps_only_its_own_callers_waiting(database: Database) -> None:
    connection, [s0, _] = await stocked([5, 5])
    vendor = await vendor_of(connection)
    async with uow() as tx:
        await stock.reserve(tx, [ReserveLine(hold_id=uuid.uuid4(), listing_id=s0, quantity=1)])
        stuck = gathering.apply(vendor, [report("S0", 8, 1)])
        await asyncio.sleep(0.1)
        assert not stuck.done()
        free = [await asyncio.wait_for(gathering.apply(vendor, [report("S1", n, n)]), 5) for n in range(1, 4)]
        assert free == [["applied"]] * 3 and not stuck.done()
    assert await stuck == ["applied"]
    row = await shelf(s0)
    assert (row["on_hand"], row["reserved"]) == (8, 1)


async def test_reserving_beside_single_updates_never_oversells_and_the_ledger_agrees(database: Database) -> None:
    connection, ids = await stocked([6] * 4)
    vendor = await vendor_of(connection)
    held = 0

    async def buy(n: int) -> None:
        nonlocal held
        for k in range(8):
            try:
                async with uow() as tx:
                    line = ReserveLine(hold_id=uuid.uuid4(), listing_id=ids[(n + k) % 4], quantity=1)
                    await stock.reserve(tx, [line])
                held += 1
            except Conflict:
                pass
            except Retry:
                raise AssertionError("nobody deadlocks") from None

    async def push(n: int) -> None:
        for k in range(12):
            await gathering.apply(vendor, [report(f"S{(n + k) % 4}", 6, 1 + n * 100 + k)])

    await asyncio.gather(*(buy(n) for n in range(6)), *(push(n) for n in range(6)))
    rows = await fetch("SELECT on_hand, reserved FROM catalog_stock")
    assert held == 24 and all(row["reserved"] == 6 == row["on_hand"] for row in rows)
    async with uow() as tx:
        assert await stock.drift(tx) == []


async def test_a_database_that_is_busy_is_asked_again_and_then_the_callers_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = await stocked([5])
    vendor = await vendor_of(connection)
    apply, tries = stock.apply_reports_of_vendors, 0

    async def busy(tx: Any, reports: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries in (1, 3, 4, 5):
            raise Retry("busy", after=0.01)
        return await apply(tx, reports)

    monkeypatch.setattr(stock, "apply_reports_of_vendors", busy)
    assert await gathering.apply(vendor, [report("S0", 8, 1)]) == ["applied"]
    with pytest.raises(Retry):
        await gathering.apply(vendor, [report("S0", 9, 2)])
