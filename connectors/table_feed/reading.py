"""A landed table as pages: read in bounded pieces on a thread, mapped, and complete only when all of it was seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime

from connectors import base
from connectors.contracts import BadRow, Cursor, ListingIn, Page
from connectors.mapping import Mapped
from connectors.table_feed.config import FeedConfig
from connectors.table_feed.fetch import broken
from connectors.table_feed.mapping import FeedMapper, again, header_names, missing_columns
from connectors.tables import DEFAULT, SHEET, Limits, Reading, Record, Spooled, records, take
from hub.kernel.errors import Broken, Malformed, TooLarge

Prepared = tuple[Record, dict[str, str] | ValueError | None]


class Reader:
    """Reads the files of one pull. Of several files that list changes, what an earlier one said counts."""

    def __init__(
        self,
        feed: FeedConfig,
        limits: Limits,
        known: base.Known | None,
        now: datetime,
        *,
        usable: int = 0,
        keep_raw: bool = False,
    ) -> None:
        self._feed = feed
        self._now = now
        self._limits = limits
        self._known = known
        self._mapper = FeedMapper(feed)
        self._changes = feed.scope == "delta"
        self._usable = usable
        self._keep_raw = keep_raw
        self._said: set[str] = set()  # SKUs of the files of changes before this one

    async def pages(
        self, spooled: Spooled, at: datetime, mark: Cursor, since: Cursor, *, last: bool = True
    ) -> AsyncGenerator[Page, None]:
        """The pages of one file after those that `since` has done. Cursors carry `mark`; of the pull's `last` file the
        last page is complete, if nothing was lost. Raises Broken for a file that cannot be read."""
        mapper = self._mapper
        source = _source(spooled, self._feed, mapper, self._limits)
        done = int(since.get("row", 0))
        lost = str(since.get("lost", ""))  # why records in between cannot be seen
        here: set[str] = set()
        try:
            batch = await asyncio.to_thread(_start, source, 0 if self._changes else done, self._feed.page_rows)
            while self._changes and batch and batch[-1].number <= done:  # done before; newer than what comes
                here.update(await asyncio.to_thread(self._skus, batch))
                batch = await asyncio.to_thread(take, source, self._feed.page_rows)
            if not done:
                if not batch and not self._changes:
                    raise Broken("the file holds a header and no rows", code="no_rows")
                _check_columns(mapper, batch)
            drift: set[str] = set()
            while True:
                following = await asyncio.to_thread(take, source, self._feed.page_rows) if batch else []
                mapped, refused = await self._mapped(batch, here)
                self._usable += len(mapped.listings) + len(mapped.unchanged)
                lost = lost or next((record.reason for record in batch if record.lost), "")
                done = batch[-1].number if batch else done
                ended = not following
                whole = ended and last and not lost and (self._usable > 0 or self._changes)
                cursor: Cursor = {**mark, "row": done, "usable": self._usable, "lost": lost}
                if whole:
                    cursor["done"] = at.isoformat()
                fresh, drift = mapped.drift - drift, drift | mapped.drift
                yield Page.model_construct(
                    listings=tuple(mapped.listings),
                    digests=tuple(mapped.digests),
                    unchanged=tuple(mapped.unchanged),
                    slots=(),
                    bad=(*refused, *mapped.bad),
                    cursor=cursor,
                    captured_at=at,
                    complete=whole,
                    drift=tuple(sorted(fresh)),
                    raws=tuple(mapped.raws or ()),
                )
                if ended and (lost or (last and not whole)):
                    raise _incomplete(lost, done)
                if ended:
                    self._said |= here
                    return
                batch = following
        except (Malformed, TooLarge) as error:
            raise broken(error) from None

    async def note(self, spooled: Spooled) -> None:
        """Take note of the SKUs of a file of changes that was read before."""
        source = _source(spooled, self._feed, self._mapper, self._limits)
        try:
            while batch := await asyncio.to_thread(take, source, self._feed.page_rows):
                self._said.update(await asyncio.to_thread(self._skus, batch))
        except (Malformed, TooLarge) as error:
            raise broken(error) from None

    def _skus(self, batch: list[Record]) -> set[str]:
        prepared = _prepare(self._mapper, batch, self._now)
        return {sku for _, fields in prepared if isinstance(fields, dict) and (sku := self._mapper.sku(fields))}

    async def _mapped(self, batch: list[Record], here: set[str]) -> tuple[Mapped, list[BadRow]]:
        """One page mapped on a thread; the hub is asked for the fingerprints it keeps in between."""
        mapper = self._mapper
        refused = [mapper.refused(record) for record in batch if record.reason]
        prepared = await asyncio.to_thread(_prepare, mapper, batch, self._now)
        if self._changes:
            prepared = self._newest_words(prepared, here)
        known = None
        if self._known is not None:
            skus = [sku for _, fields in prepared if isinstance(fields, dict) and (sku := mapper.sku(fields))]
            known = await self._known(skus)
        return await asyncio.to_thread(mapper.page, prepared, known, keep_raw=self._keep_raw), refused

    def _newest_words(self, prepared: list[Prepared], here: set[str]) -> list[Prepared]:
        """Of changes: no SKU that a newer file has spoken of, and of a SKU that comes twice the later row."""
        kept: list[Prepared] = []
        later: set[str] = set()
        for record, fields in reversed(prepared):
            sku = self._mapper.sku(fields) if isinstance(fields, dict) else None
            if sku is not None and (sku in self._said or sku in later):
                continue
            if sku is not None:
                later.add(sku)
            kept.append((record, fields))
        here |= later
        return kept[::-1]


def _source(spooled: Spooled, feed: FeedConfig, mapper: FeedMapper, limits: Limits) -> Iterator[Record]:
    """The file's records; even the first look at it is put off until somebody takes one, on a thread."""
    yield from records(
        spooled,
        Reading(
            format=feed.format,
            encoding=feed.encoding,
            delimiter=feed.delimiter,
            header=feed.header,
            wanted=header_names(mapper) | ({SHEET} if feed.tells_sheet else frozenset()),
            sheet=feed.sheet,
            record=feed.record,
        ),
        limits,
    )


