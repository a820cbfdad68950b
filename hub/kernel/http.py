"""The one HTTP factory: the httpx API over aiohttp's transport, behind the egress guard, with caps on what a
vendor may send back. One client per connection (its own bulkhead), redirects refused, client time-outs."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from hub.kernel.egress import EgressRefused, GuardedResolver, check_url
from hub.kernel.errors import Broken, HubError, Misconfigured, Retry
from hub.kernel.settings import settings

_NO_COOKIES = DefaultCookiePolicy(allowed_domains=())


class GuardedTransport(httpx.AsyncBaseTransport):
    """Checks each URL before the inner transport sees it and caps the decoded size of each answer."""

    def __init__(self, inner: httpx.AsyncBaseTransport, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        check_url(request.url)
        response = await self._inner.handle_async_request(request)
        declared = response.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            await response.aclose()
            raise Broken(f"the vendor's answer is larger than {self._limit} bytes", code="answer_too_large")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    """One TLS context for the process: making one reads the whole certificate store (tens of milliseconds)."""
    return ssl.create_default_context()


def client(
    *,
    base_url: str = "",
    timeout_s: float = 20.0,
    headers: dict[str, str] | None = None,
    auth: httpx.Auth | tuple[str, str] | None = None,
    connections: int = 8,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client for one connection. `transport` replaces the network in tests (respx over httpx.MockTransport)."""
    if transport is None:
        tls = _tls()

        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(), limit=connections, ssl=tls, ttl_dns_cache=0, use_dns_cache=False
            )
            return aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )

        transport = GuardedTransport(
            AiohttpTransport(verify=tls, client=session), settings().vendor_response_limit_bytes
        )
    return httpx.AsyncClient(
        base_url=base_url,
        cookies=CookieJar(_NO_COOKIES),  # what a vendor's server sets must not tie requests of two orders together
        timeout=httpx.Timeout(timeout_s),
        headers={"User-Agent": "supplyhub/0.1", **(headers or {})},
        auth=auth,
        transport=transport,
        follow_redirects=False,
        trust_env=False,
    )


async def capped_body(response: httpx.Response, limit: int | None = None, until: float | None = None) -> bytes:
    """The whole decoded body; raises Broken beyond `limit` bytes, so that a small bomb stays small, and Retry when it
    still drips in after `until` (monotonic)."""
    return b"".join([chunk async for chunk in capped_chunks(response, limit, until)])


async def capped_chunks(
    response: httpx.Response, limit: int | None = None, until: float | None = None
) -> AsyncIterator[bytes]:
    """The decoded body in pieces; raises as soon as more than `limit` bytes have come, or any after `until`."""
    limit = limit or settings().vendor_response_limit_bytes
    total = 0
    async for chunk in response.aiter_bytes():
        total += len(chunk)
        if total > limit:
            raise Broken(f"the vendor's answer is larger than {limit} bytes", code="answer_too_large")
        if until is not None and time.monotonic() > until:
            raise Retry("the vendor's answer comes too slowly", code="vendor_timeout", after=2.0)
        yield chunk


def as_hub_error(error: Exception) -> HubError:
    """What a failed call to a vendor means for the caller."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EgressRefused):
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, HubError):
        return error
    if isinstance(error, httpx.TimeoutException):
        return Retry("the vendor did not answer in time", code="vendor_timeout", after=2.0)
    if isinstance(error, httpx.TransportError):
        return Retry(f"the vendor cannot be reached: {type(error).__name__}", code="vendor_unreachable", after=2.0)
    if isinstance(error, httpx.InvalidURL):
        return Misconfigured("the connection's URL is not valid", code="bad_url")
    return Broken(f"the call to the vendor failed: {type(error).__name__}", code="vendor_failed")
