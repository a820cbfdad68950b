"""`bench parity`: 1,000,000 offers judged for the first time, all judged again when nothing, a hundredth or everything
was observed anew, and one vendor's price changes from the request to the verdict, with those million rows beside them.
Limits in the same run: the bare join that any judgement needs, the bare UPDATE of every row, and the same change of a
price without anything to compare it with."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import aiohttp

import connectors.api
import pricing.api
from benchmarks.harness import Row, at_most, own_hub
from hub.kernel import clock, db, keys
from hub.kernel.settings import settings
from pricing.contracts import Evidence, ReferenceIn

OFFERS = int(os.environ.get("BENCH_PARITY_OFFERS", "1000000"))
CHANGES = 300
FIRST = 10_000_000  # products of the seed, out of the way of the vendor's

_SEED = """
INSERT INTO pricing_references (product_id, price, shipping, coupon, currency, pack, units, unit, understood, condition,
  source, url, sha256, captured_at, region, parser, recorded_at, digest)
SELECT $1 + n, 10 + n % 9000, 0, 0, 'CNY', '500ml*12瓶', 6000, 'ml', true, 'ordinary', 'shop', '', repeat('a', 64),
  $2::timestamptz - interval '1 hour', 'CN', 'bench', $2, decode(md5(n::text), 'hex')
FROM generate_series(1, $3::int) n
"""
# Offers of 24 bottles against references of 12: one in fifty a little dearer than allowed, one in a thousand grossly.
_OFFERS = """
INSERT INTO pricing_verdicts (listing_id, product_id, verdict, reason, at, price, currency, shipping, coupon, pack,
  units, unit, understood)
SELECT $1 + n, $1 + n, 'unknown', 'no_reference', $2::timestamptz,
  2 * (10 + n % 9000) * (CASE WHEN n % 1000 = 0 THEN 1.5 WHEN n % 50 = 0 THEN 1.0501 ELSE 1.05 END), 'CNY', 0, 0,
  '500ml*24瓶', 12000, 'ml', true FROM generate_series(1, $3::int) n
"""
_ANEW = """
INSERT INTO pricing_references (product_id, price, shipping, coupon, currency, pack, units, unit, understood, condition,
  source, url, sha256, captured_at, region, parser, recorded_at, digest)
SELECT product_id, price, 0, 0, currency, pack, units, unit, true, 'ordinary', source, url, sha256, $1::timestamptz,
  region, parser, $1, digest || '\\x01' FROM pricing_references WHERE parser = 'bench' AND product_id % $2::int = 0
