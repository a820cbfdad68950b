"""`bench ingest`: 200,000 SKUs pulled over loopback HTTP from a shop in pages, validated, mapped, stored and
searchable; then the same again unchanged. Beside it: the same rows by plain COPY into the same indexed tables, in
the same run."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import catalog.api
import connectors.api
from benchmarks.harness import at_least, at_most
from benchmarks.shops import SECRETS, shop
from hub.app import runtime
from hub.app.migrate import upgrade
from hub.kernel import db
from hub.kernel.settings import reset_settings, settings

COUNT = int(os.environ.get("BENCH_INGEST_SKUS", "200000"))
PER_PAGE = 100  # what WooCommerce itself allows


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    saved = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="supplyhub-bench-") as folder, shop(COUNT, per_page=PER_PAGE) as address:
        os.environ["SUPPLYHUB_DATA_DIR"] = folder
        os.environ["SUPPLYHUB_EGRESS_ALLOW"] = urlsplit(address).netloc
        reset_settings()
        try:
            with runtime.servers() as urls:
                return await _measure(urls, address, Path(folder))
        finally:
            os.environ.clear()
            os.environ.update(saved)
            reset_settings()


async def _measure(urls: runtime.Urls, address: str, folder: Path) -> list[dict[str, Any]]:
    await upgrade(urls.database)
    db.connect(urls.database, settings())
    async with db.uow() as tx:
        vendor = await connectors.api.add_vendor(tx, "bench", "bench")
        connection = await connectors.api.add_connection(
            tx, vendor_id=vendor, connector="woocommerce", name="bench",
            config={"base_url": address, "per_page": PER_PAGE}, secrets=SECRETS, role="supply",
        )  # fmt: skip
    first = await asyncio.to_thread(_pull_in_own_process, connection, folder)
    assert first["created"] == COUNT, first
    found = await db.read_value("SELECT count(*) FROM catalog_products WHERE search @@ '口罩'::tsquery")
    assert found >= COUNT // 10, f"only {found} products are searchable"
    again = await asyncio.to_thread(_pull_in_own_process, connection, folder)
    assert again["unchanged"] == COUNT, again
    limit = await _copy_limit()
    await db.disconnect()
    name = f"plain COPY of the same rows into the same indexed tables ({COUNT:,})"
    return [
        at_least("ingest: new SKUs", COUNT / first["seconds"], "SKU/s", 15_000, limit, name).as_json(),
        at_least("ingest: unchanged SKUs", COUNT / again["seconds"], "SKU/s", 30_000, limit, name).as_json(),
        at_most("ingest: RSS of the pulling process", first["rss_mb"], "MiB", 300, None, "target").as_json(),
    ]


def _pull_in_own_process(connection: int, folder: Path) -> dict[str, Any]:
    """One full pull in a process like the sync worker's, so that its memory is its own."""
    told = folder / "outcome.json"
    subprocess.run([sys.executable, "-m", "benchmarks.ingest", str(connection), str(told)], check=True)
    outcome: dict[str, Any] = json.loads(told.read_text())
    return outcome


async def _pull(connection: int) -> dict[str, Any]:
    runtime.calm_collector()  # as every worker does
    db.connect(runtime.urls().database, settings())
    outcome = await catalog.api.sync(connection, kind="full")
    await db.disconnect()
    if outcome.error:
        raise SystemExit(outcome.error)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**outcome.model_dump(mode="json"), "rss_mb": rss}


async def _copy_limit() -> float:
    """SKUs a second when the rows of all four tables are copied into empty twins with the same indexes."""
    tables = ("catalog_products", "catalog_listings", "catalog_stock", "catalog_movements")
    spent = 0.0
    async with db.uow() as tx:
        raw = tx.raw
        for table in tables:
            with tempfile.NamedTemporaryFile() as rows:
                await raw.execute(f"CREATE TABLE twin_{table} (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)")
                await raw.copy_from_query(f"SELECT * FROM {table}", output=rows.name, format="binary")
                started = time.perf_counter()
                await raw.copy_to_table(f"twin_{table}", source=rows.name, format="binary")
                spent += time.perf_counter() - started
    started = time.perf_counter()  # the commit above is part of it; its own cost is this empty one's
    async with db.uow() as tx:
        await tx.run("SELECT 1")
    return COUNT / (spent + time.perf_counter() - started)


if __name__ == "__main__":
    import uvloop

    Path(sys.argv[2]).write_text(json.dumps(uvloop.run(_pull(int(sys.argv[1])))))
