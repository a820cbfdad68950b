"""Between a connector and the catalogue: pages are gathered into batches worth a transaction, while the one before
is being written. Memory is bounded by rows, not by pages; a slow vendor's few rows are not kept waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from connectors.contracts import BadRow, Cursor, ListingIn, Page, SlotIn, StockFigure

ROWS = 5_000  # a batch is written as soon as it has this many rows
LINGER_S = 1.0  # or once its first page has waited this long


@dataclass(slots=True)
class Batch:
    """Consecutive pages as one piece of work. `digests` and `times` (of capture) run parallel to `rows`, and
    `same_times` to `same`: the stock figures of rows whose content the catalogue has already."""

    rows: list[ListingIn] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    same: list[StockFigure] = field(default_factory=list)
    same_times: list[datetime] = field(default_factory=list)
    slots: list[SlotIn] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    drift: set[str] = field(default_factory=set)
    pages: int = 0
    cursor: Cursor | None = None
    captured_at: datetime | None = None
    complete: bool = False

    @classmethod
    def of(cls, pages: Iterable[Page]) -> Batch:
        batch = cls()
        for page in pages:
            batch.rows += page.listings
            batch.digests += page.digests or [None] * len(page.listings)
            batch.times += [page.captured_at] * len(page.listings)
            batch.same += page.unchanged
            batch.same_times += [page.captured_at] * len(page.unchanged)
            batch.slots += page.slots
            batch.bad += page.bad
            batch.drift.update(page.drift)
            batch.pages += 1
            batch.cursor = page.cursor
            batch.complete = batch.complete or page.complete
            if batch.captured_at is None or page.captured_at < batch.captured_at:
                batch.captured_at = page.captured_at
        return batch

    @classmethod
    def pushed(cls, listings: Sequence[ListingIn], bad: Sequence[BadRow], at: datetime) -> Batch:
        """Rows that came by push at `at`."""
        return cls(list(listings), [None] * len(listings), [at] * len(listings), bad=list(bad), captured_at=at)

    @property
    def size(self) -> int:
        """Records, good and bad."""
        return len(self.rows) + len(self.same) + len(self.slots) + len(self.bad)

    def halves(self) -> tuple[Batch, Batch]:
        """The same work in two pieces; whatever belongs to the batch as a whole stays with the second."""
        first, second = Batch(captured_at=self.captured_at), replace(self)
        for name in ("rows", "digests", "times", "same", "same_times", "slots"):
            whole = getattr(self, name)
            setattr(first, name, whole[: len(whole) // 2])
            setattr(second, name, whole[len(whole) // 2 :])
        return first, second


class Buffer:
    """Pages on their way from one puller to one writer."""

    def __init__(self, rows: int = ROWS, linger_s: float = LINGER_S) -> None:
        self._limit = rows
        self._linger = linger_s
        self._pages: deque[Page] = deque()
        self._rows = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, page: Page) -> None:
        """Add a page; waits while two batches are waiting to be written."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows < 2 * self._limit)
            self._pages.append(page)
            self._rows += _size(page)
            self._changed.notify_all()

    async def close(self) -> None:
        """No more pages will come."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def take(self) -> Batch | None:
        """The next batch, or None after the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pages or self._closed)
            try:
                async with asyncio.timeout(self._linger):
                    await self._changed.wait_for(lambda: self._rows >= self._limit or self._closed)
            except TimeoutError:
                pass
            taken: list[Page] = []
            rows = 0
            while self._pages and rows < self._limit:
                page = self._pages.popleft()
                rows += _size(page)
                taken.append(page)
            self._rows -= rows
            self._changed.notify_all()
            return Batch.of(taken) if taken else None


def _size(page: Page) -> int:
    return len(page.listings) + len(page.unchanged) + len(page.slots) + len(page.bad)
