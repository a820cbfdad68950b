"""The shelf: what each vendor says is on hand, what our orders hold of it, and the ledger that proves both.

One narrow row a (listing, location) in `catalog_stock`; every change of its counters is also a row of
`catalog_movements`, so the counters are always the ledger's sums. Every function here runs inside the caller's
transaction and locks rows in the order (listing_id, location) before it looks at them; products are touched only
after stock, so that orders, pushes and pulls cannot wait for each other in a circle. Vendors' reports may come in
any order and any number of times: the newest wins, whoever carries it."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from catalog import changes, store
from catalog.contracts import Oversold, ReserveLine, Shortage
from catalog.store import shelf
from catalog.store.literals import integers, texts
from connectors.contracts import StockReport
from hub.kernel import metrics
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict
from hub.kernel.types import Level

APPLIED, STALE, UNCHANGED, UNKNOWN_SKU = "applied", "stale", "unchanged", "unknown_sku"


class Figure(NamedTuple):
    """One report about one row of the shelf. Exactly one of `on_hand` and `level` is given."""

    listing_id: int
    location: str
    on_hand: int | None
    level: str | None
    version: int | None
    reported_at: datetime


@dataclass(slots=True)
class Outcome:
    """What reports did: a result for each in input order, the listings whose figure changed, and among them
    those that started or stopped being sellable at a location."""

    results: list[str] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    flipped: set[int] = field(default_factory=set)


class Drift(NamedTuple):
    """A row of the shelf whose counters are not what its ledger or its open holds sum up to."""

    listing_id: int
    location: str
    on_hand: int
    on_hand_ledger: int
    reserved: int
    reserved_ledger: int
    reserved_holds: int


class Shelf(NamedTuple):
    """One row of the shelf as the lock holder sees it."""

    listing_id: int
    location: str
    on_hand: int | None
    level: str
    reserved: int
    buffer: int
    frozen: bool
    reported_at: datetime

    @property
    def level_now(self) -> Level:
        """The level left after what is reserved."""
        free = self.available
        if free is None:
            return Level(self.level)
        return Level.IN_STOCK if free > 0 else Level.OUT

    @property
    def available(self) -> int | None:
        """Units that may still be promised; None when the vendor gives only a level and it is not `out`."""
        if self.frozen:
            return 0
        if self.on_hand is None:
            return 0 if self.level == Level.OUT else None
        return max(0, self.on_hand - self.reserved - self.buffer)


async def apply_figures(tx: Tx, figures: Sequence[Figure], *, all_new: bool = False) -> Outcome:
    """Apply reports about rows of the shelf; rows that do not exist yet are made. Two reports about the same row
    apply from old to new and each gets its own result. Emits `Oversold` for a figure below what orders hold.
    `all_new` says that this transaction has made all these listings, so that there is nothing to lock yet.

    The products of `Outcome.flipped` are *not* brought up to date here (see `settle`)."""
    outcome = Outcome([UNCHANGED] * len(figures))
    for wave in _waves(figures):
        await _apply_wave(tx, figures, wave, outcome, all_new)
        all_new = False
    for result, count in Counter(outcome.results).items():
        metrics.STOCK_REPORTS.labels(result).inc(count)
    return outcome


async def apply_reports(tx: Tx, connection_id: int, reports: Sequence[StockReport]) -> list[str]:
    """Apply one connection's reports and bring the products up to date. Returns `applied` (the figure changed),
    `unchanged` (it is what we have), `stale` (we have a newer one) or `unknown_sku` for each, in input order."""
    ids = await store.listing_ids(tx, connection_id, {report.vendor_sku for report in reports})
    return await _report(tx, [ids.get(report.vendor_sku) for report in reports], reports)


async def apply_vendor_reports(tx: Tx, vendor_id: int, reports: Sequence[StockReport]) -> list[str]:
    """The same for a vendor that names its SKUs without saying which of its own connections lists them."""
    ids = await store.vendor_listing_ids(tx, vendor_id, {report.vendor_sku for report in reports})
    return await _report(tx, [ids.get(report.vendor_sku) for report in reports], reports)


async def apply_reports_of_vendors(tx: Tx, reports: Sequence[tuple[int, StockReport]]) -> list[str]:
    """The same for reports of several vendors, each beside its vendor's number."""
    keys = [(vendor_id, report.vendor_sku) for vendor_id, report in reports]
    ids = await store.vendors_listing_ids(tx, list(dict.fromkeys(keys)))
    return await _report(tx, [ids.get(key) for key in keys], [report for _, report in reports])


