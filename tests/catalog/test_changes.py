"""Promises of the feed of changes: every change, in order, none skipped, none twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from catalog import changes
from hub.kernel.db import Database, Tx, uow
from hub.kernel.errors import Gone, Malformed
from tests.catalog.kit import fetch


async def views(_tx: Tx, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    return {i: {"title": f"p{i}"} for i in ids if i < 900}


async def note(*ids: int) -> None:
    async with uow() as tx:
        await changes.note(tx, ids)


async def follow(cursor: str = "", limit: int = 100) -> tuple[list[int], str]:
    """Everything after the cursor, page by page."""
    seen: list[int] = []
    while True:
        page = await changes.changes_after(cursor, limit, views)
        if not page.items:
            return seen, page.next
        seen += [int(item["id"].removeprefix("prd_")) for item in page.items]
        cursor = page.next


async def test_a_mirror_gets_every_change_once_whatever_the_page_size(database: Database) -> None:
    for start in range(0, 100, 10):
        await note(*range(start, start + 10))
    for limit in (1, 3, 7, 10, 1000):
        assert (await follow(limit=limit))[0] == list(range(100))
    _, cursor = await follow()
    await note(5)
    assert (await follow(cursor))[0] == [5]


async def test_op_and_view_are_those_of_now(database: Database) -> None:
    await note(1, 950)
    page = await changes.changes_after(None, 10, views)
    assert page.items == [
        {"op": "upsert", "id": "prd_1", "product": {"title": "p1"}},
        {"op": "delete", "id": "prd_950"},
    ]


async def test_a_transaction_that_began_first_and_commits_last_is_neither_skipped_nor_doubled(
    database: Database,
) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with uow() as tx:
            await changes.note(tx, [1])
            begun.set()
            await finish.wait()

    late = asyncio.create_task(slow())
    await begun.wait()
    await note(2)
    seen, cursor = await follow()
    assert seen == [2], "an open transaction holds nobody up and shows nothing"
    await note(3)
    finish.set()
    await late
    seen, cursor = await follow(cursor)
    assert sorted(seen) == [1, 3]
    assert await follow(cursor) == ([], cursor)


async def test_many_writers_and_readers_at_once_skip_and_double_nothing(database: Database) -> None:
    done = asyncio.Event()

    async def write(k: int) -> None:
        for n in range(25):
            async with uow() as tx:
                await changes.note(tx, [k * 100 + n])
                await asyncio.sleep(0.001 * ((k * 7 + n) % 5))

    async def read() -> list[int]:
        seen: list[int] = []
        cursor = ""
        while True:
            last = done.is_set()
            more, cursor = await follow(cursor, limit=7)
            seen += more
            if last:
                return seen
            await asyncio.sleep(0.002)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.gather(*(write(k) for k in range(8)))
    done.set()
    expected = sorted(k * 100 + n for k in range(8) for n in range(25))
    results = await asyncio.gather(*readers)
    assert all(sorted(seen) == expected for seen in results)
    assert results[0] == results[1] == results[2], "all mirrors see one order"


async def test_a_rolled_back_change_is_never_shown(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with uow() as tx:
            await changes.note(tx, [1])
            raise RuntimeError
    await note(2)
    assert (await follow())[0] == [2]


async def test_a_large_change_is_cut_into_pages_and_kept_in_chunks(database: Database) -> None:
    await note(*range(2500))
    assert [len(r["product_ids"]) for r in await fetch("SELECT product_ids FROM catalog_changes ORDER BY id")] == [
        1000, 1000, 500,
    ]  # fmt: skip
    assert (await follow(limit=499))[0] == list(range(2500))


@pytest.mark.parametrize("cursor", ["x", "1", "1.x", "-1.0", "1.0.0", "9" * 40 + ".0", "١.٠"])
async def test_a_foreign_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Malformed):
        await changes.changes_after(cursor, 10, views)


async def test_readers_that_stop_anywhere_and_come_back_anywhere_skip_nothing(database: Database) -> None:
    """Writers hold their transactions open for random times, so that they commit in another order than they wrote, and
    some roll back; readers break off within a page and resume at any cursor that they were given, also an old one."""
    rng = random.Random(20)
    writing = asyncio.Event()
    committed: list[int] = []

    async def write(k: int) -> None:
        for n in range(20):
            ids = rng.sample(range(1, 300), rng.choice((1, 1, 2, 30))) if n % 5 else [1000 + k * 100 + n]
            with contextlib.suppress(ZeroDivisionError):
                async with uow() as tx:
                    await changes.note(tx, ids)
                    await asyncio.sleep(rng.choice((0, 0, 0.001, 0.004, 0.03)))
                    if rng.random() < 0.1:
                        raise ZeroDivisionError
                    if ids[0] >= 1000:
                        committed.append(ids[0])

    async def read() -> dict[str, list[int]]:
        """What came after each cursor that the reader went on from, on the one way that was walked to the end."""
        way: list[tuple[str, int]] = [("", 0)]  # cursor, and the id that came with it
        begun: set[str] = set()
        last = False
        while True:
            begun.add(way[-1][0])
            page = await changes.changes_after(way[-1][0], rng.randint(1, 40), views)
            heard = rng.randint(0, len(page.items)) if rng.random() < 0.4 else len(page.items)
            for item, cursor in list(zip(page.items, page.cursors, strict=True))[:heard]:
                way.append((cursor, int(item["id"].removeprefix("prd_"))))
            if rng.random() < 0.1 and not last:
                del way[rng.randint(max(1, len(way) - 60), len(way)) :]  # it lost what it knew since then
                begun &= {cursor for cursor, _ in way}
            if not page.items:
                if last:
                    return {
                        cursor: [i for _, i in way[n + 1 :]] for n, (cursor, _) in enumerate(way) if cursor in begun
                    }
                last = writing.is_set()
            await asyncio.sleep(rng.choice((0, 0.001, 0.005)))

    readers = [asyncio.create_task(read()) for _ in range(4)]
    await asyncio.gather(*(write(k) for k in range(10)))
    writing.set()
    walks = await asyncio.gather(*readers)
    rows = await fetch("SELECT seq, product_ids FROM catalog_changes ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "numbers without a gap"
    places = [(row["seq"], n, i) for row in rows for n, i in enumerate(row["product_ids"])]
    assert len(committed) > 20 and set(committed) <= {i for _, _, i in places}
    for walk in walks:
        assert len(walk) > 10
        for cursor, came in walk.items():
            seq, _, offset = cursor.partition(".")
            due = {i for s, n, i in places if not cursor or (s, n) >= (int(seq), int(offset))}
            assert due == set(came), f"something after {cursor!r} never came, or came from nowhere"


async def old(days: float, *ids: int) -> None:
    async with uow() as tx:
        await changes.note(tx, ids)
        await tx.run("UPDATE catalog_changes SET at = now() - $1 * interval '1 day' WHERE seq IS NULL", days)
    await follow()


async def on_sale(ids: Sequence[int]) -> None:
    async with uow() as tx:
        await tx.run(
            "INSERT INTO catalog_products (id, kind, mode, title, search, created_at, updated_at) "
            "OVERRIDING SYSTEM VALUE SELECT i, 'goods', 'parcel', 'p', '', now(), now() FROM unnest($1::bigint[]) AS i",
            list(ids),
        )


async def test_old_changes_are_forgotten_and_a_cursor_among_them_is_told_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PRUNED_AT_ONCE", 2)
    for n in range(7):
        await old(40, n + 1)
    await old(1, 8)
    await old(50, 9)  # a long transaction: older than what is numbered before it, and so kept until that goes
    await on_sale(range(1, 9))
    assert await changes.prune() == 7
    assert await changes.prune() == 0
    for cursor in ("1.0", "3.1", "7.0", "f5.3"):
        with pytest.raises(Gone) as refused:
            await changes.changes_after(cursor, 10, views)
        assert refused.value.status == 410 and "without a cursor" in refused.value.detail
    assert (await follow("8.0"))[0] == [8, 9]


async def test_whoever_begins_after_that_reads_everything_on_sale_and_then_the_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old(40, *range(1, 20))
    await note(4)
    await on_sale(range(1, 12))
    await changes.prune()
    seen: list[int] = []
    page = await changes.changes_after(None, 4, views)
    while page.full:
        seen += [int(item["id"].removeprefix("prd_")) for item in page.items]
        assert page.cursors[-1] == page.next
        if len(seen) == 4:
            await note(2, 17)  # while the full read is under way
        again = await changes.changes_after(page.cursors[0], 1, views)
        assert again.items[0]["id"] == page.items[1]["id"] if len(page.items) > 1 else True
        page = await changes.changes_after(page.next, 4, views)
    assert seen == list(range(1, 12))
    assert [item["id"] for item in page.items] == ["prd_2", "prd_17"]


async def test_numbers_go_on_when_everything_is_old(database: Database) -> None:
    for n in range(5):
        await old(90, n)
    _, cursor = await follow()
    await changes.prune()
    assert [row["seq"] for row in await fetch("SELECT seq FROM catalog_changes")] == [5], "the newest is never deleted"
    await note(7)
    assert (await follow(cursor))[0] == [7], "who was up to date stays so"


async def test_what_is_deleted_while_it_is_read_is_not_passed_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old(90, 1)
    await old(90, 2)
    await note(3)
    read = changes.store.changes_from

    async def late(tx: Tx, seq: int, limit: int, mall_id: int | None) -> Any:
        await changes.prune()
        return await read(tx, seq, limit, mall_id)

    monkeypatch.setattr(changes.store, "changes_from", late)
    with pytest.raises(Gone):
        await changes.changes_after("1.0", 10, views)


async def test_while_nothing_happened_nothing_is_read(database: Database) -> None:
    await note(1)
    page = await changes.changes_after("", 10, views)

    async def never(_tx: Tx, _ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        raise AssertionError("nothing is to be looked at")

    assert (await changes.changes_after("", 10, never, unless=page.head)).unchanged
    await note(2)
    again = await changes.changes_after("", 10, views, unless=page.head)
    assert not again.unchanged and len(again.items) == 2 and again.head == page.head + 1
