"""Shared by all benchmarks: one result row per figure, a hub of its own per run, a lean load generator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from hub.app.up import Hub, running
from hub.kernel.settings import reset_settings


@dataclass(frozen=True)
class Row:
    """One figure beside its limit. `ratio` = value / limit; `ok` judges against `target`."""

    name: str
    value: float
    unit: str
    limit: float | None
    limit_name: str
    target: float
    ok: bool

    def as_json(self) -> dict[str, Any]:
        ratio = self.value / self.limit if self.limit else None
        return {**asdict(self), "ratio": ratio}


def at_least(name: str, value: float, unit: str, target: float, limit: float | None, limit_name: str) -> Row:
    """A figure that should reach `target`."""
    return Row(name, value, unit, limit, limit_name, target, value >= target)


def at_most(name: str, value: float, unit: str, target: float, limit: float | None, limit_name: str) -> Row:
    """A figure that should not exceed `target`."""
    return Row(name, value, unit, limit, limit_name, target, value <= target)


@contextlib.contextmanager
def own_hub(**environment: str) -> Iterator[Hub]:
    """A whole hub in a folder of its own, with extra environment for all of its processes."""
    saved = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="supplyhub-bench-") as folder:
        os.environ.update(
            {"SUPPLYHUB_DATA_DIR": folder, "SUPPLYHUB_PORT": "0", "SUPPLYHUB_LOG_LEVEL": "WARNING", **environment}
        )
        reset_settings()
        try:
            with running() as hub:
                yield hub
        finally:
            os.environ.clear()
            os.environ.update(saved)
            reset_settings()


class Client(asyncio.Protocol):
    """A keep-alive HTTP/1.1 connection that reads only what it must: status and content length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        at = head.lower().find(b"content-length:")
        stop = head.find(b"\r\n", at)
        length = int(head[at + 15 : stop if stop > 0 else None]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body = self._buffer[end + 4 : end + 4 + length]
        self._buffer = self._buffer[end + 4 + length :]
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error or ConnectionResetError())

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send one prepared request; returns (status, body)."""
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@contextlib.asynccontextmanager
async def clients(base_url: str, count: int) -> AsyncIterator[list[Client]]:
    """`count` open keep-alive connections to `base_url`."""
    parts = urlsplit(base_url)
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(Client, parts.hostname, parts.port))[1] for _ in range(count)]
    try:
        yield opened
    finally:
        for client in opened:
            client.close()


def request(
    method: str, path: str, *, key: str = "", body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(frozen=True)
class Load:
    """What a run of requests did."""

    per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    seconds: float


async def load(base_url: str, make: Callable[[int], bytes], *, total: int, connections: int) -> Load:
    """Send `total` requests over `connections` connections; `make(n)` gives the bytes of the n-th."""
    times: list[float] = []
    statuses: dict[int, int] = {}
    numbers = iter(range(total))

    async def lane(client: Client) -> None:
        for number in numbers:
            started = time.perf_counter()
            status, _body = await client.send(make(number))
            times.append(time.perf_counter() - started)
            statuses[status] = statuses.get(status, 0) + 1

    async with clients(base_url, connections) as opened:
        started = time.perf_counter()
        await asyncio.gather(*(lane(client) for client in opened))
        seconds = time.perf_counter() - started
    cut = statistics.quantiles(times, n=100)
    return Load(total / seconds, cut[49] * 1000, cut[98] * 1000, statuses, seconds)