async def close_untold(tx: Tx, connection_id: int, run_id: int) -> int:
    """Take to zero what a complete run no longer told of: a location that a SKU has left, or that was closed, would
    otherwise keep its last figure for ever. Returns how many rows of the shelf that were."""
    rows = await store.untold_shelf(tx, connection_id, run_id)
    figures = [
        Figure(listing_id, location, 0 if counted else None, None if counted else Level.OUT.value, None, began)
        for listing_id, location, counted, began in rows
    ]
    outcome = await apply_figures(tx, figures)
    await settle(tx, outcome)
    return len(rows)


async def _report(tx: Tx, ids: Sequence[int | None], reports: Sequence[StockReport]) -> list[str]:
    results = [UNKNOWN_SKU] * len(reports)
    known: list[int] = []
    figures: list[Figure] = []
    for i, (listing_id, r) in enumerate(zip(ids, reports, strict=True)):
        if listing_id is not None:
            known.append(i)
            figures.append(Figure(listing_id, r.location, r.on_hand, r.level, r.version, r.reported_at))
    outcome = await apply_figures(tx, figures)
    await settle(tx, outcome)
    for i, result in zip(known, outcome.results, strict=True):
        results[i] = result
    if len(known) < len(reports):
        metrics.STOCK_REPORTS.labels(UNKNOWN_SKU).inc(len(reports) - len(known))
    return results


def _waves(figures: Sequence[Figure]) -> list[list[int]]:
    """Indexes of `figures` in locking order, split so that no wave names a row twice and older reports go first."""
    keys = {(f.listing_id, f.location) for f in figures}
    if len(keys) == len(figures):
        order = [f[:2] for f in figures]
        return [sorted(range(len(figures)), key=order.__getitem__)] if figures else []
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, f in enumerate(figures):
        rows[f.listing_id, f.location].append(i)
    waves: list[list[int]] = []
    for key in sorted(rows):
        same = rows[key]
        versioned = all(figures[i].version is not None for i in same)
        same.sort(key=lambda i: (figures[i].version or 0) if versioned else 0)
        if not versioned:
            same.sort(key=lambda i: figures[i].reported_at)
        for depth, i in enumerate(same):
            if depth == len(waves):
                waves.append([])
            waves[depth].append(i)
    return waves


async def _apply_wave(tx: Tx, figures: Sequence[Figure], wave: list[int], outcome: Outcome, all_new: bool) -> None:
    rows = [figures[i] for i in wave]
    columns = _columns(rows)
    if all_new:
        await tx.run(shelf.FIRST_OF_NEW, *columns, tx.now)
        made: Collection[int] = range(len(wave))
    else:
        locked = await tx.fetchval(shelf.LOCK, *columns[:2])
        made = []
        if locked < len(wave):
            made = [row[0] - 1 for row in await tx.fetch(shelf.FIRST, *columns, tx.now)]
            if locked + len(made) < len(wave):  # somebody else made the row between our two statements
                await tx.fetchval(shelf.LOCK, *columns[:2])
    for n in made:
        outcome.results[wave[n]] = APPLIED
        outcome.changed.add(rows[n].listing_id)
        if _level(rows[n].on_hand, rows[n].level) != Level.OUT:
            outcome.flipped.add(rows[n].listing_id)
    if len(made) == len(wave):
        return
    for row in await tx.fetch(shelf.APPLY, *columns, tx.now):
        n, listing_id, location, applied, flipped, oversold, on_hand, reserved = row
        outcome.results[wave[n - 1]] = APPLIED if applied else STALE
        if applied:
            outcome.changed.add(listing_id)
        if flipped:
            outcome.flipped.add(listing_id)
        if oversold:
            tx.emit(Oversold(listing_id=listing_id, location=location, on_hand=on_hand, reserved=reserved))


