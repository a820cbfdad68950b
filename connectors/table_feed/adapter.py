"""Pulls a product table page by page. A file is landed whole, its digest taken, and read in bounded pieces on a thread;
the cursor is the number of records done plus that digest, so a resumed pull continues in the same file or, when the
vendor has published another one meanwhile, starts it from the top.

A source that lists changes alone (`scope: delta`) may be many files. They are read newest first and the newest word on
each SKU counts, so that reading a file again, which clocks make necessary, turns nothing back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
from pydantic import SecretStr

from connectors import base
from connectors.contracts import BadRow, Cursor, ListingIn, Page
from connectors.credentials import Draft
from connectors.mailbox import Entry
from connectors.manifest import Manifest
from connectors.table_feed.config import FeedConfig, feed_config
from connectors.table_feed.credential import FeedCaller, feed_caller
from connectors.table_feed.fetch import Fetched, broken, fetch_url
from connectors.table_feed.files import OVERLAP, Files, time_of
from connectors.table_feed.reading import Reader, map_again
from connectors.tables import DEFAULT, Limits, Spooled
from hub.kernel import clock
from hub.kernel.errors import HubError, Malformed, Retry, TooLarge
from hub.kernel.http import client
from hub.kernel.settings import settings


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
        self.feed: FeedConfig = feed_config(self.described())
        self.call: FeedCaller = feed_caller(manifest, self.config, self.secrets, http, connection_id)
        self._files = Files(self.feed, self.config, self.secrets) if self.feed.file is not None else None
        self._http = http
        self._limits = Limits(total_bytes=min(DEFAULT.total_bytes, settings().vendor_response_limit_bytes))

    def described(self) -> dict[str, Any]:
        """The settings that say what the table is. Override to fix some of them."""
        return self.config

    def remap(self, raws: Sequence[str]) -> list[ListingIn | BadRow]:
        """Refused rows mapped once more, with the map as it is now."""
        return map_again(self.feed, raws, clock.now())

    async def aclose(self) -> None:
        """Close the HTTP client and the mailbox."""
        await super().aclose()
        if self._http is not None:
            await self._http.aclose()
        if self._files is not None:
            await self._files.aclose()

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of listings. `since` None: everything; {"since": iso time} or a finished pull's cursor: everything
        again if the file changed (what came after that time, of changes), otherwise one empty complete page; a saved
        page's cursor: from after that page. Raises Broken for a file that cannot be read, also after the pages that
        could: `complete` says all of it."""
        since = dict(since or {})
        pages = self._changes(since) if self.feed.scope == "delta" and self._files else self._one(since)
        async with contextlib.aclosing(pages):
            async for page in pages:
                yield page

    async def _one(self, since: Cursor) -> AsyncGenerator[Page, None]:
        """The pages of one file: the address's, or the newest."""
        fetched = await self._fetch(since)
        if fetched.spooled is None:
            yield _nothing_new(fetched.sent_at, since)
            return
        with fetched.spooled as spooled:
            mark = {"digest": spooled.digest, "etag": fetched.etag, "last_modified": fetched.last_modified}
            same = since.get("digest") == spooled.digest
            if same and since.get("done"):
                yield _nothing_new(fetched.sent_at, {**since, **mark})
                return
            resumed = since if same and not since.get("done") else {}
            reader = self._reader(resumed, fetched.sent_at)
            async with contextlib.aclosing(reader.pages(spooled, fetched.sent_at, mark, resumed)) as pages:
                async for page in pages:
                    yield page

    async def _changes(self, since: Cursor) -> AsyncGenerator[Page, None]:
        """The pages of all files of changes since then, newest first. A resumed pull reads what it has read before
        only for the SKUs in it; when other files have come, it starts over."""
        assert self._files is not None
        now = clock.now()
        entries = await self._files.changed(_moment(since), now)
        done = int(since.get("file", 0))
        resumed = since if since.get("files") == _names(entries[: done + 1]) and "row" in since else {}
        begun = done if resumed else 0
        reader = self._reader(resumed, now)
        for position, entry in enumerate(entries):
            with await self._read(entry) as spooled:
                if position < begun:
                    await reader.note(spooled)
                    continue
                mark: Cursor = {"file": position, "files": _names(entries[: position + 1]), **_since(since)}
                here = resumed if position == begun else {}
                last = position == len(entries) - 1
                pages = reader.pages(spooled, time_of(entry, now), mark, here, last=last)
                async with contextlib.aclosing(pages):
                    async for page in pages:
                        yield page
        if not entries:
            yield _nothing_new(now, _since(since))

    def _reader(self, resumed: Cursor, now: datetime) -> Reader:
        usable = int(resumed.get("usable", 0))
        return Reader(self.feed, self._limits, self.known, now, usable=usable, keep_raw=self.keep_raw)

    async def _fetch(self, since: Cursor) -> Fetched:
        if self._files is not None:
            started = clock.now()
            return Fetched(await self._read(await self._files.newest(started)), started)
        assert self.feed.url is not None, "feed_config demands url or file"
        url = self.feed.url
        if self._http is None:
            spec = self.manifest.http
            self._http = client(timeout_s=spec.timeout_s, connections=spec.concurrency)
        conditions = _conditions(since, timed=self.feed.chosen.timed)

        async def asked() -> Draft:
            draft = Draft("GET", url, dict(conditions))
            await self.call.lend(draft)
            return draft

        return await fetch_url(self._http, self.call.guard(), self.manifest.http, asked, self._limits)

    async def _read(self, entry: Entry) -> Spooled:
        """A file, landed behind the connection's brakes."""
        assert self._files is not None
        guard = self.call.guard()
        async with guard.seat(self.manifest.http.longest_wait_s):
            try:
                spooled = await self._files.read(entry, self._limits)
            except (Malformed, TooLarge) as error:
                raise broken(error) from None
            except HubError as error:
                if isinstance(error, Retry) and error.code != "file_changed":
                    guard.failed()
                raise
            guard.succeeded()
            return spooled


def _nothing_new(sent_at: datetime, since: Cursor) -> Page:
    """What there is was read already: nothing to say, and that is the whole answer."""
    return Page(cursor={**since, "done": sent_at.isoformat(), "unchanged": True}, captured_at=sent_at, complete=True)


def _names(entries: Sequence[Entry]) -> str:
    """A fingerprint of files as they lie there."""
    said = "\n".join(f"{entry.name}\t{entry.size}\t{entry.modified.isoformat()}" for entry in entries)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _since(since: Cursor) -> Cursor:
    return {"since": since["since"]} if since.get("since") else {}


def _moment(since: Cursor) -> datetime | None:
    said = since.get("since") or since.get("done")
    return datetime.fromisoformat(str(said)).astimezone(UTC) if said else None


def _conditions(since: Cursor, *, timed: bool) -> dict[str, str]:
    """Ask only for a changed file, when a whole one was read before. Resuming needs the file itself, and one that says
    something else with time (`timed`) is read again in every pull."""
    if since.get("done"):
        if since.get("etag"):
            return {"If-None-Match": str(since["etag"])}
        if since.get("last_modified"):
            return {"If-Modified-Since": str(since["last_modified"])}
    if "row" not in since and since.get("since") and not timed:
        when = datetime.fromisoformat(str(since["since"])).astimezone(UTC) - OVERLAP
        return {"If-Modified-Since": format_datetime(when, usegmt=True)}
    return {}
