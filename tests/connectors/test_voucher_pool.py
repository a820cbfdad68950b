"""A pool of codes: each handed out once, to one order, whatever is lost in between; and never one that nobody can
use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors import manifest, vouchers
from connectors.contracts import Page, PurchaseOrder, ReceiptStatus, ShipmentStatus
from connectors.store import vouchers as sql
from connectors.voucher_pool import adapter as pooling
from connectors.voucher_pool.adapter import Adapter
from connectors.voucher_pool.kit import ISSUE
from connectors.voucher_pool.sandbox import MemoryPool
from connectors.vouchers import NewCode, Pool, Want
from hub.kernel import clock, db, secrets
from hub.kernel.errors import Broken, Misconfigured, NotFound, Rejected, Retry
from tests.connectors.voucher_stage import SHANGHAI, SKUS, connection, fill, many, opened, plain, po, rows

# Selling ------------------------------------------------------------------------------------------------------


async def test_what_is_sold_is_what_may_still_be_handed_out(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 3), *many("SPA", 2, days=30, start=10), *many("SPA", 4, days=3, start=20))
    async with opened(c) as pool:
        [page] = [page async for page in pool.pull(None)]
        found = {listing.vendor_sku: listing for listing in page.listings}
        assert (found["SPA"].on_hand, found["CARD"].on_hand) == (5, 0)  # those that end within a week do not count
        assert (found["SPA"].mode, found["SPA"].kind, found["SPA"].market_price) == ("code", "experience", Decimal(399))
        order = po(("SPA", 2))
        before = clock.now()
        receipt = await pool.place(order, key=order.number)
        assert receipt.status is ReceiptStatus.ACCEPTED and (receipt.accepted_at or before) >= before
        [page] = [page async for page in pool.pull(None)]
        assert {listing.vendor_sku: listing.on_hand for listing in page.listings} == {"SPA": 3, "CARD": 0}


async def test_codes_that_end_first_go_first_and_those_that_end_too_soon_never(database: db.Database) -> None:
    c = await connection()
    endless, late = many("SPA", 1), many("SPA", 1, days=60, start=2)
    early, gone = many("SPA", 1, days=8, start=3), many("SPA", 1, days=6.9, start=4)
    await fill(c, *endless, *late, *early, *gone)
    handed = []
    async with opened(c) as pool:
        for _ in range(3):
            order = po(("SPA", 1))
            await pool.place(order, key=order.number)
            handed += [code for _, code in plain(await pool.issue(order, key=order.number))]
        order = po(("SPA", 1))
        assert (await pool.place(order, key=order.number)).out_of_stock
    assert handed == [early[0].code, late[0].code, endless[0].code]


async def test_the_same_key_gets_the_same_codes_and_another_gets_others(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 6), *many("CARD", 2, start=100))
    first, second = po(("SPA", 2), ("CARD", 1), ("SPA", 1)), po(("SPA", 3))
    async with opened(c) as pool:
        for order in (first, first, second):
            assert (await pool.place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
        mine = plain(await pool.issue(first, key=first.number))
        assert mine == plain(await pool.issue(first, key=first.number))
        assert [(line, code.partition("-")[0]) for line, code in mine] == [
            (1, "SPA"), (1, "SPA"), (2, "CARD"), (3, "SPA"),
        ]  # fmt: skip
        others = plain(await pool.issue(second, key=second.number))
        assert len({code for _, code in [*mine, *others]}) == 7
        with pytest.raises(NotFound):
            await pool.issue(po(("SPA", 1)), key="po_never")


async def test_too_few_of_one_take_nothing_of_the_other(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 5), *many("CARD", 1, start=100))
    order = po(("SPA", 2), ("CARD", 2), ("SPA", 4))
    async with opened(c) as pool:
        receipt = await pool.place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock) == (ReceiptStatus.REFUSED, True)
        assert receipt.out_of_stock_skus == ("CARD", "SPA") and await pool.find(order.number) is None
        unknown = po(("SPA", 1), ("BOAT", 1))
        refused = await pool.place(unknown, key=unknown.number)
        assert not refused.out_of_stock and "BOAT" in (refused.reason or "")
    assert await rows("SELECT count(*) FROM voucher_codes WHERE state <> 'free'") == [(0,)]


async def test_a_lost_answer_of_the_database_hands_out_nothing_twice(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = await connection()
    await fill(c, *many("SPA", 4))
    order = po(("SPA", 2))
    real = pooling._accepted
    async with opened(c) as pool:

        def lost(key: str) -> Any:
            monkeypatch.setattr(pooling, "_accepted", real)
            raise Retry("the connection went away after the commit")

        monkeypatch.setattr(pooling, "_accepted", lost)
        with pytest.raises(Retry):
            await pool.place(order, key=order.number)
        found = await pool.find(order.number)
        assert found is not None and found.status is ReceiptStatus.ACCEPTED
        assert (await pool.place(order, key=order.number)).status is ReceiptStatus.ACCEPTED
    assert await rows("SELECT state, count(*) FROM voucher_codes GROUP BY 1 ORDER BY 1") == [("free", 2), ("handed", 2)]


async def test_unseen_codes_go_back_and_seen_ones_stay(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 3))
    unseen, seen = po(("SPA", 1)), po(("SPA", 2))
    async with opened(c) as pool:
        for order in (unseen, seen):
            await pool.place(order, key=order.number)
        await pool.issue(seen, key=seen.number)
        for _ in range(2):
            assert (await pool.cancel(unseen.number, unseen)).status is ReceiptStatus.ACCEPTED
        refused = await pool.cancel(seen.number, seen)
        assert refused.status is ReceiptStatus.REFUSED and "shown" in (refused.reason or "")
        assert await pool.find(unseen.number) is None and await pool.find(seen.number) is not None
        again = po(("SPA", 1))
        assert (await pool.place(again, key=again.number)).status is ReceiptStatus.ACCEPTED


async def test_where_the_merchant_blocks_codes_seen_ones_become_void(database: db.Database) -> None:
    c = await connection(cancel_seen="void")
    await fill(c, *many("SPA", 2))
    order = po(("SPA", 2))
    async with opened(c) as pool:
        await pool.place(order, key=order.number)
        await pool.issue(order, key=order.number)
        assert (await pool.cancel(order.number, order)).status is ReceiptStatus.ACCEPTED
        other = po(("SPA", 1))
        assert (await pool.place(other, key=other.number)).out_of_stock
    assert await fill(c, *many("SPA", 2)) == ["duplicate", "duplicate"]  # nor do they come in again
    assert await rows("SELECT DISTINCT state FROM voucher_codes") == [("void",)]


async def test_an_order_is_followed_from_held_to_shown(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 1))
    order = po(("SPA", 1))
    async with opened(c) as pool:
        assert await pool.track(order.number) == ()
        await pool.place(order, key=order.number)
        [held] = await pool.track(order.number)
        await pool.issue(order, key=order.number)
        [shown] = await pool.track(order.number)
        await pool.issue(order, key=order.number)
        assert [shown] == list(await pool.track(order.number))  # the first time counts
    assert (held.status, shown.status) == (ShipmentStatus.PENDING, ShipmentStatus.DELIVERED)
    assert shown.po_number == order.number


# Many at once -------------------------------------------------------------------------------------------------


async def race(c: int, orders: list[PurchaseOrder]) -> list[ReceiptStatus]:
    """The orders placed at once, each over a database connection of its own."""
    pools = [Pool(c) for _ in orders]
    good = clock.now()

    async def one(pool: Pool, order: PurchaseOrder) -> ReceiptStatus:
        wants = [Want(line.line_no, line.vendor_sku, line.quantity) for line in order.lines]
        short = await pool.take(order.number, wants, good)
        return ReceiptStatus.REFUSED if short else ReceiptStatus.ACCEPTED

    return list(await asyncio.gather(*map(one, pools, orders)))


async def test_the_last_code_goes_to_exactly_one(database: db.Database) -> None:
    c = await connection()
    for start in range(1, 80, 20):
        await fill(c, *many("SPA", 1, start=start))
        assert sorted(await race(c, [po(("SPA", 1)) for _ in range(8)])) == ["accepted"] + ["refused"] * 7


async def test_the_same_key_at_once_holds_one_set(database: db.Database) -> None:
    c = await connection()
    await fill(c, *many("SPA", 20))
    order = po(("SPA", 2))
    assert set(await race(c, [order] * 8)) == {ReceiptStatus.ACCEPTED}
    assert await rows("SELECT count(*) FROM voucher_codes WHERE state = 'handed'") == [(2,)]


async def test_orders_that_cross_wait_for_each_other_in_one_order(database: db.Database) -> None:
    """Two SKUs asked for in either order, and enough for some: nobody is refused for codes that somebody else gave
    back, nobody deadlocks, and what is handed out is what was there."""
    c = await connection()
    await fill(c, *many("SPA", 10), *many("CARD", 10, start=100))
    crossed = [po(("SPA", 2), ("CARD", 1)) if n % 2 else po(("CARD", 2), ("SPA", 1)) for n in range(12)]
    results = await race(c, crossed)
    assert results.count(ReceiptStatus.ACCEPTED) >= 5
    handed = await rows(
        "SELECT po_number, count(*), count(DISTINCT mark) FROM voucher_codes WHERE state = 'handed' GROUP BY 1"
    )
    assert len(handed) == results.count(ReceiptStatus.ACCEPTED) and {row[1:] for row in handed} == {(3, 3)}


async def unguarded(c: int, orders: list[PurchaseOrder], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many orders believe that they hold a code when the locks and the condition of the update are gone."""
    bare = sql.HAND.replace(f"AND {sql.GUARD}", "")
    assert bare != sql.HAND
    monkeypatch.setattr(sql, "HAND", bare)
    monkeypatch.setattr(sql, "LOCK", "SELECT $1::text")
    everybody = asyncio.Barrier(len(orders))
    real = sql.pick

    async def all_look_first(*args: Any) -> list[int]:
        found = await real(*args)
        await everybody.wait()
        return found

    monkeypatch.setattr(sql, "pick", all_look_first)
    return (await race(c, orders)).count(ReceiptStatus.ACCEPTED)


