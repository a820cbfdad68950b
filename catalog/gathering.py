"""Group commit. Vendors that report one SKU a call would pay a transaction for each; so the reports of calls that come
while a transaction is under way wait for it and then share the next one. Each call is answered only after the commit
that holds its reports. Nobody waits for company: an idle process begins at once.

A group that is stuck (another transaction holds one of its rows) keeps only its own calls waiting: after a moment the
next group begins beside it. A group that fails for any reason but a busy database is taken apart and each call is
tried by itself, so that one call's trouble is never another's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from catalog import stock
from connectors.contracts import StockReport
from hub.kernel.db import HUB, uow
from hub.kernel.errors import Retry

MOST = 500  # reports a group
STUCK_S = 0.02  # from then on the next group no longer waits for this one
BESIDE = 6  # groups under way at most
TRIES = 3


@dataclass(slots=True)
class _Call:
    """The reports of one call, and where its answer is awaited."""

    vendor_id: int
    reports: Sequence[StockReport]
    answer: asyncio.Future[list[str]]


class Gatherer:
    """The calls of one process's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[_Call] = deque()
        self._room = asyncio.Semaphore(BESIDE)
        self._running: asyncio.Task[None] | None = None
        self._groups: set[asyncio.Task[None]] = set()

    def apply(self, vendor_id: int, reports: Sequence[StockReport]) -> asyncio.Future[list[str]]:
        """The results of one vendor's reports, once they are durable."""
        call = _Call(vendor_id, reports, self.loop.create_future())
        self._waiting.append(call)
        if self._running is None or self._running.done():
            self._running = self.loop.create_task(self._run())
        return call.answer

    async def _run(self) -> None:
        while self._waiting:
            await self._room.acquire()
            group = self._next()
            task = self.loop.create_task(self._settle(group))
            self._groups.add(task)
            task.add_done_callback(self._done)
            await asyncio.wait((task,), timeout=STUCK_S)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._room.release()

    def _next(self) -> list[_Call]:
        group: list[_Call] = []
        size = 0
        while self._waiting and size + len(self._waiting[0].reports) <= MOST:
            group.append(self._waiting.popleft())
            size += len(group[-1].reports)
        return group or [self._waiting.popleft()]

    async def _settle(self, group: list[_Call]) -> None:
        try:
            results = await committed(group)
        except Exception as error:
            if len(group) == 1 or isinstance(error, Retry):
                for call in group:
                    if not call.answer.done():
                        call.answer.set_exception(error)
                return
            for call in group:
                await self._settle([call])
            return
        for call, own in zip(group, results, strict=True):
            if not call.answer.done():
                call.answer.set_result(own)


async def committed(group: Sequence[_Call]) -> list[list[str]]:
    """Apply the reports of all calls in one transaction, tried again while the database is busy. It sees every vendor's
    rows, so each report is looked up under the number of the vendor whose key brought it."""
    reports = [(call.vendor_id, report) for call in group for report in call.reports]
    for left in range(TRIES - 1, -1, -1):
        try:
            async with uow(HUB) as tx:
                results = iter(await stock.apply_reports_of_vendors(tx, reports))
            return [[next(results) for _ in call.reports] for call in group]
        except Retry as error:
            if not left:
                raise
            await asyncio.sleep(min(error.after, 0.2))
    raise AssertionError("the loop above returns or raises")


_gatherer: Gatherer | None = None


def apply(vendor_id: int, reports: Sequence[StockReport]) -> asyncio.Future[list[str]]:
    """A result for each of one vendor's reports (see stock.apply_reports), once they are durable."""
    global _gatherer
    loop = asyncio.get_running_loop()
    if _gatherer is None or _gatherer.loop is not loop:
        _gatherer = Gatherer(loop)
    return _gatherer.apply(vendor_id, reports)
