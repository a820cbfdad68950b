"""Between a connector and the catalogue: pages are gathered into batches worth a transaction, while the one before
is being written. Whatever can be made of a row without asking the database is made on this side (`Ready`), so that a
transaction is spent on the database. Memory is bounded by rows, not by pages; a slow vendor's few rows are not kept
waiting."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from catalog import matching
from catalog.segment import search_tokens
from connectors.contracts import BadRow, Cursor, ListingIn, Page, SlotIn, StockFigure
from hub.kernel.turns import slices
from hub.kernel.types import Level

ROWS = 5_000  # a batch is written as soon as it has this many rows
LINGER_S = 1.0  # or once its first page has waited this long


class Ready(NamedTuple):
    """A row made ready to be written: fingerprint, the keys it is matched by, and its columns for the stage."""

    digest: bytes
    gtin: str | None
    brand_model: str | None
    columns: tuple[Any, ...]  # in the order of READY_COLUMNS


READY_COLUMNS = (
    "vendor_sku", "title", "title_en", "brand", "model", "gtin", "kind", "mode", "category", "currency", "pack",
    "city", "department", "image_url", "url", "description", "active", "external_id", "family_id", "price", "shipping",
    "coupon", "attributes", "digest", "sellable", "tokens",
)  # fmt: skip
_AS_IT_IS = attrgetter(*READY_COLUMNS[: READY_COLUMNS.index("price")])
# With the attributes these are what the digest covers.
_CONTENT = attrgetter(*READY_COLUMNS[: READY_COLUMNS.index("attributes")])


def digest(row: ListingIn) -> bytes:
    """16 bytes that differ when anything but the stock figure differs."""
    content = (_CONTENT(row), sorted(row.attributes.items())) if row.attributes else _CONTENT(row)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).digest()


def ready(row: ListingIn, mark: bytes | None = None) -> Ready:
    """`row` made ready; `mark` is its fingerprint where the connector has one."""
    mark = mark or digest(row)
    attributes = json.dumps(row.attributes, ensure_ascii=False) if row.attributes else "{}"
    sellable = row.active and (bool(row.on_hand) or row.level in (Level.IN_STOCK, Level.LIMITED))
    tokens = search_tokens(row.title, row.title_en, row.brand, row.model, row.category, row.pack)
    columns = (
        *_AS_IT_IS(row), str(row.price), str(row.shipping), str(row.coupon), attributes, mark, sellable, tokens,
    )  # fmt: skip
    return Ready(mark, row.gtin, matching.brand_model_key(row.brand, row.model), columns)


@dataclass(frozen=True, slots=True)
class ReadyPage:
    """A page and its listings made ready."""

    page: Page
    ready: list[Ready]

    @property
    def size(self) -> int:
        """Records, good and bad."""
        page = self.page
        return len(page.listings) + len(page.unchanged) + len(page.slots) + len(page.bad)


async def ready_page(page: Page) -> ReadyPage:
    """`page` made ready, with turns for others in between."""
    made: list[Ready] = []
    marks = page.digests or (None,) * len(page.listings)
    async for part in slices(tuple(zip(page.listings, marks, strict=True))):
        made += [ready(row, mark) for row, mark in part]
    return ReadyPage(page, made)


_PARALLEL = ("rows", "ready", "times", "same", "same_times", "stock", "stock_times", "slots")


@dataclass(slots=True)
class Batch:
    """Consecutive pages as one piece of work. `ready` and `times` (of capture) run parallel to `rows`, and
    `same_times` to `same`: the stock figures of rows whose content the catalogue has already. `stock` are the figures
    of a stock pull, which may name what is not listed."""

    rows: list[ListingIn] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    same: list[StockFigure] = field(default_factory=list)
    same_times: list[datetime] = field(default_factory=list)
    stock: list[StockFigure] = field(default_factory=list)
    stock_times: list[datetime] = field(default_factory=list)
    slots: list[SlotIn] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    drift: set[str] = field(default_factory=set)
    pages: int = 0
    cursor: Cursor | None = None
    captured_at: datetime | None = None
    complete: bool = False

    @classmethod
    def of(cls, pages: Iterable[ReadyPage]) -> Batch:
        batch = cls()
        for given in pages:
            page = given.page
            batch.rows += page.listings
            batch.ready += given.ready
            batch.times += [page.captured_at] * len(page.listings)
            figures, times = (batch.stock, batch.stock_times) if page.stock_only else (batch.same, batch.same_times)
            figures += page.unchanged
            times += [page.captured_at] * len(page.unchanged)
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
        return cls(list(listings), list(map(ready, listings)), [at] * len(listings), bad=list(bad), captured_at=at)

    def marks(self) -> set[str]:
        """All by which a row of this batch could meet a row of another: SKUs, the vendor's ids, and matching keys."""
        found = {row.vendor_sku for row in self.rows}
        found.update(own for row in self.rows for own in (row.external_id, row.family_id) if own is not None)
        found.update(key for made in self.ready for key in (made.gtin, made.brand_model) if key is not None)
        return found

    @property
    def size(self) -> int:
        """Records, good and bad."""
        return len(self.rows) + len(self.same) + len(self.stock) + len(self.slots) + len(self.bad)

    def emptied(self, bad: Sequence[BadRow]) -> Batch:
        """The batch without its rows and figures, with `bad` beside what was bad already."""
        return Batch(
            bad=[*self.bad, *bad], drift=self.drift, pages=self.pages, cursor=self.cursor, captured_at=self.captured_at,
            complete=self.complete,
        )  # fmt: skip

    def halves(self) -> tuple[Batch, Batch]:
        """The same work in two pieces; whatever belongs to the batch as a whole stays with the second."""
        first, second = Batch(captured_at=self.captured_at), replace(self)
        for name in _PARALLEL:
            whole = getattr(self, name)
            setattr(first, name, whole[: len(whole) // 2])
            setattr(second, name, whole[len(whole) // 2 :])
        return first, second


class Buffer:
    """Pages on their way from one puller to one writer."""

    def __init__(self, rows: int = ROWS, linger_s: float = LINGER_S) -> None:
        self._limit = rows
        self._linger = linger_s
        self._pages: deque[ReadyPage] = deque()
        self._rows = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, page: ReadyPage) -> None:
        """Add a page; waits while two batches are waiting to be written."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows < 2 * self._limit)
            self._pages.append(page)
            self._rows += page.size
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
            taken: list[ReadyPage] = []
            rows = 0
            while self._pages and rows < self._limit:
                page = self._pages.popleft()
                rows += page.size
                taken.append(page)
            self._rows -= rows
            self._changed.notify_all()
            return Batch.of(taken) if taken else None
