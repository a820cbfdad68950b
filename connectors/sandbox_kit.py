"""What the stand-ins for vendors' servers share: faults on demand, a log of the requests they saw, and starting and
stopping an aiohttp server on a free loopback port. Used by the demo, the contract kit, benchmarks and fault tests;
the hub itself never imports it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
# A handler may say under this key whether the request acted; unless it says, every POST did. Of several POSTs that
# place one order only the last one acts; a GraphQL query and a login do not.
ACTS: web.RequestKey[bool] = web.RequestKey("acts", bool)


@dataclass
class Faults:
    """Faults to play. Counters go down by one each time they strike; change them while the server runs."""

    throttle: int = 0  # answer 429
    retry_after_s: float = 1.0  # with this Retry-After
    unavailable: int = 0  # answer 503
    every: int = 0  # of every N requests, one answers 503 (0: never)
    garbage: int = 0  # answer a web page with status 200
    truncate: int = 0  # send half of the body, then close cleanly
    drip_s: float = 0.0  # send the body in ten pieces over this many seconds
    delay_s: float = 0.0  # wait before answering
    lose_answer: int = 0  # do what an acting request asks, then drop the connection without answering
    deny: bool = False  # answer 401 to everything
    repeat_page: bool = False  # answer the first page for every page
    drop_page: int = 0  # leave this page number out (its rows are never sent)
    hang: bool = False  # accept and never answer
    duplicate_webhooks: bool = False  # deliver each webhook twice
    shuffle_webhooks: bool = False  # deliver waiting webhooks newest first


@dataclass(frozen=True)
class Seen:
    """One request that the server saw; `at` is monotonic seconds."""

    at: float
    method: str
    path: str
    status: int
    acted: bool = False


@dataclass(frozen=True)
class Delivery:
    """One push as the vendor sends it."""

    headers: dict[str, str]
    body: bytes


class Sandbox(ABC):
    """A vendor's server. Subclasses add routes; this class plays the faults around them."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.seen: list[Seen] = []
        self._requests = 0
        self._runner: web.AppRunner | None = None
        self.base_url = ""

    @abstractmethod
    def routes(self, app: web.Application) -> None:
        """Add this vendor's routes to `app`."""

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1 (port 0: any free one); returns and keeps `base_url`, without a trailing slash."""
        app = web.Application(middlewares=[self._around], client_max_size=16 * 2**20)
        self.routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{bound}"
        return self.base_url

    async def stop(self) -> None:
        """Close the server and whatever it still works on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def host_port(self) -> str:
        """As SUPPLYHUB_EGRESS_ALLOW wants it."""
        return self.base_url.partition("://")[2]

    @web.middleware
    async def _around(self, request: web.Request, handler: Next) -> web.StreamResponse:
        response = await self._faulty(request, handler)
        acted = bool(request.get(ACTS, request.method == "POST"))
        self.seen.append(Seen(time.monotonic(), request.method, request.path_qs, response.status, acted))
        if len(self.seen) > 20_000:
            del self.seen[:10_000]
        return response

    async def _faulty(self, request: web.Request, handler: Next) -> web.StreamResponse:
        faults = self.faults
        self._requests += 1
        if faults.hang:
            await asyncio.sleep(3600)
        if faults.delay_s:
            await asyncio.sleep(faults.delay_s)
        if faults.deny:
            return self.denied()
        if faults.throttle > 0:
            faults.throttle -= 1
            wait = f"{faults.retry_after_s:g}"
            return web.json_response({"code": "too_many"}, status=429, headers={"Retry-After": wait})
        if faults.unavailable > 0 or (faults.every and self._requests % faults.every == 0):
            faults.unavailable = max(0, faults.unavailable - 1)
            return web.Response(status=503, text="Service Unavailable")
        if faults.garbage > 0:
            faults.garbage -= 1
            return web.Response(text="<!DOCTYPE html><html><body>Maintenance</body></html>", content_type="text/html")
        response = await handler(request)
        if faults.lose_answer > 0 and request.get(ACTS, request.method == "POST"):
            faults.lose_answer -= 1
            if request.transport is not None:
                request.transport.abort()
            return response
        if faults.truncate > 0 and isinstance(response, web.Response) and isinstance(response.body, bytes):
            faults.truncate -= 1
            cut = web.Response(body=response.body[: len(response.body) // 2], status=response.status)
            cut.headers.update({k: v for k, v in response.headers.items() if k.lower() != "content-length"})
            return cut
        if faults.drip_s and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return await self._drip(request, response)
        return response

    async def _drip(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        body = response.body if isinstance(response.body, bytes) else b""
        slow = web.StreamResponse(status=response.status)
        slow.headers.update({k: v for k, v in response.headers.items() if k.lower() != "content-length"})
        await slow.prepare(request)
        step = max(1, len(body) // 10)
        with contextlib.suppress(ConnectionResetError):
            for start in range(0, len(body), step):
                await slow.write(body[start : start + step])
                await asyncio.sleep(self.faults.drip_s / 10)
            await slow.write_eof()
        return slow

    def denied(self) -> web.Response:
        """The vendor's answer to a wrong credential."""
        return web.json_response({"code": "unauthorized", "message": "no"}, status=401)
