"""`bench freshness`: how long from a vendor's event until a mall's search shows it, while the hub's own sync worker
pulls 200,000 SKUs of another vendor. Two kinds of event, one after the other as fast as they become visible: a single
stock update by a vendor's key, and a signed webhook of a shop, which goes through the outbox and a worker. The clock
starts before the event is sent and stops with the first search answer that shows it. Only what began and ended while
the pull was under way counts. Beside it, in the same seconds: a bare one-row UPDATE with its commit and a SELECT."""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg

import connectors.api
from benchmarks.harness import Client, Row, at_least, at_most, clients, own_hub, request
from benchmarks.shops import SECRETS, shop
from hub.kernel import db, keys
from hub.kernel.settings import settings

COUNT = int(os.environ.get("BENCH_FRESHNESS_SKUS", "200000"))
SMALL = 200
PATIENCE_S = 60.0
BASES = 50  # SKUs whose stock is reported
LIMIT = "a bare one-row UPDATE, its commit, and a SELECT, meanwhile"


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with shop(SMALL) as near, shop(COUNT) as far:
        allowed = ",".join(urlsplit(address).netloc for address in (near, far))
        with own_hub(SUPPLYHUB_EGRESS_ALLOW=allowed) as hub:
            db.connect(hub.urls.database, settings())
            try:
                return [row.as_json() for row in await _measure(hub.base_url, near, far)]
            finally:
                await db.disconnect()


async def _connection(name: str, address: str) -> tuple[int, int]:
    """A vendor with a shop that the hub will pull by itself, at once; its id and its connection's."""
    async with db.uow() as tx:
        vendor = await connectors.api.add_vendor(tx, name, name)
        connection = await connectors.api.add_connection(
            tx, vendor_id=vendor, connector="woocommerce", name=name, config={"base_url": address, "per_page": 100},
            secrets=SECRETS, role="supply", sync_every_s=86_400,
        )  # fmt: skip
    return vendor, connection


async def _pulled(connection: int) -> Any:
    """The connection's first run, as far as it has come."""
    rows = await db.read("SELECT * FROM sync_runs WHERE connection_id = $1 ORDER BY id LIMIT 1", connection)
    return rows[0] if rows else None


async def _when(connection: int, so: Callable[[Any], bool]) -> None:
    """Wait until the run is as far as that."""
    async with asyncio.timeout(PATIENCE_S):
        run = await _pulled(connection)
        while run is None or not so(run):
            await asyncio.sleep(0.02)
            run = await _pulled(connection)


async def _measure(base_url: str, near: str, far: str) -> list[Row]:
    vendor, small = await _connection("near", near)
    await _when(small, lambda run: run["finished_at"] is not None)
    async with db.uow() as tx:
        mall = await tx.fetchval("INSERT INTO malls (name) VALUES ('bench') RETURNING id")
        reader = await keys.create_key(tx, "mall", mall, "bench")
        pusher = await keys.create_key(tx, "vendor", vendor, "bench")
    async with clients(base_url, 4) as (push, look, hook, look_too):
        event = _Events(reader, pusher, small)
        for n in range(BASES):
            await event.webhook(hook, look_too, n, sku=f"BASE-{n}", title=f"freshbase{n:04d}")
        _, big = await _connection("far", far)
        await _when(big, lambda run: run["seen"] > 0)
        over = asyncio.Event()
        lanes = [
            asyncio.create_task(_repeat(over, lambda n: event.stock(push, look, n))),
            asyncio.create_task(_repeat(over, lambda n: event.webhook(hook, look_too, BASES + n))),
            asyncio.create_task(_bare(over)),
        ]
        while (run := await _pulled(big))["finished_at"] is None:
            await asyncio.sleep(0.1)
            for lane in lanes:
                if lane.done():
                    await lane  # raises what went wrong
        over.set()
        stock, pushed, bare = await asyncio.gather(*lanes)
    assert run["error"] is None and run["seen"] == COUNT, dict(run)
    assert min(len(stock), len(pushed)) >= 20, f"too few: {len(stock)}, {len(pushed)}"
    limit = _p99(bare)
    return [
        at_most("freshness: stock update by key -> searchable, p99", _p99(stock), "ms", 2_000, limit, LIMIT),
        at_most("freshness: signed webhook -> searchable, p99", _p99(pushed), "ms", 2_000, limit, LIMIT),
        at_most("freshness: the slowest of them", max(stock + pushed) * 1000, "ms", 5_000, limit, LIMIT),
        at_least("freshness: events measured meanwhile", len(stock) + len(pushed), "events", 200, None, "target"),
    ]


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1000


