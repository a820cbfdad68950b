"""`bench bulkhead`: forty vendors pulled again and again by one hub; then ten of them hang, drip or answer 503, and the
other thirty must not feel it. The limit beside each figure is the same thirty in the same run while all forty were
well. The shops run in a process of their own and change their minds when told on its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg

import connectors.api
from benchmarks.harness import at_most, own_hub
from benchmarks.shops import SECRETS, product
from connectors.sandbox_kit import Faults
from connectors.woocommerce.sandbox import WooSandbox
from hub.kernel import db
from hub.kernel.embedded import die_with_parent
from hub.kernel.settings import settings

VENDORS, ILL, ROWS = 40, 10, 100
EVERY_S = 2  # between two pulls of a vendor
WATCH_S = 45.0  # how long each half is watched
SETTLE_S = 15.0  # the first moments of each half do not count: breakers open, queues empty


async def _street() -> None:
    """Serve the shops; print their addresses; play faults when a line comes."""
    shops = []
    for n in range(VENDORS):
        box = WooSandbox(
            (product(n * ROWS + i) for i in range(ROWS)), consumer_key=SECRETS["consumer_key"],
            consumer_secret=SECRETS["consumer_secret"], webhook_secret=SECRETS["webhook_secret"],
        )  # fmt: skip
        await box.start()
        shops.append(box)
    sys.stdout.write(json.dumps([box.base_url for box in shops]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    for n, box in enumerate(shops[:ILL]):
        box.faults = (Faults(hang=True), Faults(drip_s=600), Faults(every=1))[n % 3]
    await asyncio.to_thread(sys.stdin.readline)


@contextlib.contextmanager
def street() -> Iterator[tuple[list[str], subprocess.Popen[bytes]]]:
    """The shops' addresses, and the process to whom a line says that ten fall ill."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bulkhead"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        yield json.loads(child.stdout.readline()), child
    finally:
        child.kill()
        child.wait()


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with street() as (addresses, child):
        allowed = ",".join(urlsplit(address).netloc for address in addresses)
        with own_hub(SUPPLYHUB_EGRESS_ALLOW=allowed) as hub:
            db.connect(hub.urls.database, settings())
            ids = []
            async with db.uow() as tx:
                for n, address in enumerate(addresses):
                    vendor = await connectors.api.add_vendor(tx, f"店 {n}", f"shop {n}")
                    ids.append(
                        await connectors.api.add_connection(
                            tx, vendor_id=vendor, connector="woocommerce", name="shop", config={"base_url": address},
                            secrets=SECRETS, sync_every_s=EVERY_S,
                        )
                    )  # fmt: skip
            await db.disconnect()
            watcher = await asyncpg.connect(hub.urls.database)
            try:
                well = await _watch(watcher, ids[ILL:])
                assert child.stdin is not None
                child.stdin.write(b"ill\n")
                child.stdin.flush()
                ill = await _watch(watcher, ids[ILL:])
                failed = await watcher.fetchval(
                    "SELECT count(DISTINCT connection_id) FROM sync_runs WHERE status = 'failed'"
                )
            finally:
                await watcher.close()
    assert failed >= ILL - 1, f"only {failed} of the ten vendors failed: the faults did not strike"
    name = "the same thirty while all forty were well"
    return [
        at_most("bulkhead: p99 of a healthy vendor's pull", ill[0], "ms", 1.1 * well[0], well[0], name).as_json(),
        at_most("bulkhead: p99 from one pull to the next", ill[1], "ms", 1.1 * well[1], well[1], name).as_json(),
    ]


async def _watch(watcher: Any, ids: list[int]) -> tuple[float, float]:
    """p99 of how long pulls of these connections took and of the time between two of them, in milliseconds."""
    await asyncio.sleep(SETTLE_S)
    since = await watcher.fetchval("SELECT clock_timestamp()")
    started = time.monotonic()
    await asyncio.sleep(WATCH_S)
    rows = await watcher.fetch(
        "SELECT connection_id, started_at, finished_at FROM sync_runs WHERE connection_id = ANY($1::bigint[]) "
        "AND status = 'done' AND started_at >= $2 ORDER BY connection_id, started_at",
        ids,
        since,
    )
    took = [(row["finished_at"] - row["started_at"]) / timedelta(milliseconds=1) for row in rows]
    gaps = [
        (later["started_at"] - row["started_at"]) / timedelta(milliseconds=1)
        for row, later in itertools.pairwise(rows)
        if row["connection_id"] == later["connection_id"]
    ]
    assert len(gaps) > len(ids), f"only {len(rows)} pulls in {time.monotonic() - started:.0f} s"
    return statistics.quantiles(took, n=100)[98], statistics.quantiles(gaps, n=100)[98]


if __name__ == "__main__":
    asyncio.run(_street())
