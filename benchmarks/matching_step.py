"""The step after ingest, as workers run it: 1,000 listings of fifty vendors, without a GTIN, held against a catalogue
of 200,000 products in PostgreSQL. A third of them are siblings that the catalogue does not have. Two workers take turns
at the queue, each in a process of its own; what they find is compared with what is true."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import catalog.api
import connectors.api
from benchmarks.harness import Row, at_least
from benchmarks.matching import scores
from benchmarks.matching_data import catalogue, listings, things
from catalog import landing, recognising
from catalog.batching import Batch
from catalog.blocking import words
from catalog.contracts import ListingsChanged
from catalog.matching import Offer
from catalog.rarity import rarity
from catalog.store import pairs
from connectors.contracts import ListingIn
from hub.app import runtime
from hub.app.migrate import upgrade
from hub.kernel import db, events
from hub.kernel.settings import reset_settings, settings

PRODUCTS = int(os.environ.get("BENCH_MATCHING_PRODUCTS", "200000"))
ASKED = 1_000
WORKERS = 2
CONFIG = {"file": "none.csv", "map": {"vendor_sku": "sku", "title": "title", "price": "price"}}  # nothing is pulled


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    saved = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="supplyhub-bench-") as folder:
        os.environ |= {"SUPPLYHUB_DATA_DIR": folder, "SUPPLYHUB_LOG_LEVEL": "WARNING"}
        reset_settings()
        try:
            with runtime.servers() as urls:
                await upgrade(urls.database)
                db.connect(urls.database, settings())
                try:
                    return [row.as_json() for row in await _measure(urls.database)]
                finally:
                    await db.disconnect()
        finally:
            os.environ.clear()
            os.environ.update(saved)
            reset_settings()


async def _measure(url: str) -> list[Row]:
    made = things(PRODUCTS + PRODUCTS // 10)
    random.Random(5).shuffle(made)
    known, unknown = made[:PRODUCTS], made[PRODUCTS:]
    await _bring("the catalogue", catalogue(known))
    asked = list(listings(known, unknown, ASKED))
    true = {offer.id: f"p{which}" for offer, which in asked if which is not None}
    by_vendor: dict[str, list[Offer]] = {}
    for offer, _ in asked:
        by_vendor.setdefault(offer.vendor or "", []).append(offer)
    async with db.uow() as tx:
        await tx.run("DELETE FROM outbox")  # the catalogue itself is not what is asked about
        await tx.run("ANALYZE catalog_products")
    for vendor, offers in by_vendor.items():
        await _bring(vendor, offers)
    await events.drain({ListingsChanged: [catalog.api.on_listings_to_match]}, width=1)
    async with db.uow() as tx:
        await pairs.tidy_words(tx)  # as each worker does before it looks
    reached = await _reached(true)
    spent = await asyncio.to_thread(_work, url)
    rows = await db.read(
        """
        SELECT l.vendor_sku AS one, o.vendor_sku AS other FROM catalog_listings l
        JOIN catalog_listings o ON o.product_id = l.product_id AND o.id <> l.id AND o.vendor_sku LIKE 'p%'
        WHERE l.vendor_sku LIKE 'l%'
        """
    )
    precision, recall, f1 = scores({(r["one"], r["other"]) for r in rows}, set(true.items()))
    waiting = await db.read_value("SELECT count(*) FROM catalog_matches WHERE status = 'open'")
    return [
        at_least("new listings held against 200,000 products in the database", ASKED / spent, "offers/s", 300,
                 None, f"{WORKERS} workers"),
        at_least("the right product is among those compared (database)", reached, "%", 90, None, ""),
        at_least("listings put onto a product: precision", precision, "%", 80, None, ""),
        at_least("listings put onto a product: recall", recall, "%", 70, None, f"{waiting} pairs for people"),
        at_least("listings put onto a product: F1", f1, "%", 75, None, ""),
    ]  # fmt: skip


async def _bring(vendor: str, offers: Sequence[Offer]) -> None:
    async with db.uow() as tx:
        vendor_id = await connectors.api.add_vendor(tx, vendor, vendor)
        connection_id = await connectors.api.add_connection(
            tx, vendor_id=vendor_id, connector="table_feed", name="bench", config=CONFIG, secrets={}, role="supply"
        )
        view = await connectors.api.get_connection(tx, connection_id)
        await catalog.api.put_connection(tx, view)
        now = tx.now
    for start in range(0, len(offers), 5_000):
        rows = [
            ListingIn(
                vendor_sku=o.id, title=o.title, title_en=o.other_titles[0] if o.other_titles else None, brand=o.brand,
                model=o.mpn, price=Decimal(10), currency="CNY", on_hand=5,
            )
            for o in offers[start : start + 5_000]
        ]  # fmt: skip
        async with db.uow() as tx:
            await landing.land(tx, view, Batch.pushed(rows, [], now), None)


async def _reached(true: dict[str, str]) -> float:
    """Of the listings that have their product in the catalogue, the share (%) for which it is among those compared.
    What a key has joined already counts neither way."""
    rows = await db.read("SELECT vendor_sku, product_id FROM catalog_listings")
    product = {row["vendor_sku"]: row["product_id"] for row in rows}
    asked = {product[sku]: product[right] for sku, right in true.items() if product[sku] != product[right]}
    rare = await rarity()
    hit = 0
    for start in range(0, len(asked), recognising.BATCH):
        ids = list(asked)[start : start + recognising.BATCH]
        rows = await pairs.products_as_offered(ids)
        wanted = [(r["id"], r["mode"], *word) for r in rows for word in words(r, rare)]
        hit += sum(asked[r["product"]] == r["id"] for r in await pairs.products_by_words(wanted, rare.products))
    return 100 * hit / len(asked)


def _work(url: str) -> float:
    """Seconds that the workers take to empty the queue, from when all have learned how rare words are."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(WORKERS + 1), context.Event()
    workers = [context.Process(target=_worker, args=(url, ready, go)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    ready.wait(120)
    started = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    return time.perf_counter() - started


def _worker(url: str, ready: Any, go: Any) -> None:
    async def work() -> None:
        db.connect(url, settings())
        await recognising._knowledge()
        await asyncio.to_thread(ready.wait)
        await asyncio.to_thread(go.wait)
        while await recognising.match_due():
            pass
        await db.disconnect()

    asyncio.run(work())