def _columns(rows: Sequence[Figure]) -> tuple[Any, ...]:
    """Reports as the columns that the shelf's statements take: what is the same for all of them comes once."""
    listing_ids, locations, on_hands, levels, versions, times = zip(*rows, strict=True)
    return (
        integers(listing_ids),
        texts(once(locations)),
        integers(on_hands),
        [_level(o, v) if o is None else None for o, v in zip(on_hands, levels, strict=True)]
        if None in on_hands
        else [],
        integers(versions if any(v is not None for v in versions) else ()),
        once(times),
    )


def once(values: Sequence[Any]) -> Sequence[Any]:
    """The values, or the one that they all are."""
    return values[:1] if values and values.count(values[0]) == len(values) else values


def _level(on_hand: int | None, level: str | None) -> str:
    if on_hand is None:
        assert level is not None, "a report gives on_hand or level"
        return level
    return Level.IN_STOCK.value if on_hand > 0 else Level.OUT.value


async def settle(tx: Tx, outcome: Outcome) -> None:
    """Bring the products of changed figures up to date: whether they can be sold, and the feed of changes."""
    if not outcome.changed:
        return
    products = await store.products_of(tx, outcome.changed)
    await store.refresh_products(tx, {products[i] for i in outcome.flipped})
    await changes.note(tx, products.values())


async def reserve(tx: Tx, lines: Sequence[ReserveLine]) -> None:
    """Hold every line or none. A line without a location takes the first location, in order, that has enough for
    the whole line; lines on the same row add up.

    Raises Conflict `out_of_stock` with `facts["shortages"]` before anything is written, so that the caller may
    try other offers in the same transaction."""
    if not lines:
        return
    rows = await tx.fetch(shelf.SHELF, [line.listing_id for line in lines], [line.location for line in lines])
    chosen, shortages = _choose({(r[0], r[1]): Shelf(*r) for r in rows}, lines)
    if shortages:
        raise Conflict(
            "not enough stock for " + ", ".join(f"lst_{s.listing_id}" for s in shortages),
            code="out_of_stock",
            facts={"shortages": [s.model_dump(mode="json") for s in shortages]},
        )
    totals: Counter[tuple[int, str]] = Counter()
    for line, location in zip(lines, chosen, strict=True):
        totals[line.listing_id, location] += line.quantity
    keys = sorted(totals)
    taken = await tx.fetch(
        shelf.TAKE,
        [key[0] for key in keys],
        [key[1] for key in keys],
        [totals[key] for key in keys],
        [line.hold_id for line in lines],
        [line.listing_id for line in lines],
        chosen,
        [line.quantity for line in lines],
        tx.now,
    )
    if len(taken) != len(keys):
        raise RuntimeError("a reservation's guard refused what the locked shelf had granted")
    await _settle_listings(tx, {row[0] for row in taken if not row[1]})


def _choose(rows: dict[tuple[int, str], Shelf], lines: Sequence[ReserveLine]) -> tuple[list[str], list[Shortage]]:
    """A location for each line, and what is short. Pure."""
    left = {key: row.available for key, row in rows.items()}
    by_listing: dict[int, list[str]] = defaultdict(list)
    for listing_id, location in rows:
        by_listing[listing_id].append(location)
    chosen: list[str] = []
    shortages: list[Shortage] = []
    for line in lines:
        places = by_listing[line.listing_id] if line.location is None else [line.location]
        best = 0
        for place in places:
            free = left.get((line.listing_id, place), 0)
            if free is None or free >= line.quantity:
                chosen.append(place)
                if free is not None:
                    left[line.listing_id, place] = free - line.quantity
                break
            best = max(best, free)
        else:
            shortages.append(
                Shortage(hold_id=line.hold_id, listing_id=line.listing_id, wanted=line.quantity, available=best)
            )
    return chosen, shortages


