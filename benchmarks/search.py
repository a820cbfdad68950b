"""`bench search`: page one with facets over 1,000,000 listed products (1.3 offers each) at 16 connections, every query
another one, in a mix as shoppers type (search_data.py). The limit beside it is PostgreSQL alone: the same words,
sorted, 20 ids and nothing else (no facets, no offers, no stock), over as many connections. The processor time of each
process says what bounds it: web, PostgreSQL and this client share two cores."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import asyncpg
import psutil

from benchmarks import read_data, search_data
from benchmarks.harness import Load, at_least, at_most, load, own_hub, request
from benchmarks.read import CONNECTIONS
from catalog import wording
from catalog.segment import query_tokens, terms, tsquery
from hub.app.up import Hub
from hub.kernel import db, keys
from hub.kernel.settings import settings

PRODUCTS = 1_000_000
PAGES = 4_000
CORES = 2  # that web, PostgreSQL and client share where 300 pages a second are asked for
BARE = 400  # the bare query is many times slower
_BARE = """
SELECT id FROM catalog_products WHERE listed AND ($1::text IS NULL OR search @@ $1::text::tsquery)
  AND ($2::text IS NULL OR category = $2) AND ($3::numeric IS NULL OR price <= $3)
ORDER BY sellable DESC, popularity DESC, id DESC LIMIT 20
"""


async def _bare(url: str, asked: list[str]) -> tuple[float, float]:
    """Queries a second and p99 in milliseconds of PostgreSQL alone."""
    times: list[float] = []
    queue = iter(asked)

    async def lane() -> None:
        conn = await asyncpg.connect(url)
        try:
            for text in queue:
                given = parse_qs(text)
                words = tsquery(terms(query_tokens(given.get("q", [""])[0]))) or None
                limit = given.get("price_max", [None])[0]
                began = time.perf_counter()
                await conn.fetch(_BARE, words, given.get("category", [None])[0], limit and float(limit))
                times.append(time.perf_counter() - began)
        finally:
            await conn.close()

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
    return len(times) / (time.perf_counter() - began), sorted(times)[int(len(times) * 0.99)] * 1000


class _Spent:
    """Processor time of web, PostgreSQL and this process since it was made, in seconds."""

    def __init__(self, hub: Hub) -> None:
        self._groups = {
            "web": [psutil.Process(hub.pid_of("web"))],
            "postgres": psutil.Process(_postmaster()).children(),
            "client": [psutil.Process()],
        }
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found = dict.fromkeys(self._groups, 0.0)
        for name, processes in self._groups.items():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    found[name] += sum(process.cpu_times()[:2])
        return found

    def since(self) -> dict[str, float]:
        now = self._now()
        return {name: now[name] - before for name, before in self._before.items()}


def _postmaster() -> int:
    pid_file = settings().data_dir / "postgres" / "postmaster.pid"
    return int(Path(pid_file).read_text().splitlines()[0])


async def _measured(base_url: str, key: str, paths: list[str]) -> Load:
    asked = [request("GET", path, key=key) for path in paths]
    done = await load(base_url, lambda n: asked[n], total=len(asked), connections=CONNECTIONS)
    if set(done.statuses) != {200}:
        raise RuntimeError(f"not every answer was 200: {done.statuses}")
    return done


async def measure(hub: Hub, key: str) -> list[dict[str, Any]]:
    """The figures of a hub that already holds the products and knows their words."""

    async def pages(queries: list[str], more: str = "&facets=1") -> Load:
        return await _measured(hub.base_url, key, [f"/v1/products?{query}{more}" for query in queries])

    await pages(search_data.distinct(PAGES // 4, seed=1))  # connections, statements, buffers, the sample
    spent = _Spent(hub)
    fresh = await pages(search_data.distinct(PAGES, seed=2))
    took = spent.since()
    plain = await pages(search_data.distinct(PAGES, seed=3), more="")
    often = await pages(search_data.repeated(PAGES, seed=4))
    typos = await pages(search_data.mistyped(PAGES // 10, seed=5))
    prefixes = [f"/v1/products/suggest?q={text}" for text in ("m", "he", "kou", "wirel", "%E5%8F%A3", "premium%20t")]
    suggested = await _measured(hub.base_url, key, prefixes * (PAGES // 16))
    bare, bare_p99 = await _bare(hub.urls.database, search_data.distinct(BARE, seed=2))
    alone = "PostgreSQL alone: the same words sorted, 20 ids"
    whole = sum(took.values()) / PAGES * 1000
    share = "processor time of the whole page, ms"
    return [
        row.as_json()
        for row in (
            at_least("page one with facets, each query another", fresh.per_second, "requests/s", 300, bare, alone),
            at_most("page one with facets, p99", fresh.p99_ms, "ms", 100, bare_p99, alone),
            at_least("the same without facets", plain.per_second, "requests/s", 300, bare, alone),
            at_least("with facets, queries that repeat", often.per_second, "requests/s", 300, bare, alone),
            at_most("a mistyped query, p99", typos.p99_ms, "ms", 100, bare_p99, alone),
            at_most("suggestions, p99", suggested.p99_ms, "ms", 50, None, ""),
            at_most("processor time of a page, all processes", whole, "ms", 1000 * CORES / 300, None, ""),
            at_most("PostgreSQL's part of a page", took["postgres"] / PAGES * 1000, "ms", 5.0, whole, share),
            at_most("the web process's part", took["web"] / PAGES * 1000, "ms", 2.0, whole, share),
        )
    ]


async def run() -> list[dict[str, Any]]:
    """Start a hub, fill it, count its words, measure it."""
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
            await wording.count_words()
        finally:
            await db.disconnect()
        return await measure(hub, key)
