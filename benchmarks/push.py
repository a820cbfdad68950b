"""`bench push`: a vendor's stock updates over HTTP, each answered after its commit, with quotas applied as they are by
default. Three ways: batches of 500, beside bare set-based UPDATEs of 500 with one commit each; one update a request at
16 connections, beside bare one-row UPDATEs with a commit each at the same 16 on the same database in the same run; and
one gzip request of many lines, beside the memory that the web process had before it."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import statistics
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil

import catalog.api
import connectors.api
from benchmarks.harness import Load, at_least, at_most, load, own_hub, request
from benchmarks.shops import SECRETS, product, shop
from hub.kernel import clock, db, keys
from hub.kernel.settings import settings

SKUS = 20_000
BATCH = 500
BATCHES = int(os.environ.get("BENCH_PUSH_BATCHES", "400"))
CONNECTIONS = 4
SINGLES = int(os.environ.get("BENCH_PUSH_SINGLES", "20000"))
SINGLE_CONNECTIONS = 16
LINES = int(os.environ.get("BENCH_PUSH_LINES", "400000"))
PEERS_BEST = 1_640.0


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with shop(SKUS, per_page=1000) as address, own_hub(SUPPLYHUB_EGRESS_ALLOW=urlsplit(address).netloc) as hub:
        db.connect(hub.urls.database, settings())
        async with db.uow() as tx:
            vendor = await connectors.api.add_vendor(tx, "bench", "bench")
            connection = await connectors.api.add_connection(
                tx, vendor_id=vendor, connector="woocommerce", name="bench",
                config={"base_url": address, "per_page": 1000}, secrets=SECRETS, role="supply", sync_every_s=86_400,
            )  # fmt: skip
            key = await keys.create_key(tx, "vendor", vendor, "bench")
        outcome = await catalog.api.sync(connection, kind="full")
        assert outcome.created == SKUS, outcome
        start = clock.now()

        def make(n: int) -> bytes:
            at = (start + timedelta(milliseconds=n)).isoformat()
            first = n * BATCH % SKUS
            updates = [
                {"sku": product((first + k) % SKUS)["sku"], "on_hand": (n + k) % 400 + 1, "reported_at": at}
                for k in range(BATCH)
            ]
            body = json.dumps({"updates": updates}).encode()
            return request("POST", "/v1/vendor/stock", key=key, body=body)

        prepared = [make(n) for n in range(BATCHES)]
        result = await load(hub.base_url, prepared.__getitem__, total=BATCHES, connections=CONNECTIONS)
        assert result.statuses == {200: BATCHES}, result.statuses
        await _verify(start)
        limit = await _bare_updates()
        bare_one, bare_p99 = await _bare_singles()
        one = await _singles(hub.base_url, key, start + timedelta(seconds=60))
        grown, lines_rate = await _one_long_request(hub.base_url, key, start + timedelta(seconds=120))
        await db.disconnect()
    rate = result.per_second * BATCH
    name = f"the same {BATCH}-row batches as bare UPDATEs with a commit each"
    return [
        at_least("push: stock updates applied", rate, "updates/s", 10_000, limit, name).as_json(),
        at_least(
            "push: against the peers' best", rate / PEERS_BEST, "times", 6, PEERS_BEST, "peers' best, updates/s"
        ).as_json()
        | {"ratio": rate / PEERS_BEST},
        at_least(
            "push: one update a request, 16 connections", one.per_second, "updates/s", 1_000, bare_one, SAME
        ).as_json(),
        at_most("push: one update a request, p99", one.p99_ms, "ms", 100, bare_p99, SAME).as_json(),
        at_least(
            f"push: {LINES:,} lines of gzip NDJSON in one request", lines_rate, "updates/s", 10_000, limit, name
        ).as_json(),
        at_most("push: memory that took (web process)", grown, "MiB", 64, None, "target").as_json(),
    ]


SAME = "bare one-row UPDATEs, a commit each, 16 connections"


async def _singles(base_url: str, key: str, start: Any) -> Load:
    """One update a request, SKUs in a scattered order so that neighbours seldom meet."""

    def make(n: int) -> bytes:
        at = (start + timedelta(milliseconds=n)).isoformat()
        update = {"sku": product(n * 7_919 % SKUS)["sku"], "on_hand": n % 399 + 1, "reported_at": at}
        return request("POST", "/v1/vendor/stock", key=key, body=json.dumps({"updates": [update]}).encode())

    prepared = [make(n) for n in range(SINGLES)]
    warm = SINGLES // 10
    await load(base_url, prepared.__getitem__, total=warm, connections=SINGLE_CONNECTIONS)
    measured = await load(base_url, lambda n: prepared[warm + n], total=SINGLES - warm, connections=SINGLE_CONNECTIONS)
    assert measured.statuses == {200: SINGLES - warm}, measured.statuses
    last = {product(n * 7_919 % SKUS)["sku"]: n % 399 + 1 for n in range(SINGLES)}
    await _shown(last)
    return measured


async def _bare_singles() -> tuple[float, float]:
    """One-row UPDATEs a second with a commit each, and their p99 in ms: bare connections, no pool, no ledger."""
    ids = [row["listing_id"] for row in await db.read("SELECT listing_id FROM catalog_stock ORDER BY listing_id")]
    sql = "UPDATE catalog_stock SET on_hand = $2, reported_at = now() WHERE listing_id = $1"
    times: list[float] = []
    numbers = iter(range(SINGLES // 2))

    async def lane(connection: asyncpg.Connection[Any]) -> None:
        for n in numbers:
            started = time.perf_counter()
            await connection.execute(sql, ids[n * 7_919 % len(ids)], n % 300 + 1)
            times.append(time.perf_counter() - started)

    lanes = [await asyncpg.connect(db.database().url) for _ in range(SINGLE_CONNECTIONS)]
    try:
        started = time.perf_counter()
        await asyncio.gather(*(lane(connection) for connection in lanes))
        spent = time.perf_counter() - started
    finally:
        for connection in lanes:
            await connection.close()
    return len(times) / spent, statistics.quantiles(times, n=100)[98] * 1000


async def _one_long_request(base_url: str, key: str, start: Any) -> tuple[float, float]:
    """Sends one body of many lines; how much more memory the web process had meanwhile (MiB), and updates a second."""
    packed = gzip.compress(
        b"".join(
            b'{"sku":"%s","on_hand":%d,"reported_at":"%s"}\n'
            % (
                product(n % SKUS)["sku"].encode(), n % 397 + 1,
                (start + timedelta(milliseconds=n // SKUS)).isoformat().encode(),
            )
            for n in range(LINES)
        ),
        compresslevel=5,
    )  # fmt: skip
    head = (
        f"POST /v1/vendor/stock HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(packed)}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\nAuthorization: Bearer {key}\r\n\r\n"
    )
    web = _web_process(urlsplit(base_url).port)
    before = peak = web.memory_info().rss
    reader, writer = await asyncio.open_connection(urlsplit(base_url).hostname, urlsplit(base_url).port)
    started = time.perf_counter()

    async def send() -> None:
        writer.write(head.encode())
        for at in range(0, len(packed), 65_536):
            writer.write(packed[at : at + 65_536])
            await writer.drain()

    async def receive() -> bytes:
        head = tail = b""
        while not tail.endswith(b"0\r\n\r\n"):
            piece = await reader.read(1 << 18)
            assert piece, "the answer was cut"
            head, tail = head or piece, (tail + piece)[-5:]
        return head

    sending = asyncio.create_task(send())
    receiving = asyncio.create_task(receive())
    while not receiving.done():
        peak = max(peak, web.memory_info().rss)
        await asyncio.wait((receiving,), timeout=0.05)
    await sending
    seconds = time.perf_counter() - started
    writer.close()
    answer = await receiving
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    await _shown({product(n % SKUS)["sku"]: n % 397 + 1 for n in range(max(0, LINES - SKUS), LINES)})
    return (peak - before) / 2**20, LINES / seconds


def _web_process(port: int | None) -> psutil.Process:
    """The child of this process that listens on the port."""
    for child in psutil.Process().children(recursive=True):
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in child.net_connections()):
            return child
    raise RuntimeError(f"no child listens on {port}")


async def _verify(start: Any) -> None:
    """Every SKU shows the newest of its reports: applied, not merely accepted."""
    last = {}
    for n in range(BATCHES):
        for k in range(BATCH):
            last[product((n * BATCH + k) % SKUS)["sku"]] = (n + k) % 400 + 1
    await _shown(last)


async def _shown(last: dict[str, int]) -> None:
    rows = await db.read(
        "SELECT l.vendor_sku, s.on_hand FROM catalog_stock s JOIN catalog_listings l ON l.id = s.listing_id"
    )
    wrong = sum(1 for row in rows if row["vendor_sku"] in last and row["on_hand"] != last[row["vendor_sku"]])
    assert wrong == 0, f"{wrong} SKUs do not show their newest report"


async def _bare_updates() -> float:
    """Updates a second of the narrow rows alone: no ledger, no HTTP, no JSON."""
    ids = [row["listing_id"] for row in await db.read("SELECT listing_id FROM catalog_stock ORDER BY listing_id")]
    sql = (
        "UPDATE catalog_stock s SET on_hand = u.on_hand, reported_at = now() "
        "FROM unnest($1::bigint[], $2::int[]) AS u(listing_id, on_hand) WHERE s.listing_id = u.listing_id"
    )
    rounds = min(BATCHES, 200)
    started = time.perf_counter()

    async def lane(offset: int) -> None:
        for n in range(offset, rounds, CONNECTIONS):
            chunk = [ids[(n * BATCH + k) % len(ids)] for k in range(BATCH)]
            async with db.uow() as tx:
                await tx.run(sql, sorted(chunk), [n % 300 + 1] * BATCH)

    await asyncio.gather(*(lane(offset) for offset in range(CONNECTIONS)))
    return rounds * BATCH / (time.perf_counter() - started)