async def release(tx: Tx, hold_ids: Iterable[uuid.UUID], cause: str = "release") -> int:
    """Give back what open holds keep; holds that are already released or consumed stay as they are. Returns how
    many were open."""
    return await _close(tx, list(hold_ids), cause, "released")


async def shrink(tx: Tx, parts: Mapping[uuid.UUID, int]) -> set[uuid.UUID]:
    """Give back some units of open holds that keep more; returns the holds that were. Release a hold to give back all
    of it."""
    ids = sorted(parts)
    if not ids:
        return set()
    await tx.fetchval(shelf.LOCK_HELD, ids)
    row = await tx.fetchrow(shelf.SHRINK, ids, [parts[i] for i in ids], tx.now)
    assert row is not None
    await _settle_listings(tx, set(row["flipped"]))
    return set(row["shrunk"])


async def _close(tx: Tx, ids: list[uuid.UUID], cause: str, state: str, accepted_at: datetime | None = None) -> int:
    if not ids:
        return 0
    await tx.fetchval(shelf.LOCK_HELD, ids)
    row = await tx.fetchrow(shelf.CLOSE, ids, cause, state, tx.now, accepted_at)
    assert row is not None
    await _settle_listings(tx, set(row["flipped"]))
    return int(row["closed"])


async def accept(tx: Tx, hold_ids: Iterable[uuid.UUID], accepted_at: datetime) -> int:
    """The vendor took the order at `accepted_at` (its own time when it says one). From then on its own count falls
    too, so each hold is kept only until a figure from after that time; a shelf row whose figure is already from
    after it consumes the hold at once. Returns how many holds were waiting for this."""
    ids = list(hold_ids)
    if not ids:
        return 0
    await tx.fetchval(shelf.LOCK_HELD, ids)
    rows = await tx.fetch(shelf.ACCEPT, ids, accepted_at)
    counted = [row["id"] for row in rows if row["counted"]]
    if counted:
        await _close(tx, counted, "consume", "consumed")
    return len(rows)


async def refuse(tx: Tx, listing_id: int, location: str) -> None:
    """The vendor refused for lack of stock: whatever it reported, nothing more is sold from this row until a report
    from after this moment."""
    if await tx.fetchval(shelf.REFUSE, listing_id, location, tx.now):
        await _settle_listings(tx, {listing_id})


async def keep_from_sale(tx: Tx, listing_id: int, units: int) -> bool:
    """Keep so many units of a listing from sale at each of its locations, from now on; what orders hold stays held.
    False when there is no such listing."""
    if not await store.lock_listing(tx, listing_id):
        return False
    await tx.fetch(shelf.SHELF, [listing_id], [None])
    await tx.run(shelf.SET_BUFFER, listing_id, units)
    await _settle_listings(tx, {listing_id})
    return True


async def _settle_listings(tx: Tx, listing_ids: set[int]) -> None:
    await settle(tx, Outcome(changed=listing_ids, flipped=listing_ids))


async def available(tx: Tx, listing_ids: Sequence[int]) -> dict[int, list[Shelf]]:
    """The rows of the shelf of each listing, unlocked: a view, not a promise."""
    found: dict[int, list[Shelf]] = {}
    for row in await tx.fetch(shelf.AVAILABLE, list(listing_ids)):
        found.setdefault(row[0], []).append(Shelf(*row))
    return found


async def open_holds(tx: Tx, hold_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The units of those of these holds that are open."""
    return {row["id"]: row["quantity"] for row in await tx.fetch(shelf.OPEN_HOLDS, list(hold_ids))}


async def drift(tx: Tx, limit: int = 1000) -> list[Drift]:
    """Rows where counters, ledger and open holds disagree, at most `limit`; empty when the shelf is sound."""
    return [Drift(*row) for row in await tx.fetch(shelf.DRIFT, limit)]
