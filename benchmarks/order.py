"""`bench order`: orders placed over HTTP at 16 connections (idempotency key, reservation, ledger, purchase orders,
outbox in one commit), then placed at the vendor by the workers. Beside it: bare one-row commits on the same
database in the same run. And the promise that speed must not break: 300 buyers for 100 units, exactly 100 sold."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import catalog.api
import connectors.api
import orders.api
from benchmarks.harness import at_least, at_most, load, own_hub, request
from benchmarks.shops import SECRETS, shop
from hub.app.demo.story import SHIP_TO
from hub.kernel import db, keys, store
from hub.kernel.settings import settings

SKUS = 2_000
ORDERS = int(os.environ.get("BENCH_ORDERS", "3000"))
CONNECTIONS = 16
SCARCE, RIVALS = 100, 300
PEERS_BEST = 10.0


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with shop(SKUS, stock=SCARCE) as address, own_hub(SUPPLYHUB_EGRESS_ALLOW=urlsplit(address).netloc) as hub:
        db.connect(hub.urls.database, settings())
        async with db.uow() as tx:
            vendor = await connectors.api.add_vendor(tx, "bench", "bench")
            connection = await connectors.api.add_connection(
                tx, vendor_id=vendor, connector="woocommerce", name="bench",
                config={"base_url": address}, secrets=SECRETS, role="supply", sync_every_s=86_400,
            )  # fmt: skip
            key = await keys.create_key(tx, "mall", await store.add_mall(tx, "bench"), "bench")
        outcome = await catalog.api.sync(connection, kind="full")
        assert outcome.created == SKUS, outcome
        listings = [row["id"] for row in await db.read("SELECT id FROM catalog_listings ORDER BY id")]
        scarce, ordinary = listings[0], listings[1:]

        limit = await _bare_commits()
        placed = await load(
            hub.base_url,
            lambda n: _order(key, f"B{n}", ordinary[n % len(ordinary)]),
            total=ORDERS,
            connections=CONNECTIONS,
        )
        assert placed.statuses == {201: ORDERS}, placed.statuses
        drained = await _until_accepted(ORDERS)
        rush = await load(hub.base_url, lambda n: _order(key, f"S{n}", scarce), total=RIVALS, connections=CONNECTIONS)
        await _until_accepted(ORDERS + SCARCE)
        sold = rush.statuses.get(201, 0)
        async with db.uow() as tx:
            sound = not await catalog.api.drift(tx) and all((await orders.api.invariants(tx)).values())
        await db.disconnect()
    assert sound, "the ledger or an invariant of orders is broken"
    commits = "bare one-row commits at 16 connections"
    rate = ORDERS / (placed.seconds + drained)
    return [
        at_least("order: placed at the hub", placed.per_second, "orders/s", 200, limit, commits).as_json(),
        at_most("order: p99 of placing", placed.p99_ms, "ms", 1_000, None, "target").as_json(),
        at_least("order: placed and accepted by the vendor", rate, "orders/s", 50, limit, commits).as_json(),
        at_least(
            "order: against the peers' best", placed.per_second / PEERS_BEST, "times", 20, PEERS_BEST, "peers, orders/s"
        ).as_json()
        | {"ratio": placed.per_second / PEERS_BEST},
        at_most("order: oversold of 100 units, 300 rivals", max(0, sold - SCARCE), "units", 0, None, "0").as_json(),
        at_least("order: sold of 100 units, 300 rivals", sold, "units", SCARCE, SCARCE, "units there are").as_json(),
    ]


def _order(key: str, number: str, listing_id: int) -> bytes:
    body = {
        "mall_order_no": number,
        "mode": "place",
        "ship_to": SHIP_TO,
        "lines": [{"listing_id": f"lst_{listing_id}", "qty": 1}],
    }
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return request("POST", "/v1/orders", key=key, body=json.dumps(body).encode(), headers=headers)


async def _until_accepted(count: int) -> float:
    """Seconds until the vendor has accepted `count` purchase orders."""
    started = time.perf_counter()
    while time.perf_counter() - started < 300:
        async with db.uow() as tx:  # as the hub: bare readers see no tenant's rows
            accepted = await tx.fetchval("SELECT count(*) FROM purchase_orders WHERE status = 'accepted'")
        if accepted >= count:
            return time.perf_counter() - started
        await asyncio.sleep(0.05)
    raise AssertionError("the vendor did not accept all orders within 300 s")


async def _bare_commits() -> float:
    """One-row inserts with a commit each, a second."""
    total = 4_000
    async with db.uow() as tx:
        await tx.run("CREATE TABLE bare_commits (id bigint PRIMARY KEY, at timestamptz NOT NULL)")
    numbers = iter(range(total))

    async def lane() -> None:
        for n in numbers:
            async with db.uow() as tx:
                await tx.run("INSERT INTO bare_commits VALUES ($1, now())", n)

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - started
    async with db.uow() as tx:
        await tx.run("DROP TABLE bare_commits")
    return total / seconds
