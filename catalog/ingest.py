"""A pull or a push into the catalogue, on one screen: payload -> match -> check -> list.

`sync` drives one run of one connection. While a batch is being written, the connector fetches and maps the next
ones; each batch's effects and the cursor after it are saved in one transaction, so a crash neither skips a row nor
applies one twice. A batch that the database cannot hold is halved until the row at fault stands alone in quarantine.
Only a complete full run takes off sale what it did not see, and never a large part of an assortment without asking."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

import structlog

from catalog import changes, landing, observing, staging, stock, store
from catalog.batching import ROWS, Batch, Buffer, ready_page
from catalog.contracts import SyncOutcome
from catalog.tally import Tally, tally_up
from connectors import api as connectors
from connectors.contracts import (
    RAW_LIMIT,
    BadRow,
    Capability,
    ConnectionTurned,
    ConnectionView,
    Cursor,
    Page,
    PayloadLanded,
)
from connectors.protocol import PullsStock
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, database, uow
from hub.kernel.errors import Broken, Conflict, HubError, Retry
from hub.kernel.settings import settings
from pricing import api as pricing

log = structlog.get_logger()
TRIES = 6  # of one batch, when other transactions get in between
LEAST = 250  # rows of a batch, however many pulls share this process's memory
SPARE = 4  # connections to the database that a pull leaves to others before it takes a second one
SMALL = 20  # a connection with no more listings than this may lose any part of them unasked


_under_way: set[int] = set()  # runs of this process


async def sync(
    connection_id: int,
    *,
    kind: Literal["full", "incremental", "stock"] | None = None,
    progress: Callable[[int], None] | None = None,
    unlist_any_share: bool = False,
) -> SyncOutcome:
    """Pull one connection (`kind` None: what is due) and say what it did; `progress` gets the rows seen so far.

    A vendor's failure ends the run and is told in `error`; what came before it stays and the next run resumes. So it
    does when this call is cancelled.
    `unlist_any_share` is a person's answer that a shrunken assortment is meant. Raises Conflict when the
    connection is paused or being pulled, NotFound, and Retry when the database stays busy."""
    started = time.perf_counter()
    async with uow(HUB) as tx:
        connection = await connectors.get_connection(tx, connection_id)
        run = await connectors.start_run(tx, connection_id, kind or await connectors.next_sync_kind(tx, connection_id))
        await put_connection(tx, connection)
    pull = _Pull(connection, run, progress)
    error: HubError | None = None
    _under_way.add(run.id)
    try:
        observes = connection.role == "reference" or Capability.OBSERVES_PRICES in connection.capabilities
        known = None if observes else pull.known  # a price that is observed again is a new observation
        async with (
            connectors.open_connector(connection_id, known=known) as connector,
            contextlib.aclosing(_batches(connector, run)) as batches,
        ):
            await pull.land_all(batches)
    except Conflict as lost:
        if lost.code == "run_lost":
            raise
        error = lost
    except HubError as failed:
        error = failed
    except asyncio.CancelledError:
        async with uow(HUB) as tx:
            await connectors.release_run(tx, run.id)
        raise
    finally:
        _under_way.discard(run.id)
    unlisted, why = 0, str(error) if error else None
    async with uow(HUB) as tx:
        if pull.complete and error is None and run.kind == "full" and connection.role == "supply":
            unlisted, why = await unlist(tx, connection, run.id, unlist_any_share)
            if why is not None:  # the next run must look at everything again, not go on after the last page
                await pull.save(tx, pull.total, cursor=None, pages=0)
        after = error.after if isinstance(error, Retry) else None
        await connectors.finish_run(tx, run.id, complete=pull.complete, unlisted=unlisted, error=why, retry_after=after)
    total = pull.total
    return SyncOutcome(
        run_id=run.id,
        connection_id=connection_id,
        seen=total.seen,
        created=total.created,
        updated=total.updated,
        unchanged=total.unchanged,
        quarantined=total.quarantined,
        unlisted=unlisted,
        merged=total.merged,
        complete=pull.complete and why is None,
        seconds=time.perf_counter() - started,
        error=why,
    )


class _Pull:
    """Where one run stands."""

    def __init__(self, connection: ConnectionView, run: connectors.Run, progress: Callable[[int], None] | None) -> None:
        self.connection = connection
        self.run = run
        self.progress = progress
        self.complete = False
        self.cursor = run.cursor
        self.pages = run.page_no
        self._ids: dict[str, int] = {}  # listings that the connector may report as unchanged
        self.total = Tally(
            seen=run.seen, created=run.created, updated=run.updated, unchanged=run.unchanged,
            quarantined=run.quarantined, stock_seen=run.stock_seen, stock_changed=run.stock_changed,
        )  # fmt: skip

    async def known(self, skus: Sequence[str]) -> Mapping[str, bytes]:
        """The digests of those listings that need no mapping when their content is the same."""
        rows = await store.active_digests(self.connection.id, skus)
        self._ids.update((sku, listing_id) for sku, listing_id, _ in rows)
        return {sku: digest for sku, _, digest in rows}

    async def land_all(self, batches: AsyncIterator[Batch]) -> None:
        """Store batch after batch. While one is being written, the next is already being prepared. What came before
        a failure of the vendor stays."""
        flying: asyncio.Task[None] | None = None
        marks: set[str] = set()
        try:
            async for batch in batches:
                before, marks_before, marks = flying, marks, batch.marks()
                apart = database().writers.spare > SPARE and marks.isdisjoint(marks_before)
                flying = asyncio.create_task(self._land(batch, before, apart=apart))
                if before is not None:
                    await before
        except asyncio.CancelledError:
            if flying is not None:
                flying.cancel()
            raise
        finally:
            if flying is not None:
                await flying

    async def _land(self, batch: Batch, before: asyncio.Task[None] | None = None, *, apart: bool = False) -> None:
        """Store one batch and the place after it, trying again when others get in between. It is written after
        `before`, whose failure ends it too, and prepared meanwhile when the two are `apart`."""
        for left in reversed(range(TRIES)):
            try:
                if before is not None and not apart:
                    await before
                await self._land_once(batch, before)
                return
            except Retry as error:
                if before is not None:
                    await before
                if not left:
                    raise
                await asyncio.sleep(min(error.after, 2.0))
            except store.CANNOT_HOLD as error:
                if before is not None:
                    await before
                await self._halve(batch, error)
                return

    async def _land_once(self, batch: Batch, before: asyncio.Task[None] | None) -> None:
        async with uow(HUB) as tx:
            supply = self.connection.role == "supply"
            prepared = await staging.prepare(tx, self.connection, batch) if supply else None
            if before is not None:
                await before  # from here on rows are locked: one batch of a run after the other
            if prepared is None:
                tally = await observing.land_references(tx, self.connection, batch)
                bad: list[BadRow] = []
            else:
                tally, bad, _, _ = await landing.write(tx, self.connection, batch, prepared, self.run.id, self._ids)
            await _report(tx, self.connection.id, self.run.id, batch, bad)
            total = Tally()
            total.add(self.total)
            total.add(tally)
            cursor = batch.cursor if batch.pages else self.cursor
            pages = self.pages + batch.pages
            await self.save(tx, total, cursor, pages)
        self.total, self.cursor, self.pages, self.complete = total, cursor, pages, batch.complete
        for figure in batch.same:
            self._ids.pop(figure.vendor_sku, None)
        tally_up(tally)
        if self.progress is not None:
            self.progress(total.seen)

    async def save(self, tx: Tx, total: Tally, cursor: Cursor | None, pages: int) -> None:
        """Save where the run stands together with what `tx` holds."""
        await connectors.save_progress(tx, self.run.id, cursor=cursor, pages=pages, figures=total.figures())

    async def _halve(self, batch: Batch, error: Exception) -> None:
        if len(batch.rows) + len(batch.same) + len(batch.stock) + len(batch.slots) > 1:
            for half in batch.halves():
                await self._land(half)
            return
        log.warning("row_refused", connection_id=self.connection.id, error=type(error).__name__)
        bad = [staging.refused(row, f"the catalogue cannot hold this row: {error}"[:500]) for row in batch.rows]
        bad += [
            BadRow(reason=f"the catalogue cannot hold this slot: {error}"[:500], vendor_sku=slot.vendor_sku,
                   raw=slot.model_dump_json()[:RAW_LIMIT])
            for slot in batch.slots
        ]  # fmt: skip
        bad += [
            BadRow(reason=f"the catalogue cannot hold this figure: {error}"[:500], vendor_sku=f.vendor_sku, raw=repr(f))
            for f in (*batch.same, *batch.stock)
        ]
        if not bad:
            raise error
        rest = batch.emptied(bad)
        await self._land(rest)


_STOCK = "stock_after"  # in a saved cursor: the listings are done, stock goes on from here


async def _pages(connector: Any, run: connectors.Run) -> AsyncGenerator[Page, None]:
    """The pages of a run: listings, then stock where the system tells it apart. The run is complete with the last page
    of both."""
    apart = isinstance(connector, PullsStock)
    cursor = run.cursor or {}
    if _STOCK not in cursor and run.kind != "stock":
        done = False
        async for page in connector.pull(run.cursor):
            done = page.complete
            if apart and done:
                page = page.model_copy(update={"complete": False, "cursor": {_STOCK: None}})
            yield page
        if not done or not apart:
            return
    elif not apart:
        raise Broken("this connector no longer pulls stock by itself; start a full pull", code="no_capability")
    async for page in connector.pull_stock(cursor.get(_STOCK)):
        yield page.model_copy(update={"cursor": {_STOCK: page.cursor}})


async def _batches(connector: Any, run: connectors.Run) -> AsyncGenerator[Batch, None]:
    """Batches of a pull that goes on while the consumer is busy. What came before a failure comes first."""
    buffer = Buffer(max(LEAST, ROWS // max(1, len(_under_way))))

    async def fill() -> None:
        try:
            async with contextlib.aclosing(_pages(connector, run)) as pages:
                async for page in pages:
                    await buffer.put(await ready_page(page))
        finally:
            await buffer.close()

    puller = asyncio.create_task(fill())
    try:
        while (batch := await buffer.take()) is not None:
            yield batch
        await puller
    finally:
        puller.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await puller


async def _report(tx: Tx, connection_id: int, run_id: int | None, batch: Batch, bad: list[BadRow]) -> None:
    if batch.bad or bad:
        await connectors.quarantine(tx, connection_id, run_id, [*batch.bad, *bad])
    if batch.drift:
        await connectors.note_drift(tx, connection_id, sorted(batch.drift))


async def unlist(tx: Tx, connection: ConnectionView, run_id: int, any_share: bool) -> tuple[int, str | None]:
    """Take off sale what a complete run did not see: (how many, why nothing was done)."""
    active, unseen = await store.count_unseen(tx, connection.id, run_id)
    limit = settings().unlist_share
    if unseen > active * limit and active > SMALL and not any_share:
        return 0, (
            f"{unseen} of {active} listings were missing from a complete pull, more than {limit:.0%}: nothing was "
            "taken off sale; check the vendor's feed, then sync again accepting the smaller assortment"
        )
    gone = await store.unlist_unseen(tx, connection.id, run_id) if unseen else []
    if gone:
        products = {row["product_id"] for row in gone}
        await store.refresh_products(tx, products)
        await changes.note(tx, products)
        await pricing.forget_listings(tx, [row["id"] for row in gone])
    await stock.close_untold(tx, connection.id, run_id)
    await store.confirm_feed(tx, connection.id, run_id)
    await store.forget_run(tx, run_id)
    return len(gone), None


async def put_connection(tx: Tx, connection: ConnectionView) -> None:
    """Take over what the catalogue must know of a connection. When it was paused or resumed since, its products are
    offered no longer, or again."""
    promise = int(connection.defaults.get("stock_promise_s") or settings().stock_promise_s)
    turned = await store.put_feed(
        tx, connection.id, connection.vendor_id, connection.vendor_name, connection.role,
        connection.status == "live", promise,
    )  # fmt: skip
    if turned:
        products = await store.products_of_feed(tx, connection.id)
        await changes.note(tx, await store.refresh_products(tx, products))


async def on_connection_turned(tx: Tx, event: ConnectionTurned) -> None:
    """A connection that went live or was paused is heard of at once, not at its next pull."""
    await put_connection(tx, await connectors.get_connection(tx, event.connection_id))


async def on_payload(tx: Tx, event: PayloadLanded) -> None:
    """What a landed push says about listings and stock."""
    connection, content = await connectors.landed(tx, event.inbox_id)
    await put_connection(tx, connection)
    now = clock.now()
    batch = Batch.pushed(content.listings, content.bad, now)
    bad: list[BadRow] = []
    if connection.role == "reference":
        tally_up(await observing.land_references(tx, connection, batch))
    elif content.listings:
        tally, bad, _, _ = await landing.land(tx, connection, batch, None)
        tally_up(tally)
    if content.stock and connection.role == "supply":
        results = await stock.apply_reports(tx, connection.id, content.stock)
        bad += [
            BadRow(reason="no listing has this SKU", pointer="/vendor_sku", vendor_sku=report.vendor_sku,
                   raw=report.model_dump_json()[:RAW_LIMIT])
            for report, result in zip(content.stock, results, strict=True)
            if result == stock.UNKNOWN_SKU
        ]  # fmt: skip
    await _report(tx, connection.id, None, batch, bad)
