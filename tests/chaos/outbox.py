"""The outbox under transactions that commit out of sequence: every committed event takes effect once, none is skipped,
and nothing of a transaction that rolled back is ever seen.

Writers take event ids and keep their transactions open, a few of them for long; rival drainers deliver meanwhile, are
cut off in the middle, and some handlers fail the first time after having written. The effect is a row in a table of
its own without any uniqueness, so that a second effect would show. The control reads the same events the naive way,
by `id > the last one seen`, and must miss some."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator

from hub.kernel import db, events
from hub.kernel.errors import Retry
from tests.chaos import ground, progress

FULL, SMALL = 20_000, 600
WRITERS = 8
RIVALS = 4
ROLLED_BACK = 0.1


class Noted(events.Event):
    """An event of this test."""

    number: int


async def run(n: int) -> dict[str, int]:
    """`n` committed events."""
    async with ground.empty_database():
        async with db.uow() as tx:
            await tx.run("CREATE TABLE effects (number bigint NOT NULL)")
        test = _Test(n)
        await test.play()
        found = (
            await ground.rows(
                "SELECT count(*) AS effects, count(DISTINCT number) AS numbers, "
                "count(*) FILTER (WHERE number >= $1) AS ghosts FROM effects",
                _GHOSTS,
            )
        )[0]
        left = await ground.count("SELECT count(*) FROM outbox WHERE status <> 1")
        skipped = n - (found["numbers"] - found["ghosts"])
        doubled = found["effects"] - found["numbers"]
        return {
            "n": n,
            "violations": skipped + doubled + found["ghosts"] + left,
            "control_violations": n - len(test.seen_naively),
            "retried": test.retried,
            "cut_off": test.cut_off,
            "rolled_back": test.rolled_back,
        }


_GHOSTS = 1 << 40  # numbers from here on are of transactions that rolled back


class _Test:
    def __init__(self, n: int) -> None:
        self.n = n
        self.rng = random.Random(n)
        self.written = 0
        self.retried = 0
        self.cut_off = 0
        self.rolled_back = 0
        self.seen_naively: set[int] = set()
        self._stop = asyncio.Event()

    async def play(self) -> None:
        numbers = iter(range(self.n))
        helpers = [asyncio.create_task(self.rival()) for _ in range(RIVALS)]
        helpers.append(asyncio.create_task(self.reader()))
        await asyncio.gather(*(self.writer(numbers, k) for k in range(WRITERS)))
        while await self.pending():
            progress.report("events delivered", self.n - await self.pending(), self.n)
            await asyncio.sleep(0.05)
            for helper in helpers:
                if helper.done():
                    helper.result()
        self._stop.set()
        await asyncio.gather(*helpers)

    async def writer(self, numbers: Iterator[int], lane: int) -> None:
        """Transactions of one to five events; the first writer's stay open for long."""
        while batch := list(itertools.islice(numbers, self.rng.randint(1, 5))):
            if self.rng.random() < ROLLED_BACK:
                await self.change_mind()
            async with db.uow() as tx:
                for number in batch:
                    tx.emit(Noted(number=number))
                    await tx.flush_events()  # takes the id now
                await asyncio.sleep(self.rng.random() * (0.5 if lane == 0 else 0.02))
            self.written += len(batch)
            progress.report("events written", self.written, self.n)

    async def change_mind(self) -> None:
        self.rolled_back += 1
        try:
            async with db.uow() as tx:
                tx.emit(Noted(number=_GHOSTS + self.rolled_back))
                await tx.flush_events()
                raise _ChangedMindError
        except _ChangedMindError:
            pass

    async def note(self, tx: db.Tx, event: Noted) -> None:
        """The handler: writes its effect, and now and then fails after that."""
        await tx.run("INSERT INTO effects VALUES ($1)", event.number)
        if self.rng.random() < 0.05:
            self.retried += 1
            raise Retry("not yet", after=0.01)

    async def rival(self) -> None:
        """Drain again and again; now and then be cut off wherever one is."""
        while not self._stop.is_set():
            drain = asyncio.create_task(events.drain({Noted: [self.note]}, width=2))
            await asyncio.wait({drain}, timeout=self.rng.uniform(0.05, 1.5))
            if drain.done():
                drain.result()
            else:
                drain.cancel()
                self.cut_off += 1
                await asyncio.wait({drain})
            await asyncio.sleep(0.01)

    async def reader(self) -> None:
        """The naive way to follow a table: remember the last id and ask for what is above it."""
        last = 0
        while True:
            stopping = self._stop.is_set()
            rows = await ground.rows("SELECT id, payload FROM outbox WHERE id > $1 ORDER BY id", last)
            for row in rows:
                last = row["id"]
                self.seen_naively.add(row["payload"]["number"])
            if stopping:
                return
            await asyncio.sleep(0.01)

    async def pending(self) -> int:
        return await ground.count("SELECT count(*) FROM outbox WHERE status = 0")


class _ChangedMindError(Exception):
    """Rolls a transaction back."""