async def _repeat(over: asyncio.Event, event: Callable[[int], Awaitable[float]]) -> list[float]:
    """Seconds of each event that ended before the pull did."""
    times: list[float] = []
    for n in itertools.count():
        spent = await event(n)
        if over.is_set():
            return times
        times.append(spent)
        await asyncio.sleep(0.02)
    raise AssertionError("counting never ends")


class _Events:
    """What the vendor does, and how the mall sees it."""

    def __init__(self, reader: str, pusher: str, connection: int) -> None:
        self._reader = reader
        self._pusher = pusher
        self._connection = connection

    async def _until(self, look: Client, word: str, shows: Callable[[dict[str, Any]], bool]) -> None:
        asked = request("GET", f"/v1/products?q={word}", key=self._reader)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status, body = await look.send(asked)
                assert status == 200, body
                if any(shows(item) for item in json.loads(body)["items"]):
                    return
                await asyncio.sleep(0.002)

    async def stock(self, push: Client, look: Client, n: int) -> float:
        """One stock update by the vendor's key, until the search has the figure."""
        base, figure = n % BASES, 1_000 + n
        update = {"sku": f"BASE-{base}", "on_hand": figure, "reported_at": datetime.now(UTC).isoformat()}
        sent = request("POST", "/v1/vendor/stock", key=self._pusher, body=json.dumps({"updates": [update]}).encode())
        started = time.perf_counter()
        status, body = await push.send(sent)
        assert status == 200 and b'"applied"' in body, body
        await self._until(look, f"freshbase{base:04d}", lambda item: item["available"] == figure)
        return time.perf_counter() - started

    async def webhook(self, hook: Client, look: Client, n: int, sku: str = "", title: str = "") -> float:
        """One new product by the shop's own webhook, until the search finds it."""
        word = title or f"freshnews{n:06d}"
        item = {
            "id": 9_000_000 + n, "name": word, "sku": sku or f"NEWS-{n}", "type": "simple", "status": "publish",
            "price": "12.00", "manage_stock": True, "stock_quantity": 7, "stock_status": "instock",
            "date_modified_gmt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        }  # fmt: skip
        body = json.dumps(item).encode()
        mac = base64.b64encode(hmac.digest(SECRETS["webhook_secret"].encode(), body, "sha256")).decode()
        headers = {
            "X-WC-Webhook-Signature": mac, "X-WC-Webhook-Topic": "product.updated", "X-WC-Webhook-ID": "1",
            "X-WC-Webhook-Delivery-ID": f"bench-{n}",
        }  # fmt: skip
        started = time.perf_counter()
        status, answer = await hook.send(request("POST", f"/v1/push/{self._connection}", body=body, headers=headers))
        assert status == 200, answer
        await self._until(look, word, lambda shown: shown["title"] == word)
        return time.perf_counter() - started


async def _bare(over: asyncio.Event) -> list[float]:
    """The same without a hub: one row is updated and committed, another connection reads it."""
    write, read = [await asyncpg.connect(db.database().url) for _ in range(2)]
    times: list[float] = []
    try:
        await write.execute("CREATE TABLE bench_bare (id int PRIMARY KEY, n int); INSERT INTO bench_bare VALUES (1, 0)")
        for n in itertools.count(1):
            started = time.perf_counter()
            await write.execute("UPDATE bench_bare SET n = $1 WHERE id = 1", n)
            while await read.fetchval("SELECT n FROM bench_bare WHERE id = 1") != n:
                pass
            if over.is_set():
                return times
            times.append(time.perf_counter() - started)
            await asyncio.sleep(0.02)
    finally:
        await write.close()
        await read.close()
    raise AssertionError("counting never ends")