async def test_without_the_guard_the_last_code_is_handed_out_twice(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what makes the tests above mean something."""
    c = await connection()
    await fill(c, *many("SPA", 1))
    assert await unguarded(c, [po(("SPA", 1)) for _ in range(3)], monkeypatch) > 1


# Taking in ----------------------------------------------------------------------------------------------------


async def test_each_code_is_judged_on_its_own_and_comes_in_once(database: db.Database) -> None:
    c = await connection()
    past = clock.now() - timedelta(seconds=1)
    sent = [
        NewCode(1, "SPA", "A-1"), NewCode(2, "SPA", "A-1"), NewCode(3, "CARD", "A-1", "9"), NewCode(4, "BOAT", "B-1"),
        NewCode(5, "", "B-2"), NewCode(6, "SPA", ""), NewCode(7, "SPA", "C-1", None, past),
        NewCode(8, "SPA", "x" * 513), NewCode(9, "SPA", "a\x07b"), NewCode(10, "SPA", "A-2"),
    ]  # fmt: skip
    async with db.uow() as tx:
        results, counts = await vouchers.take_in(tx, c, sent, SKUS.keys())
    assert [(r.place, r.result) for r in results] == [
        (1, "taken"), (2, "duplicate"), (3, "duplicate"), (4, "refused"), (5, "refused"), (6, "refused"),
        (7, "refused"), (8, "refused"), (9, "refused"), (10, "taken"),
    ]  # fmt: skip
    assert "at 1" in (results[1].detail or "") and dict(counts) == {"SPA": 2}
    assert await fill(c, *sent[:1], *sent[9:]) == ["duplicate", "duplicate"]


async def test_two_who_take_in_the_same_at_once_take_it_in_once(database: db.Database) -> None:
    c = await connection()
    results = await asyncio.gather(*(fill(c, *many("SPA", 50)) for _ in range(4)))
    assert sum(result.count("taken") for result in results) == 50
    assert await rows("SELECT count(*) FROM voucher_codes") == [(50,)]


async def test_the_table_holds_no_code_and_no_fingerprint_that_can_be_tried(database: db.Database) -> None:
    c = await connection()
    await fill(c, NewCode(1, "SPA", "SECRET-CODE-1", "PIN-4711"))
    [(sealed, mark, whole)] = await rows("SELECT sealed, mark, voucher_codes::text FROM voucher_codes")
    assert "SECRET" not in whole and b"SECRET" not in bytes(sealed) and b"4711" not in bytes(sealed)
    assert secrets.decrypt_json(bytes(sealed), f"voucher:{c}") == {"code": "SECRET-CODE-1", "pin": "PIN-4711"}
    with pytest.raises(Misconfigured):
        secrets.decrypt(bytes(sealed), f"voucher:{c + 1}")
    other = await connection()
    await fill(other, NewCode(1, "SPA", "SECRET-CODE-1"))
    [(elsewhere,)] = await rows("SELECT mark FROM voucher_codes WHERE connection_id = $1", other)
    assert bytes(elsewhere) != bytes(mark)  # keyed: the same code has another mark in another connection
    assert "SECRET" not in repr(NewCode(1, "SPA", "SECRET-CODE-1"))


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("AB12CD89", "AB••••89"),
        ("ABCDEF", "A••••F"),
        ("ABCDE", "••••"),
        ("1", "••••"),
        ("礼品码一二三四五", "礼品••••四五"),
    ],
)
def test_a_masked_code_tells_too_little_to_use_it(code: str, wanted: str) -> None:
    assert vouchers.masked(7, vouchers.seal(7, NewCode(1, "SPA", code))) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-12-31", "2026-12-31T15:59:59+00:00"),
        ("2026/1/5", "2026-01-05T15:59:59+00:00"),
        ("2026年1月5日", "2026-01-05T15:59:59+00:00"),
        ("2026-12-31 10:00:00", "2026-12-31T02:00:00+00:00"),
        ("2026-12-31T10:00:00Z", "2026-12-31T10:00:00+00:00"),
        ("20261231", "2026-12-31T15:59:59+00:00"),
    ],
)
def test_a_day_counts_to_its_end_in_the_zone_of_the_connection(text: str, wanted: str) -> None:
    assert vouchers.moment(text, SHANGHAI).astimezone(UTC).isoformat() == wanted


@pytest.mark.parametrize("text", ["soon", "31.12.2026", "2026-13-01", "0001-01-01", "9999-12-31", "2026-02-30"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a date"):
        vouchers.moment(text, SHANGHAI)


# Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"skus": {}}, "/config/skus"),
        ({"skus": {"A": {"title": "x"}}}, "/config/skus/A/price"),
        ({"skus": {"A": {"title": "x", "price": "0"}}}, "/config/skus/A/price"),
        ({"skus": {"A": {"title": "x", "price": "1", "colour": "red"}}}, "/config/skus/A/colour"),
        ({"skus": {"A/B": {"title": "", "price": "1"}}}, "/config/skus/A~1B/title"),
        ({"timezone": "Mars/Olympus"}, "/config/timezone"),
        ({"min_valid_days": -1}, "/config/min_valid_days"),
        ({"source": "api"}, "/config/base_url"),
        ({"source": "api", "base_url": "https://issue.example", "issue": {"post": "/x"}}, "/config/issue/body"),
        (
            {"source": "api", "base_url": "https://issue.example", "issue": {**ISSUE, "find": {"get": "/all"}}},
            "/config/issue/find/get",
        ),
    ],
)
async def test_a_wrong_setting_is_named_where_it_stands(
    database: db.Database, config: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await connection(**config)
    assert pointer in [fault.pointer for fault in refused.value.faults]


def test_prices_are_taken_as_they_were_written() -> None:
    config = {"skus": {"A": {"title": "x", "price": 12.9, "market_price": 15}}}
    pool = Adapter(manifest.manifest_of("voucher_pool"), config, {})
    assert (pool.articles["A"].price, pool.articles["A"].market_price) == (Decimal("12.9"), Decimal(15))


async def test_a_pool_that_is_not_stored_shows_its_articles_and_has_no_codes() -> None:
    pool = Adapter(manifest.manifest_of("voucher_pool"), {"skus": SKUS}, {})
    pages: list[Page] = [page async for page in pool.pull(None)]
    assert [listing.on_hand for listing in pages[0].listings] == [0, 0] and pages[0].raws == ()
    pool.keep_raw = True
    [page] = [page async for page in pool.pull(None)]
    assert ["水疗" in raw for raw in page.raws] == [False, True]
    assert await pool.find("po_1") is None
    with pytest.raises(Misconfigured):
        await pool.place(po(("SPA", 1)), key="po_1")


# The table in memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["database", "memory"])
async def test_the_table_in_memory_is_like_the_real_one(database: db.Database, kind: str) -> None:
    """The contract kit runs on the one in memory; what it shows must hold for the other."""
    codes = [*many("SPA", 2, days=30), *many("SPA", 1, days=10, start=5), *many("SPA", 2, start=8), *many("CARD", 1)]
    c = await connection()
    await fill(c, *codes)
    pool: Pool = Pool(c) if kind == "database" else MemoryPool(codes)
    soon, later = clock.now(), clock.now() + timedelta(days=20)
    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: pool.free(soon),
        lambda: pool.free(later),
        lambda: pool.take("a", [Want(1, "SPA", 1), Want(2, "CARD", 1)], soon),
        lambda: pool.take("b", [Want(1, "SPA", 5)], soon),
        lambda: pool.take("b", [Want(1, "SPA", 4)], later),
        lambda: pool.take("b", [Want(1, "SPA", 1)], soon),
        lambda: pool.free(soon),
        lambda: pool.give_back("a", even_seen=False),
        lambda: pool.take("a", [Want(1, "SPA", 1), Want(2, "CARD", 1)], soon),
        lambda: pool.show("a"),
        lambda: pool.give_back("a", even_seen=False),
        lambda: pool.give_back("a", even_seen=True),
        lambda: pool.give_back("a", even_seen=False),
        lambda: pool.free(soon),
        lambda: pool.held("a"),
        lambda: pool.keep("c", [(1, NewCode(1, "SPA", "NEW"))]),
        lambda: pool.keep("c", [(1, NewCode(1, "SPA", "OTHER"))]),
        lambda: pool.show("c"),
    ]
    seen = [await step() for step in steps]
    seen[9], seen[17] = plain(seen[9]), plain(seen[17])
    assert [dict(s) if hasattr(s, "keys") else list(s) if isinstance(s, list | tuple) else s for s in seen] == [
        {"SPA": 5, "CARD": 1}, {"SPA": 4, "CARD": 1}, [], ["SPA"], [], [], {}, True, [],
        [(1, codes[2].code), (2, codes[5].code)], False, True, True, {}, None, None, None, [(1, "NEW")],
    ]  # fmt: skip
    with pytest.raises(Broken):
        await pool.keep("d", [(1, NewCode(1, "SPA", "NEW"))])
    with pytest.raises(NotFound):
        await pool.show("d")
