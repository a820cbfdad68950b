"""Events are delivered at least once and take effect exactly once."""

from __future__ import annotations

import asyncio
import random

import pytest

from hub.kernel import db, events, store
from hub.kernel.errors import Retry


class Counted(events.Event):
    number: int


class Stranger(events.Event):
    number: int


async def _pending() -> int:
    async with db.uow() as tx:
        return int((await store.outbox_state(tx))["pending"])


async def test_a_rolled_back_transaction_emits_nothing(database: db.Database) -> None:
    with pytest.raises(RuntimeError):
        async with db.uow() as tx:
            tx.emit(Counted(number=1))
            raise RuntimeError("changed my mind")
    assert await _pending() == 0


async def test_one_handler_failing_does_not_repeat_the_other(database: db.Database) -> None:
    good: list[int] = []
    bad: list[int] = []

    async def steady(tx: db.Tx, event: Counted) -> None:
        good.append(event.number)

    async def shaky(tx: db.Tx, event: Counted) -> None:
        bad.append(event.number)
        await store.add_mall(tx, f"mall {len(bad)}")
        if len(bad) < 3:
            raise Retry("not yet", after=0.01)

    flow = {Counted: [steady, shaky]}
    async with db.uow() as tx:
        tx.emit(Counted(number=7))
    for _ in range(6):
        await events.drain(flow)
        await asyncio.sleep(0.02)
    assert good == [7]
    assert bad == [7, 7, 7]
    assert await db.read_value("SELECT array_agg(name) FROM malls") == ["mall 3"], "failed tries left effects"
    assert await _pending() == 0


async def test_an_event_nobody_knows_is_kept_and_visible(database: db.Database) -> None:
    async with db.uow() as tx:
        tx.emit(Stranger(number=1))
        await tx.run("UPDATE outbox SET type = 'Renamed'")
    async with db.uow() as tx:
        await tx.run("UPDATE outbox SET type = 'Renamed'")
    await events.drain({})
    row = (await db.read("SELECT status, attempts, last_error FROM outbox"))[0]
    assert (row["status"], row["attempts"]) == (store.PENDING, 1)
    assert "unknown event type" in row["last_error"]


async def test_a_hopeless_event_is_given_up_and_counted(database: db.Database) -> None:
    async def broken(tx: db.Tx, event: Counted) -> None:
        raise ValueError("never")

    async with db.uow() as tx:
        tx.emit(Counted(number=1))
    for _ in range(events.MAX_ATTEMPTS):
        async with db.uow() as tx:
            await tx.run("UPDATE outbox SET due_at = now()")
        await events.drain({Counted: [broken]})
    async with db.uow() as tx:
        state = await store.outbox_state(tx)
    assert (state["pending"], state["dead"]) == (0, 1)


async def test_late_commits_and_rival_drainers_skip_and_double_nothing(database: db.Database) -> None:
    total, seen = 400, []

    async def note(tx: db.Tx, event: Counted) -> None:
        seen.append(event.number)

    async def write(number: int) -> None:
        async with db.uow() as tx:
            tx.emit(Counted(number=number))
            await tx.flush_events()  # takes its id now and commits later, out of sequence
            await asyncio.sleep(random.random() / 20)

    async def rival(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await events.drain({Counted: [note]}, width=2)
            await asyncio.sleep(0.001)

    stop = asyncio.Event()
    rivals = [asyncio.create_task(rival(stop)) for _ in range(3)]
    for start in range(0, total, 10):
        await asyncio.gather(*(write(n) for n in range(start, start + 10)))
    for _ in range(200):
        if len(seen) >= total and await _pending() == 0:
            break
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*rivals)
    assert sorted(seen) == list(range(total))


async def test_a_tick_belongs_to_one_scheduler(database: db.Database) -> None:
    async def grab(slot: int) -> bool:
        async with db.uow() as tx:
            return await store.take_tick(tx, "job", slot)

    for slot in range(20):
        winners = await asyncio.gather(*(grab(slot) for _ in range(5)))
        assert sum(winners) == 1
