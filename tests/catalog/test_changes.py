"""Promises of the feed of changes: every change, in order, none skipped, none twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from catalog import changes
from hub.kernel.db import Database, Tx, uow
from hub.kernel.errors import Malformed
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
