"""`bench pulls`: how fast each family's client and mapping turn a vendor's answers into listings, when the vendor
answers at once. The limit beside each figure is the bare minimum for the same bytes in the same run: fetch the same
requests with aiohttp and parse the JSON with orjson (tables: read the cells with csv; EDI: split the segments).

Answers come from a tape: a stand-in vendor of the size asked for, in a process of its own, answers a first pull for
real and keeps every answer; later pulls get the kept bytes, so that the stand-in's own work is not measured. The rate
and the quota of the manifest are lifted: a real vendor grants a small part of these figures.

The target is that of ingest (benchmarks.ingest): a connector that reaches it never holds the catalogue back. A system
that must be asked once per SKU or nearly so (JD) cannot reach it even bare; there, half of the bare speed counts.
`python -m benchmarks.pulls FAMILY` prints where the time of one pull goes."""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import csv
import io
import pstats
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import orjson
from aiohttp import web

from benchmarks.harness import at_least
from benchmarks.pull_vendors import FAMILIES, MAILBOXES, ROWS, adapter_for, mailbox
from connectors import guards
from connectors.base import Adapter
from connectors.kit_stage import reachable
from connectors.protocol import PullsListings, PullsStock
from connectors.sandbox_kit import Sandbox
from hub.kernel.embedded import die_with_parent

TARGET = 15_000  # records a second, as for ingest
ROUNDS = 3  # of each, in turns; the best counts
VOLATILE = {"timestamp", "sign", "sig", "nonce", "ticket", "oauth_nonce", "oauth_timestamp", "oauth_signature", "start"}


class Tape:
    """A middleware that keeps the vendor's answers and gives them again."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str, str, str]] = []  # method, path and query, content type, body
        self.playing = False

    @web.middleware
    async def around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.read()
        if request.path == "/_tape":
            return await self.script(request)
        key = f"{request.method} {request.path} {_lasting(request.query_string)} {_lasting(body.decode())}"
        if not self.playing:
            self.asked.append((request.method, request.path_qs, request.content_type, body.decode()))
            response = await handler(request)
            assert isinstance(response, web.Response) and isinstance(response.body, bytes)
            kept = {n: v for n, v in response.headers.items() if n.lower() in ("link", "x-wp-total", "x-wp-totalpages")}
            self.answers[key] = (response.status, response.content_type, kept, response.body)
            return response
        status, kind, headers, answer = self.answers[key]
        return web.Response(status=status, content_type=kind, headers=headers, body=answer)

    async def script(self, _request: web.Request) -> web.StreamResponse:
        """What was asked for; from now on the kept answers are given."""
        self.playing = True
        return web.json_response(self.asked)


def _lasting(text: str) -> str:
    """A query or a form without what differs from call to call; JSON as it is."""
    if text.startswith(("{", "[")):
        return text
    return urlencode(sorted((name, value) for name, value in parse_qsl(text) if name not in VOLATILE))


async def _serve(family: str, rows: int) -> None:
    tape, box = Tape(), FAMILIES[family](rows)
    plain = box.routes

    def routes(app: web.Application) -> None:
        app.middlewares.insert(0, tape.around)
        app.router.add_get("/_tape", tape.script)
        plain(app)

    box.routes = routes  # type: ignore[method-assign]
    await box.start()
    sys.stdout.write(box.base_url + "\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await box.stop()


@contextlib.contextmanager
def vendor(family: str, rows: int) -> Iterator[Sandbox]:
    """A running vendor of this family: its stand-in, told the address of the process that plays it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pulls", "--serve", family, str(rows)],
        stdout=subprocess.PIPE, preexec_fn=die_with_parent,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        box = FAMILIES[family](0)
        box.base_url = child.stdout.readline().decode().strip()
        with reachable(box):
            yield box
    finally:
        child.terminate()
        child.wait(20)