def refused_and_mapped(spooled: Spooled, feed: FeedConfig, now: datetime, limits: Limits = DEFAULT) -> Mapped:
    """A whole file at once, for uploads and tests: what a pull would page through. Blocks."""
    mapper = FeedMapper(feed)
    batch = list(_source(spooled, feed, mapper, limits))
    mapped = mapper.page(_prepare(mapper, batch, now))
    mapped.bad[:0] = [mapper.refused(record) for record in batch if record.reason]
    return mapped


def _start(source: Iterator[Record], skip: int, count: int) -> list[Record]:
    """The first `count` records after `skip` of them."""
    for record in source:
        if record.number > skip:
            return [record, *take(source, count - 1)]
    return []


def map_again(feed: FeedConfig, raws: Sequence[str], now: datetime) -> list[ListingIn | BadRow]:
    """Refused rows, as the quarantine kept them, mapped once more with the map as it is now."""
    mapper = FeedMapper(feed)
    results: list[ListingIn | BadRow] = []
    for raw in raws:
        record = again(raw)
        if record is None:
            reason = "the row itself could not be read, or only a part of it was kept; pull again"
            results.append(BadRow(reason=reason, raw=raw))
            continue
        mapped = mapper.page(_prepare(mapper, [record], now))
        if mapped.listings:
            results.append(mapped.listings[0])
        else:
            results.append(mapped.bad[0] if mapped.bad else BadRow(reason="the map skips this row by design", raw=raw))
    return results


def _prepare(mapper: FeedMapper, batch: list[Record], now: datetime) -> list[Prepared]:
    prepared: list[Prepared] = []
    for record in batch:
        if record.reason:
            continue
        try:
            prepared.append((record, mapper.prepared(record, now)))
        except ValueError as error:
            prepared.append((record, error))
    return prepared


def _check_columns(mapper: FeedMapper, batch: list[Record]) -> None:
    """A renamed column would make every row bad; say it once, in words, before anything is unlisted."""
    trusted = [record for record in batch if not record.reason]
    missing = missing_columns(mapper, trusted) if trusted else []
    if missing:
        have = ", ".join(list(trusted[0].fields)[:30])
        raise Broken(f"the file lacks the column {'; '.join(missing)}; it has: {have}", code="missing_columns")


def _incomplete(lost: str, rows: int) -> Broken:
    """Why a file that was read to its end still does not count as read: what it did not show would be unlisted."""
    if lost:
        return Broken(f"rows of the file cannot be seen: {lost}", code="rows_lost")
    return Broken(f"none of the file's {rows} rows could be used; the quarantine says why", code="no_usable_rows")
