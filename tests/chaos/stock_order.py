"""Stock reports permuted, duplicated and delayed, many at once: whatever order they arrive in, the newest stands.

A history is what one vendor says of one SKU: a few true reports, each with a version or with a time, delivered in any
order, some twice, some only rounds later, by four lanes at the same time. The newest of all is known beforehand and
is compared with the table itself. The control takes the comparison away, so that the last to arrive stands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from catalog import api
from catalog.store import shelf
from connectors.contracts import StockReport
from hub.kernel import db
from tests.catalog.kit import T0, stocked
from tests.chaos import ground, progress

FULL, SMALL = 100_000, 2_000
SKUS = 500  # histories a round
LANES = 4
PIECE = 250  # reports a transaction
ODDS_OF_DELAY = 0.1
_LEVELS = ("in_stock", "limited", "out")
_NEWER = """CASE WHEN g.version IS NOT NULL AND s.version IS NOT NULL THEN g.version > s.version
         ELSE g.reported_at > s.reported_at END AS newer"""


class Truth(NamedTuple):
    """What must stand on the shelf."""

    on_hand: int | None
    level: str
    version: int | None
    reported_at: datetime


async def run(n: int) -> dict[str, int]:
    """`n` histories, then one round of them without the guard."""
    violations, reports = await _histories(n)
    guarded = shelf.APPLY
    bare = guarded.replace(_NEWER, "true AS newer")
    assert bare != guarded, "the control must remove the guard"
    try:
        shelf.APPLY = bare
        control, _ = await _histories(min(n, SKUS))
    finally:
        shelf.APPLY = guarded
    return {"n": n, "violations": violations, "control_violations": control, "reports": reports}


async def _histories(n: int) -> tuple[int, int]:
    """How many of `n` histories ended with another figure than their newest, and how many reports they took."""
    rng = random.Random(n)
    wrong = reports = 0
    async with ground.empty_database():
        connection_id, _ = await stocked([7] * min(n, SKUS))
        async with db.uow() as tx:  # the pull that listed them gave even SKUs a version as well
            await tx.run(
                "UPDATE catalog_stock s SET version = 0 FROM catalog_listings l "
                "WHERE l.id = s.listing_id AND substr(l.vendor_sku, 2)::int % 2 = 0"
            )
        delayed: list[StockReport] = []
        for start in range(0, n, SKUS):
            numbers = range(min(SKUS, n - start))
            due, delayed = delayed, []
            newest: dict[str, Truth] = {}
            for number in numbers:
                history = _history(rng, number, start // SKUS)
                newest[f"S{number}"] = _stands(history[-1])
                due += history + rng.choices(history, k=rng.randrange(3))
                if rng.random() < ODDS_OF_DELAY:
                    delayed.append(rng.choice(history))
            rng.shuffle(due)
            await _deliver(connection_id, due)
            wrong += await _wrong(newest)
            reports += len(due)
            progress.report("histories", start + len(numbers), n)
        wrong += await _ledger_faults()
    return wrong, reports


def _history(rng: random.Random, number: int, round_: int) -> list[StockReport]:
    """True reports of one SKU from old to new. Even SKUs carry versions (and times that say nothing), odd ones only
    times."""
    made = []
    for step in range(rng.randint(2, 7)):
        order = round_ * 10 + step + 1
        said: dict[str, Any] = {"level": rng.choice(_LEVELS)} if rng.random() < 0.25 else {"on_hand": rng.randrange(60)}
        if number % 2 == 0:
            said |= {"version": order, "reported_at": T0 + timedelta(seconds=rng.randrange(10_000))}
        else:
            said |= {"reported_at": T0 + timedelta(seconds=order)}
        made.append(StockReport(vendor_sku=f"S{number}", **said))
    return made


def _stands(report: StockReport) -> Truth:
    level = report.level or ("in_stock" if report.on_hand else "out")
    return Truth(report.on_hand, level, report.version, report.reported_at)


async def _deliver(connection_id: int, reports: Sequence[StockReport]) -> None:
    """Lanes take pieces as they come, so that transactions overlap and overtake each other."""
    pieces = iter([reports[start : start + PIECE] for start in range(0, len(reports), PIECE)])

    async def lane() -> None:
        for piece in pieces:
            async with db.uow() as tx:
                results = await api.apply_reports(tx, connection_id, piece)
            assert len(results) == len(piece) and set(results) <= {"applied", "unchanged", "stale"}

    async with asyncio.TaskGroup() as lanes:
        for _ in range(LANES):
            lanes.create_task(lane())


async def _wrong(newest: dict[str, Truth]) -> int:
    rows = await ground.rows(
        "SELECT l.vendor_sku, s.on_hand, s.level, s.version, s.reported_at "
        "FROM catalog_stock s JOIN catalog_listings l ON l.id = s.listing_id"
    )
    found = {row["vendor_sku"]: Truth(*tuple(row)[1:]) for row in rows}
    return sum(1 for sku, truth in newest.items() if found[sku] != truth)


async def _ledger_faults() -> int:
    """Rows whose figure is not the sum of their ledger: a report that counted twice or not at all."""
    return await ground.count(
        "SELECT count(*) FROM catalog_stock s WHERE coalesce(s.on_hand, 0) <> (SELECT sum(on_hand_change) "
        "FROM catalog_movements m WHERE m.listing_id = s.listing_id AND m.location = s.location)"
    )
