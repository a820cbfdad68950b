"""`bench push`: a vendor's stock updates over HTTP in batches of 500, each batch committed before it is answered.
Beside it: the same rows written by bare set-based UPDATEs of 500, one commit each, on the same database in the same
run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import catalog.api
import connectors.api
from benchmarks.harness import at_least, load, own_hub, request
from benchmarks.shops import SECRETS, product, shop
from hub.kernel import clock, db, keys
from hub.kernel.settings import settings

SKUS = 20_000
BATCH = 500
BATCHES = int(os.environ.get("BENCH_PUSH_BATCHES", "400"))
CONNECTIONS = 4
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
        await db.disconnect()
    rate = result.per_second * BATCH
    name = f"the same {BATCH}-row batches as bare UPDATEs with a commit each"
    return [
        at_least("push: stock updates applied", rate, "updates/s", 10_000, limit, name).as_json(),
        at_least(
            "push: against the peers' best", rate / PEERS_BEST, "times", 6, PEERS_BEST, "peers' best, updates/s"
        ).as_json()
        | {"ratio": rate / PEERS_BEST},
    ]


async def _verify(start: Any) -> None:
    """Every SKU shows the newest of its reports: applied, not merely accepted."""
    last = {}
    for n in range(BATCHES):
        for k in range(BATCH):
            last[product((n * BATCH + k) % SKUS)["sku"]] = (n + k) % 400 + 1
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