ON CONFLICT DO NOTHING
"""
_JOIN = """
SELECT count(*) FROM pricing_verdicts v JOIN pricing_references r USING (product_id)
WHERE v.price * r.units * 100 > r.price * v.units * 105
"""


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    with own_hub() as hub:
        db.connect(hub.urls.database, settings())
        rows = await _everything()
        rows += await _one(hub.base_url)
        await db.disconnect()
    return [row.as_json() for row in rows]


async def _sql(statement: str, *args: Any) -> float:
    """Seconds that one statement took, committed."""
    started = time.perf_counter()
    async with db.uow() as tx:
        await tx.run("SET LOCAL statement_timeout = 0")
        await tx.run(statement, *args)
    return time.perf_counter() - started


async def _recheck() -> tuple[float, int]:
    """Seconds that judging everything again took, and how many rows it wrote."""
    async with db.uow() as tx:
        await pricing.api.ask_recheck(tx, "bench", "bench")
    started = time.perf_counter()
    moved = await pricing.api.recheck()
    while await db.read_value("SELECT count(*) FROM pricing_rechecks WHERE done_at IS NULL"):
        moved += await pricing.api.recheck()  # the hub's own worker took it first
    return time.perf_counter() - started, moved


async def _everything() -> list[Row]:
    now = clock.now()
    await _sql(_SEED, FIRST, now, OFFERS)
    await _sql(_OFFERS, FIRST, now, OFFERS)
    await _sql("ANALYZE pricing_references, pricing_verdicts")
    first, _ = await _recheck()
    assert await _breaches() == OFFERS // 50, await _breaches()  # every thousandth is a fiftieth too
    assert await db.read_value("SELECT count(*) FROM pricing_cases") == OFFERS // 1000
    same, none = await _recheck()
    assert none == 0, none
    join = min([await _sql(_JOIN) for _ in range(2)])
    await _sql(_ANEW, clock.now(), 100)
    few, _ = await _recheck()
    await _sql(_ANEW, clock.now(), 1)
    everything, _ = await _recheck()
    bare = await _sql("UPDATE pricing_verdicts SET at = $1, observed_at = $1", clock.now())
    name, write = "the bare join of offers and references", "a bare UPDATE of every verdict row"
    of = f"{OFFERS:,} offers"
    return [
        at_most(f"parity: {of} judged for the first time", first, "s", 60, bare, write),
        at_most(f"parity: {of} judged again, nothing new", same, "s", 20, join, name),
        at_most(f"parity: {of} judged again, 1 % observed anew", few, "s", 20, join, name),
        at_most(f"parity: {of} judged again, all observed anew", everything, "s", 60, bare, write),
    ]


async def _breaches() -> int:
    return int(await db.read_value("SELECT count(*) FROM pricing_verdicts WHERE verdict = 'breach'"))


async def _one(base_url: str) -> list[Row]:
    async with db.uow() as tx:
        vendor = await connectors.api.add_vendor(tx, "bench", "bench")
        key = await keys.create_key(tx, "vendor", vendor, "bench")

    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(base_url, headers=headers, timeout=aiohttp.ClientTimeout(10)) as client:

        async def send(sku: str, price: Decimal) -> None:
            listing = {"sku": sku, "title": f"基准商品 {sku} 500ml*12瓶", "price": str(price), "on_hand": 5}
            async with client.post("/v1/vendor/listings", json={"listings": [listing]}) as answer:
                body = await answer.json()
                assert answer.status == 200 and body["results"][0]["result"] == "applied", (answer.status, body)

        for sku in ("seen", "alone"):
            await send(sku, Decimal(100))
        product = await db.read_value("SELECT product_id FROM catalog_listings WHERE vendor_sku = 'seen'")
        evidence = Evidence(source="shop", sha256="0" * 64, captured_at=clock.now() - timedelta(minutes=1))
        async with db.uow() as tx:
            await pricing.api.record_references(
                tx, [ReferenceIn(product_id=product, price=Decimal(100), pack="500ml*12瓶", evidence=evidence)]
            )
        verdict = (
            "SELECT v.price, v.verdict FROM pricing_verdicts v JOIN catalog_listings l ON l.id = v.listing_id "
            "WHERE l.vendor_sku = 'seen'"
        )

        async def judged(price: Decimal) -> None:
            expected = (price, "breach" if price > 105 else "pass")
            until = time.perf_counter() + 10
            while (found := tuple((await db.read(verdict))[0])) != expected:
                assert time.perf_counter() < until, (found, expected)

        async def nothing(_price: Decimal) -> None:
            return None

        async def timed(sku: str, seen: Callable[[Decimal], Awaitable[None]]) -> float:
            spent = []
            for n in range(CHANGES):
                price = Decimal(100 + n % 2 * 6) + Decimal(n + 1) / 1000
                started = time.perf_counter()
                await send(sku, price)
                await seen(price)
                spent.append(time.perf_counter() - started)
            return statistics.quantiles(spent, n=100)[98] * 1000

        until = time.perf_counter() + 10
        while not await db.read(verdict):  # the reference's own event makes the first verdict
            assert time.perf_counter() < until
        p99, limit = await timed("seen", judged), await timed("alone", nothing)
    name = "the same request for a listing with nothing to be compared with, p99"
    return [at_most("parity: a price sent until its verdict can be read, p99", p99, "ms", 1_000, limit, name)]
