"""Pulls a product table page by page. The file is landed whole, its digest taken, and read in bounded pieces on a
thread; the cursor is the number of records done plus that digest, so a resumed pull continues in the same file
or, when the vendor has published another one meanwhile, starts it from the top."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
from pydantic import SecretStr

from connectors import base
from connectors.contracts import BadRow, Cursor, Page
from connectors.manifest import Manifest
from connectors.mapping import Mapped
from connectors.table_feed.config import FeedConfig, feed_config
from connectors.table_feed.fetch import Fetched, broken, fetch_file, fetch_url
from connectors.table_feed.mapping import FeedMapper, header_names, missing_columns
from connectors.tables import DEFAULT, Limits, Reading, Record, Spooled, records, take
from hub.kernel.errors import Broken, Malformed, TooLarge
from hub.kernel.http import client
from hub.kernel.settings import settings

Prepared = tuple[Record, dict[str, str] | ValueError | None]


class Adapter(base.Adapter):
    """A connection to one published table."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: base.Known | None = None,
    ) -> None:
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        self.feed: FeedConfig = feed_config(self.config)
        self._http = http
        self._limits = Limits(total_bytes=min(DEFAULT.total_bytes, settings().vendor_response_limit_bytes))

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await super().aclose()
        if self._http is not None:
            await self._http.aclose()

    async def pull(self, since: Cursor | None) -> AsyncIterator[Page]:
        """Pages of listings. `since` None: everything; {"since": iso time} or a finished pull's cursor: everything
        again if the file changed, otherwise one empty complete page; a saved page's cursor: from after that page.
        Raises Broken for a file that cannot be read, also after the pages that could: `complete` says all of it."""
        since = dict(since or {})
        fetched = await self._fetch(since)
        if fetched.spooled is None:
            yield self._unchanged(fetched, since)
            return
        with fetched.spooled as spooled:
            mark = {"digest": spooled.digest, "etag": fetched.etag, "last_modified": fetched.last_modified}
            same = since.get("digest") == spooled.digest
            if same and since.get("done"):
                yield self._unchanged(fetched, {**since, **mark})
                return
            async for page in self._pages(spooled, fetched.sent_at, mark, since if same else {}):
                yield page

    async def _fetch(self, since: Cursor) -> Fetched:
        if self.feed.file is not None:
            return await fetch_file(self.feed.file, self._limits)
        assert self.feed.url is not None, "feed_config demands url or file"
        if self._http is None:
            spec = self.manifest.http
            self._http = client(timeout_s=spec.timeout_s, connections=spec.concurrency)
        headers = {**self._credentials(), **_conditions(since)}
        guard = self.call.guard()
        return await fetch_url(self._http, guard, self.manifest.http, self.feed.url, headers, self._limits)

    def _credentials(self) -> dict[str, str]:
        """A bearer token, or a user's password, or nothing: many feeds are public."""
        token, password = self.secrets.get("token"), self.secrets.get("password")
        if token is not None and token.get_secret_value():
            return {"Authorization": f"Bearer {token.get_secret_value()}"}
        if password is not None and password.get_secret_value():
            pair = f"{self.config.get('user') or ''}:{password.get_secret_value()}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
        return {}

    def _unchanged(self, fetched: Fetched, since: Cursor) -> Page:
        """The file is the one already read: nothing to say, and that is the whole answer."""
        cursor = {**since, "done": fetched.sent_at.isoformat(), "unchanged": True}
        return Page(cursor=cursor, captured_at=fetched.sent_at, complete=True)

    async def _pages(self, spooled: Spooled, sent_at: datetime, mark: Cursor, since: Cursor) -> AsyncIterator[Page]:
        mapper = FeedMapper(self.feed)
        source = _source(spooled, self.feed, mapper, self._limits)
        done = int(since.get("row", 0))
        usable = int(since.get("usable", 0))
        lost = str(since.get("lost", ""))  # why records in between cannot be seen
        try:
            batch = await asyncio.to_thread(_start, source, done, self.feed.page_rows)
            if not done:
                if not batch:
                    raise Broken("the file holds a header and no rows", code="no_rows")
                _check_columns(mapper, batch)
            drift: set[str] = set()
            while True:
                following = await asyncio.to_thread(take, source, self.feed.page_rows) if batch else []
                mapped, refused = await self._mapped(mapper, batch, sent_at)
                usable += len(mapped.listings) + len(mapped.unchanged)
                lost = lost or next((record.reason for record in batch if record.lost), "")
                done = batch[-1].number if batch else done
                last = not following
                whole = last and not lost and usable > 0
                cursor: Cursor = {**mark, "row": done, "usable": usable, "lost": lost}
                if whole:
                    cursor["done"] = sent_at.isoformat()
                fresh, drift = mapped.drift - drift, drift | mapped.drift
                yield Page.model_construct(
                    listings=tuple(mapped.listings),
                    digests=tuple(mapped.digests),
                    unchanged=tuple(mapped.unchanged),
                    slots=(),
                    bad=(*refused, *mapped.bad),
                    cursor=cursor,
                    captured_at=sent_at,
                    complete=whole,
                    drift=tuple(sorted(fresh)),
                )
                if whole:
                    return
                if last:
                    raise _incomplete(lost, done)
                batch = following
        except (Malformed, TooLarge) as error:
            raise broken(error) from None

    async def _mapped(self, mapper: FeedMapper, batch: list[Record], now: datetime) -> tuple[Mapped, list[BadRow]]:
        """One page mapped on a thread; the hub is asked for the fingerprints it keeps in between."""
        refused = [mapper.refused(record) for record in batch if record.reason]
        prepared = await asyncio.to_thread(_prepare, mapper, batch, now)
        known = None
        if self.known is not None:
            skus = [sku for _, fields in prepared if isinstance(fields, dict) and (sku := mapper.sku(fields))]
            known = await self.known(skus)
        return await asyncio.to_thread(mapper.page, prepared, known), refused


def _source(spooled: Spooled, feed: FeedConfig, mapper: FeedMapper, limits: Limits) -> Iterator[Record]:
    """The file's records; even the first look at it is put off until somebody takes one, on a thread."""
    yield from records(
        spooled,
        Reading(
            format=feed.format,
            encoding=feed.encoding,
            delimiter=feed.delimiter,
            header=feed.header,
            wanted=header_names(mapper),
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


def _conditions(since: Cursor) -> dict[str, str]:
    """Ask only for a changed file, when a whole one was read before. Resuming needs the file itself."""
    if since.get("done"):
        if since.get("etag"):
            return {"If-None-Match": str(since["etag"])}
        if since.get("last_modified"):
            return {"If-Modified-Since": str(since["last_modified"])}
    if "row" not in since and since.get("since"):
        when = datetime.fromisoformat(str(since["since"])).astimezone(UTC)
        return {"If-Modified-Since": format_datetime(when, usegmt=True)}
    return {}
