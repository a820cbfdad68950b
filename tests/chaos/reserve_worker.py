"""One of the processes of the contended reservation: takes a job, plays orders and reports on the hot shelf, and gives
back what it knows to have happened."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import uvloop

from catalog import api
from catalog.contracts import ReserveLine
from catalog.store import shelf
from connectors.contracts import StockReport
from hub.kernel import db
from hub.kernel.embedded import die_with_parent
from hub.kernel.errors import Conflict, Retry
from hub.kernel.settings import settings

EXPIRES_AFTER = timedelta(seconds=0.4)


@dataclass(frozen=True)
class Job:
    """What one process is to do: `share` operations on the shelf of this database."""

    url: str
    worker: int
    workers: int
    share: int
    connection_id: int
    listing_ids: list[int]
    figures: int  # reports say 0 to one less than this
    guarded: bool


@dataclass
class Tally:
    """What one process knows to have happened."""

    operations: int = 0
    granted: int = 0
    units: int = 0
    refused: int = 0
    retries: int = 0
    longest_wait_s: float = 0.0
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)  # SKU -> version and figure it reported last


_barrier: Any = None
_done: Any = None


def begin(barrier: Any, done: Any) -> None:
    """Keep what the processes share: the common start and the count of operations done."""
    global _barrier, _done
    _barrier, _done = barrier, done
    die_with_parent()


def work(job: Job) -> Tally:
    """Do the job; returns when its share is done."""
    return uvloop.run(_Worker(job).run())


class _Worker:
    """One process's part: it remembers what it was granted, so that it can cancel or accept it later."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.rng = random.Random(job.worker)
        self.tally = Tally()
        self.mine: list[list[uuid.UUID]] = []

    async def run(self) -> Tally:
        db.connect(self.job.url, settings().model_copy(update={"pool_size": 1}))
        guard = (shelf.SHELF, shelf.TAKE)
        if not self.job.guarded:
            bare = (shelf.SHELF.replace("FOR UPDATE OF s", ""), shelf.TAKE.replace(shelf.GUARD, "true"))
            assert bare[0] != guard[0] and bare[1] != guard[1], "the control must remove the guard"
            shelf.SHELF, shelf.TAKE = bare
        try:
            async with db.uow():
                pass  # connect before the start
            await asyncio.to_thread(_barrier.wait, 120)
            for number in range(self.job.share):
                await self.operation()
                if number % 20 == 19:
                    with _done.get_lock():
                        _done.value += 20
        finally:
            shelf.SHELF, shelf.TAKE = guard
            await db.disconnect()
        return self.tally

    async def operation(self) -> None:
        """One operation, made again while the database asks for it."""
        dice = self.rng.random()
        chosen = self.reserve
        if dice < 0.12 and self.mine:
            chosen = self.cancel
        elif dice < 0.30 and self.mine:
            chosen = self.accept
        elif dice < 0.45:
            chosen = self.report
        elif dice < 0.50:
            chosen = self.expire
        started = time.monotonic()
        while True:
            try:
                await chosen()
                break
            except Retry:
                self.tally.retries += 1
                await asyncio.sleep(self.rng.random() / 50)
        self.tally.operations += 1
        self.tally.longest_wait_s = max(self.tally.longest_wait_s, time.monotonic() - started)

    def sku(self) -> int:
        """A SKU's number; low ones are asked for most."""
        return int(len(self.job.listing_ids) * self.rng.random() ** 2)

    async def reserve(self) -> None:
        numbers = [self.sku() for _ in range(self.rng.randint(1, 3))]
        if self.rng.random() < 0.3:
            numbers.append(numbers[0])  # two lines of one order on the same SKU
        lines = [
            ReserveLine(hold_id=uuid.uuid4(), listing_id=self.job.listing_ids[k], quantity=self.rng.randint(1, 3))
            for k in numbers
        ]
        try:
            async with db.uow() as tx:
                await api.reserve(tx, lines)
        except Conflict:
            self.tally.refused += 1
            return
        self.mine.append([line.hold_id for line in lines])
        self.tally.granted += len(lines)
        self.tally.units += sum(line.quantity for line in lines)

    def _one_of_mine(self) -> list[uuid.UUID]:
        return self.mine.pop(self.rng.randrange(len(self.mine)))

    async def cancel(self) -> None:
        if self.mine:
            async with db.uow() as tx:
                await api.release(tx, self._one_of_mine())

    async def accept(self) -> None:
        if self.mine:
            async with db.uow() as tx:
                await api.accept(tx, self._one_of_mine(), tx.now)

    async def report(self) -> None:
        version = time.time_ns() // self.job.workers * self.job.workers + self.job.worker  # no two processes' are equal
        told = {f"S{self.sku()}": self.rng.randrange(self.job.figures) for _ in range(self.rng.randint(1, 3))}
        async with db.uow() as tx:
            reports = [
                StockReport(vendor_sku=sku, on_hand=figure, version=version, reported_at=tx.now)
                for sku, figure in told.items()
            ]
            await api.apply_reports(tx, self.job.connection_id, reports)
        for sku, figure in told.items():
            self.tally.newest[sku] = (version, figure)

    async def expire(self) -> None:
        """Release whatever anybody has held for too long, as the expiry sweep does."""
        async with db.uow() as tx:
            old = await tx.fetch(
                "SELECT id FROM catalog_holds WHERE state = 'held' AND created_at < $1 LIMIT 20", tx.now - EXPIRES_AFTER
            )
            await api.release(tx, [row["id"] for row in old], "expiry")
