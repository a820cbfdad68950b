"""Fetches a feed from its address: a conditional GET behind the connection's brakes and the egress guard. What arrives
is landed on disk whole before anything is read from it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import httpx
import tenacity

from connectors.calling import retry_after
from connectors.credentials import Draft
from connectors.guards import Guard, jitter
from connectors.manifest import Http
from connectors.tables import Limits, Spooled, land
from hub.kernel import clock
from hub.kernel.errors import Broken, HubError, Malformed, Misconfigured, Retry, TooLarge
from hub.kernel.http import as_hub_error

LONGEST_DOWNLOAD_S = 900.0


@dataclass(frozen=True)
class Fetched:
    """What the vendor gave: the landed file, or None when it said that nothing changed."""

    spooled: Spooled | None
    sent_at: datetime
    etag: str | None = None
    last_modified: str | None = None


Asked = Callable[[], Awaitable[Draft]]
"""Makes the request anew, with its credential."""


async def fetch_url(http: httpx.AsyncClient, guard: Guard, spec: Http, asked: Asked, limits: Limits) -> Fetched:
    """GET the feed, tried again while that may help; a token that is no longer taken is replaced once. Raises Retry
    (outage, throttling, a broken-off transfer), Misconfigured (401, 403, 404, redirects, refused addresses) or Broken
    (not a table)."""

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return jitter(state.attempt_number, error.after if isinstance(error, Retry) else 0.0)

    def again(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return isinstance(error, Retry) and error.code != "breaker_open" and error.after <= spec.longest_wait_s

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(spec.attempts), wait=wait, retry=again, reraise=True
    )
    fetched: Fetched = await retrying(_with_fresh_token, http, guard, spec, asked, limits)
    return fetched


async def _with_fresh_token(http: httpx.AsyncClient, guard: Guard, spec: Http, asked: Asked, limits: Limits) -> Fetched:
    draft = await asked()
    try:
        return await _once(http, guard, spec, draft, limits)
    except Misconfigured as error:
        if error.code != "vendor_denied" or draft.token is None or not guard.purse.drop(draft.token):
            raise
    return await _once(http, guard, spec, await asked(), limits)


async def _once(http: httpx.AsyncClient, guard: Guard, spec: Http, draft: Draft, limits: Limits) -> Fetched:
    # gzip alone: its end mark shows a cut transfer, and one decompressor with caps serves transfer and .gz files
    sending = {**spec.headers, **draft.headers, "Accept-Encoding": "gzip"}
    async with guard.seat(spec.longest_wait_s):
        sent_at, started = clock.now(), time.monotonic()
        try:
            target = httpx.URL(draft.url).copy_merge_params(draft.query) if draft.query else draft.url
            response = await http.send(http.build_request("GET", target, headers=sending), auth=draft.auth, stream=True)
            try:
                fetched = await _answer(response, guard, sent_at, limits)
            finally:
                await response.aclose()
        except (Malformed, TooLarge) as error:
            guard.succeeded()
            raise broken(error) from None
        except HubError:
            raise
        except Exception as error:
            meaning = as_hub_error(error)
            if isinstance(meaning, Retry):
                guard.failed(time.monotonic() - started)
            raise meaning from None  # the original may carry the URL with its secrets
    return fetched


async def _answer(response: httpx.Response, guard: Guard, sent_at: datetime, limits: Limits) -> Fetched:
    status = response.status_code
    if status == 304:
        guard.succeeded()
        return Fetched(None, sent_at, response.headers.get("etag"), response.headers.get("last-modified"))
    if status == 200:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise Broken(
                f"the feed came in the encoding {encoding[:40]!r}, which was not asked for", code="bad_encoding"
            )
        content_type = response.headers.get("content-type", "")
        spooled = await land(_timed(response), limits)
        guard.succeeded()
        if spooled.size < 200_000 and "html" in content_type and _is_page(spooled):
            spooled.close()
            raise Broken("the feed's address answered a web page", code="html_answer")
        return Fetched(spooled, sent_at, response.headers.get("etag"), response.headers.get("last-modified"))
    after = retry_after(response.headers)
    if status in (408, 425, 429) or status >= 500:
        if after is not None or status == 429:
            guard.pause(after if after is not None else 1.0)
        if status >= 500:
            guard.failed()
        code = "vendor_throttles" if status == 429 else "vendor_unavailable"
        raise Retry(f"the feed's server answered {status}", code=code, after=after if after is not None else 1.0)
    guard.succeeded()
    if status == 404:
        raise Misconfigured("there is no feed at the connection's url (404)", code="no_feed")
    if status in (401, 403) or 300 <= status < 400:
        what = "redirects elsewhere" if status < 400 else "denies access"
        raise Misconfigured(f"the feed's server {what} ({status})", code="vendor_denied")
    raise Broken(f"the feed's server answered {status}", code="vendor_broken")


def _is_page(spooled: Spooled) -> bool:
    spooled.file.seek(0)
    return spooled.file.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


async def _timed(response: httpx.Response) -> AsyncIterator[bytes]:
    """The raw body; a transfer that drips for longer than anybody should wait is given up."""
    until = time.monotonic() + LONGEST_DOWNLOAD_S
    received = 0
    declared = response.headers.get("content-length", "")
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if time.monotonic() > until:
            raise Retry("the feed comes too slowly", code="vendor_timeout", after=60.0)
        yield chunk
    if declared.isdigit() and received < int(declared):
        raise Retry(f"the feed broke off after {received} of {declared} bytes", code="cut_answer", after=1.0)


def broken(error: HubError) -> Broken:
    """A file that cannot be read is, for a connector, a vendor outside its protocol."""
    return Broken(error.detail, code=error.code, facts=error.facts)


__all__ = ["Fetched", "broken", "fetch_url"]
