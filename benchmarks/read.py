"""`bench read`: a product by id and a search page of 20, Chinese and English, over 200,000 listed products at 16
keep-alive connections. The hub runs as in production, in processes of its own; the limit beside it is a bare aiohttp
handler on the same loop implementation, in a process of its own, which returns the very bytes of the hub's answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import quote

import asyncpg

from benchmarks import read_data
from benchmarks.harness import Load, at_least, at_most, clients, load, own_hub, request
from hub.kernel import db, keys
from hub.kernel.settings import settings

PRODUCTS = 200_000
CONNECTIONS = 16
ZH = (
    "口罩",
    "无线耳机",
    "布洛芬",
    "酸奶 无糖",
    "儿童牙膏",
    "电饭煲",
    "医用口罩 50",
    "智能血压计",
    "月饼礼盒",
    "洗牙",
    "可孚口罩",
    "保温杯",
)
EN = (
    "face mask", "wireless headphones", "ibuprofen", "organic rice", "yoga mat", "running shoes", "cinema ticket",
    "coffee", "slim keyboard", "portable treadmill", "green tea gift", "imported milk",
)  # fmt: skip


@contextlib.contextmanager
def _bare(body: bytes) -> Iterator[str]:
    """A bare aiohttp handler that answers `body`; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = Popen([sys.executable, "-m", "benchmarks.bare", str(port)], stdin=PIPE, cwd=Path(__file__).parents[1])
    try:
        assert child.stdin is not None
        child.stdin.write(body)
        child.stdin.close()
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait()


async def _answers(base_url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            async with clients(base_url, 1):
                return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"nothing answers at {base_url}")


async def _steady(base_url: str, make: Callable[[int], bytes], total: int) -> Load:
    """The load after a warm-up of a tenth of it; every answer must be a 200."""
    await load(base_url, make, total=max(CONNECTIONS, total // 10), connections=CONNECTIONS)
    measured = await load(base_url, make, total=total, connections=CONNECTIONS)
    if set(measured.statuses) != {200}:
        raise RuntimeError(f"not every answer was 200: {measured.statuses}")
    return measured


async def _body(base_url: str, asked: bytes) -> bytes:
    async with clients(base_url, 1) as (client,):
        return (await client.send(asked))[1]


async def measure(base_url: str, key: str) -> list[dict[str, Any]]:
    """The figures of a hub that already holds the products."""
    rng = random.Random(7)
    by_id = [request("GET", f"/v1/products/prd_{rng.randint(1, PRODUCTS)}", key=key) for _ in range(20_000)]

    def search(words: tuple[str, ...], more: str = "") -> list[bytes]:
        return [request("GET", f"/v1/products?q={quote(word)}{more}", key=key) for word in words]

    bare_request = request("GET", "/bare", key=key)
    searches = search(ZH + EN)
    with _bare(await _body(base_url, by_id[0])) as bare:
        await _answers(bare)
        limit = await _steady(bare, lambda _n: bare_request, 20_000)
        one = await _steady(base_url, lambda n: by_id[n], len(by_id))
    with _bare(await _body(base_url, searches[0])) as bare:
        await _answers(bare)
        page_limit = await _steady(bare, lambda _n: bare_request, 10_000)
    mixed = await _steady(base_url, lambda n: searches[n % len(searches)], 6_000)
    zh, en = search(ZH), search(EN)
    chinese = await _steady(base_url, lambda n: zh[n % len(zh)], 2_000)
    english = await _steady(base_url, lambda n: en[n % len(en)], 2_000)
    faceted = search(ZH + EN, "&facets=1")
    facets = await _steady(base_url, lambda n: faceted[n % len(faceted)], 600)
    same = "bare aiohttp handler, same bytes"
    by_id_target = 0.4 * limit.per_second
    return [
        row.as_json()
        for row in (
            at_least("product by id", one.per_second, "requests/s", by_id_target, limit.per_second, same),
            at_most("product by id, p99", one.p99_ms, "ms", 100, limit.p99_ms, same),
            at_least("search page of 20", mixed.per_second, "requests/s", 500, page_limit.per_second, same),
            at_most("search page of 20, p99", mixed.p99_ms, "ms", 100, page_limit.p99_ms, same),
            at_least("search page of 20, Chinese", chinese.per_second, "requests/s", 500, page_limit.per_second, same),
            at_least("search page of 20, English", english.per_second, "requests/s", 500, page_limit.per_second, same),
            at_most("search page with facets, p99", facets.p99_ms, "ms", 300, page_limit.p99_ms, same),
        )
    ]


async def run() -> list[dict[str, Any]]:
    """Start a hub, fill it, measure it."""
    with own_hub() as hub:
        conn = await asyncpg.connect(hub.urls.database)
        try:
            await read_data.load(conn, PRODUCTS)
        finally:
            await conn.close()
        db.connect(hub.urls.database, settings())
        try:
            async with db.uow() as tx:
                mall = await tx.fetchval("INSERT INTO malls (name) VALUES ('bench') RETURNING id")
                key = await keys.create_key(tx, "mall", mall, "bench")
        finally:
            await db.disconnect()
        return await measure(hub.base_url, key)
