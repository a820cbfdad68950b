"""Contended reservation: eight processes, each with a connection of its own, reserve, cancel, expire, accept and report
stock of the same 50 SKUs, two lines of one order on the same SKU among them. No reservation may ever take more than
was on hand at that moment (a vendor's report may fall below what is reserved; that is legal), and the counters stay
the sums of ledger and holds. The control removes the guard: the lock of the shelf and the condition of the update."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from catalog import api
from hub.kernel import db
from tests.catalog.kit import stocked
from tests.chaos import ground, progress
from tests.chaos.reserve_worker import Job, Tally, begin, work

FULL, SMALL = 20_000, 1_500
PROCESSES = 8
SKUS = 50
ON_HAND = 12


async def run(n: int) -> dict[str, int]:
    """`n` operations with the guard, then a tenth of that without it."""
    context = multiprocessing.get_context("forkserver")  # forks from a process that has only read the modules
    context.set_forkserver_preload(["tests.chaos.reserve_worker"])
    barrier, done = context.Barrier(PROCESSES), context.Value("q", 0)
    with ProcessPoolExecutor(PROCESSES, context, begin, (barrier, done)) as pool:
        guarded, oversold, broken = await _phase(pool, done, n, guarded=True)
        _, control, _ = await _phase(pool, done, max(600, n // 10), guarded=False)
    return {
        "n": n,
        "violations": oversold + broken,
        "control_violations": control,
        "granted": sum(t.granted for t in guarded),
        "refused": sum(t.refused for t in guarded),
        "retries": sum(t.retries for t in guarded),
        "longest_wait_ms": round(1000 * max(t.longest_wait_s for t in guarded)),
    }


async def _phase(pool: ProcessPoolExecutor, done: Any, n: int, *, guarded: bool) -> tuple[list[Tally], int, int]:
    """The tallies of one run on an empty database, its oversold reservations, and its other contradictions."""
    async with ground.empty_database() as url:
        connection_id, ids = await stocked([ON_HAND] * SKUS)
        done.value = 0
        loop = asyncio.get_running_loop()
        shares = [n // PROCESSES + (k < n % PROCESSES) for k in range(PROCESSES)]
        jobs = [
            Job(url, k, PROCESSES, share, connection_id, ids, 2 * ON_HAND, guarded) for k, share in enumerate(shares)
        ]
        working = asyncio.gather(*(loop.run_in_executor(pool, work, job) for job in jobs))
        while not working.done():
            await asyncio.wait({working}, timeout=1)
            progress.report("operations" if guarded else "operations without the guard", done.value, n)
        tallies = await working
        return tallies, await _oversold(), await _contradictions(tallies)


# A reservation is a fault when the ledger, added up in the order in which the row's lock was held, shows more reserved
# than on hand right after it.
_OVERSOLD = """
WITH told AS (
  SELECT cause, sum(on_hand_change) OVER w AS on_hand, sum(reserved_change) OVER w AS reserved
  FROM catalog_movements WINDOW w AS (PARTITION BY listing_id, location ORDER BY id))
SELECT count(*) FROM told WHERE cause = 'reserve' AND reserved > on_hand
"""


async def _oversold() -> int:
    return await ground.count(_OVERSOLD)


async def _contradictions(tallies: list[Tally]) -> int:
    """Rows whose counters are not their sums, holds that nobody was granted or that vanished, lost reports."""
    drift = await ground.drift()
    async with db.uow() as tx:
        unseen = abs(len(await api.drift(tx)) - drift)
    [(granted, units)] = await ground.rows("SELECT count(*), coalesce(sum(quantity), 0)::int FROM catalog_holds")
    invented = abs(granted - sum(t.granted for t in tallies)) + abs(units - sum(t.units for t in tallies))
    newest: dict[str, tuple[int, int]] = {}
    for tally in tallies:
        for sku, told in tally.newest.items():
            newest[sku] = max(newest.get(sku, told), told)
    rows = await ground.rows(
        "SELECT l.vendor_sku, s.version, s.on_hand FROM catalog_stock s JOIN catalog_listings l ON l.id = s.listing_id"
    )
    standing = {row["vendor_sku"]: (row["version"], row["on_hand"]) for row in rows}
    lost = sum(1 for sku, told in newest.items() if standing[sku] != told)
    return drift + unseen + int(invented) + lost