async def pulled(adapter: Adapter) -> int:
    """Pull everything once; how many listings, slots and stock figures came."""
    assert isinstance(adapter, PullsListings)
    count = refused = 0
    async for page in adapter.pull(None):
        count += len(page.listings) + len(page.slots) + len(page.unchanged)
        refused += len(page.bad)
    if isinstance(adapter, PullsStock):
        async for page in adapter.pull_stock(None):
            count += len(page.unchanged)
            refused += len(page.bad)
    assert not refused, f"{refused} rows were refused"
    return count


async def bare(base_url: str, asked: list[list[str]]) -> int:
    """The same requests, fetched and parsed; bytes that came."""
    size = 0
    async with aiohttp.ClientSession() as http:
        for method, path, kind, body in asked:
            headers = {"Content-Type": kind} if body else {}
            async with http.request(method, base_url + path, data=body.encode() or None, headers=headers) as response:
                answer = await response.read()
                size += len(answer)
                if response.content_type in ("text/csv", "text/tab-separated-values"):
                    for _ in csv.reader(io.StringIO(answer.decode())):
                        pass
                elif answer[:1] in (b"{", b"["):
                    for line in answer.splitlines() if b"}\n{" in answer else (answer,):
                        orjson.loads(line)
    return size


async def measure(family: str, rows: int = ROWS) -> dict[str, Any]:
    """One row: records a second beside those of the bare loop."""
    with vendor(family, rows) as box:
        async with _adapter(family, box) as adapter:
            await pulled(adapter)
        async with aiohttp.ClientSession() as http, http.get(box.base_url + "/_tape") as response:
            asked = orjson.loads(await response.read())
        best = bottom = float("inf")
        count = 0
        for _ in range(ROUNDS):
            async with _adapter(family, box) as adapter:
                started = time.perf_counter()
                count = await pulled(adapter)
                best = min(best, time.perf_counter() - started)
            started = time.perf_counter()
            await bare(box.base_url, asked)
            bottom = min(bottom, time.perf_counter() - started)
    target, limit = min(TARGET, 0.5 * count / bottom), count / bottom
    name = "fetch and parse the same bytes"
    return at_least(f"pulls: {family}", count / best, "records/s", target, limit, name).as_json()


async def measure_mailbox(family: str, rows: int = ROWS) -> dict[str, Any]:
    """One row for a family that speaks in files: a catalogue and an inventory read from a directory, beside reading
    the same files and splitting them into segments and elements."""
    best = bottom = float("inf")
    count = 0
    for _ in range(ROUNDS):
        with mailbox(family, rows) as (adapter, files):
            started = time.perf_counter()
            for file in files:
                split = [
                    segment.split(b"*") for segment in file.read_bytes().split(b"~" if family == "x12_edi" else b"'")
                ]
                assert len(split) > rows
            bottom = min(bottom, time.perf_counter() - started)
            started = time.perf_counter()
            count = await pulled(adapter)
            best = min(best, time.perf_counter() - started)
            await adapter.aclose()
            guards.forget()
    name = "read and split the same files"
    return at_least(f"pulls: {family}", count / best, "records/s", TARGET, count / bottom, name).as_json()


@contextlib.asynccontextmanager
async def _adapter(family: str, box: Sandbox) -> AsyncIterator[Adapter]:
    adapter = adapter_for(family, box)
    try:
        yield adapter
    finally:
        await adapter.aclose()
        guards.forget()


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    return [
        *[await measure(family) for family in FAMILIES],
        *[await measure_mailbox(family) for family in MAILBOXES],
    ]


async def profile(family: str) -> None:
    """Print where the time of one pull goes."""
    with vendor(family, ROWS) as box:
        async with _adapter(family, box) as adapter:
            await pulled(adapter)
        async with aiohttp.ClientSession() as http, http.get(box.base_url + "/_tape") as response:
            await response.read()
        async with _adapter(family, box) as adapter:
            profiler = cProfile.Profile()
            profiler.enable()
            await pulled(adapter)
            profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    import uvloop

    if sys.argv[1] == "--serve":
        uvloop.run(_serve(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(profile(sys.argv[1]))
