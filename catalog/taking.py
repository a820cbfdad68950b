"""Listings that a vendor sends by its own key, each judged on its own. `partial` adds and changes; `replace` is the
whole assortment: what it does not name is taken off sale at its end, and never a large part of it without asking.
Pieces of 500 are a transaction each, so a long upload neither holds locks long nor loses what came before a cut."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from catalog import landing, stock, store
from catalog.batching import Batch
from catalog.ingest import put_connection, unlist
from catalog.tally import Tally, tally_up
from connectors import api as connectors
from connectors.contracts import BadRow, ConnectionView, ListingIn, StockReport
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Rejected, Retry

Mode = Literal["partial", "replace"]
PIECE = 500
TRIES = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one item: `applied`, `unchanged` or `invalid` with why."""

    sku: str | None
    result: Literal["applied", "unchanged", "invalid"]
    detail: str | None = None


@dataclass(slots=True)
class Upload:
    """One upload of one vendor, from `begin` to `finish` (or `give_up`)."""

    vendor_id: int
    mode: Mode
    connection: ConnectionView | None = None
    run: connectors.Run | None = None
    total: Tally = field(default_factory=Tally)
    pages: int = 0

    async def begin(self) -> None:
        """Raises Conflict while another upload of this vendor replaces its assortment."""
        async with uow(HUB) as tx:
            self.connection = await connectors.own_connection(tx, self.vendor_id)
            await put_connection(tx, self.connection)
            if self.mode == "replace":
                self.run = await connectors.start_run(tx, self.connection.id, "full", afresh=True)

    async def take(self, items: Sequence[ListingIn | BadRow]) -> list[Judged]:
        """Apply up to PIECE items; a result for each, in order."""
        for left in reversed(range(TRIES)):
            try:
                async with uow(HUB) as tx:
                    return await self._take(tx, items)
            except Retry as error:
                if not left:
                    raise
                await asyncio.sleep(min(error.after, 0.2))
        raise AssertionError("unreachable")

    async def _take(self, tx: Tx, items: Sequence[ListingIn | BadRow]) -> list[Judged]:
        assert self.connection is not None, "begin first"
        good = [item for item in items if isinstance(item, ListingIn)]
        batch = Batch.pushed(good, [item for item in items if isinstance(item, BadRow)], clock.now())
        run_id = self.run.id if self.run is not None else None
        tally, bad, written, waiting = await landing.land(tx, self.connection, batch, run_id)
        if self.run is not None:
            total = Tally()
            total.add(self.total)
            total.add(tally)
            await connectors.save_progress(tx, self.run.id, cursor=None, pages=self.pages + 1, figures=total.figures())
            self.total, self.pages = total, self.pages + 1
        tally_up(tally)
        return _judged(items, bad, written, waiting)

    async def finish(self, *, any_share: bool = False) -> tuple[int, str | None]:
        """The end of the upload: how many listings a replacement took off sale, or why it took none."""
        if self.run is None or self.connection is None:
            return 0, None
        async with uow(HUB) as tx:
            gone, why = await unlist(tx, self.connection, self.run.id, any_share)
            await connectors.finish_run(tx, self.run.id, complete=True, unlisted=gone, error=why)
        return gone, why

    async def give_up(self, why: str) -> None:
        """The upload broke off: what came stays, and nothing is taken off sale."""
        if self.run is not None:
            async with uow(HUB) as tx:
                await connectors.finish_run(tx, self.run.id, complete=False, unlisted=0, error=why)


def _judged(
    items: Sequence[ListingIn | BadRow], bad: Sequence[BadRow], written: frozenset[str], waiting: Mapping[str, str]
) -> list[Judged]:
    """A result for each item; of two items with one SKU the last counts. A price that waits for confirmation is told
    with what was applied."""
    last = {item.vendor_sku: n for n, item in enumerate(items) if isinstance(item, ListingIn)}
    why = {row.vendor_sku: row.reason for row in bad}
    results = []
    for n, item in enumerate(items):
        if isinstance(item, BadRow):
            said = f"{item.pointer.lstrip('/')}: {item.reason}" if item.pointer else item.reason
            results.append(Judged(item.vendor_sku, "invalid", said))
        elif (last[item.vendor_sku] != n and item.vendor_sku in why) or (
            item.vendor_sku in why and item.vendor_sku not in written
        ):
            results.append(Judged(item.vendor_sku, "invalid", why[item.vendor_sku]))
        else:
            done: Literal["applied", "unchanged"] = "applied" if item.vendor_sku in written else "unchanged"
            results.append(Judged(item.vendor_sku, done, waiting.get(item.vendor_sku)))
    return results


async def put_on_shelf(
    tx: Tx, vendor_id: int, rows: Sequence[ListingIn], reports: Sequence[StockReport]
) -> dict[str, int]:
    """Listings of a vendor with their stock, at once and all or nothing, for whoever onboards it by hand. Returns the
    listings by SKU. Raises Rejected for a row that the catalogue refuses."""
    connection = await connectors.own_connection(tx, vendor_id)
    await put_connection(tx, connection)
    _, bad, _, _ = await landing.land(tx, connection, Batch.pushed(rows, [], tx.now), None)
    if bad:
        raise Rejected(f"{bad[0].vendor_sku}: {bad[0].reason}", code="bad_listing")
    await stock.apply_reports(tx, connection.id, reports)
    return await store.listing_ids(tx, connection.id, {row.vendor_sku for row in rows})
