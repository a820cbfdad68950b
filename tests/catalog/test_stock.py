"""Promises of the shelf: never oversold, never counted twice, always equal to its ledger."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from catalog import api, stock
from catalog.contracts import ReserveLine
from catalog.store import shelf as shelf_sql
from connectors.contracts import StockReport
from hub.kernel.db import Database, uow
from hub.kernel.errors import Conflict, Retry
from tests.catalog.kit import at, fetch, shelf, stocked


def report(sku: str, on_hand: int | None = None, *, level: str | None = None, **given: Any) -> StockReport:
    values = {"vendor_sku": sku, "on_hand": on_hand, "level": level, "reported_at": at(1), **given}
    return StockReport.model_validate(values)


def line(listing_id: int, quantity: int = 1, location: str | None = None) -> ReserveLine:
    return ReserveLine(hold_id=uuid.uuid4(), listing_id=listing_id, quantity=quantity, location=location)


async def hold(*lines: ReserveLine) -> list[uuid.UUID]:
    async with uow() as tx:
        await api.reserve(tx, lines)
    return [one.hold_id for one in lines]


async def tell(connection_id: int, *reports: StockReport) -> list[str]:
    async with uow() as tx:
        return await api.apply_reports(tx, connection_id, reports)


async def accept(ids: list[uuid.UUID], when: datetime) -> None:
    async with uow() as tx:
        await api.accept(tx, ids, when)


async def sound() -> None:
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_the_newest_report_wins_in_every_order_of_arrival(database: Database) -> None:
    reports = [
        report("S0", 1, reported_at=at(1)),
        report("S0", 2, reported_at=at(2)),
        report("S0", 3, reported_at=at(3)),
    ]
    c, [s0] = await stocked([9])
    start = 0
    for order in permutations(reports):
        start += 10
        moved = [r.model_copy(update={"reported_at": r.reported_at + timedelta(minutes=start)}) for r in order]
        for one in moved:
            await tell(c, one)
        row = await shelf(s0)
        assert (row["on_hand"], row["reported_at"]) == (3, at(3 + start))
    await sound()


async def test_versions_decide_where_both_sides_have_them(database: Database) -> None:
    c, [s0] = await stocked([9])
    assert await tell(c, report("S0", 4, version=7)) == ["applied"]
    assert await tell(c, report("S0", 8, version=6, reported_at=at(60))) == ["stale"]
    assert await tell(c, report("S0", 4, version=7, reported_at=at(70))) == ["unchanged"]
    assert await tell(c, report("S0", 5, version=7, reported_at=at(70))) == ["stale"]
    assert await tell(c, report("S0", 6, version=8, reported_at=at(0))) == ["applied"]
    assert (await shelf(s0))["on_hand"] == 6
    await sound()


async def test_each_report_of_a_batch_gets_its_own_result_in_input_order(database: Database) -> None:
    c, [s0, s1] = await stocked([9, 9])
    results = await tell(
        c, report("S0", 3, version=3), report("none", 1), report("S0", 2, version=2),
        report("S1", 9, reported_at=at(2)), report("S0", 3, version=3), report("S1", 1, reported_at=at(-5)),
    )  # fmt: skip
    assert results == ["applied", "unknown_sku", "applied", "unchanged", "unchanged", "stale"]
    assert ((await shelf(s0))["on_hand"], (await shelf(s1))["on_hand"]) == (3, 9)
    await sound()


async def test_a_replayed_report_changes_nothing_and_writes_no_movement(database: Database) -> None:
    c, _ = await stocked([9])
    assert await tell(c, report("S0", 4)) == ["applied"]
    before = await fetch("SELECT * FROM catalog_movements"), await fetch("SELECT * FROM catalog_stock")
    assert await tell(c, report("S0", 4)) == ["unchanged"]
    assert before == (await fetch("SELECT * FROM catalog_movements"), await fetch("SELECT * FROM catalog_stock"))


async def test_another_vendors_sku_is_unknown(database: Database) -> None:
    await stocked([9], vendor="甲")
    other, _ = await stocked([], vendor="乙")
    assert await tell(other, report("S0", 1)) == ["unknown_sku"]


async def test_a_switch_between_counts_and_levels_keeps_the_ledger_exact(database: Database) -> None:
    c, [s0] = await stocked([9])
    await tell(c, report("S0", level="limited", reported_at=at(1)))
    row = await shelf(s0)
    assert (row["on_hand"], row["level"]) == (None, "limited")
    await sound()
    await tell(c, report("S0", 4, reported_at=at(2)))
    assert (await shelf(s0))["on_hand"] == 4
    await sound()


async def test_a_level_sells_until_it_says_out_and_is_never_turned_into_a_count(database: Database) -> None:
    c, [s0] = await stocked([None])
    await hold(line(s0, 500))
    assert (await shelf(s0))["on_hand"] is None
    await tell(c, report("S0", level="out"))
    with pytest.raises(Conflict):
        await hold(line(s0, 1))
    await sound()


async def test_a_reservation_is_all_or_nothing_and_names_every_shortage(database: Database) -> None:
    _, [a, b] = await stocked([5, 2])
    with pytest.raises(Conflict) as refused:
        await hold(line(a, 3), line(b, 3), line(a, 3))
    shortages = refused.value.facts["shortages"]
    assert refused.value.code == "out_of_stock"
    assert [(s["listing_id"], s["wanted"], s["available"]) for s in shortages] == [(b, 3, 2), (a, 3, 2)]
    assert (await shelf(a))["reserved"] == 0 and not await fetch("SELECT 1 FROM catalog_holds")
    await sound()


async def test_two_lines_on_one_sku_add_up(database: Database) -> None:
    _, [a] = await stocked([5])
    await hold(line(a, 2), line(a, 3))
    assert (await shelf(a))["reserved"] == 5
    with pytest.raises(Conflict):
        await hold(line(a, 1))
    await sound()


async def test_a_refused_reservation_leaves_the_transaction_usable_for_the_next_offer(database: Database) -> None:
    _, [a, b] = await stocked([0, 5])
    async with uow() as tx:
        with pytest.raises(Conflict):
            await api.reserve(tx, [line(a, 1)])
        await api.reserve(tx, [line(b, 1)])
    assert (await shelf(b))["reserved"] == 1


async def test_a_line_is_served_whole_by_the_first_location_that_can(database: Database) -> None:
    c, [a] = await stocked([1])
    await tell(c, report("S0", 4, location="BJ"), report("S0", 4, location="SH"))
    await hold(line(a, 3), line(a, 3), line(a, 1, "SH"))
    assert [(await shelf(a, place))["reserved"] for place in ("", "BJ", "SH")] == [0, 3, 4]
    with pytest.raises(Conflict):
        await hold(line(a, 2))
    await sound()


async def test_release_is_idempotent_and_gives_back_what_was_held(database: Database) -> None:
    _, [a] = await stocked([5])
    ids = await hold(line(a, 2), line(a, 1))
    for expected in (2, 0):
        async with uow() as tx:
            assert await api.release(tx, ids) == expected
    assert (await shelf(a))["reserved"] == 0
    await sound()


async def test_an_accepted_hold_is_kept_until_a_figure_from_after_the_acceptance_and_then_consumed(
    database: Database,
) -> None:
    c, [a] = await stocked([10])
    ids = await hold(line(a, 4))
    await accept(ids, at(10))
    await tell(c, report("S0", 9, reported_at=at(9)))  # the vendor's count from before it took our order
    assert (await shelf(a))["reserved"] == 4
    await tell(c, report("S0", 5, reported_at=at(11)))
    row = await shelf(a)
    assert (row["on_hand"], row["reserved"]) == (5, 0)
    assert [h["state"] for h in await fetch("SELECT state FROM catalog_holds")] == ["consumed"]
    async with uow() as tx:
        assert await api.release(tx, ids) == 0
    await sound()


async def test_a_report_with_the_same_count_consumes_too(database: Database) -> None:
    c, [a] = await stocked([10])
    await accept(await hold(line(a, 4)), at(10))
    assert await tell(c, report("S0", 10, reported_at=at(11))) == ["applied"]
    assert (await shelf(a))["reserved"] == 0
    await sound()


async def test_a_report_that_overtook_the_acceptance_consumes_at_the_acceptance(database: Database) -> None:
    c, [a] = await stocked([10])
    ids = await hold(line(a, 4))
    await tell(c, report("S0", 6, reported_at=at(11)))
    assert (await shelf(a))["reserved"] == 4
    await accept(ids, at(10))
    assert (await shelf(a))["reserved"] == 0
    await sound()


async def test_unaccepted_holds_are_never_consumed_by_reports(database: Database) -> None:
    c, [a] = await stocked([10])
    await hold(line(a, 4))
    await tell(c, report("S0", 10, reported_at=at(99)), report("S0", 9, reported_at=at(100)))
    assert (await shelf(a))["reserved"] == 4


async def test_a_report_below_what_is_reserved_is_legal_and_says_oversold(database: Database) -> None:
    c, [a] = await stocked([10])
    await hold(line(a, 8))
    assert await tell(c, report("S0", 3)) == ["applied"]
    [event] = await fetch("SELECT payload FROM outbox WHERE type = 'Oversold'")
    assert event["payload"] == {"listing_id": a, "location": "", "on_hand": 3, "reserved": 8}
    with pytest.raises(Conflict):
        await hold(line(a, 1))
    await sound()


async def test_after_a_refusal_nothing_is_sold_until_a_report_from_after_it(database: Database) -> None:
    c, [a] = await stocked([10])
    async with uow() as tx:
        await api.refuse(tx, a, "")
        refused_at = tx.now
    await tell(c, report("S0", 10, reported_at=refused_at - timedelta(minutes=1)))
    row = await shelf(a)
    assert (row["on_hand"], row["frozen"]) == (0, True)
    with pytest.raises(Conflict):
        await hold(line(a, 1))
    assert await tell(c, report("S0", 7, reported_at=refused_at + timedelta(minutes=1))) == ["applied"]
    await hold(line(a, 7))
    await sound()


async def test_a_product_stops_and_starts_being_sellable_with_its_last_unit(database: Database) -> None:
    c, [a] = await stocked([2])

    async def sellable() -> bool:
        return bool((await fetch("SELECT sellable FROM catalog_products"))[0]["sellable"])

    assert await sellable()
    ids = await hold(line(a, 2))
    assert not await sellable()
    async with uow() as tx:
        await api.release(tx, ids)
    assert await sellable()
    await tell(c, report("S0", 0))
    assert not await sellable()


async def test_drift_finds_every_tampered_row_and_no_other(database: Database) -> None:
    _, ids = await stocked([5] * 40)
    await hold(*[line(i, 1) for i in ids])
    async with uow() as tx:
        await tx.run("UPDATE catalog_stock SET on_hand = on_hand + 1 WHERE listing_id = $1", ids[3])
        await tx.run("UPDATE catalog_stock SET reserved = reserved + 1 WHERE listing_id = $1", ids[7])
        await tx.run("UPDATE catalog_holds SET state = 'released' WHERE listing_id = $1", ids[9])
    async with uow() as tx:
        assert [d.listing_id for d in await api.drift(tx)] == [ids[3], ids[7], ids[9]]


async def _contend(ids: list[int], rounds: int, seed: int) -> None:
    """What happens on hot SKUs at once: orders with two lines on one SKU, cancels, and reports."""
    rng = random.Random(seed)
    held: list[uuid.UUID] = []
    for _ in range(rounds):
        try:
            if held and rng.random() < 0.3:
                async with uow() as tx:
                    await api.release(tx, [held.pop(rng.randrange(len(held)))])
            else:
                hot = rng.choice(ids)
                lines = [line(hot), line(rng.choice(ids)), line(hot)]
                held += await hold(*lines)
        except (Conflict, Retry):
            pass


async def _over(ids: list[int]) -> list[int]:
    """Listings of which more than their six units were ever promised at one time, by the ledger."""
    sql = """SELECT DISTINCT listing_id FROM (
      SELECT listing_id, sum(reserved_change) OVER (PARTITION BY listing_id ORDER BY id) AS promised
      FROM catalog_movements) m WHERE promised > 6"""
    return [r["listing_id"] for r in await fetch(sql)]


async def test_eight_connections_on_few_hot_skus_never_oversell_and_never_drift(database: Database) -> None:
    _, ids = await stocked([6] * 4)
    await asyncio.gather(*(_contend(ids, 60, seed) for seed in range(8)))
    assert await _over(ids) == []
    assert (await fetch("SELECT max(reserved) AS most FROM catalog_stock"))[0]["most"] > 0
    await sound()


async def test_without_the_guard_the_same_contention_oversells(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_sql, "SHELF", shelf_sql.SHELF.replace("FOR UPDATE OF s", ""))
    monkeypatch.setattr(shelf_sql, "TAKE", shelf_sql.TAKE.replace(shelf_sql.GUARD, "true"))
    _, ids = await stocked([6] * 4)
    await asyncio.gather(*(_contend(ids, 60, seed) for seed in range(8)))
    assert await _over(ids), "the control did not oversell, so the guarded test proves nothing"


async def test_reports_and_orders_together_keep_counters_equal_to_the_ledger(database: Database) -> None:
    c, ids = await stocked([20] * 4)

    async def vendor_talks(seed: int) -> None:
        rng = random.Random(seed)
        for n in range(40):
            reports = [report(f"S{i}", rng.randrange(30), version=n + 1) for i in rng.sample(range(4), 3)]
            try:
                await tell(c, *reports)
            except Retry:
                continue

    async def orders_are_taken(seed: int) -> None:
        rng = random.Random(seed)
        for n in range(30):
            try:
                held = await hold(line(rng.choice(ids)), line(rng.choice(ids)))
                await accept(held, at(rng.uniform(0, 2)))
                if n % 3 == 0:
                    async with uow() as tx:
                        await api.release(tx, held)
            except (Conflict, Retry):
                continue

    await asyncio.gather(*(vendor_talks(s) for s in range(4)), *(orders_are_taken(s) for s in range(4)))
    await sound()
    assert not await fetch("SELECT 1 FROM catalog_stock WHERE reserved < 0")


async def test_reserving_takes_two_round_trips(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ids = await stocked([50] * 20)
    asked: list[str] = []
    async with uow() as tx:
        whole = tx.fetch

        async def counted(sql: str, *args: Any) -> Any:
            asked.append(sql)
            return await whole(sql, *args)

        monkeypatch.setattr(tx, "fetch", counted)
        await api.reserve(tx, [line(i, 2) for i in ids])
    assert asked == [stock.shelf.SHELF, stock.shelf.TAKE]
